//! Convolution of half-precision activations by the `f32` kernels: widened before, rounded after.

use super::super::convert::convert;
use super::super::element::Element;
use super::super::memory::Buffer;
use super::super::shape::Conv3dShape;
use super::super::simd::Isa;
use super::super::tile::Operand;
use super::{Epilogue, dense, weights};

fn widened<E: Element>(isa: Isa, values: &[E]) -> Buffer<f32> {
    let mut wide = Buffer::take(values.len());
    convert(isa, values, &mut wide);
    wide
}

/// Forward; lengths are checked by the caller.
pub(super) fn forward<E: Element>(
    isa: Isa,
    shape: &Conv3dShape,
    x: &[E],
    weights: &[f32],
    epilogue: Epilogue,
    y: &mut [E],
) {
    let (x, mut sums) = (widened(isa, x), Buffer::<f32>::take(y.len()));
    dense::forward(
        isa,
        Operand::Floats,
        shape,
        &x,
        weights.into(),
        epilogue,
        &mut sums,
    );
    convert(isa, &sums, y);
}

/// Backward data; lengths are checked by the caller.
pub(super) fn backward_data<E: Element>(
    isa: Isa,
    shape: &Conv3dShape,
    dy: &[E],
    weights: &[f32],
    dx: &mut [E],
) {
    let (dy, mut sums) = (widened(isa, dy), Buffer::<f32>::take(dx.len()));
    dense::backward_data(isa, Operand::Floats, shape, &dy, weights, &mut sums);
    convert(isa, &sums, dx);
}

/// Backward weights; lengths are checked by the caller.
pub(super) fn backward_weights<E: Element>(
    isa: Isa,
    shape: &Conv3dShape,
    x: &[E],
    dy: &[E],
    dw: &mut [f32],
) {
    weights::backward_weights(isa, shape, &widened(isa, x), &widened(isa, dy), dw);
}
