//! What a person who runs cameras asks for: which events were found, how late, and how many alarms were about nothing.

use marey_clip::{Span, Timestamp};

use crate::bootstrap::Units;
use crate::distribution::poisson_interval;
use crate::draws::{Described, Draws};
use crate::interval::quantile;
use crate::{Bootstrap, Error, ErrorKind, Figure, Interval, IntervalMethod, Scale};

/// What happened before one camera, and what was reported.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchedStream {
    /// Its unique name.
    pub name: String,
    /// What it shares with other streams (camera, site), if known.
    pub group: Option<String>,
    /// The time that was watched, with and without events: false alarms are counted per hour of it.
    pub watched: Span,
    /// What happened.
    pub truths: Vec<TrueEvent>,
    /// What was reported.
    pub alarms: Vec<Alarm>,
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrueEvent {
    /// Index of its class.
    pub class: usize,
    /// When.
    pub span: Span,
}

/// Something that was reported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alarm {
    /// Index of its class.
    pub class: usize,
    /// When it is said to have happened.
    pub span: Span,
    /// When the alarm was raised; the start of the span, for spans that were found afterwards.
    pub raised: Timestamp,
    /// The higher, the surer; any finite number.
    pub score: f64,
}

/// How events are judged.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRules {
    /// Temporal overlap, intersection over union, from which on an alarm has found an event: above 0, at most 1. Default 0.5.
    pub min_overlap: f64,
    /// Overlaps over which the mean average precision is taken. Default 0.3, 0.4, 0.5, 0.6, 0.7, as THUMOS'14.
    pub map_overlaps: Vec<f64>,
}

impl Default for EventRules {
    fn default() -> Self {
        Self {
            min_overlap: 0.5,
            map_overlaps: vec![0.3, 0.4, 0.5, 0.6, 0.7],
        }
    }
}

/// Figures of events.
#[derive(Debug, Clone, PartialEq)]
pub struct EventFigures {
    /// `event_precision`, `event_recall`, `event_f1`, `event_map`, `false_alarms_per_hour`, `detection_delay`. What is not defined is
    /// left out: recall, F1 and mean average precision without an event, the delay without a found one.
    pub figures: Vec<Figure>,
    /// Delay in seconds that 10, 50 and 90 % of the found events stay within; `None` where none was found.
    pub delay_quantiles_sec: Option<[f64; 3]>,
    /// Number of found events.
    pub num_found: usize,
    /// Number of events that were missed.
    pub num_missed: usize,
    /// Number of alarms about nothing, and second alarms about the same event.
    pub num_false_alarms: usize,
}

/// The baseline of every event figure.
const ALWAYS_ON: &str = "one alarm of each class that never ends";

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

