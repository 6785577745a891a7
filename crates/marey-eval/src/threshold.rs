//! Thresholds, chosen on the validation split and nowhere else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::binary::check_binary;
use crate::ranking::Ranking;
use crate::selective::risk_coverage;
use crate::{BinaryScored, Error, ErrorKind, Validation};

/// What each kind of error costs, in any one unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// Of an alarm about nothing.
    pub false_alarm: f64,
    /// Of an event that raised no alarm.
    pub miss: f64,
}

/// A threshold and what it costs on the validation split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChosenThreshold {
    /// Items that score at least this much are called positive. Above every score where it is cheapest to call none.
    pub threshold: f64,
    /// Mean cost of an item at this threshold, on the items it was chosen on: expect more elsewhere.
    pub cost: f64,
    /// Mean cost of an item for the cheaper of calling all positive and calling none: what the threshold must beat.
    pub baseline_cost: f64,
    /// Number of items called positive that are not.
    pub false_alarms: u64,
    /// Number of positive items called negative.
    pub misses: u64,
    /// Number of items.
    pub support: usize,
}

/// The threshold with the lowest cost on the validation split; of equally cheap ones the highest, which alarms least. It lies half way
/// between two scores that occur.
///
/// # Errors
/// No items, an item given twice, a score that is not finite, a cost that is negative or not finite.
///
/// ```
/// use marey_eval::{BinaryScored, Costs, Validation, choose_threshold};
///
/// let items: Vec<BinaryScored> = [(0.9, true), (0.6, false), (0.4, true), (0.1, false)]
///     .iter()
///     .enumerate()
///     .map(|(i, &(score, is_positive))| BinaryScored { item: i.to_string(), group: None, is_positive, score })
///     .collect();
/// let validation = Validation::of_split("validation", items.as_slice())?;
/// // A miss costs ten false alarms: better one false alarm than a miss.
/// let chosen = choose_threshold(&validation, Costs { false_alarm: 1.0, miss: 10.0 })?;
/// assert_eq!((chosen.threshold, chosen.false_alarms, chosen.misses), (0.25, 1, 0));
/// # Ok::<(), marey_eval::Error>(())
/// ```
pub fn choose_threshold(
    validation: &Validation<&[BinaryScored]>,
    costs: Costs,
) -> Result<ChosenThreshold, Error> {
    let items = *validation.data();
    check_binary(items)?;
    for cost in [costs.false_alarm, costs.miss] {
        if !(cost >= 0.0 && cost.is_finite()) {
            return Err(ErrorKind::Cost(cost).into());
        }
    }
    let ranking = Ranking::new(items.len(), |i| items[i].score, |i| items[i].is_positive);
    let positives = items.iter().filter(|item| item.is_positive).count() as u64;
    // Candidates as (lowest score called positive, false alarms, misses), from none to all.
    let mut candidates = vec![(f64::INFINITY, 0, positives)];
    ranking.for_each_block(&vec![1; items.len()], |last, [found, wrong]| {
        let (_, false_alarms, misses) = candidates[candidates.len() - 1];
        candidates.push((items[last].score, false_alarms + wrong, misses - found));
    });
    let total = items.len() as f64;
    let cost = |&(_, false_alarms, misses): &(f64, u64, u64)| {
        (costs.false_alarm * false_alarms as f64 + costs.miss * misses as f64) / total
    };
    let best = (0..candidates.len()).fold(0, |best, idx| {
        if cost(&candidates[idx]) < cost(&candidates[best]) {
            idx
        } else {
            best
        }
    });
    let (lowest, false_alarms, misses) = candidates[best];
    let last = candidates.len() - 1;
    let threshold = if best == 0 {
        // Above every score, and still a number that a file can hold.
        candidates[1].0.next_up()
    } else if best == last {
        lowest
    } else {
        let below = candidates[best + 1].0;
        let middle = below + (lowest - below) / 2.0;
        // Neighbouring numbers have no middle.
        if middle > below { middle } else { lowest }
    };
    Ok(ChosenThreshold {
        threshold,
        cost: cost(&candidates[best]),
        baseline_cost: cost(&candidates[0]).min(cost(&candidates[last])),
        false_alarms,
        misses,
        support: items.len(),
    })
}

/// The lowest confidence at which at least the share `accuracy` of the answered validation items is right; `None` where no confidence
/// gives that.
///
/// # Errors
/// No items, lengths that differ, a confidence that is not finite, an accuracy outside 0..=1.
pub fn choose_confidence(
    validation: &Validation<(&[f64], &[bool])>,
    accuracy: f64,
) -> Result<Option<f64>, Error> {
    if !(0.0..=1.0).contains(&accuracy) {
        return Err(ErrorKind::NoShare(accuracy).into());
    }
    let (confidences, is_right) = *validation.data();
    let curve = risk_coverage(confidences, is_right)?;
    let widest = curve
        .iter()
        .rev()
        .find(|point| 1.0 - point.risk >= accuracy);
    Ok(widest.map(|point| point.threshold))
}

