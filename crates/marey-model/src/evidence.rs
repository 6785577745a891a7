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

use burn::tensor::{Tensor, activation::relu};

/// What spoke for a class, and where.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// How much each place raises the class's logit, at least 0: `[b, t, h, w]`.
    pub places: Tensor<4>,
    /// The weight of each stretch of the clip, at least 0: `[b, t]`. For a network that pools over time the sum of its
    /// places, for one that attends to frames the attention.
    pub over_time: Tensor<2>,
}

/// `relu(sum over c of map * gradient)`, where the gradient is the same at every place of a frame.
///
/// # Shapes
/// - `map`: `[b, t, h, w, c]`
/// - `gradient`: `[b, t, c]`, or 1 in place of `b` or `t`
/// - output: `[b, t, h, w]`
pub(crate) fn places(map: Tensor<5>, gradient: Tensor<3>) -> Tensor<4> {
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
