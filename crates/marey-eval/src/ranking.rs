//! Figures of one score against a yes or no: average precision, ROC AUC, and the ends of the ROC curve.
//!
//! Items are sorted once; a bootstrap draw is then one pass with a weight an item. Items of equal score are taken together, so
//! the order of the input never matters.

use crate::{Error, ErrorKind};

/// The area under the precision-recall curve by steps, Σ (R_n - R_n-1) P_n, as scikit-learn's `average_precision_score`.
///
/// `scores`: the higher, the more positive.
///
/// # Errors
/// Lengths that differ, a score that is not finite, no positive item.
///
/// ```
/// let found = marey_eval::average_precision(&[true, false, true, false], &[0.9, 0.8, 0.7, 0.1])?;
/// assert_eq!(found, 0.5 * 1.0 + 0.5 * (2.0 / 3.0));
/// # Ok::<(), marey_eval::Error>(())
/// ```
pub fn average_precision(is_positive: &[bool], scores: &[f64]) -> Result<f64, Error> {
    let whole = Ranking::checked(is_positive, scores)?.whole();
    whole
        .average_precision
        .ok_or_else(|| ErrorKind::OneSided("positive").into())
}

/// The probability that a positive item scores higher than a negative one; equal scores count half.
///
/// # Errors
/// Lengths that differ, a score that is not finite, no positive or no negative item.
pub fn roc_auc(is_positive: &[bool], scores: &[f64]) -> Result<f64, Error> {
    let whole = Ranking::checked(is_positive, scores)?.whole();
    match whole.roc_auc {
        Some(area) => Ok(area),
        None if whole.average_precision.is_none() => Err(ErrorKind::OneSided("positive").into()),
        None => Err(ErrorKind::OneSided("negative").into()),
    }
}

/// The lowest false positive rate at which at least the share `true_positive_rate` of the positive items is found: FPR@95TPR at 0.95.
///
/// # Errors
/// As [`roc_auc`].
pub fn fpr_at_tpr(
    is_positive: &[bool],
    scores: &[f64],
    true_positive_rate: f64,
) -> Result<f64, Error> {
    let curve = roc_curve(is_positive, scores)?;
    let reached = curve
        .iter()
        .find(|point| point.true_positive_rate >= true_positive_rate);
    Ok(reached.map_or(1.0, |point| point.false_positive_rate))
}

/// The highest true positive rate at which at most the share `false_positive_rate` of the negative items is taken for positive:
/// TPR@5FPR at 0.05.
///
/// # Errors
/// As [`roc_auc`].
pub fn tpr_at_fpr(
    is_positive: &[bool],
    scores: &[f64],
    false_positive_rate: f64,
) -> Result<f64, Error> {
    let curve = roc_curve(is_positive, scores)?;
    let allowed = curve
        .iter()
        .rev()
        .find(|point| point.false_positive_rate <= false_positive_rate);
    Ok(allowed.map_or(0.0, |point| point.true_positive_rate))
}

/// What happens at one threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RocPoint {
    /// Items that score at least this much are called positive; infinite at the first point, where none is.
    pub threshold: f64,
    /// Share of the negative items that are called positive.
    pub false_positive_rate: f64,
    /// Share of the positive items that are called positive: the recall.
    pub true_positive_rate: f64,
    /// Share of the items called positive that are; 1 where none is called positive.
    pub precision: f64,
}

/// The ROC and precision-recall curves: a point for each score that occurs, by falling threshold.
///
/// # Errors
/// As [`roc_auc`].
pub fn roc_curve(is_positive: &[bool], scores: &[f64]) -> Result<Vec<RocPoint>, Error> {
    roc_auc(is_positive, scores)?;
    let ranking = Ranking::checked(is_positive, scores)?;
    let mut points = vec![(f64::INFINITY, 0, 0)];
    ranking.for_each_block(&vec![1; scores.len()], |last, [found, wrong]| {
        let (_, before, false_before) = points[points.len() - 1];
        points.push((scores[last], before + found, false_before + wrong));
    });
    let (_, positives, negatives) = points[points.len() - 1];
    let points = points
        .into_iter()
        .map(|(threshold, found, wrong)| RocPoint {
            threshold,
            false_positive_rate: wrong as f64 / negatives as f64,
            true_positive_rate: found as f64 / positives as f64,
            precision: if found + wrong == 0 {
                1.0
            } else {
                found as f64 / (found + wrong) as f64
            },
        });
    Ok(points.collect())
}

