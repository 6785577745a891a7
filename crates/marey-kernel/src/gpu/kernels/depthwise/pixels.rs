//! The convolution itself, and its gradient in the input.

use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;
use cubecl::server::Handle;
use cubecl::std::FastDivmod;

use super::super::buffers::{buffer, divisors, lanes_of, pixel_of};
use super::Window;

#[cube(launch_unchecked)]
fn transpose_kernel<E: Float>(
    w: &[E],
    out: &mut [f32],
    c: usize,
    taps: usize,
    #[comptime] reverse: bool,
    #[define(E)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= c * taps {
        terminate!();
    }
    let tap = ABSOLUTE_POS / c;
    let channel = ABSOLUTE_POS % c;
    let from = if comptime!(reverse) {
        taps - 1 - tap
    } else {
        tap
    };
    out[ABSOLUTE_POS] = f32::cast_from(w[channel * taps + from]);
}

/// The filters `[c, taps]` of `dtype` as f32 `[taps, c]`, the taps reversed if asked.
fn transposed(
    client: &Client,
    w: &Handle,
    dtype: ElemType,
    c: usize,
    taps: usize,
    reverse: bool,
) -> Handle {
    let out = client.empty(c * taps * 4);
    let dim = CubeDim::new(client, c * taps);
    // SAFETY: the kernel checks its bounds against the sizes given here.
    unsafe {
        transpose_kernel::launch_unchecked(
            client,
            calculate_cube_count_elemwise(client, c * taps, dim),
            dim,
            buffer(w, c * taps),
            buffer(&out, c * taps),
            c,
            taps,
            reverse,
            dtype,
        );
    }
    out
}

/// Zeros that stay in registers while their indices are known at compile time.
#[cube]
pub(super) fn zeros<N: Size>(#[comptime] len: usize) -> Array<Vector<f32, N>> {
    let mut all = Array::<Vector<f32, N>>::new(len);
    #[unroll]
    for i in 0..len {
        all[i] = Vector::new(0.0f32);
    }
    all
}

/// Adds one row of taps, whose first weight is `w[weight]`, to the sums of neighbouring outputs:
/// the row of `x` at `base` is read once, from `start` on (in the padded row).
#[cube]
#[allow(clippy::too_many_arguments)]
fn add_row<E: Float, N: Size>(
    x: &[Vector<E, N>],
    w: &[Vector<f32, N>],
    sums: &mut Array<Vector<f32, N>>,
    base: usize,
    start: usize,
    weight: usize,
    width: usize,
    vectors: usize,
    vector: usize,
    #[comptime] window: Window,
    #[comptime] columns: usize,
) {
    let (kw, sw) = comptime!((window.kernel[2], window.stride[2]));
    let (pw, dw) = comptime!((window.padding[2], window.dilation[2]));
    let reach = comptime!((columns - 1) * sw + (kw - 1) * dw + 1);
    let mut row = Array::<Vector<f32, N>>::new(reach);
    #[unroll]
    for i in 0..reach {
        let iw = start + i;
        row[i] = Vector::new(0.0f32);
        if iw >= pw && iw < width + pw {
            row[i] = Vector::cast_from(x[(base + iw - pw) * vectors + vector]);
        }
    }
    #[unroll]
    for aw in 0..kw {
        let weight = w[(weight + aw) * vectors + vector];
        #[unroll]
        for column in 0..columns {
            sums[column] += row[column * sw + aw * dw] * weight;
        }
    }
}

/// One thread for `columns` neighbouring pixels of a row of `y` and one vector of channels; `it`
/// and `ih` lie in the padded clip.
#[cube(launch_unchecked)]
fn forward_kernel<E: Float, N: Size>(
    x: &[Vector<E, N>],
    w: &[Vector<f32, N>],
    y: &mut [Vector<E, N>],
    grid: Sequence<FastDivmod<usize>>,
    t: usize,
    h: usize,
    width: usize,
    out_width: usize,
    vectors: usize,
    units: usize,
    #[comptime] window: Window,
    #[comptime] columns: usize,
    #[define(E)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= units {
        terminate!();
    }
    let (tile, vector) = grid[3].div_mod(ABSOLUTE_POS);
    let (b, ot, oh, across) = pixel_of(tile, &grid);
    let ow = across * columns;
    let [kt, kh, kw] = comptime!(window.kernel);
    let [st, sh, sw] = comptime!(window.stride);
    let [pt, ph, _] = comptime!(window.padding);
    let [dt, dh, _] = comptime!(window.dilation);
    let mut sums = zeros::<N>(columns);
    #[unroll]
    for at in 0..kt {
        #[unroll]
        for ah in 0..kh {
            let (it, ih) = (ot * st + at * dt, oh * sh + ah * dh);
            if it >= pt && it < t + pt && ih >= ph && ih < h + ph {
                let base = ((b * t + it - pt) * h + ih - ph) * width;
                add_row::<E, N>(
                    x,
                    w,
                    &mut sums,
                    base,
                    ow * sw,
                    (at * kh + ah) * kw,
                    width,
                    vectors,
                    vector,
                    window,
                    columns,
                );
            }
        }
    }
    #[unroll]
    for column in 0..columns {
        if ow + column < out_width {
            let pixel = grid[2].div(tile) * out_width + ow + column;
            y[pixel * vectors + vector] = Vector::cast_from(sums[column]);
        }
    }
}

