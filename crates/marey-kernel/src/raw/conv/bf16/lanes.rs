//! Bringing `bf16` into the order that tiles want: pairs, interleaved and transposed. AVX-512.

use std::arch::x86_64::*;
use std::ops::Range;

use half::bf16;

use super::super::super::simd::Vector;
use super::super::super::tile::Finish;
use super::super::super::transpose::transposed;
use super::amx::ROWS;

/// Pairs of a full row of a tile.
const PAIRS: usize = 16;

/// Where the lanes of two interleaved rows come from, the second of which counts from 32; in two halves.
const INTERLEAVED: [[i16; 32]; 2] = {
    let mut lanes = [[0; 32]; 2];
    let mut at = 0;
    while at < 64 {
        lanes[at / 32][at % 32] = (at / 2 + at % 2 * 32) as i16;
        at += 1;
    }
    lanes
};

/// Where the lanes of a row one pixel later come from: the last of the row before, which counts from 32, then all but the
/// last of its own.
const DELAYED: [i16; 32] = {
    let mut lanes = [63; 32];
    let mut at = 1;
    while at < 32 {
        lanes[at] = at as i16 - 1;
        at += 1;
    }
    lanes
};

/// The low halves of `low` and `high`, interleaved: lane `i` is `(low[i], high[i])`.
#[target_feature(enable = "avx512f")]
fn interleaved(low: __m256i, high: __m256i) -> __m512i {
    let high = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(high));
    _mm512_or_si512(_mm512_cvtepu16_epi32(low), high)
}

/// Interleaves two rows of 32 elements, in two halves: lane `i` of a half is `(first[i], second[i])` of its 16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn interleaved_rows(first: __m512i, second: __m512i) -> [__m512i; 2] {
    let mut halves = [first; 2];
    for (half, lanes) in halves.iter_mut().zip(&INTERLEAVED) {
        // SAFETY: the lanes are 64 plain bytes.
        let lanes = unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) };
        *half = _mm512_permutex2var_epi16(first, lanes, second);
    }
    halves
}

/// Brings a row of pixels into pairs of neighbours: `to[pair][i] = (pixel 2 * pair, pixel 2 * pair + 1)` for `len`
/// channels `i` (at most 32), zeros after them. The pixels of `inside` lie `step` elements apart from `pixels` on; the
/// others are zeros. Gives whether all are finite.
///
/// # Safety
/// AVX-512 F, BW and VL; `len` elements of each pixel of `inside` are readable.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn pair_up(
    pixels: *const bf16,
    step: usize,
    inside: Range<usize>,
    len: usize,
    to: &mut [bf16],
) -> bool {
    let exponent = _mm512_set1_epi16(0x7f80);
    let mask = mask_of_row(len);
    let mut not_finite = 0;
    for (pair, to) in to.chunks_exact_mut(4 * PAIRS).enumerate() {
        let mut rows = [_mm512_setzero_si512(); 2];
        for (at, row) in (2 * pair..).zip(&mut rows) {
            if inside.contains(&at) {
                let pixel = pixels.wrapping_add((at - inside.start) * step);
                // SAFETY: masked to the channels that are there.
                *row = unsafe { _mm512_maskz_loadu_epi16(mask, pixel.cast()) };
                not_finite |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(*row, exponent), exponent);
            }
        }
        let [low, high] = interleaved_rows(rows[0], rows[1]);
        // SAFETY: 32 pairs.
        unsafe {
            _mm512_storeu_si512(to.as_mut_ptr().cast(), low);
            _mm512_storeu_si512(to.as_mut_ptr().add(2 * PAIRS).cast(), high);
        }
    }
    not_finite == 0
}

/// The first `count` of 32 lanes.
fn mask_of_row(count: usize) -> u32 {
    if count >= 32 {
        u32::MAX
    } else {
        (1 << count) - 1
    }
}

/// The first `count` of 16 lanes.
fn mask_of(count: usize) -> u16 {
    if count >= 16 {
        u16::MAX
    } else {
        (1 << count) - 1
    }
}

/// Transposes 16 rows of 16 pairs: `to[column]` is a row of 16 pairs, one of each row.
///
/// # Safety
/// AVX-512F; 16 pairs are writable for each of `columns`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn transpose(rows: [__m512i; 16], columns: usize, to: *mut [bf16; 2]) {
    for (column, values) in transposed(rows).into_iter().enumerate() {
        if column < columns {
            // SAFETY: a row of 16 pairs.
            unsafe { _mm512_storeu_si512(to.add(column * PAIRS).cast(), values) };
        }
    }
}

/// Transposes 32 pixels, pairs of neighbours: `to[half][channel]` is a row of 16 pairs, for twice 16 channels. A missing
/// pixel is zeros, as are channels from `len` on.
///
/// # Safety
/// AVX-512 F, BW and VL; `len` channels (at most 32) of each pixel that is there are readable, 16 rows of 16 pairs are
/// writable at both halves.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn transpose_pixels(
    pixels: &[Option<*const bf16>; 2 * PAIRS],
    len: usize,
    to: [*mut bf16; 2],
) {
    let mask = mask_of_row(len);
    let mut halves = [[_mm512_setzero_si512(); PAIRS]; 2];
    for (row, pair) in pixels.chunks_exact(2).enumerate() {
        let mut loaded = [_mm512_setzero_si512(); 2];
        for (loaded, pixel) in loaded.iter_mut().zip(pair) {
            if let Some(pixel) = pixel {
                // SAFETY: masked to the channels that are there.
                *loaded = unsafe { _mm512_maskz_loadu_epi16(mask, pixel.cast()) };
            }
        }
        let [low, high] = interleaved_rows(loaded[0], loaded[1]);
        (halves[0][row], halves[1][row]) = (low, high);
    }
    for (rows, to) in halves.into_iter().zip(to) {
        // SAFETY: the contract.
        unsafe { transpose(rows, ROWS, to.cast()) };
    }
}

