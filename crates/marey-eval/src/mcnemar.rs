//! McNemar's test: whether one of two predictors is right more often on the same items.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::distribution::fair_coin_p;
use crate::{Error, ErrorKind};

/// What McNemar's test found. `Display` says it in a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Mcnemar {
    /// Number of items that only the first predictor got right.
    pub only_first: u64,
    /// Number of items that only the second predictor got right.
    pub only_second: u64,
    /// The two-sided exact probability of so uneven a pair, or a more uneven one, if both were equally good. It takes the items as
    /// independent, and is too small where items share a camera.
    pub p_value: f64,
}

/// McNemar's exact test on paired items: `first[i]` and `second[i]` say whether each predictor was right on item `i`.
///
/// McNemar, Psychometrika 12 (1947), pp. 153-157, with the binomial distribution instead of chi-square.
///
/// # Errors
/// Lengths that differ.
///
/// ```
/// let first = [true, true, true, true, true, true, false];
/// let second = [false; 7];
/// let found = marey_eval::mcnemar(&first, &second)?;
/// assert_eq!((found.only_first, found.only_second), (6, 0));
/// assert!((found.p_value - 2.0 / 64.0).abs() < 1e-12);
/// # Ok::<(), marey_eval::Error>(())
/// ```
pub fn mcnemar(first: &[bool], second: &[bool]) -> Result<Mcnemar, Error> {
    if first.len() != second.len() {
        return Err(ErrorKind::Lengths {
            labels: first.len(),
            scores: second.len(),
        }
        .into());
    }
    let count = |wanted: (bool, bool)| {
        let pairs = first.iter().zip(second);
        pairs
            .filter(|&(&first, &second)| (first, second) == wanted)
            .count() as u64
    };
    let [only_first, only_second] = [count((true, false)), count((false, true))];
    Ok(Mcnemar {
        only_first,
        only_second,
        p_value: fair_coin_p([only_first, only_second]),
    })
}

impl std::fmt::Display for Mcnemar {
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
