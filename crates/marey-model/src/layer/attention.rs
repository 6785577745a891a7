//! Additive attention over time (Bahdanau, Cho and Bengio, 2015).

use burn::{
    module::Module,
    nn::Tanh,
    tensor::{Device, Tensor, activation::softmax},
};

use super::{Init, Linear, LinearInit};

/// A weighted mean of the frames; the weights come from the frames themselves.
#[derive(Module, Debug)]
pub struct AdditiveAttention {
    /// Named by position, as in the upstream checkpoints: the score of one frame.
    layers: (Linear, Tanh, Linear),
}

impl AdditiveAttention {
    /// For frames of width `d`, scored through `n` hidden values.
    pub fn new([d, n]: [usize; 2], init: &mut Init<'_>, device: &Device) -> Self {
        let hidden = Linear::new([d, n], LinearInit::Default, init, device);
        let score = Linear::new([n, 1], LinearInit::Default, init, device);
        Self {
            layers: (hidden, Tanh::new(), score),
        }
    }

    /// # Shapes
    /// - `x`: `[b, t, d]`
    /// - output: `[b, d]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let (hidden, tanh, score) = &self.layers;
        let scores = score.forward(tanh.forward(hidden.forward(x.clone())));
        (x * softmax(scores, 1)).sum_dim(1).squeeze_dim(1)
    }
}
