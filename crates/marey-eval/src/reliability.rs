//! Whether a score of 0.8 is right in eight of ten cases: reliability, calibration error, Brier score, log loss.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metric::TOP_LABEL_BINS;
use crate::{Error, ErrorKind, Interval, Scored, wilson};

/// Sums of an item's scores may be this far from 1: they were averaged and stored in f32.
const SUM_TOLERANCE: f64 = 1e-3;

/// One bar of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReliabilityBin {
    /// Its lower edge, not part of it except at 0.
    pub low: f64,
    /// Its upper edge, part of it.
    pub high: f64,
    /// Number of items whose confidence lies in it.
    pub support: usize,
    /// Their mean confidence; the middle of the bin where there is none.
    pub confidence: f64,
    /// Share of them that are right; 0 where there is none.
    pub accuracy: f64,
    /// Wilson's interval of that share.
    pub interval: Interval,
}

/// The bars of a reliability diagram: `bins` equal bins (low, high] of `confidences`, each in 0..=1. The first holds 0 as well.
///
/// For the top label give the best score of each item and whether that class is right; for one class of two its score and whether the
/// item is of it.
///
/// # Errors
/// Lengths that differ, a confidence outside 0..=1, no bin.
pub fn reliability(
    confidences: &[f64],
    is_right: &[bool],
    bins: usize,
) -> Result<Vec<ReliabilityBin>, Error> {
    Ok(Binned::new(confidences, is_right, bins)?.bars())
}

/// The expected calibration error: the distance between mean confidence and share of right items in each bin of [`reliability`],
/// weighted by items. Guo et al., ICML 2017, section 2. 15 bins of the top label and 10 of the positive class are usual.
///
/// # Errors
/// As [`reliability`]; and no items.
pub fn calibration_error(
    confidences: &[f64],
    is_right: &[bool],
    bins: usize,
) -> Result<f64, Error> {
    if confidences.is_empty() {
        return Err(ErrorKind::NoItems.into());
    }
    let binned = Binned::new(confidences, is_right, bins)?;
    Ok(binned.error(&vec![1; confidences.len()]))
}

/// Items in bins of their confidence.
#[derive(Debug, Clone)]
pub(crate) struct Binned {
    bins: usize,
    /// `(bin, confidence, whether right)` of each item.
    items: Vec<(usize, f64, bool)>,
}

/// The sums of a bin.
#[derive(Debug, Clone, Copy, Default)]
struct BinSum {
    items: u64,
    right: u64,
    confidence: f64,
}

impl Binned {
    pub(crate) fn new(confidences: &[f64], is_right: &[bool], bins: usize) -> Result<Self, Error> {
        if bins == 0 {
            return Err(ErrorKind::NoBins.into());
        }
        if confidences.len() != is_right.len() {
            let (labels, scores) = (is_right.len(), confidences.len());
            return Err(ErrorKind::Lengths { labels, scores }.into());
        }
        let items = confidences.iter().zip(is_right).enumerate();
        let items = items.map(|(position, (&confidence, &is_right))| {
            // Edges as a reader would compute them, so that a confidence of exactly 0.2 falls below the edge 2 / 10.
            let bin = (1..bins).find(|&edge| confidence <= edge as f64 / bins as f64);
            match (0.0..=1.0).contains(&confidence) {
                true => Ok((bin.map_or(bins - 1, |edge| edge - 1), confidence, is_right)),
                false => Err(ErrorKind::Confidence(position)),
            }
        });
        let items = items.collect::<Result<_, _>>()?;
        Ok(Self { bins, items })
    }

    fn sums(&self, weights: &[u32]) -> Vec<BinSum> {
        let mut sums = vec![BinSum::default(); self.bins];
        for (&(bin, confidence, is_right), &weight) in self.items.iter().zip(weights) {
            sums[bin].items += u64::from(weight);
            sums[bin].right += u64::from(weight) * u64::from(is_right);
            sums[bin].confidence += f64::from(weight) * confidence;
        }
        sums
    }

    /// The bars of the reliability diagram.
    fn bars(&self) -> Vec<ReliabilityBin> {
        let sums = self.sums(&vec![1; self.items.len()]);
        let bars = sums.iter().enumerate().map(|(bin, sum)| {
            let [low, high] = [bin, bin + 1].map(|edge| edge as f64 / self.bins as f64);
            let mean = |total: f64| total / sum.items as f64;
            let [confidence, accuracy] = match sum.items {
                0 => [0.5 * (low + high), 0.0],
                _ => [mean(sum.confidence), mean(sum.right as f64)],
            };
            ReliabilityBin {
                low,
                high,
                support: sum.items as usize,
                confidence,
                accuracy,
                interval: wilson(sum.right, sum.items),
            }
        });
        bars.collect()
    }

