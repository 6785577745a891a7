//! `marey data label-errors`: items whose label looks wrong to models that never saw them.

use std::{fs, path::PathBuf, time::Instant};

use anyhow::{Context, Result, ensure};
use marey::{
    data::{Dataset, Split, fold_of_groups},
    eval::{
        DataSection, LabelCandidate, Origin, Report, Scored, classify, label_candidates,
        predictions_csv,
    },
    infer::{Predictor, Task, film},
    model::files::write_whole,
    train::{EvalConfig, Monitor, Recipe, Run, Select, Start},
};

use crate::{
    Outcome,
    device::DeviceArg,
    judge::bootstrap,
    output,
    recognise::{Job, OnSplit, load_to_train},
};

/// Candidates printed; the CSV has all.
const PRINTED: usize = 20;

/// Arguments of `marey data label-errors`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recipe that is trained once a fold.
    recipe: PathBuf,
    /// Change a key of the recipe, for example `--set train.epochs=5`; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folds, whole groups each: every item is scored by the model that was trained on the other folds.
    #[arg(long, default_value_t = 5)]
    folds: usize,
    /// Look at the test split too; by default its items are neither trained on nor scored.
    #[arg(long)]
    with_test: bool,
    /// Folder of the run folders.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Folder for label_candidates.csv, predictions.csv and the report of the scores.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    device: DeviceArg,
}

pub(crate) fn run(args: Args) -> Result<Outcome> {
    let started = Instant::now();
    let mut recipe = Recipe::read(&args.recipe, &args.set)?;
    // Nothing is chosen in a fold: its last weights score the items that it left out, once.
    recipe.train.select = Some(Select::Last);
    recipe.train.patience = None;
    recipe.train.min_delta = 0.0;
    recipe.train.monitor = Monitor::default();
    recipe.eval = EvalConfig {
        bootstrap_draws: recipe.eval.bootstrap_draws,
        ..EvalConfig::default()
    };
    let data = load_to_train(&recipe)?;
    let folds = folds(&data.dataset, &args, recipe.train.seed)?;
    let chosen = args.device.choose()?;
    let mut scored: Vec<Scored> = Vec::new();
    let mut judges: Vec<(Predictor, Task)> = Vec::new();
    for (number, dataset) in (1..).zip(folds) {
        let mut recipe = recipe.clone();
        recipe.name = format!("{}-fold-{number}", recipe.name);
        let run = Run::create(&args.runs, &recipe)?;
        output::note(format!("run {}", run.dir().display()));
        let data = data.with_dataset(dataset);
        let job = Job {
            recipe: &recipe,
            data: &data,
            run: &run,
            start: Start::Fresh,
            chosen: &chosen,
            label: format!("fold {number}: "),
        };
        let Some(finished) = job.execute()? else {
            return Ok(Outcome::Interrupted);
        };
        let OnSplit {
            split,
            judged,
            predictor,
            ..
        } = finished.judged.context("a fold leaves items out")?;
        scored.extend(judged.scored);
        judges.push((predictor, data.task(&recipe, split)));
    }
    let candidates = label_candidates(&scored)?;
    let mut report = report(&recipe, &data.dataset, &scored, &candidates, &args, started)?;
    // Each clip through the model that never saw it.
    for (predictor, task) in judges {
        let strips = film(&predictor, task, &report)?;
        report.strips.extend(strips);
    }
    fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot create {}", args.output.display()))?;
    let classes = data.dataset.classes.names();
    let csv = candidates_csv(classes, &candidates)?;
    write_whole(&args.output.join("label_candidates.csv"), &csv)?;
    let predictions = predictions_csv(classes, &scored);
    write_whole(&args.output.join("predictions.csv"), &predictions)?;
    report.save(&args.output)?;
    output::line(report.verdict())?;
    if let Some(doubt) = report.doubt_about_candidates() {
        output::note(format!("warning: {doubt}"));
    }
    output::line(format!(
        "{} of {} items look like another class to models that never saw them",
        candidates.len(),
        scored.len()
    ))?;
    for candidate in candidates.iter().take(PRINTED) {
        output::line(format!(
            "  {}: labelled {}, looks like {} (margin {:+.3})",
            candidate.item, classes[candidate.label], classes[candidate.likely], candidate.margin
        ))?;
    }
    if candidates.len() > PRINTED {
        output::line(format!(
            "  and {} more in {}",
            candidates.len() - PRINTED,
            args.output.join("label_candidates.csv").display()
        ))?;
    }
    output::line(format!(
        "report  {}",
        args.output.join("report.html").display()
    ))?;
    Ok(Outcome::Done)
}

