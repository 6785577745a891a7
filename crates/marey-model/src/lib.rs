//! Layers, architectures, weights and the model card.
//!
//! For: building a recogniser ([`ModelConfig`] to [`Model`]), filling it with weights from PyTorch or from a file of our
//! own ([`weights`]), and keeping it together with all that a prediction needs ([`Bundle`], [`Card`]).
//! Not for: losses, optimisers and the loop (`marey-train`), turning files into clips (`marey-data`), scoring files
//! (`marey-infer`).
//!
//! Every tensor is channels last: clips are `[b, t, h, w, c]`, logits `[b, k]`.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use marey_clip::rng_for;
//! use marey_model::{Arch, ModelConfig};
//!
//! let device = Device::flex();
//! let mut config = ModelConfig::new(Arch::R3d18);
//! config.width = Some(0.125);
//! let model = config.init(5, &mut rng_for(7, 0, 0, 0), &device)?;
//! let clips = Tensor::<5>::zeros([2, 4, 32, 32, 3], &device);
//! assert_eq!(model.forward(clips).dims(), [2, 5]);
//! # Ok::<(), marey_model::Error>(())
//! ```

pub mod layer;

pub mod arch;

mod task;

mod registry;

mod config;

mod heads;

mod boxed;

mod model;

mod logits;

mod evidence;

pub mod weights;

mod answer;

mod card;

mod bundle;

mod ensemble;

mod error;

pub mod files;

pub use answer::{Answering, Fitted, Rejection};
pub use arch::Temporal;
pub use bundle::Bundle;
pub use card::{Card, CardFigure, DataSummary, FORMAT_VERSION, HeadClasses, Provenance, utc};
pub use config::{Cost, HeadImport, ModelConfig};
pub use ensemble::EnsembleCard;
pub use error::{Error, ErrorKind};
pub use evidence::Evidence;
pub use heads::{AnomalyOutput, Outputs};
pub use logits::{AnomalySaid, Beside, Said};
pub use model::{Model, Output};
pub use registry::{Arch, Input};
pub use task::{DeepSvdd, Ranking, Task};
