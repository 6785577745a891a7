//! Register tiles of the dense convolution: the innermost loops, where nearly all time goes.
//!
//! Both read their left operand where it lies, by broadcasting single floats, and their right one
//! as rows of two vectors:
//! * [`RowTile`]: `out[i][0..N] (+)= sum over q of a[pixel i + q] * panel[q][0..N]`, for the
//!   forward and backward-data directions; `q` walks a list of runs of neighbouring floats.
//! * [`ColumnTile`]: `out[i][0..N] (+)= sum over pixels p of a[p + i] * b[p][0..N]`, for the
//!   backward-weights direction.
//!
//! With AVX-512 the tile is 14 x 32: 28 sums, two panel vectors and one broadcast in 32 registers.

#![expect(
    clippy::needless_range_loop,
    reason = "loops over constant indices unroll, which keeps the sums in registers"
)]

use super::activation::Activation;
use super::simd::{Isa, Job, Vector, run_pairs};

/// Rows of the portable tile: its sums should fit the registers of the target's baseline.
const PORTABLE_ROWS: usize = if cfg!(target_arch = "aarch64") { 6 } else { 2 };

/// Most rows of any tile.
pub(crate) const MAX_ROWS: usize = 14;
/// Most columns of any tile.
pub(crate) const MAX_WIDTH: usize = 32;

/// Tile sizes of an instruction set.
impl Isa {
    /// Pixels of a [`RowTile`], and most rows of a [`ColumnTile`].
    pub(crate) fn tile_rows(self) -> usize {
        match self {
            Self::Avx512 => 14,
            Self::Avx2 => 6,
            Self::Portable => PORTABLE_ROWS,
        }
    }

    /// Columns of a tile, which are the columns of a packed panel.
    pub(crate) fn tile_width(self) -> usize {
        match self {
            Self::Avx512 => 32,
            Self::Avx2 | Self::Portable => 16,
        }
    }

    /// Rows of the [`ColumnTile`] that wastes least on `len` rows.
    pub(crate) fn column_rows(self, len: usize) -> usize {
        let heights = match self {
            Self::Avx512 => 10..=14,
            Self::Avx2 => 4..=6,
            Self::Portable => PORTABLE_ROWS..=PORTABLE_ROWS,
        };
        // A taller tile also saves loads of the right operand: the + 1.
        let cost = |rows: &usize| len.div_ceil(*rows) * (rows + 1);
        heights
            .rev()
            .min_by_key(cost)
            .expect("the range of heights is not empty")
    }
}

/// What happens to a finished sum on its way to memory.
#[derive(Clone, Copy)]
pub(crate) struct Finish {
    /// A factor a column, readable for the full tile width.
    pub(crate) scale: *const f32,
    /// A summand a column, likewise.
    pub(crate) bias: *const f32,
    /// Applied last.
    pub(crate) activation: Activation,
}

/// What the lanes of both operands of a row tile are. Sums are floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    /// An `f32`.
    Floats,
    /// Two `bf16`, for AVX-512 with BF16 only, and without a [`Finish`].
    Pairs,
}

/// Operands of a row tile.
pub(crate) struct RowArgs<'a> {
    /// Left operand.
    pub(crate) base: *const f32,
    /// Offset of each pixel from `base`; as many as the tile has rows.
    pub(crate) pixels: &'a [isize],
    /// Offset of each run from a pixel.
    pub(crate) runs: &'a [isize],
    /// Floats of a run.
    pub(crate) run_len: usize,
    /// Right operand: `runs.len() * run_len` rows of the tile's width.
    pub(crate) panel: *const f32,
    /// Where the rows go; at most as many as the tile has.
    pub(crate) outputs: &'a [*mut f32],
    /// Floats to write of each row; at most the tile's width.
    pub(crate) width: usize,
    /// Add to what the outputs hold?
    pub(crate) accumulate: bool,
    /// What happens to the sum, once it is complete.
    pub(crate) finish: Option<Finish>,
}