    /// The calibration error where each item counts as often as its weight says.
    pub(crate) fn error(&self, weights: &[u32]) -> f64 {
        let sums = self.sums(weights);
        let total: u64 = sums.iter().map(|sum| sum.items).sum();
        let gaps = sums
            .iter()
            .map(|sum| (sum.right as f64 - sum.confidence).abs());
        gaps.sum::<f64>() / total as f64
    }
}

/// What tells probabilities from scores: calibration error, Brier score and log loss of one evaluation.
#[derive(Debug, Clone)]
pub(crate) struct Probabilities {
    binned: Binned,
    /// Brier score and log loss of each item.
    losses: Vec<[f64; 2]>,
}

/// [`Probabilities`] of one draw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Losses {
    pub(crate) calibration_error: f64,
    pub(crate) brier: f64,
    pub(crate) nll: f64,
}

impl Probabilities {
    /// `None` where the scores of an item are not a distribution over the classes.
    pub(crate) fn new(items: &[Scored]) -> Option<Self> {
        let is_distribution = |item: &Scored| {
            let sum: f64 = item.scores.iter().map(|&score| f64::from(score)).sum();
            item.scores.iter().all(|score| (0.0..=1.0).contains(score))
                && (sum - 1.0).abs() <= SUM_TOLERANCE
        };
        if !items.iter().all(is_distribution) {
            return None;
        }
        let (confidences, is_right): (Vec<f64>, Vec<bool>) = items
            .iter()
            .map(|item| {
                let best = item
                    .scores
                    .iter()
                    .copied()
                    .fold(f32::NEG_INFINITY, f32::max);
                let predicted = item.scores.iter().position(|&score| score == best);
                (f64::from(best), predicted == Some(item.target))
            })
            .unzip();
        let binned = Binned::new(&confidences, &is_right, TOP_LABEL_BINS)
            .expect("every confidence was just seen to lie in 0..=1");
        let losses = items
            .iter()
            .map(|item| [brier(item), log_loss(item)])
            .collect();
        Some(Self { binned, losses })
    }

    /// The bars of the reliability diagram of the top label.
    pub(crate) fn reliability(&self) -> Vec<ReliabilityBin> {
        self.binned.bars()
    }

    pub(crate) fn losses(&self, weights: &[u32]) -> Losses {
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        let mut sums = [0.0; 2];
        for (losses, &weight) in self.losses.iter().zip(weights) {
            for (sum, loss) in sums.iter_mut().zip(losses) {
                *sum += f64::from(weight) * loss;
            }
        }
        Losses {
            calibration_error: self.binned.error(weights),
            brier: sums[0] / total as f64,
            nll: sums[1] / total as f64,
        }
    }
}

/// The squared distance between scores and truth. Brier, Monthly Weather Review 78 (1950), pp. 1-3.
fn brier(item: &Scored) -> f64 {
    let distance = |(class, &score): (usize, &f32)| {
        let truth = if class == item.target { 1.0 } else { 0.0 };
        (f64::from(score) - truth).powi(2)
    };
    item.scores.iter().enumerate().map(distance).sum()
}

/// A score can round to 0 in f32; its logarithm is taken at the smallest positive one instead of minus infinity.
fn log_loss(item: &Scored) -> f64 {
    -f64::from(item.scores[item.target].max(f32::MIN_POSITIVE)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::assert_refused;

    #[test]
    fn bins_are_open_below_and_closed_above() {
        let confidences = [0.0, 0.2, 0.200_000_1, 1.0, 0.9];
        let is_right = [false, true, false, true, true];
        let bars = reliability(&confidences, &is_right, 10).expect("sound confidences");
        let supports: Vec<usize> = bars.iter().map(|bar| bar.support).collect();
        assert_eq!(supports, [1, 1, 1, 0, 0, 0, 0, 0, 1, 1]);
        let found = calibration_error(&confidences, &is_right, 10).expect("sound confidences");
        assert!((found - (0.0 + 0.8 + 0.200_000_1 + 0.0 + 0.1) / 5.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        let cases = [
            (
                calibration_error(&[1.5], &[true], 10),
                "the confidence at position 0",
            ),
            (
                calibration_error(&[f64::NAN], &[true], 10),
                "the confidence at position 0",
            ),
            (calibration_error(&[0.5], &[], 10), "0 labels and 1 scores"),
            (calibration_error(&[], &[], 10), "no items"),
            (calibration_error(&[0.5], &[true], 0), "0 bins"),
        ];
        assert_refused(cases);
    }
}
