//! `marey predict`: what a bundle sees.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use marey::{
    eval::Smoothing,
    infer::{AnomalyGuess, Guess, LabelGuess, Prediction, Windowing},
    media::{self, OpenOptions},
};

use crate::{Outcome, device::DeviceArg, eval::open_together, output, progress::Bar};

/// Arguments of `marey predict`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the bundle or the ensemble.
    bundle: PathBuf,
    /// A further bundle that answers together with the first, by the mean of their scores; may be given several times.
    #[arg(long, value_name = "BUNDLE")]
    with: Vec<PathBuf>,
    /// Files, folders of images, or folders that are searched for both.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// How to print the predictions.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Print JSON; the same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Classes to print, best first.
    #[arg(long, value_name = "K", default_value_t = 3)]
    top: usize,
    /// Cut each source into windows of this many seconds and print what each holds.
    #[arg(long, value_name = "SECONDS")]
    window: Option<f64>,
    /// Seconds between the starts of two windows (default: they follow each other).
    #[arg(long, value_name = "SECONDS", requires = "window")]
    hop: Option<f64>,
    /// Mix the scores of each window with those before it: `mean:5` (of the last 5 windows), `exponential:0.3` (share of the
    /// present window), or `none` (default: as the bundle's card says).
    #[arg(long, value_name = "HOW", value_parser = parse_smoothing, requires = "window")]
    smooth: Option<Smooth>,
    /// Clips scored at a time.
    #[arg(long, default_value_t = 4)]
    batch: usize,
    #[command(flatten)]
    device: DeviceArg,
}

/// What `--smooth` says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Smooth(Option<Smoothing>);

fn parse_smoothing(text: &str) -> Result<Smooth, String> {
    match text {
        "none" => Ok(Smooth(None)),
        _ => text.parse().map(|smoothing| Smooth(Some(smoothing))),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line a source (and one a window).
    Table,
    /// One JSON array.
    Json,
    /// A row a source, or a row a window, with the classes side by side.
    Csv,
}

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let windowing = args
        .window
        .map(|length| Windowing::new(length, args.hop))
        .transpose()?;
    let chosen = args.device.choose()?;
    let mut predictor = open_together(&args.bundle, &args.with, args.batch, &chosen)?;
    if let Some(Smooth(smoothing)) = args.smooth {
        predictor = predictor.with_smoothing(smoothing);
    }
    let sources = sources(&args.paths)?;
    let mut bar = Bar::new("files");
    let (mut predictions, mut failures) = (Vec::new(), Vec::new());
    for (idx, source) in sources.iter().enumerate() {
        bar.show("predicting", idx, sources.len(), "");
        match predictor.predict(
            source,
            args.top,
            windowing.as_ref(),
            &OpenOptions::default(),
        ) {
            Ok(prediction) => predictions.push(prediction),
            Err(error) => failures.push(anyhow::Error::new(error)),
        }
    }
    drop(bar);
    match if args.json { Format::Json } else { args.format } {
        Format::Json => output::json(&predictions)?,
        Format::Csv => {
            let num_guesses = args.top.clamp(1, predictor.classes().len());
            print_csv(&predictions, windowing.is_some(), num_guesses)?;
        }
        Format::Table => print_table(&predictions)?,
    }
    for failure in &failures {
        output::error(failure);
    }
    if failures.is_empty() {
        return Ok(Outcome::Done);
    }
    output::note(format!(
        "{} of {} sources could not be read",
        failures.len(),
        sources.len()
    ));
    Ok(Outcome::SomeFailed)
}

/// The sources that `paths` name: each file and image folder itself, and what folders hold at any depth, in order.
fn sources(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        if path.is_dir() && !media::is_media(path) {
            search(path, &mut found)?;
        } else {
            found.push(path.clone());
        }
        ensure!(
            found.len() > before,
            "{} holds no video, image folder, array or recording",
            path.display()
        );
    }
    Ok(found)
}

fn search(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let context = || format!("cannot look into {}", dir.display());
    let entries = std::fs::read_dir(dir).with_context(context)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(context)?;
    paths.sort();
    for path in paths {
        if media::is_media(&path) {
            found.push(path);
        } else if path.is_dir() {
            search(&path, found)?;
        }
    }
    Ok(())
}

fn print_table(predictions: &[Prediction]) -> Result<()> {
    for prediction in predictions {
        let top = prediction
            .top
            .iter()
            .map(|guess| format!("{} {:.3}", guess.class, guess.score));
        output::line(format!(
            "{}: {}{}",
            prediction.path.display(),
            unsure(prediction.is_uncertain),
            top.collect::<Vec<_>>().join(", ")
        ))?;
        for LabelGuess { column, guess } in &prediction.labels {
            output::line(format!("  {column}: {} {:.3}", guess.class, guess.score))?;
        }
        if let Some(anomaly) = &prediction.anomaly {
            output::line(format!("  anomaly score {:.3}", anomaly.score))?;
        }
        for window in &prediction.windows {
            let best = &window.top[0];
            // A bar of twenty cells: how sure, at a glance.
            let cells = (best.score * 20.0).round() as usize;
            output::line(format!(
                "  {:>8.2} to {:>8.2} s  {:<20}  {:.3} {}{}",
                window.start_sec,
                window.end_sec,
                "#".repeat(cells),
                best.score,
                unsure(window.is_uncertain),
                best.class
            ))?;
        }
    }
    Ok(())
}

/// What stands before an answer that the bundle does not give.
fn unsure(is_uncertain: bool) -> &'static str {
    if is_uncertain { "uncertain: " } else { "" }
}

/// `num_guesses` is how many guesses each prediction holds.
fn print_csv(predictions: &[Prediction], by_window: bool, num_guesses: usize) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut header = ["path", "start_sec", "end_sec", "is_uncertain"]
        .map(str::to_owned)
        .to_vec();
    for rank in 1..=num_guesses {
        header.extend([format!("class_{rank}"), format!("score_{rank}")]);
    }
    let columns = predictions.first().map_or(&[][..], |first| &first.labels);
    header.extend(
        columns
            .iter()
            .filter(|_| !by_window)
            .map(|label| label.column.clone()),
    );
    if predictions
        .iter()
        .any(|prediction| prediction.anomaly.is_some())
    {
        header.push("anomaly_score".to_owned());
    }
    writer.write_record(&header)?;
    let mut write = |prediction: &Prediction,
                     span: [String; 2],
                     (is_uncertain, top): (bool, &[Guess]),
                     anomaly: Option<AnomalyGuess>| {
        let mut row = vec![prediction.path.to_string_lossy().into_owned()];
        row.extend(span);
        row.push(is_uncertain.to_string());
        for guess in top {
            row.extend([guess.class.clone(), guess.score.to_string()]);
        }
        let labels = prediction.labels.iter().filter(|_| !by_window);
        row.extend(labels.map(|label| label.guess.class.clone()));
        row.extend(anomaly.map(|anomaly| anomaly.score.to_string()));
        writer.write_record(&row)
    };
    for prediction in predictions {
        if !by_window {
            let whole = [String::new(), String::new()];
            let answer = (prediction.is_uncertain, &prediction.top[..]);
            write(prediction, whole, answer, prediction.anomaly)?;
        }
        for window in &prediction.windows {
            let span = [window.start_sec, window.end_sec].map(|sec| sec.to_string());
            let answer = (window.is_uncertain, &window.top[..]);
            write(prediction, span, answer, window.anomaly)?;
        }
    }
    let text = String::from_utf8(writer.into_inner()?)?;
    output::line(text.trim_end())
}
