//! Bundles in, predictions out.
//!
//! For: saying what a trained model sees in files ([`Predictor`]), in windows of long files ([`Windowing`]), and in every
//! item of a split ([`judge()`]), and for drawing the clips that a report shows ([`film()`]). All of them prepare clips by the sampling and preprocessing of the bundle's card, so what
//! is judged is what is deployed.
//! Not for: training, figures and reports (`marey-eval`), live streams.
//!
//! ```no_run
//! use std::path::Path;
//! use burn::tensor::Device;
//! use marey_infer::Predictor;
//! use marey_media::OpenOptions;
//!
//! let predictor = Predictor::open(Path::new("runs/demo-1/bundle"), 4, &Device::flex())?;
//! let prediction = predictor.predict(Path::new("gate.mp4"), 3, None, &OpenOptions::default())?;
//! println!("{} {:.2}", prediction.class, prediction.confidence);
//! # Ok::<(), marey_infer::Error>(())
//! ```

mod predictor;

mod member;

mod window;

mod judge;

mod recordings;

mod film;

mod error;

pub use error::Error;
pub use film::film;
pub use judge::{Judged, Look, Task, judge};
pub use member::Member;
pub use predictor::{
    AnomalyGuess, Guess, LabelGuess, Prediction, Predictor, Scanned, WindowPrediction,
};
pub use recordings::{Watched, watch};
pub use window::Windowing;
