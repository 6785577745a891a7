//! Intervals of figures: Wilson's for proportions, percentiles of bootstrap draws for the rest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The 97.5 % quantile of the normal distribution: all intervals here are 95 % intervals.
const Z: f64 = 1.959_963_984_540_054;

/// A 95 % interval, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How it was found, which says what it is about.
    pub method: IntervalMethod,
}

impl Interval {
    /// Width, `high - low`.
    pub fn width(&self) -> f64 {
        self.high - self.low
    }

    /// Whether `value` lies between the ends, or on one.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// How an [`Interval`] was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum IntervalMethod {
    /// Wilson's score interval of a proportion. It takes the items as independent of each other. It also stands in for a bootstrap
    /// whose draws were all 0 or all 1.
    Wilson,
    /// Percentiles of draws that resample whole groups: it speaks of another choice of groups (cameras, source videos).
    GroupBootstrap {
        /// Number of draws.
        draws: usize,
        /// Number of groups; an item without a group counts as one.
        groups: usize,
    },
    /// Percentiles of draws that resample single items, because no groups were given or all items share one.
    ItemBootstrap {
        /// Number of draws.
        draws: usize,
        /// Number of items.
        items: usize,
    },
}

impl IntervalMethod {
    /// Whether it speaks of another choice of groups, not only of other items of the same ones.
    pub fn is_by_group(&self) -> bool {
        matches!(self, Self::GroupBootstrap { .. })
    }
}

impl std::fmt::Display for IntervalMethod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wilson => f.write_str("Wilson"),
            Self::GroupBootstrap { draws, groups } => {
                write!(f, "bootstrap of {groups} groups, {draws} draws")
            }
            Self::ItemBootstrap { draws, items } => {
                write!(f, "bootstrap of {items} single items, {draws} draws")
            }
        }
    }
}

/// Wilson's 95 % score interval of the proportion `successes / trials`.
///
/// Unlike the normal approximation it stays inside 0..=1 and keeps a width at 0 % and 100 %. With no trials it is 0..=1:
/// nothing is known. Wilson, JASA 22 (1927), pp. 209-212.
///
/// ```
/// let interval = marey_eval::wilson(52, 73); // the thermal reference run
/// assert!((interval.low - 0.600).abs() < 1e-3 && (interval.high - 0.803).abs() < 1e-3);
/// ```
pub fn wilson(successes: u64, trials: u64) -> Interval {
    let method = IntervalMethod::Wilson;
    if trials == 0 {
        return Interval {
            low: 0.0,
            high: 1.0,
            method,
        };
    }
    let n = trials as f64;
    let p = (successes as f64 / n).min(1.0);
    let centre = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    // At 0 and at n the exact ends are 0 and 1; rounding would miss them by an ulp.
    let low = if successes == 0 {
        0.0
    } else {
        ((centre - half) / scale).max(0.0)
    };
    let high = if successes >= trials {
        1.0
    } else {
        ((centre + half) / scale).min(1.0)
    };
    Interval { low, high, method }
}

/// The bootstrap interval of a figure whose items number `num_items`, or Wilson's where the bootstrap has nothing to say.
///
/// A set without a mistake, or without a hit, looks the same in every draw: the percentiles then claim certainty, however few
/// items there are.
pub(crate) fn bootstrap_or_wilson(value: f64, bootstrap: Interval, num_items: u64) -> Interval {
    match value {
        _ if bootstrap.width() > 0.0 => bootstrap,
        0.0 => wilson(0, num_items),
        1.0 => wilson(num_items, num_items),
        _ => bootstrap,
    }
}

/// The 2.5 % and 97.5 % percentiles of `draws`, interpolated linearly as `numpy.percentile` does. Sorts `draws`.
///
/// # Panics
/// If `draws` is empty.
pub fn percentile_interval(draws: &mut [f64], method: IntervalMethod) -> Interval {
    assert!(!draws.is_empty(), "an interval needs at least one draw");
    draws.sort_unstable_by(f64::total_cmp);
    Interval {
        low: quantile(draws, 0.025),
        high: quantile(draws, 0.975),
        method,
    }
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    let position = q * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = position.ceil() as usize;
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wilson_matches_published_values() {
        // The thermal and A2D reference runs, then Newcombe 1998, Statistics in Medicine 17, table I, method 3.
        let cases = [
            ((52, 73), (0.5998, 0.8033), 1e-3),
            ((487, 746), (0.618, 0.686), 1e-3),
            ((81, 263), (0.2553, 0.3662), 5e-5),
            ((15, 148), (0.0624, 0.1605), 5e-5),
            ((0, 20), (0.0, 0.1611), 5e-5),
            ((1, 29), (0.0061, 0.1718), 5e-5),
        ];
        for ((successes, trials), (low, high), tolerance) in cases {
            let found = wilson(successes, trials);
            assert!(
                (found.low - low).abs() < tolerance,
                "{successes}/{trials}: {found:?}"
            );
            assert!(
                (found.high - high).abs() < tolerance,
                "{successes}/{trials}: {found:?}"
            );
        }
    }

    #[test]
    fn nothing_seen_means_nothing_known() {
        assert_eq!((wilson(0, 0).low, wilson(0, 0).high), (0.0, 1.0));
    }

    #[test]
    fn a_bootstrap_that_saw_no_mistake_does_not_claim_certainty() {
        let method = IntervalMethod::ItemBootstrap {
            draws: 9,
            items: 20,
        };
        let bootstrap = |low, high| Interval { low, high, method };
        let cases = [
            (1.0, bootstrap(1.0, 1.0), wilson(20, 20)),
            (0.0, bootstrap(0.0, 0.0), wilson(0, 20)),
            (1.0, bootstrap(0.9, 1.0), bootstrap(0.9, 1.0)),
            // A constant predictor's mean recall is exactly 1 / k in every draw.
            (0.25, bootstrap(0.25, 0.25), bootstrap(0.25, 0.25)),
        ];
        for (value, found, expected) in cases {
            assert_eq!(
                bootstrap_or_wilson(value, found, 20),
                expected,
                "{value} {found:?}"
            );
        }
    }

    #[test]
    fn percentiles_interpolate_as_numpy() {
        // numpy.percentile([1, 2, 4, 8], [2.5, 97.5]) = [1.075, 7.7]
        let found = percentile_interval(&mut [8.0, 1.0, 4.0, 2.0], IntervalMethod::Wilson);
        assert!(
            (found.low - 1.075).abs() < 1e-12 && (found.high - 7.7).abs() < 1e-12,
            "{found:?}"
        );
    }

    proptest! {
        #[test]
        fn wilson_holds_the_proportion_and_mirrors(trials in 1_u64..5000, share in 0.0_f64..=1.0) {
            let successes = (share * trials as f64).round() as u64;
            let found = wilson(successes, trials);
            let mirrored = wilson(trials - successes, trials);
            prop_assert!(found.contains(successes as f64 / trials as f64));
            prop_assert!(0.0 <= found.low && found.high <= 1.0 && found.width() > 0.0);
            prop_assert!((found.low - (1.0 - mirrored.high)).abs() < 1e-12);
            // More of the same evidence never widens the interval.
            prop_assert!(wilson(2 * successes, 2 * trials).width() < found.width());
        }

        #[test]
        fn percentiles_lie_within_the_draws(mut draws in prop::collection::vec(-1e3_f64..1e3, 1..200)) {
            let found = percentile_interval(&mut draws, IntervalMethod::Wilson);
            prop_assert!(draws[0] <= found.low && found.low <= found.high);
            prop_assert!(found.high <= draws[draws.len() - 1]);
        }
    }
}
