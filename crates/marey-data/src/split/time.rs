//! Splits by blocks of time with a gap: for recordings that are too few to be kept whole.
//!
//! Each clock (a source, or sources recorded by one device at the same time) is cut into blocks of equally many items, and
//! blocks go to splits with the classes in proportion. Then every item is left out whose window comes nearer than the gap to
//! one of another split: of training before validation, of validation before test, so that what is judged stays whole. What
//! comes out says how good a model is at other times of the same recordings, which is less than on other recordings.

use marey_clip::{Sampling, Span, Timeline};

use super::{SplitShares, assign, sides};
use crate::{
    Dataset, ErrorKind, Split, Survey,
    audit::windows::{Sorted, windows_by_clock},
};

/// The column of a manifest that says in which block of time an item lies. The audit knows by it that a source is divided on
/// purpose.
pub const BLOCK_COLUMN: &str = "block";

/// What must lie between the windows of two splits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gap {
    /// This many frames of the source.
    Frames(usize),
    /// This time, in seconds.
    Secs(f64),
}

/// How time is divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeSplit {
    /// Share of the items in each split, and the seed.
    pub shares: SplitShares,
    /// Blocks that each clock is cut into, at least 2.
    pub blocks: usize,
    /// What must lie between the windows of two splits.
    pub gap: Gap,
}

/// The part of a clock that an item's clips show, and what must be free around it.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    item: usize,
    /// What is shown.
    span: Span,
    /// The same with the gap on either side.
    guard: Span,
}

/// Divides by time. Items that come too near to another split are removed from `dataset`; the others get their block as the
/// column [`BLOCK_COLUMN`] and as their group. Windows are those of `sampling`, or whole items where it is `None`.
///
/// Returns what a careful person should know about the result, a sentence each.
///
/// # Errors
/// When the settings cannot work, an item's times are not known, or a split would stay empty.
pub fn split_by_time(
    dataset: &mut Dataset,
    survey: &Survey,
    sampling: Option<&Sampling>,
    settings: &TimeSplit,
) -> Result<Vec<String>, ErrorKind> {
    let sides = sides(&settings.shares)?;
    if settings.blocks < 2 {
        return Err(ErrorKind::Split(
            "one block a recording leaves nothing to divide: ask for at least 2".into(),
        ));
    }
    // Every item gets the widest window that it could have in any split.
    dataset
        .items
        .iter_mut()
        .for_each(|item| item.split = Some(Split::Train));
    let clocks = clocks(dataset, survey, sampling, settings.gap)?;
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for (number, stretches) in clocks.iter().enumerate() {
        let source = dataset.items[stretches[0].item]
            .source
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for (block, part) in stretches
            .chunks(stretches.len().div_ceil(settings.blocks))
            .enumerate()
        {
            blocks.push(part.iter().map(|stretch| stretch.item).collect());
            names.push(format!("{}:{source}#{}", number + 1, block + 1));
        }
    }
    if blocks.len() < sides.len() {
        return Err(ErrorKind::Split(format!(
            "{} blocks cannot fill {} splits: ask for more blocks",
            blocks.len(),
            sides.len()
        )));
    }
    let shares: Vec<f64> = sides.iter().map(|&(_, share)| share).collect();
    let placed = assign(
        &blocks,
        &|idx| dataset.items[idx].label,
        dataset.classes.len(),
        &shares,
        settings.shares.seed,
    );
    for ((block, name), side) in blocks.iter().zip(names).zip(placed) {
        for &idx in block {
            let item = &mut dataset.items[idx];
            item.split = Some(sides[side].0);
            if let Some(group) = item.group.replace(name.clone()) {
                item.metadata
                    .entry("original_group".to_owned())
                    .or_insert(group);
            }
            item.metadata.insert(BLOCK_COLUMN.to_owned(), name.clone());
        }
    }
    for stretches in &clocks {
        leave_gaps(dataset, stretches);
    }
    let total = dataset.items.len();
    dataset.items.retain(|item| item.split.is_some());
    if let Some((split, _)) = sides
        .iter()
        .find(|(split, _)| dataset.indices(*split).is_empty())
    {
        return Err(ErrorKind::Split(format!(
            "the gap leaves no item to {split}: ask for fewer blocks or a smaller gap, or split by group"
        )));
    }
    let left_out = total - dataset.items.len();
    Ok(vec![format!(
        "{left_out} of {total} items were left out, because they come nearer than the gap to another split"
    )])
}

