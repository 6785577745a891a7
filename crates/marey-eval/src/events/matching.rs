//! Which alarm found which event, and the sums of that.

use marey_clip::Span;

use super::{Alarm, EventRules, TrueEvent, WatchedStream};
use crate::counts::weighted_total;
use crate::interval::quantile;

/// Share of the length that two spans have together in the length that either has: 0 apart, 1 equal.
pub fn temporal_overlap(a: Span, b: Span) -> f64 {
    let both = a
        .intersection(b)
        .map_or(0.0, |span| span.duration().as_secs_f64());
    let either = a.duration().as_secs_f64() + b.duration().as_secs_f64() - both;
    if either > 0.0 { both / either } else { 0.0 }
}

/// The event that each alarm found, as an index into `truths`: greedily, the surest alarm first (of equal ones the earlier in the list),
/// each taking the event of its class with the highest overlap of at least `min_overlap` that no surer alarm has taken.
pub fn match_events(
    truths: &[TrueEvent],
    alarms: &[Alarm],
    min_overlap: f64,
) -> Vec<Option<usize>> {
    let mut order: Vec<usize> = (0..alarms.len()).collect();
    order.sort_by(|&a, &b| alarms[b].score.total_cmp(&alarms[a].score));
    let mut is_taken = vec![false; truths.len()];
    let mut matches = vec![None; alarms.len()];
    for alarm in order {
        let overlap = |truth: usize| temporal_overlap(truths[truth].span, alarms[alarm].span);
        // Backwards, so that of equal overlaps the earlier event is the last maximum.
        let best = (0..truths.len())
            .rev()
            .filter(|&truth| !is_taken[truth] && truths[truth].class == alarms[alarm].class)
            .filter(|&truth| overlap(truth) >= min_overlap)
            .max_by(|&a, &b| overlap(a).total_cmp(&overlap(b)));
        if let Some(truth) = best {
            is_taken[truth] = true;
            matches[alarm] = Some(truth);
        }
    }
    matches
}

/// Sums of one stream, or of several.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) truths: u64,
    pub(super) found: u64,
    pub(super) false_alarms: u64,
    pub(super) hours: f64,
    pub(super) delays_sec: Vec<f64>,
}

impl Tally {
    pub(super) fn of(stream: &WatchedStream, min_overlap: f64) -> Self {
        let matches = match_events(&stream.truths, &stream.alarms, min_overlap);
        let found = stream.alarms.iter().zip(&matches);
        // An alarm before the annotated start is on time.
        let delay = |(alarm, truth): (&Alarm, &Option<usize>)| {
            let start = stream.truths[(*truth)?].span.start();
            Some((alarm.raised.as_secs() - start.as_secs()).max(0.0))
        };
        let delays_sec: Vec<f64> = found.filter_map(delay).collect();
        Self {
            truths: stream.truths.len() as u64,
            found: delays_sec.len() as u64,
            false_alarms: (stream.alarms.len() - delays_sec.len()) as u64,
            hours: stream.watched.duration().as_secs_f64() / 3600.0,
            delays_sec,
        }
    }

    /// All but the delays, each stream as often as its weight says.
    pub(super) fn sum(tallies: &[Self], weights: &[u32]) -> Self {
        let mut sum = Self::default();
        for (tally, &weight) in tallies.iter().zip(weights) {
            sum.truths += u64::from(weight) * tally.truths;
            sum.found += u64::from(weight) * tally.found;
            sum.false_alarms += u64::from(weight) * tally.false_alarms;
            sum.hours += f64::from(weight) * tally.hours;
        }
        sum
    }
}

/// Precision, recall, F1, false alarms per hour, median delay.
pub(super) fn numbers(tallies: &[Tally], weights: &[u32]) -> [Option<f64>; 5] {
    let Tally {
        truths,
        found,
        false_alarms,
        hours,
        ..
    } = Tally::sum(tallies, weights);
    let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
    let mut delays: Vec<f64> = tallies
        .iter()
        .zip(weights)
        .flat_map(|(tally, &weight)| {
            let delays = tally.delays_sec.iter();
            delays.flat_map(move |&delay| std::iter::repeat_n(delay, weight as usize))
        })
        .collect();
    delays.sort_unstable_by(f64::total_cmp);
    [
        Some(share(found, found + false_alarms)),
        (truths > 0).then(|| share(found, truths)),
        (truths > 0).then(|| share(2 * found, truths + found + false_alarms)),
        Some(false_alarms as f64 / hours),
        (!delays.is_empty()).then(|| quantile(&delays, 0.5)),
    ]
}

/// What the mean average precision is made of: for each overlap and class the alarms of all streams, the surest first.
pub(super) struct Precisions {
    /// `(stream, whether it found an event, whether the next alarm is less sure)` of each alarm.
    ranked: Vec<Vec<(usize, bool, bool)>>,
    /// Number of events of the class in each stream.
    truths: Vec<Vec<u64>>,
}

impl Precisions {
    pub(super) fn of(num_classes: usize, streams: &[WatchedStream], rules: &EventRules) -> Self {
        let (mut ranked, mut truths) = (Vec::new(), Vec::new());
        for &min_overlap in &rules.map_overlaps {
            let matches: Vec<_> = streams
                .iter()
                .map(|stream| match_events(&stream.truths, &stream.alarms, min_overlap))
                .collect();
            for class in 0..num_classes {
                let mut of_class: Vec<(f64, usize, bool)> = Vec::new();
                for (idx, stream) in streams.iter().enumerate() {
                    for (alarm, found) in stream.alarms.iter().zip(&matches[idx]) {
                        if alarm.class == class {
                            of_class.push((alarm.score, idx, found.is_some()));
                        }
                    }
                }
                of_class.sort_by(|a, b| b.0.total_cmp(&a.0));
                let is_last = |i: usize| {
                    of_class
                        .get(i + 1)
                        .is_none_or(|next| next.0 != of_class[i].0)
                };
                let marked =
                    (0..of_class.len()).map(|i| (of_class[i].1, of_class[i].2, is_last(i)));
                ranked.push(marked.collect());
                let count =
                    |s: &WatchedStream| s.truths.iter().filter(|t| t.class == class).count() as u64;
                truths.push(streams.iter().map(count).collect());
            }
        }
        Self { ranked, truths }
    }

    /// The mean over overlaps and classes that have an event; `None` without an event.
    pub(super) fn mean(&self, weights: &[u32]) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0.0);
        for (ranked, truths) in self.ranked.iter().zip(&self.truths) {
            let truths = weighted_total(truths, weights);
            if truths == 0 {
                continue;
            }
            let (mut found, mut all, mut found_here) = (0, 0, 0);
            for &(stream, is_found, is_last) in ranked {
                let weight = u64::from(weights[stream]);
                all += weight;
                found_here += weight * u64::from(is_found);
                if is_last && found_here > 0 {
                    found += found_here;
                    sum += found_here as f64 / truths as f64 * found as f64 / all as f64;
                    found_here = 0;
                }
            }
            count += 1.0;
        }
        (count > 0.0).then(|| sum / count)
    }
}
