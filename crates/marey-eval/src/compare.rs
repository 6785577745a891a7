//! A model beside another predictor on the same items.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bootstrap::Units;
use crate::classify::check_items;
use crate::draws::Draws;
use crate::evaluator::Evaluator;
use crate::metric::Metric;
use crate::{Bootstrap, Error, ErrorKind, Interval, McNemar, Scale, Scored, mcnemar};

/// A model beside a baseline that somebody trained or wrote, such as the same budget on single frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// The baseline, in words.
    pub name: String,
    /// Number of items, the same for both.
    pub support: usize,
    /// One entry a figure that is defined for both.
    pub differences: Vec<Difference>,
    /// Whether one of the two is right more often, item by item. `None` in reports of older programs.
    #[serde(default)]
    pub mcnemar: Option<McNemar>,
}

/// One figure of a [`Comparison`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Name of the figure in files, such as `macro_f1`.
    pub figure: String,
    /// Name of the figure for people.
    pub title: String,
    /// Its range, its unit and which way is better.
    #[serde(default)]
    pub scale: Scale,
    /// The model's value.
    pub model: f64,
    /// The baseline's value.
    pub baseline: f64,
    /// Bootstrap interval of the baseline's value.
    pub baseline_interval: Interval,
    /// `model - baseline`.
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
    let [model, other] = [Evaluator::new(items), Evaluator::new(&paired)];
    let units = Units::new(items, bootstrap)?;
    let units_of_auc = model.units_of_auc(&units);
    // Columns: the model's figures, then the other's.
    let draws = Draws::collect(units, items.len(), &mut |weights| {
        let measured = [model.measure(weights), other.measure(weights)];
        measured
            .iter()
            .flat_map(|measured| Metric::REPORTED.map(|metric| measured.value(metric)))
            .collect()
    });
    let auc = [
        Metric::ROC_AUC_IDX,
        Metric::REPORTED.len() + Metric::ROC_AUC_IDX,
    ];
    let draws = draws.resting_on(units_of_auc, &auc);
    let difference = |(idx, &metric): (usize, &Metric)| {
        let columns = [idx, Metric::REPORTED.len() + idx];
        let [model, baseline] = [draws.value(columns[0])?, draws.value(columns[1])?];
        Some(Difference {
            figure: metric.name().to_owned(),
            title: metric.title().to_owned(),
            scale: metric.scale(),
            model,
            baseline,
            baseline_interval: draws.interval(columns[1], metric.scale().range())?,
            difference: model - baseline,
            interval: draws.difference(columns)?,
        })
    };
    let outcomes = || model.outcomes.iter().zip(&other.outcomes);
    let only = |wanted: [bool; 2]| {
        let rights =
            outcomes().map(|(a, b)| [a, b].map(|outcome| outcome.predicted == outcome.target));
        rights.filter(|rights| *rights == wanted).count() as u64
    };
    Ok(Comparison {
        name: name.to_owned(),
        support: items.len(),
        differences: Metric::REPORTED
            .iter()
            .enumerate()
            .filter_map(difference)
            .collect(),
        mcnemar: Some(mcnemar(only([true, false]), only([false, true]))),
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
