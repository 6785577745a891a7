//! The `[optimizer]` section of a recipe.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OptimizerConfig, adamw_betas, adamw_decay, sgd_momentum};
use crate::{
    SamConfig,
    recipe::effect::{Key, has_effect, in_range},
};

/// The `[optimizer]` section: which rule, and which parameters learn how fast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSection {
    /// The rule.
    pub kind: OptimizerKind,
    /// Peak learning rate, 1e-12 to 1000.
    pub lr: f64,
    /// Clips of a step for which `lr` is meant: it is multiplied by the clips of a step (`train.batch` times
    /// `train.accumulate`) over this (Goyal et al., 2017, section 2.1; mmengine's `auto_scale_lr`). Only `lr` is scaled,
    /// no other rate. (Default: `lr` as it is.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_lr_to_batch: Option<usize>,
    /// Weight decay, 0–100: decoupled for `"adamw"` (default 0.01), added to the gradient for `"sgd"` (default 0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Whether norms' scales and all biases decay too, that is parameters of one dimension (default true).
    #[serde(default = "yes")]
    pub decay_norms_and_biases: bool,
    /// Decay of the two moments, each at least 0 and below 1 (default `[0.9, 0.999]`); `"adamw"` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub betas: Option<[f64; 2]>,
    /// At least 0 and below 1 (default 0.9); `"sgd"` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// Factor on the learning rate of everything but the classifier, above 0, at most 100 (default 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backbone_lr_factor: Option<f64>,
    /// Factors on the learning rate by the first parts of parameter names, such as `{ stem = 0.01, layer4 = 0.5 }`; the
    /// longest that fits counts, before `backbone_lr_factor`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lr_factors: BTreeMap<String, f64>,
    /// First parts of the names of parameters that do not learn, such as `["stem", "layer1"]`; the batch norms among them
    /// keep their running statistics too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// What of every batch norm stays as it is (default: nothing).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze_norm: Option<FreezeNorm>,
    /// Sharpness-aware steps (default: plain ones).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sam: Option<SamConfig>,
}

/// An optimiser's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// [`OptimizerConfig::AdamW`].
    AdamW,
    /// [`OptimizerConfig::Sgd`].
    Sgd,
}

/// What of every batch norm stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FreezeNorm {
    /// The running statistics, with which training normalises then; scale and shift learn.
    Statistics,
    /// Scale and shift too.
    All,
}

const fn yes() -> bool {
    true
}

impl OptimizerSection {
    /// Peak learning rate of a run whose steps are of `clips_per_step` clips.
    pub fn peak_lr(&self, clips_per_step: usize) -> f64 {
        match self.scale_lr_to_batch {
            None => self.lr,
            Some(base) => self.lr * clips_per_step as f64 / base as f64,
        }
    }

    /// The rule with its numbers.
    pub fn rule(&self) -> OptimizerConfig {
        let lr = self.lr;
        match self.kind {
            OptimizerKind::AdamW => OptimizerConfig::AdamW {
                lr,
                weight_decay: self.weight_decay.unwrap_or(adamw_decay()),
                betas: self.betas.unwrap_or(adamw_betas()),
            },
            OptimizerKind::Sgd => OptimizerConfig::Sgd {
                lr,
                weight_decay: self.weight_decay.unwrap_or(0.0),
                momentum: self.momentum.unwrap_or(sgd_momentum()),
            },
        }
    }

