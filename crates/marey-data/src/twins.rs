//! Near-duplicates: items that show the same footage, whatever it was coded with, cropped, mirrored or cut to.
//!
//! Each stretch of footage becomes small grey pictures at a fixed rate ([`footage`]), and what changes between them
//! ([`motion`]) is compared at every plausible lag, through windows for crops and mirrors ([`view`], [`search`]).
//! A change that is seen in both, at the same place and instant, is what makes a twin: clips of one fixed camera have
//! their background in common and are no twins for it. So where nothing moves there is no evidence either way, and such
//! items are listed as still. The same holds where one thing moves over a plain ground for less than three seconds.
//!
//! What it does not find: a copy that is faster or slower, turned, laid into a larger picture, or reversed; two crops of
//! one clip of which neither holds the other.

mod footage;

mod motion;

mod view;

mod activity;

mod search;

mod refine;

mod stretch;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use marey_clip::{Span, Timestamp};
use marey_media::OpenOptions;
use serde::Serialize;

use crate::{Dataset, Error, Item, Skipped, leak::same_content, split::joined};
use refine::Match;
use search::{PLAIN_EVIDENCE, Print};
use stretch::Content;

/// Bins, eighths of a second, in which something must move.
const EVIDENCE: f32 = 4.0;

/// Bins in which something must move for an item not to be listed as still: one and a half seconds in all.
const MOVES: f32 = 12.0;

/// What little evidence, in bins, and each level of difference add to the similarity that is needed.
///
/// Coders leave a difference of up to 2.5 levels. Other footage of the same camera lies 4 levels or more away once
/// something in it moves differently, and is no more alike than 0.8; from 10 levels on trains reach 0.9.
const FOR_EVIDENCE: f32 = 1.3;
const FOR_LEVELS: f32 = 0.11;
const FREE_LEVELS: f32 = 1.5;
/// A similarity that is enough up to [`MOST_LEVELS`]: a copy whose light saturates differs by 6.
const ENOUGH: f32 = 0.9;
const MOST_LEVELS: f32 = 8.0;

/// How twins are looked for.
#[derive(Clone, Debug, PartialEq)]
pub struct TwinConfig {
    /// How sources are opened.
    pub open: OpenOptions,
    /// Time before and after an item's span that belongs to it (default 0): for items that name an instant, half of
    /// the window that the model sees.
    pub margin: Duration,
    /// Smallest similarity of a twin, 0 to 1 (default 0.45); more is asked where little moves and where pictures differ.
    pub similarity: f32,
}

impl Default for TwinConfig {
    fn default() -> Self {
        Self {
            open: OpenOptions::default(),
            margin: Duration::ZERO,
            similarity: 0.45,
        }
    }
}

/// What makes two items twins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TwinKind {
    /// Their files are different ones with the same bytes, and their spans overlap.
    IdenticalBytes,
    /// They are of one file, and their spans overlap.
    SameSource,
    /// The same footage, coded or cut differently.
    SameFootage,
    /// One shows the other mirrored.
    Mirrored,
    /// One shows a part of the other's picture.
    Cropped,
    /// One shows a part of the other's picture, mirrored.
    CroppedAndMirrored,
}

impl TwinKind {
    /// The kind in words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IdenticalBytes => "identical bytes",
            Self::SameSource => "same source",
            Self::SameFootage => "same footage",
            Self::Mirrored => "mirrored",
            Self::Cropped => "cropped",
            Self::CroppedAndMirrored => "cropped and mirrored",
        }
    }
}

/// Two items that show the same footage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Twin {
    /// Positions in [`Dataset::items`], the smaller one first.
    pub items: [usize; 2],
    /// What makes them twins.
    pub kind: TwinKind,
    /// Correlation of what changes in the two, 0 to 1; 1 for identical bytes and one source.
    pub similarity: f32,
    /// What is added to a time on the first one's clock to get the time of the same moment on the second one's, in
    /// seconds. Exact to an eighth of a second for footage that was compared.
    pub offset_sec: f64,
    /// How long both show the same, in seconds.
    pub overlap_sec: f64,
}

