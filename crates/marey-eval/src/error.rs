//! Why figures or a report could not be made.

use std::path::{Path, PathBuf};

/// Why figures or a report could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.headline())]
pub struct Error {
    path: Option<PathBuf>,
    /// Boxed, because it names what does not fit and would make every result large.
    #[source]
    kind: Box<ErrorKind>,
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
            kind: Box::new(ErrorKind::Io(source)),
        }
    }

    fn headline(&self) -> String {
        match (&self.path, &*self.kind) {
            (Some(path), _) => format!("cannot write {}", path.display()),
            (None, ErrorKind::Schema { .. } | ErrorKind::Json(_)) => {
                "cannot read the report".into()
            }
            (None, ErrorKind::Csv(_) | ErrorKind::Columns(_) | ErrorKind::Cell { .. }) => {
                "cannot read the predictions".into()
            }
            (
                None,
                ErrorKind::TooFewRuns(_)
                | ErrorKind::OtherClasses { .. }
                | ErrorKind::TwoTruths { .. }
                | ErrorKind::NoCommonItem(_)
                | ErrorKind::NoFigure { .. },
            ) => "cannot compare these runs".into(),
            (None, ErrorKind::Draw(_)) => "cannot draw the plot".into(),
            (None, _) => "cannot evaluate these scores".into(),
        }
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
    /// Labels and scores do not belong together.
    #[error("{labels} labels and {scores} scores; give one of each for every item")]
    Lengths {
        /// Number of labels.
        labels: usize,
        /// Number of scores.
        scores: usize,
    },
    /// A score that is NaN or infinite.
    #[error(
        "the score at position {0} is not finite; the model's output overflowed or its weights are broken"
    )]
    ScoreAt(usize),
    /// A confidence that is no probability.
    #[error(
        "the confidence at position {0} is not in 0..=1; give probabilities, after softmax or sigmoid"
    )]
    Confidence(usize),
    /// A figure of two sides with one of them missing.
    #[error("no {0} item; this figure needs positive and negative ones")]
    OneSided(&'static str),
    /// Something was to be chosen on a split that must not choose.
    #[error(
        "the split is {0:?}; thresholds and calibrations are chosen on \"validation\", so that the test split stays unseen"
    )]
    NotValidation(String),
    /// Logits that give no scores.
    #[error(
        "no logits, or one that is not finite; the model's output overflowed or its weights are broken"
    )]
    Logits,
    /// A temperature that logits cannot be divided by.
    #[error("the temperature is {0}; it must be above 0 and finite")]
    Temperature(f64),
    /// A calibration that no fit gives.
    #[error(
        "the calibration holds numbers that are not finite, or curves that fall or have unequal sides; fit it again"
    )]
    Calibration,
    /// An alarm of no window.
    #[error("0 windows make no alarm; give at least 1")]
    NoWindow,
    /// Windows over which a mean does not smooth.
    #[error("a mean over {0} window(s) smooths nothing; give at least 2")]
    SmoothingWindows(usize),
    /// A weight that is no mixture of present and past.
    #[error("the weight of the present window is {0}; it must be above 0 and below 1")]
    SmoothingWeight(f64),
    /// A class that is not in the list.
    #[error("class {class} is not among the {classes} classes (0 to {})", classes - 1)]
    NoClass {
        /// Index of the class.
        class: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A share outside its range.
    #[error("{0} is no share; give a number in 0..=1")]
    NoShare(f64),
    /// A cost that cannot be weighed.
    #[error("the cost is {0}; it must be 0 or more, and finite")]
    Cost(f64),
    /// Pairs of classes that do not match the two heads, or none that can occur.
    #[error("the valid pairs must have {} rows of {} entries, one of them true at least", classes[0], classes[1])]
    Pairs {
        /// Number of classes of each head.
        classes: [usize; 2],
    },
    /// Too few points for a learning curve.
    #[error("{0} different numbers of training items; a learning curve needs at least 3")]
    FewPoints(usize),
    /// A point that no learning curve has.
    #[error(
        "the point at position {0} has no items, an error outside 0..=1, or a standard error that is negative or not finite"
    )]
    LearningPoint(usize),
    /// An overlap that no event can have.
    #[error("the overlap is {0}; it must be above 0 and at most 1")]
    Overlap(f64),
    /// A stream that was watched for no time.
    #[error("stream {stream:?} was watched for no time, so nothing can be counted per hour")]
    NotWatched {
        /// The stream.
        stream: String,
    },
    /// A box that is none.
    #[error("picture {picture:?} has a box without area, or with an edge that is not finite")]
    Rectangle {
        /// The picture.
        picture: String,
    },
    /// Scores that are no distribution over the classes.
    #[error(
        "the scores of an item do not sum to 1, or one is not in 0..=1; give scores after softmax"
    )]
    NotProbabilities,
    /// A reliability diagram without bars.
    #[error("0 bins; use 10 or 15")]
    NoBins,
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
    /// Text that is not CSV.
    #[error("it is not CSV with one row an item")]
    Csv(#[source] csv::Error),
    /// A CSV file of other columns.
    #[error(
        "its columns are [{}], expected item, group, truth, predicted, correct, confidence and a score_ column for each \
         class, as predictions.csv has them",
        .0.join(", ")
    )]
    Columns(Vec<String>),
    /// A cell that makes no sense.
    #[error("line {line}: {cell:?} is not {expected}")]
    Cell {
        /// Line of the file, from 1.
        line: u64,
        /// What it says.
        cell: String,
        /// What was expected.
        expected: &'static str,
    },
    /// Fewer than two runs.
    #[error("{0} run(s); name at least two")]
    TooFewRuns(usize),
    /// Runs that know other classes.
    #[error(
        "{first} knows the classes [{}], {other} knows [{}]; only runs with the same classes in the same order can be \
         compared",
        first_classes.join(", "),
        other_classes.join(", ")
    )]
    OtherClasses {
        /// Name of the first run.
        first: String,
        /// Its classes.
        first_classes: Vec<String>,
        /// Name of the other run.
        other: String,
        /// Its classes.
        other_classes: Vec<String>,
    },
    /// An item that has one label in one run and another in the other.
    #[error(
        "item {item:?} is {:?} in {} and {:?} in {}; judge both on the same labels by `marey eval`",
        truths[0], runs[0], truths[1], runs[1]
    )]
    TwoTruths {
        /// The item.
        item: String,
        /// The two labels.
        truths: [String; 2],
        /// The two runs.
        runs: [String; 2],
    },
    /// Runs that were judged on different items.
    #[error(
        "no item was scored by all of [{}]; judge them on the same data and split by `marey eval`",
        .0.join(", ")
    )]
    NoCommonItem(Vec<String>),
    /// A figure that is not computed.
    #[error("{name:?} is no figure; there are {}", figures.join(", "))]
    NoFigure {
        /// What was asked for.
        name: String,
        /// What there is.
        figures: Vec<String>,
    },
    /// A plot could not be turned into pixels.
    #[error("{0}")]
    Draw(String),
    /// A file could not be written.
    #[error(transparent)]
    Io(std::io::Error),
}

/// Each of `cases` is an error, whose kind says what is expected.
#[cfg(test)]
pub(crate) fn assert_refused<T: std::fmt::Debug, const N: usize>(
    cases: [(Result<T, Error>, &str); N],
) {
    for (found, expected) in cases {
        let error = found.expect_err(expected);
        assert!(
            error.kind().to_string().contains(expected),
            "{}",
            error.kind()
        );
    }
}
