//! Groups that nobody named: columns that speak of a place or a device, numbered file names, recordings at the same time.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::{
    Dataset, Split, Survey,
    audit::{ColumnKind, Context, Finding, Severity, Topic, column_kind},
};

/// What could be the groups of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Where they come from, in words.
    pub from: String,
    /// The setting that takes them: `data.group` or `data.group_pattern`.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// The group of each item.
    pub groups: Vec<String>,
    /// Number of different groups.
    pub num_groups: usize,
    /// Items of the largest group.
    pub largest: usize,
}

/// File names that tell a group: the name in words, and a pattern whose parentheses capture it.
const PATTERNS: [(&str, &str); 3] = [
    // Roboflow's exports hold several changed copies of one picture.
    (
        "copies of one picture (`NAME.rf.HASH`)",
        r"([^/]+)\.rf\.[0-9a-f]{8,}\.[^./#]+$",
    ),
    (
        "numbered names",
        r"([^/]*?)[ _.(-]*[0-9]+\)?\.[^./#]+(?:#.*)?$",
    ),
    ("folders", r"([^/]+)/[^/]+$"),
];

/// Fewer groups than this cannot fill the splits in a way that says much.
const MIN_GROUPS: usize = 5;
/// A group with more than this share of the items leaves too little beside it.
const MAX_SHARE: f64 = 0.6;

/// What could be the groups, the coarsest first: the first one keeps most things apart.
pub fn discover_groups(dataset: &Dataset) -> Vec<Proposal> {
    let mut found: Vec<Proposal> = by_column(dataset)
        .into_iter()
        .chain(by_name(dataset))
        .collect();
    found.sort_by_key(|proposal| proposal.num_groups);
    found
}

fn by_column(dataset: &Dataset) -> Vec<Proposal> {
    let names: BTreeSet<&String> = dataset
        .items
        .iter()
        .flat_map(|item| item.metadata.keys())
        .collect();
    let proposal = |name: &String| {
        if matches!(column_kind(name), None | Some(ColumnKind::Date)) {
            return None;
        }
        let cell = |item: &crate::Item| {
            item.metadata
                .get(name)
                .filter(|cell| !cell.is_empty())
                .cloned()
        };
        let groups: Vec<String> = dataset.items.iter().map(cell).collect::<Option<_>>()?;
        usable(
            dataset,
            format!("column `{name}`"),
            "data.group",
            name.clone(),
            groups,
        )
    };
    names.into_iter().filter_map(proposal).collect()
}

fn by_name(dataset: &Dataset) -> Vec<Proposal> {
    let proposal = |(from, pattern): (&str, &str)| {
        let regex = Regex::new(pattern).expect("a pattern of this file is a regular expression");
        let group =
            |item: &crate::Item| Some(regex.captures(&item.id)?.get(1)?.as_str().to_owned());
        let groups: Vec<String> = dataset.items.iter().map(group).collect::<Option<_>>()?;
        usable(
            dataset,
            from.to_owned(),
            "data.group_pattern",
            pattern.to_owned(),
            groups,
        )
    };
    PATTERNS.into_iter().filter_map(proposal).collect()
}

/// A proposal whose groups gather items, are enough to fill splits, and are not the classes over again.
fn usable(
    dataset: &Dataset,
    from: String,
    key: &'static str,
    value: String,
    groups: Vec<String>,
) -> Option<Proposal> {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    groups
        .iter()
        .for_each(|group| *sizes.entry(group).or_default() += 1);
    let (num_groups, largest) = (sizes.len(), sizes.values().copied().max()?);
    let least = MIN_GROUPS.max(dataset.classes.len() + 1);
    let is_usable = num_groups >= least
        && num_groups < groups.len()
        && largest as f64 <= MAX_SHARE * groups.len() as f64;
    is_usable.then_some(Proposal {
        from,
        key,
        value,
        groups,
        num_groups,
        largest,
    })
}

/// Sets of items that must stay together because their sources were recorded by clocks that count from 1970 and overlap: the
/// same scene, possibly the same frames. Only sources that the same device recorded are compared, where a column names it.
pub fn overlapping_sources(dataset: &Dataset, survey: &Survey) -> Vec<Vec<usize>> {
    let mut by_clock: BTreeMap<String, BTreeMap<&std::path::Path, Vec<usize>>> = BTreeMap::new();
    for (clock, windows) in crate::audit::windows::windows_by_clock(dataset, survey, None) {
        for window in windows {
            let source = dataset.items[window.item].source.as_path();
            by_clock
                .entry(clock.clone())
                .or_default()
                .entry(source)
                .or_default()
                .push(window.item);
        }
    }
    let mut sets = Vec::new();
    for sources in by_clock.into_values().filter(|sources| sources.len() > 1) {
        let mut spans: Vec<_> = sources
            .iter()
            .filter_map(|(source, items)| Some((survey.facts(source)?.timeline.span(), items)))
            .collect();
        spans.sort_by_key(|(span, _)| span.start());
        let mut open: Option<(marey_clip::Timestamp, Vec<usize>, usize)> = None;
        for (span, items) in spans {
            match &mut open {
                Some((end, set, num)) if span.start() < *end => {
                    *end = (*end).max(span.end());
                    set.extend(items);
                    *num += 1;
                }
                _ => {
                    sets.extend(
                        open.take()
                            .filter(|(_, _, num)| *num > 1)
                            .map(|(_, set, _)| set),
                    );
                    open = Some((span.end(), items.clone(), 1));
                }
            }
        }
        sets.extend(open.filter(|(_, _, num)| *num > 1).map(|(_, set, _)| set));
    }
    sets
}

