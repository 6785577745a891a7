//! Where a model goes wrong: which class it takes for which.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Scored;
use crate::classify::outcomes_of;

/// Examples kept of each [`Confusion`].
const MAX_EXAMPLES: usize = 3;

/// One class taken for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Confusion {
    /// Name of the true class.
    pub truth: String,
    /// Name of the class that was answered.
    pub predicted: String,
    /// Number of items.
    pub count: usize,
    /// Number of items of the true class.
    pub support: usize,
    /// The items of which the model was surest, at most 3.
    pub examples: Vec<String>,
}

/// The `max` pairs of classes that are mixed up most often, the most frequent first.
pub(crate) fn largest_confusions(
    classes: &[String],
    items: &[Scored],
    max: usize,
) -> Vec<Confusion> {
    let outcomes = outcomes_of(items);
    let mut pairs: BTreeMap<(usize, usize), Vec<&Scored>> = BTreeMap::new();
    for (item, outcome) in items.iter().zip(&outcomes) {
        if outcome.predicted != outcome.target {
            let pair = (outcome.target, outcome.predicted);
            pairs.entry(pair).or_default().push(item);
        }
    }
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort_by_key(|(_, items)| std::cmp::Reverse(items.len()));
    pairs.truncate(max);
    let confusion = |((target, predicted), mut items): ((usize, usize), Vec<&Scored>)| {
        items.sort_by(|a, b| {
            let by_score = b.scores[predicted].total_cmp(&a.scores[predicted]);
            by_score.then_with(|| a.item.cmp(&b.item))
        });
        let examples = items.iter().take(MAX_EXAMPLES);
        Confusion {
            truth: classes[target].clone(),
            predicted: classes[predicted].clone(),
            count: items.len(),
            support: outcomes
                .iter()
                .filter(|outcome| outcome.target == target)
                .count(),
            examples: examples.map(|item| item.item.clone()).collect(),
        }
    };
    pairs.into_iter().map(confusion).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, group: Option<&str>, target: usize, scores: [f32; 3]) -> Scored {
        Scored {
            item: name.to_owned(),
            group: group.map(str::to_owned),
            target,
            scores: scores.to_vec(),
        }
    }

    #[test]
    fn the_most_frequent_confusion_comes_first_with_its_surest_items() {
        let classes = ["a", "b", "c"].map(str::to_owned);
        let items = [
            item("right", None, 0, [0.9, 0.1, 0.0]),
            item("a1", None, 0, [0.4, 0.6, 0.0]),
            item("a2", None, 0, [0.1, 0.9, 0.0]),
            item("a3", None, 0, [0.3, 0.7, 0.0]),
            item("a4", None, 0, [0.2, 0.8, 0.0]),
            item("c1", None, 2, [0.9, 0.1, 0.0]),
            item("b1", None, 1, [0.0, 0.1, 0.9]),
        ];
        let found = largest_confusions(&classes, &items, 2);
        let first = Confusion {
            truth: "a".into(),
            predicted: "b".into(),
            count: 4,
            support: 5,
            examples: ["a2", "a4", "a3"].map(str::to_owned).to_vec(),
        };
        assert_eq!(found[0], first);
        // Of equal counts the class earlier in the list comes first.
        assert_eq!((found.len(), found[1].truth.as_str()), (2, "b"));
        assert_eq!(largest_confusions(&classes, &items[..1], 2), []);
    }
}
