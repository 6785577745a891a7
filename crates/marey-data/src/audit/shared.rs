//! What splits share: groups, sources, bytes, and whatever a column calls a video, a camera, an animal or a place.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{
    Dataset, Error, Leak, LeakKind, Split,
    audit::{
        Context,
        finding::{Finding, Severity, Topic, first_of},
    },
    check_leaks, identical_items,
    split::BLOCK_COLUMN,
};

/// Groups, sources and bytes that two splits share: what must never pass unseen.
///
/// A source that is divided by time (every item of it names its block, and no block is in two splits) is a warning: whether
/// the windows keep apart is for the check of windows to say.
pub(crate) fn leaks(context: &Context<'_>) -> Result<Vec<Finding>, Error> {
    let dataset = context.dataset;
    let mut by_kind: BTreeMap<(u8, [Split; 2]), Vec<Leak>> = BTreeMap::new();
    for leak in check_leaks(dataset)? {
        let kind = match &leak.kind {
            LeakKind::Group(_) => 0,
            LeakKind::Source(path) if !is_divided_by_time(dataset, path) => 1,
            LeakKind::Source(_) => 2,
            LeakKind::Content(..) => 3,
        };
        by_kind.entry((kind, leak.splits)).or_default().push(leak);
    }
    let finding = |((kind, splits), leaks): ((u8, [Split; 2]), Vec<Leak>)| {
        let (severity, topic, what) = match kind {
            0 => (Severity::Leak, Topic::SharedGroup, "groups"),
            1 => (Severity::Leak, Topic::SharedSource, "sources"),
            2 => (Severity::Warning, Topic::SharedSource, "sources"),
            _ => (Severity::Leak, Topic::Duplicate, "pairs of files"),
        };
        let mut sentence = leaks[0].to_string();
        if leaks.len() > 1 {
            sentence += &format!(", and {} more {what} are shared", leaks.len() - 1);
        }
        let mend = if kind == 2 {
            sentence += ": they are divided by time, so a figure speaks of other times of the same recordings, not of others";
            format!(
                "marey data split {} --by group --output split.csv",
                context.data
            )
        } else {
            format!(
                "marey data split {}{} --output split.csv",
                context.data,
                context.group_option()
            )
        };
        let items = held_out_items(dataset, splits[1], &leaks);
        Finding::new(severity, topic, sentence)
            .about(dataset, items)
            .mended_by(mend)
    };
    Ok(by_kind.into_iter().map(finding).collect())
}

fn is_divided_by_time(dataset: &Dataset, source: &Path) -> bool {
    let mut split_of: BTreeMap<&str, Split> = BTreeMap::new();
    let mut items = dataset.items.iter().filter(|item| item.source == source);
    items.all(|item| {
        let block = item
            .metadata
            .get(BLOCK_COLUMN)
            .filter(|block| !block.is_empty());
        match (block, item.split) {
            (Some(block), Some(split)) => *split_of.entry(block).or_insert(split) == split,
            (_, None) => true,
            (None, Some(_)) => false,
        }
    })
}

/// The items of `split` that have a part in one of `leaks`.
fn held_out_items(dataset: &Dataset, split: Split, leaks: &[Leak]) -> Vec<usize> {
    let mut groups: BTreeSet<&str> = BTreeSet::new();
    let mut sources: BTreeSet<&Path> = BTreeSet::new();
    for leak in leaks {
        match &leak.kind {
            LeakKind::Group(group) => drop(groups.insert(group)),
            LeakKind::Source(path) => drop(sources.insert(path)),
            LeakKind::Content(a, b) => sources.extend([a.as_path(), b.as_path()]),
        }
    }
    let mut indices = dataset.indices(split);
    indices.retain(|&idx| {
        let item = &dataset.items[idx];
        let in_group = item
            .group
            .as_deref()
            .is_some_and(|group| groups.contains(group));
        in_group || sources.contains(item.source.as_path())
    });
    indices
}

/// What a column's name says that its values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    /// A video, a recording, a session.
    Footage,
    /// A camera or another device.
    Device,
    /// An animal or a person.
    Subject,
    /// A place.
    Place,
    /// A day or a time of the day.
    Date,
}

