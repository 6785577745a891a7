//! Backward weights of dense and grouped convolution: `dW[window float][output] = windows(x)^T . dy`.
//!
//! Tasks share out pixels and panels of outputs. A task adds up its pixels in a copy of its part of
//! dW, and the copies are added in a fixed order at the end; so the result depends on the number of
//! threads (which decides the number of copies), never on how the threads were scheduled. With
//! [`SumOrder::Free`] a block goes to the task that is free, and the last bits differ from run to run.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::memory::Buffer;
use super::super::order::{SumOrder, sum_order};
use super::super::parallel::{Shared, for_each_task, with_scratch};
use super::super::shape::Conv3dShape;
use super::super::simd::Isa;
use super::super::tile::{ColumnArgs, MAX_WIDTH, column_tile, prefetch};
use super::blocking::{Blocking, Goal, TASKS_PER_THREAD};
use super::dense::window_of_x;
use super::window::{Band, Block, SLACK, Window};

/// Pixels whose gradients stay in L1 while they meet every float of the window.
const CHUNK: usize = 64;
/// Floats of a window up to which reading gradients takes longer than using them.
const SHORT_WINDOW: usize = 512;
/// Floats that all copies of dW together may take, beyond the first.
const MAX_COPIES_LEN: usize = 2 << 20;
/// Edge of the square pieces in which dW is put in order at the end.
const SQUARE: usize = 32;

/// How dW is laid out while it is added up: `[copy][group][panel][run][run_rows][width]`.
struct Layout {
    /// Rows of the column tile.
    rows: usize,
    /// Columns of a panel.
    width: usize,
    /// Floats of a run.
    run_len: usize,
    /// The same, rounded up to whole tiles.
    run_rows: usize,
    num_runs: usize,
    /// Panels of a group.
    panels: usize,
    groups: usize,
}

impl Layout {
    fn new(isa: Isa, window: &Window, groups: usize, columns: usize) -> Self {
        let run_len = window.run_len();
        let rows = isa.column_rows(run_len);
        Self {
            rows,
            width: isa.tile_width(),
            run_len,
            run_rows: run_len.next_multiple_of(rows),
            num_runs: window.len() / run_len,
            panels: columns.div_ceil(isa.tile_width()),
            groups,
        }
    }

    fn panel_len(&self) -> usize {
        self.num_runs * self.run_rows * self.width
    }

    fn copy_len(&self) -> usize {
        self.groups * self.panels * self.panel_len()
    }
}

/// What all tasks share.
struct Gradient<'a> {
    isa: Isa,
    shape: &'a Conv3dShape,
    window: &'a Window,
    layout: &'a Layout,
    x: &'a [f32],
    dy: &'a [f32],
}

/// Backward weights in the process's [`sum_order`]; lengths are checked by the caller.
pub(super) fn backward_weights(
    isa: Isa,
    shape: &Conv3dShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    backward_weights_in(sum_order(), isa, shape, x, dy, dw);
}

/// Backward weights, adding the blocks' shares up in some order.
fn backward_weights_in(
    order: SumOrder,
    isa: Isa,
    shape: &Conv3dShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    let window = window_of_x(shape);
    let groups = shape.options.groups;
    let layout = Layout::new(isa, &window, groups, shape.group_outputs());
    let want = TASKS_PER_THREAD * rayon::current_num_threads();
    let blocking = Blocking::new(&window, shape.batch, shape.output(), Goal::at_least(want));
    let num_blocks = blocking.num_blocks();
    // Where blocks go to whoever is free, a copy a thread evens out as well as several.
    let most_copies = match order {
        SumOrder::Fixed => want,
        SumOrder::Free => rayon::current_num_threads(),
    };
    let copies = (1 + MAX_COPIES_LEN / layout.copy_len())
        .min(most_copies)
        .min(num_blocks);
    let splits = want.div_ceil(copies * groups).min(layout.panels);
    let panels_each = layout.panels.div_ceil(splits);
    let splits = layout.panels.div_ceil(panels_each);
    let mut partial = Buffer::<f32>::take(copies * layout.copy_len());
    let shared = Shared::new(&mut partial);
    let gradient = Gradient {
        isa,
        shape,
        window: &window,
        layout: &layout,
        x,
        dy,
    };
    let queues: Vec<AtomicUsize> = (0..groups * splits).map(|_| AtomicUsize::new(0)).collect();
    for_each_task(copies * groups * splits, |task| {
        let (copy, rest) = (task / (groups * splits), task % (groups * splits));
        let (group, first) = (rest / splits, rest % splits * panels_each);
        let panels = first..layout.panels.min(first + panels_each);
        let share = copy * num_blocks / copies..(copy + 1) * num_blocks / copies;
        let nth = |idx: usize| match order {
            SumOrder::Fixed => share.clone().nth(idx),
            SumOrder::Free => {
                let next = queues[rest].fetch_add(1, Ordering::Relaxed);
                (next < num_blocks).then_some(next)
            }
        };
        let first_panel = (copy * groups + group) * layout.panels;
        // SAFETY: the start of the group's panels in this copy lies inside the buffer.
        let sums = unsafe { shared.get().add(first_panel * layout.panel_len()) };
        let mut done = 0;
        while let Some(idx) = nth(done) {
            let block = blocking.block(idx);
            // SAFETY: no other task has the same copy, group and panel.
            unsafe { gradient.add_block(&block, group, panels.clone(), sums, done > 0) };
            done += 1;
        }
        if done == 0 {
            // The others were quicker.
            for panel in panels {
                // SAFETY: as above; the panel lies inside the copy.
                unsafe {
                    sums.add(panel * layout.panel_len())
                        .write_bytes(0, layout.panel_len())
                };
            }
        }
    });
    put_in_order(&layout, shape, &partial, copies, dw);
}

