//! Sizes of a backward pass for the weights, and how its rows and taps lie in memory.

use super::super::super::super::parallel::for_each_piece;
use super::super::super::super::shape::Conv3dShape;
use super::super::super::window::{Block, Window};
use super::super::amx::COLUMNS;

/// Residue modulo the stride of a tap along the width, and how many outputs it is shifted.
pub(super) fn shift(shape: &Conv3dShape, tap: usize) -> (usize, usize) {
    let distance = tap * shape.options.dilation[2];
    let stride = shape.options.stride[2];
    (distance % stride, distance / stride)
}

/// How dW is laid out while it is added up, `[group][output][run][element]`, and what a run is.
pub(super) struct Layout {
    /// Taps along the width whose channels lie together in a run: all, or one.
    pub(super) merged: usize,
    /// Elements of a run.
    pub(super) run: usize,
    /// The same, rounded up to tiles.
    pub(super) run_len: usize,
    pub(super) num_runs: usize,
    /// Outputs of a group, rounded up to tiles.
    pub(super) outputs: usize,
    pub(super) groups: usize,
    /// Is nothing rounded up, so that dW itself has this layout?
    pub(super) is_exact: bool,
    /// Residues of taps along the width modulo the stride, the first so many: pairs of x are apart for each.
    pub(super) residues: usize,
    /// Copies of dy: one, or another that is a pixel late, for taps whose shift is odd.
    pub(super) delays: usize,
}

impl Layout {
    pub(super) fn new(shape: &Conv3dShape, window: &Window) -> Self {
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
        let shifts = (0..kernel_w / merged).map(|tap| shift(shape, tap));
        let residues = shifts.clone().map(|(residue, _)| residue).max();
        let is_odd = shifts.map(|(_, shift)| shift % 2 == 1);
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
            residues: 1 + residues.expect("a kernel has taps"),
            delays: 1 + usize::from(is_odd.max().expect("a kernel has taps")),
        }
    }

    /// Floats from one output to the next.
    pub(super) fn row_len(&self) -> usize {
        self.num_runs * self.run_len
    }

    pub(super) fn group_len(&self) -> usize {
        self.outputs * self.row_len()
    }

    pub(super) fn len(&self) -> usize {
        self.groups * self.group_len()
    }

    /// Adds up the copies, one after the other, and leaves out what was rounded up.
    pub(super) fn put_in_order(&self, shape: &Conv3dShape, copies: &[f32], dw: &mut [f32]) {
        let outputs = shape.group_outputs();
        for_each_piece(dw, self.num_runs * self.run, |output, to| {
            let row = (output / outputs * self.outputs + output % outputs) * self.row_len();
            for (idx, copy) in copies.chunks_exact(self.len()).enumerate() {
                let runs = copy[row..row + self.row_len()].chunks_exact(self.run_len);
                for (to, from) in to.chunks_exact_mut(self.run).zip(runs) {
                    if idx == 0 {
                        to.copy_from_slice(&from[..self.run]);
                    } else {
                        to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                    }
                }
            }
        });
    }
}

/// The rows that a block becomes.
pub(super) struct Rows {
    pub(super) block: Block,
    /// Pixels of a row, even.
    pub(super) pitch: usize,
    /// Input frames, rows and columns that the block sees.
    pub(super) extent: [usize; 3],
    /// First of them, which may lie before the input.
    pub(super) low: [isize; 3],
    /// Input rows of one residue modulo the stride.
    pub(super) rows_of_class: usize,
    /// Chunks of a box: the block's rows of one output frame.
    pub(super) chunks: usize,
}

impl Rows {
    pub(super) fn new(shape: &Conv3dShape, layout: &Layout, window: &Window, block: Block) -> Self {
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
            chunks: ((h - 1) * pitch + w + layout.delays - 1).div_ceil(COLUMNS),
            block,
        }
    }

    /// Boxes of outputs: frames of images.
    pub(super) fn boxes(&self) -> usize {
        self.block.num_images * self.block.size[0]
    }

    /// Input frames of images.
    pub(super) fn planes(&self) -> usize {
        self.block.num_images * self.extent[0]
    }
}
