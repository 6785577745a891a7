//! `marey data twins`: items that show the same footage.

use std::{path::PathBuf, sync::Mutex, time::Duration};

use anyhow::{Context, Result};
use marey::data::{
    self, AuditConfig, DataConfig, Dataset, Twin, TwinConfig, TwinReport, TwinStage,
};
use serde::Serialize;

use crate::{Outcome, output, progress::Bar};

/// Arguments of `marey data twins`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A manifest, a folder of class folders, or a thermal set.
    data: PathBuf,
    /// Smallest similarity of a twin, 0 to 1.
    #[arg(long, default_value_t = 0.45)]
    similarity: f32,
    /// Seconds before and after an item's span that belong to it.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    margin: f64,
    /// The column of the classes.
    #[arg(long)]
    label: Option<String>,
    /// Leave out items whose file is not there.
    #[arg(long)]
    allow_missing: bool,
    /// Column (or several, joined by `+`) of the groups that twins are added to.
    #[arg(long)]
    group: Option<String>,
    /// A manifest to write, in which twins share a group.
    #[arg(long, value_name = "CSV")]
    write_groups: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A twin with names instead of positions.
#[derive(Debug, Serialize)]
struct Named<'a> {
    first: &'a str,
    second: &'a str,
    #[serde(flatten)]
    twin: &'a Twin,
}

/// An item that could not be read.
#[derive(Debug, Serialize)]
struct Unread<'a> {
    item: &'a str,
    reason: &'a str,
}

/// Everything that the command found.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    items: usize,
    twins: Vec<Named<'a>>,
    still: Vec<&'a str>,
    unreadable: Vec<Unread<'a>>,
}

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let margin = Duration::try_from_secs_f64(args.margin)
        .with_context(|| format!("--margin {} is no length of time", args.margin))?;
    let config = DataConfig {
        label: args.label.clone(),
        allow_missing: args.allow_missing,
        group: args.group.clone(),
        ..DataConfig::new(&args.data)
    };
    let twin_config = TwinConfig {
        margin,
        similarity: args.similarity,
        ..TwinConfig::default()
    };
    let (mut dataset, report) = search(&config, &twin_config)?;
    if args.json {
        output::json(&answer(&dataset, &report))?;
    } else {
        print(&dataset, &report)?;
    }
    if let Some(path) = &args.write_groups {
        data::group_twins(&mut dataset.items, &report.twins);
        data::write_manifest(&dataset, path)?;
        output::note(format!("wrote {}", path.display()));
    }
    let is_whole = report.skipped.is_empty();
    Ok(if is_whole {
        Outcome::Done
    } else {
        Outcome::SomeFailed
    })
}

/// Names of the items of each pair of twins in the data, as far as they move and can be read.
pub(super) fn pairs(config: &DataConfig) -> Result<Vec<[String; 2]>> {
    let (dataset, report) = search(config, &TwinConfig::default())?;
    output::note(format!(
        "{} of {} items hardly move: few of their twins can be found",
        report.still.len(),
        dataset.items.len()
    ));
    let id = |idx: usize| dataset.items[idx].id.clone();
    Ok(report.twins.iter().map(|twin| twin.items.map(id)).collect())
}

/// Searches all items, whatever their splits share: that is what the search is for.
fn search(config: &DataConfig, twin_config: &TwinConfig) -> Result<(Dataset, TwinReport)> {
    let dataset = data::audit(config, &AuditConfig::splits())?.dataset;
    let bar = Mutex::new(Bar::new("files"));
    let report = data::find_twins(&dataset, twin_config, &|progress| {
        let word = match progress.stage {
            TwinStage::Reading => "reading",
            TwinStage::Comparing => "comparing",
        };
        if let Ok(mut bar) = bar.lock() {
            bar.show(word, progress.done, progress.total, "");
        }
    })?;
    for skipped in &report.skipped {
        output::note(format!("could not read {}: {}", skipped.id, skipped.reason));
    }
    Ok((dataset, report))
}

fn answer<'a>(dataset: &'a Dataset, report: &'a TwinReport) -> Answer<'a> {
    let id = |idx: usize| dataset.items[idx].id.as_str();
    let named = |twin: &'a Twin| Named {
        first: id(twin.items[0]),
        second: id(twin.items[1]),
        twin,
    };
    let unread = report.skipped.iter().map(|one| Unread {
        item: &one.id,
        reason: &one.reason,
    });
    Answer {
        items: dataset.items.len(),
        twins: report.twins.iter().map(named).collect(),
        still: report.still.iter().map(|&idx| id(idx)).collect(),
        unreadable: unread.collect(),
    }
}

fn print(dataset: &Dataset, report: &TwinReport) -> Result<()> {
    for twin in &report.twins {
        let [first, second] = twin.items.map(|idx| &dataset.items[idx].id);
        output::line(format!(
            "{:.3}  {:<20}  {first}  {second}  ({:.1} s in common, {:+.3} s apart)",
            twin.similarity,
            twin.kind.name(),
            twin.overlap_sec,
            twin.offset_sec
        ))?;
    }
    output::line(format!(
        "{} pairs of twins among {} items; hardly anything moves in {} of them, so few of their twins can be found; {} could not be read",
        report.twins.len(),
        dataset.items.len(),
        report.still.len(),
        report.skipped.len()
    ))
}