/// What was found, and what could not be looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TwinReport {
    /// All twins, by their items.
    pub twins: Vec<Twin>,
    /// Items in which something moves for less than a second and a half in all: too little to tell one moment of a fixed
    /// camera from another. Their twins are found where the bytes or the file are the same, and else by chance only.
    pub still: Vec<usize>,
    /// Items that could not be read, and why. They were compared with nothing.
    pub skipped: Vec<Skipped>,
}

/// What a search is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwinStage {
    /// Reading files.
    Reading,
    /// Comparing stretches of footage.
    Comparing,
}

/// How far a search is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwinProgress {
    /// What it does.
    pub stage: TwinStage,
    /// Files, or stretches, that are done.
    pub done: usize,
    /// Files, or stretches, in all.
    pub total: usize,
}

/// Finds all pairs of items that show the same footage, on all processors. `progress` is called from any of them.
///
/// The result does not depend on the number of processors. Memory is 24 kB for each second of footage, the frames that
/// are being decoded, and a minute's comparison for each processor. Time grows with the square of the number of clips
/// once the comparison takes longer than decoding.
///
/// # Errors
/// When a setting is out of range, or a file that could be opened cannot be read to its end for its hash. Items that
/// cannot be decoded are listed in the report.
pub fn find_twins(
    dataset: &Dataset,
    config: &TwinConfig,
    progress: &(dyn Fn(TwinProgress) + Sync),
) -> Result<TwinReport, Error> {
    if !(0.0..=1.0).contains(&config.similarity) {
        let problem = format!("{} is not between 0 and 1", config.similarity);
        return Err(Error::config(Path::new("twins"), "similarity", problem));
    }
    // What is not there is told by the reader, with the item.
    let sources = dataset.items.iter().map(|item| item.source.as_path());
    let distinct: BTreeSet<&Path> = sources
        .filter(|path| marey_media::source_exists(path))
        .collect();
    let total = distinct.len();
    let identical = same_content(distinct.into_iter(), |_| true)?;
    let counter = |stage: TwinStage, total: usize| {
        let done = AtomicUsize::new(0);
        move || {
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            progress(TwinProgress { stage, done, total });
        }
    };
    let done = counter(TwinStage::Reading, total);
    let (contents, skipped) = stretch::read(dataset, &identical, config, &done);
    let mut of_content = Vec::new();
    let mut prints = Vec::new();
    let mut items = Vec::new();
    for (
        content,
        Content {
            items: its,
            prints: parts,
        },
    ) in contents.into_iter().enumerate()
    {
        of_content.extend(parts.iter().map(|_| content));
        prints.extend(parts);
        items.push(its);
    }
    let done = counter(TwinStage::Comparing, prints.len());
    let is_same = |a: usize, b: usize| of_content[a] == of_content[b];
    let matches = search::matches(&prints, &is_same, &done);
    let mut twins = Twins::default();
    for items in &items {
        twins.add_overlaps(dataset, items);
    }
    for found in matches.iter().filter(|found| is_twin(found, config)) {
        let [a, b] = found.pair.map(|print| &items[of_content[print]]);
        twins.add_match(&prints, found, a, b);
    }
    Ok(TwinReport {
        twins: twins.best.into_values().collect(),
        still: still(&prints, &of_content, &items),
        skipped,
    })
}

/// The group of each of `num_items` items: the position of the first item that it is a twin of, directly or by way of
/// others; its own position where it has no twin.
///
/// # Panics
/// If a twin's item is not below `num_items`.
pub fn twin_groups(num_items: usize, twins: &[Twin]) -> Vec<usize> {
    joined(num_items, twins.iter().map(|twin| twin.items))
}

