//! Figures of whole recordings, from sliding windows: events, and anomalies by frame and by video.

use marey_clip::{Span, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Aggregate, AlarmRules, BinaryScored, Bootstrap, Error, EventRules, Figure, ScoredVideo,
    ScoredWindow, TrueEvent, Verdicts, WatchedStream, alarms_from_windows, judge_events,
    judge_frames, judge_scores, scores_of_instants,
};

/// A recording with the scores of its windows and what happened in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Its unique name.
    pub name: String,
    /// What it shares with others (camera, site), if known.
    pub group: Option<String>,
    /// The part that is judged.
    pub watched: Span,
    /// When each frame of that part is shown.
    pub frames: Vec<Timestamp>,
    /// What happened.
    pub truths: Vec<TrueEvent>,
    /// The windows in order of time; one at least.
    pub windows: Vec<ScoredWindow>,
}

/// Events of recordings, for a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordingEvents {
    /// Number of recordings.
    pub recordings: usize,
    /// Hours watched.
    pub hours: f64,
    /// Seconds of a window.
    pub window_sec: f64,
    /// Seconds between the starts of two windows.
    pub hop_sec: f64,
    /// Classes that are no events.
    pub background: Vec<String>,
    /// Number of labelled events.
    pub events: usize,
    /// `event_precision`, `event_recall`, `event_f1`, `event_map`, `false_alarms_per_hour`, `detection_delay`, as
    /// [`judge_events`] gives them.
    pub figures: Vec<Figure>,
    /// Delay in seconds that 10, 50 and 90 % of the found events stay within.
    pub delay_quantiles_sec: Option<[f64; 3]>,
    /// Number of found events, missed events, and alarms about nothing.
    pub counts: [usize; 3],
    /// Recordings that were left out, and why, a sentence each.
    pub left_out: Vec<String>,
}

/// What the windows of recordings were, and what of it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Windowed {
    /// Seconds of a window.
    pub window_sec: f64,
    /// Seconds between the starts of two windows.
    pub hop_sec: f64,
    /// Recordings that were left out, and why, a sentence each.
    pub left_out: Vec<String>,
}

/// Judges the events of `recordings`.
///
/// - `is_event`: for each class whether it is one; the others are the background.
///
/// # Errors
/// As [`judge_events`].
pub fn judge_recordings(
    classes: &[String],
    is_event: &[bool],
    recordings: &[Recording],
    windowed: &Windowed,
    rules: (&AlarmRules, &EventRules),
    bootstrap: &Bootstrap,
) -> Result<RecordingEvents, Error> {
    let (alarm_rules, event_rules) = rules;
    alarm_rules.validate()?;
    let stream = |recording: &Recording| {
        let truths = recording.truths.iter().copied();
        WatchedStream {
            name: recording.name.clone(),
            group: recording.group.clone(),
            watched: recording.watched,
            truths: truths.filter(|truth| is_event[truth.class]).collect(),
            alarms: alarms_from_windows(
                &recording.windows,
                recording.watched,
                is_event,
                alarm_rules,
            ),
        }
    };
    let streams: Vec<WatchedStream> = recordings.iter().map(stream).collect();
    let judged = judge_events(classes.len(), &streams, event_rules, bootstrap)?;
    let seconds = streams.iter().map(|s| s.watched.duration().as_secs_f64());
    let background = classes.iter().zip(is_event);
    Ok(RecordingEvents {
        recordings: streams.len(),
        hours: seconds.sum::<f64>() / 3600.0,
        window_sec: windowed.window_sec,
        hop_sec: windowed.hop_sec,
        background: background
            .filter(|(_, is_event)| !**is_event)
            .map(|(class, _)| class.clone())
            .collect(),
        events: streams.iter().map(|stream| stream.truths.len()).sum(),
        figures: judged.figures,
        delay_quantiles_sec: judged.delay_quantiles_sec,
        counts: [judged.num_found, judged.num_missed, judged.num_false_alarms],
        left_out: windowed.left_out.clone(),
    })
}

/// Anomalies in recordings, for a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordingAnomalies {
    /// The class of what is normal.
    pub normal: String,
    /// Whether the anomaly score of a window is that of an output of the model for it; else it is 1 less the score of `normal`.
    #[serde(default)]
    pub has_own_score: bool,
    /// Seconds of a window.
    pub window_sec: f64,
    /// Seconds between the starts of two windows.
    pub hop_sec: f64,
    /// Number of recordings.
    pub recordings: usize,
    /// How many of them hold something anomalous.
    pub anomalous: usize,
    /// Figures of every frame against the labelled spans, as [`judge_frames`] gives them; `roc_auc` is the frame-level AUC.
    /// Empty where all frames are normal, or all anomalous.
    pub frames: Vec<Figure>,
    /// Figures of whole recordings, a way to sum up a recording each. Empty where all are normal, or all anomalous.
    pub videos: Vec<VideoFigures>,
    /// Verdicts on whole recordings, at a threshold of the validation split. `None` where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<Verdicts>,
    /// Why there are no verdicts, a sentence. `None` where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_verdicts: Option<String>,
    /// Recordings that were left out, and why, a sentence each.
    pub left_out: Vec<String>,
}

