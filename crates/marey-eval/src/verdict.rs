//! A verdict for a whole recording: anomalous or normal, at a threshold that was chosen on the validation split.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::binary::{check_binary, units_of};
use crate::draws::{Described, Draws};
use crate::{
    BinaryScored, Bootstrap, ChosenThreshold, Costs, Error, ErrorKind, Figure, Scale, Validation,
    choose_threshold,
};

/// How a threshold for verdicts was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictThreshold {
    /// The threshold with what it does on the validation recordings.
    pub chosen: ChosenThreshold,
    /// What each kind of error was said to cost; `None`: both kinds of recording weigh the same, however many there are.
    pub costs: Option<Costs>,
    /// Number of validation recordings with something anomalous.
    pub anomalous: usize,
}

impl VerdictThreshold {
    /// Chooses the threshold with the lowest cost on the recordings of the validation split. Without `costs` a false alarm costs
    /// 1 / (normal recordings) and a miss 1 / (anomalous recordings), which is the threshold of the highest mean of both recalls.
    ///
    /// # Errors
    /// As [`choose_threshold`]; recordings that are all normal or all anomalous, which choose nothing.
    pub fn choose(
        validation: &Validation<&[BinaryScored]>,
        costs: Option<Costs>,
    ) -> Result<Self, Error> {
        let recordings = *validation.data();
        let anomalous = num_anomalous(recordings);
        check_sides(recordings)?;
        let each_side = Costs {
            false_alarm: 1.0 / (recordings.len() - anomalous) as f64,
            miss: 1.0 / anomalous as f64,
        };
        Ok(Self {
            chosen: choose_threshold(validation, costs.unwrap_or(each_side))?,
            costs,
            anomalous,
        })
    }
}

/// Verdicts on whole recordings, and how good they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdicts {
    /// How the scores of a recording's windows became one, in words.
    pub aggregate: String,
    /// Recordings that score at least its `chosen.threshold` are called anomalous.
    pub threshold: VerdictThreshold,
    /// Number of recordings by `[truth][verdict]`, each normal, then anomalous.
    pub confusion: [[usize; 2]; 2],
    /// `accuracy`, `precision`, `recall`, `f1`, `false_alarm_rate`, of the verdict "anomalous".
    pub figures: Vec<Figure>,
}

/// Calls each recording anomalous that scores at least what `threshold` says, and judges these verdicts.
///
/// - `aggregate`: how a recording's score came to be, in words
///
/// # Errors
/// No recordings, one given twice, a score that is not finite, only normal or only anomalous ones, fewer than 2 draws.
pub fn judge_verdicts(
    recordings: &[BinaryScored],
    aggregate: &str,
    threshold: VerdictThreshold,
    bootstrap: &Bootstrap,
) -> Result<Verdicts, Error> {
    check_binary(recordings)?;
    check_sides(recordings)?;
    let lowest = threshold.chosen.threshold;
    // [truth, verdict] of each, 1 for anomalous.
    let told: Vec<[usize; 2]> = recordings
        .iter()
        .map(|it| [usize::from(it.is_positive), usize::from(it.score >= lowest)])
        .collect();
    let counts = |weights: &[u32]| {
        let mut counts = [[0_u64; 2]; 2];
        for (&[truth, verdict], &weight) in told.iter().zip(weights) {
            counts[truth][verdict] += u64::from(weight);
        }
        counts
    };
    let whole = counts(&vec![1; told.len()]);
    let units = units_of(recordings, bootstrap)?;
    let of_sides = units.effective_of_sides(&|idx| recordings[idx].is_positive);
    let draws = Draws::collect(units, told.len(), &mut |weights| numbers(counts(weights)));
    let draws = draws.resting_on(of_sides, &[4, 8]);
    let figures = described(whole).into_iter().enumerate();
    Ok(Verdicts {
        aggregate: aggregate.to_owned(),
        threshold,
        confusion: whole.map(|row| row.map(|count| count as usize)),
        figures: figures
            .filter_map(|(idx, of)| draws.figure([2 * idx, 2 * idx + 1], of))
            .collect(),
    })
}

fn num_anomalous(recordings: &[BinaryScored]) -> usize {
    recordings.iter().filter(|it| it.is_positive).count()
}

fn check_sides(recordings: &[BinaryScored]) -> Result<(), Error> {
    let anomalous = num_anomalous(recordings);
    if recordings.is_empty() {
        Err(ErrorKind::NoItems.into())
    } else if anomalous == 0 {
        Err(ErrorKind::OneSided("positive").into())
    } else if anomalous == recordings.len() {
        Err(ErrorKind::OneSided("negative").into())
    } else {
        Ok(())
    }
}

/// Each figure beside its baseline, from counts by `[truth][verdict]`.
fn numbers([[quiet, false_alarms], [missed, found]]: [[u64; 2]; 2]) -> Vec<Option<f64>> {
    let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
    let (normal, anomalous) = (quiet + false_alarms, missed + found);
    let all = normal + anomalous;
    let called = found + false_alarms;
    let of_anomalous = share(anomalous, all);
    let precision = share(found, called).or(Some(0.0));
    let f1 = share(2 * found, anomalous + called);
    vec![
        share(quiet + found, all),
        share(normal.max(anomalous), all),
        precision,
        of_anomalous,
        share(found, anomalous),
        Some(0.5),
        (anomalous > 0).then_some(f1.unwrap_or(0.0)),
        of_anomalous.map(|share| 2.0 * share / (1.0 + share)),
        share(false_alarms, normal),
        Some(0.5),
    ]
}

