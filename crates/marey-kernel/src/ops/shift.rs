//! The temporal shift: the public function, and what other devices run.

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::element::{elements_of, filled_with, with_element};
use super::flex::{dense, dims};
use super::{VideoOps, has_activation_kernels};
use crate::raw::lstm::TimeOrder;
use crate::raw::shift;

/// Moves the first `fold` channels one frame towards the start of the clip and the next `fold` one frame towards its end,
/// so that a convolution over pictures sees three frames (Lin, Gan and Han, "TSM", ICCV 2019). Zeros come in at both ends.
/// Differentiable; the output has the type of `x`.
///
/// # Shapes
/// - `x`, output: `[b, t, h, w, c]`
///
/// # Panics
/// If `2 * fold` is more than `c`.
pub fn temporal_shift(x: Tensor<5>, fold: usize) -> Tensor<5> {
    let [.., c] = x.dims();
    assert!(2 * fold <= c, "{fold} channels each way of {c}");
    if has_activation_kernels(&x) {
        let x = x.into_dispatch();
        let y = <Dispatch as VideoOps>::temporal_shift(x, fold, TimeOrder::Forward);
        return Tensor::from_dispatch(y);
    }
    default(x, fold)
}

/// The same by Burn's own operations.
fn default(x: Tensor<5>, fold: usize) -> Tensor<5> {
    let [_, t, _, _, c] = x.dims();
    let part = |start, len| x.clone().narrow(4, start, len);
    let zeros = || x.clone().narrow(1, 0, 1).narrow(4, 0, fold).zeros_like();
    if t == 1 {
        return Tensor::cat(vec![zeros(), zeros(), part(2 * fold, c - 2 * fold)], 4);
    }
    let next = Tensor::cat(vec![part(0, fold).narrow(1, 1, t - 1), zeros()], 1);
    let before = Tensor::cat(vec![zeros(), part(fold, fold).narrow(1, 0, t - 1)], 1);
    Tensor::cat(vec![next, before, part(2 * fold, c - 2 * fold)], 4)
}

/// On Burn's CPU tensors, in either order.
pub(super) fn run(x: FlexTensor, fold: usize, order: TimeOrder) -> FlexTensor {
    let x = dense(x);
    let [b, t, h, w, c] = dims::<5>(&x);
    with_element!(x.dtype(), E => filled_with::<E, 5>([b, t, h, w, c], |y| {
        shift::temporal_shift::<E>([b, t, h * w, c], fold, order, elements_of(&x), y);
    }))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::super::noise_tensor;
    use super::*;

    #[test]
    fn kernel_and_burns_own_operations_agree_in_value_and_gradient() {
        let device = Device::flex().autodiff();
        for (t, dtype) in [(1, DType::F32), (5, DType::F32), (3, DType::BF16)] {
            let x = noise_tensor([2, t, 3, 2, 19], 1, &device).cast(dtype);
            let x = x.detach().require_grad();
            let run = |y: Tensor<5>| {
                let weights = noise_tensor(y.dims(), 2, &device);
                let loss = (y.clone().cast(DType::F32) * weights).sum();
                let gradients = loss.backward();
                let dx = x.grad(&gradients).expect("x is tracked");
                [y.inner(), dx].map(|tensor| tensor.cast(DType::F32).into_data())
            };
            assert_eq!(
                run(temporal_shift(x.clone(), 4)),
                run(default(x.clone(), 4))
            );
        }
    }
}
