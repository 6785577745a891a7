//! Register tile of the depthwise forward and backward-data directions: a few pixels of one vector
//! of channels, every multiplication taking its input straight from memory.

#![expect(
    clippy::needless_range_loop,
    reason = "loops over constant indices unroll, which keeps the sums in registers"
)]

use super::super::super::activation::Activation;
use super::super::super::element::Element;
use super::super::super::simd::{Isa, Job, Vector};

/// Output pixels of a tile.
pub(super) const PIXELS: usize = 8;

/// All pixels of a tile.
const ALL: u32 = (1 << PIXELS) - 1;

/// One tap of a tile's windows.
pub(super) struct Tap {
    /// Offset of the first pixel's input; may lie outside x where its bit is 0.
    pub(super) x: isize,
    /// Offset of the tap's weights.
    pub(super) weight: usize,
    /// Bit `p`: does pixel `p` have this tap?
    pub(super) pixels: u32,
}

/// Operands of a tile.
pub(super) struct TileArgs<'a> {
    pub(super) x: *const f32,
    /// Floats from one pixel's input to the next one's.
    pub(super) x_step: usize,
    pub(super) taps: &'a [Tap],
    pub(super) weights: *const f32,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) activation: Activation,
    pub(super) y: *mut f32,
    /// Floats from one output pixel to the next.
    pub(super) y_step: usize,
    pub(super) num_pixels: usize,
    pub(super) channels: usize,
}

/// Computes a tile.
///
/// # Safety
/// `isa` is available; where a tap's bit for a pixel is set, `channels` floats are readable at the
/// pixel's input, and as many at the tap's weights; those of each output pixel are writable, and
/// nobody else touches them.
pub(super) unsafe fn run_tile(isa: Isa, args: &TileArgs) {
    let is_whole = args.num_pixels == PIXELS && args.taps.iter().all(|tap| tap.pixels == ALL);
    // SAFETY: passed on to the caller.
    unsafe {
        if is_whole {
            isa.run(Tile::<true>(args));
        } else {
            isa.run(Tile::<false>(args));
        }
    }
}

/// `WHOLE`: every pixel exists and has every tap.
struct Tile<'a, const WHOLE: bool>(&'a TileArgs<'a>);

impl<const WHOLE: bool> Job for Tile<'_, WHOLE> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let args = self.0;
        let lanes = V::LANES;
        // SAFETY: vectors start at `channel <= channels - lanes`; the rest is the contract.
        unsafe {
            if args.channels >= lanes {
                let mut channel = 0;
                loop {
                    self.vector::<V>(channel);
                    if channel + lanes >= args.channels {
                        return;
                    }
                    // What does not fill a vector is computed again together with its neighbours.
                    channel = (channel + lanes).min(args.channels - lanes);
                }
            }
            for channel in 0..args.channels {
                self.scalar::<V>(channel);
            }
        }
    }
}

impl<const WHOLE: bool> Tile<'_, WHOLE> {
    /// One vector of channels of every pixel.
    ///
    /// # Safety
    /// As [`run_tile`], and a vector fits at `channel`.
    #[inline(always)]
    unsafe fn vector<V: Vector>(&self, channel: usize) {
        let args = self.0;
        // SAFETY: the contract; inputs whose bit is 0 are addressed but not read.
        unsafe {
            let mut sums = [V::splat(0.0); PIXELS];
            for tap in args.taps {
                let x = args.x.wrapping_offset(tap.x).wrapping_add(channel);
                let weight = V::load(args.weights.add(tap.weight + channel));
                for i in 0..PIXELS {
                    if WHOLE || tap.pixels >> i & 1 == 1 {
                        let input = V::load(x.wrapping_add(i * args.x_step));
                        sums[i] = input.mul_add(weight, sums[i]);
                    }
                }
            }
            let bias = match args.bias {
                Some(bias) => V::load(bias.as_ptr().add(channel)),
                None => V::splat(0.0),
            };
            for i in 0..PIXELS {
                if WHOLE || i < args.num_pixels {
                    let value = args.activation.apply(sums[i].add(bias));
                    value.store(args.y.add(i * args.y_step + channel));
                }
            }
        }
    }

    /// One channel of every pixel, for tensors with fewer channels than a vector has lanes.
    ///
    /// # Safety
    /// As [`run_tile`].
    #[inline(always)]
    unsafe fn scalar<V: Vector>(&self, channel: usize) {
        let args = self.0;
        // SAFETY: the contract.
        unsafe {
            for i in 0..args.num_pixels {
                let mut sum = args.bias.map_or(0.0, |bias| bias[channel]);
                for tap in args.taps.iter().filter(|tap| tap.pixels >> i & 1 == 1) {
                    let x = args
                        .x
                        .wrapping_offset(tap.x)
                        .wrapping_add(i * args.x_step + channel);
                    sum += *x * *args.weights.add(tap.weight + channel);
                }
                let value = args.activation.apply(f32::load_part::<V>(&sum, 1));
                f32::store_part(value, args.y.add(i * args.y_step + channel), 1);
            }
        }
    }
}
