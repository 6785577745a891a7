//! The baseline that copies the nearest label in time.

use anyhow::Result;
use marey::{
    data::{Dataset, Split, nearest_labels},
    eval::{Bootstrap, Comparison, Scored, compare},
};

/// The scored items beside a predictor that answers the label of the nearest training item of the same source. `None` where no
/// judged item has one.
pub(crate) fn nearest_in_time(
    dataset: &Dataset,
    split: Split,
    scored: &[Scored],
    bootstrap: &Bootstrap,
) -> Result<Option<Comparison>> {
    if split == Split::Train {
        return Ok(None);
    }
    let by_id: std::collections::HashMap<&str, Option<usize>> = dataset
        .indices(split)
        .into_iter()
        .map(|idx| dataset.items[idx].id.as_str())
        .zip(nearest_labels(dataset, split))
        .collect();
    let label_of = |item: &Scored| by_id.get(item.item.as_str()).copied().flatten();
    let known = scored
        .iter()
        .filter(|item| label_of(item).is_some())
        .count();
    if known == 0 {
        return Ok(None);
    }
    let counts = dataset.class_counts(Split::Train);
    let most = (0..counts.len())
        .rev()
        .max_by_key(|&class| counts[class])
        .unwrap_or(0);
    let copied: Vec<Scored> = scored
        .iter()
        .map(|item| {
            let mut scores = vec![0.0; item.scores.len()];
            scores[label_of(item).unwrap_or(most)] = 1.0;
            Scored {
                scores,
                ..item.clone()
            }
        })
        .collect();
    let name = match scored.len() - known {
        0 => "the label of the nearest training item in time".to_owned(),
        rest => format!(
            "the label of the nearest training item in time ({known} items), else the most frequent class ({rest} items)"
        ),
    };
    Ok(Some(compare(&name, scored, &copied, bootstrap)?))
}
