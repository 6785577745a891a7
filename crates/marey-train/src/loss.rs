//! What a step minimises: cross-entropy and its focal kin, all against soft targets, with label smoothing and class
//! weights.
//!
//! Letters: b batch, k classes, q a target distribution, w class weights, l log-probabilities, p probabilities, e the
//! label smoothing. All of them are built on the smoothed, weighted cross-entropy of an item if its class were c,
//! `S_c = -(1 - e) w_c l_c - e / k Σ_j w_j l_j`, and all divide the batch's sum by `Σ q_c w_c`. They are linear in q, so
//! the loss of a mixed target is the mixture of the losses, and of hard targets it is PyTorch's `CrossEntropyLoss`.

mod config;

mod weights;

use burn::tensor::{Device, FloatDType, Tensor, TensorData, activation::log_softmax};

pub use config::{FocalPt, LossConfig, LossKind};
pub use weights::ClassWeights;

/// `1 - pt` is kept at least this large, so that its power has a slope for any gamma. In `f32`, 1 - 1e-6 is the
/// neighbourhood of 1.
const LEAST_MISS: f64 = 1e-6;

/// A [`LossConfig`] with the weights of a data set's classes.
#[derive(Clone, Debug)]
pub struct Loss {
    /// `[k]`.
    weights: Option<Tensor<1>>,
    label_smoothing: f64,
    /// `[below, gamma]`; empty for cross-entropy.
    gammas: Vec<[f64; 2]>,
    alpha: f64,
    pt: FocalPt,
}

impl Loss {
    /// Mean cross-entropy, every clip alike.
    pub fn cross_entropy() -> Self {
        Self {
            weights: None,
            label_smoothing: 0.0,
            gammas: Vec::new(),
            alpha: 1.0,
            pt: FocalPt::default(),
        }
    }

    /// The loss of a batch, in `f32` whatever the type of the logits.
    ///
    /// # Shapes
    /// - `logits`: `[b, k]`
    /// - `targets`: `[b, k]`, each row a distribution over the classes; see [`one_hot`]
    /// - output: `[1]`
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn forward(&self, logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
        let [b, k] = logits.dims();
        assert_eq!(targets.dims(), [b, k], "a target distribution an item");
        let log_probs = log_softmax(logits.cast(FloatDType::F32), 1);
        let (weighted, targets, total) = match &self.weights {
            None => (log_probs.clone(), targets, None),
            Some(weights) => {
                assert_eq!(weights.dims(), [k], "one weight a class");
                let weights = weights.clone().unsqueeze::<2>();
                let total = (targets.clone() * weights.clone()).sum();
                (log_probs.clone() * weights, targets, Some(total))
            }
        };
        let of_class = self.smoothed(weighted);
        let of_class = match self.gammas.is_empty() {
            true => of_class,
            false => of_class * self.modulation(log_probs),
        };
        let sum = (of_class * targets).sum().mul_scalar(self.alpha);
        match total {
            None => sum.div_scalar(b as f64),
            Some(total) => sum / total,
        }
    }

    /// `S_c` of (weighted) log-probabilities, `[b, k]` to `[b, k]`.
    fn smoothed(&self, log_probs: Tensor<2>) -> Tensor<2> {
        if self.label_smoothing == 0.0 {
            return -log_probs;
        }
        let k = log_probs.dims()[1];
        let spread = log_probs.clone().sum_dim(1);
        -(log_probs.mul_scalar(1.0 - self.label_smoothing)
            + spread.mul_scalar(self.label_smoothing / k as f64))
    }

    /// `(1 - pt)^gamma` of each item if its class were c, `[b, k]` to `[b, k]`.
    fn modulation(&self, log_probs: Tensor<2>) -> Tensor<2> {
        let pt = match self.pt {
            FocalPt::Probability => log_probs.exp(),
            FocalPt::SmoothedLoss => (-self.smoothed(log_probs)).exp(),
        };
        let miss = (-pt.clone() + 1.0).clamp_min(LEAST_MISS);
        if let [[_, gamma]] = self.gammas[..] {
            return miss.powf_scalar(gamma);
        }
        // Which gamma an item has is not learned.
        let pt = pt.detach();
        let mut from = 0.0;
        let mut factor = miss.zeros_like();
        for (idx, &[below, gamma]) in self.gammas.iter().enumerate() {
            let is_last = idx + 1 == self.gammas.len();
            let to = if is_last { f64::INFINITY } else { below };
            let inside = pt
                .clone()
                .greater_equal_elem(from)
                .float()
                .mul(pt.clone().lower_elem(to).float());
            factor = factor + miss.clone().powf_scalar(gamma) * inside;
            from = below;
        }
        factor
    }
}

