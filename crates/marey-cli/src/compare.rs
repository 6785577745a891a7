//! `marey compare`: runs beside each other on the same items.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use marey::eval::{Bootstrap, Report, RunsCompared, ScoredRun, compare_runs, read_predictions};

use crate::{Outcome, output};

/// Arguments of `marey compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Two or more runs, the first of which the others are compared with: run folders, folders that `marey eval --output`
    /// wrote, bundles inside a run, or predictions.csv files.
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The figure of the verdict, by its name in report.json.
    #[arg(long, value_name = "NAME", default_value = "macro_f1")]
    figure: String,
    /// Exit with 1 unless every later run is better than the first in that figure.
    #[arg(long)]
    require_better: bool,
    /// Bootstrap draws of the intervals.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    draws: usize,
    /// Seed of the draws.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Folder for compare.html, compare.json and plots.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Print the comparison as JSON instead of tables.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let found: Vec<Found> = args
        .runs
        .iter()
        .map(|path| Found::at(path))
        .collect::<Result<_>>()?;
    let mut caveats = Vec::new();
    let mut runs = Vec::new();
    for (found, name) in found.iter().zip(names(&found)) {
        caveats.extend(found.caveat(&name)?);
        runs.push(found.read(name)?);
    }
    let bootstrap = Bootstrap {
        draws: args.draws,
        seed: args.seed,
    };
    let mut compared = compare_runs(&runs, &args.figure, &bootstrap)?;
    compared.notes.extend(caveats);
    if let Some(dir) = &args.output {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        compared.save(dir)?;
    }
    if args.json {
        output::line(compared.to_json().trim_end())?;
    } else {
        output::line(compared.to_string().trim_end())?;
        if let Some(dir) = &args.output {
            output::line(format!("\nwrote {}", dir.join("compare.html").display()))?;
        }
    }
    Ok(answer(args, &compared))
}

fn answer(args: &Args, compared: &RunsCompared) -> Outcome {
    if args.require_better && !compared.all_better() {
        Outcome::No
    } else {
        Outcome::Done
    }
}

/// Where a run's answers lie.
struct Found {
    /// What the user named.
    path: PathBuf,
    /// The folder that holds the answers.
    dir: PathBuf,
    predictions: PathBuf,
}

impl Found {
    fn at(path: &Path) -> Result<Self> {
        let predictions = if path.is_file() {
            match path.file_name().is_some_and(|name| name == "report.json") {
                true => path.with_file_name("predictions.csv"),
                false => path.to_owned(),
            }
        } else if path.join("card.toml").is_file() {
            // A bundle's own folder is a part of its run.
            let bundle = fs::canonicalize(path)
                .with_context(|| format!("cannot look into {}", path.display()))?;
            bundle.with_file_name("predictions.csv")
        } else {
            path.join("predictions.csv")
        };
        ensure!(
            predictions.is_file(),
            "{} holds no predictions.csv: name a run folder that is complete, or judge the bundle by \
             `marey eval BUNDLE --output DIR` and name DIR",
            path.display()
        );
        let dir = predictions.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Self {
            path: path.to_owned(),
            dir,
            predictions,
        })
    }

    fn read(&self, name: String) -> Result<ScoredRun> {
        let context = || format!("cannot read {}", self.predictions.display());
        let bytes = fs::read(&self.predictions).with_context(context)?;
        let (classes, items) = read_predictions(&bytes).with_context(context)?;
        Ok(ScoredRun {
            name,
            classes,
            items,
        })
    }

    /// What the report beside the answers says against believing them.
    fn caveat(&self, name: &str) -> Result<Option<String>> {
        let path = self.dir.join("report.json");
        if !path.is_file() {
            return Ok(None);
        }
        let context = || format!("cannot read {}", path.display());
        let text = fs::read_to_string(&path).with_context(context)?;
        let report = Report::from_json(&text).with_context(context)?;
        Ok(match (report.accepted_leak, report.chosen_on_this_split) {
            (Some(leak), _) => Some(format!("{name} has an accepted leak: {leak}")),
            (None, true) => Some(format!(
                "{name} was chosen on these very items, which flatters it"
            )),
            (None, false) => None,
        })
    }

    /// The name of its folder.
    fn short_name(&self) -> String {
        let dir = fs::canonicalize(&self.dir).unwrap_or_else(|_| self.dir.clone());
        dir.file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }
}

/// Names that tell the runs apart: of their folders, else what the user wrote.
fn names(found: &[Found]) -> Vec<String> {
    let short: Vec<String> = found.iter().map(Found::short_name).collect();
    let is_unique = |name: &String| {
        !name.is_empty() && short.iter().filter(|other| *other == name).count() == 1
    };
    if short.iter().all(is_unique) {
        short
    } else {
        found
            .iter()
            .map(|found| found.path.display().to_string())
            .collect()
    }
}
