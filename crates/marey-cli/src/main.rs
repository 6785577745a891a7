//! The `marey` command. It alone prints, reads the environment, picks the device and exits.
//!
//! One module a command, each with its `Args` and a `run`. What a person reads as data goes to stdout, progress and logs to
//! stderr. Exit code 0: done; 1: done, and the answer is no, such as a leak; 2: error; 130: interrupted.

mod demo;

mod doctor;

mod data;

mod train;

mod eval;

mod compare;

mod predict;

mod bench;

mod models;

mod recognise;

mod judge;

mod copied;

mod ledger;

mod answer;

mod calibrate;

mod recordings;

mod ensemble;

mod progress;

mod device;

mod interrupt;

mod machine;

mod output;

use std::{io, process::ExitCode};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Outputs of every layer are allocated afresh at each step; an allocator that keeps its pages saves the system from
/// clearing them again and again (docs/performance/kernels.md has the figures).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains, judges and deploys video event recognisers.
#[derive(Debug, Parser)]
#[command(
    name = "marey",
    version,
    max_term_width = 100,
    propagate_version = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Render a small motion data set, train on it, judge the model and predict with it.
    Demo(demo::Args),
    /// Show what this machine can do, and whether a training step works on it.
    Doctor(doctor::Args),
    /// Look at, audit, split and pack data.
    #[command(subcommand)]
    Data(data::Command),
    /// Train a recipe; the run folder gets a bundle and a report.
    Train(train::Args),
    /// Judge a bundle on a split of a data set.
    Eval(eval::Args),
    /// Change how a bundle answers, as `[eval]` of a recipe says: what is fitted is fitted on the validation split.
    Calibrate(calibrate::Args),
    /// Put several bundles into one folder, to answer together by the mean of their scores.
    Ensemble(ensemble::Args),
    /// Compare runs on the items that all of them scored.
    Compare(compare::Args),
    /// Say what a bundle sees in files or folders.
    Predict(predict::Args),
    /// Measure the loader or a model on this machine.
    #[command(subcommand)]
    Bench(bench::Command),
    /// List the architectures.
    Models(models::Args),
}

/// What a command that did its work says about its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Done.
    Done,
    /// Done, and the answer is no, which was told: a leak, a gate not met, a run that is not better.
    No,
    /// Some inputs could not be read; each was told.
    SomeFailed,
    /// A signal ended it; what was done is saved.
    Interrupted,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("MAREY_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .without_time()
        .init();
    let result = match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Data(command) => data::run(command),
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Ensemble(args) => ensemble::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Bench(command) => bench::run(command),
        Command::Models(args) => models::run(&args),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Ok(Outcome::SomeFailed) => ExitCode::from(2),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(if is_leak(&error) { 1 } else { 2 })
        }
    }
}

/// Whether the work was refused because splits share data.
fn is_leak(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<marey::data::Error>();
    error.is_some_and(|error| matches!(error.kind(), marey::data::ErrorKind::Leaks(_)))
}
