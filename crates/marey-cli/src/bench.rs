//! `marey bench`: the loader and whole models, timed on this machine. `reference/bench_*.py` runs these beside PyTorch.

mod loader;

mod model;

use anyhow::Result;
use clap::Subcommand;

use crate::Outcome;

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Clips a second out of the loader.
    Loader(loader::Args),
    /// A model's training step, its inference and its layers.
    Model(model::Args),
}

pub(crate) fn run(command: Command) -> Result<Outcome> {
    match command {
        Command::Loader(args) => loader::run(&args),
        Command::Model(args) => model::run(&args),
    }
}
