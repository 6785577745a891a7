//! Rectangles painted over with one colour: random erasing and coarse dropout.

use marey_clip::SeededRng;
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    augment::{bounds, crop::Rectangle, uniform},
};

/// A rectangle painted over with one colour. As torchvision's `RandomErasing`, here before normalising.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomErasing {
    /// Probability that a clip has a rectangle, 0 to 1 (default 0.5).
    #[serde(default = "erase_probability")]
    pub probability: f32,
    /// Smallest and largest share of the frame's area, above 0 and below 1 (default 0.02 to 0.33).
    #[serde(default = "erase_area")]
    pub area: [f32; 2],
    /// Smallest and largest height over width of the rectangle, above 0 (default 0.3 to 3.3).
    #[serde(default = "erase_ratio")]
    pub ratio: [f32; 2],
    /// Red, green and blue of the paint, 0 to 255 (default 128 each).
    #[serde(default = "erase_fill")]
    pub fill: [u8; 3],
}

const fn erase_probability() -> f32 {
    0.5
}

const fn erase_area() -> [f32; 2] {
    [0.02, 0.33]
}

const fn erase_ratio() -> [f32; 2] {
    [0.3, 3.3]
}

const fn erase_fill() -> [u8; 3] {
    [128; 3]
}

impl Default for RandomErasing {
    fn default() -> Self {
        Self {
            probability: erase_probability(),
            area: erase_area(),
            ratio: erase_ratio(),
            fill: erase_fill(),
        }
    }
}

/// Several rectangles painted over with one colour. As albumentations' `CoarseDropout`; with one hole of a fixed size
/// it is Cutout (DeVries and Taylor, 2017), but for holes that reach over the edge, which there may and here do not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CoarseDropout {
    /// Probability that a clip has holes, above 0 and up to 1 (default 0.5).
    pub probability: f32,
    /// Fewest and most holes, 1 to 100 (default 1 to 8).
    pub holes: [usize; 2],
    /// Smallest and largest height of a hole as a share of the frame's height, above 0 and up to 1 (default 0.05 to
    /// 0.15).
    pub height: [f32; 2],
    /// Smallest and largest width of a hole as a share of the frame's width, likewise (default 0.05 to 0.15).
    pub width: [f32; 2],
    /// Red, green and blue of the holes, 0 to 255 (default 0 each).
    pub fill: [u8; 3],
}

impl Default for CoarseDropout {
    fn default() -> Self {
        Self {
            probability: 0.5,
            holes: [1, 8],
            height: [0.05, 0.15],
            width: [0.05, 0.15],
            fill: [0; 3],
        }
    }
}

impl RandomErasing {
    /// Checks what a person wrote.
    pub(crate) fn validate(self) -> Result<(), Error> {
        bounds::share("augment.random_erasing.probability", self.probability)?;
        bounds::positive("augment.random_erasing.area", self.area, 1.0)?;
        bounds::positive("augment.random_erasing.ratio", self.ratio, 100.0)
    }

    /// Torchvision's `RandomErasing.get_params`: ten tries, then nothing.
    pub(crate) fn draw(
        self,
        [frame_height, frame_width]: [usize; 2],
        rng: &mut SeededRng,
    ) -> Option<Rectangle> {
        if rng.random::<f32>() >= self.probability {
            return None;
        }
        for _ in 0..10 {
            let area = (frame_height * frame_width) as f64 * uniform(self.area, rng);
            let ratio = uniform(self.ratio.map(f32::ln), rng).exp();
            let height = (area * ratio).sqrt().round() as usize;
            let width = (area / ratio).sqrt().round() as usize;
            if (1..frame_height).contains(&height) && (1..frame_width).contains(&width) {
                return Some(Rectangle {
                    top: rng.random_range(0..=frame_height - height),
                    left: rng.random_range(0..=frame_width - width),
                    height,
                    width,
                });
            }
        }
        None
    }
}

impl CoarseDropout {
    /// Checks what a person wrote.
    pub(crate) fn validate(self) -> Result<(), Error> {
        bounds::chance("augment.coarse_dropout.probability", self.probability)?;
        bounds::ordered("augment.coarse_dropout.holes", self.holes, 1..=100)?;
        bounds::positive("augment.coarse_dropout.height", self.height, 1.0)?;
        bounds::positive("augment.coarse_dropout.width", self.width, 1.0)
    }

    /// The holes of one clip, all within the frame; a hole is at least a pixel.
    pub(crate) fn draw(
        self,
        [frame_height, frame_width]: [usize; 2],
        rng: &mut SeededRng,
    ) -> Option<Vec<Rectangle>> {
        if rng.random::<f32>() >= self.probability {
            return None;
        }
        let num = rng.random_range(self.holes[0]..=self.holes[1]);
        let mut hole = || {
            let mut side = |frame: usize, share: [f32; 2]| {
                ((frame as f64 * uniform(share, rng)).round() as usize).clamp(1, frame)
            };
            let (height, width) = (
                side(frame_height, self.height),
                side(frame_width, self.width),
            );
            Rectangle {
                top: rng.random_range(0..=frame_height - height),
                left: rng.random_range(0..=frame_width - width),
                height,
                width,
            }
        };
        Some((0..num).map(|_| hole()).collect())
    }
}

/// Fills `rectangle` of an RGB frame that is `width` pixels wide with one colour.
pub(crate) fn fill(frame: &mut [u8], width: usize, rectangle: Rectangle, color: [u8; 3]) {
    let columns = 3 * rectangle.left..3 * (rectangle.left + rectangle.width);
    for row in frame
        .chunks_exact_mut(3 * width)
        .skip(rectangle.top)
        .take(rectangle.height)
    {
        for pixel in row[columns.clone()].chunks_exact_mut(3) {
            pixel.copy_from_slice(&color);
        }
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn holes_have_the_sizes_and_numbers_asked_for() {
        let dropout = CoarseDropout {
            probability: 1.0,
            holes: [2, 4],
            height: [0.1, 0.2],
            width: [0.5, 0.5],
            ..CoarseDropout::default()
        };
        let mut seen = [0; 5];
        for seed in 0..300 {
            let holes = dropout
                .draw([100, 40], &mut rng_for(seed, 0, 0, 0))
                .expect("always");
            seen[holes.len()] += 1;
            for hole in holes {
                assert!(
                    (10..=20).contains(&hole.height) && hole.width == 20,
                    "{hole:?}"
                );
                assert!(
                    hole.top + hole.height <= 100 && hole.left + hole.width <= 40,
                    "{hole:?}"
                );
            }
        }
        // Each number of holes has the same chance: 100 of 300, with a deviation of 8.
        assert!(
            seen[2..].iter().all(|count| (60..140).contains(count)),
            "{seen:?}"
        );
        assert_eq!(seen[..2], [0, 0]);
    }

    proptest! {
        #[test]
        fn an_erased_rectangle_lies_in_the_frame(size in (1usize..100, 1usize..100), seed: u64) {
            let erasing = RandomErasing { probability: 1.0, ..RandomErasing::default() };
            if let Some(drawn) = erasing.draw([size.0, size.1], &mut rng_for(seed, 0, 0, 0)) {
                prop_assert!(drawn.top + drawn.height <= size.0 && drawn.left + drawn.width <= size.1);
                let mut frame = vec![0; size.0 * size.1 * 3];
                fill(&mut frame, size.1, drawn, [9; 3]);
                let painted = frame.iter().filter(|&&value| value == 9).count();
                prop_assert_eq!(painted, 3 * drawn.height * drawn.width);
            }
        }
    }
}