/// Figures of whole recordings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VideoFigures {
    /// How the scores of a recording's windows became one, in words.
    pub aggregate: String,
    /// As [`judge_scores`] gives them.
    pub figures: Vec<Figure>,
}

/// The anomaly score of each window: the model's own, or 1 less its score of class `normal`.
fn window_scores(recording: &Recording, normal: usize) -> Vec<f64> {
    let windows = recording.windows.iter();
    windows
        .map(|window| match window.anomaly {
            Some(anomaly) => f64::from(anomaly),
            None => 1.0 - f64::from(window.scores[normal]),
        })
        .collect()
}

/// Whether something happens in a recording that is not of class `normal`.
fn is_anomalous(recording: &Recording, normal: usize) -> bool {
    recording.truths.iter().any(|truth| truth.class != normal)
}

/// One anomaly score a recording, and whether anything but class `normal` happens in it.
///
/// # Errors
/// As [`Aggregate::of`].
pub fn video_scores(
    recordings: &[Recording],
    normal: usize,
    aggregate: Aggregate,
) -> Result<Vec<BinaryScored>, Error> {
    let of_recording = |recording: &Recording| {
        Ok(BinaryScored {
            item: recording.name.clone(),
            group: recording.group.clone(),
            is_positive: is_anomalous(recording, normal),
            score: aggregate.of(&window_scores(recording, normal))?,
        })
    };
    recordings.iter().map(of_recording).collect()
}

