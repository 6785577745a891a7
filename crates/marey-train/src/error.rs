//! Why a run could not start or go on.

use std::path::{Path, PathBuf};

use crate::Precision;

/// Why training failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The recipe cannot be used.
    #[error("recipe {}: {message}", path.display())]
    Recipe {
        /// The recipe's file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// The recipe does not fit its data or its model.
    #[error("{message}")]
    Setting {
        /// What is wrong and what to do.
        message: String,
    },
    /// A file of the run could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A checkpoint does not fit.
    #[error("checkpoint {}: {message}", path.display())]
    Checkpoint {
        /// The checkpoint's folder.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// The loss or the gradient of a step was not a finite number; the step was not applied.
    #[error(
        "the {what} of step {step} (epoch {epoch}) is {value}; the step was not applied. Items of the batch: {}. \
         Try {}a lower optimizer.lr, a longer schedule.warmup_epochs, a smaller train.clip_norm, and look at these items \
         with `marey data probe`",
        items.join(", "),
        other_precision(*precision)
    )]
    NonFinite {
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// The step, counted from 0.
        step: usize,
        /// The epoch, counted from 1.
        epoch: usize,
        /// What it was.
        value: f32,
        /// The run's `train.precision`.
        precision: Precision,
        /// Ids of the items of the batch.
        items: Vec<String>,
    },
    /// The data could not be loaded.
    #[error(transparent)]
    Data(#[from] marey_data::Error),
    /// The model could not be built, loaded or saved.
    #[error(transparent)]
    Model(#[from] marey_model::Error),
    /// The figures could not be computed.
    #[error(transparent)]
    Eval(#[from] marey_eval::Error),
}

/// What to try first where numbers have less room than they could have.
const fn other_precision(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "",
        Precision::Bf16 => "train.precision = \"f32\", ",
        // The scale of the loss has been lowered as far as it goes, or the forward pass itself is out of range.
        Precision::F16 => "train.precision = \"bf16\" (f16 ends at 65504) or \"f32\", ",
    }
}

impl Error {
    /// Turns a system error into one that names the path, for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
