//! Whether clips of two splits show the same time of the same source: the very windows that the model sees.

use std::{cell::OnceCell, collections::BTreeMap};

use marey_clip::{Sampling, SamplingMode, Span, Timeline};

use crate::{
    Dataset, Item, Split,
    audit::{
        Context, Survey,
        finding::{Finding, Severity, Topic},
        shared::{ColumnKind, column_kind},
    },
    nearest::nearest_labels,
};

/// Windows that are this near count as neighbours.
const NEAR_NANOS: i64 = 10_000_000_000;

/// The part of a clock that the clips of one item may show.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) item: usize,
    pub(crate) span: Span,
}

/// The time that the clips of `item` can show: in training every clip that may be drawn, else the clips that are judged.
/// `None` where neither a span nor the source's times are known. Without a sampling it is the whole item.
pub(crate) fn window_of(
    item: &Item,
    timeline: Option<&Timeline>,
    sampling: Option<&Sampling>,
) -> Option<Span> {
    let Some(timeline) = timeline else {
        return item.span;
    };
    let span = item.span.unwrap_or(timeline.span());
    let Some(sampling) = sampling else {
        return Some(span);
    };
    let range = timeline.indices_in(span);
    let (first, last) =
        if item.split == Some(Split::Train) && sampling.mode != SamplingMode::Centered {
            (range.start, range.end - 1)
        } else {
            let plans = sampling.plan_views(timeline, span);
            let stamps = || {
                plans
                    .iter()
                    .flat_map(|plan| plan.timestamps.iter().copied())
            };
            (
                timeline.index_at(stamps().min()?),
                timeline.index_at(stamps().max()?),
            )
        };
    let end = timeline
        .timestamps()
        .get(last + 1)
        .copied()
        .unwrap_or(timeline.span().end());
    Span::new(timeline.timestamps()[first], end)
}

/// The windows of all items that share a clock: those of one source, and of sources whose clocks count from 1970 and whose
/// columns do not name different devices.
pub(crate) fn windows_by_clock(
    dataset: &Dataset,
    survey: &Survey,
    sampling: Option<&Sampling>,
) -> BTreeMap<String, Vec<Window>> {
    let device = OnceCell::new();
    let mut clocks: BTreeMap<String, Vec<Window>> = BTreeMap::new();
    for (idx, item) in dataset.items.iter().enumerate() {
        let facts = survey.facts(&item.source);
        let Some(span) = window_of(item, facts.map(|facts| &facts.timeline), sampling) else {
            continue;
        };
        let clock = if facts.is_some_and(|facts| facts.has_absolute_clock()) {
            let column: &Option<String> = device.get_or_init(|| device_column(dataset));
            let device = column.as_ref().and_then(|column| item.metadata.get(column));
            format!("device {}", device.map_or("", |device| device))
        } else {
            item.source.display().to_string()
        };
        clocks
            .entry(clock)
            .or_default()
            .push(Window { item: idx, span });
    }
    clocks
}

/// The column that names the device, the one with the fewest values where several do.
fn device_column(dataset: &Dataset) -> Option<String> {
    let first = dataset.items.first()?;
    let names = first
        .metadata
        .keys()
        .filter(|name| column_kind(name) == Some(ColumnKind::Device));
    names
        .min_by_key(|name| {
            let values = dataset.items.iter().map(|item| item.metadata.get(*name));
            values.collect::<std::collections::BTreeSet<_>>().len()
        })
        .cloned()
}

/// How the windows of a later split lie beside those of an earlier one.
#[derive(Debug, Default)]
struct Beside {
    /// Items whose window overlaps one, and the share of its frames that the best one also shows.
    overlapping: Vec<(usize, f64)>,
    /// Items whose window is within [`NEAR_NANOS`] of one, those that overlap among them.
    near: Vec<usize>,
    /// Items that overlap a window of another file only.
    in_other_file: usize,
}

/// Spans in the order of their starts, with the latest end so far: what a search backward needs.
pub(crate) struct Sorted {
    /// A span and its position among those given.
    spans: Vec<(Span, usize)>,
    latest_end: Vec<i64>,
}

impl Sorted {
    pub(crate) fn new(spans: Vec<Span>) -> Self {
        let mut spans: Vec<(Span, usize)> = spans.into_iter().zip(0..).collect();
        spans.sort_by_key(|(span, position)| (span.start(), *position));
        let mut latest = i64::MIN;
        let latest_end = spans.iter().map(|(span, _)| {
            latest = latest.max(span.end().as_nanos());
            latest
        });
        Self {
            latest_end: latest_end.collect(),
            spans,
        }
    }

    /// Positions of the spans that overlap `span`.
    pub(crate) fn overlapping(&self, span: Span) -> impl Iterator<Item = usize> {
        let before = self
            .spans
            .partition_point(|(other, _)| other.start() < span.end());
        (0..before)
            .rev()
            .take_while(move |&idx| self.latest_end[idx] > span.start().as_nanos())
            .map(|idx| self.spans[idx])
            .filter(move |(other, _)| other.end() > span.start())
            .map(|(_, position)| position)
    }

    /// Nanoseconds from `span`, which overlaps none, to the nearest one.
    fn gap(&self, span: Span) -> Option<i64> {
        let next = self
            .spans
            .partition_point(|(other, _)| other.start() < span.end());
        let after = self
            .spans
            .get(next)
            .map(|(other, _)| other.start().as_nanos() - span.end().as_nanos());
        let before = next
            .checked_sub(1)
            .map(|idx| span.start().as_nanos() - self.latest_end[idx]);
        [after, before].into_iter().flatten().min()
    }
}