/// Makes twins share a group, for a split that keeps them together. Items that shared a group or a source before still
/// do; a group is named as its first item's group was, or by that item's name where it had none.
///
/// # Panics
/// If a twin's item is not among the items.
pub fn group_twins(items: &mut [Item], twins: &[Twin]) {
    let mut pairs: Vec<[usize; 2]> = twins.iter().map(|twin| twin.items).collect();
    let mut of_group: HashMap<&str, usize> = HashMap::new();
    let mut of_source: HashMap<&Path, usize> = HashMap::new();
    for (idx, item) in items.iter().enumerate() {
        if let Some(group) = &item.group {
            pairs.push([*of_group.entry(group).or_insert(idx), idx]);
        }
        pairs.push([*of_source.entry(&item.source).or_insert(idx), idx]);
    }
    let firsts = joined(items.len(), pairs.into_iter());
    let name = |first: usize| {
        items[first]
            .group
            .clone()
            .unwrap_or_else(|| items[first].id.clone())
    };
    let names: Vec<String> = firsts.into_iter().map(name).collect();
    for (item, name) in items.iter_mut().zip(names) {
        item.group = Some(name);
    }
}

fn is_twin(found: &Match, config: &TwinConfig) -> bool {
    let levels = (found.difference - FREE_LEVELS).max(0.0);
    let needed = config.similarity + FOR_EVIDENCE / found.evidence.max(1e-3) + FOR_LEVELS * levels;
    let enough = ENOUGH.max(config.similarity);
    if found.is_plain {
        // Nothing but the motion speaks, so it must agree whole, for long, and without a crop to make it fit.
        return !found.window.is_crop()
            && found.evidence >= PLAIN_EVIDENCE
            && found.difference <= MOST_LEVELS
            && found.correlation >= enough;
    }
    found.evidence >= EVIDENCE
        && found.difference <= MOST_LEVELS
        && found.correlation >= needed.min(enough)
}

/// Items none of whose footage moves for long enough.
fn still(prints: &[Print], of_content: &[usize], items: &[Vec<(usize, Span)>]) -> Vec<usize> {
    let mut by_content: HashMap<usize, Vec<&Print>> = HashMap::new();
    for (print, &content) in prints.iter().zip(of_content) {
        by_content.entry(content).or_default().push(print);
    }
    let mut still = Vec::new();
    for (content, items) in items.iter().enumerate() {
        let prints = by_content.remove(&content).unwrap_or_default();
        let moves = |span: Span| {
            let under = prints
                .iter()
                .filter(|print| print.footage.span().intersection(span).is_some());
            under.map(|print| print.evidence).fold(0.0, f32::max) >= MOVES
        };
        still.extend(
            items
                .iter()
                .filter(|(_, span)| !moves(*span))
                .map(|(idx, _)| *idx),
        );
    }
    still.sort_unstable();
    still
}

/// The best reason for each pair of items.
#[derive(Default)]
struct Twins {
    best: BTreeMap<[usize; 2], Twin>,
}

impl Twins {
    fn add(&mut self, twin: Twin) {
        let [a, b] = twin.items;
        let twin = if a < b {
            twin
        } else {
            let (items, offset_sec) = ([b, a], -twin.offset_sec);
            Twin {
                items,
                offset_sec,
                ..twin
            }
        };
        let best = self.best.entry(twin.items).or_insert(twin);
        if twin.similarity > best.similarity {
            *best = twin;
        }
    }

    /// Items of one content whose spans overlap.
    fn add_overlaps(&mut self, dataset: &Dataset, items: &[(usize, Span)]) {
        let mut by_start: Vec<&(usize, Span)> = items.iter().collect();
        by_start.sort_by_key(|(idx, span)| (span.start(), *idx));
        for (position, (a, span_a)) in by_start.iter().enumerate() {
            let later = by_start[position + 1..].iter();
            for (b, span_b) in later.take_while(|(_, span)| span.start() < span_a.end()) {
                let Some(both) = span_a.intersection(*span_b) else {
                    continue;
                };
                let is_one_file = dataset.items[*a].source == dataset.items[*b].source;
                self.add(Twin {
                    items: [*a, *b],
                    kind: if is_one_file {
                        TwinKind::SameSource
                    } else {
                        TwinKind::IdenticalBytes
                    },
                    similarity: 1.0,
                    offset_sec: 0.0,
                    overlap_sec: both.duration().as_secs_f64(),
                });
            }
        }
    }

