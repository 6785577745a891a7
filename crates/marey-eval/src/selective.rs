//! Selective prediction: how good the model is on the items it is sure of, and how many those are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bootstrap::Units;
use crate::classify::check_items;
use crate::counts::Outcome;
use crate::draws::{Described, Draws};
use crate::ranking::Ranking;
use crate::{Bootstrap, Error, ErrorKind, Figure, Scale, Scored};

/// Best score of each item, and whether its class is the true one: what a threshold is chosen by.
pub fn confidences(items: &[Scored]) -> (Vec<f64>, Vec<bool>) {
    let of_item = |item: &Scored| {
        let outcome = Outcome::from_scores(item.target, &item.scores);
        let best = item.scores.iter().copied();
        (
            f64::from(best.fold(f32::NEG_INFINITY, f32::max)),
            outcome.predicted == item.target,
        )
    };
    items.iter().map(of_item).unzip()
}

/// What happens if only the surest items are answered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CoveragePoint {
    /// Items at least this sure are answered.
    pub threshold: f64,
    /// Share of the items that are answered.
    pub coverage: f64,
    /// Share of the answered items that are wrong.
    pub risk: f64,
}

/// The risk-coverage curve: a point for each confidence that occurs, by rising coverage. El-Yaniv and Wiener, JMLR 11 (2010).
///
/// # Errors
/// No items, lengths that differ, a confidence that is not finite.
pub fn risk_coverage(confidences: &[f64], is_right: &[bool]) -> Result<Vec<CoveragePoint>, Error> {
    if confidences.is_empty() {
        return Err(ErrorKind::NoItems.into());
    }
    let ranking = Ranking::checked(is_right, confidences)?;
    let total = confidences.len() as f64;
    let (mut right, mut wrong) = (0, 0);
    let mut points = Vec::new();
    ranking.for_each_block(&vec![1; confidences.len()], |last, block| {
        right += block[0];
        wrong += block[1];
        let answered = (right + wrong) as f64;
        points.push(CoveragePoint {
            threshold: confidences[last],
            coverage: answered / total,
            risk: wrong as f64 / answered,
        });
    });
    Ok(points)
}

/// Judges how well the best score tells right answers from wrong ones: `risk_coverage_area`, and `coverage_at_accuracy`, the share of
/// items that can be answered if `accuracy` of the answers must be right.
///
/// The baseline is a confidence that says nothing. A threshold for use is chosen on validation by
/// [`choose_confidence`](crate::choose_confidence); this figure only says what is possible.
///
/// # Errors
/// As [`classify`](crate::classify); an accuracy outside 0..=1.
pub fn judge_selective(
    items: &[Scored],
    accuracy: f64,
    bootstrap: &Bootstrap,
) -> Result<Vec<Figure>, Error> {
    if !(0.0..=1.0).contains(&accuracy) {
        return Err(ErrorKind::NoShare(accuracy).into());
    }
    let num_classes = items.first().ok_or(ErrorKind::NoItems)?.scores.len();
    check_items(num_classes, items)?;
    let (confidences, is_right) = confidences(items);
    let ranking = Ranking::new(items.len(), |i| confidences[i], |i| is_right[i]);
    let draws = Draws::collect(Units::new(items, bootstrap)?, items.len(), &mut |weights| {
        let (mut right, mut wrong, mut area, mut answered) = (0, 0, 0.0, 0);
        ranking.for_each_block(weights, |_, block| {
            right += block[0];
            wrong += block[1];
            let size = block[0] + block[1];
            if size > 0 {
                area += size as f64 * wrong as f64 / (right + wrong) as f64;
                if right as f64 >= accuracy * (right + wrong) as f64 {
                    answered = right + wrong;
                }
            }
        });
        let total = (right + wrong) as f64;
        let all = f64::from(u8::from(right as f64 >= accuracy * total));
        vec![
            Some(area / total),
            Some(wrong as f64 / total),
            Some(answered as f64 / total),
            Some(all),
        ]
    });
    let baseline = "a confidence that says nothing";
    let described = [
        Described {
            name: "risk_coverage_area",
            title: "area under risk-coverage (less is better)",
            definition:
                "share of wrong answers among the items at least as sure as an item, averaged over \
                         all items; items of equal confidence are taken together"
                    .into(),
            scale: Scale::ErrorShare,
            support: items.len(),
            successes: None,
            baseline: baseline.into(),
        },
        Described {
            name: "coverage_at_accuracy",
            title: "coverage at the wanted accuracy",
            definition: format!(
                "largest share of items, the surest first, of which at least {:.1} % are right",
                100.0 * accuracy
            ),
            scale: Scale::Share,
            support: items.len(),
            successes: None,
            baseline: baseline.into(),
        },
    ];
    let described = described.into_iter().enumerate();
    Ok(described
        .filter_map(|(idx, of)| draws.figure([2 * idx, 2 * idx + 1], of))
        .collect())
}

