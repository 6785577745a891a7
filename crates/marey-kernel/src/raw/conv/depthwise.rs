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
mod windows;

#[cfg(test)]
mod tests;

use tile::{TileArgs, run_tile};
use windows::{Column, Run, Windows};

pub(super) use gradient::backward_weights;

/// Most output pixels of a tile; for the sums of the pixels there are registers enough.
const MAX_PIXELS: usize = 8;
/// Pixels of the tile for narrow maps.
const FEW_PIXELS: usize = 4;

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

/// The windows of x that the outputs see.
fn windows_of_x(shape: &Conv3dShape) -> Windows {
    let window = window_of_x(shape);
    Windows {
        input: shape.input,
        channels: shape.in_channels,
        stride: window.stride,
        taps: window
            .offsets
            .map(|offsets| offsets.into_iter().zip(0..).collect()),
        kernel: shape.kernel,
        grid: shape.output(),
    }
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
    let correlation = Correlation {
        isa,
        x,
        windows: windows_of_x(shape),
        weights: &weights_by_tap(weights, shape.in_channels, shape.num_taps()),
        batch: shape.batch,
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
        windows: Windows {
            input: shape.output(),
            channels: shape.in_channels,
            stride: [1; 3],
            taps: phase.taps,
            kernel: shape.kernel,
            grid: phase.grid,
        },
        weights: &weights,
        batch: shape.batch,
        placement: phase.placement,
        epilogue: Epilogue::default(),
    };
    let classes: Vec<_> = Phase::all(shape).into_iter().map(class).collect();
    run(&classes, Shared::new(dx));
}

/// `y[o][c] = sum over the taps of o's window of x[tap][c] * weights[tap][c]`.
struct Correlation<'a, E> {
    isa: Isa,
    x: &'a [E],
    windows: Windows,
    weights: &'a [f32],
    batch: usize,
    placement: Placement,
    epilogue: Epilogue<'a>,
}

/// Output pixels that a task computes, of one block of channels.
const TASK_PIXELS: usize = 1024;
/// Tasks wanted for each thread.
const TASKS_PER_THREAD: usize = 8;

/// The blocks of `len` channels, of which the last may have up to twice as many.
fn blocks(channels: usize, len: usize) -> impl Iterator<Item = Range<usize>> {
    let count = (channels / len).max(1);
    let end = move |idx: usize| if idx == count { channels } else { idx * len };
    (0..count).map(move |idx| end(idx)..end(idx + 1))
}

/// Runs correlations of the same batch and channels, which write different pixels of `output`, row
/// by row: those that write into the same rows one after the other.
fn run<E: Element>(correlations: &[Correlation<E>], output: Shared<E>) {
    let Some(first) = correlations.first() else {
        return;
    };
    let grids = || {
        correlations
            .iter()
            .map(|correlation| correlation.windows.grid)
    };
    let most = |axis: usize| grids().map(|grid| grid[axis]).max().unwrap_or(0);
    let [t_len, h_len, w_len] = std::array::from_fn(most);
    let columns: Vec<_> = correlations.iter().map(Correlation::columns).collect();
    let block = correlations.iter().map(|c| c.windows.block()).min();
    let blocks: Vec<_> = blocks(first.windows.channels, block.unwrap_or(1)).collect();
    let num_rows = first.batch * t_len * h_len;
    let tasks = TASKS_PER_THREAD * rayon::current_num_threads();
    let most = (TASK_PIXELS / w_len.max(1)).max(1);
    let each = num_rows.div_ceil(tasks).clamp(1, most);
    let chunks = num_rows.div_ceil(each);
    for_each_task(blocks.len() * chunks, |task| {
        let (chunk, channels) = (task % chunks, &blocks[task / chunks]);
        let mut runs = vec![];
        for row in chunk * each..num_rows.min((chunk + 1) * each) {
            let image = row / (t_len * h_len);
            let position = [row / h_len % t_len, row % h_len];
            for (correlation, columns) in correlations.iter().zip(&columns) {
                let [t_len, h_len, _] = correlation.windows.grid;
                if position[0] < t_len && position[1] < h_len {
                    for column in columns {
                        correlation
                            .windows
                            .list_runs(image, position, column, &mut runs);
                        let at = (image, position, column);
                        correlation.tile(at, channels.clone(), &runs, output);
                    }
                }
            }
        }
    });
}

impl<E: Element> Correlation<'_, E> {
    fn columns(&self) -> Vec<Column> {
        self.windows.columns(|left| left.min(self.pixels()))
    }

    /// Pixels of a tile.
    fn pixels(&self) -> usize {
        if self.windows.grid[2] <= FEW_PIXELS {
            FEW_PIXELS
        } else {
            MAX_PIXELS
        }
    }

    /// One tile: a few pixels of a row, a block of channels.
    fn tile(
        &self,
        (image, [t, h], column): (usize, [usize; 2], &Column),
        channels: Range<usize>,
        runs: &[Run],
        output: Shared<E>,
    ) {
        let at = self.placement.of(image, [t, h, column.first]);
        let [stride, x_step] = self.windows.steps();
        let args = TileArgs {
            x: self.x.as_ptr(),
            x_step,
            runs,
            weights: self.weights.as_ptr(),
            epilogue: self.epilogue,
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
}
