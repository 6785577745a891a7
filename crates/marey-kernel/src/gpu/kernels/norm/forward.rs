//! Normalising, and an affine map with an activation.

use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;
use cubecl::server::Handle;

use super::super::activation::activate;
use super::super::buffers::{buffer, lanes_of};
use crate::raw::Activation;

/// How an elementwise kernel walks `[rows, vectors]`: each thread keeps one vector of channels
/// and takes `repeat` rows that lie `stride` vectors apart, so that the values of its channels
/// are loaded once.
pub(super) struct Walk {
    pub(super) lanes: usize,
    pub(super) vectors: usize,
    pub(super) total: usize,
    pub(super) stride: usize,
    pub(super) repeat: usize,
    pub(super) count: CubeCount,
    pub(super) dim: CubeDim,
}

impl Walk {
    pub(super) fn new(client: &Client, dtype: ElemType, rows: usize, c: usize) -> Self {
        let lanes = lanes_of(client, dtype, c, 8);
        let vectors = c / lanes;
        let total = rows * vectors;
        let repeat = if total >= 1 << 20 { 4 } else { 1 };
        let stride = rows.div_ceil(repeat) * vectors;
        let dim = CubeDim::new(client, stride);
        let count = calculate_cube_count_elemwise(client, stride, dim);
        Self {
            lanes,
            vectors,
            total,
            stride,
            repeat,
            count,
            dim,
        }
    }
}

/// `z` plus the residual at `index`, if there is one.
#[cube]
pub(super) fn with_residual<E: Float, N: Size>(
    z: Vector<f32, N>,
    residual: ComptimeOption<&[Vector<E, N>]>,
    index: usize,
) -> Vector<f32, N> {
    if residual.is_some() {
        let residual = residual.unwrap();
        z + Vector::<f32, N>::cast_from(residual[index])
    } else {
        z
    }
}

#[cube]
pub(super) fn inverse_deviation<N: Size>(variance: Vector<f32, N>, epsilon: f32) -> Vector<f32, N> {
    Vector::inverse_sqrt(variance + Vector::new(epsilon))
}

#[cube(launch_unchecked)]
fn normalize_kernel<E: Float, N: Size>(
    x: &[Vector<E, N>],
    residual: ComptimeOption<&[Vector<E, N>]>,
    gamma: &[Vector<f32, N>],
    beta: &[Vector<f32, N>],
    mean: &[Vector<f32, N>],
    variance: &[Vector<f32, N>],
    y: &mut [Vector<E, N>],
    epsilon: f32,
    vectors: usize,
    total: usize,
    stride: usize,
    #[comptime] repeat: usize,
    #[comptime] activation: Activation,
    #[define(E)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= stride {
        terminate!();
    }
    let vector = ABSOLUTE_POS % vectors;
    let scale = gamma[vector] * inverse_deviation::<N>(variance[vector], epsilon);
    let center = mean[vector];
    let shift = beta[vector];
    #[unroll]
    for turn in 0..repeat {
        let index = ABSOLUTE_POS + turn * stride;
        if index < total {
            let z = (Vector::<f32, N>::cast_from(x[index]) - center) * scale + shift;
            let z = with_residual::<E, N>(z, residual, index);
            y[index] = Vector::cast_from(activate::<N>(z, activation));
        }
    }
}

/// What [`normalize`] was given, for its gradients: `x` and `residual` `[rows, c]` of `dtype`,
/// the rest f32 `[c]`.
#[derive(Clone, Copy)]
pub(crate) struct Normalized<'a> {
    /// What was normalised.
    pub(crate) x: &'a Handle,
    /// What was added before the activation.
    pub(crate) residual: Option<&'a Handle>,
    /// The scale.
    pub(crate) gamma: &'a Handle,
    /// The shift.
    pub(crate) beta: &'a Handle,
    /// The mean.
    pub(crate) mean: &'a Handle,
    /// The biased variance.
    pub(crate) variance: &'a Handle,
    /// What the variance was raised by.
    pub(crate) epsilon: f32,
    /// What followed.
    pub(crate) activation: Activation,
    /// The type of the activations.
    pub(crate) dtype: ElemType,
    /// All but the last extent.
    pub(crate) rows: usize,
    /// The channels.
    pub(crate) c: usize,
}

/// `y = act((x - mean) * gamma / sqrt(variance + epsilon) + beta + residual)` over `[rows, c]`, of the type of `x`.
pub(crate) fn normalize(client: &Client, of: Normalized) -> Handle {
    let Normalized { rows, c, dtype, .. } = of;
    let walk = Walk::new(client, dtype, rows, c);
    let y = client.empty(rows * c * dtype.size());
    // SAFETY: the kernel checks its bounds against the sizes given here.
    unsafe {
        normalize_kernel::launch_unchecked(
            client,
            walk.count,
            walk.dim,
            walk.lanes,
            buffer(of.x, rows * c),
            of.residual.map(|handle| buffer(handle, rows * c)).into(),
            buffer(of.gamma, c),
            buffer(of.beta, c),
            buffer(of.mean, c),
            buffer(of.variance, c),
            buffer(&y, rows * c),
            of.epsilon,
            walk.vectors,
            walk.total,
            walk.stride,
            walk.repeat,
            of.activation,
            dtype,
        );
    }
    y
}

#[cube(launch_unchecked)]
fn affine_kernel<E: Float, N: Size>(
    x: &[Vector<E, N>],
    residual: ComptimeOption<&[Vector<E, N>]>,
    gamma: &[Vector<f32, N>],
    beta: &[Vector<f32, N>],
    y: &mut [Vector<E, N>],
    vectors: usize,
    total: usize,
    stride: usize,
    #[comptime] repeat: usize,
    #[comptime] activation: Activation,
    #[define(E)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= stride {
        terminate!();
    }
    let vector = ABSOLUTE_POS % vectors;
    let scale = gamma[vector];
    let shift = beta[vector];
    #[unroll]
    for turn in 0..repeat {
        let index = ABSOLUTE_POS + turn * stride;
        if index < total {
            let z = Vector::<f32, N>::cast_from(x[index]) * scale + shift;
            let z = with_residual::<E, N>(z, residual, index);
            y[index] = Vector::cast_from(activate::<N>(z, activation));
        }
    }
}

/// `y = act(x * gamma + beta + residual)` over `[rows, c]`: what follows a convolution whose
/// normalisation has been folded.
///
/// `x`, `residual` and the answer are of `dtype`; `gamma` and `beta` are f32 `[c]`.
#[allow(clippy::too_many_arguments)]
pub(crate) fn affine(
    client: &Client,
    x: &Handle,
    gamma: &Handle,
    beta: &Handle,
    residual: Option<&Handle>,
    activation: Activation,
    dtype: ElemType,
    rows: usize,
    c: usize,
) -> Handle {
    let walk = Walk::new(client, dtype, rows, c);
    let y = client.empty(rows * c * dtype.size());
    // SAFETY: the kernel checks its bounds against the sizes given here.
    unsafe {
        affine_kernel::launch_unchecked(
            client,
            walk.count,
            walk.dim,
            walk.lanes,
            buffer(x, rows * c),
            residual.map(|handle| buffer(handle, rows * c)).into(),
            buffer(gamma, c),
            buffer(beta, c),
            buffer(&y, rows * c),
            walk.vectors,
            walk.total,
            walk.stride,
            walk.repeat,
            activation,
            dtype,
        );
    }
    y
}
