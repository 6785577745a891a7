//! Backward weights on AMX: `dW[output][window element] = dy^T . windows(x)`, added up over pixels.
//!
//! The hardware sums over pairs that lie together, and here the sum runs over pixels. So a task brings
//! the band of `x` that its block sees into pairs of neighbouring pixels, once (a tap along the height
//! or time is then a shift by whole rows), and transposes its part of `dy`. As in
//! [`super::super::weights`], tasks add up in copies of dW, which are added in a fixed order at the end.

use std::ops::Range;

use half::bf16;

use super::super::super::memory::Buffer;
use super::super::super::parallel::{Scratch, Shared, for_each_task, with_scratch};
use super::super::super::shape::Conv3dShape;
use super::super::blocking::{BAND_LEN, Blocking};
use super::super::dense::window_of_x;
use super::super::product::TASKS_PER_THREAD;
use super::super::weights::MAX_COPIES_LEN;
use super::super::window::{Block, Window};
use super::amx::{self, COLUMNS, ROWS, Tiles};
use super::lanes;

/// Elements of a chunk of dy: 16 outputs by up to 16 pairs.
const CHUNK_LEN: usize = ROWS * COLUMNS;

/// How dW is laid out while it is added up: `[copy][group][output][run][run_len]`, rounded up to tiles.
struct Layout {
    /// Outputs of a group, rounded up.
    outputs: usize,
    /// Elements of a run.
    run: usize,
    /// The same, rounded up.
    run_len: usize,
    num_runs: usize,
    groups: usize,
}

impl Layout {
    /// Floats from one output to the next.
    fn row_len(&self) -> usize {
        self.num_runs * self.run_len
    }

    fn group_len(&self) -> usize {
        self.outputs * self.row_len()
    }

    fn copy_len(&self) -> usize {
        self.groups * self.group_len()
    }
}

/// Backward weights; lengths are checked by the caller.
///
/// # Safety
/// AMX is available.
pub(super) unsafe fn backward_weights(
    shape: &Conv3dShape,
    x: &[bf16],
    dy: &[bf16],
    dw: &mut [f32],
) {
    let window = window_of_x(shape);
    let layout = Layout {
        outputs: shape.group_outputs().next_multiple_of(COLUMNS),
        run: window.run_len(),
        run_len: window.run_len().next_multiple_of(COLUMNS),
        num_runs: window.len() / window.run_len(),
        groups: shape.options.groups,
    };
    let want = TASKS_PER_THREAD * rayon::current_num_threads();
    let blocking = Blocking::new(&window, shape.batch, shape.output(), want, BAND_LEN);
    let num_blocks = blocking.num_blocks();
    let copies = (1 + MAX_COPIES_LEN / layout.copy_len())
        .min(want)
        .min(num_blocks);
    let panels = layout.outputs / COLUMNS;
    let splits = want.div_ceil(copies * layout.groups).min(panels);
    let panels_each = panels.div_ceil(splits);
    let splits = panels.div_ceil(panels_each);
    let mut partial = Buffer::<f32>::take(copies * layout.copy_len());
    let shared = Shared::new(&mut partial);
    for_each_task(copies * layout.groups * splits, |task| {
        let (copy, rest) = (
            task / (layout.groups * splits),
            task % (layout.groups * splits),
        );
        let (group, first) = (rest / splits, rest % splits * panels_each);
        let blocks = copy * num_blocks / copies..(copy + 1) * num_blocks / copies;
        for (idx, block) in blocks.map(|idx| blocking.block(idx)).enumerate() {
            let job = Job {
                shape,
                window: &window,
                layout: &layout,
                size: Pairs::new(shape, &window, &block),
                block,
                group,
                outputs: first * COLUMNS..layout.outputs.min((first + panels_each) * COLUMNS),
                // SAFETY: the start of the group in this copy lies inside the buffer.
                sums: unsafe {
                    shared
                        .get()
                        .add(copy * layout.copy_len() + group * layout.group_len())
                },
                accumulate: idx > 0,
            };
            // SAFETY: AMX is available; no other task has the same copy, group and outputs.
            with_scratch(|scratch| unsafe { job.run(x, dy, scratch) });
        }
    });
    add_up(&layout, shape, &partial, copies, dw);
}

/// How a block's pixels become pairs.
struct Pairs {
    /// Pairs of an output row, the last ones zeros where it takes some to cut boxes evenly.
    per_row: usize,
    /// Pairs of a chunk, at most 16.
    per_chunk: usize,
    /// Chunks of a box, which is the block's rows of one output frame.
    chunks: usize,
    /// Positions along the width that are no neighbours, and need pairs of their own.
    taps: usize,
    /// Input frames and rows that the block sees.
    frames: usize,
    rows: usize,
    /// Input rows of one residue modulo the stride, which successive output rows read one by one.
    rows_of_class: usize,
}

