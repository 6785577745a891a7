//! Maximum and global average pooling over clips `[b, t, h, w, c]`, channels last.

use super::buffers::{buffer, divisors, lanes_of, pixel_of};
use super::sums::sum_over_y;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;
use cubecl::server::Handle;
use cubecl::std::FastDivmod;

use crate::raw::pool::{Pool3dOptions, Pool3dShape};

const UNITS: usize = 256;

/// `[b, t', h', w', c]` of a pooling of `[b, t, h, w, c]`.
pub(crate) fn output_dims(input: [usize; 5], options: Pool3dOptions) -> [usize; 5] {
    let [t, h, w] = Pool3dShape::new(input, options).output();
    [input[0], t, h, w, input[4]]
}

/// One thread for one output pixel and one vector of channels.
#[cube(launch_unchecked)]
fn max_kernel<E: Float, N: Size>(
    x: &[Vector<E, N>],
    y: &mut [Vector<E, N>],
    places: &mut [Vector<u32, N>],
    grid: Sequence<FastDivmod<usize>>,
    t: usize,
    h: usize,
    w: usize,
    vectors: usize,
    units: usize,
    #[comptime] pool: Pool3dOptions,
    #[define(E)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= units {
        terminate!();
    }
    let (pixel, vector) = grid[3].div_mod(ABSOLUTE_POS);
    let (b, ot, oh, ow) = pixel_of(pixel, &grid);
    let [kt, kh, kw] = comptime!(pool.kernel);
    let [st, sh, sw] = comptime!(pool.stride);
    let [pt, ph, pw] = comptime!(pool.padding);
    // The window's first pixel, to beat.
    let first_t = max(ot * st, pt) - pt;
    let first_h = max(oh * sh, ph) - ph;
    let first_w = max(ow * sw, pw) - pw;
    let first = (first_t * h + first_h) * w + first_w;
    let mut best = Vector::<f32, N>::cast_from(x[(b * t * h * w + first) * vectors + vector]);
    let mut place = Vector::<u32, N>::cast_from(first);
    #[unroll]
    for at in 0..kt {
        #[unroll]
        for ah in 0..kh {
            // Coordinates in the padded clip.
            let it = ot * st + at;
            let ih = oh * sh + ah;
            if it >= pt && it < t + pt && ih >= ph && ih < h + ph {
                let line = ((it - pt) * h + ih - ph) * w;
                #[unroll]
                for aw in 0..kw {
                    let iw = ow * sw + aw;
                    if iw >= pw && iw < w + pw {
                        let here = line + iw - pw;
                        let index = (b * t * h * w + here) * vectors + vector;
                        let value = Vector::<f32, N>::cast_from(x[index]);
                        let wins = value.greater_than(&best).or(value.is_nan());
                        // The first NaN stays.
                        let stays = best.is_nan();
                        let (better, there) = (
                            select_many(wins, value, best),
                            select_many(wins, Vector::<u32, N>::cast_from(here), place),
                        );
                        best = select_many(stays, best, better);
                        place = select_many(stays, place, there);
                    }
                }
            }
        }
    }
    y[ABSOLUTE_POS] = Vector::cast_from(best);
    places[ABSOLUTE_POS] = place;
}

/// The largest value of every window of `x` `[b, t, h, w, c]` of `dtype`: `y` of
/// [`output_dims`], and u32 `places` of the same extents, each the winner's index in
/// its clip's `t * h * w` pixels. NaN wins; among equals, and among NaN, the first.
pub(crate) fn max_pool3d(
    client: &Client,
    x: &Handle,
    dtype: ElemType,
    input: [usize; 5],
    pool: Pool3dOptions,
) -> (Handle, Handle) {
    for axis in 0..3 {
        assert!(2 * pool.padding[axis] <= pool.kernel[axis], "{pool:?}");
    }
    let [b, t, h, w, c] = input;
    let [_, ot, oh, ow, _] = output_dims(input, pool);
    let lanes = lanes_of(client, dtype, c, 4);
    let vectors = c / lanes;
    let units = b * ot * oh * ow * vectors;
    let dim = CubeDim::new(client, units);
    let y = client.empty(units * lanes * dtype.size());
    let places = client.empty(units * lanes * 4);
    // SAFETY: the kernel checks its bounds against the sizes given here.
    unsafe {
        max_kernel::launch_unchecked(
            client,
            calculate_cube_count_elemwise(client, units, dim),
            dim,
            lanes,
            buffer(x, b * t * h * w * c),
            buffer(&y, units * lanes),
            buffer(&places, units * lanes),
            divisors(&[ot, oh, ow, vectors]),
            t,
            h,
            w,
            vectors,
            units,
            pool,
            dtype,
        );
    }
    (y, places)
}

/// The first window, along one axis, that holds the pixel at `position` (in the padded clip).
#[cube]
fn first_window(position: usize, #[comptime] kernel: usize, #[comptime] stride: usize) -> usize {
    // `ceil((position - kernel + 1) / stride)`, at least 0.
    (max(position + stride, kernel) - kernel) / stride
}