/// Where nobody named the groups, what names of files say is in two splits. Numbered pictures are frames of one film, which
/// is a leak; numbered films may be anything, which is a warning.
pub(crate) fn shared_names(context: &Context<'_>) -> Vec<Finding> {
    let dataset = context.dataset;
    if dataset.items.iter().any(|item| item.group.is_some()) {
        return Vec::new();
    }
    let proposals = by_name(dataset);
    let Some(proposal) = proposals.iter().min_by_key(|proposal| proposal.num_groups) else {
        return Vec::new();
    };
    let is_picture = |item: &crate::Item| {
        let extension = item
            .source
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        matches!(extension.as_str(), "png" | "jpg" | "jpeg" | "bmp" | "webp")
    };
    let severity = match dataset.items.iter().all(is_picture) {
        true => Severity::Leak,
        false => Severity::Warning,
    };
    let mut findings = Vec::new();
    for [a, b] in [
        [Split::Train, Split::Validation],
        [Split::Train, Split::Test],
        [Split::Validation, Split::Test],
    ] {
        let of = |split| -> BTreeSet<&str> {
            dataset
                .indices(split)
                .into_iter()
                .map(|idx| proposal.groups[idx].as_str())
                .collect()
        };
        let (first, second) = (of(a), of(b));
        let both: BTreeSet<&str> = first.intersection(&second).copied().collect();
        if both.is_empty() {
            continue;
        }
        let items: Vec<usize> = dataset
            .indices(b)
            .into_iter()
            .filter(|&idx| both.contains(proposal.groups[idx].as_str()))
            .collect();
        let sentence = format!(
            "by their {} {} of {} {b} groups, with {} of {} items, are in {a} as well, such as `{}`",
            proposal.from,
            both.len(),
            second.len(),
            items.len(),
            dataset.indices(b).len(),
            both.iter().next().unwrap_or(&"")
        );
        findings.push(
            Finding::new(severity, Topic::NamePattern, sentence)
                .about(dataset, items)
                .mended_by(format!(
                    "marey data split {} --group-pattern '{}' --output split.csv",
                    context.data, proposal.value
                )),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use marey_clip::ClassList;

    use super::*;
    use crate::Item;

    fn dataset(ids: Vec<String>) -> Dataset {
        let item = |(idx, id): (usize, String)| Item {
            source: id.clone().into(),
            id,
            span: None,
            label: idx % 2,
            group: None,
            split: None,
            metadata: BTreeMap::new(),
        };
        Dataset {
            classes: ClassList::new(vec!["a".into(), "b".into()]).expect("two"),
            items: ids.into_iter().enumerate().map(item).collect(),
            notes: vec![],
            accepted_leak: None,
        }
    }

    fn names_of(ids: impl IntoIterator<Item = String>) -> Option<Proposal> {
        discover_groups(&dataset(ids.into_iter().collect()))
            .into_iter()
            .next()
    }

    #[test]
    fn numbered_names_are_grouped_by_what_is_before_the_number() {
        for (id, group) in [
            ("train/test12_7.jpg", "test12"),
            ("acc1 (7).jpg", "acc1"),
            ("Abuse/Abuse001_x264_7.png", "Abuse001_x264"),
            ("V_123_frame_0007.jpg", "V_123_frame"),
            ("red_circle_7.mp4", "red_circle"),
        ] {
            let others = (0..8).flat_map(|clip| (0..3).map(move |n| format!("clip{clip}_{n}.mp4")));
            let found = names_of(others.chain([id.to_owned()])).expect("groups");
            assert_eq!(found.groups.last().map(String::as_str), Some(group), "{id}");
        }
    }

    #[test]
    fn copies_of_one_picture_are_grouped() {
        let ids =
            (0..12).map(|i| format!("images/img{}_jpg.rf.{i:032x}.jpg", (b'a' + i / 2) as char));
        let found = names_of(ids).expect("groups");
        assert_eq!((found.num_groups, found.largest), (6, 2));
    }

    #[test]
    fn classes_and_single_files_are_no_groups() {
        // All clips of a class are numbered in one row.
        assert_eq!(
            names_of((0..20).map(|i| format!("{}_{i}.mp4", ["walk", "run"][i % 2]))),
            None
        );
        // Every name is its own.
        assert_eq!(
            names_of((0..20u8).map(|i| format!("{}.mp4", (b'a' + i) as char))),
            None
        );
    }
}
