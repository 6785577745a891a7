//! Items whose label is probably wrong, by confident learning. Northcutt, Jiang and Chuang, JAIR 70 (2021), pp. 1373-1411.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::classify::check_items;
use crate::{Error, ErrorKind, Scored};

/// An item whose label should be looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LabelCandidate {
    /// The item.
    pub item: String,
    /// Its group.
    pub group: Option<String>,
    /// Index of the class that it is labelled with.
    pub label: usize,
    /// Index of the class that it is confidently taken for.
    pub likely: usize,
    /// Score of its label less the best other score: the lower, the more suspect. Candidates may be slightly above 0.
    pub margin: f64,
}

/// Items that are confidently of another class than their label, the most suspect first.
///
/// `items` must be scored out of fold, by a model that was not trained on them; a model repeats the labels it has seen. An item is
/// confidently of a class if its score for it reaches the mean score of that class over the items labelled with it; of several such
/// classes the best-scored counts. Classes without a label here have no threshold, so nothing is taken for them.
///
/// # Errors
/// As [`classify`](crate::classify).
pub fn label_candidates(items: &[Scored]) -> Result<Vec<LabelCandidate>, Error> {
    let num_classes = items.first().ok_or(ErrorKind::NoItems)?.scores.len();
    check_items(num_classes, items)?;
    let thresholds: Vec<Option<f64>> = (0..num_classes)
        .map(|class| {
            let labelled = items.iter().filter(|item| item.target == class);
            let (sum, count) = labelled.fold((0.0, 0), |(sum, count), item| {
                (sum + f64::from(item.scores[class]), count + 1)
            });
            (count > 0).then(|| sum / f64::from(count))
        })
        .collect();
    let likely_class = |item: &Scored| {
        let reaches = |class: &usize| {
            thresholds[*class].is_some_and(|threshold| f64::from(item.scores[*class]) >= threshold)
        };
        // The earlier of equals.
        (0..num_classes)
            .rev()
            .filter(reaches)
            .max_by(|&a, &b| item.scores[a].total_cmp(&item.scores[b]))
    };
    let candidate = |item: &Scored| {
        let likely = likely_class(item).filter(|&likely| likely != item.target)?;
        let others = (0..num_classes).filter(|&class| class != item.target);
        let best_other = others
            .map(|class| f64::from(item.scores[class]))
            .fold(f64::NEG_INFINITY, f64::max);
        Some(LabelCandidate {
            item: item.item.clone(),
            group: item.group.clone(),
            label: item.target,
            likely,
            margin: f64::from(item.scores[item.target]) - best_other,
        })
    };
    let mut candidates: Vec<LabelCandidate> = items.iter().filter_map(candidate).collect();
    candidates.sort_by(|a, b| {
        a.margin
            .total_cmp(&b.margin)
            .then_with(|| a.item.cmp(&b.item))
    });
    Ok(candidates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swapped_label_comes_first() {
        let item = |i: usize, target: usize, p: f32| Scored {
            item: format!("item {i:02}"),
            group: None,
            target,
            scores: vec![p, 1.0 - p],
        };
        let mut items: Vec<Scored> = (0..20)
            .map(|i| {
                item(
                    i,
                    i % 2,
                    if i % 2 == 0 {
                        0.7 + 0.01 * i as f32
                    } else {
                        0.3 - 0.01 * i as f32
                    },
                )
            })
            .collect();
        assert!(label_candidates(&items).expect("sound items").is_empty());
        items[16].target = 1;
        // Unsure items are not confidently of any class.
        items.push(item(20, 0, 0.45));
        let found = label_candidates(&items).expect("sound items");
        let names: Vec<&str> = found
            .iter()
            .map(|candidate| candidate.item.as_str())
            .collect();
        assert_eq!(names, ["item 16"]);
        assert_eq!((found[0].label, found[0].likely), (1, 0));
        assert!((found[0].margin - (0.14 - 0.86)).abs() < 1e-6);
    }
}
