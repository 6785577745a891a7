//! Point operations: each value of a frame through a table, each pixel to its grey.
//!
//! Tables that depend on the picture (autocontrast, equalise) are made from the whole clip, so that all of its frames
//! change alike and nothing flickers.

use pulp::{Arch, NullaryFnOnce};

use crate::augment::color::LUMA;

/// What each value of red, green and blue becomes.
pub(crate) type Tables = Box<[[u8; 256]; 3]>;

/// A function of a value, the same for the three channels.
pub(crate) fn tables(value: impl Fn(u8) -> u8) -> Tables {
    let table: [u8; 256] = std::array::from_fn(|idx| value(idx as u8));
    Box::new([table; 3])
}

/// Sends each value of an RGB frame through the table of its channel.
pub(crate) fn look_up(frame: &mut [u8], tables: &[[u8; 256]; 3]) {
    for pixel in frame.chunks_exact_mut(3) {
        for (value, table) in pixel.iter_mut().zip(tables) {
            *value = table[usize::from(*value)];
        }
    }
}

/// Torchvision's `posterize`: keeps the upper `bits` bits.
pub(crate) fn posterize(bits: u32) -> Tables {
    let mask = if bits >= 8 { 255 } else { !(255 >> bits) };
    tables(|value| value & mask)
}

/// Torchvision's `solarize`: inverts what is not below `threshold`, 0 to 255.
pub(crate) fn solarize(threshold: f64) -> Tables {
    tables(|value| match f64::from(value) >= threshold {
        true => 255 - value,
        false => value,
    })
}

/// Torchvision's `autocontrast` over all pixels of a clip at once: the darkest value of each channel becomes 0, the
/// lightest 255. A channel of one value stays.
pub(crate) fn autocontrast(clip: &[u8]) -> Tables {
    let ranges = Arch::new().dispatch(Extremes { clip });
    Box::new(ranges.map(|[low, high]| {
        std::array::from_fn(|value| {
            if low >= high {
                return value as u8;
            }
            let scale = f32::from(high - low) * (1.0 / 255.0);
            ((value as f32 - f32::from(low)) / scale).clamp(0.0, 255.0) as u8
        })
    }))
}

/// Torchvision's (and Pillow's) `equalize` over all pixels of a clip at once. A channel with too few pixels to fill the
/// scale stays.
pub(crate) fn equalize(clip: &[u8]) -> Tables {
    let mut counts = [[0usize; 256]; 3];
    for pixel in clip.chunks_exact(3) {
        for (value, counts) in pixel.iter().zip(&mut counts) {
            counts[usize::from(*value)] += 1;
        }
    }
    let num_pixels = clip.len() / 3;
    Box::new(counts.map(|counts| {
        let last = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        let step = (num_pixels - counts[last]) / 255;
        let mut below = 0;
        std::array::from_fn(|value| {
            if step == 0 {
                return value as u8;
            }
            let level = (below + step / 2) / step;
            below += counts[value];
            level.min(255) as u8
        })
    }))
}

/// Each pixel's grey in all three channels, as torchvision's `rgb_to_grayscale`.
pub(crate) fn grayscale(frame: &mut [u8]) {
    Arch::new().dispatch(Grayscale { frame });
}

struct Grayscale<'a> {
    frame: &'a mut [u8],
}

impl NullaryFnOnce for Grayscale<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for pixel in self.frame.chunks_exact_mut(3) {
            let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
            let grey = (red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]) >> 16;
            pixel.fill(grey as u8);
        }
    }
}

/// The smallest and largest value of each channel.
struct Extremes<'a> {
    clip: &'a [u8],
}

impl NullaryFnOnce for Extremes<'_> {
    type Output = [[u8; 2]; 3];

    #[inline(always)]
    fn call(self) -> [[u8; 2]; 3] {
        const LANES: usize = 96;
        let (mut lows, mut highs) = ([255u8; LANES], [0u8; LANES]);
        for block in self.clip.chunks(LANES) {
            for ((low, high), &value) in lows.iter_mut().zip(&mut highs).zip(block) {
                *low = value.min(*low);
                *high = value.max(*high);
            }
        }
        let mut found = [[255u8, 0]; 3];
        for (idx, (&low, &high)) in lows.iter().zip(&highs).enumerate() {
            let [lowest, highest] = &mut found[idx % 3];
            *lowest = low.min(*lowest);
            *highest = high.max(*highest);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posterize_and_solarize_are_tables() {
        let bits = |bits, value: u8| posterize(bits)[0][usize::from(value)];
        assert_eq!(
            (
                bits(8, 201),
                bits(4, 201),
                bits(1, 201),
                bits(1, 127),
                bits(0, 255)
            ),
            (201, 192, 128, 0, 0)
        );
        let half = solarize(127.5);
        assert_eq!((half[0][127], half[0][128], half[2][255]), (127, 127, 0));
    }

    #[test]
    fn autocontrast_stretches_each_channel_of_the_whole_clip() {
        // Two frames of a pixel: red 50 to 100, green always 7, blue 0 to 255.
        let clip = [50, 7, 0, 100, 7, 255];
        let [red, green, blue] = *autocontrast(&clip);
        assert_eq!((red[50], red[75], red[49], red[200]), (0, 127, 0, 255));
        // 50 / (50 / 255) in 32 bits is just below 255, which is cut off as torchvision does.
        assert_eq!(red[100], 254);
        assert_eq!(
            (green[7], green[200]),
            (7, 200),
            "one value has nothing to stretch"
        );
        assert_eq!((blue[3], blue[255]), (3, 255));
    }

    #[test]
    fn equalize_spreads_levels_by_how_many_pixels_are_below() {
        // 510 pixels of 10, 510 of 20 and 255 of 200: the step is (1275 - 255) / 255 = 4.
        let mut clip = vec![10; 510 * 3];
        clip.extend(vec![20; 510 * 3]);
        clip.extend(vec![200; 255 * 3]);
        let [red, ..] = *equalize(&clip);
        // (0 + 2) / 4, (510 + 2) / 4, (1020 + 2) / 4.
        assert_eq!((red[10], red[20], red[200]), (0, 128, 255));
        assert_eq!(equalize(&[3, 3, 3, 9, 9, 9])[0][3], 3, "too few pixels");
    }
}
