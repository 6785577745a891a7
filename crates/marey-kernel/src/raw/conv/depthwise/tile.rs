//! Register tile of the depthwise forward and backward-data directions: a few neighbouring pixels of
//! one vector of channels. An input is loaded once for all the taps of a run that read it.

#![expect(
    clippy::needless_range_loop,
    reason = "loops over constant indices unroll, which keeps the sums in registers"
)]

use std::ops::Range;

use super::super::super::element::Element;
use super::super::super::simd::{Isa, Job, Vector};
use super::super::Epilogue;
use super::windows::Run;
use super::{FEW_PIXELS, MAX_PIXELS};

/// Operands of a tile.
pub(super) struct TileArgs<'a, E> {
    pub(super) x: *const E,
    /// Elements from one position to the next.
    pub(super) x_step: usize,
    pub(super) runs: &'a [Run],
    pub(super) weights: *const f32,
    pub(super) epilogue: Epilogue<'a>,
    pub(super) y: *mut E,
    /// Elements from one output pixel to the next.
    pub(super) y_step: usize,
    pub(super) num_pixels: usize,
    /// Channels to compute.
    pub(super) channels: Range<usize>,
}

/// Computes a tile of at most `pixels` pixels (of [`MAX_PIXELS`] or [`FEW_PIXELS`]) whose inputs are
/// `stride` (1 or 2) positions apart.
///
/// # Safety
/// `isa` is available; where a run's bit for a position is set, the channels are readable there, and
/// at the weights of its taps; those of each output pixel are writable, and nobody else touches them.
pub(super) unsafe fn run_tile<E: Element>(
    isa: Isa,
    [stride, pixels]: [usize; 2],
    args: &TileArgs<E>,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        match (stride, pixels) {
            (1, MAX_PIXELS) => isa.run(Tile::<E, 1, MAX_PIXELS>(args)),
            (1, FEW_PIXELS) => isa.run(Tile::<E, 1, FEW_PIXELS>(args)),
            (2, MAX_PIXELS) => isa.run(Tile::<E, 2, MAX_PIXELS>(args)),
            (2, FEW_PIXELS) => isa.run(Tile::<E, 2, FEW_PIXELS>(args)),
            _ => unreachable!("no tile of {pixels} pixels with stride {stride}"),
        }
    }
}

struct Tile<'a, E, const STRIDE: usize, const PIXELS: usize>(&'a TileArgs<'a, E>);

impl<E: Element, const STRIDE: usize, const PIXELS: usize> Job for Tile<'_, E, STRIDE, PIXELS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Range { start, end } = self.0.channels;
        // SAFETY: vectors start at `channel <= end - LANES`; the rest is the contract.
        unsafe {
            if end - start < V::LANES {
                return self.vector::<V>(start, end - start);
            }
            let mut channel = start;
            loop {
                self.vector::<V>(channel, V::LANES);
                if channel + V::LANES >= end {
                    return;
                }
                // What does not fill a vector is computed again together with its neighbours.
                channel = (channel + V::LANES).min(end - V::LANES);
            }
        }
    }
}

/// Calls `$body` with `$j` as each constant up to the number of positions of the largest tile. A
/// loop of that length would not be unrolled, and the sums would lie in memory.
macro_rules! for_each_position {
    ($j:ident => $body:block) => {
        for_each_position!(@ $j $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18)
    };
    (@ $j:ident $body:block $($n:literal)*) => { $({ const $j: usize = $n; $body })* };
}
pub(super) use for_each_position;

/// The pixel of a tile that reads its tap `k` at `position`, if there is one. A constant where both are.
#[inline(always)]
pub(super) fn pixel_of<const STRIDE: usize, const PIXELS: usize>(
    position: usize,
    k: usize,
) -> Option<usize> {
    let distance = position.checked_sub(k)?;
    (distance.is_multiple_of(STRIDE) && distance / STRIDE < PIXELS).then_some(distance / STRIDE)
}

impl<E: Element, const STRIDE: usize, const PIXELS: usize> Tile<'_, E, STRIDE, PIXELS> {
    /// A vector of `len` channels of every pixel.
    ///
    /// # Safety
    /// As [`run_tile`], and so many are there from `channel` on.
    #[inline(always)]
    unsafe fn vector<V: Vector>(&self, channel: usize, len: usize) {
        let args = self.0;
        // SAFETY: the contract.
        unsafe {
            let mut sums = [V::splat(0.0); PIXELS];
            for run in args.runs {
                match run.len {
                    1 => self.add::<V, 1>(&mut sums, run, channel, len),
                    2 => self.add::<V, 2>(&mut sums, run, channel, len),
                    3 => self.add::<V, 3>(&mut sums, run, channel, len),
                    _ => self.add::<V, 5>(&mut sums, run, channel, len),
                }
            }
            self.prefetch_next(channel);
            let Epilogue {
                scale,
                bias,
                activation,
                ..
            } = args.epilogue;
            // Not for both in a `map`, whose inside is compiled without the instruction set.
            let (mut factor, mut addend) = (V::splat(1.0), V::splat(0.0));
            if let Some(scale) = scale {
                factor = f32::load_part(scale.as_ptr().add(channel), len);
            }
            if let Some(bias) = bias {
                addend = f32::load_part(bias.as_ptr().add(channel), len);
            }
            for i in 0..PIXELS {
                if i < args.num_pixels {
                    let value = activation.apply(sums[i].mul_add(factor, addend));
                    E::store_part(value, args.y.add(i * args.y_step + channel), len);
                }
            }
        }
    }

    /// Asks for the outputs of the tile to the right, ready to be written: stores into rows of many
    /// channels lie too far apart for the hardware to see what comes next. Any address is allowed.
    #[inline(always)]
    fn prefetch_next(&self, channel: usize) {
        #[cfg(target_arch = "x86_64")]
        for i in PIXELS..2 * PIXELS {
            use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
            let next = self.0.y.wrapping_add(i * self.0.y_step + channel);
            // SAFETY: a prefetch does not fault, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(next.cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = channel;
    }

    /// Adds the products of a run of `LEN` taps.
    ///
    /// # Safety
    /// As [`Tile::vector`].
    #[inline(always)]
    unsafe fn add<V: Vector, const LEN: usize>(
        &self,
        sums: &mut [V; PIXELS],
        run: &Run,
        channel: usize,
        len: usize,
    ) {
        let args = self.0;
        // SAFETY: the contract; positions whose bit is 0 are addressed but not read.
        unsafe {
            let first = args.weights.add(run.weight + channel);
            let mut weights = [V::splat(0.0); LEN];
            for k in 0..LEN {
                weights[k] = f32::load_part(first.offset(k as isize * run.weight_step), len);
            }
            let x = args.x.wrapping_offset(run.x).wrapping_add(channel);
            for_each_position!(J => {
                if J < (PIXELS - 1) * STRIDE + LEN && run.inside >> J & 1 == 1 {
                    let input: V = E::load_part(x.wrapping_add(J * args.x_step), len);
                    for k in 0..LEN {
                        if let Some(i) = pixel_of::<STRIDE, PIXELS>(J, k) {
                            sums[i] = input.mul_add(weights[k], sums[i]);
                        }
                    }
                }
            });
        }
    }
}
