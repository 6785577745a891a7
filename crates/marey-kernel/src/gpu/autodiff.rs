//! Gradients of the operations on a GPU.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, AutodiffBackend, TensorMetadata};
use burn::tensor::{DType, Shape};
use burn_cubecl::Cube;

use super::conv::as_type;
use super::ops::{GpuOps, GpuPlainOps};
use crate::ops::norm::NormOptions;
use crate::raw::Conv3dOptions;
use crate::raw::lstm::TimeOrder;
use crate::raw::pool::Pool3dOptions;

impl<C: CheckpointStrategy> GpuOps for Autodiff<Cube, C> {
    fn gpu_conv3d(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        options: Conv3dOptions,
    ) -> FloatTensor<Self> {
        let prepared = ConvBackward
            .prepare::<C>([x.node(), weights.node()])
            .compute_bound();
        let (x, weights) = (x.into_primitive(), weights.into_primitive());
        let dtype = weights.dtype();
        // Once for both passes.
        let weights = as_type(weights, x.dtype());
        let y = Cube::gpu_conv3d(x.clone(), weights.clone(), options);
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((x, weights, dtype, options), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn gpu_batch_norm_train(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        options: NormOptions,
        has_residual: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [x.node(), residual.node(), gamma.node(), beta.node()];
        let prepared = NormBackward.prepare::<C>(nodes).compute_bound();
        let operands = [x, residual, gamma, beta].map(|tensor| tensor.into_primitive());
        let [x, residual, gamma, beta] = operands.clone();
        let (y, mean, variance) =
            Cube::gpu_batch_norm_train(x, residual, gamma, beta, options, has_residual);
        let state = NormState {
            operands,
            statistics: [mean.clone(), variance.clone()],
            options,
            has_residual,
            by_batch: true,
        };
        let y = match prepared.stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(state, y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        };
        (y, Self::from_inner(mean), Self::from_inner(variance))
    }

    fn gpu_batch_norm_frozen(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        options: NormOptions,
        has_residual: bool,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), residual.node(), gamma.node(), beta.node()];
        let prepared = NormBackward.prepare::<C>(nodes).compute_bound();
        let operands = [x, residual, gamma, beta].map(|tensor| tensor.into_primitive());
        let statistics = [mean, variance].map(|tensor| tensor.into_primitive());
        let [x, residual, gamma, beta] = operands.clone();
        let [mean, variance] = statistics.clone();
        let y = Cube::gpu_batch_norm_frozen(
            x,
            residual,
            gamma,
            beta,
            mean,
            variance,
            options,
            has_residual,
        );
        let state = NormState {
            operands,
            statistics,
            options,
            has_residual,
            by_batch: false,
        };
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(state, y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }
    fn gpu_max_pool3d(x: FloatTensor<Self>, options: Pool3dOptions) -> FloatTensor<Self> {
        let prepared = MaxPoolBackward.prepare::<C>([x.node()]).compute_bound();
        let x = x.into_primitive();
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => {
                let x_dims = x.shape().dims();
                let (y, places) = Cube::gpu_max_pool3d_with_places(x, options);
                prepared.finish((x_dims, places, options), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(Cube::gpu_max_pool3d(x, options)),
        }
    }

    fn gpu_global_average(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = GlobalAverageBackward
            .prepare::<C>([x.node()])
            .compute_bound();
        let x = x.into_primitive();
        let x_dims = x.shape().dims();
        let y = Cube::gpu_global_average(x);
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(x_dims, y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn gpu_lstm(
        inputs: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        order: TimeOrder,
    ) -> FloatTensor<Self> {
        let prepared = LstmBackward
            .prepare::<C>([inputs.node(), weights.node()])
            .compute_bound();
        let (inputs, weights) = (inputs.into_primitive(), weights.into_primitive());
        let (states, cells, gates) = Cube::gpu_lstm_with_gates(inputs, weights.clone(), order);
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => {
                let memory = [states.clone(), cells, gates];
                prepared.finish((memory, weights, order), states)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(states),
        }
    }
}

/// Gradient of [`GpuOps::gpu_max_pool3d`].
#[derive(Debug)]
struct MaxPoolBackward;

impl Backward<Cube, 1> for MaxPoolBackward {
    /// Dimensions of x, and the pixel that each output is from.
    type State = ([usize; 5], IntTensor<Cube>, Pool3dOptions);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Cube>(&ops.node);
        let ([node], (x_dims, places, options)) = (ops.parents, ops.state);
        if let Some(node) = node {
            let dx = Cube::gpu_max_pool3d_backward(dy, places, x_dims, options);
            grads.register::<Cube>(node.id, dx);
        }
    }
}

/// Gradient of [`GpuOps::gpu_global_average`].
#[derive(Debug)]
struct GlobalAverageBackward;

impl Backward<Cube, 1> for GlobalAverageBackward {
    /// Dimensions of x.
    type State = [usize; 5];

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Cube>(&ops.node);
        let ([node], [b, t, h, w, c]) = (ops.parents, ops.state);
        if let Some(node) = node {
            let share = Cube::float_mul_scalar(dy, (1.0 / (t * h * w) as f32).into());
            let share = Cube::float_reshape(share, Shape::from([b, 1, 1, 1, c]));
            let dx = Cube::float_expand(share, Shape::from([b, t, h, w, c]));
            grads.register::<Cube>(node.id, dx);
        }
    }
}

/// Gradient of [`GpuOps::gpu_lstm`] in the inputs and the weights.
#[derive(Debug)]
struct LstmBackward;

impl Backward<Cube, 2> for LstmBackward {
    /// States, cells and gates; weights.
    type State = ([FloatTensor<Cube>; 3], FloatTensor<Cube>, TimeOrder);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dstates = grads.consume::<Cube>(&ops.node);
        let ([states, cells, gates], weights, order) = ops.state;
        let (dinputs, dweights) =
            Cube::gpu_lstm_backward(dstates, states, cells, gates, weights, order);
        for (node, gradient) in ops.parents.into_iter().zip([dinputs, dweights]) {
            if let Some(node) = node {
                grads.register::<Cube>(node.id, gradient);
            }
        }
    }
}

/// Gradient of [`GpuOps::gpu_conv3d`] in x and the weights.
#[derive(Debug)]
struct ConvBackward;

impl Backward<Cube, 2> for ConvBackward {
    /// x, the weights in its type, the type that they had.
    type State = (FloatTensor<Cube>, FloatTensor<Cube>, DType, Conv3dOptions);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weights_node] = ops.parents;
        let dy = grads.consume::<Cube>(&ops.node);
        let (x, weights, dtype, options) = ops.state;
        let weights_dims = weights.shape().dims();
        if let Some(node) = x_node {
            let x_dims = x.shape().dims();
            let dx = Cube::gpu_conv3d_backward_data(dy.clone(), weights, x_dims, options);
            grads.register::<Cube>(node.id, dx);
        }
        if let Some(node) = weights_node {
            let dw = Cube::gpu_conv3d_backward_weights(x, dy, weights_dims, options);
            grads.register::<Cube>(node.id, as_type(dw, dtype));
        }
    }
}

