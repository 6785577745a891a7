//! Convolution: the public functions, and what other devices run.

use burn::backend::Dispatch;
use burn::tensor::ops::ConvOptions as BurnOptions;
use burn::tensor::{DType, Device, Tensor, activation, module};

use super::kept::KeptWeights;
use super::norm::Affine;
use super::{VideoOps, has_activation_kernels, has_kernels, is_cpu};
use crate::raw::{Activation, Conv3dOptions, Conv3dShape};

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
        return Tensor::from_dispatch(<Dispatch as VideoOps>::conv3d(x, weights, options));
    }
    #[cfg(feature = "gpu")]
    if crate::gpu::has_convolution(&x, &weights, options) {
        return crate::gpu::conv3d(x, weights, options);
    }
    default(x, weights, options)
}

/// What follows the sums of a convolution: `activation(sums * gamma + beta + residual)`.
#[derive(Clone, Debug)]
pub struct Fused {
    /// A factor and a summand for each output channel, `[k]`.
    pub affine: Affine,
    /// Added to each output, `[b, t', h', w', k]`.
    pub residual: Option<Tensor<5>>,
    /// Applied last.
    pub activation: Activation,
}

impl Fused {
    /// A summand for each output channel, and an activation.
    pub fn bias(bias: Tensor<1>, activation: Activation) -> Self {
        Self {
            affine: Affine {
                gamma: bias.ones_like(),
                beta: bias,
            },
            residual: None,
            activation,
        }
    }
}

/// What a fused convolution needs beside its tensors.
#[derive(Debug)]
pub(crate) struct FusedOptions {
    pub(super) options: Conv3dOptions,
    pub(super) activation: Activation,
    pub(super) kept: KeptWeights,
}

/// A convolution and what follows it, for instance a norm with given statistics. One pass over the output where there
/// are no gradients to keep (inference), with the weights as `kept` has them; differentiable everywhere.
///
/// # Shapes
/// As [`conv3d`].
///
/// # Panics
/// As [`conv3d`], and if the affine or the residual does not fit.
pub fn conv3d_fused(
    x: Tensor<5>,
    weights: Tensor<5>,
    fused: Fused,
    options: Conv3dOptions,
    kept: &KeptWeights,
) -> Tensor<5> {
    let Fused {
        affine: Affine { gamma, beta },
        residual,
        activation,
    } = fused;
    let channels = weights.dims()[0];
    assert!(
        [gamma.dims(), beta.dims()] == [[channels]; 2],
        "gamma {:?} and beta {:?} for {channels} channels",
        gamma.dims(),
        beta.dims()
    );
    let has_kernels = takes(&x, &weights) && has_kernels(&gamma) && has_kernels(&beta);
    let takes_residual = || {
        let shape = Conv3dShape::new(x.dims(), weights.dims(), options);
        x.dtype() == DType::F32 && !shape.is_depthwise()
    };
    let is_one = has_kernels && !x.device().is_autodiff();
    if is_one && (residual.is_none() || takes_residual()) {
        let nothing = || Tensor::empty([0; 5], &x.device());
        let residual = residual.unwrap_or_else(nothing).into_dispatch();
        let [gamma, beta] = [gamma, beta].map(Tensor::into_dispatch);
        let (x, weights) = (x.into_dispatch(), weights.into_dispatch());
        let how = FusedOptions {
            options,
            activation,
            kept: kept.share(),
        };
        let y = <Dispatch as VideoOps>::conv3d_fused(x, weights, gamma, beta, residual, how);
        return Tensor::from_dispatch(y);
    }
    let y = conv3d(x, weights, options);
    #[cfg(feature = "gpu")]
    if crate::gpu::takes_norm(&y, residual.as_ref(), &[&gamma, &beta]) && !y.device().is_autodiff()
    {
        return crate::gpu::affine(y, residual, [gamma, beta], activation);
    }
    let [gamma, beta] = [gamma, beta].map(|values| values.cast(y.dtype()).unsqueeze());
    let y = y * gamma + beta;
    let y = match residual {
        Some(residual) => y + residual,
        None => y,
    };
    activate(y, activation)
}

/// Is a convolution with its norm ([`conv3d_fused`]) faster than one after the other on this device? On a GPU the norm
/// is one launch, and fewer than its factor and summand would need.
pub fn fuses_norms(device: &Device) -> bool {
    is_cpu(device)
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
        Activation::Relu6 => activation::relu(x).clamp_max(6.0),
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
    use burn::tensor::Distribution;

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
            let kept = KeptWeights::default();
            let options = Conv3dOptions::default();
            let added = random([2, 1, 4, 5, 10]);
            for activation in [
                Activation::Identity,
                Activation::Relu,
                Activation::Relu6,
                Activation::Silu,
            ] {
                for residual in [None, Some(added.clone())] {
                    let fused = Fused {
                        affine: affine.clone(),
                        residual: residual.clone(),
                        activation,
                    };
                    let fused = conv3d_fused(x.clone(), weights.clone(), fused, options, &kept);
                    let Affine { gamma, beta } = affine.clone();
                    let sums = default(x.clone(), weights.clone(), options);
                    let sums = sums * gamma.unsqueeze() + beta.unsqueeze();
                    let sums = residual.into_iter().fold(sums, |sums, added| sums + added);
                    let difference = (fused - activate(sums, activation)).abs().max();
                    assert!(difference.into_scalar::<f32>() < 1e-5, "{activation:?}");
                }
            }
        }
    }

    #[test]
    fn kept_weights_follow_the_weights_that_are_given() {
        let device = Device::flex();
        let random = |dims: [usize; 5]| Tensor::<5>::random(dims, Distribution::Default, &device);
        let (x, kept) = (random([1, 1, 3, 3, 5]), KeptWeights::default());
        let mut weights = random([6, 1, 1, 1, 5]);
        for _ in 0..4 {
            let fused = || Fused::bias(Tensor::zeros([6], &device), Activation::Identity);
            let options = Conv3dOptions::default();
            let y = conv3d_fused(x.clone(), weights.clone(), fused(), options, &kept);
            let want = default(x.clone(), weights.clone(), options);
            assert!((y - want).abs().max().into_scalar::<f32>() < 1e-5);
            // In place, if the tensor were not shared with what is kept.
            weights = weights * 2.0;
        }
    }
}
