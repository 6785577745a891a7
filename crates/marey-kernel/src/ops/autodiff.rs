//! Gradients of the operations on Burn's CPU device.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend};
use burn::tensor::DType;
use burn_flex::{Flex, FlexTensor};

use super::VideoOps;
use super::conv::FusedOptions;
use super::flex::{self, dense, dims};
use super::lstm::Recurrence;
use super::norm::NormOptions;
use super::norm::flex::Normalized;
use super::{fork, lstm, pool, scale};
use crate::raw::lstm::TimeOrder;
use crate::raw::pool::{Divisor, Pool3dOptions};
use crate::raw::{Conv3dOptions, Conv3dShape};

impl<C: CheckpointStrategy> VideoOps for Autodiff<Flex, C> {
    fn conv3d(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        options: Conv3dOptions,
    ) -> FloatTensor<Self> {
        let prepared = Conv3dBackward
            .prepare::<C>([x.node(), weights.node()])
            .compute_bound();
        let (x, weights) = (dense(x.into_primitive()), dense(weights.into_primitive()));
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => {
                let y = Flex::conv3d(x.clone(), weights.clone(), options);
                prepared.finish((x, weights, options), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(Flex::conv3d(x, weights, options)),
        }
    }

    fn conv3d_fused(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FusedOptions,
    ) -> FloatTensor<Self> {
        unreachable!("the public function composes a differentiable one")
    }

    fn batch_norm_train(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [x.node(), residual.node(), gamma.node(), beta.node()];
        let prepared = NormBackward.prepare::<C>(nodes).compute_bound();
        let affine = [dense(gamma.into_primitive()), dense(beta.into_primitive())];
        let (x, residual) = (x.into_primitive(), residual.into_primitive());
        let normalized = Normalized::by_batch(x, residual, &affine[0], &affine[1], options);
        let [mean, variance] = normalized.statistics().map(Self::from_inner);
        (finish_norm(prepared.stateful(), normalized), mean, variance)
    }

    fn batch_norm_frozen(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        options: NormOptions,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), residual.node(), gamma.node(), beta.node()];
        let prepared = NormBackward.prepare::<C>(nodes).compute_bound();
        let [gamma, beta, mean, variance] =
            [gamma, beta, mean, variance].map(|tensor| dense(tensor.into_primitive()));
        let normalized = Normalized::by_statistics(
            x.into_primitive(),
            residual.into_primitive(),
            [&gamma, &beta],
            [&mean, &variance],
            options,
        );
        finish_norm(prepared.stateful(), normalized)
    }

    fn max_pool3d(x: FloatTensor<Self>, options: Pool3dOptions) -> FloatTensor<Self> {
        let prepared = MaxPoolBackward.prepare::<C>([x.node()]).compute_bound();
        let x = x.into_primitive();
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => {
                let x_dims = dims(&x);
                let [y, places] = pool::flex::max_pool3d_with_places(x, options);
                prepared.finish((x_dims, places, options), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(Flex::max_pool3d(x, options)),
        }
    }

    fn avg_pool3d(
        x: FloatTensor<Self>,
        options: Pool3dOptions,
        divisor: Divisor,
    ) -> FloatTensor<Self> {
        let prepared = AvgPoolBackward.prepare::<C>([x.node()]).compute_bound();
        let x = x.into_primitive();
        let x_dims = dims(&x);
        let y = Flex::avg_pool3d(x, options, divisor);
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((x_dims, options, divisor), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn global_average(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = GlobalAverageBackward
            .prepare::<C>([x.node()])
            .compute_bound();
        let x = x.into_primitive();
        let (x_dims, dtype) = (dims(&x), x.dtype());
        let y = Flex::global_average(x);
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((x_dims, dtype), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn bilstm(
        inputs: FloatTensor<Self>,
        inputs_back: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        weights_back: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let all = [&inputs, &inputs_back, &weights, &weights_back].map(|tensor| tensor.node());
        let prepared = LstmBackward.prepare::<C>(all).compute_bound();
        let (states, recurrence) = lstm::run(
            [inputs.into_primitive(), inputs_back.into_primitive()],
            [weights.into_primitive(), weights_back.into_primitive()],
        );
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(recurrence, states),
            OpsKind::UnTracked(prepared) => prepared.finish(states),
        }
    }

    fn lstm(inputs: FloatTensor<Self>, weights: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = LstmBackward
            .prepare::<C>([inputs.node(), weights.node()])
            .compute_bound();
        let (states, recurrence) = lstm::run([inputs.into_primitive()], [weights.into_primitive()]);
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(recurrence, states),
            OpsKind::UnTracked(prepared) => prepared.finish(states),
        }
    }

    fn channel_scale(x: FloatTensor<Self>, scale: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [x.node(), scale.node()];
        let prepared = ScaleBackward.prepare::<C>(nodes).compute_bound();
        let (x, scale) = (dense(x.into_primitive()), dense(scale.into_primitive()));
        let y = Flex::channel_scale(x.clone(), scale.clone());
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((x, scale), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn temporal_shift(x: FloatTensor<Self>, fold: usize, order: TimeOrder) -> FloatTensor<Self> {
        let prepared = ShiftBackward.prepare::<C>([x.node()]).compute_bound();
        let y = Flex::temporal_shift(x.into_primitive(), fold, order);
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((fold, order), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn fork(x: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let prepared = ForkBackward.prepare::<C>([x.node()]).compute_bound();
        let x = x.into_primitive();
        let aside = Aside::default();
        let branch = match prepared.stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(aside.clone(), x.clone()),
            OpsKind::UnTracked(prepared) => prepared.finish(x.clone()),
        };
        let prepared = WayRoundBackward.prepare::<C>([branch.node()]);
        let way_round = match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(aside, x),
            OpsKind::UnTracked(prepared) => prepared.finish(x),
        };
        (branch, way_round)
    }
}

/// Keeps what the backward pass needs, if there will be one.
fn finish_norm<C: CheckpointStrategy>(
    kind: OpsKind<NormBackward, Flex, Normalized, C, 4>,
    normalized: Normalized,
) -> FloatTensor<Autodiff<Flex, C>> {
    let y = normalized.output();
    match kind {
        OpsKind::Tracked(prepared) => prepared.finish(normalized, y),
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    }
}

/// Gradient of the batch norms in x, residual, gamma and beta.
#[derive(Debug)]
struct NormBackward;

impl Backward<Flex, 4> for NormBackward {
    type State = Normalized;

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = dense(grads.consume::<Flex>(&ops.node));
        let wants_residual = ops.parents[1].is_some();
        let gradients = ops.state.backward(&dy, wants_residual);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

/// Gradient of [`VideoOps::max_pool3d`].
#[derive(Debug)]
struct MaxPoolBackward;

impl Backward<Flex, 1> for MaxPoolBackward {
    /// Dimensions of x, and the place of each output in its window.
    type State = ([usize; 5], FlexTensor, Pool3dOptions);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = dense(grads.consume::<Flex>(&ops.node));
        let ([node], (x_dims, places, options)) = (ops.parents, ops.state);
        if let Some(node) = node {
            let dx = pool::flex::max_pool3d_backward(x_dims, &places, &dy, options);
            grads.register::<Flex>(node.id, dx);
        }
    }
}

/// Gradient of [`VideoOps::avg_pool3d`].
#[derive(Debug)]
struct AvgPoolBackward;

impl Backward<Flex, 1> for AvgPoolBackward {
    type State = ([usize; 5], Pool3dOptions, Divisor);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = dense(grads.consume::<Flex>(&ops.node));
        let ([node], (x_dims, options, divisor)) = (ops.parents, ops.state);
        if let Some(node) = node {
            let dx = pool::flex::avg_pool3d_backward(x_dims, &dy, options, divisor);
            grads.register::<Flex>(node.id, dx);
        }
    }
}

/// Gradient of [`VideoOps::global_average`].
#[derive(Debug)]
struct GlobalAverageBackward;

impl Backward<Flex, 1> for GlobalAverageBackward {
    /// Dimensions and type of x.
    type State = ([usize; 5], DType);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = dense(grads.consume::<Flex>(&ops.node));
        let ([node], (x_dims, dtype)) = (ops.parents, ops.state);
        if let Some(node) = node {
            let dx = pool::flex::global_average_backward(x_dims, dtype, &dy);
            grads.register::<Flex>(node.id, dx);
        }
    }
}

/// Gradient of [`VideoOps::channel_scale`] in x and the factors.
#[derive(Debug)]
struct ScaleBackward;

impl Backward<Flex, 2> for ScaleBackward {
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = dense(grads.consume::<Flex>(&ops.node));
        let (x, scale) = ops.state;
        let gradients = scale::backward(&x, &scale, &dy);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

/// Gradient of [`VideoOps::conv3d`] in x and the weights.
#[derive(Debug)]
struct Conv3dBackward;

impl Backward<Flex, 2> for Conv3dBackward {
    type State = (FlexTensor, FlexTensor, Conv3dOptions);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weights_node] = ops.parents;
        let dy = dense(grads.consume::<Flex>(&ops.node));
        let (x, weights, options) = ops.state;
        let shape = Conv3dShape::new(dims(&x), dims(&weights), options);
        if let Some(node) = x_node {
            let dx = flex::conv3d_backward_data(&dy, &weights, &shape);
            grads.register::<Flex>(node.id, dx);
        }
        if let Some(node) = weights_node {
            let dw = flex::conv3d_backward_weights(&x, &dy, &shape);
            grads.register::<Flex>(node.id, dw);
        }
    }
}

/// Gradient of [`VideoOps::bilstm`] and [`VideoOps::lstm`] in the inputs and the recurrent weights: with two parents for
/// each direction, all inputs before all weights.
#[derive(Debug)]
struct LstmBackward;

impl<const N: usize> Backward<Flex, N> for LstmBackward {
    type State = Recurrence;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dstates = dense(grads.consume::<Flex>(&ops.node));
        let gradients = ops.state.backward(&dstates);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

/// Gradient of [`VideoOps::temporal_shift`]: the shift the other way round.
#[derive(Debug)]
struct ShiftBackward;

impl Backward<Flex, 1> for ShiftBackward {
    type State = (usize, TimeOrder);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let (fold, order) = ops.state;
        let [parent] = ops.parents;
        if let Some(node) = parent {
            let dx = Flex::temporal_shift(dy, fold, order.reversed());
            grads.register::<Flex>(node.id, dx);
        }
    }
}

/// A gradient on its way from [`WayRoundBackward`] to [`ForkBackward`].
type Aside = Arc<Mutex<Option<FlexTensor>>>;

/// Gradient of the second tensor of [`VideoOps::fork`]: puts it aside. In the graph the tensor comes from the first one, so
/// that its gradient is there when that of the first passes on.
#[derive(Debug)]
struct WayRoundBackward;

impl Backward<Flex, 1> for WayRoundBackward {
    type State = Aside;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        *ops.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(dy);
    }
}

/// Gradient of [`VideoOps::fork`]: that of the first tensor, and what was put aside.
#[derive(Debug)]
struct ForkBackward;

impl Backward<Flex, 1> for ForkBackward {
    type State = Aside;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let mut aside = ops.state.lock().unwrap_or_else(PoisonError::into_inner);
        let dx = match aside.take() {
            Some(other) => fork::joined(dy, other),
            None => dy,
        };
        let [parent] = ops.parents;
        if let Some(node) = parent {
            grads.register::<Flex>(node.id, dx);
        }
    }
}
