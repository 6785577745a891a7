//! Batch normalisation on Burn's CPU tensors.

use burn::backend::TensorMetadata;
use burn_flex::FlexTensor;

use super::super::element::{Stored, elements_of, filled_with, with_element};
use super::super::flex::{dense, dims};
use super::NormOptions;
use crate::raw::norm::{GradientLine, Pass, PerChannel, statistics};
use crate::raw::{Activation, Isa};

/// An input with all that its normalisation, forward and backward, needs.
#[derive(Clone, Debug)]
pub(in super::super) struct Normalized {
    x: FlexTensor,
    residual: Option<FlexTensor>,
    scale: PerChannel,
    shift: PerChannel,
    mean: PerChannel,
    variance: PerChannel,
    /// One over the standard deviation.
    rstd: PerChannel,
    activation: Activation,
    origin: Origin,
}

/// Where the statistics came from, which decides whether x has a gradient by way of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Batch,
    Given,
}

impl Normalized {
    /// By the statistics of x itself.
    pub(in super::super) fn by_batch(
        x: FlexTensor,
        residual: FlexTensor,
        gamma: &FlexTensor,
        beta: &FlexTensor,
        options: NormOptions,
    ) -> Self {
        let x = dense(x);
        let [.., channels] = dims::<5>(&x);
        let statistics = with_element!(x.dtype(), E => {
            statistics::<E>(Isa::best(), elements_of(&x), channels)
        });
        Self::new(
            x,
            residual,
            [gamma, beta],
            statistics,
            Origin::Batch,
            options,
        )
    }

    /// By given mean and variance.
    pub(in super::super) fn by_statistics(
        x: FlexTensor,
        residual: FlexTensor,
        affine: [&FlexTensor; 2],
        statistics: [&FlexTensor; 2],
        options: NormOptions,
    ) -> Self {
        let statistics = statistics
            .map(elements_of::<f32>)
            .map(|s| PerChannel::new(s.len(), |c| s[c]));
        Self::new(
            dense(x),
            residual,
            affine,
            statistics,
            Origin::Given,
            options,
        )
    }

    fn new(
        x: FlexTensor,
        residual: FlexTensor,
        affine: [&FlexTensor; 2],
        [mean, variance]: [PerChannel; 2],
        origin: Origin,
        options: NormOptions,
    ) -> Self {
        let [gamma, beta] = affine.map(elements_of::<f32>);
        let channels = gamma.len();
        let rstd = PerChannel::new(channels, |c| {
            (f64::from(variance.get(c)) + options.epsilon)
                .sqrt()
                .recip() as f32
        });
        let scale = PerChannel::new(channels, |c| gamma[c] * rstd.get(c));
        let shift = PerChannel::new(channels, |c| beta[c] - mean.get(c) * scale.get(c));
        let residual = (residual.shape().num_elements() > 0).then(|| dense(residual));
        let activation = options.activation;
        Self {
            x,
            residual,
            scale,
            shift,
            mean,
            variance,
            rstd,
            activation,
            origin,
        }
    }

    fn num_channels(&self) -> usize {
        let [.., channels] = dims::<5>(&self.x);
        channels
    }

    /// What the passes over x work with; `E` is its type.
    fn pass<E: Stored>(&self) -> Pass<'_, E> {
        Pass {
            isa: Isa::best(),
            x: elements_of(&self.x),
            residual: self.residual.as_ref().map(elements_of),
            scale: &self.scale,
            shift: &self.shift,
            activation: self.activation,
            channels: self.num_channels(),
        }
    }

    /// The normalised tensor.
    pub(in super::super) fn output(&self) -> FlexTensor {
        with_element!(self.x.dtype(), E => {
            filled_with::<E, 5>(dims(&self.x), |y| self.pass().forward(y))
        })
    }

    /// Mean and biased variance as tensors.
    pub(in super::super) fn statistics(&self) -> [FlexTensor; 2] {
        [&self.mean, &self.variance]
            .map(|values| per_channel(self.num_channels(), |c| values.get(c)))
    }

    /// Gradients of x, residual, gamma and beta.
    pub(in super::super) fn backward(
        &self,
        dy: &FlexTensor,
        wants_residual: bool,
    ) -> [Option<FlexTensor>; 4] {
        with_element!(self.x.dtype(), E => self.backward_of::<E>(dy, wants_residual))
    }

    fn backward_of<E: Stored>(
        &self,
        dy: &FlexTensor,
        wants_residual: bool,
    ) -> [Option<FlexTensor>; 4] {
        let dy = elements_of::<E>(dy);
        let (pass, channels) = (self.pass(), self.num_channels());
        let rows = (pass.x.len() / channels) as f64;
        let [sums, products] = pass.backward_sums(dy, &self.mean);
        let dgamma = |c: usize| products[c] * f64::from(self.rstd.get(c));
        // By way of the batch's statistics, the mean and the trend of g take part in dx.
        let share = |c: usize| match self.origin {
            Origin::Batch => -f64::from(self.scale.get(c)) / rows,
            Origin::Given => 0.0,
        };
        let line = GradientLine {
            a: self.scale.clone(),
            b: PerChannel::new(channels, |c| (share(c) * sums[c]) as f32),
            c: PerChannel::new(channels, |c| {
                (share(c) * dgamma(c) * f64::from(self.rstd.get(c))) as f32
            }),
            mean: self.mean.clone(),
        };
        let mut dresidual = None;
        let dx = filled_with::<E, 5>(dims(&self.x), |dx| {
            if wants_residual {
                dresidual = Some(filled_with::<E, 5>(dims(&self.x), |dresidual| {
                    pass.backward_data(dy, &line, dx, Some(dresidual));
                }));
            } else {
                pass.backward_data(dy, &line, dx, None);
            }
        });
        [
            Some(dx),
            dresidual,
            Some(per_channel(channels, |c| dgamma(c) as f32)),
            Some(per_channel(channels, |c| sums[c] as f32)),
        ]
    }
}

/// A tensor of a number a channel.
fn per_channel(channels: usize, value: impl Fn(usize) -> f32) -> FlexTensor {
    filled_with([channels], |to: &mut [f32]| {
        to.iter_mut().enumerate().for_each(|(c, to)| *to = value(c))
    })
}
