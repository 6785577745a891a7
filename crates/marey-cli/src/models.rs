//! `marey models`: what can be trained.

use anyhow::Result;
use marey::{
    burn::tensor::Device,
    model::{Arch, Input, ModelConfig},
};
use serde::Serialize;

use crate::{Outcome, output};

/// Classes that the figures are for; parameters hardly depend on them.
const NUM_CLASSES: usize = 2;

/// Arguments of `marey models`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// An architecture, measured by building it.
#[derive(Serialize)]
struct Row {
    arch: &'static str,
    /// At 2 classes.
    parameters: usize,
    /// Of one clip of the usual input.
    multiply_adds: u64,
    input: Input,
    paper: &'static str,
}

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    // Nothing is computed but shapes, which no device does faster.
    let device = Device::flex();
    let mut rows = Vec::new();
    for &arch in Arch::ALL {
        let cost = ModelConfig::new(arch).cost(NUM_CLASSES, arch.input(), &device)?;
        rows.push(Row {
            arch: arch.name(),
            parameters: cost.parameters,
            multiply_adds: cost.multiply_adds,
            input: arch.input(),
            paper: arch.paper(),
        });
    }
    if args.json {
        output::json(&rows)?;
        return Ok(Outcome::Done);
    }
    output::line(format!(
        "{:<20} {:>11} {:>8}  {:<10}  paper",
        "model.arch", "parameters", "GFLOPs", "input"
    ))?;
    for row in rows {
        let Input { frames, size } = row.input;
        output::line(format!(
            "{:<20} {:>9.2} M {:>8.2}  {:<10}  {}",
            row.arch,
            row.parameters as f64 / 1e6,
            row.multiply_adds as f64 / 1e9,
            format!("{frames}x{size}x{size}"),
            row.paper
        ))?;
    }
    output::line("")?;
    output::line(
        "Parameters at 2 classes; GFLOPs (multiply-adds, in billions) for one clip of the input, frames x height x width. \
         Where model.temporal has a say, both are with the mean over frames.",
    )?;
    Ok(Outcome::Done)
}
