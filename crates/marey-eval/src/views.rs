//! Several views of one item taken together.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::calibration::softmax;

/// How the logits of an item's views become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ViewAggregate {
    /// The mean of the scores after softmax (Feichtenhofer et al., "SlowFast", section 4.1): every view has one vote.
    #[default]
    Mean,
    /// The mean of the logits, then softmax: a sure view counts more.
    Logits,
    /// The highest score of each class, divided by their sum: one view is enough, for events that are short.
    Max,
}

/// The views of each item, added up.
///
/// ```
/// use marey_eval::{ViewAggregate, ViewScores, scores_from_logits};
///
/// let mut views = ViewScores::new(2, ViewAggregate::Mean);
/// views.add(7, &[0.0, 0.0]); // scores 0.5, 0.5
/// views.add(7, &[200.0, 0.0]); // scores 1, 0
/// let (item, logits) = &views.finish()[0];
/// assert_eq!((*item, scores_from_logits(logits)), (7, vec![0.75, 0.25]));
/// ```
#[derive(Debug, Clone)]
pub struct ViewScores {
    num_classes: usize,
    aggregate: ViewAggregate,
    parts: BTreeMap<usize, (Vec<f64>, usize)>,
}

impl ViewScores {
    /// No view yet, of `num_classes` logits each.
    pub fn new(num_classes: usize, aggregate: ViewAggregate) -> Self {
        Self {
            num_classes,
            aggregate,
            parts: BTreeMap::new(),
        }
    }

    /// Adds the logits of a view of item `item`.
    ///
    /// # Panics
    /// If there is not one logit a class.
    pub fn add(&mut self, item: usize, logits: &[f32]) {
        assert_eq!(logits.len(), self.num_classes, "one logit a class");
        let logits = logits.iter().map(|&logit| f64::from(logit));
        let values: Vec<f64> = match self.aggregate {
            ViewAggregate::Logits => logits.collect(),
            ViewAggregate::Mean | ViewAggregate::Max => softmax(logits),
        };
        let (parts, num_views) = self
            .parts
            .entry(item)
            .or_insert_with(|| (vec![0.0; values.len()], 0));
        for (part, value) in parts.iter_mut().zip(values) {
            *part = match self.aggregate {
                // What is no number stays none.
                ViewAggregate::Max if value <= *part => *part,
                ViewAggregate::Max => value,
                ViewAggregate::Mean | ViewAggregate::Logits => *part + value,
            };
        }
        *num_views += 1;
    }

    /// Every item that has a view, in rising order, with its logits: numbers whose softmax are its scores.
    pub fn finish(self) -> Vec<(usize, Vec<f32>)> {
        let aggregate = self.aggregate;
        let logits = |(item, (parts, num_views)): (usize, (Vec<f64>, usize))| {
            let whole = match aggregate {
                ViewAggregate::Max => parts.iter().sum(),
                ViewAggregate::Mean | ViewAggregate::Logits => num_views as f64,
            };
            let logit = |part: f64| match aggregate {
                ViewAggregate::Logits => part / whole,
                ViewAggregate::Mean | ViewAggregate::Max => log(part / whole),
            };
            (item, parts.iter().map(|&part| logit(part) as f32).collect())
        };
        self.parts.into_iter().map(logits).collect()
    }
}

/// The logarithm of a score, finite where the score has sunk to 0.
fn log(score: f64) -> f64 {
    if score == 0.0 {
        f64::MIN_POSITIVE.ln()
    } else {
        score.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scores_from_logits;

    /// The scores of one item with these views, given as scores.
    fn check(aggregate: ViewAggregate, views: &[[f32; 3]], expected: [f32; 3]) {
        let mut scores = ViewScores::new(3, aggregate);
        for view in views {
            scores.add(0, &view.map(f32::ln));
        }
        let found = scores_from_logits(&scores.finish().remove(0).1);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{aggregate:?}: {found}");
        }
    }

    #[test]
    fn views_are_taken_together_as_said() {
        let views = [[0.9, 0.05, 0.05], [0.1, 0.6, 0.3]];
        check(ViewAggregate::Mean, &views, [0.5, 0.325, 0.175]);
        // 0.9, 0.6, 0.3 add up to 1.8.
        check(ViewAggregate::Max, &views, [0.5, 1.0 / 3.0, 1.0 / 6.0]);
        // Square roots of 0.09, 0.03 and 0.015, divided by their sum.
        let roots = [0.09_f32, 0.03, 0.015].map(f32::sqrt);
        let sum: f32 = roots.iter().sum();
        check(ViewAggregate::Logits, &views, roots.map(|root| root / sum));
        for aggregate in [
            ViewAggregate::Mean,
            ViewAggregate::Max,
            ViewAggregate::Logits,
        ] {
            check(aggregate, &[[0.7, 0.2, 0.1]], [0.7, 0.2, 0.1]);
        }
    }

    #[test]
    fn what_is_not_finite_is_not_hidden() {
        for aggregate in [
            ViewAggregate::Mean,
            ViewAggregate::Max,
            ViewAggregate::Logits,
        ] {
            let mut views = ViewScores::new(2, aggregate);
            views.add(3, &[0.0, 0.0]);
            views.add(3, &[f32::NAN, 0.0]);
            let (_, logits) = views.finish().remove(0);
            assert!(
                logits.iter().any(|logit| !logit.is_finite()),
                "{aggregate:?}: {logits:?}"
            );
        }
        // A score that has sunk to 0 is finite.
        let mut views = ViewScores::new(2, ViewAggregate::Mean);
        views.add(3, &[0.0, -5000.0]);
        let (_, logits) = views.finish().remove(0);
        assert!(logits.iter().all(|logit| logit.is_finite()), "{logits:?}");
    }
}