/// Judges a threshold that was chosen elsewhere: `answered`, the share of the items whose best score reaches it, and
/// `risk_of_answered`, the share of those that are wrong. The latter is left out where nothing is answered.
///
/// The baseline answers as many items without looking at the score: its risk is that of all items.
///
/// # Errors
/// As [`classify`](crate::classify); a threshold that is not finite.
pub fn judge_rejection(
    items: &[Scored],
    threshold: f64,
    bootstrap: &Bootstrap,
) -> Result<Vec<Figure>, Error> {
    if !threshold.is_finite() {
        return Err(ErrorKind::ScoreAt(0).into());
    }
    let num_classes = items.first().ok_or(ErrorKind::NoItems)?.scores.len();
    check_items(num_classes, items)?;
    let (confidences, is_right) = confidences(items);
    let counts = |weights: &[u32]| {
        // Items, wrong ones, answered ones, answered and wrong ones.
        let mut counts = [0_u64; 4];
        for i in 0..items.len() {
            let weight = u64::from(weights[i]);
            let is_answered = confidences[i] >= threshold;
            counts[0] += weight;
            counts[1] += weight * u64::from(!is_right[i]);
            counts[2] += weight * u64::from(is_answered);
            counts[3] += weight * u64::from(is_answered && !is_right[i]);
        }
        counts
    };
    let draws = Draws::collect(Units::new(items, bootstrap)?, items.len(), &mut |weights| {
        let [all, wrong, answered, answered_wrong] = counts(weights).map(|count| count as f64);
        vec![
            Some(answered / all),
            Some(1.0),
            (answered > 0.0).then(|| answered_wrong / answered),
            Some(wrong / all),
        ]
    });
    let [all, _, answered, answered_wrong] = counts(&vec![1; items.len()]);
    let described = [
        Described {
            name: "answered",
            title: "items answered",
            definition: format!("share of items whose best score is at least {threshold:.4}"),
            scale: Scale::Share,
            support: all as usize,
            successes: Some(answered),
            baseline: "answering every item".into(),
        },
        Described {
            name: "risk_of_answered",
            title: "wrong among the answered (less is better)",
            definition: format!(
                "share of the items whose best score is at least {threshold:.4} that are wrong"
            ),
            scale: Scale::ErrorShare,
            support: answered as usize,
            successes: Some(answered_wrong),
            baseline: "answering as many items, whatever their score".into(),
        },
    ];
    let described = described.into_iter().enumerate();
    Ok(described
        .filter_map(|(idx, of)| draws.figure([2 * idx, 2 * idx + 1], of))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_judged_by_what_it_answers() {
        let item = |i: usize, best: f32, is_right: bool| Scored {
            item: i.to_string(),
            group: None,
            target: usize::from(!is_right),
            scores: vec![best, 1.0 - best],
        };
        let items = [
            item(0, 0.9, true),
            item(1, 0.8, true),
            item(2, 0.8, false),
            item(3, 0.6, false),
        ];
        let bootstrap = Bootstrap { draws: 50, seed: 0 };
        let judge = |threshold| judge_rejection(&items, threshold, &bootstrap);
        let found = judge(0.8_f32.into()).expect("sound");
        let values: Vec<(f64, f64, usize)> = found
            .iter()
            .map(|figure| (figure.value, figure.baseline.value, figure.support))
            .collect();
        assert_eq!(values, [(0.75, 1.0, 4), (1.0 / 3.0, 0.5, 3)]);
        // Nothing reaches 1: there is no risk of nothing.
        let names = |threshold| -> Vec<String> {
            let found = judge(threshold).expect("sound");
            found.into_iter().map(|figure| figure.name).collect()
        };
        assert_eq!(names(1.0), ["answered"]);
        assert!(judge(f64::NAN).is_err());
    }
}
