//! `marey data learning-curve`: what more clips would buy.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use marey::{
    data::{Dataset, Split, fold_of_groups},
    eval::{LearningCurve, LearningPoint, MeasuredFigure, Plot, Report},
    model::files::write_whole,
    train::{EvalConfig, Recipe, Run, Start},
};
use serde::Serialize;

use crate::{
    Outcome,
    device::DeviceArg,
    judge::{Evaluated, report_of},
    ledger::note_test_use,
    output,
    recognise::{Job, OnSplit, load_to_train},
};

/// Parts into which the training split is divided at most, whole groups with the classes in proportion.
const MAX_PARTS: usize = 20;

/// Arguments of `marey data learning-curve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recipe that is trained at every size.
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    recipe: Option<PathBuf>,
    /// Change a key of the recipe, for example `--set train.epochs=5`; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "from")]
    set: Vec<String>,
    /// Shares of the training split to train on, three or more, above 0 and at most 1. Each part holds the smaller ones.
    #[arg(long, value_delimiter = ',', default_values_t = [0.25, 0.5, 0.75, 1.0])]
    shares: Vec<f64>,
    /// Folder of the run folders.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Runs that are there, three or more on the same judged items, instead of training.
    #[arg(long, value_name = "RUN", num_args = 3..)]
    from: Vec<PathBuf>,
    /// The figure, a share such as `macro_f1` or `top1`.
    #[arg(long, default_value = "macro_f1")]
    figure: String,
    /// How many more clips the projection is for (default: as many as there are).
    #[arg(long, value_name = "N")]
    more: Option<usize>,
    /// Also write the curve to this file: the plot to a .svg or .png file, points and projection to a .json file; may be given
    /// several times.
    #[arg(long, value_name = "FILE", value_parser = parse_output)]
    output: Vec<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArg,
}

/// A file whose ending says what is written into it; refused before anything is trained.
fn parse_output(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    match ending(&path) {
        "json" | "png" | "svg" => Ok(path),
        _ => Err("expected a file whose name ends in .svg, .png or .json".to_owned()),
    }
}

fn ending(path: &Path) -> &str {
    path.extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default()
}

/// A run of the curve.
#[derive(Debug, Serialize)]
struct Point {
    run: String,
    num_items: usize,
    value: f64,
    low: f64,
    high: f64,
}

/// What the command prints as JSON.
#[derive(Debug, Serialize)]
struct Printed {
    figure: String,
    split: String,
    judged_items: usize,
    points: Vec<Point>,
    /// `1 - figure = floor + scale * items ^ -exponent`.
    floor: f64,
    scale: f64,
    exponent: f64,
    more: usize,
    /// Value, lower and upper end of the 95 % band of the figure with that many more clips, and of what that gains.
    projected: [f64; 3],
    gain: [f64; 3],
    sentence: String,
}

pub(crate) fn run(args: Args) -> Result<Outcome> {
    let (runs, seed) = if args.from.is_empty() {
        match trained(&args)? {
            Some(trained) => trained,
            None => return Ok(Outcome::Interrupted),
        }
    } else {
        (args.from.clone(), 0)
    };
    let reports = runs
        .iter()
        .map(|dir| Ok((dir.as_path(), report_in(dir)?)))
        .collect::<Result<Vec<_>>>()?;
    let (printed, plot) = curve(&args, &reports, seed)?;
    let json = serde_json::to_string_pretty(&printed)?;
    for path in &args.output {
        let content = match ending(path) {
            "svg" => plot.to_svg().into_bytes(),
            "png" => plot.to_png()?,
            _ => format!("{json}\n").into_bytes(),
        };
        write_whole(path, &content)?;
    }
    if args.json {
        output::line(json)?;
        return Ok(Outcome::Done);
    }
    output::line(format!(
        "{} on {} ({} items) by training items",
        printed.figure, printed.split, printed.judged_items
    ))?;
    for Point {
        run,
        num_items,
        value,
        low,
        high,
    } in &printed.points
    {
        output::line(format!(
            "  {num_items:>6}  {:>5.1} %  ({:.1} to {:.1} %)  {run}",
            100.0 * value,
            100.0 * low,
            100.0 * high
        ))?;
    }
    output::line(&printed.sentence)?;
    Ok(Outcome::Done)
}

