//! What an optimiser does with a tensor.

use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;
use cubecl::server::Handle;

use super::buffers::{buffer, lanes_of};
use super::sums::{One, sum_over_y};
use crate::raw::optimizer::AdamWFactors;

#[cube(launch_unchecked)]
fn adamw_kernel<N: Size>(
    parameter: &mut [Vector<f32, N>],
    gradient: &[Vector<f32, N>],
    moment_1: &mut [Vector<f32, N>],
    moment_2: &mut [Vector<f32, N>],
    gradient_factor: f32,
    beta_1: f32,
    beta_2: f32,
    share_1: f32,
    share_2: f32,
    root: f32,
    epsilon: f32,
    kept: f32,
    step: f32,
    total: usize,
) {
    if ABSOLUTE_POS >= total {
        terminate!();
    }
    let gradient = gradient[ABSOLUTE_POS] * Vector::new(gradient_factor);
    let first = moment_1[ABSOLUTE_POS] * Vector::new(beta_1) + gradient * Vector::new(share_1);
    let second =
        moment_2[ABSOLUTE_POS] * Vector::new(beta_2) + gradient * gradient * Vector::new(share_2);
    let root = Vector::sqrt(second) * Vector::new(root) + Vector::new(epsilon);
    parameter[ABSOLUTE_POS] =
        parameter[ABSOLUTE_POS] * Vector::new(kept) - first * Vector::new(step) / root;
    moment_1[ABSOLUTE_POS] = first;
    moment_2[ABSOLUTE_POS] = second;
}

/// Changes a parameter and its moments, of `len` f32 each, where they lie.
pub(crate) fn adamw(
    client: &Client,
    [parameter, gradient, moment_1, moment_2]: [&Handle; 4],
    factors: &AdamWFactors,
    len: usize,
) {
    let lanes = lanes_of(client, f32::elem_type_native(), len, 4);
    let total = len / lanes;
    let dim = CubeDim::new(client, total);
    // SAFETY: the kernel checks its position against the number of vectors in each buffer.
    unsafe {
        adamw_kernel::launch_unchecked(
            client,
            calculate_cube_count_elemwise(client, total, dim),
            dim,
            lanes,
            buffer(parameter, len),
            buffer(gradient, len),
            buffer(moment_1, len),
            buffer(moment_2, len),
            factors.gradient,
            factors.betas[0],
            factors.betas[1],
            factors.shares[0],
            factors.shares[1],
            factors.root,
            factors.epsilon,
            factors.kept,
            factors.step,
            total,
        );
    }
}

/// `out = a * share_a + b * share_b`.
#[cube(launch_unchecked)]
fn blend_kernel(a: &[f32], b: &[f32], out: &mut [f32], share_a: f32, share_b: f32, len: usize) {
    if ABSOLUTE_POS >= len {
        terminate!();
    }
    out[ABSOLUTE_POS] = a[ABSOLUTE_POS] * share_a + b[ABSOLUTE_POS] * share_b;
}

/// `a * shares[0] + b * shares[1]`, of `len` f32 each.
pub(crate) fn blend(client: &Client, [a, b]: [&Handle; 2], shares: [f32; 2], len: usize) -> Handle {
    let dim = CubeDim::new(client, len);
    let out = client.empty(len * 4);
    // SAFETY: the kernel checks its position against the length of the buffers.
    unsafe {
        blend_kernel::launch_unchecked(
            client,
            calculate_cube_count_elemwise(client, len, dim),
            dim,
            buffer(a, len),
            buffer(b, len),
            buffer(&out, len),
            shares[0],
            shares[1],
            len,
        );
    }
    out
}

/// Threads of a cube of a sum.
const UNITS: usize = 256;

/// Cubes of the first stage of a sum, at most.
const CUBES: usize = 528;

/// A thread's sum of the values that it reads, which lie `stride` apart: of their squares, or of themselves.
#[cube]
fn sum_of(x: &[f32], start: usize, len: usize, stride: usize, #[comptime] of_squares: bool) -> f32 {
    let mut own = Vector::<f32, One>::new(0.0);
    let mut index = start;
    while index < len {
        let value = Vector::new(x[index]);
        own += if comptime!(of_squares) {
            value * value
        } else {
            value
        };
        index += stride;
    }
    sum_over_y::<One>(own, 1usize, UNITS).extract(0usize)
}

/// The sum of the squares of what each cube reads, at `first` and the places after it.
#[cube(launch_unchecked)]
fn squares_kernel(x: &[f32], sums: &mut [f32], first: usize, len: usize, stride: usize) {
    let start = CUBE_POS * UNITS + UNIT_POS as usize;
    let sum = sum_of(x, start, len, stride, true);
    if UNIT_POS == 0 {
        sums[first + CUBE_POS] = sum;
    }
}

/// The sum of `len` values, in a fixed order, by one cube.
#[cube(launch_unchecked)]
fn sum_kernel(x: &[f32], sum: &mut [f32], len: usize) {
    let all = sum_of(x, UNIT_POS as usize, len, UNITS, false);
    if UNIT_POS == 0 {
        sum[0] = all;
    }
}

/// The sum of the squares of all values of f32 tensors, given with their lengths: f32 `[1]`.
pub(crate) fn sum_of_squares(client: &Client, tensors: &[(&Handle, usize)]) -> Handle {
    let cubes_of = |len: usize| len.div_ceil(4 * UNITS).clamp(1, CUBES);
    let total: usize = tensors.iter().map(|&(_, len)| cubes_of(len)).sum();
    let (sums, sum) = (client.empty(total.max(1) * 4), client.empty(4));
    let dim = CubeDim::new_2d(1, UNITS as u32);
    let mut first = 0;
    for &(x, len) in tensors {
        let cubes = cubes_of(len);
        // SAFETY: the kernel checks its positions against the length; each cube has a place in `sums`.
        unsafe {
            squares_kernel::launch_unchecked(
                client,
                CubeCount::new_1d(cubes as u32),
                dim,
                buffer(x, len),
                buffer(&sums, total),
                first,
                len,
                cubes * UNITS,
            );
        }
        first += cubes;
    }
    // SAFETY: the kernel checks its positions against the length.
    unsafe {
        sum_kernel::launch_unchecked(
            client,
            CubeCount::new_single(),
            dim,
            buffer(&sums, total),
            buffer(&sum, 1),
            total,
        );
    }
    sum
}
