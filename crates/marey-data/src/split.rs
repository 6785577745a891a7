//! Splits that cannot leak: whole groups on one side, or blocks of time with a gap between the sides.

mod assign;

mod folds;

mod time;

use std::{collections::BTreeMap, path::Path};

use marey_clip::ClassList;

use assign::assign;
pub use folds::{Fold, fold_of_groups, k_folds, leave_one_group_out, nested_folds};
pub use time::{BLOCK_COLUMN, Gap, TimeSplit, split_by_time};

use crate::{ErrorKind, Item, Split};

/// The column that names the bout of an event: events of one video with at most 30 s between them. Where it is the group, one
/// video may be in two splits.
pub const BOUT_COLUMN: &str = "bout";

/// The sizes of a split that is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SplitShares {
    /// Share of the items that validate, 0 to 1.
    pub validation: f64,
    /// Share of the items that test, 0 to 1.
    pub test: f64,
    /// Seed.
    pub seed: u64,
}

/// Gives every item a split: whole groups ([`Item::group_key`]), classes in proportion, the same for the same seed.
///
/// Groups that have a source in common stay together (but for bouts, see [`BOUT_COLUMN`]), and so do the items of each set of `together`, such as those that
/// [`identical_items`](crate::identical_items) finds.
///
/// Returns what a careful person should know about the result, a sentence each.
///
/// # Errors
/// When the shares are no shares, or there are fewer groups than sides.
pub fn split_by_group(
    items: &mut [Item],
    classes: &ClassList,
    shares: &SplitShares,
    together: &[Vec<usize>],
) -> Result<Vec<String>, ErrorKind> {
    let sides = sides(shares)?;
    let groups = groups(items, together);
    if groups.len() < sides.len() {
        return Err(ErrorKind::Split(format!(
            "{} groups cannot fill {} splits, because a group is never divided: the first group is `{}`; group by \
             something finer, or ask for fewer splits",
            groups.len(),
            sides.len(),
            groups
                .first()
                .and_then(|group| group.first())
                .map_or(String::new(), |&idx| items[idx].group_key()),
        )));
    }
    let wanted: Vec<f64> = sides.iter().map(|&(_, share)| share).collect();
    let sides_of = assign(
        &groups,
        &|idx| items[idx].label,
        classes.len(),
        &wanted,
        shares.seed,
    );
    for (group, side) in groups.iter().zip(sides_of) {
        group
            .iter()
            .for_each(|&idx| items[idx].split = Some(sides[side].0));
    }
    Ok(notes(items, classes, &sides))
}

/// The items of each group; groups that must stay together are one. In the order of their names.
fn groups(items: &[Item], together: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut by_source: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
    for (idx, item) in items.iter().enumerate() {
        by_key.entry(item.group_key()).or_default().push(idx);
        // Bouts were made groups on purpose, though they share their video.
        let bout = item.metadata.get(BOUT_COLUMN);
        if bout.is_none() || bout != item.group.as_ref() {
            by_source.entry(&item.source).or_default().push(idx);
        }
    }
    let sets = by_key.values().chain(by_source.values()).chain(together);
    let pairs = sets.flat_map(|set| set.windows(2).map(|pair| [pair[0], pair[1]]));
    let firsts = joined(items.len(), pairs);
    let mut merged: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut order = Vec::new();
    for idx in by_key.into_values().flatten() {
        let first = firsts[idx];
        let members = merged.entry(first).or_default();
        if members.is_empty() {
            order.push(first);
        }
        members.push(idx);
    }
    order
        .iter()
        .filter_map(|first| merged.remove(first))
        .collect()
}

/// The first of all that each of `num` things is joined with by pairs.
pub(crate) fn joined(num: usize, pairs: impl Iterator<Item = [usize; 2]>) -> Vec<usize> {
    fn root(parents: &mut [usize], mut idx: usize) -> usize {
        while parents[idx] != idx {
            parents[idx] = parents[parents[idx]];
            idx = parents[idx];
        }
        idx
    }
    // Each thing points to an earlier one that it is joined with, the first to itself.
    let mut parents: Vec<usize> = (0..num).collect();
    for pair in pairs {
        let [a, b] = pair.map(|idx| root(&mut parents, idx));
        parents[a.max(b)] = a.min(b);
    }
    (0..num).map(|idx| root(&mut parents, idx)).collect()
}

fn sides(shares: &SplitShares) -> Result<Vec<(Split, f64)>, ErrorKind> {
    let SplitShares {
        validation, test, ..
    } = *shares;
    let train = 1.0 - validation - test;
    if !(validation >= 0.0 && test >= 0.0 && train > 0.0) {
        return Err(ErrorKind::Split(format!(
            "validation = {validation} and test = {test} leave nothing to train on, or are below 0: expected shares \
             such as 0.2 and 0.1"
        )));
    }
    if validation + test == 0.0 {
        return Err(ErrorKind::Split(
            "validation and test are both 0: nothing would be split off, give one a share such as 0.2".into(),
        ));
    }
    let all = [
        (Split::Train, train),
        (Split::Validation, validation),
        (Split::Test, test),
    ];
    Ok(all.into_iter().filter(|&(_, share)| share > 0.0).collect())
}

