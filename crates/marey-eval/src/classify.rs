//! Figures of a classifier with one label an item.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::Trivial;
use crate::bootstrap::{UnitKind, Units};
use crate::counts::{Counts, Outcome};
use crate::draws::{Described, Draws};
use crate::evaluator::Evaluator;
use crate::groups::{GroupFigures, worst_groups_first};
use crate::metric::Metric;
use crate::warnings::{Evidence, warnings};
use crate::{
    Bootstrap, ClassFigures, Comparison, Error, ErrorKind, Estimate, Figure, ReliabilityBin, wilson,
};

/// Most confident mistakes kept in a [`Classification`].
const MAX_MISTAKES: usize = 100;

/// An item with its truth and a model's scores, averaged over its views.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The item's unique id.
    pub item: String,
    /// What it shares with other items (camera, source video), if known.
    pub group: Option<String>,
    /// Index of the true class.
    pub target: usize,
    /// One score a class, after softmax. Of equal scores the earlier class wins.
    pub scores: Vec<f32>,
}

/// A wrong prediction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Mistake {
    /// The item.
    pub item: String,
    /// Its group.
    pub group: Option<String>,
    /// Name of the true class.
    pub truth: String,
    /// Name of the predicted class.
    pub predicted: String,
    /// Score of the predicted class.
    pub score: f32,
    /// Score of the true class.
    pub truth_score: f32,
}

/// What every evaluation of one set of items shares.
#[derive(Debug, Clone, Copy)]
pub struct Evaluation<'a> {
    /// Class names, in index order.
    pub classes: &'a [String],
    /// Training items of each class; empty where unknown, as in [`classify`].
    pub train_counts: &'a [usize],
    /// How intervals are drawn.
    pub bootstrap: &'a Bootstrap,
}

/// All figures of a classifier on one set of items. `Display` prints them as a table for a terminal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Classification {
    /// Class names, in index order.
    pub classes: Vec<String>,
    /// Number of items.
    pub num_items: usize,
    /// Number of groups, where the items have any; an item without one counts as a group.
    pub num_groups: Option<usize>,
    /// `top1`, `top5`, `mean_class_accuracy`, `macro_precision`, `macro_recall`, `macro_f1`, `union_mean_recall`, `mcc`,
    /// `macro_average_precision`; `roc_auc` where the items are of several classes; `ece` and `brier` where scores are
    /// probabilities.
    pub figures: Vec<Figure>,
    /// One entry a class, in index order.
    pub per_class: Vec<ClassFigures>,
    /// Number of items by `[truth][prediction]`.
    pub confusion: Vec<Vec<u64>>,
    /// The reliability diagram: the best scores in 15 equal bins, and how often that class is right. Empty where scores are no
    /// probabilities.
    #[serde(default)]
    pub reliability: Vec<ReliabilityBin>,
    /// Index of the class that the majority baseline always answers.
    pub majority_class: usize,
    /// Accuracy in every group, the worst first; empty where no item has a group.
    #[serde(default)]
    pub groups: Vec<GroupFigures>,
    /// The same figures beside further baselines, such as the same budget on single frames; filled by the caller from
    /// [`compare`](crate::compare).
    pub comparisons: Vec<Comparison>,
    /// Number of wrong predictions.
    pub num_mistakes: usize,
    /// The wrong predictions with the highest scores, worst first, at most 100.
    pub mistakes: Vec<Mistake>,
    /// What a reader must know before believing the figures, in plain sentences.
    pub warnings: Vec<String>,
}

impl Classification {
    /// The figure of this name, such as `macro_f1`.
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }
}

