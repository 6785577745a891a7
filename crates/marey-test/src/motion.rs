//! Four ways to move that look alike in any one frame.
//!
//! Every motion carries the uniform distribution over a disc onto itself: a rotation does, and so does a bounce along a
//! chord, and standing still. Sizes work the same way: a pulse bounces through the range from which the other motions
//! draw theirs once. So at every frame index position and size are distributed alike over all classes, and what tells
//! the classes apart is how they change.

use std::f64::consts::{FRAC_PI_4, TAU};

use marey_clip::SeededRng;
use rand::Rng;

/// Radius of the disc in which a shape's middle lies, in pixels.
pub(crate) const REACH_PX: f64 = 21.0;
/// Half the extent of a shape, from the smallest to the largest, in pixels.
pub(crate) const SIZE_PX: (f64, f64) = (5.0, 10.0);
/// Speed of a moving shape, in pixels per frame.
const SPEED_PX: (f64, f64) = (2.0, 4.5);
/// Change of a pulsing shape's size, in pixels per frame.
const PULSE_PX: (f64, f64) = (0.5, 1.0);

/// The classes of the motion set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Motion {
    /// To and fro along a row.
    Horizontal,
    /// Up and down along a column.
    Vertical,
    /// Round the middle of the picture, either way.
    Circular,
    /// Growing and shrinking on the spot.
    Pulsing,
}

impl Motion {
    /// Every motion, in the order of the class list.
    pub const ALL: [Self; 4] = [
        Self::Horizontal,
        Self::Vertical,
        Self::Circular,
        Self::Pulsing,
    ];

    /// The label of the class.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Horizontal => "horizontal",
            Self::Vertical => "vertical",
            Self::Circular => "circular",
            Self::Pulsing => "pulsing",
        }
    }
}

/// Where a shape is and how large, at one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pose {
    /// Pixels to the right of the picture's middle.
    pub x: f64,
    /// Pixels below the picture's middle.
    pub y: f64,
    /// Half the extent, in pixels.
    pub size: f64,
}

/// The way of one shape through one clip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MotionPath {
    motion: Motion,
    start: Pose,
    /// Pixels per frame, signed: of the middle, or of the size for a pulse.
    speed: f64,
}

impl MotionPath {
    /// A path whose start, direction and speed are drawn from `rng`.
    pub fn draw(motion: Motion, rng: &mut SeededRng) -> Self {
        // The square root makes the point uniform over the disc's area.
        let radius = REACH_PX * rng.random::<f64>().sqrt();
        let angle = rng.random_range(0.0..TAU);
        let start = Pose {
            x: radius * angle.cos(),
            y: radius * angle.sin(),
            size: rng.random_range(SIZE_PX.0..SIZE_PX.1),
        };
        let (slow, fast) = match motion {
            Motion::Pulsing => PULSE_PX,
            _ => SPEED_PX,
        };
        let speed = rng.random_range(slow..fast) * if rng.random() { 1.0 } else { -1.0 };
        Self {
            motion,
            start,
            speed,
        }
    }

    /// The pose at a frame, counted from 0.
    pub fn at(&self, frame: usize) -> Pose {
        let (start, time) = (self.start, frame as f64);
        match self.motion {
            Motion::Horizontal => Pose {
                x: self.along_chord(start.x, start.y, time),
                ..start
            },
            Motion::Vertical => Pose {
                y: self.along_chord(start.y, start.x, time),
                ..start
            },
            Motion::Circular => {
                let radius = start.x.hypot(start.y);
                // Near the middle the same speed would be a blur of turns; an eighth of a turn a frame is the most.
                let turn = (self.speed / radius.max(f64::EPSILON)).clamp(-FRAC_PI_4, FRAC_PI_4);
                let angle = start.y.atan2(start.x) + turn * time;
                Pose {
                    x: radius * angle.cos(),
                    y: radius * angle.sin(),
                    ..start
                }
            }
            Motion::Pulsing => Pose {
                size: bounce(start.size, SIZE_PX, self.speed, time),
                ..start
            },
        }
    }

