//! Averages of weights: the exponential moving average, and the plain mean over the last epochs (SWA).

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};
use marey_kernel::{SgdStep, sgd};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    recipe::effect::in_range,
    schedule::{Anneal, anneal},
};

/// An exponential moving average of the weights, one update a step (Polyak and Juditsky, 1992; Tarvainen and Valpola, "Mean
/// teachers", 2017): `average = decay * average + (1 - decay) * weights`. Running statistics of batch norms are averaged
/// alike.
///
/// The average is what is validated, kept as the best epoch and bundled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmaConfig {
    /// Share of the average that a step keeps, at least 0 and below 1 (default 0.999).
    pub decay: f64,
    /// Whether the share begins low, as `min(decay, (1 + n) / (10 + n))` after n updates, so that a short run does not
    /// remember its first weights (default true).
    pub warmup: bool,
}

impl Default for EmaConfig {
    fn default() -> Self {
        Self {
            decay: 0.999,
            warmup: true,
        }
    }
}

impl EmaConfig {
    pub(crate) fn check(&self) -> Result<(), String> {
        in_range("train.ema.decay", self.decay, 0.0..=0.999_999_9)
    }

    /// Share of the new weights in the average after `num_updates` earlier updates.
    pub(crate) fn share(&self, num_updates: usize) -> f64 {
        let num = num_updates as f64;
        let decay = match self.warmup {
            true => self.decay.min((1.0 + num) / (10.0 + num)),
            false => self.decay,
        };
        1.0 - decay
    }
}

/// Stochastic weight averaging (Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI
/// 2018): the mean of the weights at the ends of the last epochs.
///
/// After the last epoch the running statistics of batch norms are computed anew with the mean, as plain means over one more
/// pass over the training clips; then it is validated, and becomes the bundle. The epochs before are validated with their
/// own weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwaConfig {
    /// The first epoch whose weights count, from 1, at most `train.epochs`.
    pub start_epoch: usize,
    /// Rate to which the schedule's bends from `start_epoch` on (default: the schedule goes on).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Epochs in which it does (default 0: at once); only with `lr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anneal_epochs: Option<usize>,
    /// How (default `"cosine"`); only with `anneal_epochs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anneal: Option<Anneal>,
}

impl SwaConfig {
    pub(crate) fn check(&self, num_epochs: usize) -> Result<(), String> {
        if !(1..=num_epochs).contains(&self.start_epoch) {
            return Err(format!(
                "train.swa.start_epoch is {}, it must be at least 1 and at most train.epochs ({num_epochs}): an average \
                 that starts after the last epoch would be of no weights",
                self.start_epoch
            ));
        }
        if let Some(lr) = self.lr {
            in_range("train.swa.lr", lr, 0.0..=1e3)?;
        } else if self.anneal_epochs.is_some() {
            return Err("train.swa.anneal_epochs has no effect without train.swa.lr: remove it, or set that".into());
        }
        if self.anneal.is_some() && self.anneal_epochs.unwrap_or(0) == 0 {
            return Err("train.swa.anneal has no effect without train.swa.anneal_epochs: remove it, or set that".into());
        }
        let left = num_epochs - self.start_epoch + 1;
        match self.anneal_epochs {
            Some(epochs) if epochs > left => Err(format!(
                "train.swa.anneal_epochs is {epochs}, but only {left} epochs are left from train.swa.start_epoch on: \
                 train.swa.lr would not be reached"
            )),
            _ => Ok(()),
        }
    }

    /// The rate of `step` (counted from 0), where `at_start` is the schedule's at the first step of the first epoch that
    /// counts, and `scheduled` its rate now. PyTorch's `SWALR`, step by step.
    pub(crate) fn lr(
        &self,
        step: usize,
        steps_per_epoch: usize,
        at_start: f64,
        scheduled: f64,
    ) -> f64 {
        let start = self.start_step(steps_per_epoch);
        let Some(lr) = self.lr.filter(|_| step >= start) else {
            return scheduled;
        };
        let length = self.anneal_epochs.unwrap_or(0) * steps_per_epoch;
        let done = match length {
            0 => 1.0,
            _ => (step - start) as f64 / length as f64,
        };
        let share = anneal(self.anneal.unwrap_or_default(), done);
        lr * share + at_start * (1.0 - share)
    }

    /// The first step whose epoch counts.
    pub(crate) const fn start_step(&self, steps_per_epoch: usize) -> usize {
        (self.start_epoch - 1) * steps_per_epoch
    }
}

/// `average` moved by `share` of the way to `model`, which is of the same architecture and on the device's autodiff side or
/// not: weights and running statistics. One pass over each, where it lies.
pub(crate) fn approach<M: Module>(average: M, model: &M, share: f64) -> M {
    let mut collect = Collect(GradientsParams::new());
    model.visit(&mut collect);
    average.map(&mut Approach {
        to: collect.0,
        share,
    })
}

/// The values of a model by id. The container is Burn's for gradients, which keeps tensors of any rank.
struct Collect(GradientsParams);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, plain(param.val()));
    }
}

fn plain<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.without_autodiff()
}

struct Approach {
    to: GradientsParams,
    share: f64,
}

