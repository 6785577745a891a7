//! The training loop: losses, optimisers, schedules, checkpoints, the run folder.
//!
//! For: going from a recipe and two loaders to a trained model, in a folder that holds everything about it, able to stop
//! at any step and go on as if nothing had happened. This is the only crate that turns autodiff on.
//! Not for: judging a model (`marey-infer`, `marey-eval`), printing (the [`Observer`] does), choosing a device.
//!
//! ```
//! use marey_train::{Recipe, Schedule};
//!
//! let recipe = Recipe::parse(
//!     r#"
//!     data.path = "clips.csv"
//!     sampling = { mode = "dense", frames = 16, step = 2 }
//!     preprocess = { size = [112, 112], resize = "short_side", short_side = 128 }
//!     model.arch = "r3d_18"
//!     optimizer = { kind = "adamw", lr = 3e-4 }
//!     schedule = { kind = "cosine", warmup_epochs = 1 }
//!     train = { epochs = 10, batch = 4 }
//!     "#,
//!     "example",
//!     &["train.batch=8".to_owned()],
//! )?;
//! let schedule = Schedule::new(&recipe.schedule, recipe.peak_lr(), 40, 400);
//! assert_eq!(recipe.train.batch, 8);
//! assert!(schedule.lr(0) < schedule.lr(39));
//! # Ok::<(), String>(())
//! ```

mod recipe;

mod trainer;

mod validate;

mod eval;

mod watching;

mod noise;

mod loss;

mod anomaly;

mod mix;

mod balance;

mod precision;

mod update;

mod optimizer;

mod schedule;

mod sam;

mod average;

mod monitor;

mod checkpoint;

mod run;

mod tensorboard;

mod observer;

mod error;

pub use average::{EmaConfig, SwaConfig};
pub use checkpoint::Progress;
pub use error::Error;
pub use eval::{CalibrationMethod, EvalConfig, RejectionRule};
pub use loss::{ClassWeights, FocalPt, Loss, LossConfig, LossKind, one_hot};
pub use mix::MixConfig;
pub use monitor::{Best, ClassFigure, Monitor, Watch};
pub use noise::{LayerTime, NoiseConfig, NoiseStep, NoiseTrainer, StepParts};
pub use observer::{Event, Observer, Silent};
pub use optimizer::{FreezeNorm, Optimizer, OptimizerConfig, OptimizerKind, OptimizerSection};
pub use precision::{LossScale, Precision};
pub use recipe::{Recipe, Select, TrainConfig};
pub use run::{EpochRecord, EventLog, Run, StepRecord};
pub use sam::SamConfig;
pub use schedule::{Anneal, Plateau, Schedule, ScheduleConfig, ScheduleKind};
pub use trainer::{Ending, Setup, Start, Trained, train};
pub use validate::Validation;
pub use watching::{AnomalyConfig, EventsConfig, VerdictBy};