/// What a random order of `total` items, `positives` of them positive, gets in average precision, on average over all orders; a
/// little above the share of positives. 0 without a positive.
///
/// Bestgen, "Exact expected average precision of the random baseline for system evaluation", Prague Bulletin of Mathematical
/// Linguistics 103 (2015), pp. 131-138.
pub fn random_average_precision(positives: u64, total: u64) -> f64 {
    let (p, n) = (positives as f64, total as f64);
    match (positives, total) {
        (0, _) => 0.0,
        (_, 1) => 1.0,
        _ => {
            let harmonic = harmonic(total);
            ((p - 1.0) / (n - 1.0) * (n - harmonic) + harmonic) / n
        }
    }
}

/// 1 + 1/2 + … + 1/n.
fn harmonic(n: u64) -> f64 {
    if n < 100 {
        return (1..=n).map(|k| 1.0 / k as f64).sum();
    }
    // Euler-Maclaurin; the next term is below 1e-14 here.
    const EULER: f64 = 0.577_215_664_901_532_9;
    let n = n as f64;
    n.ln() + EULER + 1.0 / (2.0 * n) - 1.0 / (12.0 * n * n) + 1.0 / (120.0 * n.powi(4))
}

/// Items by falling score, ready to be counted with weights.
#[derive(Debug, Clone)]
pub(crate) struct Ranking(Vec<Ranked>);

/// An item's index, whether it is positive, and whether the next one scores less, in 32 bits: a pass reads only this and a weight.
#[derive(Debug, Clone, Copy)]
struct Ranked(u32);

impl Ranked {
    fn item(self) -> usize {
        (self.0 >> 2) as usize
    }

    fn is_positive(self) -> bool {
        self.0 & 1 != 0
    }

    fn ends_block(self) -> bool {
        self.0 & 2 != 0
    }
}

/// The areas under both curves; `None` where a side is missing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Areas {
    pub(crate) average_precision: Option<f64>,
    pub(crate) roc_auc: Option<f64>,
}

impl Ranking {
    /// Sorts fewer than 2³⁰ items, whose scores are finite.
    pub(crate) fn new(
        num_items: usize,
        score: impl Fn(usize) -> f64,
        is_positive: impl Fn(usize) -> bool,
    ) -> Self {
        assert!(num_items < 1 << 30, "an index and two flags share 32 bits");
        let mut order: Vec<usize> = (0..num_items).collect();
        order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
        let ranked = order.iter().enumerate().map(|(rank, &item)| {
            // `==` rather than bits, so that 0 and -0 are one score.
            let ends_block = order
                .get(rank + 1)
                .is_none_or(|&next| score(next) != score(item));
            Ranked((item as u32) << 2 | u32::from(ends_block) << 1 | u32::from(is_positive(item)))
        });
        Self(ranked.collect())
    }

    pub(crate) fn checked(is_positive: &[bool], scores: &[f64]) -> Result<Self, Error> {
        if is_positive.len() != scores.len() {
            let (labels, scores) = (is_positive.len(), scores.len());
            return Err(ErrorKind::Lengths { labels, scores }.into());
        }
        if let Some(position) = scores.iter().position(|score| !score.is_finite()) {
            return Err(ErrorKind::ScoreAt(position).into());
        }
        Ok(Self::new(scores.len(), |i| scores[i], |i| is_positive[i]))
    }

    fn whole(&self) -> Areas {
        self.areas(&vec![1; self.0.len()])
    }

    /// The areas where each item counts as often as its weight says.
    pub(crate) fn areas(&self, weights: &[u32]) -> Areas {
        let (mut found, mut wrong) = (0_u64, 0_u64);
        let mut precisions = 0.0;
        // Pairs of a negative and a positive above it, counted twice; a tie counts once.
        let mut pairs = 0.0;
        self.for_each_block(weights, |_, [positives, negatives]| {
            pairs += negatives as f64 * (2 * found + positives) as f64;
            found += positives;
            wrong += negatives;
            if positives > 0 {
                precisions += positives as f64 * found as f64 / (found + wrong) as f64;
            }
        });
        Areas {
            average_precision: (found > 0).then(|| precisions / found as f64),
            roc_auc: (found > 0 && wrong > 0).then(|| pairs / (2.0 * found as f64 * wrong as f64)),
        }
    }

