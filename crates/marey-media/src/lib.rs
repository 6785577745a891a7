//! Opens videos, image folders, arrays and thermal recordings, and reads clips out of them.
//!
//! For: everything between a path and a [`Clip`] at the source's own size: containers, decoding, exact seeking,
//! rotation, colour conversion.
//! Not for: resizing and colour augmentation (`marey-transform`), live streams, audio.
//!
//! ```no_run
//! use std::path::Path;
//! use marey_clip::Sampling;
//! use marey_media::{OpenOptions, open};
//!
//! let mut reader = open(Path::new("gate.mp4"), &OpenOptions::default())?;
//! let timeline = reader.info().timeline.clone();
//! let plans = Sampling::uniform(16).plan_views(&timeline, timeline.span());
//! let clip = reader.read(&plans[0])?;
//! assert_eq!(clip.dims()[0], 16);
//! # Ok::<(), marey_media::Error>(())
//! ```

mod error;

mod info;

mod open;

mod reader;

mod bytes;

mod timing;

mod yuv;

mod rotate;

mod mp4;

mod h264;

mod avi;

mod mjpeg;

mod gif;

mod images;

mod sequence;

mod npy;

mod thermal;

mod ffmpeg;

mod probe;

use marey_clip::{Clip, ClipPlan};

pub use error::{Error, ErrorKind};
pub use h264::each_i420;
pub use info::{Backend, MediaInfo, MediaKind};
pub use open::{is_media, open};
pub use probe::Probe;
pub use sequence::{SEQUENCE_RATE_HZ, Sequence, Sequences, sequences, source_exists, source_files};

/// An open source.
///
/// A reader keeps its decoder, so reading forward is cheap and reading backward seeks.
pub trait Reader: Send {
    /// What the source is.
    fn info(&self) -> &MediaInfo;

    /// The frames of `plan` as one clip `[t, h, w, c]` at the source's size: `u8` RGB or grey, or `f32` degrees Celsius.
    ///
    /// Each instant of the plan gives the frame that is shown then; the clip carries the frames' own timestamps.
    ///
    /// # Errors
    /// When the plan is empty or goes backward, names an instant outside the source, or one of its frames cannot be
    /// decoded. A frame is never replaced by another.
    fn read(&mut self, plan: &ClipPlan) -> Result<Clip, Error>;
}

/// Which decoder may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DecoderChoice {
    /// Built-in where it reads the format, else linked FFmpeg, else the `ffmpeg` program.
    #[default]
    Auto,
    /// Built-in decoders only.
    Rust,
    /// Linked FFmpeg libraries only (cargo feature `ffmpeg`).
    Linked,
    /// The `ffmpeg` program only.
    Program,
}

/// How to open a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Which decoder may be used.
    pub decoder: DecoderChoice,
    /// Which of the file's video tracks to read, counted from 0.
    pub video_track: usize,
}
