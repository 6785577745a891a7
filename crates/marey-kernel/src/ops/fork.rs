//! An input that is used twice, as the two ways round a residual block use theirs.

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::element::{elements_mut, elements_of, with_element};
use super::flex::dense;
use super::{VideoOps, has_activation_kernels};
use crate::raw::{self, Isa};

/// `x` twice: for the branch of a residual block, and for its way round. Where a gradient flows back along both, they are
/// added by all threads; that of a tensor that is cloned is added by Burn on one, which costs as much as a norm.
///
/// # Panics
/// A backward pass that reaches the second tensor and not the first panics: use both, or neither.
pub fn fork<const D: usize>(x: Tensor<D>) -> [Tensor<D>; 2] {
    if !has_activation_kernels(&x) {
        return [x.clone(), x];
    }
    let (branch, way_round) = <Dispatch as VideoOps>::fork(x.into_dispatch());
    [branch, way_round].map(Tensor::from_dispatch)
}

/// The sum of two gradients of one shape and type, in the memory of the first.
pub(super) fn joined(mut sum: FlexTensor, other: FlexTensor) -> FlexTensor {
    let other = dense(other);
    with_element!(other.dtype(), E => {
        raw::sum::add::<E>(Isa::best(), elements_mut(&mut sum), elements_of(&other));
    });
    sum
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::super::noise_tensor;
    use super::*;

    #[test]
    fn gradients_of_both_ways_are_added_once() {
        let device = Device::flex().autodiff();
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let x = noise_tensor([2, 3, 5, 7], 1, &device).cast(dtype);
            let x = x.detach().require_grad();
            let run = |[a, b]: [Tensor<4>; 2], uses_way_round: bool| {
                let mut y = a * 2.0;
                if uses_way_round {
                    y = y + b.clone() * b;
                }
                let gradients = y.cast(DType::F32).sum().backward();
                let dx = x.grad(&gradients).expect("x is tracked");
                dx.cast(DType::F32).into_data()
            };
            for uses_way_round in [true, false] {
                assert_eq!(
                    run(fork(x.clone()), uses_way_round),
                    run([x.clone(), x.clone()], uses_way_round),
                    "{dtype:?} {uses_way_round}"
                );
            }
        }
    }

    #[test]
    fn blocks_one_after_the_other_add_up_theirs() {
        let device = Device::flex().autodiff();
        let x = noise_tensor([2, 3, 5, 7], 1, &device).require_grad();
        let run = |twice: fn(Tensor<4>) -> [Tensor<4>; 2]| {
            let mut y = x.clone();
            for _ in 0..3 {
                let [branch, way_round] = twice(y);
                y = branch.tanh() + way_round;
            }
            let gradients = y.sum().backward();
            x.grad(&gradients).expect("x is tracked").into_data()
        };
        assert_eq!(run(fork), run(|x| [x.clone(), x]));
    }
}
