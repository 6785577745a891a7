//! Time on a source's clock: instants, half-open spans, and the ordered instants of a source's frames.
//!
//! Every time is an integer number of nanoseconds since the source's own zero; a float second is for display and for
//! reading what a person typed. A container's ticks are converted once, when the source is opened, so two frames that
//! differ by a tick never fall together (a tick of the finest common clock, 1/90000 s, is 11,111 ns).

use std::{
    fmt,
    ops::{Add, Range, Sub},
    time::Duration,
};

use serde::{Deserialize, Serialize};

const NANOS_PER_SEC: i128 = 1_000_000_000;

/// An instant on a source's clock, in nanoseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The source's zero.
    pub const ZERO: Self = Self(0);
    /// The latest instant that can be expressed.
    pub const MAX: Self = Self(i64::MAX);

    /// The instant `nanos` nanoseconds after zero.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since zero.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The instant of `ticks` on a clock whose tick lasts `tick` seconds, rounded to the nearest nanosecond and
    /// clamped to what can be expressed.
    pub fn from_ticks(ticks: i64, tick: Rational) -> Self {
        let scaled = i128::from(ticks) * i128::from(tick.num) * NANOS_PER_SEC;
        let den = i128::from(tick.den);
        let rounded = (scaled + den / 2).div_euclid(den);
        Self(rounded.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
    }

    /// The instant of a number of seconds that a person wrote; `None` when it is not finite or does not fit.
    pub fn from_secs(secs: f64) -> Option<Self> {
        let nanos = (secs * 1e9).round();
        (nanos.is_finite() && nanos.abs() < i64::MAX as f64).then_some(Self(nanos as i64))
    }

    /// Seconds since zero, for display.
    pub fn as_secs(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.as_secs())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Timestamp {
    type Output = Duration;

    /// The time from `earlier` to `self`, zero when `earlier` is later.
    fn sub(self, earlier: Self) -> Duration {
        let nanos = (i128::from(self.0) - i128::from(earlier.0)).max(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A ratio of two positive integers: a frame rate in frames per second, or the length of a clock's tick in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rational {
    num: u32,
    den: u32,
}

impl Rational {
    /// `num / den`; `None` when either is zero.
    pub const fn new(num: u32, den: u32) -> Option<Self> {
        if num == 0 || den == 0 {
            None
        } else {
            Some(Self { num, den })
        }
    }

    /// Numerator.
    pub const fn num(self) -> u32 {
        self.num
    }

    /// Denominator.
    pub const fn den(self) -> u32 {
        self.den
    }

    /// The ratio as a float, for display.
    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.num, self.den)
    }
}

/// A half-open interval `[start, end)` on a source's clock, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    start: Timestamp,
    end: Timestamp,
}

impl Span {
    /// `[start, end)`; `None` when it would be empty.
    pub fn new(start: Timestamp, end: Timestamp) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// First instant inside.
    pub const fn start(self) -> Timestamp {
        self.start
    }

    /// First instant after.
    pub const fn end(self) -> Timestamp {
        self.end
    }

    /// Length.
    pub fn duration(self) -> Duration {
        self.end - self.start
    }

    /// The instant half-way.
    pub fn midpoint(self) -> Timestamp {
        Timestamp(((i128::from(self.start.0) + i128::from(self.end.0)).div_euclid(2)) as i64)
    }

    /// Whether `instant` lies inside.
    pub fn contains(self, instant: Timestamp) -> bool {
        self.start <= instant && instant < self.end
    }

    /// The span cut into `num` equal parts, in order; fewer where it has fewer nanoseconds.
    pub fn parts(self, num: usize) -> impl Iterator<Item = Self> {
        let (start, end) = (i128::from(self.start.0), i128::from(self.end.0));
        let cut = move |idx: usize| {
            let offset = (end - start) * idx as i128 / num as i128;
            Timestamp((start + offset) as i64)
        };
        (0..num).filter_map(move |idx| Self::new(cut(idx), cut(idx + 1)))
    }

    /// What both spans cover; `None` when they do not overlap.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "[{:.3}, {:.3}) s",
            self.start.as_secs(),
            self.end.as_secs()
        )
    }
}

/// Why a list of timestamps is no timeline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimelineError {
    /// There is no frame.
    #[error("there is no frame")]
    Empty,
    /// A frame does not come after the one before it.
    #[error("frame {idx} at {at} does not come after the frame before it at {before}")]
    NotIncreasing {
        /// Position of the frame.
        idx: usize,
        /// Its timestamp.
        at: Timestamp,
        /// The timestamp of the frame before.
        before: Timestamp,
    },
    /// The end is not after the last frame.
    #[error("the end {end} is not after the last frame at {last}")]
    EndsEarly {
        /// The end given.
        end: Timestamp,
        /// Timestamp of the last frame.
        last: Timestamp,
    },
}

/// When each frame of a source is shown: strictly increasing timestamps, and the end of the last frame.
///
/// Variable frame rates need nothing special: a frame is shown from its timestamp to the next one's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    timestamps: Vec<Timestamp>,
    end: Timestamp,
}

