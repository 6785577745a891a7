//! The operations that Burn records on a GPU, and who has them.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, DispatchDevice, backend_extension};
use burn::tensor::{DType, Device, Tensor};
use burn_cubecl::CubeBackend;

use super::{conv, lstm, norm, pool};
use crate::ops::norm::NormOptions;
use crate::raw::lstm::TimeOrder;
use crate::raw::pool::{Pool3dOptions, Pool3dShape};
use crate::raw::{Activation, Conv3dOptions, Conv3dShape};

/// Operations on channels-last tensors, with gradients of their own. Where `has_residual` is false, the residual is not
/// read: any tensor does.
#[allow(
    clippy::too_many_arguments,
    reason = "tensors of an extension are arguments of their own"
)]
#[backend_extension(Cube, Autodiff)]
pub(crate) trait GpuOps: Backend {
    /// [`crate::conv3d`].
    fn gpu_conv3d(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        options: Conv3dOptions,
    ) -> FloatTensor<Self>;

    /// [`crate::batch_norm_train`]; also gives mean and biased variance, which are not differentiable.
    fn gpu_batch_norm_train(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        options: NormOptions,
        has_residual: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// [`crate::batch_norm_frozen`].
    fn gpu_batch_norm_frozen(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        options: NormOptions,
        has_residual: bool,
    ) -> FloatTensor<Self>;

    /// [`crate::max_pool3d`].
    fn gpu_max_pool3d(x: FloatTensor<Self>, options: Pool3dOptions) -> FloatTensor<Self>;

    /// [`crate::global_average`], in the type of x.
    fn gpu_global_average(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// [`crate::lstm`], in either order.
    fn gpu_lstm(
        inputs: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        order: TimeOrder,
    ) -> FloatTensor<Self>;
}

/// What needs no gradient: inference, and the gradients of [`GpuOps`].
#[allow(
    clippy::too_many_arguments,
    reason = "tensors of an extension are arguments of their own"
)]
#[backend_extension(Cube)]
pub(crate) trait GpuPlainOps: Backend {
    /// Of a convolution in its input, `[b, t, h, w, c]`.
    fn gpu_conv3d_backward_data(
        dy: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        x_dims: [usize; 5],
        options: Conv3dOptions,
    ) -> FloatTensor<Self>;

    /// Of a convolution in its weights, in `f32`.
    fn gpu_conv3d_backward_weights(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        weights_dims: [usize; 5],
        options: Conv3dOptions,
    ) -> FloatTensor<Self>;

    /// Of a norm in x, the residual, gamma and beta; with the statistics of this batch, or with given ones.
    fn gpu_norm_backward(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        options: NormOptions,
        has_residual_by_batch: [bool; 2],
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );

    /// `activation(x * gamma + beta + residual)`, a factor and a summand a channel.
    fn gpu_affine(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        activation: Activation,
        has_residual: bool,
    ) -> FloatTensor<Self>;

    /// A maximum pooling and, of each output, the pixel of the clip that it has its value from.
    fn gpu_max_pool3d_with_places(
        x: FloatTensor<Self>,
        options: Pool3dOptions,
    ) -> (FloatTensor<Self>, IntTensor<Self>);

    /// Of a maximum pooling in its input, `[b, t, h, w, c]`.
    fn gpu_max_pool3d_backward(
        dy: FloatTensor<Self>,
        places: IntTensor<Self>,
        x_dims: [usize; 5],
        options: Pool3dOptions,
    ) -> FloatTensor<Self>;

