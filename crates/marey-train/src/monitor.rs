//! Which validation figure is watched, and what it says: a better epoch, or time to stop.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A figure of the validation split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// Cross-entropy without smoothing or weights; lower is better.
    Loss,
    /// Share of items whose first guess is right.
    Top1,
    /// Share of items whose first five guesses hold the right class.
    Top5,
    /// Mean over the classes present of the share of their items that is found.
    MeanClassAccuracy,
    /// Mean precision over classes.
    MacroPrecision,
    /// Mean recall over classes.
    MacroRecall,
    /// Mean F1 over classes.
    #[default]
    MacroF1,
}

impl Monitor {
    /// Every figure, in the order of `metrics.csv`.
    pub const ALL: [Self; 7] = [
        Self::Loss,
        Self::Top1,
        Self::Top5,
        Self::MeanClassAccuracy,
        Self::MacroPrecision,
        Self::MacroRecall,
        Self::MacroF1,
    ];

    /// Its name, as in a recipe, in `metrics.csv` and in a report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Top1 => "top1",
            Self::Top5 => "top5",
            Self::MeanClassAccuracy => "mean_class_accuracy",
            Self::MacroPrecision => "macro_precision",
            Self::MacroRecall => "macro_recall",
            Self::MacroF1 => "macro_f1",
        }
    }

    /// Its value among `figures`, which are in the order of [`Monitor::ALL`].
    pub fn of(self, figures: &[f64; Self::ALL.len()]) -> f64 {
        // ALL lists the variants as they are declared, so a variant's number is its place there.
        figures[self as usize]
    }

    fn is_better(self, value: f64, than: f64, min_delta: f64) -> bool {
        match self {
            Self::Loss => value < than - min_delta,
            _ => value > than + min_delta,
        }
    }
}

/// The best epoch so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// What the monitored figure was.
    pub value: f64,
}

/// Remembers the best epoch and how long ago it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// The best epoch so far.
    pub best: Option<Best>,
    /// Epochs since.
    pub stale_epochs: usize,
}

impl Watch {
    /// Takes in the figure of an epoch (counted from 1) and says whether it is the best so far.
    pub fn update(&mut self, monitor: Monitor, epoch: usize, value: f64, min_delta: f64) -> bool {
        let is_best = self
            .best
            .is_none_or(|best| monitor.is_better(value, best.value, min_delta));
        if is_best {
            self.best = Some(Best { epoch, value });
            self.stale_epochs = 0;
        } else {
            self.stale_epochs += 1;
        }
        is_best
    }

    /// Whether `patience` epochs have passed without a better one.
    pub fn is_over(&self, patience: Option<usize>) -> bool {
        patience.is_some_and(|patience| self.stale_epochs >= patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_epochs_without_a_better_figure() {
        let mut watch = Watch::default();
        let is_best =
            [0.5, 0.6, 0.6, 0.55].map(|value| watch.update(Monitor::MacroF1, 1, value, 0.0));
        assert_eq!(is_best, [true, true, false, false]);
        assert!(watch.is_over(Some(2)) && !watch.is_over(Some(3)) && !watch.is_over(None));
    }

    #[test]
    fn a_lower_loss_is_better_by_more_than_the_delta() {
        let mut watch = Watch::default();
        let is_best = [1.0, 0.95, 0.8].map(|value| watch.update(Monitor::Loss, 1, value, 0.1));
        assert_eq!(is_best, [true, false, true]);
    }

    #[test]
    fn names_are_those_of_a_recipe() {
        for monitor in Monitor::ALL {
            let json = serde_json::to_string(&monitor).expect("a unit variant");
            assert_eq!(json, format!("\"{}\"", monitor.name()));
            assert_eq!(Monitor::ALL[monitor as usize], monitor);
        }
    }
}
