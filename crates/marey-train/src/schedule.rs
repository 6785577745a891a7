//! The learning rate over a run.
//!
//! But for `plateau`, which listens to a figure and keeps its state in the checkpoint, the rate is a pure function of the
//! step, so a resumed run has the same rates without remembering any.

mod config;

mod curve;

mod plateau;

pub use config::{Anneal, ScheduleConfig, ScheduleKind};
pub(crate) use curve::anneal;
pub use plateau::Plateau;

use self::curve::Curve;

/// A [`ScheduleConfig`] with the lengths of a run filled in.
#[derive(Clone, Debug)]
pub struct Schedule {
    curve: Curve,
    peak_lr: f64,
    warmup_steps: usize,
    warmup_from: Option<f64>,
}

impl Schedule {
    /// The schedule of a run of `num_steps` optimiser steps, `steps_per_epoch` an epoch.
    pub fn new(
        config: &ScheduleConfig,
        peak_lr: f64,
        steps_per_epoch: usize,
        num_steps: usize,
    ) -> Self {
        let in_steps = |epochs: f64| (epochs * steps_per_epoch as f64).round() as usize;
        let warmup_steps = config
            .warmup_steps
            .unwrap_or_else(|| in_steps(config.warmup_epochs));
        let curve = Curve::new(config, warmup_steps, steps_per_epoch, num_steps);
        Self {
            curve,
            peak_lr,
            warmup_steps,
            warmup_from: config.warmup_from,
        }
    }

    /// Learning rate of optimiser step `step`, counted from 0. Of a plateau's, the part that no figure has lowered.
    pub fn lr(&self, step: usize) -> f64 {
        if step >= self.warmup_steps {
            return self.curve.lr(self.peak_lr, step);
        }
        let num = self.warmup_steps as f64;
        let share = match self.warmup_from {
            None => (step + 1) as f64 / num,
            Some(from) => from + (1.0 - from) * step as f64 / num,
        };
        self.peak_lr * share
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Expected values in this module: PyTorch 2.15.0, by reference/schedule_golden.py, with one step an epoch.
    fn check(text: &str, expect: &[f64]) {
        let mut config: ScheduleConfig = toml::from_str(text).expect(text);
        config.resolve(expect.len()).expect(text);
        let schedule = Schedule::new(&config, 0.1, 1, expect.len());
        for (step, expect) in expect.iter().enumerate() {
            let found = schedule.lr(step);
            assert!(
                (found - expect).abs() < 1e-8,
                "{text}: {found} at step {step} is not {expect}"
            );
        }
    }

    #[test]
    fn warm_up_reaches_the_peak_and_the_cosine_ends_at_its_floor() {
        let config = ScheduleConfig {
            warmup_epochs: 1.0,
            min_lr: Some(0.1),
            ..ScheduleConfig::default()
        };
        let schedule = Schedule::new(&config, 1.0, 4, 12);
        assert_eq!(
            [0, 1, 2, 3].map(|step| schedule.lr(step)),
            [0.25, 0.5, 0.75, 1.0]
        );
        assert_eq!(schedule.lr(4), 1.0);
        assert!((schedule.lr(11) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn a_constant_rate_stays() {
        let config = ScheduleConfig {
            kind: ScheduleKind::Constant,
            ..ScheduleConfig::default()
        };
        let schedule = Schedule::new(&config, 0.3, 5, 10);
        assert!((0..10).all(|step| schedule.lr(step) == 0.3));
    }

    #[test]
    fn one_cycle_equals_pytorch() {
        check(
            "kind = \"one_cycle\"",
            &[
                0.004,
                0.052,
                0.1,
                0.095048463,
                0.081174565,
                0.061126202,
                0.038874198,
                0.018825835,
                0.004951937,
                0.0000004,
            ],
        );
        check(
            "kind = \"one_cycle\"\nanneal = \"linear\"",
            &[
                0.004,
                0.052,
                0.1,
                0.085714343,
                0.071428686,
                0.057143029,
                0.042857371,
                0.028571714,
                0.014286057,
                0.0000004,
            ],
        );
    }

    #[test]
    fn warm_restarts_equal_pytorch() {
        check(
            "kind = \"warm_restarts\"\nperiod_epochs = 4\nperiod_factor = 2\nmin_lr = 0.01",
            &[
                0.1,
                0.086819805,
                0.055,
                0.023180195,
                0.1,
                0.096574579,
                0.086819805,
                0.072220754,
                0.055,
                0.037779246,
                0.023180195,
                0.013425421,
                0.1,
                0.099135338,
            ],
        );
    }

    #[test]
    fn steps_equal_pytorch() {
        check(
            "kind = \"step\"\nevery_epochs = 2\nfactor = 0.5",
            &[0.1, 0.1, 0.05, 0.05, 0.025, 0.025],
        );
        check(
            "kind = \"step\"\nmilestones = [1, 4]",
            &[0.1, 0.01, 0.01, 0.01, 0.001, 0.001],
        );
    }

    #[test]
    fn a_warm_up_from_a_share_equals_pytorch() {
        for length in ["warmup_epochs = 4", "warmup_steps = 4"] {
            check(
                &format!("kind = \"constant\"\nwarmup_from = 0.01\n{length}"),
                &[0.001, 0.02575, 0.0505, 0.07525, 0.1, 0.1],
            );
        }
    }

    proptest! {
        #[test]
        fn the_rate_never_leaves_its_range_nor_rises_after_the_warm_up(
            warmup_epochs in 0.0..3.0f64, steps_per_epoch in 1usize..20, epochs in 1usize..10,
        ) {
            let config = ScheduleConfig { warmup_epochs, min_lr: Some(0.01), ..ScheduleConfig::default() };
            let num_steps = steps_per_epoch * epochs;
            let schedule = Schedule::new(&config, 0.5, steps_per_epoch, num_steps);
            let rates: Vec<_> = (0..num_steps).map(|step| schedule.lr(step)).collect();
            prop_assert!(rates.iter().all(|&lr| lr > 0.0 && lr <= 0.5));
            let warm = schedule.warmup_steps.min(num_steps);
            prop_assert!(rates[warm..].windows(2).all(|pair| pair[1] <= pair[0]));
        }

        #[test]
        fn every_kind_stays_between_zero_and_the_peak(
            kind in 0usize..4, warmup in 0usize..8, steps_per_epoch in 1usize..9, epochs in 2usize..9,
        ) {
            let text = [
                "kind = \"one_cycle\"", "kind = \"warm_restarts\"\nperiod_epochs = 0.3\nperiod_factor = 1.5",
                "kind = \"step\"\nevery_epochs = 1", "kind = \"plateau\"",
            ][kind];
            let mut config: ScheduleConfig = toml::from_str(text).expect("valid TOML");
            config.warmup_steps = (kind > 0).then_some(warmup);
            config.resolve(epochs).map_err(TestCaseError::fail)?;
            let num_steps = steps_per_epoch * epochs;
            let schedule = Schedule::new(&config, 0.5, steps_per_epoch, num_steps);
            // A run may make a step more or less than planned where batches are left out.
            for step in 0..num_steps + 2 {
                let lr = schedule.lr(step);
                prop_assert!((0.0..=0.5).contains(&lr), "{} at {}", lr, step);
            }
        }
    }
}
