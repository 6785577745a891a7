//! The loops of pooling: over pixels, the inputs or windows of each, and vectors of channels.

use std::ops::Range;

use super::super::element::Element;
use super::super::parallel::Shared;
use super::super::simd::{Job, Vector};
use super::{Divisor, Pool3dShape};

/// Inputs of a row whose sum is built before it joins the others, which keeps rounding small in
/// large windows.
const SUM_LEN: usize = 64;

/// What a pixel of one side meets on the other, on one axis or on two: an input of a window, or a
/// window that holds an input.
#[derive(Clone, Copy)]
pub(super) struct Meeting {
    /// Offset of the other side's row, or of the pixel in its row.
    at: usize,
    /// What the kind of pooling needs to know: see [`Kind::factor`].
    factor: f32,
}

/// How the forward and the backward direction know the inputs of a window apart.
pub(super) trait Kind: Sync {
    /// What it needs to know of an input and a window on one axis, where the input has this number.
    fn factor(&self, shape: &Pool3dShape, axis: usize, output: usize, number: usize) -> f32;

    /// What it needs to know by those of the axes.
    fn join(first: f32, second: f32) -> f32;
}

/// What the forward direction makes of a window.
pub(super) trait Reduce<E: Element, O: Element>: Kind {
    /// One vector of channels of the window that meets some rows of x and some columns of each; it is
    /// at `at` of y.
    ///
    /// # Safety
    /// `len` channels are readable at each input from `x`; those at `at` are this task's.
    unsafe fn reduce<V: Vector>(
        &self,
        rows_and_columns: [&[Meeting]; 2],
        x: *const E,
        at: usize,
        len: usize,
    ) -> V;
}

/// What an output sends to an input of its window.
pub(super) trait Send<O: Element>: Kind {
    /// The share of `dy`, the gradient of `len` channels of the output at `at`.
    ///
    /// # Safety
    /// They are inside dy, and whatever is as long.
    unsafe fn share<V: Vector>(&self, dy: V, at: usize, factor: f32, len: usize) -> V;
}

/// The largest element.
pub(super) struct Max;

/// The largest element, noting its place; the factor is an input's number in its window.
pub(super) struct MaxWithPlaces<P>(pub(super) Shared<P>);

/// The gradient of the largest element, by its place; the factor is an input's number in its window.
pub(super) struct ByPlace<'a, P>(pub(super) &'a [P]);

/// The mean and its gradient; the factor is one over the divisor.
pub(super) struct Average(pub(super) Divisor);

impl Kind for Max {
    fn factor(&self, _: &Pool3dShape, _: usize, _: usize, _: usize) -> f32 {
        0.0
    }

    fn join(_: f32, _: f32) -> f32 {
        0.0
    }
}

/// The number's share of one axis: numbers count along the width first.
fn place_factor(shape: &Pool3dShape, axis: usize, number: usize) -> f32 {
    let inner: usize = shape.0.kernel[axis + 1..].iter().product();
    (number * inner) as f32
}

impl<P: Element> Kind for MaxWithPlaces<P> {
    fn factor(&self, shape: &Pool3dShape, axis: usize, _: usize, number: usize) -> f32 {
        place_factor(shape, axis, number)
    }

    #[inline(always)]
    fn join(first: f32, second: f32) -> f32 {
        first + second
    }
}

impl<P: Element> Kind for ByPlace<'_, P> {
    fn factor(&self, shape: &Pool3dShape, axis: usize, _: usize, number: usize) -> f32 {
        place_factor(shape, axis, number)
    }

    #[inline(always)]
    fn join(first: f32, second: f32) -> f32 {
        first + second
    }
}

impl Kind for Average {
    fn factor(&self, shape: &Pool3dShape, axis: usize, output: usize, _: usize) -> f32 {
        shape.weight(axis, output, self.0)
    }

    #[inline(always)]
    fn join(first: f32, second: f32) -> f32 {
        first * second
    }
}

impl<E: Element> Reduce<E, E> for Max {
    #[inline(always)]
    unsafe fn reduce<V: Vector>(
        &self,
        [rows, columns]: [&[Meeting]; 2],
        x: *const E,
        _: usize,
        len: usize,
    ) -> V {
        // SAFETY: the contract.
        unsafe {
            let mut best = V::splat(f32::NEG_INFINITY);
            for row in rows {
                for column in columns {
                    let value = E::load_part::<V>(x.add(row.at + column.at), len);
                    best = best.max_or_nan(value);
                }
            }
            best
        }
    }
}

