//! Cross-entropy with label smoothing and class weights, defined as PyTorch's `CrossEntropyLoss` (reduction "mean").
//!
//! Letters: b batch, k classes.

use burn::tensor::{Int, Tensor, activation::log_softmax};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `[loss]` section of a recipe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// Share of the target spread evenly over all classes, 0–1 (default 0; Szegedy et al., 2016, section 7).
    pub label_smoothing: f64,
    /// Weight of each class (default `"none"`).
    pub class_weights: ClassWeights,
}

/// How much a clip of each class counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// Every clip counts alike.
    #[default]
    None,
    /// N / (K · count of the class): every class counts alike.
    Balanced,
}

impl ClassWeights {
    /// One weight a class from the training split's counts; `None` when all are 1. A class without a training clip
    /// gets 0: nothing can be learned about it, and it is named in the report.
    pub fn weights(self, train_counts: &[usize]) -> Option<Vec<f32>> {
        match self {
            Self::None => None,
            Self::Balanced => {
                let (total, k) = (
                    train_counts.iter().sum::<usize>() as f32,
                    train_counts.len() as f32,
                );
                let weight = |&count: &usize| {
                    if count == 0 {
                        0.0
                    } else {
                        total / (k * count as f32)
                    }
                };
                Some(train_counts.iter().map(weight).collect())
            }
        }
    }
}

/// Mean weighted cross-entropy of a batch, `[1]`.
///
/// With weights `w`, smoothing `e` and log-probabilities `l`, an item of class `y` adds
/// `-(1 - e) w_y l_y - e / k Σ_c w_c l_c`, and the sum is divided by `Σ w_y`.
///
/// # Shapes
/// - `logits`: `[b, k]`
/// - `targets`: `[b]`, each below `k`
/// - `weights`: `[k]`
///
/// # Panics
/// If the shapes do not fit.
pub fn cross_entropy(
    logits: Tensor<2>,
    targets: Tensor<1, Int>,
    weights: Option<&Tensor<1>>,
    label_smoothing: f64,
) -> Tensor<1> {
    let [b, k] = logits.dims();
    assert_eq!(targets.dims(), [b], "one target an item");
    let log_probs = log_softmax(logits, 1);
    let hit = log_probs
        .clone()
        .gather(1, targets.clone().unsqueeze_dim(1))
        .squeeze_dim::<1>(1);
    let (hit, spread, total) = match weights {
        None => (hit, log_probs.sum_dim(1).squeeze_dim::<1>(1), None),
        Some(weights) => {
            assert_eq!(weights.dims(), [k], "one weight a class");
            let of_target = weights.clone().select(0, targets);
            let spread = (log_probs * weights.clone().unsqueeze::<2>())
                .sum_dim(1)
                .squeeze_dim::<1>(1);
            (hit * of_target.clone(), spread, Some(of_target.sum()))
        }
    };
    let sum = -(hit.mul_scalar(1.0 - label_smoothing)
        + spread.mul_scalar(label_smoothing / k as f64))
    .sum();
    match total {
        None => sum.div_scalar(b as f64),
        Some(total) => sum / total,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn equals_pytorch() {
        let device = Device::flex();
        // (weighted, label smoothing, torch.nn.functional.cross_entropy of PyTorch 2.15.0), by reference/loss_golden.py.
        let golden = [
            (false, 0.0, 1.625_153),
            (false, 0.1, 1.618_486),
            (false, 0.5, 1.591_82),
            (true, 0.0, 1.123_707),
            (true, 0.1, 1.240_028),
            (true, 0.5, 1.705_309),
        ];
        for (weighted, smoothing, expect) in golden {
            let logits = Tensor::<2>::from_floats(
                [[1.0, -0.5, 2.0], [0.3, 0.2, -1.0], [-2.0, 1.5, 0.0]],
                &device,
            );
            let targets = Tensor::<1, Int>::from_ints([2, 0, 0], &device);
            let weights = weighted.then(|| Tensor::<1>::from_floats([0.5, 2.0, 1.5], &device));
            let loss =
                cross_entropy(logits, targets, weights.as_ref(), smoothing).into_scalar::<f32>();
            assert!(
                (loss - expect).abs() < 1e-5,
                "weighted {weighted}, smoothing {smoothing}: {loss} is not {expect}"
            );
        }
    }

    #[test]
    fn balanced_weights_make_classes_count_alike() {
        assert_eq!(
            ClassWeights::Balanced.weights(&[1, 3, 0]),
            Some(vec![4.0 / 3.0, 4.0 / 9.0, 0.0])
        );
        assert_eq!(ClassWeights::None.weights(&[1, 3]), None);
    }
}