fn convolve(
    client: &Client,
    x: &Handle,
    weights: &Handle,
    dtype: ElemType,
    input: [usize; 5],
    window: Window,
) -> Handle {
    let [b, t, h, width, c] = input;
    let [_, ot, oh, ow, _] = window.output(input);
    let lanes = lanes_of(client, dtype, c, 4);
    let vectors = c / lanes;
    let pixels = b * ot * oh * ow;
    // Several columns a thread share their loads, once there are threads enough without.
    let columns = match pixels * vectors {
        n if n >= 1 << 20 && ow >= 4 => 4,
        n if n >= 1 << 19 && ow >= 2 => 2,
        _ => 1,
    };
    let tiles = ow.div_ceil(columns);
    let units = b * ot * oh * tiles * vectors;
    let dim = CubeDim::new(client, units);
    let y = client.empty(pixels * c * dtype.size());
    // SAFETY: the kernel checks its bounds against the sizes given here.
    unsafe {
        forward_kernel::launch_unchecked(
            client,
            calculate_cube_count_elemwise(client, units, dim),
            dim,
            lanes,
            buffer(x, b * t * h * width * c),
            buffer(weights, window.taps() * c),
            buffer(&y, pixels * c),
            divisors(&[ot, oh, tiles, vectors]),
            t,
            h,
            width,
            ow,
            vectors,
            units,
            window,
            columns,
            dtype,
        );
    }
    y
}

/// The depthwise convolution of `x` `[b, t, h, w, c]` of `dtype` with `w` `[c, kt, kh, kw, 1]` of
/// `w_dtype`: `y` of [`Window::output`]'s extents and of `dtype`.
pub(crate) fn forward(
    client: &Client,
    x: &Handle,
    w: &Handle,
    dtype: ElemType,
    w_dtype: ElemType,
    input: [usize; 5],
    window: Window,
) -> Handle {
    let weights = transposed(client, w, w_dtype, input[4], window.taps(), false);
    convolve(client, x, &weights, dtype, input, window)
}

/// Whether the tap at `tap` (in pixels) of some output reads `position` (in the padded input).
#[cube]
fn reads(position: usize, tap: usize, #[comptime] stride: usize, outputs: usize) -> bool {
    position >= tap
        && (position - tap).is_multiple_of(stride)
        && (position - tap) / stride < outputs
}

/// One thread for one pixel of `dx` and one vector of channels: it gathers the outputs that
/// read the pixel.
#[cube(launch_unchecked)]
fn backward_data_kernel<E: Float, N: Size>(
    dy: &[Vector<E, N>],
    w: &[Vector<f32, N>],
    dx: &mut [Vector<E, N>],
    grid: Sequence<FastDivmod<usize>>,
    out_t: usize,
    out_h: usize,
    out_w: usize,
    vectors: usize,
    units: usize,
    #[comptime] window: Window,
    #[define(E)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= units {
        terminate!();
    }
    let (pixel, vector) = grid[3].div_mod(ABSOLUTE_POS);
    let (b, it, ih, iw) = pixel_of(pixel, &grid);
    let [kt, kh, kw] = comptime!(window.kernel);
    let [st, sh, sw] = comptime!(window.stride);
    let [pt, ph, pw] = comptime!(window.padding);
    let [dt, dh, dw] = comptime!(window.dilation);
    let mut sum = Vector::<f32, N>::new(0.0);
    #[unroll]
    for at in 0..kt {
        #[unroll]
        for ah in 0..kh {
            if reads(it + pt, at * dt, st, out_t) && reads(ih + ph, ah * dh, sh, out_h) {
                let ot = (it + pt - at * dt) / st;
                let oh = (ih + ph - ah * dh) / sh;
                let base = ((b * out_t + ot) * out_h + oh) * out_w;
                #[unroll]
                for aw in 0..kw {
                    if reads(iw + pw, aw * dw, sw, out_w) {
                        let ow = (iw + pw - aw * dw) / sw;
                        let weight = w[((at * kh + ah) * kw + aw) * vectors + vector];
                        sum += weight * Vector::cast_from(dy[(base + ow) * vectors + vector]);
                    }
                }
            }
        }
    }
    dx[ABSOLUTE_POS] = Vector::cast_from(sum);
}

/// The gradient of `x` `[b, t, h, w, c]` (`input`) from `dy` of [`Window::output`]'s extents,
/// both of `dtype`; `w` is `[c, kt, kh, kw, 1]` of `w_dtype`.
pub(crate) fn backward_data(
    client: &Client,
    dy: &Handle,
    w: &Handle,
    dtype: ElemType,
    w_dtype: ElemType,
    input: [usize; 5],
    window: Window,
) -> Handle {
    let [b, t, h, width, c] = input;
    let output = window.output(input);
    let reversed = window.reversed();
    let weights = transposed(client, w, w_dtype, c, window.taps(), reversed.is_some());
    if let Some(reversed) = reversed {
        return convolve(client, dy, &weights, dtype, output, reversed);
    }
    let lanes = lanes_of(client, dtype, c, 4);
    let vectors = c / lanes;
    let units = b * t * h * width * vectors;
    let dim = CubeDim::new(client, units);
    let dx = client.empty(units * lanes * dtype.size());
    // SAFETY: the kernel checks its bounds against the sizes given here.
    unsafe {
        backward_data_kernel::launch_unchecked(
            client,
            calculate_cube_count_elemwise(client, units, dim),
            dim,
            lanes,
            buffer(dy, output.iter().product()),
            buffer(&weights, window.taps() * c),
            buffer(&dx, units * lanes),
            divisors(&[t, h, width, vectors]),
            output[1],
            output[2],
            output[3],
            vectors,
            units,
            window,
            dtype,
        );
    }
    dx
}
