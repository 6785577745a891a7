//! Blurring and sharpening.

use marey_clip::SeededRng;
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    augment::{bounds, change::Canvas, uniform},
    simd::{BlendRows, BlendShifted},
};

/// A Gaussian blur. As torchvision's `GaussianBlur`: a square kernel, reflected edges.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianBlur {
    /// Probability that a clip is blurred, above 0 and up to 1 (default 0.5).
    pub probability: f32,
    /// Side of the kernel in pixels: odd, 3 to 31, and less than twice the frame's shorter side (default 5).
    pub kernel: usize,
    /// Smallest and largest standard deviation in pixels, above 0 and up to 20 (default 0.1 to 2).
    pub sigma: [f32; 2],
}

impl Default for GaussianBlur {
    fn default() -> Self {
        Self {
            probability: 0.5,
            kernel: 5,
            sigma: [0.1, 2.0],
        }
    }
}

/// Checks the side of a kernel for frames of `[height, width]`.
pub(crate) fn validate_side(
    key: &'static str,
    side: usize,
    smallest: usize,
    [height, width]: [usize; 2],
) -> Result<(), Error> {
    if side.is_multiple_of(2) {
        let problem = format!("{side} is even, expected an odd number of pixels");
        return Err(Error::config(key, problem));
    }
    bounds::within(key, side, smallest..=31)?;
    if side / 2 >= height.min(width) {
        let problem = format!(
            "{side} is too large for frames of {height} x {width} pixels, expected at most {}",
            2 * height.min(width) - 1
        );
        return Err(Error::config(key, problem));
    }
    Ok(())
}

impl GaussianBlur {
    /// Checks what a person wrote.
    pub(crate) fn validate(self, size: [usize; 2]) -> Result<(), Error> {
        bounds::chance("augment.gaussian_blur.probability", self.probability)?;
        validate_side("augment.gaussian_blur.kernel", self.kernel, 3, size)?;
        bounds::positive("augment.gaussian_blur.sigma", self.sigma, 20.0)
    }

    /// The kernel for one clip.
    pub(crate) fn draw(self, rng: &mut SeededRng) -> Option<Kernel> {
        if rng.random::<f32>() >= self.probability {
            return None;
        }
        Some(Kernel::gaussian(self.kernel, uniform(self.sigma, rng)))
    }
}

/// One side of a separable, symmetric kernel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kernel {
    /// In 65536ths, an odd number of them.
    weights: Vec<u16>,
}

impl Kernel {
    /// Torchvision's `_get_gaussian_kernel1d`.
    pub(crate) fn gaussian(side: usize, sigma: f64) -> Self {
        let middle = (side / 2) as f64;
        let density = |idx: usize| (-0.5 * ((idx as f64 - middle) / sigma).powi(2)).exp();
        Self::new((0..side).map(density).collect())
    }

    /// The mean of a square of `side` pixels.
    pub(crate) fn mean(side: usize) -> Self {
        Self::new(vec![1.0; side])
    }

    fn new(exact: Vec<f64>) -> Self {
        let total: f64 = exact.iter().sum();
        let mut weights: Vec<u32> = exact
            .iter()
            .map(|weight| (weight / total * 65536.0).round() as u32)
            .collect();
        // Rounding must not darken or brighten: the middle takes what is missing.
        let middle = weights.len() / 2;
        let others = weights.iter().sum::<u32>() - weights[middle];
        weights[middle] = 65536u32.saturating_sub(others);
        // A weight of one does not fit in 16 bits; a 65536th less is lost in the rounding.
        let fit = |weight: u32| weight.min(65535) as u16;
        Self {
            weights: weights.into_iter().map(fit).collect(),
        }
    }

    /// Blurs one RGB frame; beyond its edges it is mirrored, without repeating the edge. A kernel that reaches beyond
    /// the mirror stops there.
    pub(crate) fn apply(&self, frame: &mut [u8], canvas: &mut Canvas) {
        let [height, width] = canvas.size;
        let (taps, radius, stride) = (self.weights.len(), self.weights.len() / 2, width * 3);
        let lost = (taps / 2) as u16;
        let rows = &mut canvas.bytes;
        rows.resize((height + 2 * radius) * stride, 0);
        for (idx, row) in rows.chunks_exact_mut(stride).enumerate() {
            let from = mirrored(idx as isize - radius as isize, height);
            row.copy_from_slice(&frame[from * stride..][..stride]);
        }
        let line = &mut canvas.words;
        line.resize((width + 2 * radius) * 3, 0);
        for (idx, out) in frame.chunks_exact_mut(stride).enumerate() {
            BlendRows {
                rows: &rows[idx * stride..][..taps * stride],
                stride,
                weights: &self.weights,
                lost,
                range: 0..stride,
                out: &mut line[radius * 3..][..stride],
            }
            .run();
            for column in (0..radius).chain(width + radius..width + 2 * radius) {
                let from = mirrored(column as isize - radius as isize, width) + radius;
                line.copy_within(from * 3..from * 3 + 3, column * 3);
            }
            BlendShifted {
                line,
                weights: &self.weights,
                lost,
                out,
            }
            .run();
        }
    }
}

