//! A transformer encoder over frames (Vaswani et al., "Attention Is All You Need", NeurIPS 2017), with the names of
//! `torch.nn.TransformerEncoder` and the arithmetic of its layers at `norm_first=True`.
//!
//! The norms stand before the sublayers (Xiong et al., "On Layer Normalization in the Transformer Architecture", ICML
//! 2020), so that training needs no warm-up, with one more norm at the end. Positions are the sinusoids of Vaswani et
//! al., section 3.5, added to the input: they need no length, so that a model takes clips of any number of frames.
//!
//! Letters: b batch, t frames, n heads, d width, q query, k key, v value.

use std::f64::consts::LN_10;

use burn::{
    module::{Module, Param},
    nn::{Dropout, DropoutConfig},
    tensor::{
        Device, Tensor, TensorData,
        activation::{relu, softmax},
    },
};
use marey_kernel::KeptWeights;

use super::{Init, LayerNorm, Linear, LinearInit, init::constant, op};

/// Builds a [`Transformer`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransformerConfig {
    /// Width of the frames.
    pub width: usize,
    /// Heads of the attention; they divide the width.
    pub num_heads: usize,
    /// Width between the two linear layers of a block.
    pub feed_forward: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Share that is dropped in training behind the positions, behind each sublayer and between its linear layers, in
    /// `[0, 1)`.
    pub dropout: f64,
}

