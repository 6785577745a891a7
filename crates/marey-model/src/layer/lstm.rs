//! LSTM (Hochreiter and Schmidhuber, 1997) in one direction or both, with PyTorch's parameters and order of gates.
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

/// In which order an LSTM reads the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directions {
    /// From the first on.
    Forward,
    /// Two of them, one from either end (Schuster and Paliwal, 1997).
    Both,
}

/// Layers of one LSTM each, or of two that read from either end.
#[derive(Module, Debug)]
pub struct Lstm {
    layers: Vec<Layer>,
    dropout: Dropout,
}

impl Lstm {
    /// `num_layers` layers from width `d` to a state of width `n` in each direction, with `dropout` between layers.
    ///
    /// # Panics
    /// If `dropout` is outside `[0, 1)`.
    pub fn new(
        [d, n]: [usize; 2],
        num_layers: usize,
        directions: Directions,
        dropout: f64,
        (init, device): (&mut Init<'_>, &Device),
    ) -> Self {
        let is_both = directions == Directions::Both;
        let layer = |idx| {
            let states = if is_both { 2 * n } else { n };
            let width = if idx == 0 { d } else { states };
            Layer {
                forward: Direction::new([width, n], init, device),
                reverse: is_both.then(|| Direction::new([width, n], init, device)),
            }
        };
        Self {
            layers: (0..num_layers).map(layer).collect(),
            dropout: DropoutConfig::new(dropout).init(),
        }
    }

    /// # Shapes
    /// - `x`: `[b, t, d]`
    /// - output: `[b, t, n]`, or `[b, t, 2 * n]` in both directions, forward states before backward ones
    ///
    /// # Panics
    /// If `d` is not the configured width.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let is_both = self.layers.iter().all(|layer| layer.reverse.is_some());
        let directions = if is_both { " in both directions" } else { "" };
        let label = || format!("{} layers{directions}", self.layers.len());
        note("lstm", label, self, &x, Self::forward);
        through(&self.layers, &self.dropout, x, Layer::states)
    }

    /// The gradient of the input from that of the output, with nothing dropped.
    ///
    /// # Shapes
    /// - `x`: `[b, t, d]`, `grad`: like the output
    /// - output: `[b, t, d]`
    pub(crate) fn input_gradient(&self, x: Tensor<3>, grad: Tensor<3>) -> Tensor<3> {
        back_through(
            &self.layers,
            [x, grad],
            Layer::states,
            |layer, [x, states, grad]| layer.input_gradient(x, states, grad),
        )
    }
}

#[derive(Module, Debug)]
struct Layer {
    forward: Direction,
    reverse: Option<Direction>,
}

impl Layer {
    /// `[b, t, d]` to the states `[b, t, n]`, or `[b, t, 2 * n]`, forward ones before backward ones.
    fn states(&self, x: Tensor<3>) -> Tensor<3> {
        let Some(reverse) = &self.reverse else {
            return op::lstm(self.forward.inputs(x), self.forward.weight_hh.val());
        };
        let directions = [&self.forward, reverse];
        op::bilstm(
            directions.map(|direction| direction.inputs(x.clone())),
            directions.map(|direction| direction.weight_hh.val()),
        )
    }

    /// Input, states and gradient of the states to the gradient of the input.
    fn input_gradient(&self, x: Tensor<3>, states: Tensor<3>, grad: Tensor<3>) -> Tensor<3> {
        let Some(reverse) = &self.reverse else {
            return self.forward.input_gradient(x, states, grad);
        };
        let n = grad.dims()[2] / 2;
        let half = |y: &Tensor<3>, start: usize| y.clone().narrow(2, start, n);
        let forward = self
            .forward
            .input_gradient(x.clone(), half(&states, 0), half(&grad, 0));
        let [x, states, grad] = [x, half(&states, n), half(&grad, n)].map(|y| y.flip([1]));
        forward + reverse.input_gradient(x, states, grad).flip([1])
    }
}

/// One LSTM; its gates lie in the order input, forget, cell, output.
#[derive(Module, Debug)]
struct Direction {
    weight_ih: Param<Tensor<2>>,
    weight_hh: Param<Tensor<2>>,
    bias_ih: Param<Tensor<1>>,
    bias_hh: Param<Tensor<1>>,
    #[module(skip)]
    kept: KeptWeights,
}

impl Direction {
    fn new([d, n]: [usize; 2], init: &mut Init<'_>, device: &Device) -> Self {
        let bound = 1.0 / (n as f64).sqrt();
        Self {
            weight_ih: init.uniform([4 * n, d], bound, device),
            weight_hh: init.uniform([4 * n, n], bound, device),
            bias_ih: init.uniform([4 * n], bound, device),
            bias_hh: init.uniform([4 * n], bound, device),
            kept: KeptWeights::default(),
        }
    }

