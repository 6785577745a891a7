//! The learning rate as a pure function of the step.

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate moves from its peak, `optimizer.lr`.
///
/// Every kind warms up linearly first, step by step, from `lr / (warm-up steps)` to `lr` (Goyal et al., "Accurate,
/// Large Minibatch SGD", section 2.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleConfig {
    /// Half a cosine from `lr` to `min_lr` (Loshchilov and Hutter, "SGDR", equation 5, without restarts).
    Cosine {
        /// Epochs of linear warm-up, a fraction allowed (default 0).
        #[serde(default)]
        warmup_epochs: f64,
        /// Rate of the last step (default 0).
        #[serde(default)]
        min_lr: f64,
    },
    /// `lr` throughout.
    Constant {
        /// Epochs of linear warm-up, a fraction allowed (default 0).
        #[serde(default)]
        warmup_epochs: f64,
    },
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self::Cosine {
            warmup_epochs: 0.0,
            min_lr: 0.0,
        }
    }
}

impl ScheduleConfig {
    /// Epochs of linear warm-up.
    pub const fn warmup_epochs(&self) -> f64 {
        match self {
            Self::Cosine { warmup_epochs, .. } | Self::Constant { warmup_epochs } => *warmup_epochs,
        }
    }
}

/// A [`ScheduleConfig`] with the lengths of a run filled in.
#[derive(Clone, Debug)]
pub struct Schedule {
    config: ScheduleConfig,
    peak_lr: f64,
    warmup_steps: usize,
    num_steps: usize,
}

impl Schedule {
    /// The schedule of a run of `num_steps` optimiser steps, `steps_per_epoch` an epoch.
    pub fn new(
        config: ScheduleConfig,
        peak_lr: f64,
        steps_per_epoch: usize,
        num_steps: usize,
    ) -> Self {
        let warmup_steps = (config.warmup_epochs() * steps_per_epoch as f64).round() as usize;
        Self {
            config,
            peak_lr,
            warmup_steps,
            num_steps,
        }
    }

    /// Learning rate of optimiser step `step`, counted from 0.
    pub fn lr(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return self.peak_lr * (step + 1) as f64 / self.warmup_steps as f64;
        }
        match self.config {
            ScheduleConfig::Constant { .. } => self.peak_lr,
            ScheduleConfig::Cosine { min_lr, .. } => {
                let last = self.num_steps.saturating_sub(1).max(self.warmup_steps + 1);
                let done = (step - self.warmup_steps) as f64 / (last - self.warmup_steps) as f64;
                min_lr + (self.peak_lr - min_lr) * 0.5 * (1.0 + (PI * done.min(1.0)).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn warm_up_reaches_the_peak_and_the_cosine_ends_at_its_floor() {
        let config = ScheduleConfig::Cosine {
            warmup_epochs: 1.0,
            min_lr: 0.1,
        };
        let schedule = Schedule::new(config, 1.0, 4, 12);
        assert_eq!(
            [0, 1, 2, 3].map(|step| schedule.lr(step)),
            [0.25, 0.5, 0.75, 1.0]
        );
        assert_eq!(schedule.lr(4), 1.0);
        assert!((schedule.lr(11) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn a_constant_rate_stays() {
        let schedule = Schedule::new(ScheduleConfig::Constant { warmup_epochs: 0.0 }, 0.3, 5, 10);
        assert!((0..10).all(|step| schedule.lr(step) == 0.3));
    }

    proptest! {
        #[test]
        fn the_rate_never_leaves_its_range_nor_rises_after_the_warm_up(
            warmup_epochs in 0.0..3.0f64, steps_per_epoch in 1usize..20, epochs in 1usize..10,
        ) {
            let config = ScheduleConfig::Cosine { warmup_epochs, min_lr: 0.01 };
            let num_steps = steps_per_epoch * epochs;
            let schedule = Schedule::new(config, 0.5, steps_per_epoch, num_steps);
            let rates: Vec<_> = (0..num_steps).map(|step| schedule.lr(step)).collect();
            prop_assert!(rates.iter().all(|&lr| lr > 0.0 && lr <= 0.5));
            let warm = schedule.warmup_steps.min(num_steps);
            prop_assert!(rates[warm..].windows(2).all(|pair| pair[1] <= pair[0]));
        }
    }
}