/// The stretches of each clock, in the order of their starts.
fn clocks(
    dataset: &Dataset,
    survey: &Survey,
    sampling: Option<&Sampling>,
    gap: Gap,
) -> Result<Vec<Vec<Stretch>>, ErrorKind> {
    let gap_nanos = match gap {
        Gap::Secs(secs) if secs.is_finite() && (0.0..1e9).contains(&secs) => (secs * 1e9) as i64,
        Gap::Secs(secs) => {
            return Err(ErrorKind::Split(format!(
                "a gap of {secs} s: expected 0 or more"
            )));
        }
        Gap::Frames(_) => 0,
    };
    let mut clocks = Vec::new();
    let mut known = 0;
    for windows in windows_by_clock(dataset, survey, sampling).into_values() {
        let mut stretches: Vec<Stretch> = Vec::with_capacity(windows.len());
        for window in windows {
            let source = &dataset.items[window.item].source;
            let guard = match (gap, survey.facts(source)) {
                (Gap::Frames(frames), Some(facts)) => {
                    frames_around(&facts.timeline, window.span, frames)
                }
                (Gap::Frames(_), None) => {
                    return Err(ErrorKind::Split(format!(
                        "the frames of {} are not known, so a gap in frames cannot be kept: give it in seconds",
                        source.display()
                    )));
                }
                (Gap::Secs(_), _) => around(window.span, gap_nanos),
            };
            stretches.push(Stretch {
                item: window.item,
                span: window.span,
                guard,
            });
        }
        known += stretches.len();
        stretches.sort_by_key(|stretch| (stretch.span.start(), stretch.item));
        clocks.push(stretches);
    }
    if known < dataset.items.len() {
        return Err(ErrorKind::Split(format!(
            "the times of {} of {} items are not known, because their files cannot be opened and no span is given",
            dataset.items.len() - known,
            dataset.items.len()
        )));
    }
    Ok(clocks)
}

fn around(span: Span, nanos: i64) -> Span {
    let at = |instant: i64| marey_clip::Timestamp::from_nanos(instant);
    let start = at(span.start().as_nanos().saturating_sub(nanos));
    let end = at(span.end().as_nanos().saturating_add(nanos));
    Span::new(start, end).unwrap_or(span)
}

/// `span` with this many frames before and after it, as far as there are any.
fn frames_around(timeline: &Timeline, span: Span, frames: usize) -> Span {
    let range = timeline.indices_in(span);
    let stamps = timeline.timestamps();
    let start = stamps[range.start.saturating_sub(frames)].min(span.start());
    let end = stamps
        .get(range.end + frames)
        .copied()
        .unwrap_or(timeline.span().end())
        .max(span.end());
    Span::new(start, end).unwrap_or(span)
}

