//! [`Preprocess`]: what every clip goes through on its way into a model, the same in training, evaluation and live.

use burn::tensor::{Device, Tensor};
use marey_clip::{Clip, SeededRng, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Augment, Error, input, resample::Axis};

/// Changes whenever the same settings would give other pixels, so that a fingerprint means the pixels.
const ALGORITHM: u32 = 1;

/// How a frame of any size comes to the size of the model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Height and width are scaled apart until they fit: everything stays in view, shapes may be squeezed.
    Stretch,
    /// Both sides are scaled alike until the shorter one is `short_side`, then the middle is cut out.
    ShortSide,
}

/// What a pixel at which a thermal sensor dropped out (-273 °C or less, or no number) becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dropout {
    /// The low end of the window, like any pixel that is colder: a hole looks like a cold thing. So it was for the models whose
    /// weights are imported.
    #[default]
    Low,
    /// The median of the frame's other pixels, which is mostly the room; the low end of the window in a frame that has none.
    Median,
}

/// From a clip of any size to the numbers a model is given. Stored in a bundle's card with its fingerprint.
///
/// The order is: temperature window (thermal clips), resize and crop, and on the device cast and normalise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// `[height, width]` of the model's input, in pixels.
    pub size: [usize; 2],
    /// How frames come to that size (default `short_side`).
    #[serde(default = "default_resize")]
    pub resize: Resize,
    /// Length of the shorter side before the crop, in pixels (default: the smallest at which the crop fits).
    /// A frame whose longer side would then be too short for the crop is scaled until the crop fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_side: Option<usize>,
    /// Window `[low, high]` in °C of thermal clips: `(x - low) / (high - low) * 255`, cut off to an integer, and
    /// copied to three channels. Values outside the window become its edges: what is not above `low` (or is no number)
    /// is 0, what is not below `high` is 255. `dropout` says what becomes of sensor drop-outs (−273.2 °C, NaN).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<[f32; 2]>,
    /// What sensor drop-outs become before the window (default `low`). Only beside `temperature`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<Dropout>,
    /// Mean of each channel, where a pixel is 0 to 1 (default 0.43216, 0.394666, 0.37645: Kinetics-400).
    #[serde(default = "default_mean")]
    pub mean: [f32; 3],
    /// Standard deviation of each channel, where a pixel is 0 to 1 (default 0.22803, 0.22145, 0.216989: Kinetics-400).
    #[serde(default = "default_std")]
    pub std: [f32; 3],
}

const fn default_resize() -> Resize {
    Resize::ShortSide
}

const fn default_mean() -> [f32; 3] {
    [0.43216, 0.394_666, 0.37645]
}

const fn default_std() -> [f32; 3] {
    [0.22803, 0.22145, 0.216_989]
}

impl Preprocess {
    /// Frames of `[height, width]`, everything else at its default.
    pub const fn new(size: [usize; 2], resize: Resize) -> Self {
        Self {
            size,
            resize,
            short_side: None,
            temperature: None,
            dropout: None,
            mean: default_mean(),
            std: default_std(),
        }
    }

    /// Checks what a person wrote.
    ///
    /// # Errors
    /// When a setting cannot work, or has no effect beside the others.
    pub fn validate(&self) -> Result<(), Error> {
        let [height, width] = self.size;
        if !(1..=8192).contains(&height) || !(1..=8192).contains(&width) {
            let problem =
                format!("[{height}, {width}] is not a size, expected 1 to 8192 pixels each");
            return Err(Error::config("preprocess.size", problem));
        }
        if let Some(side) = self.short_side {
            let key = "preprocess.short_side";
            if self.resize == Resize::Stretch {
                let problem =
                    "has no effect with resize = \"stretch\": remove it, or use \"short_side\"";
                return Err(Error::config(key, problem));
            }
            if side < height.min(width) || side > 8192 {
                let low = height.min(width);
                let problem = format!("{side} is outside {low} (the shorter side of size) to 8192");
                return Err(Error::config(key, problem));
            }
        }
        if let Some([low, high]) = self.temperature
            && !(low.is_finite() && high.is_finite() && low < high)
        {
            let problem = format!("[{low}, {high}] is no window, expected [low, high] in °C");
            return Err(Error::config("preprocess.temperature", problem));
        }
        if self.dropout.is_some() && self.temperature.is_none() {
            let problem =
                "has no effect without preprocess.temperature: remove it, or give the window";
            return Err(Error::config("preprocess.dropout", problem));
        }
        if !self.mean.iter().all(|mean| mean.is_finite()) {
            let problem = format!("{:?} holds a value that is no number", self.mean);
            return Err(Error::config("preprocess.mean", problem));
        }
        if !self.std.iter().all(|&std| std.is_finite() && std > 0.0) {
            let problem = format!("{:?} holds a value that is not above 0", self.std);
            return Err(Error::config("preprocess.std", problem));
        }
        if let Some(big) = self
            .mean
            .iter()
            .chain(&self.std)
            .find(|value| value.abs() > 1.0)
        {
            let problem =
                format!("{big} is above 1; pixels count from 0 to 1 here, so divide by 255");
            return Err(Error::config("preprocess.mean", problem));
        }
        Ok(())
    }