/// Runs the row tile of `isa`.
///
/// # Safety
/// `isa` is available, for pairs AVX-512 with BF16. For each of the `tile_rows` pixels, `base + pixel + run` is readable for
/// `run_len` floats; the panel holds as many rows as it must; `width` floats of each output are
/// writable, and nobody else touches them.
pub(crate) unsafe fn row_tile(isa: Isa, operand: Operand, args: &RowArgs) {
    debug_assert!(args.pixels.len() == isa.tile_rows() && args.outputs.len() <= isa.tile_rows());
    // SAFETY: passed on to the caller.
    unsafe {
        match (operand, isa) {
            (Operand::Pairs, _) => run_pairs(RowTile::<14, true>(args)),
            (Operand::Floats, Isa::Avx512) => isa.run(RowTile::<14, false>(args)),
            (Operand::Floats, Isa::Avx2) => isa.run(RowTile::<6, false>(args)),
            (Operand::Floats, Isa::Portable) => isa.run(RowTile::<PORTABLE_ROWS, false>(args)),
        }
    }
}

struct RowTile<'a, const ROWS: usize, const PAIRS: bool>(&'a RowArgs<'a>);

impl<const ROWS: usize, const PAIRS: bool> Job for RowTile<'_, ROWS, PAIRS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let args = self.0;
        // SAFETY: all reads and writes are those the contract of `row_tile` allows.
        unsafe {
            let mut sums = [[V::splat(0.0); 2]; ROWS];
            let mut rows = [args.base; ROWS];
            for (row, pixel) in rows.iter_mut().zip(args.pixels) {
                *row = args.base.offset(*pixel);
            }
            let mut panel = args.panel;
            for &run in args.runs {
                for q in run..run + args.run_len as isize {
                    let right = [V::load(panel), V::load(panel.add(V::LANES))];
                    for i in 0..ROWS {
                        let left = V::splat(*rows[i].offset(q));
                        for j in 0..2 {
                            sums[i][j] = if PAIRS {
                                left.dot_pairs(right[j], sums[i][j])
                            } else {
                                left.mul_add(right[j], sums[i][j])
                            };
                        }
                    }
                    panel = panel.add(2 * V::LANES);
                }
            }
            let is_plain = args.width == 2 * V::LANES && args.finish.is_none();
            if is_plain && args.outputs.len() == ROWS {
                for i in 0..ROWS {
                    let output = *args.outputs.get_unchecked(i);
                    for j in 0..2 {
                        let at = output.add(j * V::LANES);
                        let sum = sums[i][j];
                        let value = if args.accumulate {
                            sum.add(V::load(at))
                        } else {
                            sum
                        };
                        value.store(at);
                    }
                }
                return;
            }
            // The sums are in registers, which no variable index can reach: all of them go to the
            // stack by constant ones, and from there to the outputs.
            let mut rows = [0.0f32; MAX_ROWS * MAX_WIDTH];
            for i in 0..ROWS {
                sums[i][0].store(rows.as_mut_ptr().add(2 * i * V::LANES));
                sums[i][1].store(rows.as_mut_ptr().add((2 * i + 1) * V::LANES));
            }
            store_rows::<V>(args, &mut rows);
        }
    }
}

/// Writes the sums of a row tile.
///
/// # Safety
/// As [`row_tile`].
#[inline(always)]
unsafe fn store_rows<V: Vector>(args: &RowArgs, rows: &mut [f32; MAX_ROWS * MAX_WIDTH]) {
    // SAFETY: an output is read and written for `width` floats only: directly if that is the tile's
    // width, else by way of its row on the stack. Scale and bias are readable for the tile's width.
    unsafe {
        for (row, output) in rows.chunks_exact_mut(2 * V::LANES).zip(args.outputs) {
            let row = row.as_mut_ptr();
            if args.width == 2 * V::LANES {
                finish_row::<V>(args, row, *output, *output);
            } else {
                let mut old = [0.0f32; MAX_WIDTH];
                if args.accumulate {
                    old.as_mut_ptr()
                        .copy_from_nonoverlapping(*output, args.width);
                }
                finish_row::<V>(args, row, old.as_ptr(), row);
                output.copy_from_nonoverlapping(row, args.width);
            }
        }
    }
}

