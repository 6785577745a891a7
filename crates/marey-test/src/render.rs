//! Paints a shape on a noisy ground.
//!
//! Edges are antialiased and nothing is blurred along the motion, so a still frame holds no trace of speed.

use image::{Rgb, RgbImage};
use marey_clip::SeededRng;
use rand::Rng;

use crate::motion::Pose;

/// Height and width of a rendered frame, in pixels.
pub const FRAME_SIDE_PX: u32 = 64;

/// The outline of what moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A filled circle.
    Disc,
    /// A filled square.
    Square,
    /// A filled triangle, one corner up.
    Triangle,
    /// A circle with a hole.
    Ring,
    /// Two crossed bars.
    Cross,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 5] = [
        Self::Disc,
        Self::Square,
        Self::Triangle,
        Self::Ring,
        Self::Cross,
    ];

    /// Its name in the manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disc => "disc",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Ring => "ring",
            Self::Cross => "cross",
        }
    }

    /// Pixels from the outline of a shape of half extent `size`, negative inside, at `(x, y)` from its middle.
    fn distance(self, x: f64, y: f64, size: f64) -> f64 {
        let bar = |long: f64, short: f64| (long - size).max(short - 0.35 * size);
        match self {
            Self::Disc => x.hypot(y) - size,
            Self::Square => x.abs().max(y.abs()) - 0.85 * size,
            Self::Triangle => {
                let slope = 0.5 * (3f64.sqrt() * x.abs() - y);
                slope.max(y) - 0.55 * size
            }
            Self::Ring => (x.hypot(y) - 0.75 * size).abs() - 0.25 * size,
            Self::Cross => bar(x.abs(), y.abs()).min(bar(y.abs(), x.abs())),
        }
    }
}

/// The colour of what moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Colour {
    /// Red.
    Red,
    /// Green.
    Green,
    /// Blue.
    Blue,
    /// Yellow.
    Yellow,
    /// Magenta.
    Magenta,
    /// White.
    White,
}

impl Colour {
    /// Every colour.
    pub const ALL: [Self; 6] = [
        Self::Red,
        Self::Green,
        Self::Blue,
        Self::Yellow,
        Self::Magenta,
        Self::White,
    ];

    /// Its name in the manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Yellow => "yellow",
            Self::Magenta => "magenta",
            Self::White => "white",
        }
    }

    const fn rgb(self) -> [f64; 3] {
        match self {
            Self::Red => [225.0, 60.0, 50.0],
            Self::Green => [60.0, 205.0, 80.0],
            Self::Blue => [75.0, 120.0, 235.0],
            Self::Yellow => [230.0, 210.0, 60.0],
            Self::Magenta => [215.0, 75.0, 205.0],
            Self::White => [230.0, 230.0, 230.0],
        }
    }
}

/// How one clip looks, apart from what happens in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    shape: Shape,
    fill: [f64; 3],
    /// The ground `[h, w, 3]`, the same in every frame.
    ground: Vec<f64>,
}

impl Look {
    /// A shade of `colour` and a dark, uneven, speckled ground, drawn from `rng`.
    pub fn draw(shape: Shape, colour: Colour, rng: &mut SeededRng) -> Self {
        let brightness = rng.random_range(0.8..1.1);
        let fill = colour.rgb().map(|v| v * brightness);
        let base: [f64; 3] = std::array::from_fn(|_| rng.random_range(25.0..75.0));
        let slope = [rng.random_range(-0.4..0.4), rng.random_range(-0.4..0.4)];
        let speckle = rng.random_range(4.0..14.0);
        let middle = f64::from(FRAME_SIDE_PX) / 2.0;
        let mut ground = Vec::with_capacity((FRAME_SIDE_PX * FRAME_SIDE_PX * 3) as usize);
        for y in 0..FRAME_SIDE_PX {
            for x in 0..FRAME_SIDE_PX {
                let light = slope[0] * (f64::from(x) - middle) + slope[1] * (f64::from(y) - middle);
                let noise = rng.random_range(-speckle..speckle);
                ground.extend(base.map(|v| v + light + noise));
            }
        }
        Self {
            shape,
            fill,
            ground,
        }
    }

    /// One frame `[h, w, 3]` with the shape at `pose`, and a little grain drawn from `rng`.
    pub fn paint(&self, pose: Pose, rng: &mut SeededRng) -> RgbImage {
        let middle = f64::from(FRAME_SIDE_PX - 1) / 2.0;
        RgbImage::from_fn(FRAME_SIDE_PX, FRAME_SIDE_PX, |x, y| {
            let (dx, dy) = (
                f64::from(x) - middle - pose.x,
                f64::from(y) - middle - pose.y,
            );
            let cover = (0.5 - self.shape.distance(dx, dy, pose.size)).clamp(0.0, 1.0);
            let at = ((y * FRAME_SIDE_PX + x) * 3) as usize;
            let grain = rng.random_range(-4.0..4.0);
            Rgb(std::array::from_fn(|c| {
                let ground = self.ground[at + c];
                // Saturates at 0 and 255.
                (ground + cover * (self.fill[c] - ground) + grain).round() as u8
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;

    #[test]
    fn every_shape_is_painted_where_its_pose_says() {
        for shape in Shape::ALL {
            for (x, y) in [(0.0, 0.0), (-20.0, 3.5), (12.25, 17.0)] {
                let rng = &mut rng_for(1, 2, 3, 4);
                let pose = Pose { x, y, size: 8.0 };
                let picture = Look::draw(shape, Colour::White, rng).paint(pose, rng);
                let bright = |p: &Rgb<u8>| p.0.iter().all(|&v| v > 150);
                let (mut n, mut sum) = (0.0, [0.0, 0.0]);
                for (px, py, _) in picture.enumerate_pixels().filter(|(_, _, p)| bright(p)) {
                    n += 1.0;
                    sum = [sum[0] + f64::from(px), sum[1] + f64::from(py)];
                }
                let (found_x, found_y) = (sum[0] / n - 31.5, sum[1] / n - 31.5);
                assert!(n > 60.0, "{shape:?} covers {n} pixels");
                // A triangle's mass lies off the middle of its box.
                let off = (found_x - x).abs().max((found_y - y).abs());
                assert!(off < 1.0, "{shape:?} is {off} pixels off");
            }
        }
    }
}
