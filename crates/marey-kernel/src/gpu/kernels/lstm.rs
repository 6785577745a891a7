//! The recurrence of an LSTM over clips of frames, and its gradients, in f32.
//!
//! With `inputs` what the gates of each frame get from outside (biases included), each step is
//! `gates = inputs[frame] + weights . state`, then `cell = f * cell + i * g` and
//! `state = o * tanh(cell)`. The gates stand in the order input, forget, cell (`g`), output; the
//! state and the cell start as zero. One cube takes one clip and loops over its frames; a
//! `reverse` recurrence reads them from last to first, and its outputs stand in frame order all
//! the same. Sums have a fixed order, so that runs repeat exactly.

use super::activation::activate;
use super::buffers::{buffer, lanes_of};
use super::sums::sum_over_y;
use crate::raw::Activation;
use cubecl::calculate_cube_count_elemwise;
use cubecl::ir::FloatKind;
use cubecl::prelude::*;
use cubecl::server::Handle;

/// The four gates of a cell as one vector.
type Four = Const<4>;

/// The most threads that share one dot product.
const SLICES: usize = 8;

/// The threads of a cube in [`backward_weights`]: vectors of a row, and shares of the frames.
const WIDTH: usize = 32;
const HEIGHT: usize = 8;

/// How the threads of a cube share `n` columns of dot products of length `n`: `width` columns at
/// a time, and `slices` threads per column, each of which takes `n / slices` of its products.
struct Split {
    width: usize,
    slices: usize,
}

impl Split {
    fn new(client: &Client, n: usize) -> Self {
        let hardware = &client.properties().hardware;
        let units = (hardware.max_units_per_cube as usize).min(1024);
        // Per cell, forward takes 8 bytes and 16 per slice; backward 20 and 4, never more.
        let memory = hardware.max_shared_memory_size.min(48 * 1024);
        let most = (memory / n).saturating_sub(8) / 16;
        assert!(
            most > 0,
            "an LSTM of {n} cells needs more shared memory than the device has"
        );
        let fits = |s: &usize| n.is_multiple_of(*s) && s * n <= units && *s <= most;
        Self {
            width: n.min(units),
            slices: (1..=SLICES).rev().find(fits).unwrap_or(1),
        }
    }

    fn dim(&self) -> CubeDim {
        CubeDim::new_2d(self.width as u32, self.slices as u32)
    }
}

/// The frame that the recurrence reads at `step`.
#[cube]
fn frame_at(step: usize, t: usize, #[comptime] reverse: bool) -> usize {
    if comptime!(reverse) {
        t - 1 - step
    } else {
        step
    }
}

/// `packed[k, j] = (weights[gate * n + j, k] for each gate)`.
#[cube(launch_unchecked)]
fn pack(weights: &[f32], packed: &mut [Vector<f32, Four>], n: usize) {
    if ABSOLUTE_POS >= n * n {
        terminate!();
    }
    let j = ABSOLUTE_POS / n;
    let k = ABSOLUTE_POS % n;
    packed[k * n + j] = four(weights, ABSOLUTE_POS, n * n);
}

/// The four values that lie `stride` apart from `start` on.
#[cube]
fn four(values: &[f32], start: usize, stride: usize) -> Vector<f32, Four> {
    let mut all = Vector::<f32, Four>::new(values[start]);
    #[unroll]
    for gate in 1..4usize {
        all.insert(gate, values[start + gate * stride]);
    }
    all
}

/// Writes four values `stride` apart from `start` on.
#[cube]
fn put_four(values: &mut [f32], start: usize, stride: usize, all: Vector<f32, Four>) {
    #[unroll]
    for gate in 0..4usize {
        values[start + gate * stride] = all.extract(gate);
    }
}

