//! A model beside another predictor on the same items.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bootstrap::Units;
use crate::classify::{check_items, outcomes_of};
use crate::counts::{Counts, Metric};
use crate::interval::bootstrap_or_wilson;
use crate::{Bootstrap, Error, ErrorKind, Interval, Scored, percentile_interval};

/// A model beside a baseline that somebody trained or wrote, such as the same budget on single frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// The baseline, in words.
    pub name: String,
    /// Number of items, the same for both.
    pub support: usize,
    /// One entry a figure.
    pub differences: Vec<Difference>,
}

/// One figure of a [`Comparison`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Name of the figure in files, such as `macro_f1`.
    pub figure: String,
    /// Name of the figure for people.
    pub title: String,
    /// The model's value.
    pub model: f64,
    /// The baseline's value.
    pub baseline: f64,
    /// Bootstrap interval of the baseline's value.
    pub baseline_interval: Interval,
    /// `model - baseline`, in -1..=1.
    pub difference: f64,
    /// Bootstrap interval of the difference. Both predictors see the same drawn items, so it is narrower than the two intervals
    /// suggest.
    pub interval: Interval,
}

/// Compares a model's scores with those of another predictor on the same items, whose order may differ.
///
/// # Errors
/// As [`classify`](crate::classify); and if the two do not hold the same items with the same targets.
pub fn compare(
    name: &str,
    items: &[Scored],
    baseline: &[Scored],
    bootstrap: &Bootstrap,
) -> Result<Comparison, Error> {
    let num_classes = items.first().ok_or(ErrorKind::NoItems)?.scores.len();
    check_items(num_classes, items)?;
    check_items(num_classes, baseline)?;
    let paired = paired(name, items, baseline)?;
    let (model, other) = (outcomes_of(items), outcomes_of(&paired));
    let units = Units::new(items, bootstrap)?;
    let method = units.method();
    let mut other_draws = vec![Vec::new(); Metric::ALL.len()];
    let mut difference_draws = vec![Vec::new(); Metric::ALL.len()];
    units.for_each_draw(|weights| {
        let model = Counts::weighted(num_classes, &model, weights);
        let other = Counts::weighted(num_classes, &other, weights);
        for (idx, &metric) in Metric::ALL.iter().enumerate() {
            let value = other.measure(metric);
            other_draws[idx].push(value);
            difference_draws[idx].push(model.measure(metric) - value);
        }
    });
    let model = Counts::of(num_classes, model);
    let other = Counts::of(num_classes, other);
    let differences = Metric::ALL
        .iter()
        .zip(other_draws.iter_mut().zip(&mut difference_draws))
        .map(|(&metric, (other_draws, difference_draws))| Difference {
            figure: metric.name().to_owned(),
            title: metric.title().to_owned(),
            model: model.measure(metric),
            baseline: other.measure(metric),
            baseline_interval: bootstrap_or_wilson(
                other.measure(metric),
                percentile_interval(other_draws, method),
                items.len() as u64,
            ),
            difference: model.measure(metric) - other.measure(metric),
            interval: percentile_interval(difference_draws, method),
        })
        .collect();
    Ok(Comparison {
        name: name.to_owned(),
        support: items.len(),
        differences,
    })
}

/// The baseline's scores in the order of `items`.
fn paired(name: &str, items: &[Scored], baseline: &[Scored]) -> Result<Vec<Scored>, Error> {
    let unpaired = |item: &str| ErrorKind::Unpaired {
        name: name.to_owned(),
        item: item.to_owned(),
    };
    let mut by_item: HashMap<&str, &Scored> = baseline
        .iter()
        .map(|scored| (scored.item.as_str(), scored))
        .collect();
    let paired = items
        .iter()
        .map(|scored| match by_item.remove(scored.item.as_str()) {
            Some(other) if other.target == scored.target => Ok(other.clone()),
            _ => Err(unpaired(&scored.item)),
        })
        .collect::<Result<Vec<_>, _>>()?;
    // In the baseline's own order, so that the message does not depend on hashing.
    match baseline
        .iter()
        .find(|scored| by_item.contains_key(scored.item.as_str()))
    {
        Some(extra) => Err(unpaired(&extra.item).into()),
        None => Ok(paired),
    }
}
