//! Rain.

use marey_clip::SeededRng;
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    augment::{
        blur::{self, Kernel},
        bounds,
        change::Canvas,
        color::Step,
        uniform,
    },
};

/// Drops as straight streaks, then a blur and less light. As albumentations' `RandomRain`, with a smaller blur.
///
/// Streaks and slant are drawn once a clip. With `fall` the streaks move down from frame to frame along their slant and
/// come in again at the top; with 0 they hang still.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rain {
    /// Probability that a clip has rain, above 0 and up to 1 (default 0.2).
    pub probability: f32,
    /// Streaks a thousand pixels of the frame, above 0 and up to 50 (default 1.7).
    pub density: f32,
    /// Length of a streak in rows, 1 to 200 (default 20).
    pub length_px: usize,
    /// Smallest and largest drift to the right over a streak's length, not steeper than 45° (default -10 to 10).
    pub slant_px: [f32; 2],
    /// Share of the frame's height by which streaks fall from one sampled frame to the next, 0 to 1 (default 0.25).
    pub fall: f32,
    /// Red, green and blue of a streak, 0 to 255 (default 200 each).
    pub color: [u8; 3],
    /// Side of the box blur in pixels: odd, 1 (no blur) to 31 (default 3; albumentations has 7, for larger pictures).
    pub blur: usize,
    /// Factor on the light, above 0 and up to 1 (default 0.7).
    pub brightness: f32,
}

impl Default for Rain {
    fn default() -> Self {
        Self {
            probability: 0.2,
            density: 1.7,
            length_px: 20,
            slant_px: [-10.0, 10.0],
            fall: 0.25,
            color: [200; 3],
            blur: 3,
            brightness: 0.7,
        }
    }
}

impl Rain {
    /// Checks what a person wrote.
    pub(crate) fn validate(self, size: [usize; 2]) -> Result<(), Error> {
        bounds::chance("augment.rain.probability", self.probability)?;
        bounds::positive("augment.rain.density", [self.density; 2], 50.0)?;
        bounds::within("augment.rain.length_px", self.length_px, 1..=200)?;
        let steepest = self.length_px as f32;
        bounds::ordered("augment.rain.slant_px", self.slant_px, -steepest..=steepest)?;
        bounds::within("augment.rain.fall", self.fall, 0.0..=1.0)?;
        blur::validate_side("augment.rain.blur", self.blur, 1, size)?;
        bounds::positive("augment.rain.brightness", [self.brightness; 2], 1.0)
    }

    /// The rain of one clip.
    pub(crate) fn draw(self, [height, width]: [usize; 2], rng: &mut SeededRng) -> Option<RainFall> {
        if rng.random::<f32>() >= self.probability {
            return None;
        }
        let (height, width) = (height as f64, width as f64);
        let slope = uniform(self.slant_px, rng) / self.length_px as f64;
        // A streak that crosses the top this far outside still comes into view.
        let reach = slope * height;
        let [left, right] = [(-reach).min(0.0), width + (-reach).max(0.0)];
        let cycle = height + self.length_px as f64;
        let area = (right - left) * cycle;
        let num = (f64::from(self.density) * area / 1000.0).round().max(1.0) as usize;
        let drop = |_| Streak {
            crossing: left + (right - left) * rng.random::<f64>(),
            phase: cycle * rng.random::<f64>(),
        };
        Some(RainFall {
            streaks: (0..num).map(drop).collect(),
            slope,
            length: self.length_px,
            fall: f64::from(self.fall) * height,
            color: self.color,
            blur: (self.blur > 1).then(|| Kernel::mean(self.blur)),
            brightness: self.brightness,
        })
    }
}

/// The rain of one clip.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RainFall {
    streaks: Vec<Streak>,
    /// Pixels to the right a row.
    slope: f64,
    length: usize,
    /// Rows a frame.
    fall: f64,
    color: [u8; 3],
    blur: Option<Kernel>,
    brightness: f32,
}

/// One streak.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Streak {
    /// Where its path crosses the top, in pixels from the left.
    crossing: f64,
    /// How far it has fallen in the first frame, in rows.
    phase: f64,
}

