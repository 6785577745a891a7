//! How the work is cut: output pixels into blocks, the window into pieces of the sum.

use std::ops::Range;

use super::super::parallel::for_each_task;
use super::window::{Block, Window};

/// Elements of a band that a task should work on: it stays in a core's L2 cache.
const BAND_LEN: usize = 96 << 10;
/// Output pixels below which a block is not cut for the sake of its band, because every block
/// walks all of the weights.
const MIN_PIXELS: usize = 112;
/// Rows that a block has at least, if it has several frames.
const MIN_ROWS: usize = 4;
/// Window floats whose packed weights (128 bytes each) stay in L2, beside the band, while they meet
/// every tile of a block. Pieces that fit L1 were 5 to 10 % slower: outputs are added up too often.
pub(super) const SUM_LEN: usize = 1152;

/// What blocks should be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    /// At least so many, if that does not make them tiny.
    pub(super) blocks: usize,
    /// Elements of a band at most, likewise.
    pub(super) band_len: usize,
    /// Output pixels below which a block is not cut.
    pub(super) pixels: usize,
    /// Rows of a frame above which frames are cut, and not cut apart.
    pub(super) rows: usize,
}

impl Goal {
    /// Blocks that suit a core's cache, and at least so many.
    pub(super) fn at_least(blocks: usize) -> Self {
        Self {
            blocks,
            band_len: BAND_LEN,
            pixels: MIN_PIXELS,
            rows: MIN_ROWS,
        }
    }
}

/// How outputs are cut into blocks.
#[derive(Debug)]
pub(super) struct Blocking {
    batch: usize,
    grid: [usize; 3],
    images: usize,
    t: usize,
    h: usize,
}

impl Blocking {
    /// Cuts `batch` outputs of `grid` pixels into blocks.
    pub(super) fn new(window: &Window, batch: usize, grid: [usize; 3], goal: Goal) -> Self {
        let Goal {
            blocks: min_blocks,
            band_len,
            pixels: min_pixels,
            rows: min_rows,
        } = goal;
        let mut cut = Self {
            batch,
            grid,
            images: 1,
            t: grid[0],
            h: grid[1],
        };
        let is_large =
            |cut: &Self| window.band_len(cut.t, cut.h) > band_len || cut.num_blocks() < min_blocks;
        while cut.block_pixels() > min_pixels && cut.t * cut.h > 1 && is_large(&cut) {
            // Rows first: a cut between frames repeats more of the input.
            if cut.h > min_rows || cut.t == 1 {
                cut.h = cut.h.div_ceil(2);
            } else {
                cut.t = cut.t.div_ceil(2);
            }
        }
        // Small maps: several images a block.
        while cut.images < batch
            && (cut.t, cut.h) == (grid[0], grid[1])
            && cut.block_pixels() < 2 * min_pixels
            && window.band_len(cut.t, cut.h) * (cut.images + 1) <= 2 * band_len
            && batch.div_ceil(cut.images + 1) >= min_blocks
        {
            cut.images += 1;
        }
        cut
    }

    /// One block of everything.
    pub(super) fn whole(batch: usize, grid: [usize; 3]) -> Self {
        Self {
            batch,
            grid,
            images: batch,
            t: grid[0],
            h: grid[1],
        }
    }

    /// Output pixels of a full block.
    fn block_pixels(&self) -> usize {
        self.images * self.t * self.h * self.grid[2]
    }

    fn blocks_per_image(&self) -> usize {
        self.grid[0].div_ceil(self.t) * self.grid[1].div_ceil(self.h)
    }

    /// Blocks in all.
    pub(super) fn num_blocks(&self) -> usize {
        self.batch.div_ceil(self.images) * self.blocks_per_image()
    }

    /// A block by its number.
    pub(super) fn block(&self, idx: usize) -> Block {
        let (images, part) = (idx / self.blocks_per_image(), idx % self.blocks_per_image());
        let blocks_high = self.grid[1].div_ceil(self.h);
        let start = [part / blocks_high * self.t, part % blocks_high * self.h, 0];
        let image = images * self.images;
        Block {
            image,
            num_images: self.images.min(self.batch - image),
            start,
            size: [
                self.t.min(self.grid[0] - start[0]),
                self.h.min(self.grid[1] - start[1]),
                self.grid[2],
            ],
        }
    }
}

/// Most tasks into which one block's panels are divided.
const MAX_PANEL_SPLITS: usize = 16;
/// Tasks wanted for each thread: enough to even out what other processes take.
pub(super) const TASKS_PER_THREAD: usize = 4;

