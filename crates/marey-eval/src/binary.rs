//! Figures of one score against a yes or no: a rare class, an anomaly, an input from elsewhere.

use crate::bootstrap::Units;
use crate::draws::{Described, Draws};
use crate::ranking::{Ranking, random_average_precision};
use crate::reliability::Binned;
use crate::{Bootstrap, Error, ErrorKind, Figure, Scale, Scored};

/// Bins of the calibration error of the positive class.
const POSITIVE_BINS: usize = 10;

/// An item with one score and its truth.
#[derive(Debug, Clone, PartialEq)]
pub struct BinaryScored {
    /// The item's unique id.
    pub item: String,
    /// What it shares with other items (camera, source video), if known.
    pub group: Option<String>,
    /// Whether it is of the positive class.
    pub is_positive: bool,
    /// The higher, the more positive; any finite number.
    pub score: f64,
}

impl BinaryScored {
    /// The items of a classification, where those of `class` are positive and its score is theirs.
    pub fn of_class(items: &[Scored], class: usize) -> Vec<Self> {
        let of_item = |item: &Scored| Self {
            item: item.item.clone(),
            group: item.group.clone(),
            is_positive: item.target == class,
            score: item.scores.get(class).copied().map_or(f64::NAN, f64::from),
        };
        items.iter().map(of_item).collect()
    }
}

/// Judges scores against a yes or no: `average_precision`, `roc_auc`, `fpr_at_95_tpr`, `tpr_at_5_fpr`, and where every score is in
/// 0..=1 `positive_ece` and `positive_brier`.
///
/// # Errors
/// No items, an item given twice, a score that is not finite, no positive or no negative item, fewer than 2 draws.
pub fn judge_scores(items: &[BinaryScored], bootstrap: &Bootstrap) -> Result<Vec<Figure>, Error> {
    check_binary(items)?;
    for (side, wanted) in [("positive", true), ("negative", false)] {
        if !items.iter().any(|item| item.is_positive == wanted) {
            return Err(ErrorKind::OneSided(side).into());
        }
    }
    let ranking = Ranking::new(items.len(), |i| items[i].score, |i| items[i].is_positive);
    let confidences: Vec<f64> = items.iter().map(|item| item.score).collect();
    let is_positive: Vec<bool> = items.iter().map(|item| item.is_positive).collect();
    let binned = Binned::new(&confidences, &is_positive, POSITIVE_BINS).ok();
    let share =
        is_positive.iter().filter(|&&positive| positive).count() as f64 / items.len() as f64;
    let units = units_of(items, bootstrap)?;
    let of_sides = units.effective_of_sides(&|idx| is_positive[idx]);
    let draws = Draws::collect(units, items.len(), &mut |weights| {
        let sides = sides(&is_positive, weights);
        let areas = ranking.areas(weights);
        let [fpr, tpr] = ends(&ranking, weights, sides).map_or([None; 2], |ends| ends.map(Some));
        let both = |value: f64| (sides[0] > 0 && sides[1] > 0).then_some(value);
        let total = (sides[0] + sides[1]) as f64;
        let drawn_share = sides[0] as f64 / total;
        let brier = binned.as_ref().map(|_| {
            let loss = |i: usize| (confidences[i] - f64::from(u8::from(is_positive[i]))).powi(2);
            (0..items.len())
                .map(|i| f64::from(weights[i]) * loss(i))
                .sum::<f64>()
                / total
        });
        let random = random_average_precision(sides[0], sides[0] + sides[1]);
        // Each figure beside its baseline.
        vec![
            areas.average_precision,
            (sides[0] > 0).then_some(random),
            areas.roc_auc,
            both(0.5),
            fpr,
            both(0.95),
            tpr,
            both(0.05),
            binned.as_ref().map(|binned| binned.error(weights)),
            Some((drawn_share - share).abs()),
            brier,
            Some(drawn_share * (1.0 - share).powi(2) + (1.0 - drawn_share) * share.powi(2)),
        ]
    });
    // ROC AUC and the two ends of its curve compare the sides.
    let draws = draws.resting_on(of_sides, &[2, 4, 6]);
    let figures = described(items.len()).into_iter().enumerate();
    Ok(figures
        .filter_map(|(idx, of)| draws.figure([2 * idx, 2 * idx + 1], of))
        .collect())
}

/// Refuses what no figure can be made of.
pub(crate) fn check_binary(items: &[BinaryScored]) -> Result<(), Error> {
    if items.is_empty() {
        return Err(ErrorKind::NoItems.into());
    }
    let mut seen = std::collections::HashSet::new();
    for BinaryScored { item, score, .. } in items {
        if !score.is_finite() {
            return Err(ErrorKind::Score { item: item.clone() }.into());
        }
        if !seen.insert(item) {
            return Err(ErrorKind::Duplicate { item: item.clone() }.into());
        }
    }
    Ok(())
}

pub(crate) fn units_of(items: &[BinaryScored], bootstrap: &Bootstrap) -> Result<Units, Error> {
    let keys: Vec<(&str, Option<&str>)> = items
        .iter()
        .map(|item| (item.item.as_str(), item.group.as_deref()))
        .collect();
    Units::of(&keys, bootstrap)
}

