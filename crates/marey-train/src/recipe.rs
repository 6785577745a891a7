//! A recipe: everything that decides what a run learns, in one TOML file.
//!
//! Reading is strict: an unknown key is an error that names the nearest valid one, a key that has no effect beside the
//! others is an error, and every value is checked before anything is built.

mod check;

pub(crate) mod effect;

mod text;

use std::{fs, path::Path};

use marey_clip::Sampling;
use marey_data::{DataConfig, SamplerConfig};
use marey_kernel::SumOrder;
use marey_model::{Arch, ModelConfig, Task};
use marey_transform::{Augment, Preprocess};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::text::{apply_override, with_nearest_key};
use crate::{
    EmaConfig, Error, EvalConfig, LossConfig, MixConfig, Monitor, OptimizerSection, Precision,
    ScheduleConfig, SwaConfig,
};

/// A full run configuration.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the run folders, `runs/<name>-<n>` (default: the recipe file's name).
    #[serde(default)]
    pub name: String,
    /// What is learned.
    #[serde(default)]
    pub task: Task,
    /// Which items, in which splits.
    pub data: DataConfig,
    /// Which frames of an item.
    pub sampling: Sampling,
    /// From source frames to model input.
    pub preprocess: Preprocess,
    /// Random changes of training clips.
    #[serde(default)]
    pub augment: Augment,
    /// The network.
    pub model: ModelConfig,
    /// What is minimised.
    #[serde(default)]
    pub loss: LossConfig,
    /// How.
    pub optimizer: OptimizerSection,
    /// The learning rate over time.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Length, batches, checkpoints.
    pub train: TrainConfig,
    /// What is judged and reported.
    #[serde(default)]
    pub eval: EvalConfig,
}

/// The `[train]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training split, at least 1.
    pub epochs: usize,
    /// Clips of a batch, at least 1.
    pub batch: usize,
    /// Batches whose gradients are averaged into one step (default 1).
    #[serde(default = "one")]
    pub accumulate: usize,
    /// Largest L2 norm of all gradients together; larger ones are scaled down to it (default: no limit).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f32>,
    /// What activations and their gradients are stored as while training (default `"f32"`). Weights, statistics and
    /// the optimiser stay in `f32`, and so does everything that judges or predicts.
    #[serde(default)]
    pub precision: Precision,
    /// Seed of everything random (default 0).
    #[serde(default)]
    pub seed: u64,
    /// Whether the CPU's kernels add up in a fixed order (default true). `false` may be faster; then the same recipe
    /// gives other last bits each time, and a resumed run is not the uninterrupted one.
    #[serde(default = "yes")]
    pub deterministic: bool,
    /// Threads that read and prepare clips (default 2). They change the speed only, never a clip.
    #[serde(default = "two")]
    pub workers: usize,
    /// Batches kept ready ahead of the step (default 2).
    #[serde(default = "two")]
    pub prefetch: usize,
    /// An exponential moving average of the weights, which is validated and bundled in their place (default: none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<EmaConfig>,
    /// The mean of the weights of the last epochs, which is bundled in their place (default: none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swa: Option<SwaConfig>,
    /// Which weights become the bundle (default `"best"` where there is a validation split and no [`TrainConfig::swa`],
    /// else `"last"`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<Select>,
    /// The validation figure that chooses the best epoch and stops early (default `"macro_f1"`).
    #[serde(default)]
    pub monitor: Monitor,
    /// Epochs without a better figure before the run stops (default: never).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// How much better counts as better (default 0).
    #[serde(default)]
    pub min_delta: f64,
    /// Optimiser steps between two checkpoints within an epoch (default: at the end of each epoch only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_steps: Option<usize>,
    /// Epochs between two checkpoints that are kept as `checkpoints/step-N` (default: none is kept).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_every_epochs: Option<usize>,
    /// Optimiser steps between two lines of `metrics.jsonl` (default 1).
    #[serde(default = "one")]
    pub log_steps: usize,
    /// Which training items an epoch draws (default `shuffled`: every item once).
    #[serde(default)]
    pub sampler: SamplerConfig,
    /// Mixup and CutMix (default: off).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<MixConfig>,
}

impl TrainConfig {
    /// How the CPU's kernels may add up.
    pub(crate) const fn sum_order(&self) -> SumOrder {
        if self.deterministic {
            SumOrder::Fixed
        } else {
            SumOrder::Free
        }
    }
}

/// Which weights of a run become its bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// Those of the epoch with the best [`TrainConfig::monitor`] on the validation split.
    Best,
    /// Those of the last epoch: nothing is chosen by any figure.
    Last,
}

