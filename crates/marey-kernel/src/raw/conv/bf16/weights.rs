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

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use half::bf16;

use super::super::super::memory::Buffer;
use super::super::super::parallel::{Shared, for_each_piece, for_each_task, with_scratch};
use super::super::super::shape::Conv3dShape;
use super::super::blocking::{Blocking, Goal};
use super::super::dense::window_of_x;
use super::super::product::TASKS_PER_THREAD;
use super::super::window::{Block, Window};
use super::amx::{self, COLUMNS, ROWS, Tiles};
use super::lanes;

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

/// Residue modulo the stride of a tap along the width, and how many outputs it is shifted.
fn shift(shape: &Conv3dShape, tap: usize) -> (usize, usize) {
    let distance = tap * shape.options.dilation[2];
    let stride = shape.options.stride[2];
    (distance % stride, distance / stride)
}

/// How dW is laid out while it is added up, `[group][output][run][element]`, and what a run is.
struct Layout {
    /// Taps along the width whose channels lie together in a run: all, or one.
    merged: usize,
    /// Elements of a run.
    run: usize,
    /// The same, rounded up to tiles.
    run_len: usize,
    num_runs: usize,
    /// Outputs of a group, rounded up to tiles.
    outputs: usize,
    groups: usize,
    /// Is nothing rounded up, so that dW itself has this layout?
    is_exact: bool,
    /// Copies of x that its pairs are: the residue modulo the stride along the width, and whether pairs
    /// begin at odd pixels.
    variants: Vec<(usize, bool)>,
}

impl Layout {
    fn new(shape: &Conv3dShape, window: &Window) -> Self {
        let [kernel_t, kernel_h, kernel_w] = shape.kernel;
        let channels = shape.group_inputs();
        // Few channels fill a tile only together with those of the next taps.
        let tiles = |elements: usize| elements.div_ceil(COLUMNS);
        let all = window.merged_taps();
        let merged = if tiles(all * channels) < all * tiles(channels) {
            all
        } else {
            1
        };
        let mut variants = vec![];
        for tap in 0..kernel_w / merged {
            let (class, shift) = shift(shape, tap);
            if !variants.contains(&(class, shift % 2 == 1)) {
                variants.push((class, shift % 2 == 1));
            }
        }
        let (run, outputs) = (merged * channels, shape.group_outputs());
        let (run_len, padded) = (
            run.next_multiple_of(COLUMNS),
            outputs.next_multiple_of(COLUMNS),
        );
        Self {
            merged,
            run,
            run_len,
            num_runs: kernel_t * kernel_h * kernel_w / merged,
            outputs: padded,
            groups: shape.options.groups,
            is_exact: run_len == run && padded == outputs,
            variants,
        }
    }

    /// Floats from one output to the next.
    fn row_len(&self) -> usize {
        self.num_runs * self.run_len
    }

    fn group_len(&self) -> usize {
        self.outputs * self.row_len()
    }

    fn len(&self) -> usize {
        self.groups * self.group_len()
    }

    /// Leaves out what was rounded up.
    fn put_in_order(&self, shape: &Conv3dShape, padded: &[f32], dw: &mut [f32]) {
        let outputs = shape.group_outputs();
        for_each_piece(dw, self.num_runs * self.run, |output, to| {
            let row = (output / outputs * self.outputs + output % outputs) * self.row_len();
            let runs = padded[row..row + self.row_len()].chunks_exact(self.run_len);
            for (to, from) in to.chunks_exact_mut(self.run).zip(runs) {
                to.copy_from_slice(&from[..self.run]);
            }
        });
    }
}

/// The rows that a block becomes.
struct Rows {
    block: Block,
    /// Pixels of a row, even.
    pitch: usize,
    /// Input frames, rows and columns that the block sees.
    extent: [usize; 3],
    /// First of them, which may lie before the input.
    low: [isize; 3],
    /// Input rows of one residue modulo the stride.
    rows_of_class: usize,
    /// Chunks of a box: the block's rows of one output frame.
    chunks: usize,
}

impl Rows {
    fn new(shape: &Conv3dShape, layout: &Layout, window: &Window, block: Block) -> Self {
        let [_, stride_h, _] = shape.options.stride;
        let [_, h, w] = block.size;
        let shifts = (0..shape.kernel[2] / layout.merged).map(|tap| shift(shape, tap).1);
        let farthest = shifts.max().expect("a kernel has taps");
        let extent = std::array::from_fn(|axis| window.extent(axis, block.size[axis]));
        let pitch = (w + farthest).next_multiple_of(2);
        Self {
            pitch,
            low: std::array::from_fn(|axis| {
                (block.start[axis] * window.stride[axis]) as isize + window.offsets[axis][0]
            }),
            rows_of_class: extent[1].div_ceil(stride_h),
            extent,
            chunks: ((h - 1) * pitch + w).div_ceil(COLUMNS),
            block,
        }
    }