impl Pairs {
    fn new(shape: &Conv3dShape, window: &Window, block: &Block) -> Self {
        let [_, h, w] = block.size;
        let least = w.div_ceil(2);
        // A chunk that went past its box would multiply a stranger's NaN with zero.
        let (per_row, chunks) = ((h * least).div_ceil(ROWS)..)
            .find_map(|chunks| {
                let most = chunks * ROWS / h;
                let per_row =
                    (least..=most).find(|per_row| (h * per_row).is_multiple_of(chunks))?;
                Some((per_row, chunks))
            })
            .expect("a chunk or more a row is possible");
        let rows = window.extent(1, h);
        Self {
            per_row,
            per_chunk: h * per_row / chunks,
            chunks,
            taps: window.offsets[2].len() / window.merged_taps(),
            frames: window.extent(0, block.size[0]),
            rows,
            rows_of_class: rows.div_ceil(shape.options.stride[1]),
        }
    }

    /// Rows of pairs: `[tap][image][frame][class][row of the class]`.
    fn num_rows(&self, images: usize, stride: usize) -> usize {
        self.taps * images * self.frames * stride * self.rows_of_class
    }
}

/// The gradient that one block gives to some outputs.
struct Job<'a> {
    shape: &'a Conv3dShape,
    window: &'a Window,
    layout: &'a Layout,
    size: Pairs,
    block: Block,
    group: usize,
    outputs: Range<usize>,
    sums: *mut f32,
    accumulate: bool,
}

