//! Register tiles of the dense convolution: the innermost loops, where nearly all time goes.
//!
//! Both read their left operand where it lies, by broadcasting single floats, and their right one
//! as rows of two vectors:
//! * [`RowTile`]: `out[i][0..N] (+)= sum over q of a[pixel i + q] * panel[q][0..N]`, for the
//!   forward and backward-data directions; `q` walks a list of runs of neighbouring floats.
//! * [`ColumnTile`]: `out[i][0..N] (+)= sum over pixels p of a[p + i] * b[p][0..N]`, for the
//!   backward-weights direction.
//!
//! With AVX-512 the tile is 14 x 32: 28 sums, two panel vectors and one broadcast in 32 registers. There are lower
//! ones for few pixels, and narrow ones of one vector for the last columns where they are few.

#![expect(
    clippy::needless_range_loop,
    reason = "loops over constant indices unroll, which keeps the sums in registers"
)]

use super::activation::Activation;
use super::element::Element;
use super::simd::{Isa, Job, Vector, run_pairs};

/// Rows of the portable tile: its sums should fit the registers of the target's baseline.
const PORTABLE_ROWS: usize = if cfg!(target_arch = "aarch64") { 6 } else { 2 };

/// Most rows of any tile.
pub(crate) const MAX_ROWS: usize = 14;
/// Most columns of any tile.
pub(crate) const MAX_WIDTH: usize = 32;

/// Tile sizes of an instruction set.
impl Isa {
    /// Pixels of the [`RowTile`] that wastes least on `len` pixels.
    pub(crate) fn tile_rows(self, operand: Operand, len: usize) -> usize {
        let heights: &[usize] = match (operand, self) {
            (Operand::Pairs, _) => &[14],
            (Operand::Floats, Self::Avx512) => &[14, 8],
            (Operand::Floats, Self::Avx2) => &[6],
            (Operand::Floats, Self::Portable) => &[PORTABLE_ROWS],
        };
        least_waste(heights.iter().copied(), len)
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
        least_waste(heights.rev(), len)
    }

    /// Are `columns` few enough for one vector?
    fn is_narrow(self, columns: usize) -> bool {
        columns <= self.tile_width() / 2
    }
}

/// The height of tiles that does least on `len` rows. A taller tile also saves loads of the right operand: the + 1.
fn least_waste(heights: impl Iterator<Item = usize>, len: usize) -> usize {
    heights
        .min_by_key(|rows| len.div_ceil(*rows) * (rows + 1))
        .expect("there is a height")
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
    /// Offset of each pixel from `base`; as many as the tile has rows, which [`Isa::tile_rows`] gave.
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
    /// What a finish adds before its activation: a row for each output, or nothing at all.
    pub(crate) residuals: &'a [*const f32],
    /// Rows of output that are written next, asked for meanwhile; any addresses.
    pub(crate) next: &'a [*const f32],
}

/// Runs the row tile of `isa` for as many pixels.
///
/// # Safety
/// `isa` is available, for pairs AVX-512 with BF16. For each of the pixels, `base + pixel + run` is readable for
/// `run_len` floats; the panel holds as many rows as it must; `width` floats of each output are
/// writable, and nobody else touches them; `width` floats of each residual are readable.
pub(crate) unsafe fn row_tile(isa: Isa, operand: Operand, args: &RowArgs) {
    debug_assert!(args.outputs.len() <= args.pixels.len());
    let narrow = isa.is_narrow(args.width);
    // SAFETY: passed on to the caller.
    unsafe {
        match (operand, isa, args.pixels.len(), narrow) {
            (Operand::Pairs, _, 14, _) => run_pairs(RowTile::<14, 2, true>(args)),
            (Operand::Floats, Isa::Avx512, 14, false) => isa.run(RowTile::<14, 2, false>(args)),
            (Operand::Floats, Isa::Avx512, 14, true) => isa.run(RowTile::<14, 1, false>(args)),
            (Operand::Floats, Isa::Avx512, 8, false) => isa.run(RowTile::<8, 2, false>(args)),
            (Operand::Floats, Isa::Avx512, 8, true) => isa.run(RowTile::<8, 1, false>(args)),
            (Operand::Floats, Isa::Avx2, 6, false) => isa.run(RowTile::<6, 2, false>(args)),
            (Operand::Floats, Isa::Avx2, 6, true) => isa.run(RowTile::<6, 1, false>(args)),
            (Operand::Floats, Isa::Portable, PORTABLE_ROWS, _) => {
                isa.run(RowTile::<PORTABLE_ROWS, 2, false>(args));
            }
            (_, _, rows, _) => unreachable!("tile_rows gives no tile of {rows} rows for {isa:?}"),
        }
    }
}

/// A tile of `ROWS` rows and `VECTORS` vectors; a panel's rows are two vectors long in any case.
struct RowTile<'a, const ROWS: usize, const VECTORS: usize, const PAIRS: bool>(&'a RowArgs<'a>);

