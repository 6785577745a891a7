//! The loop: batches in, a trained model out, able to stop and go on at any step.
//!
//! Everything random in a step is drawn from (seed, epoch, item) by the loader and from (seed, step) by the device, so a
//! run that goes on from a checkpoint makes the very steps that the uninterrupted run would have made.

mod step;

mod heads;

mod weights;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use burn::tensor::Device;
use marey_clip::rng_for;
use marey_data::{Dataset, Loader, Order, Sampler, SamplerConfig, Split};
use marey_kernel::{kernels_used, set_sum_order};
use marey_model::Model;
use serde_json::json;

use crate::{
    Best, EpochRecord, Error, Event, EventLog, Loss, Observer, Optimizer, Progress, Recipe, Run,
    Schedule, Select,
    checkpoint::{self, Contents, State},
    run::Metrics,
    trainer::heads::Heads,
};

/// Purposes of [`rng_for`] in this crate; the loader has its own.
const WEIGHTS: u64 = 0x77;
const STEP: u64 = 0x73;
const STATISTICS: u64 = 0x6e;
const CENTER: u64 = 0x63;
const MIX: u64 = 0x6D;

/// What a run works with.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The recipe, resolved.
    pub recipe: &'a Recipe,
    /// The items that the loaders index.
    pub dataset: &'a Dataset,
    /// The training split.
    pub train: &'a Loader,
    /// The validation split, where there is one.
    pub validation: Option<&'a Loader>,
    /// Where everything is written.
    pub run: &'a Run,
    /// Set by a signal handler or another thread: the run writes a checkpoint and ends after the current step.
    pub stop: &'a AtomicBool,
}

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With fresh weights (or those that the recipe names).
    Fresh,
    /// With the last checkpoint of the run folder, or fresh where the run ended before its first.
    Resume,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All epochs were made.
    Complete,
    /// The monitored figure had not improved for [`TrainConfig::patience`](crate::TrainConfig::patience) epochs.
    Early,
    /// [`Setup::stop`] was set; the run can be resumed.
    Stopped,
}

/// What a run leaves.
#[derive(Debug)]
pub struct Trained {
    /// The selected weights, without autodiff.
    pub model: Model,
    /// How the run ended.
    pub ending: Ending,
    /// Which weights were selected.
    pub select: Select,
    /// The best epoch, where there is a validation split.
    pub best: Option<Best>,
    /// How far the run came.
    pub progress: Progress,
}

/// Trains the recipe's model.
///
/// `device` is a plain device; autodiff is turned on here and nowhere else. The order in which the CPU's kernels add up
/// ([`TrainConfig::deterministic`](crate::TrainConfig::deterministic)) is set for the whole process.
///
/// # Errors
/// When an item cannot be read (and the data's policy is to stop), a loss or gradient is not finite, or something cannot
/// be written. The run folder then holds the last checkpoint.
pub fn train(
    setup: &Setup<'_>,
    start: Start,
    observer: &mut dyn Observer,
    device: &Device,
) -> Result<Trained, Error> {
    let mut trainer = Trainer::new(setup, start, device)?;
    let ending = trainer.run(observer)?;
    trainer.finish(ending)
}

fn schedule_of(recipe: &Recipe, steps_per_epoch: usize) -> Result<Schedule, Error> {
    let num_steps = steps_per_epoch * recipe.train.epochs;
    let warmup = recipe.schedule.warmup_steps;
    if let Some(steps) = warmup.filter(|steps| *steps >= num_steps) {
        let message = format!(
            "schedule.warmup_steps is {steps}, and the run has {num_steps} steps: it would never reach optimizer.lr"
        );
        return Err(Error::Setting { message });
    }
    let peak_lr = recipe.peak_lr();
    Ok(Schedule::new(
        &recipe.schedule,
        peak_lr,
        steps_per_epoch,
        num_steps,
    ))
}