    /// States and cells `[b, t, n]` of an LSTM, and its gates `[b, t, 4 * n]`.
    fn gpu_lstm_with_gates(
        inputs: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        order: TimeOrder,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Of an LSTM in its inputs and its weights, from those of its states.
    fn gpu_lstm_backward(
        dstates: FloatTensor<Self>,
        states: FloatTensor<Self>,
        cells: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        order: TimeOrder,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// Are these activations on a GPU?
pub(crate) fn is_on_gpu<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device().without_autodiff();
    has_kernels(x.dtype()) && matches!(device.as_dispatch(), DispatchDevice::Cube(_))
}

/// Are all of these on a GPU, in `f32`?
pub(crate) fn takes_f32<'a, const D: usize>(
    tensors: impl IntoIterator<Item = &'a Tensor<D>>,
) -> bool {
    let mut tensors = tensors.into_iter();
    tensors.all(|tensor| is_on_gpu(tensor) && tensor.dtype() == DType::F32)
}

/// Has this elements, and no more than kernels can count? They do it in 32 bits, as some of cuDNN's do.
fn is_countable(x: &Tensor<5>) -> bool {
    (1..1 << 31).contains(&x.shape().num_elements())
}

/// Do the kernels of a GPU take these: activations of one shape and type, values of each channel in `f32`?
///
/// # Panics
/// If a residual is not of the shape of `x`, or there is no value for each channel.
pub(crate) fn takes_norm(
    x: &Tensor<5>,
    residual: Option<&Tensor<5>>,
    channels: &[&Tensor<1>],
) -> bool {
    let dims = x.dims();
    for values in channels {
        assert_eq!(
            values.dims(),
            [dims[4]],
            "values of the channels of {dims:?}"
        );
    }
    if let Some(residual) = residual {
        assert_eq!(residual.dims(), dims, "a residual and what it is added to");
    }
    is_on_gpu(x)
        && dims.iter().all(|&size| size > 0)
        && residual.is_none_or(|residual| residual.dtype() == x.dtype())
        && channels.iter().all(|values| values.dtype() == DType::F32)
}

/// Do the kernels of a GPU take this pooling?
///
/// # Panics
/// As [`Pool3dShape::new`].
pub(crate) fn takes_pool(x: &Tensor<5>, options: Pool3dOptions) -> bool {
    let shape = Pool3dShape::new(x.dims(), options);
    let is_centred = (0..3).all(|axis| 2 * options.padding[axis] <= options.kernel[axis]);
    let has_outputs = shape.output().iter().all(|&size| size > 0);
    is_on_gpu(x) && is_centred && has_outputs && is_countable(x)
}

/// Does the kernel of a GPU take this recurrence: in `f32`, with a state that the memory of a group of threads holds?
pub(crate) fn takes_lstm(inputs: &Tensor<3>, weights: &Tensor<2>) -> bool {
    let [_, n] = weights.dims();
    let is_wide = [inputs.dtype(), weights.dtype()] == [DType::F32; 2];
    is_wide && is_on_gpu(inputs) && (1..=1024).contains(&n) && inputs.shape().num_elements() > 0
}

/// Are these activations on a GPU that has a kernel of ours for this convolution?
pub(crate) fn has_convolution(x: &Tensor<5>, weights: &Tensor<5>, options: Conv3dOptions) -> bool {
    let is_depthwise = || Conv3dShape::new(x.dims(), weights.dims(), options).is_depthwise();
    is_on_gpu(x)
        && is_countable(x)
        && is_countable(weights)
        && match x.device().without_autodiff().as_dispatch() {
            DispatchDevice::Cube(device) => has_cudnn(device) || is_depthwise(),
            _ => false,
        }
}

/// What computes convolutions and norms of this type on a GPU, in words; nothing where that is no GPU, or no such type.
pub(crate) fn kernels_used(dtype: DType, device: &Device) -> Option<String> {
    let plain = device.clone().without_autodiff();
    let DispatchDevice::Cube(cube) = plain.as_dispatch() else {
        return None;
    };
    let convolutions = match (has_cudnn(cube), is_cuda(cube)) {
        (true, _) => "convolutions by cuDNN",
        (false, true) => "convolutions by Burn, slowly: cuDNN 9 was not found",
        (false, false) => "convolutions by Burn",
    };
    let dtype = has_kernels(dtype).then(|| dtype.name())?;
    Some(format!("Marey's GPU kernels, {dtype}, {convolutions}"))
}

fn has_kernels(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::BF16 | DType::F16)
}

