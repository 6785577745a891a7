//! From Burn's CPU tensors to the slices of the kernels, and back.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_flex::{Flex, FlexTensor, Layout};
use half::{bf16, f16};

use super::VideoOps;
use super::memory::bytes_of;
use super::norm::NormOptions;
use super::norm::flex::Normalized;
use crate::raw::conv::{self, Epilogue, Sets};
use crate::raw::memory::Buffer;
use crate::raw::pool::{self, Divisor, Pool3dOptions, Pool3dShape};
use crate::raw::{Activation, Conv3dOptions, Conv3dShape, Element, Isa};

/// An [`Element`] that Burn's CPU tensors hold.
pub(super) trait Stored: Element {
    /// Burn's name of the type.
    const DTYPE: DType;

    /// The elements of a tensor of this type, if they lie together, in order.
    fn slice(tensor: &FlexTensor) -> Option<&[Self]>;
}

macro_rules! stored {
    ($($type:ty, $dtype:ident;)*) => {$(
        impl Stored for $type {
            const DTYPE: DType = DType::$dtype;

            fn slice(tensor: &FlexTensor) -> Option<&[Self]> {
                tensor.as_slice()
            }
        }
    )*};
}

stored! { f32, F32; bf16, BF16; f16, F16; }

/// `$body` with `$element` as the type of the tensor's elements.
macro_rules! with_element {
    ($tensor:expr, $element:ident => $body:expr) => {
        match burn::backend::TensorMetadata::dtype($tensor) {
            burn::tensor::DType::F32 => {
                type $element = f32;
                $body
            }
            burn::tensor::DType::BF16 => {
                type $element = half::bf16;
                $body
            }
            burn::tensor::DType::F16 => {
                type $element = half::f16;
                $body
            }
            other => unreachable!("the public functions send no {other:?} here"),
        }
    };
}

/// A tensor whose elements lie together, in order.
pub(super) fn dense(tensor: FlexTensor) -> FlexTensor {
    if with_element!(&tensor, E => E::slice(&tensor).is_some()) {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The elements of a [`dense`] tensor.
pub(super) fn elements<E: Stored>(tensor: &FlexTensor) -> &[E] {
    E::slice(tensor).expect("made dense, and its type was looked at")
}

/// Dimensions of a tensor of rank `D`.
pub(super) fn dims<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    tensor.shape().dims()
}

/// A new tensor, in memory of the pool, that `fill` writes completely.
pub(super) fn filled<E: Stored, const D: usize>(
    shape: [usize; D],
    fill: impl FnOnce(&mut [E]),
) -> FlexTensor {
    let mut buffer = Buffer::take(shape.iter().product());
    fill(&mut buffer);
    FlexTensor::new(
        bytes_of(buffer),
        Layout::contiguous(Shape::from(shape)),
        E::DTYPE,
    )
}

/// Forward convolution with all that may be fused into it.
fn convolve(
    x: FlexTensor,
    weights: FlexTensor,
    bias: Option<FlexTensor>,
    activation: Activation,
    options: Conv3dOptions,
) -> FlexTensor {
    let (x, weights) = (dense(x), dense(weights));
    let shape = Conv3dShape::new(dims(&x), dims(&weights), options);
    let epilogue = Epilogue {
        bias: bias.as_ref().map(elements),
        activation,
    };
    let [t, h, w] = shape.output();
    let dims = [shape.batch, t, h, w, shape.out_channels];
    let weights = elements(&weights);
    with_element!(&x, E => filled(dims, |y| {
        conv::forward::<E>(Sets::best(), &shape, elements(&x), weights, epilogue, y);
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
    with_element!(dy, E => filled(dims, |dx| {
        conv::backward_data::<E>(Sets::best(), shape, elements(dy), elements(weights), dx);
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
    with_element!(x, E => filled(dims, |dw| {
        conv::backward_weights::<E>(Sets::best(), shape, elements(x), elements(dy), dw);
    }))
}

impl VideoOps for Flex {
    fn conv3d(x: FlexTensor, weights: FlexTensor, options: Conv3dOptions) -> FlexTensor {
        convolve(x, weights, None, Activation::Identity, options)
    }

    fn conv3d_fused(
        x: FlexTensor,
        weights: FlexTensor,
        bias: FlexTensor,
        activation: Activation,
        options: Conv3dOptions,
    ) -> FlexTensor {
        convolve(x, weights, Some(dense(bias)), activation, options)
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
        let x = dense(x);
        let shape = Pool3dShape::new(dims(&x), options);
        filled(pooled_dims(&x, &shape), |y| {
            pool::max_forward(Isa::best(), &shape, elements(&x), y);
        })
    }

    fn avg_pool3d(x: FlexTensor, options: Pool3dOptions, divisor: Divisor) -> FlexTensor {
        let x = dense(x);
        let shape = Pool3dShape::new(dims(&x), options);
        filled(pooled_dims(&x, &shape), |y| {
            pool::average_forward(Isa::best(), &shape, divisor, elements(&x), y);
        })
    }
}

/// Dimensions of a pooling's output.
fn pooled_dims(x: &FlexTensor, shape: &Pool3dShape) -> [usize; 5] {
    let [batch, _, _, _, channels] = dims(x);
    let [t, h, w] = shape.output();
    [batch, t, h, w, channels]
}

/// Gradient of max pooling.
pub(super) fn max_pool3d_backward(
    x: &FlexTensor,
    dy: &FlexTensor,
    options: Pool3dOptions,
) -> FlexTensor {
    let shape = Pool3dShape::new(dims(x), options);
    filled(dims::<5>(x), |dx| {
        pool::max_backward(Isa::best(), &shape, elements(x), elements(dy), dx);
    })
}

/// Gradient of average pooling of an input of dimensions `x`.
pub(super) fn avg_pool3d_backward(
    x: [usize; 5],
    dy: &FlexTensor,
    options: Pool3dOptions,
    divisor: Divisor,
) -> FlexTensor {
    let shape = Pool3dShape::new(x, options);
    filled(x, |dx| {
        pool::average_backward(Isa::best(), &shape, divisor, elements(dy), dx);
    })
}
