//! Where a model found what it answered: Grad-CAM (Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
//! Gradient-based Localization", ICCV 2017).
//!
//! Grad-CAM weighs each channel of the last feature map by the mean gradient of the class's logit with respect to it, adds
//! the channels up, and keeps what is above zero. Nothing here turns autodiff on: behind the map there is only a mean and a
//! head, whose gradient is written out. For a mean and a linear layer it is the layer's weight over the number of places, so
//! that Grad-CAM is CAM (Zhou et al., CVPR 2016); for the recurrent head see [`crate::layer`]. Tests compare both with
//! Burn's autodiff and with PyTorch's.
//!
//! Letters: b batch, t frames, h height, w width, c channels, all of the feature map.

use burn::tensor::{FloatDType, Tensor, activation::relu};

/// What spoke for a class, and where.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// How much each place raises the class's logit, at least 0: `[b, t, h, w]`.
    pub places: Tensor<4>,
    /// The weight of each stretch of the clip, at least 0: `[b, t]`. For a network that pools over time the sum of its
    /// places, for one that attends to frames the attention.
    pub over_time: Tensor<2>,
}

/// The evidence in a map whose mean over all places leads to the class's logit by `gradient`: it is the same at every place,
/// over their number.
///
/// # Shapes
/// - `map`: `[b, t, h, w, c]`
/// - `gradient`: `[b, c]` of the mean, or 1 in place of `b`
pub(crate) fn behind_mean(map: Tensor<5>, gradient: Tensor<2>) -> Evidence {
    let [_, t, h, w, _] = map.dims();
    let gradient = gradient / (t * h * w) as f64;
    summed_over_time(places(map, gradient.unsqueeze_dim(1)))
}

/// The evidence of places whose sum is what a stretch of the clip weighs.
///
/// # Shapes
/// - `places`: `[b, t, h, w]`
pub(crate) fn summed_over_time(places: Tensor<4>) -> Evidence {
    Evidence {
        over_time: sum_of_frames(&places),
        places,
    }
}

/// `relu(sum over c of map * gradient)` in `f32`, where the gradient is the same at every place of a frame.
///
/// # Shapes
/// - `map`: `[b, t, h, w, c]`
/// - `gradient`: `[b, t, c]`, or 1 in place of `b` or `t`
/// - output: `[b, t, h, w]`
pub(crate) fn places(map: Tensor<5>, gradient: Tensor<3>) -> Tensor<4> {
    // What follows a map works in `f32` too.
    let map = map.cast(FloatDType::F32);
    let [b, t, h, w, c] = map.dims();
    let gradient = gradient.expand([b, t, c]).reshape([b, t, 1, 1, c]);
    relu((map * gradient).sum_dim(4).reshape([b, t, h, w]))
}

/// What stands for the weight of each frame where nothing attends to frames: the sum of its places.
///
/// # Shapes
/// - `places`: `[b, t, h, w]`
/// - output: `[b, t]`
pub(crate) fn sum_of_frames(places: &Tensor<4>) -> Tensor<2> {
    let [b, t, h, w] = places.dims();
    let sums = places.clone().reshape([b, t, h * w]).sum_dim(2);
    sums.reshape([b, t])
}

#[cfg(test)]
pub(crate) mod grad_cam {
    use burn::tensor::{Device, Distribution};

    use super::*;

    /// Clips on the CPU, the same at each call.
    pub(crate) fn clips(dims: [usize; 5]) -> Tensor<5> {
        let device = Device::flex();
        device.seed(7);
        Tensor::random(dims, Distribution::Normal(0.0, 1.0), &device)
    }

    /// Checks that `evidence` is Grad-CAM as its paper writes it: of `map`, by autodiff through `logit_of`, which gives what
    /// a network on an autodiff device answers to the map, for the class. Gives the most that a place speaks for it.
    pub(crate) fn check(
        evidence: &Evidence,
        map: Tensor<5>,
        logit_of: impl FnOnce(Tensor<5>) -> Tensor<2>,
    ) -> f32 {
        let tape = Device::flex().autodiff();
        let [b, t, h, w, c] = map.dims();
        let leaf = Tensor::<5>::from_data(map.clone().into_data(), &tape).require_grad();
        let grads = logit_of(leaf.clone()).sum().backward();
        let grad = leaf.grad(&grads).expect("the map leads to the logit");
        let alpha = grad.reshape([b, t * h * w, c]).mean_dim(1);
        let expected = relu(
            (map * alpha.reshape([b, 1, 1, 1, c]))
                .sum_dim(4)
                .reshape([b, t, h, w]),
        );
        let largest = |tensor: Tensor<4>| tensor.abs().max().into_scalar::<f32>();
        let scale = largest(expected.clone());
        let off = largest(evidence.places.clone() - expected);
        assert!(off <= 1e-5 * scale, "off by {off} of {scale}");
        let sums = evidence.places.clone().reshape([b, t, h * w]).sum_dim(2);
        let off = sums.reshape([b, t]) - evidence.over_time.clone();
        assert_eq!(off.abs().max().into_scalar::<f32>(), 0.0);
        scale
    }
}
