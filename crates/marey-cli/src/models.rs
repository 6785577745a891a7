//! `marey models`: what can be trained.

use anyhow::Result;
use marey::model::Arch;
use serde::Serialize;

use crate::{Outcome, output};

/// Arguments of `marey models`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    arch: &'static str,
    parameters: usize,
    paper: &'static str,
}

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let rows: Vec<Row> = Arch::ALL
        .iter()
        .map(|arch| Row {
            arch: arch.name(),
            parameters: arch.num_parameters(),
            paper: arch.paper(),
        })
        .collect();
    if args.json {
        output::json(&rows)?;
        return Ok(Outcome::Done);
    }
    output::line("model.arch                 parameters (2 classes)  paper")?;
    for Row {
        arch,
        parameters,
        paper,
    } in rows
    {
        output::line(format!(
            "{arch:<24} {:>17.2} M       {paper}",
            parameters as f64 / 1e6
        ))?;
    }
    Ok(Outcome::Done)
}
