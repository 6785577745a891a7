//! Backward weights on AMX: `dW[output][window element] = dy^T . windows(x)`, added up over pixels.
//!
//! The hardware sums over pairs that lie together, and here the sum runs over pixels. So the rows of x
//! that a block of outputs sees are brought into pairs of neighbouring pixels, and dy is transposed.
//! Rows of both have the same pitch, wide enough for every tap, with zeros in dy where a row has no
//! output; then a tap is one constant shift for all pixels. Where that is odd, a copy of dy that is a pixel
//! late makes it even. Residues modulo the stride have pairs of their own.
//!
//! Few weights are added up by tasks that have pixels of their own, each in a copy of dW and with operands
//! that stay in one core's cache; the copies are added in a fixed order at the end. Where copies would be
//! too large, all tasks share the operands of a block, and each owns a part of dW. The result depends on
//! the number of threads (which decides the number of copies), never on how they were scheduled.
//!
//! A shift past the end of a row meets a zero of dy, which would spread a NaN or an infinity of x to taps
//! that do not see it. [`backward_weights`] says so, for a slower kernel to do it again.

mod layout;
mod operands;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use half::bf16;

use super::super::super::memory::Buffer;
use super::super::super::parallel::{Shared, for_each_task};
use super::super::super::shape::Conv3dShape;
use super::super::blocking::{Blocking, Goal, TASKS_PER_THREAD};
use super::super::dense::window_of_x;
use super::super::window::{Block, Window};
use super::amx::{self, COLUMNS, ROWS, Tiles};
use layout::{Layout, Rows, shift};

/// Elements of a chunk of dy: 16 outputs by 16 pairs.
const CHUNK_LEN: usize = ROWS * COLUMNS;
/// Elements of the operands of a block: they stay in a core's L2 cache, beside the sums.
const OPERANDS_LEN: usize = 768 << 10;
/// Weights for each output pixel of a block up to which it is worth the way of dW from memory and back.
const WEIGHTS_A_PIXEL: usize = 512;
/// Rows that a block has at least, if it has several frames: the last chunk of each frame is not full.
const MIN_ROWS: usize = 8;
/// Floats that all copies of dW together may take.
const MAX_COPIES_LEN: usize = 2 << 20;

/// The gradient holds numbers that may be wrong, because x is not finite.
#[derive(Debug)]
pub(super) struct NotFinite;

/// Backward weights; lengths are checked by the caller.
///
/// # Safety
/// AMX is available.
pub(super) unsafe fn backward_weights(
    shape: &Conv3dShape,
    x: &[bf16],
    dy: &[bf16],
    dw: &mut [f32],
) -> Result<(), NotFinite> {
    let window = window_of_x(shape);
    let layout = Layout::new(shape, &window);
    let gradient = Gradient {
        shape,
        window: &window,
        layout: &layout,
        x,
        dy,
    };
    let threads = rayon::current_num_threads();
    // As many for each thread.
    let copies = (MAX_COPIES_LEN / layout.len() / threads).min(TASKS_PER_THREAD) * threads;
    let blocking = gradient.blocking(copies.max(1));
    let copies = copies.min(blocking.num_blocks());
    // SAFETY: AMX is available.
    unsafe {
        if copies > 1 {
            gradient.by_pixels(&blocking, copies, dw)
        } else {
            gradient.by_weights(&blocking, dw)
        }
    }
}

/// What all blocks share.
struct Gradient<'a> {
    shape: &'a Conv3dShape,
    window: &'a Window,
    layout: &'a Layout,
    x: &'a [bf16],
    dy: &'a [bf16],
}

impl<'a> Gradient<'a> {
    /// At least so many blocks, unless they would be tiny.
    fn blocking(&self, blocks: usize) -> Blocking {
        let layout = self.layout;
        let [stride_t, stride_h, stride_w] = self.shape.options.stride;
        let pairs = layout.residues * layout.run_len / stride_w;
        let gradients = layout.delays * layout.outputs / (stride_t * stride_h * stride_w);
        let goal = Goal {
            blocks,
            band_len: OPERANDS_LEN * self.window.channels / (pairs + gradients),
            pixels: layout.group_len() / WEIGHTS_A_PIXEL,
            rows: MIN_ROWS,
        };
        Blocking::new(self.window, self.shape.batch, self.shape.output(), goal)
    }