/// Words of column names. A name is cut at everything that is no letter.
const COLUMN_WORDS: [(ColumnKind, &[&str]); 5] = [
    (
        ColumnKind::Footage,
        &["video", "recording", "footage", "session", "videoid"],
    ),
    (
        ColumnKind::Device,
        &[
            "camera", "cam", "cameraid", "device", "sensor", "mac", "channel",
        ],
    ),
    (
        ColumnKind::Subject,
        &[
            "animal",
            "cow",
            "subject",
            "person",
            "patient",
            "participant",
            "individual",
        ],
    ),
    (
        ColumnKind::Place,
        &[
            "location", "place", "site", "room", "pen", "barn", "farm", "scene", "street",
        ],
    ),
    (ColumnKind::Date, &["date", "day", "hour", "time"]),
];

/// What the name of a column says, if anything: `camera_id`, `Location`, `source video`.
pub(crate) fn column_kind(name: &str) -> Option<ColumnKind> {
    let name = name.to_ascii_lowercase();
    let words: Vec<&str> = name
        .split(|letter: char| !letter.is_ascii_alphabetic())
        .collect();
    COLUMN_WORDS
        .into_iter()
        .find(|(_, known)| words.iter().any(|word| known.contains(word)))
        .map(|(kind, _)| kind)
}

/// Below this many values a column cannot divide data into training and held-out items in a way that says much.
const FEW_VALUES: usize = 3;

/// Columns of metadata that name a video, device, subject or place which two splits share.
///
/// Where the data names its groups, the person has chosen what to keep apart, and such a column is a warning. Where it does
/// not, a column with at least three values is a leak: it could have been the group.
pub(crate) fn columns(context: &Context<'_>) -> Vec<Finding> {
    let dataset = context.dataset;
    let has_groups = dataset.items.iter().any(|item| item.group.is_some());
    let names: BTreeSet<&String> = dataset
        .items
        .iter()
        .flat_map(|item| item.metadata.keys())
        .collect();
    let mut findings = Vec::new();
    for name in names {
        match column_kind(name) {
            None | Some(ColumnKind::Date) => {}
            Some(_) if is_group(dataset, name) => {}
            Some(kind) => findings.extend(column(context, name, kind, has_groups)),
        }
    }
    findings
}

/// Whether the values of a column are the groups, so that it says nothing new.
fn is_group(dataset: &Dataset, name: &str) -> bool {
    let mut items = dataset.items.iter();
    items.all(|item| item.group.is_some() && item.group.as_ref() == item.metadata.get(name))
}

fn column(context: &Context<'_>, name: &str, kind: ColumnKind, has_groups: bool) -> Vec<Finding> {
    let dataset = context.dataset;
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for item in &dataset.items {
        let value = item.metadata.get(name).filter(|value| !value.is_empty());
        if let (Some(value), Some(split)) = (value, item.split) {
            counts.entry(value).or_default()[split as usize] += 1;
        }
    }
    if counts.len() == 1 && kind != ColumnKind::Footage {
        let value = counts.keys().next().copied().unwrap_or_default();
        let sentence = format!(
            "every item has the same `{name}` (`{value}`): no figure on this data speaks of another one"
        );
        return vec![Finding::new(Severity::Note, Topic::SharedColumn, sentence)];
    }
    let severity = match has_groups || counts.len() < FEW_VALUES {
        true => Severity::Warning,
        false => Severity::Leak,
    };
    let mut findings = Vec::new();
    for [a, b] in [[0, 1], [0, 2], [1, 2]] {
        let both: Vec<&str> = counts
            .iter()
            .filter(|(_, counts)| counts[a] > 0 && counts[b] > 0)
            .map(|(value, _)| *value)
            .collect();
        if both.is_empty() {
            continue;
        }
        let (a, b) = (Split::ALL[a], Split::ALL[b]);
        let quoted: Vec<String> = both.iter().map(|value| format!("`{value}`")).collect();
        let items: Vec<usize> = dataset
            .indices(b)
            .into_iter()
            .filter(|&idx| {
                let value = dataset.items[idx].metadata.get(name);
                value.is_some_and(|value| both.contains(&value.as_str()))
            })
            .collect();
        let sentence = format!(
            "{} of {} values of the column `{name}` are in {a} and in {b}, with {} of {} {b} items: {}",
            both.len(),
            counts.len(),
            items.len(),
            dataset.indices(b).len(),
            first_of(&quoted, 5)
        );
        findings.push(
            Finding::new(severity, Topic::SharedColumn, sentence)
                .about(dataset, items)
                .mended_by(format!(
                    "marey data split {} --group {name} --output split.csv",
                    context.data
                )),
        );
    }
    findings
}

