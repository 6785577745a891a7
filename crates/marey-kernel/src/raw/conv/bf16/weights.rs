//! Backward weights on AMX: `dW[output][window element] = dy^T . windows(x)`, added up over pixels.
//!
//! The hardware sums over pairs that lie together, and here the sum runs over pixels. So the rows of x
//! that a block of outputs sees are brought into pairs of neighbouring pixels, and dy is transposed.
//! Rows of both have the same pitch, wide enough for every tap, with zeros in dy where a row has no
//! output; then a tap is one constant shift for all pixels. Pairs that begin at odd pixels are a second
//! variant, the residues modulo the stride are others.
//!
//! Every task owns a part of dW, to which blocks add one after the other. The result does not depend on
//! the number of threads, and no copies of dW are added up.
//!
//! A shift past the end of a row meets a zero of dy, which would spread a NaN or an infinity of x to taps
//! that do not see it. [`backward_weights`] says so, for a slower kernel to do it again.

mod layout;
mod operands;

use std::ops::Range;

use half::bf16;

use super::super::super::memory::Buffer;
use super::super::super::parallel::{Shared, for_each_task};
use super::super::super::shape::Conv3dShape;
use super::super::blocking::{Blocking, Goal, TASKS_PER_THREAD};
use super::super::dense::window_of_x;
use super::super::window::Window;
use super::amx::{self, COLUMNS, ROWS, Tiles};
use layout::{Layout, Rows, shift};

/// Elements of a chunk of dy: 16 outputs by 16 pairs.
const CHUNK_LEN: usize = ROWS * COLUMNS;
/// Elements of the pairs of a block: they stay in the cache.
const PAIRS_LEN: usize = 512 << 10;
/// Chunks whose pairs (2 KiB each) stay in L1.
const PART_CHUNKS: usize = 10;
/// Weights for each output pixel of a block up to which it is worth the way of dW from memory and back.
const WEIGHTS_A_PIXEL: usize = 512;

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
    let goal = Goal {
        blocks: 1,
        band_len: PAIRS_LEN * window.channels / (layout.variants.len() * layout.run_len),
        pixels: layout.group_len() / WEIGHTS_A_PIXEL,
    };
    let blocking = Blocking::new(&window, shape.batch, shape.output(), goal);
    let mut padded = (!layout.is_exact).then(|| Buffer::<f32>::take(layout.len()));
    let sums = Shared::new(padded.as_deref_mut().unwrap_or(dw));
    for idx in 0..blocking.num_blocks() {
        for group in 0..shape.options.groups {
            let step = Step {
                shape,
                window: &window,
                layout: &layout,
                size: Rows::new(shape, &layout, &window, blocking.block(idx)),
                group,
            };
            // SAFETY: AMX is available.
            unsafe {
                let pairs = step.pair_up(x)?;
                step.add(&pairs, &step.transpose(dy), sums, idx > 0);
            }
        }
    }
    if let Some(padded) = padded {
        layout.put_in_order(shape, &padded, dw);
    }
    Ok(())
}

/// One block of one group.
struct Step<'a> {
    shape: &'a Conv3dShape,
    window: &'a Window,
    layout: &'a Layout,
    size: Rows,
    group: usize,
}

