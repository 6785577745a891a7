//! Colour jitter in place, as torchvision's `adjust_brightness`, `adjust_contrast`, `adjust_saturation`, `adjust_hue`
//! on `u8` images, within two levels of them.

use marey_clip::SeededRng;
use pulp::{Arch, NullaryFnOnce};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, augment::uniform};

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

/// One change of colour with its number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// Factor on every value.
    Brightness(f32),
    /// Factor on the distance from the frame's mean grey.
    Contrast(f32),
    /// Factor on the distance from the pixel's grey.
    Saturation(f32),
    /// Turn of the hue, in turns of the whole circle.
    Hue(f32),
}

impl ColorJitter {
    /// Checks what a person wrote.
    pub(crate) fn validate(self) -> Result<(), Error> {
        let spreads = [
            ("augment.color_jitter.brightness", self.brightness, 4.0),
            ("augment.color_jitter.contrast", self.contrast, 4.0),
            ("augment.color_jitter.saturation", self.saturation, 4.0),
            ("augment.color_jitter.hue", self.hue, 0.5),
        ];
        for (key, value, top) in spreads {
            if !(0.0..=top).contains(&value) {
                return Err(Error::config(key, format!("{value} is outside 0 to {top}")));
            }
        }
        if spreads.iter().all(|&(_, value, _)| value == 0.0) {
            let problem = "has no effect with every value at 0: remove it, or set one";
            return Err(Error::config("augment.color_jitter", problem));
        }
        Ok(())
    }

    /// The changes of one clip, in order.
    pub(crate) fn draw(self, rng: &mut SeededRng) -> Vec<Step> {
        let mut factor = |spread: f32| uniform([(1.0 - spread).max(0.0), 1.0 + spread], rng) as f32;
        let mut steps = vec![
            Step::Brightness(factor(self.brightness)),
            Step::Contrast(factor(self.contrast)),
            Step::Saturation(factor(self.saturation)),
        ];
        steps.push(Step::Hue(uniform([-self.hue, self.hue], rng) as f32));
        steps.shuffle(rng);
        steps.retain(|step| match *step {
            Step::Brightness(factor) | Step::Contrast(factor) | Step::Saturation(factor) => {
                factor != 1.0
            }
            Step::Hue(turn) => turn != 0.0,
        });
        steps
    }
}

impl Step {
    /// Changes one RGB frame.
    pub(crate) fn apply(self, frame: &mut [u8]) {
        Arch::new().dispatch(Apply { step: self, frame });
    }
}

struct Apply<'a> {
    step: Step,
    frame: &'a mut [u8],
}

impl NullaryFnOnce for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        match self.step {
            Step::Brightness(factor) => scale(self.frame, factor, 0.0),
            Step::Contrast(factor) => {
                let offset = (1.0 - factor) * mean_grey(self.frame);
                scale(self.frame, factor, offset);
            }
            Step::Saturation(factor) => saturate(self.frame, factor),
            Step::Hue(turn) => turn_hue(self.frame, turn),
        }
    }
}

/// `x * factor + offset` for factors below 8, in 12.4 fixed point, cut off to an integer.
#[inline(always)]
fn scale(frame: &mut [u8], factor: f32, offset: f32) {
    // x is shifted up by 7 and the factor by 13; the high half of their product then has 4 bits after the point.
    let factor = (factor * 8192.0).round().min(65535.0) as u16;
    let offset = (offset * 16.0).round() as i16;
    for value in frame {
        let product = (u32::from(u16::from(*value) << 7) * u32::from(factor)) >> 16;
        let sum = (product as u16 as i16).saturating_add(offset);
        *value = (sum.clamp(0, 255 * 16) >> 4) as u8;
    }
}

/// Weights of ITU-R BT.601 luma in 65536ths, as torchvision's `rgb_to_grayscale`.
pub(crate) const LUMA: [u32; 3] = [19_589, 38_470, 7_471];

/// The mean over the frame of each pixel's grey.
#[inline(always)]
fn mean_grey(frame: &[u8]) -> f32 {
    const LANES: usize = 96;
    let mut totals = [0u64; 3];
    // 256 values of 255 still fit in 16 bits.
    for group in frame.chunks(LANES * 256) {
        let blocks = group.chunks_exact(LANES);
        for (idx, &value) in blocks.remainder().iter().enumerate() {
            totals[idx % 3] += u64::from(value);
        }
        let mut sums = [0u16; LANES];
        for block in blocks {
            for (sum, &value) in sums.iter_mut().zip(block) {
                *sum += u16::from(value);
            }
        }
        for (idx, &sum) in sums.iter().enumerate() {
            totals[idx % 3] += u64::from(sum);
        }
    }
    let grey: u64 = totals
        .iter()
        .zip(LUMA)
        .map(|(&total, weight)| total * u64::from(weight))
        .sum();
    (grey as f64 / 65536.0 / (frame.len() / 3) as f64) as f32
}

#[inline(always)]
fn saturate(frame: &mut [u8], factor: f32) {
    let factor = (factor * 4096.0).round() as i32;
    for pixel in frame.chunks_exact_mut(3) {
        let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
        let grey = ((red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]) >> 16) as i32;
        for value in pixel {
            let mixed = (i32::from(*value) * factor + grey * (4096 - factor)) >> 12;
            *value = mixed.clamp(0, 255) as u8;
        }
    }
}

/// Turns the hue and keeps value and saturation: each channel is a trapezium over the hue, between the smallest and
/// the largest value of the pixel.
#[inline(always)]
fn turn_hue(frame: &mut [u8], turn: f32) {
    for pixel in frame.chunks_exact_mut(3) {
        let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
        let high = red.max(green).max(blue);
        let low = red.min(green).min(blue);
        let chroma = high - low;
        let divisor = if chroma > 0.0 { chroma } else { 1.0 };
        let (difference, sector) = if high == red {
            (green - blue, 0.0)
        } else if high == green {
            (blue - red, 2.0)
        } else {
            (red - green, 4.0)
        };
        // In sixths of the circle; between -1 and 5 before the turn of at most 3.
        let mut hue = difference / divisor + sector + 6.0 * turn;
        hue += if hue < 0.0 { 6.0 } else { 0.0 };
        hue -= if hue >= 6.0 { 6.0 } else { 0.0 };
        let shares = [
            (hue - 3.0).abs() - 1.0,
            2.0 - (hue - 2.0).abs(),
            2.0 - (hue - 4.0).abs(),
        ];
        for (value, share) in pixel.iter_mut().zip(shares) {
            *value = (low + chroma * share.clamp(0.0, 1.0) + 0.5) as u8;
        }
    }
}
