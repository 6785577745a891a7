//! Pictures: one frame, and the clip of frames that a model looks at.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Height and width of a picture, in pixels. Height comes first, as in every array of the house.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl fmt::Display for Size {
    /// Width first, as people say it: `320x240`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// The values of a frame or clip, channels last.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// Light, 0–255; three channels are red, green, blue (sRGB as the source coded it), one channel is grey.
    U8(Vec<u8>),
    /// A physical quantity, for thermal recordings degrees Celsius.
    F32(Vec<f32>),
}

impl Pixels {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::F32(values) => values.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One picture `[h, w, c]` with the instant at which it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// When it is shown.
    pub timestamp: Timestamp,
    /// Height and width.
    pub size: Size,
    /// Channels: 3 for RGB, 1 for grey or temperature.
    pub channels: usize,
    /// `height * width * channels` values.
    pub pixels: Pixels,
}

/// `t` frames of one source, sampled together, in one block `[t, h, w, c]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    dims: [usize; 4],
    pixels: Pixels,
    timestamps: Vec<Timestamp>,
}

impl Clip {
    /// A clip of dimensions `[t, h, w, c]`.
    ///
    /// # Panics
    /// If the number of values is not `t * h * w * c`, or there is not one timestamp a frame.
    pub fn new(dims: [usize; 4], pixels: Pixels, timestamps: Vec<Timestamp>) -> Self {
        assert_eq!(
            pixels.len(),
            dims.iter().product::<usize>(),
            "values of a clip {dims:?}"
        );
        assert_eq!(timestamps.len(), dims[0], "timestamps of a clip {dims:?}");
        Self {
            dims,
            pixels,
            timestamps,
        }
    }

    /// `[t, h, w, c]`.
    pub const fn dims(&self) -> [usize; 4] {
        self.dims
    }

    /// Height and width.
    pub const fn size(&self) -> Size {
        Size {
            height: self.dims[1],
            width: self.dims[2],
        }
    }

    /// The values, frame after frame.
    pub const fn pixels(&self) -> &Pixels {
        &self.pixels
    }

    /// The instant at which each frame is shown.
    pub fn timestamps(&self) -> &[Timestamp] {
        &self.timestamps
    }

    /// The values and timestamps, without a copy.
    pub fn into_parts(self) -> (Pixels, Vec<Timestamp>) {
        (self.pixels, self.timestamps)
    }
}
