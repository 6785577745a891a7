//! How far a score can be trusted: what a calibration did, and what becomes of the items of which the model is unsure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Bootstrap, Calibration, CoveragePoint, Difference, Error, Evaluation, Figure, ReliabilityBin,
    Scored, compare, confidences, evaluator::Evaluator, judge_probabilities, judge_rejection,
    judge_selective, risk_coverage,
};

/// Points of a coverage curve in a report: more cannot be told apart in the plot.
const MAX_POINTS: usize = 200;

/// Share of right answers that `coverage_at_accuracy` asks for where nobody asked for another.
const DEFAULT_ACCURACY: f64 = 0.95;

/// The probabilities of a model on one split, before and after a calibration that was fitted on another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CalibrationFigures {
    /// `temperature`, `vector` or `isotonic`.
    pub method: String,
    /// The calibration in words, such as `temperature 1.71`.
    pub description: String,
    /// Items of the validation split that it was fitted on.
    pub fitted_on: usize,
    /// `ece`, `brier` and `nll` of the scores without it.
    pub before: Vec<Figure>,
    /// The same of the scores with it.
    pub after: Vec<Figure>,
    /// After less before, with intervals drawn in pairs, for the figures that a comparison has.
    pub changes: Vec<Difference>,
    /// The reliability diagram of the scores without it.
    pub reliability_before: Vec<ReliabilityBin>,
}

/// Judges what `calibration`, fitted on `fitted_on` validation items, does to the same items `before` and `after` it.
///
/// # Errors
/// As [`judge_probabilities`]; if the two do not hold the same items.
pub fn judge_calibration(
    evaluation: &Evaluation<'_>,
    calibration: &Calibration,
    fitted_on: usize,
    before: &[Scored],
    after: &[Scored],
) -> Result<CalibrationFigures, Error> {
    let Evaluation {
        classes,
        train_counts,
        bootstrap,
    } = *evaluation;
    let judge = |items| judge_probabilities(classes, train_counts, items, bootstrap);
    let mut changes = compare(
        "the same scores without calibration",
        after,
        before,
        bootstrap,
    )?;
    changes
        .differences
        .retain(|change| ["top1", "macro_f1", "ece", "brier"].contains(&&*change.figure));
    Ok(CalibrationFigures {
        method: calibration.method().to_owned(),
        description: calibration.to_string(),
        fitted_on,
        before: judge(before)?,
        after: judge(after)?,
        changes: changes.differences,
        reliability_before: Evaluator::new(before).reliability(),
    })
}

/// What becomes of the figures if only the surest items are answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Selective {
    /// The risk-coverage curve by rising coverage, thinned to 200 points; the last answers every item.
    pub curve: Vec<CoveragePoint>,
    /// `risk_coverage_area` and `coverage_at_accuracy`.
    pub figures: Vec<Figure>,
    /// The threshold in use, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejected>,
}

impl Selective {
    /// The share of wrong answers where every item is answered.
    pub fn full_risk(&self) -> f64 {
        self.curve.last().map_or(0.0, |point| point.risk)
    }
}

/// A threshold below which a bundle says "uncertain", on a split that did not choose it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rejected {
    /// Items whose best score is below this are not answered.
    pub below: f64,
    /// How it was chosen, in words.
    pub rule: String,
    /// `answered` and `risk_of_answered`.
    pub figures: Vec<Figure>,
}

/// Judges the answers of `items` by their best score: the risk-coverage curve, and `threshold` with the rule that chose it in words.
///
/// `accuracy` is the share of right answers that `coverage_at_accuracy` asks for; without one it is 0.95.
///
/// # Errors
/// As [`judge_selective`].
pub fn judge_answers(
    items: &[Scored],
    accuracy: Option<f64>,
    threshold: Option<(f64, String)>,
    bootstrap: &Bootstrap,
) -> Result<Selective, Error> {
    let (confidences, is_right) = confidences(items);
    let rejection = match threshold {
        Some((below, rule)) => Some(Rejected {
            below,
            rule,
            figures: judge_rejection(items, below, bootstrap)?,
        }),
        None => None,
    };
    Ok(Selective {
        figures: judge_selective(items, accuracy.unwrap_or(DEFAULT_ACCURACY), bootstrap)?,
        curve: thinned(risk_coverage(&confidences, &is_right)?),
        rejection,
    })
}

/// At most [`MAX_POINTS`] of the points, the first and the last among them.
fn thinned(curve: Vec<CoveragePoint>) -> Vec<CoveragePoint> {
    if curve.len() <= MAX_POINTS {
        return curve;
    }
    let last = curve.len() - 1;
    (0..MAX_POINTS)
        .map(|idx| curve[idx * last / (MAX_POINTS - 1)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(temperature: f32) -> (Vec<usize>, Vec<Vec<f32>>, Vec<Scored>) {
        // Right in three of four cases, whatever the logits say.
        let logits: Vec<Vec<f32>> = (0..80).map(|_| vec![3.0, 0.0]).collect();
        let targets: Vec<usize> = (0..80).map(|i| usize::from(i % 4 == 0)).collect();
        let scored = targets
            .iter()
            .zip(&logits)
            .enumerate()
            .map(|(i, (&target, logits))| Scored {
                item: i.to_string(),
                group: None,
                target,
                scores: crate::scores_from_logits(
                    &logits.iter().map(|z| z / temperature).collect::<Vec<_>>(),
                ),
            })
            .collect();
        (targets, logits, scored)
    }

    #[test]
    fn a_calibration_is_judged_before_and_after() {
        let (targets, logits, before) = items(1.0);
        let data = crate::LabelledLogits {
            targets: &targets,
            logits: &logits,
        };
        let validation = crate::Validation::of_split("validation", data).expect("validation");
        let calibration = Calibration::fit_temperature(&validation).expect("sound logits");
        // ln 3 = 1.0986, so 3 / T must be that: T = 2.7307.
        assert_eq!(calibration.to_string(), "temperature 2.731");
        let (_, _, after) = items(3.0 / 3.0_f32.ln());
        let classes = ["a".to_owned(), "b".to_owned()];
        let bootstrap = Bootstrap { draws: 50, seed: 0 };
        let evaluation = Evaluation {
            classes: &classes,
            train_counts: &[50, 50],
            bootstrap: &bootstrap,
        };
        let found =
            judge_calibration(&evaluation, &calibration, 80, &before, &after).expect("sound items");
        let ece = |figures: &[Figure]| {
            let figure = figures.iter().find(|figure| figure.name == "ece");
            figure.expect("given").value
        };
        // The best score was e^3 / (1 + e^3) = 0.9526 and is 0.75 now.
        assert!((ece(&found.before) - (0.952_574 - 0.75)).abs() < 1e-5);
        assert!(ece(&found.after) < 1e-6);
        let change = found.changes.iter().find(|change| change.figure == "ece");
        assert!((change.expect("given").difference + 0.202_574).abs() < 1e-5);
        assert_eq!(found.reliability_before.len(), 15);
    }

    #[test]
    fn a_long_curve_is_thinned_and_keeps_its_ends() {
        let point = |i: usize| CoveragePoint {
            threshold: 1.0 - i as f64 / 1000.0,
            coverage: i as f64 / 1000.0,
            risk: 0.0,
        };
        let curve = thinned((0..=1000).map(point).collect());
        assert_eq!(curve.len(), MAX_POINTS);
        assert_eq!((curve[0], curve[MAX_POINTS - 1]), (point(0), point(1000)));
        assert_eq!(thinned(vec![point(3)]), [point(3)]);
    }
}