/// One thread for one pixel of `dx` and one vector of channels: it looks through the windows
/// that hold the pixel.
#[cube(launch_unchecked)]
fn max_backward_kernel<E: Float, N: Size>(
    dy: &[Vector<E, N>],
    places: &[Vector<u32, N>],
    dx: &mut [Vector<E, N>],
    grid: Sequence<FastDivmod<usize>>,
    out_t: usize,
    out_h: usize,
    out_w: usize,
    pixels: usize,
    vectors: usize,
    units: usize,
    #[comptime] pool: Pool3dOptions,
    #[define(E)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= units {
        terminate!();
    }
    let (pixel, vector) = grid[3].div_mod(ABSOLUTE_POS);
    let (b, it, ih, iw) = pixel_of(pixel, &grid);
    let [kt, kh, kw] = comptime!(pool.kernel);
    let [st, sh, sw] = comptime!(pool.stride);
    let [pt, ph, pw] = comptime!(pool.padding);
    let here = Vector::<u32, N>::cast_from(pixel - b * pixels);
    let zero = Vector::<f32, N>::new(0.0);
    let mut sum = Vector::<f32, N>::new(0.0);
    for ot in first_window(it + pt, kt, st)..min((it + pt) / st + 1, out_t) {
        for oh in first_window(ih + ph, kh, sh)..min((ih + ph) / sh + 1, out_h) {
            for ow in first_window(iw + pw, kw, sw)..min((iw + pw) / sw + 1, out_w) {
                let index = (((b * out_t + ot) * out_h + oh) * out_w + ow) * vectors + vector;
                let slope = Vector::<f32, N>::cast_from(dy[index]);
                sum += select_many(places[index].equal(&here), slope, zero);
            }
        }
    }
    dx[ABSOLUTE_POS] = Vector::cast_from(sum);
}

/// The gradient of `x` `[b, t, h, w, c]` (`input`) from `dy` of `dtype` and the u32 `places` that
/// [`max_pool3d`] answered, both of [`output_dims`].
pub(crate) fn max_pool3d_backward(
    client: &Client,
    dy: &Handle,
    places: &Handle,
    dtype: ElemType,
    input: [usize; 5],
    pool: Pool3dOptions,
) -> Handle {
    let [b, t, h, w, c] = input;
    let output = output_dims(input, pool);
    let lanes = lanes_of(client, dtype, c, 4);
    let vectors = c / lanes;
    let units = b * t * h * w * vectors;
    let dim = CubeDim::new(client, units);
    let dx = client.empty(units * lanes * dtype.size());
    // SAFETY: the kernel checks its bounds against the sizes given here.
    unsafe {
        max_backward_kernel::launch_unchecked(
            client,
            calculate_cube_count_elemwise(client, units, dim),
            dim,
            lanes,
            buffer(dy, output.iter().product()),
            buffer(places, output.iter().product()),
            buffer(&dx, units * lanes),
            divisors(&[t, h, w, vectors]),
            output[1],
            output[2],
            output[3],
            t * h * w,
            vectors,
            units,
            pool,
            dtype,
        );
    }
    dx
}

/// One cube for `width` vectors of channels of one clip.
#[cube(launch_unchecked)]
fn average_kernel<E: Float, N: Size>(
    x: &[Vector<E, N>],
    y: &mut [Vector<E, N>],
    pixels: usize,
    vectors: usize,
    clips: usize,
    #[comptime] width: usize,
    #[comptime] height: usize,
    #[define(E)] _dtype: ElemType,
) {
    let blocks = vectors.div_ceil(width);
    let cube = CUBE_POS;
    let clip = cube / blocks;
    let vector = (cube % blocks) * width + UNIT_POS_X as usize;
    let inside = vector < vectors && clip < clips;
    let mut sum = Vector::<f32, N>::new(0.0);
    if inside {
        let mut pixel = UNIT_POS_Y as usize;
        while pixel < pixels {
            sum += Vector::cast_from(x[(clip * pixels + pixel) * vectors + vector]);
            pixel += height;
        }
    }
    let sum = sum_over_y::<N>(sum, width, height);
    if inside && UNIT_POS_Y == 0 {
        let mean = sum / Vector::new(f32::cast_from(pixels));
        y[clip * vectors + vector] = Vector::cast_from(mean);
    }
}

/// The mean over the pixels of `x` `[b, pixels, c]` of `dtype`, summed in f32: `[b, c]` of `dtype`.
pub(crate) fn global_average(
    client: &Client,
    x: &Handle,
    dtype: ElemType,
    b: usize,
    pixels: usize,
    c: usize,
) -> Handle {
    let lanes = lanes_of(client, dtype, c, 8);
    let vectors = c / lanes;
    let width = vectors.next_power_of_two().min(16);
    let height = pixels.next_power_of_two().min(UNITS / width);
    let dim = CubeDim::new_2d(width as u32, height as u32);
    let cubes = b * vectors.div_ceil(width);
    let y = client.empty(b * c * dtype.size());
    // SAFETY: the kernel checks its bounds against the sizes given here.
    unsafe {
        average_kernel::launch_unchecked(
            client,
            calculate_cube_count_elemwise(client, cubes * dim.num_elems() as usize, dim),
            dim,
            lanes,
            buffer(x, b * pixels * c),
            buffer(&y, b * c),
            pixels,
            vectors,
            b,
            width,
            height,
            dtype,
        );
    }
    y
}