    /// What the gates get of `[b, t, d]`, which does not depend on the state: one matrix product for all frames.
    fn inputs(&self, x: Tensor<3>) -> Tensor<3> {
        let bias = self.bias_ih.val() + self.bias_hh.val();
        op::linear(x, self.weight_ih.val(), bias, &self.kept)
    }

    /// The gradient of the input from that of the states, frames in the order in which they are read: backpropagation
    /// through time (Werbos, 1990), written out.
    ///
    /// # Shapes
    /// - `x`: `[b, t, d]`, `states` and `grad`: `[b, t, n]`
    /// - output: `[b, t, d]`
    fn input_gradient(&self, x: Tensor<3>, states: Tensor<3>, grad: Tensor<3>) -> Tensor<3> {
        let [b, t, n] = states.dims();
        let zero = Tensor::zeros([b, 1, n], &x.device());
        let before = Tensor::cat(vec![zero, states], 1).narrow(1, 0, t);
        let no_bias = self.bias_hh.val().zeros_like();
        let recurrent = self.weight_hh.val();
        let gates =
            self.inputs(x) + op::linear(before, recurrent, no_bias, &KeptWeights::default());
        let at = |frame: usize, gate: usize| {
            let gate = gates.clone().narrow(1, frame, 1).narrow(2, gate * n, n);
            gate.reshape([b, n])
        };
        let frames: Vec<[Tensor<2>; 4]> = (0..t)
            .map(|frame| {
                let [input, forget, output] = [0, 1, 3].map(|gate| sigmoid(at(frame, gate)));
                [input, forget, at(frame, 2).tanh(), output]
            })
            .collect();
        let mut cells = vec![Tensor::<2>::zeros([b, n], &gates.device())];
        for [input, forget, cell, _] in &frames {
            let last = cells[cells.len() - 1].clone();
            cells.push(forget.clone() * last + input.clone() * cell.clone());
        }
        // What later frames say about the state and the cell of a frame.
        let mut of_state = cells[0].clone();
        let mut of_cell = cells[0].clone();
        let mut of_gates = Vec::with_capacity(t);
        for (frame, [input, forget, cell, output]) in frames.into_iter().enumerate().rev() {
            let of_frame = grad.clone().narrow(1, frame, 1).reshape([b, n]) + of_state;
            let bounded = cells[frame + 1].clone().tanh();
            of_cell = of_cell
                + of_frame.clone() * output.clone() * (bounded.clone().powi_scalar(2).neg() + 1.0);
            // A sigmoid s has the slope s (1 - s), a tanh y has 1 - y^2.
            let slope = |gate: Tensor<2>| gate.clone() * (gate.neg() + 1.0);
            let of_frame = Tensor::cat(
                vec![
                    of_cell.clone() * cell.clone() * slope(input.clone()),
                    of_cell.clone() * cells[frame].clone() * slope(forget.clone()),
                    of_cell.clone() * input * (cell.powi_scalar(2).neg() + 1.0),
                    of_frame * bounded * slope(output),
                ],
                1,
            );
            of_state = of_frame.clone().matmul(self.weight_hh.val());
            of_cell = of_cell * forget;
            of_gates.push(of_frame.matmul(self.weight_ih.val()));
        }
        of_gates.reverse();
        Tensor::stack(of_gates, 1)
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
        for (t, directions, width) in [
            (1, Directions::Both, 8),
            (5, Directions::Both, 8),
            (5, Directions::Forward, 4),
        ] {
            let build = |device: &Device| {
                let mut rng = rng_for(1, 0, 0, 0);
                let init = &mut Init::Random(&mut rng);
                Lstm::new([3, 4], 2, directions, 0.0, (init, device))
            };
            let x = Tensor::<3>::random([2, t, 3], Distribution::Normal(0.0, 2.0), &device);
            let grad = Tensor::<3>::random([2, t, width], Distribution::Normal(0.0, 1.0), &device);
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

    #[test]
    fn the_backward_half_reads_the_frames_from_the_end() {
        let device = Device::flex();
        let mut rng = rng_for(1, 0, 0, 0);
        let init = &mut Init::Random(&mut rng);
        let lstm = Lstm::new([3, 4], 1, Directions::Both, 0.0, (init, &device));
        let x =
            Tensor::<3>::from_floats([[[1., 2., 3.], [4., 5., 6.], [7., 8., 9.]]], &device) / 9.0;
        let changed = Tensor::cat(
            vec![x.clone().narrow(1, 0, 2), x.clone().narrow(1, 2, 1) * 2.0],
            1,
        );
        let (before, after) = (lstm.forward(x), lstm.forward(changed));
        assert_eq!(before.dims(), [1, 3, 8]);
        // At the first frame only the backward half knows of a change in the last.
        let differs = |start: usize| {
            let half = |y: &Tensor<3>| y.clone().narrow(1, 0, 1).narrow(2, start, 4);
            (half(&before) - half(&after))
                .abs()
                .sum()
                .into_scalar::<f32>()
                > 1e-4
        };
        assert!(!differs(0) && differs(4));
    }
}
