//! One optimiser step: batches in, new weights and a line of figures out.

use std::time::Instant;

use burn::{
    optim::{GradientsAccumulator, GradientsParams},
    tensor::Tensor,
};
use marey_clip::rng_for;
use marey_data::Batch;
use marey_model::Model;
use rand::RngCore;
use serde_json::json;

use super::{MIX, STEP, Trainer};
use crate::{
    Error, LossScale, StepRecord,
    mix::Mixture,
    one_hot,
    update::{Fate, StepGradients, StepRule, Update, loss_factor, update},
};

impl Trainer<'_> {
    /// One optimiser step over the mean loss of the clips of `batches`.
    pub(super) fn step(
        &mut self,
        batches: Vec<Batch>,
        started: &mut Instant,
    ) -> Result<StepRecord, Error> {
        let clips: usize = batches.iter().map(|batch| batch.targets.len()).sum();
        let model = self
            .model
            .take()
            .expect("the model is put back at the end of every step");
        let items: Vec<usize> = batches
            .iter()
            .flat_map(|batch| &batch.items)
            .copied()
            .collect();
        let loss_scale = self.progress.loss_scale;
        let factor = loss_factor(loss_scale);
        let gradients = match self.setup.recipe.optimizer.sam {
            None => self.gradients(&model, batches, factor),
            Some(sam) => sam.gradients(&model, |model| {
                self.gradients(model, batches.clone(), factor)
            }),
        };
        let rule = StepRule {
            lr: self.lr(self.progress.step),
            clip_norm: self.setup.recipe.train.clip_norm,
        };
        let (optimizer, progress) = (&mut self.optimizer, &mut self.progress);
        let (model, update) = update(model, gradients, rule, optimizer, &mut progress.loss_scale);
        self.model = Some(model);
        match update.fate {
            Fate::Applied => self.join_moving_average(),
            Fate::Skipped => {
                self.progress.skipped_steps += 1;
                self.log.write(
                    "step_skipped",
                    &json!({
                        "step": self.progress.step, "items": self.ids(&items),
                        "reason": "a gradient was beyond f16",
                        "loss_scale": loss_scale.map(LossScale::factor),
                        "next_loss_scale": self.progress.loss_scale.map(LossScale::factor),
                    }),
                )?;
            }
            Fate::Refused => return Err(self.non_finite(update, &items)),
        }
        let record = StepRecord {
            step: self.progress.step,
            epoch: self.progress.epochs_done + 1,
            loss: update.loss,
            lr: rule.lr,
            grad_norm: update.grad_norm,
            loss_scale: loss_scale.map(LossScale::factor),
            is_skipped: update.fate == Fate::Skipped,
            clips_per_sec: clips as f64 / started.elapsed().as_secs_f64(),
        };
        *started = Instant::now();
        self.progress.step += 1;
        self.progress.epoch_clips += clips;
        self.progress.epoch_loss += f64::from(update.loss) * clips as f64;
        Ok(record)
    }

    /// Losses and gradients of all `batches`, each clip of which weighs alike, however the loader cut them.
    fn gradients(&self, model: &Model, batches: Vec<Batch>, loss_factor: f32) -> StepGradients {
        let clips: usize = batches.iter().map(|batch| batch.targets.len()).sum();
        let (seed, step) = (self.setup.recipe.train.seed, self.progress.step as u64);
        let mut accumulator = GradientsAccumulator::new();
        let mut losses = Vec::with_capacity(batches.len());
        for (idx, batch) in batches.into_iter().enumerate() {
            self.device
                .seed(rng_for(seed, step, idx as u64, STEP).next_u64());
            let share = batch.targets.len() as f64 / clips as f64;
            let loss = self.loss(model, batch, idx).mul_scalar(share);
            losses.push(loss.clone().inner());
            let grads = loss.mul_scalar(loss_factor).backward();
            accumulator.accumulate(model, GradientsParams::from_grads(grads, model));
        }
        StepGradients {
            losses,
            grads: accumulator.grads(),
        }
    }

    /// The loss of the step's batch `idx`.
    fn loss(&self, model: &Model, mut batch: Batch, idx: usize) -> Tensor<1> {
        let mixture = self.mix(&mut batch, idx);
        let items = batch.items.clone();
        let (input, targets) = self.prepared(batch);
        let targets = self.mixed(targets, mixture.as_ref());
        let output = model.outputs(input);
        let loss = self.loss.forward(output.logits.clone(), targets.clone());
        match self.of_heads(output, &items, targets, mixture.as_ref()) {
            Some(of_heads) => loss + of_heads,
            None => loss,
        }
    }

    /// The model's input, `[b, t, h, w, 3]` in the run's precision, which the layers compute in, and target distributions,
    /// `[b, k]`.
    pub(super) fn prepared(&self, batch: Batch) -> (Tensor<5>, Tensor<2>) {
        let recipe = self.setup.recipe;
        let num_classes = self.setup.dataset.classes.len();
        let targets = one_hot(&batch.targets, num_classes, &self.device);
        let input = recipe
            .preprocess
            .to_input(batch.pixels, batch.dims, &self.device);
        (input.cast(recipe.train.precision.dtype()), targets)
    }

    /// Mixes the step's batch `idx` where the recipe says so, by a draw that depends on the seed, the step and `idx` only.
    fn mix(&self, batch: &mut Batch, idx: usize) -> Option<Mixture> {
        let train = &self.setup.recipe.train;
        let rng = &mut rng_for(train.seed, self.progress.step as u64, idx as u64, MIX);
        train.mix?.mix(batch, rng)
    }

    /// Target distributions `[b, k]` of any head, as the clips are mixed.
    pub(super) fn mixed(&self, targets: Tensor<2>, mixture: Option<&Mixture>) -> Tensor<2> {
        match mixture {
            Some(mixture) => mixture.targets(targets, &self.device),
            None => targets,
        }
    }

    fn non_finite(&self, update: Update, items: &[usize]) -> Error {
        let (what, value) = if update.loss.is_finite() {
            ("gradient norm", update.grad_norm)
        } else {
            ("loss", update.loss)
        };
        Error::NonFinite {
            what,
            step: self.progress.step,
            epoch: self.progress.epochs_done + 1,
            value,
            precision: self.setup.recipe.train.precision,
            items: self.ids(items),
        }
    }

    fn ids(&self, items: &[usize]) -> Vec<String> {
        let items = items.iter();
        items
            .map(|&idx| self.setup.dataset.items[idx].id.clone())
            .collect()
    }
}
