//! At which lags two clips can be the same: where more and less moves in them at the same times.

use super::motion::{STEP, dot, overlap};

/// Lags that are tried where there are many.
const LAGS: usize = 8;
/// Bins that two clips must have in common: two seconds, or three quarters of the shorter one.
const OVERLAP: usize = 16;

/// How much changes in each bin, with sums that make any part's mean and spread quick to find.
pub(super) struct Activity {
    values: Vec<f32>,
    sums: Vec<f32>,
    squares: Vec<f32>,
}

impl Activity {
    pub(super) fn new(values: Vec<f32>) -> Self {
        let running = |of: &dyn Fn(f32) -> f32| {
            let mut sums = vec![0.0];
            for &value in &values {
                sums.push(sums.last().copied().unwrap_or(0.0) + of(value));
            }
            sums
        };
        Self {
            sums: running(&|value| value),
            squares: running(&|value| value * value),
            values,
        }
    }

    /// The lags at which the other's activity fits best, all of them where they are few.
    pub(super) fn lags(&self, other: &Self) -> Vec<isize> {
        let (len_a, len_b) = (self.values.len(), other.values.len());
        let least = needed(len_a.min(len_b) + STEP);
        let lags = least as isize - len_a as isize..=len_b as isize - least as isize;
        if lags.clone().count() <= 4 * LAGS {
            return lags.collect();
        }
        let first = *lags.start();
        let fits: Vec<f32> = lags.map(|lag| self.fit(other, lag)).collect();
        let is_peak = |&idx: &usize| {
            let beside = [idx.wrapping_sub(1), idx + 1];
            beside
                .iter()
                .all(|&near| fits.get(near).is_none_or(|&fit| fits[idx] >= fit))
        };
        let mut peaks: Vec<usize> = (0..fits.len()).filter(is_peak).collect();
        peaks.sort_by(|&a, &b| fits[b].total_cmp(&fits[a]));
        peaks.truncate(LAGS);
        peaks.into_iter().map(|idx| first + idx as isize).collect()
    }

    /// Correlation of activity at a lag.
    fn fit(&self, other: &Self, lag: isize) -> f32 {
        let Some((a, b, count)) = overlap(self.values.len(), other.values.len(), lag) else {
            return 0.0;
        };
        let product = dot(&self.values[a..a + count], &other.values[b..b + count]);
        let part = |of: &Self, at: usize| {
            let sum = of.sums[at + count] - of.sums[at];
            (
                sum,
                of.squares[at + count] - of.squares[at] - sum * sum / count as f32,
            )
        };
        let ((sum_a, spread_a), (sum_b, spread_b)) = (part(self, a), part(other, b));
        let shared = product - sum_a * sum_b / count as f32;
        shared / (spread_a.max(1e-3) * spread_b.max(1e-3)).sqrt()
    }
}

/// Changes that two clips must have in common.
pub(super) fn needed(shorter_bins: usize) -> usize {
    OVERLAP
        .min(shorter_bins.saturating_sub(STEP) * 3 / 4)
        .max(1)
}
