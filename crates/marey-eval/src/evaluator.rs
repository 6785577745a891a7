//! All figures of a classifier for any weights of its items: prepared once, then one pass a draw.

use crate::bootstrap::Units;
use crate::classify::outcomes_of;
use crate::counts::{Counts, Outcome, mean};
use crate::metric::Metric;
use crate::ranking::Ranking;
use crate::reliability::{Losses, Probabilities};
use crate::{ReliabilityBin, Scored};

/// A model's items, sorted and binned.
pub(crate) struct Evaluator {
    num_classes: usize,
    pub(crate) outcomes: Vec<Outcome>,
    /// One a class: its score against whether the item is of it.
    rankings: Vec<Ranking>,
    /// `None` where the scores are not probabilities.
    probabilities: Option<Probabilities>,
}

/// The sums of one draw.
pub(crate) struct Measured {
    pub(crate) counts: Counts,
    average_precision: f64,
    roc_auc: Option<f64>,
    losses: Option<Losses>,
}

impl Evaluator {
    /// `items` have passed [`check_items`](crate::classify::check_items).
    pub(crate) fn new(items: &[Scored]) -> Self {
        let num_classes = items.first().map_or(0, |item| item.scores.len());
        let ranking = |class: usize| {
            Ranking::new(
                items.len(),
                |i| f64::from(items[i].scores[class]),
                |i| items[i].target == class,
            )
        };
        Self {
            num_classes,
            outcomes: outcomes_of(items),
            rankings: (0..num_classes).map(ranking).collect(),
            probabilities: Probabilities::new(items),
        }
    }

    /// Whether every item's scores are a distribution over the classes.
    pub(crate) fn has_probabilities(&self) -> bool {
        self.probabilities.is_some()
    }

    /// The bars of the reliability diagram; none where scores are no probabilities.
    pub(crate) fn reliability(&self) -> Vec<ReliabilityBin> {
        let probabilities = self.probabilities.as_ref();
        probabilities.map_or(Vec::new(), Probabilities::reliability)
    }

    /// Number of units that ROC AUC rests on: the mean over classes of what each has against the rest.
    pub(crate) fn units_of_auc(&self, units: &Units) -> f64 {
        let targets = &self.outcomes;
        let present = (0..self.num_classes)
            .filter(|&class| targets.iter().any(|outcome| outcome.target == class));
        mean(present.map(|class| units.effective_of_sides(&|idx| targets[idx].target == class)))
    }

    /// Measures the set in which each item counts as often as its weight says.
    pub(crate) fn measure(&self, weights: &[u32]) -> Measured {
        let counts = Counts::weighted(self.num_classes, &self.outcomes, weights);
        let areas: Vec<_> = self
            .rankings
            .iter()
            .enumerate()
            .filter(|(class, _)| counts.support[*class] > 0)
            .map(|(_, ranking)| ranking.areas(weights))
            .collect();
        let aucs: Option<Vec<f64>> = areas.iter().map(|areas| areas.roc_auc).collect();
        Measured {
            average_precision: mean(areas.iter().filter_map(|areas| areas.average_precision)),
            roc_auc: aucs.map(|aucs| mean(aucs.into_iter())),
            losses: self
                .probabilities
                .as_ref()
                .map(|probabilities| probabilities.losses(weights)),
            counts,
        }
    }
}

impl Measured {
    /// The figure; `None` where it is not defined: ROC AUC of one class, calibration of scores that are not probabilities.
    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::MacroAveragePrecision => Some(self.average_precision),
            Metric::RocAuc => self.roc_auc,
            Metric::Ece => self.losses.map(|losses| losses.calibration_error),
            Metric::Brier => self.losses.map(|losses| losses.brier),
            Metric::Nll => self.losses.map(|losses| losses.nll),
            _ => self.counts.measure(metric),
        }
    }
}
