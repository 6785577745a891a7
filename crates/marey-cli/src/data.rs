//! `marey data`: look at, split and pack data.

mod twins;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use marey::{
    data::{self, DataConfig, PackConfig, Split, SplitBy, SplitConfig},
    media::{self, OpenOptions, Probe},
    train::Recipe,
};

use crate::{Outcome, output, progress::Bar};

/// The commands about data.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print what files are: container, codec, size, frames, times.
    Probe(ProbeArgs),
    /// Divide a data set into splits that share no group, and write it as a manifest.
    Split(SplitArgs),
    /// Decode a recipe's clips once into a packed store.
    Pack(PackArgs),
    /// Find items that show the same footage: copies, crops, mirrored and shifted cuts.
    Twins(twins::Args),
}

/// Arguments of `marey data probe`.
#[derive(Debug, clap::Args)]
pub(crate) struct ProbeArgs {
    /// Files, or folders of images.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

/// Arguments of `marey data split`.
#[derive(Debug, clap::Args)]
pub(crate) struct SplitArgs {
    /// A manifest, a folder of class folders, or a thermal set.
    data: PathBuf,
    /// The column (or several, joined by `+`) that splits must not share.
    #[arg(long)]
    group: Option<String>,
    /// A regular expression whose parentheses capture the group in an item's name, where no column says it.
    #[arg(long, value_name = "REGEX", conflicts_with = "group")]
    group_pattern: Option<String>,
    /// The column of the classes.
    #[arg(long)]
    label: Option<String>,
    /// Share of items for validation, 0 to 1.
    #[arg(long, default_value_t = 0.2)]
    validation: f64,
    /// Share of items for the test, 0 to 1.
    #[arg(long, default_value_t = 0.2)]
    test: f64,
    /// Seed of the division.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The manifest to write.
    #[arg(long, value_name = "CSV")]
    output: PathBuf,
}

/// Arguments of `marey data pack`.
#[derive(Debug, clap::Args)]
pub(crate) struct PackArgs {
    /// The recipe whose data is packed, at its preprocessing.
    recipe: PathBuf,
    /// Change a key of the recipe.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The store to write.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn run(command: Command) -> Result<Outcome> {
    match command {
        Command::Probe(args) => probe(&args),
        Command::Split(args) => split(args),
        Command::Pack(args) => pack(&args),
        Command::Twins(args) => twins::run(&args),
    }
}

fn probe(args: &ProbeArgs) -> Result<Outcome> {
    let (mut probes, mut failed) = (Vec::new(), 0);
    for path in &args.files {
        match media::open(path, &OpenOptions::default()) {
            Ok(reader) => {
                let probe = Probe::from(reader.info());
                if args.json {
                    probes.push(probe);
                } else {
                    output::line(describe(&probe))?;
                }
            }
            Err(error) => {
                output::error(&anyhow::Error::new(error));
                failed += 1;
            }
        }
    }
    if args.json {
        output::json(&probes)?;
    }
    if failed > 0 {
        output::note(format!(
            "{failed} of {} files could not be read",
            args.files.len()
        ));
        return Ok(Outcome::SomeFailed);
    }
    Ok(Outcome::Done)
}

/// A probe in a few lines of words.
fn describe(probe: &Probe) -> String {
    let rate = probe
        .frame_rate
        .as_deref()
        .map_or_else(|| "variable".to_owned(), |rate| format!("{rate} a second"));
    let mut text = format!(
        "{}\n  {} in {}, read by the {}\n  {}x{}, {} channels of {} bits\n  {} frames, rate {rate}, {:.3} s from {:.3} s",
        probe.path.display(),
        probe.codec,
        probe.container,
        probe.backend,
        probe.width,
        probe.height,
        probe.channels,
        probe.bit_depth,
        probe.frames,
        probe.duration_sec,
        probe.start_sec
    );
    for warning in &probe.warnings {
        text.push_str(&format!("\n  warning: {warning}"));
    }
    text
}

fn split(args: SplitArgs) -> Result<Outcome> {
    let config = DataConfig {
        group: args.group,
        group_pattern: args.group_pattern,
        label: args.label,
        split: SplitConfig {
            by: SplitBy::Group,
            validation: Some(args.validation),
            test: Some(args.test),
            seed: Some(args.seed),
        },
        ..DataConfig::new(args.data)
    };
    let dataset = data::load(&config)?;
    data::write_manifest(&dataset, &args.output)?;
    output::line("split       items  groups  of each class")?;
    for split in Split::ALL {
        let indices = dataset.indices(split);
        let counts = dataset.class_counts(split);
        let counts = dataset
            .classes
            .names()
            .iter()
            .zip(counts)
            .map(|(name, count)| format!("{name} {count}"));
        let counts = counts.collect::<Vec<_>>().join(", ");
        output::line(format!(
            "{:<10} {:>6}  {:>6}  {counts}",
            split.name(),
            indices.len(),
            dataset.num_groups(split)
        ))?;
    }
    output::line(format!("wrote {}", args.output.display()))?;
    Ok(Outcome::Done)
}

fn pack(args: &PackArgs) -> Result<Outcome> {
    let recipe = Recipe::read(&args.recipe, &args.set)?;
    let dataset = data::load(&recipe.data)?;
    let mut bar = Bar::new("frames");
    let config = PackConfig {
        path: args.output.clone(),
        workers: recipe.train.workers.max(1),
        unreadable: recipe.data.unreadable,
        open: OpenOptions::default(),
    };
    let report = data::pack(
        &dataset,
        &recipe.sampling,
        &recipe.preprocess,
        &config,
        &mut |progress| {
            bar.show("packing", progress.frames, progress.total, "");
        },
    )?;
    drop(bar);
    for skipped in &report.skipped {
        output::note(format!("left out {}: {}", skipped.id, skipped.reason));
    }
    output::line(format!(
        "{}: {} frames of {} sources, {}",
        args.output.display(),
        report.frames,
        report.sources,
        crate::machine::readable_bytes(report.size_bytes)
    ))?;
    output::line(format!(
        "use it with: --set data.packed={}",
        args.output.display()
    ))?;
    Ok(Outcome::Done)
}