/// The pixel of a side of `len` that stands for `idx`.
fn mirrored(idx: isize, len: usize) -> usize {
    let last = len as isize - 1;
    let idx = idx.abs();
    let idx = if idx > last { 2 * last - idx } else { idx };
    idx.clamp(0, last) as usize
}

/// Torchvision's `adjust_sharpness`: a factor on the distance from a 3x3 mean whose middle counts five times. The
/// outermost pixels stay, and so does a frame of two rows or columns.
pub(crate) fn sharpen(frame: &mut [u8], factor: f32, canvas: &mut Canvas) {
    let [height, width] = canvas.size;
    if height <= 2 || width <= 2 {
        return;
    }
    let stride = width * 3;
    let before = &mut canvas.bytes;
    before.clear();
    before.extend_from_slice(frame);
    for row in 1..height - 1 {
        let [above, here, below] =
            [row - 1, row, row + 1].map(|row| &before[row * stride..][..stride]);
        let out = &mut frame[row * stride..][..stride];
        for idx in 3..stride - 3 {
            let three = |row: &[u8]| {
                u32::from(row[idx - 3]) + u32::from(row[idx]) + u32::from(row[idx + 3])
            };
            let sum = three(above) + three(here) + three(below) + 4 * u32::from(here[idx]);
            let mean = ((2 * sum + 13) / 26) as f32;
            let value = f32::from(here[idx]);
            out[idx] = (value + (mean - value) * (1.0 - factor)).clamp(0.0, 255.0) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blurred(values: &[u8], size: [usize; 2], kernel: &Kernel) -> Vec<u8> {
        let mut frame: Vec<u8> = values.iter().flat_map(|&value| [value; 3]).collect();
        kernel.apply(&mut frame, &mut Canvas::new(size));
        frame.chunks_exact(3).map(|pixel| pixel[2]).collect()
    }

    #[test]
    fn a_mean_of_three_mirrors_its_edges() {
        // Both ends see their neighbour twice: (0 + 90 + 90) / 3 and (90 + 0 + 90) / 3.
        let frame = [0, 90, 0, 0, 90, 0];
        assert_eq!(
            blurred(&frame, [2, 3], &Kernel::mean(3)),
            [60, 30, 60, 60, 30, 60]
        );
    }

    #[test]
    fn a_gaussian_spreads_a_point_by_its_density() {
        let mut frame = [0; 49];
        frame[24] = 255;
        let out = blurred(&frame, [7, 7], &Kernel::gaussian(5, 1.0));
        // exp(-x²/2) over its sum 2.4836 is 0.4026, 0.2442 and 0.0545 at 0, 1 and 2.
        let expect = |dx: usize, dy: usize| {
            [0.4026, 0.2442, 0.0545][dx] * [0.4026, 0.2442, 0.0545][dy] * 255.0
        };
        for (row, column, dx, dy) in [
            (3, 3, 0, 0),
            (3, 4, 1, 0),
            (2, 4, 1, 1),
            (1, 3, 0, 2),
            (5, 5, 2, 2),
        ] {
            let found = f64::from(out[row * 7 + column]);
            assert!(
                (found - expect(dx, dy)).abs() <= 1.0,
                "{row}, {column}: {found}"
            );
        }
        assert_eq!(out[0], 0, "outside the kernel");
    }

    #[test]
    fn one_colour_stays_that_colour() {
        for value in [0, 1, 77, 254, 255] {
            for kernel in [
                Kernel::gaussian(31, 9.0),
                Kernel::gaussian(3, 0.1),
                Kernel::mean(31),
            ] {
                assert!(
                    blurred(&[value; 40 * 17], [17, 40], &kernel)
                        .iter()
                        .all(|&out| out == value)
                );
            }
        }
    }

    #[test]
    fn a_kernel_must_be_odd_and_fit_the_frame() {
        let check = |kernel, size, message: &str| {
            let blur = GaussianBlur {
                kernel,
                ..GaussianBlur::default()
            };
            let error = blur.validate(size).expect_err("refused");
            assert_eq!(error.to_string(), message);
        };
        check(
            4,
            [32, 32],
            "augment.gaussian_blur.kernel: 4 is even, expected an odd number of pixels",
        );
        check(
            33,
            [99, 99],
            "augment.gaussian_blur.kernel: 33 is outside 3 to 31",
        );
        check(
            9,
            [4, 99],
            "augment.gaussian_blur.kernel: 9 is too large for frames of 4 x 99 pixels, expected at most 7",
        );
    }
}
