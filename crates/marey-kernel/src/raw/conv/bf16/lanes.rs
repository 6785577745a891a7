//! Bringing `bf16` into the order that tiles want: pairs, interleaved and transposed. AVX-512.

use std::arch::x86_64::*;

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

/// The low halves of `low` and `high`, interleaved: lane `i` is `(low[i], high[i])`.
#[target_feature(enable = "avx512f")]
fn interleaved(low: __m256i, high: __m256i) -> __m512i {
    let high = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(high));
    _mm512_or_si512(_mm512_cvtepu16_epi32(low), high)
}

/// Interleaves two rows of `len` elements, at most 32: `to[i] = (first[i], second[i])`. A missing row and
/// elements from `len` on are zeros. Gives whether all are finite.
///
/// # Safety
/// AVX-512 F, BW and VL; `len` elements of the rows that are there are readable, 32 pairs writable.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn interleave(
    rows: [Option<*const bf16>; 2],
    len: usize,
    to: *mut [bf16; 2],
) -> bool {
    let exponent = _mm512_set1_epi16(0x7f80);
    let mask = mask_of_row(len);
    let [low, high] = rows.map(|row| match row {
        // SAFETY: masked to the `len` elements of the row.
        Some(row) => unsafe { _mm512_maskz_loadu_epi16(mask, row.cast()) },
        None => _mm512_setzero_si512(),
    });
    let mut not_finite = 0;
    for row in [low, high] {
        not_finite |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(row, exponent), exponent);
    }
    for (half, lanes) in INTERLEAVED.iter().enumerate() {
        // SAFETY: 16 of 32 pairs; the lanes are 64 plain bytes.
        unsafe {
            let lanes = _mm512_loadu_si512(lanes.as_ptr().cast());
            let pairs = _mm512_permutex2var_epi16(low, lanes, high);
            _mm512_storeu_si512(to.add(half * PAIRS).cast(), pairs);
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

/// Transposes up to 16 rows of 16 pairs: `to[column][row]`, rows of 16 pairs; missing rows are zeros.
/// `load(row)` gives a row.
///
/// # Safety
/// AVX-512F; 256 pairs are writable.
#[target_feature(enable = "avx512f")]
unsafe fn transpose(rows: [__m512i; 16], columns: usize, to: *mut [bf16; 2]) {
    for (column, values) in transposed(rows).into_iter().enumerate() {
        if column < columns {
            // SAFETY: a row of 16 pairs below 256.
            unsafe { _mm512_storeu_si512(to.add(column * PAIRS).cast(), values) };
        }
    }
}

/// Transposes pairs of pixels: `to[channel][pair]`, 16 rows of 16 pairs, from the channels of up to
/// 16 pairs of pixels. A missing pixel is zeros, as are channels from `len` on.
///
/// # Safety
/// AVX-512 F, BW and VL; `len` channels (at most 16) of each pixel that is there are readable, 256 pairs
/// writable.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn transpose_pixels(
    pairs: &[[Option<*const bf16>; 2]; PAIRS],
    len: usize,
    to: *mut [bf16; 2],
) {
    let mask = mask_of(len);
    let mut rows = [_mm512_setzero_si512(); PAIRS];
    for (row, pair) in rows.iter_mut().zip(pairs) {
        let mut halves = [_mm256_setzero_si256(); 2];
        for (half, pixel) in halves.iter_mut().zip(pair) {
            if let Some(pixel) = pixel {
                // SAFETY: masked to the channels that are there.
                *half = unsafe { _mm256_maskz_loadu_epi16(mask, pixel.cast()) };
            }
        }
        *row = interleaved(halves[0], halves[1]);
    }
    // SAFETY: the contract.
    unsafe { transpose(rows, ROWS, to) };
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

/// Packs one row of a tile from two rows of weights: `to[i] = (first[i], second[i])` for `len` columns
/// (at most 16), zeros after them; a missing row is zeros.
///
/// # Safety
/// AVX-512 F, BW and BF16; `len` floats of the rows that are there are readable, 16 pairs writable.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn pack_pair(
    [first, second]: [Option<*const f32>; 2],
    len: usize,
    to: *mut [bf16; 2],
) {
    let mask = mask_of(len);
    let load = |row: Option<*const f32>| match row {
        // SAFETY: masked to the columns that are there.
        Some(row) => unsafe { _mm512_maskz_loadu_ps(mask, row) },
        None => _mm512_setzero_ps(),
    };
    let halves = bits(_mm512_cvtne2ps_pbh(load(second), load(first)));
    let pairs = interleaved(
        _mm512_castsi512_si256(halves),
        _mm512_extracti64x4_epi64::<1>(halves),
    );
    // SAFETY: 16 pairs.
    unsafe { _mm512_storeu_si512(to.cast(), pairs) };
}

/// Rounds 32 sums, finished if they are to be, and writes the first `len`.
///
/// # Safety
/// AVX-512 F, BW and BF16; 32 sums, scales and biases are readable, `len` elements writable.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn store_row(
    sums: *const f32,
    finish: Option<Finish>,
    to: *mut bf16,
    len: usize,
) {
    // SAFETY: the contract; the store is masked.
    unsafe {
        let mut halves: [__m512; 2] = [0, 16].map(|at| Vector::load(sums.add(at)));
        if let Some(finish) = finish {
            for (half, at) in halves.iter_mut().zip([0, 16]) {
                let scale = Vector::load(finish.scale.add(at));
                let value = half.mul_add(scale, Vector::load(finish.bias.add(at)));
                *half = finish.activation.apply(value);
            }
        }
        let rounded = bits(_mm512_cvtne2ps_pbh(halves[1], halves[0]));
        let mask = mask_of_row(len);
        _mm512_mask_storeu_epi16(to.cast(), mask, rounded);
    }
}

/// The bits of a vector of `bf16`.
fn bits(halves: __m512bh) -> __m512i {
    // SAFETY: both are 64 plain bytes.
    unsafe { std::mem::transmute(halves) }
}
