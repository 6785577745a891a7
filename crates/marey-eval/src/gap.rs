//! How much better a model is on what it was trained on: the generalisation gap.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bootstrap::Units;
use crate::classify::check_items;
use crate::draws::Draws;
use crate::evaluator::Evaluator;
use crate::metric::Metric;
use crate::{Bootstrap, Error, ErrorKind, Interval, Scale, Scored};

/// One figure on two splits. `Display` says it in a sentence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// Name of the figure in files.
    pub figure: String,
    /// Name of the figure for people.
    pub title: String,
    /// Range, unit and direction of the figure.
    pub scale: Scale,
    /// Names of the two splits, such as `train` and `validation`.
    pub splits: [String; 2],
    /// Number of items of each.
    pub support: [usize; 2],
    /// The figure on each.
    pub values: [f64; 2],
    /// Its bootstrap interval on each.
    pub intervals: [Interval; 2],
    /// The first less the second.
    pub gap: f64,
    /// The interval of the gap, with both splits drawn independently.
    pub interval: Interval,
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, second] = &self.splits;
        let [on_first, on_second] = self.values.map(|value| self.scale.text(value));
        write!(
            f,
            "{}: {on_first} on {first}, {on_second} on {second}; gap {} ({})",
            self.title,
            self.scale.difference_text(self.gap),
            self.scale.difference_range_text(&self.interval)
        )?;
        match self.interval.contains(0.0) {
            true => f.write_str(", which may be 0"),
            false => Ok(()),
        }
    }
}

/// The items of a named split.
#[derive(Debug, Clone, Copy)]
pub struct SplitItems<'a> {
    /// The split's name.
    pub split: &'a str,
    /// Its items, scored by the model.
    pub items: &'a [Scored],
}

/// Every figure of a classification on two splits, and the gap between them.
///
/// The splits are drawn independently of each other, since they share no group. Figures that are not defined on both are left out.
///
/// # Errors
/// As [`classify`](crate::classify), for either split.
pub fn generalisation_gap(
    first: SplitItems<'_>,
    second: SplitItems<'_>,
    bootstrap: &Bootstrap,
) -> Result<Vec<Gap>, Error> {
    let num_classes = first.items.first().ok_or(ErrorKind::NoItems)?.scores.len();
    let mut drawn = Vec::new();
    for (items, seed) in [
        (first.items, bootstrap.seed),
        (second.items, !bootstrap.seed),
    ] {
        check_items(num_classes, items)?;
        let bootstrap = Bootstrap { seed, ..*bootstrap };
        let evaluator = Evaluator::new(items);
        let units = Units::new(items, &bootstrap)?;
        let units_of_auc = evaluator.units_of_auc(&units);
        let draws = Draws::collect(units, items.len(), &mut |weights| {
            let measured = evaluator.measure(weights);
            Metric::REPORTED
                .map(|metric| measured.value(metric))
                .to_vec()
        });
        drawn.push(draws.resting_on(units_of_auc, &[Metric::ROC_AUC_IDX]));
    }
    let gap = |(idx, &metric): (usize, &Metric)| {
        let range = metric.scale().range();
        let values = [drawn[0].value(idx)?, drawn[1].value(idx)?];
        Some(Gap {
            figure: metric.name().to_owned(),
            title: metric.title().to_owned(),
            scale: metric.scale(),
            splits: [first.split, second.split].map(str::to_owned),
            support: [first.items.len(), second.items.len()],
            values,
            intervals: [
                drawn[0].interval(idx, range)?,
                drawn[1].interval(idx, range)?,
            ],
            gap: values[0] - values[1],
            interval: drawn[0].difference_to(&drawn[1], idx)?,
        })
    };
    Ok(Metric::REPORTED
        .iter()
        .enumerate()
        .filter_map(gap)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(prefix: &str, num_right: usize) -> Vec<Scored> {
        let item = |i: usize| {
            let p = if i < num_right { 0.9 } else { 0.1 };
            Scored {
                item: format!("{prefix}{i}"),
                group: Some(format!("{prefix}{}", i % 20)),
                target: i % 2,
                scores: if i.is_multiple_of(2) {
                    vec![p, 1.0 - p]
                } else {
                    vec![1.0 - p, p]
                },
            }
        };
        (0..100).map(item).collect()
    }

    #[test]
    fn an_overfitted_model_has_a_gap() {
        let (train, test) = (items("a", 100), items("b", 60));
        let split = |split, items| SplitItems { split, items };
        let bootstrap = Bootstrap {
            draws: 200,
            seed: 1,
        };
        let gap =
            |first, second| generalisation_gap(first, second, &bootstrap).expect("sound items");
        let found = gap(split("train", &train), split("test", &test));
        let top1 = &found[0];
        assert!(
            (top1.gap - 0.4).abs() < 1e-12 && top1.interval.low > 0.0,
            "{top1:?}"
        );
        assert!(
            top1.to_string()
                .starts_with("top-1 accuracy: 100.0 % on train, 60.0 % on test; gap +40.0 (")
        );
        let none = gap(split("validation", &items("c", 60)), split("test", &test));
        assert!(none.iter().all(|gap| gap.interval.contains(0.0)));
        assert!(none[0].to_string().ends_with("which may be 0"));
    }
}