const fn one() -> usize {
    1
}

const fn two() -> usize {
    2
}

const fn yes() -> bool {
    true
}

impl Recipe {
    /// Reads the recipe at `path` and applies `overrides`, each `section.key=value` with a TOML value.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, holds an unknown key or a value that cannot work.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::io("read the recipe", path))?;
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or("run");
        Self::parse(&text, stem, overrides).map_err(|message| Error::Recipe {
            path: path.to_owned(),
            message,
        })
    }

    /// The same from the text of a recipe; `name` serves where the recipe has none.
    ///
    /// # Errors
    /// A sentence that says what is wrong, where, and what is valid.
    pub fn parse(text: &str, name: &str, overrides: &[String]) -> Result<Self, String> {
        // Read as written first, so that a mistake in the file is shown with its line.
        let mut recipe: Self = toml::from_str(text).map_err(|error| with_nearest_key(&error))?;
        if !overrides.is_empty() {
            let mut table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
            for change in overrides {
                apply_override(&mut table, change)?;
            }
            recipe = toml::Value::Table(table)
                .try_into()
                .map_err(|error: toml::de::Error| format!("--set: {}", with_nearest_key(&error)))?;
        }
        if recipe.name.is_empty() {
            name.clone_into(&mut recipe.name);
        }
        recipe.validate()?;
        Ok(recipe)
    }

    /// The recipe as TOML, every default written out.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a recipe holds nothing that TOML cannot express")
    }

    /// The recipe's JSON Schema (draft 2020-12), for editors.
    pub fn schema() -> String {
        serde_json::to_string_pretty(&schemars::schema_for!(Self)).expect("a schema is JSON")
    }

    /// Clips of which the loss of one optimiser step is the mean.
    pub const fn clips_per_step(&self) -> usize {
        self.train.batch * self.train.accumulate
    }

    /// Peak learning rate: `optimizer.lr`, scaled to the clips of a step where the recipe says so.
    pub fn peak_lr(&self) -> f64 {
        self.optimizer.peak_lr(self.clips_per_step())
    }

    /// Checks every value, and fills in those that depend on others.
    fn validate(&mut self) -> Result<(), String> {
        if !self
            .name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        {
            return Err(format!(
                "name = \"{}\" names a folder: use letters, digits, `.`, `_` and `-`",
                self.name
            ));
        }
        let train = &self.train;
        let at_least_one = [
            ("train.epochs", train.epochs),
            ("train.batch", train.batch),
            ("train.accumulate", train.accumulate),
            ("train.workers", train.workers),
            ("train.prefetch", train.prefetch),
            ("train.log_steps", train.log_steps),
            (
                "train.checkpoint_steps",
                train.checkpoint_steps.unwrap_or(1),
            ),
            (
                "train.keep_every_epochs",
                train.keep_every_epochs.unwrap_or(1),
            ),
            ("train.patience", train.patience.unwrap_or(1)),
        ];
        if let Some((key, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{key} is 0, it must be at least 1"));
        }
        self.loss.resolve()?;
        self.optimizer.resolve()?;
        self.schedule.resolve(train.epochs)?;
        let in_range = [
            (
                "train.clip_norm",
                f64::from(train.clip_norm.unwrap_or(1.0)),
                1e-12..=1e12,
            ),
            ("train.min_delta", train.min_delta, 0.0..=1e12),
        ];
        if let Some((key, value, range)) = in_range
            .iter()
            .find(|(_, value, range)| !range.contains(value))
        {
            return Err(format!(
                "{key} is {value}, it must lie in {}..={}",
                range.start(),
                range.end()
            ));
        }
        self.check_choice()?;
        self.task.validate()?;
        self.check_bags()?;
        self.check_normal()?;
        train.sampler.validate()?;
        if let Some(mix) = train.mix {
            mix.validate(train.batch)?;
        }
        self.sampling
            .validate()
            .map_err(|error| error.to_string())?;
        self.eval.validate(&self.sampling, &self.preprocess)?;
        self.augment
            .validate(&self.preprocess)
            .map_err(|error| error.to_string())?;
        self.model
            .validate()
            .map_err(|error| error.kind().to_string())?;
        if self.model.arch == Arch::TwoStream && self.sampling.frames < 2 {
            return Err(format!(
                "sampling.frames is {}, and model.arch = \"two_stream\" sees what moves between frames: it must be at \
                 least 2; 11 fill the stack that it sees",
                self.sampling.frames
            ));
        }
        self.preprocess
            .validate()
            .map_err(|error| error.to_string())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OptimizerConfig;

    const SMALL: &str = r#"
        [data]
        path = "clips.csv"
        [sampling]
        mode = "uniform"
        frames = 8
        [preprocess]
        size = [64, 64]
        resize = "stretch"
        [model]
        arch = "r3d_18"
        [optimizer]
        kind = "adamw"
        lr = 0.001
        [train]
        epochs = 2
        batch = 4
    "#;

    fn error_of(text: &str, overrides: &[&str]) -> String {
        let overrides: Vec<String> = overrides.iter().map(|&change| change.to_owned()).collect();
        Recipe::parse(text, "small", &overrides).expect_err("a recipe that cannot work")
    }

    #[test]
    fn defaults_are_filled_in_and_written_out() {
        let recipe = Recipe::parse(SMALL, "small", &[]).expect("valid");
        assert_eq!(
            (
                recipe.name.as_str(),
                recipe.train.accumulate,
                recipe.clips_per_step()
            ),
            ("small", 1, 4)
        );
        let again =
            Recipe::parse(&recipe.to_toml(), "other", &[]).expect("what is written can be read");
        assert_eq!(again.to_toml(), recipe.to_toml());
    }

    #[test]
    fn overrides_reach_nested_keys() {
        let change = [
            "train.epochs=7",
            "train.monitor=f1:tail",
            "optimizer={kind=\"sgd\", lr=0.1}",
            "data.group=location",
        ];
        let recipe = Recipe::parse(SMALL, "small", &change.map(str::to_owned)).expect("valid");
        assert_eq!(recipe.train.epochs, 7);
        assert_eq!(
            recipe.optimizer.rule(),
            OptimizerConfig::Sgd {
                lr: 0.1,
                weight_decay: 0.0,
                momentum: 0.9
            }
        );
        assert_eq!(recipe.train.monitor.name(), "f1:tail");
    }

    /// Everything that training offers at once, written out and read again.
    #[test]
    fn sections_with_tables_are_written_so_that_they_can_be_read() {
        let change = [
            "loss={kind=\"adaptive_focal\", class_weights={a=1.0, b=2.0}, label_smoothing=0.1}",
            "optimizer.sam={adaptive=true}",
            "optimizer.lr_factors={stem=0.1}",
            "optimizer.freeze=[\"layer1\"]",
            "optimizer.scale_lr_to_batch=16",
            "schedule={kind=\"step\", milestones=[1], warmup_steps=3}",
            "train.ema={warmup=false}",
            "train.accumulate=2",
        ];
        let recipe = Recipe::parse(SMALL, "small", &change.map(str::to_owned)).expect("valid");
        let text = recipe.to_toml();
        let again = Recipe::parse(&text, "other", &[]).expect(&text);
        assert_eq!(again.to_toml(), text);
        assert_eq!(
            (again.loss, again.train.ema),
            (recipe.loss, recipe.train.ema)
        );
        assert_eq!(again.optimizer.sam.map(|sam| sam.rho), Some(0.05));
        assert!((again.optimizer.peak_lr(8) - 0.0005).abs() < 1e-15);
        // Defaults that depend on the kind are written out.
        assert!(
            text.contains("gammas = ") && text.contains("factor = 0.1"),
            "{text}"
        );
    }

    /// Losses, optimisers and schedules that projects on thermal postures, cattle, actors and anomalies were trained with.
    #[test]
    fn what_known_projects_train_with_can_be_written() {
        let cases: [&[&str]; 4] = [
            &[
                "optimizer={kind=\"sgd\", lr=0.005, weight_decay=1e-4, scale_lr_to_batch=16, backbone_lr_factor=0.1}",
                "schedule={kind=\"cosine\", warmup_epochs=10, warmup_from=0.01, min_lr=1e-4}",
                "train={epochs=100, batch=4, clip_norm=40, monitor=\"accuracy\", patience=20, min_delta=0.001}",
            ],
            &[
                "optimizer={kind=\"adamw\", lr=5e-5, weight_decay=0.05}",
                "schedule={kind=\"cosine\", min_lr=1e-6}",
                "loss={kind=\"focal\", gamma=2, label_smoothing=0.15, pt=\"smoothed_loss\"}",
                "train={epochs=30, batch=4, clip_norm=1, monitor=\"f1:tail\"}",
            ],
            &[
                "optimizer={kind=\"adamw\", lr=1e-4, weight_decay=1e-4}",
                "schedule={kind=\"warm_restarts\", period_epochs=7, period_factor=2, min_lr=1e-6}",
                "loss={kind=\"focal\", gamma=2, alpha=0.25}",
                "train={epochs=30, batch=4}",
            ],
            &[
                "optimizer={kind=\"adamw\", lr=1e-2, weight_decay=1e-4, sam={rho=0.05}}",
                "schedule={kind=\"one_cycle\", pct_start=0.3, div_factor=25, final_div_factor=1e4}",
                "loss={kind=\"focal\", gamma=2, alpha=0.25, label_smoothing=0.1}",
                "train={epochs=100, batch=128, clip_norm=1, swa={start_epoch=75, lr=5e-5, anneal_epochs=10}}",
            ],
        ];
        let recipes = cases.map(|changes| {
            let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
            Recipe::parse(SMALL, "known", &changes).expect("valid")
        });
        assert!((recipes[0].peak_lr() - 0.00125).abs() < 1e-15);
    }

    #[test]
    fn two_streams_need_frames_to_move_between() {
        let text = SMALL.replace("r3d_18", "two_stream");
        Recipe::parse(&text, "small", &[]).expect("eight frames");
        let error = error_of(&text, &["sampling.frames=1"]);
        assert!(error.contains("it must be at least 2"), "{error}");
    }

    #[test]
    fn mistakes_name_the_key_and_the_remedy() {
        let cases: &[(&str, &[&str], &str)] = &[
            // A misspelt key, in the file and on the command line.
            (
                &SMALL.replace("epochs", "epoch"),
                &[],
                "did you mean `epochs`?",
            ),
            (SMALL, &["train.batchsize=3"], "did you mean `batch`?"),
            // A misspelt value.
            (SMALL, &["train.precision=fp16"], "did you mean `f16`?"),
            (SMALL, &["train.precision=bfloat16"], "did you mean `bf16`?"),
            // A key of another kind of optimiser.
            (
                SMALL,
                &["optimizer.momentum=0.9"],
                "optimizer.momentum has no effect with kind = \"adamw\"",
            ),
            // Values that cannot work.
            (
                SMALL,
                &["train.epochs=0"],
                "train.epochs is 0, it must be at least 1",
            ),
            (
                SMALL,
                &["schedule={kind=\"cosine\", warmup_epochs=5}"],
                "less than train.epochs (2)",
            ),
            (SMALL, &["sampling.step=2"], "sampling.step has no effect"),
            (SMALL, &["augment.random_crop=true"], "random_crop"),
            (
                SMALL,
                &["sampling.jitter=3"],
                "sampling.jitter has no effect",
            ),
            (SMALL, &["augment.rain={fog=1}"], "unknown field `fog`"),
            (SMALL, &["train.mix={}"], "both alphas at 0"),
            (
                SMALL,
                &["train.sampler={kind=\"balanced\", share=0.5}"],
                "unknown field `share`",
            ),
            (
                SMALL,
                &["train.sampler={kind=\"weighted\", beta=0.9}"],
                "train.sampler.beta has no effect",
            ),
            (
                SMALL,
                &["train.sampler={kind=\"balance\"}"],
                "did you mean `balanced`?",
            ),
            (SMALL, &["model.drop_path=0.1"], "drop_path"),
            (
                SMALL,
                &["train.select=\"last\"", "train.min_delta=0.1"],
                "train.min_delta has no effect",
            ),
            (
                SMALL,
                &["train.select=\"last\"", "train.patience=3"],
                "train.patience has no effect",
            ),
            (
                SMALL,
                &["train.monitor=f1_macro"],
                "did you mean `macro_f1`?",
            ),
            (
                SMALL,
                &["loss.class_weights=balance"],
                "loss.class_weights is \"balance\", expected one of",
            ),
            (
                SMALL,
                &["train.swa.start_epoch=3"],
                "at most train.epochs (2)",
            ),
            (
                SMALL,
                &["train.swa.start_epoch=2", "train.patience=1"],
                "train.patience has no effect with train.swa",
            ),
            (
                SMALL,
                &["train.swa.start_epoch=2", "train.select=best"],
                "train.select = \"best\" has no effect with train.swa",
            ),
            (
                SMALL,
                &["train.swa.start_epoch=2", "train.ema={}"],
                "remove one of them",
            ),
            (SMALL, &["train.ema.decay=1"], "train.ema.decay is 1"),
            (SMALL, &["train.epochs"], "expected `section.key=value`"),
            (
                SMALL,
                &["train.epochs.x=1"],
                "`epochs` is a value, not a section",
            ),
            (SMALL, &["name=\"a/b\""], "names a folder"),
        ];
        for (text, overrides, expect) in cases {
            let found = error_of(text, overrides);
            assert!(found.contains(expect), "{overrides:?}: {found}");
        }
    }
}
