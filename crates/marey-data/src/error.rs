//! Why data could not be used: always the file or folder, what was expected and what to do.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::Finding;

/// Why a data set could not be imported, split, packed or loaded.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    kind: Box<ErrorKind>,
}

/// The kind of a data [`Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file or folder could not be read or written.
    #[error("cannot {action}")]
    Io {
        /// What was tried, as a verb: `read`, `write`, …
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A setting that cannot work, or that has no effect beside the others.
    #[error("{key}: {problem}")]
    Config {
        /// Name of the setting, as written in a recipe.
        key: &'static str,
        /// What is wrong, what was expected and what to do.
        problem: String,
    },
    /// One line of a manifest.
    #[error("line {line}: {problem}")]
    Line {
        /// Line of the file, counted from 1.
        line: u64,
        /// What is wrong, what was expected and what to do.
        problem: String,
    },
    /// The whole of a manifest, folder or annotation file.
    #[error("{0}")]
    Layout(String),
    /// Files that a list names are not there.
    #[error(
        "{count} of {total} items name a file that is not there, the first is {first}: put the files in place, map \
         their folder by data.path_map, or leave the items out by data.allow_missing = true"
    )]
    Missing {
        /// Items that cannot be used.
        count: usize,
        /// All items.
        total: usize,
        /// The first file that is not there, with how many items need it where that is more than one.
        first: String,
    },
    /// The same thing on two sides of a split.
    #[error("{}", describe_leaks(.0))]
    Leaks(Vec<Finding>),
    /// What an audit found that makes figures wrong, and is no leak.
    #[error("the data has faults:{}", in_lines(.0))]
    Faults(Vec<Finding>),
    /// A split that cannot be made.
    #[error("cannot split: {0}")]
    Split(String),
    /// A source could not be decoded.
    #[error(transparent)]
    Media(marey_media::Error),
    /// A clip does not fit the preprocessing.
    #[error(transparent)]
    Transform(marey_transform::Error),
    /// A packed store that is not one, or that belongs to other data or settings.
    #[error("{0}")]
    Store(String),
    /// A source that the packed store lacks, because it could not be decoded when it was packed.
    #[error("could not be decoded when it was packed: {0}")]
    Unpacked(String),
    /// The code itself failed on an item. This is a defect of the program.
    #[error("the program failed on this item (please report it): {0}")]
    Panic(String),
}

impl Error {
    pub(crate) fn new(path: &Path, kind: ErrorKind) -> Self {
        Self {
            path: path.to_owned(),
            kind: Box::new(kind),
        }
    }

    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::new(path, ErrorKind::Io { action, source })
    }

    pub(crate) fn config(path: &Path, key: &'static str, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::new(path, ErrorKind::Config { key, problem })
    }

    pub(crate) fn line(path: &Path, line: u64, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::new(path, ErrorKind::Line { line, problem })
    }

    pub(crate) fn layout(path: &Path, problem: impl Into<String>) -> Self {
        Self::new(path, ErrorKind::Layout(problem.into()))
    }

    /// The file or folder that is concerned.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.kind {
            // These name the path themselves.
            ErrorKind::Media(error) => write!(f, "{error}"),
            kind => write!(f, "{}: {kind}", self.path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}

/// How many findings an error spells out.
const FINDINGS_SHOWN: usize = 10;

fn in_lines(findings: &[Finding]) -> String {
    let mut lines: String = findings
        .iter()
        .take(FINDINGS_SHOWN)
        .map(|finding| match finding.mend.as_str() {
            "" => format!("\n  {}", finding.sentence),
            mend => format!("\n  {} (mend: {mend})", finding.sentence),
        })
        .collect();
    if findings.len() > FINDINGS_SHOWN {
        lines += &format!("\n  and {} more", findings.len() - FINDINGS_SHOWN);
    }
    lines
}

fn describe_leaks(leaks: &[Finding]) -> String {
    format!(
        "the splits share data, so a figure on the held-out items would not say how good the model is on new data:{}\n\
         make a split without it by `marey data split`, or accept it by data.allow_leak = \"<the reason>\"",
        in_lines(leaks)
    )
}
