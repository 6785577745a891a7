//! From the gradients of a step to new weights, where they can be used.

use burn::{module::Module, optim::GradientsParams, tensor::Tensor};

use crate::{Optimizer, optimizer::global_norm, precision::LossScale};

/// What the backward passes of a step gave.
#[derive(Debug)]
pub(crate) struct StepGradients {
    /// Loss of each batch, `[1]`, without the factor of the loss scale; their sum is the step's.
    pub(crate) losses: Vec<Tensor<1>>,
    /// Gradients of the step's loss times that factor.
    pub(crate) grads: GradientsParams,
}

/// How a step is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepRule {
    /// Learning rate.
    pub(crate) lr: f64,
    /// Largest norm of all gradients together.
    pub(crate) clip_norm: Option<f32>,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Update {
    /// The step's loss.
    pub(crate) loss: f32,
    /// Norm of its gradients before clipping, without the factor of the loss scale.
    pub(crate) grad_norm: f32,
    pub(crate) fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The weights are new.
    Applied,
    /// A gradient was beyond `f16`: the weights are the old ones, the loss scale is lower.
    Skipped,
    /// The loss or the norm is not finite, and a lower loss scale cannot help: the weights are the old ones.
    Refused,
}

/// The factor on the loss before its backward pass.
pub(crate) fn loss_factor(loss_scale: Option<LossScale>) -> f32 {
    loss_scale.map_or(1.0, LossScale::factor)
}

/// Makes the step if it can be made.
///
/// Loss and norm are read back in one go before anything is applied: a step that is not finite must not touch the
/// weights, which is worth one wait for the device a step.
pub(crate) fn update<M: Module>(
    model: M,
    step: StepGradients,
    rule: StepRule,
    optimizer: &mut Optimizer,
    loss_scale: &mut Option<LossScale>,
) -> (M, Update) {
    let StepGradients { losses, grads } = step;
    let factor = loss_factor(*loss_scale);
    let loss = Tensor::cat(losses, 0).sum();
    let norm = global_norm(&model, &grads).expect("a model has parameters that get a gradient");
    let values = Tensor::cat(vec![loss, norm], 0)
        .into_data()
        .try_into_vec::<f32>()
        .expect("losses and norms are f32");
    let (loss, grad_norm) = (values[0], values[1] / factor);
    let fate = match (loss.is_finite(), grad_norm.is_finite(), loss_scale) {
        // The forward pass knows nothing of the scale, so a lower one would not mend it.
        (false, _, _) | (true, false, None) => Fate::Refused,
        (true, true, None) => Fate::Applied,
        (true, true, Some(scale)) => {
            scale.accept();
            Fate::Applied
        }
        (true, false, Some(scale)) => {
            if scale.lower() {
                Fate::Skipped
            } else {
                Fate::Refused
            }
        }
    };
    let update = Update {
        loss,
        grad_norm,
        fate,
    };
    if fate != Fate::Applied {
        return (model, update);
    }
    let clip = match rule.clip_norm {
        Some(limit) if grad_norm > limit => limit / grad_norm,
        _ => 1.0,
    };
    let model = optimizer.step(rule.lr, clip / factor, model, grads);
    (model, update)
}

#[cfg(test)]
mod tests {
    use burn::{
        nn::{Linear, LinearConfig},
        tensor::{DType, Device},
    };

    use super::*;
    use crate::{OptimizerConfig, Precision};

    const SGD: OptimizerConfig = OptimizerConfig::Sgd {
        lr: 0.5,
        weight_decay: 0.0,
        momentum: 0.0,
    };

    /// Two weights of 1 whose outputs go through `dtype`; the loss is `3 w_0 + 4 w_1` times `size`.
    fn model(device: &Device) -> Linear {
        let mut linear = LinearConfig::new(2, 1).with_bias(false).init(device);
        linear.weight = linear
            .weight
            .map(|weight| weight.ones_like().require_grad());
        linear
    }

