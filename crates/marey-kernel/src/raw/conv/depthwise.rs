//! Depthwise convolution (every channel its own group), direct: vectors lie along channels.
//!
//! Forward and each residue class of backward data are one loop, [`Correlation`]; weights are
//! brought into `[tap][channel]` order first. Activations are in any type, weights in `f32`.

use std::ops::Range;

use super::super::element::Element;
use super::super::parallel::{Shared, for_each_task};
use super::super::shape::Conv3dShape;
use super::super::simd::Isa;
use super::Epilogue;
use super::dense::{Phase, window_of_x};
use super::product::Placement;

mod gradient;
mod tile;

#[cfg(test)]
mod tests;

use tile::{FEW_PIXELS, MAX_PIXELS, RUN_LENS, Run, TileArgs, run_tile};

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
pub(super) fn forward<E: Element>(
    isa: Isa,
    shape: &Conv3dShape,
    x: &[E],
    weights: &[f32],
    epilogue: Epilogue,
    y: &mut [E],
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
    run(&[correlation], Shared::new(y));
}

/// Backward data; lengths are checked by the caller.
pub(super) fn backward_data<E: Element>(
    isa: Isa,
    shape: &Conv3dShape,
    dy: &[E],
    weights: &[f32],
    dx: &mut [E],
) {
    let weights = weights_by_tap(weights, shape.in_channels, shape.num_taps());
    // A class that no tap reaches has an empty list of taps, which gives zeros.
    let class = |phase: Phase| Correlation {
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
    let classes: Vec<_> = Phase::all(shape).into_iter().map(class).collect();
    run(&classes, Shared::new(dx));
}

/// `y[o][c] = sum over (offset, tap) of x[o * stride + offset][c] * weights[tap][c]`.
struct Correlation<'a, E> {
    isa: Isa,
    x: &'a [E],
    input: [usize; 3],
    channels: usize,
    stride: [usize; 3],
    /// (offset, tap) on each axis, by growing offset.
    taps: [Vec<(isize, usize)>; 3],
    kernel: [usize; 3],
    weights: &'a [f32],
    batch: usize,
    grid: [usize; 3],
    placement: Placement,
    epilogue: Epilogue<'a>,
}

/// Output pixels of a row that tiles compute together, and the runs of one row of taps they need.
struct Column {
    first: usize,
    num_pixels: usize,
    /// Offsets from the row of inputs and from the weights of the row of taps.
    runs: Vec<Run>,
}

/// Output pixels that a task computes, of one block of channels.
const TASK_PIXELS: usize = 1024;
/// Tasks wanted for each thread.
const TASKS_PER_THREAD: usize = 8;
/// Floats of inputs and weights that a tile reads; more would not stay in the first cache.
const TILE_FLOATS: usize = 8 << 10;

/// Runs correlations of the same batch and channels, which write different pixels of `output`, row
/// by row: those that write into the same rows one after the other.
fn run<E: Element>(correlations: &[Correlation<E>], output: Shared<E>) {
    let Some(first) = correlations.first() else {
        return;
    };
    let most = |axis: usize| correlations.iter().map(|c| c.grid[axis]).max().unwrap_or(0);
    let [t_len, h_len, w_len] = std::array::from_fn(most);
    let columns: Vec<_> = correlations.iter().map(Correlation::columns).collect();
    let block = correlations
        .iter()
        .map(Correlation::block)
        .min()
        .unwrap_or(1);
    let blocks = (first.channels / block).max(1);
    let num_rows = first.batch * t_len * h_len;
    let tasks = TASKS_PER_THREAD * rayon::current_num_threads();
    let each = num_rows
        .div_ceil(tasks)
        .clamp(1, (TASK_PIXELS / w_len.max(1)).max(1));
    let chunks = num_rows.div_ceil(each);
    for_each_task(blocks * chunks, |task| {
        let (chunk, block_idx) = (task % chunks, task / chunks);
        let is_last = block_idx + 1 == blocks;
        let end = if is_last {
            first.channels
        } else {
            (block_idx + 1) * block
        };
        let mut runs = vec![];
        for row in chunk * each..num_rows.min((chunk + 1) * each) {
            let image = row / (t_len * h_len);
            let position = [row / h_len % t_len, row % h_len];
            for (correlation, columns) in correlations.iter().zip(&columns) {
                let [t_len, h_len, _] = correlation.grid;
                if position[0] < t_len && position[1] < h_len {
                    for column in columns {
                        let channels = block_idx * block..end;
                        correlation.tile(image, position, column, channels, &mut runs, output);
                    }
                }
            }
        }
    });
}