/// Files with the same bytes wherever they are, and what that does: in one held-out split they count twice, and under two
/// labels one of them is wrong.
pub(crate) fn duplicates(context: &Context<'_>) -> Result<Vec<Finding>, Error> {
    let dataset = context.dataset;
    let sets = identical_items(&dataset.items)?;
    if sets.is_empty() {
        return Ok(Vec::new());
    }
    let pairs: usize = sets.iter().map(|set| set.len() * (set.len() - 1) / 2).sum();
    let mut findings = vec![
        Finding::new(
            Severity::Note,
            Topic::Duplicate,
            format!("{pairs} pairs of items are different files with the same bytes"),
        )
        .about(dataset, sets.iter().flatten().copied()),
    ];
    let held_out = |set: &&Vec<usize>| {
        let twice = |split| {
            set.iter()
                .filter(|&&idx| dataset.items[idx].split == Some(split))
                .count()
                > 1
        };
        twice(Split::Validation) || twice(Split::Test)
    };
    let counted_twice: Vec<usize> = sets.iter().filter(held_out).flatten().copied().collect();
    if !counted_twice.is_empty() {
        findings.push(
            Finding::new(
                Severity::Warning,
                Topic::Duplicate,
                format!(
                    "{} items of a held-out split are copies of each other, so each such clip counts more than once in a figure",
                    counted_twice.len()
                ),
            )
            .about(dataset, counted_twice)
            .mended_by("remove all but one line of each set of copies from the manifest"),
        );
    }
    let mixed: Vec<usize> = sets
        .iter()
        .filter(|set| {
            set.iter()
                .any(|&idx| dataset.items[idx].label != dataset.items[set[0]].label)
        })
        .flatten()
        .copied()
        .collect();
    if !mixed.is_empty() {
        findings.push(
            Finding::new(
                Severity::Warning,
                Topic::Duplicate,
                format!("{} items have the same bytes as one with another label: one of the two labels is wrong", mixed.len()),
            )
            .about(dataset, mixed)
            .mended_by("look at these files and correct the label, or remove both lines"),
        );
    }
    Ok(findings)
}

/// Pairs of items that look alike, which somebody else found: between splits they leak like copies.
pub(crate) fn near_duplicates(context: &Context<'_>, pairs: &[[usize; 2]]) -> Vec<Finding> {
    let dataset = context.dataset;
    let mut by_splits: BTreeMap<Option<[Split; 2]>, Vec<[usize; 2]>> = BTreeMap::new();
    for &pair in pairs {
        let splits = match pair.map(|idx| dataset.items[idx].split) {
            [Some(a), Some(b)] if a != b => Some([a.min(b), a.max(b)]),
            _ => None,
        };
        by_splits.entry(splits).or_default().push(pair);
    }
    let finding = |(splits, pairs): (Option<[Split; 2]>, Vec<[usize; 2]>)| {
        let (severity, sentence) = match splits {
            Some([a, b]) => (
                Severity::Leak,
                format!(
                    "{} pairs of clips, one of {a} and one of {b}, look the same",
                    pairs.len()
                ),
            ),
            None => (
                Severity::Note,
                format!(
                    "{} pairs of clips within one split look the same",
                    pairs.len()
                ),
            ),
        };
        Finding::new(severity, Topic::NearDuplicate, sentence)
            .about(dataset, pairs.into_iter().flatten())
            .mended_by(format!(
                "marey data split {}{} --pairs PAIRS.csv --output split.csv",
                context.data,
                context.group_option()
            ))
    };
    by_splits.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_columns_are_understood() {
        for (name, kind) in [
            ("camera_id", Some(ColumnKind::Device)),
            ("CameraID", Some(ColumnKind::Device)),
            ("source video", Some(ColumnKind::Footage)),
            ("mac_address", Some(ColumnKind::Device)),
            ("pen_location", Some(ColumnKind::Place)),
            ("cow", Some(ColumnKind::Subject)),
            ("start_time", Some(ColumnKind::Date)),
            // Words inside of other words say nothing.
            ("campaign", None),
            ("playroom3", None),
            ("source_dataset", None),
        ] {
            assert_eq!(column_kind(name), kind, "{name}");
        }
    }
}