    /// Position along the chord of the disc that lies `across` from its middle.
    fn along_chord(&self, position: f64, across: f64, time: f64) -> f64 {
        let half = (REACH_PX * REACH_PX - across * across).max(0.0).sqrt();
        // On a short chord the same speed would look random; a quarter of its length a frame is the most.
        let speed = self.speed.clamp(-half / 2.0, half / 2.0);
        bounce(position, (-half, half), speed, time)
    }
}

/// Where a point that starts at `start` and bounces between `bounds` is after `time` frames.
fn bounce(start: f64, bounds: (f64, f64), speed: f64, time: f64) -> f64 {
    let length = bounds.1 - bounds.0;
    if length <= 0.0 {
        return start;
    }
    let unfolded = (start - bounds.0 + speed * time).rem_euclid(2.0 * length);
    bounds.0 + unfolded.min(2.0 * length - unfolded)
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;

    const DRAWS: u64 = 3000;

    fn poses(motion: Motion, frame: usize) -> Vec<Pose> {
        (0..DRAWS)
            .map(|idx| {
                MotionPath::draw(motion, &mut rng_for(3, motion as u64, idx, frame as u64))
                    .at(frame)
            })
            .collect()
    }

    /// The largest distance between two samples' distribution functions (Kolmogorov and Smirnov).
    fn distance(mut a: Vec<f64>, mut b: Vec<f64>) -> f64 {
        a.sort_by(f64::total_cmp);
        b.sort_by(f64::total_cmp);
        let share = |of: &[f64], x: f64| of.partition_point(|&v| v <= x) as f64 / of.len() as f64;
        let gap = |&x: &f64| (share(&a, x) - share(&b, x)).abs();
        a.iter().chain(&b).map(gap).fold(0.0, f64::max)
    }

    type View = fn(&Pose) -> f64;

    /// What one frame shows, seen along several directions.
    const VIEWS: [(&str, View); 6] = [
        ("x", |p| p.x),
        ("y", |p| p.y),
        ("diagonal", |p| p.x + p.y),
        ("radius", |p| p.x.hypot(p.y)),
        ("size", |p| p.size),
        ("size and radius", |p| p.size * p.x.hypot(p.y)),
    ];

    #[test]
    fn one_frame_is_distributed_alike_over_all_classes() {
        // The distance that two samples of one distribution exceed once in 10,000 times.
        let limit = 2.23 * (2.0 / DRAWS as f64).sqrt();
        for frame in [0, 7, 23] {
            let all: Vec<_> = Motion::ALL.iter().map(|&m| poses(m, frame)).collect();
            for (name, view) in VIEWS {
                let values = |i: usize| all[i].iter().map(view).collect::<Vec<_>>();
                for i in 1..all.len() {
                    let found = distance(values(0), values(i));
                    assert!(found < limit, "frame {frame}, {name}, class {i}: {found}");
                }
            }
        }
    }

    #[test]
    fn the_distance_would_notice_a_class_that_keeps_to_the_middle() {
        let limit = 2.23 * (2.0 / DRAWS as f64).sqrt();
        let x = |scale: f64| {
            poses(Motion::Circular, 5)
                .iter()
                .map(|p| p.x * scale)
                .collect()
        };
        assert!(distance(x(1.0), x(0.8)) > limit);
    }

    #[test]
    fn each_class_changes_what_it_should_and_nothing_else() {
        for motion in Motion::ALL {
            for idx in 0..200 {
                let path = MotionPath::draw(motion, &mut rng_for(9, 0, idx, 0));
                let start = path.at(0);
                for frame in 1..24 {
                    let (before, now) = (path.at(frame - 1), path.at(frame));
                    let moved = (now.x - before.x).hypot(now.y - before.y);
                    assert!(moved <= SPEED_PX.1 + 1e-9, "{motion:?} jumps by {moved}");
                    assert!(now.x.hypot(now.y) <= REACH_PX + 1e-9, "{motion:?}");
                    let kept = match motion {
                        Motion::Horizontal => now.y - start.y,
                        Motion::Vertical => now.x - start.x,
                        Motion::Circular => now.x.hypot(now.y) - start.x.hypot(start.y),
                        Motion::Pulsing => (now.x - start.x).hypot(now.y - start.y),
                    };
                    assert!(kept.abs() < 1e-9, "{motion:?} drifts by {kept}");
                    if motion != Motion::Pulsing {
                        assert_eq!(now.size, start.size);
                    }
                }
            }
        }
    }
}