impl<E: Element> Correlation<'_, E> {
    /// Channels of a block, in whole cache lines; the last block may have up to twice as many.
    fn block(&self) -> usize {
        let [t_taps, h_taps, w_taps] = self.taps.each_ref().map(Vec::len);
        let width = self.pixels() * self.stride[2] + w_taps;
        let each = t_taps * h_taps * (width + w_taps);
        (TILE_FLOATS / each.max(1) / 32 * 32).max(32)
    }

    /// Pixels of a tile.
    fn pixels(&self) -> usize {
        if self.grid[2] <= FEW_PIXELS {
            FEW_PIXELS
        } else {
            MAX_PIXELS
        }
    }

    /// Positions from one pixel's inputs to the next one's in a tile, and elements of a position.
    /// Where the stride is too long for pixels to share inputs, a position is a pixel.
    fn steps(&self) -> [usize; 2] {
        match self.stride[2] {
            stride @ (1 | 2) => [stride, self.channels],
            stride => [1, stride * self.channels],
        }
    }

    fn columns(&self) -> Vec<Column> {
        let [stride, x_step] = self.steps();
        let runs = self.runs_of_row();
        let width = self.input[2] as isize;
        let column = |first: usize| {
            let num_pixels = self.pixels().min(self.grid[2] - first);
            let mut inside_runs = vec![];
            for (offset, run) in &runs {
                let start = (first * self.stride[2]) as isize + offset;
                let position = (x_step / self.channels) as isize;
                let inside = (0..(num_pixels - 1) * stride + run.len)
                    .filter(|j| (0..width).contains(&(start + *j as isize * position)))
                    .fold(0, |bits, j| bits | 1 << j);
                let x = start * self.channels as isize;
                if inside != 0 {
                    inside_runs.push(Run { x, inside, ..*run });
                }
            }
            Column {
                first,
                num_pixels,
                runs: inside_runs,
            }
        };
        (0..self.grid[2])
            .step_by(self.pixels())
            .map(column)
            .collect()
    }

    /// The taps of one row of the kernel as runs of neighbours, each with the offset of its first.
    fn runs_of_row(&self) -> Vec<(isize, Run)> {
        let mut rest = &self.taps[2][..];
        let mut runs = vec![];
        while let [(offset, tap), ..] = *rest {
            let tap_step = rest.get(1).map_or(0, |next| next.1 as isize - tap as isize);
            let is_next = |(k, next): &(usize, &(isize, usize))| {
                next.0 == offset + *k as isize
                    && next.1 as isize == tap as isize + *k as isize * tap_step
            };
            let neighbours = rest.iter().enumerate().take_while(is_next).count();
            let most = if self.stride[2] <= 2 { neighbours } else { 1 };
            let len = RUN_LENS.into_iter().find(|len| *len <= most).unwrap_or(1);
            let run = Run {
                x: 0,
                weight: tap * self.channels,
                weight_step: tap_step * self.channels as isize,
                len,
                inside: 0,
            };
            runs.push((offset, run));
            rest = &rest[len..];
        }
        runs
    }

    /// One tile: a few pixels of a row, a block of channels.
    fn tile(
        &self,
        image: usize,
        [t, h]: [usize; 2],
        column: &Column,
        channels: Range<usize>,
        runs: &mut Vec<Run>,
        output: Shared<E>,
    ) {
        self.list_runs(image, [t, h], column, runs);
        let at = self.placement.of(image, [t, h, column.first]);
        let [stride, x_step] = self.steps();
        let args = TileArgs {
            x: self.x.as_ptr(),
            x_step,
            runs,
            weights: self.weights.as_ptr(),
            bias: self.epilogue.bias,
            activation: self.epilogue.activation,
            // SAFETY: the placement stays inside the output.
            y: unsafe { output.get().add(at) },
            y_step: self.placement.step[3],
            num_pixels: column.num_pixels,
            channels,
        };
        // SAFETY: the listed runs lie inside x where their bits say so; these channels of these
        // pixels are this task's.
        unsafe { run_tile(self.isa, [stride, self.pixels()], &args) };
    }

    /// The runs that a tile at `[t, h]` of the grid reads inside the image.
    fn list_runs(&self, image: usize, position: [usize; 2], column: &Column, runs: &mut Vec<Run>) {
        let [t_len, h_len, w_len] = self.input.map(|len| len as isize);
        let [t, h]: [isize; 2] =
            std::array::from_fn(|axis| (position[axis] * self.stride[axis]) as isize);
        runs.clear();
        for (t_offset, t_tap) in &self.taps[0] {
            for (h_offset, h_tap) in &self.taps[1] {
                let (t, h) = (t + t_offset, h + h_offset);
                if !(0..t_len).contains(&t) || !(0..h_len).contains(&h) {
                    continue;
                }
                let line = ((image as isize * t_len + t) * h_len + h) * w_len;
                let row = (t_tap * self.kernel[1] + h_tap) * self.kernel[2];
                runs.extend(column.runs.iter().map(|run| Run {
                    x: line * self.channels as isize + run.x,
                    weight: row * self.channels + run.weight,
                    ..*run
                }));
            }
        }
    }
}
