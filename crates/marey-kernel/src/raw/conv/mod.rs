//! Convolution, 2-D and 3-D, dense, grouped and depthwise, in its three directions.

mod bf16;
mod blocking;
mod dense;
mod depthwise;
mod pack;
mod product;
mod weights;
mod wide;
mod window;
mod winograd;

#[cfg(test)]
mod tests;

use super::activation::Activation;
use super::element::{Element, ElementType, same, same_mut};
use super::shape::Conv3dShape;
use super::simd::Isa;
use super::tile::Operand;

pub use bf16::Bf16;
pub use pack::PackedWeights;

/// What a forward convolution does to its sums before it stores them: `activation(sum * scale + bias + residual)`,
/// a scale and a bias for each output channel. A norm with given statistics is one, at the end of a branch with the
/// branch's way round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Factor of each output channel; 1 if there is none.
    pub scale: Option<&'a [f32]>,
    /// Added to each output channel.
    pub bias: Option<&'a [f32]>,
    /// Added to each output; for dense convolutions in `f32` only.
    pub residual: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

impl Epilogue<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.scale.is_none()
            && self.bias.is_none()
            && self.residual.is_none()
            && self.activation == Activation::Identity
    }
}

/// The weights of a forward convolution.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// `[k, kt, kh, kw, c / groups]`.
    pub values: &'a [f32],
    /// The same for the tiles of a dense convolution in `f32`, if they were packed before.
    pub packed: Option<&'a PackedWeights>,
}

impl<'a> From<&'a [f32]> for Weights<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self {
            values,
            packed: None,
        }
    }
}

/// Instruction sets of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sets {
    /// For everything but dense `bf16`.
    pub isa: Isa,
    /// For dense `bf16`.
    pub bf16: Bf16,
}

impl Sets {
    /// The fastest of this machine.
    pub fn best() -> Self {
        Self {
            isa: Isa::best(),
            bf16: Bf16::best(),
        }
    }

    /// One set for all, `bf16` widened.
    pub fn of(isa: Isa) -> Self {
        Self {
            isa,
            bf16: Bf16::Wide(isa),
        }
    }
}

/// `y = activation(conv(x, weights) * scale + bias + residual)`; every element of `y` is written.
///
/// # Panics
/// If a length does not fit the shape, or there is a residual where none can be.
pub fn forward<'a, E: Element>(
    sets: Sets,
    shape: &Conv3dShape,
    x: &[E],
    weights: impl Into<Weights<'a>>,
    epilogue: Epilogue,
    y: &mut [E],
) {
    let weights: Weights = weights.into();
    check(shape, x.len(), weights.values.len(), y.len());
    if let Some(residual) = epilogue.residual {
        let is_dense = E::TYPE == ElementType::F32 && !shape.is_depthwise();
        assert!(
            is_dense && residual.len() == y.len(),
            "a residual of {} for {} outputs of {shape:?}",
            residual.len(),
            y.len()
        );
    }
    for values in [epilogue.scale, epilogue.bias].into_iter().flatten() {
        assert_eq!(
            values.len(),
            shape.out_channels,
            "a scale and a bias a channel"
        );
    }
    let (isa, values) = (sets.isa, weights.values);
    match E::TYPE {
        _ if y.is_empty() => {}
        _ if shape.is_depthwise() => depthwise::forward(isa, shape, x, values, epilogue, y),
        ElementType::F32 => {
            let (x, y) = (same(x), same_mut(y));
            dense::forward(isa, Operand::Floats, shape, x, weights, epilogue, y);
        }
        ElementType::Bf16 => {
            bf16::forward(sets.bf16, shape, same(x), values, epilogue, same_mut(y))
        }
        ElementType::F16 => wide::forward(isa, shape, x, values, epilogue, y),
    }
}

/// Gradient of `x`; every element of `dx` is written.
///
/// # Panics
/// If a length does not fit the shape.
pub fn backward_data<E: Element>(
    sets: Sets,
    shape: &Conv3dShape,
    dy: &[E],
    weights: &[f32],
    dx: &mut [E],
) {
    check(shape, dx.len(), weights.len(), dy.len());
    let isa = sets.isa;
    match E::TYPE {
        _ if dx.is_empty() || dy.is_empty() => dx.fill(E::default()),
        _ if shape.is_depthwise() => depthwise::backward_data(isa, shape, dy, weights, dx),
        ElementType::F32 => {
            dense::backward_data(isa, Operand::Floats, shape, same(dy), weights, same_mut(dx));
        }
        ElementType::Bf16 => bf16::backward_data(sets.bf16, shape, same(dy), weights, same_mut(dx)),
        ElementType::F16 => wide::backward_data(isa, shape, dy, weights, dx),
    }
}

/// Gradient of the weights; every element of `dw` is written.
///
/// # Panics
/// If a length does not fit the shape.
pub fn backward_weights<E: Element>(
    sets: Sets,
    shape: &Conv3dShape,
    x: &[E],
    dy: &[E],
    dw: &mut [f32],
) {
    check(shape, x.len(), dw.len(), dy.len());
    let isa = sets.isa;
    match E::TYPE {
        _ if x.is_empty() || dy.is_empty() => dw.fill(0.0),
        _ if shape.is_depthwise() => depthwise::backward_weights(isa, shape, x, dy, dw),
        ElementType::F32 => weights::backward_weights(isa, shape, same(x), same(dy), dw),
        ElementType::Bf16 => bf16::backward_weights(sets.bf16, shape, same(x), same(dy), dw),
        ElementType::F16 => wide::backward_weights(isa, shape, x, dy, dw),
    }
}

fn check(shape: &Conv3dShape, x: usize, weights: usize, y: usize) {
    assert!(
        x == shape.x_len() && weights == shape.weights_len() && y == shape.y_len(),
        "{x}, {weights} and {y} elements of x, weights and y do not fit {shape:?}"
    );
}
