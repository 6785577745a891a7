//! The loop over blocks, panels, pieces of the sum and pairs of tiles that two directions share.
//!
//! As [`super::super::product`], but a tile is pixels of one output row, because the hardware wants
//! equal distances between its rows.

use half::bf16;

use super::super::super::activation::Activation;
use super::super::super::parallel::{Scratch, Shared, for_each_task, with_scratch};
use super::super::blocking::{Blocking, Goal, SumPart, sum_parts};
use super::super::product::{MAX_PANEL_SPLITS, Placement, TASKS_PER_THREAD};
use super::super::window::{Block, Window};
use super::amx::{self, COLUMNS, ROWS, Tiles};
use super::lanes::{self, Finish};
use super::panels::{Cut, Panels};

/// Chunks whose packed weights (2 KiB each) stay in L1, beside the pixels, while they meet every tile of
/// a block.
const SUM_CHUNKS: usize = 16;
/// Elements of all panels up to which every panel meets a pair of tiles before the next pair comes.
const SMALL_PANELS: usize = 64 << 10;
/// Floats of the sums of a pair of tiles.
const SUMS_LEN: usize = 2 * ROWS * COLUMNS;

/// `out[pixel][column] = activation(sum of window(pixel) * panel column + bias[column])`.
pub(super) struct Product<'a> {
    pub(super) window: &'a Window,
    pub(super) cut: Cut,
    pub(super) source: &'a [bf16],
    pub(super) batch: usize,
    /// Output pixels `[t, h, w]` of an image.
    pub(super) grid: [usize; 3],
    pub(super) groups: usize,
    /// Columns of a group.
    pub(super) columns: usize,
    pub(super) panels: Panels,
    /// Bias of each column of each panel (zeros where a panel has no column), and activation.
    pub(super) finish: Option<(&'a [f32], Activation)>,
    pub(super) placement: Placement,
}

/// Pixels of one output row: where their windows start and their outputs go.
struct Tile {
    pixel: *const bf16,
    output: *mut bf16,
}

impl Product<'_> {
    /// Computes every output.
    ///
    /// # Safety
    /// AMX is available. The placement keeps every pixel's columns, of all groups, inside `output`,
    /// apart from those of other pixels.
    pub(super) unsafe fn run(&self, output: Shared<bf16>) {
        let num_runs = self.window.len() / self.window.run_len();
        let parts = sum_parts(num_runs, self.cut.chunks, SUM_CHUNKS);
        let want = TASKS_PER_THREAD * rayon::current_num_threads();
        let blocking = Blocking::new(self.window, self.batch, self.grid, Goal::at_least(want));
        let num_blocks = blocking.num_blocks() * self.groups;
        let per_group = self.panels.per_group;
        let splits = want
            .div_ceil(num_blocks)
            .min(per_group)
            .min(MAX_PANEL_SPLITS);
        let panels_each = per_group.div_ceil(splits);
        let splits = per_group.div_ceil(panels_each);
        // Equal tiles: 17 pixels are 9 and 9, which overlap, not 16 and 1.
        let [_, _, w] = self.grid;
        let tile_rows = w.div_ceil(w.div_ceil(ROWS));
        let tiles = Tiles::new(tile_rows, self.cut.depth);
        for_each_task(num_blocks * splits, |task| {
            let (block_idx, split) = (task / splits, task % splits);
            let (group, block_idx) = (block_idx % self.groups, block_idx / self.groups);
            let first = split * panels_each;
            let job = Job {
                product: self,
                block: blocking.block(block_idx),
                group,
                panels: first..per_group.min(first + panels_each),
                parts: &parts,
                tile_rows,
                output,
            };
            // SAFETY: the caller's promise; tasks differ in block, group or panels.
            with_scratch(|scratch| unsafe { tiles.with(|| job.run(scratch)) });
        });
    }
}

/// The columns of some panels for one block.
struct Job<'a> {
    product: &'a Product<'a>,
    block: Block,
    group: usize,
    panels: std::ops::Range<usize>,
    parts: &'a [SumPart],
    /// Pixels of a tile.
    tile_rows: usize,
    output: Shared<bf16>,
}

