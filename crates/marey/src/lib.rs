//! Trains, judges and deploys video event recognisers.
//!
//! | module | what it holds |
//! |---|---|
//! | [`clip`] | the vocabulary: timestamps, spans, clips, class lists, sampling |
//! | [`media`] | opens videos, image folders, arrays and recordings |
//! | [`transform`] | from clips to model input |
//! | [`data`] | manifests, splits, the packed store, the loader |
//! | [`kernel`] | what computes on the CPU, and which of it runs |
//! | [`model`] | layers, architectures, weights, bundles |
//! | [`train`] | recipes, the loop, run folders |
//! | [`infer`] | bundles at work |
//! | [`eval`] | figures with intervals and baselines, reports |
//!
//! Cargo features: `ffmpeg` links FFmpeg's libraries for the formats that the built-in decoders do not read; `cuda`,
//! `rocm`, `vulkan` and `metal` build a device in, which is chosen at run time.
//!
//! ```no_run
//! use std::path::Path;
//! use marey::{burn::tensor::Device, infer::Predictor, media::OpenOptions};
//!
//! let predictor = Predictor::open(Path::new("runs/demo-1/bundle"), 4, &Device::flex())?;
//! let prediction = predictor.predict(Path::new("gate.mp4"), 3, None, &OpenOptions::default())?;
//! println!("{} {:.2}", prediction.class, prediction.confidence);
//! # Ok::<(), marey::infer::Error>(())
//! ```

pub use burn;
pub use marey_clip as clip;
pub use marey_data as data;
pub use marey_eval as eval;
pub use marey_infer as infer;
pub use marey_kernel as kernel;
pub use marey_media as media;
pub use marey_model as model;
pub use marey_train as train;
pub use marey_transform as transform;
