//! Batch normalisation, its activation and its gradients over `[rows, c]`, channels last.
//!
//! Sums over rows take two stages in a fixed order, without atomics, so that runs repeat.

mod backward;
mod forward;
mod statistics;

pub(crate) use backward::{NormalizeGradients, normalize_backward};
pub(crate) use forward::{Normalized, affine, normalize};
pub(crate) use statistics::batch_statistics;

/// Threads of a cube that sums.
const UNITS: usize = 256;

/// Cubes of the first stage of a sum, about: four for each multiprocessor of a large card.
const CUBES: usize = 528;
