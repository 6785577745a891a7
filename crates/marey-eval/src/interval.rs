//! Intervals of figures: Wilson's for proportions, percentiles of bootstrap draws for the rest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::distribution::student_t;

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
    /// whose draws were all at an end of the range; then it is of the units that were drawn.
    Wilson,
    /// Garwood's exact interval of a number of events, which takes them as independent of each other.
    Poisson,
    /// Percentiles of draws that resample whole groups, widened where the groups are few: it speaks of another choice of groups
    /// (cameras, source videos).
    GroupBootstrap {
        /// Number of draws.
        draws: usize,
        /// Number of groups; an item without a group counts as one.
        groups: usize,
    },
    /// Percentiles of draws that resample single items, widened where they are few, because no groups were given or all items share one.
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
            Self::Poisson => f.write_str("Poisson"),
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
    let share = (successes as f64 / trials as f64).min(1.0);
    let [low, high] = wilson_ends(share, trials as f64, Z);
    Interval { low, high, method }
}

/// Wilson's interval of `share` out of `n` trials, which need not be whole, with the normal quantile `z` or a wider one.
fn wilson_ends(share: f64, n: f64, z: f64) -> [f64; 2] {
    let centre = share + z * z / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    // At 0 and 1 the exact ends are 0 and 1; rounding would miss them by an ulp.
    let low = if share == 0.0 {
        0.0
    } else {
        ((centre - half) / scale).max(0.0)
    };
    let high = if share == 1.0 {
        1.0
    } else {
        ((centre + half) / scale).min(1.0)
    };
    [low, high]
}

/// What resampling has to say about a number.
pub(crate) struct Resampled {
    /// The number of every draw in which it is defined.
    pub(crate) draws: Vec<f64>,
    /// The number without each unit in turn, where there are few units; else empty.
    pub(crate) left_out: Vec<f64>,
    /// Number of units of equal size that say as much (Kish 1965, "Survey Sampling", section 8.2): few where one unit is most of the set.
    pub(crate) effective_units: f64,
    /// How it was drawn.
    pub(crate) method: IntervalMethod,
}

impl Resampled {
    /// Whether there is anything to say.
    fn is_empty(&self) -> bool {
        self.draws.len() < 2 || self.effective_units < 1.001
    }

    fn student_t(&self) -> f64 {
        student_t(self.effective_units - 1.0)
    }

    /// The standard error: that of the draws without the bootstrap's narrowing by `(units - 1) / units`, or the jackknife's where that is
    /// wider, as it is for few units (Efron and Tibshirani 1993, section 11.5).
    fn spread(&self) -> f64 {
        let variance = |numbers: &[f64]| {
            let n = numbers.len() as f64;
            let mean = numbers.iter().sum::<f64>() / n;
            numbers
                .iter()
                .map(|number| (number - mean).powi(2))
                .sum::<f64>()
                / n
        };
        let units = self.effective_units;
        let bootstrap = variance(&self.draws) * units / (units - 1.0);
        let jackknife = match self.left_out.len() {
            0 | 1 => 0.0,
            n => variance(&self.left_out) * (n - 1) as f64,
        };
        bootstrap.max(jackknife).sqrt()
    }
}

/// The bootstrap interval of a figure in `lowest..=highest`: the percentiles of its draws, widened to what so few units can say.
///
/// Percentiles are too narrow where few units are drawn, and claim certainty where every draw is the same. So the interval also holds
/// Student's t interval of the standard error; and Wilson's at the effective number of items, which is the one whose binomial spread is
/// that standard error (Korn and Graubard, Survey Methodology 24 (1998), pp. 193-201), because near an end of the range the draws are
/// skewed. Where every draw is at an end it is Wilson's of the units. If there is nothing to say, it is the whole range.
pub(crate) fn bootstrap_interval(
    value: f64,
    resampled: &mut Resampled,
    [lowest, highest]: [f64; 2],
) -> Interval {
    let method = resampled.method;
    if resampled.is_empty() {
        let most = resampled.draws.iter().copied().fold(value, f64::max);
        let high = if highest.is_finite() { highest } else { most };
        return Interval {
            low: lowest,
            high,
            method,
        };
    }
    let spread = resampled.spread();
    let percentiles = percentile_interval(&mut resampled.draws, method);
    let half = resampled.student_t() * spread;
    let mut ends = vec![
        [percentiles.low, percentiles.high],
        [value - half, value + half],
    ];
    if highest.is_finite() {
        let length = highest - lowest;
        let share = ((value - lowest) / length).clamp(0.0, 1.0);
        let wilson = if share == 0.0 || share == 1.0 {
            wilson_ends(share, resampled.effective_units, Z)
        } else if spread < 1e-12 * length {
            // A constant predictor's mean recall, say: it is 1 / k whatever is drawn.
            [share; 2]
        } else {
            let items = share * (1.0 - share) * (length / spread).powi(2);
            wilson_ends(share, items, resampled.student_t())
        };
        ends.push(wilson.map(|end| lowest + length * end));
    }
    let is_at_end = value == lowest || value == highest;
    Interval {
        low: ends
            .iter()
            .fold(value, |low, ends| low.min(ends[0]))
            .max(lowest),
        high: ends
            .iter()
            .fold(value, |high, ends| high.max(ends[1]))
            .min(highest),
        method: match percentiles.width() == 0.0 && is_at_end && highest.is_finite() {
            true => IntervalMethod::Wilson,
            false => method,
        },
    }
}