    /// Calls `visit` for each run of equal scores with its last item and the weights of its positive and negative items.
    pub(crate) fn for_each_block(&self, weights: &[u32], mut visit: impl FnMut(usize, [u64; 2])) {
        let mut block = [0_u64; 2];
        for ranked in &self.0 {
            block[usize::from(!ranked.is_positive())] += u64::from(weights[ranked.item()]);
            if ranked.ends_block() {
                visit(ranked.item(), block);
                block = [0; 2];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn curves_of_a_few_items_are_those_of_paper() {
        let is_positive = [true, false, true, false, false];
        let scores = [0.9, 0.9, 0.5, 0.4, 0.1];
        // Blocks: {+-}, {+}, {-}, {-}.
        let close = |found: Result<f64, Error>, expected: f64| {
            let found = found.expect("both sides");
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        };
        close(
            average_precision(&is_positive, &scores),
            0.5 * 0.5 + 0.5 * 2.0 / 3.0,
        );
        // The first positive ties with one negative and beats two; the second loses to one and beats two.
        close(roc_auc(&is_positive, &scores), (2.5 + 2.0) / 6.0);
        close(fpr_at_tpr(&is_positive, &scores, 0.95), 1.0 / 3.0);
        close(fpr_at_tpr(&is_positive, &scores, 0.5), 1.0 / 3.0);
        close(tpr_at_fpr(&is_positive, &scores, 0.05), 0.0);
        close(tpr_at_fpr(&is_positive, &scores, 0.34), 1.0);
    }

    #[test]
    fn what_cannot_be_ranked_is_refused() {
        let cases: [(&[bool], &[f64], &str); 5] = [
            (&[true], &[0.1, 0.2], "1 labels and 2 scores"),
            (
                &[true, false],
                &[0.1, f64::NAN],
                "the score at position 1 is not finite",
            ),
            (&[], &[], "no positive item"),
            (&[false], &[0.0], "no positive item"),
            (&[true], &[0.0], "no negative item"),
        ];
        for (is_positive, scores, expected) in cases {
            let error = roc_auc(is_positive, scores).expect_err(expected);
            assert!(
                error.kind().to_string().contains(expected),
                "{}",
                error.kind()
            );
        }
        assert_eq!(average_precision(&[true], &[0.0]).expect("a positive"), 1.0);
    }

    #[test]
    fn the_random_order_is_the_mean_of_all_orders() {
        // Every subset of positions for the positives is one order.
        for (positives, total) in [(1, 1), (1, 4), (3, 7), (5, 9), (6, 6)] {
            let (mut sum, mut count) = (0.0, 0.0);
            for subset in 0_u32..1 << total {
                if subset.count_ones() == positives {
                    let is_positive: Vec<bool> = (0..total).map(|i| subset >> i & 1 == 1).collect();
                    let scores: Vec<f64> = (0..total).map(|i| -f64::from(i)).collect();
                    sum += average_precision(&is_positive, &scores).expect("positives");
                    count += 1.0;
                }
            }
            let found = random_average_precision(u64::from(positives), total as u64);
            assert!(
                (found - sum / count).abs() < 1e-12,
                "{positives} of {total}: {found}"
            );
        }
        let exact: f64 = (1..=1000).map(|k| 1.0 / f64::from(k)).sum();
        assert!((harmonic(1000) - exact).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn weights_are_repetitions(items in prop::collection::vec((any::<bool>(), 0_u8..5, 0_u32..4), 1..40)) {
            let weights: Vec<u32> = items.iter().map(|item| item.2).collect();
            let ranking = Ranking::new(items.len(), |i| f64::from(items[i].1), |i| items[i].0);
            let repeated: Vec<_> = items.iter().flat_map(|item| std::iter::repeat_n(*item, item.2 as usize)).collect();
            let expected = Ranking::new(repeated.len(), |i| f64::from(repeated[i].1), |i| repeated[i].0).whole();
            let found = ranking.areas(&weights);
            prop_assert_eq!(found.average_precision, expected.average_precision);
            prop_assert_eq!(found.roc_auc, expected.roc_auc);
        }

        #[test]
        fn the_area_is_the_share_of_pairs(items in prop::collection::vec((any::<bool>(), 0_u8..5), 1..40)) {
            let (mut won, mut pairs) = (0.0, 0.0);
            for positive in items.iter().filter(|item| item.0) {
                for negative in items.iter().filter(|item| !item.0) {
                    pairs += 1.0;
                    won += match positive.1.cmp(&negative.1) {
                        std::cmp::Ordering::Greater => 1.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Less => 0.0,
                    };
                }
            }
            let is_positive: Vec<bool> = items.iter().map(|item| item.0).collect();
            let scores: Vec<f64> = items.iter().map(|item| f64::from(item.1)).collect();
            match roc_auc(&is_positive, &scores) {
                Ok(area) => prop_assert!((area - won / pairs).abs() < 1e-12),
                Err(_) => prop_assert_eq!(pairs, 0.0),
            }
        }
    }
}
