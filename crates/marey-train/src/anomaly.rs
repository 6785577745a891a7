//! The losses of [`Task::Anomaly`](marey_model::Task) beside that of the classes: normal against anomalous, distance from the
//! centre, and ranking.
//!
//! Letters: b batch, k classes, n items, s segments of an item.

use burn::tensor::{
    Tensor,
    activation::{log_softmax, relu},
};
use marey_model::{AnomalyOutput, DeepSvdd, Ranking, Task};

/// What the losses of one batch are computed from.
#[derive(Debug)]
pub(crate) struct AnomalyBatch {
    /// What the model's heads say.
    pub(crate) output: AnomalyOutput,
    /// Shares of the classes, `[b, k]`, each row adding up to 1.
    pub(crate) targets: Tensor<2>,
    /// Position of the normal class.
    pub(crate) normal: usize,
    /// Epochs done, a fraction within one.
    pub(crate) epochs: f64,
}

/// The weighted sum of the task's losses beside that of the classes, `[1]`; `None` for a task without any.
pub(crate) fn anomaly_loss(task: &Task, batch: AnomalyBatch) -> Option<Tensor<1>> {
    let Task::Anomaly {
        binary_weight,
        deep_svdd,
        ranking,
        ..
    } = task
    else {
        return None;
    };
    let AnomalyBatch {
        output,
        targets,
        normal,
        epochs,
    } = batch;
    // A mixed clip is as normal as its parts are.
    let is_normal: Tensor<1> = targets.narrow(1, normal, 1).squeeze_dim(1);
    let mut loss = binary(output.binary_logits, is_normal.clone()) * *binary_weight;
    if let (Some(svdd), Some(distance)) = (deep_svdd, output.distance) {
        loss = loss + distances(distance, is_normal.clone(), svdd.margin) * weight(svdd, epochs);
    }
    if let (Some(settings), Some(scores)) = (ranking, output.ranking) {
        loss = loss + ranked(scores, is_normal, settings) * settings.weight;
    }
    Some(loss)
}

/// The weight of the distances after `epochs` epochs.
fn weight(svdd: &DeepSvdd, epochs: f64) -> f64 {
    if svdd.warmup_epochs > 0.0 {
        svdd.weight * (epochs / svdd.warmup_epochs).min(1.0)
    } else {
        svdd.weight
    }
}

/// Mean cross-entropy of normal (0) against anomalous (1).
///
/// # Shapes
/// - `logits`: `[b, 2]`, `is_normal`: `[b]` from 0 to 1
fn binary(logits: Tensor<2>, is_normal: Tensor<1>) -> Tensor<1> {
    let log_probs = log_softmax(logits, 1);
    let [normal, anomalous] =
        [0, 1].map(|idx| log_probs.clone().narrow(1, idx, 1).squeeze_dim::<1>(1));
    let is_anomalous = is_normal.clone().neg() + 1.0;
    (normal * is_normal + anomalous * is_anomalous).mean().neg()
}

/// Mean distance of normal clips, plus how much the mean distance of anomalous ones falls short of it by `margin` and more.
/// Where a batch has no anomalous clip there is nothing to fall short, and where it has no normal one the loss is 0.
///
/// # Shapes
/// - `distance`, `is_normal`: `[b]`
fn distances(distance: Tensor<1>, is_normal: Tensor<1>, margin: f64) -> Tensor<1> {
    let is_anomalous = is_normal.clone().neg() + 1.0;
    // Sums of shares: an empty side gives 0 over a tiny number, not 0 over 0.
    let mean = |share: Tensor<1>| {
        let total = share.clone().sum();
        (distance.clone() * share).sum() / total.clamp_min(1e-6)
    };
    let has = |share: &Tensor<1>| share.clone().sum().clamp(0.0, 1.0);
    let both = has(&is_normal) * has(&is_anomalous);
    let normal = mean(is_normal);
    normal.clone() + relu(normal + margin - mean(is_anomalous)) * both
}

