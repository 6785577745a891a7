//! The recurrence of an LSTM, in one direction or both: the public functions, and what other devices run.

use burn::backend::Dispatch;
use burn::tensor::{Tensor, activation};
use burn_flex::FlexTensor;

use super::flex::{dense, dims, elements, filled};
use super::{VideoOps, has_kernels};
use crate::raw::conv::Sets;
use crate::raw::lstm::{self, LstmMemory, LstmShape, TimeOrder};

/// Both directions, in the order of all pairs here.
const DIRECTIONS: [TimeOrder; 2] = [TimeOrder::Forward, TimeOrder::Backward];

/// The states of two LSTMs, one that reads the frames from the first on and one from the last back, from what the gates
/// of each get of the inputs (with the biases) and the recurrent weights of each. Gates lie in PyTorch's order: input,
/// forget, cell, output. State and cell are zero before the frame that is read first. States stand in the order of the
/// frames, those of the forward LSTM before those of the backward one. Differentiable in all.
///
/// # Shapes
/// - `inputs`: `[b, t, 4 * n]` twice
/// - `weights`: `[4 * n, n]` twice
/// - output: `[b, t, 2 * n]`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn bilstm(inputs: [Tensor<3>; 2], weights: [Tensor<2>; 2]) -> Tensor<3> {
    let [_, t, gates] = inputs[0].dims();
    let [rows, n] = weights[0].dims();
    let is_twice = inputs[1].dims() == inputs[0].dims() && weights[1].dims() == [rows, n];
    assert!(
        t > 0 && gates == 4 * n && rows == 4 * n && is_twice,
        "weights {:?} for inputs {:?}",
        weights.each_ref().map(Tensor::dims),
        inputs.each_ref().map(Tensor::dims)
    );
    if inputs.iter().all(has_kernels) && weights.iter().all(has_kernels) {
        let [x, x_back] = inputs.map(Tensor::into_dispatch);
        let [w, w_back] = weights.map(Tensor::into_dispatch);
        return Tensor::from_dispatch(<Dispatch as VideoOps>::bilstm(x, x_back, w, w_back));
    }
    let [x, x_back] = inputs;
    let [w, w_back] = weights;
    let [forward, backward] = DIRECTIONS;
    Tensor::cat(
        vec![default(x, w, forward), default(x_back, w_back, backward)],
        2,
    )
}

/// The states of one LSTM that reads the frames from the first on; otherwise as [`bilstm`]. Differentiable in both.
///
/// # Shapes
/// - `inputs`: `[b, t, 4 * n]`
/// - `weights`: `[4 * n, n]`
/// - output: `[b, t, n]`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn lstm(inputs: Tensor<3>, weights: Tensor<2>) -> Tensor<3> {
    let [_, t, gates] = inputs.dims();
    let [rows, n] = weights.dims();
    assert!(
        t > 0 && gates == 4 * n && rows == 4 * n,
        "weights {:?} for inputs {:?}",
        weights.dims(),
        inputs.dims()
    );
    if has_kernels(&inputs) && has_kernels(&weights) {
        let (x, w) = (inputs.into_dispatch(), weights.into_dispatch());
        return Tensor::from_dispatch(<Dispatch as VideoOps>::lstm(x, w));
    }
    default(inputs, weights, TimeOrder::Forward)
}

