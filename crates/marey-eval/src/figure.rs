//! A figure and what must stand beside it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Interval;
use crate::table::{percent, points, range};

/// One number about a set of items, with all that is needed to judge it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figure {
    /// Name in files and recipes, such as `macro_f1`.
    pub name: String,
    /// Name for people, such as `macro F1`.
    pub title: String,
    /// What exactly was computed.
    pub definition: String,
    /// The number.
    pub value: f64,
    /// Its range, its unit and which way is better. Default: a share.
    #[serde(default)]
    pub scale: Scale,
    /// Its 95 % interval.
    pub interval: Interval,
    /// For a proportion whose items share groups: the interval over groups. Wilson's takes items as independent, which
    /// clips of one camera are not.
    pub group_interval: Option<Interval>,
    /// Number of items behind it.
    pub support: usize,
    /// What a predictor that never looks at the input would get on the same items.
    pub baseline: Baseline,
    /// The 95 % interval of `value - baseline.value`, both from the same draws: the baseline's number depends on the items as well.
    #[serde(default)]
    pub over_baseline: Option<Interval>,
}

impl Figure {
    /// The wider of its intervals: the one to believe.
    pub fn widest_interval(&self) -> Interval {
        match self.group_interval {
            Some(group) if group.width() > self.interval.width() => group,
            _ => self.interval,
        }
    }

    /// Whether the figure is told from its baseline: the widest interval must exclude the baseline's number, and the interval of the
    /// difference must exclude 0.
    pub fn standing(&self) -> Standing {
        let interval = self.widest_interval();
        let is_apart = self
            .over_baseline
            .is_none_or(|difference| !difference.contains(0.0));
        let is_higher = interval.low > self.baseline.value;
        let is_lower = interval.high < self.baseline.value;
        match self.scale.is_lower_better() {
            _ if !is_apart => Standing::Undecided,
            false if is_higher => Standing::Above,
            true if is_lower => Standing::Above,
            false if is_lower => Standing::Below,
            true if is_higher => Standing::Below,
            _ => Standing::Undecided,
        }
    }
}

/// The range of a figure, its unit in print, and which way is better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// A share in 0..=1, printed in percent; higher is better.
    #[default]
    Share,
    /// A share in 0..=1 of what went wrong, printed in percent; lower is better.
    ErrorShare,
    /// A correlation in -1..=1; higher is better, and 0 says nothing.
    Correlation,
    /// A loss, 0 or more; lower is better.
    Loss,
    /// Events per hour of one camera, 0 or more; lower is better.
    PerHour,
    /// Seconds, 0 or more; lower is better.
    Seconds,
}

impl Scale {
    /// Whether a lower number is the better one.
    pub fn is_lower_better(self) -> bool {
        !matches!(self, Self::Share | Self::Correlation)
    }

    /// The lowest and the highest possible number; the latter may be infinite.
    pub fn range(self) -> [f64; 2] {
        match self {
            Self::Share | Self::ErrorShare => [0.0, 1.0],
            Self::Correlation => [-1.0, 1.0],
            Self::Loss | Self::PerHour | Self::Seconds => [0.0, f64::INFINITY],
        }
    }

    /// A number in print, such as `71.2 %`, `0.512` or `0.40 / h`.
    pub fn text(self, value: f64) -> String {
        match self {
            Self::Share | Self::ErrorShare => percent(value),
            Self::Correlation | Self::Loss => format!("{:.3}", without_minus_zero(value, 1e3)),
            Self::PerHour => format!("{value:.2} / h"),
            Self::Seconds => format!("{value:.2} s"),
        }
    }

    /// The two ends of an interval in print.
    pub fn range_text(self, interval: &Interval) -> String {
        let Interval { low, high, .. } = *interval;
        match self {
            Self::Share | Self::ErrorShare => range(interval),
            Self::Correlation | Self::Loss => format!(
                "{:.3} to {:.3}",
                without_minus_zero(low, 1e3),
                without_minus_zero(high, 1e3)
            ),
            Self::PerHour => format!("{low:.2}–{high:.2} / h"),
            Self::Seconds => format!("{low:.2}–{high:.2} s"),
        }
    }

    /// A difference of two numbers in print, with its sign: percentage points for shares.
    pub fn difference_text(self, difference: f64) -> String {
        match self {
            Self::Share | Self::ErrorShare => points(difference),
            _ => format!("{:+.3}", without_minus_zero(difference, 1e3)),
        }
    }

    /// What is counted in [`Scale::difference_text`], after a space; nothing where the text says it.
    pub(crate) fn difference_unit(self) -> &'static str {
        match self {
            Self::Share | Self::ErrorShare => " points",
            _ => "",
        }
    }

    /// The two ends of an interval of a difference in print.
    pub fn difference_range_text(self, interval: &Interval) -> String {
        let ends = [interval.low, interval.high].map(|end| self.difference_text(end));
        ends.join(" to ")
    }
}

/// `value` rounded to one part in `digits`, where "-0" becomes "0".
fn without_minus_zero(value: f64, digits: f64) -> f64 {
    (value * digits).round() / digits + 0.0
}

/// Where a figure's interval lies against its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// On the better side of the baseline: above it, or below it where lower is better.
    Above,
    /// The interval holds the baseline: these items cannot tell.
    Undecided,
    /// On the worse side of the baseline.
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
            // (group interval, baseline, interval of the difference, scale, standing)
            (None, 0.5, None, Scale::Share, Standing::Above),
            (None, 0.5, None, Scale::ErrorShare, Standing::Below),
            (
                group(0.4, 1.0),
                0.5,
                None,
                Scale::Share,
                Standing::Undecided,
            ),
            // A group interval narrower than Wilson's does not sharpen the verdict.
            (
                group(0.79, 0.81),
                0.75,
                None,
                Scale::Share,
                Standing::Undecided,
            ),
            (None, 0.9, None, Scale::Share, Standing::Below),
            (None, 0.9, None, Scale::Loss, Standing::Above),
            (None, 0.8, None, Scale::Share, Standing::Undecided),
            // The baseline is not certain either.
            (
                None,
                0.5,
                group(-0.1, 0.7),
                Scale::Share,
                Standing::Undecided,
            ),
            (None, 0.5, group(0.1, 0.5), Scale::Share, Standing::Above),
        ];
        for (group_interval, baseline, over_baseline, scale, expected) in cases {
            let figure = Figure {
                name: "top1".into(),
                title: "top-1 accuracy".into(),
                definition: String::new(),
                value: 0.8,
                scale,
                interval: wilson(80, 100),
                group_interval,
                support: 100,
                baseline: Baseline {
                    name: "b".into(),
                    value: baseline,
                },
                over_baseline,
            };
            assert_eq!(figure.standing(), expected, "{group_interval:?} {baseline}");
        }
    }

    #[test]
    fn numbers_are_printed_by_their_scale() {
        let interval = Interval {
            low: -0.0001,
            high: 0.25,
            method: IntervalMethod::Wilson,
        };
        let cases = [
            (Scale::Share, "12.3 %", "-0.0–25.0 %", "+12.3"),
            (Scale::Correlation, "0.123", "0.000 to 0.250", "+0.123"),
            (Scale::PerHour, "0.12 / h", "-0.00–0.25 / h", "+0.123"),
            (Scale::Seconds, "0.12 s", "-0.00–0.25 s", "+0.123"),
        ];
        for (scale, value, range, difference) in cases {
            assert_eq!(scale.text(0.1234), value);
            assert_eq!(scale.range_text(&interval), range);
            assert_eq!(scale.difference_text(0.1234), difference);
        }
    }
}
