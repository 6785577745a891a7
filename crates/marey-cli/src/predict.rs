//! `marey predict`: what a bundle sees.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use marey::{
    infer::{Guess, Prediction, Predictor, Windowing},
    media::{self, OpenOptions},
};

use crate::{Outcome, device::DeviceArg, output, progress::Bar};

/// Arguments of `marey predict`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle's folder.
    bundle: PathBuf,
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
    /// Clips scored at a time.
    #[arg(long, default_value_t = 4)]
    batch: usize,
    #[command(flatten)]
    device: DeviceArg,
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
    let predictor = Predictor::open(&args.bundle, args.batch, &chosen.device)?;
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
            "{}: {}",
            prediction.path.display(),
            top.collect::<Vec<_>>().join(", ")
        ))?;
        for window in &prediction.windows {
            let best = &window.top[0];
            // A bar of twenty cells: how sure, at a glance.
            let cells = (best.score * 20.0).round() as usize;
            output::line(format!(
                "  {:>8.2} to {:>8.2} s  {:<20}  {:.3} {}",
                window.start_sec,
                window.end_sec,
                "#".repeat(cells),
                best.score,
                best.class
            ))?;
        }
    }
    Ok(())
}

/// `num_guesses` is how many guesses each prediction holds.
fn print_csv(predictions: &[Prediction], by_window: bool, num_guesses: usize) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut header = ["path", "start_sec", "end_sec"].map(str::to_owned).to_vec();
    for rank in 1..=num_guesses {
        header.extend([format!("class_{rank}"), format!("score_{rank}")]);
    }
    writer.write_record(&header)?;
    let mut write = |prediction: &Prediction, span: [String; 2], top: &[Guess]| {
        let mut row = vec![prediction.path.to_string_lossy().into_owned()];
        row.extend(span);
        for guess in top {
            row.extend([guess.class.clone(), guess.score.to_string()]);
        }
        writer.write_record(&row)
    };
    for prediction in predictions {
        if !by_window {
            write(prediction, [String::new(), String::new()], &prediction.top)?;
        }
        for window in &prediction.windows {
            let span = [window.start_sec, window.end_sec].map(|sec| sec.to_string());
            write(prediction, span, &window.top)?;
        }
    }
    let text = String::from_utf8(writer.into_inner()?)?;
    output::line(text.trim_end())
}