impl Job<'_> {
    /// # Safety
    /// AMX is available; the sums of these outputs are this task's.
    unsafe fn run(&self, x: &[bf16], dy: &[bf16], scratch: &mut [Scratch; 3]) {
        let [band_scratch, pairs_scratch, dy_scratch] = scratch;
        let (size, layout, block) = (&self.size, self.layout, &self.block);
        let stride = self.shape.options.stride[1];
        let row_len = size.per_row * layout.run_len * 2;
        let pairs = pairs_scratch.take(size.num_rows(block.num_images, stride) * row_len);
        let memory = band_scratch.take(self.window.copy_len(block));
        let band = self.window.stage(x, block, self.group, Some(memory));
        // SAFETY: AMX implies the vectors; the band is a copy.
        unsafe { self.pair_up(band.base, pairs, row_len) };
        let boxes = block.num_images * block.size[0];
        let gradients =
            dy_scratch.take(self.outputs.len() / ROWS * boxes * size.chunks * CHUNK_LEN);
        // SAFETY: as above.
        unsafe { self.transpose(dy, gradients) };
        let tiles = Tiles::new(ROWS, 2 * size.per_chunk);
        // SAFETY: the contract.
        unsafe { tiles.with(|| self.add(pairs, row_len, gradients)) };
    }

    /// Writes the pairs of every input row.
    ///
    /// # Safety
    /// AVX-512 F, BW and VL; `band` is the block's copy.
    unsafe fn pair_up(&self, band: *const bf16, pairs: &mut [bf16], row_len: usize) {
        let (size, options) = (&self.size, &self.shape.options);
        let [_, stride, stride_w] = options.stride;
        let channels = self.window.width;
        let [_, _, w] = self.block.size;
        let row_pixels = self.window.extent(2, w);
        let planes = self.block.num_images * size.frames;
        for (idx, to) in pairs.chunks_exact_mut(row_len).enumerate() {
            let (class, row) = (idx / size.rows_of_class % stride, idx % size.rows_of_class);
            let (row, plane) = (row * stride + class, idx / size.rows_of_class / stride);
            if row >= size.rows {
                to.fill(bf16::ZERO);
                continue;
            }
            let (tap, plane) = (plane / planes, plane % planes);
            let first = (plane * size.rows + row) * row_pixels + tap * options.dilation[2];
            let pixel = |w_out: usize| {
                (w_out < w).then(|| band.wrapping_add((first + w_out * stride_w) * channels))
            };
            for (pair, to) in to.chunks_exact_mut(2 * self.layout.run_len).enumerate() {
                let (run, rest) = to.split_at_mut(2 * self.layout.run);
                // SAFETY: a run of each pixel lies inside the band.
                unsafe {
                    let both = [pixel(2 * pair), pixel(2 * pair + 1)];
                    lanes::interleave(both, self.layout.run, run.as_mut_ptr().cast());
                }
                rest.fill(bf16::ZERO);
            }
        }
    }

    /// Writes dy as `[16 outputs][box][chunk][output][pair]`.
    ///
    /// # Safety
    /// AVX-512 F, BW and VL.
    unsafe fn transpose(&self, dy: &[bf16], to: &mut [bf16]) {
        let (size, shape, block) = (&self.size, self.shape, &self.block);
        let [frames, h, w] = block.size;
        let [t_len, h_len, w_len] = shape.output();
        let chunks_of_box = size.chunks * CHUNK_LEN;
        let boxes = block.num_images * frames;
        for (idx, to) in to.chunks_exact_mut(chunks_of_box).enumerate() {
            let first = self.outputs.start + idx / boxes * ROWS;
            let (image, t) = (
                block.image + idx % boxes / frames,
                block.start[0] + idx % boxes % frames,
            );
            let plane = (image * t_len + t) * h_len + block.start[1];
            let len = shape.group_outputs().saturating_sub(first).min(ROWS);
            let start = self.group * shape.group_outputs() + first;
            let pixel = |row: usize, column: usize| {
                (row < h && column < w && len > 0).then(|| {
                    let at = ((plane + row) * w_len + column) * shape.out_channels + start;
                    dy[at..at + len].as_ptr()
                })
            };
            for (chunk, to) in to.chunks_exact_mut(CHUNK_LEN).enumerate() {
                let pairs = std::array::from_fn(|pair| {
                    let at = chunk * size.per_chunk + pair;
                    if pair >= size.per_chunk {
                        return [None; 2];
                    }
                    let (row, column) = (at / size.per_row, at % size.per_row * 2);
                    [pixel(row, column), pixel(row, column + 1)]
                });
                // SAFETY: `len` channels of each pixel; a chunk is 256 pairs.
                unsafe { lanes::transpose_pixels(&pairs, len, to.as_mut_ptr().cast()) };
            }
        }
    }

    /// Adds the block's products to the sums.
    ///
    /// # Safety
    /// As [`Job::run`], within tiles of 16 rows and the block's chunks.
    unsafe fn add(&self, pairs: &[bf16], row_len: usize, gradients: &[bf16]) {
        let (size, layout, block) = (&self.size, self.layout, &self.block);
        let options = &self.shape.options;
        let [_, kernel_h, _] = self.shape.kernel;
        let frames = block.size[0];
        let boxes = block.num_images * frames;
        let tile_len = boxes * size.chunks * CHUNK_LEN;
        for run in 0..layout.num_runs {
            let (tap, kh, kt) = (
                run % size.taps,
                run / size.taps % kernel_h,
                run / size.taps / kernel_h,
            );
            let below = kh * options.dilation[1];
            let (class, below) = (below % options.stride[1], below / options.stride[1]);
            let starts: Vec<*const bf16> = (0..boxes)
                .map(|idx| {
                    let (image, t) = (idx / frames, idx % frames);
                    let frame = t * options.stride[0] + kt * options.dilation[0];
                    let plane = (tap * block.num_images + image) * size.frames + frame;
                    let row = (plane * options.stride[1] + class) * size.rows_of_class + below;
                    pairs[row * row_len..].as_ptr()
                })
                .collect();
            for element in (0..layout.run_len).step_by(COLUMNS) {
                let pixels: Vec<*const bf16> = starts
                    .iter()
                    .map(|start| start.wrapping_add(2 * element))
                    .collect();
                for (idx, output) in self.outputs.clone().step_by(COLUMNS).enumerate() {
                    let at = output * layout.row_len() + run * layout.run_len + element;
                    let tiles = [2 * idx, 2 * idx + 1];
                    let args = amx::Gradient {
                        outputs: tiles.map(|tile| gradients[tile * tile_len..].as_ptr()),
                        pixels: &pixels,
                        pair_step: layout.run_len * 2 * size_of::<bf16>(),
                        chunks: size.chunks,
                        pairs: size.per_chunk,
                        // SAFETY: inside the group's sums.
                        sums: unsafe { self.sums.add(at) },
                        sums_step: layout.row_len(),
                        accumulate: self.accumulate,
                    };
                    // SAFETY: every chunk lies inside the pairs and the gradients.
                    unsafe { amx::correlate(&args) };
                }
            }
        }
    }
}

/// Adds the copies up, always in the same order.
fn add_up(layout: &Layout, shape: &Conv3dShape, partial: &[f32], copies: usize, dw: &mut [f32]) {
    let window_len = layout.num_runs * layout.run;
    let out = Shared::new(dw);
    for_each_task(shape.out_channels, |output| {
        // SAFETY: this output's weights, and no other task's.
        let to = unsafe {
            std::slice::from_raw_parts_mut(out.get().add(output * window_len), window_len)
        };
        let (group, output) = (
            output / shape.group_outputs(),
            output % shape.group_outputs(),
        );
        let row = group * layout.group_len() + output * layout.row_len();
        for (run, to) in to.chunks_exact_mut(layout.run).enumerate() {
            let of_copy = |copy: usize| {
                &partial[copy * layout.copy_len() + row + run * layout.run_len..][..layout.run]
            };
            to.copy_from_slice(of_copy(0));
            for copy in 1..copies {
                to.iter_mut()
                    .zip(of_copy(copy))
                    .for_each(|(to, value)| *to += value);
            }
        }
    });
}
