//! The inner loops, compiled once for every instruction set that matters and chosen at run time.
//!
//! Plain loops over fixed-size blocks, which the compiler turns into vectors; `pulp` compiles them again for AVX2 and
//! picks at run time, safely. A value between the passes is 8.8 fixed point in a `u16`.

use std::ops::Range;

use pulp::{Arch, NullaryFnOnce};

use crate::resample::Table;

/// Values that are worked on together: four AVX2 registers of 16-bit lanes.
const BLOCK: usize = 64;

/// A value that a pass reads.
pub(crate) trait Wide: Copy {
    /// As 8.8 fixed point.
    fn wide(self) -> u16;
}

impl Wide for u8 {
    #[inline(always)]
    fn wide(self) -> u16 {
        u16::from(self) << 8
    }
}

impl Wide for u16 {
    #[inline(always)]
    fn wide(self) -> u16 {
        self
    }
}

/// A value that a pass writes.
pub(crate) trait Narrow: Copy + Default {
    /// From an 8.8 sum of products that lacks `lost` units on average.
    fn narrow(sum: u16, lost: u16) -> Self;
}

impl Narrow for u8 {
    #[inline(always)]
    fn narrow(sum: u16, lost: u16) -> Self {
        (sum.saturating_add(lost + 128) >> 8) as Self
    }
}

impl Narrow for u16 {
    #[inline(always)]
    fn narrow(sum: u16, lost: u16) -> Self {
        sum.saturating_add(lost)
    }
}

#[inline(always)]
fn product(value: u16, weight: u16) -> u16 {
    ((u32::from(value) * u32::from(weight)) >> 16) as u16
}

/// The values of one row as 8.8 fixed point.
pub(crate) fn widen(row: &[u8], out: &mut [u16]) {
    for (out, &value) in out.iter_mut().zip(row) {
        *out = value.wide();
    }
}

/// A weighted sum of rows, for the values in `range`, each to its own place in `out`.
pub(crate) struct BlendRows<'a, I, O> {
    /// The rows, one after the other.
    pub(crate) rows: &'a [I],
    /// Values of a row.
    pub(crate) stride: usize,
    /// One weight a row, in 65536ths.
    pub(crate) weights: &'a [u16],
    /// See [`Table::lost`].
    pub(crate) lost: u16,
    pub(crate) range: Range<usize>,
    pub(crate) out: &'a mut [O],
}

impl<I: Wide, O: Narrow> BlendRows<'_, I, O> {
    pub(crate) fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl<I: Wide, O: Narrow> NullaryFnOnce for BlendRows<'_, I, O> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Range { mut start, end } = self.range;
        while start + BLOCK <= end {
            let mut sums = [0u16; BLOCK];
            for (row, &weight) in self.rows.chunks_exact(self.stride).zip(self.weights) {
                let values: &[I; BLOCK] = row[start..start + BLOCK]
                    .try_into()
                    .expect("a slice of one block");
                for lane in 0..BLOCK {
                    sums[lane] = sums[lane].wrapping_add(product(values[lane].wide(), weight));
                }
            }
            let out = &mut self.out[start..start + BLOCK];
            for lane in 0..BLOCK {
                out[lane] = O::narrow(sums[lane], self.lost);
            }
            start += BLOCK;
        }
        for idx in start..end {
            let mut sum = 0u16;
            for (row, &weight) in self.rows.chunks_exact(self.stride).zip(self.weights) {
                sum = sum.wrapping_add(product(row[idx].wide(), weight));
            }
            self.out[idx] = O::narrow(sum, self.lost);
        }
    }
}

/// One row of pixels from another by the weights of `table`; `line` is one value longer than its pixels.
pub(crate) fn blend_columns<O: Narrow>(
    line: &[u16],
    table: &Table,
    channels: usize,
    out: &mut [O],
) {
    let arch = Arch::new();
    match channels {
        1 => arch.dispatch(BlendColumns::<O, 1, 1> { line, table, out }),
        _ => arch.dispatch(BlendColumns::<O, 3, 4> { line, table, out }),
    }
}

/// `C` channels a pixel, read as `L` lanes so that three channels move as four.
struct BlendColumns<'a, O, const C: usize, const L: usize> {
    line: &'a [u16],
    table: &'a Table,
    out: &'a mut [O],
}

impl<O: Narrow, const C: usize, const L: usize> NullaryFnOnce for BlendColumns<'_, O, C, L> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let taps = self.table.taps;
        for (out, (first, weights)) in self.out.chunks_exact_mut(C).zip(self.table.iter()) {
            let line = &self.line[first * C..(first + taps) * C + L - C];
            let mut sums = [0u16; L];
            for (tap, &weight) in weights.iter().enumerate() {
                let values: &[u16; L] = line[tap * C..tap * C + L]
                    .try_into()
                    .expect("a slice of one pixel");
                for lane in 0..L {
                    sums[lane] = sums[lane].wrapping_add(product(values[lane], weight));
                }
            }
            for (out, &sum) in out.iter_mut().zip(&sums) {
                *out = O::narrow(sum, self.table.lost);
            }
        }
    }
}

/// One row of RGB values from `line`, which is longer by a tap less than there are weights: each output is the weighted
/// sum of the pixels from its own on.
pub(crate) struct BlendShifted<'a> {
    pub(crate) line: &'a [u16],
    /// One weight a tap, in 65536ths.
    pub(crate) weights: &'a [u16],
    /// See [`Table::lost`].
    pub(crate) lost: u16,
    pub(crate) out: &'a mut [u8],
}

impl BlendShifted<'_> {
    pub(crate) fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl NullaryFnOnce for BlendShifted<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let mut start = 0;
        while start + BLOCK <= self.out.len() {
            let mut sums = [0u16; BLOCK];
            for (tap, &weight) in self.weights.iter().enumerate() {
                let values: &[u16; BLOCK] = self.line[start + 3 * tap..][..BLOCK]
                    .try_into()
                    .expect("a slice of one block");
                for lane in 0..BLOCK {
                    sums[lane] = sums[lane].wrapping_add(product(values[lane], weight));
                }
            }
            for (out, &sum) in self.out[start..start + BLOCK].iter_mut().zip(&sums) {
                *out = u8::narrow(sum, self.lost);
            }
            start += BLOCK;
        }
        for idx in start..self.out.len() {
            let mut sum = 0u16;
            for (tap, &weight) in self.weights.iter().enumerate() {
                sum = sum.wrapping_add(product(self.line[idx + 3 * tap], weight));
            }
            self.out[idx] = u8::narrow(sum, self.lost);
        }
    }
}
