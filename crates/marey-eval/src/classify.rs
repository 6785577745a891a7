//! Figures of a classifier with one label an item.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bootstrap::{UnitKind, Units};
use crate::counts::{Counts, Metric, Outcome};
use crate::interval::bootstrap_or_wilson;
use crate::warnings::{Evidence, warnings};
use crate::{
    Baseline, Bootstrap, ClassFigures, Comparison, Error, ErrorKind, Estimate, Figure, Interval,
    IntervalMethod, percentile_interval, wilson,
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

/// All figures of a classifier on one set of items. `Display` prints them as a table for a terminal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Classification {
    /// Class names, in index order.
    pub classes: Vec<String>,
    /// Number of items.
    pub num_items: usize,
    /// Number of groups, where the items have any; an item without one counts as a group.
    pub num_groups: Option<usize>,
    /// `top1`, `top5`, `mean_class_accuracy`, `macro_precision`, `macro_recall`, `macro_f1`, `union_mean_recall`.
    pub figures: Vec<Figure>,
    /// One entry a class, in index order.
    pub per_class: Vec<ClassFigures>,
    /// Number of items by `[truth][prediction]`.
    pub confusion: Vec<Vec<u64>>,
    /// Index of the class that the majority baseline always answers.
    pub majority_class: usize,
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

/// Judges `items` against the truth and against the constant predictor that knows only the training labels.
///
/// - `train_counts`: training items of each class; empty (or all 0) when unknown, then the baseline is the most frequent class
///   of `items` itself, which is the harder one, and a warning says so.
/// - Top-1 and top-5 have Wilson's interval, and beside it the group bootstrap's where items share groups; precision and recall
///   of a class have Wilson's; the rest have percentiles of `bootstrap`, drawn by group, or Wilson's where every draw is 0 or 1.
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
    if !train_counts.is_empty() && train_counts.len() != classes.len() {
        let (counts, classes) = (train_counts.len(), classes.len());
        return Err(ErrorKind::TrainCounts { counts, classes }.into());
    }
    check_items(classes.len(), items)?;
    let units = Units::new(items, bootstrap)?;
    let (unit_kind, num_units) = (units.kind.clone(), units.len());
    let outcomes = outcomes_of(items);
    let judged = Judged::new(classes, train_counts, &outcomes, units);
    let figures: Vec<Figure> = Metric::ALL
        .iter()
        .enumerate()
        .map(|(idx, &metric)| judged.figure(idx, metric))
        .collect();
    let per_class: Vec<ClassFigures> = classes
        .iter()
        .enumerate()
        .map(|(class, name)| judged.class_figures(class, name))
        .collect();
    let warnings = warnings(&Evidence {
        items,
        outcomes: &outcomes,
        figures: &figures,
        per_class: &per_class,
        unit_kind: &unit_kind,
        num_units,
    });
    let mut mistakes = mistakes(classes, items, &outcomes);
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
        confusion: confusion(classes.len(), &outcomes),
        majority_class: judged.majority.ranking[0],
        comparisons: Vec::new(),
        num_mistakes,
        mistakes,
        warnings,
    })
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

/// What was predicted for each item.
pub(crate) fn outcomes_of(items: &[Scored]) -> Vec<Outcome> {
    items
        .iter()
        .map(|item| Outcome::from_scores(item.target, &item.scores))
        .collect()
}

/// The predictor that knows the label counts and nothing else.
struct Majority<'a> {
    /// Classes by falling count, then by index.
    ranking: Vec<usize>,
    best: &'a str,
    /// The training counts, when known.
    train_counts: Option<&'a [usize]>,
}

impl<'a> Majority<'a> {
    fn new(classes: &'a [String], train_counts: &'a [usize], counts: &Counts) -> Self {
        let train_counts = train_counts
            .iter()
            .any(|&count| count > 0)
            .then_some(train_counts);
        let count = |class: usize| match train_counts {
            Some(train_counts) => train_counts[class] as u64,
            None => counts.support[class],
        };
        let mut ranking: Vec<usize> = (0..classes.len()).collect();
        ranking.sort_by_key(|&class| (std::cmp::Reverse(count(class)), class));
        let best = &classes[ranking[0]];
        Self {
            ranking,
            best,
            train_counts,
        }
    }