fn curve(args: &Args, reports: &[(&Path, Report)], seed: u64) -> Result<(Printed, Plot)> {
    let (_, first) = reports.first().context("there is a run")?;
    let judged = |report: &Report| {
        let classification = &report.classification;
        let supports = classification.per_class.iter().map(|class| class.support);
        (
            report.split.clone(),
            classification.classes.clone(),
            supports.collect::<Vec<_>>(),
        )
    };
    let (mut points, mut learned, mut measured) = (Vec::new(), Vec::new(), Vec::new());
    for (dir, report) in reports {
        ensure!(
            judged(report) == judged(first),
            "{} was judged on other items than {}: a curve needs the same for all",
            dir.display(),
            reports[0].0.display()
        );
        let classification = &report.classification;
        let figure = classification.figure(&args.figure).with_context(|| {
            let names: Vec<&str> = classification.figures.iter().map(|f| &*f.name).collect();
            format!(
                "there is no figure {:?}: choose of {}",
                args.figure,
                names.join(", ")
            )
        })?;
        ensure!(
            figure.scale == marey::eval::Scale::Share,
            "{:?} is no share of 0 to 1 that rises with skill: choose macro_f1 or top1, for example",
            args.figure
        );
        let splits = report.data.splits.iter();
        let train = splits
            .clone()
            .find(|split| split.split == Split::Train.name());
        let num_items = train
            .with_context(|| format!("{} does not say what it trained on", dir.display()))?
            .items;
        learned.push(LearningPoint::of_figure(num_items, figure));
        let shown = MeasuredFigure::of_figure(num_items, figure);
        points.push(Point {
            run: dir.display().to_string(),
            num_items,
            value: shown.value,
            low: shown.interval[0],
            high: shown.interval[1],
        });
        measured.push(shown);
    }
    points.sort_by_key(|point| point.num_items);
    let fitted = LearningCurve::fit(&learned, seed)?;
    let most = points.last().map_or(0, |point| point.num_items);
    let more = args.more.unwrap_or(most);
    let [floor, scale, exponent] = fitted.parameters();
    let numbers = |of: marey::eval::Projected| [of.value, of.low, of.high];
    let title = first
        .classification
        .figure(&args.figure)
        .map_or(args.figure.clone(), |figure| figure.title.clone());
    let plot = fitted.plot(&measured, more, &title);
    let printed = Printed {
        figure: args.figure.clone(),
        split: first.split.clone(),
        judged_items: first.classification.num_items,
        points,
        floor,
        scale,
        exponent,
        more,
        projected: numbers(fitted.figure_at(most + more)),
        gain: numbers(fitted.gain(more)),
        sentence: fitted.sentence(more, &title),
    };
    Ok((printed, plot))
}

fn report_in(dir: &Path) -> Result<Report> {
    let path = dir.join("report.json");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Report::from_json(&text).with_context(|| format!("cannot read {}", path.display()))
}

