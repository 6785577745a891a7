//! Convolutions on a GPU's tensors: depthwise ones by kernels of ours, all others by cuDNN.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

#[cfg(feature = "cuda")]
use super::cudnn;
use super::kernels::depthwise::{self, Window};
use super::norm::element;
use super::tensor::with_shape;
use crate::raw::{Conv3dOptions, Conv3dShape};

/// y of a convolution, in the type of x.
pub(super) fn forward(x: CubeTensor, weights: CubeTensor, options: Conv3dOptions) -> CubeTensor {
    let shape = Conv3dShape::new(x.shape().dims(), weights.shape().dims(), options);
    if !shape.is_depthwise() {
        return cudnn::forward(x, weights, shape);
    }
    let [x, weights] = [x, weights].map(into_contiguous);
    let y = depthwise::forward(
        &x.client,
        &x.handle,
        &weights.handle,
        element(&x),
        element(&weights),
        input_dims(&shape),
        window(&shape),
    );
    with_shape(&x, y, output_dims(&shape), x.dtype)
}

/// dx of a convolution, in the type of dy.
pub(super) fn backward_data(
    dy: CubeTensor,
    weights: CubeTensor,
    x_dims: [usize; 5],
    options: Conv3dOptions,
) -> CubeTensor {
    let shape = Conv3dShape::new(x_dims, weights.shape().dims(), options);
    if !shape.is_depthwise() {
        return cudnn::backward_data(dy, weights, shape);
    }
    let [dy, weights] = [dy, weights].map(into_contiguous);
    let dx = depthwise::backward_data(
        &dy.client,
        &dy.handle,
        &weights.handle,
        element(&dy),
        element(&weights),
        x_dims,
        window(&shape),
    );
    with_shape(&dy, dx, x_dims, dy.dtype)
}

/// dw of a convolution, in `f32`.
pub(super) fn backward_weights(
    x: CubeTensor,
    dy: CubeTensor,
    weights_dims: [usize; 5],
    options: Conv3dOptions,
) -> CubeTensor {
    let shape = Conv3dShape::new(x.shape().dims(), weights_dims, options);
    if !shape.is_depthwise() {
        return as_type(cudnn::backward_weights(x, dy, shape), DType::F32);
    }
    let [x, dy] = [x, dy].map(into_contiguous);
    let dw = depthwise::backward_weights(
        &x.client,
        &x.handle,
        &dy.handle,
        element(&x),
        input_dims(&shape),
        window(&shape),
    );
    with_shape(&x, dw, weights_dims, DType::F32)
}

/// The tensor in another type, if it is not in that.
pub(super) fn as_type(tensor: CubeTensor, dtype: DType) -> CubeTensor {
    match tensor.dtype == dtype {
        true => tensor,
        false => CubeBackend::float_cast(tensor, dtype.into()),
    }
}

/// `[b, t, h, w, c]` of x.
pub(super) fn input_dims(shape: &Conv3dShape) -> [usize; 5] {
    let [t, h, w] = shape.input;
    [shape.batch, t, h, w, shape.in_channels]
}

/// `[b, t', h', w', k]`.
pub(super) fn output_dims(shape: &Conv3dShape) -> [usize; 5] {
    let [t, h, w] = shape.output();
    [shape.batch, t, h, w, shape.out_channels]
}

/// `[k, kt, kh, kw, c / groups]`.
pub(super) fn weights_dims(shape: &Conv3dShape) -> [usize; 5] {
    let [t, h, w] = shape.kernel;
    [shape.out_channels, t, h, w, shape.group_inputs()]
}

fn window(shape: &Conv3dShape) -> Window {
    let Conv3dOptions {
        stride,
        padding,
        dilation,
        ..
    } = shape.options;
    Window {
        kernel: shape.kernel,
        stride,
        padding,
        dilation,
    }
}

/// Without the feature `cuda` nobody comes here: see [`has_convolution`](super::has_convolution).
#[cfg(not(feature = "cuda"))]
mod cudnn {
    use super::{Conv3dShape, CubeTensor};

    pub(super) fn forward(_: CubeTensor, _: CubeTensor, shape: Conv3dShape) -> CubeTensor {
        unreachable!("{shape:?} goes by Burn's own operations")
    }

    pub(super) use forward as backward_data;
    pub(super) use forward as backward_weights;
}
