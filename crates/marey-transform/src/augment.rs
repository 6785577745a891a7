//! [`Augment`]: what training changes at random about a clip, drawn once and applied to all of its frames alike.

use marey_clip::{SeededRng, Size};
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Preprocess, Resize, color::ColorDraw, resample::Axis};

/// Random changes to a training clip. Nothing is changed by default.
///
/// They happen in this order, each drawn as torchvision's transform of the same name draws it: crop, flip, colour,
/// erasing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Cut out a rectangle of random area and shape and scale it to the model's size (default: off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_resized_crop: Option<RandomResizedCrop>,
    /// Place the crop of `resize = "short_side"` anywhere, not in the middle (default false).
    pub random_crop: bool,
    /// Probability of mirroring left and right, 0 to 1 (default 0). Wrong for classes that differ by direction.
    pub flip: f32,
    /// Change brightness, contrast, saturation and hue (default: off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
    /// Paint over a random rectangle (default: off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_erasing: Option<RandomErasing>,
}

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

/// Random changes of colour, in random order. As torchvision's `ColorJitter`.
///
/// A value `x` of the first three means a factor drawn evenly from `[max(0, 1 - x), 1 + x]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ColorJitter {
    /// Spread of the factor on every value, at least 0 (default 0: unchanged).
    pub brightness: f32,
    /// Spread of the factor on the distance from each frame's mean grey, at least 0 (default 0: unchanged).
    pub contrast: f32,
    /// Spread of the factor on the distance from each pixel's grey, at least 0 (default 0: unchanged).
    pub saturation: f32,
    /// Largest turn of the hue in either direction, 0 to 0.5 of the circle (default 0: unchanged).
    pub hue: f32,
}

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
enum Crop {
    Centre,
    /// Top left corner of the crop, in pixels of the resized frame.
    At {
        top: usize,
        left: usize,
    },
    /// Scaled to the model's size, in pixels of the source.
    Resized(Rectangle),
}

/// One draw of an [`Augment`]: the numbers for one clip.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draw {
    crop: Crop,
    flip: bool,
    pub(crate) color: ColorDraw,
    pub(crate) erase: Option<(Rectangle, [u8; 3])>,
}

impl Augment {
    /// Checks what a person wrote, beside the [`Preprocess`] it goes with.
    ///
    /// # Errors
    /// When a setting cannot work, or has no effect beside the others.
    pub fn validate(&self, preprocess: &Preprocess) -> Result<(), Error> {
        let share = |key, value: f32| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(Error::config(
                key,
                format!("{value} is no probability, expected 0 to 1"),
            )),
        };
        let range =
            |key, [low, high]: [f32; 2], top: f32| match low > 0.0 && low <= high && high <= top {
                true => Ok(()),
                false => {
                    let problem =
                        format!("[{low}, {high}] is no range, expected 0 < low <= high <= {top}");
                    Err(Error::config(key, problem))
                }
            };
        share("augment.flip", self.flip)?;
        if let Some(crop) = self.random_resized_crop {
            range("augment.random_resized_crop.scale", crop.scale, 1.0)?;
            range("augment.random_resized_crop.ratio", crop.ratio, 100.0)?;
        }
        self.validate_random_crop(preprocess)?;
        if let Some(erasing) = self.random_erasing {
            share("augment.random_erasing.probability", erasing.probability)?;
            range("augment.random_erasing.area", erasing.area, 1.0)?;
            range("augment.random_erasing.ratio", erasing.ratio, 100.0)?;
        }
        self.color_jitter.map_or(Ok(()), |jitter| jitter.validate())
    }

    fn validate_random_crop(&self, preprocess: &Preprocess) -> Result<(), Error> {
        let why = match (self.random_crop, preprocess.resize) {
            (false, _) => return Ok(()),
            (true, _) if self.random_resized_crop.is_some() => "beside augment.random_resized_crop",
            (true, Resize::Stretch) => "with preprocess.resize = \"stretch\", which has no crop",
            (true, Resize::ShortSide) => return Ok(()),
        };
        Err(Error::config(
            "augment.random_crop",
            format!("has no effect {why}: remove it"),
        ))
    }

    /// The numbers for one clip of frames of size `from`.
    pub(crate) fn draw(&self, preprocess: &Preprocess, from: Size, rng: &mut SeededRng) -> Draw {
        let crop = if let Some(crop) = self.random_resized_crop {
            Crop::Resized(crop.draw(from, rng))
        } else if self.random_crop {
            let to = preprocess.resized_size(from);
            let [height, width] = preprocess.size;
            Crop::At {
                top: rng.random_range(0..=to.height - height),
                left: rng.random_range(0..=to.width - width),
            }
        } else {
            Crop::Centre
        };
        let flip = self.flip > 0.0 && rng.random::<f32>() < self.flip;
        let color = self
            .color_jitter
            .map(|jitter| jitter.draw(rng))
            .unwrap_or_default();
        let erase = self
            .random_erasing
            .and_then(|erasing| erasing.draw(preprocess.size, rng));
        Draw {
            crop,
            flip,
            color,
            erase,
        }
    }
}

impl Draw {
    /// Which source pixels make each row and column of the output, `[rows, columns]`.
    pub(crate) fn axes(&self, preprocess: &Preprocess, from: Size) -> [Axis; 2] {
        let [height, width] = preprocess.size;
        let [rows, columns] = match self.crop {
            Crop::Centre => preprocess.centre(from),
            Crop::At { top, left } => {
                let to = preprocess.resized_size(from);
                [
                    Axis::whole(from.height, to.height).window(top, height),
                    Axis::whole(from.width, to.width).window(left, width),
                ]
            }
            Crop::Resized(crop) => [
                Axis::part(crop.top, crop.height, height),
                Axis::part(crop.left, crop.width, width),
            ],
        };
        [
            rows,
            if self.flip {
                columns.mirrored()
            } else {
                columns
            },
        ]
    }
}

