//! The recurrence of an LSTM on a GPU's tensors.

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::kernels::lstm::{self, Forward};
use super::tensor::{like, with_shape};
use crate::raw::lstm::TimeOrder;

/// States, cells and gates of [`crate::lstm`] in either order.
pub(super) fn forward(
    inputs: CubeTensor,
    weights: CubeTensor,
    order: TimeOrder,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [inputs, weights] = [inputs, weights].map(into_contiguous);
    let [b, t, gates] = inputs.shape().dims();
    let n = gates / 4;
    let Forward {
        states,
        cells,
        gates,
    } = lstm::forward(
        &inputs.client,
        &inputs.handle,
        &weights.handle,
        b,
        t,
        n,
        order == TimeOrder::Backward,
    );
    let [states, cells] =
        [states, cells].map(|handle| with_shape(&inputs, handle, [b, t, n], DType::F32));
    (states, cells, like(&inputs, gates))
}

/// Gradients in the inputs and the weights, from those of the states and from what [`forward`] gave.
pub(super) fn backward(
    dstates: CubeTensor,
    forward: [CubeTensor; 3],
    weights: CubeTensor,
    order: TimeOrder,
) -> (CubeTensor, CubeTensor) {
    let [dstates, weights] = [dstates, weights].map(into_contiguous);
    let forward = forward.map(into_contiguous);
    let [b, t, n] = dstates.shape().dims();
    let [states, cells, gates] = &forward;
    let memory = Forward {
        states: states.handle.clone(),
        cells: cells.handle.clone(),
        gates: gates.handle.clone(),
    };
    let (client, is_reverse) = (&dstates.client, order == TimeOrder::Backward);
    let (dstates, kernels) = (&dstates.handle, &weights.handle);
    let dgates = lstm::backward(client, dstates, &memory, kernels, b, t, n, is_reverse);
    let dweights = lstm::backward_weights(client, &dgates, &memory.states, b, t, n, is_reverse);
    (like(gates, dgates), like(&weights, dweights))
}