impl RainFall {
    /// Rains on the RGB frame `idx`.
    pub(crate) fn apply(&self, frame: &mut [u8], idx: usize, canvas: &mut Canvas) {
        let [height, width] = canvas.size;
        for streak in &self.streaks {
            for (row, column) in self.pixels(streak, idx, height) {
                let is_inside =
                    (0..height as i64).contains(&row) && (0..width as i64).contains(&column);
                if is_inside {
                    let at = (row as usize * width + column as usize) * 3;
                    frame[at..at + 3].copy_from_slice(&self.color);
                }
            }
        }
        if let Some(kernel) = &self.blur {
            kernel.apply(frame, canvas);
        }
        if self.brightness < 1.0 {
            Step::Brightness(self.brightness).apply(frame);
        }
    }

    /// The pixels of a streak in frame `idx`, some of them outside.
    fn pixels(
        &self,
        streak: &Streak,
        idx: usize,
        height: usize,
    ) -> impl Iterator<Item = (i64, i64)> {
        let cycle = (height + self.length) as f64;
        let top = (streak.phase + self.fall * idx as f64) % cycle - self.length as f64;
        let (first, crossing, slope) = (top.floor() as i64, streak.crossing, self.slope);
        (first..first + self.length as i64)
            .map(move |row| (row, (crossing + slope * row as f64).floor() as i64))
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;

    const SIZE: [usize; 2] = [60, 80];

    fn rain() -> Rain {
        Rain {
            probability: 1.0,
            length_px: 10,
            slant_px: [5.0, 5.0],
            fall: 0.1,
            blur: 1,
            brightness: 1.0,
            ..Rain::default()
        }
    }

    fn wet(rain: Rain, idx: usize) -> Vec<bool> {
        let fall = rain.draw(SIZE, &mut rng_for(1, 0, 0, 0)).expect("always");
        let mut frame = vec![0; SIZE[0] * SIZE[1] * 3];
        fall.apply(&mut frame, idx, &mut Canvas::new(SIZE));
        frame
            .chunks_exact(3)
            .map(|pixel| pixel == [200; 3])
            .collect()
    }

    #[test]
    fn streaks_cover_their_share_of_the_frame() {
        let covered = wet(rain(), 0).iter().filter(|&&is_wet| is_wet).count();
        // 1.7 streaks a thousand pixels, ten pixels each: 82 of 4800, a few of them over one another.
        assert!((55..=95).contains(&covered), "{covered}");
        let dense = Rain {
            density: 17.0,
            ..rain()
        };
        let covered = wet(dense, 0).iter().filter(|&&is_wet| is_wet).count();
        assert!((600..=900).contains(&covered), "{covered}");
    }

    #[test]
    fn streaks_fall_along_their_slant() {
        // A tenth of 60 rows is 6 rows, with half of that to the right.
        let (before, after) = (wet(rain(), 0), wet(rain(), 1));
        let (mut kept, mut total) = (0, 0);
        for row in 0..SIZE[0] - 6 {
            for column in 0..SIZE[1] - 3 {
                if before[row * SIZE[1] + column] {
                    total += 1;
                    kept += usize::from(after[(row + 6) * SIZE[1] + column + 3]);
                }
            }
        }
        // Streaks that leave at the bottom are taken away row by row; the rest is found again.
        assert!(total > 40 && kept == total, "{kept} of {total}");
        let still = Rain {
            fall: 0.0,
            ..rain()
        };
        assert_eq!(wet(still, 0), wet(still, 9));
    }

    #[test]
    fn rain_takes_light_and_blurs() {
        let draw = Rain {
            brightness: 0.5,
            blur: 3,
            ..rain()
        };
        let fall = draw.draw(SIZE, &mut rng_for(1, 0, 0, 0)).expect("always");
        let mut frame = vec![100; SIZE[0] * SIZE[1] * 3];
        fall.apply(&mut frame, 0, &mut Canvas::new(SIZE));
        assert_eq!(frame.iter().min(), Some(&50), "half of the light");
        // A streak of 200 on 100 spreads over nine pixels, three of them wet in a column: at most 133, halved, and more
        // where streaks lie side by side.
        let most = *frame.iter().max().expect("pixels");
        assert!((60..=100).contains(&most), "{most}");
        let error = Rain {
            slant_px: [-30.0, 10.0],
            ..rain()
        }
        .validate(SIZE);
        assert_eq!(
            error.expect_err("too steep").to_string(),
            "augment.rain.slant_px: [-30, 10] is no range, expected -10 <= low <= high <= 10"
        );
    }
}