#[cfg(feature = "cuda")]
fn is_cuda(device: &cubecl::Device) -> bool {
    matches!(device, cubecl::Device::Cuda(_))
}

#[cfg(feature = "cuda")]
fn has_cudnn(device: &cubecl::Device) -> bool {
    is_cuda(device) && super::cudnn::is_installed()
}

#[cfg(not(feature = "cuda"))]
fn is_cuda(_: &cubecl::Device) -> bool {
    false
}

#[cfg(not(feature = "cuda"))]
fn has_cudnn(_: &cubecl::Device) -> bool {
    false
}

impl GpuOps for CubeBackend {
    fn gpu_conv3d(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        options: Conv3dOptions,
    ) -> FloatTensor<Self> {
        conv::forward(x, weights, options)
    }

    fn gpu_batch_norm_train(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        options: NormOptions,
        has_residual: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        norm::batch_norm_train(x, has_residual.then_some(residual), [gamma, beta], options)
    }

    fn gpu_batch_norm_frozen(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        options: NormOptions,
        has_residual: bool,
    ) -> FloatTensor<Self> {
        let residual = has_residual.then_some(residual);
        norm::batch_norm_frozen(x, residual, [gamma, beta], [mean, variance], options)
    }

    fn gpu_max_pool3d(x: FloatTensor<Self>, options: Pool3dOptions) -> FloatTensor<Self> {
        pool::max_pool3d(x, options).0
    }

    fn gpu_global_average(x: FloatTensor<Self>) -> FloatTensor<Self> {
        pool::global_average(x)
    }

    fn gpu_lstm(
        inputs: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        order: TimeOrder,
    ) -> FloatTensor<Self> {
        lstm::forward(inputs, weights, order).0
    }
}

impl GpuPlainOps for CubeBackend {
    fn gpu_conv3d_backward_data(
        dy: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        x_dims: [usize; 5],
        options: Conv3dOptions,
    ) -> FloatTensor<Self> {
        conv::backward_data(dy, weights, x_dims, options)
    }

    fn gpu_conv3d_backward_weights(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        weights_dims: [usize; 5],
        options: Conv3dOptions,
    ) -> FloatTensor<Self> {
        conv::backward_weights(x, dy, weights_dims, options)
    }

    fn gpu_norm_backward(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        options: NormOptions,
        [has_residual, by_batch]: [bool; 2],
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        let residual = has_residual.then_some(residual);
        let (affine, statistics) = ([gamma, beta], [mean, variance]);
        norm::backward(dy, x, residual, affine, statistics, options, by_batch).into()
    }

    fn gpu_affine(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        activation: Activation,
        has_residual: bool,
    ) -> FloatTensor<Self> {
        norm::affine(
            x,
            [gamma, beta],
            has_residual.then_some(residual),
            activation,
        )
    }

    fn gpu_max_pool3d_with_places(
        x: FloatTensor<Self>,
        options: Pool3dOptions,
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        pool::max_pool3d(x, options)
    }

    fn gpu_max_pool3d_backward(
        dy: FloatTensor<Self>,
        places: IntTensor<Self>,
        x_dims: [usize; 5],
        options: Pool3dOptions,
    ) -> FloatTensor<Self> {
        pool::max_pool3d_backward(dy, places, x_dims, options)
    }

    fn gpu_lstm_with_gates(
        inputs: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        order: TimeOrder,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        lstm::forward(inputs, weights, order)
    }

    fn gpu_lstm_backward(
        dstates: FloatTensor<Self>,
        states: FloatTensor<Self>,
        cells: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        order: TimeOrder,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        lstm::backward(dstates, [states, cells, gates], weights, order)
    }
}
