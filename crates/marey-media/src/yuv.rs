//! YUV to RGB, with the arithmetic of FFmpeg's `swscale`.
//!
//! swscale's unscaled conversion on x86 works in 16-bit fixed point: a value times 8, minus its offset, times a
//! coefficient of 13 fractional bits, of which the upper half is kept. Doing the same sums in the same order gives the
//! same bytes, so a model sees what it would see through torchcodec, PyAV or OpenCV, and the loops turn into the same
//! vector instructions.

use marey_clip::Size;

/// How red, green and blue were mixed (ISO/IEC 23091-2, MatrixCoefficients).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matrix {
    /// Standard definition, and whatever does not say: FFmpeg's default whatever the size.
    Bt601,
    Bt709,
    Fcc,
    Smpte240,
    Bt2020,
    /// Green, blue and red planes.
    Identity,
}

impl Matrix {
    /// The matrix of a code number.
    pub(crate) const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Identity,
            1 => Self::Bt709,
            4 => Self::Fcc,
            7 => Self::Smpte240,
            9 | 10 => Self::Bt2020,
            _ => Self::Bt601,
        }
    }

    /// Weights of V in red, U in blue, U in green and V in green, times 65536 (swscale's `ff_yuv2rgb_coeffs`).
    const fn weights(self) -> [i64; 4] {
        match self {
            Self::Bt601 | Self::Identity => [104_597, 132_201, 25_675, 53_279],
            Self::Bt709 => [117_489, 138_438, 13_975, 34_925],
            Self::Fcc => [104_448, 132_798, 24_759, 53_109],
            Self::Smpte240 => [117_579, 136_230, 16_907, 35_559],
            Self::Bt2020 => [110_013, 140_363, 12_277, 42_626],
        }
    }
}

/// Which values black and white have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// 16–235 for luma, 16–240 for chroma.
    Limited,
    /// 0–255.
    Full,
}

impl Range {
    /// The range of a "full range" flag.
    pub(crate) const fn from_flag(full: bool) -> Self {
        if full { Self::Full } else { Self::Limited }
    }
}

/// One plane of a picture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plane<'a> {
    pub(crate) values: &'a [u8],
    /// Values from one row to the next.
    pub(crate) stride: usize,
}

impl<'a> Plane<'a> {
    fn row(&self, y: usize, width: usize) -> &'a [u8] {
        &self.values[y * self.stride..][..width]
    }
}

/// Converts pictures of one matrix and range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToRgb {
    y_offset: i16,
    y: i16,
    red_v: i16,
    blue_u: i16,
    green_u: i16,
    green_v: i16,
}

impl ToRgb {
    pub(crate) fn new(matrix: Matrix, range: Range) -> Self {
        let [mut red_v, mut blue_u, mut green_u, mut green_v] = matrix.weights();
        let (mut y, mut y_offset) = (1i64 << 16, 0i64);
        match range {
            Range::Limited => {
                y = y * 255 / 219;
                y_offset = 16 << 16;
            }
            Range::Full => {
                for weight in [&mut red_v, &mut blue_u, &mut green_u, &mut green_v] {
                    *weight = *weight * 224 / 255;
                }
            }
        }
        // 13 fractional bits, rounded to nearest (swscale's `roundToInt16`).
        let fixed = |weight: i64, bits: u32| (((weight << bits) + (1 << 15)) >> 16) as i16;
        Self {
            y_offset: fixed(y_offset, 3),
            y: fixed(y, 13),
            red_v: fixed(red_v, 13),
            blue_u: fixed(blue_u, 13),
            green_u: fixed(-green_u, 13),
            green_v: fixed(-green_v, 13),
        }
    }

