//! The loop over blocks, panels, pieces of the sum and tiles that two directions share.

use std::ops::Range;

use super::super::memory::Buffer;
use super::super::parallel::{Scratch, Shared, for_each_task, with_scratch};
use super::super::simd::Isa;
use super::super::tile::{MAX_ROWS, Operand, RowArgs, row_tile};
use super::blocking::{Blocking, SUM_LEN, SumPart, share_out, sum_parts};
use super::dense::Padded;
use super::pack::Panels;
use super::window::{Band, Block, Window};
use super::winograd;

/// Where outputs lie: pixel `(n, t, h, w)` starts at `base + (n, t, h, w) . step`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement {
    /// Offset of the first pixel, in floats.
    pub(super) base: usize,
    /// Floats from one image, frame, row, pixel to the next.
    pub(super) step: [usize; 4],
}

impl Placement {
    /// Pixels of dense `[t, h, w]` images of `channels`, every `stride`-th of them.
    pub(super) fn strided(grid: [usize; 3], channels: usize, stride: [usize; 3]) -> Self {
        let [t, h, w] = grid;
        let row = w * channels;
        Self {
            base: 0,
            step: [
                t * h * row,
                stride[0] * h * row,
                stride[1] * row,
                stride[2] * channels,
            ],
        }
    }

    /// Offset of a pixel.
    pub(super) fn of(&self, image: usize, [t, h, w]: [usize; 3]) -> usize {
        let [n_step, t_step, h_step, w_step] = self.step;
        self.base + image * n_step + t * t_step + h * h_step + w * w_step
    }
}

/// `out[pixel][column] = finish(sum of window(pixel) * panel column)`.
pub(super) struct Product<'a> {
    pub(super) isa: Isa,
    pub(super) operand: Operand,
    pub(super) window: &'a Window,
    pub(super) source: &'a [f32],
    pub(super) batch: usize,
    /// Output pixels `[t, h, w]` of an image.
    pub(super) grid: [usize; 3],
    pub(super) groups: usize,
    pub(super) panels: Panels<'a>,
    /// What happens to the sums.
    pub(super) finish: Option<&'a Padded>,
    /// What a finish adds before its activation, placed as the outputs are.
    pub(super) residual: Option<&'a [f32]>,
    pub(super) placement: Placement,
}

/// Floats of weights from which a product may keep all activations at hand and pass over the
/// weights once, instead of the other way round: they do not fit a core's share of the last cache.
const LARGE_WEIGHTS: usize = 2 << 20;
/// Floats of activations, padding included, that may be kept at hand for it.
const SMALL_INPUT: usize = 1 << 20;

/// A block of pixels, ready to be read, with where its outputs go.
struct Staged<'a> {
    band: Band<'a, f32>,
    outputs: Vec<*mut f32>,
    /// As the outputs, or nothing.
    residuals: Vec<*const f32>,
    /// Pixels of a tile.
    tile_rows: usize,
}

// SAFETY: the output pointers are written by tasks that share out the panels of a block.
unsafe impl Sync for Staged<'_> {}

