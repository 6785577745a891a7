//! Turns clips into model input: crop, resize, flip, colour, erase, normalise.
//!
//! For: one [`Preprocess`] that training, evaluation, prediction and live streams share, and the [`Augment`] of
//! training. Both work on `u8` on the host in one pass over each frame; only the cast and the normalising, in
//! [`Preprocess::to_input`], happen on the device. And optical flow, [`TvL1`], for the networks that see motion.
//! Not for: choosing frames (`marey-clip`), reading them (`marey-media`), making batches (`marey-data`).
//!
//! ```
//! use marey_clip::{Clip, Pixels, Timestamp, rng_for};
//! use marey_transform::{Augment, Preprocess, Resize};
//!
//! let frames = Pixels::U8(vec![90; 2 * 48 * 64 * 3]);
//! let clip = Clip::new([2, 48, 64, 3], frames, vec![Timestamp::ZERO; 2]);
//! let preprocess = Preprocess::new([32, 32], Resize::ShortSide);
//! assert_eq!(preprocess.spatial(&clip)?.dims(), [2, 32, 32, 3]);
//!
//! let augment = Augment { flip: 0.5, ..Augment::default() };
//! let mut rng = rng_for(1, 0, 0, 0);
//! assert_eq!(preprocess.spatial_random(&clip, &augment, &mut rng)?.dims(), [2, 32, 32, 3]);
//! # Ok::<(), marey_transform::Error>(())
//! ```

mod preprocess;

mod augment;

mod resample;

mod simd;

mod input;

mod source;

mod views;

mod flow;

mod error;

pub use augment::{
    Affine, Augment, CoarseDropout, ColorJitter, Fog, GaussianBlur, GaussianNoise, Rain,
    RandAugment, RandomErasing, RandomResizedCrop, Shadow, Snow, TrivialAugment,
};
pub use error::Error;
pub use flow::TvL1;
pub use preprocess::{Dropout, Preprocess, Resize};
pub use views::SpatialViews;

#[cfg(test)]
mod golden;

#[cfg(test)]
mod flow_golden;