/// Trains the recipe at every size: the run folders, and the recipe's seed. `None` when it was interrupted.
fn trained(args: &Args) -> Result<Option<(Vec<PathBuf>, u64)>> {
    let path = args
        .recipe
        .as_deref()
        .expect("clap asks for a recipe where there is no --from");
    if let Some(share) = args
        .shares
        .iter()
        .find(|share| !(**share > 0.0 && **share <= 1.0))
    {
        bail!("--shares {share}: expected numbers above 0 and at most 1");
    }
    let mut recipe = Recipe::read(path, &args.set)?;
    // Every size is trained and judged alike, with nothing beside it.
    recipe.eval = EvalConfig {
        bootstrap_draws: recipe.eval.bootstrap_draws,
        ..EvalConfig::default()
    };
    let data = load_to_train(&recipe)?;
    let parts = parts(&data.dataset, &recipe, &args.shares)?;
    let chosen = args.device.choose()?;
    let mut runs = Vec::new();
    for part in &parts {
        let mut recipe = recipe.clone();
        recipe.name = format!("{}-{}-items", recipe.name, part.num_items);
        let run = Run::create(&args.runs, &recipe)?;
        output::note(format!("run {}", run.dir().display()));
        let data = data.with_dataset(part.dataset.clone());
        let started = Instant::now();
        let job = Job {
            recipe: &recipe,
            data: &data,
            run: &run,
            start: Start::Fresh,
            chosen: &chosen,
            label: format!("{} items: ", part.num_items),
        };
        let Some(finished) = job.execute()? else {
            return Ok(None);
        };
        let OnSplit {
            split,
            judged,
            predictor,
            ..
        } = finished
            .judged
            .context("a curve needs a validation or a test split to judge on")?;
        let evaluated = Evaluated {
            recipe: &recipe,
            data: &data,
            predictor: &predictor,
            judged: &judged,
            one_clip: None,
            on_train: None,
            split,
            chosen_on_this_split: split == Split::Validation,
            command: output::command_line(),
            chosen: &chosen,
            run: Some(&run),
        };
        let mut report = report_of(&evaluated, started.elapsed())?;
        note_test_use(
            &mut report,
            &recipe,
            &data.dataset,
            &[run.bundle()],
            &run.id(),
        )?;
        report.save(run.dir())?;
        runs.push(run.dir().to_owned());
    }
    Ok(Some((runs, recipe.train.seed)))
}

/// The data with part of its training split.
struct Part {
    num_items: usize,
    dataset: Dataset,
}

/// The data with each share of its training split, whole groups with the classes in proportion, the smaller inside the larger.
/// Where there is a validation split the test items are left out: how much data is enough is a choice, and nothing is chosen by
/// the test split.
fn parts(dataset: &Dataset, recipe: &Recipe, shares: &[f64]) -> Result<Vec<Part>> {
    let train = dataset.indices(Split::Train);
    let items: Vec<_> = train
        .iter()
        .map(|&idx| dataset.items[idx].clone())
        .collect();
    let mut groups: Vec<String> = items.iter().map(|item| item.group_key()).collect();
    groups.sort_unstable();
    groups.dedup();
    let folds = groups.len().min(MAX_PARTS);
    let fold_of = fold_of_groups(&items, &dataset.classes, folds, recipe.train.seed)
        .map_err(|error| anyhow::anyhow!("the training split cannot be divided: {error}"))?;
    let has_validation = !dataset.indices(Split::Validation).is_empty();
    let mut parts: Vec<Part> = Vec::new();
    for &share in shares {
        let kept_folds = ((share * folds as f64).round() as usize).max(1);
        let mut part = dataset.clone();
        for (&idx, &fold) in train.iter().zip(&fold_of) {
            if fold >= kept_folds {
                part.items[idx].split = None;
            }
        }
        if has_validation {
            let of_test = part.items.iter_mut();
            for item in of_test.filter(|item| item.split == Some(Split::Test)) {
                item.split = None;
            }
        }
        let num_items = part.indices(Split::Train).len();
        if let Some(known) = parts.iter().find(|known| known.num_items == num_items) {
            bail!(
                "--shares: two shares give the same {} of {} training items, because whole groups are kept ({} groups): give \
                 shares that are further apart",
                known.num_items,
                train.len(),
                groups.len()
            );
        }
        parts.push(Part {
            num_items,
            dataset: part,
        });
    }
    ensure!(parts.len() >= 3, "--shares: a curve needs at least 3 sizes");
    Ok(parts)
}
