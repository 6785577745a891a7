//! Sharpness-aware steps: the gradient is taken not at the weights but at the worst point near them.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};
use marey_kernel::{SgdStep, sgd, sum_of_squares};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{optimizer::global_norm, recipe::effect::in_range, update::StepGradients};

/// Sharpness-aware minimisation (Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization",
/// ICLR 2021): a step costs two forward and two backward passes.
///
/// The first pass gives the gradient g at the weights w, the second the gradient at `w + rho g / ||g||`, by which the
/// optimiser then moves w. Both passes see the same clips and the same dropout. Only the first moves the running
/// statistics of batch norms, and its loss is the one that is logged; norm and clipping are those of the second gradient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SamConfig {
    /// How far the worst point is looked for, above 0, at most 100 (default 0.05; adaptive steps want about ten times
    /// that).
    pub rho: f64,
    /// Whether the distance is measured relative to each weight, so that scaling a layer changes nothing: the worst point
    /// is then `w + rho |w|^2 g / || |w| g ||` (default false; Kwon et al., "ASAM", ICML 2021, with eta 0).
    pub adaptive: bool,
}

impl Default for SamConfig {
    fn default() -> Self {
        Self {
            rho: 0.05,
            adaptive: false,
        }
    }
}

impl SamConfig {
    pub(crate) fn check(&self) -> Result<(), String> {
        in_range("optimizer.sam.rho", self.rho, 1e-9..=100.0)
    }

    /// Losses at the weights of `model`, and gradients at the worst point near them. `pass` gives both at the weights that
    /// it is handed, of the same clips with the same dropout each time.
    pub(crate) fn gradients<M: Module>(
        &self,
        model: &M,
        pass: impl Fn(&M) -> StepGradients,
    ) -> StepGradients {
        let first = pass(model);
        let norm = self.norm(model, &first.grads);
        let norm = norm.expect("a model has parameters that get a gradient");
        let norm = norm.into_scalar::<f32>();
        if !norm.is_finite() {
            // There is no direction to climb in; the step is refused, or skipped in `f16`, by these gradients.
            return first;
        }
        // The running statistics that the second pass moves are the copy's, which is dropped.
        let second = pass(&self.climbed(model, &first.grads, norm));
        StepGradients {
            losses: first.losses,
            grads: second.grads,
        }
    }

    /// The length by which the climb is divided, `[1]`, of gradients times any factor; `None` without a gradient.
    fn norm<M: Module>(&self, model: &M, grads: &GradientsParams) -> Option<Tensor<1>> {
        if !self.adaptive {
            return global_norm(model, grads);
        }
        let mut norm = RelativeNorm {
            grads,
            relative: Vec::new(),
        };
        model.visit(&mut norm);
        sum_of_squares(norm.relative).map(Tensor::sqrt)
    }

    /// A copy of `model` at the worst point near it, where `norm` is [`SamConfig::norm`] of the same gradients. A factor on
    /// the gradients, as the loss scale of `f16` is, falls out.
    fn climbed<M: Module>(&self, model: &M, grads: &GradientsParams, norm: f32) -> M {
        // As in the authors' program: without a gradient there is nowhere to climb, instead of a division by zero.
        let scale = self.rho / (f64::from(norm) + 1e-12);
        model.clone().map(&mut Climb {
            grads,
            scale: scale as f32,
            adaptive: self.adaptive,
        })
    }
}

struct RelativeNorm<'a> {
    grads: &'a GradientsParams,
    relative: Vec<Tensor<1>>,
}

impl ModuleVisitor for RelativeNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            let relative = grad * param.val().inner().abs();
            self.relative.push(relative.flatten(0, D as isize - 1));
        }
    }
}

struct Climb<'a> {
    grads: &'a GradientsParams,
    scale: f32,
    adaptive: bool,
}