impl Product<'_> {
    /// Computes every output.
    ///
    /// # Safety
    /// The instruction set is available, and the placement keeps every pixel's columns, of all
    /// groups, inside `output`, apart from those of other pixels.
    pub(super) unsafe fn run(mut self, output: Shared<f32>) {
        if winograd::suits(&self) {
            let frames = self.window.offsets[0].len();
            let weights = self
                .panels
                .transformed(self.isa, self.window.channels, frames);
            // SAFETY: the caller's promise.
            unsafe { winograd::run(&self, &weights, output) };
            return;
        }
        let run_len = self.window.run_len();
        let parts = sum_parts(self.window.len() / run_len, run_len, SUM_LEN);
        let whole = Blocking::whole(self.batch, self.grid).block(0);
        let is_heavy = self.groups == 1
            && self.panels.len() >= LARGE_WEIGHTS
            && self.window.copy_len(&whole) <= SMALL_INPUT
            && self.panels.per_group >= rayon::current_num_threads();
        if is_heavy {
            // SAFETY: the caller's promise.
            unsafe { self.run_by_panels(&whole, &parts, output) };
        } else {
            self.panels = self.panels.packed();
            // SAFETY: the caller's promise.
            unsafe { self.run_by_blocks(&parts, output) };
        }
    }

    /// Shares out blocks of pixels, and panels if there are few blocks. For packed panels.
    ///
    /// # Safety
    /// As [`Product::run`].
    unsafe fn run_by_blocks(&self, parts: &[SumPart], output: Shared<f32>) {
        let copy = self.window.needs_copy(self.grid);
        let panels = [self.groups, self.panels.per_group];
        share_out(
            self.window,
            self.batch,
            self.grid,
            panels,
            |block, group, panels| {
                with_scratch(|[scratch, unused, _]| {
                    let memory = copy.then(|| scratch.take(self.window.copy_len(&block)));
                    let staged = self.stage(&block, group, memory, output);
                    // SAFETY: the caller's promise; calls differ in block, group or panels.
                    unsafe { self.block(&staged, group, panels, parts, unused) };
                });
            },
        );
    }

    /// Shares out panels, each of which meets all pixels. For panels that are packed on demand.
    ///
    /// # Safety
    /// As [`Product::run`].
    unsafe fn run_by_panels(&self, whole: &Block, parts: &[SumPart], output: Shared<f32>) {
        let copy = self.window.needs_copy(self.grid);
        let mut memory = copy.then(|| Buffer::take(self.window.copy_len(whole)));
        let staged = self.stage(whole, 0, memory.as_deref_mut(), output);
        for_each_task(self.panels.per_group, |panel| {
            with_scratch(|[scratch, ..]| {
                // SAFETY: the caller's promise; tasks differ in panels.
                unsafe { self.block(&staged, 0, panel..panel + 1, parts, scratch) };
            });
        });
    }

    /// Makes a block ready; a copy of its band is made if there is memory for one.
    fn stage<'a>(
        &'a self,
        block: &Block,
        group: usize,
        memory: Option<&'a mut [f32]>,
        output: Shared<f32>,
    ) -> Staged<'a> {
        let mut band = self.window.stage(self.source, block, group, memory);
        let mut outputs = Vec::with_capacity(band.pixels.len());
        let mut residuals = Vec::new();
        let step = self.placement.step[3];
        block.for_each_row(|image, position| {
            let first = self.placement.of(image, position) + group * self.panels.columns;
            let row = (0..block.size[2]).map(|at| first + at * step);
            outputs.extend(row.clone().map(|at| output.get().wrapping_add(at)));
            if let Some(residual) = self.residual {
                residuals.extend(row.map(|at| residual[at..].as_ptr()));
            }
        });
        // The last tile computes its last pixel several times and stores it once.
        let last = *band.pixels.last().expect("a block has pixels");
        let tile_rows = self.isa.tile_rows(self.operand, outputs.len());
        band.pixels
            .resize(outputs.len().next_multiple_of(tile_rows), last);
        Staged {
            band,
            outputs,
            residuals,
            tile_rows,
        }
    }

    /// Computes the columns of `panels` for one block.
    ///
    /// # Safety
    /// As [`Product::run`].
    unsafe fn block(
        &self,
        staged: &Staged,
        group: usize,
        panels: Range<usize>,
        parts: &[SumPart],
        scratch: &mut Scratch,
    ) {
        let num_tiles = staged.band.pixels.len() / staged.tile_rows;
        let rows = |part: &SumPart| part.row..part.row + part.num_runs * part.len;
        if let ([part], true) = (parts, self.panels.is_packed()) {
            // A short window: all columns of a pixel while it is at hand.
            for tile in 0..num_tiles {
                for panel in panels.clone() {
                    let weights = self.panels.rows(group, panel, rows(part), scratch);
                    // SAFETY: as for this function.
                    unsafe { self.tile(staged, tile, [group, panel], part, weights) };
                }
            }
            return;
        }
        // A long one: a piece of a panel meets every tile while it is in the cache.
        for panel in panels.clone() {
            for part in parts {
                let weights = self.panels.rows(group, panel, rows(part), scratch);
                for tile in 0..num_tiles {
                    // SAFETY: as for this function.
                    unsafe { self.tile(staged, tile, [group, panel], part, weights) };
                }
            }
        }
    }

    /// One tile of one panel, whose rows for this piece of the sum are `weights`.
    ///
    /// # Safety
    /// As [`Product::run`].
    unsafe fn tile(
        &self,
        staged: &Staged,
        tile: usize,
        [group, panel]: [usize; 2],
        part: &SumPart,
        weights: &[f32],
    ) {
        let (width, rows, band) = (self.panels.width, staged.tile_rows, &staged.band);
        let first = tile * rows;
        let outputs = &staged.outputs[first..staged.outputs.len().min(first + rows)];
        let mut shifted = [std::ptr::null_mut(); MAX_ROWS];
        for (to, output) in shifted.iter_mut().zip(outputs) {
            // SAFETY: the panel has at least one column, which lies inside the output.
            *to = unsafe { output.add(panel * width) };
        }
        let mut next = [std::ptr::null(); MAX_ROWS];
        let later = staged.outputs.iter().skip(first + rows).take(rows);
        let num_next = later.len();
        for (to, output) in next.iter_mut().zip(later) {
            *to = output.wrapping_add(panel * width).cast_const();
        }
        let mut added = [std::ptr::null(); MAX_ROWS];
        let residuals = staged.residuals.iter().skip(first).take(outputs.len());
        let num_residuals = residuals.len();
        for (to, residual) in added.iter_mut().zip(residuals) {
            // SAFETY: as for the output.
            *to = unsafe { residual.add(panel * width) };
        }
        let is_last = part.row + part.num_runs * part.len == self.panels.rows;
        let column = (group * self.panels.per_group + panel) * width;
        let finish = self
            .finish
            .filter(|_| is_last)
            .map(|finish| finish.at(column));
        let args = RowArgs {
            base: band.base.wrapping_add(part.start),
            pixels: &band.pixels[first..first + rows],
            runs: &band.runs[part.run..part.run + part.num_runs],
            run_len: part.len,
            panel: weights.as_ptr(),
            outputs: &shifted[..outputs.len()],
            width: width.min(self.panels.columns - panel * width),
            accumulate: part.row > 0,
            finish,
            residuals: &added[..num_residuals],
            next: &next[..num_next],
        };
        // SAFETY: the band holds every run of every pixel, the panel every row; the outputs are
        // this task's.
        unsafe { row_tile(self.isa, self.operand, &args) };
    }
}