impl TransformerConfig {
    /// The encoder.
    ///
    /// # Panics
    /// If the heads do not divide the width, or the share is outside `[0, 1)`.
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> Transformer {
        let (d, heads) = (self.width, self.num_heads);
        assert!(
            heads > 0 && d.is_multiple_of(heads),
            "{heads} heads of width {d}"
        );
        let block = |_| Block {
            self_attn: SelfAttention::new(d, heads, init, device),
            linear1: Linear::new([d, self.feed_forward], LinearInit::Default, init, device),
            linear2: Linear::new([self.feed_forward, d], LinearInit::Default, init, device),
            norm1: LayerNorm::new(d, device),
            norm2: LayerNorm::new(d, device),
            dropout: DropoutConfig::new(self.dropout).init(),
        };
        Transformer {
            layers: (0..self.num_layers).map(block).collect(),
            norm: LayerNorm::new(d, device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

/// Blocks of self-attention and two linear layers, and a norm.
#[derive(Module, Debug)]
pub struct Transformer {
    layers: Vec<Block>,
    norm: LayerNorm,
    dropout: Dropout,
}

impl Transformer {
    /// # Shapes
    /// - `x` and output: `[b, t, d]`
    ///
    /// # Panics
    /// If `d` is not the configured width.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.dropout.forward(placed(x));
        self.norm
            .forward(self.layers.iter().fold(x, |x, block| block.forward(x)))
    }

    /// The gradient of the input from that of the output, with nothing dropped.
    ///
    /// # Shapes
    /// - `x`, `grad` and output: `[b, t, d]`
    pub(crate) fn input_gradient(&self, x: Tensor<3>, grad: Tensor<3>) -> Tensor<3> {
        let mut given = vec![placed(x)];
        for block in &self.layers {
            given.push(block.forward(given[given.len() - 1].clone()));
        }
        let last = given.pop().expect("the input is in it");
        let grad = self.norm.input_gradient(last, grad);
        let blocks = self.layers.iter().zip(given).rev();
        blocks.fold(grad, |grad, (block, x)| block.input_gradient(x, grad))
    }
}

/// Frames with their positions added: sine in the even places, cosine in the odd ones.
fn placed(x: Tensor<3>) -> Tensor<3> {
    let [_, t, d] = x.dims();
    let mut values = Vec::with_capacity(t * d);
    for frame in 0..t {
        for place in 0..d {
            let pair = (place / 2 * 2) as f64;
            let angle = frame as f64 * (-4.0 * LN_10 * pair / d as f64).exp();
            values.push(if place % 2 == 0 {
                angle.sin()
            } else {
                angle.cos()
            } as f32);
        }
    }
    let positions = Tensor::<3>::from_data(TensorData::new(values, [1, t, d]), &x.device());
    x + positions
}

/// One block; each sublayer is a branch beside its input, behind a norm.
#[derive(Module, Debug)]
struct Block {
    self_attn: SelfAttention,
    linear1: Linear,
    linear2: Linear,
    norm1: LayerNorm,
    norm2: LayerNorm,
    dropout: Dropout,
}

impl Block {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let attended = self.self_attn.forward(self.norm1.forward(x.clone()));
        let x = x + self.dropout.forward(attended);
        let inner = relu(self.linear1.forward(self.norm2.forward(x.clone())));
        let y = self.linear2.forward(self.dropout.forward(inner));
        x + self.dropout.forward(y)
    }

    fn input_gradient(&self, x: Tensor<3>, grad: Tensor<3>) -> Tensor<3> {
        let [b, t, d] = x.dims();
        let first = self.norm1.forward(x.clone());
        let middle = x.clone() + self.self_attn.forward(first.clone());
        let inner = self.linear1.forward(self.norm2.forward(middle.clone()));
        let f = inner.dims()[2];
        // The rectifier lets through what is above zero.
        let of_inner = self
            .linear2
            .input_gradient(grad.clone().reshape([b * t, d]))
            * inner.reshape([b * t, f]).greater_elem(0.0).float();
        let of_second = self.linear1.input_gradient(of_inner).reshape([b, t, d]);
        let of_middle = grad + self.norm2.input_gradient(middle, of_second);
        let of_first = self.self_attn.input_gradient(first, of_middle.clone());
        of_middle + self.norm1.input_gradient(x, of_first)
    }
}

/// Attention of every frame to every frame, in several heads.
#[derive(Module, Debug)]
struct SelfAttention {
    /// Queries, keys and values, one after the other: `[3 * d, d]`.
    in_proj_weight: Param<Tensor<2>>,
    in_proj_bias: Param<Tensor<1>>,
    out_proj: Linear,
    num_heads: usize,
    #[module(skip)]
    kept: KeptWeights,
}

impl SelfAttention {
    fn new(d: usize, num_heads: usize, init: &mut Init<'_>, device: &Device) -> Self {
        // Glorot and Bengio's uniform values over the three together, as PyTorch does.
        let bound = (6.0 / (4 * d) as f64).sqrt();
        Self {
            in_proj_weight: init.uniform([3 * d, d], bound, device),
            in_proj_bias: constant(3 * d, 0.0, device),
            out_proj: Linear::new([d, d], LinearInit::Default, init, device),
            num_heads,
            kept: KeptWeights::default(),
        }
    }

    /// Queries, keys and values, `[b, n, t, d / n]` each.
    fn heads(&self, x: Tensor<3>) -> [Tensor<4>; 3] {
        let [b, t, d] = x.dims();
        let (n, weight) = (self.num_heads, self.in_proj_weight.val());
        let all = op::linear(x, weight, self.in_proj_bias.val(), &self.kept);
        [0, 1, 2].map(|part| {
            let part = all.clone().narrow(2, part * d, d);
            part.reshape([b, t, n, d / n]).swap_dims(1, 2)
        })
    }

    /// How much each frame (row) attends to each other: `[b, n, t, t]`.
    fn weights(q: Tensor<4>, k: Tensor<4>) -> Tensor<4> {
        let scale = (q.dims()[3] as f64).sqrt();
        softmax(op::matmul(q, k.transpose()) / scale, 3)
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [b, t, d] = x.dims();
        let [q, k, v] = self.heads(x);
        let heads = op::matmul(Self::weights(q, k), v);
        self.out_proj
            .forward(heads.swap_dims(1, 2).reshape([b, t, d]))
    }

    fn input_gradient(&self, x: Tensor<3>, grad: Tensor<3>) -> Tensor<3> {
        let [b, t, d] = x.dims();
        let n = self.num_heads;
        let [q, k, v] = self.heads(x);
        let scale = ((d / n) as f64).sqrt();
        let weights = Self::weights(q.clone(), k.clone());
        let of_heads = self.out_proj.input_gradient(grad.reshape([b * t, d]));
        let of_heads = of_heads.reshape([b, t, n, d / n]).swap_dims(1, 2);
        let of_v = weights.clone().transpose().matmul(of_heads.clone());
        let of_weights = of_heads.matmul(v.transpose());
        // Of the softmax: a (g - sum of a g), row by row.
        let mean = (weights.clone() * of_weights.clone()).sum_dim(3);
        let of_scores = weights * (of_weights - mean) / scale;
        let of_q = of_scores.clone().matmul(k);
        let of_k = of_scores.transpose().matmul(q);
        let parts = [of_q, of_k, of_v].map(|part| part.swap_dims(1, 2).reshape([b * t, d]));
        let of_all = Tensor::cat(parts.to_vec(), 1);
        let of_x: Tensor<2> = of_all.matmul(self.in_proj_weight.val());
        of_x.reshape([b, t, d])
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use marey_clip::rng_for;

    use super::*;

    const SMALL: TransformerConfig = TransformerConfig {
        width: 8,
        num_heads: 2,
        feed_forward: 12,
        num_layers: 2,
        dropout: 0.0,
    };

    fn build(device: &Device) -> Transformer {
        let mut rng = rng_for(1, 0, 0, 0);
        SMALL.init(&mut Init::Random(&mut rng), device)
    }

    #[test]
    fn the_gradient_of_the_input_is_that_of_autodiff() {
        let device = Device::flex();
        for t in [1, 5] {
            let x = Tensor::<3>::random([2, t, 8], Distribution::Normal(0.0, 2.0), &device);
            let grad = Tensor::<3>::random([2, t, 8], Distribution::Normal(0.0, 1.0), &device);
            let found = build(&device).input_gradient(x.clone(), grad.clone());

            let tape = device.clone().autodiff();
            let leaf = Tensor::<3>::from_data(x.into_data(), &tape).require_grad();
            let grad = Tensor::<3>::from_data(grad.into_data(), &tape);
            let grads = (build(&tape).forward(leaf.clone()) * grad).sum().backward();
            let expected = leaf.grad(&grads).expect("the input leads to the sum");
            let off = (found - expected).abs().max().into_scalar::<f32>();
            assert!(off < 2e-5, "{t} frames: {off}");
        }
    }

    #[test]
    fn the_order_of_frames_matters() {
        let device = Device::flex();
        let x = Tensor::<3>::random([1, 4, 8], Distribution::Normal(0.0, 1.0), &device);
        let model = build(&device);
        let mean = |x: Tensor<3>| model.forward(x).mean_dim(1);
        let off = (mean(x.clone()) - mean(x.flip([1]))).abs().max();
        assert!(off.into_scalar::<f32>() > 1e-3);
    }
}