impl<const ROWS: usize, const VECTORS: usize, const PAIRS: bool> Job
    for RowTile<'_, ROWS, VECTORS, PAIRS>
{
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let args = self.0;
        // SAFETY: all reads and writes are those the contract of `row_tile` allows.
        unsafe {
            let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
            let mut rows = [args.base; ROWS];
            for (row, pixel) in rows.iter_mut().zip(args.pixels) {
                *row = args.base.offset(*pixel);
            }
            let mut panel = args.panel;
            let mut next = args.next.iter();
            for &run in args.runs {
                for q in run..run + args.run_len as isize {
                    // A row a step: all at once they would wait for each other.
                    if let Some(row) = next.next() {
                        prefetch(*row, VECTORS * V::LANES);
                    }
                    let mut right = [V::splat(0.0); VECTORS];
                    for j in 0..VECTORS {
                        right[j] = V::load(panel.add(j * V::LANES));
                    }
                    for i in 0..ROWS {
                        let left = V::splat(*rows[i].offset(q));
                        for j in 0..VECTORS {
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
            // Whole tiles of plain sums go from the registers to memory. No choice of the number of rows or lanes inside the
            // loop: with one the sums would not stay in registers.
            let is_whole = args.finish.is_none() && args.outputs.len() == ROWS;
            if is_whole && args.width == VECTORS * V::LANES {
                for i in 0..ROWS {
                    let output = *args.outputs.get_unchecked(i);
                    for j in 0..VECTORS {
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
                for j in 0..VECTORS {
                    let at = (VECTORS * i + j) * V::LANES;
                    sums[i][j].store(rows.as_mut_ptr().add(at));
                }
            }
            store_rows::<V, VECTORS>(args, &rows);
        }
    }
}

/// Lanes of vector `idx` in a row of `width` floats.
#[inline(always)]
fn lanes_of<V: Vector>(width: usize, idx: usize) -> usize {
    width.saturating_sub(idx * V::LANES).min(V::LANES)
}

/// Finishes the sums of a row tile and writes them.
///
/// # Safety
/// As [`row_tile`].
#[inline(always)]
unsafe fn store_rows<V: Vector, const VECTORS: usize>(
    args: &RowArgs,
    rows: &[f32; MAX_ROWS * MAX_WIDTH],
) {
    // SAFETY: an output is read and written, and a residual read, for `width` floats only. Scale and bias are readable
    // for the tile's width.
    unsafe {
        for (idx, output) in args.outputs.iter().enumerate() {
            let row = rows.as_ptr().add(idx * VECTORS * V::LANES);
            let residual = args.residuals.get(idx);
            for j in 0..VECTORS {
                let (at, len) = (j * V::LANES, lanes_of::<V>(args.width, j));
                let mut value = V::load(row.add(at));
                if args.accumulate {
                    value = value.add(f32::load_part(output.add(at), len));
                }
                if let Some(finish) = args.finish {
                    value =
                        value.mul_add(V::load(finish.scale.add(at)), V::load(finish.bias.add(at)));
                    if let Some(residual) = residual {
                        value = value.add(f32::load_part(residual.add(at), len));
                    }
                    value = finish.activation.apply(value);
                }
                f32::store_part(value, output.add(at), len);
            }
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
    /// Columns whose sums are wanted: where they are few, those of the second vector are left as they are.
    pub(crate) width: usize,
    /// A part of what is read next, asked for meanwhile: offsets of two vectors from `next_base`; any addresses.
    pub(crate) next: &'a [usize],
    pub(crate) next_base: *const f32,
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
        match (isa, rows, isa.is_narrow(args.width)) {
            (Isa::Avx512, 10, false) => isa.run(ColumnTile::<10, 2>(args)),
            (Isa::Avx512, 11, false) => isa.run(ColumnTile::<11, 2>(args)),
            (Isa::Avx512, 12, false) => isa.run(ColumnTile::<12, 2>(args)),
            (Isa::Avx512, 13, false) => isa.run(ColumnTile::<13, 2>(args)),
            (Isa::Avx512, 14, false) => isa.run(ColumnTile::<14, 2>(args)),
            (Isa::Avx512, 10, true) => isa.run(ColumnTile::<10, 1>(args)),
            (Isa::Avx512, 11, true) => isa.run(ColumnTile::<11, 1>(args)),
            (Isa::Avx512, 12, true) => isa.run(ColumnTile::<12, 1>(args)),
            (Isa::Avx512, 13, true) => isa.run(ColumnTile::<13, 1>(args)),
            (Isa::Avx512, 14, true) => isa.run(ColumnTile::<14, 1>(args)),
            (Isa::Avx2, 4, _) => isa.run(ColumnTile::<4, 2>(args)),
            (Isa::Avx2, 5, _) => isa.run(ColumnTile::<5, 2>(args)),
            (Isa::Avx2, 6, _) => isa.run(ColumnTile::<6, 2>(args)),
            (Isa::Portable, PORTABLE_ROWS, _) => isa.run(ColumnTile::<PORTABLE_ROWS, 2>(args)),
            _ => unreachable!("column_rows gives no tile of {rows} rows for {isa:?}"),
        }
    }
}

struct ColumnTile<'a, const ROWS: usize, const VECTORS: usize>(&'a ColumnArgs<'a>);

impl<const ROWS: usize, const VECTORS: usize> Job for ColumnTile<'_, ROWS, VECTORS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let args = self.0;
        // SAFETY: all reads and writes are those the contract of `column_tile` allows.
        unsafe {
            let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
            let mut right = args.right;
            let mut next = args.next.iter();
            for pixel in args.pixels {
                if let Some(at) = next.next() {
                    prefetch(args.next_base.wrapping_add(*at), VECTORS * V::LANES);
                }
                let left = args.base.wrapping_offset(*pixel);
                let mut row = [V::splat(0.0); VECTORS];
                for j in 0..VECTORS {
                    row[j] = V::load(right.add(j * V::LANES));
                }
                for i in 0..ROWS {
                    let value = V::splat(*left.add(i));
                    for j in 0..VECTORS {
                        sums[i][j] = value.mul_add(row[j], sums[i][j]);
                    }
                }
                right = right.wrapping_add(args.right_step);
            }
            for i in 0..ROWS {
                for j in 0..VECTORS {
                    // A row is two vectors long.
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
