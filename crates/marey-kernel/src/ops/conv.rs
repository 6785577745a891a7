//! Convolution: the public functions, and what other devices run.

use burn::backend::Dispatch;
use burn::tensor::ops::ConvOptions as BurnOptions;
use burn::tensor::{Tensor, activation, module};

use super::norm::Affine;
use super::{VideoOps, has_activation_kernels, has_kernels};
use crate::raw::{Activation, Conv3dOptions};

/// Convolution of channels-last clips; a 2-D one has `t = 1` and `kt = 1`. Differentiable in both.
///
/// It computes in the type of `x`, which is also that of the output; weights of another type are converted on the way,
/// and their gradient comes in their own type. So `f32` master weights meet `bf16` or `f16` activations.
///
/// # Shapes
/// - `x`: `[b, t, h, w, c]`
/// - `weights`: `[k, kt, kh, kw, c / groups]`
/// - output: `[b, t', h', w', k]`
///
/// # Panics
/// If the shapes do not fit each other and the options, or the tensors lie on different devices.
pub fn conv3d(x: Tensor<5>, weights: Tensor<5>, options: Conv3dOptions) -> Tensor<5> {
    if takes(&x, &weights) {
        let (x, weights) = (x.into_dispatch(), weights.into_dispatch());
        Tensor::from_dispatch(<Dispatch as VideoOps>::conv3d(x, weights, options))
    } else {
        default(x, weights, options)
    }
}

/// `activation(conv(x) * gamma + beta)`, which is a convolution and a norm with given statistics. One pass
/// over the output where there are no gradients to keep (inference); differentiable everywhere.
///
/// # Shapes
/// As [`conv3d`]; `affine`: `[k]`.
///
/// # Panics
/// As [`conv3d`], and if the affine does not fit.
pub fn conv3d_fused(
    x: Tensor<5>,
    weights: Tensor<5>,
    affine: Affine,
    activation: Activation,
    options: Conv3dOptions,
) -> Tensor<5> {
    let Affine { gamma, beta } = affine;
    let channels = weights.dims()[0];
    assert!(
        [gamma.dims(), beta.dims()] == [[channels]; 2],
        "gamma {:?} and beta {:?} for {channels} channels",
        gamma.dims(),
        beta.dims()
    );
    let has_kernels = takes(&x, &weights) && has_kernels(&gamma) && has_kernels(&beta);
    if has_kernels && !x.device().is_autodiff() {
        let [gamma, beta] = [gamma, beta].map(Tensor::into_dispatch);
        let (x, weights) = (x.into_dispatch(), weights.into_dispatch());
        let y = <Dispatch as VideoOps>::conv3d_fused(x, weights, gamma, beta, activation, options);
        return Tensor::from_dispatch(y);
    }
    let y = conv3d(x, weights, options);
    let [gamma, beta] = [gamma, beta].map(|values| values.cast(y.dtype()).unsqueeze());
    activate(y * gamma + beta, activation)
}

/// Do the kernels take these: activations of any of their types on the CPU device, `f32` weights?
pub(super) fn takes(x: &Tensor<5>, weights: &Tensor<5>) -> bool {
    has_activation_kernels(x) && has_kernels(weights)
}

/// An activation by Burn's own operations.
pub(super) fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    match activation {
        Activation::Identity => x,
        Activation::Relu => activation::relu(x),
        Activation::Silu => activation::silu(x),
        Activation::Sigmoid => activation::sigmoid(x),
    }
}