/// Weights of the positive and the negative items.
fn sides(is_positive: &[bool], weights: &[u32]) -> [u64; 2] {
    let mut sides = [0; 2];
    for (&is_positive, &weight) in is_positive.iter().zip(weights) {
        sides[usize::from(!is_positive)] += u64::from(weight);
    }
    sides
}

/// FPR@95TPR and TPR@5FPR; `None` where a side is missing.
fn ends(ranking: &Ranking, weights: &[u32], [positives, negatives]: [u64; 2]) -> Option<[f64; 2]> {
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (mut found, mut wrong) = (0, 0);
    let (mut fpr, mut tpr) = (None, 0.0);
    ranking.for_each_block(weights, |_, block| {
        found += block[0];
        wrong += block[1];
        let rates = [
            wrong as f64 / negatives as f64,
            found as f64 / positives as f64,
        ];
        if rates[1] >= 0.95 && fpr.is_none() {
            fpr = Some(rates[0]);
        }
        if rates[0] <= 0.05 {
            tpr = rates[1];
        }
    });
    Some([fpr?, tpr])
}

fn described(support: usize) -> Vec<Described> {
    let of = |name, title, scale, definition: &str, baseline: &str| Described {
        name,
        title,
        definition: definition.to_owned(),
        scale,
        support,
        successes: None,
        baseline: baseline.to_owned(),
    };
    let random = "a random order of the items";
    let share = "the share of positive items as the score of every item";
    vec![
        of(
            "average_precision",
            "average precision (PR AUC)",
            Scale::Share,
            "area under the precision-recall curve, the sum of (R_n - R_n-1) P_n; items of equal score \
             are taken together",
            random,
        ),
        of(
            "roc_auc",
            "ROC AUC",
            Scale::Share,
            "probability that a positive item scores higher than a negative one; equal scores count half",
            random,
        ),
        of(
            "fpr_at_95_tpr",
            "FPR at 95 % TPR (less is better)",
            Scale::ErrorShare,
            "lowest share of negative items taken for positive at a threshold that finds at least 95 % of \
             the positive ones",
            random,
        ),
        of(
            "tpr_at_5_fpr",
            "TPR at 5 % FPR",
            Scale::Share,
            "highest share of positive items found at a threshold that takes at most 5 % of the negative \
             ones for positive",
            random,
        ),
        of(
            "positive_ece",
            "calibration error of the positive class (less is better)",
            Scale::ErrorShare,
            "how far the score is from the share of positive items: its distance in each of 10 equal bins \
             (low, high] of the score, weighted by items",
            share,
        ),
        of(
            "positive_brier",
            "Brier score of the positive class (less is better)",
            Scale::Loss,
            "mean over items of the squared distance between score and truth, 0 or 1",
            share,
        ),
    ]
}

/// Judges one class of a classification by its decisions and its score: `f1`, `precision` and `recall` of the class, then what
/// [`judge_scores`] gives for its score. `tail_f1` of the cattle project is the F1 of class 1.
///
/// The baseline of F1 is the better of always and never answering the class: always gives `2 p / (1 + p)` at a share of `p`.
///
/// # Errors
/// As [`judge_scores`]; a class that is not in the list.
pub fn judge_class(
    items: &[Scored],
    class: usize,
    bootstrap: &Bootstrap,
) -> Result<Vec<Figure>, Error> {
    let num_classes = items.first().ok_or(ErrorKind::NoItems)?.scores.len();
    crate::classify::check_items(num_classes, items)?;
    if class >= num_classes {
        return Err(ErrorKind::NoClass {
            class,
            classes: num_classes,
        }
        .into());
    }
    let scores = judge_scores(&BinaryScored::of_class(items, class), bootstrap)?;
    let outcomes: Vec<_> = items
        .iter()
        .map(|item| crate::counts::Outcome::from_scores(item.target, &item.scores))
        .collect();
    let draws = Draws::collect(Units::new(items, bootstrap)?, items.len(), &mut |weights| {
        let counts = crate::counts::Counts::weighted(num_classes, &outcomes, weights);
        let share = counts.support[class] as f64 / counts.total() as f64;
        let is_present = counts.support[class] > 0;
        vec![
            is_present.then(|| counts.f1(class)),
            Some(2.0 * share / (1.0 + share)),
            Some(counts.precision(class)),
            Some(share),
            is_present.then(|| counts.recall(class)),
            Some(0.5),
        ]
    });
    let of = |name, title, definition: &str, baseline: &str| Described {
        name,
        title,
        definition: definition.to_owned(),
        scale: Scale::Share,
        support: items.len(),
        successes: None,
        baseline: baseline.to_owned(),
    };
    let decided = [
        of(
            "f1",
            "F1 of the class",
            "2 TP / (items of the class + items predicted as it)",
            "always this class",
        ),
        of(
            "precision",
            "precision of the class",
            "share of the items predicted as the class that are of it; 0 where none is",
            "always this class",
        ),
        of(
            "recall",
            "recall of the class",
            "share of the items of the class that were recognised",
            "a coin",
        ),
    ];
    let decided = decided.into_iter().enumerate();
    let mut figures: Vec<Figure> = decided
        .filter_map(|(idx, of)| draws.figure([2 * idx, 2 * idx + 1], of))
        .collect();
    figures.extend(scores);
    Ok(figures)
}
