//! Optimisers: their recipe, one step over all parameters in one pass each, and the norm of all gradients.

mod parameters;

mod section;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use burn::{
    module::{Module, ModuleVisitor, Param, ParamGroup, ParamId},
    optim::{
        self, AdamWState, AdaptiveMomentumState, GradientsParams, LearningRate, ModuleOptimizer,
        RecordState, StateSink, StateSource,
    },
    tensor::{Device, Tensor},
};
use marey_kernel::{AdamWStep, SgdStep, adamw, sgd, sum_of_squares};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use section::{FreezeNorm, OptimizerKind, OptimizerSection};

/// An optimiser and its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019).
    AdamW {
        /// Peak learning rate.
        lr: f64,
        /// Decoupled weight decay (default 0.01).
        #[serde(default = "adamw_decay")]
        weight_decay: f64,
        /// Decay of the two moments (default `[0.9, 0.999]`).
        #[serde(default = "adamw_betas")]
        betas: [f64; 2],
    },
    /// Stochastic gradient descent with momentum, no dampening, as PyTorch's `SGD`.
    Sgd {
        /// Peak learning rate.
        lr: f64,
        /// L2 penalty added to the gradient (default 0).
        #[serde(default)]
        weight_decay: f64,
        /// Momentum (default 0.9).
        #[serde(default = "sgd_momentum")]
        momentum: f64,
    },
}

const fn adamw_decay() -> f64 {
    0.01
}

const fn adamw_betas() -> [f64; 2] {
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

    /// A fresh optimiser that treats all parameters alike.
    pub fn init(&self) -> Optimizer {
        self.init_groups(Vec::new())
    }

    /// A fresh optimiser with rules of their own for the parameters of `groups`.
    pub(crate) fn init_groups(&self, groups: Vec<Group>) -> Optimizer {
        let gradient_factor = GradientFactor::default();
        let base = GroupRule::default();
        let mut module = match self {
            Self::AdamW { .. } => ModuleOptimizer::from(self.adamw(base, &gradient_factor)),
            Self::Sgd { .. } => ModuleOptimizer::from(self.sgd(base, &gradient_factor)),
        };
        for Group { ids, rule } in groups {
            let ids = ParamGroup::from_ids(ids);
            module = match self {
                Self::AdamW { .. } => {
                    module.with_group(ids, self.adamw(rule, &gradient_factor), None)
                }
                Self::Sgd { .. } => module.with_group(ids, self.sgd(rule, &gradient_factor), None),
            };
        }
        Optimizer {
            module,
            gradient_factor,
        }
    }

    fn adamw(&self, rule: GroupRule, gradient_factor: &GradientFactor) -> AdamW {
        let betas = match self {
            Self::AdamW { betas, .. } => *betas,
            Self::Sgd { .. } => adamw_betas(),
        };
        AdamW {
            weight_decay: self.weight_decay_of(rule),
            betas,
            lr_factor: rule.lr_factor,
            gradient_factor: gradient_factor.clone(),
        }
    }

    fn sgd(&self, rule: GroupRule, gradient_factor: &GradientFactor) -> Sgd {
        let momentum = match self {
            Self::Sgd { momentum, .. } => *momentum,
            Self::AdamW { .. } => sgd_momentum(),
        };
        Sgd {
            weight_decay: self.weight_decay_of(rule),
            momentum,
            lr_factor: rule.lr_factor,
            gradient_factor: gradient_factor.clone(),
        }
    }

    const fn weight_decay_of(&self, rule: GroupRule) -> f64 {
        match self {
            Self::AdamW { weight_decay, .. } | Self::Sgd { weight_decay, .. } if rule.has_decay => {
                *weight_decay
            }
            _ => 0.0,
        }
    }
}

/// How the parameters of a group differ from the rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GroupRule {
    /// Factor on the learning rate.
    pub(crate) lr_factor: f64,
    /// Whether weight decay applies.
    pub(crate) has_decay: bool,
}

impl Default for GroupRule {
    fn default() -> Self {
        Self {
            lr_factor: 1.0,
            has_decay: true,
        }
    }
}

/// Parameters with a rule of their own.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) ids: Vec<ParamId>,
    pub(crate) rule: GroupRule,
}

/// An optimiser with what it remembers of each parameter.
pub struct Optimizer {
    pub(crate) module: ModuleOptimizer,
    gradient_factor: GradientFactor,
}

impl Optimizer {
    /// The model after one step with learning rate `lr` by `gradient_factor * grads`. Parameters without a gradient
    /// stay as they are.
    pub fn step<M: Module>(
        &mut self,
        lr: f64,
        gradient_factor: f32,
        model: M,
        grads: GradientsParams,
    ) -> M {
        self.gradient_factor.set(gradient_factor);
        self.module.step(lr, model, grads)
    }
}

/// The factor on the gradients of the step in progress.
///
/// Burn hands an optimiser a learning rate and no factor, and multiplying every gradient first would be a pass more over
/// all of them. So it lies beside the call, shared by an [`Optimizer`] and the rule inside it.
#[derive(Clone, Debug, Default)]
struct GradientFactor(Arc<AtomicU32>);

