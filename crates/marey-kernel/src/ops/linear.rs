//! Linear layers, and biases with activations: made of the other operations.

use burn::tensor::{DType, Tensor, module};

use super::conv::{Fused, activate, conv3d, conv3d_fused, takes};
use super::has_activation_kernels;
use super::kept::KeptWeights;
use super::norm::{Affine, NormOptions, Statistics, batch_norm_frozen};
use crate::raw::{Activation, Conv3dOptions};

/// `x . weights^T + bias`, the weights as PyTorch stores them, and in inference as `kept` has them. Differentiable in
/// all.
///
/// # Shapes
/// - `x`: `[n, i]`
/// - `weights`: `[o, i]`, `bias`: `[o]`
/// - output: `[n, o]`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn linear(x: Tensor<2>, weights: Tensor<2>, bias: Tensor<1>, kept: &KeptWeights) -> Tensor<2> {
    let ([n, i], [o, inputs]) = (x.dims(), weights.dims());
    assert!(i == inputs, "weights {o} x {inputs} for {i} values");
    let pixels = x.clone().reshape([n, 1, 1, 1, i]);
    let kernels = weights.clone().reshape([o, 1, 1, 1, i]);
    if !has_convolution(&pixels, &kernels) {
        return module::linear(x, weights.transpose(), Some(bias));
    }
    conv3d_bias(
        pixels,
        kernels,
        bias,
        Activation::Identity,
        Conv3dOptions::default(),
        kept,
    )
    .reshape([n, o])
}

/// Is there a convolution that does the work of a linear layer?
fn has_convolution(pixels: &Tensor<5>, kernels: &Tensor<5>) -> bool {
    #[cfg(feature = "gpu")]
    if crate::gpu::has_convolution(pixels, kernels, Conv3dOptions::default()) {
        return true;
    }
    takes(pixels, kernels)
}

/// `activation(conv(x) + bias)`, a bias for each output channel. Differentiable in x, the weights and the bias.
///
/// # Shapes
/// As [`conv3d`]; `bias`: `[k]`.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn conv3d_bias(
    x: Tensor<5>,
    weights: Tensor<5>,
    bias: Tensor<1>,
    activation: Activation,
    options: Conv3dOptions,
    kept: &KeptWeights,
) -> Tensor<5> {
    if x.device().is_autodiff() {
        bias_activation(conv3d(x, weights, options), bias, activation)
    } else {
        conv3d_fused(x, weights, Fused::bias(bias, activation), options, kept)
    }
}

/// `activation(x + bias)`, a bias for each channel, in one pass. Differentiable in both.
///
/// # Shapes
/// - `x`, output: `[b, t, h, w, c]`
/// - `bias`: `[c]`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn bias_activation(x: Tensor<5>, bias: Tensor<1>, activation: Activation) -> Tensor<5> {
    if !has_activation_kernels(&x) || bias.dtype() != DType::F32 {
        let bias = bias.cast(x.dtype());
        return activate(x + bias.unsqueeze(), activation);
    }
    // A norm with nothing to normalise.
    let [channels] = bias.dims();
    let device = x.device().without_autodiff();
    let constant = |value: f32| Tensor::<1>::full([channels], value, &device);
    let tracked = |tensor: Tensor<1>| {
        if x.device().is_autodiff() {
            Tensor::from_inner(tensor)
        } else {
            tensor
        }
    };
    let affine = Affine {
        gamma: tracked(constant(1.0)),
        beta: bias,
    };
    let statistics = Statistics {
        mean: tracked(constant(0.0)),
        variance: tracked(constant(1.0)),
    };
    let options = NormOptions {
        epsilon: 0.0,
        activation,
    };
    batch_norm_frozen(x, None, affine, statistics, options)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn linear_is_burns_own_with_its_gradients() {
        let device = Device::flex().autodiff();
        let random = Distribution::Uniform(-1.0, 1.0);
        let x = Tensor::<2>::random([5, 19], random, &device).require_grad();
        let weights = Tensor::<2>::random([7, 19], random, &device).require_grad();
        let bias = Tensor::<1>::random([7], random, &device).require_grad();
        let run = |y: Tensor<2>| {
            let gradients = y.clone().powi_scalar(2).sum().backward();
            let flat = |tensor: Option<Tensor<2>>| tensor.expect("tracked").flatten::<1>(0, 1);
            let bias = bias.grad(&gradients).expect("tracked");
            [
                y.inner().flatten(0, 1),
                flat(x.grad(&gradients)),
                flat(weights.grad(&gradients)),
                bias,
            ]
        };
        let ours = run(linear(
            x.clone(),
            weights.clone(),
            bias.clone(),
            &KeptWeights::default(),
        ));
        let burns = module::linear(x.clone(), weights.clone().transpose(), Some(bias.clone()));
        for (which, (ours, burns)) in ours.into_iter().zip(run(burns)).enumerate() {
            let difference = (ours - burns).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-4, "{which}: {difference:.1e}");
        }
    }

    #[test]
    fn a_bias_with_an_activation_is_both() {
        for device in [Device::flex(), Device::flex().autodiff()] {
            let x = Tensor::<5>::random([2, 1, 3, 4, 5], Distribution::Default, &device);
            let bias = Tensor::<1>::random([5], Distribution::Default, &device);
            for activation in [Activation::Identity, Activation::Silu, Activation::Sigmoid] {
                let fused = bias_activation(x.clone(), bias.clone(), activation);
                let both = activate(x.clone() + bias.clone().unsqueeze(), activation);
                let difference = (fused - both).abs().max().into_scalar::<f32>();
                assert!(difference < 1e-6, "{activation:?}: {difference:.1e}");
            }
        }
    }
}
