//! Batch normalisation of channels-last tensors, with an optional residual and activation in the
//! same pass: `y = activation(x * scale + shift + residual)`, a scale and shift for each channel.
//!
//! Whatever the statistics are (those of the batch, or running ones), they come down to a scale and
//! a shift; the backward pass likewise comes down to `dx = a * g + b + c * (x - mean)`, where `g` is
//! the gradient behind the activation. The activation's input is computed again instead of kept.
//!
//! Tensors are in any type; scales, shifts, statistics and sums are `f32` or wider.

mod jobs;
mod statistics;

use std::ops::Range;

use super::activation::Activation;
use super::element::Element;
use super::parallel::{Shared, for_each_task};
use super::simd::{Isa, MAX_LANES, Vector};

use jobs::{Data, Forward, Sums};
pub use statistics::statistics;
use statistics::{SUM_ROWS, parallel_sums};

/// Floats that a task of an element-wise pass works on: large enough to be worth handing out.
const TASK_LEN: usize = 32 << 10;

/// A number for each channel, zeros after the last up to whole vectors of any width.
#[derive(Clone, Debug)]
pub struct PerChannel(Vec<f32>);

impl PerChannel {
    /// Takes `value(channel)` for each of `channels`.
    pub fn new(channels: usize, value: impl FnMut(usize) -> f32) -> Self {
        let mut values: Vec<f32> = (0..channels).map(value).collect();
        values.resize(channels.next_multiple_of(MAX_LANES), 0.0);
        Self(values)
    }

    /// The number of `channel`.
    pub fn get(&self, channel: usize) -> f32 {
        self.0[channel]
    }

    fn at(&self, channel: usize) -> *const f32 {
        self.0[channel..].as_ptr()
    }
}

/// What the forward and backward passes have in common.
#[derive(Clone, Copy)]
pub struct Pass<'a, E> {
    /// Instruction set.
    pub isa: Isa,
    /// Input, whole rows of channels.
    pub x: &'a [E],
    /// Added before the activation; as long as x.
    pub residual: Option<&'a [E]>,
    /// Factor of each channel.
    pub scale: &'a PerChannel,
    /// Summand of each channel.
    pub shift: &'a PerChannel,
    /// Applied last.
    pub activation: Activation,
    /// Channels of a row.
    pub channels: usize,
}

impl<E: Element> Pass<'_, E> {
    /// `y = activation(x * scale + shift + residual)`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn forward(&self, y: &mut [E]) {
        self.check(y.len());
        self.for_each_range(
            |range, y| {
                // SAFETY: the set is available; the range is whole rows inside x and y, this task's.
                unsafe {
                    self.isa.run(Forward {
                        pass: self,
                        range,
                        y,
                    })
                }
            },
            Shared::new(y),
        );
    }

    /// Sums over all rows of `g` and of `g * (x - mean)`, where `g = dy * activation'`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn backward_sums(&self, dy: &[E], mean: &PerChannel) -> [Vec<f64>; 2] {
        self.check(dy.len());
        let channels = self.channels;
        let parts = parallel_sums(self.x.len() / channels, channels, |rows, totals| {
            for first in rows.clone().step_by(SUM_ROWS) {
                let block = first..rows.end.min(first + SUM_ROWS);
                let padded = channels.next_multiple_of(MAX_LANES);
                let mut sums = vec![0.0f32; 2 * padded];
                // SAFETY: the set is available; the rows lie inside x and dy, and sums is padded.
                unsafe {
                    self.isa.run(Sums {
                        pass: self,
                        rows: block,
                        dy,
                        mean,
                        sums: &mut sums,
                    })
                };
                for channel in 0..channels {
                    totals[2 * channel] += f64::from(sums[channel]);
                    totals[2 * channel + 1] += f64::from(sums[padded + channel]);
                }
            }
        });
        let total = |which: usize| {
            let sum = |channel: usize| {
                parts
                    .iter()
                    .map(|(_, part)| part[2 * channel + which])
                    .sum()
            };
            (0..channels).map(sum).collect()
        };
        [total(0), total(1)]
    }

    /// `dx = a * g + b + c * (x - mean)`, and `dresidual = g`, where `g = dy * activation'`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn backward_data(
        &self,
        dy: &[E],
        line: &GradientLine,
        dx: &mut [E],
        dresidual: Option<&mut [E]>,
    ) {
        self.check(dy.len());
        self.check(dx.len());
        assert!(
            dresidual
                .as_ref()
                .is_none_or(|slice| slice.len() == dx.len()),
            "as long as dx"
        );
        let dresidual = dresidual.map(Shared::new);
        self.for_each_range(
            |range, dx| {
                let job = Data {
                    pass: self,
                    range,
                    dy,
                    line,
                    dx,
                    dresidual: dresidual.map(|s| s.get()),
                };
                // SAFETY: the set is available; the range is whole rows, this task's.
                unsafe { self.isa.run(job) }
            },
            Shared::new(dx),
        );
    }

    fn check(&self, len: usize) {
        let residual_fits = self.residual.is_none_or(|residual| residual.len() == len);
        assert!(
            self.x.len() == len && residual_fits,
            "all tensors are {} long",
            self.x.len()
        );
        assert!(
            len.is_multiple_of(self.channels),
            "rows of {} channels",
            self.channels
        );
    }

    /// Calls `work` in parallel with ranges of whole rows, and the output's start.
    fn for_each_range(&self, work: impl Fn(Range<usize>, *mut E) + Sync, output: Shared<E>) {
        let (len, channels) = (self.x.len(), self.channels);
        let each = (TASK_LEN / channels).max(1) * channels;
        for_each_task(len.div_ceil(each), |task| {
            work(task * each..len.min((task + 1) * each), output.get());
        });
    }

    /// The activation's input.
    ///
    /// # Safety
    /// `len` elements are inside x at `at`, which is in `channel`.
    #[inline(always)]
    unsafe fn before_activation<V: Vector>(&self, at: usize, channel: usize, len: usize) -> V {
        // SAFETY: the contract; scale and shift are padded to whole vectors.
        unsafe {
            let x = E::load_part::<V>(self.x.as_ptr().add(at), len);
            let scale = V::load(self.scale.at(channel));
            let value = x.mul_add(scale, V::load(self.shift.at(channel)));
            match self.residual {
                Some(residual) => value.add(E::load_part::<V>(residual.as_ptr().add(at), len)),
                None => value,
            }
        }
    }

    /// The gradient behind the activation, which is given again so that it may be a constant.
    ///
    /// # Safety
    /// As [`Pass::before_activation`], and for dy.
    #[inline(always)]
    unsafe fn gradient<V: Vector>(
        &self,
        activation: Activation,
        dy: &[E],
        [at, channel, len]: [usize; 3],
    ) -> V {
        // SAFETY: the contract.
        unsafe {
            let dy = E::load_part::<V>(dy.as_ptr().add(at), len);
            if activation == Activation::Identity {
                return dy;
            }
            activation.backward(self.before_activation::<V>(at, channel, len), dy)
        }
    }
}

