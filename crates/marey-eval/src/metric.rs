//! The figures of a classifier with one label an item: names, definitions, scales.

use crate::Scale;

/// Bins of the top-label calibration error.
pub(crate) const TOP_LABEL_BINS: usize = 15;

/// A figure of a classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    Top1,
    Top5,
    MeanClassAccuracy,
    MacroPrecision,
    MacroRecall,
    MacroF1,
    UnionMeanRecall,
    Mcc,
    MacroAveragePrecision,
    RocAuc,
    Ece,
    Brier,
    Nll,
}

impl Metric {
    /// Those of every classification, in the order of reports.
    pub(crate) const REPORTED: [Self; 12] = [
        Self::Top1,
        Self::Top5,
        Self::MeanClassAccuracy,
        Self::MacroPrecision,
        Self::MacroRecall,
        Self::MacroF1,
        Self::UnionMeanRecall,
        Self::Mcc,
        Self::MacroAveragePrecision,
        Self::RocAuc,
        Self::Ece,
        Self::Brier,
    ];

    /// Where [`Metric::RocAuc`] is among them.
    pub(crate) const ROC_AUC_IDX: usize = 9;

    /// Those that say whether scores are probabilities.
    pub(crate) const CALIBRATION: [Self; 3] = [Self::Ece, Self::Brier, Self::Nll];

    /// Its name in files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Top1 => "top1",
            Self::Top5 => "top5",
            Self::MeanClassAccuracy => "mean_class_accuracy",
            Self::MacroPrecision => "macro_precision",
            Self::MacroRecall => "macro_recall",
            Self::MacroF1 => "macro_f1",
            Self::UnionMeanRecall => "union_mean_recall",
            Self::Mcc => "mcc",
            Self::MacroAveragePrecision => "macro_average_precision",
            Self::RocAuc => "roc_auc",
            Self::Ece => "ece",
            Self::Brier => "brier",
            Self::Nll => "nll",
        }
    }

    /// Its name for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Top1 => "top-1 accuracy",
            Self::Top5 => "top-5 accuracy",
            Self::MeanClassAccuracy => "mean class accuracy",
            Self::MacroPrecision => "macro precision",
            Self::MacroRecall => "macro recall",
            Self::MacroF1 => "macro F1",
            Self::UnionMeanRecall => "mean recall over the union",
            Self::Mcc => "MCC (-1 to 1)",
            Self::MacroAveragePrecision => "macro average precision",
            Self::RocAuc => "macro ROC AUC",
            Self::Ece => "calibration error (less is better)",
            Self::Brier => "Brier score (less is better)",
            Self::Nll => "log loss (less is better)",
        }
    }

    pub(crate) fn scale(self) -> Scale {
        match self {
            Self::Mcc => Scale::Correlation,
            Self::Ece => Scale::ErrorShare,
            Self::Brier | Self::Nll => Scale::Loss,
            _ => Scale::Share,
        }
    }

    pub(crate) fn definition(self) -> &'static str {
        match self {
            Self::Top1 => "share of items whose best-scored class is the true one",
            Self::Top5 => "share of items whose true class is among the five best-scored",
            Self::MeanClassAccuracy => {
                "mean over the classes present in the truth of the share of their items that were \
                 recognised; also called balanced accuracy, and the same number as macro recall"
            }
            Self::MacroPrecision => {
                "mean of precision over the classes present in the truth; 0 for a class that was \
                 never predicted"
            }
            Self::MacroRecall => "mean of recall over the classes present in the truth",
            Self::MacroF1 => {
                "mean over the classes present in the truth of F1 = 2 TP / (true + predicted items)"
            }
            Self::UnionMeanRecall => {
                "mean of recall over the classes present in the truth or in the predictions; one \
                 that was predicted and is not in the truth counts 0 (mmaction2's acc/mean1)"
            }
            Self::Mcc => {
                "Matthews correlation of truth and prediction over the whole confusion matrix: 1 is \
                 perfect, 0 is chance; 0 where all predictions or all truths are one class"
            }
            Self::MacroAveragePrecision => {
                "mean over the classes present in the truth of the area under the precision-recall \
                 curve of that class against the rest, the sum of (R_n - R_n-1) P_n; items of equal \
                 score are taken together"
            }
            Self::RocAuc => {
                "mean over the classes present in the truth of the probability that an item of the \
                 class scores higher for it than an item of another class does; equal scores count \
                 half"
            }
            Self::Ece => {
                "how far the best score is from the share of right answers: its distance in each of \
                 15 equal bins (low, high] of the best score, weighted by items. 0 is best, but a \
                 predictor that never looks may have it too"
            }
            Self::Brier => {
                "mean over items of the squared distance between scores and truth, summed over all \
                 classes: 0 is best, 2 is certain and wrong"
            }
            Self::Nll => {
                "mean over items of minus the natural logarithm of the score of the true class, \
                 which is taken as at least 1.2e-38: 0 is best"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_where_it_is_said_to_be() {
        assert_eq!(Metric::REPORTED[Metric::ROC_AUC_IDX], Metric::RocAuc);
    }
}
