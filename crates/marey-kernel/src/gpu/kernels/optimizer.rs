//! What an optimiser does with a tensor.

use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;
use cubecl::server::Handle;

use super::common::{buffer, lanes_of, sum_over_y};
use crate::raw::optimizer::AdamWFactors;

#[cube(launch_unchecked)]
fn adamw_kernel<N: Size>(
    parameter: &[Vector<f32, N>],
    gradient: &[Vector<f32, N>],
    moment_1: &[Vector<f32, N>],
    moment_2: &[Vector<f32, N>],
    new_parameter: &mut [Vector<f32, N>],
    new_moment_1: &mut [Vector<f32, N>],
    new_moment_2: &mut [Vector<f32, N>],
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
    new_parameter[ABSOLUTE_POS] =
        parameter[ABSOLUTE_POS] * Vector::new(kept) - first * Vector::new(step) / root;
    new_moment_1[ABSOLUTE_POS] = first;
    new_moment_2[ABSOLUTE_POS] = second;
}

/// Parameter and both moments after a step, of `len` f32 each, from parameter, gradient and moments.
pub(crate) fn adamw(
    client: &Client,
    [parameter, gradient, moment_1, moment_2]: [&Handle; 4],
    factors: &AdamWFactors,
    len: usize,
) -> [Handle; 3] {
    let lanes = lanes_of(client, f32::elem_type_native(), len, 4);
    let total = len / lanes;
    let dim = CubeDim::new(client, total);
    let outputs = [(); 3].map(|()| client.empty(len * 4));
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
            buffer(&outputs[0], len),
            buffer(&outputs[1], len),
            buffer(&outputs[2], len),
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
    outputs
}

/// Threads of a cube of a sum.
const UNITS: usize = 256;

/// Cubes of the first stage of a sum, at most.
const CUBES: usize = 264;

/// The sum of the squares of what each cube reads: vectors that lie `stride` apart.
#[cube(launch_unchecked)]
fn squares_kernel<N: Size>(
    x: &[Vector<f32, N>],
    sums: &mut [Vector<f32, N>],
    total: usize,
    stride: usize,
) {
    let mut sum = Vector::<f32, N>::new(0.0);
    let mut index = CUBE_POS as usize * UNITS + UNIT_POS as usize;
    while index < total {
        sum += x[index] * x[index];
        index += stride;
    }
    let sum = sum_over_y::<N>(sum, 1usize, UNITS);
    if UNIT_POS == 0 {
        sums[CUBE_POS as usize] = sum;
    }
}

/// The sum of `len` values, in a fixed order, by one cube.
#[cube(launch_unchecked)]
fn sum_kernel(x: &[f32], sum: &mut [f32], len: usize) {
    let mut own = Vector::<f32, Const<1>>::new(0.0);
    let mut index = UNIT_POS as usize;
    while index < len {
        own += Vector::new(x[index]);
        index += UNITS;
    }
    let own = sum_over_y::<Const<1>>(own, 1usize, UNITS);
    if UNIT_POS == 0 {
        sum[0] = own.extract(0usize);
    }
}

/// The sum of the squares of `len` f32 values: f32 `[1]`.
pub(crate) fn sum_of_squares(client: &Client, x: &Handle, len: usize) -> Handle {
    let lanes = lanes_of(client, f32::elem_type_native(), len, 4);
    let total = len / lanes;
    let cubes = total.div_ceil(UNITS).clamp(1, CUBES);
    let (sums, sum) = (client.empty(cubes * lanes * 4), client.empty(4));
    let dim = CubeDim::new_2d(1, UNITS as u32);
    // SAFETY: both kernels check their positions against the lengths given here.
    unsafe {
        squares_kernel::launch_unchecked(
            client,
            CubeCount::new_1d(cubes as u32),
            dim,
            lanes,
            buffer(x, len),
            buffer(&sums, cubes * lanes),
            total,
            cubes * UNITS,
        );
        sum_kernel::launch_unchecked(
            client,
            CubeCount::new_single(),
            dim,
            buffer(&sums, cubes * lanes),
            buffer(&sum, 1),
            cubes * lanes,
        );
    }
    sum
}
