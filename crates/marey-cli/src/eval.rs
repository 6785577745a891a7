//! `marey eval`: a bundle judged on a split.

use std::{fs, path::PathBuf, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use marey::{
    data::Split,
    infer::{Predictor, judge},
    model::files::write_whole,
    train::{Recipe, Select},
};

use crate::{
    Outcome,
    device::DeviceArg,
    evidence::note_test_use,
    judge::{Evaluated, add_clips, report_of},
    output,
    progress::Bar,
    recognise::{judged_split, load},
};

/// Arguments of `marey eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle's folder.
    bundle: PathBuf,
    /// The recipe whose `[data]` is judged on; by default that of the run that the bundle lies in.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Change a key of the recipe, for example `--set data.path=other.csv`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The split: `train`, `validation` or `test` (default: test where there is one, else validation).
    #[arg(long, value_parser = parse_split)]
    split: Option<Split>,
    /// Folder for report.html, report.json, predictions.csv and plots; or a .json file for the report alone.
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Print the report as JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArg,
}

fn parse_split(word: &str) -> Result<Split, String> {
    Split::from_word(word).ok_or_else(|| "expected train, validation or test".to_owned())
}

pub(crate) fn run(args: Args) -> Result<Outcome> {
    let started = Instant::now();
    let chosen = args.device.choose()?;
    let recipe_path = match args.recipe {
        Some(path) => path,
        None => {
            let path = args.bundle.join("..").join("recipe.toml");
            ensure!(
                path.is_file(),
                "{} does not lie in a run folder: name the data to judge on by --recipe",
                args.bundle.display()
            );
            path
        }
    };
    let recipe = Recipe::read(&recipe_path, &args.set)?;
    let predictor = Predictor::open(&args.bundle, recipe.train.batch, &chosen.device)?;
    let data = load(&recipe, &predictor.card().sampling)?;
    let Some(split) = args.split.or_else(|| judged_split(&data.dataset)) else {
        bail!("the data has neither a test nor a validation split: name one by --split");
    };
    let task = data.task(&recipe, split);
    ensure!(
        !task.indices.is_empty(),
        "the {} split holds no item",
        split.name()
    );
    let mut bar = Bar::new("clips");
    let judged = judge(&predictor, task, &mut |done, total| {
        bar.show("judging", done, total, "")
    })?;
    drop(bar);
    let evaluated = Evaluated {
        recipe: &recipe,
        data: &data,
        judged: &judged,
        split,
        chosen_on_this_split: split == Split::Validation
            && recipe.train.select != Some(Select::Last),
        command: output::command_line(),
        chosen: &chosen,
        run: None,
    };
    let mut report = report_of(&evaluated, started.elapsed())?;
    let run = &predictor.card().provenance.run;
    note_test_use(&mut report, &recipe, &data.dataset, &args.bundle, run)?;
    if let Some(path) = &args.output {
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            write_whole(path, report.to_json().as_bytes())?;
        } else {
            fs::create_dir_all(path)
                .with_context(|| format!("cannot create {}", path.display()))?;
            add_clips(&mut report, &predictor, &evaluated)?;
            report.save(path)?;
            let predictions =
                marey::eval::predictions_csv(&report.classification.classes, &judged.scored);
            write_whole(&path.join("predictions.csv"), &predictions)?;
        }
    }
    if args.json {
        output::line(report.to_json().trim_end())?;
    } else {
        output::line(&report.classification)?;
        output::line(report.verdict())?;
    }
    Ok(Outcome::Done)
}
