//! GRU (Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", EMNLP 2014), with PyTorch's parameters
//! and order of gates.
//!
//! Letters: b batch, t frames, d width of the input, n width of the state.

use burn::{
    module::{Module, Param},
    nn::{Dropout, DropoutConfig},
    tensor::{Device, Tensor, activation::sigmoid},
};
use marey_kernel::KeptWeights;

use super::{
    Init, op,
    stack::{back_through, through},
    trace::note,
};

/// Layers of a GRU each, which reads the frames from the first on.
#[derive(Module, Debug)]
pub struct Gru {
    layers: Vec<Layer>,
    dropout: Dropout,
}

impl Gru {
    /// `num_layers` layers from width `d` to a state of width `n`, with `dropout` between layers.
    ///
    /// # Panics
    /// If `dropout` is outside `[0, 1)`.
    pub fn new(
        [d, n]: [usize; 2],
        num_layers: usize,
        dropout: f64,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Self {
        let layer = |idx| Layer {
            forward: Direction::new([if idx == 0 { d } else { n }, n], init, device),
        };
        Self {
            layers: (0..num_layers).map(layer).collect(),
            dropout: DropoutConfig::new(dropout).init(),
        }
    }

    /// # Shapes
    /// - `x`: `[b, t, d]`
    /// - output: `[b, t, n]`
    ///
    /// # Panics
    /// If `d` is not the configured width.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let label = || format!("{} layers", self.layers.len());
        note("gru", label, self, &x, Self::forward);
        through(&self.layers, &self.dropout, x, |layer, x| {
            layer.forward.states(x)
        })
    }

    /// The gradient of the input from that of the output, with nothing dropped.
    ///
    /// # Shapes
    /// - `x`: `[b, t, d]`, `grad`: `[b, t, n]`
    /// - output: `[b, t, d]`
    pub(crate) fn input_gradient(&self, x: Tensor<3>, grad: Tensor<3>) -> Tensor<3> {
        back_through(
            &self.layers,
            [x, grad],
            |layer, x| layer.forward.states(x),
            |layer, [x, states, grad]| layer.forward.input_gradient(x, states, grad),
        )
    }
}

/// A level that only the names have: they are those of an LSTM's forward direction.
#[derive(Module, Debug)]
struct Layer {
    forward: Direction,
}

/// One GRU; its gates lie in the order reset, update, new.
#[derive(Module, Debug)]
struct Direction {
    weight_ih: Param<Tensor<2>>,
    weight_hh: Param<Tensor<2>>,
    bias_ih: Param<Tensor<1>>,
    bias_hh: Param<Tensor<1>>,
    #[module(skip)]
    kept: KeptWeights,
}

/// The gates of one frame, `[b, n]` each, behind their activations.
struct Gates {
    reset: Tensor<2>,
    update: Tensor<2>,
    new: Tensor<2>,
    /// What the state before gives to the new one, before the reset gate.
    recalled: Tensor<2>,
}

impl Direction {
    fn new([d, n]: [usize; 2], init: &mut Init<'_>, device: &Device) -> Self {
        let bound = 1.0 / (n as f64).sqrt();
        Self {
            weight_ih: init.uniform([3 * n, d], bound, device),
            weight_hh: init.uniform([3 * n, n], bound, device),
            bias_ih: init.uniform([3 * n], bound, device),
            bias_hh: init.uniform([3 * n], bound, device),
            kept: KeptWeights::default(),
        }
    }

    /// What the gates get of `[b, t, d]`: one matrix product for all frames.
    fn inputs(&self, x: Tensor<3>) -> Tensor<3> {
        op::linear(x, self.weight_ih.val(), self.bias_ih.val(), &self.kept)
    }

    /// The gates of a frame from what they get of the input and of the state before.
    fn gates(&self, input: Tensor<2>, state: Tensor<2>) -> Gates {
        let n = state.dims()[1];
        let of_state = op::matmul(state, self.weight_hh.val().transpose())
            + self.bias_hh.val().unsqueeze_dim::<2>(0);
        let part = |gates: &Tensor<2>, gate: usize| gates.clone().narrow(1, gate * n, n);
        let sum = |gate| sigmoid(part(&input, gate) + part(&of_state, gate));
        let (reset, recalled) = (sum(0), part(&of_state, 2));
        Gates {
            new: (part(&input, 2) + reset.clone() * recalled.clone()).tanh(),
            update: sum(1),
            reset,
            recalled,
        }
    }