/// The highest confidence that still answers at least the share `coverage` of the validation items.
///
/// # Errors
/// No items, lengths that differ, a confidence that is not finite, a coverage outside 0..=1.
pub fn choose_coverage(
    validation: &Validation<(&[f64], &[bool])>,
    coverage: f64,
) -> Result<f64, Error> {
    if !(0.0..=1.0).contains(&coverage) {
        return Err(ErrorKind::NoShare(coverage).into());
    }
    let (confidences, is_right) = *validation.data();
    let curve = risk_coverage(confidences, is_right)?;
    let wide_enough = curve.iter().find(|point| point.coverage >= coverage);
    let all = curve.last().ok_or(ErrorKind::NoItems)?;
    Ok(wide_enough.unwrap_or(all).threshold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::assert_refused;

    fn choose(items: &[(f64, bool)], costs: Costs) -> Result<ChosenThreshold, Error> {
        let items: Vec<BinaryScored> = items
            .iter()
            .enumerate()
            .map(|(idx, &(score, is_positive))| BinaryScored {
                item: idx.to_string(),
                group: None,
                is_positive,
                score,
            })
            .collect();
        choose_threshold(
            &Validation::of_split("validation", items.as_slice())?,
            costs,
        )
    }

    #[test]
    fn the_cheapest_threshold_is_chosen() {
        let items = [
            (0.9, true),
            (0.8, false),
            (0.5, true),
            (0.5, false),
            (0.2, false),
        ];
        // (false alarm, miss), threshold, false alarms, misses
        let cases = [
            // Nothing is worth a false alarm, but the surest item is no false alarm.
            ((100.0, 0.5), 0.85, 0, 1),
            ((1.0, 1.5), 0.85, 0, 1),
            ((1.0, 10.0), 0.35, 2, 0),
            // All cost nothing: none is called, at a threshold above the highest score, which alarms least.
            ((0.0, 0.0), 0.9_f64.next_up(), 0, 2),
        ];
        for ((false_alarm, miss), threshold, false_alarms, misses) in cases {
            let found = choose(&items, Costs { false_alarm, miss }).expect("sound items");
            let counts = (found.false_alarms, found.misses);
            assert_eq!(counts, (false_alarms, misses), "{false_alarm} {miss}");
            assert!((found.threshold - threshold).abs() < 1e-12, "{found:?}");
            assert!(found.cost <= found.baseline_cost);
            // The threshold does what the counts say.
            let called = items.iter().filter(|item| item.0 >= found.threshold);
            assert_eq!(called.filter(|item| !item.1).count() as u64, false_alarms);
        }
    }

    #[test]
    fn what_cannot_choose_is_refused() {
        let costs = Costs {
            false_alarm: 1.0,
            miss: 1.0,
        };
        let cases = [
            (choose(&[], costs), "no items"),
            (choose(&[(f64::NAN, true)], costs), "not finite"),
            (
                choose(
                    &[(0.5, true)],
                    Costs {
                        miss: -1.0,
                        ..costs
                    },
                ),
                "the cost is -1",
            ),
        ];
        assert_refused(cases);
    }

    #[test]
    fn a_confidence_buys_accuracy() {
        let choose = |accuracy| {
            let data: (&[f64], &[bool]) = (&[0.9, 0.8, 0.7, 0.6], &[true, true, false, true]);
            let validation = Validation::of_split("validation", data).expect("validation");
            choose_confidence(&validation, accuracy)
        };
        assert_eq!(choose(0.75).expect("sound"), Some(0.6));
        assert_eq!(choose(0.9).expect("sound"), Some(0.8));
        assert!(choose(1.5).is_err());
    }

    #[test]
    fn a_coverage_is_kept() {
        let choose = |coverage| {
            let data: (&[f64], &[bool]) = (&[0.9, 0.8, 0.8, 0.6], &[true, true, false, true]);
            let validation = Validation::of_split("validation", data).expect("validation");
            choose_coverage(&validation, coverage)
        };
        assert_eq!(choose(1.0).expect("sound"), 0.6);
        // Equal confidences are answered together: at 0.8 three of four are.
        assert_eq!(choose(0.5).expect("sound"), 0.8);
        assert_eq!(choose(0.25).expect("sound"), 0.9);
        assert_eq!(choose(0.0).expect("sound"), 0.9);
        assert!(choose(1.5).is_err());
    }
}
