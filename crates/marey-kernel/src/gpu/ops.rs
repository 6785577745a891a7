//! The operations that Burn records on a GPU, and who has them.

use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, DispatchDevice, backend_extension};
use burn::tensor::{DType, Device, Shape, Tensor};
use burn_cubecl::CubeBackend;

use super::conv::{self, output_dims};
use super::{lstm, norm, pool};
use crate::ops::norm::NormOptions;
use crate::raw::lstm::TimeOrder;
use crate::raw::pool::{Pool3dOptions, Pool3dShape};
use crate::raw::{Activation, Conv3dOptions, Conv3dShape};

/// Operations on channels-last tensors, with gradients of their own. Where `has_residual` is false, the residual is not
/// read: any tensor does.
#[backend_extension(Cube, Fusion, Autodiff)]
pub(crate) trait GpuOps: Backend {
    /// [`crate::conv3d`].
    #[fusion(dtype = x, shape = output_shape(x, weights, options))]
    fn gpu_conv3d(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        options: Conv3dOptions,
    ) -> FloatTensor<Self>;

    /// [`crate::batch_norm_train`]; also gives mean and biased variance, which are not differentiable.
    #[fusion(meta = |x: &TensorSpec, _: &TensorSpec, gamma: &TensorSpec, _: &TensorSpec, _: &NormOptions, _: &bool| {
        (x.clone(), gamma.clone(), gamma.clone())
    })]
    fn gpu_batch_norm_train(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        options: NormOptions,
        has_residual: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// [`crate::batch_norm_frozen`].
    #[fusion(dtype = x, shape = x)]
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
    #[fusion(dtype = x, shape = pooled_shape(x, options))]
    fn gpu_max_pool3d(x: FloatTensor<Self>, options: Pool3dOptions) -> FloatTensor<Self>;

    /// [`crate::global_average`], in the type of x.
    #[fusion(dtype = x, shape = Shape::from([x[0], x[4]]))]
    fn gpu_global_average(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// [`crate::lstm`], in either order.
    #[fusion(dtype = inputs, shape = states_shape(inputs))]
    fn gpu_lstm(
        inputs: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        order: TimeOrder,
    ) -> FloatTensor<Self>;
}

/// What needs no gradient: inference, and the gradients of [`GpuOps`].
#[backend_extension(Cube, Fusion)]
pub(crate) trait GpuPlainOps: Backend {
    /// Of a convolution in its input, `[b, t, h, w, c]`.
    #[fusion(dtype = dy, shape = Shape::from(*x_dims))]
    fn gpu_conv3d_backward_data(
        dy: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        x_dims: [usize; 5],
        options: Conv3dOptions,
    ) -> FloatTensor<Self>;

    /// Of a convolution in its weights, in `f32`.
    #[fusion(dtype = DType::F32, shape = Shape::from(*weights_dims))]
    fn gpu_conv3d_backward_weights(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        weights_dims: [usize; 5],
        options: Conv3dOptions,
    ) -> FloatTensor<Self>;

    /// Of a norm in x, the residual, gamma and beta; with the statistics of this batch, or with given ones.
    #[fusion(meta = |_: &TensorSpec, x: &TensorSpec, _: &TensorSpec, gamma: &TensorSpec, _: &TensorSpec, _: &TensorSpec, _: &TensorSpec, _: &NormOptions, _: &[bool; 2]| {
        (x.clone(), x.clone(), gamma.clone(), gamma.clone())
    })]
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
    #[fusion(dtype = x, shape = x)]
    fn gpu_affine(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        activation: Activation,
        has_residual: bool,
    ) -> FloatTensor<Self>;

    /// A maximum pooling and, of each output, the pixel of the clip that it has its value from.
    #[fusion(meta = |x: &TensorSpec, options: &Pool3dOptions| {
        let shape = pooled_shape(&x.shape, options);
        (TensorSpec::new(shape.clone(), x.dtype), TensorSpec::new(shape, DType::U32))
    })]
    fn gpu_max_pool3d_with_places(
        x: FloatTensor<Self>,
        options: Pool3dOptions,
    ) -> (FloatTensor<Self>, IntTensor<Self>);

    /// Of a maximum pooling in its input, `[b, t, h, w, c]`.
    #[fusion(dtype = dy, shape = Shape::from(*x_dims))]
    fn gpu_max_pool3d_backward(
        dy: FloatTensor<Self>,
        places: IntTensor<Self>,
        x_dims: [usize; 5],
        options: Pool3dOptions,
    ) -> FloatTensor<Self>;

    /// States and cells `[b, t, n]` of an LSTM, and its gates `[b, t, 4 * n]`.
    #[fusion(meta = |inputs: &TensorSpec, _: &TensorSpec, _: &TimeOrder| {
        let states = TensorSpec::new(states_shape(&inputs.shape), inputs.dtype);
        (states.clone(), states, inputs.clone())
    })]
    fn gpu_lstm_with_gates(
        inputs: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        order: TimeOrder,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Of an LSTM in its inputs and its weights, from those of its states.
    #[fusion(meta = |_: &TensorSpec, _: &TensorSpec, _: &TensorSpec, gates: &TensorSpec, weights: &TensorSpec, _: &TimeOrder| {
        (gates.clone(), weights.clone())
    })]
    fn gpu_lstm_backward(
        dstates: FloatTensor<Self>,
        states: FloatTensor<Self>,
        cells: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        order: TimeOrder,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

fn pooled_shape(x: &Shape, options: &Pool3dOptions) -> Shape {
    let [b, _, _, _, c] = x.dims();
    let [t, h, w] = Pool3dShape::new(x.dims(), *options).output();
    Shape::from([b, t, h, w, c])
}

fn states_shape(inputs: &Shape) -> Shape {
    let [b, t, gates] = inputs.dims();
    Shape::from([b, t, gates / 4])
}

fn output_shape(x: &Shape, weights: &Shape, options: &Conv3dOptions) -> Shape {
    Shape::from(output_dims(&Conv3dShape::new(
        x.dims(),
        weights.dims(),
        *options,
    )))
}

/// Are these activations on a GPU?
pub(crate) fn is_on_gpu<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device().without_autodiff();
    has_kernels(x.dtype()) && matches!(device.as_dispatch(), DispatchDevice::Cube(_))
}

/// Are these activations on a GPU that has a kernel of ours for this convolution?
pub(crate) fn has_convolution(x: &Tensor<5>, weights: &Tensor<5>, options: Conv3dOptions) -> bool {
    let is_depthwise = || Conv3dShape::new(x.dims(), weights.dims(), options).is_depthwise();
    is_on_gpu(x)
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
    let convolutions = match has_cudnn(cube) {
        true => "convolutions by cuDNN",
        false => "convolutions by Burn",
    };
    let dtype = has_kernels(dtype).then(|| dtype.name())?;
    Some(format!("Marey's GPU kernels, {dtype}, {convolutions}"))
}

fn has_kernels(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::BF16 | DType::F16)
}

#[cfg(feature = "cuda")]
fn has_cudnn(device: &cubecl::Device) -> bool {
    matches!(device, cubecl::Device::Cuda(_)) && super::cudnn::is_installed()
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
