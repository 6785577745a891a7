//! Whether metadata alone tells the label: the camera, the size, the rate, the length, the brightness, the date, the bytes.
//!
//! A small tree is grown on each column, and on all together, and judged on groups that it has not seen. The figure is the
//! mean over the classes of the share of items told: guessing gets one over the number of classes, whatever their sizes.

use std::{collections::BTreeSet, time::UNIX_EPOCH};

use marey_eval::{Bootstrap, Scored, classify};

use crate::{
    Dataset, Item,
    audit::{
        Context, Survey,
        finding::{Finding, Severity, Shortcut, Topic},
        frames::Looked,
        shared::{ColumnKind, column_kind},
        survey::Facts,
        tree::{Column, Tree},
    },
    fold_of_groups,
};

/// Fewer items than this say nothing.
const MIN_ITEMS: usize = 20;
/// Items beyond this add time and nothing to the answer.
const MAX_ITEMS: usize = 5000;
/// Folds of the cross-validation, where there are as many groups.
const FOLDS: usize = 5;
/// A finding needs an interval that lies this far above guessing, as a share of the way to 1.
const MARGIN: f64 = 0.1;

/// What each column of metadata tells, the best first, and all columns together.
pub(crate) fn shortcuts(dataset: &Dataset, survey: &Survey, looked: &Looked) -> Vec<Shortcut> {
    let step = dataset.items.len().div_ceil(MAX_ITEMS).max(1);
    let rows: Vec<usize> = (0..dataset.items.len()).step_by(step).collect();
    let columns = columns(dataset, &rows, survey, looked);
    let mut found: Vec<Shortcut> = columns
        .iter()
        .filter_map(|column| judge(dataset, &rows, &[column], &column.name))
        .collect();
    if columns.len() > 1 {
        let all: Vec<&Column> = columns.iter().collect();
        found.extend(judge(dataset, &rows, &all, "all columns together"));
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found
}

/// The columns that can tell something: more than one value.
fn columns(dataset: &Dataset, rows: &[usize], survey: &Survey, looked: &Looked) -> Vec<Column> {
    let items = || rows.iter().map(|&idx| &dataset.items[idx]);
    let fact = |of: &dyn Fn(&Item, &Facts) -> Option<f64>| -> Vec<Option<f64>> {
        items()
            .map(|item| of(item, survey.facts(&item.source)?))
            .collect()
    };
    let word = |of: &dyn Fn(&Facts) -> String| -> Vec<Option<String>> {
        items()
            .map(|item| survey.facts(&item.source).map(of))
            .collect()
    };
    let mut columns = vec![
        Column::of_names("frame size", word(&|facts| facts.size.to_string())),
        Column::of_names(
            "codec",
            word(&|facts| format!("{} in {}", facts.codec, facts.container)),
        ),
        Column::of_numbers(
            "frame rate",
            fact(&|_, facts| facts.mean_rate().map(|rate| (100.0 * rate).round())),
        ),
        Column::of_numbers(
            "duration",
            fact(&|item, facts| {
                let span = item.span.unwrap_or(facts.timeline.span());
                Some(span.duration().as_secs_f64())
            }),
        ),
        Column::of_numbers("file size", fact(&|_, facts| Some(facts.bytes as f64))),
        Column::of_numbers(
            "bytes a second",
            fact(&|_, facts| {
                Some(facts.bytes as f64 / facts.timeline.span().duration().as_secs_f64())
            }),
        ),
        // The day only: within a day, files of a copied folder have the order of the copying.
        Column::of_numbers(
            "file date",
            fact(&|_, facts| {
                let age = facts.modified?.duration_since(UNIX_EPOCH).ok()?;
                Some((age.as_secs() / 86_400) as f64)
            }),
        ),
        Column::of_numbers(
            "brightness",
            rows.iter()
                .map(|idx| looked.brightness.get(idx).copied())
                .collect(),
        ),
    ];
    let mut names: Vec<&String> = dataset
        .items
        .iter()
        .flat_map(|item| item.metadata.keys())
        .collect();
    names.sort();
    names.dedup();
    for name in names {
        // A video's name says nothing about the videos to come.
        if matches!(column_kind(name), None | Some(ColumnKind::Footage)) {
            continue;
        }
        let cells = || items().map(|item| item.metadata.get(name).filter(|cell| !cell.is_empty()));
        let numbers: Vec<Option<f64>> = cells().map(|cell| cell?.parse().ok()).collect();
        let all_numbers = cells()
            .zip(&numbers)
            .all(|(cell, number)| cell.is_some() == number.is_some());
        columns.push(match all_numbers {
            true => Column::of_numbers(name.clone(), numbers),
            false => Column::of_names(name.clone(), cells().map(|cell| cell.cloned()).collect()),
        });
    }
    let varies = |column: &Column| {
        let mut values = column.values.iter().flatten();
        values
            .next()
            .is_some_and(|first| values.any(|value| value != first))
    };
    columns.retain(varies);
    columns
}

/// How well a tree on these columns tells the label of groups that it has not seen.
fn judge(dataset: &Dataset, rows: &[usize], columns: &[&Column], name: &str) -> Option<Shortcut> {
    // Positions in `rows` that have a value.
    let known: Vec<usize> = (0..rows.len())
        .filter(|&row| columns.iter().any(|column| column.values[row].is_some()))
        .collect();
    if known.len() < MIN_ITEMS {
        return None;
    }
    let items: Vec<Item> = known
        .iter()
        .map(|&row| dataset.items[rows[row]].clone())
        .collect();
    let groups: BTreeSet<String> = items.iter().map(Item::group_key).collect();
    let folds = groups.len().min(FOLDS);
    if folds < 2 {
        return None;
    }
    let fold_of = fold_of_groups(&items, &dataset.classes, folds, 0).ok()?;
    let labels: Vec<usize> = rows.iter().map(|&idx| dataset.items[idx].label).collect();
    let mut scored = Vec::with_capacity(known.len());
    for fold in 0..folds {
        let side = |inside: bool| -> Vec<usize> {
            let rows = known
                .iter()
                .zip(&fold_of)
                .filter(|(_, of)| (**of == fold) == inside);
            rows.map(|(&row, _)| row).collect()
        };
        let (seen, unseen) = (side(false), side(true));
        if seen.is_empty() {
            continue;
        }
        let tree = Tree::grow(columns, &labels, &seen, dataset.classes.len());
        scored.extend(unseen.into_iter().map(|row| {
            let item = &dataset.items[rows[row]];
            Scored {
                item: item.id.clone(),
                group: Some(item.group_key()),
                target: item.label,
                scores: tree.scores(columns, row).to_vec(),
            }
        }));
    }
    let judged = classify(dataset.classes.names(), &[], &scored, &Bootstrap::default()).ok()?;
    let figure = judged.figure("mean_class_accuracy")?;
    let interval = figure.widest_interval();
    Some(Shortcut {
        column: name.to_owned(),
        items: scored.len(),
        score: figure.value,
        interval: [interval.low, interval.high],
        chance: figure.baseline.value,
    })
}

/// The columns that tell clearly more than guessing does, as one finding.
pub(crate) fn finding(context: &Context<'_>, shortcuts: &[Shortcut]) -> Option<Finding> {
    let is_clear = |shortcut: &&Shortcut| {
        shortcut.interval[0] > shortcut.chance + MARGIN * (1.0 - shortcut.chance)
    };
    let telling: Vec<String> = shortcuts
        .iter()
        .filter(is_clear)
        .map(|shortcut| {
            format!(
                "`{}` tells {:.1} % ({:.1}-{:.1} %)",
                shortcut.column,
                100.0 * shortcut.score,
                100.0 * shortcut.interval[0],
                100.0 * shortcut.interval[1]
            )
        })
        .collect();
    let best = shortcuts.iter().find(is_clear)?;
    let is_column = |item: &Item| item.metadata.contains_key(&best.column);
    let mend = if context.dataset.items.iter().any(is_column) {
        "collect every class under the same conditions, or group by the column"
    } else {
        "re-encode all files alike, and collect every class under the same conditions"
    };
    let sentence = format!(
        "metadata alone tells the label of groups not seen, without a look at the pictures: {}; guessing gets {:.1} %",
        telling.join(", "),
        100.0 * best.chance
    );
    Some(Finding::new(Severity::Warning, Topic::Shortcut, sentence).mended_by(mend))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use marey_clip::{ClassList, rng_for};
    use rand::Rng;

    use super::*;
    use crate::Split;

    /// Clips whose columns and labels know nothing of each other, in groups of four.
    fn random(seed: u64) -> Dataset {
        let rng = &mut rng_for(seed, 0, 0, 0);
        let item = |idx: usize| Item {
            id: idx.to_string(),
            source: format!("{idx}.mp4").into(),
            span: None,
            label: rng.random_range(0..3),
            group: Some(format!("g{}", idx / 4)),
            split: Some(Split::Train),
            metadata: BTreeMap::from([
                ("camera".to_owned(), format!("k{}", rng.random_range(0..6))),
                ("hour".to_owned(), rng.random_range(0..24).to_string()),
                (
                    "place".to_owned(),
                    ["in", "out"][rng.random_range(0..2)].to_owned(),
                ),
            ]),
        };
        Dataset {
            classes: ClassList::new(vec!["a".into(), "b".into(), "c".into()]).expect("three"),
            items: (0..120).map(item).collect(),
            notes: vec![],
            accepted_leak: None,
        }
    }

    #[test]
    fn random_labels_are_seldom_told_by_anything() {
        let mut alarms = 0;
        for seed in 0..100 {
            let dataset = random(seed);
            let found = shortcuts(&dataset, &Survey::default(), &Looked::default());
            assert_eq!(found.len(), 4, "three columns, and all together: {found:?}");
            let context = Context {
                dataset: &dataset,
                data: String::new(),
                group: None,
            };
            alarms += usize::from(finding(&context, &found).is_some());
        }
        assert!(
            alarms <= 5,
            "{alarms} alarms of 100 data sets in which there is nothing to find"
        );
    }

    #[test]
    fn a_camera_of_one_class_is_found() {
        let mut dataset = random(0);
        for item in &mut dataset.items {
            // Nine of ten clips of class 1 come from one camera.
            if item.label == 1 && item.id.ends_with(|last: char| last != '7') {
                item.metadata.insert("camera".to_owned(), "k9".to_owned());
            }
        }
        let found = shortcuts(&dataset, &Survey::default(), &Looked::default());
        let context = Context {
            dataset: &dataset,
            data: String::new(),
            group: None,
        };
        let sentence = finding(&context, &found).expect("a shortcut").sentence;
        assert!(sentence.contains("`camera` tells"), "{sentence}");
        assert!(
            !sentence.contains("`hour`") && !sentence.contains("`place`"),
            "{sentence}"
        );
    }
}
