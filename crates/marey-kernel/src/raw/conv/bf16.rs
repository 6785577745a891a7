//! Dense and grouped convolution of `bf16` activations with `f32` weights; sums are `f32`.
//!
//! Weights are rounded to `bf16` where they are packed. Outputs are rounded once, after all of the sum;
//! the gradient of the weights stays `f32`.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod pairs;
#[cfg(target_arch = "x86_64")]
mod panels;
#[cfg(target_arch = "x86_64")]
mod product;
#[cfg(target_arch = "x86_64")]
mod tiles;
#[cfg(target_arch = "x86_64")]
mod weights;

use std::sync::OnceLock;

use half::bf16;

use super::super::shape::Conv3dShape;
use super::super::simd::Isa;
use super::{Epilogue, wide};

/// What multiplies `bf16` in dense convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bf16 {
    /// Intel AMX, on Linux.
    Amx,
    /// The dot products of AVX-512 BF16. Gradients of weights, and odd channels, are widened.
    Avx512,
    /// The `f32` kernels of a set, between widening and rounding.
    Wide(Isa),
}

impl Bf16 {
    /// The fastest of this machine.
    pub fn best() -> Self {
        static BEST: OnceLock<Bf16> = OnceLock::new();
        *BEST.get_or_init(|| Self::available()[0])
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amx => "AMX",
            Self::Avx512 => "AVX-512 BF16",
            Self::Wide(isa) => isa.name(),
        }
    }

    /// All that this machine can run, fastest first.
    pub fn available() -> Vec<Self> {
        let mut sets = vec![];
        #[cfg(target_arch = "x86_64")]
        {
            if amx::is_available() {
                sets.push(Self::Amx);
            }
            if Isa::best() == Isa::Avx512 && is_x86_feature_detected!("avx512bf16") {
                sets.push(Self::Avx512);
            }
        }
        sets.extend(Isa::available().into_iter().map(Self::Wide));
        sets
    }
}

/// `y = activation(conv(x, weights) * scale + bias)`; lengths are checked by the caller.
pub(super) fn forward(
    set: Bf16,
    shape: &Conv3dShape,
    x: &[bf16],
    weights: &[f32],
    epilogue: Epilogue,
    y: &mut [bf16],
) {
    match set {
        #[cfg(target_arch = "x86_64")]
        Bf16::Amx => {
            // SAFETY: the set is available.
            unsafe { tiles::forward(shape, x, weights, epilogue, y) }
        }
        Bf16::Avx512 if shape.group_inputs().is_multiple_of(2) => {
            pairs::forward(shape, x, weights, epilogue, y);
        }
        _ => wide::forward(set.isa(), shape, x, weights, epilogue, y),
    }
}

/// Gradient of `x`; lengths are checked by the caller.
pub(super) fn backward_data(
    set: Bf16,
    shape: &Conv3dShape,
    dy: &[bf16],
    weights: &[f32],
    dx: &mut [bf16],
) {
    match set {
        #[cfg(target_arch = "x86_64")]
        Bf16::Amx => {
            // SAFETY: the set is available.
            unsafe { tiles::backward_data(shape, dy, weights, dx) }
        }
        Bf16::Avx512 if shape.group_outputs().is_multiple_of(2) => {
            pairs::backward_data(shape, dy, weights, dx);
        }
        _ => wide::backward_data(set.isa(), shape, dy, weights, dx),
    }
}

/// Gradient of the weights; lengths are checked by the caller.
pub(super) fn backward_weights(
    set: Bf16,
    shape: &Conv3dShape,
    x: &[bf16],
    dy: &[bf16],
    dw: &mut [f32],
) {
    match set {
        #[cfg(target_arch = "x86_64")]
        Bf16::Amx => {
            // SAFETY: the set is available.
            let done = unsafe { weights::backward_weights(&tiles::flat(shape), x, dy, dw) };
            if let Err(weights::NotFinite) = done {
                wide::backward_weights(set.isa(), shape, x, dy, dw);
            }
        }
        _ => wide::backward_weights(set.isa(), shape, x, dy, dw),
    }
}

impl Bf16 {
    /// The set of the `f32` kernels beside it.
    fn isa(self) -> Isa {
        match self {
            Self::Amx | Self::Avx512 => Isa::Avx512,
            Self::Wide(isa) => isa,
        }
    }
}
