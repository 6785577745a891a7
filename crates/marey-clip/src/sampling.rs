//! Which frames make a clip: pure arithmetic over a source's [`Timeline`].
//!
//! Terms as in Wang et al., "Temporal Segment Networks" (uniform), and Feichtenhofer et al., "SlowFast" (dense, views).
//! Where a span holds fewer frames than a clip wants, the last frame is repeated (and for [`SamplingMode::Centered`]
//! the first too); no clip ever wraps round.

use std::ops::Range;

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{SeededRng, Span, Timeline, Timestamp};

/// How frames are picked from a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SamplingMode {
    /// The span is cut into as many equal segments as the clip has frames, one frame from each.
    Uniform,
    /// Frames `step` apart from one start.
    Dense,
    /// Frames `step` apart around the middle of the span, reaching beyond it where the source does.
    Centered,
}

/// The frames of a clip: how many, how far apart, and how many clips of one item are averaged when judging.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// How frames are picked.
    pub mode: SamplingMode,
    /// Frames of a clip, at least 1.
    pub frames: usize,
    /// Frames between two sampled frames, at least 1 (default 1). Has no meaning for `uniform`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// Clips of one item whose scores are averaged in evaluation and prediction, at least 1 (default 1). Those of `centered`
    /// lie half a clip apart, as far as their middles stay in the span.
    #[serde(default = "one")]
    pub views: usize,
    /// Frames of the source by which the middle of a training clip is moved at random either way, at least 1 (default:
    /// it stays). The middle stays in the span and the clip in the source. For `centered` only: the other modes draw
    /// their frames from the whole span already. Evaluation and prediction never move a clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<usize>,
}

const fn one() -> usize {
    1
}

/// Why a [`Sampling`] cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SamplingError {
    /// A number that must be at least 1 is 0.
    #[error("sampling.{key} is 0, it must be at least 1")]
    Zero {
        /// Name of the key.
        key: &'static str,
    },
    /// `step` with `uniform`.
    #[error(
        "sampling.step has no effect with sampling.mode = \"uniform\": remove it, or use \"dense\""
    )]
    UnusedStep,
    /// `jitter` with a mode that draws from the whole span.
    #[error(
        "sampling.jitter has no effect with sampling.mode = \"{mode}\", which draws from the whole span: remove it, or \
         use \"centered\""
    )]
    UnusedJitter {
        /// The mode's name.
        mode: &'static str,
    },
}

/// The frames to read for one clip: the timestamps of frames of a timeline, in order, a frame possibly repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipPlan {
    /// One timestamp a frame of the clip, never decreasing.
    pub timestamps: Vec<Timestamp>,
}

impl Sampling {
    /// One frame from each of `frames` equal segments.
    pub const fn uniform(frames: usize) -> Self {
        Self {
            mode: SamplingMode::Uniform,
            frames,
            step: None,
            views: 1,
            jitter: None,
        }
    }

    /// `frames` frames `step` apart.
    pub const fn dense(frames: usize, step: usize) -> Self {
        Self {
            mode: SamplingMode::Dense,
            frames,
            step: Some(step),
            views: 1,
            jitter: None,
        }
    }

    /// `frames` frames `step` apart around the middle of the span.
    pub const fn centered(frames: usize, step: usize) -> Self {
        Self {
            mode: SamplingMode::Centered,
            frames,
            step: Some(step),
            views: 1,
            jitter: None,
        }
    }

    /// The same with `views` clips an item when judging.
    pub const fn with_views(mut self, views: usize) -> Self {
        self.views = views;
        self
    }

    /// The same with training clips moved by up to `frames` either way.
    pub const fn with_jitter(mut self, frames: usize) -> Self {
        self.jitter = Some(frames);
        self
    }

