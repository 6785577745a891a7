//! Gaussian noise.

use std::sync::LazyLock;

use marey_clip::{SeededRng, rng_for};
use pulp::{Arch, NullaryFnOnce};
use rand::{Rng, RngCore};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    augment::{Target, bounds, change::Canvas, uniform},
};

/// Normally distributed noise on every value, rounded and held at 0 and 255. As torchvision's `GaussianNoise` with a
/// random `sigma`.
///
/// The same pattern lies over all frames of a clip unless `each_frame` says otherwise: a pattern that stands still says
/// nothing about motion. A clip of one channel gets the same noise in all three.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianNoise {
    /// Probability that a clip has noise, above 0 and up to 1 (default 0.5).
    pub probability: f32,
    /// Smallest and largest standard deviation, where white is 1, above 0 and up to 1 (default 0.01 to 0.03).
    pub sigma: [f32; 2],
    /// Whether each frame gets a pattern of its own, as from a camera's sensor (default false).
    pub each_frame: bool,
}

impl Default for GaussianNoise {
    fn default() -> Self {
        Self {
            probability: 0.5,
            sigma: [0.01, 0.03],
            each_frame: false,
        }
    }
}

/// Steps of the normal distribution that are told apart; the outermost lie 3.7 deviations from the middle.
const QUANTILES: usize = 4096;

/// Keeps the patterns of frames apart from all other draws.
const PURPOSE_NOISE: u64 = 0x4E4F_4953;

impl GaussianNoise {
    /// Checks what a person wrote.
    pub(crate) fn validate(self) -> Result<(), Error> {
        bounds::chance("augment.gaussian_noise.probability", self.probability)?;
        bounds::positive("augment.gaussian_noise.sigma", self.sigma, 1.0)
    }

    /// The noise of one clip.
    pub(crate) fn draw(self, target: Target, rng: &mut SeededRng) -> Option<Noise> {
        if rng.random::<f32>() >= self.probability {
            return None;
        }
        let sigma = 255.0 * uniform(self.sigma, rng);
        // A value is a whole number, so noise may be rounded before it is added.
        let level = |quantile: &f32| (sigma * f64::from(*quantile)).round() as i16;
        let mut noise = Noise {
            levels: NORMAL.iter().map(level).collect(),
            seed: rng.next_u64(),
            is_grey: target.is_grey,
            pattern: None,
        };
        if !self.each_frame {
            let mut pattern = Vec::new();
            noise.fill(0, target.size, &mut pattern);
            noise.pattern = Some(pattern);
        }
        Some(noise)
    }
}

/// The noise of one clip.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Noise {
    /// What each quantile adds, in levels of 255.
    levels: Vec<i16>,
    seed: u64,
    is_grey: bool,
    /// What is added to each value; `None` where it differs from frame to frame.
    pattern: Option<Vec<i16>>,
}

impl Noise {
    /// Adds the noise of frame `idx`.
    pub(crate) fn apply(&self, frame: &mut [u8], idx: usize, canvas: &mut Canvas) {
        match &self.pattern {
            Some(pattern) => add(frame, pattern),
            None => {
                self.fill(idx as u64, canvas.size, &mut canvas.levels);
                add(frame, &canvas.levels);
            }
        }
    }

    fn fill(&self, idx: u64, [height, width]: [usize; 2], pattern: &mut Vec<i16>) {
        let rng = &mut rng_for(self.seed, idx, 0, PURPOSE_NOISE);
        let level = |bits: u32| self.levels[bits as usize % QUANTILES];
        let pixels = height * width;
        pattern.clear();
        let num = if self.is_grey { pixels } else { 3 * pixels };
        while pattern.len() < num {
            let bits = rng.next_u32();
            pattern.extend([level(bits), level(bits >> 16)]);
        }
        pattern.truncate(num);
        if self.is_grey {
            *pattern = pattern.iter().flat_map(|&level| [level; 3]).collect();
        }
    }
}

fn add(frame: &mut [u8], pattern: &[i16]) {
    Arch::new().dispatch(Add { frame, pattern });
}

struct Add<'a> {
    frame: &'a mut [u8],
    pattern: &'a [i16],
}

impl NullaryFnOnce for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (value, &noise) in self.frame.iter_mut().zip(self.pattern) {
            *value = (i16::from(*value) + noise).clamp(0, 255) as u8;
        }
    }
}

/// The middle of each of [`QUANTILES`] equal shares of the normal distribution, by adding up its density.
static NORMAL: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let step = 1e-4;
    let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let mut upper = Vec::with_capacity(QUANTILES / 2);
    let (mut x, mut below) = (0.0, 0.5);
    for idx in QUANTILES / 2..QUANTILES {
        let wanted = (idx as f64 + 0.5) / QUANTILES as f64;
        while below < wanted {
            below += step * density(x + 0.5 * step);
            x += step;
        }
        upper.push(x as f32);
    }
    let lower = upper.iter().rev().map(|x| -x);
    lower.chain(upper.iter().copied()).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: [usize; 2] = [60, 70];

    fn noise(each_frame: bool, is_grey: bool) -> Noise {
        let noise = GaussianNoise {
            probability: 1.0,
            sigma: [0.04, 0.04],
            each_frame,
        };
        let target = Target {
            size: SIZE,
            is_grey,
        };
        noise
            .draw(target, &mut rng_for(3, 0, 0, 0))
            .expect("always")
    }

    fn frame(noise: &Noise, idx: usize) -> Vec<u8> {
        let mut frame = vec![128; SIZE[0] * SIZE[1] * 3];
        noise.apply(&mut frame, idx, &mut Canvas::new(SIZE));
        frame
    }

    #[test]
    fn quantiles_are_those_of_the_normal_distribution() {
        let at = |share: f64| f64::from(NORMAL[(share * QUANTILES as f64) as usize]);
        // Tables of the normal distribution: 0.5, 0.8413, 0.975 and 0.99865.
        for (share, expect) in [
            (0.5, 0.0),
            (0.841_345, 1.0),
            (0.975, 1.959_964),
            (0.001_35, -3.0),
        ] {
            assert!((at(share) - expect).abs() < 0.06, "{share}: {}", at(share));
        }
        let variance = NORMAL.iter().map(|x| f64::from(x * x)).sum::<f64>() / QUANTILES as f64;
        assert!((variance - 1.0).abs() < 0.005, "{variance}");
    }

    #[test]
    fn noise_has_the_deviation_asked_for() {
        let values: Vec<f64> = frame(&noise(false, false), 0)
            .iter()
            .map(|&value| f64::from(value) - 128.0)
            .collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let deviation = (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt();
        // 12600 draws: the mean within 5 * 10.2 / 112, the deviation within 5 * 10.2 / 159.
        assert!(mean.abs() < 0.46, "{mean}");
        assert!((deviation - 10.2).abs() < 0.33, "{deviation}");
    }

    #[test]
    fn one_pattern_a_clip_or_one_a_frame() {
        let (fixed, each) = (noise(false, false), noise(true, false));
        assert_eq!(frame(&fixed, 0), frame(&fixed, 7));
        assert_ne!(frame(&each, 0), frame(&each, 7));
        assert_eq!(frame(&each, 7), frame(&each, 7));
        assert_eq!(frame(&each, 0), frame(&fixed, 0), "the first is the same");
    }

    #[test]
    fn grey_stays_grey() {
        for each_frame in [false, true] {
            let frame = frame(&noise(each_frame, true), 1);
            assert!(
                frame
                    .chunks_exact(3)
                    .all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2])
            );
            assert!(frame.iter().any(|&value| value != 128));
        }
    }
}
