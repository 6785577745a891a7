//! A figure and what must stand beside it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Interval;

/// One number about a set of items, with all that is needed to judge it. Higher is better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figure {
    /// Name in files and recipes, such as `macro_f1`.
    pub name: String,
    /// Name for people, such as `macro F1`.
    pub title: String,
    /// What exactly was computed.
    pub definition: String,
    /// The number, in 0..=1.
    pub value: f64,
    /// Its 95 % interval.
    pub interval: Interval,
    /// For a proportion whose items share groups: the interval over groups. Wilson's takes items as independent, which
    /// clips of one camera are not.
    pub group_interval: Option<Interval>,
    /// Number of items behind it.
    pub support: usize,
    /// What a predictor that never looks at the input would get on the same items.
    pub baseline: Baseline,
}

impl Figure {
    /// The wider of its intervals: the one to believe.
    pub fn widest_interval(&self) -> Interval {
        match self.group_interval {
            Some(group) if group.width() > self.interval.width() => group,
            _ => self.interval,
        }
    }

    /// Where the widest interval lies against the baseline.
    pub fn standing(&self) -> Standing {
        let interval = self.widest_interval();
        if interval.low > self.baseline.value {
            Standing::Above
        } else if interval.high < self.baseline.value {
            Standing::Below
        } else {
            Standing::Undecided
        }
    }
}

/// Where a figure's interval lies against its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Wholly above: better than the baseline.
    Above,
    /// The interval holds the baseline: these items cannot tell.
    Undecided,
    /// Wholly below: worse than the baseline.
    Below,
}

/// What a trivial predictor gets on the same items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Baseline {
    /// The predictor, in words.
    pub name: String,
    /// Its figure.
    pub value: f64,
}

/// A number about one class, with its interval and baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// The number, in 0..=1; 0 where its denominator is empty.
    pub value: f64,
    /// Its 95 % interval: Wilson's for precision and recall, bootstrap for F1. 0..=1 where nothing is known.
    pub interval: Interval,
    /// Its denominator in items: those of the class for recall, those predicted as it for precision, for F1 the items of the
    /// class.
    pub support: usize,
    /// The majority baseline's number for this class.
    pub baseline: f64,
}

/// The figures of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassFigures {
    /// The class.
    pub name: String,
    /// Number of items of this class in the evaluated set.
    pub support: usize,
    /// Number of training items of this class, where known.
    pub train_support: Option<usize>,
    /// Number of items that were predicted as this class.
    pub predicted: usize,
    /// Share of the items predicted as this class that are of it.
    pub precision: Estimate,
    /// Share of the items of this class that were predicted as it.
    pub recall: Estimate,
    /// Harmonic mean of precision and recall, `2 TP / (support + predicted)`.
    pub f1: Estimate,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IntervalMethod, wilson};

    #[test]
    fn the_wider_interval_decides_the_standing() {
        let group = |low, high| {
            Some(Interval {
                low,
                high,
                method: IntervalMethod::GroupBootstrap {
                    draws: 2,
                    groups: 2,
                },
            })
        };
        let cases = [
            // (group interval, baseline, standing)
            (None, 0.5, Standing::Above),
            (group(0.4, 1.0), 0.5, Standing::Undecided),
            // A group interval narrower than Wilson's does not sharpen the verdict.
            (group(0.79, 0.81), 0.75, Standing::Undecided),
            (None, 0.9, Standing::Below),
            (None, 0.8, Standing::Undecided),
        ];
        for (group_interval, baseline, expected) in cases {
            let figure = Figure {
                name: "top1".into(),
                title: "top-1 accuracy".into(),
                definition: String::new(),
                value: 0.8,
                interval: wilson(80, 100),
                group_interval,
                support: 100,
                baseline: Baseline {
                    name: "b".into(),
                    value: baseline,
                },
            };
            assert_eq!(figure.standing(), expected, "{group_interval:?} {baseline}");
        }
    }
}
