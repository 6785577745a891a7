//! Clips for the page: a few frames side by side in one small picture, which the page plays like a film and paper shows whole.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use image::{ExtendedColorType, Rgb, RgbImage};

use crate::{Error, ErrorKind};

/// Frames of a strip.
const MAX_FRAMES: usize = 8;

/// Longer side of a frame of a strip, in pixels.
pub(crate) const MAX_SIDE: usize = 96;

/// JPEG quality, 1 to 100: at this size the eye hardly tells more apart, and a strip takes 10 to 40 kB.
const QUALITY: u8 = 72;

/// Share of the heat's colour where the heat is strongest.
const MAX_OPACITY: f32 = 0.75;

/// A clip as the model saw it, small enough to lie in a page.
///
/// It is a JPEG of at most 8 frames, each at most 96 pixels high and wide, from left to right. `report.json` does not hold it.
#[derive(Debug, Clone, PartialEq)]
pub struct Strip {
    pub(crate) item: String,
    pub(crate) num_frames: usize,
    /// `[height, width]` of a frame.
    pub(crate) size_px: [usize; 2],
    pub(crate) jpeg: Vec<u8>,
    pub(crate) explained: Option<Explained>,
}

/// The same frames under their heat.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Explained {
    pub(crate) class: String,
    pub(crate) jpeg: Vec<u8>,
    pub(crate) over_time: Vec<f32>,
}

/// Where in a clip a model found what speaks for a class.
#[derive(Debug, Clone, PartialEq)]
pub struct Heat {
    /// The class.
    pub class: String,
    /// `[t, h, w]` of `values`; coarser than the clip, over which it is spread evenly.
    pub dims: [usize; 3],
    /// How strongly each place speaks for the class, at least 0, on any scale.
    pub values: Vec<f32>,
    /// Weight of each stretch of the clip, in order, at least 0, on any scale.
    pub over_time: Vec<f32>,
}

impl Strip {
    /// The strip of the clip of `item`, with `heat` laid over it where it is known and not 0 everywhere.
    ///
    /// # Shapes
    /// - `pixels`: `[t, h, w, 3]` with `[t, h, w]` = `dims`, red, green, blue
    ///
    /// # Errors
    /// If the picture cannot be written, which would be a fault of this crate.
    ///
    /// # Panics
    /// If a dimension is 0, or the number of pixels or of values of the heat is not what its dimensions say.
    pub fn new(
        item: impl Into<String>,
        dims: [usize; 3],
        pixels: &[u8],
        heat: Option<&Heat>,
    ) -> Result<Self, Error> {
        let [t, h, w] = dims;
        assert!(t * h * w > 0, "a clip {dims:?} is empty");
        assert_eq!(pixels.len(), t * h * w * 3, "pixels of a clip {dims:?}");
        let num_frames = t.min(MAX_FRAMES);
        let [height, width] = fitted([h, w]);
        // The middles of equal parts of the clip.
        let middle = |idx: usize| (2 * idx + 1) * t / (2 * num_frames);
        let frames: Vec<RgbImage> = (0..num_frames)
            .map(|idx| {
                let start = middle(idx) * h * w * 3;
                let frame = pixels[start..start + h * w * 3].to_vec();
                let frame = RgbImage::from_raw(w as u32, h as u32, frame)
                    .expect("as many pixels as its sides say");
                resize(&frame, width as u32, height as u32, FilterType::Triangle)
            })
            .collect();
        let explained = match heat {
            Some(heat) => explained(&frames, heat)?,
            None => None,
        };
        Ok(Self {
            item: item.into(),
            num_frames,
            size_px: [height, width],
            jpeg: side_by_side(&frames)?,
            explained,
        })
    }

    /// The item whose clip it shows.
    pub fn item(&self) -> &str {
        &self.item
    }

    /// The picture, as a JPEG file.
    pub fn jpeg(&self) -> &[u8] {
        &self.jpeg
    }