/// Adds a row of sums to `old`, if the tile accumulates, finishes it and writes it to `to`.
///
/// # Safety
/// All pointers, and the scale and bias, are valid for two vectors.
#[inline(always)]
unsafe fn finish_row<V: Vector>(args: &RowArgs, sums: *const f32, old: *const f32, to: *mut f32) {
    // SAFETY: the contract of this function.
    unsafe {
        for at in [0, V::LANES] {
            let mut value = V::load(sums.add(at));
            if args.accumulate {
                value = value.add(V::load(old.add(at)));
            }
            if let Some(finish) = args.finish {
                value = value.mul_add(V::load(finish.scale.add(at)), V::load(finish.bias.add(at)));
                value = finish.activation.apply(value);
            }
            value.store(to.add(at));
        }
    }
}

/// Operands of a column tile.
pub(crate) struct ColumnArgs<'a> {
    /// Left operand.
    pub(crate) base: *const f32,
    /// Offset of each pixel from `base`.
    pub(crate) pixels: &'a [isize],
    /// Right operand: a row for each pixel.
    pub(crate) right: *const f32,
    /// Floats from one row of the right operand to the next.
    pub(crate) right_step: usize,
    /// Where the sums go: `rows` rows of the tile's width, packed.
    pub(crate) output: *mut f32,
    /// Add to what the output holds?
    pub(crate) accumulate: bool,
}

/// Runs the column tile of `isa` with `rows` rows, which [`Isa::column_rows`] gave.
///
/// # Safety
/// `isa` is available. For each pixel `base + pixel` is readable for `rows` floats, and its row of
/// the right operand for the tile's width; the output is writable, by nobody else meanwhile.
pub(crate) unsafe fn column_tile(isa: Isa, rows: usize, args: &ColumnArgs) {
    // SAFETY: passed on to the caller.
    unsafe {
        match (isa, rows) {
            (Isa::Avx512, 10) => isa.run(ColumnTile::<10>(args)),
            (Isa::Avx512, 11) => isa.run(ColumnTile::<11>(args)),
            (Isa::Avx512, 12) => isa.run(ColumnTile::<12>(args)),
            (Isa::Avx512, 13) => isa.run(ColumnTile::<13>(args)),
            (Isa::Avx512, 14) => isa.run(ColumnTile::<14>(args)),
            (Isa::Avx2, 4) => isa.run(ColumnTile::<4>(args)),
            (Isa::Avx2, 5) => isa.run(ColumnTile::<5>(args)),
            (Isa::Avx2, 6) => isa.run(ColumnTile::<6>(args)),
            (Isa::Portable, PORTABLE_ROWS) => isa.run(ColumnTile::<PORTABLE_ROWS>(args)),
            _ => unreachable!("column_rows gives no tile of {rows} rows for {isa:?}"),
        }
    }
}

struct ColumnTile<'a, const ROWS: usize>(&'a ColumnArgs<'a>);

impl<const ROWS: usize> Job for ColumnTile<'_, ROWS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let args = self.0;
        // SAFETY: all reads and writes are those the contract of `column_tile` allows.
        unsafe {
            let mut sums = [[V::splat(0.0); 2]; ROWS];
            let mut right = args.right;
            for pixel in args.pixels {
                let left = args.base.wrapping_offset(*pixel);
                let row = [V::load(right), V::load(right.add(V::LANES))];
                for i in 0..ROWS {
                    let value = V::splat(*left.add(i));
                    sums[i][0] = value.mul_add(row[0], sums[i][0]);
                    sums[i][1] = value.mul_add(row[1], sums[i][1]);
                }
                right = right.wrapping_add(args.right_step);
            }
            for i in 0..ROWS {
                for j in 0..2 {
                    let at = args.output.add((i * 2 + j) * V::LANES);
                    let sum = sums[i][j];
                    let value = if args.accumulate {
                        sum.add(V::load(at))
                    } else {
                        sum
                    };
                    value.store(at);
                }
            }
        }
    }
}

/// Asks the cache for `len` floats ahead of their use; any address is allowed.
#[inline(always)]
pub(crate) fn prefetch(from: *const f32, len: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..len).step_by(16) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch does not fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, len);
}
