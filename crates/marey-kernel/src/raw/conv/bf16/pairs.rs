//! Forward and backward data by the dot products of AVX-512 BF16.
//!
//! Two neighbouring `bf16` are as long as an `f32`, and the instruction adds their two products to an
//! `f32` lane. So the `f32` kernels do it all, on half as many channels, each a pair.

use half::bf16;

use super::super::super::convert::{convert, finish};
use super::super::super::memory::Buffer;
use super::super::super::parallel::for_each_piece;
use super::super::super::shape::Conv3dShape;
use super::super::super::simd::Isa;
use super::super::super::tile::Operand;
use super::super::{Epilogue, dense};

const ISA: Isa = Isa::Avx512;

/// Forward for an even number of inputs a group.
pub(super) fn forward(
    shape: &Conv3dShape,
    x: &[bf16],
    weights: &[f32],
    epilogue: Epilogue,
    y: &mut [bf16],
) {
    let mut rounded = Buffer::<bf16>::take(weights.len());
    convert(ISA, weights, &mut rounded);
    let halved = Conv3dShape {
        in_channels: shape.in_channels / 2,
        ..*shape
    };
    let mut sums = Buffer::<f32>::take(y.len());
    let (x, weights) = (Lanes::of(x), Lanes::of(&rounded));
    dense::forward(
        ISA,
        Operand::Pairs,
        &halved,
        x.floats(),
        weights.floats().into(),
        Epilogue::default(),
        &mut sums,
    );
    finish(ISA, &sums, epilogue, shape.out_channels, y);
}

/// Backward data for an even number of outputs a group.
pub(super) fn backward_data(shape: &Conv3dShape, dy: &[bf16], weights: &[f32], dx: &mut [bf16]) {
    // [output][tap][input] to [pair of outputs][tap][input][2].
    let row_len = shape.weights_len() / shape.out_channels;
    let mut paired = Buffer::<bf16>::take(weights.len());
    for_each_piece(&mut paired, 2 * row_len, |pair, to| {
        let (first, second) = weights[2 * pair * row_len..][..2 * row_len].split_at(row_len);
        for (to, (first, second)) in to.chunks_exact_mut(2).zip(first.iter().zip(second)) {
            to.copy_from_slice(&[bf16::from_f32(*first), bf16::from_f32(*second)]);
        }
    });
    let halved = Conv3dShape {
        out_channels: shape.out_channels / 2,
        ..*shape
    };
    let mut sums = Buffer::<f32>::take(dx.len());
    let (dy, weights) = (Lanes::of(dy), Lanes::of(&paired));
    dense::backward_data(
        ISA,
        Operand::Pairs,
        &halved,
        dy.floats(),
        weights.floats(),
        &mut sums,
    );
    convert(ISA, &sums, dx);
}

/// An even number of `bf16` as lanes that hold a pair each.
enum Lanes<'a> {
    Aligned(&'a [f32]),
    Copied(Buffer<bf16>),
}

impl<'a> Lanes<'a> {
    fn of(values: &'a [bf16]) -> Self {
        match cast(values) {
            Some(lanes) => Self::Aligned(lanes),
            None => Self::Copied(Buffer::copy_of(values)),
        }
    }

    fn floats(&self) -> &[f32] {
        match self {
            Self::Aligned(lanes) => lanes,
            Self::Copied(values) => cast(values).expect("a buffer is aligned"),
        }
    }
}

/// The same memory as floats, if it is aligned.
fn cast(values: &[bf16]) -> Option<&[f32]> {
    let is_aligned = values.as_ptr().cast::<f32>().is_aligned();
    // SAFETY: aligned, no longer than the values, borrowed as they are; any bits are a float.
    is_aligned
        .then(|| unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len() / 2) })
}
