//! `marey eval`: a bundle, or several together, judged on a split.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use marey::{
    data::Split,
    eval::Report,
    infer::{Look, Predictor},
    model::{EnsembleCard, files::write_whole},
    train::{Recipe, Select},
};

use crate::{
    Outcome,
    device::{Chosen, DeviceArg},
    judge::{Evaluated, add_clips, judge_one_clip, judge_train, judge_with_bar, report_of},
    ledger::note_test_use,
    output,
    recognise::{judged_split, load},
    recordings,
};

/// Arguments of `marey eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the bundle or the ensemble.
    bundle: PathBuf,
    /// A further bundle that answers together with the first, by the mean of their scores; may be given several times.
    #[arg(long, value_name = "BUNDLE")]
    with: Vec<PathBuf>,
    /// The recipe whose `[data]` is judged on; by default that of the run that the bundle lies in.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Change a key of the recipe, for example `--set data.path=other.csv`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The split: `train`, `validation` or `test` (default: test where there is one, else validation).
    #[arg(long, value_parser = parse_split)]
    split: Option<Split>,
    /// Also judge the events of whole recordings in sliding windows, as `[eval.events]` says or by its defaults.
    #[arg(long)]
    events: bool,
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

/// The figures of whole recordings, where there are any.
pub(crate) fn print_recordings(report: &Report) -> Result<()> {
    if let Some(events) = &report.events {
        output::line(events)?;
    }
    if let Some(anomalies) = &report.anomalies {
        output::line(anomalies)?;
    }
    Ok(())
}

/// The recipe that is named, or that of the run that `bundle` lies in.
pub(crate) fn recipe_of(named: Option<&Path>, bundle: &Path) -> Result<PathBuf> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let path = bundle.join("..").join("recipe.toml");
    ensure!(
        path.is_file(),
        "{} does not lie in a run folder: name the data by --recipe",
        bundle.display()
    );
    Ok(path)
}

/// Keys of `[eval]` that are in a bundle's card, where a recipe changes nothing any more.
const ANSWER_KEYS: [&str; 10] = [
    "views",
    "crops",
    "flip",
    "aggregate",
    "validate_views",
    "calibration",
    "reject_below",
    "coverage",
    "accuracy",
    "smoothing",
];

/// Refuses changes of the recipe that have no effect on a bundle that is there.
fn refuse_answer_keys(changes: &[String]) -> Result<()> {
    for change in changes {
        let key = change.split('=').next().unwrap_or_default().trim();
        let is_in_card = key
            .strip_prefix("eval.")
            .is_some_and(|key| ANSWER_KEYS.contains(&key));
        ensure!(
            !is_in_card,
            "--set {key} has no effect on a bundle, whose card says how it answers: write it into the card by `marey calibrate`"
        );
    }
    Ok(())
}

/// The bundle or ensemble in `first`, or that bundle together with those of `with`.
pub(crate) fn open_together(
    first: &Path,
    with: &[PathBuf],
    batch: usize,
    chosen: &Chosen,
) -> Result<Predictor> {
    if with.is_empty() {
        return Ok(Predictor::open(first, batch, &chosen.device)?);
    }
    for dir in std::iter::once(first).chain(with.iter().map(PathBuf::as_path)) {
        ensure!(
            EnsembleCard::find(dir)?.is_none(),
            "{} is an ensemble: --with takes bundles together, so name the members themselves",
            dir.display()
        );
    }
    let dirs: Vec<PathBuf> = std::iter::once(first.to_owned())
        .chain(with.iter().cloned())
        .collect();
    Ok(Predictor::together(&dirs, batch, &chosen.device)?)
}

/// Every folder whose files decide the answers.
fn folders(first: &Path, with: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut dirs = vec![first.to_owned()];
    if let Some((_, members)) = EnsembleCard::find(first)? {
        dirs.extend(members);
    }
    dirs.extend(with.iter().cloned());
    Ok(dirs)
}

pub(crate) fn run(args: Args) -> Result<Outcome> {
    let started = Instant::now();
    let chosen = args.device.choose()?;
    let recipe_path = recipe_of(args.recipe.as_deref(), &args.bundle)?;
    let recipe = Recipe::read(&recipe_path, &args.set)?;
    refuse_answer_keys(&args.set)?;
    let predictor = open_together(&args.bundle, &args.with, recipe.train.batch, &chosen)?;
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
    let judged = judge_with_bar(&predictor, &task, Look::AllViews, "judging")?;
    let one_clip = judge_one_clip(&recipe, &data, &predictor, split, "")?;
    let on_train = judge_train(&recipe, &data, &predictor, split, "")?;
    let evaluated = Evaluated {
        recipe: &recipe,
        data: &data,
        predictor: &predictor,
        judged: &judged,
        one_clip: one_clip.as_ref(),
        on_train: on_train.as_ref(),
        split,
        chosen_on_this_split: split == Split::Validation
            && recipe.train.select != Some(Select::Last),
        command: output::command_line(),
        chosen: &chosen,
        run: None,
    };
    recordings::check(&recipe, &data.dataset)?;
    let mut report = report_of(&evaluated, started.elapsed())?;
    recordings::add(&mut report, &evaluated, args.events)?;
    let runs: Vec<&str> = predictor
        .members()
        .iter()
        .map(|member| &*member.card().provenance.run)
        .collect();
    let dirs = folders(&args.bundle, &args.with)?;
    note_test_use(&mut report, &recipe, &data.dataset, &dirs, &runs.join("+"))?;
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
        print_recordings(&report)?;
        output::line(report.verdict())?;
    }
    Ok(Outcome::Done)
}