impl Gradient<'_> {
    /// Adds what the pixels of `block` give to the panels at `sums`, or sets the panels to it.
    ///
    /// # Safety
    /// The instruction set is available; `sums` holds a group's panels, and nobody else uses those
    /// of `panels`.
    unsafe fn add_block(
        &self,
        block: &Block,
        group: usize,
        panels: Range<usize>,
        sums: *mut f32,
        accumulate: bool,
    ) {
        let shape = self.shape;
        let mut gradients = Vec::with_capacity(block.num_pixels());
        let [t_len, h_len, w_len] = shape.output();
        block.for_each_row(|image, [t, h, w]| {
            let first = ((image * t_len + t) * h_len + h) * w_len + w;
            let pixels = first..first + w_len;
            gradients
                .extend(pixels.map(|at| at * shape.out_channels + group * shape.group_outputs()));
        });
        let copy = self.window.needs_copy(shape.output()) || self.overruns(block);
        with_scratch(|[band_scratch, dy_scratch, _]| {
            let memory = copy.then(|| band_scratch.take(self.window.copy_len(block)));
            let band = self.window.stage(self.x, block, group, memory);
            let width = self.layout.width;
            for first in (0..gradients.len()).step_by(CHUNK) {
                let chunk = first..gradients.len().min(first + CHUNK);
                for panel in panels.clone() {
                    let right = dy_scratch.take(CHUNK * width);
                    self.copy_gradients(&gradients[chunk.clone()], panel, right);
                    let accumulate = accumulate || first > 0;
                    // SAFETY: the contract; the panel lies inside the group's panels.
                    unsafe {
                        self.add_chunk(
                            &band,
                            &gradients,
                            chunk.clone(),
                            panel,
                            right,
                            sums,
                            accumulate,
                            !copy,
                        );
                    }
                }
            }
        });
    }

    /// Would a rounded-up tile on the last window of `block` read past the end of `x`?
    fn overruns(&self, block: &Block) -> bool {
        let last: [usize; 3] = std::array::from_fn(|axis| {
            let output = block.start[axis] + block.size[axis] - 1;
            let high = *self.window.offsets[axis]
                .last()
                .expect("windows have positions");
            output * self.window.stride[axis] + high.max(0) as usize
        });
        let [t_len, h_len, w_len] = self.shape.input;
        let image = block.image + block.num_images - 1;
        let pixel = ((image * t_len + last[0]) * h_len + last[1]) * w_len + last[2];
        (pixel + 1) * self.shape.in_channels + SLACK > self.x.len()
    }

    /// Columns of a panel that are there.
    fn columns(&self, panel: usize) -> usize {
        let width = self.layout.width;
        width.min(self.shape.group_outputs() - panel * width)
    }

    /// Gathers a panel's columns of dy into rows of the tile's width: neighbours in the cache,
    /// whatever the number of channels.
    fn copy_gradients(&self, pixels: &[usize], panel: usize, right: &mut [f32]) {
        let (width, columns) = (self.layout.width, self.columns(panel));
        for (row, pixel) in right.chunks_exact_mut(width).zip(pixels) {
            let start = pixel + panel * width;
            row[..columns].copy_from_slice(&self.dy[start..start + columns]);
            row[columns..].fill(0.0);
        }
    }

    /// A chunk of pixels for one panel, whose columns of dy there are `right`; `gradients` says where those of all pixels lie.
    ///
    /// # Safety
    /// As [`Gradient::add_block`].
    #[expect(
        clippy::too_many_arguments,
        reason = "one call; a struct would only rename them"
    )]
    unsafe fn add_chunk(
        &self,
        band: &Band<f32>,
        gradients: &[usize],
        chunk: Range<usize>,
        panel: usize,
        right: &[f32],
        sums: *mut f32,
        accumulate: bool,
        in_place: bool,
    ) {
        let Layout {
            rows,
            width,
            run_len,
            run_rows,
            num_runs,
            ..
        } = *self.layout;
        // SAFETY: the panel lies inside the group's.
        let sums = unsafe { sums.add(panel * self.layout.panel_len()) };
        let next = chunk.end..gradients.len().min(chunk.end + CHUNK);
        // Read in place, the next chunk is asked for in equal shares, one a tile.
        let share = next.len().div_ceil(num_runs * (run_rows / rows));
        let mut shares = band.pixels[next.clone()].chunks(share.max(1));
        // Its gradients by the first tile, where the tiles are so few that they would come too late.
        let is_short = num_runs * run_rows <= SHORT_WINDOW;
        let mut next_gradients = if is_short { &gradients[next] } else { &[] };
        for (run_idx, run) in band.runs.iter().enumerate() {
            for start in (0..run_len).step_by(rows) {
                if in_place {
                    for pixel in shares.next().unwrap_or(&[]) {
                        prefetch(band.base.wrapping_offset(*pixel), self.window.channels);
                    }
                }
                let args = ColumnArgs {
                    base: band.base.wrapping_offset(run + start as isize),
                    pixels: &band.pixels[chunk.clone()],
                    right: right.as_ptr(),
                    right_step: width,
                    width: self.columns(panel),
                    next: std::mem::take(&mut next_gradients),
                    next_base: self.dy.as_ptr().wrapping_add(panel * width),
                    // SAFETY: a tile of the panel.
                    output: unsafe { sums.add((run_idx * run_rows + start) * width) },
                    accumulate,
                };
                // SAFETY: a tile reads at most `rows - 1 < SLACK` floats past a run: inside the
                // band's slack, or inside x because `overruns` was asked.
                unsafe { column_tile(self.isa, rows, &args) };
            }
        }
    }
}