impl RandomResizedCrop {
    /// Torchvision's `RandomResizedCrop.get_params`: ten tries, then the largest crop in the middle that has an
    /// allowed shape.
    fn draw(self, from: Size, rng: &mut SeededRng) -> Rectangle {
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

impl RandomErasing {
    /// Torchvision's `RandomErasing.get_params`: ten tries, then nothing.
    fn draw(
        self,
        [frame_height, frame_width]: [usize; 2],
        rng: &mut SeededRng,
    ) -> Option<(Rectangle, [u8; 3])> {
        if rng.random::<f32>() >= self.probability {
            return None;
        }
        for _ in 0..10 {
            let area = (frame_height * frame_width) as f64 * uniform(self.area, rng);
            let ratio = uniform(self.ratio.map(f32::ln), rng).exp();
            let height = (area * ratio).sqrt().round() as usize;
            let width = (area / ratio).sqrt().round() as usize;
            if (1..frame_height).contains(&height) && (1..frame_width).contains(&width) {
                let rectangle = Rectangle {
                    top: rng.random_range(0..=frame_height - height),
                    left: rng.random_range(0..=frame_width - width),
                    height,
                    width,
                };
                return Some((rectangle, self.fill));
            }
        }
        None
    }
}

/// A number drawn evenly from `[low, high]`.
pub(crate) fn uniform([low, high]: [f32; 2], rng: &mut SeededRng) -> f64 {
    let (low, high) = (f64::from(low), f64::from(high));
    low + (high - low) * rng.random::<f64>()
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;
    use proptest::prelude::*;

    use super::*;

    fn check_refused(augment: &Augment, resize: Resize, message: &str) {
        let error = augment
            .validate(&Preprocess::new([8, 8], resize))
            .expect_err(message);
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let none = Augment::default();
        assert_eq!(
            none.validate(&Preprocess::new([8, 8], Resize::Stretch)),
            Ok(())
        );
        check_refused(
            &Augment {
                flip: 1.5,
                ..none.clone()
            },
            Resize::Stretch,
            "augment.flip: 1.5 is no probability, expected 0 to 1",
        );
        check_refused(
            &Augment {
                random_crop: true,
                ..none.clone()
            },
            Resize::Stretch,
            "augment.random_crop: has no effect with preprocess.resize = \"stretch\", which has no crop: remove it",
        );
        let crop = RandomResizedCrop {
            scale: [0.5, 0.1],
            ..RandomResizedCrop::default()
        };
        check_refused(
            &Augment {
                random_resized_crop: Some(crop),
                ..none.clone()
            },
            Resize::Stretch,
            "augment.random_resized_crop.scale: [0.5, 0.1] is no range, expected 0 < low <= high <= 1",
        );
        check_refused(
            &Augment {
                random_crop: true,
                random_resized_crop: Some(RandomResizedCrop::default()),
                ..none.clone()
            },
            Resize::ShortSide,
            "augment.random_crop: has no effect beside augment.random_resized_crop: remove it",
        );
        check_refused(
            &Augment {
                color_jitter: Some(ColorJitter::default()),
                ..none.clone()
            },
            Resize::Stretch,
            "augment.color_jitter: has no effect with every value at 0: remove it, or set one",
        );
        let jitter = ColorJitter {
            hue: 0.6,
            ..ColorJitter::default()
        };
        check_refused(
            &Augment {
                color_jitter: Some(jitter),
                ..none
            },
            Resize::Stretch,
            "augment.color_jitter.hue: 0.6 is outside 0 to 0.5",
        );
    }

    #[test]
    fn probabilities_are_met() {
        let augment = Augment {
            flip: 0.3,
            random_erasing: Some(RandomErasing {
                probability: 0.25,
                ..RandomErasing::default()
            }),
            ..Augment::default()
        };
        let preprocess = Preprocess::new([32, 32], Resize::Stretch);
        let from = Size {
            height: 32,
            width: 32,
        };
        let draws: Vec<Draw> = (0..4000)
            .map(|i| augment.draw(&preprocess, from, &mut rng_for(1, 0, i, 0)))
            .collect();
        // Five standard deviations of 4000 draws are below 0.04.
        let share = |count: usize| count as f32 / 4000.0;
        assert!((share(draws.iter().filter(|draw| draw.flip).count()) - 0.3).abs() < 0.04);
        assert!(
            (share(draws.iter().filter(|draw| draw.erase.is_some()).count()) - 0.25).abs() < 0.04
        );
    }

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

        #[test]
        fn an_erased_rectangle_lies_in_the_frame(size in (1usize..100, 1usize..100), seed: u64) {
            let erasing = RandomErasing { probability: 1.0, ..RandomErasing::default() };
            if let Some((drawn, _)) = erasing.draw([size.0, size.1], &mut rng_for(seed, 0, 0, 0)) {
                prop_assert!(drawn.top + drawn.height <= size.0 && drawn.left + drawn.width <= size.1);
                let mut frame = vec![0; size.0 * size.1 * 3];
                crate::erase::fill(&mut frame, size.1, drawn, [9; 3]);
                let painted = frame.iter().filter(|&&value| value == 9).count();
                prop_assert_eq!(painted, 3 * drawn.height * drawn.width);
            }
        }
    }
}