/// One direction on other devices: by a kernel of a GPU, or Burn's own operations.
fn default(inputs: Tensor<3>, weights: Tensor<2>, order: TimeOrder) -> Tensor<3> {
    #[cfg(feature = "gpu")]
    if crate::gpu::takes_lstm(&inputs, &weights) {
        return crate::gpu::lstm(inputs, weights, order);
    }
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

/// The recurrences of all directions after they have run on Burn's CPU tensors, with what their gradients need.
#[derive(Clone, Debug)]
pub(super) struct Recurrence {
    shapes: Vec<LstmShape>,
    weights: Vec<FlexTensor>,
    memory: Vec<LstmMemory>,
}

/// `work` for one direction, or for both beside each other: each has its weights in the cache of its thread, and neither
/// waits for the other after every frame.
fn for_directions<T: Send>(num: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    if num == 1 {
        return vec![work(0)];
    }
    let (forward, backward) = rayon::join(|| work(0), || work(1));
    vec![forward, backward]
}

/// Forward, in one direction or two.
pub(super) fn run<const N: usize>(
    inputs: [FlexTensor; N],
    weights: [FlexTensor; N],
) -> (FlexTensor, Recurrence) {
    let (inputs, weights) = (inputs.map(dense), weights.map(dense));
    let [batch, frames, _] = dims::<3>(&inputs[0]);
    let [_, width] = dims::<2>(&weights[0]);
    let shapes: Vec<LstmShape> = DIRECTIONS[..N]
        .iter()
        .map(|&order| LstmShape {
            batch,
            frames,
            width,
            order,
        })
        .collect();
    let sets = Sets::best();
    let memory = for_directions(N, |idx| {
        let (x, w) = (elements(&inputs[idx]), elements(&weights[idx]));
        lstm::forward(sets, &shapes[idx], x, w)
    });
    let states = filled([batch, frames, N * width], |states| {
        for (idx, (shape, memory)) in shapes.iter().zip(&memory).enumerate() {
            memory.states_to(shape, states, N * width, idx * width);
        }
    });
    let recurrence = Recurrence {
        shapes,
        weights: weights.into(),
        memory,
    };
    (states, recurrence)
}

impl Recurrence {
    /// Gradients of the inputs of all directions, then of their recurrent weights.
    pub(super) fn backward(&self, dstates: &FlexTensor) -> Vec<FlexTensor> {
        let dstates = elements(dstates);
        let num = self.shapes.len();
        let run = |idx: usize| {
            let shape = &self.shapes[idx];
            let mut dinputs = None;
            let dweights = filled(dims::<2>(&self.weights[idx]), |dweights| {
                let dims = [shape.batch, shape.frames, 4 * shape.width];
                dinputs = Some(filled(dims, |dinputs| {
                    let weights = elements(&self.weights[idx]);
                    let dstates = lstm::Rows {
                        data: dstates,
                        pitch: num * shape.width,
                        offset: idx * shape.width,
                    };
                    let memory = &self.memory[idx];
                    lstm::backward(
                        Sets::best(),
                        shape,
                        weights,
                        memory,
                        dstates,
                        dinputs,
                        dweights,
                    );
                }));
            });
            (dinputs.expect("filled calls once"), dweights)
        };
        let (mut dinputs, dweights): (Vec<_>, Vec<_>) =
            for_directions(num, run).into_iter().unzip();
        dinputs.extend(dweights);
        dinputs
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
        let inputs =
            [(); 2].map(|()| Tensor::<3>::random([2, 5, 28], random, &device).require_grad());
        let weights =
            [(); 2].map(|()| Tensor::<2>::random([28, 7], random, &device).require_grad());
        let run = |states: Tensor<3>| {
            let gradients = states.clone().powi_scalar(2).sum().backward();
            let flat = |grad: Option<Tensor<1>>| grad.expect("all are tracked");
            let dinputs = inputs.each_ref();
            let dinputs = dinputs.map(|x| flat(x.grad(&gradients).map(|grad| grad.flatten(0, 2))));
            let dweights = weights.each_ref();
            let dweights =
                dweights.map(|w| flat(w.grad(&gradients).map(|grad| grad.flatten(0, 1))));
            let states = states.inner().flatten::<1>(0, 2);
            [vec![states], dinputs.to_vec(), dweights.to_vec()].concat()
        };
        let ours = run(bilstm(inputs.clone(), weights.clone()));
        let burns = run(Tensor::cat(
            (0..2)
                .map(|idx| default(inputs[idx].clone(), weights[idx].clone(), DIRECTIONS[idx]))
                .collect(),
            2,
        ));
        for (which, (ours, burns)) in ours.into_iter().zip(burns).enumerate() {
            let difference = (ours - burns).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-5, "{which}: {difference:.1e}");
        }
    }

    #[test]
    fn one_direction_is_the_forward_half_of_both() {
        let device = Device::flex().autodiff();
        let random = Distribution::Uniform(-1.0, 1.0);
        let x = Tensor::<3>::random([3, 4, 20], random, &device).require_grad();
        let w = Tensor::<2>::random([20, 5], random, &device).require_grad();
        let run = |states: Tensor<3>| {
            let gradients = states.clone().powi_scalar(2).sum().backward();
            let dx = x.grad(&gradients).expect("tracked").flatten::<1>(0, 2);
            let dw = w.grad(&gradients).expect("tracked").flatten::<1>(0, 1);
            [states.inner().flatten::<1>(0, 2), dx, dw]
        };
        let one = run(lstm(x.clone(), w.clone()));
        let both = bilstm(
            [x.clone(), x.clone().detach()],
            [w.clone(), w.clone().detach()],
        );
        let half = run(both.narrow(2, 0, 5));
        for (which, (one, half)) in one.into_iter().zip(half).enumerate() {
            let difference = (one - half).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-6, "{which}: {difference:.1e}");
        }
    }
}
