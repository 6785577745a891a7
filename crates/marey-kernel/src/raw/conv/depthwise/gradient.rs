//! Backward weights of the depthwise convolution: the gradients of a few neighbouring pixels stay in
//! registers while the inputs of each run of taps pass by them.

#![expect(
    clippy::needless_range_loop,
    reason = "loops over constant indices unroll, which keeps the sums in registers"
)]

use std::ops::Range;

use super::super::super::element::Element;
use super::super::super::memory::Buffer;
use super::super::super::parallel::{Shared, for_each_task};
use super::super::super::shape::Conv3dShape;
use super::super::super::simd::{Isa, Job, Vector};
use super::super::super::tile::prefetch;
use super::tile::{for_each_position, pixel_of};
use super::windows::Run;
use super::{FEW_PIXELS, MAX_PIXELS, blocks, windows_of_x};

/// Backward weights; lengths are checked by the caller.
pub(in super::super) fn backward_weights<E: Element>(
    isa: Isa,
    shape: &Conv3dShape,
    x: &[E],
    dy: &[E],
    dw: &mut [f32],
) {
    let (channels, num_taps) = (shape.in_channels, shape.num_taps());
    let [t_len, h_len, _] = shape.output();
    let num_rows = shape.batch * t_len * h_len;
    // Every part adds up its rows in its own copy, so that sums do not depend on scheduling.
    let parts = (TASKS_PER_THREAD * rayon::current_num_threads()).min(num_rows);
    let copy_len = num_taps * channels;
    let mut partial = Buffer::<f32>::take(parts * copy_len);
    let shared = Shared::new(&mut partial);
    let windows = windows_of_x(shape);
    // A pixel that does not exist must not meet an input, which may be NaN: whole tiles only.
    let whole = |left: usize| {
        [MAX_PIXELS, FEW_PIXELS, 2]
            .into_iter()
            .find(|size| *size <= left)
    };
    let columns = windows.columns(|left| whole(left).unwrap_or(1));
    let [stride, x_step] = windows.steps();
    for_each_task(parts, |part| {
        // SAFETY: this part's copy, inside the buffer.
        let sums =
            unsafe { std::slice::from_raw_parts_mut(shared.get().add(part * copy_len), copy_len) };
        sums.fill(0.0);
        let mut runs = vec![];
        for channels in blocks(channels, windows.block()) {
            for row in part * num_rows / parts..(part + 1) * num_rows / parts {
                let position = [row / h_len % t_len, row % h_len];
                for column in &columns {
                    windows.list_runs(row / (t_len * h_len), position, column, &mut runs);
                    let pixel = row * windows.grid[2] + column.first;
                    let args = TileArgs {
                        x,
                        x_step,
                        runs: &runs,
                        dy: &dy[pixel * shape.in_channels..],
                        dy_step: shape.in_channels,
                        sums,
                        channels: channels.clone(),
                    };
                    // SAFETY: the listed runs lie inside x where their bits say so.
                    unsafe { run_tile(isa, [stride, column.num_pixels], args) };
                }
            }
        }
    });
    for channel in 0..channels {
        for tap in 0..num_taps {
            let copies = (0..parts).map(|part| partial[part * copy_len + tap * channels + channel]);
            dw[channel * num_taps + tap] = copies.sum();
        }
    }
}

/// Tasks wanted for each thread.
const TASKS_PER_THREAD: usize = 4;

/// `sums[tap][c] += sum over pixels p of x[p's tap][c] * dy[p][c]`.
struct TileArgs<'a, E> {
    x: &'a [E],
    /// Elements from one position to the next.
    x_step: usize,
    runs: &'a [Run],
    /// From the first pixel on.
    dy: &'a [E],
    /// Elements from one pixel to the next.
    dy_step: usize,
    sums: &'a mut [f32],
    channels: Range<usize>,
}