    /// The picture under its heat, as a JPEG file, where there is heat.
    pub fn heat_jpeg(&self) -> Option<&[u8]> {
        self.explained
            .as_ref()
            .map(|explained| explained.jpeg.as_slice())
    }
}

/// `[height, width]` scaled until the longer side is [`MAX_SIDE`]; never enlarged.
fn fitted(size: [usize; 2]) -> [usize; 2] {
    let longer = size[0].max(size[1]);
    let shorter = longer.min(MAX_SIDE);
    size.map(|side| ((side * shorter + longer / 2) / longer).max(1))
}

fn explained(frames: &[RgbImage], heat: &Heat) -> Result<Option<Explained>, Error> {
    let expected: usize = heat.dims.iter().product();
    assert_eq!(
        heat.values.len(),
        expected,
        "values of a heat {:?}",
        heat.dims
    );
    let most = heat.values.iter().copied().fold(0.0, f32::max);
    // Not above 0: also where it is no number.
    if !(most > 0.0 && most.is_finite()) {
        return Ok(None);
    }
    let warm: Vec<RgbImage> = frames
        .iter()
        .enumerate()
        .map(|(idx, frame)| {
            let time = (idx as f32 + 0.5) / frames.len() as f32;
            warmed(frame, |x, y| heat.at([time, y, x]) / most)
        })
        .collect();
    Ok(Some(Explained {
        class: heat.class.clone(),
        jpeg: side_by_side(&warm)?,
        over_time: heat.over_time.clone(),
    }))
}

/// The frame in grey under orange to yellow, by a heat in 0..=1 at `(x, y)` in 0..=1.
fn warmed(frame: &RgbImage, heat: impl Fn(f32, f32) -> f32) -> RgbImage {
    let (width, height) = frame.dimensions();
    RgbImage::from_fn(width, height, |x, y| {
        let Rgb([r, g, b]) = *frame.get_pixel(x, y);
        // Rec. 601 luma.
        let grey = 0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b);
        let [x, y] = [(x, width), (y, height)].map(|(at, side)| (at as f32 + 0.5) / side as f32);
        let heat = heat(x, y).clamp(0.0, 1.0);
        let opacity = MAX_OPACITY * heat;
        let colour = [255.0, 80.0 + 150.0 * heat, 60.0 * heat];
        Rgb(colour.map(|colour| (grey * (1.0 - opacity) + colour * opacity).round() as u8))
    })
}

impl Heat {
    /// The value at `[t, h, w]` in 0..=1, linear between the middles of the cells.
    fn at(&self, place: [f32; 3]) -> f32 {
        let mut corners = [[(0, 0.0); 2]; 3];
        for (axis, corner) in corners.iter_mut().enumerate() {
            let last = self.dims[axis] - 1;
            let at = (place[axis] * self.dims[axis] as f32 - 0.5).clamp(0.0, last as f32);
            let below = at.floor() as usize;
            let share = at - below as f32;
            *corner = [(below, 1.0 - share), ((below + 1).min(last), share)];
        }
        let [_, h, w] = self.dims;
        let mut sum = 0.0;
        for (t_idx, t_share) in corners[0] {
            for (h_idx, h_share) in corners[1] {
                for (w_idx, w_share) in corners[2] {
                    let value = self.values[(t_idx * h + h_idx) * w + w_idx];
                    sum += t_share * h_share * w_share * value;
                }
            }
        }
        sum
    }
}

