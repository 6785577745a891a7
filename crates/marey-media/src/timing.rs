//! From a container's ticks to a timeline.

use marey_clip::{Rational, Timeline, Timestamp};

/// A timeline and what was noticed while making it.
pub(crate) struct Timing {
    pub(crate) timeline: Timeline,
    /// Frames per second; `None` when it varies or there is one frame.
    pub(crate) frame_rate: Option<Rational>,
    pub(crate) warnings: Vec<String>,
}

/// The timeline of frames shown at `ticks` (in order), the last until `end`; `None` when there is no frame.
///
/// Frames that share an instant are kept apart by a nanosecond, and that is warned about.
pub(crate) fn timing(ticks: &[i64], end: i64, tick: Rational) -> Option<Timing> {
    let mut timestamps: Vec<Timestamp> = Vec::with_capacity(ticks.len());
    let mut moved = 0;
    for &at in ticks {
        let mut timestamp = Timestamp::from_ticks(at, tick);
        if let Some(&before) = timestamps.last()
            && timestamp <= before
        {
            timestamp = Timestamp::from_nanos(before.as_nanos().checked_add(1)?);
            moved += 1;
        }
        timestamps.push(timestamp);
    }
    let last = *timestamps.last()?;
    let mut end = Timestamp::from_ticks(end, tick);
    if end <= last {
        // The container gives the last frame no time: it lasts as long as the others do on average.
        let span = last.as_nanos().saturating_sub(timestamps[0].as_nanos());
        let mean = span / (timestamps.len() as i64 - 1).max(1);
        end = Timestamp::from_nanos(last.as_nanos().saturating_add(mean.max(1)));
    }
    let frame_rate = constant_rate(ticks, tick);
    let mut warnings = Vec::new();
    if frame_rate.is_none() && ticks.len() > 1 {
        warnings.push("the frame rate varies".to_owned());
    }
    if moved > 0 {
        warnings.push(format!(
            "{moved} frames share an instant with the frame before"
        ));
    }
    Some(Timing {
        timeline: Timeline::new(timestamps, end).ok()?,
        frame_rate,
        warnings,
    })
}

/// The rate of frames whose distances differ by no more than the rounding to ticks.
fn constant_rate(ticks: &[i64], tick: Rational) -> Option<Rational> {
    let (first, last) = (*ticks.first()?, *ticks.last()?);
    let gaps = ticks.len() as i128 - 1;
    let total = i128::from(last) - i128::from(first);
    let even = ticks.iter().enumerate().all(|(i, &at)| {
        let off = (i128::from(at) - i128::from(first)) * gaps - total * i as i128;
        off.abs() <= gaps
    });
    if gaps == 0 || total <= 0 || !even {
        return None;
    }
    ratio(
        gaps as u128 * u128::from(tick.den()),
        total as u128 * u128::from(tick.num()),
    )
}

/// A ratio in lowest terms, or the nearest with 16-bit terms when those are too large.
fn ratio(num: u128, den: u128) -> Option<Rational> {
    let (mut a, mut b) = (num, den);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let (mut num, mut den) = (num.checked_div(a)?, den.checked_div(a)?);
    while num > u128::from(u32::MAX) || den > u128::from(u32::MAX) {
        (num, den) = (num >> 1, den >> 1);
    }
    Rational::new(num as u32, den as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ticks: &[i64], scale: u32, rate: Option<(u32, u32)>, warnings: usize) {
        let tick = Rational::new(1, scale).expect("positive");
        let end = ticks.last().map_or(0, |last| last + 1);
        let found = timing(ticks, end, tick).expect("frames");
        let rate = rate.and_then(|(num, den)| Rational::new(num, den));
        assert_eq!(found.frame_rate, rate, "{ticks:?}");
        assert_eq!(found.warnings.len(), warnings, "{:?}", found.warnings);
    }

    #[test]
    fn a_rate_is_constant_up_to_the_rounding_of_the_clock() {
        check(&[0, 512, 1024], 12_800, Some((25, 1)), 0);
        check(&[0, 1001, 2002], 30_000, Some((30_000, 1001)), 0);
        // 30 frames per second in milliseconds.
        check(&[0, 33, 67, 100], 1000, Some((30, 1)), 0);
        check(&[0, 33, 99, 132], 1000, None, 1);
        check(&[7], 1000, None, 0);
        // Two frames at one instant.
        check(&[0, 0, 40], 1000, None, 2);
    }

    #[test]
    fn a_last_frame_without_time_lasts_as_long_as_the_others() {
        let tick = Rational::new(1, 1000).expect("positive");
        let found = timing(&[0, 40, 80], 80, tick).expect("frames");
        assert_eq!(
            found.timeline.span().end(),
            Timestamp::from_nanos(120_000_000)
        );
        assert!(timing(&[], 80, tick).is_none());
    }
}
