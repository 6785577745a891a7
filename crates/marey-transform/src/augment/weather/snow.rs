//! Snow that lies.

use marey_clip::SeededRng;
use pulp::{Arch, NullaryFnOnce};
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    augment::{bounds, uniform},
};

/// Bleaches what is dark, as a cover of snow does. As the method "bleach" of albumentations' `RandomSnow`: in hue,
/// lightness and saturation, a lightness below `1/3 + amount/2` is multiplied by `brightness` and held at 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Snow {
    /// Probability that a clip has snow, above 0 and up to 1 (default 0.2).
    pub probability: f32,
    /// Least and most snow, 0 to 1 (default 0.1 to 0.3).
    pub amount: [f32; 2],
    /// Factor on the lightness, above 1 and up to 10 (default 2.5).
    pub brightness: f32,
}

impl Default for Snow {
    fn default() -> Self {
        Self {
            probability: 0.2,
            amount: [0.1, 0.3],
            brightness: 2.5,
        }
    }
}

impl Snow {
    /// Checks what a person wrote.
    pub(crate) fn validate(self) -> Result<(), Error> {
        bounds::chance("augment.snow.probability", self.probability)?;
        bounds::ordered("augment.snow.amount", self.amount, 0.0..=1.0)?;
        if self.brightness <= 1.0 {
            let problem = format!("{} bleaches nothing, expected above 1", self.brightness);
            return Err(Error::config("augment.snow.brightness", problem));
        }
        bounds::within("augment.snow.brightness", self.brightness, 1.0..=10.0)
    }

    /// The snow of one clip.
    pub(crate) fn draw(self, rng: &mut SeededRng) -> Option<SnowTable> {
        if rng.random::<f32>() >= self.probability {
            return None;
        }
        let limit = 1.0 / 3.0 + uniform(self.amount, rng) / 2.0;
        Some(SnowTable::new(limit, f64::from(self.brightness)))
    }
}

/// What becomes of a pixel, by the sum of its smallest and largest value.
///
/// Lightness is half of that sum. With hue and saturation kept, a new lightness `m` for `l` moves each value `x` to
/// `m + (x - l) (1 - |2m - 1|) / (1 - |2l - 1|)`, which is a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SnowTable {
    lines: Vec<Line>,
}

/// `offset + slope * x`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    offset: f32,
    slope: f32,
}

impl SnowTable {
    /// Multiplies a lightness below `limit` (0 to 1) by `brightness`.
    pub(crate) fn new(limit: f64, brightness: f64) -> Self {
        let line = |sum: u32| {
            let lightness = f64::from(sum) / 510.0;
            // Black has nothing to multiply, and white no saturation to keep.
            if lightness >= limit || sum == 0 || sum == 510 {
                return Line {
                    offset: 0.0,
                    slope: 1.0,
                };
            }
            let bleached = (lightness * brightness).min(1.0);
            let room = |lightness: f64| 1.0 - (2.0 * lightness - 1.0).abs();
            let slope = room(bleached) / room(lightness);
            Line {
                offset: (255.0 * (bleached - lightness * slope)) as f32,
                slope: slope as f32,
            }
        };
        Self {
            lines: (0..=510).map(line).collect(),
        }
    }

    /// Snows on one RGB frame.
    pub(crate) fn apply(&self, frame: &mut [u8]) {
        Arch::new().dispatch(Apply {
            lines: &self.lines,
            frame,
        });
    }
}

struct Apply<'a> {
    lines: &'a [Line],
    frame: &'a mut [u8],
}

impl NullaryFnOnce for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for pixel in self.frame.chunks_exact_mut(3) {
            let low = pixel[0].min(pixel[1]).min(pixel[2]);
            let high = pixel[0].max(pixel[1]).max(pixel[2]);
            let Line { offset, slope } = self.lines[usize::from(low) + usize::from(high)];
            for value in pixel {
                *value = (offset + slope * f32::from(*value) + 0.5) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dark_colour_is_bleached_and_a_light_one_stays() {
        let snow = SnowTable::new(0.4, 2.5);
        let mut frame = [
            80, 80, 80, 200, 180, 160, 0, 0, 0, 100, 20, 60, 102, 102, 102,
        ];
        snow.apply(&mut frame);
        // Grey: 80 * 2.5. The light pixel has a lightness of 0.71. Black stays. [100, 20, 60] has lightness 60/255 and
        // becomes 150/255, where the room for colour is 2 (255 - 150) / (2 * 60) = 1.75 times as large:
        // 150 + (x - 60) * 1.75. 102 is 0.4 to the bit, not below it.
        assert_eq!(
            frame,
            [
                200, 200, 200, 200, 180, 160, 0, 0, 0, 220, 80, 150, 102, 102, 102
            ]
        );
    }

    #[test]
    fn lightness_is_held_at_white() {
        let mut frame = [120, 100, 90];
        SnowTable::new(0.5, 10.0).apply(&mut frame);
        assert_eq!(frame, [255; 3]);
    }
}
