//! [`Augment`]: what training changes at random about a clip, drawn once and applied to all of its frames alike.
//!
//! Everything but crop and flip works on the `u8` frames at the model's size, after temperatures have become light.

pub(crate) mod bounds;

pub(crate) mod crop;

pub(crate) mod affine;

pub(crate) mod policy;

pub(crate) mod color;

pub(crate) mod levels;

pub(crate) mod weather;

pub(crate) mod blur;

pub(crate) mod noise;

pub(crate) mod paint;

pub(crate) mod change;

use marey_clip::{SeededRng, Size};
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Preprocess, Resize, augment::change::Change, resample::Axis};

pub use affine::Affine;
pub use blur::GaussianBlur;
pub use color::ColorJitter;
pub use crop::RandomResizedCrop;
pub use noise::GaussianNoise;
pub use paint::{CoarseDropout, RandomErasing};
pub use policy::{RandAugment, TrivialAugment};
pub use weather::{Fog, Rain, Shadow, Snow};

use crop::Crop;

/// Random changes to a training clip. Nothing is changed by default.
///
/// They happen in this order: crop, flip, affine, RandAugment or TrivialAugment, colour, autocontrast, greyscale, shadow,
/// rain, snow, fog, blur, noise, dropout, erasing. Each is drawn once and changes all frames alike; only rain falls, and
/// noise may be asked for frame by frame. Lengths are in pixels of the model's input.
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
    /// Probability of turning the picture upside down, mirrored, 0 to 1 (default 0). Wrong for cameras that stand upright.
    pub vertical_flip: f32,
    /// Probability of stretching each channel of the clip to 0 to 255, 0 to 1 (default 0). As torchvision's
    /// `RandomAutocontrast`, with the darkest and lightest value of the whole clip.
    pub autocontrast: f32,
    /// Probability of taking the colours away, 0 to 1 (default 0). As torchvision's `RandomGrayscale`.
    pub grayscale: f32,
    /// Turn, move and scale the picture (default: off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affine: Option<Affine>,
    /// Several changes of one magnitude from a list (default: off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rand_augment: Option<RandAugment>,
    /// One change of a random magnitude from a list (default: off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trivial_augment: Option<TrivialAugment>,
    /// Change brightness, contrast, saturation and hue (default: off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
    /// Polygons with less light (default: off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// Streaks that fall (default: off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rain: Option<Rain>,
    /// Bleach what is dark (default: off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snow: Option<Snow>,
    /// Light of the fog in place of the scene's, the farther the more (default: off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fog: Option<Fog>,
    /// Blur (default: off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaussian_blur: Option<GaussianBlur>,
    /// Noise (default: off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaussian_noise: Option<GaussianNoise>,
    /// Paint over several rectangles (default: off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coarse_dropout: Option<CoarseDropout>,
    /// Paint over a random rectangle (default: off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_erasing: Option<RandomErasing>,
}

/// What is drawn for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// `[height, width]` of the model's input.
    pub(crate) size: [usize; 2],
    /// Whether the source has one channel, which is copied to three.
    pub(crate) is_grey: bool,
}

/// One draw of an [`Augment`]: the numbers for one clip.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draw {
    crop: Crop,
    flip: bool,
    vertical_flip: bool,
    /// What happens at the model's size, in order.
    pub(crate) changes: Vec<Change>,
}