    /// Items of two contents whose spans overlap once the lag is taken away.
    fn add_match(
        &mut self,
        prints: &[Print],
        found: &Match,
        items_a: &[(usize, Span)],
        items_b: &[(usize, Span)],
    ) {
        let [first, second] = found.pair.map(|print| &prints[print].footage);
        let offset = second.start.as_nanos() - first.start.as_nanos()
            + found.lag as i64 * footage::BIN_NANOS;
        let on_first = |span: Span| {
            let at = |at: Timestamp| Timestamp::from_nanos(at.as_nanos() - offset);
            Span::new(at(span.start()), at(span.end()))
                .expect("a shifted span is as long as before")
        };
        let Some(compared) = first.span().intersection(on_first(second.span())) else {
            return;
        };
        let kind = match (found.window.is_crop(), found.window.mirrored) {
            (false, false) => TwinKind::SameFootage,
            (false, true) => TwinKind::Mirrored,
            (true, false) => TwinKind::Cropped,
            (true, true) => TwinKind::CroppedAndMirrored,
        };
        for (a, span_a) in items_a {
            let Some(part) = span_a.intersection(compared) else {
                continue;
            };
            for (b, span_b) in items_b {
                if let Some(both) = on_first(*span_b).intersection(part) {
                    self.add(Twin {
                        items: [*a, *b],
                        kind,
                        similarity: found.correlation.clamp(0.0, 1.0),
                        offset_sec: offset as f64 / 1e9,
                        overlap_sec: both.duration().as_secs_f64(),
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twin(a: usize, b: usize, similarity: f32) -> Twin {
        Twin {
            items: [a, b],
            kind: TwinKind::SameFootage,
            similarity,
            offset_sec: 1.5,
            overlap_sec: 2.0,
        }
    }

    #[test]
    fn groups_hold_twins_of_twins() {
        let twins = [
            twin(5, 6, 0.9),
            twin(1, 4, 0.9),
            twin(4, 6, 0.9),
            twin(2, 3, 0.9),
        ];
        assert_eq!(twin_groups(8, &twins), [0, 1, 2, 2, 1, 1, 1, 7]);
        assert_eq!(twin_groups(2, &[]), [0, 1]);
    }

    #[test]
    fn twins_come_into_one_group_with_all_that_was_in_either() {
        let item = |(id, source, group): (&str, &str, Option<&str>)| Item {
            id: id.into(),
            source: source.into(),
            span: None,
            label: 0,
            group: group.map(Into::into),
            split: None,
            metadata: BTreeMap::new(),
        };
        let mut items = [
            ("a", "a.avi", Some("gate")),
            ("b", "b.avi", Some("yard")),
            ("c", "c.avi", Some("yard")),
            ("d", "d.avi", None),
            ("d at 5", "d.avi", None),
            ("e", "e.avi", None),
        ]
        .map(item);
        group_twins(&mut items, &[twin(0, 2, 0.9)]);
        let groups = items.map(|item| item.group.expect("every item has a group"));
        assert_eq!(groups, ["gate", "gate", "gate", "d", "d", "e"]);
    }

    #[test]
    fn the_best_reason_is_kept_and_the_smaller_item_is_first() {
        let mut twins = Twins::default();
        twins.add(twin(3, 1, 0.7));
        twins.add(twin(1, 3, 0.9));
        twins.add(twin(1, 3, 0.8));
        let kept: Vec<Twin> = twins.best.into_values().collect();
        assert_eq!(kept, [twin(1, 3, 0.9)]);
        let mut twins = Twins::default();
        twins.add(twin(3, 1, 0.7));
        let turned = twins.best[&[1, 3]];
        assert_eq!((turned.items, turned.offset_sec), ([1, 3], -1.5));
    }
}
