//! McNemar's exact test: do two predictors err on the same items equally often?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::distribution::fair_coin_p;

/// McNemar's exact test of two predictors on the same items (McNemar, "Note on the sampling error of the difference between
/// correlated proportions or percentages", Psychometrika 12, 1947; exact as in the sign test).
///
/// Only the items on which exactly one of the two is right say which is better. It takes items as independent, so where
/// items share groups its p value is too small; the group bootstrap of [`compare`](crate::compare()) is then the one to
/// believe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct McNemar {
    /// Items on which only the first predictor is right.
    pub only_first: u64,
    /// Items on which only the second predictor is right.
    pub only_second: u64,
    /// Probability, in 0..=1, of a split of those items at least as uneven, if both predictors were equally good. 1 where
    /// there is no such item.
    pub p_value: f64,
}

/// The two-sided exact test: `min(1, 2 P(X <= min(only_first, only_second)))` with X binomial of `only_first + only_second`
/// trials and probability 1/2.
///
/// ```
/// // Of ten items on which the two differ, nine go to the second.
/// let test = marey_eval::mcnemar(1, 9);
/// assert!((test.p_value - 22.0 / 1024.0).abs() < 1e-12);
/// ```
pub fn mcnemar(only_first: u64, only_second: u64) -> McNemar {
    McNemar {
        only_first,
        only_second,
        p_value: fair_coin_p([only_first, only_second]),
    }
}

impl std::fmt::Display for McNemar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            only_first,
            only_second,
            p_value,
        } = self;
        let p = match *p_value < 0.001 {
            true => "p < 0.001".to_owned(),
            false => format!("p = {p_value:.3}"),
        };
        write!(
            f,
            "{only_first} items only the first got right, {only_second} only the second; McNemar's \
             exact test, with items as independent: {p}"
        )
    }
}

/// The p values after Holm's correction for having looked at all of them, in the same order (Holm, "A simple sequentially
/// rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979).
pub(crate) fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut so_far: f64 = 0.0;
    for (rank, &idx) in order.iter().enumerate() {
        let left = (p_values.len() - rank) as f64;
        so_far = so_far.max((left * p_values[idx]).min(1.0));
        corrected[idx] = so_far;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        mcnemar: Vec<(u64, u64, f64)>,
        holm: Vec<(Vec<f64>, Vec<f64>)>,
    }

    /// SciPy's and statsmodels' values, written by `reference/mcnemar_golden.py`.
    fn golden() -> Golden {
        serde_json::from_str(include_str!("../tests/it/golden/mcnemar.json")).expect("a JSON file")
    }

    #[test]
    fn p_values_are_those_of_scipy() {
        for (first, second, expected) in golden().mcnemar {
            let found = mcnemar(first, second).p_value;
            assert!(
                (found - expected).abs() <= 1e-9 * expected,
                "{first}, {second}: {found} is not {expected}"
            );
        }
    }

    #[test]
    fn corrected_p_values_are_those_of_statsmodels() {
        for (p_values, expected) in golden().holm {
            for (found, expected) in holm(&p_values).iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-12, "{p_values:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_p_value_is_a_probability_and_has_no_side(first in 0_u64..5000, second in 0_u64..5000) {
            let test = mcnemar(first, second);
            prop_assert!((0.0..=1.0).contains(&test.p_value), "{test:?}");
            prop_assert_eq!(test.p_value, mcnemar(second, first).p_value);
        }
    }
}