    /// Checks what a person wrote.
    ///
    /// # Errors
    /// When a number is 0 or a key has no effect beside the others.
    pub fn validate(&self) -> Result<(), SamplingError> {
        for (key, value) in [
            ("frames", self.frames),
            ("step", self.step()),
            ("views", self.views),
            ("jitter", self.jitter.unwrap_or(1)),
        ] {
            if value == 0 {
                return Err(SamplingError::Zero { key });
            }
        }
        let unused_jitter = |mode| match self.jitter {
            Some(_) => Err(SamplingError::UnusedJitter { mode }),
            None => Ok(()),
        };
        match self.mode {
            SamplingMode::Uniform if self.step.is_some() => Err(SamplingError::UnusedStep),
            SamplingMode::Uniform => unused_jitter("uniform"),
            SamplingMode::Dense => unused_jitter("dense"),
            SamplingMode::Centered => Ok(()),
        }
    }

    /// One clip for training: the start (dense), the frame within each segment (uniform) or, with
    /// [`jitter`](Self::jitter), the middle (centered) is drawn from `rng`.
    pub fn plan_random(&self, timeline: &Timeline, span: Span, rng: &mut SeededRng) -> ClipPlan {
        let range = timeline.indices_in(span);
        match self.mode {
            SamplingMode::Uniform => {
                let mut pick = |segment: Range<usize>| rng.random_range(segment);
                self.plan_segments(timeline, range, &mut pick)
            }
            SamplingMode::Dense => {
                let slack = range.len().saturating_sub(self.extent());
                let start = range.start + rng.random_range(0..=slack);
                self.plan_from(timeline, start as isize, range)
            }
            SamplingMode::Centered => {
                let most = self.jitter.unwrap_or(0);
                let shift = if most > 0 {
                    rng.random_range(0..=2 * most) as isize - most as isize
                } else {
                    0
                };
                self.plan_centered(timeline, span, shift)
            }
        }
    }

    /// The clips for judging: [`Sampling::views`] of them, spread over the span, the same on every call.
    pub fn plan_views(&self, timeline: &Timeline, span: Span) -> Vec<ClipPlan> {
        let range = timeline.indices_in(span);
        let plan = |view: usize| match self.mode {
            SamplingMode::Uniform => {
                // The middle of the view's share of each segment.
                let offset = |len: usize| len * (2 * view + 1) / (2 * self.views);
                let mut pick = |segment: Range<usize>| segment.start + offset(segment.len());
                self.plan_segments(timeline, range.clone(), &mut pick)
            }
            SamplingMode::Dense => {
                let slack = range.len().saturating_sub(self.extent());
                let start = if self.views == 1 {
                    slack / 2
                } else {
                    slack * view / (self.views - 1)
                };
                self.plan_from(timeline, (range.start + start) as isize, range.clone())
            }
            SamplingMode::Centered => {
                // Half a clip apart, around the middle.
                let halves = 2 * view as isize + 1 - self.views as isize;
                let shift = halves * self.extent() as isize / 4;
                self.plan_centered(timeline, span, shift)
            }
        };
        (0..self.views).map(plan).collect()
    }

    /// Frames from the first to the last of a dense clip.
    pub fn extent(&self) -> usize {
        (self.frames - 1) * self.step() + 1
    }

    /// Frames between two sampled frames.
    pub fn step(&self) -> usize {
        self.step.unwrap_or(1)
    }

    fn plan_segments(
        &self,
        timeline: &Timeline,
        range: Range<usize>,
        pick: &mut dyn FnMut(Range<usize>) -> usize,
    ) -> ClipPlan {
        let (num, t) = (range.len(), self.frames);
        let frame = |i: usize| {
            let start = range.start + num * i / t;
            // A span with fewer frames than the clip gives segments without one: the frame before serves again.
            let end = (range.start + num * (i + 1) / t).max(start + 1);
            timeline.timestamps()[pick(start..end)]
        };
        ClipPlan {
            timestamps: (0..t).map(frame).collect(),
        }
    }