#[cube(launch_unchecked)]
fn forward_kernel(
    inputs: &[f32],
    packed: &[Vector<f32, Four>],
    states: &mut [f32],
    cells: &mut [f32],
    gates: &mut [f32],
    t: usize,
    #[comptime] n: usize,
    #[comptime] width: usize,
    #[comptime] slices: usize,
    #[comptime] reverse: bool,
) {
    let mut state = Shared::<[f32]>::new_slice(n);
    let mut cell = Shared::<[f32]>::new_slice(n);
    let mut sums = Shared::<[Vector<f32, Four>]>::new_slice(comptime!(n * slices));
    let slice = UNIT_POS_Y as usize;
    let length = comptime!(n / slices);
    for step in 0..t {
        let frame = CUBE_POS * t + frame_at(step, t, reverse);
        for j in range_stepped(UNIT_POS_X as usize, n, width) {
            let mut sum = Vector::<f32, Four>::new(0.0);
            if slice == 0 {
                sum = four(inputs, frame * 4 * n + j, n);
            }
            if step > 0 {
                for k in 0..length {
                    let k = slice * length + k;
                    sum += packed[k * n + j] * Vector::new(state[k]);
                }
            }
            sums[slice * n + j] = sum;
        }
        sync_cube();
        for j in range_stepped(UNIT_POS as usize, n, comptime!(width * slices)) {
            let mut sum = sums[j];
            #[unroll]
            for slice in 1..slices {
                sum += sums[slice * n + j];
            }
            let mut gate = activate::<Four>(sum, Activation::Sigmoid);
            gate.insert(2usize, f32::tanh(sum.extract(2usize)));
            let mut c = gate.extract(0usize) * gate.extract(2usize);
            if step > 0 {
                c += gate.extract(1usize) * cell[j];
            }
            let h = gate.extract(3usize) * f32::tanh(c);
            cell[j] = c;
            state[j] = h;
            cells[frame * n + j] = c;
            states[frame * n + j] = h;
            put_four(gates, frame * 4 * n + j, n, gate);
        }
        sync_cube();
    }
}

/// What [`forward`] answers, in frame order.
pub(crate) struct Forward {
    /// The state after each frame, `[b, t, n]`.
    pub(crate) states: Handle,
    /// The cell after each frame, `[b, t, n]`.
    pub(crate) cells: Handle,
    /// The gates of each frame after their sigmoid or tanh, `[b, t, 4n]`.
    pub(crate) gates: Handle,
}

/// Runs the recurrence over `b` clips of `t` frames with `n` cells: `inputs` is `[b, t, 4n]`, the
/// recurrent `weights` are `[4n, n]`. Panics if a cube's shared memory cannot hold `n` cells.
pub(crate) fn forward(
    client: &Client,
    inputs: &Handle,
    weights: &Handle,
    b: usize,
    t: usize,
    n: usize,
    reverse: bool,
) -> Forward {
    let values = b * t * n;
    let states = client.empty(values * 4);
    let cells = client.empty(values * 4);
    let gates = client.empty(values * 16);
    let packed = client.empty(n * n * 16);
    let split = Split::new(client, n);
    let dim = CubeDim::new(client, n * n);
    // SAFETY: both kernels check their bounds against the sizes given here.
    unsafe {
        pack::launch_unchecked(
            client,
            calculate_cube_count_elemwise(client, n * n, dim),
            dim,
            buffer(weights, 4 * n * n),
            buffer(&packed, 4 * n * n),
            n,
        );
        forward_kernel::launch_unchecked(
            client,
            CubeCount::new_1d(b as u32),
            split.dim(),
            buffer(inputs, 4 * values),
            buffer(&packed, 4 * n * n),
            buffer(&states, values),
            buffer(&cells, values),
            buffer(&gates, 4 * values),
            t,
            n,
            split.width,
            split.slices,
            reverse,
        );
    }
    Forward {
        states,
        cells,
        gates,
    }
}

/// The gradients of the four gates before their sigmoid or tanh, and of the cell one step
/// before, from those of the state and of the cell.
#[cube]
fn cell_backward(
    dstate: f32,
    dcell: f32,
    gate: Vector<f32, Four>,
    cell: f32,
    before: f32,
) -> (Vector<f32, Four>, f32) {
    let i = gate.extract(0usize);
    let f = gate.extract(1usize);
    let g = gate.extract(2usize);
    let o = gate.extract(3usize);
    let shown = f32::tanh(cell);
    let dcell = dcell + dstate * o * (1.0 - shown * shown);
    let mut dgate = Vector::<f32, Four>::new(dcell * g * i * (1.0 - i));
    dgate.insert(1usize, dcell * before * f * (1.0 - f));
    dgate.insert(2usize, dcell * i * (1.0 - g * g));
    dgate.insert(3usize, dstate * shown * o * (1.0 - o));
    (dgate, dcell * f)
}

