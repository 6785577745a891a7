//! Shadows.

use marey_clip::SeededRng;
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    augment::{bounds, uniform},
};

/// Random polygons in which part of the light is missing. As albumentations' `RandomShadow`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shadow {
    /// Probability that a clip has shadows, above 0 and up to 1 (default 0.3).
    pub probability: f32,
    /// Fewest and most shadows, 1 to 20 (default 1 to 2).
    pub count: [usize; 2],
    /// Corners of a shadow, 3 to 20 (default 5). They are drawn in any order, so edges may cross; a point is in the
    /// shadow if a line from it crosses an odd number of edges.
    pub corners: usize,
    /// Where corners lie: `[top, left, bottom, right]` as shares of the frame (default `[0.5, 0, 1, 1]`: the lower half).
    pub region: [f32; 4],
    /// Smallest and largest share of the light that is missing, above 0 and up to 1 (default 0.5 to 0.5).
    pub darkness: [f32; 2],
}

impl Default for Shadow {
    fn default() -> Self {
        Self {
            probability: 0.3,
            count: [1, 2],
            corners: 5,
            region: [0.5, 0.0, 1.0, 1.0],
            darkness: [0.5, 0.5],
        }
    }
}

impl Shadow {
    /// Checks what a person wrote.
    pub(crate) fn validate(self) -> Result<(), Error> {
        bounds::chance("augment.shadow.probability", self.probability)?;
        bounds::ordered("augment.shadow.count", self.count, 1..=20)?;
        bounds::within("augment.shadow.corners", self.corners, 3..=20)?;
        bounds::positive("augment.shadow.darkness", self.darkness, 1.0)?;
        let [top, left, bottom, right] = self.region;
        let is_region = |low: f32, high: f32| 0.0 <= low && low < high && high <= 1.0;
        if !(is_region(top, bottom) && is_region(left, right)) {
            let problem = format!(
                "[{top}, {left}, {bottom}, {right}] is no region, expected [top, left, bottom, right] \
                 from 0 to 1 with top < bottom and left < right"
            );
            return Err(Error::config("augment.shadow.region", problem));
        }
        Ok(())
    }

    /// The shadows of one clip.
    pub(crate) fn draw(self, size: [usize; 2], rng: &mut SeededRng) -> Option<ShadowMask> {
        if rng.random::<f32>() >= self.probability {
            return None;
        }
        let [height, width] = size.map(|side| side as f64);
        let [top, left, bottom, right] = self.region;
        let mut is_dark = vec![false; size[0] * size[1]];
        let num = rng.random_range(self.count[0]..=self.count[1]);
        for _ in 0..num {
            let mut corner = |_| {
                let x = width * uniform([left, right], rng);
                [x, height * uniform([top, bottom], rng)]
            };
            let polygon: Vec<[f64; 2]> = (0..self.corners).map(&mut corner).collect();
            cover(&polygon, size[1], &mut is_dark);
        }
        let light = 1.0 - uniform(self.darkness, rng);
        Some(ShadowMask::new(&is_dark, (256.0 * light).round() as u16))
    }
}

/// Marks the pixels whose middle is inside `polygon`, by the even-odd rule.
fn cover(polygon: &[[f64; 2]], width: usize, is_dark: &mut [bool]) {
    for (row, is_dark) in is_dark.chunks_exact_mut(width).enumerate() {
        let y = row as f64 + 0.5;
        let mut crossings: Vec<f64> = Vec::new();
        for (idx, &[x0, y0]) in polygon.iter().enumerate() {
            let [x1, y1] = polygon[(idx + 1) % polygon.len()];
            if (y0 <= y) != (y1 <= y) {
                crossings.push(x0 + (x1 - x0) * (y - y0) / (y1 - y0));
            }
        }
        crossings.sort_by(f64::total_cmp);
        for pair in crossings.chunks_exact(2) {
            // The middle of column `c` is at c + 0.5.
            let column = |x: f64| ((x - 0.5).ceil().max(0.0) as usize).min(width);
            is_dark[column(pair[0])..column(pair[1])].fill(true);
        }
    }
}

/// The shadows of one clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShadowMask {
    /// Stretches of values in the shadow: first and number.
    runs: Vec<[usize; 2]>,
    /// Share of the light that is left, in 256ths.
    left: u16,
}

impl ShadowMask {
    fn new(is_dark: &[bool], left: u16) -> Self {
        let mut runs = Vec::new();
        let mut first = 0;
        for run in is_dark.chunk_by(|a, b| a == b) {
            if run[0] {
                runs.push([3 * first, 3 * run.len()]);
            }
            first += run.len();
        }
        Self { runs, left }
    }

    /// Darkens one RGB frame.
    pub(crate) fn apply(&self, frame: &mut [u8]) {
        for &[first, len] in &self.runs {
            for value in &mut frame[first..first + len] {
                *value = ((u16::from(*value) * self.left + 128) >> 8) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;

    #[test]
    fn a_polygon_covers_the_pixels_whose_middle_it_holds() {
        let mut is_dark = vec![false; 16];
        // A triangle over the lower left half of a 4x4 frame: its edge passes through the middles of the diagonal.
        cover(&[[0.0, 0.0], [4.0, 4.0], [0.0, 4.0]], 4, &mut is_dark);
        let rows: Vec<usize> = is_dark
            .chunks_exact(4)
            .map(|row| row.iter().filter(|&&dark| dark).count())
            .collect();
        assert_eq!(rows, [0, 1, 2, 3]);
        // A star whose middle is crossed twice is hollow there.
        let star: Vec<[f64; 2]> = (0..5)
            .map(|idx| {
                let angle = f64::from(idx) * 4.0 * std::f64::consts::PI / 5.0;
                [50.0 + 45.0 * angle.sin(), 50.0 - 45.0 * angle.cos()]
            })
            .collect();
        let mut is_dark = vec![false; 100 * 100];
        cover(&star, 100, &mut is_dark);
        assert!(is_dark[20 * 100 + 50] && !is_dark[50 * 100 + 50]);
    }

    #[test]
    fn shadows_lie_in_their_region_and_take_their_share() {
        let shadow = Shadow {
            probability: 1.0,
            darkness: [0.25, 0.25],
            ..Shadow::default()
        };
        let mut covered = 0;
        for seed in 0..20 {
            let mask = shadow
                .draw([40, 50], &mut rng_for(seed, 0, 0, 0))
                .expect("always");
            let mut frame = vec![100; 40 * 50 * 3];
            mask.apply(&mut frame);
            assert!(frame.iter().all(|value| [75, 100].contains(value)));
            assert!(
                frame[..20 * 50 * 3].iter().all(|&value| value == 100),
                "the upper half"
            );
            covered += frame.iter().filter(|&&value| value == 75).count();
        }
        assert!(covered > 20 * 50 * 3, "{covered} values in 20 clips");
        let error = Shadow {
            region: [0.5, 0.0, 0.5, 1.0],
            ..shadow
        }
        .validate();
        assert!(error.is_err_and(|error| error.to_string().contains("is no region")));
    }
}