/// Judges the anomaly scores of `recordings`, where class `normal` is normal and all others are anomalies.
///
/// - `top`: windows of the mean of the highest scores, at least 1
/// - `over`: threshold of the share of windows above it
///
/// # Errors
/// As [`judge_frames`] and [`judge_scores`].
pub fn judge_anomalies(
    classes: &[String],
    normal: usize,
    recordings: &[Recording],
    windowed: &Windowed,
    (top, over): (usize, f64),
    bootstrap: &Bootstrap,
) -> Result<RecordingAnomalies, Error> {
    let video = |recording: &Recording| {
        let spans: Vec<Span> = recording.windows.iter().map(|window| window.span).collect();
        let truths = recording.truths.iter();
        ScoredVideo {
            name: recording.name.clone(),
            group: recording.group.clone(),
            scores: scores_of_instants(
                &recording.frames,
                &spans,
                &window_scores(recording, normal),
                recording.watched,
            ),
            timestamps: recording.frames.clone(),
            anomalous: truths
                .filter(|truth| truth.class != normal)
                .map(|truth| truth.span)
                .collect(),
        }
    };
    let videos: Vec<ScoredVideo> = recordings.iter().map(video).collect();
    let anomalous = videos.iter().filter(|video| !video.anomalous.is_empty());
    let num_anomalous = anomalous.count();
    let frames = match judge_frames(&videos, bootstrap) {
        Err(error) if matches!(error.kind(), crate::ErrorKind::OneSided(_)) => Vec::new(),
        judged => judged?,
    };
    let aggregates = [
        Aggregate::Mean,
        Aggregate::Max,
        Aggregate::TopMean(top),
        Aggregate::ShareOver(over),
    ];
    let mut of_videos = Vec::new();
    for aggregate in aggregates {
        if num_anomalous == 0 || num_anomalous == videos.len() {
            break;
        }
        let items = video_scores(recordings, normal, aggregate)?;
        of_videos.push(VideoFigures {
            aggregate: aggregate.to_string(),
            figures: judge_scores(&items, bootstrap)?,
        });
    }
    Ok(RecordingAnomalies {
        normal: classes[normal].clone(),
        has_own_score: recordings
            .iter()
            .flat_map(|recording| &recording.windows)
            .any(|window| window.anomaly.is_some()),
        window_sec: windowed.window_sec,
        hop_sec: windowed.hop_sec,
        recordings: recordings.len(),
        anomalous: num_anomalous,
        frames,
        videos: of_videos,
        verdicts: None,
        no_verdicts: None,
        left_out: windowed.left_out.clone(),
    })
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

    /// Windows of 2 s that follow each other; frames a second apart.
    fn recording(name: &str, anomaly: &[f32], truths: &[(i64, i64)]) -> Recording {
        let windows = anomaly
            .iter()
            .enumerate()
            .map(|(idx, &score)| ScoredWindow {
                span: span(2 * idx as i64, 2 * idx as i64 + 2),
                scores: vec![1.0 - score, score],
                anomaly: None,
            });
        let end = 2 * anomaly.len() as i64;
        Recording {
            name: name.into(),
            group: None,
            watched: span(0, end),
            frames: (0..end).map(at).collect(),
            truths: truths
                .iter()
                .map(|&(start, end)| TrueEvent {
                    class: 1,
                    span: span(start, end),
                })
                .collect(),
            windows: windows.collect(),
        }
    }

    fn set() -> Vec<Recording> {
        vec![
            recording("a", &[0.1, 0.9, 0.8, 0.2], &[(2, 6)]),
            recording("b", &[0.2, 0.1, 0.3, 0.1], &[]),
            recording("c", &[0.0, 0.6, 0.1, 0.1], &[(0, 2)]),
            recording("d", &[0.75, 0.0, 0.0, 0.0], &[]),
        ]
    }

    const BOOTSTRAP: Bootstrap = Bootstrap { draws: 50, seed: 0 };

    fn windowed() -> Windowed {
        Windowed {
            window_sec: 2.0,
            hop_sec: 2.0,
            left_out: vec!["e shares its source with training".into()],
        }
    }

    fn value(figures: &[Figure], name: &str) -> f64 {
        let figure = figures.iter().find(|figure| figure.name == name);
        figure.expect("given").value
    }

    #[test]
    fn events_are_found_in_windows() {
        let classes = ["normal".to_owned(), "fight".to_owned()];
        let rules = (&AlarmRules::default(), &EventRules::default());
        let set = set();
        let found = judge_recordings(
            &classes,
            &[false, true],
            &set,
            &windowed(),
            rules,
            &BOOTSTRAP,
        )
        .expect("sound recordings");
        // Alarms: a 2 to 6 s, found; c 2 to 4 s, beside the event; d 0 to 2 s, about nothing.
        assert_eq!(found.counts, [1, 1, 2]);
        assert!((value(&found.figures, "event_precision") - 1.0 / 3.0).abs() < 1e-12);
        assert!((value(&found.figures, "event_recall") - 0.5).abs() < 1e-12);
        // 32 s watched.
        assert!(
            (value(&found.figures, "false_alarms_per_hour") - 2.0 * 3600.0 / 32.0).abs() < 1e-9
        );
        // The event of a starts at 2 s, its first window ends at 4 s.
        assert!((value(&found.figures, "detection_delay") - 2.0).abs() < 1e-12);
        assert_eq!((found.events, found.background.len()), (2, 1));
        assert_eq!(found.left_out.len(), 1);
    }

    #[test]
    fn anomalies_are_judged_by_frame_and_by_video() {
        let classes = ["normal".to_owned(), "fight".to_owned()];
        let set = set();
        let found = judge_anomalies(&classes, 0, &set, &windowed(), (2, 0.5), &BOOTSTRAP)
            .expect("sound recordings");
        assert_eq!((found.recordings, found.anomalous), (4, 2));
        // By windows, each two frames: anomalous .9, .8 (a) and .0 (c) against thirteen others, of which .75 and .6 are
        // below .8. Of 3 x 13 pairs .9 and .8 win all; .0 ties with three of d and loses the rest.
        let expected = (13.0 + 13.0 + 0.5 * 3.0) / 39.0;
        assert!(
            (value(&found.frames, "roc_auc") - expected).abs() < 1e-6,
            "{found:?}"
        );
        let by = |words: &str| {
            let videos = found.videos.iter().find(|v| v.aggregate == words);
            value(&videos.expect("given").figures, "roc_auc")
        };
        // Means: a .5, b .175, c .2, d .1875.
        assert!((by("mean over its windows") - 1.0).abs() < 1e-12);
        // Highest: a .9, b .3, c .6, d .75: c is below d.
        assert!((by("highest window") - 0.75).abs() < 1e-12);
        // Two highest: a .85, b .25, c .35, d .375: c is below d.
        assert!((by("mean of the 2 highest windows") - 0.75).abs() < 1e-12);
        // Above .5: a half, b none, c and d a quarter.
        assert!((by("share of windows above 0.5") - 0.875).abs() < 1e-12);
        // Without an anomaly there is nothing to tell apart.
        let none = judge_anomalies(&classes, 0, &set[1..2], &windowed(), (2, 0.5), &BOOTSTRAP)
            .expect("sound recordings");
        assert!(none.frames.is_empty() && none.videos.is_empty());
    }
}