impl Job<'_> {
    /// # Safety
    /// As [`Product::run`], within the product's tiles.
    unsafe fn run(&self, [band_scratch, sums_scratch, _]: &mut [Scratch; 3]) {
        let product = self.product;
        let window = product.window;
        let copy = window.needs_copy(product.grid);
        let memory = copy.then(|| band_scratch.take(window.copy_len(&self.block)));
        let band = window.stage(product.source, &self.block, self.group, memory);
        let pitch = if copy { window.width } else { window.pitch };
        let pixel_step = window.stride[2] * pitch * size_of::<bf16>();
        let tiles = self.tiles(band.base, &band.pixels);
        let pairs: Vec<&[Tile]> = tiles.chunks(2).collect();
        let sums: &mut [f32] = sums_scratch.take(pairs.len() * SUMS_LEN);
        let step = |panel: usize, part: &SumPart, pair: usize, sums: &mut [f32]| {
            let [first, last] = [&pairs[pair][0], &pairs[pair][pairs[pair].len() - 1]];
            let args = amx::Product {
                pixels: [first, last]
                    .map(|tile| tile.pixel.wrapping_add(part.start * product.cut.depth)),
                pixel_step,
                runs: &band.runs[part.run..part.run + part.num_runs],
                chunks: part.len,
                depth: product.cut.depth,
                panel: product.panels.at(self.group, panel, part.row),
                sums: sums.as_mut_ptr(),
                accumulate: part.row > 0,
            };
            // SAFETY: the band holds every chunk of every pixel, the panel of every run.
            unsafe { amx::multiply(&args) };
            if std::ptr::eq(part, &self.parts[self.parts.len() - 1]) {
                for (tile, sums) in pairs[pair].iter().zip(sums.chunks_exact(ROWS * COLUMNS)) {
                    // SAFETY: the tile's outputs are this task's.
                    unsafe { self.store(panel, tile, sums) };
                }
            }
        };
        if let ([part], true) = (self.parts, product.panels.group_len() <= SMALL_PANELS) {
            for pair in 0..pairs.len() {
                self.panels
                    .clone()
                    .for_each(|panel| step(panel, part, pair, &mut sums[..SUMS_LEN]));
            }
            return;
        }
        for panel in self.panels.clone() {
            for part in self.parts {
                for (pair, sums) in sums.chunks_exact_mut(SUMS_LEN).enumerate() {
                    step(panel, part, pair, sums);
                }
            }
        }
    }

    /// The tiles of the block; those of a row may overlap.
    fn tiles(&self, base: *const bf16, pixels: &[isize]) -> Vec<Tile> {
        let [_, _, w] = self.block.size;
        let placement = &self.product.placement;
        let mut tiles = Vec::with_capacity(pixels.len().div_ceil(self.tile_rows));
        let mut first = 0;
        self.block.for_each_pixel(|image, position| {
            if position[2] != 0 {
                return;
            }
            let row = placement.of(image, position) + self.group * self.product.columns;
            for at in (0..w).step_by(self.tile_rows) {
                let at = at.min(w - self.tile_rows);
                tiles.push(Tile {
                    pixel: base.wrapping_offset(pixels[first + at]),
                    output: self.output.get().wrapping_add(row + at * placement.step[3]),
                });
            }
            first += w;
        });
        tiles
    }

    /// Rounds a tile's sums into the outputs.
    ///
    /// # Safety
    /// The tile's outputs are this task's.
    unsafe fn store(&self, panel: usize, tile: &Tile, sums: &[f32]) {
        let product = self.product;
        let finish = product.finish.map(|(bias, activation)| {
            let at = (self.group * product.panels.per_group + panel) * COLUMNS;
            Finish {
                bias: bias[at..at + COLUMNS].as_ptr(),
                activation,
            }
        });
        let len = COLUMNS.min(product.columns - panel * COLUMNS);
        for (row, sums) in sums.chunks_exact(COLUMNS).take(self.tile_rows).enumerate() {
            let output = tile
                .output
                .wrapping_add(row * product.placement.step[3] + panel * COLUMNS);
            // SAFETY: AMX implies the vectors; `len` columns of the pixel.
            unsafe { lanes::store_row(sums.as_ptr(), finish, output, len) };
        }
    }
}