    /// Converts a 4:2:0 picture of `size` into `rgb`, `height * width * 3` values.
    ///
    /// A chroma value serves its four luma values: swscale does not interpolate when it does not scale.
    pub(crate) fn convert(&self, planes: [Plane<'_>; 3], size: Size, rgb: &mut [u8]) {
        let [luma, cb, cr] = planes;
        let chroma_width = size.width.div_ceil(2);
        let mut sums = ChromaSums::new(chroma_width);
        let mut summed = usize::MAX;
        for (y, out) in rgb.chunks_exact_mut(size.width * 3).enumerate() {
            let chroma_row = y / 2;
            if summed != chroma_row {
                let (cb, cr) = (
                    cb.row(chroma_row, chroma_width),
                    cr.row(chroma_row, chroma_width),
                );
                sums.fill(self, cb, cr);
                summed = chroma_row;
            }
            self.convert_row(luma.row(y, size.width), &sums, out);
        }
    }

    fn luma(&self, value: u8) -> i16 {
        high_product((i16::from(value) << 3) - self.y_offset, self.y)
    }

    fn convert_row(&self, luma: &[u8], sums: &ChromaSums, out: &mut [u8]) {
        let chroma = sums.red.iter().zip(&sums.green).zip(&sums.blue);
        let mut pairs = out.chunks_exact_mut(6);
        let mut lumas = luma.chunks_exact(2);
        for ((pixels, luma), ((&red, &green), &blue)) in (&mut pairs).zip(&mut lumas).zip(chroma) {
            let (a, b) = (self.luma(luma[0]), self.luma(luma[1]));
            pixels[0] = to_u8(a + red);
            pixels[1] = to_u8(a + green);
            pixels[2] = to_u8(a + blue);
            pixels[3] = to_u8(b + red);
            pixels[4] = to_u8(b + green);
            pixels[5] = to_u8(b + blue);
        }
        // The last pixel of an odd row.
        if let (Some(&luma), [red, green, blue]) =
            (lumas.remainder().first(), pairs.into_remainder())
        {
            let (a, last) = (self.luma(luma), sums.red.len() - 1);
            *red = to_u8(a + sums.red[last]);
            *green = to_u8(a + sums.green[last]);
            *blue = to_u8(a + sums.blue[last]);
        }
    }
}

/// What a row's chroma adds to each colour.
struct ChromaSums {
    red: Vec<i16>,
    green: Vec<i16>,
    blue: Vec<i16>,
}

impl ChromaSums {
    fn new(len: usize) -> Self {
        Self {
            red: vec![0; len],
            green: vec![0; len],
            blue: vec![0; len],
        }
    }

    fn fill(&mut self, by: &ToRgb, cb: &[u8], cr: &[u8]) {
        let sums = self.red.iter_mut().zip(&mut self.green).zip(&mut self.blue);
        for (((red, green), blue), (&cb, &cr)) in sums.zip(cb.iter().zip(cr)) {
            let (u, v) = ((i16::from(cb) << 3) - 1024, (i16::from(cr) << 3) - 1024);
            *red = high_product(v, by.red_v);
            *green = high_product(u, by.green_u) + high_product(v, by.green_v);
            *blue = high_product(u, by.blue_u);
        }
    }
}

/// The upper half of a product, as `pmulhw` gives it.
const fn high_product(a: i16, b: i16) -> i16 {
    ((a as i32 * b as i32) >> 16) as i16
}

fn to_u8(value: i16) -> u8 {
    value.clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(matrix: Matrix, range: Range, [y, u, v]: [u8; 3]) -> [u8; 3] {
        let size = Size {
            height: 1,
            width: 3,
        };
        let (luma, cb, cr) = ([y; 3], [u; 2], [v; 2]);
        let planes = [&luma[..], &cb, &cr].map(|values| Plane {
            values,
            stride: values.len(),
        });
        let mut rgb = [0; 9];
        ToRgb::new(matrix, range).convert(planes, size, &mut rgb);
        assert_eq!(rgb[..3], rgb[6..], "the odd last pixel");
        [rgb[0], rgb[1], rgb[2]]
    }

    #[test]
    fn black_white_and_the_range() {
        assert_eq!(
            convert(Matrix::Bt601, Range::Limited, [16, 128, 128]),
            [0, 0, 0]
        );
        assert_eq!(
            convert(Matrix::Bt709, Range::Limited, [235, 128, 128]),
            [255, 255, 255]
        );
        assert_eq!(
            convert(Matrix::Bt709, Range::Full, [255, 128, 128]),
            [255, 255, 255]
        );
        assert_eq!(
            convert(Matrix::Bt709, Range::Full, [16, 128, 128]),
            [16, 16, 16]
        );
    }

    #[test]
    fn every_colour_is_near_the_exact_formula() {
        let kr_kb = [
            (Matrix::Bt601, 0.299, 0.114),
            (Matrix::Bt709, 0.2126, 0.0722),
        ];
        for (matrix, kr, kb) in kr_kb {
            for y in (16..=235u8).step_by(11) {
                for u in (16..=240u8).step_by(16) {
                    for v in (16..=240u8).step_by(16) {
                        let found = convert(matrix, Range::Limited, [y, u, v]);
                        let luma = (f64::from(y) - 16.0) / 219.0;
                        let (pb, pr) = (
                            (f64::from(u) - 128.0) / 112.0,
                            (f64::from(v) - 128.0) / 112.0,
                        );
                        let red = luma + pr * (1.0 - kr);
                        let blue = luma + pb * (1.0 - kb);
                        let green = (luma - kr * red - kb * blue) / (1.0 - kr - kb);
                        for (found, exact) in found.iter().zip([red, green, blue]) {
                            let exact = (exact * 255.0).clamp(0.0, 255.0);
                            // Each product is cut off, never rounded up: up to three low.
                            let off = f64::from(*found) - exact;
                            assert!((-3.5..=1.0).contains(&off), "{found} {exact}");
                        }
                    }
                }
            }
        }
    }
}