/// Each target as a distribution with all weight on one class, `[b, k]`.
///
/// # Panics
/// If a target is not below `num_classes`.
pub fn one_hot(targets: &[usize], num_classes: usize, device: &Device) -> Tensor<2> {
    let mut values = vec![0.0f32; targets.len() * num_classes];
    for (row, &target) in targets.iter().enumerate() {
        assert!(target < num_classes, "class {target} of {num_classes}");
        values[row * num_classes + target] = 1.0;
    }
    Tensor::from_data(
        TensorData::new(values, [targets.len(), num_classes]),
        device,
    )
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;

    const LOGITS: [[f32; 3]; 3] = [[1.0, -0.5, 2.0], [0.3, 0.2, -1.0], [-2.0, 1.5, 0.0]];
    const SOFT: [[f32; 3]; 3] = [[0.25, 0.0, 0.75], [1.0, 0.0, 0.0], [0.4, 0.6, 0.0]];

    fn loss(config: &LossConfig, weighted: bool, device: &Device) -> Loss {
        let classes = ["a", "b", "c"].map(str::to_owned);
        let mut loss = config.init(&classes, &[1, 1, 1], device).expect("valid");
        loss.weights = weighted.then(|| Tensor::from_floats([0.5, 2.0, 1.5], device));
        loss
    }

    /// Loss, and gradient of the first logit, of hard targets.
    fn of_hard(config: &LossConfig, weighted: bool) -> [f32; 2] {
        let device = Device::flex().autodiff();
        let logits = Tensor::<2>::from_floats(LOGITS, &device).require_grad();
        let loss = loss(config, weighted, &device)
            .forward(logits.clone(), one_hot(&[2, 0, 0], 3, &device));
        let grads = loss.backward();
        let grad = logits.grad(&grads).expect("logits lead to the loss");
        [
            loss.into_scalar::<f32>(),
            grad.slice([0..1, 0..1]).into_scalar::<f32>(),
        ]
    }

    fn check(found: f32, expect: f32, label: &str) {
        assert!(
            (found - expect).abs() < 1e-5,
            "{label}: {found} is not {expect}"
        );
    }

    /// Expected values in this module: PyTorch 2.15.0 and float64 formulas, by reference/loss_golden.py.
    #[test]
    fn cross_entropy_equals_pytorch() {
        let golden = [
            // (weighted, label smoothing, torch.nn.functional.cross_entropy)
            (false, 0.0, 1.625_153),
            (false, 0.1, 1.618_486),
            (false, 0.5, 1.591_82),
            (true, 0.0, 1.123_707),
            (true, 0.1, 1.240_028),
            (true, 0.5, 1.705_309),
        ];
        for (weighted, label_smoothing, expect) in golden {
            let config = LossConfig {
                label_smoothing,
                ..LossConfig::default()
            };
            let label = format!("weighted {weighted}, smoothing {label_smoothing}");
            check(of_hard(&config, weighted)[0], expect, &label);
        }
    }

    #[test]
    fn soft_targets_equal_pytorch_and_are_mixtures_of_hard_ones() {
        let device = Device::flex();
        let logits = || Tensor::<2>::from_floats(LOGITS, &device);
        for (label_smoothing, expect) in [(0.0, 1.008_486), (0.1, 1.063_486)] {
            let config = LossConfig {
                label_smoothing,
                ..LossConfig::default()
            };
            let soft = Tensor::<2>::from_floats(SOFT, &device);
            let found = loss(&config, false, &device).forward(logits(), soft);
            check(found.into_scalar::<f32>(), expect, "soft targets");
        }
        for kind in [LossKind::Focal, LossKind::AdaptiveFocal] {
            let config = LossConfig {
                kind,
                label_smoothing: 0.1,
                ..LossConfig::default()
            };
            let loss = loss(&config, false, &device);
            let of = |targets: Tensor<2>| loss.forward(logits(), targets).into_scalar::<f32>();
            let [first, second] = [[2, 0, 0], [0, 1, 1]].map(|hard| one_hot(&hard, 3, &device));
            let mixed = of(first.clone() * 0.3 + second.clone() * 0.7);
            check(mixed, 0.3 * of(first) + 0.7 * of(second), "a mixture");
        }
    }

    #[test]
    fn focal_equals_its_paper() {
        let (probability, smoothed) = (FocalPt::Probability, FocalPt::SmoothedLoss);
        let golden = [
            // (gamma, weighted, label smoothing, pt, loss, gradient of the first logit)
            (0.5, false, 0.0, probability, 1.486_600_4, 0.066_563_3),
            (0.5, true, 0.1, probability, 1.045_345_2, 0.126_286_1),
            (0.5, false, 0.15, smoothed, 1.463_861_5, 0.060_619_2),
            (0.5, true, 0.15, smoothed, 1.112_984_3, 0.120_562_7),
            (2.0, false, 0.0, probability, 1.270_573_7, 0.021_594_7),
            (2.0, true, 0.1, probability, 0.790_740_9, 0.045_760_7),
            (2.0, false, 0.15, smoothed, 1.203_174_3, 0.030_132_3),
            (2.0, true, 0.15, smoothed, 0.821_801_9, 0.057_461_6),
        ];
        for (gamma, weighted, label_smoothing, pt, expect, gradient) in golden {
            let config = LossConfig {
                kind: LossKind::Focal,
                gamma: Some(gamma),
                pt: Some(pt),
                label_smoothing,
                ..LossConfig::default()
            };
            let label = format!("{config:?}, weighted {weighted}");
            let found = of_hard(&config, weighted);
            check(found[0], expect, &label);
            check(found[1], gradient, &label);
            // Alpha is a factor on all of it.
            let config = LossConfig {
                alpha: Some(0.25),
                ..config
            };
            check(of_hard(&config, weighted)[0], 0.25 * expect, &label);
        }
        let without_gamma = LossConfig {
            kind: LossKind::Focal,
            gamma: Some(0.0),
            ..LossConfig::default()
        };
        check(of_hard(&without_gamma, true)[0], 1.123_707, "gamma 0");
    }

    #[test]
    fn adaptive_focal_chooses_gamma_by_probability() {
        let golden = [
            // (weighted, label smoothing, loss, gradient of the first logit)
            (false, 0.0, 1.144_066_5, 0.008_788_4),
            (true, 0.1, 0.693_541_4, 0.019_151_4),
        ];
        for (weighted, label_smoothing, expect, gradient) in golden {
            let config = LossConfig {
                kind: LossKind::AdaptiveFocal,
                label_smoothing,
                ..LossConfig::default()
            };
            let found = of_hard(&config, weighted);
            check(found[0], expect, "adaptive focal");
            check(found[1], gradient, "adaptive focal's gradient");
        }
    }

    /// A run in `f16` multiplies the loss by up to 2^24 before the backward pass and divides the gradients by it.
    #[test]
    fn every_loss_bears_the_scale_of_f16_and_logits_that_are_sure() {
        let device = Device::flex().autodiff();
        for kind in [
            LossKind::CrossEntropy,
            LossKind::Focal,
            LossKind::AdaptiveFocal,
        ] {
            for gamma in [None, Some(0.5)] {
                let config = LossConfig {
                    kind,
                    gamma,
                    label_smoothing: 0.1,
                    ..LossConfig::default()
                };
                let loss = loss(&config, true, &device);
                let gradient = |factor: f32, rows: [[f32; 3]; 2]| {
                    let logits = Tensor::<2>::from_floats(rows, &device).require_grad();
                    // As after a network in f16.
                    let half = logits.clone().cast(DType::F16);
                    let value = loss.forward(half, one_hot(&[0, 1], 3, &device));
                    let grads = value.mul_scalar(factor).backward();
                    let values = logits.grad(&grads).expect("a gradient").into_data();
                    values.convert::<f32>().try_into_vec::<f32>().expect("f32")
                };
                let rows = [[1.0, -0.5, 2.0], [0.25, 0.25, -1.0]];
                let plain = gradient(1.0, rows);
                for (scaled, plain) in gradient(1024.0, rows).iter().zip(&plain) {
                    assert!(
                        (scaled / 1024.0 - plain).abs() < 1e-3,
                        "{kind:?}: {scaled} {plain}"
                    );
                }
                // Sure and right, sure and wrong.
                let sure = gradient(1.0, [[60.0, 0.0, 0.0], [60.0, -60.0, 0.0]]);
                assert!(
                    sure.iter().all(|value| value.is_finite()),
                    "{kind:?}: {sure:?}"
                );
            }
        }
    }
}
