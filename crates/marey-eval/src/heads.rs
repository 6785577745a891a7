//! Two label heads judged together, such as the action and the actor of a clip.

use std::collections::HashSet;

use crate::bootstrap::Units;
use crate::counts::Outcome;
use crate::draws::{Described, Draws};
use crate::{Bootstrap, Error, ErrorKind, Figure, Scale};

/// An item with the truth and the scores of two heads.
#[derive(Debug, Clone, PartialEq)]
pub struct TwoHeads {
    /// The item's unique id.
    pub item: String,
    /// What it shares with other items (source video), if known.
    pub group: Option<String>,
    /// Index of the true class of each head.
    pub targets: [usize; 2],
    /// One score a class of each head, after softmax.
    pub scores: [Vec<f32>; 2],
}

/// Which pairs of classes can occur, such as no car that eats: `[class of the first head][class of the second]`.
pub type ValidPairs = [Vec<bool>];

/// Judges both heads together: `combined_accuracy`, where both must be right, and `joint_accuracy`, where the answer is the valid pair
/// with the highest product of scores.
///
/// The baseline of the first is the independence product, what two heads of the same accuracies would get if their mistakes had nothing
/// to do with each other. That of the second is always the most frequent pair of these items.
///
/// # Errors
/// No items, an item given twice, targets, scores or pairs that do not match, a score that is not finite, no valid pair, fewer than 2
/// draws.
pub fn judge_two_heads(
    items: &[TwoHeads],
    valid: &ValidPairs,
    bootstrap: &Bootstrap,
) -> Result<Vec<Figure>, Error> {
    let classes = check(items, valid)?;
    let keys: Vec<(&str, Option<&str>)> = items
        .iter()
        .map(|item| (item.item.as_str(), item.group.as_deref()))
        .collect();
    let right: Vec<[bool; 3]> = items.iter().map(|item| right_of(item, valid)).collect();
    let pair = |item: &TwoHeads| item.targets[0] * classes[1] + item.targets[1];
    let mut frequency = vec![0_usize; classes[0] * classes[1]];
    for item in items {
        frequency[pair(item)] += 1;
    }
    // The first of equals.
    let most_frequent = (0..frequency.len())
        .rev()
        .max_by_key(|&pair| frequency[pair])
        .expect("there are classes");
    let draws = Draws::collect(Units::of(&keys, bootstrap)?, items.len(), &mut |weights| {
        let share = |is_counted: &dyn Fn(usize) -> bool| {
            let counted = (0..items.len()).filter(|&i| is_counted(i));
            let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
            counted.map(|i| u64::from(weights[i])).sum::<u64>() as f64 / total as f64
        };
        let both = share(&|i| right[i][0] && right[i][1]);
        let product = share(&|i| right[i][0]) * share(&|i| right[i][1]);
        let joint = share(&|i| right[i][2]);
        let frequent = share(&|i| pair(&items[i]) == most_frequent);
        [both, product, joint, frequent].map(Some).to_vec()
    });
    let successes = |is_counted: &dyn Fn(&[bool; 3]) -> bool| {
        right.iter().filter(|right| is_counted(right)).count() as u64
    };
    let described = [
        Described {
            name: "combined_accuracy",
            title: "combined accuracy",
            definition: "share of items where the best class of both heads is right".into(),
            scale: Scale::Share,
            support: items.len(),
            successes: Some(successes(&|right| right[0] && right[1])),
            baseline: "the product of both heads' accuracies, as if their mistakes were independent".into(),
        },
        Described {
            name: "joint_accuracy",
            title: "joint accuracy over valid pairs",
            definition: "share of items where the valid pair with the highest product of scores is the true \
                         one; of equal products the earlier pair"
                .into(),
            scale: Scale::Share,
            support: items.len(),
            successes: Some(successes(&|right| right[2])),
            baseline: "always the most frequent pair of this set".into(),
        },
    ];
    let described = described.into_iter().enumerate();
    Ok(described
        .filter_map(|(idx, of)| draws.figure([2 * idx, 2 * idx + 1], of))
        .collect())
}

/// Whether the first head, the second head and the best valid pair are right.
fn right_of(item: &TwoHeads, valid: &ValidPairs) -> [bool; 3] {
    let [first, second] =
        [0, 1].map(|head| Outcome::from_scores(item.targets[head], &item.scores[head]).predicted);
    let product = |[a, b]: [usize; 2]| f64::from(item.scores[0][a]) * f64::from(item.scores[1][b]);
    let mut best: Option<[usize; 2]> = None;
    for (a, row) in valid.iter().enumerate() {
        for (b, &is_valid) in row.iter().enumerate() {
            if is_valid && best.is_none_or(|best| product([a, b]) > product(best)) {
                best = Some([a, b]);
            }
        }
    }
    [
        first == item.targets[0],
        second == item.targets[1],
        best == Some(item.targets),
    ]
}

