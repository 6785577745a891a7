//! Bringing x and dy into the order of the tiles.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use half::bf16;

use super::super::super::super::parallel::{Shared, with_scratch};
use super::super::amx::{COLUMNS, ROWS};
use super::super::lanes;
use super::{CHUNK_LEN, Step};

/// Pixels of an input row: `pixels` holds those of `columns`, `step` elements apart; others are zeros.
struct InputRow<'a> {
    pixels: &'a [bf16],
    step: usize,
    columns: Range<usize>,
}

impl Step<'_> {
    /// Elements of all pairs of the block.
    pub(super) fn pairs_len(&self) -> usize {
        let parts = self.layout.residues * self.layout.run_len / COLUMNS;
        // The last chunk of the last tap reads past the last row.
        parts * self.num_rows() * self.row_len() + self.size.chunks * COLUMNS * COLUMNS
    }

    /// Pairs of x: `[residue][32 elements of a run][image][frame][class][row][pair][element][2]`. Gives
    /// whether all are finite.
    ///
    /// # Safety
    /// AVX-512 F, BW and VL.
    pub(super) unsafe fn pair_up(&self, x: &[bf16], pairs: &mut [bf16]) -> bool {
        let (size, stride) = (&self.size, self.shape.options.stride[1]);
        let rows_of_plane = stride * size.rows_of_class;
        let rows = self.num_rows();
        let parts = self.layout.run_len / COLUMNS;
        let len = self.layout.residues * parts * rows * self.row_len();
        pairs[len..].fill(bf16::ZERO);
        let shared = Shared::new(pairs);
        let is_finite = AtomicBool::new(true);
        (self.each)(rows, &|task| {
            let (plane, row) = (task / rows_of_plane, task % rows_of_plane);
            let (class, row) = (row / size.rows_of_class, row % size.rows_of_class);
            with_scratch(|[scratch, ..]| {
                let copy = scratch.take(size.extent[2] * self.window.channels);
                let row = self.input_row(x, plane, row * stride + class, copy);
                for part in 0..self.layout.residues * parts {
                    let start = (part * rows + task) * self.row_len();
                    // SAFETY: this row of this part, and no other task's.
                    let to = unsafe {
                        std::slice::from_raw_parts_mut(shared.get().add(start), self.row_len())
                    };
                    // SAFETY: the contract.
                    let done =
                        unsafe { self.pair_row(&row, part / parts, part % parts * COLUMNS, to) };
                    if !done {
                        is_finite.store(false, Ordering::Relaxed);
                    }
                }
            });
        });
        is_finite.into_inner()
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

    /// The pairs of 32 elements of a row, from `element` of each run on, for the columns of a residue modulo the stride;
    /// are all finite?
    ///
    /// # Safety
    /// AVX-512 F, BW and VL.
    unsafe fn pair_row(
        &self,
        row: &InputRow,
        residue: usize,
        element: usize,
        to: &mut [bf16],
    ) -> bool {
        let len = COLUMNS.min(self.layout.run - element);
        let stride = self.shape.options.stride[2];
        // Columns of this residue before one.
        let before = |column: usize| (column + stride - 1).saturating_sub(residue) / stride;
        let first = before(row.columns.start);
        let inside = first..before(row.columns.end).min(self.size.pitch).max(first);
        if inside.is_empty() {
            to.fill(bf16::ZERO);
            return true;
        }
        let start = |at: usize| (at * stride + residue - row.columns.start) * row.step + element;
        let pixels = &row.pixels[start(inside.start)..start(inside.end - 1) + len];
        // SAFETY: the first and the last pixel lie in the slice.
        unsafe { lanes::pair_up(pixels.as_ptr(), stride * row.step, inside, len, to) }
    }

    /// Elements of dy for 16 outputs, transposed.
    pub(super) fn gradient_tile_len(&self) -> usize {
        self.size.boxes() * self.size.chunks * CHUNK_LEN
    }

    /// Elements of dy, transposed.
    pub(super) fn gradients_len(&self) -> usize {
        self.layout.delays * self.layout.outputs / ROWS * self.gradient_tile_len()
    }

    /// dy as `[delay][16 outputs][box][chunk][output][pair][2]`, zeros where a row has no output.
    ///
    /// # Safety
    /// AVX-512 F, BW and VL.
    pub(super) unsafe fn transpose(&self, dy: &[bf16], to: &mut [bf16]) {
        let (size, shape) = (&self.size, self.shape);
        let [_, h, w] = size.block.size;
        let [_, _, w_len] = shape.output();
        // Where the outputs of a box lie, from its first on.
        let places: Vec<Option<usize>> = (0..size.chunks * COLUMNS)
            .map(|at| (at / size.pitch, at % size.pitch))
            .map(|(row, column)| (row < h && column < w).then_some(row * w_len + column))
            .collect();
        let tiles = self.layout.outputs / ROWS;
        let shared = Shared::new(to);
        // All outputs of a box while it is at hand.
        (self.each)(tiles / 2 * size.boxes(), &|task| {
            let (idx, panel) = (task / (tiles / 2), task % (tiles / 2));
            let first = panel * COLUMNS;
            let len = (shape.group_outputs() - first).min(COLUMNS);
            let start = self.group * shape.group_outputs() + first;
            let first_pixel = self.first_pixel(idx);
            let pixel = |place: usize| {
                let at = (first_pixel + place) * shape.out_channels + start;
                dy[at..at + len].as_ptr()
            };
            let row = |delay: usize, half: usize, chunk: usize| {
                let tile = (delay * tiles + 2 * panel + half) * self.gradient_tile_len();
                // SAFETY: a chunk of a tile.
                unsafe {
                    shared
                        .get()
                        .add(tile + (idx * size.chunks + chunk) * CHUNK_LEN)
                }
            };
            for (chunk, places) in places.chunks_exact(COLUMNS).enumerate() {
                let pixels = std::array::from_fn(|at| places[at].map(pixel));
                let to = [0, 1].map(|half| row(0, half, chunk));
                // SAFETY: `len` channels of each pixel; this box of these tiles is this task's.
                unsafe { lanes::transpose_pixels(&pixels, len, to) };
                for (half, rows) in to
                    .into_iter()
                    .enumerate()
                    .take(2 * (self.layout.delays - 1))
                {
                    let before = chunk
                        .checked_sub(1)
                        .map(|chunk| row(0, half, chunk).cast_const());
                    // SAFETY: as above, and as for the delayed tiles.
                    unsafe { lanes::delay(before, rows, row(1, half, chunk)) };
                }
            }
        });
    }

    /// First output pixel of a box.
    fn first_pixel(&self, idx: usize) -> usize {
        let block = &self.size.block;
        let [t_len, h_len, w_len] = self.shape.output();
        let frames = block.size[0];
        let (image, t) = (block.image + idx / frames, block.start[0] + idx % frames);
        ((image * t_len + t) * h_len + block.start[1]) * w_len
    }
}
