//! The pixels of a clip as bytes, grey or colour, and their way through the resampler.

use std::borrow::Cow;

use marey_clip::{Clip, Pixels};

use crate::{
    Dropout, Error, Preprocess,
    augment::{
        Draw,
        change::{Canvas, until_whole_clip},
    },
    resample::{Axis, Resampler},
};

/// The bytes of a clip, frame after frame, with one channel or three.
pub(crate) struct Source<'a> {
    pixels: Cow<'a, [u8]>,
    channels: usize,
}

impl Preprocess {
    /// The bytes of `clip`: as they are, or temperatures through the window.
    pub(crate) fn source<'a>(&self, clip: &'a Clip) -> Result<Source<'a>, Error> {
        let dims = clip.dims();
        if dims.contains(&0) {
            return Err(Error::Empty { dims });
        }
        let channels = dims[3];
        let wrong = |expected| Error::Channels {
            found: channels,
            expected,
        };
        let pixels = match (clip.pixels(), self.temperature) {
            (Pixels::U8(_), Some(_)) => return Err(Error::NotTemperature),
            (Pixels::F32(_), None) => return Err(Error::NoTemperature),
            (Pixels::U8(_), None) if !matches!(channels, 1 | 3) => {
                return Err(wrong("3 (red, green, blue) or 1 (grey)"));
            }
            (Pixels::F32(_), Some(_)) if channels != 1 => return Err(wrong("1 (temperature)")),
            (Pixels::U8(values), None) => Cow::Borrowed(&values[..]),
            (Pixels::F32(values), Some(window)) => match self.dropout.unwrap_or_default() {
                Dropout::Low => Cow::Owned(to_light(values, window)),
                Dropout::Median => {
                    let mut values = values.clone();
                    values
                        .chunks_exact_mut(dims[1] * dims[2])
                        .for_each(fill_drop_outs);
                    Cow::Owned(to_light(&values, window))
                }
            },
        };
        Ok(Source { pixels, channels })
    }
}

impl Source<'_> {
    /// Whether the source has one channel.
    pub(crate) const fn is_grey(&self) -> bool {
        self.channels == 1
    }

    /// The clip at the size that `axes` give, three channels, with what was drawn for it.
    ///
    /// Changes are made to a frame while it is in the cache; from the first that needs the whole clip on, in a pass of
    /// their own. Grey stays grey under every change but coloured paint, so it needs no case of its own.
    pub(crate) fn resample(&self, axes: [Axis; 2], draw: Option<&Draw>, clip: &Clip) -> Clip {
        let [height, width] = [axes[0].len(), axes[1].len()];
        let mut resampler = Resampler::new(axes, clip.size(), self.channels);
        let mut canvas = Canvas::new([height, width]);
        let changes = draw.map_or(&[][..], |draw| &draw.changes);
        let (frame_by_frame, later) = until_whole_clip(changes);
        let frame_len = height * width * 3;
        let mut out = vec![0; clip.dims()[0] * frame_len];
        let frames = self.frames(clip).zip(out.chunks_exact_mut(frame_len));
        for (idx, (frame, out)) in frames.enumerate() {
            resampler.frame_rgb(frame, out);
            canvas.apply(frame_by_frame, idx, out);
        }
        canvas.finish(later, &mut out);
        let dims = [clip.dims()[0], height, width, 3];
        Clip::new(dims, Pixels::U8(out), clip.timestamps().to_vec())
    }

    /// The clip at the size that `axes` give, with its own channels.
    pub(crate) fn resample_channels(&self, axes: [Axis; 2], clip: &Clip) -> Clip {
        let dims = [clip.dims()[0], axes[0].len(), axes[1].len(), self.channels];
        let mut resampler = Resampler::new(axes, clip.size(), self.channels);
        let mut out = vec![0; dims.iter().product()];
        let frame_len = dims[1..].iter().product();
        for (frame, out) in self.frames(clip).zip(out.chunks_exact_mut(frame_len)) {
            resampler.frame(frame, out);
        }
        Clip::new(dims, Pixels::U8(out), clip.timestamps().to_vec())
    }

    fn frames(&self, clip: &Clip) -> impl Iterator<Item = &[u8]> {
        let [_, height, width, channels] = clip.dims();
        self.pixels.chunks_exact(height * width * channels)
    }
}

/// Temperatures in °C as light. A cast from float to integer cuts off, holds at the ends, and makes NaN 0.
fn to_light(values: &[f32], [low, high]: [f32; 2]) -> Vec<u8> {
    let light = |value: f32| ((value.clamp(low, high) - low) / (high - low) * 255.0) as u8;
    values.iter().map(|&value| light(value)).collect()
}

/// At or below this a pixel holds no temperature, in degrees Celsius.
const ABSOLUTE_ZERO: f32 = -273.0;

/// Gives the pixels of one frame that hold no temperature the median of those that do.
fn fill_drop_outs(frame: &mut [f32]) {
    let is_valid = |value: &f32| *value > ABSOLUTE_ZERO;
    let mut valid: Vec<f32> = frame.iter().copied().filter(is_valid).collect();
    if valid.is_empty() || valid.len() == frame.len() {
        return;
    }
    let middle = valid.len() / 2;
    let (_, median, _) = valid.select_nth_unstable_by(middle, f32::total_cmp);
    let median = *median;
    frame
        .iter_mut()
        .filter(|value| !is_valid(value))
        .for_each(|value| *value = median);
}
