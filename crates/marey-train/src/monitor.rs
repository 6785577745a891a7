//! Which validation figure is watched, and what it says: a better epoch, or time to stop.

use marey_clip::ClassList;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A figure of the validation split, by its name in a recipe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Monitor {
    /// `loss`: cross-entropy without smoothing or weights; lower is better.
    Loss,
    /// `top1`, also `accuracy`: share of items whose first guess is right.
    Top1,
    /// `top5`: share of items whose first five guesses hold the right class.
    Top5,
    /// `mean_class_accuracy`: mean over the classes present of the share of their items that is found.
    MeanClassAccuracy,
    /// `macro_precision`: mean precision over classes.
    MacroPrecision,
    /// `macro_recall`: mean recall over classes.
    MacroRecall,
    /// `macro_f1`: mean F1 over classes.
    #[default]
    MacroF1,
    /// `mcc`: Matthews correlation of truth and prediction.
    Mcc,
    /// `pr_auc`: mean over the classes present of the average precision of their scores.
    PrAuc,
    /// `roc_auc`: mean over the classes present of the area under the ROC curve of a class against the rest.
    RocAuc,
    /// `f1:<class>` and its like: a figure of one class.
    OfClass {
        /// Which figure.
        figure: ClassFigure,
        /// Name of the class.
        class: String,
    },
}

/// A figure of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassFigure {
    /// `f1:<class>`.
    F1,
    /// `precision:<class>`.
    Precision,
    /// `recall:<class>`.
    Recall,
    /// `pr_auc:<class>`: average precision of the scores of the class.
    PrAuc,
}

impl ClassFigure {
    const ALL: [Self; 4] = [Self::F1, Self::Precision, Self::Recall, Self::PrAuc];

    const fn name(self) -> &'static str {
        match self {
            Self::F1 => "f1",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::PrAuc => "pr_auc",
        }
    }
}

impl Monitor {
    /// The figures of every epoch, in the order of `metrics.csv`.
    pub const ALL: [Self; 7] = [
        Self::Loss,
        Self::Top1,
        Self::Top5,
        Self::MeanClassAccuracy,
        Self::MacroPrecision,
        Self::MacroRecall,
        Self::MacroF1,
    ];

    /// Further figures of all classes, computed where they are watched.
    const FURTHER: [Self; 3] = [Self::Mcc, Self::PrAuc, Self::RocAuc];

    /// Its name, as in a recipe, in `metrics.csv` and in a report.
    pub fn name(&self) -> String {
        let name = match self {
            Self::Loss => "loss",
            Self::Top1 => "top1",
            Self::Top5 => "top5",
            Self::MeanClassAccuracy => "mean_class_accuracy",
            Self::MacroPrecision => "macro_precision",
            Self::MacroRecall => "macro_recall",
            Self::MacroF1 => "macro_f1",
            Self::Mcc => "mcc",
            Self::PrAuc => "pr_auc",
            Self::RocAuc => "roc_auc",
            Self::OfClass { figure, class } => return format!("{}:{class}", figure.name()),
        };
        name.to_owned()
    }