struct Trainer<'a> {
    setup: &'a Setup<'a>,
    /// `None` only while the optimiser holds it.
    model: Option<Model>,
    /// The moving average, or the mean of the last epochs from the first of them on; without autodiff.
    average: Option<Model>,
    /// Whether the mean has running statistics of its own.
    is_mean_complete: bool,
    optimizer: Optimizer,
    schedule: Schedule,
    steps_per_epoch: usize,
    loss: Loss,
    heads: Heads,
    sampler: Sampler,
    progress: Progress,
    metrics: Metrics,
    log: EventLog,
    /// Items already reported as skipped.
    reported: BTreeSet<usize>,
    num_batches: usize,
    select: Select,
    started: Instant,
    steps_at_start: usize,
    seconds_at_start: f64,
    device: Device,
}

impl<'a> Trainer<'a> {
    fn new(setup: &'a Setup<'a>, start: Start, device: &Device) -> Result<Self, Error> {
        let recipe = setup.recipe;
        recipe.check_data(setup.dataset)?;
        let device = device.clone().autodiff();
        let mut rng = rng_for(recipe.train.seed, 0, 0, WEIGHTS);
        let classes = &setup.dataset.classes;
        let outputs = recipe.outputs(setup.dataset)?;
        let (model, import) = recipe.model.build(&outputs, &mut rng, &device)?;
        let last = checkpoint::find(&setup.run.checkpoints(), "last");
        let state = match (start, last) {
            (Start::Resume, Some(path)) => {
                checkpoint::load(&path, model, &recipe.optimizer, |progress| {
                    weights::has_average(recipe, progress)
                })?
            }
            _ => weights::fresh(recipe, model),
        };
        let State {
            model,
            average,
            optimizer,
            progress,
        } = state;
        let counts = setup.dataset.class_counts(Split::Train);
        let loss = recipe
            .loss
            .init(classes.names(), &counts, &device)
            .map_err(|message| Error::Setting { message })?;
        let indices = setup.train.indices();
        let sampler = recipe
            .train
            .sampler
            .init(setup.dataset, indices, recipe.train.seed);
        let sampler = sampler.map_err(|message| Error::Setting { message })?;
        let num_batches = setup.train.num_batches(indices.len());
        let steps_per_epoch = num_batches.div_ceil(recipe.train.accumulate);
        let schedule = schedule_of(recipe, steps_per_epoch)?;
        let metrics = Metrics::open(
            setup.run,
            &recipe.train.monitor,
            progress.step,
            progress.epochs_done,
        )?;
        let mut log = EventLog::open(setup.run)?;
        set_sum_order(recipe.train.sum_order());
        let precision = recipe.train.precision;
        log.write(
            "start",
            &json!({
                "step": progress.step, "epochs_done": progress.epochs_done, "precision": precision,
                "kernels": kernels_used(precision.dtype(), &device),
                "deterministic": recipe.train.deterministic, "peak_lr": recipe.peak_lr(),
            }),
        )?;
        for warning in recipe.warnings() {
            log.write("warning", &json!({ "warning": warning }))?;
        }
        if let Some(import) = import {
            log.write("weights", &json!({ "import": import.to_string() }))?;
        }
        let default_select = if setup.validation.is_some() && recipe.train.swa.is_none() {
            Select::Best
        } else {
            Select::Last
        };
        Ok(Self {
            setup,
            model: Some(model),
            average,
            is_mean_complete: false,
            optimizer,
            schedule,
            steps_per_epoch,
            loss,
            heads: Heads::new(recipe, setup.dataset)?,
            sampler,
            metrics,
            log,
            reported: BTreeSet::new(),
            num_batches,
            select: recipe.train.select.unwrap_or(default_select),
            started: Instant::now(),
            steps_at_start: progress.step,
            seconds_at_start: progress.seconds,
            progress,
            device,
        })
    }

