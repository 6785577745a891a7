//! Why a prediction could not be made.

use std::path::PathBuf;

/// Why predicting or evaluating failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The window or hop cannot work.
    #[error("{0}")]
    Windowing(String),
    /// The data set's classes are not the bundle's.
    #[error(
        "the bundle knows the classes [{}], the data set has [{}]: name the bundle's classes in their order by \
         data.classes, or use another bundle",
        bundle.join(", "),
        data.join(", ")
    )]
    Classes {
        /// Classes of the bundle.
        bundle: Vec<String>,
        /// Classes of the data set.
        data: Vec<String>,
    },
    /// The data tells events of a source that are none.
    #[error("{problem}")]
    Events {
        /// Which item, what it says, and what was expected.
        problem: String,
    },
    /// An ensemble of nothing.
    #[error("no bundle was given")]
    NoMember,
    /// Bundles that answer together know different classes.
    #[error(
        "{} knows the classes [{}], {} knows [{}]: only bundles with the same classes in the same order can answer together",
        first.display(), first_classes.join(", "), other.display(), other_classes.join(", ")
    )]
    Members {
        /// The first bundle.
        first: PathBuf,
        /// Its classes.
        first_classes: Vec<String>,
        /// A bundle with other classes.
        other: PathBuf,
        /// Its classes.
        other_classes: Vec<String>,
    },
    /// The model's scores are not finite.
    #[error("the model's scores for {} are not finite: its weights are damaged, or its input is", path.display())]
    NonFinite {
        /// The source.
        path: PathBuf,
    },
    /// The bundle could not be loaded.
    #[error(transparent)]
    Model(#[from] marey_model::Error),
    /// A source could not be read.
    #[error(transparent)]
    Media(#[from] marey_media::Error),
    /// A clip could not be prepared.
    #[error(transparent)]
    Transform(#[from] marey_transform::Error),
    /// The data could not be loaded.
    #[error(transparent)]
    Data(#[from] marey_data::Error),
    /// The figures could not be computed.
    #[error(transparent)]
    Eval(#[from] marey_eval::Error),
}
