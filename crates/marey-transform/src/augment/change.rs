//! What was drawn for a clip, and its way over the frames.

use crate::augment::{
    affine::Warp,
    blur::{Kernel, sharpen},
    color::Step,
    crop::Rectangle,
    levels::{self, Tables},
    noise::Noise,
    paint,
    weather::{FogLayer, RainFall, ShadowMask, SnowTable},
};

/// One change of a clip, with every number that was drawn for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Color(Step),
    Grayscale,
    Levels(Tables),
    AutoContrast,
    Equalize,
    /// Factor on the distance from a blurred frame.
    Sharpness(f32),
    Warp(Warp),
    Blur(Kernel),
    Noise(Noise),
    Shadow(ShadowMask),
    Rain(RainFall),
    Snow(SnowTable),
    Fog(FogLayer),
    Paint(Rectangle, [u8; 3]),
}

/// Memory that changes share, for RGB frames of one size.
#[derive(Debug)]
pub(crate) struct Canvas {
    /// `[height, width]`.
    pub(crate) size: [usize; 2],
    pub(crate) bytes: Vec<u8>,
    pub(crate) words: Vec<u16>,
    pub(crate) levels: Vec<i16>,
}

impl Change {
    /// Whether all frames must be there before it can begin.
    pub(crate) const fn needs_whole_clip(&self) -> bool {
        matches!(self, Self::AutoContrast | Self::Equalize)
    }

    /// Changes the frame `idx` of a clip.
    fn apply(&self, idx: usize, frame: &mut [u8], canvas: &mut Canvas) {
        match self {
            Self::Color(step) => step.apply(frame),
            Self::Grayscale => levels::grayscale(frame),
            Self::Levels(tables) => levels::look_up(frame, tables),
            Self::AutoContrast | Self::Equalize => {
                unreachable!("`Canvas::finish` makes tables of them")
            }
            Self::Sharpness(factor) => sharpen(frame, *factor, canvas),
            Self::Warp(warp) => warp.apply(frame, canvas),
            Self::Blur(kernel) => kernel.apply(frame, canvas),
            Self::Noise(noise) => noise.apply(frame, idx, canvas),
            Self::Shadow(mask) => mask.apply(frame),
            Self::Rain(rain) => rain.apply(frame, idx, canvas),
            Self::Snow(table) => table.apply(frame),
            Self::Fog(layer) => layer.apply(frame),
            Self::Paint(rectangle, color) => paint::fill(frame, canvas.size[1], *rectangle, *color),
        }
    }

    /// What a change that needs the whole clip is for this one.
    fn of_clip(&self, clip: &[u8]) -> Self {
        match self {
            Self::AutoContrast => Self::Levels(levels::autocontrast(clip)),
            Self::Equalize => Self::Levels(levels::equalize(clip)),
            other => other.clone(),
        }
    }
}

/// The changes that can be made frame by frame, and those from the first on that needs the whole clip.
pub(crate) fn until_whole_clip(changes: &[Change]) -> (&[Change], &[Change]) {
    let at = changes.iter().position(Change::needs_whole_clip);
    changes.split_at(at.unwrap_or(changes.len()))
}

impl Canvas {
    pub(crate) const fn new(size: [usize; 2]) -> Self {
        Self {
            size,
            bytes: Vec::new(),
            words: Vec::new(),
            levels: Vec::new(),
        }
    }

    /// Makes `changes`, none of which needs the whole clip, to its frame `idx`.
    pub(crate) fn apply(&mut self, changes: &[Change], idx: usize, frame: &mut [u8]) {
        for change in changes {
            change.apply(idx, frame, self);
        }
    }

    /// Makes `changes` to a whole clip.
    pub(crate) fn finish(&mut self, mut changes: &[Change], clip: &mut [u8]) {
        let frame_len = self.size[0] * self.size[1] * 3;
        while let Some((first, rest)) = changes.split_first() {
            let first = first.of_clip(clip);
            let (frame_by_frame, later) = until_whole_clip(rest);
            for (idx, frame) in clip.chunks_exact_mut(frame_len).enumerate() {
                first.apply(idx, frame, self);
                self.apply(frame_by_frame, idx, frame);
            }
            changes = later;
        }
    }
}
