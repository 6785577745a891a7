//! Checkpoints: everything that the next step depends on, replaced whole or not at all.
//!
//! A checkpoint is a folder with the weights, their average where there is one, the optimiser's state and the [`Progress`]. It is written beside its place
//! and renamed into it, so a crash at any moment leaves the one before or the new one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::module::Module;
use marey_model::{Model, files};
use serde::{Deserialize, Serialize};

use crate::{Error, LossScale, Optimizer, OptimizerSection, Plateau, Precision, Watch};

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
    /// How far a plateau schedule has lowered the rate.
    #[serde(default)]
    pub plateau: Plateau,
    /// Weights that have gone into the average: steps of a moving one, epochs of a mean.
    #[serde(default)]
    pub num_averaged: usize,
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

/// What a checkpoint holds.
pub(crate) struct Contents<'a> {
    pub(crate) model: &'a Model,
    /// Left out where there is none, or only the weights are wanted.
    pub(crate) average: Option<&'a Model>,
    /// Left out where only the weights are wanted.
    pub(crate) optimizer: Option<&'a Optimizer>,
    pub(crate) progress: &'a Progress,
}

/// Writes the checkpoint `name` into `dir`.
pub(crate) fn save(dir: &Path, name: &str, contents: &Contents<'_>) -> Result<(), Error> {
    let place = dir.join(name);
    let failed = |error: &dyn std::fmt::Display| Error::Checkpoint {
        path: place.clone(),
        message: format!("cannot write it: {error}. Free space on the disk and resume the run"),
    };
    files::write_folder(
        &place,
        |_| true,
        |fresh| {
            let models = [
                ("model", Some(contents.model)),
                ("average", contents.average),
            ];
            for (name, model) in models {
                if let Some(model) = model {
                    let record = model.clone().into_record();
                    record
                        .save(fresh.join(name))
                        .map_err(|error| failed(&error))?;
                }
            }
            if let Some(optimizer) = contents.optimizer {
                optimizer
                    .module
                    .save(fresh.join("optimizer"))
                    .map_err(|error| failed(&error))?;
            }
            let text =
                serde_json::to_string_pretty(contents.progress).map_err(|error| failed(&error))?;
            let path = fresh.join("progress.json");
            fs::write(&path, text).map_err(Error::io("write", &path))
        },
    )
}

/// Where a run stands: what its next step needs.
pub(crate) struct State {
    pub(crate) model: Model,
    pub(crate) average: Option<Model>,
    pub(crate) optimizer: Optimizer,
    pub(crate) progress: Progress,
}

/// The checkpoint at `path`: its weights in `model`, and the state of an optimiser of `section`. Its average is read where
/// `has_average` says of its progress that there is one.
pub(crate) fn load(
    path: &Path,
    model: Model,
    section: &OptimizerSection,
    has_average: impl FnOnce(&Progress) -> bool,
) -> Result<State, Error> {
    let place = path.join("progress.json");
    let text = fs::read_to_string(&place).map_err(Error::io("read", &place))?;
    let progress = serde_json::from_str(&text).map_err(|error| unusable(path, &error))?;
    let model = section.freeze(load_model(path, "model", model)?);
    let average = match has_average(&progress) {
        true => Some(load_model(path, "average", model.valid())?),
        false => None,
    };
    // Weights bring their ids, by which the optimiser knows them.
    let mut optimizer = section.init(&model);
    optimizer.module = optimizer
        .module
        .load(path.join("optimizer"))
        .map_err(|error| unusable(path, &error))?;
    Ok(State {
        model,
        average,
        optimizer,
        progress,
    })
}

/// The weights `name` of the checkpoint at `path`, in `model`, which must be of the same architecture.
pub(crate) fn load_model(path: &Path, name: &str, model: Model) -> Result<Model, Error> {
    model
        .try_load_file(path.join(name))
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

#[cfg(test)]
mod tests {
    use burn::{
        optim::GradientsParams,
        tensor::{Device, Tensor},
    };
    use marey_clip::rng_for;
    use marey_model::{Arch, ModelConfig, weights::save as save_weights};

    use super::*;
    use crate::{EmaConfig, SamConfig, average::approach, update::StepGradients};

    const EMA: EmaConfig = EmaConfig {
        decay: 0.9,
        warmup: true,
    };

    /// A sharp step on a model with two rates, one of them without decay, whose stem is frozen, and its moving average.
    fn step(state: State) -> State {
        let device = Device::flex().autodiff();
        let clips = (0..2 * 2 * 16 * 16 * 3).map(|idx| (idx % 17) as f32 / 17.0);
        let clips = Tensor::<1>::from_floats(clips.collect::<Vec<_>>().as_slice(), &device)
            .reshape([2, 2, 16, 16, 3]);
        let State {
            model,
            average,
            mut optimizer,
            mut progress,
        } = state;
        let grads = SamConfig::default().gradients(&model, |model| {
            let loss = model.forward(clips.clone()).square().sum();
            StepGradients {
                losses: vec![loss.clone().inner()],
                grads: GradientsParams::from_grads(loss.backward(), model),
            }
        });
        let model = optimizer.step(0.01, 0.5, model, grads.grads);
        let share = EMA.share(progress.num_averaged);
        progress.num_averaged += 1;
        progress.plateau.scale *= 0.7;
        State {
            average: average.map(|average| approach(average, &model, share)),
            model,
            optimizer,
            progress,
        }
    }

    /// The values of a model, without the header before them, whose entries come in any order.
    fn bytes(model: &Model, dir: &Path) -> Vec<u8> {
        let path = dir.join("weights.safetensors");
        save_weights(model, &path).expect("saved");
        let bytes = fs::read(path).expect("read");
        let header = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
        bytes[8 + header as usize..].to_vec()
    }

    #[test]
    fn what_is_loaded_goes_on_to_the_bit() {
        let dir = tempfile::tempdir().expect("a folder");
        let text = "kind = \"adamw\"\nlr = 0.01\nbackbone_lr_factor = 0.1\ndecay_norms_and_biases = false\n\
                    freeze = [\"stem\"]";
        let mut section: OptimizerSection = toml::from_str(text).expect("valid TOML");
        section.resolve().expect("valid");
        let fresh = |seed| {
            let mut config = ModelConfig::new(Arch::R3d18);
            config.width = Some(0.125);
            let device = Device::flex().autodiff();
            let model = config.init(3, &mut rng_for(seed, 0, 0, 0), &device);
            section.freeze(model.expect("a valid model"))
        };
        let model = fresh(1);
        let state = State {
            average: Some(model.valid()),
            optimizer: section.init(&model),
            progress: Progress::fresh(Precision::F32),
            model,
        };
        let state = step(step(state));
        let contents = Contents {
            model: &state.model,
            average: state.average.as_ref(),
            optimizer: Some(&state.optimizer),
            progress: &state.progress,
        };
        save(dir.path(), "last", &contents).expect("saved");
        // Another model with other ids takes it in.
        let path = find(dir.path(), "last").expect("a checkpoint");
        let loaded = load(&path, fresh(2), &section, |_| true).expect("loaded");
        let [whole, resumed] = [state, loaded].map(|state| step(step(state)));
        assert_eq!(resumed.progress, whole.progress);
        let same = |a: &Model, b: &Model| bytes(a, dir.path()) == bytes(b, dir.path());
        assert!(same(&whole.model, &resumed.model), "weights differ");
        let averages = [&whole, &resumed].map(|state| state.average.as_ref().expect("an average"));
        assert!(same(averages[0], averages[1]), "averages differ");
        assert!(!same(averages[0], &whole.model));
    }
}
