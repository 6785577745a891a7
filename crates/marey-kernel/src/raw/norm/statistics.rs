//! Mean and variance of each channel, and sums over rows in a fixed order.

#![expect(
    clippy::needless_range_loop,
    reason = "loops over constant indices unroll, which keeps the sums in registers"
)]

use std::ops::Range;

use super::super::element::Element;
use super::super::parallel::for_each_piece;
use super::super::simd::{Isa, Job, MAX_LANES, Vector};
use super::PerChannel;

/// Rows whose sums are built in `f32` before they are added up in `f64`.
pub(super) const SUM_ROWS: usize = 256;
/// Tasks wanted for each thread.
const TASKS_PER_THREAD: usize = 4;

/// Mean and biased variance of each channel over all rows.
pub fn statistics<E: Element>(isa: Isa, x: &[E], channels: usize) -> [PerChannel; 2] {
    let num_rows = x.len() / channels;
    // Per part: mean and sum of squared distances from it, joined by Chan's formula, in order.
    let parts = parallel_sums(num_rows, channels, |rows, totals| {
        let mut done = 0;
        for first in rows.clone().step_by(SUM_ROWS) {
            let block = first..rows.end.min(first + SUM_ROWS);
            let len = block.len();
            let padded = channels.next_multiple_of(MAX_LANES);
            let mut sums = vec![0.0f32; 2 * padded];
            let x = &x[block.start * channels..block.end * channels];
            // SAFETY: the set is available; x holds whole rows, sums two padded ones.
            unsafe {
                isa.run(Moments {
                    x,
                    channels,
                    sums: &mut sums,
                })
            };
            for channel in 0..channels {
                let origin = f64::from(x[channel].to_f32());
                let sum = f64::from(sums[channel]);
                let mean = origin + sum / len as f64;
                let spread = f64::from(sums[padded + channel]) - sum * sum / len as f64;
                join(&mut totals[2 * channel..][..2], done, [mean, spread], len);
            }
            done += len;
        }
    });
    let mut totals = vec![0.0; 2 * channels];
    let mut done = 0;
    for (rows, part) in &parts {
        for (total, part) in totals.chunks_exact_mut(2).zip(part.chunks_exact(2)) {
            join(total, done, [part[0], part[1]], rows.len());
        }
        done += rows.len();
    }
    [
        PerChannel::new(channels, |channel| totals[2 * channel] as f32),
        PerChannel::new(channels, |channel| {
            // Rounding may leave a tiny negative number where all rows are equal.
            let variance = totals[2 * channel + 1] / num_rows as f64;
            (if variance < 0.0 { 0.0 } else { variance }) as f32
        }),
    ]
}

/// Joins mean and sum of squared distances of `len` more rows to those of `done` rows.
fn join(total: &mut [f64], done: usize, [mean, spread]: [f64; 2], len: usize) {
    let (done, len) = (done as f64, len as f64);
    let distance = mean - total[0];
    total[0] += distance * len / (done + len);
    total[1] += spread + distance * distance * done * len / (done + len);
}

/// Runs `add` on contiguous parts of `0..num_rows` in parallel, each with two `f64` a channel that
/// start at zero, and gives the parts back in order.
pub(super) fn parallel_sums(
    num_rows: usize,
    channels: usize,
    add: impl Fn(Range<usize>, &mut [f64]) + Sync,
) -> Vec<(Range<usize>, Vec<f64>)> {
    let count = (TASKS_PER_THREAD * rayon::current_num_threads())
        .min(num_rows.div_ceil(SUM_ROWS))
        .max(1);
    let part = |idx: usize| {
        let rows = idx * num_rows / count..(idx + 1) * num_rows / count;
        (rows, vec![0.0; 2 * channels])
    };
    let mut parts: Vec<_> = (0..count).map(part).collect();
    for_each_piece(&mut parts, 1, |_, part| {
        for (rows, totals) in part {
            add(rows.clone(), totals);
        }
    });
    parts
}

/// Runs a block for strips of neighbouring vectors of channels, which have as many independent sums and longer reads than
/// one vector: with the number of vectors as a constant, the strip's first channel, and the lanes of its last vector.
macro_rules! for_each_strip {
    ($channels:expr, $V:ident, |$N:ident, $channel:ident, $last:ident| $work:block) => {
        let mut $channel = 0;
        while $channel < $channels {
            let left = $channels - $channel;
            let vectors = left.div_ceil($V::LANES).min(4);
            let $last = $V::LANES.min(left - (vectors - 1) * $V::LANES);
            match vectors {
                1 => for_each_strip!(@run 1, $N, $work),
                2 => for_each_strip!(@run 2, $N, $work),
                3 => for_each_strip!(@run 3, $N, $work),
                _ => for_each_strip!(@run 4, $N, $work),
            }
            $channel += vectors * $V::LANES;
        }
    };
    (@run $count:literal, $N:ident, $work:block) => {{
        const $N: usize = $count;
        $work
    }};
}
pub(super) use for_each_strip;

/// `sums[0][c] = sum of (x - first row)[c]`, `sums[1][c]` that of its squares.
struct Moments<'a, E> {
    x: &'a [E],
    channels: usize,
    sums: &'a mut [f32],
}

impl<E: Element> Job for Moments<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) {
        // SAFETY: inside a row.
        unsafe {
            for_each_strip!(self.channels, V, |N, channel, last| {
                self.strip::<V, N>(channel, last);
            });
        }
    }
}

impl<E: Element> Moments<'_, E> {
    /// `N` vectors of channels, of the last one the first `last` lanes.
    ///
    /// # Safety
    /// They lie inside a row; the sums are padded.
    #[inline(always)]
    unsafe fn strip<V: Vector, const N: usize>(&mut self, channel: usize, last: usize) {
        let padded = self.sums.len() / 2;
        let lanes = |n: usize| if n + 1 == N { last } else { V::LANES };
        // SAFETY: the contract.
        unsafe {
            let mut origin = [V::splat(0.0); N];
            for n in 0..N {
                let first = self.x.as_ptr().add(channel + n * V::LANES);
                origin[n] = E::load_part::<V>(first, lanes(n));
            }
            let mut sums = [[V::splat(0.0); N]; 2];
            for row in self.x.chunks_exact(self.channels) {
                for n in 0..N {
                    let x = E::load_part::<V>(row.as_ptr().add(channel + n * V::LANES), lanes(n));
                    let value = x.sub(origin[n]);
                    sums[0][n] = sums[0][n].add(value);
                    sums[1][n] = value.mul_add(value, sums[1][n]);
                }
            }
            for n in 0..N {
                let to = self.sums.as_mut_ptr().add(channel + n * V::LANES);
                sums[0][n].store(to);
                sums[1][n].store(to.add(padded));
            }
        }
    }
}