/// Burn's own convolution between two permutations, in the type of `x`.
fn default(x: Tensor<5>, weights: Tensor<5>, options: Conv3dOptions) -> Tensor<5> {
    let Conv3dOptions {
        stride,
        padding,
        dilation,
        groups,
    } = options;
    let [_, frames, ..] = x.dims();
    let [_, kernel_t, ..] = weights.dims();
    let weights = weights.cast(x.dtype());
    let (x, weights) = (x.permute([0, 4, 1, 2, 3]), weights.permute([0, 4, 1, 2, 3]));
    if frames == 1 && kernel_t == 1 && padding[0] == 0 {
        // Devices have better kernels for images.
        let [_, stride_h, stride_w] = stride;
        let [_, padding_h, padding_w] = padding;
        let [_, dilation_h, dilation_w] = dilation;
        let options = BurnOptions::new(
            [stride_h, stride_w],
            [padding_h, padding_w],
            [dilation_h, dilation_w],
            groups,
        );
        let y = module::conv2d(
            x.squeeze_dim::<4>(2),
            weights.squeeze_dim::<4>(2),
            None,
            options,
        );
        return y.unsqueeze_dim::<5>(2).permute([0, 2, 3, 4, 1]);
    }
    let options = BurnOptions::new(stride, padding, dilation, groups);
    module::conv3d(x, weights, None, options).permute([0, 2, 3, 4, 1])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    /// Kernels and default agree in y and both gradients.
    fn check(x: [usize; 5], weights: [usize; 5], options: Conv3dOptions) {
        let device = Device::flex().autodiff();
        let x = Tensor::<5>::random(x, Distribution::Default, &device).require_grad();
        let weights = Tensor::<5>::random(weights, Distribution::Default, &device).require_grad();
        let run = |y: Tensor<5>| {
            let gradients = y.clone().powi_scalar(2).sum().backward();
            let dx = x.grad(&gradients).expect("x is tracked");
            let dw = weights.grad(&gradients).expect("the weights are tracked");
            [y.inner(), dx, dw]
        };
        let ours = run(conv3d(x.clone(), weights.clone(), options));
        let burns = run(default(x.clone(), weights.clone(), options));
        for (name, (ours, burns)) in ["y", "dx", "dw"].iter().zip(ours.into_iter().zip(burns)) {
            let scale = burns.clone().abs().max().into_scalar::<f32>();
            let error = (ours - burns).abs().max().into_scalar::<f32>() / scale;
            assert!(error < 1e-5, "{name} is off by {error:.1e}: {options:?}");
        }
    }

    #[test]
    fn kernels_and_burns_own_convolution_agree() {
        let options = Conv3dOptions {
            stride: [1, 2, 2],
            padding: [1; 3],
            ..Default::default()
        };
        check([2, 3, 9, 8, 5], [7, 3, 3, 3, 5], options);
        check(
            [2, 1, 9, 8, 6],
            [8, 1, 3, 3, 3],
            Conv3dOptions {
                groups: 2,
                padding: [0, 1, 1],
                ..Default::default()
            },
        );
        check(
            [1, 2, 9, 8, 18],
            [18, 1, 3, 3, 1],
            Conv3dOptions {
                groups: 18,
                dilation: [1, 2, 1],
                ..Default::default()
            },
        );
    }

    #[test]
    fn a_permuted_view_is_read_in_its_own_order() {
        let device = Device::flex();
        let x = Tensor::<5>::random([2, 5, 3, 6, 7], Distribution::Default, &device);
        let weights = Tensor::<5>::random([4, 1, 3, 3, 5], Distribution::Default, &device);
        let view = x.permute([0, 2, 3, 4, 1]);
        let ours = conv3d(view.clone(), weights.clone(), Conv3dOptions::default());
        let burns = default(view, weights, Conv3dOptions::default());
        assert!((ours - burns).abs().max().into_scalar::<f32>() < 1e-5);
    }

    #[test]
    fn fused_and_composed_agree() {
        for device in [Device::flex(), Device::flex().autodiff()] {
            let random =
                |dims: [usize; 5]| Tensor::<5>::random(dims, Distribution::Default, &device);
            let (x, weights) = (random([2, 1, 6, 7, 9]), random([10, 1, 3, 3, 9]) - 0.5);
            let channels = || Tensor::<1>::random([10], Distribution::Default, &device);
            let affine = Affine {
                gamma: channels(),
                beta: channels(),
            };
            for activation in [Activation::Identity, Activation::Relu, Activation::Silu] {
                let options = Conv3dOptions::default();
                let operands = (x.clone(), weights.clone());
                let fused =
                    conv3d_fused(operands.0, operands.1, affine.clone(), activation, options);
                let Affine { gamma, beta } = affine.clone();
                let sums = default(x.clone(), weights.clone(), options);
                let sums = sums * gamma.unsqueeze() + beta.unsqueeze();
                let difference = (fused - activate(sums, activation)).abs().max();
                assert!(difference.into_scalar::<f32>() < 1e-5, "{activation:?}");
            }
        }
    }
}
