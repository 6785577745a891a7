//! The `[schedule]` section of a recipe.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Plateau;
use crate::recipe::effect::{Key, has_effect, in_range};

/// The `[schedule]` section: how the learning rate moves from its peak, `optimizer.lr`.
///
/// Every kind but `"one_cycle"`, which brings its own, can warm up linearly first, step by step: from
/// `lr / (warm-up steps)`, or from the share `warmup_from` of it, to `lr` (Goyal et al., "Accurate, Large Minibatch SGD",
/// section 2.2).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// The form of the curve (default `"cosine"`).
    pub kind: ScheduleKind,
    /// Epochs of linear warm-up, a fraction allowed, fewer than `train.epochs` (default 0).
    pub warmup_epochs: f64,
    /// Optimiser steps of linear warm-up, instead of epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<usize>,
    /// Share of the rate that the warm-up begins with, 0–1; the peak is reached at the step after it, as in PyTorch's
    /// `LinearLR` (default: one step's share, and the peak at its last step).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_from: Option<f64>,
    /// Lowest rate (default 0): where a cosine ends, what a plateau never falls below. `"cosine"`, `"warm_restarts"` and
    /// `"plateau"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_lr: Option<f64>,
    /// Share of the run in which the rate rises, above 0 and below 1 (default 0.3); `"one_cycle"` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pct_start: Option<f64>,
    /// The first rate is `lr` divided by this, at least 1 (default 25); `"one_cycle"` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub div_factor: Option<f64>,
    /// The last rate is the first divided by this, at least 1 (default 10000); `"one_cycle"` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_div_factor: Option<f64>,
    /// How it moves between them (default `"cosine"`); `"one_cycle"` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anneal: Option<Anneal>,
    /// Epochs until the first restart, a fraction allowed; needed by `"warm_restarts"`, and of it only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_epochs: Option<f64>,
    /// How many times as long each period is as the one before, 1–100 (default 1); `"warm_restarts"` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_factor: Option<f64>,
    /// What the rate is multiplied by, above 0 and below 1 (default 0.1); `"step"` and `"plateau"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// Epochs after which it is multiplied, rising; `"step"` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milestones: Option<Vec<usize>>,
    /// Multiply after every so many epochs, instead of `milestones`; `"step"` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_epochs: Option<usize>,
    /// Epochs without a better figure that are borne before the rate falls (default 10); `"plateau"` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// How much better counts as better (default 0.0001); `"plateau"` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_delta: Option<f64>,
    /// Epochs after a fall in which none is counted (default 0); `"plateau"` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<usize>,
}

/// The form of the curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Half a cosine from `lr` to `min_lr` (Loshchilov and Hutter, "SGDR", equation 5, without restarts).
    #[default]
    Cosine,
    /// `lr` throughout.
    Constant,
    /// Up from `lr / div_factor` to `lr`, then down to nearly nothing over the rest of the run (Smith and Topin,
    /// "Super-Convergence", 2018; PyTorch's `OneCycleLR` in two phases). The momentum stays as it is.
    OneCycle,
    /// A cosine from `lr` to `min_lr` that begins again after each period (Loshchilov and Hutter, "SGDR", 2017).
    WarmRestarts,
    /// Multiplied by `factor` after given epochs.
    Step,
    /// Multiplied by `factor` when `train.monitor` has not become better for a while (PyTorch's `ReduceLROnPlateau` with
    /// absolute thresholds).
    Plateau,
}

impl ScheduleKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Constant => "constant",
            Self::OneCycle => "one_cycle",
            Self::WarmRestarts => "warm_restarts",
            Self::Step => "step",
            Self::Plateau => "plateau",
        }
    }
}

/// How a rate moves from one value to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Anneal {
    /// Along half a cosine.
    #[default]
    Cosine,
    /// Along a line.
    Linear,
}

