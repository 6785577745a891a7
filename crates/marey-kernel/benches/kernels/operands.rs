//! Inputs and outputs of one [`Case`], and its passes. The outputs are the same memory at each call, so that no page
//! fault is timed.

use half::f16;
use marey_kernel::Activation;
use marey_kernel::raw::conv::{self, Epilogue, Sets};
use marey_kernel::raw::memory::Buffer;
use marey_kernel::raw::norm::{GradientLine, Pass, PerChannel, statistics};
use marey_kernel::raw::pool::{self, Divisor, Pool3dShape};
use marey_kernel::raw::{Element, reference::noise};

use crate::cases::{Case, Direction, Work};

/// The passes of a case, whatever its activations are stored as.
pub(crate) trait Passes {
    /// One pass.
    ///
    /// # Panics
    /// If the case has no such direction.
    fn run(&mut self, direction: Direction);
}

/// Operands of one geometry. Activations and their gradients are stored as `E`, weights in `f32`.
pub(crate) struct Operands<E: Element> {
    work: Work,
    sets: Sets,
    x: Buffer<E>,
    weights: Buffer,
    dy: Buffer<E>,
    y: Buffer<E>,
    dx: Buffer<E>,
    dw: Buffer,
    /// Of max pooling: where in its window each output is, all places alike often.
    places: Buffer<f16>,
}

impl<E: Element> Operands<E> {
    pub(crate) fn new(case: &Case, sets: Sets) -> Self {
        let [x, weights, y] = match case.work {
            Work::Conv(shape) => [shape.x_len(), shape.weights_len(), shape.y_len()],
            Work::Norm(dims) => [dims.iter().product(), 0, dims.iter().product()],
            Work::MaxPool(dims, options) | Work::AveragePool(dims, options) => {
                let shape = Pool3dShape::new(dims, options);
                [shape.x_len(), 0, shape.y_len()]
            }
        };
        let random = |len: usize, seed| {
            let values: Vec<E> = noise(len, seed).into_iter().map(E::from_f32).collect();
            Buffer::copy_of(&values)
        };
        let num_places = match case.work {
            Work::MaxPool(_, options) => options.kernel.iter().product::<usize>(),
            _ => 1,
        };
        let place = |idx: usize| f16::from_f32((idx % num_places) as f32);
        Self {
            work: case.work,
            sets,
            x: random(x, 1),
            weights: Buffer::copy_of(&noise(weights, 2)),
            dy: random(y, 3),
            y: random(y, 4),
            dx: random(x, 5),
            dw: Buffer::copy_of(&noise(weights, 6)),
            places: Buffer::copy_of(&(0..y).map(place).collect::<Vec<_>>()),
        }
    }
    fn pass(&mut self, direction: Direction) {
        use Direction::{Backward, BackwardData, BackwardWeights, Forward};
        let (sets, isa) = (self.sets, self.sets.isa);
        match (self.work, direction) {
            (Work::Conv(shape), Forward) => {
                let epilogue = Epilogue::default();
                conv::forward(
                    sets,
                    &shape,
                    &self.x,
                    &self.weights[..],
                    epilogue,
                    &mut self.y,
                );
            }
            (Work::Conv(shape), BackwardData) => {
                conv::backward_data(sets, &shape, &self.dy, &self.weights, &mut self.dx);
            }
            (Work::Conv(shape), BackwardWeights) => {
                conv::backward_weights(sets, &shape, &self.x, &self.dy, &mut self.dw);
            }
            (Work::Norm(dims), Forward | Backward) => self.norm(dims[4], direction),
            (Work::MaxPool(dims, options), Forward) => {
                let shape = Pool3dShape::new(dims, options);
                let (y, places) = (&mut self.y, &mut self.places);
                pool::max_forward_with_places(isa, &shape, &self.x, y, places);
            }
            (Work::MaxPool(dims, options), Backward) => {
                let shape = Pool3dShape::new(dims, options);
                let (places, dx) = (&self.places[..], &mut self.dx);
                pool::max_backward(isa, &shape, places, &self.dy, dx);
            }
            (Work::AveragePool(dims, options), Forward) => {
                let shape = Pool3dShape::new(dims, options);
                pool::average_forward(isa, &shape, Divisor::Window, &self.x, &mut self.y);
            }
            (Work::AveragePool(dims, options), Backward) => {
                let shape = Pool3dShape::new(dims, options);
                pool::average_backward(isa, &shape, Divisor::Window, &self.dy, &mut self.dx);
            }
            (work, direction) => panic!("{work:?} has no {direction:?}"),
        }
    }

    /// Batch norm with ReLU: statistics and output, or both backward passes.
    fn norm(&mut self, channels: usize, direction: Direction) {
        let one = PerChannel::new(channels, |_| 1.0);
        let is_forward = direction == Direction::Forward;
        let [mean, shift] = if is_forward {
            statistics(self.sets.isa, &self.x, channels)
        } else {
            [0.1, -0.1].map(|value| PerChannel::new(channels, |_| value))
        };
        let pass = Pass {
            isa: self.sets.isa,
            x: &self.x,
            residual: None,
            scale: &one,
            shift: &shift,
            activation: Activation::Relu,
            channels,
        };
        if is_forward {
            return pass.forward(&mut self.y);
        }
        pass.backward_sums(&self.dy, &mean);
        let line = GradientLine {
            a: one.clone(),
            b: shift.clone(),
            c: one.clone(),
            mean,
        };
        pass.backward_data(&self.dy, &line, &mut self.dx, None);
    }
}

impl<E: Element> Passes for Operands<E> {
    fn run(&mut self, direction: Direction) {
        self.pass(direction);
    }
}
