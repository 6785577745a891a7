//! Number types of training, and the factor on the loss that keeps small gradients alive in `f16`.

use burn::tensor::DType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What activations and their gradients are stored as in training.
///
/// Weights, their gradients, running statistics, the loss and the optimiser stay in `f32` (Micikevicius et al., "Mixed
/// Precision Training", ICLR 2018). So do validation, judging and prediction: what a bundle answers does not depend on
/// how it was trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of `f32` and 8 significant bits.
    Bf16,
    /// 16 bits with 11 significant bits, at most 65504; the loss is scaled by a [`LossScale`].
    F16,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::F16];

    /// Its name in a recipe.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// The type of the tensors.
    pub const fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }

    /// What a fresh run scales its loss by; only `f16` needs it.
    pub(crate) fn loss_scale(self) -> Option<LossScale> {
        (self == Self::F16).then_some(LossScale {
            factor: 65_536.0,
            good_steps: 0,
        })
    }
}

/// The factor on the loss, and so on every gradient, of a run in `f16`.
///
/// It starts at 2^16. A gradient that is not finite halves it, and 2000 good steps in a row double it. Gradients are
/// divided by it before anything else looks at them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScale {
    factor: f32,
    good_steps: usize,
}

/// Below this, scaling would lose more small gradients than it saves: something else is wrong with the run.
const LEAST: f32 = 1.0;
/// Far above what gradients in `f16` bear, and far below where the loss itself would leave `f32`.
const MOST: f32 = 16_777_216.0;
/// Good steps in a row before the factor is doubled.
const PATIENCE: usize = 2000;

impl LossScale {
    /// The factor: a power of two, 1 or more.
    pub const fn factor(self) -> f32 {
        self.factor
    }

    /// Takes note of a step whose gradients were finite.
    pub(crate) fn accept(&mut self) {
        self.good_steps += 1;
        if self.good_steps == PATIENCE {
            self.factor = (2.0 * self.factor).min(MOST);
            self.good_steps = 0;
        }
    }

    /// Halves the factor after a gradient that was not finite; `false` where it is as low as it goes.
    pub(crate) fn lower(&mut self) -> bool {
        self.good_steps = 0;
        let can_fall = self.factor > LEAST;
        if can_fall {
            self.factor /= 2.0;
        }
        can_fall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_f16_scales_its_loss() {
        let scales = Precision::ALL.map(|precision| precision.loss_scale().map(LossScale::factor));
        assert_eq!(scales, [None, None, Some(65_536.0)]);
    }

    #[test]
    fn the_factor_halves_at_once_and_doubles_after_2000_good_steps_in_a_row() {
        let mut scale = Precision::F16.loss_scale().expect("f16 has one");
        (0..PATIENCE - 1).for_each(|_| scale.accept());
        assert!(scale.lower());
        assert_eq!(scale.factor(), 32_768.0);
        (0..PATIENCE - 1).for_each(|_| scale.accept());
        assert_eq!(scale.factor(), 32_768.0);
        scale.accept();
        assert_eq!(scale.factor(), 65_536.0);
        (0..20 * PATIENCE).for_each(|_| scale.accept());
        assert_eq!(scale.factor(), MOST);
    }

    #[test]
    fn the_factor_has_a_floor() {
        let mut scale = Precision::F16.loss_scale().expect("f16 has one");
        let num_lowered = (0..100).take_while(|_| scale.lower()).count();
        assert_eq!((num_lowered, scale.factor()), (16, LEAST));
    }
}