    fn step(&'a self, block: Block, group: usize, each: Each) -> Step<'a> {
        Step {
            shape: self.shape,
            window: self.window,
            layout: self.layout,
            size: Rows::new(self.shape, self.layout, self.window, block),
            group,
            each,
        }
    }

    /// Shares out blocks. The `copies` tasks add theirs up apart, and then the copies are added.
    ///
    /// # Safety
    /// AMX is available; there are as many blocks as copies.
    unsafe fn by_pixels(
        &self,
        blocking: &Blocking,
        copies: usize,
        dw: &mut [f32],
    ) -> Result<(), NotFinite> {
        let (layout, num_blocks) = (self.layout, blocking.num_blocks());
        let mut partial = Buffer::<f32>::take(copies * layout.len());
        let shared = Shared::new(&mut partial);
        let is_finite = AtomicBool::new(true);
        for_each_task(copies * layout.groups, |task| {
            let (copy, group) = (task / layout.groups, task % layout.groups);
            let first = copy * num_blocks / copies;
            let mut operands = Operands::default();
            for idx in first..(copy + 1) * num_blocks / copies {
                let step = self.step(blocking.block(idx), group, alone);
                // SAFETY: AMX is available; this group of this copy is this task's.
                let done = unsafe {
                    let sums = Shared::at(shared.get().add(copy * layout.len()));
                    step.run(self.x, self.dy, &mut operands, sums, idx > first)
                };
                if done.is_err() {
                    is_finite.store(false, Ordering::Relaxed);
                    return;
                }
            }
        });
        layout.put_in_order(self.shape, &partial, dw);
        is_finite.into_inner().then_some(()).ok_or(NotFinite)
    }

    /// Takes one block after the other, and shares out its weights.
    ///
    /// # Safety
    /// AMX is available.
    unsafe fn by_weights(&self, blocking: &Blocking, dw: &mut [f32]) -> Result<(), NotFinite> {
        let layout = self.layout;
        let mut padded = (!layout.is_exact).then(|| Buffer::<f32>::take(layout.len()));
        let sums = Shared::new(padded.as_deref_mut().unwrap_or(dw));
        let mut operands = Operands::default();
        for idx in 0..blocking.num_blocks() {
            for group in 0..layout.groups {
                let step = self.step(blocking.block(idx), group, together);
                // SAFETY: AMX is available; nobody else has the sums.
                unsafe { step.run(self.x, self.dy, &mut operands, sums, idx > 0) }?;
            }
        }
        if let Some(padded) = padded {
            layout.put_in_order(self.shape, &padded, dw);
        }
        Ok(())
    }
}

/// Memory for the operands of one step after the other.
#[derive(Default)]
struct Operands {
    pairs: Option<Buffer<bf16>>,
    gradients: Option<Buffer<bf16>>,
}

/// The first `len` elements of a buffer, made anew if it is shorter.
fn reused(buffer: &mut Option<Buffer<bf16>>, len: usize) -> &mut [bf16] {
    if buffer.as_ref().is_none_or(|buffer| buffer.len() < len) {
        *buffer = Some(Buffer::take(len));
    }
    &mut buffer.as_mut().expect("made above")[..len]
}

/// Who does the parts of a step's work.
type Each = fn(usize, &(dyn Fn(usize) + Sync));

/// The thread that has the step.
fn alone(num_tasks: usize, work: &(dyn Fn(usize) + Sync)) {
    (0..num_tasks).for_each(work);
}

/// All threads.
fn together(num_tasks: usize, work: &(dyn Fn(usize) + Sync)) {
    for_each_task(num_tasks, work);
}

/// One block of one group.
struct Step<'a> {
    shape: &'a Conv3dShape,
    window: &'a Window,
    layout: &'a Layout,
    size: Rows,
    group: usize,
    each: Each,
}