/// Judges alarms against what happened.
///
/// The units of the bootstrap are the groups of streams, or the streams where there are none. False alarms have Garwood's Poisson interval
/// as well, which takes them as independent.
///
/// # Errors
/// No stream, one given twice or without length, a class out of range, a score that is not finite, overlaps outside (0, 1], fewer than 2
/// draws.
pub fn judge_events(
    num_classes: usize,
    streams: &[WatchedStream],
    rules: &EventRules,
    bootstrap: &Bootstrap,
) -> Result<EventFigures, Error> {
    check(num_classes, streams, rules)?;
    let keys: Vec<(&str, Option<&str>)> = streams
        .iter()
        .map(|stream| (stream.name.as_str(), stream.group.as_deref()))
        .collect();
    let always_on: Vec<WatchedStream> = streams.iter().map(|s| always_on(num_classes, s)).collect();
    let tallies = [streams, &always_on].map(|streams| {
        let tally = |stream: &WatchedStream| Tally::of(stream, rules.min_overlap);
        streams.iter().map(tally).collect::<Vec<_>>()
    });
    let precisions =
        [streams, &always_on].map(|streams| Precisions::of(num_classes, streams, rules));
    // Columns: each figure beside its baseline.
    let draws = Draws::collect(
        Units::of(&keys, bootstrap)?,
        streams.len(),
        &mut |weights| {
            let [ours, theirs] = [0, 1].map(|who| {
                let mut numbers = numbers(&tallies[who], weights).to_vec();
                numbers.insert(3, precisions[who].mean(weights));
                numbers
            });
            // An alarm that never ends is never late, whether or not it overlaps an event enough.
            let theirs = theirs.into_iter().take(5).chain([Some(0.0)]);
            ours.into_iter()
                .zip(theirs)
                .flat_map(|(a, b)| [a, b])
                .collect()
        },
    );
    let total = Tally::sum(&tallies[0], &vec![1; streams.len()]);
    let described = described(&total, rules).into_iter().enumerate();
    let mut figures: Vec<Figure> = described
        .filter_map(|(idx, of)| draws.figure([2 * idx, 2 * idx + 1], of))
        .collect();
    for figure in figures
        .iter_mut()
        .filter(|figure| figure.name == "false_alarms_per_hour")
    {
        let [low, high] = poisson_interval(total.false_alarms).map(|count| count / total.hours);
        let poisson = Interval {
            low,
            high,
            method: IntervalMethod::Poisson,
        };
        figure.group_interval = Some(std::mem::replace(&mut figure.interval, poisson));
    }
    let mut delays: Vec<f64> = tallies[0]
        .iter()
        .flat_map(|tally| tally.delays_sec.clone())
        .collect();
    delays.sort_unstable_by(f64::total_cmp);
    let at = |q| quantile(&delays, q);
    Ok(EventFigures {
        figures,
        delay_quantiles_sec: (!delays.is_empty()).then(|| [at(0.1), at(0.5), at(0.9)]),
        num_found: total.found as usize,
        num_missed: (total.truths - total.found) as usize,
        num_false_alarms: total.false_alarms as usize,
    })
}

/// The same stream with the alarms of the baseline.
fn always_on(num_classes: usize, stream: &WatchedStream) -> WatchedStream {
    let alarm = |class| Alarm {
        class,
        span: stream.watched,
        raised: stream.watched.start(),
        score: 1.0,
    };
    WatchedStream {
        alarms: (0..num_classes).map(alarm).collect(),
        ..stream.clone()
    }
}

/// Sums of one stream, or of several.
#[derive(Debug, Clone, Default)]
struct Tally {
    truths: u64,
    found: u64,
    false_alarms: u64,
    hours: f64,
    delays_sec: Vec<f64>,
}