/// The data once a fold: its items are the test split, all others are trained on.
fn folds(dataset: &Dataset, args: &Args, seed: u64) -> Result<Vec<Dataset>> {
    let is_looked_at = |idx: &usize| match dataset.items[*idx].split {
        Some(Split::Train | Split::Validation) => true,
        Some(Split::Test) => args.with_test,
        None => false,
    };
    let indices: Vec<usize> = (0..dataset.items.len()).filter(is_looked_at).collect();
    let items: Vec<_> = indices
        .iter()
        .map(|&idx| dataset.items[idx].clone())
        .collect();
    let fold_of = fold_of_groups(&items, &dataset.classes, args.folds, seed)
        .map_err(|error| anyhow::anyhow!("--folds: {error}"))?;
    let mut folds = Vec::with_capacity(args.folds);
    for held_out in 0..args.folds {
        let mut fold = dataset.clone();
        fold.items.iter_mut().for_each(|item| item.split = None);
        for (&idx, &fold_idx) in indices.iter().zip(&fold_of) {
            fold.items[idx].split = Some(match fold_idx == held_out {
                true => Split::Test,
                false => Split::Train,
            });
        }
        ensure!(
            !fold.indices(Split::Test).is_empty() && !fold.indices(Split::Train).is_empty(),
            "--folds {}: fold {} is empty; ask for fewer",
            args.folds,
            held_out + 1
        );
        folds.push(fold);
    }
    Ok(folds)
}

fn report(
    recipe: &Recipe,
    dataset: &Dataset,
    scored: &[Scored],
    candidates: &[LabelCandidate],
    args: &Args,
    started: Instant,
) -> Result<Report> {
    let counts: Vec<usize> = (0..dataset.classes.len())
        .map(|class| scored.iter().filter(|item| item.target == class).count())
        .collect();
    let figures = classify(dataset.classes.names(), &counts, scored, &bootstrap(recipe))?;
    let mut report = Report::new(
        &recipe.name,
        format!("{} folds, each item out of fold", args.folds),
        figures,
    );
    report.headline = "macro_f1".to_owned();
    report.break_down(scored);
    report.label_candidates = candidates.to_vec();
    report.recipe = recipe.to_toml();
    report.data = DataSection {
        source: recipe.data.path.display().to_string(),
        ..DataSection::default()
    };
    report.origin = Origin {
        command: output::command_line(),
        seed: recipe.train.seed,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        wall_time_sec: Some(started.elapsed().as_secs_f64()),
        ..Origin::default()
    };
    Ok(report)
}

/// `rank, item, group, label, likely, margin`, the most suspect first.
fn candidates_csv(classes: &[String], candidates: &[LabelCandidate]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["rank", "item", "group", "label", "likely", "margin"])?;
    for (rank, candidate) in (1..).zip(candidates) {
        writer.write_record([
            i32::to_string(&rank),
            candidate.item.clone(),
            candidate.group.clone().unwrap_or_default(),
            classes[candidate.label].clone(),
            classes[candidate.likely].clone(),
            candidate.margin.to_string(),
        ])?;
    }
    Ok(writer.into_inner()?)
}
