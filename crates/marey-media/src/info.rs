//! What a source is: the facts a reader knows once it is open.

use std::{fmt, path::PathBuf};

use marey_clip::{Rational, Size, Timeline};
use serde::{Deserialize, Serialize};

/// What sort of thing a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// A video file.
    Video,
    /// An animated GIF.
    Animation,
    /// A folder of still images, or one image.
    Images,
    /// A NumPy array.
    Array,
    /// A thermal recording in degrees Celsius.
    Thermal,
}

/// Which code decodes a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Backend {
    /// Code of this crate and pure-Rust decoders; nothing outside the program.
    Rust,
    /// FFmpeg's libraries, linked (cargo feature `ffmpeg`).
    LinkedFfmpeg,
    /// The `ffmpeg` program found on the `PATH`, as a child process.
    FfmpegProgram,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "built-in (pure Rust)",
            Self::LinkedFfmpeg => "linked FFmpeg libraries",
            Self::FfmpegProgram => "`ffmpeg` program",
        })
    }
}

/// What an open source is.
#[derive(Clone, Debug, PartialEq)]
pub struct MediaInfo {
    /// The source as it was named.
    pub path: PathBuf,
    /// What sort of thing it is.
    pub kind: MediaKind,
    /// Which code decodes it.
    pub backend: Backend,
    /// Container or file format: `mp4`, `avi`, `gif`, `images`, `npy`, `hdf5`, …
    pub container: String,
    /// How the pictures are coded: `h264`, `mjpeg`, `png`, `float32`, …
    pub codec: String,
    /// Height and width of a frame as shown: cropped and rotated.
    pub size: Size,
    /// Clockwise rotation that was applied to show frames upright, in degrees: 0, 90, 180 or 270.
    pub rotation_deg: u16,
    /// Channels of a frame: 3 for RGB, 1 for grey or temperature.
    pub channels: usize,
    /// Bits of one coded value: 8 or 10 for videos, 32 for temperatures.
    pub bit_depth: u8,
    /// Frames per second; `None` when the distance between frames varies or there is one frame only.
    pub frame_rate: Option<Rational>,
    /// Number of frames that the container claims, where it makes a claim.
    pub declared_frames: Option<u64>,
    /// When each frame that can be decoded is shown, in display order.
    pub timeline: Timeline,
    /// What a careful person should know before trusting the source, a sentence each.
    pub warnings: Vec<String>,
}