    /// `[b, t, d]` to the states `[b, t, n]`.
    fn states(&self, x: Tensor<3>) -> Tensor<3> {
        let ([b, t, _], [_, n]) = (x.dims(), self.weight_hh.dims());
        let inputs = self.inputs(x);
        let mut state = Tensor::<2>::zeros([b, n], &inputs.device());
        let mut states = Vec::with_capacity(t);
        for frame in 0..t {
            let input = inputs.clone().narrow(1, frame, 1).squeeze_dim::<2>(1);
            let gates = self.gates(input, state.clone());
            state = gates.new.clone() + gates.update * (state - gates.new);
            states.push(state.clone());
        }
        Tensor::stack(states, 1)
    }

    /// The gradient of the input from that of the states: backpropagation through time (Werbos, 1990), written out.
    ///
    /// # Shapes
    /// - `x`: `[b, t, d]`, `states` and `grad`: `[b, t, n]`
    /// - output: `[b, t, d]`
    fn input_gradient(&self, x: Tensor<3>, states: Tensor<3>, grad: Tensor<3>) -> Tensor<3> {
        let [b, t, n] = states.dims();
        let inputs = self.inputs(x);
        let at = |y: &Tensor<3>, frame| y.clone().narrow(1, frame, 1).squeeze_dim::<2>(1);
        let zero = Tensor::<2>::zeros([b, n], &inputs.device());
        let mut of_state = zero.clone();
        let mut of_inputs = Vec::with_capacity(t);
        for frame in (0..t).rev() {
            let before = match frame {
                0 => zero.clone(),
                _ => at(&states, frame - 1),
            };
            let gates = self.gates(at(&inputs, frame), before.clone());
            let of_frame = at(&grad, frame) + of_state;
            // A sigmoid s has the slope s (1 - s), a tanh y has 1 - y^2.
            let slope = |gate: &Tensor<2>| gate.clone() * (gate.clone().neg() + 1.0);
            let of_new = of_frame.clone()
                * (gates.update.clone().neg() + 1.0)
                * (gates.new.clone().powi_scalar(2).neg() + 1.0);
            let of_update = of_frame.clone() * (before - gates.new) * slope(&gates.update);
            let of_reset = of_new.clone() * gates.recalled * slope(&gates.reset);
            let all = |new| Tensor::cat(vec![of_reset.clone(), of_update.clone(), new], 1);
            of_state = of_frame * gates.update
                + all(of_new.clone() * gates.reset).matmul(self.weight_hh.val());
            of_inputs.push(all(of_new).matmul(self.weight_ih.val()));
        }
        of_inputs.reverse();
        Tensor::stack(of_inputs, 1)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use marey_clip::rng_for;

    use super::*;

    #[test]
    fn the_gradient_of_the_input_is_that_of_autodiff() {
        let device = Device::flex();
        let build = |device: &Device| {
            let mut rng = rng_for(1, 0, 0, 0);
            Gru::new([3, 4], 2, 0.0, &mut Init::Random(&mut rng), device)
        };
        for t in [1, 5] {
            let x = Tensor::<3>::random([2, t, 3], Distribution::Normal(0.0, 2.0), &device);
            let grad = Tensor::<3>::random([2, t, 4], Distribution::Normal(0.0, 1.0), &device);
            let found = build(&device).input_gradient(x.clone(), grad.clone());

            let tape = device.clone().autodiff();
            let leaf = Tensor::<3>::from_data(x.into_data(), &tape).require_grad();
            let grad = Tensor::<3>::from_data(grad.into_data(), &tape);
            let grads = (build(&tape).forward(leaf.clone()) * grad).sum().backward();
            let expected = leaf.grad(&grads).expect("the input leads to the sum");
            let off = (found - expected).abs().max().into_scalar::<f32>();
            assert!(off < 1e-5, "{t} frames: {off}");
        }
    }
}