impl<E: Element, P: Element> Reduce<E, E> for MaxWithPlaces<P> {
    #[inline(always)]
    unsafe fn reduce<V: Vector>(
        &self,
        [rows, columns]: [&[Meeting]; 2],
        x: *const E,
        at: usize,
        len: usize,
    ) -> V {
        // SAFETY: the contract; there are as many places as outputs.
        unsafe {
            // Where all are minus infinity, none is larger than this start: the first one wins.
            let mut best = V::splat(f32::NEG_INFINITY);
            let mut place = V::splat(Self::join(rows[0].factor, columns[0].factor));
            for row in rows {
                for column in columns {
                    let value = E::load_part::<V>(x.add(row.at + column.at), len);
                    let number = V::splat(Self::join(row.factor, column.factor));
                    [best, place] = best.larger_with_place(place, value, number);
                }
            }
            P::store_part(place, self.0.get().add(at), len);
            best
        }
    }
}

impl<E: Element, O: Element> Reduce<E, O> for Average {
    #[inline(always)]
    unsafe fn reduce<V: Vector>(
        &self,
        [rows, columns]: [&[Meeting]; 2],
        x: *const E,
        _: usize,
        len: usize,
    ) -> V {
        // SAFETY: the contract.
        unsafe {
            let mut total = V::splat(0.0);
            for row in rows {
                for part in columns.chunks(SUM_LEN) {
                    let mut sum = V::splat(0.0);
                    for column in part {
                        sum = sum.add(E::load_part::<V>(x.add(row.at + column.at), len));
                    }
                    total = total.add(sum);
                }
            }
            // All inputs of a window have the same factor.
            total.mul(V::splat(Self::join(rows[0].factor, columns[0].factor)))
        }
    }
}

impl<O: Element, P: Element> Send<O> for ByPlace<'_, P> {
    #[inline(always)]
    unsafe fn share<V: Vector>(&self, dy: V, at: usize, factor: f32, len: usize) -> V {
        // SAFETY: the contract: there are as many places as outputs.
        unsafe {
            let place = P::load_part::<V>(self.0.as_ptr().add(at), len);
            place.keep_equal(V::splat(factor), dy)
        }
    }
}

impl<O: Element> Send<O> for Average {
    #[inline(always)]
    unsafe fn share<V: Vector>(&self, dy: V, _: usize, factor: f32, _: usize) -> V {
        // SAFETY: the caller has the instructions of `V`.
        unsafe { dy.mul(V::splat(factor)) }
    }
}

/// Which side a list of meetings is for.
#[derive(Clone, Copy)]
pub(super) enum Side {
    /// Windows, which meet inputs.
    Outputs,
    /// Inputs, which meet the windows that hold them.
    Inputs,
}

/// What each pixel of a row of `side` meets along the width.
pub(super) fn columns<K: Kind>(kind: &K, shape: &Pool3dShape, side: Side) -> Vec<Vec<Meeting>> {
    let len = match side {
        Side::Outputs => shape.output()[2],
        Side::Inputs => shape.0.input[2],
    };
    let channels = shape.0.in_channels;
    let of_pixel = |w: usize| {
        let meetings = on_axis(kind, shape, side, 2, w);
        meetings.map(|(at, factor)| Meeting {
            at: at * channels,
            factor,
        })
    };
    (0..len).map(|w| of_pixel(w).collect()).collect()
}

/// Rows that a row `[t, h]` of an image meets on the other side.
fn rows<K: Kind>(
    kind: &K,
    shape: &Pool3dShape,
    side: Side,
    image: usize,
    [t, h]: [usize; 2],
) -> Vec<Meeting> {
    let [t_len, h_len, w_len] = match side {
        Side::Outputs => shape.0.input,
        Side::Inputs => shape.output(),
    };
    let mut rows = vec![];
    for (t, t_factor) in on_axis(kind, shape, side, 0, t) {
        for (h, h_factor) in on_axis(kind, shape, side, 1, h) {
            let row = (image * t_len + t) * h_len + h;
            rows.push(Meeting {
                at: row * w_len * shape.0.in_channels,
                factor: K::join(t_factor, h_factor),
            });
        }
    }
    rows
}