/// Adds what a tile of `pixels` (8, 4, 2 or 1) pixels, `stride` (1 or 2) positions apart, gives.
///
/// # Safety
/// `isa` is available, and the positions of the runs whose bit is set are inside x.
unsafe fn run_tile<E: Element>(isa: Isa, [stride, pixels]: [usize; 2], args: TileArgs<E>) {
    // SAFETY: passed on to the caller.
    unsafe {
        match (stride, pixels) {
            (_, 1) => isa.run(Tile::<E, 1, 1>(args)),
            (1, 2) => isa.run(Tile::<E, 1, 2>(args)),
            (2, 2) => isa.run(Tile::<E, 2, 2>(args)),
            (1, FEW_PIXELS) => isa.run(Tile::<E, 1, FEW_PIXELS>(args)),
            (1, MAX_PIXELS) => isa.run(Tile::<E, 1, MAX_PIXELS>(args)),
            (2, FEW_PIXELS) => isa.run(Tile::<E, 2, FEW_PIXELS>(args)),
            (2, MAX_PIXELS) => isa.run(Tile::<E, 2, MAX_PIXELS>(args)),
            _ => unreachable!("no tile of {pixels} pixels with stride {stride}"),
        }
    }
}

struct Tile<'a, E, const STRIDE: usize, const PIXELS: usize>(TileArgs<'a, E>);

impl<E: Element, const STRIDE: usize, const PIXELS: usize> Job for Tile<'_, E, STRIDE, PIXELS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) {
        let Range { start, end } = self.0.channels;
        let whole = start + (end - start) / V::LANES * V::LANES;
        // SAFETY: so many channels are there; the rest is the contract of `run_tile`.
        unsafe {
            for channel in (start..whole).step_by(V::LANES) {
                self.vector::<V>(channel, V::LANES);
            }
            if whole < end {
                self.vector::<V>(whole, end - whole);
            }
        }
    }
}

impl<E: Element, const STRIDE: usize, const PIXELS: usize> Tile<'_, E, STRIDE, PIXELS> {
    /// A vector of `len` channels.
    ///
    /// # Safety
    /// As [`run_tile`], and there are so many.
    #[inline(always)]
    unsafe fn vector<V: Vector>(&mut self, channel: usize, len: usize) {
        // SAFETY: the contract; dy has all pixels of the tile.
        unsafe {
            self.prefetch_next(channel);
            let mut gradients = [V::splat(0.0); PIXELS];
            for i in 0..PIXELS {
                let from = self.0.dy.as_ptr().add(i * self.0.dy_step + channel);
                gradients[i] = E::load_part(from, len);
            }
            for run in self.0.runs {
                match run.len {
                    1 => self.add::<V, 1>(&gradients, run, channel, len),
                    2 => self.add::<V, 2>(&gradients, run, channel, len),
                    3 => self.add::<V, 3>(&gradients, run, channel, len),
                    _ => self.add::<V, 5>(&gradients, run, channel, len),
                }
            }
        }
    }

    /// Asks for what the tile to the right reads first: its gradients and its last row of inputs.
    #[inline(always)]
    fn prefetch_next(&self, channel: usize) {
        let args = &self.0;
        for i in PIXELS..2 * PIXELS {
            let next = args.dy.as_ptr().wrapping_add(i * args.dy_step + channel);
            prefetch(next.cast(), 1);
        }
        if let Some(run) = args.runs.last() {
            let x = args.x.as_ptr().wrapping_offset(run.x).wrapping_add(channel);
            for position in PIXELS * STRIDE..2 * PIXELS * STRIDE {
                prefetch(x.wrapping_add(position * args.x_step).cast(), 1);
            }
        }
    }

    /// Adds to the sums of a run of `LEN` taps.
    ///
    /// # Safety
    /// As [`Tile::vector`].
    #[inline(always)]
    unsafe fn add<V: Vector, const LEN: usize>(
        &mut self,
        gradients: &[V; PIXELS],
        run: &Run,
        channel: usize,
        len: usize,
    ) {
        let args = &mut self.0;
        // SAFETY: the contract; positions whose bit is 0 are addressed but not read.
        unsafe {
            let mut sums = [V::splat(0.0); LEN];
            let x = args.x.as_ptr().wrapping_offset(run.x).wrapping_add(channel);
            for_each_position!(J => {
                if J < (PIXELS - 1) * STRIDE + LEN && run.inside >> J & 1 == 1 {
                    let input: V = E::load_part(x.wrapping_add(J * args.x_step), len);
                    for k in 0..LEN {
                        if let Some(i) = pixel_of::<STRIDE, PIXELS>(J, k) {
                            sums[k] = input.mul_add(gradients[i], sums[k]);
                        }
                    }
                }
            });
            let first = args.sums.as_mut_ptr().add(run.weight + channel);
            for k in 0..LEN {
                let to = first.offset(k as isize * run.weight_step);
                f32::store_part(f32::load_part::<V>(to, len).add(sums[k]), to, len);
            }
        }
    }
}
