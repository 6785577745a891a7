//! The operations on Burn's tensors, as the public functions call them.

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;

use super::ops::{GpuOps, GpuPlainOps};
use super::optimizer::{self, GpuOptimizerOps};
use crate::ops::norm::{Affine, NormOptions, Statistics};
use crate::raw::lstm::TimeOrder;
use crate::raw::optimizer::AdamWStep;
use crate::raw::pool::Pool3dOptions;
use crate::raw::{Activation, Conv3dOptions};

/// [`crate::conv3d`] where [`has_convolution`](super::has_convolution).
pub(crate) fn conv3d(x: Tensor<5>, weights: Tensor<5>, options: Conv3dOptions) -> Tensor<5> {
    let (x, weights) = (x.into_dispatch(), weights.into_dispatch());
    Tensor::from_dispatch(<Dispatch as GpuOps>::gpu_conv3d(x, weights, options))
}

/// [`crate::batch_norm_train`].
pub(crate) fn batch_norm_train(
    x: Tensor<5>,
    residual: Option<Tensor<5>>,
    Affine { gamma, beta }: Affine,
    options: NormOptions,
) -> (Tensor<5>, Statistics) {
    let has_residual = residual.is_some();
    let residual = residual.unwrap_or_else(|| x.clone()).into_dispatch();
    let (y, mean, variance) = <Dispatch as GpuOps>::gpu_batch_norm_train(
        x.into_dispatch(),
        residual,
        gamma.into_dispatch(),
        beta.into_dispatch(),
        options,
        has_residual,
    );
    let statistics = Statistics {
        mean: Tensor::from_dispatch(mean),
        variance: Tensor::from_dispatch(variance),
    };
    (Tensor::from_dispatch(y), statistics)
}

/// [`crate::batch_norm_frozen`].
pub(crate) fn batch_norm_frozen(
    x: Tensor<5>,
    residual: Option<Tensor<5>>,
    Affine { gamma, beta }: Affine,
    Statistics { mean, variance }: Statistics,
    options: NormOptions,
) -> Tensor<5> {
    let has_residual = residual.is_some();
    let residual = residual.unwrap_or_else(|| x.clone()).into_dispatch();
    Tensor::from_dispatch(<Dispatch as GpuOps>::gpu_batch_norm_frozen(
        x.into_dispatch(),
        residual,
        gamma.into_dispatch(),
        beta.into_dispatch(),
        mean.into_dispatch(),
        variance.into_dispatch(),
        options,
        has_residual,
    ))
}

/// `activation(x * gamma + beta + residual)`; not differentiable.
pub(crate) fn affine(
    x: Tensor<5>,
    residual: Option<Tensor<5>>,
    [gamma, beta]: [Tensor<1>; 2],
    activation: Activation,
) -> Tensor<5> {
    let has_residual = residual.is_some();
    let residual = residual.unwrap_or_else(|| x.clone()).into_dispatch();
    Tensor::from_dispatch(<Dispatch as GpuPlainOps>::gpu_affine(
        x.into_dispatch(),
        residual,
        gamma.into_dispatch(),
        beta.into_dispatch(),
        activation,
        has_residual,
    ))
}

/// [`crate::adamw`] of `f32` tensors.
pub(crate) fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    [moment_1, moment_2]: [Tensor<D>; 2],
    step: AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let (parameter, moment_1, moment_2) = <Dispatch as GpuOptimizerOps>::gpu_adamw(
        parameter.into_dispatch(),
        gradient.into_dispatch(),
        moment_1.into_dispatch(),
        moment_2.into_dispatch(),
        step,
    );
    let moments = [moment_1, moment_2].map(Tensor::from_dispatch);
    (Tensor::from_dispatch(parameter), moments)
}

/// [`crate::sum_of_squares`] of `f32` tensors.
pub(crate) fn sum_of_squares(tensors: Vec<Tensor<1>>) -> Tensor<1> {
    let primitive = |tensor: Tensor<1>| {
        let tensor = tensor.try_into_primitive::<CubeBackend>();
        tensor.expect("a tensor on a GPU")
    };
    let tensors = tensors.into_iter().map(primitive).collect();
    Tensor::from_primitive::<CubeBackend>(optimizer::sum_of_squares(tensors))
}

/// [`crate::blend`] of `f32` tensors.
pub(crate) fn blend<const D: usize>(a: Tensor<D>, b: Tensor<D>, shares: [f64; 2]) -> Tensor<D> {
    let (a, b) = (a.into_dispatch(), b.into_dispatch());
    Tensor::from_dispatch(<Dispatch as GpuOptimizerOps>::gpu_blend(a, b, shares))
}

/// [`crate::max_pool3d`].
pub(crate) fn max_pool3d(x: Tensor<5>, options: Pool3dOptions) -> Tensor<5> {
    let y = <Dispatch as GpuOps>::gpu_max_pool3d(x.into_dispatch(), options);
    Tensor::from_dispatch(y)
}

/// [`crate::global_average`], in the type of x.
pub(crate) fn global_average(x: Tensor<5>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as GpuOps>::gpu_global_average(x.into_dispatch()))
}

/// [`crate::lstm`] of `f32` tensors, in either order.
pub(crate) fn lstm(inputs: Tensor<3>, weights: Tensor<2>, order: TimeOrder) -> Tensor<3> {
    let (inputs, weights) = (inputs.into_dispatch(), weights.into_dispatch());
    Tensor::from_dispatch(<Dispatch as GpuOps>::gpu_lstm(inputs, weights, order))
}