    fn run(&mut self, observer: &mut dyn Observer) -> Result<Ending, Error> {
        let train = &self.setup.recipe.train;
        if self.progress.step == 0 {
            self.place_center()?;
            self.begin_moving_average();
        }
        while self.progress.epochs_done < train.epochs {
            if self.progress.watch.is_over(train.patience) {
                return Ok(Ending::Early);
            }
            if !self.epoch(observer)? {
                self.save_last()?;
                self.log
                    .write("stopped", &json!({ "step": self.progress.step }))?;
                return Ok(Ending::Stopped);
            }
        }
        if train.swa.is_some() && !self.complete_mean(observer)? {
            self.log
                .write("stopped", &json!({ "step": self.progress.step }))?;
            return Ok(Ending::Stopped);
        }
        Ok(Ending::Complete)
    }

    /// The learning rate of optimiser step `step`.
    fn lr(&self, step: usize) -> f64 {
        let recipe = self.setup.recipe;
        let scheduled = |step| {
            recipe
                .schedule
                .lowered(self.schedule.lr(step), &self.progress.plateau)
        };
        match &recipe.train.swa {
            None => scheduled(step),
            Some(swa) => {
                let num = self.steps_per_epoch;
                swa.lr(step, num, scheduled(swa.start_step(num)), scheduled(step))
            }
        }
    }

    /// The rest of the current epoch; `false` when the run was told to stop in it.
    fn epoch(&mut self, observer: &mut dyn Observer) -> Result<bool, Error> {
        let recipe = self.setup.recipe;
        let (epoch_started, clips_before) = (Instant::now(), self.progress.epoch_clips);
        let epoch = self.progress.epochs_done as u64;
        let order = self.draw_items(epoch)?;
        let batches = self.setup.train.train_epoch(
            epoch,
            &recipe.augment,
            Order::Given(&order),
            self.progress.batches_done,
        );
        let mut batches = batches.peekable();
        let mut step_started = Instant::now();
        while self.progress.batches_done < self.num_batches {
            let end = (self.progress.batches_done + recipe.train.accumulate).min(self.num_batches);
            let mut group = Vec::with_capacity(recipe.train.accumulate);
            // A batch whose every item was left out does not come, so a group may be smaller than asked for.
            while let Some(batch) =
                batches.next_if(|batch| batch.as_ref().map_or(true, |batch| batch.idx < end))
            {
                group.push(batch?);
            }
            self.report_skipped(observer)?;
            self.progress.batches_done = end;
            if group.is_empty() {
                continue;
            }
            let record = self.step(group, &mut step_started)?;
            if record.step.is_multiple_of(recipe.train.log_steps) {
                self.metrics.step(&record)?;
            }
            observer.on_event(&Event::Step {
                record,
                num_epochs: recipe.train.epochs,
                batches_done: self.progress.batches_done,
                num_batches: self.num_batches,
                time_left: self.time_left(),
            });
            if self.setup.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let is_due = recipe
                .train
                .checkpoint_steps
                .is_some_and(|steps| self.progress.step.is_multiple_of(steps));
            if is_due && self.progress.batches_done < self.num_batches {
                self.save_last()?;
            }
        }
        drop(batches);
        let seconds = epoch_started.elapsed().as_secs_f64();
        let clips_per_sec = (self.progress.epoch_clips - clips_before) as f64 / seconds;
        self.end_epoch(clips_per_sec, observer)?;
        Ok(true)
    }

    /// What the epoch draws; where that is not every item once, the log says how often each class comes.
    fn draw_items(&mut self, epoch: u64) -> Result<Vec<usize>, Error> {
        let order = self.sampler.epoch(epoch);
        if self.setup.recipe.train.sampler != SamplerConfig::default() {
            let drawn = self.sampler.drawn(&order);
            let names = self.setup.dataset.classes.names();
            let per_class: BTreeMap<&String, usize> = names.iter().zip(drawn.per_class).collect();
            self.log.write(
                "drawn",
                &json!({ "epoch": epoch + 1, "per_class": per_class, "distinct_items": drawn.distinct }),
            )?;
        }
        Ok(order)
    }