    /// The clip at the size of the model's input, without randomness.
    ///
    /// # Shapes
    /// - `clip`: `[t, h, w, c]`, `u8` with 3 or 1 channels, or `f32` °C with 1
    /// - output: `u8` `[t, size[0], size[1], 3]`
    ///
    /// # Errors
    /// When the clip is empty, or its kind or channels do not fit these settings.
    pub fn spatial(&self, clip: &Clip) -> Result<Clip, Error> {
        let source = self.source(clip)?;
        let axes = self.centre(clip.size());
        Ok(source.resample(axes, None, clip))
    }

    /// The clip at the size of the model's input, augmented: one draw for all of its frames.
    ///
    /// With `Augment::default()` it is [`Preprocess::spatial`], and nothing is drawn.
    ///
    /// # Shapes
    /// As [`Preprocess::spatial`].
    ///
    /// # Errors
    /// As [`Preprocess::spatial`].
    pub fn spatial_random(
        &self,
        clip: &Clip,
        augment: &Augment,
        rng: &mut SeededRng,
    ) -> Result<Clip, Error> {
        let source = self.source(clip)?;
        let draw = augment.draw(self, clip.size(), source.is_grey(), rng);
        let axes = draw.axes(self, clip.size());
        Ok(source.resample(axes, Some(&draw), clip))
    }

    /// The whole clip at the size from which crops are taken: what the packed store keeps.
    ///
    /// With `stretch` that is the model's size, with `short_side` the resized frame before its crop. Temperatures
    /// become `u8`. [`Preprocess::for_packed`] describes the rest of the way, and
    /// `self.for_packed().spatial(&self.resized(clip)?)` equals `self.spatial(clip)`.
    ///
    /// # Shapes
    /// - `clip`: as [`Preprocess::spatial`]
    /// - output: `u8` `[t, h', w', c]`, with the channels of `clip`
    ///
    /// # Errors
    /// As [`Preprocess::spatial`].
    pub fn resized(&self, clip: &Clip) -> Result<Clip, Error> {
        let source = self.source(clip)?;
        let from = clip.size();
        let to = self.resized_size(from);
        let axes = [
            Axis::whole(from.height, to.height),
            Axis::whole(from.width, to.width),
        ];
        Ok(source.resample_channels(axes, clip))
    }

    /// What is left to do for a clip that [`Preprocess::resized`] wrote.
    #[must_use]
    pub fn for_packed(&self) -> Self {
        Self {
            temperature: None,
            dropout: None,
            ..self.clone()
        }
    }

    /// Size of a frame of size `from` before the crop.
    pub fn resized_size(&self, from: Size) -> Size {
        let [height, width] = self.size;
        if self.resize == Resize::Stretch {
            return Size { height, width };
        }
        // Torchvision's rule: the shorter side is exact, the longer one cut off to an integer.
        let short = from.height.min(from.width);
        let scaled = |side: usize, short_side: usize| side * short_side / short;
        let fits = |short_side: usize| {
            scaled(from.height, short_side) >= height && scaled(from.width, short_side) >= width
        };
        let mut short_side = self.short_side.unwrap_or(height.min(width));
        if !fits(short_side) {
            let needed = |out: usize, side: usize| (out * short).div_ceil(side);
            short_side = needed(height, from.height).max(needed(width, from.width));
        }
        Size {
            height: scaled(from.height, short_side),
            width: scaled(from.width, short_side),
        }
    }

    /// A batch of clips as the model's input, normalised on the device.
    ///
    /// # Shapes
    /// - `pixels`: `u8` `[b, t, h, w, 3]`, `dims` its dimensions
    /// - output: `f32` `[b, t, h, w, 3]`, `(x / 255 - mean) / std`
    ///
    /// # Panics
    /// If there are not as many pixels as `dims` says, or the last of `dims` is not 3.
    pub fn to_input(&self, pixels: Vec<u8>, dims: [usize; 5], device: &Device) -> Tensor<5> {
        input::normalize(pixels, dims, self.mean, self.std, device)
    }