/// The bootstrap interval of a difference: percentiles, widened to Student's t interval.
pub(crate) fn difference_interval(difference: f64, resampled: &mut Resampled) -> Interval {
    let method = resampled.method;
    if resampled.is_empty() {
        let draws = resampled.draws.iter().copied();
        let low = draws.clone().fold(difference.min(0.0), f64::min);
        let high = draws.fold(difference.max(0.0), f64::max);
        return Interval { low, high, method };
    }
    let half = resampled.student_t() * resampled.spread();
    let percentiles = percentile_interval(&mut resampled.draws, method);
    Interval {
        low: percentiles.low.min(difference - half),
        high: percentiles.high.max(difference + half),
        method,
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

/// The `q` quantile of rising numbers, interpolated linearly.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
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

    const METHOD: IntervalMethod = IntervalMethod::GroupBootstrap {
        draws: 4,
        groups: 20,
    };

    fn resampled(draws: &[f64], units: f64) -> Resampled {
        Resampled {
            draws: draws.to_vec(),
            left_out: Vec::new(),
            effective_units: units,
            method: METHOD,
        }
    }

    #[test]
    fn a_bootstrap_that_saw_no_mistake_does_not_claim_certainty() {
        let share =
            |value: f64| bootstrap_interval(value, &mut resampled(&[value; 4], 20.0), [0.0, 1.0]);
        assert_eq!(share(1.0), wilson(20, 20));
        assert_eq!(share(0.0), wilson(0, 20));
        // A constant predictor's mean recall is exactly 1 / k in every draw.
        assert_eq!((share(0.25).low, share(0.25).high), (0.25, 0.25));
        // A correlation of -1 is at an end as well.
        let found = bootstrap_interval(-1.0, &mut resampled(&[-1.0; 4], 20.0), [-1.0, 1.0]);
        assert_eq!(
            (found.low, found.high),
            (-1.0, 2.0 * wilson(0, 20).high - 1.0)
        );
    }

    #[test]
    fn fewer_units_give_a_wider_interval() {
        let draws: Vec<f64> = (0..1000)
            .map(|i| 0.4 + 0.2 * f64::from(i) / 999.0)
            .collect();
        let widths: Vec<f64> = [3.0, 10.0, 1000.0]
            .map(|units| bootstrap_interval(0.5, &mut resampled(&draws, units), [0.0, 1.0]).width())
            .to_vec();
        assert!(
            widths[0] > 1.5 * widths[1] && widths[1] > 1.05 * widths[2],
            "{widths:?}"
        );
        // Uniform draws have a spread of 0.2 / √12; many units leave the normal interval.
        assert!(
            (widths[2] - 2.0 * Z * 0.2 / 12_f64.sqrt()).abs() < 1e-3,
            "{widths:?}"
        );
        // The jackknife of 0.4 and 0.6 has a standard error of 0.1.
        let mut jackknifed = resampled(&draws, 1e6);
        jackknifed.left_out = vec![0.4, 0.6];
        let width = bootstrap_interval(0.5, &mut jackknifed, [0.0, 1.0]).width();
        assert!((width - 2.0 * Z * 0.1).abs() < 1e-3, "{width}");
    }

    #[test]
    fn one_unit_says_nothing() {
        let found = bootstrap_interval(0.5, &mut resampled(&[0.5; 4], 1.0), [0.0, 1.0]);
        assert_eq!((found.low, found.high), (0.0, 1.0));
        assert!(difference_interval(0.3, &mut resampled(&[0.3; 4], 1.0)).contains(0.0));
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
        fn every_interval_holds_its_figure(
            draws in prop::collection::vec(0.0_f64..=1.0, 0..50), value in 0.0_f64..=1.0, units in 1.0_f64..30.0
        ) {
            for range in [[0.0, 1.0], [-1.0, 1.0], [0.0, f64::INFINITY]] {
                let found = bootstrap_interval(value, &mut resampled(&draws, units), range);
                prop_assert!(range[0] <= found.low && found.high <= range[1] && found.high.is_finite());
                prop_assert!(found.low <= value && value <= found.high, "{found:?}");
            }
        }

        #[test]
        fn percentiles_lie_within_the_draws(mut draws in prop::collection::vec(-1e3_f64..1e3, 1..200)) {
            let found = percentile_interval(&mut draws, IntervalMethod::Wilson);
            prop_assert!(draws[0] <= found.low && found.low <= found.high);
            prop_assert!(found.high <= draws[draws.len() - 1]);
        }
    }
}