impl Step<'_> {
    /// Elements of a row of pairs of 32 elements of a run.
    fn row_len(&self) -> usize {
        self.size.pitch * COLUMNS
    }

    /// Rows of pairs of one variant.
    fn num_rows(&self) -> usize {
        self.size.planes() * self.shape.options.stride[1] * self.size.rows_of_class
    }

    /// Adds the block's products to the sums, or sets the sums to them.
    ///
    /// # Safety
    /// AMX is available; `sums` has the layout, and nobody else uses it.
    unsafe fn add(&self, pairs: &[bf16], gradients: &[bf16], sums: Shared<f32>, accumulate: bool) {
        let layout = self.layout;
        let panels = layout.outputs / COLUMNS;
        let parts = layout.run_len / COLUMNS * layout.num_runs;
        let want = TASKS_PER_THREAD * rayon::current_num_threads();
        let panels_each = panels.div_ceil(want.div_ceil(parts).min(panels));
        let splits = panels.div_ceil(panels_each);
        let tiles = Tiles::new(ROWS, COLUMNS);
        // Elements outermost, so that the pairs of 32 of them stay at hand for all runs.
        for_each_task(parts * splits, |task| {
            let (part, first) = (task / splits, task % splits * panels_each);
            let (element, run) = (part / layout.num_runs * COLUMNS, part % layout.num_runs);
            let panels = first..panels.min(first + panels_each);
            // SAFETY: the contract; tasks differ in run, element or outputs.
            unsafe {
                tiles.with(|| {
                    self.add_part(pairs, gradients, [run, element], panels, sums, accumulate)
                });
            }
        });
    }

    /// 32 elements of a run, for some panels of 32 outputs.
    ///
    /// # Safety
    /// As [`Step::add`], within tiles of 16 rows and 32 elements; this part is this task's.
    unsafe fn add_part(
        &self,
        pairs: &[bf16],
        gradients: &[bf16],
        [run, element]: [usize; 2],
        panels: Range<usize>,
        sums: Shared<f32>,
        accumulate: bool,
    ) {
        let (size, layout) = (&self.size, self.layout);
        let starts: Vec<*const bf16> = (0..size.boxes())
            .map(|idx| pairs[self.first_pair(idx, run, element)..].as_ptr())
            .collect();
        let tile_len = size.boxes() * size.chunks * CHUNK_LEN;
        for (number, part) in size.parts().enumerate() {
            let skipped = part.first_chunk * 2 * CHUNK_LEN;
            let pixels: Vec<*const bf16> = starts[part.boxes.clone()]
                .iter()
                .map(|start| start.wrapping_add(skipped))
                .collect();
            let first = (part.boxes.start * size.chunks + part.first_chunk) * CHUNK_LEN;
            for panel in panels.clone() {
                let row = self.group * layout.outputs + panel * COLUMNS;
                let args = amx::Gradient {
                    outputs: [2 * panel, 2 * panel + 1]
                        .map(|tile| gradients[tile * tile_len + first..].as_ptr()),
                    pixels: &pixels,
                    chunks: part.chunks,
                    // SAFETY: inside the sums.
                    sums: unsafe {
                        sums.get()
                            .add(row * layout.row_len() + run * layout.run_len + element)
                    },
                    sums_step: layout.row_len(),
                    accumulate: accumulate || number > 0,
                };
                // SAFETY: every chunk lies inside the pairs and the gradients.
                unsafe { amx::correlate(&args) };
            }
        }
    }

    /// Where the pairs of a box for some elements of a run begin.
    fn first_pair(&self, idx: usize, run: usize, element: usize) -> usize {
        let (size, options, kernel) = (&self.size, &self.shape.options, self.shape.kernel);
        let taps = kernel[2] / self.layout.merged;
        let (tap, kh, kt) = (run % taps, run / taps % kernel[1], run / taps / kernel[1]);
        let (class, shift) = shift(self.shape, tap);
        let variant = (class, shift % 2 == 1);
        let variant = self
            .layout
            .variants
            .iter()
            .position(|other| *other == variant);
        let variant = variant.expect("every tap has a variant");
        let frames = size.block.size[0];
        let frame = idx % frames * options.stride[0] + kt * options.dilation[0];
        let plane = idx / frames * size.extent[0] + frame;
        let (class, below) = (
            kh * options.dilation[1] % options.stride[1],
            kh * options.dilation[1] / options.stride[1],
        );
        let part = (variant * self.layout.run_len + element) / COLUMNS;
        let row = (plane * options.stride[1] + class) * size.rows_of_class + below;
        (part * self.num_rows() + row) * self.row_len() + shift / 2 * 2 * COLUMNS
    }
}
