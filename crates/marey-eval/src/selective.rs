//! Selective prediction: how good the model is on the items it is sure of, and how many those are.

use crate::bootstrap::Units;
use crate::classify::check_items;
use crate::counts::Outcome;
use crate::draws::{Described, Draws};
use crate::ranking::Ranking;
use crate::{Bootstrap, Error, ErrorKind, Figure, Scale, Scored};

/// What happens if only the surest items are answered.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    let outcome = |item: &Scored| Outcome::from_scores(item.target, &item.scores);
    let is_right: Vec<bool> = items
        .iter()
        .map(|item| outcome(item).predicted == item.target)
        .collect();
    let confidence = |i: usize| {
        let scores = items[i].scores.iter().copied();
        f64::from(scores.fold(f32::NEG_INFINITY, f32::max))
    };
    let ranking = Ranking::new(items.len(), confidence, |i| is_right[i]);
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