    fn end_epoch(&mut self, clips_per_sec: f64, observer: &mut dyn Observer) -> Result<(), Error> {
        let train = &self.setup.recipe.train;
        let epoch = self.progress.epochs_done + 1;
        self.join_mean(epoch);
        let validation = self.validate(observer)?;
        // Before the plateau hears of the epoch, whose last rate this is.
        let lr = self.lr(self.progress.step.saturating_sub(1));
        let is_best = validation.is_some_and(|found| {
            self.progress
                .watch
                .update(&train.monitor, epoch, found.monitored, train.min_delta)
        });
        if let Some(found) = validation {
            self.progress.plateau.update(
                &self.setup.recipe.schedule,
                &train.monitor,
                found.monitored,
            );
        }
        let progress = &mut self.progress;
        progress.epochs_done = epoch;
        progress.batches_done = 0;
        progress.seconds = self.seconds_at_start + self.started.elapsed().as_secs_f64();
        let record = EpochRecord {
            epoch,
            step: progress.step,
            lr,
            train_loss: progress.epoch_loss / progress.epoch_clips as f64,
            validation,
            clips_per_sec,
            seconds: progress.seconds,
        };
        (progress.epoch_loss, progress.epoch_clips) = (0.0, 0);
        self.metrics.epoch(&record)?;
        let dir = self.setup.run.checkpoints();
        if is_best && self.select == Select::Best {
            let best = Contents {
                model: &self.judged(),
                average: None,
                optimizer: None,
                progress: &self.progress,
            };
            checkpoint::save(&dir, "best", &best)?;
        }
        if train
            .keep_every_epochs
            .is_some_and(|every| epoch.is_multiple_of(every))
        {
            let name = format!("step-{}", self.progress.step);
            checkpoint::save(&dir, &name, &self.contents())?;
        }
        self.save_last()?;
        observer.on_event(&Event::Epoch {
            record: &record,
            num_epochs: train.epochs,
            is_best,
        });
        Ok(())
    }

    fn finish(mut self, ending: Ending) -> Result<Trained, Error> {
        self.log.write(
            "end",
            &json!({ "ending": format!("{ending:?}"), "step": self.progress.step }),
        )?;
        let mut model = self.judged();
        if ending != Ending::Stopped && self.select == Select::Best {
            let dir = self.setup.run.checkpoints();
            let best = checkpoint::find(&dir, "best").ok_or_else(|| Error::Checkpoint {
                path: dir.join("best"),
                message: "the best epoch's checkpoint is gone. Train again, or set train.select = \"last\"".into(),
            })?;
            model = checkpoint::load_model(&best, "model", model)?;
        }
        let best = self.progress.watch.best;
        Ok(Trained {
            model,
            ending,
            select: self.select,
            best,
            progress: self.progress,
        })
    }

    fn model(&self) -> &Model {
        self.model
            .as_ref()
            .expect("the model is put back at the end of every step")
    }

    fn save_last(&mut self) -> Result<(), Error> {
        self.progress.seconds = self.seconds_at_start + self.started.elapsed().as_secs_f64();
        checkpoint::save(&self.setup.run.checkpoints(), "last", &self.contents())
    }

    /// Everything that the next step depends on.
    fn contents(&self) -> Contents<'_> {
        Contents {
            model: self.model(),
            average: self.average.as_ref(),
            optimizer: Some(&self.optimizer),
            progress: &self.progress,
        }
    }

    fn time_left(&self) -> Duration {
        let num_steps = self.steps_per_epoch * self.setup.recipe.train.epochs;
        let left = num_steps.saturating_sub(self.progress.step);
        let made = (self.progress.step - self.steps_at_start).max(1);
        self.started.elapsed().mul_f64(left as f64 / made as f64)
    }

    /// Tells and logs the items that the loaders have left out since the last call.
    fn report_skipped(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let loaders = [Some(self.setup.train), self.setup.validation];
        for skipped in loaders.into_iter().flatten().flat_map(Loader::skipped) {
            if self.reported.insert(skipped.item) {
                self.log.write(
                    "skipped",
                    &json!({ "item": skipped.id, "reason": skipped.reason }),
                )?;
                observer.on_event(&Event::Skipped {
                    item: &skipped.id,
                    reason: &skipped.reason,
                });
            }
        }
        Ok(())
    }
}
