//! Why figures or a report could not be made.

use std::path::{Path, PathBuf};

/// Why figures or a report could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.headline())]
pub struct Error {
    path: Option<PathBuf>,
    #[source]
    kind: ErrorKind,
}

impl Error {
    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The file that could not be written, where a file was involved.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub(crate) fn writing(path: &Path, source: std::io::Error) -> Self {
        Self {
            path: Some(path.to_owned()),
            kind: ErrorKind::Io(source),
        }
    }

    fn headline(&self) -> String {
        match (&self.path, &self.kind) {
            (Some(path), _) => format!("cannot write {}", path.display()),
            (None, ErrorKind::Schema { .. } | ErrorKind::Json(_)) => {
                "cannot read the report".into()
            }
            (None, ErrorKind::Draw(_)) => "cannot draw the plot".into(),
            (None, _) => "cannot evaluate these scores".into(),
        }
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self { path: None, kind }
    }
}

/// The kind of an evaluation [`Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There was nothing to evaluate.
    #[error("no items; the split may be empty, or every item of it was skipped")]
    NoItems,
    /// A class list too short to classify with.
    #[error("{0} class(es); a classifier needs at least 2")]
    TooFewClasses(usize),
    /// The training counts do not belong to the class list.
    #[error(
        "{counts} training counts for {classes} classes; give one for each class, in the same order"
    )]
    TrainCounts {
        /// Number of counts given.
        counts: usize,
        /// Number of classes.
        classes: usize,
    },
    /// An item's target is not in the class list.
    #[error("item {item:?} has class {target}, but there are only {classes} classes (0 to {})", classes - 1)]
    Target {
        /// The item.
        item: String,
        /// Its target.
        target: usize,
        /// Number of classes.
        classes: usize,
    },
    /// An item has a wrong number of scores.
    #[error("item {item:?} has {scores} scores, expected one for each of {classes} classes")]
    NumScores {
        /// The item.
        item: String,
        /// Number of its scores.
        scores: usize,
        /// Number of classes.
        classes: usize,
    },
    /// An item has a score that is NaN or infinite.
    #[error(
        "item {item:?} has a score that is not finite; the model's output overflowed or its weights are broken"
    )]
    Score {
        /// The item.
        item: String,
    },
    /// One item was scored twice: counting it twice would narrow the interval without reason.
    #[error("item {item:?} appears twice; average the scores of its views first")]
    Duplicate {
        /// The item.
        item: String,
    },
    /// Fewer than two bootstrap draws give no interval.
    #[error("{0} bootstrap draws; use at least 2, and 1000 for an interval worth printing")]
    Draws(usize),
    /// A baseline was scored on other items than the model.
    #[error(
        "the baseline {name:?} has no scores for item {item:?}, or another target; score it on the same items"
    )]
    Unpaired {
        /// Name of the baseline.
        name: String,
        /// The first item that does not fit.
        item: String,
    },
    /// A report of another schema version.
    #[error("its schema version is {found}, this program reads version {expected}")]
    Schema {
        /// Version in the file.
        found: u64,
        /// Version of this program.
        expected: u64,
    },
    /// Text that is not a report.
    #[error("it is not a report in JSON")]
    Json(#[source] serde_json::Error),
    /// A plot could not be turned into pixels.
    #[error("{0}")]
    Draw(String),
    /// A file could not be written.
    #[error(transparent)]
    Io(std::io::Error),
}
