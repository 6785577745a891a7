//! What a person who runs cameras asks for: which events were found, how late, and how many alarms were about nothing.

mod matching;

mod windows;

use marey_clip::{Span, Timestamp};

pub use matching::{match_events, temporal_overlap};
pub use windows::{
    AlarmRules, ScoredWindow, alarms_from_windows, scores_of_instants, window_cells,
};

use self::matching::{Precisions, Tally, numbers};
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
    let false_alarms = figures
        .iter_mut()
        .filter(|figure| figure.name == "false_alarms_per_hour");
    false_alarms.for_each(|figure| add_poisson(figure, &total));
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

/// Puts the Poisson interval in front of that of the bootstrap, which stays where it is by group.
fn add_poisson(figure: &mut Figure, total: &Tally) {
    let [low, high] = poisson_interval(total.false_alarms).map(|count| count / total.hours);
    let poisson = Interval {
        low,
        high,
        method: IntervalMethod::Poisson,
    };
    let drawn = std::mem::replace(&mut figure.interval, poisson);
    figure.group_interval = drawn.method.is_by_group().then_some(drawn);
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
    use crate::error::assert_refused;

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
        assert_refused(cases);
    }
}
