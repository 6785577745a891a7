//! Changes drawn from a list: RandAugment and TrivialAugment, with torchvision's lists and magnitudes.

use marey_clip::SeededRng;
use rand::{Rng, seq::IndexedRandom};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    augment::{
        affine::{About, Motion, Warp},
        bounds,
        change::Change,
        color::Step,
        levels,
    },
};

/// Several changes drawn from a list of 14, all of one magnitude (Cubuk et al., "RandAugment", 2020). List and
/// magnitudes are those of torchvision's `RandAugment`; what turns, shears or moves does so by bilinear interpolation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandAugment {
    /// Probability that a clip is changed, above 0 and up to 1 (default 1).
    pub probability: f32,
    /// Changes a clip, one after the other, each drawn from the whole list, 1 to 10 (default 2).
    pub num_ops: usize,
    /// Position of the magnitude among `bins`, counted from 0 (default 9).
    pub magnitude: usize,
    /// Magnitudes from none to the largest, 2 to 1000 (default 31).
    pub bins: usize,
    /// Red, green and blue of what comes into view from outside, 0 to 255 (default 0 each).
    pub fill: [u8; 3],
}

impl Default for RandAugment {
    fn default() -> Self {
        Self {
            probability: 1.0,
            num_ops: 2,
            magnitude: 9,
            bins: 31,
            fill: [0; 3],
        }
    }
}

/// One change drawn from a list of 14, of a drawn magnitude (Müller and Hutter, "TrivialAugment", 2021). List and
/// magnitudes are those of torchvision's `TrivialAugmentWide`; what turns, shears or moves does so by bilinear
/// interpolation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrivialAugment {
    /// Probability that a clip is changed, above 0 and up to 1 (default 1).
    pub probability: f32,
    /// Magnitudes from none to the largest, 2 to 1000 (default 31).
    pub bins: usize,
    /// Red, green and blue of what comes into view from outside, 0 to 255 (default 0 each).
    pub fill: [u8; 3],
}

impl Default for TrivialAugment {
    fn default() -> Self {
        Self {
            probability: 1.0,
            bins: 31,
            fill: [0; 3],
        }
    }
}

impl RandAugment {
    /// Checks what a person wrote.
    pub(crate) fn validate(self) -> Result<(), Error> {
        bounds::chance("augment.rand_augment.probability", self.probability)?;
        bounds::within("augment.rand_augment.num_ops", self.num_ops, 1..=10)?;
        bounds::within("augment.rand_augment.bins", self.bins, 2..=1000)?;
        bounds::within(
            "augment.rand_augment.magnitude",
            self.magnitude,
            0..=self.bins - 1,
        )
    }

    /// The changes of one clip.
    pub(crate) fn draw(self, size: [usize; 2], rng: &mut SeededRng) -> Vec<Change> {
        if rng.random::<f32>() >= self.probability {
            return Vec::new();
        }
        let magnitude = self.magnitude as f64 / (self.bins - 1) as f64;
        let space = Space::rand_augment(size, self.fill);
        let change = |_| space.draw(magnitude, rng);
        (0..self.num_ops).filter_map(change).collect()
    }
}

impl TrivialAugment {
    /// Checks what a person wrote.
    pub(crate) fn validate(self) -> Result<(), Error> {
        bounds::chance("augment.trivial_augment.probability", self.probability)?;
        bounds::within("augment.trivial_augment.bins", self.bins, 2..=1000)
    }

    /// The change of one clip, if any.
    pub(crate) fn draw(self, size: [usize; 2], rng: &mut SeededRng) -> Option<Change> {
        if rng.random::<f32>() >= self.probability {
            return None;
        }
        let magnitude = rng.random_range(0..self.bins) as f64 / (self.bins - 1) as f64;
        Space::trivial_augment(size, self.fill).draw(magnitude, rng)
    }
}

/// An entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

impl Op {
    pub(crate) const ALL: [Self; 14] = [
        Self::Identity,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
        Self::Brightness,
        Self::Color,
        Self::Contrast,
        Self::Sharpness,
        Self::Posterize,
        Self::Solarize,
        Self::AutoContrast,
        Self::Equalize,
    ];

    /// Whether its magnitude goes either way.
    pub(crate) const fn is_signed(self) -> bool {
        !matches!(
            self,
            Self::Identity | Self::Posterize | Self::Solarize | Self::AutoContrast | Self::Equalize
        )
    }
}

/// The largest magnitude of each entry, for frames of one size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Space {
    size: [usize; 2],
    fill: [u8; 3],
    /// Tangent of the angle.
    shear: f64,
    /// Pixels along x and y.
    translate: [f64; 2],
    degrees: f64,
    /// Distance of a factor from 1.
    factor: f64,
    /// Bits that are dropped.
    posterize: f64,
}