/// Refuses what no figure can be made of; gives the numbers of classes.
fn check(items: &[TwoHeads], valid: &ValidPairs) -> Result<[usize; 2], Error> {
    let first = items.first().ok_or(ErrorKind::NoItems)?;
    let classes = [0, 1].map(|head| first.scores[head].len());
    if let Some(&few) = classes.iter().find(|&&classes| classes < 2) {
        return Err(ErrorKind::TooFewClasses(few).into());
    }
    if valid.len() != classes[0] || valid.iter().any(|row| row.len() != classes[1]) {
        return Err(ErrorKind::Pairs { classes }.into());
    }
    if !valid.iter().flatten().any(|&is_valid| is_valid) {
        return Err(ErrorKind::Pairs { classes }.into());
    }
    let mut seen = HashSet::new();
    for TwoHeads {
        item,
        targets,
        scores,
        ..
    } in items
    {
        if !seen.insert(item) {
            return Err(ErrorKind::Duplicate { item: item.clone() }.into());
        }
        for head in [0, 1] {
            let (item, target, classes) = (item.clone(), targets[head], classes[head]);
            let kind = if target >= classes {
                ErrorKind::Target {
                    item,
                    target,
                    classes,
                }
            } else if scores[head].len() != classes {
                ErrorKind::NumScores {
                    item,
                    scores: scores[head].len(),
                    classes,
                }
            } else if scores[head].iter().any(|score| !score.is_finite()) {
                ErrorKind::Score { item }
            } else {
                continue;
            };
            return Err(kind.into());
        }
    }
    Ok(classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(idx: usize, targets: [usize; 2], first: [f32; 2], second: [f32; 2]) -> TwoHeads {
        TwoHeads {
            item: idx.to_string(),
            group: Some(idx.to_string()),
            targets,
            scores: [first.to_vec(), second.to_vec()],
        }
    }

    #[test]
    fn an_impossible_pair_is_never_the_joint_answer() {
        let items = [
            // Apart: (0, 0), which cannot be. Together: (1, 0), the true one.
            item(0, [1, 0], [0.55, 0.45], [0.9, 0.1]),
            item(1, [0, 1], [0.9, 0.1], [0.2, 0.8]),
            item(2, [1, 0], [0.9, 0.1], [0.3, 0.7]),
            item(3, [1, 0], [0.1, 0.9], [0.8, 0.2]),
        ];
        let valid = [vec![false, true], vec![true, true]];
        let bootstrap = Bootstrap { draws: 50, seed: 0 };
        let found = judge_two_heads(&items, &valid, &bootstrap).expect("sound items");
        let numbers: Vec<(f64, f64)> = found.iter().map(|f| (f.value, f.baseline.value)).collect();
        // First head 2/4, second 3/4, both 2/4; the most frequent pair is (1, 0), 3/4.
        assert_eq!(numbers, [(0.5, 0.375), (0.75, 0.75)]);
        let nothing = [vec![false; 2], vec![false; 2]];
        assert!(judge_two_heads(&items, &nothing, &bootstrap).is_err());
        assert!(judge_two_heads(&items, &valid[..1], &bootstrap).is_err());
        assert!(judge_two_heads(&[], &valid, &bootstrap).is_err());
    }

    #[test]
    fn the_a2d_reference_run_is_judged_as_by_hand() {
        // systems.md: 487 of 746 right together, Wilson .618 to .686.
        let items: Vec<TwoHeads> = (0..746)
            .map(|i| {
                let (first, second) = (i < 538, !(487..598).contains(&i));
                let scores = |is_right| if is_right { [0.9, 0.1] } else { [0.1, 0.9] };
                item(i, [0, 0], scores(first), scores(second))
            })
            .collect();
        let valid = [vec![true; 2], vec![true; 2]];
        let bootstrap = Bootstrap { draws: 50, seed: 0 };
        let found = judge_two_heads(&items, &valid, &bootstrap).expect("sound items");
        let combined = &found[0];
        assert_eq!(combined.value, 487.0 / 746.0);
        assert!(
            (combined.interval.low - 0.618).abs() < 1e-3
                && (combined.interval.high - 0.686).abs() < 1e-3
        );
        let product = 538.0 / 746.0 * (487.0 + 148.0) / 746.0;
        assert!((combined.baseline.value - product).abs() < 1e-12);
    }
}
