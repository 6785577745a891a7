//! Mean and variance of each channel.

use cubecl::prelude::*;
use cubecl::server::Handle;

use super::super::buffers::{buffer, lanes_of, pieces};
use super::super::sums::One;
use super::super::sums::{Gather, Spread};
use super::{CUBES, UNITS};

/// How many values were seen, their mean and the sum of their squared distances from it.
#[derive(CubeType, Clone, Copy)]
struct Moments<N: Size> {
    count: f32,
    mean: Vector<f32, N>,
    m2: Vector<f32, N>,
}

/// Chan's formula for the moments of two sets together.
#[cube]
fn merge<N: Size>(a: Moments<N>, b: Moments<N>) -> Moments<N> {
    let count = a.count + b.count;
    let share = b.count / max(count, 1.0f32);
    let delta = b.mean - a.mean;
    Moments::<N> {
        count,
        mean: a.mean + delta * Vector::new(share),
        m2: a.m2 + b.m2 + delta * delta * Vector::new(a.count * share),
    }
}

/// Merges the moments of the threads that share `UNIT_POS_X` into those of `UNIT_POS_Y == 0`.
#[cube]
fn merge_over_y<N: Size>(
    own: Moments<N>,
    #[comptime] width: usize,
    #[comptime] height: usize,
) -> Moments<N> {
    let mut counts = Shared::<[f32]>::new_slice(comptime!(width * height));
    let mut means = Shared::<[Vector<f32, N>]>::new_slice(comptime!(width * height));
    let mut m2s = Shared::<[Vector<f32, N>]>::new_slice(comptime!(width * height));
    let unit = UNIT_POS as usize;
    counts[unit] = own.count;
    means[unit] = own.mean;
    m2s[unit] = own.m2;
    #[unroll]
    for level in 0..comptime!(height.ilog2()) {
        let step = comptime!(height >> (level + 1));
        sync_cube();
        if (UNIT_POS_Y as usize) < step {
            let other = unit + step * width;
            let both = merge::<N>(
                Moments::<N> {
                    count: counts[unit],
                    mean: means[unit],
                    m2: m2s[unit],
                },
                Moments::<N> {
                    count: counts[other],
                    mean: means[other],
                    m2: m2s[other],
                },
            );
            counts[unit] = both.count;
            means[unit] = both.mean;
            m2s[unit] = both.m2;
        }
    }
    Moments::<N> {
        count: counts[unit],
        mean: means[unit],
        m2: m2s[unit],
    }
}

/// Stage one: the mean and the squared distances of each chunk of rows, by Welford's updates.
#[cube(launch_unchecked)]
fn moments_of_chunks<E: Float, N: Size>(
    x: &[Vector<E, N>],
    means: &mut [Vector<f32, N>],
    m2s: &mut [Vector<f32, N>],
    rows: usize,
    vectors: usize,
    rows_per_chunk: usize,
    #[comptime] width: usize,
    #[comptime] height: usize,
    #[define(E)] _dtype: ElemType,
) {
    let vector = CUBE_POS_X as usize * width + UNIT_POS_X as usize;
    let chunk = CUBE_POS_Y as usize;
    let end = min((chunk + 1) * rows_per_chunk, rows);
    let mut count = 0.0f32;
    let mut mean = Vector::<f32, N>::new(0.0);
    let mut m2 = Vector::<f32, N>::new(0.0);
    if vector < vectors {
        let mut row = chunk * rows_per_chunk + UNIT_POS_Y as usize;
        while row < end {
            let value = Vector::<f32, N>::cast_from(x[row * vectors + vector]);
            count += 1.0f32;
            let delta = value - mean;
            mean += delta * Vector::new(1.0f32 / count);
            m2 += delta * (value - mean);
            row += height;
        }
    }
    let all = merge_over_y::<N>(Moments::<N> { count, mean, m2 }, width, height);
    if vector < vectors && UNIT_POS_Y == 0 {
        means[chunk * vectors + vector] = all.mean;
        m2s[chunk * vectors + vector] = all.m2;
    }
}

/// Stage two: the mean and the biased variance over all chunks.
#[cube(launch_unchecked)]
fn moments_of_all(
    means: &[f32],
    m2s: &[f32],
    mean: &mut [f32],
    variance: &mut [f32],
    rows: usize,
    c: usize,
    chunks: usize,
    rows_per_chunk: usize,
    #[comptime] width: usize,
    #[comptime] height: usize,
) {
    let channel = CUBE_POS_X as usize * width + UNIT_POS_X as usize;
    let mut own = Moments::<One> {
        count: 0.0f32,
        mean: Vector::new(0.0f32),
        m2: Vector::new(0.0f32),
    };
    if channel < c {
        let mut chunk = UNIT_POS_Y as usize;
        while chunk < chunks {
            let count = min(rows - chunk * rows_per_chunk, rows_per_chunk);
            let both = merge::<One>(
                Moments::<One> {
                    count: own.count,
                    mean: own.mean,
                    m2: own.m2,
                },
                Moments::<One> {
                    count: f32::cast_from(count),
                    mean: Vector::new(means[chunk * c + channel]),
                    m2: Vector::new(m2s[chunk * c + channel]),
                },
            );
            own.count = both.count;
            own.mean = both.mean;
            own.m2 = both.m2;
            chunk += height;
        }
    }
    let all = merge_over_y::<One>(own, width, height);
    if channel < c && UNIT_POS_Y == 0 {
        mean[channel] = all.mean.extract(0usize);
        variance[channel] = all.m2.extract(0usize) / f32::cast_from(rows);
    }
}

/// The mean and the biased variance of each channel of `x` `[rows, c]` of `dtype`: two f32 `[c]`.
pub(crate) fn batch_statistics(
    client: &Client,
    x: &Handle,
    dtype: ElemType,
    rows: usize,
    c: usize,
) -> (Handle, Handle) {
    let lanes = lanes_of(client, dtype, c, 8);
    let vectors = c / lanes;
    let spread = Spread::new(rows, vectors, UNITS, CUBES);
    let partial = spread.chunks * c;
    let [means, m2s] = pieces(client, partial * 4);
    let [mean, variance] = pieces(client, c * 4);
    let gather = Gather::new(spread.chunks, c);
    // SAFETY: both kernels check their bounds against the sizes given here.
    unsafe {
        moments_of_chunks::launch_unchecked(
            client,
            spread.count(),
            spread.dim(),
            lanes,
            buffer(x, rows * c),
            buffer(&means, partial),
            buffer(&m2s, partial),
            rows,
            vectors,
            spread.rows_per_chunk,
            spread.width,
            spread.height,
            dtype,
        );
        moments_of_all::launch_unchecked(
            client,
            gather.count(),
            gather.dim(),
            buffer(&means, partial),
            buffer(&m2s, partial),
            buffer(&mean, c),
            buffer(&variance, c),
            rows,
            c,
            spread.chunks,
            spread.rows_per_chunk,
            gather.width,
            gather.height,
        );
    }
    (mean, variance)
}