    /// Boxes of outputs: frames of images.
    fn boxes(&self) -> usize {
        self.block.num_images * self.block.size[0]
    }

    /// All chunks, in parts whose pairs stay in L1 while they meet every panel of outputs.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let boxes_each = (PART_CHUNKS / self.chunks).max(1);
        let chunks_each = self.chunks.div_ceil(self.chunks.div_ceil(PART_CHUNKS));
        (0..self.boxes())
            .step_by(boxes_each)
            .flat_map(move |first| {
                let boxes = first..self.boxes().min(first + boxes_each);
                (0..self.chunks)
                    .step_by(chunks_each)
                    .map(move |first_chunk| Part {
                        boxes: boxes.clone(),
                        first_chunk,
                        chunks: chunks_each.min(self.chunks - first_chunk),
                    })
            })
    }

    /// Input frames of images.
    fn planes(&self) -> usize {
        self.block.num_images * self.extent[0]
    }
}

/// Chunks of several boxes, or of a part of one.
struct Part {
    boxes: Range<usize>,
    first_chunk: usize,
    /// Of each box.
    chunks: usize,
}

/// Pixels of an input row: `pixels` holds those of `columns`, `step` elements apart; others are zeros.
struct InputRow<'a> {
    pixels: &'a [bf16],
    step: usize,
    columns: Range<usize>,
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

    /// Pairs of x: `[variant][32 elements of a run][image][frame][class][row][pair][element][2]`.
    ///
    /// # Safety
    /// AVX-512 F, BW and VL.
    unsafe fn pair_up(&self, x: &[bf16]) -> Result<Buffer<bf16>, NotFinite> {
        let (size, stride) = (&self.size, self.shape.options.stride[1]);
        let rows_of_plane = stride * size.rows_of_class;
        let rows = self.num_rows();
        let parts = self.layout.run_len / COLUMNS;
        let len = self.layout.variants.len() * parts * rows * self.row_len();
        // The last chunk of the last tap reads past the last row.
        let mut pairs = Buffer::<bf16>::take(len + size.chunks * COLUMNS * COLUMNS);
        pairs[len..].fill(bf16::ZERO);
        let shared = Shared::new(&mut pairs);
        let is_finite = AtomicBool::new(true);
        for_each_task(rows, |task| {
            let (plane, row) = (task / rows_of_plane, task % rows_of_plane);
            let (class, row) = (row / size.rows_of_class, row % size.rows_of_class);
            with_scratch(|[scratch, ..]| {
                let copy = scratch.take(size.extent[2] * self.window.channels);
                let row = self.input_row(x, plane, row * stride + class, copy);
                for part in 0..self.layout.variants.len() * parts {
                    let start = (part * rows + task) * self.row_len();
                    // SAFETY: this row of this part, and no other task's.
                    let to = unsafe {
                        std::slice::from_raw_parts_mut(shared.get().add(start), self.row_len())
                    };
                    // SAFETY: the contract.
                    if !unsafe { self.pair_row(&row, part / parts, part % parts * COLUMNS, to) } {
                        is_finite.store(false, Ordering::Relaxed);
                    }
                }
            });
        });
        if is_finite.into_inner() {
            Ok(pairs)
        } else {
            Err(NotFinite)
        }
    }

    /// An input row that the block sees.
    fn input_row<'a>(
        &self,
        x: &'a [bf16],
        plane: usize,
        row: usize,
        copy: &'a mut [bf16],
    ) -> InputRow<'a> {
        let (size, window) = (&self.size, self.window);
        let image = size.block.image + plane / size.extent[0];
        let t = (plane % size.extent[0]) as isize + size.low[0];
        let h = row as isize + size.low[1];
        let [t_len, h_len, w_len] = window.input;
        let is_inside = |at: isize, len: usize| (0..len as isize).contains(&at);
        if row >= size.extent[1] || !is_inside(t, t_len) || !is_inside(h, h_len) {
            return InputRow {
                pixels: &[],
                step: 0,
                columns: 0..0,
            };
        }
        let line = (image * t_len + t as usize) * h_len + h as usize;
        let start = line * w_len * window.pitch + self.group * window.channels;
        let first = (-size.low[2]).clamp(0, size.extent[2] as isize) as usize;
        let last = (w_len as isize - size.low[2]).clamp(0, size.extent[2] as isize) as usize;
        let columns = first..last.max(first);
        let source = &x[start + (first as isize + size.low[2]).max(0) as usize * window.pitch..];
        if self.layout.merged == 1 {
            return InputRow {
                pixels: source,
                step: window.pitch,
                columns,
            };
        }
        // A run of several taps may begin or end in the padding, which a copy has as zeros.
        let channels = window.channels;
        copy.fill(bf16::ZERO);
        let inside = &mut copy[columns.start * channels..columns.end * channels];
        for (to, from) in inside
            .chunks_exact_mut(channels)
            .zip(source.chunks(window.pitch))
        {
            to.copy_from_slice(&from[..channels]);
        }
        InputRow {
            pixels: copy,
            step: channels,
            columns: 0..size.extent[2] + 1 - self.layout.merged,
        }
    }

    /// The pairs of 32 elements of a row, from `element` of each run on; are all finite?
    ///
    /// # Safety
    /// AVX-512 F, BW and VL.
    unsafe fn pair_row(
        &self,
        row: &InputRow,
        variant: usize,
        element: usize,
        to: &mut [bf16],
    ) -> bool {
        let len = COLUMNS.min(self.layout.run - element);
        if row.columns.is_empty() {
            to.fill(bf16::ZERO);
            return true;
        }
        let (class, is_odd) = self.layout.variants[variant];
        let pixel = |at: usize| {
            let column = at * self.shape.options.stride[2] + class;
            (at < self.size.pitch && row.columns.contains(&column)).then(|| {
                let start = (column - row.columns.start) * row.step + element;
                row.pixels[start..start + len].as_ptr()
            })
        };
        let mut is_finite = true;
        let mut first = usize::from(is_odd);
        for to in to.chunks_exact_mut(2 * COLUMNS) {
            // SAFETY: `len` elements of each pixel; there are 32 pairs.
            is_finite &= unsafe {
                lanes::interleave(
                    [pixel(first), pixel(first + 1)],
                    len,
                    to.as_mut_ptr().cast(),
                )
            };
            first += 2;
        }
        is_finite
    }

    /// dy as `[16 outputs][box][chunk][output][pair][2]`, zeros where a row has no output.
    ///
    /// # Safety
    /// AVX-512 F, BW and VL.
    unsafe fn transpose(&self, dy: &[bf16]) -> Buffer<bf16> {
        let (size, shape) = (&self.size, self.shape);
        let [_, h, w] = size.block.size;
        let [_, _, w_len] = shape.output();
        // Where the outputs of a box lie, from its first on.
        let places: Vec<Option<usize>> = (0..size.chunks * COLUMNS)
            .map(|at| (at / size.pitch, at % size.pitch))
            .map(|(row, column)| (row < h && column < w).then_some(row * w_len + column))
            .collect();
        let box_len = size.chunks * CHUNK_LEN;
        let mut to = Buffer::<bf16>::take(self.layout.outputs / ROWS * size.boxes() * box_len);
        for_each_piece(&mut to, box_len, |idx, to| {
            let first = idx / size.boxes() * ROWS;
            let len = shape.group_outputs().saturating_sub(first).min(ROWS);
            if len == 0 {
                to.fill(bf16::ZERO);
                return;
            }
            let start = self.group * shape.group_outputs() + first;
            let first_pixel = self.first_pixel(idx % size.boxes());
            let pixel = |place: Option<usize>| {
                place.map(|place| {
                    let at = (first_pixel + place) * shape.out_channels + start;
                    dy[at..at + len].as_ptr()
                })
            };
            for (places, to) in places
                .chunks_exact(COLUMNS)
                .zip(to.chunks_exact_mut(CHUNK_LEN))
            {
                let pairs = std::array::from_fn(|pair| {
                    [2 * pair, 2 * pair + 1].map(|at| pixel(places[at]))
                });
                // SAFETY: `len` channels of each pixel; a chunk is 256 pairs.
                unsafe { lanes::transpose_pixels(&pairs, len, to.as_mut_ptr().cast()) };
            }
        });
        to
    }

    /// First output pixel of a box.
    fn first_pixel(&self, idx: usize) -> usize {
        let block = &self.size.block;
        let [t_len, h_len, w_len] = self.shape.output();
        let frames = block.size[0];
        let (image, t) = (block.image + idx / frames, block.start[0] + idx % frames);
        ((image * t_len + t) * h_len + block.start[1]) * w_len
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