/// Coefficients of [`Pass::backward_data`], a number a channel each.
#[derive(Clone, Debug)]
pub struct GradientLine {
    /// Factor of the gradient.
    pub a: PerChannel,
    /// Constant.
    pub b: PerChannel,
    /// Factor of the distance from the mean.
    pub c: PerChannel,
    /// Mean.
    pub mean: PerChannel,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use half::{bf16, f16};

    use super::super::reference::{noise, relative_error, rounded, rounding_error, widened};
    use super::*;

    const EPSILON: f64 = 1e-5;

    /// Batch norm of the reference: y as a function of everything, in f64.
    fn reference(
        x: &[f64],
        residual: &[f64],
        gamma: &[f64],
        beta: &[f64],
        act: Activation,
    ) -> Vec<f64> {
        let channels = gamma.len();
        let rows = (x.len() / channels) as f64;
        let mut y = vec![0.0; x.len()];
        for c in 0..channels {
            let column = || x.iter().skip(c).step_by(channels);
            let mean = column().sum::<f64>() / rows;
            let variance = column().map(|v| (v - mean).powi(2)).sum::<f64>() / rows;
            for (row, v) in column().enumerate() {
                let at = row * channels + c;
                let norm = (v - mean) / (variance + EPSILON).sqrt() * gamma[c] + beta[c];
                y[at] = act.of(norm + residual[at]);
            }
        }
        y
    }

    /// y and the gradients of x, residual, gamma and beta of `sum(y * dy)`.
    fn ours<E: Element>(isa: Isa, data: &[Vec<f32>], act: Activation) -> [Vec<f32>; 5] {
        let [x, residual, gamma, beta, dy] = data else {
            unreachable!("five tensors")
        };
        let [x, residual, dy]: [Vec<E>; 3] = [x, residual, dy].map(|values| rounded(values));
        let (x, dy) = (&x[..], &dy[..]);
        let channels = gamma.len();
        let rows = (x.len() / channels) as f32;
        let [mean, variance] = statistics(isa, x, channels);
        let rstd = PerChannel::new(channels, |c| {
            (variance.get(c) + EPSILON as f32).sqrt().recip()
        });
        let scale = PerChannel::new(channels, |c| gamma[c] * rstd.get(c));
        let shift = PerChannel::new(channels, |c| beta[c] - mean.get(c) * scale.get(c));
        let residual = Some(&residual[..]);
        let pass = Pass {
            isa,
            x,
            residual,
            scale: &scale,
            shift: &shift,
            activation: act,
            channels,
        };
        let fresh = || vec![E::from_f32(f32::NAN); x.len()];
        let (mut y, mut dx, mut dresidual) = (fresh(), fresh(), fresh());
        pass.forward(&mut y);
        let [sums, products] = pass.backward_sums(dy, &mean);
        let dgamma: Vec<f32> = (0..channels)
            .map(|c| products[c] as f32 * rstd.get(c))
            .collect();
        let dbeta: Vec<f32> = sums.iter().map(|sum| *sum as f32).collect();
        let line = GradientLine {
            b: PerChannel::new(channels, |c| -scale.get(c) * dbeta[c] / rows),
            c: PerChannel::new(channels, |c| -scale.get(c) * rstd.get(c) * dgamma[c] / rows),
            a: scale.clone(),
            mean,
        };
        pass.backward_data(dy, &line, &mut dx, Some(&mut dresidual));
        let [y, dx, dresidual] = [y, dx, dresidual].map(|values| widened(&values));
        [y, dx, dresidual, dgamma, dbeta]
    }