fn side_by_side(frames: &[RgbImage]) -> Result<Vec<u8>, Error> {
    let (width, height) = frames[0].dimensions();
    let mut strip = RgbImage::new(width * frames.len() as u32, height);
    for (idx, frame) in frames.iter().enumerate() {
        image::imageops::replace(&mut strip, frame, (idx as u32 * width).into(), 0);
    }
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode(
            &strip,
            strip.width(),
            strip.height(),
            ExtendedColorType::Rgb8,
        )
        .map_err(|error| ErrorKind::Draw(error.to_string()))?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clip whose frame `i` has the brightness `10 * i`.
    fn brightening([t, h, w]: [usize; 3]) -> Vec<u8> {
        (0..t)
            .flat_map(|frame| vec![(10 * frame) as u8; h * w * 3])
            .collect()
    }

    fn read(jpeg: &[u8]) -> RgbImage {
        image::load_from_memory(jpeg).expect("a JPEG").to_rgb8()
    }

    #[test]
    fn frames_are_spread_over_the_clip_and_shrunk() {
        // Sixteen frames of 120 x 200: eight of 58 x 96, from the middle of each pair.
        let dims = [16, 120, 200];
        let strip = Strip::new("a", dims, &brightening(dims), None).expect("a strip");
        assert_eq!((strip.num_frames, strip.size_px), (8, [58, 96]));
        let picture = read(strip.jpeg());
        assert_eq!(picture.dimensions(), (8 * 96, 58));
        for idx in 0..8 {
            let Rgb([r, _, _]) = *picture.get_pixel(idx * 96 + 48, 29);
            assert!(r.abs_diff((20 * idx + 10) as u8) <= 2, "frame {idx}: {r}");
        }
        assert!(strip.heat_jpeg().is_none());
        // Short and small clips stay as they are.
        let dims = [1, 5, 3];
        let strip = Strip::new("b", dims, &brightening(dims), None).expect("a strip");
        assert_eq!((strip.num_frames, strip.size_px), (1, [5, 3]));
        assert_eq!(fitted([1, 5000]), [1, 96]);
    }

    #[test]
    fn heat_lies_where_and_when_its_values_are() {
        let dims = [8, 96, 96];
        let pixels = vec![100; 8 * 96 * 96 * 3];
        // The second half of the clip, the lower right corner.
        let mut values = vec![0.0; 2 * 2 * 2];
        values[7] = 3.0;
        let heat = Heat {
            class: "fall".into(),
            dims: [2, 2, 2],
            values,
            over_time: vec![0.0, 3.0],
        };
        let strip = Strip::new("a", dims, &pixels, Some(&heat)).expect("a strip");
        let picture = read(strip.heat_jpeg().expect("heat"));
        let warmth = |frame: u32, x: u32, y: u32| {
            let Rgb([r, _, b]) = *picture.get_pixel(frame * 96 + x, y);
            i32::from(r) - i32::from(b)
        };
        assert!(warmth(7, 88, 88) > 90, "{}", warmth(7, 88, 88));
        for (frame, x, y) in [(0, 88, 88), (7, 8, 8), (7, 88, 8), (7, 8, 88)] {
            assert!(warmth(frame, x, y).abs() < 12, "{frame} {x} {y}");
        }
        // Nothing speaks for the class, or nothing can be said: no heat is drawn.
        for value in [0.0, f32::NAN] {
            let heat = Heat {
                values: vec![value; 8],
                ..heat.clone()
            };
            let strip = Strip::new("a", dims, &pixels, Some(&heat)).expect("a strip");
            assert!(strip.heat_jpeg().is_none(), "{value}");
        }
    }

    #[test]
    fn heat_is_linear_between_the_middles_of_its_cells() {
        let heat = Heat {
            class: String::new(),
            dims: [1, 1, 4],
            values: vec![0.0, 1.0, 2.0, 3.0],
            over_time: Vec::new(),
        };
        for (x, expected) in [
            (0.0, 0.0),
            (0.125, 0.0),
            (0.5, 1.5),
            (0.75, 2.5),
            (1.0, 3.0),
        ] {
            assert!((heat.at([0.5, 0.5, x]) - expected).abs() < 1e-6, "{x}");
        }
    }

    #[test]
    fn the_worst_picture_stays_small() {
        let dims = [8, 112, 112];
        let noise: Vec<u8> = (0..8 * 112 * 112 * 3_u64)
            .map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[1])
            .collect();
        let strip = Strip::new("noise", dims, &noise, None).expect("a strip");
        assert!(strip.jpeg().len() < 60_000, "{}", strip.jpeg().len());
    }
}
