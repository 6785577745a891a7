//! Quarter turns of a picture.

use marey_clip::Size;

/// The clockwise turn of a display matrix's `a`, `b`, `c`, `d` (ISO/IEC 14496-12 §6.2.2, FFmpeg's display matrix).
///
/// Only quarter turns are meaningful for pixels; anything else is shown as it is coded.
pub(crate) fn rotation_of(matrix: [i32; 4]) -> u16 {
    match matrix.map(i32::signum) {
        [0, 1, -1, 0] => 90,
        [-1, 0, 0, -1] => 180,
        [0, -1, 1, 0] => 270,
        _ => 0,
    }
}

/// The size of a picture after a clockwise turn.
pub(crate) const fn rotated_size(size: Size, rotation_deg: u16) -> Size {
    match rotation_deg {
        90 | 270 => Size {
            height: size.width,
            width: size.height,
        },
        _ => size,
    }
}

/// Turns an RGB picture of `size` clockwise into `out`.
pub(crate) fn rotate_rgb(source: &[u8], size: Size, rotation_deg: u16, out: &mut [u8]) {
    let Size { height, width } = size;
    let turned = rotated_size(size, rotation_deg);
    for (y, row) in out.chunks_exact_mut(turned.width * 3).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let (from_y, from_x) = match rotation_deg {
                90 => (height - 1 - x, y),
                180 => (height - 1 - y, width - 1 - x),
                270 => (x, width - 1 - y),
                _ => (y, x),
            };
            pixel.copy_from_slice(&source[(from_y * width + from_x) * 3..][..3]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarter_turns_are_clockwise() {
        // 1 2 3
        // 4 5 6
        let source: Vec<u8> = (1..=6).flat_map(|v| [v; 3]).collect();
        let size = Size {
            height: 2,
            width: 3,
        };
        for (degrees, expect) in [
            (0, [1, 2, 3, 4, 5, 6]),
            (90, [4, 1, 5, 2, 6, 3]),
            (180, [6, 5, 4, 3, 2, 1]),
            (270, [3, 6, 2, 5, 1, 4]),
        ] {
            let mut out = [0; 18];
            rotate_rgb(&source, size, degrees, &mut out);
            let found: Vec<u8> = out.chunks(3).map(|pixel| pixel[0]).collect();
            assert_eq!(found, expect, "{degrees}");
        }
    }
}
