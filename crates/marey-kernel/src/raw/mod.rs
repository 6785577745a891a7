//! The kernels themselves: plain slices, no tensor type, no Burn.
//!
//! Activations are dense channels-last `[batch, t, h, w, channels]`; a 2-D one has `t = 1`.

pub mod conv;
pub mod lstm;
pub mod memory;
pub mod norm;
pub mod optimizer;
pub mod pool;
#[doc(hidden)]
pub mod reference;
pub mod scale;
pub mod shift;
pub mod sum;

mod activation;
mod convert;
mod element;
mod order;
pub mod parallel;
mod shape;
mod simd;
mod tile;
#[cfg(target_arch = "x86_64")]
mod transpose;

pub use activation::Activation;
pub use element::{Element, ElementType};
pub use order::{SumOrder, set_sum_order, sum_order};
pub use shape::{Conv3dOptions, Conv3dShape};
pub use simd::Isa;
