//! Batch normalisation, its activation and its gradients over `[rows, c]`, channels last.
//!
//! Sums over rows take two stages in a fixed order, without atomics, so that runs repeat.

use super::common::{Gather, Spread, activate, activate_backward, buffer, lanes_of, sum_over_y};
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;
use cubecl::server::Handle;

use crate::raw::Activation;

const UNITS: usize = 256;
const CUBES: usize = 528;

/// One lane.
type One = Const<1>;

/// How many values were seen, their mean and the sum of their squared distances from it.
#[derive(CubeType, Clone, Copy)]
struct Moments<N: Size> {
    count: f32,
    mean: Vector<f32, N>,
    m2: Vector<f32, N>,
}

/// Chan's formula for the moments of two sets together.
#[cube]
fn merge<N: Size>(a: Moments<N>, b: Moments<N>) -> Moments<N> {
    let count = a.count + b.count;
    let share = b.count / max(count, 1.0f32);
    let delta = b.mean - a.mean;
    Moments::<N> {
        count,
        mean: a.mean + delta * Vector::new(share),
        m2: a.m2 + b.m2 + delta * delta * Vector::new(a.count * share),
    }
}

/// Merges the moments of the threads that share `UNIT_POS_X` into those of `UNIT_POS_Y == 0`.
#[cube]
fn merge_over_y<N: Size>(
    own: Moments<N>,
    #[comptime] width: usize,
    #[comptime] height: usize,
) -> Moments<N> {
    let mut counts = Shared::<[f32]>::new_slice(comptime!(width * height));
    let mut means = Shared::<[Vector<f32, N>]>::new_slice(comptime!(width * height));
    let mut m2s = Shared::<[Vector<f32, N>]>::new_slice(comptime!(width * height));
    let unit = UNIT_POS as usize;
    counts[unit] = own.count;
    means[unit] = own.mean;
    m2s[unit] = own.m2;
    #[unroll]
    for level in 0..comptime!(height.ilog2()) {
        let step = comptime!(height >> (level + 1));
        sync_cube();
        if (UNIT_POS_Y as usize) < step {
            let other = unit + step * width;
            let both = merge::<N>(
                Moments::<N> {
                    count: counts[unit],
                    mean: means[unit],
                    m2: m2s[unit],
                },
                Moments::<N> {
                    count: counts[other],
                    mean: means[other],
                    m2: m2s[other],
                },
            );
            counts[unit] = both.count;
            means[unit] = both.mean;
            m2s[unit] = both.m2;
        }
    }
    Moments::<N> {
        count: counts[unit],
        mean: means[unit],
        m2: m2s[unit],
    }
}

/// Stage one: the mean and the squared distances of each chunk of rows, by Welford's updates.
#[cube(launch_unchecked)]
fn moments_of_chunks<E: Float, N: Size>(
    x: &[Vector<E, N>],
    means: &mut [Vector<f32, N>],
    m2s: &mut [Vector<f32, N>],
    rows: usize,
    vectors: usize,
    rows_per_chunk: usize,
    #[comptime] width: usize,
    #[comptime] height: usize,
    #[define(E)] _dtype: ElemType,
) {
    let vector = CUBE_POS_X as usize * width + UNIT_POS_X as usize;
    let chunk = CUBE_POS_Y as usize;
    let end = min((chunk + 1) * rows_per_chunk, rows);
    let mut count = 0.0f32;
    let mut mean = Vector::<f32, N>::new(0.0);
    let mut m2 = Vector::<f32, N>::new(0.0);
    if vector < vectors {
        let mut row = chunk * rows_per_chunk + UNIT_POS_Y as usize;
        while row < end {
            let value = Vector::<f32, N>::cast_from(x[row * vectors + vector]);
            count += 1.0f32;
            let delta = value - mean;
            mean += delta * Vector::new(1.0f32 / count);
            m2 += delta * (value - mean);
            row += height;
        }
    }
    let all = merge_over_y::<N>(Moments::<N> { count, mean, m2 }, width, height);
    if vector < vectors && UNIT_POS_Y == 0 {
        means[chunk * vectors + vector] = all.mean;
        m2s[chunk * vectors + vector] = all.m2;
    }
}

