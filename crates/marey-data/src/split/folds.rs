//! Several splits of the same data, each with other groups to test on: k folds, leave one group out, nested folds.

use marey_clip::ClassList;

use super::{assign, groups};
use crate::{ErrorKind, Item, Split};

/// One of several splits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Its name, such as `3`, `2-1` or a group.
    pub name: String,
    /// The split of each item.
    pub splits: Vec<Split>,
}

/// The fold of each item, 0 to `folds` - 1: whole groups, with the classes in proportion.
///
/// # Errors
/// When there are fewer than 2 folds, or fewer groups than folds.
pub fn fold_of_groups(
    items: &[Item],
    classes: &ClassList,
    folds: usize,
    seed: u64,
) -> Result<Vec<usize>, ErrorKind> {
    let groups = groups(items, &[]);
    let fold_of = folds_of(&groups, items, classes, folds, seed)?;
    let mut of_items = vec![0; items.len()];
    for (group, fold) in groups.iter().zip(fold_of) {
        group.iter().for_each(|&idx| of_items[idx] = fold);
    }
    Ok(of_items)
}

/// `folds` splits; each group is in the test split of exactly one of them. A share `validation` of all items, whole groups,
/// validates; 0 is none. `together` as in [`split_by_group`](crate::split_by_group).
///
/// # Errors
/// When there are fewer than 2 folds, fewer groups than folds, or `validation` leaves nothing to train on.
pub fn k_folds(
    items: &[Item],
    classes: &ClassList,
    folds: usize,
    validation: f64,
    seed: u64,
    together: &[Vec<usize>],
) -> Result<Vec<Fold>, ErrorKind> {
    let groups = groups(items, together);
    let fold_of = folds_of(&groups, items, classes, folds, seed)?;
    (0..folds)
        .map(|fold| {
            held_out(
                &groups,
                items,
                classes,
                &|group| fold_of[group] == fold,
                validation,
                seed,
            )
        })
        .zip(1..)
        .map(|(splits, number)| {
            Ok(Fold {
                name: number.to_string(),
                splits: splits?,
            })
        })
        .collect()
}

/// As many splits as there are groups; each tests on one group and is named by it.
///
/// # Errors
/// When there are fewer than 2 groups, or `validation` leaves nothing to train on.
pub fn leave_one_group_out(
    items: &[Item],
    classes: &ClassList,
    validation: f64,
    seed: u64,
    together: &[Vec<usize>],
) -> Result<Vec<Fold>, ErrorKind> {
    let groups = groups(items, together);
    check_folds(groups.len(), groups.len())?;
    let fold = |left_out: usize| {
        let splits = held_out(
            &groups,
            items,
            classes,
            &|group| group == left_out,
            validation,
            seed,
        )?;
        Ok(Fold {
            name: items[groups[left_out][0]].group_key(),
            splits,
        })
    };
    (0..groups.len()).map(fold).collect()
}

/// Nested folds: each group is in the test split of one outer fold, and each other group validates in one of its `inner` folds.
/// They are named `1-1`, `1-2`, …, outer first: settings are chosen by the inner ones, and the outer one says what that gives.
///
/// # Errors
/// When a number of folds is below 2, or there are fewer groups than folds, or than inner folds outside of an outer one.
pub fn nested_folds(
    items: &[Item],
    classes: &ClassList,
    outer: usize,
    inner: usize,
    seed: u64,
    together: &[Vec<usize>],
) -> Result<Vec<Fold>, ErrorKind> {
    let groups = groups(items, together);
    let outer_of = folds_of(&groups, items, classes, outer, seed)?;
    let mut found = Vec::with_capacity(outer * inner);
    for test in 0..outer {
        let rest: Vec<Vec<usize>> = groups
            .iter()
            .zip(&outer_of)
            .filter(|(_, fold)| **fold != test)
            .map(|(group, _)| group.clone())
            .collect();
        let inner_of = folds_of(&rest, items, classes, inner, seed)?;
        for validation in 0..inner {
            let mut splits = vec![Split::Test; items.len()];
            for (group, fold) in rest.iter().zip(&inner_of) {
                let split = if *fold == validation {
                    Split::Validation
                } else {
                    Split::Train
                };
                group.iter().for_each(|&idx| splits[idx] = split);
            }
            let name = format!("{}-{}", test + 1, validation + 1);
            found.push(Fold { name, splits });
        }
    }
    Ok(found)
}

