//! Accuracy in every group, so that a bad camera cannot hide in a mean.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::counts::Outcome;
use crate::{Interval, Scored, wilson};

/// The figures of one group (camera, source video).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupFigures {
    /// Its name.
    pub group: String,
    /// Number of its items.
    pub support: usize,
    /// Share of them that were recognised.
    pub accuracy: f64,
    /// Wilson's interval of that share.
    pub interval: Interval,
    /// Share of them that always answering the most frequent class would get.
    pub baseline: f64,
}

/// Every group, by the upper end of its interval: the one that is surely bad comes before the one that is bad on two items. Items
/// without a group are left out.
pub(crate) fn worst_groups_first(
    items: &[Scored],
    outcomes: &[Outcome],
    majority: usize,
) -> Vec<GroupFigures> {
    // Items, right ones, and those of the majority class.
    let mut by_group: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for (item, outcome) in items.iter().zip(outcomes) {
        if let Some(group) = &item.group {
            let sums = by_group.entry(group).or_default();
            let counted = [
                true,
                outcome.predicted == outcome.target,
                outcome.target == majority,
            ];
            for (sum, is_counted) in sums.iter_mut().zip(counted) {
                *sum += u64::from(is_counted);
            }
        }
    }
    let mut groups: Vec<GroupFigures> = by_group
        .into_iter()
        .map(|(group, [support, right, of_majority])| GroupFigures {
            group: group.to_owned(),
            support: support as usize,
            accuracy: right as f64 / support as f64,
            interval: wilson(right, support),
            baseline: of_majority as f64 / support as f64,
        })
        .collect();
    // Stable, so that equals stay in the order of their names.
    groups.sort_by(|a, b| {
        (a.interval.high.total_cmp(&b.interval.high)).then(a.accuracy.total_cmp(&b.accuracy))
    });
    groups
}
