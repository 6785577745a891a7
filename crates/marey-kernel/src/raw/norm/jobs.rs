//! The loops of the passes: over rows, in vectors of channels.

#![expect(
    clippy::needless_range_loop,
    reason = "loops over constant indices unroll, which keeps the sums in registers"
)]

use std::ops::Range;

use super::super::activation::Activation;
use super::super::element::Element;
use super::super::simd::{Job, Vector};
use super::statistics::for_each_strip;
use super::{GradientLine, Pass, PerChannel};

pub(super) struct Forward<'a, E> {
    pub(super) pass: &'a Pass<'a, E>,
    pub(super) range: Range<usize>,
    pub(super) y: *mut E,
}

/// Calls `$self.$method::<V>(activation, ..)` with the activation as a constant, so that the loop
/// inside is compiled for each.
macro_rules! with_constant_activation {
    ($self:ident.$method:ident::<$V:ident>()) => {
        match $self.pass.activation {
            Activation::Identity => $self.$method::<$V>(Activation::Identity),
            Activation::Relu => $self.$method::<$V>(Activation::Relu),
            Activation::Relu6 => $self.$method::<$V>(Activation::Relu6),
            Activation::Silu => $self.$method::<$V>(Activation::Silu),
            Activation::Sigmoid => $self.$method::<$V>(Activation::Sigmoid),
        }
    };
}

impl<E: Element> Job for Forward<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the contract of the job.
        unsafe { with_constant_activation!(self.rows::<V>()) }
    }
}

impl<E: Element> Forward<'_, E> {
    /// # Safety
    /// The range is whole rows inside x and y, nobody else's.
    #[inline(always)]
    unsafe fn rows<V: Vector>(&self, activation: Activation) {
        let channels = self.pass.channels;
        for row in self.range.clone().step_by(channels) {
            let mut channel = 0;
            // SAFETY: inside a row.
            unsafe {
                while channel + V::LANES <= channels {
                    self.vector::<V>(activation, row, channel, V::LANES);
                    channel += V::LANES;
                }
                if channel < channels {
                    self.vector::<V>(activation, row, channel, channels - channel);
                }
            }
        }
    }

    /// # Safety
    /// `len` channels from `channel` lie inside the row.
    #[inline(always)]
    unsafe fn vector<V: Vector>(
        &self,
        activation: Activation,
        row: usize,
        channel: usize,
        len: usize,
    ) {
        // SAFETY: the contract.
        unsafe {
            let value = self
                .pass
                .before_activation::<V>(row + channel, channel, len);
            E::store_part(activation.apply(value), self.y.add(row + channel), len);
        }
    }
}

pub(super) struct Sums<'a, E> {
    pub(super) pass: &'a Pass<'a, E>,
    pub(super) rows: Range<usize>,
    pub(super) dy: &'a [E],
    pub(super) mean: &'a PerChannel,
    pub(super) sums: &'a mut [f32],
}

impl<E: Element> Job for Sums<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) {
        // SAFETY: the contract of the job.
        unsafe { with_constant_activation!(self.channels::<V>()) }
    }
}

impl<E: Element> Sums<'_, E> {
    /// # Safety
    /// The rows lie inside x and dy; the sums are padded.
    #[inline(always)]
    unsafe fn channels<V: Vector>(&mut self, activation: Activation) {
        // SAFETY: inside a row.
        unsafe {
            for_each_strip!(self.pass.channels, V, |N, channel, last| {
                self.strip::<V, N>(activation, channel, last);
            });
        }
    }

    /// `N` vectors of channels, of the last one the first `last` lanes.
    ///
    /// # Safety
    /// They lie inside a row.
    #[inline(always)]
    unsafe fn strip<V: Vector, const N: usize>(
        &mut self,
        activation: Activation,
        channel: usize,
        last: usize,
    ) {
        let (channels, padded) = (self.pass.channels, self.sums.len() / 2);
        // SAFETY: the contract; the mean and the sums are padded.
        unsafe {
            let mut sums = [[V::splat(0.0); N]; 2];
            for row in self.rows.clone() {
                for n in 0..N {
                    let channel = channel + n * V::LANES;
                    let len = if n + 1 == N { last } else { V::LANES };
                    let at = row * channels + channel;
                    let gradient = self
                        .pass
                        .gradient::<V>(activation, self.dy, [at, channel, len]);
                    let x = E::load_part::<V>(self.pass.x.as_ptr().add(at), len);
                    let distance = x.sub(V::load(self.mean.at(channel)));
                    sums[0][n] = sums[0][n].add(gradient);
                    sums[1][n] = gradient.mul_add(distance, sums[1][n]);
                }
            }
            for n in 0..N {
                let to = self.sums.as_mut_ptr().add(channel + n * V::LANES);
                sums[0][n].store(to);
                sums[1][n].store(to.add(padded));
            }
        }
    }
}

pub(super) struct Data<'a, E> {
    pub(super) pass: &'a Pass<'a, E>,
    pub(super) range: Range<usize>,
    pub(super) dy: &'a [E],
    pub(super) line: &'a GradientLine,
    pub(super) dx: *mut E,
    pub(super) dresidual: Option<*mut E>,
}

impl<E: Element> Job for Data<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the contract of the job.
        unsafe { with_constant_activation!(self.rows::<V>()) }
    }
}

impl<E: Element> Data<'_, E> {
    /// # Safety
    /// The range is whole rows inside all tensors, nobody else's.
    #[inline(always)]
    unsafe fn rows<V: Vector>(&self, activation: Activation) {
        let channels = self.pass.channels;
        for row in self.range.clone().step_by(channels) {
            let mut channel = 0;
            // SAFETY: inside a row.
            unsafe {
                while channel + V::LANES <= channels {
                    self.vector::<V>(activation, [row + channel, channel, V::LANES]);
                    channel += V::LANES;
                }
                if channel < channels {
                    self.vector::<V>(activation, [row + channel, channel, channels - channel]);
                }
            }
        }
    }

    /// # Safety
    /// `len` channels from `channel`, at `at`, lie inside a row.
    #[inline(always)]
    unsafe fn vector<V: Vector>(&self, activation: Activation, [at, channel, len]: [usize; 3]) {
        let line = self.line;
        // SAFETY: the contract; the coefficients are padded.
        unsafe {
            let gradient = self
                .pass
                .gradient::<V>(activation, self.dy, [at, channel, len]);
            if let Some(dresidual) = self.dresidual {
                E::store_part(gradient, dresidual.add(at), len);
            }
            let x = E::load_part::<V>(self.pass.x.as_ptr().add(at), len);
            let distance = x.sub(V::load(line.mean.at(channel)));
            let offset = distance.mul_add(V::load(line.c.at(channel)), V::load(line.b.at(channel)));
            let dx = gradient.mul_add(V::load(line.a.at(channel)), offset);
            E::store_part(dx, self.dx.add(at), len);
        }
    }
}