    /// A short name for these settings and the arithmetic behind them: equal names give equal pixels.
    pub fn fingerprint(&self) -> String {
        let mut text = format!("preprocess {ALGORITHM} {:?} {:?}", self.size, self.resize);
        text += &format!(" {:?}", self.short_side);
        let bits = |values: &[f32]| {
            values
                .iter()
                .map(|v| format!(" {:08x}", v.to_bits()))
                .collect::<String>()
        };
        text += &self
            .temperature
            .map_or_else(|| " -".to_owned(), |window| bits(&window));
        if self.dropout == Some(Dropout::Median) {
            text += " dropout median";
        }
        text += &bits(&self.mean);
        text += &bits(&self.std);
        blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
    }

    /// The axes of the centre crop, `[rows, columns]`.
    pub(crate) fn centre(&self, from: Size) -> [Axis; 2] {
        let to = self.resized_size(from);
        let [height, width] = self.size;
        // Torchvision rounds half to even here; the halves differ by one pixel of the resized frame.
        let middle = |slack: usize| (slack as f64 / 2.0).round_ties_even() as usize;
        [
            Axis::whole(from.height, to.height).window(middle(to.height - height), height),
            Axis::whole(from.width, to.width).window(middle(to.width - width), width),
        ]
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::{Pixels, Timestamp, rng_for};
    use proptest::prelude::*;

    use super::*;
    use crate::{ColorJitter, RandomErasing, RandomResizedCrop};

    fn clip(dims: [usize; 4], value: impl Fn(usize) -> u8) -> Clip {
        let pixels = (0..dims.iter().product()).map(value).collect();
        Clip::new(dims, Pixels::U8(pixels), vec![Timestamp::ZERO; dims[0]])
    }

    fn noise(dims: [usize; 4]) -> Clip {
        clip(dims, |i| {
            (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0]
        })
    }

    fn check_refused(preprocess: &Preprocess, message: &str) {
        let error = preprocess.validate().expect_err(message);
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let base = Preprocess::new([32, 48], Resize::ShortSide);
        assert_eq!(base.validate(), Ok(()));
        let with = |change: fn(&mut Preprocess)| {
            let mut preprocess = base.clone();
            change(&mut preprocess);
            preprocess
        };
        check_refused(
            &with(|p| p.size = [0, 48]),
            "preprocess.size: [0, 48] is not a size, expected 1 to 8192 pixels each",
        );
        check_refused(
            &with(|p| p.short_side = Some(31)),
            "preprocess.short_side: 31 is outside 32 (the shorter side of size) to 8192",
        );
        check_refused(
            &with(|p| (p.resize, p.short_side) = (Resize::Stretch, Some(40))),
            "preprocess.short_side: has no effect with resize = \"stretch\": remove it, or use \"short_side\"",
        );
        check_refused(
            &with(|p| p.temperature = Some([45.0, 5.0])),
            "preprocess.temperature: [45, 5] is no window, expected [low, high] in °C",
        );
        check_refused(
            &with(|p| p.dropout = Some(Dropout::Median)),
            "preprocess.dropout: has no effect without preprocess.temperature: remove it, or give the window",
        );
        check_refused(
            &with(|p| p.mean = [123.675, 116.28, 103.53]),
            "preprocess.mean: 123.675 is above 1; pixels count from 0 to 1 here, so divide by 255",
        );
        check_refused(
            &with(|p| p.std = [0.2, 0.0, 0.2]),
            "preprocess.std: [0.2, 0.0, 0.2] holds a value that is not above 0",
        );
    }

    #[test]
    fn a_drop_out_takes_the_median_of_its_frame_only_where_it_is_told_to() {
        // Two frames of 1x5: the second has nothing but drop-outs.
        let mut values = vec![-273.2, 20.0, 25.0, f32::NAN, 45.0];
        values.extend([-273.2; 5]);
        let celsius = Clip::new([2, 1, 5, 1], Pixels::F32(values), vec![Timestamp::ZERO; 2]);
        let thermal = |dropout| Preprocess {
            temperature: Some([5.0, 45.0]),
            dropout,
            ..Preprocess::new([1, 5], Resize::Stretch)
        };
        let red = |dropout| match thermal(dropout)
            .spatial(&celsius)
            .expect("a thermal clip")
            .into_parts()
        {
            (Pixels::U8(values), _) => values.chunks(3).map(|pixel| pixel[0]).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        // (25 - 5) / 40 * 255 = 127.5, cut off; (20 - 5) / 40 * 255 = 95.6.
        assert_eq!(red(None), [0, 95, 127, 0, 255, 0, 0, 0, 0, 0]);
        assert_eq!(red(Some(Dropout::Low)), red(None));
        assert_eq!(
            red(Some(Dropout::Median)),
            [127, 95, 127, 127, 255, 0, 0, 0, 0, 0]
        );
        let names = [None, Some(Dropout::Low), Some(Dropout::Median)]
            .map(|dropout| thermal(dropout).fingerprint());
        assert_eq!(names[0], names[1], "the same pixels");
        assert_ne!(names[0], names[2]);
    }

    #[test]
    fn a_clip_of_the_wrong_kind_is_refused() {
        let light = Preprocess::new([8, 8], Resize::Stretch);
        let thermal = Preprocess {
            temperature: Some([5.0, 45.0]),
            ..light.clone()
        };
        let celsius = Clip::new(
            [1, 2, 2, 1],
            Pixels::F32(vec![20.0; 4]),
            vec![Timestamp::ZERO],
        );
        assert_eq!(light.spatial(&celsius), Err(Error::NoTemperature));
        assert_eq!(
            thermal.spatial(&noise([1, 4, 4, 3])),
            Err(Error::NotTemperature)
        );
        let found = light.spatial(&noise([1, 4, 4, 4]));
        assert!(
            matches!(found, Err(Error::Channels { found: 4, .. })),
            "{found:?}"
        );
        assert!(matches!(
            light.spatial(&noise([0, 4, 4, 3])),
            Err(Error::Empty { .. })
        ));
    }

    #[test]
    fn every_setting_that_changes_pixels_changes_the_fingerprint() {
        let base = Preprocess::new([32, 48], Resize::ShortSide);
        let changes: [fn(&mut Preprocess); 6] = [
            |p| p.size = [48, 32],
            |p| p.resize = Resize::Stretch,
            |p| p.short_side = Some(40),
            |p| p.temperature = Some([5.0, 45.0]),
            |p| p.mean[1] += 0.01,
            |p| p.std[2] += 0.01,
        ];
        for (idx, change) in changes.iter().enumerate() {
            let mut changed = base.clone();
            change(&mut changed);
            assert_ne!(base.fingerprint(), changed.fingerprint(), "change {idx}");
        }
        assert_eq!(base.fingerprint(), base.clone().fingerprint());
    }

    #[test]
    fn a_flat_picture_taller_than_wide_still_fits_the_crop() {
        // A square source for a wide input: the short side alone would leave 32 columns of the 48.
        let preprocess = Preprocess::new([32, 48], Resize::ShortSide);
        let square = Size {
            height: 20,
            width: 20,
        };
        assert_eq!(
            preprocess.resized_size(square),
            Size {
                height: 48,
                width: 48
            }
        );
        assert_eq!(
            Preprocess::new([112, 112], Resize::ShortSide).resized_size(Size {
                height: 240,
                width: 320
            }),
            Size {
                height: 112,
                width: 149
            },
        );
    }

    fn everything() -> Augment {
        let jitter = ColorJitter {
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            hue: 0.2,
        };
        Augment {
            random_resized_crop: Some(RandomResizedCrop::default()),
            random_crop: false,
            flip: 0.5,
            color_jitter: Some(jitter),
            random_erasing: Some(RandomErasing::default()),
            ..Augment::default()
        }
    }

    fn preprocesses() -> impl Strategy<Value = Preprocess> {
        let resize = prop::sample::select(vec![Resize::Stretch, Resize::ShortSide]);
        (1usize..40, 1usize..40, resize, prop::option::of(0usize..20)).prop_map(
            |(height, width, resize, extra)| {
                let mut preprocess = Preprocess::new([height, width], resize);
                if resize == Resize::ShortSide {
                    preprocess.short_side = extra.map(|extra| height.min(width) + extra);
                }
                preprocess
            },
        )
    }

    proptest! {
        #[test]
        fn the_size_is_always_the_one_configured(
            preprocess in preprocesses(),
            source in (1usize..3, 1usize..70, 1usize..70, prop::sample::select(vec![1usize, 3])),
            seed: u64,
        ) {
            prop_assert_eq!(preprocess.validate(), Ok(()));
            let (t, h, w, c) = source;
            let clip = noise([t, h, w, c]);
            let [height, width] = preprocess.size;
            let expected = [t, height, width, 3];
            prop_assert_eq!(preprocess.spatial(&clip)?.dims(), expected);
            let mut rng = rng_for(seed, 0, 0, 0);
            let random_crop = Augment { random_crop: true, ..Augment::default() };
            for augment in [everything(), random_crop, Augment::default()] {
                let out = preprocess.spatial_random(&clip, &augment, &mut rng)?;
                prop_assert_eq!(out.dims(), expected);
            }
        }

        #[test]
        fn the_same_rng_gives_the_same_clip(preprocess in preprocesses(), seed: u64) {
            let clip = noise([2, 30, 40, 3]);
            let run = || preprocess.spatial_random(&clip, &everything(), &mut rng_for(seed, 1, 2, 3));
            prop_assert_eq!(run(), run());
        }

        #[test]
        fn no_augmentation_draws_nothing_and_changes_nothing(preprocess in preprocesses(), seed: u64) {
            let clip = noise([2, 30, 40, 3]);
            let mut rng = rng_for(seed, 0, 0, 0);
            let out = preprocess.spatial_random(&clip, &Augment::default(), &mut rng)?;
            prop_assert_eq!(out, preprocess.spatial(&clip)?);
            prop_assert_eq!(rng, rng_for(seed, 0, 0, 0));
        }

        #[test]
        fn mirrored_twice_is_the_clip(height in 1usize..20, width in 1usize..20, seed: u64) {
            let clip = noise([2, height, width, 3]);
            let preprocess = Preprocess::new([height, width], Resize::Stretch);
            let augment = Augment { flip: 1.0, ..Augment::default() };
            let mut rng = rng_for(seed, 0, 0, 0);
            let once = preprocess.spatial_random(&clip, &augment, &mut rng)?;
            let twice = preprocess.spatial_random(&once, &augment, &mut rng)?;
            prop_assert_eq!(&twice, &clip);
            prop_assert!(width < 4 || once != clip);
        }

        #[test]
        fn a_mirrored_resize_is_the_resized_mirror(preprocess in preprocesses()) {
            let clip = noise([1, 23, 31, 3]);
            let augment = Augment { flip: 1.0, ..Augment::default() };
            let mirrored = preprocess.spatial_random(&clip, &augment, &mut rng_for(0, 0, 0, 0))?;
            let augment = Augment { vertical_flip: 1.0, ..Augment::default() };
            let upside_down = preprocess.spatial_random(&clip, &augment, &mut rng_for(0, 0, 0, 0))?;
            let plain = preprocess.spatial(&clip)?;
            let rows = |clip: &Clip| match clip.pixels() {
                Pixels::U8(values) => values.clone(),
                Pixels::F32(_) => Vec::new(),
            };
            let width = preprocess.size[1];
            for (a, b) in rows(&mirrored).chunks_exact(width * 3).zip(rows(&plain).chunks_exact(width * 3)) {
                let back: Vec<u8> = b.chunks_exact(3).rev().flatten().copied().collect();
                prop_assert_eq!(a, &back[..]);
            }
            let (a, b) = (rows(&upside_down), rows(&plain));
            for (a, b) in a.chunks_exact(width * 3).zip(b.chunks_exact(width * 3).rev()) {
                prop_assert_eq!(a, b);
            }
        }

        #[test]
        fn one_colour_stays_that_colour(
            preprocess in preprocesses(),
            value: u8,
            size in (1usize..100, 1usize..100),
            seed: u64,
        ) {
            let clip = clip([1, size.0, size.1, 3], |_| value);
            let geometry = Augment { color_jitter: None, random_erasing: None, ..everything() };
            let out = preprocess.spatial_random(&clip, &geometry, &mut rng_for(seed, 0, 0, 0))?;
            prop_assert_eq!(out.pixels(), &Pixels::U8(vec![value; out.pixels().len()]));
        }

        #[test]
        fn what_the_packed_store_keeps_gives_the_same_clip(
            preprocess in preprocesses(),
            size in (1usize..70, 1usize..70),
        ) {
            let clip = noise([2, size.0, size.1, 3]);
            let packed = preprocess.resized(&clip)?;
            prop_assert_eq!(preprocess.for_packed().spatial(&packed)?, preprocess.spatial(&clip)?);
        }
    }
}
