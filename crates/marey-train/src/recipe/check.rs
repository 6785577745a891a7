//! Checks that need more than one section of a recipe, or the data that it names.

use burn::tensor::Device;
use marey_clip::rng_for;
use marey_data::{Dataset, LabelColumn, Sampler, Split};
use marey_model::{ModelConfig, Outputs, Task};

use super::{Recipe, Select};
use crate::{Error, Monitor, ScheduleKind};

impl Recipe {
    /// Checks what depends on the data and the model: that the task's class and columns are there, that class weights,
    /// sampler and [`Monitor`] name classes, that what listens to a validation figure has a validation split, and that names
    /// of parameters are those of the model.
    ///
    /// # Errors
    /// When one of them cannot work. Nothing has been trained or written then.
    pub fn check_data(&self, dataset: &Dataset) -> Result<(), Error> {
        let message = |message| Error::Setting { message };
        self.check_task(dataset).map_err(message)?;
        let outputs = self.outputs(dataset)?;
        let counts = dataset.class_counts(Split::Validation);
        self.check_validation(&counts).map_err(message)?;
        if counts.iter().any(|count| *count > 0) {
            let monitor = &self.train.monitor;
            monitor.check(&dataset.classes, &counts).map_err(message)?;
        }
        let names = dataset.classes.names();
        let counts = dataset.class_counts(Split::Train);
        self.loss
            .init(names, &counts, &Device::flex())
            .map_err(message)?;
        self.sampler(dataset)?;
        if self.optimizer.names_parameters() {
            let rng = &mut rng_for(self.train.seed, 0, 0, 0);
            // Only the names are wanted, so no weights are read.
            let model = ModelConfig {
                weights: None,
                head: None,
                ..self.model.clone()
            };
            let (model, _) = model.build(&outputs, rng, &Device::flex())?;
            self.optimizer.check_parameters(&model).map_err(message)?;
        }
        Ok(())
    }

    /// What draws the training items of `dataset`.
    ///
    /// # Errors
    /// When the class that the sampler names is not there, or would not be boosted.
    pub fn sampler(&self, dataset: &Dataset) -> Result<Sampler, Error> {
        let indices = dataset.indices(Split::Train);
        let sampler = self.train.sampler.init(dataset, &indices, self.train.seed);
        sampler.map_err(|message| Error::Setting { message })
    }

    /// The labels of `dataset` that are learned beside the classes.
    ///
    /// # Errors
    /// When a column that the task names is not there, or is no label.
    pub fn label_columns(&self, dataset: &Dataset) -> Result<Vec<LabelColumn>, Error> {
        let columns = self.task.heads().iter();
        let columns: Result<_, _> = columns.map(|name| dataset.label_column(name)).collect();
        Ok(columns?)
    }

    /// What the model says about a clip of `dataset`.
    pub(crate) fn outputs(&self, dataset: &Dataset) -> Result<Outputs, Error> {
        let columns = self.label_columns(dataset)?;
        Ok(Outputs {
            num_classes: dataset.classes.len(),
            heads: columns.iter().map(|column| column.classes.len()).collect(),
            task: self.task.clone(),
        })
    }

    /// Refuses a task whose normal class is not there, or has nothing to learn from.
    fn check_task(&self, dataset: &Dataset) -> Result<(), String> {
        let Task::Anomaly { normal, .. } = &self.task else {
            return Ok(());
        };
        let Some(position) = dataset.classes.index(normal) else {
            return Err(format!(
                "task.normal is `{normal}`, and the classes are {}: name one of them",
                dataset.classes.names().join(", ")
            ));
        };
        if dataset.class_counts(Split::Train)[position] == 0 {
            return Err(format!(
                "task.normal is `{normal}`, and no training item has this class"
            ));
        }
        Ok(())
    }

    /// The class of what is normal: that of the task, or of `[eval.anomaly]` where the task has none. `None` where the recipe
    /// asks for no anomalies.
    pub fn normal(&self) -> Option<&str> {
        match &self.task {
            Task::Anomaly { normal, .. } => Some(normal),
            Task::Classify { .. } => self.eval.anomaly.as_ref()?.normal.as_deref(),
        }
    }

    /// Refuses two normal classes, and anomalies without one.
    pub(super) fn check_normal(&self) -> Result<(), String> {
        let Some(anomaly) = &self.eval.anomaly else {
            return Ok(());
        };
        match (&self.task, &anomaly.normal) {
            (Task::Anomaly { normal, .. }, Some(named)) if named != normal => Err(format!(
                "task.normal is `{normal}` and eval.anomaly.normal is `{named}`: a recipe has one normal class, so remove \
                 eval.anomaly.normal"
            )),
            (Task::Classify { .. }, None) => Err(
                "eval.anomaly names no normal class: set eval.anomaly.normal, or task.kind = \"anomaly\" with task.normal"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }

    /// Refuses what leaves no bags to rank.
    pub(super) fn check_bags(&self) -> Result<(), String> {
        let key = "task.ranking";
        if self.task.segments() == 1 {
            Ok(())
        } else if self.train.batch < 2 {
            Err(format!(
                "{key} has no effect with train.batch = 1: an anomalous item is compared with a normal one of its batch"
            ))
        } else if self.train.mix.is_some() {
            Err(format!(
                "{key} cannot work with train.mix, which mixes segments of different items: remove one of them"
            ))
        } else {
            Ok(())
        }
    }

    /// Refuses keys that listen to a validation split that is not there.
    fn check_validation(&self, counts: &[usize]) -> Result<(), String> {
        let train = &self.train;
        let listeners = [
            ("train.patience", train.patience.is_some()),
            ("train.min_delta", train.min_delta > 0.0),
            ("train.monitor", train.monitor != Monitor::default()),
            (
                "train.select = \"best\"",
                train.select == Some(Select::Best),
            ),
            ("schedule.kind = \"plateau\"", self.is_plateau()),
        ];
        match listeners.iter().find(|(_, is_set)| *is_set) {
            Some((key, _)) if counts.iter().all(|count| *count == 0) => Err(format!(
                "{key} needs a validation split, and no item is in it: set data.split.validation, or remove the key"
            )),
            _ => Ok(()),
        }
    }

    fn is_plateau(&self) -> bool {
        self.schedule.kind == ScheduleKind::Plateau
    }

    /// Checks which weights are chosen, by what, and how they are averaged.
    pub(super) fn check_choice(&self) -> Result<(), String> {
        let train = &self.train;
        if let Some(ema) = &train.ema {
            ema.check()?;
        }
        if let Some(swa) = &train.swa {
            swa.check(train.epochs)?;
        }
        let rival = match (&train.swa, train.select) {
            (Some(_), _) if train.ema.is_some() => {
                return Err(
                    "train.ema and train.swa both say what is bundled: remove one of them".into(),
                );
            }
            (Some(_), Some(Select::Best)) => {
                return Err(
                    "train.select = \"best\" has no effect with train.swa, which bundles the mean of the last epochs: \
                     remove one of them"
                        .into(),
                );
            }
            (Some(_), _) => "train.swa",
            (None, Some(Select::Last)) => "train.select = \"last\"",
            (None, _) => return Ok(()),
        };
        let without_effect = [
            ("train.patience", train.patience.is_some()),
            ("train.min_delta", train.min_delta > 0.0),
            (
                "train.monitor",
                train.monitor != Monitor::default() && !self.is_plateau(),
            ),
        ];
        match without_effect.iter().find(|(_, is_set)| *is_set) {
            None => Ok(()),
            Some((key, _)) => Err(format!(
                "{key} has no effect with {rival}: remove one of them"
            )),
        }
    }
}
