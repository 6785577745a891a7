//! Metrics with intervals and baselines, and the report that holds them.
//!
//! For: turning the scores of a recogniser into figures that can be believed. Every [`Figure`] carries its interval, the
//! number of items behind it and what a predictor without eyes would have got, and cannot be built without them.
//! Not for: running a model, reading data. Everything here works on plain slices, and what is chosen or fitted takes a
//! [`Validation`], so that a test split cannot choose.
//!
//! ```
//! use marey_eval::{Bootstrap, Scored, classify};
//!
//! let classes = ["still".to_owned(), "moving".to_owned()];
//! let items: Vec<Scored> = (0..40)
//!     .map(|i| Scored {
//!         item: format!("clip-{i}"),
//!         group: Some(format!("camera-{}", i % 8)),
//!         target: i % 2,
//!         scores: if i % 5 == 0 { vec![0.6, 0.4] } else { vec![1.0 - (i % 2) as f32, (i % 2) as f32] },
//!     })
//!     .collect();
//! let result = classify(&classes, &[30, 10], &items, &Bootstrap::default())?;
//! let top1 = result.figure("top1").expect("classify always gives top1");
//! assert_eq!(top1.value, 0.9);
//! assert_eq!(top1.baseline.value, 0.5); // always answering "still"
//! println!("{result}");
//! # Ok::<(), marey_eval::Error>(())
//! ```

mod error;

mod distribution;

mod interval;

mod bootstrap;

mod figure;

mod draws;

mod metric;

mod counts;

mod ranking;

mod reliability;

mod validation;

mod minimise;

mod calibration;

mod ood;

mod evaluator;

mod baseline;

mod classify;

mod groups;

mod warnings;

mod compare;

mod binary;

mod selective;

mod threshold;

mod heads;

mod detection;

mod anomaly;

mod events;

mod gap;

mod learning_curve;

mod label_errors;
mod mcnemar;

mod runs;

mod breakdown;

mod finding;

mod strip;

mod views;

mod smoothing;

mod trust;

mod recordings;

mod verdict;

mod predictions;

mod table;

mod report;

mod files;

mod plot;

pub use anomaly::{Aggregate, ScoredVideo, frame_labels, judge_frames};
pub use binary::{BinaryScored, judge_class, judge_scores};
pub use bootstrap::Bootstrap;
pub use breakdown::Confusion;
pub use calibration::{Calibration, LabelledLogits, RisingCurve, scores_from_logits};
pub use classify::{Classification, Evaluation, Mistake, Scored, classify, judge_probabilities};
pub use compare::{Comparison, Difference, compare};
pub use detection::{Picture, Rectangle, judge_boxes};
pub use error::{Error, ErrorKind};
pub use events::{
    Alarm, AlarmRules, EventFigures, EventRules, ScoredWindow, TrueEvent, WatchedStream,
    alarms_from_windows, judge_events, match_events, scores_of_instants, temporal_overlap,
    window_cells,
};
pub use figure::{Baseline, ClassFigures, Estimate, Figure, Scale, Standing};
pub use finding::{Finding, Severity};
pub use gap::{Gap, SplitItems, generalisation_gap};
pub use groups::GroupFigures;
pub use heads::{TwoHeads, ValidPairs, judge_two_heads};
pub use interval::{Interval, IntervalMethod, percentile_interval, wilson};
pub use label_errors::{LabelCandidate, label_candidates};
pub use learning_curve::{LearningCurve, LearningPoint, MeasuredFigure, Projected};
pub use mcnemar::{McNemar, mcnemar};
pub use ood::Foreignness;
pub use plot::Plot;
pub use predictions::{predictions_csv, read_predictions};
pub use ranking::{
    RocPoint, average_precision, fpr_at_tpr, random_average_precision, roc_auc, roc_curve,
    tpr_at_fpr,
};
pub use recordings::{
    Recording, RecordingAnomalies, RecordingEvents, VideoFigures, Windowed, judge_anomalies,
    judge_recordings, video_scores,
};
pub use reliability::{ReliabilityBin, calibration_error, reliability};
pub use report::{
    Curve, CurvePanel, DataSection, LabelFigures, Origin, Report, SCHEMA_VERSION, Skipped,
    SplitCounts,
};
pub use runs::{Changed, ComparedRun, RunsCompared, ScoredRun, Versus, compare_runs};
pub use selective::{CoveragePoint, confidences, judge_rejection, judge_selective, risk_coverage};
pub use smoothing::Smoothing;
pub use strip::{Heat, Strip};
pub use threshold::{ChosenThreshold, Costs, choose_confidence, choose_coverage, choose_threshold};
pub use trust::{CalibrationFigures, Rejected, Selective, judge_answers, judge_calibration};
pub use validation::Validation;
pub use verdict::{VerdictThreshold, Verdicts, judge_verdicts};
pub use views::{ViewAggregate, ViewScores};
