//! Backward weights of the depthwise convolution: for each row of dy, tap row and vector of
//! channels, the sums of all taps along the width stay in registers.

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
    let gradient = Gradient::new(isa, shape, x, dy);
    for_each_task(parts, |part| {
        // SAFETY: this part's copy, inside the buffer.
        let sums =
            unsafe { std::slice::from_raw_parts_mut(shared.get().add(part * copy_len), copy_len) };
        sums.fill(0.0);
        for row in part * num_rows / parts..(part + 1) * num_rows / parts {
            gradient.add_row(row, sums);
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

struct Gradient<'a, E> {
    isa: Isa,
    shape: &'a Conv3dShape,
    x: &'a [E],
    dy: &'a [E],
    /// For each tap along the width, the outputs that read inside the input by it.
    spans: Vec<Range<usize>>,
    /// The outputs that every tap's span holds.
    common: Range<usize>,
}

impl<'a, E: Element> Gradient<'a, E> {
    fn new(isa: Isa, shape: &'a Conv3dShape, x: &'a [E], dy: &'a [E]) -> Self {
        let (stride, width) = (shape.options.stride[2], shape.output()[2]);
        let span = |tap: usize| {
            let offset =
                (tap * shape.options.dilation[2]) as isize - shape.options.padding[2] as isize;
            let first = (-offset).max(0) as usize;
            let end = (shape.input[2] as isize - offset).max(0) as usize;
            first.div_ceil(stride).min(width)..end.div_ceil(stride).min(width)
        };
        let spans: Vec<_> = (0..shape.kernel[2]).map(span).collect();
        let start = spans
            .iter()
            .map(|span| span.start)
            .max()
            .expect("a kernel has taps");
        let end = spans
            .iter()
            .map(|span| span.end)
            .min()
            .expect("a kernel has taps");
        Self {
            isa,
            shape,
            x,
            dy,
            spans,
            common: start..end.max(start),
        }
    }

    /// Adds what one row of dy gives to `[tap][channel]` sums.
    fn add_row(&self, row: usize, sums: &mut [f32]) {
        let shape = self.shape;
        let [t_len, h_len, w_len] = shape.output();
        let (image, t, h) = (row / (t_len * h_len), row / h_len % t_len, row % h_len);
        let dy = &self.dy[row * w_len * shape.in_channels..][..w_len * shape.in_channels];
        let row_len = shape.kernel[2] * shape.in_channels;
        for (tap_row, sums) in sums.chunks_exact_mut(row_len).enumerate() {
            let input = |output: usize, tap: usize, axis: usize| {
                let options = &shape.options;
                (output * options.stride[axis] + tap * options.dilation[axis])
                    .checked_sub(options.padding[axis])
                    .filter(|at| *at < shape.input[axis])
            };
            let t = input(t, tap_row / shape.kernel[1], 0);
            let h = input(h, tap_row % shape.kernel[1], 1);
            if let (Some(t), Some(h)) = (t, h) {
                let line = (image * shape.input[0] + t) * shape.input[1] + h;
                self.add_tap_row(line * shape.input[2] * shape.in_channels, dy, sums);
            }
        }
    }

    /// Adds what a row of dy gives to the taps of one kernel row, whose input row starts at `line`.
    fn add_tap_row(&self, line: usize, dy: &[E], sums: &mut [f32]) {
        let channels = self.shape.in_channels;
        self.add(line, dy, self.common.clone(), 0, self.shape.kernel[2], sums);
        for (tap, span) in self.spans.iter().enumerate() {
            let sums = &mut sums[tap * channels..][..channels];
            let before = span.start..span.end.min(self.common.start);
            let after = span.start.max(self.common.end)..span.end;
            self.add(line, dy, before, tap, 1, sums);
            self.add(line, dy, after, tap, 1, sums);
        }
    }

    /// Adds what `outputs` of a row give to `num_taps` taps from `tap`, all of which are inside.
    fn add(
        &self,
        line: usize,
        dy: &[E],
        outputs: Range<usize>,
        tap: usize,
        num_taps: usize,
        sums: &mut [f32],
    ) {
        if outputs.is_empty() {
            return;
        }
        let (options, channels) = (&self.shape.options, self.shape.in_channels);
        let first = outputs.start * options.stride[2] + tap * options.dilation[2];
        let x_start = line + (first - options.padding[2]) * channels;
        let args = RowArgs {
            x: &self.x[x_start..],
            x_step: options.stride[2] * channels,
            tap_step: options.dilation[2] * channels,
            dy: &dy[outputs.start * channels..outputs.end * channels],
            sums,
            channels,
        };
        // SAFETY: every tap of every output reads inside x: the spans say so.
        unsafe { add_row(self.isa, num_taps, args) }
    }
}

/// `sums[k][c] += sum over pixels p of x[p * x_step + k * tap_step + c] * dy[p][c]`.
struct RowArgs<'a, E> {
    x: &'a [E],
    x_step: usize,
    tap_step: usize,
    dy: &'a [E],
    sums: &'a mut [f32],
    channels: usize,
}

/// # Safety
/// `isa` is available, and every index above is inside x.
unsafe fn add_row<E: Element>(isa: Isa, num_taps: usize, args: RowArgs<E>) {
    // SAFETY: passed on to the caller.
    unsafe {
        match num_taps {
            1 => isa.run(Row::<E, 1, 4>(args)),
            3 => isa.run(Row::<E, 3, 3>(args)),
            5 => isa.run(Row::<E, 5, 2>(args)),
            7 => isa.run(Row::<E, 7, 2>(args)),
            _ => {
                let RowArgs {
                    x,
                    x_step,
                    tap_step,
                    dy,
                    sums,
                    channels,
                } = args;
                for (tap, sums) in sums.chunks_exact_mut(channels).enumerate() {
                    let x = &x[tap * tap_step..];
                    let args = RowArgs {
                        x,
                        x_step,
                        tap_step: 0,
                        dy,
                        sums,
                        channels,
                    };
                    isa.run(Row::<E, 1, 4>(args));
                }
            }
        }
    }
}

/// `TAPS` taps, up to `VECTORS` vectors of channels at a time.
struct Row<'a, E, const TAPS: usize, const VECTORS: usize>(RowArgs<'a, E>);

