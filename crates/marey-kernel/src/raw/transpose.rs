//! Transposing 16 by 16 lanes of 32 bits. AVX-512.

use std::arch::x86_64::*;

/// Column `j` of the result is lane `j` of every row.
#[target_feature(enable = "avx512f")]
pub(crate) fn transposed(rows: [__m512i; 16]) -> [__m512i; 16] {
    let a: [__m512i; 16] = std::array::from_fn(|i| {
        let (p, q) = (rows[i & !1], rows[i | 1]);
        if i & 1 == 0 {
            _mm512_unpacklo_epi32(p, q)
        } else {
            _mm512_unpackhi_epi32(p, q)
        }
    });
    let b: [__m512i; 16] = std::array::from_fn(|i| {
        let (group, j) = (i & !3, i & 3);
        let (p, q) = (a[group + j / 2], a[group + j / 2 + 2]);
        if j & 1 == 0 {
            _mm512_unpacklo_epi64(p, q)
        } else {
            _mm512_unpackhi_epi64(p, q)
        }
    });
    // b[4g + j] holds column 4l + j of rows 4g..4g+4 in its 128-bit lane l.
    std::array::from_fn(|column| {
        let (lane, j) = (column / 4, column % 4);
        let halves = if lane < 2 {
            [
                _mm512_shuffle_i32x4::<0x44>(b[j], b[4 + j]),
                _mm512_shuffle_i32x4::<0x44>(b[8 + j], b[12 + j]),
            ]
        } else {
            [
                _mm512_shuffle_i32x4::<0xee>(b[j], b[4 + j]),
                _mm512_shuffle_i32x4::<0xee>(b[8 + j], b[12 + j]),
            ]
        };
        if lane % 2 == 0 {
            _mm512_shuffle_i32x4::<0x88>(halves[0], halves[1])
        } else {
            _mm512_shuffle_i32x4::<0xdd>(halves[0], halves[1])
        }
    })
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
    let rows = std::array::from_fn(|row| match rows.get(row) {
        // SAFETY: masked to the floats that are there.
        Some(row) => unsafe { _mm512_maskz_loadu_epi32(mask, row.cast()) },
        None => _mm512_setzero_si512(),
    });
    for (column, values) in transposed(rows).into_iter().enumerate().take(columns) {
        // SAFETY: the contract.
        unsafe { _mm512_storeu_si512(to.add(column * step).cast(), values) };
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
