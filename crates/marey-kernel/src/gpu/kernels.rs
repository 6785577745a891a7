//! Kernels in CubeCL, for every GPU that it drives, on handles of contiguous memory.

mod activation;
mod buffers;
mod sums;

pub(super) mod depthwise;
pub(super) mod lstm;
pub(super) mod norm;
pub(super) mod optimizer;
pub(super) mod pool;