impl Space {
    pub(crate) fn rand_augment(size: [usize; 2], fill: [u8; 3]) -> Self {
        let [height, width] = size.map(|side| 150.0 / 331.0 * side as f64);
        Self {
            size,
            fill,
            shear: 0.3,
            translate: [width, height],
            degrees: 30.0,
            factor: 0.9,
            posterize: 4.0,
        }
    }

    pub(crate) fn trivial_augment(size: [usize; 2], fill: [u8; 3]) -> Self {
        Self {
            size,
            fill,
            shear: 0.99,
            translate: [32.0, 32.0],
            degrees: 135.0,
            factor: 0.99,
            posterize: 6.0,
        }
    }

    fn draw(&self, magnitude: f64, rng: &mut SeededRng) -> Option<Change> {
        let op = *Op::ALL.choose(rng).expect("a list that is not empty");
        let is_negative = op.is_signed() && rng.random::<bool>();
        self.change(op, if is_negative { -magnitude } else { magnitude })
    }

    /// What `op` does at `magnitude`, -1 to 1 of its largest; nothing for the identity.
    pub(crate) fn change(&self, op: Op, magnitude: f64) -> Option<Change> {
        let warp = |motion: Motion| Some(Change::Warp(Warp::new(motion, self.size, self.fill)));
        let sheared = (self.shear * magnitude).atan().to_degrees();
        let shear = |shear| {
            warp(Motion {
                shear,
                about: About::TopLeft,
                ..Motion::default()
            })
        };
        // Torchvision cuts off to whole pixels.
        let pixels = |axis: usize| (self.translate[axis] * magnitude).trunc();
        let translate = |translate| {
            warp(Motion {
                translate,
                ..Motion::default()
            })
        };
        let factor = (1.0 + self.factor * magnitude) as f32;
        match op {
            Op::Identity => None,
            Op::ShearX => shear([sheared, 0.0]),
            Op::ShearY => shear([0.0, sheared]),
            Op::TranslateX => translate([pixels(0), 0.0]),
            Op::TranslateY => translate([0.0, pixels(1)]),
            // Torchvision turns counter-clockwise.
            Op::Rotate => warp(Motion {
                degrees: -self.degrees * magnitude,
                ..Motion::default()
            }),
            Op::Brightness => Some(Change::Color(Step::Brightness(factor))),
            Op::Color => Some(Change::Color(Step::Saturation(factor))),
            Op::Contrast => Some(Change::Color(Step::Contrast(factor))),
            Op::Sharpness => Some(Change::Sharpness(factor)),
            Op::Posterize => {
                let bits = (8.0 - self.posterize * magnitude).round_ties_even();
                Some(Change::Levels(levels::posterize(bits as u32)))
            }
            Op::Solarize => Some(Change::Levels(levels::solarize(255.0 * (1.0 - magnitude)))),
            Op::AutoContrast => Some(Change::AutoContrast),
            Op::Equalize => Some(Change::Equalize),
        }
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;

    #[test]
    fn a_draw_has_as_many_changes_as_asked_for_but_for_the_identity() {
        let policy = RandAugment {
            num_ops: 3,
            ..RandAugment::default()
        };
        let counts: Vec<usize> = (0..700)
            .map(|seed| policy.draw([8, 8], &mut rng_for(seed, 0, 0, 0)).len())
            .collect();
        let identities = counts.iter().map(|&count| 3 - count).sum::<usize>();
        // A fourteenth of 2100 is 150, with a deviation of 12.
        assert!((90..210).contains(&identities), "{identities}");
        let bad = RandAugment {
            magnitude: 31,
            ..RandAugment::default()
        };
        assert_eq!(
            bad.validate().expect_err("31 bins").to_string(),
            "augment.rand_augment.magnitude: 31 is outside 0 to 30"
        );
    }

    #[test]
    fn signs_go_either_way_and_none_is_no_change() {
        let policy = TrivialAugment {
            bins: 2,
            ..TrivialAugment::default()
        };
        let factors: Vec<f32> = (0..2000)
            .filter_map(
                |seed| match policy.draw([8, 8], &mut rng_for(seed, 0, 0, 0)) {
                    Some(Change::Color(Step::Brightness(factor))) => Some(factor),
                    _ => None,
                },
            )
            .collect();
        let near = |wanted: f32| {
            factors
                .iter()
                .filter(|&&found| (found - wanted).abs() < 1e-6)
                .count()
        };
        // Of about 143, half have no magnitude, a quarter each goes either way.
        assert_eq!(near(0.01) + near(1.0) + near(1.99), factors.len());
        assert!(
            near(0.01) > 15 && near(1.99) > 15 && near(1.0) > 40,
            "{factors:?}"
        );
    }
}