/// Adds the copies up, always in the same order, into `[output][window float]`.
fn put_in_order(
    layout: &Layout,
    shape: &Conv3dShape,
    partial: &[f32],
    copies: usize,
    dw: &mut [f32],
) {
    let (width, columns) = (layout.width, shape.group_outputs());
    let pieces = layout.run_len.div_ceil(SQUARE);
    let window_len = layout.num_runs * layout.run_len;
    let out = Shared::new(dw);
    for_each_task(layout.groups * layout.panels * layout.num_runs, |task| {
        let (panel_idx, run) = (task / layout.num_runs, task % layout.num_runs);
        let (group, panel) = (panel_idx / layout.panels, panel_idx % layout.panels);
        for piece in 0..pieces {
            let first = piece * SQUARE;
            let len = SQUARE.min(layout.run_len - first);
            let mut square = [[0.0f32; MAX_WIDTH]; SQUARE];
            let start = panel_idx * layout.panel_len() + (run * layout.run_rows + first) * width;
            for copy in 0..copies {
                let rows = &partial[copy * layout.copy_len() + start..][..len * width];
                for (sum, row) in square.iter_mut().zip(rows.chunks_exact(width)) {
                    sum.iter_mut()
                        .zip(row)
                        .for_each(|(sum, value)| *sum += value);
                }
            }
            for lane in 0..width.min(columns - panel * width) {
                let output = group * columns + panel * width + lane;
                let at = output * window_len + run * layout.run_len + first;
                // SAFETY: this run of this output belongs to this task alone, and is inside dw.
                let to = unsafe { std::slice::from_raw_parts_mut(out.get().add(at), len) };
                to.iter_mut()
                    .zip(&square)
                    .for_each(|(to, row)| *to = row[lane]);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::super::reference::{conv_backward_weights, noise, relative_error};
    use super::super::super::shape::Conv3dOptions;
    use super::*;

    #[test]
    fn any_order_gives_the_same_sums() {
        let options = Conv3dOptions {
            padding: [1; 3],
            groups: 2,
            ..Default::default()
        };
        let shape = Conv3dShape::new([5, 3, 17, 18, 10], [8, 3, 3, 3, 5], options);
        let (x, dy) = (noise(shape.x_len(), 1), noise(shape.y_len(), 2));
        let want = conv_backward_weights(&shape, &x, &dy);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(5)
            .build()
            .expect("threads start");
        for order in [SumOrder::Fixed, SumOrder::Free] {
            for _ in 0..10 {
                let mut dw = vec![f32::NAN; shape.weights_len()];
                pool.install(|| {
                    backward_weights_in(order, Isa::best(), &shape, &x, &dy, &mut dw);
                });
                let error = relative_error(&dw, &want);
                assert!(error < 5e-6, "{order:?} is off by {error:.1e}");
            }
        }
    }
}
