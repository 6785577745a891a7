//! A linear layer, with its weight as PyTorch stores it: `[o, i]`.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};
use marey_kernel::KeptWeights;

use super::{Init, init::constant, op, trace::note};

/// How a [`Linear`] starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LinearInit {
    /// PyTorch's default: weight and bias spread evenly over ±1/sqrt(i).
    Default,
    /// Normal weight of this standard deviation, bias 0: torchvision's classifier of videos has 0.01.
    Normal(f64),
}

/// `y = x W^T + b` on the last axis.
#[derive(Module, Debug)]
pub struct Linear {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    kept: KeptWeights,
}

impl Linear {
    /// From `i` to `o` values.
    pub fn new([i, o]: [usize; 2], kind: LinearInit, init: &mut Init<'_>, device: &Device) -> Self {
        match kind {
            LinearInit::Default => {
                let bound = 1.0 / (i as f64).sqrt();
                let weight = init.uniform([o, i], bound, device);
                Self {
                    weight,
                    bias: init.uniform([o], bound, device),
                    kept: KeptWeights::default(),
                }
            }
            LinearInit::Normal(std) => Self {
                weight: init.normal([o, i], std, device),
                bias: constant(o, 0.0, device),
                kept: KeptWeights::default(),
            },
        }
    }

    /// Width of the input.
    pub fn num_inputs(&self) -> usize {
        self.weight.dims()[1]
    }

    /// Values it gives.
    pub fn num_outputs(&self) -> usize {
        self.weight.dims()[0]
    }

    /// The weights `[i]` of one output.
    ///
    /// # Panics
    /// If there is no such output.
    pub(crate) fn weights_of(&self, output: usize) -> Tensor<1> {
        self.weight.val().narrow(0, output, 1).squeeze_dim(0)
    }

    /// The gradient of the input from that of the output.
    ///
    /// # Shapes
    /// - `grad`: `[b, o]`
    /// - output: `[b, i]`
    pub(crate) fn input_gradient(&self, grad: Tensor<2>) -> Tensor<2> {
        grad.matmul(self.weight.val())
    }

    /// # Shapes
    /// - `x`: `[.., i]`
    /// - output: `[.., o]`
    ///
    /// # Panics
    /// If `i` is not the configured number of values.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let [o, i] = self.weight.dims();
        note("linear", || format!("{i}-{o}"), self, &x, Self::forward);
        op::linear(x, self.weight.val(), self.bias.val(), &self.kept)
    }
}