/// Judges `items` against the truth and against predictors that know only the training labels.
///
/// - `train_counts`: training items of each class; empty (or all 0) when unknown, then the baseline is the most frequent class
///   of `items` itself, which is the harder one, and a warning says so.
/// - Top-1 and top-5 have Wilson's interval, and beside it the group bootstrap's where items share groups; precision and recall
///   of a class have Wilson's; the rest have percentiles of `bootstrap`, drawn by group and widened where the groups are few.
///
/// # Errors
/// No items, fewer than 2 classes, counts or scores that do not match the classes, a target out of range, a score that is not
/// finite, an item given twice, fewer than 2 draws.
pub fn classify(
    classes: &[String],
    train_counts: &[usize],
    items: &[Scored],
    bootstrap: &Bootstrap,
) -> Result<Classification, Error> {
    check_train_counts(classes, train_counts)?;
    check_items(classes.len(), items)?;
    let units = Units::new(items, bootstrap)?;
    let (unit_kind, num_units) = (units.kind.clone(), units.len());
    let evaluator = Evaluator::new(items);
    let outcomes = &evaluator.outcomes;
    let judged = Judged::new(classes, train_counts, &evaluator, units);
    let figures = judged.figures();
    let per_class: Vec<ClassFigures> = classes
        .iter()
        .enumerate()
        .map(|(class, name)| judged.class_figures(class, name))
        .collect();
    let warnings = warnings(&Evidence {
        items,
        outcomes,
        has_probabilities: evaluator.has_probabilities(),
        figures: &figures,
        per_class: &per_class,
        unit_kind: &unit_kind,
        num_units,
    });
    let mut mistakes = mistakes(classes, items, outcomes);
    let num_mistakes = mistakes.len();
    mistakes.truncate(MAX_MISTAKES);
    Ok(Classification {
        classes: classes.to_vec(),
        num_items: items.len(),
        num_groups: match unit_kind {
            UnitKind::Groups => Some(num_units),
            UnitKind::ItemsOfOneGroup(_) => Some(1),
            UnitKind::ItemsWithoutGroup => None,
        },
        figures,
        per_class,
        confusion: confusion(classes.len(), outcomes),
        groups: worst_groups_first(items, outcomes, judged.trivial.ranking[0]),
        reliability: evaluator.reliability(),
        majority_class: judged.trivial.ranking[0],
        comparisons: Vec::new(),
        num_mistakes,
        mistakes,
        warnings,
    })
}

/// Judges whether the scores of `items` are the probabilities they claim to be: `ece`, `brier` and `nll`. To be compared before and
/// after a [`Calibration`](crate::Calibration), on a split that it was not fitted on.
///
/// # Errors
/// As [`classify`]; scores that are no distribution over the classes.
pub fn judge_probabilities(
    classes: &[String],
    train_counts: &[usize],
    items: &[Scored],
    bootstrap: &Bootstrap,
) -> Result<Vec<Figure>, Error> {
    check_train_counts(classes, train_counts)?;
    check_items(classes.len(), items)?;
    let evaluator = Evaluator::new(items);
    if !evaluator.has_probabilities() {
        return Err(ErrorKind::NotProbabilities.into());
    }
    let counts = evaluator.measure(&vec![1; items.len()]).counts;
    let trivial = Trivial::new(classes, train_counts, &counts);
    let units = Units::new(items, bootstrap)?;
    let draws = Draws::collect(units, items.len(), &mut |weights| {
        let measured = evaluator.measure(weights);
        let values = Metric::CALIBRATION.map(|metric| measured.value(metric));
        let baselines = Metric::CALIBRATION.map(|metric| trivial.value(metric, &measured.counts));
        [values, baselines].concat()
    });
    let figure = |(idx, &metric): (usize, &Metric)| {
        let columns = [idx, Metric::CALIBRATION.len() + idx];
        draws.figure(columns, described(metric, &counts, &trivial))
    };
    let metrics = Metric::CALIBRATION.iter().enumerate();
    Ok(metrics.filter_map(figure).collect())
}

fn check_train_counts(classes: &[String], train_counts: &[usize]) -> Result<(), Error> {
    if !train_counts.is_empty() && train_counts.len() != classes.len() {
        let (counts, classes) = (train_counts.len(), classes.len());
        return Err(ErrorKind::TrainCounts { counts, classes }.into());
    }
    Ok(())
}

fn described(metric: Metric, counts: &Counts, trivial: &Trivial<'_>) -> Described {
    Described {
        name: metric.name(),
        title: metric.title(),
        definition: metric.definition().to_owned(),
        scale: metric.scale(),
        support: counts.total() as usize,
        successes: counts.successes(metric),
        baseline: trivial.name(metric),
    }
}

/// Refuses what no figure can be made of.
pub(crate) fn check_items(num_classes: usize, items: &[Scored]) -> Result<(), Error> {
    if num_classes < 2 {
        return Err(ErrorKind::TooFewClasses(num_classes).into());
    }
    if items.is_empty() {
        return Err(ErrorKind::NoItems.into());
    }
    let mut seen = HashSet::new();
    for Scored {
        item,
        target,
        scores,
        ..
    } in items
    {
        let kind = if *target >= num_classes {
            ErrorKind::Target {
                item: item.clone(),
                target: *target,
                classes: num_classes,
            }
        } else if scores.len() != num_classes {
            let (scores, classes) = (scores.len(), num_classes);
            ErrorKind::NumScores {
                item: item.clone(),
                scores,
                classes,
            }
        } else if scores.iter().any(|score| !score.is_finite()) {
            ErrorKind::Score { item: item.clone() }
        } else if !seen.insert(item) {
            ErrorKind::Duplicate { item: item.clone() }
        } else {
            continue;
        };
        return Err(kind.into());
    }
    Ok(())
}

