//! Depthwise convolution (every channel its own group), direct: vectors lie along channels.
//!
//! Forward and each residue class of backward data are one loop, [`Correlation`]; weights are
//! brought into `[tap][channel]` order first.

use super::super::parallel::{Shared, for_each_task};
use super::super::shape::Conv3dShape;
use super::super::simd::Isa;
use super::Epilogue;
use super::dense::{Phase, window_of_x};
use super::product::Placement;

mod gradient;
mod tile;

use tile::{PIXELS, Tap, TileArgs, run_tile};

pub(super) use gradient::backward_weights;

/// `[tap][channel]` from `[channel][tap]`.
fn weights_by_tap(weights: &[f32], channels: usize, num_taps: usize) -> Vec<f32> {
    let mut by_tap = vec![0.0; weights.len()];
    for channel in 0..channels {
        for tap in 0..num_taps {
            by_tap[tap * channels + channel] = weights[channel * num_taps + tap];
        }
    }
    by_tap
}

/// Forward; lengths are checked by the caller.
pub(super) fn forward(
    isa: Isa,
    shape: &Conv3dShape,
    x: &[f32],
    weights: &[f32],
    epilogue: Epilogue,
    y: &mut [f32],
) {
    let window = window_of_x(shape);
    let correlation = Correlation {
        isa,
        x,
        input: shape.input,
        channels: shape.in_channels,
        stride: window.stride,
        taps: window
            .offsets
            .map(|offsets| offsets.into_iter().zip(0..).collect()),
        kernel: shape.kernel,
        weights: &weights_by_tap(weights, shape.in_channels, shape.num_taps()),
        batch: shape.batch,
        grid: shape.output(),
        placement: Placement::strided(shape.output(), shape.out_channels, [1; 3]),
        epilogue,
    };
    correlation.run(Shared::new(y));
}

/// Backward data; lengths are checked by the caller.
pub(super) fn backward_data(
    isa: Isa,
    shape: &Conv3dShape,
    dy: &[f32],
    weights: &[f32],
    dx: &mut [f32],
) {
    let weights = weights_by_tap(weights, shape.in_channels, shape.num_taps());
    let output = Shared::new(dx);
    for phase in Phase::all(shape) {
        // A class that no tap reaches has an empty list of taps, which gives zeros.
        let correlation = Correlation {
            isa,
            x: dy,
            input: shape.output(),
            channels: shape.in_channels,
            stride: [1; 3],
            taps: phase.taps,
            kernel: shape.kernel,
            weights: &weights,
            batch: shape.batch,
            grid: phase.grid,
            placement: phase.placement,
            epilogue: Epilogue::default(),
        };
        correlation.run(output);
    }
}

/// `y[o][c] = sum over (offset, tap) of x[o * stride + offset][c] * weights[tap][c]`.
struct Correlation<'a> {
    isa: Isa,
    x: &'a [f32],
    input: [usize; 3],
    channels: usize,
    stride: [usize; 3],
    /// (offset, tap) on each axis.
    taps: [Vec<(isize, usize)>; 3],
    kernel: [usize; 3],
    weights: &'a [f32],
    batch: usize,
    grid: [usize; 3],
    placement: Placement,
    epilogue: Epilogue<'a>,
}

/// Most rows of output that a task computes.
const MAX_TASK_ROWS: usize = 16;
/// Tasks wanted for each thread.
const TASKS_PER_THREAD: usize = 8;

impl Correlation<'_> {
    fn run(&self, output: Shared<f32>) {
        let num_rows = self.batch * self.grid[0] * self.grid[1];
        let tasks = TASKS_PER_THREAD * rayon::current_num_threads();
        let each = num_rows.div_ceil(tasks).clamp(1, MAX_TASK_ROWS);
        for_each_task(num_rows.div_ceil(each), |task| {
            let mut taps = Vec::with_capacity(self.taps.iter().map(Vec::len).product());
            for row in task * each..num_rows.min((task + 1) * each) {
                self.row(row, &mut taps, output);
            }
        });
    }

    /// One row of output pixels.
    fn row(&self, row: usize, taps: &mut Vec<Tap>, output: Shared<f32>) {
        let [t_len, h_len, w_len] = self.grid;
        let (image, t, h) = (row / (t_len * h_len), row / h_len % t_len, row % h_len);
        for w in (0..w_len).step_by(PIXELS) {
            let num_pixels = PIXELS.min(w_len - w);
            self.list_taps(image, [t, h, w], num_pixels, taps);
            let at = self.placement.of(image, [t, h, w]);
            let args = TileArgs {
                x: self.x.as_ptr(),
                x_step: self.stride[2] * self.channels,
                taps,
                weights: self.weights.as_ptr(),
                bias: self.epilogue.bias,
                activation: self.epilogue.activation,
                // SAFETY: the placement stays inside the output.
                y: unsafe { output.get().add(at) },
                y_step: self.placement.step[3],
                num_pixels,
                channels: self.channels,
            };
            // SAFETY: the listed taps lie inside x where their pixel bits say so; the pixels of
            // this row are this task's.
            unsafe { run_tile(self.isa, &args) };
        }
    }

    /// The taps that reach any of `num_pixels` output pixels from `position`.
    fn list_taps(
        &self,
        image: usize,
        position: [usize; 3],
        num_pixels: usize,
        taps: &mut Vec<Tap>,
    ) {
        let [t_len, h_len, w_len] = self.input.map(|len| len as isize);
        let [t, h, w]: [isize; 3] =
            std::array::from_fn(|axis| (position[axis] * self.stride[axis]) as isize);
        taps.clear();
        for (t_offset, t_tap) in &self.taps[0] {
            for (h_offset, h_tap) in &self.taps[1] {
                let (t, h) = (t + t_offset, h + h_offset);
                if !(0..t_len).contains(&t) || !(0..h_len).contains(&h) {
                    continue;
                }
                let line = ((image as isize * t_len + t) * h_len + h) * w_len;
                for (w_offset, w_tap) in &self.taps[2] {
                    let w = w + w_offset;
                    let tap = (t_tap * self.kernel[1] + h_tap) * self.kernel[2] + w_tap;
                    taps.push(Tap {
                        x: (line + w) * self.channels as isize,
                        weight: tap * self.channels,
                        pixels: self.inside(w, num_pixels),
                    });
                }
            }
        }
    }

    /// Bit `p`: does output pixel `p` of a tile read inside the row, if the first one reads at `w`?
    fn inside(&self, w: isize, num_pixels: usize) -> u32 {
        let (stride, end) = (self.stride[2] as isize, self.input[2] as isize);
        let last = w + (num_pixels as isize - 1) * stride;
        if w >= 0 && last < end {
            return (1 << num_pixels) - 1;
        }
        let reads_inside = |pixel: &usize| (0..end).contains(&(w + *pixel as isize * stride));
        (0..num_pixels)
            .filter(reads_inside)
            .fold(0, |bits, pixel| bits | 1 << pixel)
    }
}
