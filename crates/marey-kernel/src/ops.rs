//! The operations on Burn's tensors: which device runs what.
//!
//! A public function looks at its tensors. On Burn's CPU device (`flex`), with a type that the kernels
//! take, it enters the extension trait [`VideoOps`], whose `Flex` side calls the kernels of [`raw`](crate::raw) and
//! whose `Autodiff<Flex>` side adds the hand-written gradient. On every other device, and for other
//! types, it composes the same result from Burn's own operations (in each operation's `default`),
//! which differentiate, fuse and record themselves. The extension is therefore compiled for `Flex`
//! alone, whatever other devices Burn is built with.

mod autodiff;
pub(crate) mod conv;
mod element;
mod flex;
pub(crate) mod fork;
pub(crate) mod kept;
pub(crate) mod linear;
pub(crate) mod lstm;
mod memory;
pub(crate) mod norm;
pub(crate) mod optimizer;
pub(crate) mod pool;
pub(crate) mod scale;
pub(crate) mod shift;
pub(crate) mod used;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DispatchDevice, backend_extension};
use burn::tensor::{DType, Device, Tensor};

use crate::raw::Conv3dOptions;
use crate::raw::lstm::TimeOrder;
use crate::raw::pool::{Divisor, Pool3dOptions};
use conv::FusedOptions;
use norm::NormOptions;

/// Operations on channels-last tensors that have kernels here. See the public functions of the
/// same names for shapes.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait VideoOps: Backend {
    /// [`crate::conv3d`].
    fn conv3d(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        options: Conv3dOptions,
    ) -> FloatTensor<Self>;

    /// [`crate::conv3d_fused`]; an empty residual stands for none. Not differentiable.
    fn conv3d_fused(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        how: FusedOptions,
    ) -> FloatTensor<Self>;

    /// [`crate::batch_norm_train`]; an empty residual stands for none. Also gives mean and biased
    /// variance, which are not differentiable.
    fn batch_norm_train(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// [`crate::batch_norm_frozen`]; an empty residual stands for none.
    fn batch_norm_frozen(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        options: NormOptions,
    ) -> FloatTensor<Self>;

    /// [`crate::max_pool3d`].
    fn max_pool3d(x: FloatTensor<Self>, options: Pool3dOptions) -> FloatTensor<Self>;

    /// [`crate::avg_pool3d`].
    fn avg_pool3d(
        x: FloatTensor<Self>,
        options: Pool3dOptions,
        divisor: Divisor,
    ) -> FloatTensor<Self>;

    /// [`crate::global_average`].
    fn global_average(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// [`crate::bilstm`].
    fn bilstm(
        inputs: FloatTensor<Self>,
        inputs_back: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        weights_back: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// [`crate::lstm`].
    fn lstm(inputs: FloatTensor<Self>, weights: FloatTensor<Self>) -> FloatTensor<Self>;

    /// [`crate::channel_scale`], with `f32` factors.
    fn channel_scale(x: FloatTensor<Self>, scale: FloatTensor<Self>) -> FloatTensor<Self>;

    /// [`crate::temporal_shift`], and its gradient where `order` is backward.
    fn temporal_shift(x: FloatTensor<Self>, fold: usize, order: TimeOrder) -> FloatTensor<Self>;

    /// [`crate::fork`].
    fn fork(x: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// Do the kernels take this tensor: `f32` on the CPU device?
fn has_kernels<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && has_activation_kernels(tensor)
}

/// Do the kernels take this tensor as activations: `f32`, `bf16` or `f16` on the CPU device?
fn has_activation_kernels<const D: usize>(tensor: &Tensor<D>) -> bool {
    matches!(tensor.dtype(), DType::F32 | DType::BF16 | DType::F16) && is_cpu(&tensor.device())
}

/// Is this the CPU device, with autodiff or without?
fn is_cpu(device: &Device) -> bool {
    let device = device.clone().without_autodiff();
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

/// Numbers in -0.5..0.5 that look random and are the same in every run.
#[cfg(test)]
fn noise_tensor<const D: usize>(
    dims: [usize; D],
    seed: u64,
    device: &burn::tensor::Device,
) -> Tensor<D> {
    let values = crate::raw::reference::noise(dims.iter().product(), seed);
    Tensor::from_data(burn::tensor::TensorData::new(values, dims), device) * 0.5
}
