//! Which weights a run averages, validates and bundles.
//!
//! With a moving average (`train.ema`), the average everywhere. With a mean over the last epochs (`train.swa`), each epoch's
//! own weights until the end, and then the mean, once the running statistics of batch norms are computed anew for it.

use std::sync::atomic::Ordering;

use burn::module::Module;
use marey_clip::rng_for;
use marey_data::Order;
use marey_model::{
    Model,
    layer::with_statistics_share,
    weights::{is_running_stat, parameters},
};
use rand::RngCore;
use serde_json::json;

use super::{STATISTICS, Trainer};
use crate::{
    Error, Monitor, Observer, Progress, Recipe, Validation, average::approach, checkpoint::State,
    validate::validate,
};

/// Whether a run has averaged weights when it has come as far as `progress`.
pub(super) fn has_average(recipe: &Recipe, progress: &Progress) -> bool {
    recipe.train.ema.is_some() || (recipe.train.swa.is_some() && progress.num_averaged > 0)
}

/// Where a run of `model` begins.
pub(super) fn fresh(recipe: &Recipe, model: Model) -> State {
    let model = recipe.optimizer.freeze(model);
    State {
        average: None,
        optimizer: recipe.optimizer.init(&model),
        progress: Progress::fresh(recipe.train.precision),
        model,
    }
}

impl Trainer<'_> {
    /// The weights that are validated and bundled, without autodiff.
    pub(super) fn judged(&self) -> Model {
        match &self.average {
            // During the run, the mean lacks statistics of its own; `complete_mean` is the end of the run.
            Some(average) if self.setup.recipe.train.ema.is_some() || self.is_mean_complete => {
                average.clone()
            }
            _ => self.model().valid(),
        }
    }

    /// Figures of the validation split, where there is one.
    pub(super) fn validate(
        &self,
        observer: &mut dyn Observer,
    ) -> Result<Option<Validation>, Error> {
        let (recipe, device) = (self.setup.recipe, self.device.clone().inner());
        let validation = self.setup.validation;
        validation
            .map(|loader| validate(&self.judged(), loader, recipe, observer, &device))
            .transpose()
    }

    /// Begins the moving average with the model as it is before the first step.
    pub(super) fn begin_moving_average(&mut self) {
        if self.setup.recipe.train.ema.is_some() {
            self.average = Some(self.model().valid());
        }
    }

    /// Takes the weights after a step into the moving average.
    pub(super) fn join_moving_average(&mut self) {
        if let (Some(ema), Some(average)) = (self.setup.recipe.train.ema, self.average.take()) {
            let share = ema.share(self.progress.num_averaged);
            self.average = Some(approach(average, self.model(), share));
            self.progress.num_averaged += 1;
        }
    }

    /// Takes the weights after `epoch` (from 1) into the mean, if it is one of those that count.
    pub(super) fn join_mean(&mut self, epoch: usize) {
        let swa = self.setup.recipe.train.swa;
        if swa.is_none_or(|swa| epoch < swa.start_epoch) {
            return;
        }
        let average = self.average.take().unwrap_or_else(|| self.model().valid());
        self.progress.num_averaged += 1;
        let share = 1.0 / self.progress.num_averaged as f64;
        self.average = Some(approach(average, self.model(), share));
    }

    /// Gives the mean running statistics of its own, by one more pass over the training clips, and validates it; `false`
    /// when the run was told to stop meanwhile.
    pub(super) fn complete_mean(&mut self, observer: &mut dyn Observer) -> Result<bool, Error> {
        let average = self.average.clone();
        let average = average.expect("the last epoch counts, since the start is checked");
        let has_norms = parameters(&average)
            .iter()
            .any(|parameter| is_running_stat(&parameter.name));
        if has_norms {
            let Some(refreshed) = self.refreshed(average.train())? else {
                return Ok(false);
            };
            self.average = Some(refreshed.valid());
            self.report_skipped(observer)?;
        }
        self.is_mean_complete = true;
        let figures = self.validate(observer)?.map(|found| {
            let names = Monitor::ALL.iter().map(Monitor::name);
            let values = found.figures.iter().map(|value| json!(value));
            names.zip(values).collect::<serde_json::Map<_, _>>()
        });
        self.log.write(
            "averaged",
            &json!({ "epochs": self.progress.num_averaged, "validation": figures }),
        )?;
        Ok(true)
    }

    /// `model` with statistics that are the plain means over the batches of an epoch; `None` when the run was told to stop.
    fn refreshed(&self, model: Model) -> Result<Option<Model>, Error> {
        let (recipe, loader) = (self.setup.recipe, self.setup.train);
        let epoch = recipe.train.epochs as u64;
        let order = self.sampler.epoch(epoch);
        let batches = loader.train_epoch(epoch, &recipe.augment, Order::Given(&order), 0);
        for (idx, batch) in batches.enumerate() {
            let mut rng = rng_for(recipe.train.seed, 0, idx as u64, STATISTICS);
            self.device.seed(rng.next_u64());
            let (input, _) = self.prepared(batch?);
            // Through every head: those beside the classifier have norms too.
            with_statistics_share(1.0 / (idx + 1) as f64, || model.outputs(input));
            if self.setup.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
        }
        Ok(Some(model))
    }
}