/// Stage two: the mean and the biased variance over all chunks.
#[cube(launch_unchecked)]
fn moments_of_all(
    means: &[f32],
    m2s: &[f32],
    mean: &mut [f32],
    variance: &mut [f32],
    rows: usize,
    c: usize,
    chunks: usize,
    rows_per_chunk: usize,
    #[comptime] width: usize,
    #[comptime] height: usize,
) {
    let channel = CUBE_POS_X as usize * width + UNIT_POS_X as usize;
    let mut own = Moments::<One> {
        count: 0.0f32,
        mean: Vector::new(0.0f32),
        m2: Vector::new(0.0f32),
    };
    if channel < c {
        let mut chunk = UNIT_POS_Y as usize;
        while chunk < chunks {
            let count = min(rows - chunk * rows_per_chunk, rows_per_chunk);
            let both = merge::<One>(
                Moments::<One> {
                    count: own.count,
                    mean: own.mean,
                    m2: own.m2,
                },
                Moments::<One> {
                    count: f32::cast_from(count),
                    mean: Vector::new(means[chunk * c + channel]),
                    m2: Vector::new(m2s[chunk * c + channel]),
                },
            );
            own.count = both.count;
            own.mean = both.mean;
            own.m2 = both.m2;
            chunk += height;
        }
    }
    let all = merge_over_y::<One>(own, width, height);
    if channel < c && UNIT_POS_Y == 0 {
        mean[channel] = all.mean.extract(0usize);
        variance[channel] = all.m2.extract(0usize) / f32::cast_from(rows);
    }
}

/// The mean and the biased variance of each channel of `x` `[rows, c]` of `dtype`: two f32 `[c]`.
pub(crate) fn batch_statistics(
    client: &Client,
    x: &Handle,
    dtype: ElemType,
    rows: usize,
    c: usize,
) -> (Handle, Handle) {
    let lanes = lanes_of(client, dtype, c, 8);
    let vectors = c / lanes;
    let spread = Spread::new(rows, vectors, UNITS, CUBES);
    let partial = spread.chunks * c;
    let (means, m2s) = (client.empty(partial * 4), client.empty(partial * 4));
    let (mean, variance) = (client.empty(c * 4), client.empty(c * 4));
    let gather = Gather::new(spread.chunks, c);
    // SAFETY: both kernels check their bounds against the sizes given here.
    unsafe {
        moments_of_chunks::launch_unchecked(
            client,
            spread.count(),
            spread.dim(),
            lanes,
            buffer(x, rows * c),
            buffer(&means, partial),
            buffer(&m2s, partial),
            rows,
            vectors,
            spread.rows_per_chunk,
            spread.width,
            spread.height,
            dtype,
        );
        moments_of_all::launch_unchecked(
            client,
            gather.count(),
            gather.dim(),
            buffer(&means, partial),
            buffer(&m2s, partial),
            buffer(&mean, c),
            buffer(&variance, c),
            rows,
            c,
            spread.chunks,
            spread.rows_per_chunk,
            gather.width,
            gather.height,
        );
    }
    (mean, variance)
}

/// How an elementwise kernel walks `[rows, vectors]`: each thread keeps one vector of channels
/// and takes `repeat` rows that lie `stride` vectors apart, so that the values of its channels
/// are loaded once.
struct Walk {
    lanes: usize,
    vectors: usize,
    total: usize,
    stride: usize,
    repeat: usize,
    count: CubeCount,
    dim: CubeDim,
}

impl Walk {
    fn new(client: &Client, dtype: ElemType, rows: usize, c: usize) -> Self {
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
fn with_residual<E: Float, N: Size>(
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
fn inverse_deviation<N: Size>(variance: Vector<f32, N>, epsilon: f32) -> Vector<f32, N> {
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
    let (dgammas, dbetas) = (client.empty(partial * 4), client.empty(partial * 4));
    let (dgamma, dbeta) = (client.empty(c * 4), client.empty(c * 4));
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