    /// Checks what a person wrote, and fills in what depends on the kind.
    pub(crate) fn resolve(&mut self) -> Result<(), String> {
        let is_adamw = self.kind == OptimizerKind::AdamW;
        let kind = if is_adamw { "adamw" } else { "sgd" };
        let keys = [
            Key("betas", self.betas.is_some(), is_adamw, "\"adamw\""),
            Key("momentum", self.momentum.is_some(), !is_adamw, "\"sgd\""),
        ];
        has_effect("optimizer", &format!("kind = \"{kind}\""), &keys)?;
        in_range("optimizer.lr", self.lr, 1e-12..=1e3)?;
        in_range(
            "optimizer.weight_decay",
            self.weight_decay.unwrap_or(0.0),
            0.0..=100.0,
        )?;
        for share in self.betas.into_iter().flatten().chain(self.momentum) {
            let key = if is_adamw {
                "optimizer.betas"
            } else {
                "optimizer.momentum"
            };
            in_range(key, share, 0.0..=0.999_999_9)?;
        }
        for (name, factor) in self
            .lr_factors
            .iter()
            .map(|(name, factor)| (name.as_str(), *factor))
            .chain(self.backbone_lr_factor.map(|factor| ("", factor)))
        {
            let key = match name {
                "" => "optimizer.backbone_lr_factor".to_owned(),
                _ => format!("optimizer.lr_factors.{name}"),
            };
            in_range(&key, factor, 1e-9..=100.0)?;
        }
        if self.scale_lr_to_batch == Some(0) {
            return Err("optimizer.scale_lr_to_batch is 0, it must be at least 1".into());
        }
        if let Some(sam) = &self.sam {
            sam.check()?;
        }
        self.weight_decay
            .get_or_insert(if is_adamw { adamw_decay() } else { 0.0 });
        if !self.decay_norms_and_biases && self.weight_decay == Some(0.0) {
            return Err(
                "optimizer.decay_norms_and_biases = false has no effect with optimizer.weight_decay = 0: remove it".into(),
            );
        }
        if is_adamw {
            self.betas.get_or_insert(adamw_betas());
        } else {
            self.momentum.get_or_insert(sgd_momentum());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> OptimizerSection {
        toml::from_str(text).expect(text)
    }

    #[test]
    fn the_rate_is_scaled_to_the_batch() {
        // The thermal project: 0.005 for 16 clips, and steps of 4.
        let section = section("kind = \"sgd\"\nlr = 0.005\nscale_lr_to_batch = 16");
        assert!((section.peak_lr(4) - 0.00125).abs() < 1e-15);
    }

    #[test]
    fn keys_of_the_other_kind_and_numbers_that_cannot_work_are_refused() {
        let cases = [
            (
                "kind = \"adamw\"\nlr = 1.0\nmomentum = 0.9",
                "momentum has no effect with kind = \"adamw\": it belongs to \"sgd\"",
            ),
            (
                "kind = \"sgd\"\nlr = 1.0\nbetas = [0.9, 0.9]",
                "betas has no effect",
            ),
            (
                "kind = \"sgd\"\nlr = 1.0\nmomentum = 1.0",
                "optimizer.momentum is 1",
            ),
            ("kind = \"sgd\"\nlr = 0.0", "optimizer.lr is 0"),
            (
                "kind = \"sgd\"\nlr = 1.0\ndecay_norms_and_biases = false",
                "has no effect with optimizer.weight_decay = 0",
            ),
            (
                "kind = \"sgd\"\nlr = 1.0\nscale_lr_to_batch = 0",
                "at least 1",
            ),
            (
                "kind = \"sgd\"\nlr = 1.0\nbackbone_lr_factor = 0",
                "optimizer.backbone_lr_factor is 0",
            ),
            (
                "kind = \"sgd\"\nlr = 1.0\nlr_factors = { stem = -1 }",
                "optimizer.lr_factors.stem is -1",
            ),
            (
                "kind = \"sgd\"\nlr = 1.0\nsam = { rho = 0 }",
                "optimizer.sam.rho is 0",
            ),
        ];
        for (text, expect) in cases {
            let error = section(text).resolve().expect_err(text);
            assert!(error.contains(expect), "{text}: {error}");
        }
        let mut adamw = section("kind = \"adamw\"\nlr = 1.0");
        adamw.resolve().expect("valid");
        assert_eq!(
            (adamw.weight_decay, adamw.betas, adamw.momentum),
            (Some(0.01), Some([0.9, 0.999]), None)
        );
    }
}
