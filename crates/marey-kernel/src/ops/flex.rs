//! From Burn's CPU tensors to the slices of the kernels, and back.

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use burn_flex::{Flex, FlexTensor};

use super::VideoOps;
use super::conv::FusedOptions;
use super::element::{elements_of, filled_with, with_element};
use super::kept::KeptWeights;
use super::norm::NormOptions;
use super::norm::flex::Normalized;
use super::{lstm, pool, scale, shift};
use crate::raw::conv::{self, Epilogue, Sets, Weights};
use crate::raw::lstm::TimeOrder;
use crate::raw::pool::{Divisor, Pool3dOptions};
use crate::raw::{Conv3dOptions, Conv3dShape};

/// A tensor whose elements lie together, in order.
pub(super) fn dense(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The elements of a [`dense`] tensor of `f32`.
pub(super) fn elements(tensor: &FlexTensor) -> &[f32] {
    elements_of(tensor)
}

/// Dimensions of a tensor of rank `D`.
pub(super) fn dims<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    tensor.shape().dims()
}

/// A new tensor of `f32`, in memory of the pool, that `fill` writes completely.
pub(super) fn filled<const D: usize>(
    shape: [usize; D],
    fill: impl FnOnce(&mut [f32]),
) -> FlexTensor {
    filled_with(shape, fill)
}

/// Forward convolution with all that may be fused into it, and the weights as `kept` has them.
fn convolve(
    x: FlexTensor,
    weights: FlexTensor,
    epilogue: Epilogue,
    options: Conv3dOptions,
    kept: Option<&KeptWeights>,
) -> FlexTensor {
    let (x, weights) = (dense(x), dense(weights));
    let shape = Conv3dShape::new(dims(&x), dims(&weights), options);
    let [t, h, w] = shape.output();
    let dims = [shape.batch, t, h, w, shape.out_channels];
    let is_packed = x.dtype() == DType::F32 && !shape.is_depthwise();
    let packed = kept
        .filter(|_| is_packed)
        .map(|kept| kept.packed(&weights, &shape));
    let weights = Weights {
        values: elements(&weights),
        packed: packed.as_deref(),
    };
    with_element!(x.dtype(), E => filled_with::<E, 5>(dims, |y| {
        conv::forward(Sets::best(), &shape, elements_of(&x), weights, epilogue, y);
    }))
}

/// Gradient of a convolution's input.
pub(super) fn conv3d_backward_data(
    dy: &FlexTensor,
    weights: &FlexTensor,
    shape: &Conv3dShape,
) -> FlexTensor {
    let [t, h, w] = shape.input;
    let dims = [shape.batch, t, h, w, shape.in_channels];
    with_element!(dy.dtype(), E => filled_with::<E, 5>(dims, |dx| {
        conv::backward_data(Sets::best(), shape, elements_of(dy), elements(weights), dx);
    }))
}

/// Gradient of a convolution's weights.
pub(super) fn conv3d_backward_weights(
    x: &FlexTensor,
    dy: &FlexTensor,
    shape: &Conv3dShape,
) -> FlexTensor {
    let [kt, kh, kw] = shape.kernel;
    let dims = [shape.out_channels, kt, kh, kw, shape.group_inputs()];
    filled(dims, |dw| {
        with_element!(x.dtype(), E => {
            let (x, dy) = (elements_of::<E>(x), elements_of(dy));
            conv::backward_weights(Sets::best(), shape, x, dy, dw);
        });
    })
}

impl VideoOps for Flex {
    fn conv3d(x: FlexTensor, weights: FlexTensor, options: Conv3dOptions) -> FlexTensor {
        convolve(x, weights, Epilogue::default(), options, None)
    }

    fn conv3d_fused(
        x: FlexTensor,
        weights: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        residual: FlexTensor,
        how: FusedOptions,
    ) -> FlexTensor {
        let [gamma, beta, residual] = [gamma, beta, residual].map(dense);
        let has_residual = residual.shape().num_elements() > 0;
        let epilogue = Epilogue {
            scale: Some(elements(&gamma)),
            bias: Some(elements(&beta)),
            residual: has_residual.then(|| elements(&residual)),
            activation: how.activation,
        };
        convolve(x, weights, epilogue, how.options, Some(&how.kept))
    }

    fn batch_norm_train(
        x: FlexTensor,
        residual: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        options: NormOptions,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let normalized = Normalized::by_batch(x, residual, &dense(gamma), &dense(beta), options);
        let [mean, variance] = normalized.statistics();
        (normalized.output(), mean, variance)
    }

    fn batch_norm_frozen(
        x: FlexTensor,
        residual: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        options: NormOptions,
    ) -> FlexTensor {
        let affine = [&dense(gamma), &dense(beta)];
        let statistics = [&dense(mean), &dense(variance)];
        Normalized::by_statistics(x, residual, affine, statistics, options).output()
    }

    fn max_pool3d(x: FlexTensor, options: Pool3dOptions) -> FlexTensor {
        pool::flex::max_pool3d(x, options)
    }

    fn avg_pool3d(x: FlexTensor, options: Pool3dOptions, divisor: Divisor) -> FlexTensor {
        pool::flex::avg_pool3d(x, options, divisor)
    }

    fn global_average(x: FlexTensor) -> FlexTensor {
        pool::flex::global_average(x)
    }

    fn bilstm(
        inputs: FlexTensor,
        inputs_back: FlexTensor,
        weights: FlexTensor,
        weights_back: FlexTensor,
    ) -> FlexTensor {
        let (states, _) = lstm::run([inputs, inputs_back], [weights, weights_back]);
        states
    }

    fn lstm(inputs: FlexTensor, weights: FlexTensor) -> FlexTensor {
        let (states, _) = lstm::run([inputs], [weights]);
        states
    }

    fn channel_scale(x: FlexTensor, scale: FlexTensor) -> FlexTensor {
        scale::forward(x, scale)
    }

    fn temporal_shift(x: FlexTensor, fold: usize, order: TimeOrder) -> FlexTensor {
        shift::run(x, fold, order)
    }

    fn fork(x: FlexTensor) -> (FlexTensor, FlexTensor) {
        (x.clone(), x)
    }
}