impl Step<'_> {
    /// Adds what the block gives to the sums, or sets the sums to it.
    ///
    /// # Safety
    /// As [`Step::add`].
    unsafe fn run(
        &self,
        x: &[bf16],
        dy: &[bf16],
        operands: &mut Operands,
        sums: Shared<f32>,
        accumulate: bool,
    ) -> Result<(), NotFinite> {
        let pairs = reused(&mut operands.pairs, self.pairs_len());
        let gradients = reused(&mut operands.gradients, self.gradients_len());
        // SAFETY: the contract; AMX implies the vectors.
        unsafe {
            if !self.pair_up(x, pairs) {
                return Err(NotFinite);
            }
            self.transpose(dy, gradients);
            self.add(pairs, gradients, sums, accumulate);
        }
        Ok(())
    }

    /// Elements of a row of pairs of 32 elements of a run.
    fn row_len(&self) -> usize {
        self.size.pitch * COLUMNS
    }

    /// Rows of pairs of one residue.
    fn num_rows(&self) -> usize {
        self.size.planes() * self.shape.options.stride[1] * self.size.rows_of_class
    }

    /// Adds the block's products to the sums, or sets the sums to them.
    ///
    /// # Safety
    /// AMX is available; `sums` has the layout, and nobody else uses this group's.
    unsafe fn add(&self, pairs: &[bf16], gradients: &[bf16], sums: Shared<f32>, accumulate: bool) {
        let layout = self.layout;
        let panels = layout.outputs / COLUMNS;
        let parts = layout.run_len / COLUMNS * layout.num_runs;
        let want = TASKS_PER_THREAD * rayon::current_num_threads();
        let pieces = want.div_ceil(panels).min(parts);
        let tiles = Tiles::new(ROWS, COLUMNS);
        // One panel after the other: rows of dW are long, and few of them are as many pages.
        (self.each)(panels * pieces, &|task| {
            let (panel, piece) = (task / pieces, task % pieces);
            let parts = piece * parts / pieces..(piece + 1) * parts / pieces;
            // SAFETY: the contract; tasks differ in panels or parts.
            unsafe {
                tiles.with(|| self.add_parts(pairs, gradients, panel, parts, sums, accumulate));
            }
        });
    }

    /// Some parts, of 32 elements of a run, for a panel of 32 outputs.
    ///
    /// # Safety
    /// As [`Step::add`], within tiles of 16 rows and 32 elements; these parts are this task's.
    unsafe fn add_parts(
        &self,
        pairs: &[bf16],
        gradients: &[bf16],
        panel: usize,
        parts: Range<usize>,
        sums: Shared<f32>,
        accumulate: bool,
    ) {
        let (size, layout) = (&self.size, self.layout);
        let row = self.group * layout.outputs + panel * COLUMNS;
        let boxes: Vec<usize> = (0..size.boxes()).map(|idx| self.first_row(idx)).collect();
        let mut pixels = Vec::with_capacity(boxes.len());
        for part in parts.map(|part| self.part(part)) {
            pixels.clear();
            pixels.extend(
                boxes
                    .iter()
                    .map(|row| pairs[part.first_pair + row * self.row_len()..].as_ptr()),
            );
            let tile = part.delay * layout.outputs / ROWS + 2 * panel;
            let args = amx::Gradient {
                outputs: [tile, tile + 1]
                    .map(|tile| gradients[tile * self.gradient_tile_len()..].as_ptr()),
                pixels: &pixels,
                chunks: size.chunks,
                // SAFETY: inside the sums.
                sums: unsafe { sums.get().add(row * layout.row_len() + part.first_sum) },
                sums_step: layout.row_len(),
                accumulate,
            };
            // SAFETY: every chunk lies inside the pairs and the gradients.
            unsafe { amx::correlate(&args) };
        }
    }

    /// First row of pairs of a box, of those of a residue.
    fn first_row(&self, idx: usize) -> usize {
        let size = &self.size;
        let frames = size.block.size[0];
        let [stride_t, stride_h, _] = self.shape.options.stride;
        let plane = idx / frames * size.extent[0] + idx % frames * stride_t;
        plane * stride_h * size.rows_of_class
    }

    /// A part by its number: taps along the width follow each other, since they see the same pixels.
    fn part(&self, part: usize) -> Part {
        let (layout, options, kernel) = (self.layout, &self.shape.options, self.shape.kernel);
        let (taps, elements) = (kernel[2] / layout.merged, layout.run_len / COLUMNS);
        let (tap, element, line) = (part % taps, part / taps % elements, part / taps / elements);
        let (kh, kt) = (line % kernel[1], line / kernel[1]);
        let (residue, shift) = shift(self.shape, tap);
        let delay = shift % 2;
        let stride_h = options.stride[1];
        let (plane, row) = (kt * options.dilation[0], kh * options.dilation[1]);
        let row = (plane * stride_h + row % stride_h) * self.size.rows_of_class + row / stride_h;
        let row = (residue * elements + element) * self.num_rows() + row;
        Part {
            first_pair: row * self.row_len() + (shift - delay) * COLUMNS,
            delay,
            first_sum: (line * taps + tap) * layout.run_len + element * COLUMNS,
        }
    }
}

/// 32 elements of a run.
struct Part {
    /// Where the pairs of the first box begin.
    first_pair: usize,
    /// Pixels that dy is late, so that pairs meet pairs.
    delay: usize,
    /// Where the sums of the first output are.
    first_sum: usize,
}