impl<E: Element, const TAPS: usize, const VECTORS: usize> Job for Row<'_, E, TAPS, VECTORS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) {
        let channels = self.0.channels;
        let mut channel = 0;
        // SAFETY: whole vectors inside the channels; the rest is the contract of `add_row`.
        unsafe {
            while channel + VECTORS * V::LANES <= channels {
                self.vectors::<V, VECTORS>(channel);
                channel += VECTORS * V::LANES;
            }
            while channel + V::LANES <= channels {
                self.vectors::<V, 1>(channel);
                channel += V::LANES;
            }
        }
        let RowArgs {
            x,
            x_step,
            tap_step,
            dy,
            sums,
            ..
        } = self.0;
        for (pixel, dy) in dy.chunks_exact(channels).enumerate() {
            for tap in 0..TAPS {
                let x = &x[pixel * x_step + tap * tap_step..][..channels];
                for c in channel..channels {
                    sums[tap * channels + c] += x[c].to_f32() * dy[c].to_f32();
                }
            }
        }
    }
}

impl<E: Element, const TAPS: usize, const VECTORS: usize> Row<'_, E, TAPS, VECTORS> {
    /// `N` vectors from `channel`.
    ///
    /// # Safety
    /// As [`add_row`], and the vectors fit.
    #[inline(always)]
    unsafe fn vectors<V: Vector, const N: usize>(&mut self, channel: usize) {
        let args = &mut self.0;
        let channels = args.channels;
        // SAFETY: the contract.
        unsafe {
            let start = args.sums.as_mut_ptr().add(channel);
            let mut sums = [[V::splat(0.0); N]; TAPS];
            let mut x = args.x.as_ptr().wrapping_add(channel);
            let mut dy = args.dy.as_ptr().wrapping_add(channel);
            for _ in 0..args.dy.len() / channels {
                for n in 0..N {
                    let gradient: V = E::load(dy.add(n * V::LANES));
                    for k in 0..TAPS {
                        let input: V = E::load(x.add(k * args.tap_step + n * V::LANES));
                        sums[k][n] = input.mul_add(gradient, sums[k][n]);
                    }
                }
                x = x.wrapping_add(args.x_step);
                dy = dy.wrapping_add(channels);
            }
            for k in 0..TAPS {
                for n in 0..N {
                    let at = start.add(k * channels + n * V::LANES);
                    V::load(at).add(sums[k][n]).store(at);
                }
            }
        }
    }
}