    fn name_for(&self, metric: Metric) -> String {
        let of = match self.train_counts {
            Some(_) => "in training",
            None => "of this set",
        };
        match metric {
            Metric::Top5 => format!("always the 5 most frequent classes {of}"),
            _ => format!("always {:?}, the most frequent class {of}", self.best),
        }
    }
}

/// A model's sums beside those of the constant predictor, and the bootstrap of the former.
struct Judged<'a> {
    counts: Counts,
    constant: Counts,
    majority: Majority<'a>,
    intervals: Intervals,
}

impl<'a> Judged<'a> {
    fn new(
        classes: &'a [String],
        train_counts: &'a [usize],
        outcomes: &[Outcome],
        units: Units,
    ) -> Self {
        let num_classes = classes.len();
        let counts = Counts::of(num_classes, outcomes.iter().copied());
        let majority = Majority::new(classes, train_counts, &counts);
        let constant = outcomes
            .iter()
            .map(|outcome| Outcome::of_constant(outcome.target, &majority.ranking));
        let constant = Counts::of(num_classes, constant);
        let intervals = Intervals::draw(units, num_classes, outcomes);
        Self {
            counts,
            constant,
            majority,
            intervals,
        }
    }

    /// The figure at `idx` of [`Metric::ALL`].
    fn figure(&self, idx: usize, metric: Metric) -> Figure {
        let num_items = self.counts.total();
        let value = self.counts.measure(metric);
        let bootstrapped = bootstrap_or_wilson(value, self.intervals.metrics[idx], num_items);
        let (interval, group_interval) = if metric.is_proportion() {
            let is_by_group = bootstrapped.method.is_by_group();
            let wilson = wilson(self.counts.successes(metric), num_items);
            (wilson, is_by_group.then_some(bootstrapped))
        } else {
            (bootstrapped, None)
        };
        Figure {
            name: metric.name().to_owned(),
            title: metric.title().to_owned(),
            definition: metric.definition().to_owned(),
            value,
            interval,
            group_interval,
            support: num_items as usize,
            baseline: Baseline {
                name: self.majority.name_for(metric),
                value: self.constant.measure(metric),
            },
        }
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
        let f1_interval = bootstrap_or_wilson(counts.f1(class), self.intervals.f1[class], support);
        ClassFigures {
            name: name.to_owned(),
            support: support as usize,
            train_support: self.majority.train_counts.map(|counts| counts[class]),
            predicted: predicted as usize,
            precision: estimate(Counts::precision, wilson(correct, predicted), predicted),
            recall: estimate(Counts::recall, wilson(correct, support), support),
            f1: estimate(Counts::f1, f1_interval, support),
        }
    }
}

/// Bootstrap intervals of every metric and of every class's F1.
struct Intervals {
    metrics: Vec<Interval>,
    f1: Vec<Interval>,
}

impl Intervals {
    fn draw(units: Units, num_classes: usize, outcomes: &[Outcome]) -> Self {
        let method: IntervalMethod = units.method();
        let mut metrics = vec![Vec::new(); Metric::ALL.len()];
        let mut f1 = vec![Vec::new(); num_classes];
        units.for_each_draw(|weights| {
            let counts = Counts::weighted(num_classes, outcomes, weights);
            for (draws, &metric) in metrics.iter_mut().zip(&Metric::ALL) {
                draws.push(counts.measure(metric));
            }
            for (class, draws) in f1.iter_mut().enumerate() {
                draws.push(counts.f1(class));
            }
        });
        let interval = |draws: &mut Vec<f64>| percentile_interval(draws, method);
        Self {
            metrics: metrics.iter_mut().map(interval).collect(),
            f1: f1.iter_mut().map(interval).collect(),
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
