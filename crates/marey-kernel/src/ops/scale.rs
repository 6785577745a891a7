//! A factor for each clip and channel: the public function, and what other devices run.

use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};
use burn_flex::FlexTensor;

use super::element::{elements_of, filled_with, with_element};
use super::flex::{dense, dims};
use super::{VideoOps, has_activation_kernels, has_kernels};
use crate::raw::Isa;
use crate::raw::scale::{scale_backward, scale_forward};

/// `x` times one factor for each clip and channel: the gate of squeeze-and-excitation.
/// Differentiable in both. The output has the type of `x`; the factors may be `f32` beside half
/// precision, and their gradient comes in their own type.
///
/// # Shapes
/// - `x`, output: `[b, t, h, w, c]`
/// - `scale`: `[b, c]`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn channel_scale(x: Tensor<5>, scale: Tensor<2>) -> Tensor<5> {
    let [b, _, _, _, c] = x.dims();
    assert!(
        scale.dims() == [b, c],
        "factors {:?} for an input of {:?}",
        scale.dims(),
        x.dims()
    );
    if !has_activation_kernels(&x) {
        return default(x, scale);
    }
    let scale = scale.cast(DType::F32);
    if !has_kernels(&scale) {
        return default(x, scale);
    }
    let (x, scale) = (x.into_dispatch(), scale.into_dispatch());
    Tensor::from_dispatch(<Dispatch as VideoOps>::channel_scale(x, scale))
}

/// The same by Burn's own operations.
fn default(x: Tensor<5>, scale: Tensor<2>) -> Tensor<5> {
    let [b, _, _, _, c] = x.dims();
    let scale = scale.cast(x.dtype());
    x * scale.reshape([b, 1, 1, 1, c])
}

/// Forward, on Burn's CPU tensors.
pub(super) fn forward(x: FlexTensor, scale: FlexTensor) -> FlexTensor {
    let (x, scale) = (dense(x), dense(scale));
    let [.., channels] = dims::<5>(&x);
    with_element!(x.dtype(), E => filled_with::<E, 5>(dims(&x), |y| {
        let (x, scale) = (elements_of(&x), elements_of(&scale));
        scale_forward::<E>(Isa::best(), channels, x, scale, y);
    }))
}

/// Gradients of x and of the factors.
pub(super) fn backward(x: &FlexTensor, scale: &FlexTensor, dy: &FlexTensor) -> [FlexTensor; 2] {
    let [.., channels] = dims::<5>(x);
    with_element!(x.dtype(), E => {
        let mut dx = None;
        let dscale = filled_with(dims::<2>(scale), |dscale| {
            dx = Some(filled_with::<E, 5>(dims(x), |dx| {
                let operands = [elements_of::<E>(x), elements_of(dy)];
                let scale = elements_of(scale);
                scale_backward(Isa::best(), channels, operands, scale, dx, dscale);
            }));
        });
        [dx.expect("the closure has run"), dscale]
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::noise_tensor;
    use super::*;

    #[test]
    fn kernels_and_burns_own_product_agree_in_every_type() {
        let device = Device::flex().autodiff();
        for (dtype, most) in [(DType::F32, 1e-6), (DType::BF16, 0.01), (DType::F16, 0.002)] {
            let x = noise_tensor([2, 2, 3, 5, 21], 1, &device).cast(dtype);
            let x = x.detach().require_grad();
            let scale = noise_tensor([2, 21], 2, &device).detach().require_grad();
            let run = |y: Tensor<5>| {
                let gradients = y.clone().cast(DType::F32).powi_scalar(2).sum().backward();
                let dx = x.grad(&gradients).expect("x is tracked");
                let dscale = scale.grad(&gradients).expect("the factors are tracked");
                assert_eq!(
                    (y.dtype(), dx.dtype(), dscale.dtype()),
                    (dtype, dtype, DType::F32)
                );
                let all = [
                    y.inner().flatten(0, 4),
                    dx.flatten(0, 4),
                    dscale.flatten(0, 1),
                ];
                all.map(|tensor: Tensor<1>| tensor.cast(DType::F32))
            };
            let ours = run(channel_scale(x.clone(), scale.clone()));
            let burns = run(default(x.clone(), scale.clone()));
            for (idx, (ours, burns)) in ours.into_iter().zip(burns).enumerate() {
                let largest = burns.clone().abs().max().into_scalar::<f32>();
                let error = (ours - burns).abs().max().into_scalar::<f32>() / largest;
                assert!(error < most, "{dtype:?} tensor {idx} is off by {error:.1e}");
            }
        }
    }
}