impl Tally {
    fn of(stream: &WatchedStream, min_overlap: f64) -> Self {
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
    fn sum(tallies: &[Self], weights: &[u32]) -> Self {
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
fn numbers(tallies: &[Tally], weights: &[u32]) -> [Option<f64>; 5] {
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
struct Precisions {
    /// `(stream, whether it found an event, whether the next alarm is less sure)` of each alarm.
    ranked: Vec<Vec<(usize, bool, bool)>>,
    /// Number of events of the class in each stream.
    truths: Vec<Vec<u64>>,
}

impl Precisions {
    fn of(num_classes: usize, streams: &[WatchedStream], rules: &EventRules) -> Self {
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
    fn mean(&self, weights: &[u32]) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0.0);
        for (ranked, truths) in self.ranked.iter().zip(&self.truths) {
            let truths: u64 = truths
                .iter()
                .zip(weights)
                .map(|(&n, &weight)| n * u64::from(weight))
                .sum();
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

fn described(total: &Tally, rules: &EventRules) -> Vec<Described> {
    let matching = format!(
        "an alarm finds the event of its class that it overlaps most, by {} at least (intersection over union in \
         time); each event is found once, the surest alarm first",
        rules.min_overlap
    );
    let alarms = (total.found + total.false_alarms) as usize;
    let (truths, found) = (total.truths as usize, total.found as usize);
    let of = |name, title, scale, definition: String, support| Described {
        name,
        title,
        definition,
        scale,
        support,
        successes: None,
        baseline: ALWAYS_ON.into(),
    };
    vec![
        of(
            "event_precision",
            "event precision",
            Scale::Share,
            format!("share of the alarms that found an event; {matching}"),
            alarms,
        ),
        of(
            "event_recall",
            "event recall",
            Scale::Share,
            format!("share of the events that were found; {matching}"),
            truths,
        ),
        of(
            "event_f1",
            "event F1",
            Scale::Share,
            "2 found / (events + alarms)".into(),
            truths,
        ),
        of(
            "event_map",
            "event mAP",
            Scale::Share,
            format!(
                "average precision of alarms by falling score, averaged over the classes that have events and the \
                 overlaps {:?}",
                rules.map_overlaps
            ),
            truths,
        ),
        of(
            "false_alarms_per_hour",
            "false alarms per camera-hour",
            Scale::PerHour,
            format!(
                "alarms that found no event, by {:.2} hours watched; {matching}",
                total.hours
            ),
            alarms,
        ),
        of(
            "detection_delay",
            "median detection delay",
            Scale::Seconds,
            "from the start of a found event to its alarm; 0 if the alarm came first".into(),
            found,
        ),
    ]
}

/// Refuses what no figure can be made of.
fn check(num_classes: usize, streams: &[WatchedStream], rules: &EventRules) -> Result<(), Error> {
    if streams.is_empty() {
        return Err(ErrorKind::NoItems.into());
    }
    for &overlap in rules.map_overlaps.iter().chain([&rules.min_overlap]) {
        if !(overlap > 0.0 && overlap <= 1.0) {
            return Err(ErrorKind::Overlap(overlap).into());
        }
    }
    let mut seen = std::collections::HashSet::new();
    for WatchedStream {
        name,
        watched,
        truths,
        alarms,
        ..
    } in streams
    {
        if !seen.insert(name) {
            return Err(ErrorKind::Duplicate { item: name.clone() }.into());
        }
        if watched.duration().is_zero() {
            return Err(ErrorKind::NotWatched {
                stream: name.clone(),
            }
            .into());
        }
        let classes = truths
            .iter()
            .map(|truth| truth.class)
            .chain(alarms.iter().map(|alarm| alarm.class));
        if let Some(class) = classes.into_iter().find(|&class| class >= num_classes) {
            return Err(ErrorKind::NoClass {
                class,
                classes: num_classes,
            }
            .into());
        }
        if alarms.iter().any(|alarm| !alarm.score.is_finite()) {
            return Err(ErrorKind::Score { item: name.clone() }.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn span(start: i64, end: i64) -> Span {
        Span::new(at(start), at(end)).expect("a span")
    }

    fn truth(class: usize, start: i64, end: i64) -> TrueEvent {
        TrueEvent {
            class,
            span: span(start, end),
        }
    }

    fn alarm(class: usize, start: i64, end: i64, score: f64) -> Alarm {
        Alarm {
            class,
            span: span(start, end),
            raised: at(start + 1),
            score,
        }
    }

    fn stream(name: &str, truths: Vec<TrueEvent>, alarms: Vec<Alarm>) -> WatchedStream {
        WatchedStream {
            name: name.into(),
            group: None,
            watched: span(0, 1800),
            truths,
            alarms,
        }
    }

    const BOOTSTRAP: Bootstrap = Bootstrap {
        draws: 100,
        seed: 0,
    };

    #[test]
    fn each_event_is_found_once_by_the_surest_alarm() {
        let truths = [truth(0, 0, 10), truth(0, 20, 30), truth(1, 0, 10)];
        let alarms = [
            alarm(0, 0, 10, 0.5),  // exact, but a surer one has taken the event
            alarm(0, 0, 8, 0.9),   // overlap 0.8
            alarm(0, 24, 40, 0.8), // overlap 6 / 20, too little
            alarm(1, 1, 11, 0.1),  // overlap 9 / 11
            alarm(1, 20, 30, 0.9), // the event there is of another class
        ];
        let found = match_events(&truths, &alarms, 0.5);
        assert_eq!(found, [None, Some(0), None, Some(2), None]);
        assert_eq!(match_events(&truths, &alarms, 0.3)[2], Some(1));
        assert_eq!(temporal_overlap(span(0, 10), span(10, 20)), 0.0);
    }

    #[test]
    fn figures_are_those_of_paper() {
        let streams = [
            stream(
                "a",
                vec![truth(0, 0, 10), truth(0, 20, 30)],
                vec![alarm(0, 1, 10, 0.9), alarm(0, 100, 110, 0.8)],
            ),
            stream(
                "b",
                vec![truth(1, 0, 10)],
                vec![alarm(1, 3, 10, 0.7), alarm(0, 50, 60, 0.2)],
            ),
            stream("c", vec![], vec![]),
        ];
        let found =
            judge_events(2, &streams, &EventRules::default(), &BOOTSTRAP).expect("sound streams");
        let figure = |name: &str| {
            found
                .figures
                .iter()
                .find(|f| f.name == name)
                .expect("given")
        };
        let close = |name: &str, expected: f64| {
            let value = figure(name).value;
            assert!(
                (value - expected).abs() < 1e-12,
                "{name}: {value}, expected {expected}"
            );
        };
        close("event_precision", 2.0 / 4.0);
        close("event_recall", 2.0 / 3.0);
        close("event_f1", 4.0 / 7.0);
        // Three half hours.
        close("false_alarms_per_hour", 2.0 / 1.5);
        // Raised at 2 s and 4 s.
        close("detection_delay", 3.0);
        // Class 0: the first alarm finds one of two events. Class 1: the only alarm finds the only one at overlap 0.7.
        close("event_map", (0.5 + 1.0) / 2.0);
        assert_eq!(found.delay_quantiles_sec.expect("two found")[1], 3.0);
        assert_eq!(
            (found.num_found, found.num_missed, found.num_false_alarms),
            (2, 1, 2)
        );
        let alarms = figure("false_alarms_per_hour");
        let [low, high] = poisson_interval(2);
        assert_eq!(
            (alarms.interval.low, alarms.interval.high),
            (low / 1.5, high / 1.5)
        );
        assert_eq!(alarms.interval.method, IntervalMethod::Poisson);
        assert_eq!(figure("detection_delay").baseline.value, 0.0);
        // The alarm that never ends overlaps too little, so it finds nothing: six alarms in 1.5 hours.
        assert_eq!(
            (figure("event_f1").baseline.value, alarms.baseline.value),
            (0.0, 4.0)
        );
        for figure in &found.figures {
            assert!(
                figure.interval.low <= figure.value && figure.value <= figure.interval.high,
                "{figure:?}"
            );
        }
    }

    #[test]
    fn what_is_not_defined_is_left_out() {
        let streams = [
            stream("a", vec![], vec![alarm(0, 0, 5, 0.5)]),
            stream("b", vec![], vec![]),
        ];
        let found =
            judge_events(1, &streams, &EventRules::default(), &BOOTSTRAP).expect("sound streams");
        let names: Vec<&str> = found
            .figures
            .iter()
            .map(|figure| figure.name.as_str())
            .collect();
        assert_eq!(names, ["event_precision", "false_alarms_per_hour"]);
        assert_eq!(found.delay_quantiles_sec, None);
    }

    #[test]
    fn unusable_streams_are_refused() {
        let sound = || vec![stream("a", vec![truth(0, 0, 5)], vec![alarm(0, 0, 5, 0.5)])];
        let judge = |change: fn(&mut Vec<WatchedStream>)| {
            let mut streams = sound();
            change(&mut streams);
            judge_events(1, &streams, &EventRules::default(), &BOOTSTRAP)
        };
        let rules = EventRules {
            min_overlap: 0.0,
            ..EventRules::default()
        };
        let cases = [
            (judge(|streams| streams.clear()), "no items"),
            (
                judge(|streams| streams.push(streams[0].clone())),
                "appears twice",
            ),
            (
                judge(|streams| streams[0].truths[0].class = 1),
                "class 1 is not among",
            ),
            (
                judge(|streams| streams[0].alarms[0].score = f64::NAN),
                "not finite",
            ),
            (
                judge_events(1, &sound(), &rules, &BOOTSTRAP),
                "the overlap is 0",
            ),
        ];
        for (found, expected) in cases {
            let error = found.expect_err(expected);
            assert!(
                error.kind().to_string().contains(expected),
                "{}",
                error.kind()
            );
        }
    }
}
