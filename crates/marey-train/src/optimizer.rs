//! Optimisers, and what happens to the gradients before they are used.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::{
        AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig, decay::WeightDecayConfig,
        momentum::MomentumConfig,
    },
    tensor::Tensor,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `[optimizer]` section of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019).
    AdamW {
        /// Peak learning rate.
        lr: f64,
        /// Decoupled weight decay (default 0.01).
        #[serde(default = "adamw_decay")]
        weight_decay: f32,
        /// Decay of the two moments (default `[0.9, 0.999]`).
        #[serde(default = "adamw_betas")]
        betas: [f32; 2],
    },
    /// Stochastic gradient descent with momentum, no dampening, as PyTorch's `SGD`.
    Sgd {
        /// Peak learning rate.
        lr: f64,
        /// L2 penalty added to the gradient (default 0).
        #[serde(default)]
        weight_decay: f32,
        /// Momentum (default 0.9).
        #[serde(default = "sgd_momentum")]
        momentum: f64,
    },
}

const fn adamw_decay() -> f32 {
    0.01
}

const fn adamw_betas() -> [f32; 2] {
    [0.9, 0.999]
}

const fn sgd_momentum() -> f64 {
    0.9
}

impl OptimizerConfig {
    /// Peak learning rate.
    pub const fn lr(&self) -> f64 {
        match self {
            Self::AdamW { lr, .. } | Self::Sgd { lr, .. } => *lr,
        }
    }

    /// A fresh optimiser.
    pub fn init(&self) -> ModuleOptimizer {
        match *self {
            Self::AdamW {
                weight_decay,
                betas,
                ..
            } => AdamWConfig::new()
                .with_beta_1(betas[0])
                .with_beta_2(betas[1])
                // PyTorch's default; Burn's is 1e-5.
                .with_epsilon(1e-8)
                .with_weight_decay(weight_decay)
                .init(),
            Self::Sgd {
                weight_decay,
                momentum,
                ..
            } => SgdConfig::new()
                .with_weight_decay(
                    (weight_decay > 0.0).then(|| WeightDecayConfig::new(weight_decay)),
                )
                .with_momentum((momentum > 0.0).then(|| {
                    MomentumConfig::new()
                        .with_momentum(momentum)
                        .with_dampening(0.0)
                }))
                .init(),
        }
    }
}

/// The L2 norm over all gradients together, `[1]`, on the device; `None` when there is no gradient.
pub(crate) fn global_norm<M: Module>(model: &M, grads: &GradientsParams) -> Option<Tensor<1>> {
    struct Norm<'a> {
        grads: &'a GradientsParams,
        squares: Vec<Tensor<1>>,
    }
    impl ModuleVisitor for Norm<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.grads.get::<D>(param.id) {
                self.squares.push(grad.square().sum());
            }
        }
    }
    let mut norm = Norm {
        grads,
        squares: Vec::new(),
    };
    model.visit(&mut norm);
    (!norm.squares.is_empty()).then(|| Tensor::cat(norm.squares, 0).sum().sqrt())
}

/// Every gradient times `factor`.
pub(crate) fn scale<M: Module>(model: &M, grads: GradientsParams, factor: f32) -> GradientsParams {
    struct Scale {
        grads: GradientsParams,
        factor: f32,
    }
    impl ModuleVisitor for Scale {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.grads.remove::<D>(param.id) {
                self.grads.register(param.id, grad.mul_scalar(self.factor));
            }
        }
    }
    let mut scale = Scale { grads, factor };
    model.visit(&mut scale);
    scale.grads
}

#[cfg(test)]
mod tests {
    use burn::{
        nn::{Linear, LinearConfig},
        tensor::Device,
    };

    use super::*;

    fn linear_with_grads() -> (Linear, GradientsParams) {
        let device = Device::flex().autodiff();
        let linear = LinearConfig::new(2, 1).with_bias(false).init(&device);
        let output = linear.forward(Tensor::<2>::from_floats([[3.0, 4.0]], &device));
        let grads = GradientsParams::from_grads(output.sum().backward(), &linear);
        (linear, grads)
    }

    #[test]
    fn the_norm_is_taken_over_all_gradients() {
        let (linear, grads) = linear_with_grads();
        let norm = global_norm(&linear, &grads)
            .expect("a gradient")
            .into_scalar::<f32>();
        assert!((norm - 5.0).abs() < 1e-6);
        let halved = scale(&linear, grads, 0.5);
        let norm = global_norm(&linear, &halved)
            .expect("a gradient")
            .into_scalar::<f32>();
        assert!((norm - 2.5).abs() < 1e-6);
    }

    /// Three steps of `torch.optim` on a quadratic, by reference/optimizer_golden.py.
    #[test]
    fn steps_equal_pytorch() {
        let cases = [
            (
                OptimizerConfig::AdamW {
                    lr: 0.1,
                    weight_decay: 0.01,
                    betas: [0.9, 0.999],
                },
                ADAMW,
            ),
            (
                OptimizerConfig::Sgd {
                    lr: 0.1,
                    weight_decay: 0.01,
                    momentum: 0.9,
                },
                SGD,
            ),
        ];
        for (config, expect) in cases {
            let device = Device::flex().autodiff();
            let mut linear = LinearConfig::new(2, 1).with_bias(false).init(&device);
            linear.weight = Param::from_tensor(
                Tensor::<2>::from_floats([[1.0], [-2.0]], &device).require_grad(),
            );
            let mut optimizer = config.init();
            for _ in 0..3 {
                let loss = linear
                    .forward(Tensor::<2>::from_floats([[1.0, 0.25]], &device))
                    .square()
                    .sum()
                    + linear.weight.val().square().sum();
                let grads = GradientsParams::from_grads(loss.backward(), &linear);
                linear = optimizer.step(config.lr(), linear, grads);
            }
            let found = linear
                .weight
                .val()
                .into_data()
                .try_into_vec::<f32>()
                .expect("f32 weights");
            for (found, expect) in found.iter().zip(expect) {
                assert!(
                    (found - expect).abs() < 1e-5,
                    "{config:?}: {found} is not {expect}"
                );
            }
        }
    }

    const ADAMW: [f32; 2] = [0.6993234, -1.6948429];
    const SGD: [f32; 2] = [-0.2372955, -0.1902609];
}
