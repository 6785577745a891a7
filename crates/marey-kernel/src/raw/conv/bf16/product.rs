//! The loop over blocks, panels, pieces of the sum and pairs of tiles that two directions share.
//!
//! As [`super::super::product`], but a tile is pixels of one output row, because the hardware wants
//! equal distances between its rows.

use std::ops::Range;

use half::bf16;

use super::super::super::memory::Buffer;
use super::super::super::parallel::{Scratch, Shared, for_each_task, with_scratch};
use super::super::blocking::{Blocking, SumPart, share_out, sum_parts};
use super::super::dense::Padded;
use super::super::product::Placement;
use super::super::window::{Band, Block, Window};
use super::amx::{self, COLUMNS, ROWS, Tiles};
use super::lanes;
use super::panels::{Cut, Panels};

/// Chunks whose packed weights (2 KiB each) stay in L2, beside the pixels, while they meet every tile of
/// a block. Pieces that fit L1 were a tenth slower: sums went to memory too often.
const SUM_CHUNKS: usize = 128;
/// Elements of all panels up to which every panel meets a pair of tiles before the next pair comes.
const SMALL_PANELS: usize = 64 << 10;
/// Floats of the sums of a pair of tiles.
const SUMS_LEN: usize = 2 * ROWS * COLUMNS;

/// Elements of weights from which a product may keep all activations at hand and pass over the
/// weights once, instead of the other way round.
const LARGE_WEIGHTS: usize = 1 << 20;
/// Elements of activations, padding included, that may be kept at hand for it.
const SMALL_INPUT: usize = 2 << 20;

/// `out[pixel][column] = finish(sum of window(pixel) * panel column)`.
pub(super) struct Product<'a> {
    pub(super) window: &'a Window,
    pub(super) cut: Cut,
    pub(super) source: &'a [bf16],
    pub(super) batch: usize,
    /// Output pixels `[t, h, w]` of an image.
    pub(super) grid: [usize; 3],
    pub(super) groups: usize,
    /// Not packed yet.
    pub(super) panels: Panels<'a>,
    /// What happens to the sums.
    pub(super) finish: Option<&'a Padded>,
    pub(super) placement: Placement,
}

/// Pixels of one output row: where their windows start and their outputs go.
struct Tile {
    pixel: *const bf16,
    output: *mut bf16,
}

/// A block of pixels, ready to be read.
struct Staged<'a> {
    band: Band<'a, bf16>,
    tiles: Vec<Tile>,
    /// Bytes from one pixel of a tile to the next.
    pixel_step: usize,
    group: usize,
}

// SAFETY: the output pointers are written by tasks that share out the panels of a block.
unsafe impl Sync for Staged<'_> {}

