//! Anomaly scores of frames: against the official intervals, and summed up for a video.

use marey_clip::{Span, Timestamp};

use crate::{BinaryScored, Bootstrap, Error, ErrorKind, Figure, judge_scores};

/// A video with a score for each of its frames.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredVideo {
    /// Its unique name.
    pub name: String,
    /// What it shares with other videos (camera), if known. Without it the video is its own group: its frames are no independent
    /// evidence.
    pub group: Option<String>,
    /// When each frame is shown.
    pub timestamps: Vec<Timestamp>,
    /// Anomaly score of each frame: the higher, the more anomalous.
    pub scores: Vec<f64>,
    /// When something anomalous happens; empty for a normal video.
    pub anomalous: Vec<Span>,
}

/// Judges frame scores against the intervals in which something happens, as [`judge_scores`] does: `roc_auc` is the frame-level AUC
/// of the literature (Sultani et al., CVPR 2018).
///
/// # Errors
/// As [`judge_scores`]; scores that do not match the timestamps.
pub fn judge_frames(videos: &[ScoredVideo], bootstrap: &Bootstrap) -> Result<Vec<Figure>, Error> {
    let mut frames = Vec::new();
    for video in videos {
        if video.timestamps.len() != video.scores.len() {
            let (labels, scores) = (video.timestamps.len(), video.scores.len());
            return Err(ErrorKind::Lengths { labels, scores }.into());
        }
        let is_anomalous = frame_labels(&video.timestamps, &video.anomalous);
        for (idx, (is_positive, &score)) in is_anomalous.into_iter().zip(&video.scores).enumerate()
        {
            frames.push(BinaryScored {
                item: format!("{}#{idx}", video.name),
                group: Some(video.group.clone().unwrap_or_else(|| video.name.clone())),
                is_positive,
                score,
            });
        }
    }
    judge_scores(&frames, bootstrap)
}

/// Whether each instant lies in one of `spans`.
pub fn frame_labels(timestamps: &[Timestamp], spans: &[Span]) -> Vec<bool> {
    let is_inside = |instant: &Timestamp| spans.iter().any(|span| span.contains(*instant));
    timestamps.iter().map(is_inside).collect()
}

/// How the scores of a video's frames or windows become one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregate {
    /// Their mean.
    Mean,
    /// The highest.
    Max,
    /// The mean of this many highest, or of all if there are fewer; at least 1.
    TopMean(usize),
    /// The share of them above this threshold.
    ShareOver(f64),
}

impl std::fmt::Display for Aggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mean => write!(f, "mean over its windows"),
            Self::Max => write!(f, "highest window"),
            Self::TopMean(count) => write!(f, "mean of the {count} highest windows"),
            Self::ShareOver(over) => write!(f, "share of windows above {over}"),
        }
    }
}

impl Aggregate {
    /// The score of a video.
    ///
    /// # Errors
    /// No scores, one that is not finite, a mean of 0 scores.
    pub fn of(self, scores: &[f64]) -> Result<f64, Error> {
        if scores.is_empty() || self == Self::TopMean(0) {
            return Err(ErrorKind::NoItems.into());
        }
        if let Some(position) = scores.iter().position(|score| !score.is_finite()) {
            return Err(ErrorKind::ScoreAt(position).into());
        }
        let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
        Ok(match self {
            Self::Mean => mean(scores),
            Self::Max => scores.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::TopMean(count) => {
                let mut sorted = scores.to_vec();
                sorted.sort_unstable_by(|a, b| b.total_cmp(a));
                mean(&sorted[..count.min(sorted.len())])
            }
            Self::ShareOver(threshold) => {
                scores.iter().filter(|&&score| score > threshold).count() as f64
                    / scores.len() as f64
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_video_has_one_score() {
        let scores = [0.1, 0.9, 0.5, 0.3];
        let cases = [
            (Aggregate::Mean, 0.45),
            (Aggregate::Max, 0.9),
            (Aggregate::TopMean(2), 0.7),
            (Aggregate::TopMean(9), 0.45),
            (Aggregate::ShareOver(0.3), 0.5),
        ];
        for (aggregate, expected) in cases {
            let found = aggregate.of(&scores).expect("sound scores");
            assert!((found - expected).abs() < 1e-12, "{aggregate:?}: {found}");
            assert!(aggregate.of(&[]).is_err());
            assert!(aggregate.of(&[f64::NAN]).is_err());
        }
        assert!(Aggregate::TopMean(0).of(&scores).is_err());
    }

    #[test]
    fn frames_are_judged_by_the_intervals_and_drawn_by_video() {
        let video = |name: &str, anomalous: Vec<Span>, scores: Vec<f64>| ScoredVideo {
            name: name.into(),
            group: None,
            timestamps: (0..scores.len() as i64).map(at).collect(),
            scores,
            anomalous,
        };
        let span = Span::new(at(1), at(3)).expect("a span");
        // Half-open: the frame at 3 s is normal again.
        assert_eq!(
            frame_labels(&[at(0), at(1), at(2), at(3)], &[span]),
            [false, true, true, false]
        );
        let videos = [
            video("a", vec![span], vec![0.1, 0.8, 0.9, 0.2]),
            video("b", vec![], vec![0.85, 0.1]),
            video("c", vec![span], vec![0.0, 0.7, 0.6, 0.0]),
        ];
        let bootstrap = Bootstrap { draws: 50, seed: 0 };
        let found = judge_frames(&videos, &bootstrap).expect("sound videos");
        let auc = found
            .iter()
            .find(|figure| figure.name == "roc_auc")
            .expect("given");
        // Of 4 x 6 pairs three are lost, those of .8, .7 and .6 against .85.
        assert!((auc.value - 21.0 / 24.0).abs() < 1e-12);
        assert!(
            auc.interval.method.to_string().contains("3 groups"),
            "{}",
            auc.interval.method
        );
    }
}
