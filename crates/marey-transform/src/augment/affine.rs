//! Rotate, move, scale and shear, by one bilinear pass over a frame.
//!
//! Where each output pixel comes from is worked out once a clip; a frame then costs four products a value.

use marey_clip::SeededRng;
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    augment::{bounds, change::Canvas, uniform},
};

/// The picture turned, moved and scaled about its middle. As torchvision's `RandomAffine` with bilinear interpolation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Affine {
    /// Probability that a clip is moved, above 0 and up to 1 (default 1).
    pub probability: f32,
    /// Largest turn either way, 0 to 180 degrees (default 0).
    pub degrees: f32,
    /// Largest shift either way, as a share of each side, 0 to 1; a whole number of pixels is drawn (default 0).
    pub translate: f32,
    /// Smallest and largest factor on the size of what is shown, above 0 and up to 10 (default 1 to 1).
    pub scale: [f32; 2],
    /// Red, green and blue of what comes into view from outside, 0 to 255 (default 0 each).
    pub fill: [u8; 3],
}

impl Default for Affine {
    fn default() -> Self {
        Self {
            probability: 1.0,
            degrees: 0.0,
            translate: 0.0,
            scale: [1.0, 1.0],
            fill: [0; 3],
        }
    }
}

impl Affine {
    /// Checks what a person wrote.
    pub(crate) fn validate(self) -> Result<(), Error> {
        bounds::chance("augment.affine.probability", self.probability)?;
        bounds::within("augment.affine.degrees", self.degrees, 0.0..=180.0)?;
        bounds::within("augment.affine.translate", self.translate, 0.0..=1.0)?;
        bounds::positive("augment.affine.scale", self.scale, 10.0)?;
        if self.degrees == 0.0 && self.translate == 0.0 && self.scale == [1.0, 1.0] {
            let problem = "has no effect as it is: set degrees, translate or scale, or remove it";
            return Err(Error::config("augment.affine", problem));
        }
        Ok(())
    }

    /// Torchvision's `RandomAffine.get_params` without shear.
    pub(crate) fn draw(self, size: [usize; 2], rng: &mut SeededRng) -> Option<Warp> {
        if rng.random::<f32>() >= self.probability {
            return None;
        }
        let degrees = uniform([-self.degrees, self.degrees], rng);
        let mut shift = |side: usize| {
            let most = side as f64 * f64::from(self.translate);
            (most * (2.0 * rng.random::<f64>() - 1.0)).round()
        };
        let translate = [shift(size[1]), shift(size[0])];
        let motion = Motion {
            degrees,
            translate,
            scale: uniform(self.scale, rng),
            ..Motion::default()
        };
        Some(Warp::new(motion, size, self.fill))
    }
}

/// An affine map of the picture, in torchvision's terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Motion {
    /// Clockwise.
    pub(crate) degrees: f64,
    /// Right and down, in pixels.
    pub(crate) translate: [f64; 2],
    pub(crate) scale: f64,
    /// Shear along x and along y, in degrees.
    pub(crate) shear: [f64; 2],
    /// What stays in place.
    pub(crate) about: About,
}

/// The point that an affine map leaves in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Middle,
    TopLeft,
}

impl Default for Motion {
    fn default() -> Self {
        Self {
            degrees: 0.0,
            translate: [0.0; 2],
            scale: 1.0,
            shear: [0.0; 2],
            about: About::Middle,
        }
    }
}

impl Motion {
    /// `[a, b, c, d, e, f]`: the point `(x, y)` shows what was at `(ax + by + c, dx + ey + f)`, both counted from the
    /// middle. Torchvision's `_get_inverse_affine_matrix`.
    fn inverse(&self, [height, width]: [usize; 2]) -> [f64; 6] {
        let rotation = self.degrees.to_radians();
        let [shear_x, shear_y] = self.shear.map(f64::to_radians);
        let a = (rotation - shear_y).cos() / shear_y.cos();
        let b = -(a * shear_x.tan() + rotation.sin());
        let c = (rotation - shear_y).sin() / shear_y.cos();
        let d = rotation.cos() - c * shear_x.tan();
        let [a, b, d, e] = [d, -b, -c, a].map(|value| value / self.scale);
        let [centre_x, centre_y] = match self.about {
            About::Middle => [0.0, 0.0],
            About::TopLeft => [-(width as f64) / 2.0, -(height as f64) / 2.0],
        };
        let [x, y] = [centre_x + self.translate[0], centre_y + self.translate[1]];
        [
            a,
            b,
            centre_x - a * x - b * y,
            d,
            e,
            centre_y - d * x - e * y,
        ]
    }
}

/// Where each pixel of a frame comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Warp {
    taps: Vec<Tap>,
    size: [usize; 2],
    fill: [u8; 3],
}

/// The upper left of four neighbours, and how far towards the others.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tap {
    /// First value in the frame with a border of one pixel.
    at: u32,
    /// In 65536ths.
    right: u16,
    down: u16,
}

