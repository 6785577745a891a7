//! Why media could not be read: always the path, the instant where one is known, and what to do about it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use marey_clip::Timestamp;

/// Why a source could not be opened or read.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    at: Option<Timestamp>,
    kind: ErrorKind,
}

/// The kind of a media [`Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file or folder could not be read from disk.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// The file holds no moving picture that could be shown.
    #[error("no video in it: {0}")]
    NoVideo(String),
    /// The container contradicts itself or ends early, so that no frame can be located.
    #[error("broken {format}: {detail}")]
    Broken {
        /// What the file was taken for.
        format: &'static str,
        /// What was found, with its position.
        detail: String,
    },
    /// A frame's data could not be decoded.
    #[error("cannot decode frame {frame}: {detail}")]
    Decode {
        /// Position of the frame in display order (in decoding order where that is not known).
        frame: usize,
        /// What the decoder said.
        detail: String,
    },
    /// The format is known but no available decoder reads it.
    #[error("{what} cannot be read by the built-in decoders: {remedy}")]
    Unsupported {
        /// Format or codec, in words.
        what: String,
        /// What would make it readable.
        remedy: String,
    },
    /// The `ffmpeg` program or library failed or stopped answering.
    #[error("{program} failed: {detail}")]
    Ffmpeg {
        /// Which of them.
        program: &'static str,
        /// Its last words.
        detail: String,
    },
    /// A plan asks for an instant at which the source has no frame.
    #[error("no frame at that instant: its frames are shown from {first} until {last}")]
    NoFrame {
        /// When the first frame is shown.
        first: Timestamp,
        /// When the last frame ends.
        last: Timestamp,
    },
    /// A plan is empty or its instants go backward.
    #[error("a clip's plan must name at least one instant, and none before the one before it")]
    Plan,
    /// The source would need more memory than a reader may take.
    #[error("too large: {0}")]
    TooLarge(String),
}

impl Error {
    pub(crate) fn new(path: &Path, kind: ErrorKind) -> Self {
        Self {
            path: path.to_owned(),
            at: None,
            kind,
        }
    }

    pub(crate) fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    pub(crate) const fn kind_mut(&mut self) -> &mut ErrorKind {
        &mut self.kind
    }

    /// Whether another decoder might do better: the bytes are there but were not understood.
    pub(crate) const fn is_of_decoder(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Decode { .. } | ErrorKind::Broken { .. }
        )
    }

    /// The source that could not be read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The instant at which reading failed, where it is known.
    pub const fn timestamp(&self) -> Option<Timestamp> {
        self.at
    }

    /// What went wrong.
    pub const fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

impl fmt::Display for Error {
    /// One line: path, instant, cause.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}", self.path.display())?;
        if let Some(at) = self.at {
            write!(f, " at {at}")?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ErrorKind::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// A format that the built-in decoders do not read; the remedy is filled in by who knows what else is there.
pub(crate) fn unsupported(what: impl Into<String>) -> ErrorKind {
    ErrorKind::Unsupported {
        what: what.into(),
        remedy: String::new(),
    }
}
