//! `marey ensemble`: several bundles that answer together.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use marey::{
    infer::Predictor,
    model::{Answering, EnsembleCard},
};

use crate::{Outcome, device::DeviceArg, output};

/// Arguments of `marey ensemble`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run folders or bundles, two or more, with the same classes.
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Folder of the ensemble, which `eval`, `predict` and `calibrate` take like a bundle.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    device: DeviceArg,
}

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let dirs: Vec<PathBuf> = args.runs.iter().map(|dir| bundle_in(dir)).collect();
    for (idx, dir) in dirs.iter().enumerate() {
        ensure!(
            !dirs[..idx].contains(dir),
            "{} is given twice: its scores would count twice",
            dir.display()
        );
    }
    let chosen = args.device.choose()?;
    let predictor = Predictor::together(&dirs, 1, &chosen.device)?;
    if let Some(told) = other_data(&predictor) {
        output::note(format!("warning: {told}"));
    }
    let members: Vec<_> = predictor
        .members()
        .iter()
        .enumerate()
        .map(|(idx, member)| {
            let run = &member.card().provenance.run;
            (format!("{}-{run}", idx + 1), member.bundle())
        })
        .collect();
    EnsembleCard::save(&args.output, &members, &Answering::default())?;
    output::line(format!(
        "ensemble of {} bundles  {}",
        members.len(),
        args.output.display()
    ))?;
    Ok(Outcome::Done)
}

/// The bundle of a run folder, or the folder itself.
fn bundle_in(dir: &Path) -> PathBuf {
    let inside = dir.join("bundle");
    if inside.is_dir() {
        inside
    } else {
        dir.to_owned()
    }
}

/// What must be said of bundles that were not trained on the same items: what one held out another may have learned.
pub(crate) fn other_data(predictor: &Predictor) -> Option<String> {
    let mut members = predictor.members().iter().map(|member| member.card());
    let first = &members.next()?.provenance;
    let other = members.find(|card| card.provenance.data != first.data)?;
    let words = |provenance: &marey::model::Provenance| {
        let data = &provenance.data;
        format!(
            "{}: {}, {} items for training, split {}",
            provenance.run, data.name, data.train, data.split
        )
    };
    Some(format!(
        "the bundles were trained on data that was divided differently ({}; {}): items that one held out another may have \
         learned, so figures of the ensemble may flatter it",
        words(first),
        words(&other.provenance)
    ))
}