impl ModuleMapper for Climb<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(grad) = self.grads.get::<D>(param.id) else {
            return param;
        };
        let (scale, adaptive) = (self.scale, self.adaptive);
        param.map(|weights| {
            let weights = weights.inner();
            let grad = match adaptive {
                true => grad * weights.clone().square(),
                false => grad,
            };
            // Uphill, by one pass of the optimiser's kernel.
            let uphill = SgdStep {
                gradient_factor: scale,
                lr: -1.0,
                weight_decay: 0.0,
                momentum: 0.0,
            };
            let (weights, _) = sgd(weights, grad, None, uphill);
            Tensor::from_inner(weights).require_grad()
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        nn::{Linear, LinearConfig},
        tensor::Device,
    };
    use marey_model::layer::{Activation, BatchNorm};

    use super::*;
    use crate::{
        LossScale, OptimizerConfig, Precision,
        update::{Fate, StepRule, Update, loss_factor, update},
    };

    fn linear(weights: [f32; 2], device: &Device) -> Linear {
        let mut linear = LinearConfig::new(2, 1).with_bias(false).init(device);
        linear.weight = linear
            .weight
            .map(|_| Tensor::<2>::from_floats([[weights[0]], [weights[1]]], device).require_grad());
        linear
    }

    fn climbed(config: SamConfig, weights: [f32; 2], slope: [f32; 2], factor: f32) -> Vec<f32> {
        let device = Device::flex().autodiff();
        let model = linear(weights, &device);
        let loss = model
            .forward(Tensor::<2>::from_floats([slope], &device))
            .sum()
            * factor;
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let norm = config.norm(&model, &grads).expect("a gradient");
        let there = config.climbed(&model, &grads, norm.into_scalar::<f32>());
        assert_eq!(
            there.weight.id, model.weight.id,
            "gradients go back to the model"
        );
        assert!(there.weight.val().is_require_grad());
        let values = |model: &Linear| {
            model
                .weight
                .val()
                .into_data()
                .try_into_vec::<f32>()
                .expect("f32")
        };
        assert_eq!(values(&model), weights, "the model itself stays");
        values(&there)
    }

    fn check(found: &[f32], expect: [f32; 2]) {
        let close = found.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close, "{found:?} is not {expect:?}");
    }

    #[test]
    fn the_climb_is_rho_along_the_gradient_whatever_its_length() {
        let sam = SamConfig {
            rho: 0.5,
            adaptive: false,
        };
        // A gradient of (3, 4) has length 5.
        for factor in [1.0, 1e-6, 65_536.0] {
            check(&climbed(sam, [1.0, -2.0], [3.0, 4.0], factor), [1.3, -1.6]);
        }
        check(&climbed(sam, [1.0, -2.0], [0.0, 0.0], 1.0), [1.0, -2.0]);
    }

    /// The loss `w_0^2 + w_1^2 / 2` times `size`, by two clips of half a share each.
    fn bowl(model: &Linear, size: f32, factor: f32) -> StepGradients {
        let mut accumulator = burn::optim::GradientsAccumulator::new();
        let mut losses = Vec::new();
        for _ in 0..2 {
            let weights = model.weight.val();
            let curvature = Tensor::<2>::from_floats([[1.0], [0.5]], &weights.device());
            let loss = (weights.square() * curvature).sum() * (0.5 * size);
            losses.push(loss.clone().inner());
            let grads = GradientsParams::from_grads((loss * factor).backward(), model);
            accumulator.accumulate(model, grads);
        }
        StepGradients {
            losses,
            grads: accumulator.grads(),
        }
    }

    /// One step of SGD with a rate of 0.5 from (0.3, 0.8).
    fn step(
        sam: SamConfig,
        clip_norm: Option<f32>,
        scale: &mut Option<LossScale>,
        size: f32,
    ) -> (Vec<f32>, Update) {
        let device = Device::flex().autodiff();
        let model = linear([0.3, 0.8], &device);
        let factor = loss_factor(*scale);
        let grads = sam.gradients(&model, |model| bowl(model, size, factor));
        let rule = StepRule { lr: 0.5, clip_norm };
        let plain = OptimizerConfig::Sgd {
            lr: 0.5,
            weight_decay: 0.0,
            momentum: 0.0,
        };
        let (model, update) = update(model, grads, rule, &mut plain.init(), scale);
        let values = model.weight.val().into_data().try_into_vec::<f32>();
        (values.expect("f32"), update)
    }

    /// By hand: at w = (0.3, 0.8) the gradient (2 w_0, w_1) is (0.6, 0.8), of length 1. With rho 0.5 the worst point is
    /// (0.6, 1.2), where the gradient is (1.2, 1.2); half of it leads to (-0.3, 0.2). The loss at w is 0.09 + 0.32.
    #[test]
    fn a_step_equals_one_computed_by_hand() {
        let sam = SamConfig {
            rho: 0.5,
            adaptive: false,
        };
        let (weights, update) = step(sam, None, &mut None, 1.0);
        check(&weights, [-0.3, 0.2]);
        assert!((update.loss - 0.41).abs() < 1e-6, "{update:?}");
        let norm = 1.2 * 2.0f32.sqrt();
        assert!((update.grad_norm - norm).abs() < 1e-6, "{update:?}");
        // Clipped to a length of 1: (1, 1) / sqrt 2, half of which is taken.
        let (weights, _) = step(sam, Some(1.0), &mut None, 1.0);
        let move_by = 0.5 / 2.0f32.sqrt();
        check(&weights, [0.3 - move_by, 0.8 - move_by]);
        // The factor of f16 falls out of climb and step.
        let mut scale = Precision::F16.loss_scale();
        let (weights, update) = step(sam, None, &mut scale, 1.0);
        check(&weights, [-0.3, 0.2]);
        assert!((update.grad_norm - norm).abs() < 1e-6, "{update:?}");
        // Gradients beyond f32: the weights stay, the factor falls.
        let (weights, update) = step(sam, None, &mut scale, 1e38);
        check(&weights, [0.3, 0.8]);
        assert_eq!(update.fate, Fate::Skipped);
        assert_eq!(scale.map(LossScale::factor), Some(32_768.0));
    }

    #[test]
    fn only_the_first_pass_moves_running_statistics() {
        let device = Device::flex().autodiff();
        let norm = BatchNorm::new(1, Activation::Identity, &device);
        let once = norm.clone();
        let batch = || Tensor::<2>::from_floats([[1.0], [3.0]], &device);
        let passes = std::cell::Cell::new(0);
        let sam = SamConfig::default();
        sam.gradients(&norm, |norm| {
            passes.set(passes.get() + 1);
            let loss = (norm.forward(batch()) - 1.0).square().sum();
            StepGradients {
                losses: vec![loss.clone().inner()],
                grads: GradientsParams::from_grads(loss.backward(), norm),
            }
        });
        once.forward(batch());
        // Without autodiff, the running statistics decide the output.
        let plain = |norm: &BatchNorm| {
            let x = Tensor::<2>::from_floats([[1.0]], &Device::flex());
            norm.valid().forward(x).into_scalar::<f32>()
        };
        assert_eq!((passes.get(), plain(&norm)), (2, plain(&once)));
    }

    #[test]
    fn an_adaptive_climb_is_relative_to_each_weight() {
        let asam = SamConfig {
            rho: 0.5,
            adaptive: true,
        };
        // |w| g = (3, 8), of length sqrt 73; |w|^2 g = (3, 16).
        let length = 73.0f32.sqrt();
        let expect = [1.0 + 1.5 / length, -2.0 + 8.0 / length];
        check(&climbed(asam, [1.0, -2.0], [3.0, 4.0], 1.0), expect);
        // Twice the weights with half the gradient, as after scaling a layer: the same relative climb.
        let found = climbed(asam, [2.0, -4.0], [1.5, 2.0], 1.0);
        check(&found, expect.map(|weight| 2.0 * weight));
    }
}
