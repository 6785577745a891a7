//! Max and average pooling of channels-last tensors, with backward.
//!
//! Vectors lie along channels. The forward direction shares out rows of outputs; that of max pooling
//! can note where in its window each largest element is. The backward direction shares out rows of
//! inputs: each collects what the windows that hold it send to it, so that nothing is added up in
//! memory.

mod jobs;
mod shape;

use std::ops::Range;

use super::element::Element;
use super::parallel::{Shared, for_each_task};
use super::simd::Isa;

use jobs::{Average, Backward, ByPlace, Forward, Max, MaxWithPlaces, Side, columns};
pub use shape::{Divisor, Pool3dOptions, Pool3dShape};

/// Largest element of each window; NaN if a window holds one.
///
/// # Panics
/// If a length does not fit the shape.
pub fn max_forward<E: Element>(isa: Isa, shape: &Pool3dShape, x: &[E], y: &mut [E]) {
    forward(isa, shape, Max, x, y);
}

/// [`max_forward`] that also notes the place of each window's first largest element, for
/// [`max_backward`]. A NaN counts as larger than any number.
///
/// A place is the number of a position in its window, padding counted. `P` must hold that number
/// exactly: see [`Pool3dShape::num_places`].
///
/// # Panics
/// If a length does not fit the shape; `places` is as long as `y`.
pub fn max_forward_with_places<E: Element, P: Element>(
    isa: Isa,
    shape: &Pool3dShape,
    x: &[E],
    y: &mut [E],
    places: &mut [P],
) {
    assert!(places.len() == shape.y_len(), "a place for each output");
    let places = Shared::new(places);
    forward(isa, shape, MaxWithPlaces(places), x, y);
}

/// Gradient of [`max_forward`] in x, by the places that [`max_forward_with_places`] noted.
///
/// # Panics
/// If a length does not fit the shape.
pub fn max_backward<E: Element, P: Element>(
    isa: Isa,
    shape: &Pool3dShape,
    places: &[P],
    dy: &[E],
    dx: &mut [E],
) {
    assert!(places.len() == shape.y_len(), "a place for each output");
    backward(isa, shape, ByPlace(places), dy, dx);
}

/// Mean of each window, which may be stored in another type than the input.
///
/// # Panics
/// If a length does not fit the shape.
pub fn average_forward<E: Element, O: Element>(
    isa: Isa,
    shape: &Pool3dShape,
    divisor: Divisor,
    x: &[E],
    y: &mut [O],
) {
    forward(isa, shape, Average(divisor), x, y);
}

/// Gradient of [`average_forward`] in x.
///
/// # Panics
/// If a length does not fit the shape.
pub fn average_backward<E: Element, O: Element>(
    isa: Isa,
    shape: &Pool3dShape,
    divisor: Divisor,
    dy: &[O],
    dx: &mut [E],
) {
    backward(isa, shape, Average(divisor), dy, dx);
}

/// Channels of a strip: whole cache lines, so that no two tasks write to the same one.
const STRIP: usize = 32;
/// Inputs that a task of the backward direction works on: large enough to be worth handing out.
const TASK_LEN: usize = 16 << 10;

fn forward<E: Element, O: Element>(
    isa: Isa,
    shape: &Pool3dShape,
    kind: impl jobs::Reduce<E, O>,
    x: &[E],
    y: &mut [O],
) {
    assert!(
        x.len() == shape.x_len() && y.len() == shape.y_len(),
        "lengths fit the shape"
    );
    let [t_len, h_len, _] = shape.output();
    let channels = shape.0.in_channels;
    let strips = channels.div_ceil(STRIP);
    let num_rows = shape.0.batch * t_len * h_len;
    // Rows alone give enough tasks, except where a window covers a whole image.
    let split = if num_rows >= 8 * rayon::current_num_threads() {
        1
    } else {
        strips
    };
    let columns = columns(&kind, shape, Side::Outputs);
    let output = Shared::new(y);
    for_each_task(num_rows * split, |task| {
        let (row, strip) = (task / split, task % split);
        let channels = if split == 1 {
            0..channels
        } else {
            strip_of(strip, channels)
        };
        let job = Forward {
            shape,
            kind: &kind,
            columns: &columns,
            x,
            y: output.get(),
            row,
            channels,
        };
        // SAFETY: the set is available; each task writes its own channels of its own row.
        unsafe { isa.run(job) }
    });
}

fn backward<E: Element, O: Element>(
    isa: Isa,
    shape: &Pool3dShape,
    kind: impl jobs::Send<O>,
    dy: &[O],
    dx: &mut [E],
) {
    assert!(
        dx.len() == shape.x_len() && dy.len() == shape.y_len(),
        "lengths fit the shape"
    );
    let [t_len, h_len, w_len] = shape.0.input;
    let num_rows = shape.0.batch * t_len * h_len;
    let each = (TASK_LEN / (w_len * shape.0.in_channels).max(1)).max(1);
    let columns = columns(&kind, shape, Side::Inputs);
    let output = Shared::new(dx);
    for_each_task(num_rows.div_ceil(each), |task| {
        let job = Backward {
            shape,
            kind: &kind,
            columns: &columns,
            dy,
            dx: output.get(),
            rows: task * each..num_rows.min((task + 1) * each),
        };
        // SAFETY: the set is available; each task writes its own rows.
        unsafe { isa.run(job) }
    });
}