/// The same rows one pixel later: `to[channel]` is the last pixel of `before[channel]`, or zero, and all but the last of
/// `rows[channel]`, for 16 channels.
///
/// # Safety
/// AVX-512 F and BW; 16 rows of 32 elements are readable and writable.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn delay(before: Option<*const bf16>, rows: *const bf16, to: *mut bf16) {
    // SAFETY: rows below 16; the lanes are 64 plain bytes.
    unsafe {
        let lanes = _mm512_loadu_si512(DELAYED.as_ptr().cast());
        for row in (0..ROWS).map(|row| row * 2 * PAIRS) {
            let last = match before {
                Some(before) => _mm512_loadu_si512(before.add(row).cast()),
                None => _mm512_setzero_si512(),
            };
            let values = _mm512_loadu_si512(rows.add(row).cast());
            let delayed = _mm512_permutex2var_epi16(values, lanes, last);
            _mm512_storeu_si512(to.add(row).cast(), delayed);
        }
    }
}

/// Packs the weights of up to 16 outputs for a tile: `to[pair][output]`, where a pair is two
/// neighbouring elements of `depth` (even, at most 32) of each output's weights; missing outputs are
/// zeros.
///
/// # Safety
/// AVX-512 F, BW and BF16; `depth` floats of each of the outputs, `outputs[i]`, are readable,
/// `depth / 2` rows of 16 pairs writable.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn pack_outputs(outputs: &[*const f32], depth: usize, to: *mut [bf16; 2]) {
    let masks = [mask_of(depth), mask_of(depth.saturating_sub(16))];
    let mut rows = [_mm512_setzero_si512(); PAIRS];
    for (row, weights) in rows.iter_mut().zip(outputs) {
        // SAFETY: masked to the floats that are there.
        *row = unsafe {
            let low = _mm512_maskz_loadu_ps(masks[0], *weights);
            let high = _mm512_maskz_loadu_ps(masks[1], weights.wrapping_add(16));
            bits(_mm512_cvtne2ps_pbh(high, low))
        };
    }
    // SAFETY: the contract.
    unsafe { transpose(rows, depth / 2, to) };
}

/// Packs rows of tiles from two rows of `columns` weights: `to[half][i] = (first[i], second[i])` for the 16 columns of each
/// half, zeros after those there are; a missing row is zeros. `to(half)` says where.
///
/// # Safety
/// AVX-512 F, BW and BF16; `columns` floats of the rows that are there are readable, 16 pairs writable at each of
/// `halves`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn pack_pairs(
    rows: [Option<*const f32>; 2],
    columns: usize,
    halves: usize,
    to: impl Fn(usize) -> *mut bf16,
) {
    for half in 0..halves {
        let first = half * PAIRS;
        let mask = mask_of(columns.saturating_sub(first));
        let mut loaded = [_mm512_setzero_ps(); 2];
        for (loaded, row) in loaded.iter_mut().zip(rows) {
            if let Some(row) = row {
                // SAFETY: masked to the columns that are there.
                *loaded = unsafe { _mm512_maskz_loadu_ps(mask, row.wrapping_add(first)) };
            }
        }
        let rounded = bits(_mm512_cvtne2ps_pbh(loaded[1], loaded[0]));
        let pairs = interleaved(
            _mm512_castsi512_si256(rounded),
            _mm512_extracti64x4_epi64::<1>(rounded),
        );
        // SAFETY: 16 pairs.
        unsafe { _mm512_storeu_si512(to(half).cast(), pairs) };
    }
}

/// Rounds rows of 32 sums, finished if they are to be, and writes the first `len` of each, `step` elements apart.
///
/// # Safety
/// AVX-512 F, BW and BF16; 32 scales and biases are readable, `len` elements of each row writable.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn store_rows(
    sums: &[f32],
    finish: Option<Finish>,
    to: *mut bf16,
    step: usize,
    len: usize,
) {
    let mask = mask_of_row(len);
    // SAFETY: the contract; the stores are masked.
    unsafe {
        for (row, sums) in sums.chunks_exact(2 * PAIRS).enumerate() {
            let mut halves = [_mm512_setzero_ps(); 2];
            for (half, at) in halves.iter_mut().zip([0, 16]) {
                *half = Vector::load(sums.as_ptr().add(at));
                if let Some(finish) = finish {
                    let scale = Vector::load(finish.scale.add(at));
                    let value = half.mul_add(scale, Vector::load(finish.bias.add(at)));
                    *half = finish.activation.apply(value);
                }
            }
            let rounded = bits(_mm512_cvtne2ps_pbh(halves[1], halves[0]));
            _mm512_mask_storeu_epi16(to.wrapping_add(row * step).cast(), mask, rounded);
        }
    }
}

/// The bits of a vector of `bf16`.
fn bits(halves: __m512bh) -> __m512i {
    // SAFETY: both are 64 plain bytes.
    unsafe { std::mem::transmute(halves) }
}