/// Takes the split from every item that comes nearer than the gap to an item of a split that goes first.
fn leave_gaps(dataset: &mut Dataset, stretches: &[Stretch]) {
    let mut kept: Vec<Stretch> = Vec::new();
    for split in [Split::Test, Split::Validation, Split::Train] {
        let spans = Sorted::new(kept.iter().map(|stretch| stretch.span).collect());
        let guards = Sorted::new(kept.iter().map(|stretch| stretch.guard).collect());
        let mut stays = Vec::new();
        let is_of = |stretch: &&Stretch| dataset.items[stretch.item].split == Some(split);
        let of_split: Vec<Stretch> = stretches.iter().filter(is_of).copied().collect();
        for stretch in of_split {
            let is_near = spans.overlapping(stretch.guard).next().is_some()
                || guards.overlapping(stretch.span).next().is_some();
            if is_near {
                dataset.items[stretch.item].split = None;
            } else {
                stays.push(stretch);
            }
        }
        kept.extend(stays);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use marey_clip::{ClassList, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::Item;

    fn secs(tenths: i64) -> Timestamp {
        Timestamp::from_nanos(tenths * 100_000_000)
    }

    /// Spans of a few sources, in tenths of a second.
    fn dataset(rows: &[(usize, i64, i64, usize)]) -> Dataset {
        let item =
            |(idx, &(source, start, length, label)): (usize, &(usize, i64, i64, usize))| Item {
                id: idx.to_string(),
                source: format!("{source}.mp4").into(),
                span: Span::new(secs(start), secs(start + length)),
                label,
                group: None,
                split: None,
                metadata: BTreeMap::new(),
            };
        Dataset {
            classes: ClassList::new(vec!["a".into(), "b".into()]).expect("two"),
            items: rows.iter().enumerate().map(item).collect(),
            notes: vec![],
            accepted_leak: None,
        }
    }

    fn settings(gap_tenths: i64, blocks: usize, seed: u64) -> TimeSplit {
        TimeSplit {
            shares: SplitShares {
                validation: 0.2,
                test: 0.2,
                seed,
            },
            blocks,
            gap: Gap::Secs(gap_tenths as f64 / 10.0),
        }
    }

    proptest! {
        #[test]
        fn no_gap_is_violated_and_no_block_is_divided(
            rows in prop::collection::vec((0usize..3, 0i64..2000, 1i64..60, 0usize..2), 20..150),
            gap in 0i64..40,
            blocks in 2usize..7,
            seed: u64,
        ) {
            let mut dataset = dataset(&rows);
            let found = split_by_time(&mut dataset, &Survey::default(), None, &settings(gap, blocks, seed));
            prop_assume!(found.is_ok());
            let mut side: BTreeMap<&str, Option<Split>> = BTreeMap::new();
            for item in &dataset.items {
                let block = item.metadata[BLOCK_COLUMN].as_str();
                prop_assert_eq!(item.group.as_deref(), Some(block));
                prop_assert_eq!(*side.entry(block).or_insert(item.split), item.split);
            }
            for a in &dataset.items {
                for b in &dataset.items {
                    if a.source != b.source || a.split >= b.split {
                        continue;
                    }
                    let (first, second) = (a.span.expect("given"), b.span.expect("given"));
                    let (first, second) = if first.start() <= second.start() { (first, second) } else { (second, first) };
                    let between = second.start().as_nanos() - first.end().as_nanos();
                    prop_assert!(between >= gap * 100_000_000, "{} and {}: {} ns", a.id, b.id, between);
                }
            }
            for split in Split::ALL {
                prop_assert!(!dataset.indices(split).is_empty());
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_split() {
        let rows: Vec<_> = (0..100)
            .map(|i| (i / 50, 10 * i as i64, 9, i % 2))
            .collect();
        let split = |seed| {
            let mut dataset = dataset(&rows);
            split_by_time(
                &mut dataset,
                &Survey::default(),
                None,
                &settings(20, 5, seed),
            )
            .expect("enough items");
            dataset
        };
        assert_eq!(split(1), split(1));
        assert_ne!(split(1), split(2));
    }

    #[test]
    fn a_gap_in_frames_is_counted_in_frames() {
        let rate = marey_clip::Rational::new(10, 1).expect("positive");
        let timeline = Timeline::constant(100, rate).expect("frames");
        let span = Span::new(secs(30), secs(40)).expect("a second");
        assert_eq!(
            frames_around(&timeline, span, 5),
            Span::new(secs(25), secs(45)).expect("longer")
        );
        assert_eq!(frames_around(&timeline, span, 500), timeline.span());
    }

    #[test]
    fn what_cannot_be_divided_is_refused() {
        let rows: Vec<_> = (0..20).map(|i| (0, 10 * i as i64, 9, i % 2)).collect();
        for (settings, part) in [
            (settings(0, 1, 0), "at least 2"),
            (settings(10_000, 5, 0), "the gap leaves no item to"),
            (settings(-1, 5, 0), "expected 0 or more"),
        ] {
            let error = split_by_time(&mut dataset(&rows), &Survey::default(), None, &settings)
                .expect_err(part);
            assert!(error.to_string().contains(part), "{error}");
        }
        let frames = TimeSplit {
            gap: Gap::Frames(3),
            ..settings(0, 5, 0)
        };
        let error = split_by_time(&mut dataset(&rows), &Survey::default(), None, &frames)
            .expect_err("no timeline");
        assert!(error.to_string().contains("give it in seconds"), "{error}");
    }
}