fn described([[quiet, false_alarms], [missed, found]]: [[u64; 2]; 2]) -> [Described; 5] {
    let all = quiet + false_alarms + missed + found;
    let of = |name, title, scale, counted: Option<[u64; 2]>, definition: &str, baseline: &str| {
        Described {
            name,
            title,
            definition: definition.to_owned(),
            scale,
            support: counted.map_or(all, |[_, of]| of) as usize,
            successes: counted.map(|[part, _]| part),
            baseline: baseline.to_owned(),
        }
    };
    let (always, coin) = ("always \"anomalous\"", "a coin");
    // Precision and F1 divide by what the verdicts call: no share of a fixed number, so no Wilson interval.
    [
        of(
            "accuracy",
            "accuracy of the verdict",
            Scale::Share,
            Some([quiet + found, all]),
            "share of the recordings whose verdict is right",
            "always the more frequent of both",
        ),
        of(
            "precision",
            "precision of \"anomalous\"",
            Scale::Share,
            None,
            "share of the recordings called anomalous that are; 0 where none is called so",
            always,
        ),
        of(
            "recall",
            "recall of \"anomalous\"",
            Scale::Share,
            Some([found, missed + found]),
            "share of the anomalous recordings that are called so",
            coin,
        ),
        of(
            "f1",
            "F1 of \"anomalous\"",
            Scale::Share,
            None,
            "2 TP / (anomalous recordings + recordings called anomalous)",
            always,
        ),
        of(
            "false_alarm_rate",
            "false alarms (less is better)",
            Scale::ErrorShare,
            Some([false_alarms, quiet + false_alarms]),
            "share of the normal recordings that are called anomalous",
            coin,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recordings(told: &[(f64, bool)]) -> Vec<BinaryScored> {
        let recording = |(idx, &(score, is_positive)): (usize, &(f64, bool))| BinaryScored {
            item: format!("recording {idx}"),
            group: None,
            is_positive,
            score,
        };
        told.iter().enumerate().map(recording).collect()
    }

    fn chosen(told: &[(f64, bool)], costs: Option<Costs>) -> Result<VerdictThreshold, Error> {
        let items = recordings(told);
        let validation = Validation::of_split("validation", items.as_slice())?;
        VerdictThreshold::choose(&validation, costs)
    }

    const BOOTSTRAP: Bootstrap = Bootstrap { draws: 50, seed: 0 };

    #[test]
    fn both_kinds_of_recording_weigh_the_same_unless_costs_are_given() {
        // Six anomalous recordings, two normal ones: to call all of them anomalous has the highest accuracy.
        let told = [
            (0.9, true),
            (0.8, true),
            (0.7, true),
            (0.6, true),
            (0.5, false),
            (0.4, true),
            (0.3, false),
            (0.2, true),
        ];
        let balanced = chosen(&told, None).expect("both kinds");
        assert!(
            (balanced.chosen.threshold - 0.55).abs() < 1e-12,
            "{balanced:?}"
        );
        assert_eq!(
            (balanced.chosen.false_alarms, balanced.chosen.misses),
            (0, 2)
        );
        assert_eq!((balanced.anomalous, balanced.chosen.support), (6, 8));
        let costs = Costs {
            false_alarm: 1.0,
            miss: 2.0,
        };
        let dear = chosen(&told, Some(costs)).expect("both kinds");
        assert_eq!((dear.chosen.false_alarms, dear.chosen.misses), (2, 0));
    }

    #[test]
    fn verdicts_are_counted_and_judged() {
        let threshold = chosen(&[(0.8, true), (0.2, false)], None).expect("both kinds");
        let judged = recordings(&[
            (0.9, true),
            // As high as the threshold is anomalous.
            (0.5, true),
            (0.1, true),
            (0.7, false),
            (0.3, false),
            (0.2, false),
            (0.0, false),
        ]);
        let found = judge_verdicts(&judged, "highest window", threshold, &BOOTSTRAP)
            .expect("sound recordings");
        assert_eq!(found.confusion, [[3, 1], [1, 2]]);
        let expected = [
            ("accuracy", 5.0 / 7.0, 4.0 / 7.0),
            ("precision", 2.0 / 3.0, 3.0 / 7.0),
            ("recall", 2.0 / 3.0, 0.5),
            ("f1", 4.0 / 6.0, 0.6),
            ("false_alarm_rate", 0.25, 0.5),
        ];
        assert_eq!(found.figures.len(), expected.len());
        for (figure, (name, value, baseline)) in found.figures.iter().zip(expected) {
            assert_eq!(figure.name, name);
            assert!((figure.value - value).abs() < 1e-12, "{name}");
            assert!((figure.baseline.value - baseline).abs() < 1e-12, "{name}");
            assert!(figure.widest_interval().contains(value), "{name}");
        }
    }

    #[test]
    fn one_kind_alone_decides_nothing() {
        let threshold = chosen(&[(0.8, true), (0.2, false)], None).expect("both kinds");
        for side in [true, false] {
            assert!(chosen(&[(0.8, side), (0.2, side)], None).is_err());
            let alone = recordings(&[(0.8, side), (0.2, side)]);
            assert!(judge_verdicts(&alone, "mean", threshold.clone(), &BOOTSTRAP).is_err());
        }
        // A test split cannot choose.
        assert!(Validation::of_split("test", [0.5]).is_err());
    }
}