    /// Checks that a validation split with `counts` items of each of `classes` gives the figure.
    pub(crate) fn check(&self, classes: &ClassList, counts: &[usize]) -> Result<(), String> {
        match self {
            Self::OfClass { class, .. } => {
                let Some(idx) = classes.index(class) else {
                    return Err(format!(
                        "train.monitor = \"{}\" names no class; the classes are {}",
                        self.name(),
                        classes.names().join(", ")
                    ));
                };
                if counts[idx] == 0 {
                    return Err(format!(
                        "train.monitor = \"{}\": the validation split has no item of this class, so the figure would \
                         say nothing. Watch another figure, or change data.split",
                        self.name()
                    ));
                }
            }
            Self::RocAuc if counts.iter().filter(|count| **count > 0).count() < 2 => {
                return Err(
                    "train.monitor = \"roc_auc\" needs items of two classes in the validation split: watch another \
                     figure, or change data.split"
                        .into(),
                );
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn is_better(&self, value: f64, than: f64, min_delta: f64) -> bool {
        match self {
            Self::Loss => value < than - min_delta,
            _ => value > than + min_delta,
        }
    }
}

impl TryFrom<String> for Monitor {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if let Some((figure, class)) = name.split_once(':') {
            let figure = ClassFigure::ALL
                .into_iter()
                .find(|known| known.name() == figure);
            if let (Some(figure), false) = (figure, class.is_empty()) {
                let class = class.to_owned();
                return Ok(Self::OfClass { figure, class });
            }
        }
        if name == "accuracy" {
            return Ok(Self::Top1);
        }
        let known = || Self::ALL.into_iter().chain(Self::FURTHER);
        if let Some(found) = known().find(|known| known.name() == name) {
            return Ok(found);
        }
        let names: Vec<String> = known().map(|known| known.name()).collect();
        let nearest = names
            .iter()
            .max_by(|a, b| {
                strsim::jaro_winkler(a, &name).total_cmp(&strsim::jaro_winkler(b, &name))
            })
            .expect("there are figures");
        let of_class = ClassFigure::ALL.map(|figure| format!("{}:<class>", figure.name()));
        Err(format!(
            "no validation figure is named \"{name}\"; did you mean `{nearest}`? There are {}, and of one class {}",
            names.join(", "),
            of_class.join(", ")
        ))
    }
}

impl From<Monitor> for String {
    fn from(monitor: Monitor) -> Self {
        monitor.name()
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
    pub fn update(&mut self, monitor: &Monitor, epoch: usize, value: f64, min_delta: f64) -> bool {
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
            [0.5, 0.6, 0.6, 0.55].map(|value| watch.update(&Monitor::MacroF1, 1, value, 0.0));
        assert_eq!(is_best, [true, true, false, false]);
        assert!(watch.is_over(Some(2)) && !watch.is_over(Some(3)) && !watch.is_over(None));
    }

    #[test]
    fn a_lower_loss_is_better_by_more_than_the_delta() {
        let mut watch = Watch::default();
        let is_best = [1.0, 0.95, 0.8].map(|value| watch.update(&Monitor::Loss, 1, value, 0.1));
        assert_eq!(is_best, [true, false, true]);
    }

    #[test]
    fn names_are_those_of_a_recipe() {
        let of_class = Monitor::OfClass {
            figure: ClassFigure::F1,
            class: "tail: up".into(),
        };
        let known = Monitor::ALL.into_iter().chain(Monitor::FURTHER);
        for monitor in known.chain([of_class]) {
            let json = serde_json::to_string(&monitor).expect("a string");
            assert_eq!(json, format!("\"{}\"", monitor.name()));
            let again: Monitor = serde_json::from_str(&json).expect("its own name");
            assert_eq!(again, monitor);
        }
        assert_eq!(Monitor::try_from("accuracy".to_owned()), Ok(Monitor::Top1));
        for (name, expect) in [
            ("f1_macro", "did you mean `macro_f1`?"),
            ("f1:", "f1:<class>"),
            ("f2:tail", "recall:<class>"),
        ] {
            let error = Monitor::try_from(name.to_owned()).expect_err(name);
            assert!(error.contains(expect), "{error}");
        }
    }

    #[test]
    fn a_figure_that_validation_cannot_give_is_refused() {
        let classes =
            ClassList::new(["ear", "tail"].map(str::to_owned).to_vec()).expect("two classes");
        let check = |name: &str, counts: [usize; 2]| {
            let monitor = Monitor::try_from(name.to_owned()).expect("a name");
            monitor.check(&classes, &counts)
        };
        assert_eq!(check("f1:tail", [3, 1]), Ok(()));
        let error = check("f1:leg", [3, 1]).expect_err("no such class");
        assert!(error.contains("the classes are ear, tail"), "{error}");
        let error = check("recall:tail", [3, 0]).expect_err("no such item");
        assert!(error.contains("no item of this class"), "{error}");
        assert!(check("roc_auc", [3, 0]).is_err() && check("roc_auc", [3, 1]).is_ok());
    }
}