/// The hinge of every anomalous bag against every normal one, and the smoothness and sparsity of the anomalous ones. A bag is
/// `segments` neighbouring rows of the batch; one mixed of both kinds counts with its shares. Without a pair the hinge is 0.
///
/// # Shapes
/// - `scores`, `is_normal`: `[n * s]`
fn ranked(scores: Tensor<1>, is_normal: Tensor<1>, settings: &Ranking) -> Tensor<1> {
    let s = settings.segments;
    let n = scores.dims()[0] / s;
    let scores: Tensor<2> = scores.reshape([n, s]);
    let normal: Tensor<1> = is_normal.reshape([n, s]).narrow(1, 0, 1).squeeze_dim(1);
    let anomalous = normal.clone().neg() + 1.0;
    let top: Tensor<2> = scores.clone().max_dim(1); // [n, 1]
    // Row: the anomalous bag; column: the normal one.
    let hinge = relu(top.clone().transpose() - top + 1.0);
    let pairs = anomalous.clone().unsqueeze_dim::<2>(1) * normal.unsqueeze_dim::<2>(0);
    let num_pairs = pairs.clone().sum().clamp_min(1e-6);
    let steps = scores.clone().narrow(1, 1, s - 1) - scores.clone().narrow(1, 0, s - 1);
    let of_bags = |values: Tensor<2>| {
        let sums: Tensor<1> = values.sum_dim(1).squeeze_dim(1);
        (sums * anomalous.clone()).sum() / anomalous.clone().sum().clamp_min(1e-6)
    };
    (hinge * pairs).sum() / num_pairs
        + of_bags(steps.clone() * steps) * settings.smoothness
        + of_bags(scores) * settings.sparsity
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn row(values: &[f32]) -> Tensor<1> {
        Tensor::from_floats(values, &Device::flex())
    }

    fn value(tensor: Tensor<1>) -> f32 {
        tensor.into_scalar::<f32>()
    }

    fn close(found: Tensor<1>, expected: f32) {
        let found = value(found);
        assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    }

    #[test]
    fn a_mixed_clip_counts_for_both_sides() {
        let logits = Tensor::<2>::from_floats([[1.0, -1.0], [0.0, 2.0]], &Device::flex());
        // log softmax: (-0.126928, -2.126928) and (-2.126928, -0.126928).
        let expected = (0.7 * 0.126_928 + 0.3 * 2.126_928 + 0.126_928) / 2.0;
        close(binary(logits, row(&[0.7, 0.0])), expected);
    }

    #[test]
    fn anomalous_clips_shall_lie_beyond_the_margin() {
        // Means 2 and 2.5: 2 + (2 + 1 - 2.5).
        close(
            distances(row(&[1.0, 3.0, 2.5]), row(&[1.0, 1.0, 0.0]), 1.0),
            2.5,
        );
        // Far enough: only the normal ones count.
        close(
            distances(row(&[1.0, 3.0, 9.0]), row(&[1.0, 1.0, 0.0]), 1.0),
            2.0,
        );
        close(distances(row(&[1.0, 3.0]), row(&[1.0, 1.0]), 1.0), 2.0);
        close(distances(row(&[1.0, 3.0]), row(&[0.0, 0.0]), 1.0), 0.0);
    }

    #[test]
    fn the_highest_segments_of_bags_are_ranked() {
        let settings = Ranking {
            segments: 2,
            smoothness: 0.1,
            sparsity: 0.01,
            ..Ranking::default()
        };
        // One anomalous bag (0.2, 0.9), two normal ones with tops 0.3 and 0.6.
        let scores = row(&[0.2, 0.9, 0.3, 0.1, 0.6, 0.0]);
        let normal = row(&[0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
        let hinge = ((1.0 - 0.9 + 0.3) + (1.0 - 0.9 + 0.6)) / 2.0;
        let expected = hinge + 0.1 * 0.49 + 0.01 * 1.1;
        close(ranked(scores, normal, &settings), expected);
        // No pair, no hinge: nothing to learn from normal bags alone.
        close(ranked(row(&[0.2, 0.9]), row(&[1.0, 1.0]), &settings), 0.0);
    }

    #[test]
    fn the_weight_of_the_distances_grows() {
        let svdd = DeepSvdd {
            weight: 0.4,
            warmup_epochs: 2.0,
            ..DeepSvdd::default()
        };
        assert_eq!(
            [0.0, 0.5, 2.0, 9.0].map(|epochs| weight(&svdd, epochs)),
            [0.0, 0.1, 0.4, 0.4]
        );
    }
}
