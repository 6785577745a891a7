//! The recurrence of an LSTM: the public function, and what other devices run.

use burn::backend::Dispatch;
use burn::tensor::{Tensor, activation};
use burn_flex::FlexTensor;

use super::flex::{dense, dims, elements, filled};
use super::{VideoOps, has_kernels};
use crate::raw::conv::Sets;
use crate::raw::lstm::{self, LstmMemory, LstmShape, TimeOrder};

/// The states of an LSTM, from what its gates get of the inputs (with the biases) and the recurrent
/// weights; gates lie in PyTorch's order: input, forget, cell, output. State and cell are zero before the
/// first frame that is read. States stand in the order of the frames, whatever the order they were made
/// in. Differentiable in both.
///
/// # Shapes
/// - `inputs`: `[b, t, 4 * n]`
/// - `weights`: `[4 * n, n]`
/// - output: `[b, t, n]`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn lstm(inputs: Tensor<3>, weights: Tensor<2>, order: TimeOrder) -> Tensor<3> {
    let [_, t, gates] = inputs.dims();
    let [rows, n] = weights.dims();
    assert!(
        t > 0 && gates == 4 * n && rows == 4 * n,
        "weights {rows} x {n} for {gates} gates of {t} frames"
    );
    if has_kernels(&inputs) && has_kernels(&weights) {
        let (inputs, weights) = (inputs.into_dispatch(), weights.into_dispatch());
        return Tensor::from_dispatch(<Dispatch as VideoOps>::lstm(inputs, weights, order));
    }
    default(inputs, weights, order)
}

/// The same by Burn's own operations.
fn default(inputs: Tensor<3>, weights: Tensor<2>, order: TimeOrder) -> Tensor<3> {
    let [_, t, _] = inputs.dims();
    let [_, n] = weights.dims();
    let weights = weights.transpose();
    let mut states = Vec::with_capacity(t);
    let mut memory: Option<(Tensor<2>, Tensor<2>)> = None;
    for step in 0..t {
        let at = match order {
            TimeOrder::Forward => step,
            TimeOrder::Backward => t - 1 - step,
        };
        let mut gates = inputs.clone().narrow(1, at, 1).squeeze_dim::<2>(1);
        if let Some((state, _)) = &memory {
            gates = gates + state.clone().matmul(weights.clone());
        }
        let gate = |idx: usize| gates.clone().narrow(1, idx * n, n);
        let mut cell = activation::sigmoid(gate(0)) * activation::tanh(gate(2));
        if let Some((_, before)) = memory {
            cell = cell + activation::sigmoid(gate(1)) * before;
        }
        let state = activation::sigmoid(gate(3)) * activation::tanh(cell.clone());
        states.push(state.clone());
        memory = Some((state, cell));
    }
    if order == TimeOrder::Backward {
        states.reverse();
    }
    Tensor::stack(states, 1)
}

/// A recurrence that has run on Burn's CPU tensors, with what its gradient needs.
#[derive(Clone, Debug)]
pub(super) struct Recurrence {
    shape: LstmShape,
    weights: FlexTensor,
    memory: LstmMemory,
}

/// Forward.
pub(super) fn run(
    inputs: FlexTensor,
    weights: FlexTensor,
    order: TimeOrder,
) -> (FlexTensor, Recurrence) {
    let (inputs, weights) = (dense(inputs), dense(weights));
    let [batch, frames, _] = dims::<3>(&inputs);
    let [_, width] = dims::<2>(&weights);
    let shape = LstmShape {
        batch,
        frames,
        width,
        order,
    };
    let mut memory = None;
    let states = filled([batch, frames, width], |states| {
        let (inputs, weights) = (elements(&inputs), elements(&weights));
        memory = Some(lstm::forward(Sets::best(), &shape, inputs, weights, states));
    });
    let memory = memory.expect("filled calls once");
    (
        states,
        Recurrence {
            shape,
            weights,
            memory,
        },
    )
}

impl Recurrence {
    /// Gradients of the inputs and of the recurrent weights.
    pub(super) fn backward(&self, dstates: &FlexTensor) -> [FlexTensor; 2] {
        let shape = &self.shape;
        let mut dinputs = None;
        let dweights = filled(dims::<2>(&self.weights), |dweights| {
            dinputs = Some(filled(
                [shape.batch, shape.frames, 4 * shape.width],
                |dinputs| {
                    let (weights, dstates) = (elements(&self.weights), elements(dstates));
                    let memory = &self.memory;
                    lstm::backward(
                        Sets::best(),
                        shape,
                        weights,
                        memory,
                        dstates,
                        dinputs,
                        dweights,
                    );
                },
            ));
        });
        [dinputs.expect("filled calls once"), dweights]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn kernels_and_burns_own_operations_agree() {
        let device = Device::flex().autodiff();
        let random = Distribution::Uniform(-1.0, 1.0);
        let inputs = Tensor::<3>::random([2, 5, 28], random, &device).require_grad();
        let weights = Tensor::<2>::random([28, 7], random, &device).require_grad();
        for order in [TimeOrder::Forward, TimeOrder::Backward] {
            let run = |states: Tensor<3>| {
                let gradients = states.clone().powi_scalar(2).sum().backward();
                let dinputs = inputs.grad(&gradients).expect("inputs are tracked");
                let dweights = weights.grad(&gradients).expect("weights are tracked");
                [
                    states.inner().flatten::<1>(0, 2),
                    dinputs.flatten(0, 2),
                    dweights.flatten(0, 1),
                ]
            };
            let ours = run(lstm(inputs.clone(), weights.clone(), order));
            let burns = run(default(inputs.clone(), weights.clone(), order));
            for (which, (ours, burns)) in ours.into_iter().zip(burns).enumerate() {
                let difference = (ours - burns).abs().max().into_scalar::<f32>();
                assert!(difference < 1e-5, "{order:?} {which}: {difference:.1e}");
            }
        }
    }
}