/// What the gradient of a norm needs.
#[derive(Clone, Debug)]
struct NormState {
    /// x, residual, gamma, beta.
    operands: [FloatTensor<Cube>; 4],
    /// Mean and variance.
    statistics: [FloatTensor<Cube>; 2],
    options: NormOptions,
    has_residual: bool,
    by_batch: bool,
}

/// Gradient of the batch norms in x, residual, gamma and beta.
#[derive(Debug)]
struct NormBackward;

impl Backward<Cube, 4> for NormBackward {
    type State = NormState;

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Cube>(&ops.node);
        let NormState {
            operands: [x, residual, gamma, beta],
            statistics: [mean, variance],
            options,
            has_residual,
            by_batch,
        } = ops.state;
        let how = [has_residual, by_batch];
        let (dx, dresidual, dgamma, dbeta) =
            Cube::gpu_norm_backward(dy, x, residual, gamma, beta, mean, variance, options, how);
        let gradients = [dx, dresidual, dgamma, dbeta];
        let is_wanted = [true, has_residual, true, true];
        for ((node, gradient), is_wanted) in ops.parents.into_iter().zip(gradients).zip(is_wanted) {
            if let (Some(node), true) = (node, is_wanted) {
                grads.register::<Cube>(node.id, gradient);
            }
        }
    }
}
