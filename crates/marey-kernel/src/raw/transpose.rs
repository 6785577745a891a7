//! Transposing 16 by 16 lanes of 32 bits. AVX-512.

use std::arch::x86_64::*;

/// Column `j` of the result is lane `j` of every row.
// Loops, not `array::from_fn`: what that calls would be compiled without AVX-512, and pass every row through memory.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn transposed(rows: [__m512i; 16]) -> [__m512i; 16] {
    let [mut a, mut b, mut columns] = [rows; 3];
    for i in 0..8 {
        let (p, q) = (rows[2 * i], rows[2 * i + 1]);
        a[2 * i] = _mm512_unpacklo_epi32(p, q);
        a[2 * i + 1] = _mm512_unpackhi_epi32(p, q);
    }
    for i in 0..8 {
        let (p, q) = (a[i / 2 * 4 + i % 2], a[i / 2 * 4 + i % 2 + 2]);
        b[2 * i] = _mm512_unpacklo_epi64(p, q);
        b[2 * i + 1] = _mm512_unpackhi_epi64(p, q);
    }
    // b[4g + j] holds column 4l + j of rows 4g..4g+4 in its 128-bit lane l.
    for j in 0..4 {
        let first = _mm512_shuffle_i32x4::<0x44>(b[j], b[4 + j]);
        let second = _mm512_shuffle_i32x4::<0x44>(b[8 + j], b[12 + j]);
        columns[j] = _mm512_shuffle_i32x4::<0x88>(first, second);
        columns[4 + j] = _mm512_shuffle_i32x4::<0xdd>(first, second);
        let first = _mm512_shuffle_i32x4::<0xee>(b[j], b[4 + j]);
        let second = _mm512_shuffle_i32x4::<0xee>(b[8 + j], b[12 + j]);
        columns[8 + j] = _mm512_shuffle_i32x4::<0x88>(first, second);
        columns[12 + j] = _mm512_shuffle_i32x4::<0xdd>(first, second);
    }
    columns
}

/// Transposes 16 rows of up to 16 floats: `to[column * step + row] = rows[row][column]`; a missing row is
/// zeros.
///
/// # Safety
/// AVX-512F; `columns` floats (at most 16) of the rows that are there are readable, and 16 floats writable
/// at each of as many steps.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn transpose(rows: &[*const f32], columns: usize, to: *mut f32, step: usize) {
    let mask = if columns >= 16 {
        u16::MAX
    } else {
        (1 << columns) - 1
    };
    let mut loaded = [_mm512_setzero_si512(); 16];
    for (to, row) in loaded.iter_mut().zip(rows) {
        // SAFETY: masked to the floats that are there.
        *to = unsafe { _mm512_maskz_loadu_epi32(mask, row.cast()) };
    }
    for (column, values) in transposed(loaded).into_iter().enumerate() {
        if column < columns {
            // SAFETY: the contract.
            unsafe { _mm512_storeu_si512(to.add(column * step).cast(), values) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        if !is_x86_feature_detected!("avx512f") {
            return;
        }
        let data: Vec<f32> = (0..256).map(|i| i as f32).collect();
        for (num_rows, columns) in [(16, 16), (3, 16), (16, 5), (1, 1)] {
            let rows: Vec<*const f32> = data
                .chunks(16)
                .take(num_rows)
                .map(<[f32]>::as_ptr)
                .collect();
            let mut to = [f32::NAN; 16 * 20];
            // SAFETY: rows of 16 floats; 16 steps of 20 floats.
            unsafe { transpose(&rows, columns, to.as_mut_ptr(), 20) };
            for (idx, value) in to.iter().enumerate() {
                let (column, row) = (idx / 20, idx % 20);
                if column >= columns || row >= 16 {
                    assert!(value.is_nan(), "nothing is written at {column}, {row}");
                } else {
                    let want = if row < num_rows {
                        (16 * row + column) as f32
                    } else {
                        0.0
                    };
                    assert_eq!(*value, want, "{column}, {row}");
                }
            }
        }
    }
}