impl ScheduleConfig {
    /// Checks what a person wrote for a run of `num_epochs`, and fills in what depends on the kind.
    pub(crate) fn resolve(&mut self, num_epochs: usize) -> Result<(), String> {
        let is = |kinds: &[ScheduleKind]| kinds.contains(&self.kind);
        use ScheduleKind::{Cosine, OneCycle, Plateau, Step, WarmRestarts};
        let (cycle, restarts, step) = (is(&[OneCycle]), is(&[WarmRestarts]), is(&[Step]));
        let plateau = is(&[Plateau]);
        let keys = [
            Key(
                "warmup_epochs",
                self.warmup_epochs != 0.0,
                !cycle,
                "the other kinds; the share pct_start warms up",
            ),
            Key(
                "warmup_steps",
                self.warmup_steps.is_some(),
                !cycle,
                "the other kinds; the share pct_start warms up",
            ),
            Key(
                "min_lr",
                self.min_lr.is_some(),
                is(&[Cosine, WarmRestarts, Plateau]),
                "\"cosine\", \"warm_restarts\" and \"plateau\"",
            ),
            Key(
                "pct_start",
                self.pct_start.is_some(),
                cycle,
                "\"one_cycle\"",
            ),
            Key(
                "div_factor",
                self.div_factor.is_some(),
                cycle,
                "\"one_cycle\"",
            ),
            Key(
                "final_div_factor",
                self.final_div_factor.is_some(),
                cycle,
                "\"one_cycle\"",
            ),
            Key("anneal", self.anneal.is_some(), cycle, "\"one_cycle\""),
            Key(
                "period_epochs",
                self.period_epochs.is_some(),
                restarts,
                "\"warm_restarts\"",
            ),
            Key(
                "period_factor",
                self.period_factor.is_some(),
                restarts,
                "\"warm_restarts\"",
            ),
            Key(
                "factor",
                self.factor.is_some(),
                step || plateau,
                "\"step\" and \"plateau\"",
            ),
            Key("milestones", self.milestones.is_some(), step, "\"step\""),
            Key(
                "every_epochs",
                self.every_epochs.is_some(),
                step,
                "\"step\"",
            ),
            Key(
                "patience",
                self.patience.is_some(),
                plateau,
                "\"plateau\"; to stop early, set train.patience",
            ),
            Key(
                "min_delta",
                self.min_delta.is_some(),
                plateau,
                "\"plateau\"",
            ),
            Key("cooldown", self.cooldown.is_some(), plateau, "\"plateau\""),
        ];
        has_effect(
            "schedule",
            &format!("kind = \"{}\"", self.kind.name()),
            &keys,
        )?;
        self.check_warmup(num_epochs)?;
        self.check_numbers(num_epochs)?;
        if cycle {
            self.pct_start.get_or_insert(0.3);
            self.div_factor.get_or_insert(25.0);
            self.final_div_factor.get_or_insert(1e4);
            self.anneal.get_or_insert(Anneal::Cosine);
        }
        if restarts {
            self.period_factor.get_or_insert(1.0);
        }
        if step || plateau {
            self.factor.get_or_insert(0.1);
        }
        if plateau {
            self.patience.get_or_insert(10);
            self.min_delta.get_or_insert(1e-4);
            self.cooldown.get_or_insert(0);
        }
        if matches!(self.kind, Cosine | WarmRestarts | Plateau) {
            self.min_lr.get_or_insert(0.0);
        }
        Ok(())
    }

    fn check_warmup(&self, num_epochs: usize) -> Result<(), String> {
        if !(0.0..num_epochs as f64).contains(&self.warmup_epochs) {
            return Err(format!(
                "schedule.warmup_epochs is {}, it must be at least 0 and less than train.epochs ({num_epochs})",
                self.warmup_epochs
            ));
        }
        let has_epochs = self.warmup_epochs > 0.0;
        if has_epochs && self.warmup_steps.is_some() {
            return Err(
                "schedule.warmup_epochs and schedule.warmup_steps are the same length in two units: remove one".into(),
            );
        }
        if self.warmup_from.is_some()
            && !has_epochs
            && self.warmup_steps.is_none_or(|steps| steps == 0)
        {
            return Err(
                "schedule.warmup_from has no effect without a warm-up: set schedule.warmup_epochs, or remove it".into(),
            );
        }
        in_range(
            "schedule.warmup_from",
            self.warmup_from.unwrap_or(1.0),
            0.0..=1.0,
        )
    }

    fn check_numbers(&self, num_epochs: usize) -> Result<(), String> {
        in_range("schedule.min_lr", self.min_lr.unwrap_or(0.0), 0.0..=1e3)?;
        in_range(
            "schedule.pct_start",
            self.pct_start.unwrap_or(0.3),
            1e-6..=0.999_999,
        )?;
        in_range(
            "schedule.div_factor",
            self.div_factor.unwrap_or(1.0),
            1.0..=1e12,
        )?;
        in_range(
            "schedule.final_div_factor",
            self.final_div_factor.unwrap_or(1.0),
            1.0..=1e12,
        )?;
        in_range(
            "schedule.period_factor",
            self.period_factor.unwrap_or(1.0),
            1.0..=100.0,
        )?;
        in_range(
            "schedule.factor",
            self.factor.unwrap_or(0.1),
            1e-6..=0.999_999,
        )?;
        in_range(
            "schedule.min_delta",
            self.min_delta.unwrap_or(0.0),
            0.0..=1e12,
        )?;
        if self.kind == ScheduleKind::WarmRestarts {
            let period = self.period_epochs.ok_or(
                "schedule.period_epochs is missing: how many epochs until the first restart?",
            )?;
            in_range("schedule.period_epochs", period, 1e-3..=num_epochs as f64)?;
        }
        if self.kind == ScheduleKind::Step {
            self.check_milestones(num_epochs)?;
        }
        Ok(())
    }

