//! The label of the nearest training item: what a predictor gets that has no eyes but a clock.

use std::{collections::HashMap, path::Path};

use crate::{Dataset, Item, Split};

/// Metadata that numbers the frame of an item in its source, as the thermal importer gives it.
const FRAME_COLUMN: &str = "frame_idx";

/// The clock of an item and where it is on it: the frames of its source where they are numbered, else its time.
fn place(item: &Item) -> Option<((&Path, bool), i64)> {
    let frame = item
        .metadata
        .get(FRAME_COLUMN)
        .and_then(|frame| frame.parse().ok());
    let time = || Some(item.span?.start().as_nanos());
    let at = frame.or_else(time)?;
    Some(((item.source.as_path(), frame.is_some()), at))
}

/// For each item of [`Dataset::indices`] of `split`, the label of the training item of the same source that is nearest, by
/// the number of its frame (the column `frame_idx`) or else by the start of its span; of equally near ones the first in the
/// order of the data. `None` where the item has neither, or its source no training item with one.
///
/// Where items are cut from longer recordings this is the baseline to beat: neighbours in time mostly share their label.
pub fn nearest_labels(dataset: &Dataset, split: Split) -> Vec<Option<usize>> {
    // Places of training items in order, each with its position in the data.
    let mut known: HashMap<(&Path, bool), Vec<(i64, usize)>> = HashMap::new();
    for idx in dataset.indices(Split::Train) {
        if let Some((clock, at)) = place(&dataset.items[idx]) {
            known.entry(clock).or_default().push((at, idx));
        }
    }
    known.values_mut().for_each(|places| places.sort_unstable());
    let nearest = |idx: usize| {
        let (clock, at) = place(&dataset.items[idx])?;
        let places = known.get(&clock)?;
        let next = places.partition_point(|(other, _)| *other < at);
        // Of several items at one place the first comes first; before `at` it has to be looked for.
        let first_at = |place: i64| places[places.partition_point(|(other, _)| *other < place)];
        let before = next.checked_sub(1).map(|last| first_at(places[last].0));
        let candidates = [before, places.get(next).copied()].into_iter().flatten();
        let (_, nearest) = candidates.min_by_key(|&(other, idx)| (other.abs_diff(at), idx))?;
        Some(dataset.items[nearest].label)
    };
    dataset.indices(split).into_iter().map(nearest).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf};

    use marey_clip::{ClassList, Span, Timestamp};

    use super::*;

    #[test]
    fn the_nearest_in_the_same_source_is_copied() {
        let at = |secs: i64| Timestamp::from_nanos(secs * 1_000_000_000);
        let item = |source: &str, start: Option<i64>, label, split| Item {
            id: format!("{source}{start:?}"),
            source: PathBuf::from(source),
            span: start.and_then(|start| Span::new(at(start), at(start + 1))),
            label,
            group: None,
            split: Some(split),
            metadata: BTreeMap::new(),
        };
        use Split::{Train, Validation};
        let dataset = Dataset {
            classes: ClassList::new(vec!["a".into(), "b".into()]).expect("two"),
            items: vec![
                item("x", Some(0), 0, Train),
                item("x", Some(10), 1, Train),
                item("x", Some(4), 0, Validation),
                item("x", Some(6), 0, Validation),
                // As near to both: the first in the data.
                item("x", Some(5), 0, Validation),
                item("x", Some(99), 0, Validation),
                item("y", Some(0), 0, Validation),
                item("x", None, 0, Validation),
            ],
            notes: vec![],
            accepted_leak: None,
        };
        let labels = nearest_labels(&dataset, Validation);
        assert_eq!(labels, [Some(0), Some(1), Some(0), Some(1), None, None]);
        // Numbered frames go before times.
        let mut numbered = dataset;
        for (item, frame) in numbered.items.iter_mut().zip([100, 7, 8]) {
            item.metadata
                .insert(FRAME_COLUMN.to_owned(), frame.to_string());
        }
        assert_eq!(nearest_labels(&numbered, Validation)[0], Some(1));
    }
}