impl Product<'_> {
    /// Computes every output.
    ///
    /// # Safety
    /// AMX is available. The placement keeps every pixel's columns, of all groups, inside `output`,
    /// apart from those of other pixels.
    pub(super) unsafe fn run(mut self, output: Shared<bf16>) {
        let num_runs = self.window.len() / self.window.run_len();
        let parts = sum_parts(num_runs, self.cut.chunks, SUM_CHUNKS);
        let whole = Blocking::whole(self.batch, self.grid).block(0);
        let is_heavy = self.groups == 1
            && self.panels.group_len() >= LARGE_WEIGHTS
            && self.window.copy_len(&whole) <= SMALL_INPUT
            && self.panels.per_group >= rayon::current_num_threads();
        if !is_heavy || self.panels.are_scattered() {
            self.panels = self.panels.pack();
        }
        if is_heavy {
            // SAFETY: the caller's promise.
            unsafe { self.run_by_panels(&whole, &parts, output) };
        } else {
            // SAFETY: the caller's promise.
            unsafe { self.run_by_blocks(&parts, output) };
        }
    }

    /// Shares out blocks of pixels, and panels if there are few blocks. For packed panels.
    ///
    /// # Safety
    /// As [`Product::run`].
    unsafe fn run_by_blocks(&self, parts: &[SumPart], output: Shared<bf16>) {
        let copy = self.window.needs_copy(self.grid);
        let tiles = Tiles::new(self.tile_rows(), self.cut.depth);
        let panels = [self.groups, self.panels.per_group];
        share_out(
            self.window,
            self.batch,
            self.grid,
            panels,
            |block, group, panels| {
                with_scratch(|[band, rest @ ..]| {
                    let memory = copy.then(|| band.take(self.window.copy_len(&block)));
                    let staged = self.stage(&block, group, memory, output);
                    // SAFETY: the caller's promise; calls differ in block, group or panels.
                    unsafe { tiles.with(|| self.block(&staged, panels, parts, rest)) };
                });
            },
        );
    }

    /// Shares out panels, each of which meets all pixels. For panels that are packed, or will be on demand.
    ///
    /// # Safety
    /// As [`Product::run`].
    unsafe fn run_by_panels(&self, whole: &Block, parts: &[SumPart], output: Shared<bf16>) {
        let copy = self.window.needs_copy(self.grid);
        let mut memory = copy.then(|| Buffer::take(self.window.copy_len(whole)));
        let staged = self.stage(whole, 0, memory.as_deref_mut(), output);
        let tiles = Tiles::new(self.tile_rows(), self.cut.depth);
        for_each_task(self.panels.per_group, |panel| {
            with_scratch(|[_, rest @ ..]| {
                // SAFETY: the caller's promise; tasks differ in panels.
                unsafe { tiles.with(|| self.block(&staged, panel..panel + 1, parts, rest)) };
            });
        });
    }

    /// Pixels of a tile: an equal share of a row. 17 pixels are 9 and 9, which overlap, not 16 and 1.
    fn tile_rows(&self) -> usize {
        let [_, _, w] = self.grid;
        w.div_ceil(w.div_ceil(ROWS))
    }

    /// Makes a block ready; a copy of its band is made if there is memory for one.
    fn stage<'a>(
        &'a self,
        block: &Block,
        group: usize,
        memory: Option<&'a mut [bf16]>,
        output: Shared<bf16>,
    ) -> Staged<'a> {
        let window = self.window;
        let pitch = if memory.is_some() {
            window.width
        } else {
            window.pitch
        };
        let band = window.stage(self.source, block, group, memory);
        let ([_, _, w], tile_rows) = (block.size, self.tile_rows());
        let mut tiles = Vec::with_capacity(band.pixels.len().div_ceil(tile_rows));
        let mut first = 0;
        block.for_each_row(|image, position| {
            let row = self.placement.of(image, position) + group * self.panels.columns;
            for at in (0..w).step_by(tile_rows) {
                let at = at.min(w - tile_rows);
                tiles.push(Tile {
                    pixel: band.base.wrapping_offset(band.pixels[first + at]),
                    output: output.get().wrapping_add(row + at * self.placement.step[3]),
                });
            }
            first += w;
        });
        Staged {
            band,
            tiles,
            pixel_step: window.stride[2] * pitch * size_of::<bf16>(),
            group,
        }
    }

    /// Computes the columns of `panels` for one block.
    ///
    /// # Safety
    /// As [`Product::run`], within the product's tiles.
    unsafe fn block(
        &self,
        staged: &Staged,
        panels: Range<usize>,
        parts: &[SumPart],
        [sums, weights]: &mut [Scratch; 2],
    ) {
        let num_pairs = staged.tiles.len().div_ceil(2);
        if let ([part], true) = (parts, self.panels.group_len() <= SMALL_PANELS) {
            // A short window: all columns of a pixel while it is at hand.
            let sums: &mut [f32] = sums.take(SUMS_LEN);
            for pair in 0..num_pairs {
                for panel in panels.clone() {
                    let weights = self.panels.part([staged.group, panel], part, weights);
                    // SAFETY: as for this function.
                    unsafe { self.pair(staged, pair, panel, part, weights, sums) };
                }
            }
            return;
        }
        // A long one: a piece of a panel meets every tile while it is in the cache.
        let each = if parts.len() == 1 { 0 } else { SUMS_LEN };
        let sums: &mut [f32] = sums.take(SUMS_LEN + (num_pairs - 1) * each);
        for panel in panels {
            for part in parts {
                let weights = self.panels.part([staged.group, panel], part, weights);
                for pair in 0..num_pairs {
                    let sums = &mut sums[pair * each..][..SUMS_LEN];
                    // SAFETY: as for this function.
                    unsafe { self.pair(staged, pair, panel, part, weights, sums) };
                }
            }
        }
    }

    /// A pair of tiles of one panel, for one piece of the sum, whose packed weights are `weights`.
    ///
    /// # Safety
    /// As [`Product::block`].
    unsafe fn pair(
        &self,
        staged: &Staged,
        pair: usize,
        panel: usize,
        part: &SumPart,
        weights: *const bf16,
        sums: &mut [f32],
    ) {
        let tiles = &staged.tiles[2 * pair..staged.tiles.len().min(2 * pair + 2)];
        let ends = [&tiles[0], &tiles[tiles.len() - 1]];
        let args = amx::Product {
            pixels: ends.map(|tile| tile.pixel.wrapping_add(part.start * self.cut.depth)),
            pixel_step: staged.pixel_step,
            runs: &staged.band.runs[part.run..part.run + part.num_runs],
            chunks: part.len,
            depth: self.cut.depth,
            panel: weights,
            sums: sums.as_mut_ptr(),
            accumulate: part.row > 0,
        };
        // SAFETY: the band holds every chunk of every pixel, the weights those of every run.
        unsafe { amx::multiply(&args) };
        let num_chunks = self.window.len() / self.cut.depth;
        if part.row + part.num_runs * part.len == num_chunks {
            for (tile, sums) in tiles.iter().zip(sums.chunks_exact(ROWS * COLUMNS)) {
                // SAFETY: the tile's outputs are this task's.
                unsafe { self.store(staged.group, panel, tile, sums) };
            }
        }
    }

    /// Rounds a tile's sums into the outputs.
    ///
    /// # Safety
    /// The tile's outputs are this task's.
    unsafe fn store(&self, group: usize, panel: usize, tile: &Tile, sums: &[f32]) {
        let column = (group * self.panels.per_group + panel) * COLUMNS;
        let finish = self.finish.map(|finish| finish.at(column));
        let len = COLUMNS.min(self.panels.columns - panel * COLUMNS);
        let sums = &sums[..self.tile_rows() * COLUMNS];
        let (to, step) = (
            tile.output.wrapping_add(panel * COLUMNS),
            self.placement.step[3],
        );
        // SAFETY: AMX implies the vectors; `len` columns of each pixel.
        unsafe { lanes::store_rows(sums, finish, to, step, len) };
    }
}
