//! From the scores of sliding windows to alarms, and to a score for each frame.

use marey_clip::{Span, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Alarm;
use crate::{Error, ErrorKind};

/// A window of a source with its scores.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredWindow {
    /// When.
    pub span: Span,
    /// One score a class.
    pub scores: Vec<f32>,
    /// Probability that something anomalous happens, where the model has an output for it.
    pub anomaly: Option<f32>,
}

/// When windows become an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlarmRules {
    /// The lowest best score of a window that counts, 0 to 1. Default 0.5.
    pub on: f64,
    /// Windows of the same class in a row that make an alarm, at least 1. Default 1.
    pub min_windows: usize,
}

impl Default for AlarmRules {
    fn default() -> Self {
        Self {
            on: 0.5,
            min_windows: 1,
        }
    }
}

impl AlarmRules {
    /// Checks what a person wrote.
    ///
    /// # Errors
    /// A score outside 0..=1, no window.
    pub fn validate(&self) -> Result<(), Error> {
        if !(0.0..=1.0).contains(&self.on) {
            return Err(ErrorKind::NoShare(self.on).into());
        }
        if self.min_windows == 0 {
            return Err(ErrorKind::NoWindow.into());
        }
        Ok(())
    }
}

/// The stretch of `watched` that each window stands for: what lies nearer to its middle than to that of its neighbours. The
/// stretches follow each other and leave nothing out, so that windows which overlap do not make events longer than they are.
pub fn window_cells(windows: &[Span], watched: Span) -> Vec<Span> {
    let between = |a: Span, b: Span| {
        let (a, b) = (a.midpoint(), b.midpoint());
        Timestamp::from_nanos(a.as_nanos() + (b.as_nanos() - a.as_nanos()) / 2)
    };
    let mut start = watched.start();
    let mut cells = Vec::with_capacity(windows.len());
    for (idx, &window) in windows.iter().enumerate() {
        let end = match windows.get(idx + 1) {
            Some(&next) => between(window, next).clamp(start, watched.end()),
            None => watched.end(),
        };
        // Windows that lie on each other share one place: the later has no stretch of its own.
        cells.push(Span::new(start, end).unwrap_or(window));
        start = end;
    }
    cells
}

/// The alarms of `windows`, which are in order of time and cover `watched`: windows in a row whose best-scored class is the same
/// and an event make one.
///
/// - `is_event`: for each class whether it is one; the others are the background.
/// - An alarm's span is what its windows stand for ([`window_cells`]), its score their mean, and it is raised at the end of the
///   window that made it long enough: before, nobody could know.
///
/// # Panics
/// If a window has not one score a class.
pub fn alarms_from_windows(
    windows: &[ScoredWindow],
    watched: Span,
    is_event: &[bool],
    rules: &AlarmRules,
) -> Vec<Alarm> {
    let spans: Vec<Span> = windows.iter().map(|window| window.span).collect();
    let cells = window_cells(&spans, watched);
    let class_of = |window: &ScoredWindow| {
        assert_eq!(window.scores.len(), is_event.len(), "one score a class");
        // The earlier of equals.
        let best = (0..is_event.len())
            .rev()
            .max_by(|&a, &b| window.scores[a].total_cmp(&window.scores[b]))?;
        let counts = is_event[best] && f64::from(window.scores[best]) >= rules.on;
        counts.then_some(best)
    };
    let classes: Vec<Option<usize>> = windows.iter().map(class_of).collect();
    let mut alarms = Vec::new();
    let mut first = 0;
    for run in classes.chunk_by(|a, b| a == b) {
        let (start, end) = (first, first + run.len());
        first = end;
        let Some(class) = run[0] else { continue };
        if run.len() < rules.min_windows {
            continue;
        }
        let scores = windows[start..end].iter();
        let sum: f64 = scores.map(|window| f64::from(window.scores[class])).sum();
        let whole = Span::new(cells[start].start(), cells[end - 1].end());
        alarms.push(Alarm {
            class,
            span: whole.unwrap_or(cells[start]),
            raised: windows[start + rules.min_windows - 1].span.end(),
            score: sum / run.len() as f64,
        });
    }
    alarms
}