impl Warp {
    pub(crate) fn new(motion: Motion, size: [usize; 2], fill: [u8; 3]) -> Self {
        let [height, width] = size;
        let [a, b, c, d, e, f] = motion.inverse(size);
        let (middle_x, middle_y) = (width as f64 / 2.0 - 0.5, height as f64 / 2.0 - 0.5);
        let mut taps = Vec::with_capacity(height * width);
        for row in 0..height {
            for column in 0..width {
                let (x, y) = (column as f64 - middle_x, row as f64 - middle_y);
                let from_x = a * x + b * y + c + middle_x;
                let from_y = d * x + e * y + f + middle_y;
                taps.push(Tap::new(from_x, from_y, size));
            }
        }
        Self { taps, size, fill }
    }

    /// Moves one RGB frame.
    pub(crate) fn apply(&self, frame: &mut [u8], canvas: &mut Canvas) {
        let [height, width] = self.size;
        let stride = (width + 2) * 3;
        let bordered = &mut canvas.bytes;
        bordered.resize((height + 2) * stride, 0);
        for pixel in bordered.chunks_exact_mut(3) {
            pixel.copy_from_slice(&self.fill);
        }
        let inner = bordered.chunks_exact_mut(stride).skip(1);
        for (row, out) in frame.chunks_exact(width * 3).zip(inner) {
            out[3..3 + width * 3].copy_from_slice(row);
        }
        for (pixel, tap) in frame.chunks_exact_mut(3).zip(&self.taps) {
            let at = tap.at as usize;
            let upper = &bordered[at..at + 6];
            let lower = &bordered[at + stride..at + stride + 6];
            let (right, down) = (u32::from(tap.right), u32::from(tap.down));
            // Eight bits after the point between the two steps: everything fits in 32.
            let across = |row: &[u8], channel: usize| {
                let (near, far) = (u32::from(row[channel]), u32::from(row[channel + 3]));
                (near * (65536 - right) + far * right) >> 8
            };
            for (channel, value) in pixel.iter_mut().enumerate() {
                let (near, far) = (across(upper, channel), across(lower, channel));
                *value = ((near * (65536 - down) + far * down + (1 << 23)) >> 24) as u8;
            }
        }
    }
}

impl Tap {
    fn new(x: f64, y: f64, [height, width]: [usize; 2]) -> Self {
        // From the border on, everything is paint.
        if !(x > -1.0 && x < width as f64 && y > -1.0 && y < height as f64) {
            return Self {
                at: 0,
                right: 0,
                down: 0,
            };
        }
        let fixed = |value: f64| ((value + 1.0) * 65536.0) as u64;
        let (x, y) = (fixed(x), fixed(y));
        let (column, row) = (x >> 16, y >> 16);
        Self {
            at: ((row * (width as u64 + 2) + column) * 3) as u32,
            right: x as u16,
            down: y as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;

    fn moved(frame: &[u8], size: [usize; 2], motion: Motion, fill: u8) -> Vec<u8> {
        let mut frame: Vec<u8> = frame.iter().flat_map(|&value| [value; 3]).collect();
        Warp::new(motion, size, [fill; 3]).apply(&mut frame, &mut Canvas::new(size));
        frame.chunks_exact(3).map(|pixel| pixel[0]).collect()
    }

    #[test]
    fn whole_pixels_and_quarter_turns_are_exact() {
        let frame = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let shifted = Motion {
            translate: [1.0, -1.0],
            ..Motion::default()
        };
        assert_eq!(
            moved(&frame, [3, 3], shifted, 77),
            [77, 4, 5, 77, 7, 8, 77, 77, 77]
        );
        let turned = Motion {
            degrees: 90.0,
            ..Motion::default()
        };
        assert_eq!(
            moved(&frame, [3, 3], turned, 0),
            [7, 4, 1, 8, 5, 2, 9, 6, 3]
        );
        assert_eq!(moved(&frame, [3, 3], Motion::default(), 0), frame);
    }

    #[test]
    fn half_a_pixel_is_the_mean_of_two_and_the_edge_blends_with_the_paint() {
        let shifted = Motion {
            translate: [0.5, 0.0],
            ..Motion::default()
        };
        assert_eq!(moved(&[10, 20, 40], [1, 3], shifted, 100), [55, 15, 30]);
    }

    #[test]
    fn twice_the_size_shows_the_middle_half() {
        let larger = Motion {
            scale: 2.0,
            ..Motion::default()
        };
        // Pixel centres at -1.5, -0.5, 0.5 and 1.5 look at half of that.
        assert_eq!(
            moved(&[0, 40, 80, 120], [1, 4], larger, 0),
            [30, 50, 70, 90]
        );
    }

    #[test]
    fn draws_keep_to_their_ranges() {
        let affine = Affine {
            probability: 0.5,
            translate: 0.1,
            ..Affine::default()
        };
        let draws: Vec<Option<Warp>> = (0..400)
            .map(|seed| affine.draw([20, 20], &mut rng_for(seed, 0, 0, 0)))
            .collect();
        let moved = draws.iter().flatten().count();
        assert!((150..250).contains(&moved), "{moved} of 400");
        let frame: Vec<u8> = vec![200; 20 * 20 * 3];
        for warp in draws.into_iter().flatten() {
            let mut shown = frame.clone();
            warp.apply(&mut shown, &mut Canvas::new([20, 20]));
            let dark = shown.iter().filter(|&&value| value == 0).count() / 3;
            assert!(
                shown.iter().all(|&value| value == 0 || value == 200),
                "whole pixels"
            );
            assert!(
                dark <= 20 * 20 - 18 * 18,
                "two rows and two columns at most: {dark}"
            );
        }
    }
}
