//! The gradients of normalising.

use cubecl::prelude::*;
use cubecl::server::Handle;

use super::super::activation::activate_backward;
use super::super::buffers::{buffer, lanes_of, pieces};
use super::super::sums::{Gather, One, Spread, sum_over_y};
use super::forward::{Normalized, Walk, inverse_deviation, with_residual};
use super::{CUBES, UNITS};
use crate::raw::Activation;

/// Stage one of the sums over rows of `dz` and `dz * xhat`, where `dz = dy * act'(z)`.
#[cube(launch_unchecked)]
fn gradient_sums_of_chunks<E: Float, N: Size>(
    dy: &[Vector<E, N>],
    x: &[Vector<E, N>],
    residual: ComptimeOption<&[Vector<E, N>]>,
    gamma: &[Vector<f32, N>],
    beta: &[Vector<f32, N>],
    mean: &[Vector<f32, N>],
    variance: &[Vector<f32, N>],
    dgammas: &mut [Vector<f32, N>],
    dbetas: &mut [Vector<f32, N>],
    epsilon: f32,
    rows: usize,
    vectors: usize,
    rows_per_chunk: usize,
    #[comptime] width: usize,
    #[comptime] height: usize,
    #[comptime] activation: Activation,
    #[define(E)] _dtype: ElemType,
) {
    let vector = CUBE_POS_X as usize * width + UNIT_POS_X as usize;
    let chunk = CUBE_POS_Y as usize;
    let end = min((chunk + 1) * rows_per_chunk, rows);
    let mut dgamma = Vector::<f32, N>::new(0.0);
    let mut dbeta = Vector::<f32, N>::new(0.0);
    if vector < vectors {
        let inverse = inverse_deviation::<N>(variance[vector], epsilon);
        let center = mean[vector];
        let scale = gamma[vector];
        let shift = beta[vector];
        let mut row = chunk * rows_per_chunk + UNIT_POS_Y as usize;
        while row < end {
            let index = row * vectors + vector;
            let xhat = (Vector::<f32, N>::cast_from(x[index]) - center) * inverse;
            let z = with_residual::<E, N>(xhat * scale + shift, residual, index);
            let dz = activate_backward::<N>(Vector::cast_from(dy[index]), z, activation);
            dbeta += dz;
            dgamma += dz * xhat;
            row += height;
        }
    }
    let dgamma = sum_over_y::<N>(dgamma, width, height);
    let dbeta = sum_over_y::<N>(dbeta, width, height);
    if vector < vectors && UNIT_POS_Y == 0 {
        dgammas[chunk * vectors + vector] = dgamma;
        dbetas[chunk * vectors + vector] = dbeta;
    }
}

/// Stage two: both sums over the chunks at once.
#[cube(launch_unchecked)]
fn gradient_sums_of_all(
    dgammas: &[f32],
    dbetas: &[f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
    chunks: usize,
    c: usize,
    #[comptime] width: usize,
    #[comptime] height: usize,
) {
    let channel = CUBE_POS_X as usize * width + UNIT_POS_X as usize;
    let mut a = Vector::<f32, One>::new(0.0f32);
    let mut b = Vector::<f32, One>::new(0.0f32);
    if channel < c {
        let mut chunk = UNIT_POS_Y as usize;
        while chunk < chunks {
            a += Vector::new(dgammas[chunk * c + channel]);
            b += Vector::new(dbetas[chunk * c + channel]);
            chunk += height;
        }
    }
    let a = sum_over_y::<One>(a, width, height);
    let b = sum_over_y::<One>(b, width, height);
    if channel < c && UNIT_POS_Y == 0 {
        dgamma[channel] = a.extract(0usize);
        dbeta[channel] = b.extract(0usize);
    }
}

/// `dx` and, where there is a residual, `dresidual = dz`.
#[cube(launch_unchecked)]
fn normalize_backward_kernel<E: Float, N: Size>(
    dy: &[Vector<E, N>],
    x: &[Vector<E, N>],
    residual: ComptimeOption<&[Vector<E, N>]>,
    gamma: &[Vector<f32, N>],
    beta: &[Vector<f32, N>],
    mean: &[Vector<f32, N>],
    variance: &[Vector<f32, N>],
    dgamma: &[Vector<f32, N>],
    dbeta: &[Vector<f32, N>],
    dx: &mut [Vector<E, N>],
    mut dresidual: ComptimeOption<&mut [Vector<E, N>]>,
    epsilon: f32,
    share: f32,
    vectors: usize,
    total: usize,
    stride: usize,
    #[comptime] by_batch: bool,
    #[comptime] repeat: usize,
    #[comptime] activation: Activation,
    #[define(E)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= stride {
        terminate!();
    }
    let vector = ABSOLUTE_POS % vectors;
    let inverse = inverse_deviation::<N>(variance[vector], epsilon);
    let center = mean[vector];
    let scale = gamma[vector];
    let shift = beta[vector];
    let mean_dz = dbeta[vector] * Vector::new(share);
    let mean_dz_xhat = dgamma[vector] * Vector::new(share);
    #[unroll]
    for turn in 0..repeat {
        let index = ABSOLUTE_POS + turn * stride;
        if index < total {
            let xhat = (Vector::<f32, N>::cast_from(x[index]) - center) * inverse;
            let z = with_residual::<E, N>(xhat * scale + shift, residual, index);
            let dz = activate_backward::<N>(Vector::cast_from(dy[index]), z, activation);
            let inner = if comptime!(by_batch) {
                dz - mean_dz - xhat * mean_dz_xhat
            } else {
                dz
            };
            dx[index] = Vector::cast_from(scale * inverse * inner);
            if dresidual.is_some() {
                let out = dresidual.as_mut().unwrap();
                out[index] = Vector::cast_from(dz);
            }
        }
    }
}