/// The score of each instant: that of the window which stands for it.
pub fn scores_of_instants(
    instants: &[Timestamp],
    windows: &[Span],
    scores: &[f64],
    watched: Span,
) -> Vec<f64> {
    let cells = window_cells(windows, watched);
    let of_instant = |instant: &Timestamp| {
        let after = cells.partition_point(|cell| cell.end() <= *instant);
        scores[after.min(scores.len() - 1)]
    };
    instants.iter().map(of_instant).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_secs(seconds).expect("finite")
    }

    fn span(start: f64, end: f64) -> Span {
        Span::new(at(start), at(end)).expect("a span")
    }

    fn window(start: f64, scores: [f32; 3]) -> ScoredWindow {
        ScoredWindow {
            span: span(start, start + 2.0),
            scores: scores.to_vec(),
            anomaly: None,
        }
    }

    const QUIET: [f32; 3] = [0.8, 0.1, 0.1];
    const A: [f32; 3] = [0.2, 0.7, 0.1];
    const UNSURE_A: [f32; 3] = [0.3, 0.4, 0.3];
    const B: [f32; 3] = [0.0, 0.1, 0.9];

    fn alarms(scores: &[[f32; 3]], rules: AlarmRules) -> Vec<Alarm> {
        // Windows of 2 s, a second apart.
        let windows: Vec<ScoredWindow> = scores
            .iter()
            .enumerate()
            .map(|(idx, &scores)| window(idx as f64, scores))
            .collect();
        let watched = span(0.0, scores.len() as f64 + 1.0);
        alarms_from_windows(&windows, watched, &[false, true, true], &rules)
    }

    #[test]
    fn windows_of_one_class_in_a_row_are_one_alarm() {
        let found = alarms(&[QUIET, A, A, B, QUIET], AlarmRules::default());
        assert_eq!(found.len(), 2);
        // The second and third window have their middles at 2 s and 3 s: they stand for 1.5 s to 3.5 s.
        assert_eq!((found[0].class, found[0].span), (1, span(1.5, 3.5)));
        assert_eq!(found[0].raised, at(3.0));
        assert!((found[0].score - 0.7).abs() < 1e-6);
        assert_eq!((found[1].class, found[1].span), (2, span(3.5, 4.5)));
    }

    #[test]
    fn unsure_windows_and_short_runs_raise_nothing() {
        let rules = AlarmRules::default();
        assert!(alarms(&[QUIET, UNSURE_A, QUIET], rules).is_empty());
        let rules = AlarmRules {
            on: 0.3,
            min_windows: 2,
        };
        let found = alarms(&[B, UNSURE_A, A, A, B], rules);
        assert_eq!(found.len(), 1);
        // It could be known at the end of the second of its windows.
        assert_eq!((found[0].span, found[0].raised), (span(1.5, 4.5), at(4.0)));
        // The first and the last window reach to the ends of what is watched.
        let all = alarms(&[A, A, A], rules);
        assert_eq!(all[0].span, span(0.0, 4.0));
        assert!(
            AlarmRules {
                min_windows: 0,
                ..rules
            }
            .validate()
            .is_err()
        );
        assert!(AlarmRules { on: 1.5, ..rules }.validate().is_err());
    }

    #[test]
    fn an_instant_has_the_score_of_the_nearest_window() {
        let windows = [span(0.0, 2.0), span(1.0, 3.0), span(2.0, 4.0)];
        let instants = [0.0, 1.4, 1.5, 2.4, 2.5, 3.9].map(at);
        let found = scores_of_instants(&instants, &windows, &[0.1, 0.2, 0.3], span(0.0, 4.0));
        assert_eq!(found, [0.1, 0.1, 0.2, 0.2, 0.3, 0.3]);
        let cells = window_cells(&windows, span(0.0, 4.0));
        assert_eq!(cells, [span(0.0, 1.5), span(1.5, 2.5), span(2.5, 4.0)]);
    }
}