/// Calls `work` in parallel with blocks of `batch` outputs of `grid` pixels, a group, and some of its
/// `per_group` panels: blocks are shared out, and panels as well if there are few blocks. Calls differ in
/// block, group or panels.
pub(super) fn share_out(
    window: &Window,
    batch: usize,
    grid: [usize; 3],
    [groups, per_group]: [usize; 2],
    work: impl Fn(Block, usize, Range<usize>) + Sync,
) {
    let want = TASKS_PER_THREAD * rayon::current_num_threads();
    let pixels = batch * grid.iter().product::<usize>();
    let blocks = if window.needs_copy(grid) {
        want
    } else {
        // Few pixels that are read in place: rather panels are shared out than weights walked for every few of them.
        want.min((pixels / MIN_PIXELS).max(want.div_ceil(per_group)))
    };
    let blocking = Blocking::new(window, batch, grid, Goal::at_least(blocks));
    let num_blocks = blocking.num_blocks() * groups;
    let splits = want
        .div_ceil(num_blocks)
        .min(per_group)
        .min(MAX_PANEL_SPLITS);
    let panels_each = per_group.div_ceil(splits);
    let splits = per_group.div_ceil(panels_each);
    for_each_task(num_blocks * splits, |task| {
        let (block_idx, split) = (task / splits, task % splits);
        let (group, block_idx) = (block_idx % groups, block_idx / groups);
        let first = split * panels_each;
        let panels = first..per_group.min(first + panels_each);
        work(blocking.block(block_idx), group, panels);
    });
}

/// A piece of the sum over a window: the same elements of several runs. An element is a float, or
/// a chunk of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SumPart {
    /// First run.
    pub(super) run: usize,
    /// Runs.
    pub(super) num_runs: usize,
    /// First element within each run.
    pub(super) start: usize,
    /// Elements of each run.
    pub(super) len: usize,
    /// Row of the packed panel where the piece starts.
    pub(super) row: usize,
}

/// Cuts a window of `num_runs` runs of `run_len` elements into pieces of at most `max_len`.
/// The cut depends on nothing else, so that sums come out the same whatever the blocks are.
pub(super) fn sum_parts(num_runs: usize, run_len: usize, max_len: usize) -> Vec<SumPart> {
    let mut parts = vec![];
    if run_len <= max_len {
        let step = max_len / run_len;
        for run in (0..num_runs).step_by(step) {
            let num_runs = step.min(num_runs - run);
            parts.push(SumPart {
                run,
                num_runs,
                start: 0,
                len: run_len,
                row: run * run_len,
            });
        }
        return parts;
    }
    let len = run_len.div_ceil(run_len.div_ceil(max_len));
    for run in 0..num_runs {
        for start in (0..run_len).step_by(len) {
            let len = len.min(run_len - start);
            parts.push(SumPart {
                run,
                num_runs: 1,
                start,
                len,
                row: run * run_len + start,
            });
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_pixel_once() {
        for (batch, grid, channels) in [
            (1, [1, 1, 1], 3),
            (5, [1, 7, 7], 512),
            (2, [16, 56, 56], 64),
            (3, [5, 31, 9], 200),
        ] {
            let window = Window {
                input: grid,
                channels,
                pitch: channels,
                width: channels,
                stride: [1; 3],
                offsets: [vec![-1, 0, 1], vec![-1, 0, 1], vec![-1, 0, 1]],
            };
            let cut = Blocking::new(&window, batch, grid, Goal::at_least(8));
            let mut seen = vec![0; batch * grid.iter().product::<usize>()];
            for idx in 0..cut.num_blocks() {
                cut.block(idx).for_each_row(|n, [t, h, w]| {
                    let first = ((n * grid[0] + t) * grid[1] + h) * grid[2] + w;
                    seen[first..first + grid[2]]
                        .iter_mut()
                        .for_each(|count| *count += 1);
                });
            }
            assert!(seen.iter().all(|count| *count == 1), "{cut:?}");
        }
    }

    #[test]
    fn sum_parts_cover_the_window_once() {
        for (num_runs, run_len) in [(1, 1), (9, 3), (27, 64), (9, 1536), (3, 1153), (49, 255)] {
            let mut seen = vec![0; num_runs * run_len];
            for part in sum_parts(num_runs, run_len, SUM_LEN) {
                assert!(part.num_runs * part.len <= SUM_LEN);
                for run in part.run..part.run + part.num_runs {
                    for q in part.start..part.start + part.len {
                        seen[run * run_len + q] += 1;
                    }
                }
                assert_eq!(part.row, part.run * run_len + part.start);
            }
            assert!(
                seen.iter().all(|count| *count == 1),
                "{num_runs} x {run_len}"
            );
        }
    }
}