fn strip_of(strip: usize, channels: usize) -> Range<usize> {
    strip * STRIP..channels.min((strip + 1) * STRIP)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use half::{bf16, f16};

    use super::super::reference::{
        for_each_position, noise, relative_error, rounded, rounding_error, widened,
    };
    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Kind {
        Max,
        Average(Divisor),
    }

    /// y and dx of both kinds, one element at a time.
    fn reference(shape: &Pool3dShape, kind: Kind, x: &[f32], dy: &[f32]) -> [Vec<f64>; 2] {
        let (mut y, mut dx) = (vec![0.0; shape.y_len()], vec![0.0; shape.x_len()]);
        let channels = shape.0.in_channels;
        for_each_position(shape.0.batch, shape.output(), |image, output, pixel| {
            for channel in 0..channels {
                let mut inputs = vec![];
                for_each_position(1, shape.0.kernel, |_, tap, _| {
                    let mut at = image;
                    for axis in 0..3 {
                        let input = output[axis] * shape.0.options.stride[axis] + tap[axis];
                        let padding = shape.0.options.padding[axis];
                        if input < padding || input - padding >= shape.0.input[axis] {
                            return;
                        }
                        at = at * shape.0.input[axis] + input - padding;
                    }
                    inputs.push(at * channels + channel);
                });
                let (at, gradient) = (
                    pixel * channels + channel,
                    f64::from(dy[pixel * channels + channel]),
                );
                match kind {
                    Kind::Max => {
                        // A NaN is larger than any number.
                        let beats = |i: usize, best: usize| {
                            x[i] > x[best] || (x[i].is_nan() && !x[best].is_nan())
                        };
                        let first = inputs
                            .iter()
                            .copied()
                            .reduce(|best, i| if beats(i, best) { i } else { best });
                        let first = first.expect("every window sees the input");
                        y[at] = f64::from(x[first]);
                        dx[first] += gradient;
                    }
                    Kind::Average(divisor) => {
                        let size = match divisor {
                            Divisor::Window => shape.0.num_taps(),
                            Divisor::Inside => inputs.len(),
                        } as f64;
                        y[at] = inputs.iter().map(|i| f64::from(x[*i])).sum::<f64>() / size;
                        inputs.iter().for_each(|i| dx[*i] += gradient / size);
                    }
                }
            }
        });
        [y, dx]
    }

    /// y and dx of the kernels; `P` is what places are kept as.
    fn ours<E: Element, P: Element>(
        isa: Isa,
        shape: &Pool3dShape,
        kind: Kind,
        x: &[E],
        dy: &[E],
    ) -> [Vec<E>; 2] {
        let nan = E::from_f32(f32::NAN);
        let (mut y, mut dx) = (vec![nan; shape.y_len()], vec![nan; shape.x_len()]);
        match kind {
            Kind::Max => {
                let mut places = vec![P::from_f32(f32::NAN); shape.y_len()];
                max_forward_with_places(isa, shape, x, &mut y, &mut places);
                let mut plain = vec![nan; shape.y_len()];
                max_forward(isa, shape, x, &mut plain);
                let is_same =
                    |(a, b): (&E, &E)| a == b || (a.to_f32().is_nan() && b.to_f32().is_nan());
                assert!(
                    plain.iter().zip(&y).all(is_same),
                    "{isa:?}: places change nothing in {shape:?}"
                );
                max_backward(isa, shape, &places, dy, &mut dx);
            }
            Kind::Average(divisor) => {
                average_forward(isa, shape, divisor, x, &mut y);
                average_backward(isa, shape, divisor, dy, &mut dx);
            }
        }
        [y, dx]
    }

    fn check(x: [usize; 5], options: Pool3dOptions) {
        check_type::<f32, f32>(x, options);
        check_type::<bf16, f16>(x, options);
        check_type::<f16, f16>(x, options);
    }

    fn check_type<E: Element, P: Element>(x: [usize; 5], options: Pool3dOptions) {
        let shape = Pool3dShape::new(x, options);
        // Few different values, so that windows have several largest elements.
        let values = noise(shape.x_len(), 1)
            .into_iter()
            .map(|v| (v * 4.0).round());
        let data: Vec<E> = values.map(E::from_f32).collect();
        let dy: Vec<E> = rounded(&noise(shape.y_len(), 2));
        for kind in [
            Kind::Max,
            Kind::Average(Divisor::Window),
            Kind::Average(Divisor::Inside),
        ] {
            let wants = reference(&shape, kind, &widened(&data), &widened(&dy));
            for isa in Isa::available() {
                let got = ours::<E, P>(isa, &shape, kind, &data, &dy);
                for (name, (got, want)) in ["y", "dx"].iter().zip(got.iter().zip(&wants)) {
                    let error = relative_error(&widened(got), want);
                    assert!(
                        error <= 1e-6 + rounding_error::<E>(),
                        "{isa:?} {} {kind:?} {name} is off by {error:.1e}: {shape:?}",
                        std::any::type_name::<E>()
                    );
                }
            }
        }
    }

    #[test]
    fn usual_windows_agree_with_the_reference() {
        let options = |kernel, stride, padding| Pool3dOptions {
            kernel,
            stride,
            padding,
        };
        check([2, 1, 9, 8, 37], options([1, 3, 3], [1, 2, 2], [0, 1, 1]));
        check([2, 5, 6, 7, 16], options([3, 3, 3], [2, 2, 2], [1, 1, 1]));
        check([1, 4, 4, 4, 70], options([4, 4, 4], [1, 1, 1], [0, 0, 0]));
        check([3, 5, 5, 5, 3], options([1, 1, 2], [3, 2, 3], [0, 0, 1]));
        check([1, 1, 1, 1, 1], options([1, 1, 1], [1, 1, 1], [0, 0, 0]));
    }

    #[test]
    fn nan_wins_its_windows_only() {
        let options = Pool3dOptions {
            kernel: [1, 2, 2],
            stride: [1, 2, 2],
            padding: [0; 3],
        };
        let shape = Pool3dShape::new([1, 1, 4, 4, 17], options);
        for place in [0, 1, 4, 5] {
            let mut x = noise(shape.x_len(), 1);
            x[place * 17] = f32::NAN;
            x[10 * 17] = f32::INFINITY;
            for isa in Isa::available() {
                let mut y = vec![0.0; shape.y_len()];
                max_forward(isa, &shape, &x, &mut y);
                let odd: Vec<usize> = (0..y.len()).filter(|i| !y[*i].is_finite()).collect();
                assert_eq!(odd, [0, 3 * 17], "{isa:?} NaN at {place}");
                assert!(y[0].is_nan());
            }
        }
    }

    #[test]
    fn the_gradient_of_a_window_goes_to_its_first_largest_element() {
        let options = Pool3dOptions {
            kernel: [1, 1, 4],
            stride: [1; 3],
            padding: [0; 3],
        };
        let shape = Pool3dShape::new([1, 1, 1, 4, 1], options);
        let (nan, low) = (f32::NAN, f32::NEG_INFINITY);
        for (x, winner) in [
            ([1.0, 3.0, 3.0, 2.0], 1),
            // The first NaN, before and after larger numbers.
            ([1.0, nan, 3.0, nan], 1),
            ([9.0, 1.0, 2.0, nan], 3),
            // Nothing is larger than minus infinity here.
            ([low; 4], 0),
        ] {
            for isa in Isa::available() {
                // A gradient that is not finite stays with the winner.
                let [_, dx] = ours::<f32, f16>(isa, &shape, Kind::Max, &x, &[f32::INFINITY]);
                let want: [f32; 4] =
                    std::array::from_fn(|i| if i == winner { f32::INFINITY } else { 0.0 });
                assert_eq!(dx, want, "{isa:?} {x:?}");
            }
        }
    }

    #[test]
    fn a_mean_of_halves_can_be_stored_wider() {
        let options = Pool3dOptions {
            kernel: [1, 30, 30],
            stride: [1; 3],
            padding: [0; 3],
        };
        let shape = Pool3dShape::new([2, 1, 30, 30, 19], options);
        let x: Vec<bf16> = rounded(&noise(shape.x_len(), 1));
        let dy = noise(shape.y_len(), 2);
        let kind = Kind::Average(Divisor::Window);
        let [want, want_dx] = reference(&shape, kind, &widened(&x), &dy);
        for isa in Isa::available() {
            let (mut y, mut dx) = (vec![f32::NAN; want.len()], vec![bf16::NAN; x.len()]);
            average_forward(isa, &shape, Divisor::Window, &x, &mut y);
            average_backward(isa, &shape, Divisor::Window, &dy, &mut dx);
            assert!(relative_error(&y, &want) < 2e-6, "{isa:?}");
            let error = relative_error(&widened(&dx), &want_dx);
            assert!(
                error <= rounding_error::<bf16>() + 1e-6,
                "{isa:?} {error:.1e}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_window_agrees(
            batch in 1usize..3,
            channels in 1usize..70,
            kernel in [1usize..4, 1usize..4, 1usize..4],
            stride in [1usize..4, 1usize..4, 1usize..4],
            pad in [0usize..3, 0usize..3, 0usize..3],
            extra in [0usize..4, 0usize..6, 0usize..6],
        ) {
            let padding: [usize; 3] = std::array::from_fn(|i| pad[i].min(kernel[i] / 2));
            let [t, h, w]: [usize; 3] =
                std::array::from_fn(|i| (kernel[i] + extra[i]).saturating_sub(2 * padding[i]).max(1));
            check([batch, t, h, w, channels], Pool3dOptions { kernel, stride, padding });
        }
    }
}
