//! What can go wrong with weights and bundles.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// Why a model could not be built, filled, saved or loaded.
#[derive(Debug)]
pub struct Error {
    path: Option<PathBuf>,
    // Boxed, so that a `Result` stays small where nothing goes wrong.
    kind: Box<ErrorKind>,
}

impl Error {
    /// An error about the file or folder at `path`.
    pub(crate) fn at(path: &Path, kind: ErrorKind) -> Self {
        Self {
            path: Some(path.to_owned()),
            kind: Box::new(kind),
        }
    }

    /// For `map_err`: a failure of the operating system while it was asked to `action`.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::at(path, ErrorKind::Io { action, source })
    }

    /// The file or folder it is about; `None` for a configuration.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What happened.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self {
            path: None,
            kind: Box::new(kind),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "cannot use {}", path.display()),
            None => write!(f, "the model cannot be built"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.kind.as_ref())
    }
}

/// The kind of an [`Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting of the model has a value that cannot work.
    #[error("model.{key} is {value}, expected {expected}")]
    Setting {
        /// Name of the key.
        key: &'static str,
        /// What was written.
        value: String,
        /// What would work.
        expected: &'static str,
    },
    /// The operating system refused.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The file is neither a PyTorch checkpoint nor a safetensors file, or is damaged.
    #[error("{problem}; expected a PyTorch checkpoint (.pth, .pt) or a .safetensors file")]
    Unreadable {
        /// What the reader says.
        problem: String,
    },
    /// One tensor of the file cannot be read.
    #[error("tensor `{tensor}` cannot be read: {problem}")]
    Tensor {
        /// Its name in the file.
        tensor: String,
        /// What is wrong.
        problem: String,
    },
    /// A tensor has another shape than the model's.
    #[error(
        "tensor `{tensor}` has shape {found:?}, the model's `{parameter}` has {expected:?}{hint}"
    )]
    Shape {
        /// Its name in the file.
        tensor: String,
        /// The parameter it was meant for.
        parameter: String,
        /// The model's shape, in the layout of the file.
        expected: Vec<usize>,
        /// The tensor's shape.
        found: Vec<usize>,
        /// What to do, where that is known.
        hint: String,
    },
    /// Two tensors of the file mean the same parameter.
    #[error(
        "tensors `{first}` and `{second}` both mean the model's `{parameter}`; remove one of them"
    )]
    Ambiguous {
        /// One name in the file.
        first: String,
        /// The other.
        second: String,
        /// The parameter.
        parameter: String,
    },
    /// No tensor of the file has the name of a parameter.
    #[error(
        "none of the file's {num} tensors belongs to {arch}: it has {found}, the model wants {wanted}, ...; use weights of this architecture"
    )]
    NothingMatched {
        /// Name of the architecture.
        arch: &'static str,
        /// Tensors in the file.
        num: usize,
        /// Some names of the file.
        found: String,
        /// The first names of the model.
        wanted: String,
    },
    /// A file that must hold exactly the model's tensors does not.
    #[error(
        "the weights do not belong to this model: missing {missing:?}, not in the model {unused:?}"
    )]
    NotThisModel {
        /// Parameters the file lacks.
        missing: Vec<String>,
        /// Tensors the model lacks.
        unused: Vec<String>,
    },
    /// The bundle was written in another format.
    #[error("bundle format version {found}, this program reads version {expected}; {advice}")]
    Version {
        /// Version of the bundle.
        found: i64,
        /// Version of this program.
        expected: i64,
        /// What to do.
        advice: &'static str,
    },
    /// The card cannot be read.
    #[error("the card is not valid: {problem}")]
    Card {
        /// What is wrong with it.
        problem: String,
    },
    /// The preprocessing that the card describes gives other pixels than the ones the model was trained on.
    #[error(
        "preprocessing has fingerprint {found}, the model was trained with {expected}; the card was edited, or this program prepares clips differently: use the program version that wrote the bundle ({written_by}), or train again"
    )]
    Fingerprint {
        /// Fingerprint in the card.
        expected: String,
        /// Fingerprint of the preprocessing as this program would do it.
        found: String,
        /// Version of the program that wrote the card.
        written_by: String,
    },
    /// The folder holds no bundle.
    #[error(
        "it is no bundle: it has no {missing}; give the folder that holds card.toml and model.safetensors"
    )]
    NoBundle {
        /// The file that is not there.
        missing: &'static str,
    },
    /// Saving would replace something that is not a bundle.
    #[error("it exists and is not a bundle; give another folder, or move it away")]
    Occupied,
}
