//! Sliding windows over a long source: pure arithmetic over spans.

use std::time::Duration;

use marey_clip::Span;

use crate::Error;

/// Windows of a fixed length, a hop apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windowing {
    length: Duration,
    hop: Duration,
}

impl Windowing {
    /// Windows `length_sec` long whose starts lie `hop_sec` apart; without a hop they follow each other.
    ///
    /// # Errors
    /// When a number is not above zero (at least a millisecond) or not finite.
    pub fn new(length_sec: f64, hop_sec: Option<f64>) -> Result<Self, Error> {
        let duration = |name: &str, secs: f64| match Duration::try_from_secs_f64(secs) {
            Ok(duration) if duration >= Duration::from_millis(1) => Ok(duration),
            _ => Err(Error::Windowing(format!(
                "--{name} {secs}: expected a number of seconds of at least 0.001"
            ))),
        };
        let length = duration("window", length_sec)?;
        let hop = hop_sec.map_or(Ok(length), |secs| duration("hop", secs))?;
        Ok(Self { length, hop })
    }

    /// How long a window is.
    pub const fn length(&self) -> Duration {
        self.length
    }

    /// How far apart the starts of two windows are.
    pub const fn hop(&self) -> Duration {
        self.hop
    }

    /// The windows that lie inside `whole`, in order. The last one ends at the end of `whole`, so nothing is left out; a
    /// source shorter than a window gives one window, all of it.
    pub fn spans(&self, whole: Span) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut start = whole.start();
        while start + self.length < whole.end() {
            spans.extend(Span::new(start, start + self.length));
            start = start + self.hop;
        }
        if start < whole.end() {
            // Shifted back to full length where the source allows it.
            let length = self.length.min(whole.duration());
            let last = whole.start() + (whole.duration() - length);
            spans.extend(Span::new(last, whole.end()));
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn check(length_sec: f64, hop_sec: Option<f64>, whole_sec: f64, expect: &[(f64, f64)]) {
        let at = |secs| Timestamp::from_secs(secs).expect("finite");
        let whole = Span::new(at(0.0), at(whole_sec)).expect("not empty");
        let spans = Windowing::new(length_sec, hop_sec)
            .expect("valid")
            .spans(whole);
        let found: Vec<_> = spans
            .iter()
            .map(|span| (span.start().as_secs(), span.end().as_secs()))
            .collect();
        assert_eq!(
            found, expect,
            "window {length_sec}, hop {hop_sec:?} of {whole_sec} s"
        );
    }

    #[test]
    fn windows_cover_the_source_to_its_end() {
        // Windows that follow each other and end together with the source.
        check(2.0, None, 4.0, &[(0.0, 2.0), (2.0, 4.0)]);
        // A rest shorter than a window: the last is shifted back.
        check(2.0, None, 5.0, &[(0.0, 2.0), (2.0, 4.0), (3.0, 5.0)]);
        // Overlapping windows.
        check(2.0, Some(1.0), 4.0, &[(0.0, 2.0), (1.0, 3.0), (2.0, 4.0)]);
        // A source shorter than a window.
        check(2.0, None, 1.0, &[(0.0, 1.0)]);
        // A hop longer than a window leaves gaps, as asked, and the end is still seen.
        check(1.0, Some(3.0), 5.0, &[(0.0, 1.0), (3.0, 4.0)]);
    }

    #[test]
    fn windows_of_no_length_are_refused() {
        for length in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9] {
            assert!(Windowing::new(length, None).is_err(), "{length}");
        }
        assert!(Windowing::new(1.0, Some(0.0)).is_err());
    }

    proptest! {
        #[test]
        fn windows_stay_inside_and_leave_no_gap_longer_than_the_hop(
            length_ms in 1u64..5000, hop_ms in 1u64..5000, whole_ms in 1i64..100_000,
        ) {
            let whole = Span::new(Timestamp::ZERO, Timestamp::from_nanos(whole_ms * 1_000_000)).expect("not empty");
            let windowing = Windowing::new(length_ms as f64 / 1e3, Some(hop_ms as f64 / 1e3)).expect("valid");
            let spans = windowing.spans(whole);
            prop_assert!(!spans.is_empty());
            prop_assert!(spans.iter().all(|span| span.intersection(whole) == Some(*span)));
            prop_assert!(spans.windows(2).all(|pair| pair[1].start() - pair[0].start() <= windowing.hop));
        }
    }
}
