//! What a person or a script wants to know of a file, ready to be printed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Backend, MediaInfo, MediaKind};

/// A [`MediaInfo`] as plain data for `marey data probe`: sums instead of every timestamp, and what to be careful about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The source as it was named.
    pub path: PathBuf,
    /// What sort of thing it is.
    pub kind: MediaKind,
    /// Which code decodes it.
    pub backend: Backend,
    /// Container or file format.
    pub container: String,
    /// How the pictures are coded.
    pub codec: String,
    /// Rows of a frame as shown.
    pub height: usize,
    /// Columns of a frame as shown.
    pub width: usize,
    /// Clockwise rotation that was applied, in degrees.
    pub rotation_deg: u16,
    /// Channels of a frame.
    pub channels: usize,
    /// Bits of one coded value.
    pub bit_depth: u8,
    /// Number of frames.
    pub frames: usize,
    /// Number of frames that the container claims.
    pub declared_frames: Option<u64>,
    /// Frames per second as written by the source (`30000/1001`); `None` when it varies.
    pub frame_rate: Option<String>,
    /// Timestamp of the first frame, in seconds.
    pub start_sec: f64,
    /// From the first frame to the end of the last, in seconds.
    pub duration_sec: f64,
    /// What to be careful about, a sentence each.
    pub warnings: Vec<String>,
}

impl From<&MediaInfo> for Probe {
    fn from(info: &MediaInfo) -> Self {
        let span = info.timeline.span();
        let frames = info.timeline.len();
        let mut warnings = info.warnings.clone();
        if let Some(declared) = info.declared_frames.filter(|&n| n != frames as u64) {
            warnings.push(format!(
                "the container announces {declared} frames, {frames} are shown"
            ));
        }
        if info.rotation_deg != 0 {
            warnings.push(format!(
                "frames are turned by {} degrees to stand upright",
                info.rotation_deg
            ));
        }
        if info.bit_depth > 8 && matches!(info.kind, MediaKind::Video) {
            warnings.push(format!("{} bits a value are reduced to 8", info.bit_depth));
        }
        Self {
            path: info.path.clone(),
            kind: info.kind,
            backend: info.backend,
            container: info.container.clone(),
            codec: info.codec.clone(),
            height: info.size.height,
            width: info.size.width,
            rotation_deg: info.rotation_deg,
            channels: info.channels,
            bit_depth: info.bit_depth,
            frames,
            declared_frames: info.declared_frames,
            frame_rate: info.frame_rate.map(|rate| rate.to_string()),
            start_sec: span.start().as_secs(),
            duration_sec: span.duration().as_secs_f64(),
            warnings,
        }
    }
}
