//! What a reader must know before believing the figures.

use std::collections::HashMap;

use crate::bootstrap::UnitKind;
use crate::counts::Outcome;
use crate::{ClassFigures, Figure, Scored, Standing};

/// Fewer items than this make a rough figure.
const FEW_ITEMS: usize = 30;

/// Fewer groups than this make a rough bootstrap.
const FEW_GROUPS: usize = 10;

/// Among fewer items than this, shared scores say little about the model.
const FEW_SCORES: usize = 10;

/// A score this near to 1 is a saturated softmax, which different items may share to the bit.
const SATURATED: f32 = 0.999_99;

/// What the warnings are drawn from.
pub(crate) struct Evidence<'a> {
    pub(crate) items: &'a [Scored],
    pub(crate) outcomes: &'a [Outcome],
    pub(crate) has_probabilities: bool,
    pub(crate) figures: &'a [Figure],
    pub(crate) per_class: &'a [ClassFigures],
    pub(crate) unit_kind: &'a UnitKind,
    pub(crate) num_units: usize,
}

/// All warnings that apply, the gravest first.
pub(crate) fn warnings(evidence: &Evidence<'_>) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(of_predictor(evidence));
    found.extend(of_baseline(evidence));
    if !evidence.has_probabilities {
        found.push(
            "the scores of an item do not sum to 1, so they are no probabilities: calibration error \
             and Brier score are left out"
                .into(),
        );
    }
    found.extend(of_classes(evidence.per_class));
    found.extend(of_support(evidence));
    found
}

/// A model that does not look at its input, or cannot decide.
fn of_predictor(evidence: &Evidence<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let items = evidence.items;
    let first = evidence.outcomes[0].predicted;
    let is_constant = evidence
        .outcomes
        .iter()
        .all(|outcome| outcome.predicted == first);
    if is_constant && items.len() > 1 {
        let name = &evidence.per_class[first].name;
        found.push(format!(
            "the model answers {name:?} for every item: it is a constant predictor"
        ));
    }
    found.extend(of_recall(evidence, is_constant));
    found.extend(of_same_scores(items));
    let tied = items.iter().filter(|item| is_tied(item)).count();
    if tied > 0 {
        found.push(format!(
            "{tied} of {} items have equal best scores; the class earlier in the list was taken",
            items.len()
        ));
    }
    found
}

/// A mean recall that one class alone would give.
fn of_recall(evidence: &Evidence<'_>, is_constant: bool) -> Option<String> {
    let present = evidence
        .per_class
        .iter()
        .filter(|class| class.support > 0)
        .count();
    let figure = evidence
        .figures
        .iter()
        .find(|figure| figure.name == "mean_class_accuracy")?;
    let is_chance = (figure.value - 1.0 / present as f64).abs() < 1e-9;
    (is_chance && present > 1 && !is_constant).then(|| {
        format!(
            "mean class accuracy is 1/{present}, exactly what a predictor gets that always answers \
             one class"
        )
    })
}

/// Scores that different items share.
fn of_same_scores(items: &[Scored]) -> Vec<String> {
    let mut found = Vec::new();
    let mut by_scores: HashMap<Vec<u32>, usize> = HashMap::new();
    let unsaturated = items.iter().filter(|item| top_score(item) < SATURATED);
    for item in unsaturated.clone() {
        *by_scores
            .entry(item.scores.iter().map(|score| score.to_bits()).collect())
            .or_default() += 1;
    }
    let num_unsaturated = unsaturated.count();
    let same = by_scores.values().copied().max().unwrap_or(0);
    if same >= 3 {
        found.push(format!(
            "{same} of {} items got exactly the same scores: look for repeated files, or for input \
             that does not reach the model",
            items.len()
        ));
    }
    if num_unsaturated >= FEW_SCORES && 2 * by_scores.len() <= num_unsaturated {
        found.push(format!(
            "only {} different scores among {num_unsaturated} items: the model hardly tells its \
             inputs apart",
            by_scores.len()
        ));
    }
    found
}