/// Positions that `position` meets on one axis, with their factors.
fn on_axis<K: Kind>(
    kind: &K,
    shape: &Pool3dShape,
    side: Side,
    axis: usize,
    position: usize,
) -> impl Iterator<Item = (usize, f32)> {
    let others = match side {
        Side::Outputs => shape.window(axis, position),
        Side::Inputs => shape.holders(axis, position),
    };
    others.map(move |other| {
        let [output, input] = match side {
            Side::Outputs => [position, other],
            Side::Inputs => [other, position],
        };
        let number = shape.tap(axis, output, input);
        (other, kind.factor(shape, axis, output, number))
    })
}

/// One row of outputs.
pub(super) struct Forward<'a, E, O, K> {
    pub(super) shape: &'a Pool3dShape,
    pub(super) kind: &'a K,
    pub(super) columns: &'a [Vec<Meeting>],
    pub(super) x: &'a [E],
    pub(super) y: *mut O,
    pub(super) row: usize,
    pub(super) channels: Range<usize>,
}

impl<E: Element, O: Element, K: Reduce<E, O>> Job for Forward<'_, E, O, K> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let [t_len, h_len, w_len] = self.shape.output();
        let image = self.row / (t_len * h_len);
        let position = [self.row / h_len % t_len, self.row % h_len];
        let rows = rows(self.kind, self.shape, Side::Outputs, image, position);
        for (w, columns) in self.columns.iter().enumerate() {
            let pixel = (self.row * w_len + w) * self.shape.0.in_channels;
            for channel in self.channels.clone().step_by(V::LANES) {
                let len = V::LANES.min(self.channels.end - channel);
                let at = pixel + channel;
                // SAFETY: the inputs of a window lie inside x; a vector or part of one fits there
                // and in this task's channels of y.
                unsafe {
                    let x = self.x.as_ptr().add(channel);
                    let value: V = self.kind.reduce([&rows, columns], x, at, len);
                    O::store_part(value, self.y.add(at), len);
                }
            }
        }
    }
}

/// Some rows of inputs.
pub(super) struct Backward<'a, E, O, K> {
    pub(super) shape: &'a Pool3dShape,
    pub(super) kind: &'a K,
    pub(super) columns: &'a [Vec<Meeting>],
    pub(super) dy: &'a [O],
    pub(super) dx: *mut E,
    /// Rows of all images.
    pub(super) rows: Range<usize>,
}

impl<E: Element, O: Element, K: Send<O>> Job for Backward<'_, E, O, K> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let channels = self.shape.0.in_channels;
        let [t_len, h_len, w_len] = self.shape.0.input;
        for row in self.rows.clone() {
            let (image, position) = (row / (t_len * h_len), [row / h_len % t_len, row % h_len]);
            let rows = rows(self.kind, self.shape, Side::Inputs, image, position);
            for (w, columns) in self.columns.iter().enumerate() {
                for channel in (0..channels).step_by(V::LANES) {
                    let len = V::LANES.min(channels - channel);
                    // SAFETY: a vector or part of one fits in a pixel; the outputs are those of
                    // windows; this pixel is the task's.
                    unsafe {
                        let sum: V = self.collect([&rows, columns], channel, len);
                        let to = self.dx.add((row * w_len + w) * channels + channel);
                        E::store_part(sum, to, len);
                    }
                }
            }
        }
    }
}

impl<E, O: Element, K: Send<O>> Backward<'_, E, O, K> {
    /// What the windows send to `len` channels of the input that meets them.
    ///
    /// # Safety
    /// The channels lie inside a pixel.
    #[inline(always)]
    unsafe fn collect<V: Vector>(
        &self,
        [rows, columns]: [&[Meeting]; 2],
        channel: usize,
        len: usize,
    ) -> V {
        // SAFETY: the contract; windows' outputs lie inside dy.
        unsafe {
            let mut sum = V::splat(0.0);
            for row in rows {
                for column in columns {
                    let at = row.at + column.at + channel;
                    let dy = O::load_part::<V>(self.dy.as_ptr().add(at), len);
                    let factor = K::join(row.factor, column.factor);
                    sum = sum.add(self.kind.share(dy, at, factor, len));
                }
            }
            sum
        }
    }
}