fn check_folds(num_groups: usize, folds: usize) -> Result<(), ErrorKind> {
    if folds < 2 {
        return Err(ErrorKind::Split(format!(
            "{folds} folds leave nothing to train on: ask for at least 2"
        )));
    }
    if num_groups < folds {
        return Err(ErrorKind::Split(format!(
            "{num_groups} groups cannot fill {folds} folds, because a group is never divided: group by something finer, or \
             ask for fewer folds"
        )));
    }
    Ok(())
}

/// The fold of each group.
fn folds_of(
    groups: &[Vec<usize>],
    items: &[Item],
    classes: &ClassList,
    folds: usize,
    seed: u64,
) -> Result<Vec<usize>, ErrorKind> {
    check_folds(groups.len(), folds)?;
    let shares = vec![1.0 / folds as f64; folds];
    Ok(assign(
        groups,
        &|idx| items[idx].label,
        classes.len(),
        &shares,
        seed,
    ))
}

/// The split of each item: test where `is_test`, the rest divided between training and a share `validation` of all.
fn held_out(
    groups: &[Vec<usize>],
    items: &[Item],
    classes: &ClassList,
    is_test: &dyn Fn(usize) -> bool,
    validation: f64,
    seed: u64,
) -> Result<Vec<Split>, ErrorKind> {
    let mut splits = vec![Split::Test; items.len()];
    let rest: Vec<Vec<usize>> = (0..groups.len())
        .filter(|&group| !is_test(group))
        .map(|group| groups[group].clone())
        .collect();
    let num_rest: usize = rest.iter().map(Vec::len).sum();
    let share = validation * items.len() as f64 / num_rest.max(1) as f64;
    if !(0.0..1.0).contains(&share) {
        return Err(ErrorKind::Split(format!(
            "validation = {validation} leaves nothing to train on beside a fold, or is below 0: expected a share such as 0.1"
        )));
    }
    let sides = if share == 0.0 {
        vec![0; rest.len()]
    } else {
        if rest.len() < 2 {
            return Err(ErrorKind::Split(
                "beside a fold there is one group, which cannot both train and validate: set validation to 0".into(),
            ));
        }
        assign(
            &rest,
            &|idx| items[idx].label,
            classes.len(),
            &[1.0 - share, share],
            seed,
        )
    };
    for (group, side) in rest.iter().zip(sides) {
        let split = [Split::Train, Split::Validation][side];
        group.iter().for_each(|&idx| splits[idx] = split);
    }
    Ok(splits)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn items(groups_and_labels: &[(usize, usize)]) -> (Vec<Item>, ClassList) {
        let item = |(idx, &(group, label)): (usize, &(usize, usize))| Item {
            id: idx.to_string(),
            source: format!("{idx}.mp4").into(),
            span: None,
            label,
            group: Some(format!("g{group}")),
            split: None,
            metadata: BTreeMap::new(),
        };
        let classes = (0..4).map(|idx| format!("c{idx}")).collect();
        (
            groups_and_labels.iter().enumerate().map(item).collect(),
            ClassList::new(classes).expect("four"),
        )
    }

    /// No group is on two sides of a fold.
    fn check_groups(items: &[Item], fold: &Fold) -> Result<(), TestCaseError> {
        let mut side: BTreeMap<String, Split> = BTreeMap::new();
        for (item, &split) in items.iter().zip(&fold.splits) {
            prop_assert_eq!(
                *side.entry(item.group_key()).or_insert(split),
                split,
                "fold {}",
                fold.name
            );
        }
        Ok(())
    }

    fn tested(folds: &[Fold], idx: usize) -> usize {
        folds
            .iter()
            .filter(|fold| fold.splits[idx] == Split::Test)
            .count()
    }

    proptest! {
        #[test]
        fn each_group_is_tested_once_and_never_on_two_sides(
            rows in prop::collection::vec((0usize..12, 0usize..4), 20..120),
            folds in 2usize..5,
            validation in prop::sample::select(vec![0.0, 0.1, 0.2]),
            seed: u64,
        ) {
            let (items, classes) = items(&rows);
            let num_groups = rows.iter().map(|(group, _)| group).collect::<BTreeSet<_>>().len();
            // One group more than folds, so that every fold leaves two.
            prop_assume!(num_groups > folds.max(2));
            let found = k_folds(&items, &classes, folds, validation, seed, &[]);
            // A fold that holds most items leaves no room for the share.
            prop_assume!(found.is_ok());
            let found = found.expect("checked");
            prop_assert_eq!(found.len(), folds);
            for fold in &found {
                check_groups(&items, fold)?;
                prop_assert!(fold.splits.contains(&Split::Test));
                prop_assert!(fold.splits.contains(&Split::Train));
                prop_assert_eq!(fold.splits.contains(&Split::Validation), validation > 0.0);
            }
            prop_assert!((0..items.len()).all(|idx| tested(&found, idx) == 1));
        }

        #[test]
        fn one_group_is_left_out_at_a_time(
            rows in prop::collection::vec((0usize..8, 0usize..4), 10..60),
            seed: u64,
        ) {
            let (items, classes) = items(&rows);
            let names: BTreeSet<String> = items.iter().map(Item::group_key).collect();
            prop_assume!(names.len() >= 2);
            let found = leave_one_group_out(&items, &classes, 0.0, seed, &[]).expect("two groups");
            prop_assert_eq!(found.iter().map(|fold| fold.name.clone()).collect::<BTreeSet<_>>(), names);
            for fold in &found {
                for (item, split) in items.iter().zip(&fold.splits) {
                    prop_assert_eq!(*split == Split::Test, item.group_key() == fold.name);
                }
            }
        }

        #[test]
        fn nested_folds_test_once_outside_and_validate_once_inside(
            rows in prop::collection::vec((0usize..14, 0usize..4), 40..120),
            seed: u64,
        ) {
            let (items, classes) = items(&rows);
            let num_groups = rows.iter().map(|(group, _)| group).collect::<BTreeSet<_>>().len();
            prop_assume!(num_groups >= 12);
            let found = nested_folds(&items, &classes, 3, 2, seed, &[]);
            prop_assume!(found.is_ok());
            let found = found.expect("checked");
            prop_assert_eq!(found.len(), 6);
            for fold in &found {
                check_groups(&items, fold)?;
            }
            for idx in 0..items.len() {
                prop_assert_eq!(tested(&found, idx), 2, "once outside, in each of its two inner folds");
                for outer in found.chunks(2) {
                    let validated = outer.iter().filter(|fold| fold.splits[idx] == Split::Validation).count();
                    prop_assert_eq!(validated, usize::from(outer[0].splits[idx] != Split::Test));
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_divided_is_refused() {
        let (items, classes) = items(&[(0, 0), (1, 1), (0, 1)]);
        for (error, part) in [
            (k_folds(&items, &classes, 1, 0.0, 0, &[]), "at least 2"),
            (
                k_folds(&items, &classes, 3, 0.0, 0, &[]),
                "2 groups cannot fill 3 folds",
            ),
            (k_folds(&items, &classes, 2, 0.5, 0, &[]), "validation"),
            (k_folds(&items, &classes, 2, -0.1, 0, &[]), "below 0"),
            (
                leave_one_group_out(&items, &classes, 0.1, 0, &[]),
                "set validation to 0",
            ),
        ] {
            let error = error.expect_err(part).to_string();
            assert!(error.contains(part), "{error}\nlacks\n{part}");
        }
    }
}