impl GradientFactor {
    fn set(&self, factor: f32) {
        // Set and read by the thread that makes the step.
        self.0.store(factor.to_bits(), Ordering::Relaxed);
    }

    fn get(&self) -> f32 {
        f32::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// PyTorch's default; Burn's is 1e-5.
const EPSILON: f64 = 1e-8;

/// AdamW on one parameter. Its state is Burn's own, and so is its form in a checkpoint.
#[derive(Clone, Debug)]
struct AdamW {
    weight_decay: f64,
    betas: [f64; 2],
    lr_factor: f64,
    gradient_factor: GradientFactor,
}

impl optim::Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        let (time, moments) = match state {
            Some(AdamWState { momentum: last }) => (last.time, [last.moment_1, last.moment_2]),
            None => (0, [parameter.zeros_like(), parameter.zeros_like()]),
        };
        let step = AdamWStep {
            gradient_factor: self.gradient_factor.get(),
            lr: lr * self.lr_factor,
            weight_decay: self.weight_decay,
            betas: self.betas,
            epsilon: EPSILON,
            time: time + 1,
        };
        let (parameter, [first, second]) = adamw(parameter, gradient, moments, step);
        let state = AdamWState::new(AdaptiveMomentumState::new(time + 1, first, second));
        (parameter, Some(state))
    }

    fn to_device<const D: usize>(mut state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        state.momentum = state.momentum.to_device(device);
        state
    }
}

/// SGD on one parameter.
#[derive(Clone, Debug)]
struct Sgd {
    weight_decay: f64,
    momentum: f64,
    lr_factor: f64,
    gradient_factor: GradientFactor,
}

/// What [`Sgd`] remembers: nothing, where it has no momentum.
#[derive(Clone, Debug)]
struct SgdState<const D: usize> {
    velocity: Option<Tensor<D>>,
}

const VELOCITY: &str = "velocity";

impl<const D: usize> RecordState for SgdState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        if let Some(velocity) = &self.velocity {
            out.push_tensor(prefix, VELOCITY, velocity.to_data());
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let velocity = source.take_tensor(prefix, VELOCITY);
        Some(Self {
            velocity: velocity.map(|data| Tensor::from_data(data, device)),
        })
    }
}

impl optim::Optimizer for Sgd {
    type State<const D: usize> = SgdState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<SgdState<D>>,
    ) -> (Tensor<D>, Option<SgdState<D>>) {
        let velocity = match state {
            Some(state) => state.velocity,
            None => (self.momentum > 0.0).then(|| parameter.zeros_like()),
        };
        let step = SgdStep {
            gradient_factor: self.gradient_factor.get(),
            lr: lr * self.lr_factor,
            weight_decay: self.weight_decay,
            momentum: self.momentum,
        };
        let (parameter, velocity) = sgd(parameter, gradient, velocity, step);
        (parameter, Some(SgdState { velocity }))
    }

    fn to_device<const D: usize>(state: SgdState<D>, device: &Device) -> SgdState<D> {
        SgdState {
            velocity: state.velocity.map(|velocity| velocity.to_device(device)),
        }
    }
}

/// The L2 norm over all gradients together, `[1]`, on the device; `None` when there is no gradient.
pub(crate) fn global_norm<M: Module>(model: &M, grads: &GradientsParams) -> Option<Tensor<1>> {
    struct Flat<'a> {
        grads: &'a GradientsParams,
        found: Vec<Tensor<1>>,
    }
    impl ModuleVisitor for Flat<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.grads.get::<D>(param.id) {
                self.found.push(grad.flatten(0, D as isize - 1));
            }
        }
    }
    let mut flat = Flat {
        grads,
        found: Vec::new(),
    };
    model.visit(&mut flat);
    sum_of_squares(flat.found).map(Tensor::sqrt)
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;

    use super::*;

    #[test]
    fn the_norm_is_taken_over_all_gradients() {
        let device = Device::flex().autodiff();
        let linear = LinearConfig::new(2, 1).init(&device);
        let output = linear.forward(Tensor::<2>::from_floats([[3.0, 4.0]], &device));
        // Gradients 3 * 4, 4 * 4 and, of the bias, 4.
        let grads = GradientsParams::from_grads((output * 4.0).sum().backward(), &linear);
        let norm = global_norm(&linear, &grads)
            .expect("a gradient")
            .into_scalar::<f32>();
        assert!((norm - 416.0f32.sqrt()).abs() < 1e-5);
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
                linear = optimizer.step(config.lr(), 1.0, linear, grads);
            }
            let found = linear
                .weight
                .val()
                .into_data()
                .try_into_vec::<f32>()
                .expect("f32 weights");
            for (found, expect) in found.iter().zip(expect) {
                assert!(
                    (found - expect).abs() < 1e-6,
                    "{config:?}: {found} is not {expect}"
                );
            }
        }
    }

    const ADAMW: [f32; 2] = [0.6993234, -1.6948429];
    const SGD: [f32; 2] = [-0.2372955, -0.1902609];
}
