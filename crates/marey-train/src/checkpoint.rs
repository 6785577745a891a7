//! Checkpoints: everything that the next step depends on, replaced whole or not at all.
//!
//! A checkpoint is a folder with the weights, the optimiser's state and the [`Progress`]. It is written beside its place
//! and renamed into it, so a crash at any moment leaves the one before or the new one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::module::Module;
use marey_model::{Model, files};
use serde::{Deserialize, Serialize};

use crate::{Error, LossScale, Optimizer, Precision, Watch};

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Epochs completed.
    pub epochs_done: usize,
    /// Batches of the current epoch that are used up.
    pub batches_done: usize,
    /// Optimiser steps made, skipped ones among them.
    pub step: usize,
    /// Steps of these that were not applied, since a gradient was beyond `f16`.
    pub skipped_steps: usize,
    /// The factor on the loss, in `f16`.
    pub loss_scale: Option<LossScale>,
    /// Sum of the losses of the current epoch's clips.
    pub epoch_loss: f64,
    /// Clips of the current epoch so far.
    pub epoch_clips: usize,
    /// Best epoch and patience.
    pub watch: Watch,
    /// Seconds of training so far.
    pub seconds: f64,
}

impl Progress {
    /// Before the first step.
    pub(crate) fn fresh(precision: Precision) -> Self {
        Self {
            loss_scale: precision.loss_scale(),
            ..Self::default()
        }
    }
}

/// The folder `name` of the checkpoints in `dir`, as far as it can be used.
pub(crate) fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    let path = files::find_folder(&dir.join(name));
    path.is_dir().then_some(path)
}

/// Writes the checkpoint `name` into `dir`. `optimizer` is left out where only the weights are wanted.
pub(crate) fn save(
    dir: &Path,
    name: &str,
    model: &Model,
    optimizer: Option<&Optimizer>,
    progress: &Progress,
) -> Result<(), Error> {
    let place = dir.join(name);
    let failed = |error: &dyn std::fmt::Display| Error::Checkpoint {
        path: place.clone(),
        message: format!("cannot write it: {error}. Free space on the disk and resume the run"),
    };
    files::write_folder(
        &place,
        |_| true,
        |fresh| {
            let record = model.clone().into_record();
            record
                .save(fresh.join("model"))
                .map_err(|error| failed(&error))?;
            if let Some(optimizer) = optimizer {
                optimizer
                    .module
                    .save(fresh.join("optimizer"))
                    .map_err(|error| failed(&error))?;
            }
            let text = serde_json::to_string_pretty(progress).map_err(|error| failed(&error))?;
            let path = fresh.join("progress.json");
            fs::write(&path, text).map_err(Error::io("write", &path))
        },
    )
}

/// The checkpoint at `path`: its weights in `model`, its state in `optimizer`, and how far the run had come.
pub(crate) fn load(
    path: &Path,
    model: Model,
    mut optimizer: Optimizer,
) -> Result<(Model, Optimizer, Progress), Error> {
    let model = load_model(path, model)?;
    optimizer.module = optimizer
        .module
        .load(path.join("optimizer"))
        .map_err(|error| unusable(path, &error))?;
    let progress = path.join("progress.json");
    let text = fs::read_to_string(&progress).map_err(Error::io("read", &progress))?;
    let progress = serde_json::from_str(&text).map_err(|error| unusable(path, &error))?;
    Ok((model, optimizer, progress))
}

/// The weights of the checkpoint at `path`, in `model`, which must be of the same architecture.
pub(crate) fn load_model(path: &Path, model: Model) -> Result<Model, Error> {
    model
        .try_load_file(path.join("model"))
        .map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Checkpoint {
        path: path.to_owned(),
        message: format!(
            "cannot be used: {error}. Start a new run, or resume from another checkpoint"
        ),
    }
}