/// Clips of two splits that show the same frames.
pub(crate) fn overlaps(
    context: &Context<'_>,
    survey: &Survey,
    sampling: Option<&Sampling>,
) -> Vec<Finding> {
    let dataset = context.dataset;
    let mut beside: BTreeMap<[Split; 2], Beside> = BTreeMap::new();
    for windows in windows_by_clock(dataset, survey, sampling).values() {
        let of = |split| {
            windows
                .iter()
                .filter(move |window| dataset.items[window.item].split == Some(split))
        };
        for splits in [
            [Split::Train, Split::Validation],
            [Split::Train, Split::Test],
            [Split::Validation, Split::Test],
        ] {
            if of(splits[0]).next().is_some() && of(splits[1]).next().is_some() {
                let earlier: Vec<&Window> = of(splits[0]).collect();
                let sorted = Sorted::new(earlier.iter().map(|window| window.span).collect());
                let found = beside.entry(splits).or_default();
                for window in of(splits[1]) {
                    let overlapping = sorted.overlapping(window.span).map(|idx| earlier[idx]);
                    let is_near = sorted.gap(window.span).is_some_and(|gap| gap <= NEAR_NANOS);
                    found.add(dataset, survey, window, overlapping, is_near);
                }
            }
        }
    }
    beside
        .into_iter()
        .flat_map(|(splits, beside)| findings(context, splits, beside))
        .collect()
}

impl Beside {
    /// Takes note of a window, those of the earlier split that overlap it, and whether one is near where none overlaps.
    fn add<'a>(
        &mut self,
        dataset: &Dataset,
        survey: &Survey,
        window: &Window,
        overlapping: impl Iterator<Item = &'a Window>,
        is_near: bool,
    ) {
        let source = &dataset.items[window.item].source;
        let timeline = survey.facts(source).map(|facts| &facts.timeline);
        let (mut in_same_file, mut in_other_file): (Option<f64>, Option<f64>) = (None, None);
        for other in overlapping {
            let share = common_share(timeline, window.span, other.span);
            let best = match dataset.items[other.item].source == *source {
                true => &mut in_same_file,
                false => &mut in_other_file,
            };
            *best = Some(best.map_or(share, |best| best.max(share)));
        }
        let best = in_same_file.or(in_other_file);
        if let Some(share) = best {
            self.overlapping.push((window.item, share));
            self.in_other_file += usize::from(in_same_file.is_none());
        }
        if best.is_some() || is_near {
            self.near.push(window.item);
        }
    }
}

/// The share of the frames of `span` that `other` also shows, or of its time where the frames are not known.
fn common_share(timeline: Option<&Timeline>, span: Span, other: Span) -> f64 {
    let Some(common) = span.intersection(other) else {
        return 0.0;
    };
    match timeline {
        Some(timeline) => {
            timeline.indices_in(common).len() as f64 / timeline.indices_in(span).len() as f64
        }
        None => common.duration().as_secs_f64() / span.duration().as_secs_f64(),
    }
}

fn findings(context: &Context<'_>, [a, b]: [Split; 2], mut beside: Beside) -> Vec<Finding> {
    let dataset = context.dataset;
    let total = dataset.indices(b).len();
    let near_only = beside.near.len() - beside.overlapping.len();
    if beside.overlapping.is_empty() {
        if near_only == 0 {
            return Vec::new();
        }
        let sentence = format!(
            "{near_only} of {total} {b} clips lie within {} s of a {a} clip of the same source, none of them overlaps one",
            NEAR_NANOS / 1_000_000_000
        );
        return vec![
            Finding::new(Severity::Warning, Topic::WindowOverlap, sentence)
                .about(dataset, beside.near)
                .mended_by(context.time_split()),
        ];
    }
    beside.overlapping.sort_by(|a, b| a.1.total_cmp(&b.1));
    let median = beside.overlapping[beside.overlapping.len() / 2].1;
    let mut sentence = format!(
        "{} of {total} {b} clips show frames that {a} clips of the same source may show as well, in the median {:.1} % of \
         their frames; {} lie within {} s of one",
        beside.overlapping.len(),
        100.0 * median,
        beside.near.len(),
        NEAR_NANOS / 1_000_000_000
    );
    if beside.in_other_file > 0 {
        sentence += &format!(
            "; {} overlap a clip of another file only, which was recorded at the same time",
            beside.in_other_file
        );
    }
    if a == Split::Train
        && let Some((correct, judged)) = copied(dataset, b)
    {
        sentence += &format!(
            "; copying the label of the nearest {a} item gets {:.1} % of them right ({correct}/{judged})",
            100.0 * correct as f64 / judged as f64
        );
    }
    let items = beside.overlapping.iter().map(|(item, _)| *item);
    vec![
        Finding::new(Severity::Leak, Topic::WindowOverlap, sentence)
            .about(dataset, items)
            .mended_by(context.time_split()),
    ]
}

/// How many items of `split` have the label of the nearest training item, of those that have one.
fn copied(dataset: &Dataset, split: Split) -> Option<(usize, usize)> {
    let labels = nearest_labels(dataset, split);
    let indices = dataset.indices(split);
    let known: Vec<(usize, usize)> = indices
        .into_iter()
        .zip(labels)
        .filter_map(|(idx, label)| Some((dataset.items[idx].label, label?)))
        .collect();
    let correct = known.iter().filter(|(truth, label)| truth == label).count();
    (!known.is_empty()).then_some((correct, known.len()))
}