fn notes(items: &[Item], classes: &ClassList, sides: &[(Split, f64)]) -> Vec<String> {
    let mut counts: BTreeMap<Split, Vec<usize>> = BTreeMap::new();
    for item in items {
        if let Some(split) = item.split {
            counts
                .entry(split)
                .or_insert_with(|| vec![0; classes.len()])[item.label] += 1;
        }
    }
    let mut notes = Vec::new();
    for (split, share) in sides {
        let held = &counts[split];
        let count: usize = held.iter().sum();
        notes.push(format!(
            "{split}: {count} of {} items, {:.1} % for {:.1} % asked",
            items.len(),
            100.0 * count as f64 / items.len() as f64,
            100.0 * share
        ));
        let absent: Vec<&str> = (0..classes.len())
            .filter(|&class| held[class] == 0 && items.iter().any(|item| item.label == class))
            .map(|class| classes.name(class))
            .collect();
        if !absent.is_empty() {
            notes.push(format!("{split} has no item of: {}", absent.join(", ")));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn item(idx: usize, group: Option<usize>, label: usize) -> Item {
        Item {
            id: idx.to_string(),
            source: PathBuf::from(format!("{idx}.mp4")),
            span: None,
            label,
            group: group.map(|group| format!("g{group}")),
            split: None,
            metadata: BTreeMap::new(),
        }
    }

    fn classes(num: usize) -> ClassList {
        ClassList::new((0..num).map(|idx| format!("c{idx}")).collect()).expect("at least two")
    }

    const SHARES: SplitShares = SplitShares {
        validation: 0.2,
        test: 0.2,
        seed: 3,
    };

    #[test]
    fn shares_that_leave_nothing_are_refused() {
        let mut items = vec![item(0, None, 0), item(1, None, 1)];
        for (validation, test) in [(0.6, 0.4), (-0.1, 0.2), (0.0, 0.0), (f64::NAN, 0.0)] {
            let shares = SplitShares {
                validation,
                test,
                seed: 0,
            };
            assert!(
                split_by_group(&mut items, &classes(2), &shares, &[]).is_err(),
                "{shares:?}"
            );
        }
    }

    #[test]
    fn one_group_cannot_be_split() {
        let mut items = vec![item(0, Some(1), 0), item(1, Some(1), 1)];
        let shares = SplitShares {
            test: 0.0,
            ..SHARES
        };
        let error = split_by_group(&mut items, &classes(2), &shares, &[]).expect_err("one group");
        assert!(
            error.to_string().contains("1 groups cannot fill 2 splits"),
            "{error}"
        );
    }

    #[test]
    fn another_seed_gives_another_split() {
        let split = |seed| {
            let mut items: Vec<Item> = (0..60).map(|idx| item(idx, None, idx % 2)).collect();
            split_by_group(
                &mut items,
                &classes(2),
                &SplitShares { seed, ..SHARES },
                &[],
            )
            .expect("enough items");
            items
        };
        assert_eq!(split(1), split(1));
        assert_ne!(split(1), split(2));
    }

    #[test]
    fn groups_with_a_common_source_or_file_stay_together() {
        let mut items: Vec<Item> = (0..8)
            .map(|idx| item(idx, Some(idx / 2), idx % 2))
            .collect();
        items[2].source = items[0].source.clone();
        let merged = groups(&items, &[vec![7, 5]]);
        assert_eq!(merged, [vec![0, 1, 2, 3], vec![4, 5, 6, 7]]);
    }

    proptest! {
        #[test]
        fn no_group_is_on_two_sides_and_every_item_has_one(
            labels in prop::collection::vec((0usize..12, 0usize..4), 30..200),
            seed: u64,
        ) {
            let mut items: Vec<Item> =
                labels.iter().enumerate().map(|(idx, &(group, label))| item(idx, Some(group), label)).collect();
            let mut groups: BTreeMap<String, Option<Split>> = BTreeMap::new();
            let distinct: std::collections::BTreeSet<_> = labels.iter().map(|(group, _)| group).collect();
            prop_assume!(distinct.len() >= 3);
            split_by_group(&mut items, &classes(4), &SplitShares { seed, ..SHARES }, &[]).expect("enough groups");
            for item in &items {
                let side = *groups.entry(item.group_key()).or_insert(item.split);
                prop_assert!(item.split.is_some());
                prop_assert_eq!(item.split, side);
            }
            for split in Split::ALL {
                prop_assert!(items.iter().any(|item| item.split == Some(split)), "{} is empty", split);
            }
        }

        #[test]
        fn classes_keep_their_shares_where_items_are_their_own_groups(
            labels in prop::collection::vec(0usize..4, 40..300),
            seed: u64,
        ) {
            let mut items: Vec<Item> =
                labels.iter().enumerate().map(|(idx, &label)| item(idx, None, label)).collect();
            split_by_group(&mut items, &classes(4), &SplitShares { seed, ..SHARES }, &[]).expect("enough groups");
            for label in 0..4 {
                let total = labels.iter().filter(|&&other| other == label).count() as f64;
                for (split, share) in [(Split::Train, 0.6), (Split::Validation, 0.2), (Split::Test, 0.2)] {
                    let held = items.iter().filter(|item| item.label == label && item.split == Some(split));
                    let off = held.count() as f64 - share * total;
                    prop_assert!(off.abs() <= 1.0, "{} of class {} in {}: off by {}", total, label, split, off);
                }
            }
        }
    }
}
