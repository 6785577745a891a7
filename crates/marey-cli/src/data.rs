//! `marey data`: look at, audit, split and pack data.

mod audit;

mod label_errors;

mod learning_curve;

mod example;

mod split;

mod twins;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use marey::{
    data::{self, PackConfig},
    media::{self, OpenOptions, Probe},
    train::Recipe,
};

use crate::{Outcome, output, progress::Bar};

/// The commands about data.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print what files are: container, codec, size, frames, times.
    Probe(ProbeArgs),
    /// Say what is wrong with a data set, and what would make its figures mean less than they seem to.
    Audit(audit::Args),
    /// Divide a data set into splits that share no group or no time, and write them as manifests.
    Split(split::Args),
    /// Decode a recipe's clips once into a packed store.
    Pack(PackArgs),
    /// Train on growing parts of the training split, and say what more clips would buy.
    LearningCurve(learning_curve::Args),
    /// Find items whose label looks wrong to models that never saw them.
    LabelErrors(label_errors::Args),
    /// Find items that show the same footage: copies, crops, mirrored and shifted cuts.
    Twins(twins::Args),
    /// Render an example set in the layout of a published one, to try a recipe or an audit on.
    Example(example::Args),
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
        Command::Audit(args) => audit::run(args),
        Command::Split(args) => split::run(&args),
        Command::LearningCurve(args) => learning_curve::run(args),
        Command::LabelErrors(args) => label_errors::run(args),
        Command::Pack(args) => pack(&args),
        Command::Twins(args) => twins::run(&args),
        Command::Example(args) => example::run(&args),
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