/// What [`normalize_backward`] answers.
pub(crate) struct NormalizeGradients {
    /// The gradient of `x`, `[rows, c]`.
    pub(crate) dx: Handle,
    /// The gradient of the residual, `[rows, c]`, where there was one.
    pub(crate) dresidual: Option<Handle>,
    /// The gradient of `gamma`, f32 `[c]`.
    pub(crate) dgamma: Handle,
    /// The gradient of `beta`, f32 `[c]`.
    pub(crate) dbeta: Handle,
}

/// The sums over rows of `dz * xhat` and of `dz`: `dgamma` and `dbeta`, f32 `[c]`.
fn gradient_sums(client: &Client, dy: &Handle, of: Normalized) -> (Handle, Handle) {
    let Normalized { rows, c, .. } = of;
    let lanes = lanes_of(client, of.dtype, c, 8);
    let spread = Spread::new(rows, c / lanes, UNITS, CUBES);
    let partial = spread.chunks * c;
    let [dgammas, dbetas] = pieces(client, partial * 4);
    let [dgamma, dbeta] = pieces(client, c * 4);
    let gather = Gather::new(spread.chunks, c);
    // SAFETY: both kernels check their bounds against the sizes given here.
    unsafe {
        gradient_sums_of_chunks::launch_unchecked(
            client,
            spread.count(),
            spread.dim(),
            lanes,
            buffer(dy, rows * c),
            buffer(of.x, rows * c),
            of.residual.map(|handle| buffer(handle, rows * c)).into(),
            buffer(of.gamma, c),
            buffer(of.beta, c),
            buffer(of.mean, c),
            buffer(of.variance, c),
            buffer(&dgammas, partial),
            buffer(&dbetas, partial),
            of.epsilon,
            rows,
            c / lanes,
            spread.rows_per_chunk,
            spread.width,
            spread.height,
            of.activation,
            of.dtype,
        );
        gradient_sums_of_all::launch_unchecked(
            client,
            gather.count(),
            gather.dim(),
            buffer(&dgammas, partial),
            buffer(&dbetas, partial),
            buffer(&dgamma, c),
            buffer(&dbeta, c),
            spread.chunks,
            c,
            gather.width,
            gather.height,
        );
    }
    (dgamma, dbeta)
}

/// The gradients of [`normalize`]: `dz = dy * act'(z)` with `z` computed again from what
/// `normalize` was given.
///
/// With `by_batch` the mean and the variance came from `x` itself (training) and their gradients
/// are part of `dx`; without, they were constants.
pub(crate) fn normalize_backward(
    client: &Client,
    dy: &Handle,
    of: Normalized,
    by_batch: bool,
) -> NormalizeGradients {
    let Normalized { rows, c, dtype, .. } = of;
    let (dgamma, dbeta) = gradient_sums(client, dy, of);
    let walk = Walk::new(client, dtype, rows, c);
    let bytes = rows * c * dtype.size();
    let dx = client.empty(bytes);
    let dresidual = of.residual.map(|_| client.empty(bytes));
    // SAFETY: the kernel checks its bounds against the sizes given here.
    unsafe {
        normalize_backward_kernel::launch_unchecked(
            client,
            walk.count,
            walk.dim,
            walk.lanes,
            buffer(dy, rows * c),
            buffer(of.x, rows * c),
            of.residual.map(|handle| buffer(handle, rows * c)).into(),
            buffer(of.gamma, c),
            buffer(of.beta, c),
            buffer(of.mean, c),
            buffer(of.variance, c),
            buffer(&dgamma, c),
            buffer(&dbeta, c),
            buffer(&dx, rows * c),
            dresidual
                .as_ref()
                .map(|handle| buffer(handle, rows * c))
                .into(),
            of.epsilon,
            1.0 / rows as f32,
            walk.vectors,
            walk.total,
            walk.stride,
            by_batch,
            walk.repeat,
            of.activation,
            dtype,
        );
    }
    NormalizeGradients {
        dx,
        dresidual,
        dgamma,
        dbeta,
    }
}