    fn check_milestones(&self, num_epochs: usize) -> Result<(), String> {
        let inside = |epoch: usize| (1..num_epochs).contains(&epoch);
        match (&self.milestones, self.every_epochs) {
            (None, None) => Err(
                "schedule.milestones is missing: after which epochs does the rate fall? For example [30, 60], or set \
                 schedule.every_epochs"
                    .into(),
            ),
            (Some(_), Some(_)) => Err(
                "schedule.milestones and schedule.every_epochs both say when the rate falls: remove one".into(),
            ),
            (None, Some(every)) if !inside(every) => Err(format!(
                "schedule.every_epochs is {every}, it must be at least 1 and less than train.epochs ({num_epochs})"
            )),
            (Some(milestones), None)
                if milestones.is_empty()
                    || !milestones.iter().all(|&epoch| inside(epoch))
                    || !milestones.windows(2).all(|pair| pair[0] < pair[1]) =>
            {
                Err(format!(
                    "schedule.milestones is {milestones:?}, expected epochs that rise, each at least 1 and less than \
                     train.epochs ({num_epochs})"
                ))
            }
            _ => Ok(()),
        }
    }

    /// Lowers `lr` as far as a plateau has lowered the rate; other kinds leave it.
    pub(crate) fn lowered(&self, lr: f64, plateau: &Plateau) -> f64 {
        match self.kind {
            ScheduleKind::Plateau => (lr * plateau.scale).max(self.min_lr.unwrap_or(0.0).min(lr)),
            _ => lr,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plateau_lowers_down_to_its_floor() {
        let mut config: ScheduleConfig =
            toml::from_str("kind = \"plateau\"\nmin_lr = 0.02").expect("valid TOML");
        config.resolve(9).expect("valid");
        let at = |lr, scale| {
            let plateau = Plateau {
                scale,
                ..Plateau::default()
            };
            config.lowered(lr, &plateau)
        };
        assert_eq!(
            [at(0.1, 0.5), at(0.1, 0.01), at(0.01, 0.5)],
            [0.05, 0.02, 0.01]
        );
        assert_eq!(
            ScheduleConfig::default().lowered(
                0.1,
                &Plateau {
                    scale: 0.5,
                    ..Plateau::default()
                }
            ),
            0.1
        );
    }

    #[test]
    fn keys_of_another_kind_and_numbers_that_cannot_work_are_refused() {
        let cases = [
            (
                "factor = 0.5",
                "factor has no effect with kind = \"cosine\": it belongs to \"step\" and",
            ),
            (
                "kind = \"one_cycle\"\nwarmup_epochs = 1",
                "pct_start warms up",
            ),
            ("kind = \"constant\"\nmin_lr = 0.1", "min_lr has no effect"),
            ("kind = \"step\"", "schedule.milestones is missing"),
            ("kind = \"step\"\nmilestones = [3, 2]", "epochs that rise"),
            (
                "kind = \"step\"\nmilestones = [9]",
                "less than train.epochs (9)",
            ),
            (
                "kind = \"step\"\nmilestones = [2]\nevery_epochs = 2",
                "remove one",
            ),
            (
                "kind = \"warm_restarts\"",
                "schedule.period_epochs is missing",
            ),
            (
                "kind = \"plateau\"\nfactor = 1.5",
                "schedule.factor is 1.5, it must lie in",
            ),
            ("warmup_epochs = 1\nwarmup_steps = 5", "in two units"),
            ("warmup_from = 0.1", "without a warm-up"),
            ("warmup_epochs = 9", "less than train.epochs (9)"),
        ];
        for (text, expect) in cases {
            let mut config: ScheduleConfig = toml::from_str(text).expect(text);
            let error = config.resolve(9).expect_err(text);
            assert!(error.contains(expect), "{text}: {error}");
        }
    }
}
