//! The gradient in the filters.

use cubecl::prelude::*;
use cubecl::server::Handle;
use cubecl::std::FastDivmod;

use super::super::buffers::{buffer, divisors, lanes_of, pixel_of};
use super::super::sums::{Gather, One, Spread, sum_over_y};
use super::pixels::zeros;
use super::{CUBES, UNITS, Window};

/// Adds the taps' sums of the threads that share `UNIT_POS_X` and writes them to `out` from
/// `offset` on, a tap every `vectors`. Every thread of the cube must call it.
#[cube]
fn write_taps<N: Size>(
    sums: &Array<Vector<f32, N>>,
    out: &mut [Vector<f32, N>],
    offset: usize,
    vectors: usize,
    inside: bool,
    #[comptime] taps: usize,
    #[comptime] width: usize,
    #[comptime] height: usize,
) {
    // As many taps at a time as rows of threads, so that every row has one to add.
    let group = comptime!(height.min(8));
    let mut shared = Shared::<[Vector<f32, N>]>::new_slice(comptime!(group * width * height));
    let x = UNIT_POS_X as usize;
    let y = UNIT_POS_Y as usize;
    #[unroll]
    for round in 0..comptime!(taps.div_ceil(group)) {
        let first = comptime!(round * group);
        let members = comptime!(group.min(taps - first));
        sync_cube();
        #[unroll]
        for member in 0..members {
            shared[(member * height + y) * width + x] = sums[first + member];
        }
        sync_cube();
        if y < members && inside {
            let mut sum = Vector::<f32, N>::new(0.0);
            for row in 0..height {
                sum += shared[(y * height + row) * width + x];
            }
            out[offset + (first + y) * vectors] = sum;
        }
    }
}

/// Adds to every tap's sum what one output pixel of clip `b` gives: `slope` times the input that
/// the tap reads, where `corner` is its first tap's place in the padded clip of `extents`.
#[cube]
#[allow(clippy::too_many_arguments)]
fn add_taps<E: Float, N: Size>(
    x: &[Vector<E, N>],
    sums: &mut Array<Vector<f32, N>>,
    slope: Vector<f32, N>,
    b: usize,
    corner: (usize, usize, usize),
    extents: (usize, usize, usize),
    vectors: usize,
    vector: usize,
    #[comptime] window: Window,
) {
    let [kt, kh, kw] = comptime!(window.kernel);
    let [pt, ph, pw] = comptime!(window.padding);
    let [dt, dh, dw] = comptime!(window.dilation);
    let (t, h, w) = extents;
    #[unroll]
    for at in 0..kt {
        #[unroll]
        for ah in 0..kh {
            let it = corner.0 + at * dt;
            let ih = corner.1 + ah * dh;
            let within = it >= pt && it < t + pt && ih >= ph && ih < h + ph;
            let base = ((b * t + it - pt) * h + ih - ph) * w;
            #[unroll]
            for aw in 0..kw {
                let iw = corner.2 + aw * dw;
                if within && iw >= pw && iw < w + pw {
                    let tap = comptime!((at * kh + ah) * kw + aw);
                    let value = x[(base + iw - pw) * vectors + vector];
                    sums[tap] += slope * Vector::cast_from(value);
                }
            }
        }
    }
}