impl ModuleMapper for Approach {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let to = self.to.remove::<D>(param.id);
        let to = to.expect("the average has the ids of the model");
        let share = self.share;
        param.map(|average| {
            if share == 1.0 {
                // All the way, without rounding.
                return to;
            }
            // A step of gradient descent on half the squared distance, whose gradient is `average - to`.
            let nearer = SgdStep {
                gradient_factor: -1.0,
                lr: share,
                weight_decay: 1.0,
                momentum: 0.0,
            };
            sgd(average, to, None, nearer).0
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use marey_model::layer::{Activation, BatchNorm};

    use super::*;

    #[test]
    fn weights_and_statistics_approach_the_model() {
        let device = Device::flex().autodiff();
        let norm = BatchNorm::new(1, Activation::Identity, &device);
        let average = norm.valid();
        // Moves the running mean to 0.2 and the variance to 1.1.
        norm.forward(Tensor::<2>::from_floats([[1.0], [3.0]], &device));
        struct Double;
        impl ModuleMapper for Double {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                param.map(|tensor| tensor * 2.0)
            }
        }
        let model = norm.map(&mut Double);
        let values = |norm: &BatchNorm| {
            struct All(Vec<f32>);
            impl ModuleVisitor for All {
                fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                    self.0
                        .extend(param.val().into_data().try_into_vec::<f32>().expect("f32"));
                }
            }
            let mut all = All(Vec::new());
            norm.visit(&mut all);
            all.0
        };
        let check = |average: &BatchNorm, expect: [f32; 4]| {
            let found = values(average);
            let close = found.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(close, "{found:?} is not {expect:?}");
        };
        // Scale 1 to 2, shift 0, mean 0 to 0.4, variance 1 to 2.2.
        let average = approach(average, &model, 0.25);
        check(&average, [1.25, 0.0, 0.1, 1.3]);
        let average = approach(average, &model, 1.0);
        check(&average, [2.0, 0.0, 0.4, 2.2]);
    }

    #[test]
    fn the_mean_of_epochs_is_their_plain_mean() {
        let device = Device::flex();
        let norm = |scale: f32| {
            struct Fill(f32);
            impl ModuleMapper for Fill {
                fn map_float<const D: usize>(
                    &mut self,
                    param: Param<Tensor<D>>,
                ) -> Param<Tensor<D>> {
                    let value = self.0;
                    param.map(|tensor| tensor.full_like(value))
                }
            }
            move |start: &BatchNorm| start.clone().map(&mut Fill(scale))
        };
        let start = BatchNorm::new(1, Activation::Identity, &device);
        let mut average = start.clone();
        for (num, value) in [3.0, 6.0, 0.0, 7.0].into_iter().enumerate() {
            average = approach(average, &norm(value)(&start), 1.0 / (num + 1) as f64);
        }
        let fixed = average.forward(Tensor::<2>::from_floats([[0.0]], &device));
        // All four values are 4: (0 - 4) / sqrt(4 + 1e-5) * 4 + 4.
        let found = fixed.into_scalar::<f32>();
        assert!((found - -4.0).abs() < 1e-4, "{found}");
    }

    #[test]
    fn the_share_of_a_moving_average_falls_to_its_own() {
        let ema = EmaConfig::default();
        let shares = [0, 1, 90, 1_000_000].map(|num| ema.share(num));
        let expect = [0.9, 9.0 / 11.0, 0.09, 0.001];
        for (found, expect) in shares.into_iter().zip(expect) {
            assert!((found - expect).abs() < 1e-12, "{found} is not {expect}");
        }
        let at_once = EmaConfig {
            warmup: false,
            ..ema
        };
        assert!((at_once.share(0) - 0.001).abs() < 1e-12);
    }

    /// PyTorch 2.15.0, by reference/schedule_golden.py.
    #[test]
    fn the_rate_bends_as_in_pytorch() {
        let golden = [
            (
                Anneal::Cosine,
                [0.1, 0.088284271, 0.06, 0.031715729, 0.02, 0.02],
            ),
            (Anneal::Linear, [0.1, 0.08, 0.06, 0.04, 0.02, 0.02]),
        ];
        for (anneal, expect) in golden {
            let swa = SwaConfig {
                start_epoch: 3,
                lr: Some(0.02),
                anneal_epochs: Some(4),
                anneal: Some(anneal),
            };
            for (idx, expect) in expect.into_iter().enumerate() {
                let found = swa.lr(2 + idx, 1, 0.1, 0.07);
                assert!(
                    (found - expect).abs() < 1e-8,
                    "{found} at {idx} is not {expect}"
                );
            }
            assert_eq!(swa.lr(1, 1, 0.1, 0.07), 0.07);
        }
    }

    #[test]
    fn a_start_after_the_last_epoch_is_refused() {
        let swa = SwaConfig {
            start_epoch: 75,
            lr: Some(5e-5),
            anneal_epochs: Some(10),
            anneal: None,
        };
        let error = swa.check(50).expect_err("too late");
        assert!(error.contains("at most train.epochs (50)"), "{error}");
        assert_eq!(swa.check(100), Ok(()));
        let error = swa.check(80).expect_err("too slow");
        assert!(error.contains("only 6 epochs are left"), "{error}");
        let error = SwaConfig { lr: None, ..swa }
            .check(100)
            .expect_err("no rate");
        assert!(error.contains("without train.swa.lr"), "{error}");
    }
}
