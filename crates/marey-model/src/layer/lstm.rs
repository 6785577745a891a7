//! Bidirectional LSTM (Hochreiter and Schmidhuber, 1997), with PyTorch's parameters and order of gates.
//!
//! Letters: b batch, t frames, d width of the input, n width of the state.

use burn::{
    module::{Module, Param},
    nn::{Dropout, DropoutConfig},
    tensor::{Device, Tensor},
};
use marey_kernel::{KeptWeights, bilstm};

use super::{Init, op, trace::note};

/// Layers of two LSTMs each, one forward and one backward in time.
#[derive(Module, Debug)]
pub struct BiLstm {
    layers: Vec<Layer>,
    dropout: Dropout,
}

impl BiLstm {
    /// `num_layers` layers from width `d` to a state of width `n` in each direction, with `dropout` between layers.
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
        let layer = |idx| {
            let width = if idx == 0 { d } else { 2 * n };
            Layer {
                forward: Direction::new([width, n], init, device),
                reverse: Direction::new([width, n], init, device),
            }
        };
        Self {
            layers: (0..num_layers).map(layer).collect(),
            dropout: DropoutConfig::new(dropout).init(),
        }
    }

    /// # Shapes
    /// - `x`: `[b, t, d]`
    /// - output: `[b, t, 2 * n]`, forward states before backward ones
    ///
    /// # Panics
    /// If `d` is not the configured width.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let label = || format!("{} layers in both directions", self.layers.len());
        note("lstm", label, self, &x, Self::forward);
        let last = self.layers.len().saturating_sub(1);
        self.layers.iter().enumerate().fold(x, |x, (idx, layer)| {
            let directions = [&layer.forward, &layer.reverse];
            let inputs = directions.map(|direction| direction.inputs(x.clone()));
            let y = bilstm(
                inputs,
                directions.map(|direction| direction.weight_hh.val()),
            );
            if idx < last {
                self.dropout.forward(y)
            } else {
                y
            }
        })
    }
}

#[derive(Module, Debug)]
struct Layer {
    forward: Direction,
    reverse: Direction,
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
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;

    #[test]
    fn the_backward_half_reads_the_frames_from_the_end() {
        let device = Device::flex();
        let lstm = BiLstm::new(
            [3, 4],
            1,
            0.0,
            &mut Init::Random(&mut rng_for(1, 0, 0, 0)),
            &device,
        );
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