    fn gradients(model: &Linear, dtype: DType, size: f32, factor: f32) -> StepGradients {
        let device = model.weight.val().device();
        let output = model.forward(Tensor::<2>::from_floats([[3.0, 4.0]], &device));
        let loss = output.cast(dtype).cast(DType::F32).sum() * size;
        StepGradients {
            losses: vec![loss.clone().inner()],
            grads: GradientsParams::from_grads((loss * factor).backward(), model),
        }
    }

    fn weights(model: &Linear) -> Vec<f32> {
        model.weight.val().into_data().try_into_vec().expect("f32")
    }

    /// One step of a fresh model.
    fn step(
        clip_norm: Option<f32>,
        size: f32,
        scale: &mut Option<LossScale>,
    ) -> (Vec<f32>, Update) {
        let model = model(&Device::flex().autodiff());
        let dtype = if scale.is_some() {
            DType::F16
        } else {
            DType::F32
        };
        let grads = gradients(&model, dtype, size, loss_factor(*scale));
        let rule = StepRule { lr: 0.5, clip_norm };
        let (model, update) = update(model, grads, rule, &mut SGD.init(), scale);
        (weights(&model), update)
    }

    #[test]
    fn clipping_scales_to_the_limit_and_leaves_smaller_gradients_alone() {
        let (free, update) = step(None, 1.0, &mut None);
        assert_eq!((update.loss, update.grad_norm), (7.0, 5.0));
        assert_eq!(free, [-0.5, -1.0]);
        assert_eq!(step(Some(5.0), 1.0, &mut None).0, free);
        assert_eq!(step(Some(2.5), 1.0, &mut None).0, [0.25, 0.0]);
    }

    #[test]
    fn f16_overflow_skips_the_step_until_the_scale_is_low_enough() {
        let device = Device::flex().autodiff();
        let (mut model, mut optimizer) = (model(&device), SGD.init());
        let mut scale = Precision::F16.loss_scale();
        let rule = StepRule {
            lr: 0.5,
            clip_norm: Some(1000.0),
        };
        let mut fates = Vec::new();
        // 8 * 2^16 is 2^19, and f16 ends before 2^16: four halvings.
        for _ in 0..5 {
            let grads = gradients(&model, DType::F16, 8.0, loss_factor(scale));
            let (after, update) = update(model, grads, rule, &mut optimizer, &mut scale);
            model = after;
            fates.push(update.fate);
            if update.fate == Fate::Skipped {
                assert!(!update.grad_norm.is_finite());
                assert_eq!(weights(&model), [1.0, 1.0]);
            } else {
                // Without the scale, and so below the limit of clipping.
                assert_eq!((update.loss, update.grad_norm), (56.0, 40.0));
            }
        }
        let skipped = Fate::Skipped;
        assert_eq!(fates, [skipped, skipped, skipped, skipped, Fate::Applied]);
        assert_eq!(scale.map(LossScale::factor), Some(4096.0));
        assert_eq!(weights(&model), [-11.0, -15.0]);
    }

    #[test]
    fn what_no_scale_can_mend_is_refused() {
        // A gradient that is not finite, in f32.
        let (weights, update) = step(None, f32::MAX, &mut None);
        assert_eq!(update.fate, Fate::Refused);
        assert_eq!(weights, [1.0, 1.0]);
        // A loss that is not finite, in f16: the scale is not touched.
        let mut scale = Precision::F16.loss_scale();
        assert_eq!(step(None, f32::NAN, &mut scale).1.fate, Fate::Refused);
        assert_eq!(scale, Precision::F16.loss_scale());
        // A gradient of 1e6 without any scale, in f16.
        while scale.as_mut().expect("f16 has one").lower() {}
        let (weights, update) = step(None, 1e6, &mut scale);
        assert_eq!((update.fate, weights), (Fate::Refused, vec![1.0, 1.0]));
    }
}