    /// A clip around the middle of the span, `shift` frames later as far as that keeps its middle in the span and makes
    /// no frame be repeated for want of a source.
    fn plan_centered(&self, timeline: &Timeline, span: Span, shift: isize) -> ClipPlan {
        let before = (self.frames / 2 * self.step()) as isize;
        let middle = timeline.index_at(span.midpoint()) as isize;
        let start = middle - before;
        let within = timeline.indices_in(span);
        let moved = (middle + shift).clamp(
            (within.start as isize).min(middle),
            (within.end as isize - 1).max(middle),
        ) - before;
        let latest = timeline.len() as isize - self.extent() as isize;
        let start = moved.clamp(start.min(0), start.max(latest));
        self.plan_from(timeline, start, 0..timeline.len())
    }

    /// `frames` positions from `start`, `step` apart, each clamped to `range`.
    fn plan_from(&self, timeline: &Timeline, start: isize, range: Range<usize>) -> ClipPlan {
        let frame = |i: usize| {
            let idx = (start + (i * self.step()) as isize).max(range.start as isize) as usize;
            timeline.timestamps()[idx.min(range.end - 1)]
        };
        ClipPlan {
            timestamps: (0..self.frames).map(frame).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Rational, rng_for};

    fn timeline(num_frames: usize) -> Timeline {
        Timeline::constant(num_frames, Rational::new(25, 1).expect("positive")).expect("frames")
    }

    fn indices(timeline: &Timeline, plan: &ClipPlan) -> Vec<usize> {
        plan.timestamps
            .iter()
            .map(|&t| timeline.index_at(t))
            .collect()
    }

    fn check(sampling: &Sampling, num_frames: usize, expect: &[&[usize]]) {
        let timeline = timeline(num_frames);
        let plans = sampling.plan_views(&timeline, timeline.span());
        let found: Vec<_> = plans.iter().map(|plan| indices(&timeline, plan)).collect();
        assert_eq!(found, expect, "{sampling:?} of {num_frames} frames");
    }

    #[test]
    fn views_are_spread_over_the_span() {
        // The middle of each segment.
        check(&Sampling::uniform(4), 40, &[&[5, 15, 25, 35]]);
        // Fewer frames than the clip: frames serve twice, in order.
        check(&Sampling::uniform(4), 2, &[&[0, 0, 1, 1]]);
        // Two views share each segment.
        check(&Sampling::uniform(2).with_views(2), 8, &[&[1, 5], &[3, 7]]);
        // One dense view sits in the middle.
        check(&Sampling::dense(3, 2), 9, &[&[2, 4, 6]]);
        // Three views reach both ends.
        check(
            &Sampling::dense(3, 1).with_views(3),
            9,
            &[&[0, 1, 2], &[3, 4, 5], &[6, 7, 8]],
        );
        // A short source repeats its last frame.
        check(&Sampling::dense(4, 2), 3, &[&[0, 2, 2, 2]]);
        // Centred clips take [middle - t/2, middle + t/2) and repeat at both ends.
        check(&Sampling::centered(4, 1), 9, &[&[2, 3, 4, 5]]);
        check(&Sampling::centered(8, 1), 3, &[&[0, 0, 0, 0, 1, 2, 2, 2]]);
        // Three of them lie half a clip apart around the middle.
        check(
            &Sampling::centered(4, 1).with_views(3),
            9,
            &[&[0, 1, 2, 3], &[2, 3, 4, 5], &[4, 5, 6, 7]],
        );
    }

    #[test]
    fn keys_without_effect_are_errors() {
        let uniform = Sampling {
            step: Some(2),
            ..Sampling::uniform(4)
        };
        assert_eq!(uniform.validate(), Err(SamplingError::UnusedStep));
        assert_eq!(
            Sampling::dense(0, 1).validate(),
            Err(SamplingError::Zero { key: "frames" })
        );
        assert_eq!(Sampling::dense(8, 2).with_views(5).validate(), Ok(()));
    }

    #[test]
    fn jitter_is_refused_where_it_has_no_effect() {
        for (sampling, mode) in [
            (Sampling::uniform(4), "uniform"),
            (Sampling::dense(4, 2), "dense"),
        ] {
            assert_eq!(
                sampling.with_jitter(3).validate(),
                Err(SamplingError::UnusedJitter { mode })
            );
        }
        let centered = Sampling::centered(4, 1);
        assert_eq!(centered.clone().with_jitter(3).validate(), Ok(()));
        assert_eq!(
            centered.with_jitter(0).validate(),
            Err(SamplingError::Zero { key: "jitter" })
        );
    }

    /// First frames of many training clips of frames 20 to 29 of `num_frames`, and of the clip that judges.
    fn first_frames(sampling: &Sampling, num_frames: usize) -> (Vec<usize>, usize) {
        let timeline = timeline(num_frames);
        let at = |idx: usize| timeline.timestamps()[idx];
        let span = Span::new(at(20), at(30)).expect("ten frames");
        let first = |plan: &ClipPlan| indices(&timeline, plan)[0];
        let mut found: Vec<usize> = (0..500)
            .map(|seed| first(&sampling.plan_random(&timeline, span, &mut rng_for(seed, 0, 0, 0))))
            .collect();
        found.sort_unstable();
        found.dedup();
        (found, first(&sampling.plan_views(&timeline, span)[0]))
    }

    #[test]
    fn jitter_moves_training_clips_only_and_keeps_their_middle_in_the_span() {
        // The middle of frames 20 to 29 is frame 25, so four frames begin at 23.
        let sampling = Sampling::centered(4, 1).with_jitter(2);
        assert_eq!(first_frames(&sampling, 100), ((21..=25).collect(), 23));
        // A large jitter stops where the middle would leave the span: at 20 and at 29.
        let sampling = Sampling::centered(4, 1).with_jitter(50);
        assert_eq!(first_frames(&sampling, 100), ((18..=27).collect(), 23));
        // 17 frames around 25 begin at 17; in 35 frames they fit until 18, and moving never makes them fit less.
        let sampling = Sampling::centered(17, 1).with_jitter(50);
        assert_eq!(first_frames(&sampling, 35), ((12..=18).collect(), 17));
        // Without it nothing is drawn.
        assert_eq!(first_frames(&Sampling::centered(4, 1), 100), (vec![23], 23));
    }

    proptest! {
        #[test]
        fn a_plan_has_exactly_t_frames_in_order_inside_the_span(
            mode in prop::sample::select(vec![SamplingMode::Uniform, SamplingMode::Dense, SamplingMode::Centered]),
            num_frames in 1usize..200,
            frames in 1usize..40,
            step in 1usize..6,
            views in 1usize..5,
            bounds in (0usize..200, 1usize..200),
            seed: u64,
        ) {
            let timeline = timeline(num_frames);
            let first = bounds.0 % num_frames;
            let last = (first + bounds.1 % num_frames).min(num_frames - 1);
            let end = timeline.timestamps().get(last + 1).copied().unwrap_or(timeline.span().end());
            let span = Span::new(timeline.timestamps()[first], end).expect("at least a frame");
            let step = (mode != SamplingMode::Uniform).then_some(step);
            let sampling = Sampling { mode, frames, step, views, jitter: None };
            let mut plans = sampling.plan_views(&timeline, span);
            prop_assert_eq!(plans.len(), views);
            prop_assert_eq!(&plans, &sampling.plan_views(&timeline, span));
            plans.push(sampling.plan_random(&timeline, span, &mut rng_for(seed, 0, 0, 0)));
            for plan in &plans {
                prop_assert_eq!(plan.timestamps.len(), frames);
                prop_assert!(plan.timestamps.is_sorted());
                if mode != SamplingMode::Centered {
                    prop_assert!(plan.timestamps.iter().all(|&t| span.contains(t)));
                }
            }
        }

        #[test]
        fn the_same_seed_draws_the_same_clip(seed: u64, num_frames in 1usize..100) {
            let timeline = timeline(num_frames);
            let plan = |sampling: &Sampling| {
                sampling.plan_random(&timeline, timeline.span(), &mut rng_for(seed, 1, 2, 3))
            };
            for sampling in [Sampling::uniform(8), Sampling::dense(8, 2)] {
                prop_assert_eq!(plan(&sampling), plan(&sampling));
            }
        }
    }
}
