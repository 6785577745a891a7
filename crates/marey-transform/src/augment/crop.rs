//! Which part of a frame becomes the model's input.

use marey_clip::{SeededRng, Size};
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    augment::{bounds, uniform},
};

/// A rectangle of random area and shape, scaled to the model's size. As torchvision's `RandomResizedCrop`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// Smallest and largest share of the frame's area, above 0 and up to 1 (default 0.08 to 1).
    #[serde(default = "crop_scale")]
    pub scale: [f32; 2],
    /// Smallest and largest width over height of the rectangle, above 0 (default 3/4 to 4/3).
    #[serde(default = "crop_ratio")]
    pub ratio: [f32; 2],
}

const fn crop_scale() -> [f32; 2] {
    [0.08, 1.0]
}

const fn crop_ratio() -> [f32; 2] {
    [3.0 / 4.0, 4.0 / 3.0]
}

impl Default for RandomResizedCrop {
    fn default() -> Self {
        Self {
            scale: crop_scale(),
            ratio: crop_ratio(),
        }
    }
}

/// A rectangle of pixels, half-open on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rectangle {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// Where the pixels of an augmented clip come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Crop {
    Centre,
    /// Top left corner of the crop, in pixels of the resized frame.
    At {
        top: usize,
        left: usize,
    },
    /// Scaled to the model's size, in pixels of the source.
    Resized(Rectangle),
}

impl RandomResizedCrop {
    /// Checks what a person wrote.
    pub(crate) fn validate(self) -> Result<(), Error> {
        bounds::positive("augment.random_resized_crop.scale", self.scale, 1.0)?;
        bounds::positive("augment.random_resized_crop.ratio", self.ratio, 100.0)
    }

    /// Torchvision's `RandomResizedCrop.get_params`: ten tries, then the largest crop in the middle that has an
    /// allowed shape.
    pub(crate) fn draw(self, from: Size, rng: &mut SeededRng) -> Rectangle {
        let (frame_height, frame_width) = (from.height as f64, from.width as f64);
        for _ in 0..10 {
            let area = frame_height * frame_width * uniform(self.scale, rng);
            let ratio = uniform(self.ratio.map(f32::ln), rng).exp();
            let width = (area * ratio).sqrt().round() as usize;
            let height = (area / ratio).sqrt().round() as usize;
            if (1..=from.width).contains(&width) && (1..=from.height).contains(&height) {
                return Rectangle {
                    top: rng.random_range(0..=from.height - height),
                    left: rng.random_range(0..=from.width - width),
                    height,
                    width,
                };
            }
        }
        let ratio = frame_width / frame_height;
        let [low, high] = self.ratio.map(f64::from);
        let (height, width) = if ratio < low {
            ((frame_width / low).round() as usize, from.width)
        } else if ratio > high {
            (from.height, (frame_height * high).round() as usize)
        } else {
            (from.height, from.width)
        };
        let (height, width) = (height.clamp(1, from.height), width.clamp(1, from.width));
        Rectangle {
            top: (from.height - height) / 2,
            left: (from.width - width) / 2,
            height,
            width,
        }
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_drawn_crop_lies_in_the_frame_and_keeps_to_its_ranges(
            size in (1usize..300, 1usize..300),
            seed: u64,
        ) {
            let from = Size { height: size.0, width: size.1 };
            let crop = RandomResizedCrop { scale: [0.25, 0.75], ratio: [0.8, 1.25] };
            let drawn = crop.draw(from, &mut rng_for(seed, 0, 0, 0));
            prop_assert!(drawn.height >= 1 && drawn.top + drawn.height <= from.height);
            prop_assert!(drawn.width >= 1 && drawn.left + drawn.width <= from.width);
            if size.0.min(size.1) > 100 && size.0.max(size.1) < 120 {
                // A nearly square frame never needs the fallback; rounding moves a side by half a pixel.
                let area = (drawn.height * drawn.width) as f32 / (size.0 * size.1) as f32;
                prop_assert!((0.24..0.77).contains(&area), "{}", area);
                let ratio = drawn.width as f32 / drawn.height as f32;
                prop_assert!((0.78..1.28).contains(&ratio), "{}", ratio);
            }
        }
    }
}
