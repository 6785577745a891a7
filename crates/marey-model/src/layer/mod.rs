//! Layers of the house: channels last, `[b, t, h, w, c]` for clips and `[b, h, w, c]` for pictures.
//!
//! Burn's own layers are channels first. These hold their weights channels last too and call [`op`] for the work, so a
//! faster kernel replaces the inside of one function there and no architecture changes.

pub mod op;

mod init;

mod conv;

mod norm;

mod pool;

mod linear;

mod stack;

mod lstm;

mod gru;

mod attention;

mod layer_norm;

mod transformer;

mod drop_path;

mod trace;

mod count;

pub use attention::AdditiveAttention;
pub use conv::{Conv2d, Conv3d, ConvConfig};
pub use count::multiply_adds;
pub use drop_path::DropPath;
pub use gru::Gru;
pub use init::Init;
pub use layer_norm::LayerNorm;
pub use linear::{Linear, LinearInit};
pub use lstm::{Directions, Lstm};
pub use marey_kernel::Activation;
pub use norm::{BatchNorm, RunningStat, with_statistics_share};
pub(crate) use pool::same_padding;
pub use pool::{AvgPool3d, MaxPool3d, global_average, grid_average};
pub use trace::{LayerCall, trace};
pub use transformer::{Transformer, TransformerConfig};