    fn check(rows: usize, channels: usize, activation: Activation) {
        check_type::<f32>(rows, channels, activation);
        check_type::<bf16>(rows, channels, activation);
        check_type::<f16>(rows, channels, activation);
    }

    fn check_type<E: Element>(rows: usize, channels: usize, activation: Activation) {
        let len = rows * channels;
        let sizes = [len, len, channels, channels, len];
        let data: Vec<Vec<f32>> = sizes
            .iter()
            .zip(1..)
            .map(|(n, seed)| (*n == len, noise(*n, seed)))
            // The reference sees what the type can hold.
            .map(|(is_stored, v)| {
                if is_stored {
                    widened(&rounded::<E>(&v))
                } else {
                    v
                }
            })
            .collect();
        let wide: Vec<Vec<f64>> = data
            .iter()
            .map(|v| v.iter().map(|v| f64::from(*v)).collect())
            .collect();
        let loss = |wide: &[Vec<f64>]| {
            let y = reference(&wide[0], &wide[1], &wide[2], &wide[3], activation);
            y.iter().zip(&wide[4]).map(|(y, dy)| y * dy).sum::<f64>()
        };
        // Central differences, in f64, at a sample of the elements.
        let slope = |which: usize, at: usize| {
            let step = 1e-6;
            let shifted = |by: f64| {
                let mut wide = wide.clone();
                wide[which][at] += by;
                loss(&wide)
            };
            (shifted(step) - shifted(-step)) / (2.0 * step)
        };
        let y = reference(&wide[0], &wide[1], &wide[2], &wide[3], activation);
        for isa in Isa::available() {
            let got = ours::<E>(isa, &data, activation);
            let error = relative_error(&got[0], &y);
            let element = std::any::type_name::<E>();
            assert!(
                error < 3e-6 + rounding_error::<E>(),
                "{isa:?} {element} {activation:?} y of {rows} x {channels}: {error:.1e}"
            );
            for which in 0..4 {
                let step = (data[which].len() / 7).max(1);
                let sample: Vec<usize> = (0..data[which].len()).step_by(step).collect();
                let want: Vec<f64> = sample.iter().map(|at| slope(which, *at)).collect();
                let got: Vec<f32> = sample.iter().map(|at| got[which + 1][*at]).collect();
                let error = relative_error(&got, &want);
                // Of a sample, the largest magnitude may be well below that of all.
                let stored = if which < 2 {
                    2.0 * rounding_error::<E>()
                } else {
                    0.0
                };
                assert!(
                    error < 2e-4 + stored,
                    "{isa:?} {element} {activation:?} gradient {which} of {rows} x {channels}: {error:.1e}"
                );
            }
        }
    }

    #[test]
    fn forward_and_gradients_agree_with_differences() {
        for activation in [
            Activation::Identity,
            Activation::Relu,
            Activation::Relu6,
            Activation::Silu,
            Activation::Sigmoid,
        ] {
            for (rows, channels) in [(6, 1), (7, 3), (600, 5), (33, 16), (40, 37), (9, 64)] {
                check(rows, channels, activation);
            }
        }
    }

    #[test]
    fn statistics_survive_a_mean_far_from_zero() {
        let x: Vec<f32> = noise(5000, 1).iter().map(|v| 4096.0 + v).collect();
        let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / 5000.0;
        let variance = x
            .iter()
            .map(|v| (f64::from(*v) - mean).powi(2))
            .sum::<f64>()
            / 5000.0;
        for isa in Isa::available() {
            let [ours, spread] = statistics(isa, &x, 1);
            assert!((f64::from(ours.get(0)) - mean).abs() < 1e-3, "{isa:?}");
            assert!(
                (f64::from(spread.get(0)) / variance - 1.0).abs() < 1e-5,
                "{isa:?}"
            );
        }
    }

    #[test]
    fn nan_stays_in_its_channel() {
        let mut x = noise(700, 1);
        x[3] = f32::NAN;
        for isa in Isa::available() {
            let [mean, variance] = statistics(isa, &x, 7);
            for channel in 0..7 {
                let is_nan = mean.get(channel).is_nan() && variance.get(channel).is_nan();
                assert_eq!(is_nan, channel == 3, "{isa:?} channel {channel}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_size_agrees(rows in 6usize..60, channels in 1usize..70) {
            check(rows, channels, Activation::Silu);
        }
    }
}