/// Stage one of `dw`: the sums of every tap over one chunk of output pixels.
#[cube(launch_unchecked)]
fn weights_of_chunks<E: Float, N: Size>(
    x: &[Vector<E, N>],
    dy: &[Vector<E, N>],
    partials: &mut [Vector<f32, N>],
    grid: Sequence<FastDivmod<usize>>,
    t: usize,
    h: usize,
    w: usize,
    vectors: usize,
    pixels: usize,
    pixels_per_chunk: usize,
    #[comptime] window: Window,
    #[comptime] width: usize,
    #[comptime] height: usize,
    #[define(E)] _dtype: ElemType,
) {
    let [st, sh, sw] = comptime!(window.stride);
    let taps = comptime!(window.taps());
    let vector = CUBE_POS_X as usize * width + UNIT_POS_X as usize;
    let chunk = CUBE_POS_Y as usize;
    let mut sums = zeros::<N>(taps);
    if vector < vectors {
        let end = min((chunk + 1) * pixels_per_chunk, pixels);
        let mut pixel = chunk * pixels_per_chunk + UNIT_POS_Y as usize;
        while pixel < end {
            let slope = Vector::<f32, N>::cast_from(dy[pixel * vectors + vector]);
            let (b, ot, oh, ow) = pixel_of(pixel, &grid);
            let corner = (ot * st, oh * sh, ow * sw);
            add_taps::<E, N>(
                x,
                &mut sums,
                slope,
                b,
                corner,
                (t, h, w),
                vectors,
                vector,
                window,
            );
            pixel += height;
        }
    }
    let offset = chunk * taps * vectors + vector;
    write_taps::<N>(
        &sums,
        partials,
        offset,
        vectors,
        vector < vectors,
        taps,
        width,
        height,
    );
}

/// Stage two of `dw`: `[chunks, taps, c]` added over the chunks and turned to `[c, taps]`.
#[cube(launch_unchecked)]
fn weights_of_all(
    partials: &[f32],
    dw: &mut [f32],
    chunks: usize,
    c: usize,
    taps: usize,
    #[comptime] width: usize,
    #[comptime] height: usize,
) {
    let place = CUBE_POS_X as usize * width + UNIT_POS_X as usize;
    let mut sum = Vector::<f32, One>::new(0.0f32);
    if place < c * taps {
        let mut chunk = UNIT_POS_Y as usize;
        while chunk < chunks {
            sum += Vector::new(partials[chunk * c * taps + place]);
            chunk += height;
        }
    }
    let sum = sum_over_y::<One>(sum, width, height);
    if place < c * taps && UNIT_POS_Y == 0 {
        dw[(place % c) * taps + place / c] = sum.extract(0usize);
    }
}

/// The gradient of the filters, f32 `[c, kt, kh, kw, 1]`, from `x` `[b, t, h, w, c]` (`input`)
/// and `dy` of [`Window::output`]'s extents, both of `dtype`.
pub(crate) fn backward_weights(
    client: &Client,
    x: &Handle,
    dy: &Handle,
    dtype: ElemType,
    input: [usize; 5],
    window: Window,
) -> Handle {
    let [_, t, h, w, c] = input;
    let [b, ot, oh, ow, _] = window.output(input);
    let taps = window.taps();
    // Every tap's sum stays in registers.
    let lanes = lanes_of(client, dtype, c, if taps > 9 { 2 } else { 4 });
    let vectors = c / lanes;
    let pixels = b * ot * oh * ow;
    let spread = Spread::new(pixels, vectors, UNITS, CUBES);
    let partials = client.empty(spread.chunks * taps * c * 4);
    let dw = client.empty(c * taps * 4);
    let gather = Gather::new(spread.chunks, c * taps);
    // SAFETY: both kernels check their bounds against the sizes given here.
    unsafe {
        weights_of_chunks::launch_unchecked(
            client,
            spread.count(),
            spread.dim(),
            lanes,
            buffer(x, input.iter().product()),
            buffer(dy, pixels * c),
            buffer(&partials, spread.chunks * taps * c),
            divisors(&[ot, oh, ow]),
            t,
            h,
            w,
            vectors,
            pixels,
            spread.rows_per_chunk,
            window,
            spread.width,
            spread.height,
            dtype,
        );
        weights_of_all::launch_unchecked(
            client,
            gather.count(),
            gather.dim(),
            buffer(&partials, spread.chunks * taps * c),
            buffer(&dw, c * taps),
            spread.chunks,
            c,
            taps,
            gather.width,
            gather.height,
        );
    }
    dw
}