fn top_score(item: &Scored) -> f32 {
    item.scores
        .iter()
        .copied()
        .fold(f32::NEG_INFINITY, f32::max)
}

fn is_tied(item: &Scored) -> bool {
    let top = top_score(item);
    item.scores.iter().filter(|&&score| score == top).count() > 1
}

/// Figures that say no more than the baseline does.
fn of_baseline(evidence: &Evidence<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let num_classes = evidence.per_class.len();
    for figure in evidence.figures {
        if figure.name == "top5" && num_classes <= 5 {
            found.push(format!(
                "top-5 accuracy is 1 by definition with {num_classes} classes"
            ));
        } else if figure.name == "top5" && figure.baseline.value >= figure.value {
            found.push(format!(
                "top-5 accuracy says nothing here: a constant list gets {:.1} %, the model {:.1} %",
                100.0 * figure.baseline.value,
                100.0 * figure.value
            ));
        }
        if figure.name == "top1" && figure.standing() == Standing::Undecided {
            found.push(
                "top-1 accuracy cannot be told from the majority baseline with these items".into(),
            );
        }
    }
    if evidence
        .per_class
        .iter()
        .all(|class| class.train_support.is_none())
    {
        found.push(
            "the training label counts are unknown: the majority baseline uses this set's own \
             most frequent class, which is at least as hard to beat in top-1"
                .into(),
        );
    }
    found
}

/// Classes that are missing on one side.
fn of_classes(per_class: &[ClassFigures]) -> Vec<String> {
    let names = |keep: &dyn Fn(&ClassFigures) -> bool| -> Vec<&str> {
        per_class
            .iter()
            .filter(|class| keep(class))
            .map(|class| class.name.as_str())
            .collect()
    };
    let untrained = |class: &ClassFigures| class.train_support == Some(0);
    let mut found = Vec::new();
    let cases = [
        (
            "no training item, so it cannot be recognised",
            names(&|class| untrained(class) && class.support > 0),
        ),
        (
            "no item in training or here",
            names(&|class| untrained(class) && class.support == 0),
        ),
        (
            "no item in this set, so nothing is known about it and the means leave it out",
            names(&|class| !untrained(class) && class.support == 0),
        ),
    ];
    for (what, names) in cases {
        if !names.is_empty() {
            found.push(format!("{what}: {}", listed(&names)));
        }
    }
    if per_class.iter().filter(|class| class.support > 0).count() == 1 {
        found.push(
            "all items are of one class: precision and the means say little, and ROC AUC is not \
             defined"
                .into(),
        );
    }
    found
}

/// Too little to go on.
fn of_support(evidence: &Evidence<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let num_items = evidence.items.len();
    if num_items < FEW_ITEMS {
        found.push(format!(
            "only {num_items} items: every figure here is rough"
        ));
    } else {
        let few: Vec<&str> = evidence
            .per_class
            .iter()
            .filter(|class| (1..FEW_ITEMS).contains(&class.support))
            .map(|class| class.name.as_str())
            .collect();
        if !few.is_empty() {
            found.push(format!(
                "fewer than {FEW_ITEMS} items, so the figures of the class are rough: {}",
                listed(&few)
            ));
        }
    }
    match evidence.unit_kind {
        UnitKind::Groups if evidence.num_units < FEW_GROUPS => found.push(format!(
            "only {} groups: the group bootstrap is rough, and is widened for it",
            evidence.num_units
        )),
        UnitKind::Groups => {}
        UnitKind::ItemsWithoutGroup => found.push(
            "no groups were given: the intervals take every item as independent, and are too \
             narrow if items share a camera or a source video"
                .into(),
        ),
        UnitKind::ItemsOfOneGroup(group) => found.push(format!(
            "all items are of the group {group:?}: the intervals speak of further items of this \
             group, not of another"
        )),
    }
    found
}

/// Names as a list, cut after eight.
fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(8).copied().collect::<Vec<_>>().join(", ");
    match names.len() {
        0..=8 => shown,
        n => format!("{shown} and {} more", n - 8),
    }
}