/// A model's numbers beside those of the trivial predictors, for the whole set and for every draw.
struct Judged<'a> {
    counts: Counts,
    constant: Counts,
    trivial: Trivial<'a>,
    draws: Draws,
}

/// Columns of [`Judged::draws`]: the figures, their baselines, then the F1 of every class.
const NUM_METRICS: usize = Metric::REPORTED.len();

impl<'a> Judged<'a> {
    fn new(
        classes: &'a [String],
        train_counts: &'a [usize],
        evaluator: &Evaluator,
        units: Units,
    ) -> Self {
        let num_items = evaluator.outcomes.len();
        let counts = evaluator.measure(&vec![1; num_items]).counts;
        let trivial = Trivial::new(classes, train_counts, &counts);
        let units_of_auc = evaluator.units_of_auc(&units);
        let draws = Draws::collect(units, num_items, &mut |weights| {
            let measured = evaluator.measure(weights);
            let values = Metric::REPORTED.map(|metric| measured.value(metric));
            let baselines = Metric::REPORTED.map(|metric| trivial.value(metric, &measured.counts));
            let f1 = (0..classes.len()).map(|class| Some(measured.counts.f1(class)));
            values.into_iter().chain(baselines).chain(f1).collect()
        });
        let draws = draws.resting_on(units_of_auc, &[Metric::ROC_AUC_IDX]);
        Self {
            constant: counts.of_constant(&trivial.ranking),
            counts,
            trivial,
            draws,
        }
    }

    fn figures(&self) -> Vec<Figure> {
        let figure = |(idx, &metric): (usize, &Metric)| {
            let of = described(metric, &self.counts, &self.trivial);
            self.draws.figure([idx, NUM_METRICS + idx], of)
        };
        Metric::REPORTED
            .iter()
            .enumerate()
            .filter_map(figure)
            .collect()
    }

    fn class_figures(&self, class: usize, name: &str) -> ClassFigures {
        let counts = &self.counts;
        let (support, predicted) = (counts.support[class], counts.predicted[class]);
        let correct = counts.correct[class];
        let estimate = |measure: fn(&Counts, usize) -> f64, interval, support| Estimate {
            value: measure(counts, class),
            interval,
            support: support as usize,
            baseline: measure(&self.constant, class),
        };
        let f1_interval = match support {
            0 => wilson(0, 0),
            _ => self
                .draws
                .interval(2 * NUM_METRICS + class, [0.0, 1.0])
                .expect("F1 is defined in every draw"),
        };
        ClassFigures {
            name: name.to_owned(),
            support: support as usize,
            train_support: self.trivial.train_counts.map(|counts| counts[class]),
            predicted: predicted as usize,
            precision: estimate(Counts::precision, wilson(correct, predicted), predicted),
            recall: estimate(Counts::recall, wilson(correct, support), support),
            f1: estimate(Counts::f1, f1_interval, support),
        }
    }
}

fn confusion(num_classes: usize, outcomes: &[Outcome]) -> Vec<Vec<u64>> {
    let mut confusion = vec![vec![0; num_classes]; num_classes];
    for outcome in outcomes {
        confusion[outcome.target][outcome.predicted] += 1;
    }
    confusion
}

/// Every wrong prediction, the most confident first.
fn mistakes(classes: &[String], items: &[Scored], outcomes: &[Outcome]) -> Vec<Mistake> {
    let mut mistakes: Vec<Mistake> = items
        .iter()
        .zip(outcomes)
        .filter(|(_, outcome)| outcome.predicted != outcome.target)
        .map(|(item, outcome)| Mistake {
            item: item.item.clone(),
            group: item.group.clone(),
            truth: classes[outcome.target].clone(),
            predicted: classes[outcome.predicted].clone(),
            score: item.scores[outcome.predicted],
            truth_score: item.scores[outcome.target],
        })
        .collect();
    mistakes.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| a.item.cmp(&b.item))
    });
    mistakes
}

/// What was predicted for each item.
pub(crate) fn outcomes_of(items: &[Scored]) -> Vec<Outcome> {
    items
        .iter()
        .map(|item| Outcome::from_scores(item.target, &item.scores))
        .collect()
}
