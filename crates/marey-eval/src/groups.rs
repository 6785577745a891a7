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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::outcomes_of;

    fn item(name: &str, group: Option<&str>, target: usize, predicted: usize) -> Scored {
        let mut scores = vec![0.0; 3];
        scores[predicted] = 1.0;
        Scored {
            item: name.to_owned(),
            group: group.map(str::to_owned),
            target,
            scores,
        }
    }

    #[test]
    fn one_unlucky_item_does_not_make_the_worst_group() {
        let mut items = vec![
            item("lone", Some("unlucky"), 0, 1),
            item("none", None, 0, 1),
        ];
        for idx in 0..10 {
            let predicted = usize::from(idx >= 3);
            items.push(item(&format!("bad {idx}"), Some("bad"), 0, predicted));
            items.push(item(&format!("good {idx}"), Some("good"), 1, 1));
        }
        let groups = worst_groups_first(&items, &outcomes_of(&items), 0);
        let names: Vec<&str> = groups.iter().map(|group| group.group.as_str()).collect();
        assert_eq!(names, ["bad", "unlucky", "good"]);
        assert_eq!(
            (groups[0].support, groups[0].accuracy, groups[0].baseline),
            (10, 0.3, 1.0)
        );
        assert_eq!(groups[0].interval, wilson(3, 10));
        assert_eq!(groups[2].baseline, 0.0);
    }
}