impl Augment {
    /// Checks what a person wrote, beside the [`Preprocess`] it goes with.
    ///
    /// # Errors
    /// When a setting cannot work, or has no effect beside the others.
    pub fn validate(&self, preprocess: &Preprocess) -> Result<(), Error> {
        bounds::share("augment.flip", self.flip)?;
        bounds::share("augment.vertical_flip", self.vertical_flip)?;
        bounds::share("augment.autocontrast", self.autocontrast)?;
        bounds::share("augment.grayscale", self.grayscale)?;
        let size = preprocess.size;
        let checks = [
            self.random_resized_crop.map(RandomResizedCrop::validate),
            self.affine.map(Affine::validate),
            self.rand_augment.map(RandAugment::validate),
            self.trivial_augment.map(TrivialAugment::validate),
            self.color_jitter.map(ColorJitter::validate),
            self.shadow.map(Shadow::validate),
            self.rain.map(|rain| rain.validate(size)),
            self.snow.map(Snow::validate),
            self.fog.map(Fog::validate),
            self.gaussian_blur.map(|blur| blur.validate(size)),
            self.gaussian_noise.map(GaussianNoise::validate),
            self.coarse_dropout.map(CoarseDropout::validate),
            self.random_erasing.map(RandomErasing::validate),
        ];
        checks
            .into_iter()
            .flatten()
            .collect::<Result<(), Error>>()?;
        self.validate_random_crop(preprocess)?;
        if self.rand_augment.is_some() && self.trivial_augment.is_some() {
            let problem = "is set beside augment.rand_augment, of which it is the other form: remove one of them";
            return Err(Error::config("augment.trivial_augment", problem));
        }
        match preprocess.temperature {
            Some(_) => self.validate_grey(),
            None => Ok(()),
        }
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

    /// Temperatures are grey: what changes only colours does nothing to them, and paint must not bring colours in.
    fn validate_grey(&self) -> Result<(), Error> {
        let jitter = self.color_jitter.unwrap_or_default();
        let colors_only = [
            ("augment.grayscale", self.grayscale > 0.0),
            ("augment.color_jitter.saturation", jitter.saturation > 0.0),
            ("augment.color_jitter.hue", jitter.hue > 0.0),
        ];
        if let Some(&(key, _)) = colors_only.iter().find(|(_, is_set)| *is_set) {
            let problem = "has no effect on temperatures, which are grey: remove it";
            return Err(Error::config(key, problem));
        }
        let paints = [
            ("augment.affine.fill", self.affine.map(|affine| affine.fill)),
            (
                "augment.rand_augment.fill",
                self.rand_augment.map(|policy| policy.fill),
            ),
            (
                "augment.trivial_augment.fill",
                self.trivial_augment.map(|policy| policy.fill),
            ),
            ("augment.rain.color", self.rain.map(|rain| rain.color)),
            ("augment.fog.light", self.fog.map(|fog| fog.light)),
            (
                "augment.coarse_dropout.fill",
                self.coarse_dropout.map(|dropout| dropout.fill),
            ),
            (
                "augment.random_erasing.fill",
                self.random_erasing.map(|erasing| erasing.fill),
            ),
        ];
        for (key, paint) in paints {
            if let Some([red, green, blue]) = paint
                && !(red == green && green == blue)
            {
                let problem = format!(
                    "[{red}, {green}, {blue}] is a colour, and temperatures are grey: give three equal values"
                );
                return Err(Error::config(key, problem));
            }
        }
        Ok(())
    }

    /// The numbers for one clip of frames of size `from`.
    pub(crate) fn draw(
        &self,
        preprocess: &Preprocess,
        from: Size,
        is_grey: bool,
        rng: &mut SeededRng,
    ) -> Draw {
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
        let target = Target {
            size: preprocess.size,
            is_grey,
        };
        Draw {
            crop,
            flip: happens(self.flip, rng),
            vertical_flip: happens(self.vertical_flip, rng),
            changes: self.draw_changes(target, rng),
        }
    }

    /// What happens at the model's size. What is off draws nothing, so it does not move what comes after it.
    fn draw_changes(&self, target: Target, rng: &mut SeededRng) -> Vec<Change> {
        let size = target.size;
        let mut changes = Vec::new();
        changes.extend(
            self.affine
                .and_then(|it| it.draw(size, rng))
                .map(Change::Warp),
        );
        changes.extend(
            self.rand_augment
                .map(|it| it.draw(size, rng))
                .unwrap_or_default(),
        );
        changes.extend(self.trivial_augment.and_then(|it| it.draw(size, rng)));
        let colors = self.color_jitter.map(|it| it.draw(rng)).unwrap_or_default();
        changes.extend(colors.into_iter().map(Change::Color));
        changes.extend(happens(self.autocontrast, rng).then_some(Change::AutoContrast));
        changes.extend(happens(self.grayscale, rng).then_some(Change::Grayscale));
        changes.extend(
            self.shadow
                .and_then(|it| it.draw(size, rng))
                .map(Change::Shadow),
        );
        changes.extend(
            self.rain
                .and_then(|it| it.draw(size, rng))
                .map(Change::Rain),
        );
        changes.extend(self.snow.and_then(|it| it.draw(rng)).map(Change::Snow));
        changes.extend(self.fog.and_then(|it| it.draw(size, rng)).map(Change::Fog));
        changes.extend(
            self.gaussian_blur
                .and_then(|it| it.draw(rng))
                .map(Change::Blur),
        );
        changes.extend(
            self.gaussian_noise
                .and_then(|it| it.draw(target, rng))
                .map(Change::Noise),
        );
        if let Some(dropout) = self.coarse_dropout {
            let holes = dropout.draw(size, rng).unwrap_or_default();
            changes.extend(
                holes
                    .into_iter()
                    .map(|hole| Change::Paint(hole, dropout.fill)),
            );
        }
        if let Some(erasing) = self.random_erasing {
            let drawn = erasing.draw(size, rng);
            changes.extend(drawn.map(|rectangle| Change::Paint(rectangle, erasing.fill)));
        }
        changes
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
        let mirrored =
            |axis: Axis, is_mirrored: bool| if is_mirrored { axis.mirrored() } else { axis };
        [
            mirrored(rows, self.vertical_flip),
            mirrored(columns, self.flip),
        ]
    }
}

/// A number drawn evenly from `[low, high]`.
pub(crate) fn uniform([low, high]: [f32; 2], rng: &mut SeededRng) -> f64 {
    let (low, high) = (f64::from(low), f64::from(high));
    low + (high - low) * rng.random::<f64>()
}

/// Whether something of this probability happens; nothing is drawn for what never does.
fn happens(probability: f32, rng: &mut SeededRng) -> bool {
    probability > 0.0 && rng.random::<f32>() < probability
}

#[cfg(test)]
mod tests;
