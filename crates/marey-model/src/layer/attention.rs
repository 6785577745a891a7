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
        let weights = self.weights(x.clone());
        (x * weights).sum_dim(1).squeeze_dim(1)
    }

    /// How much each frame counts; together 1.
    ///
    /// # Shapes
    /// - `x`: `[b, t, d]`
    /// - output: `[b, t, 1]`
    pub(crate) fn weights(&self, x: Tensor<3>) -> Tensor<3> {
        let (hidden, tanh, score) = &self.layers;
        softmax(score.forward(tanh.forward(hidden.forward(x))), 1)
    }

    /// The gradient of the input from that of the output: through the mean, and through its weights.
    ///
    /// # Shapes
    /// - `x`: `[b, t, d]`, `grad`: `[b, d]`
    /// - output: `[b, t, d]`
    pub(crate) fn input_gradient(&self, x: Tensor<3>, grad: Tensor<2>) -> Tensor<3> {
        let [b, t, d] = x.dims();
        let (hidden, tanh, score) = &self.layers;
        let inner = tanh.forward(hidden.forward(x.clone()));
        let weights = softmax(score.forward(inner.clone()), 1);
        let grad = grad.unsqueeze_dim::<3>(1);
        // Of the softmax: a_t (g_t - sum over s of a_s g_s), where g_t is the gradient of weight t.
        let of_weights = (x * grad.clone()).sum_dim(2);
        let mean = (weights.clone() * of_weights.clone()).sum_dim(1);
        let of_scores = weights.clone() * (of_weights - mean); // [b, t, 1]
        let n = inner.dims()[2];
        let of_inner =
            score.weights_of(0).reshape([1, 1, n]) * of_scores * (inner.powi_scalar(2).neg() + 1.0);
        let through_scores = hidden.input_gradient(of_inner.reshape([b * t, n]));
        weights * grad + through_scores.reshape([b, t, d])
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};
    use marey_clip::rng_for;

    use super::*;

    #[test]
    fn the_gradient_of_the_input_is_that_of_autodiff() {
        let device = Device::flex();
        let build = |device: &Device| {
            AdditiveAttention::new([6, 4], &mut Init::Random(&mut rng_for(5, 0, 0, 0)), device)
        };
        let x = Tensor::<3>::random([2, 5, 6], Distribution::Normal(0.0, 2.0), &device);
        let grad = Tensor::<2>::random([2, 6], Distribution::Normal(0.0, 1.0), &device);
        let found = build(&device).input_gradient(x.clone(), grad.clone());

        let tape = device.autodiff();
        let leaf = Tensor::<3>::from_data(x.into_data(), &tape).require_grad();
        let grad = Tensor::<2>::from_data(grad.into_data(), &tape);
        let grads = (build(&tape).forward(leaf.clone()) * grad).sum().backward();
        let expected = leaf.grad(&grads).expect("the input leads to the sum");
        let off = (found - expected).abs().max().into_scalar::<f32>();
        assert!(off < 1e-5, "{off}");
    }
}