impl Timeline {
    /// A timeline of frames shown at `timestamps`, the last one until `end`.
    ///
    /// # Errors
    /// When there is no frame, the timestamps do not increase, or `end` is not after the last.
    pub fn new(timestamps: Vec<Timestamp>, end: Timestamp) -> Result<Self, TimelineError> {
        let last = *timestamps.last().ok_or(TimelineError::Empty)?;
        if let Some(idx) = (1..timestamps.len()).find(|&i| timestamps[i] <= timestamps[i - 1]) {
            let (at, before) = (timestamps[idx], timestamps[idx - 1]);
            return Err(TimelineError::NotIncreasing { idx, at, before });
        }
        if end <= last {
            return Err(TimelineError::EndsEarly { end, last });
        }
        Ok(Self { timestamps, end })
    }

    /// `num_frames` frames at a constant rate from zero.
    ///
    /// # Errors
    /// When `num_frames` is 0.
    pub fn constant(num_frames: usize, rate: Rational) -> Result<Self, TimelineError> {
        // `Rational` holds two positive numbers, so turning it round cannot fail.
        let tick = Rational {
            num: rate.den,
            den: rate.num,
        };
        let at = |i: usize| Timestamp::from_ticks(i as i64, tick);
        Self::new((0..num_frames).map(at).collect(), at(num_frames))
    }

    /// Number of frames, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a timeline is never empty")]
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// All timestamps, in order.
    pub fn timestamps(&self) -> &[Timestamp] {
        &self.timestamps
    }

    /// From the first frame to the end of the last.
    pub fn span(&self) -> Span {
        Span {
            start: self.timestamps[0],
            end: self.end,
        }
    }

    /// Position of the frame that is shown at `instant`; the first frame before the start, the last after the end.
    pub fn index_at(&self, instant: Timestamp) -> usize {
        self.timestamps
            .partition_point(|&t| t <= instant)
            .saturating_sub(1)
    }

    /// Positions of the frames whose timestamp lies in `span`; where none does, the one frame shown at its start.
    pub fn indices_in(&self, span: Span) -> Range<usize> {
        let start = self.timestamps.partition_point(|&t| t < span.start);
        let end = self.timestamps.partition_point(|&t| t < span.end);
        if start < end {
            return start..end;
        }
        let shown = self.index_at(span.start);
        shown..shown + 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(nanos: i64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    proptest! {
        #[test]
        fn parts_follow_each_other(start in -1_000_000i64..1_000_000, length in 1i64..1_000_000, num in 1usize..40) {
            let span = Span::new(at(start), at(start + length)).expect("not empty");
            let parts: Vec<Span> = span.parts(num).collect();
            prop_assert_eq!(parts.len(), num.min(length as usize));
            prop_assert_eq!(parts[0].start(), span.start());
            prop_assert_eq!(parts[parts.len() - 1].end(), span.end());
            for pair in parts.windows(2) {
                prop_assert_eq!(pair[0].end(), pair[1].start());
                let [a, b] = [pair[0], pair[1]].map(|part| part.duration().as_nanos());
                prop_assert!(a.abs_diff(b) <= 1);
            }
        }
    }

    #[test]
    fn ticks_round_to_the_nearest_nanosecond() {
        let tick = Rational::new(1, 90_000).expect("positive");
        assert_eq!(Timestamp::from_ticks(1, tick), at(11_111));
        assert_eq!(Timestamp::from_ticks(90_000, tick), at(1_000_000_000));
        assert_eq!(Timestamp::from_ticks(-1, tick), at(-11_111));
        assert_eq!(Timestamp::from_ticks(i64::MAX, tick), Timestamp::MAX);
    }

    #[test]
    fn typed_seconds_that_are_no_instant_are_refused() {
        assert_eq!(Timestamp::from_secs(1.5), Some(at(1_500_000_000)));
        for secs in [f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(Timestamp::from_secs(secs), None, "{secs}");
        }
    }

    #[test]
    fn a_timeline_refuses_frames_out_of_order() {
        assert_eq!(Timeline::new(vec![], at(1)), Err(TimelineError::Empty));
        let error = Timeline::new(vec![at(0), at(5), at(5)], at(9)).expect_err("equal timestamps");
        assert_eq!(
            error.to_string(),
            "frame 2 at 0.000 s does not come after the frame before it at 0.000 s"
        );
        assert!(matches!(
            Timeline::new(vec![at(0)], at(0)),
            Err(TimelineError::EndsEarly { .. })
        ));
    }

    #[test]
    fn a_span_between_two_frames_holds_the_frame_that_is_shown() {
        let timeline = Timeline::new(vec![at(0), at(100), at(200)], at(300)).expect("ordered");
        let span = Span::new(at(110), at(120)).expect("not empty");
        assert_eq!(timeline.indices_in(span), 1..2);
        let all = Span::new(at(0), at(300)).expect("not empty");
        assert_eq!(timeline.indices_in(all), 0..3);
    }

    proptest! {
        #[test]
        fn the_frame_shown_at_a_frames_timestamp_is_that_frame(
            gaps in prop::collection::vec(1i64..1_000_000_000, 1..50),
        ) {
            let mut now = 0;
            let timestamps: Vec<_> = gaps.iter().map(|gap| { now += gap; at(now) }).collect();
            let timeline = Timeline::new(timestamps.clone(), at(now + 1)).expect("increasing");
            for (idx, &timestamp) in timestamps.iter().enumerate() {
                prop_assert_eq!(timeline.index_at(timestamp), idx);
            }
        }
    }
}