#[cube(launch_unchecked)]
fn backward_kernel(
    dstates: &[f32],
    cells: &[f32],
    gates: &[f32],
    weights: &[f32],
    dgates: &mut [f32],
    t: usize,
    #[comptime] n: usize,
    #[comptime] width: usize,
    #[comptime] slices: usize,
    #[comptime] reverse: bool,
) {
    let mut dcell = Shared::<[f32]>::new_slice(n);
    let mut dgate = Shared::<[Vector<f32, Four>]>::new_slice(n);
    let mut sums = Shared::<[f32]>::new_slice(comptime!(n * slices));
    let slice = UNIT_POS_Y as usize;
    let length = comptime!(n / slices);
    for back in 0..t {
        let step = t - 1 - back;
        let frame = CUBE_POS * t + frame_at(step, t, reverse);
        for j in range_stepped(UNIT_POS as usize, n, comptime!(width * slices)) {
            let mut dh = dstates[frame * n + j];
            let mut dc = 0.0f32;
            if back > 0 {
                dc = dcell[j];
                #[unroll]
                for slice in 0..slices {
                    dh += sums[slice * n + j];
                }
            }
            let mut before = 0.0f32;
            if step > 0 {
                before = cells[(CUBE_POS * t + frame_at(step - 1, t, reverse)) * n + j];
            }
            let gate = four(gates, frame * 4 * n + j, n);
            let (dg, dc) = cell_backward(dh, dc, gate, cells[frame * n + j], before);
            dcell[j] = dc;
            dgate[j] = dg;
            put_four(dgates, frame * 4 * n + j, n, dg);
        }
        sync_cube();
        for k in range_stepped(UNIT_POS_X as usize, n, width) {
            let mut sum = Vector::<f32, Four>::new(0.0);
            if step > 0 {
                for j in 0..length {
                    let j = slice * length + j;
                    sum += four(weights, j * n + k, comptime!(n * n)) * dgate[j];
                }
            }
            sums[slice * n + k] = sum.extract(0usize)
                + sum.extract(1usize)
                + sum.extract(2usize)
                + sum.extract(3usize);
        }
        sync_cube();
    }
}

/// The gradients of `inputs`, `[b, t, 4n]`, from those of the states, `[b, t, n]`, and what
/// [`forward`] answered for the same `weights` `[4n, n]`, sizes and `reverse`.
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward(
    client: &Client,
    dstates: &Handle,
    forward: &Forward,
    weights: &Handle,
    b: usize,
    t: usize,
    n: usize,
    reverse: bool,
) -> Handle {
    let values = b * t * n;
    let dgates = client.empty(values * 16);
    let split = Split::new(client, n);
    // SAFETY: the kernel checks its bounds against the sizes given here.
    unsafe {
        backward_kernel::launch_unchecked(
            client,
            CubeCount::new_1d(b as u32),
            split.dim(),
            buffer(dstates, values),
            buffer(&forward.cells, values),
            buffer(&forward.gates, 4 * values),
            buffer(weights, 4 * n * n),
            buffer(&dgates, 4 * values),
            t,
            n,
            split.width,
            split.slices,
            reverse,
        );
    }
    dgates
}

/// Each cube takes `WIDTH` neighbouring vectors of `dw`; the threads of a vector share the pairs
/// of neighbouring frames.
#[cube(launch_unchecked)]
fn backward_weights_kernel<N: Size>(
    dgates: &[f32],
    states: &[Vector<f32, N>],
    dw: &mut [Vector<f32, N>],
    b: usize,
    t: usize,
    width: usize,
    vectors: usize,
    #[comptime] reverse: bool,
) {
    let index = CUBE_POS * WIDTH + UNIT_POS_X as usize;
    let row = index / vectors;
    let vector = index % vectors;
    let mut sum = Vector::<f32, N>::new(0.0);
    if row < 4 * width {
        for pair in range_stepped(UNIT_POS_Y as usize, b * (t - 1), HEIGHT) {
            let first = pair / (t - 1) * t + pair % (t - 1);
            let (before, after) = if comptime!(reverse) {
                (first + 1, first)
            } else {
                (first, first + 1)
            };
            sum += Vector::new(dgates[after * 4 * width + row]) * states[before * vectors + vector];
        }
    }
    let sum = sum_over_y::<N>(sum, WIDTH, HEIGHT);
    if row < 4 * width && UNIT_POS_Y == 0 {
        dw[index] = sum;
    }
}

/// The gradient of the recurrent weights, `[4n, n]`: the sum over clips and steps of the
/// products of `dgates` `[b, t, 4n]`, from [`backward`], and of the state one step before, from
/// `states` `[b, t, n]` of [`forward`].
pub(crate) fn backward_weights(
    client: &Client,
    dgates: &Handle,
    states: &Handle,
    b: usize,
    t: usize,
    n: usize,
    reverse: bool,
) -> Handle {
    let lanes = lanes_of(client, ElemType::Float(FloatKind::F32), n, 4);
    let vectors = n / lanes;
    let dw = client.empty(n * n * 16);
    let dim = CubeDim::new_2d(WIDTH as u32, HEIGHT as u32);
    // SAFETY: the kernel checks its bounds against the sizes given here.
    unsafe {
        backward_weights_kernel::launch_unchecked(
            client,
            calculate_cube_count_elemwise(client, 4 * n * vectors * HEIGHT, dim),
            dim,
            lanes,
            buffer(dgates, 4 * b * t * n),
            buffer(states, b * t * n),
            buffer(&dw, 4 * n * n),
            b,
            t,
            n,
            vectors,
            reverse,
        );
    }
    dw
}
