//! Max and average pooling of channels-last tensors, with backward.
//!
//! Vectors lie along channels. The forward direction shares out rows of outputs, the backward one
//! images and strips of channels, because windows may overlap. The backward of max pooling looks
//! for each window's first largest element again instead of keeping indices.

mod shape;

use std::ops::Range;

use super::element::Element;
use super::parallel::{Shared, for_each_task};
use super::simd::{Isa, Job, Vector};

pub use shape::{Divisor, Pool3dOptions, Pool3dShape};

/// Largest element of each window; NaN if a window holds one.
///
/// # Panics
/// If a length does not fit the shape.
pub fn max_forward(isa: Isa, shape: &Pool3dShape, x: &[f32], y: &mut [f32]) {
    forward(isa, shape, Kind::Max, x, y);
}

/// Gradient of [`max_forward`] in x: it goes to the first of a window's largest elements.
///
/// # Panics
/// If a length does not fit the shape.
pub fn max_backward(isa: Isa, shape: &Pool3dShape, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert!(x.len() == shape.x_len(), "x fits the shape");
    backward(isa, shape, Kind::Max, x, dy, dx);
}

/// Mean of each window.
///
/// # Panics
/// If a length does not fit the shape.
pub fn average_forward(isa: Isa, shape: &Pool3dShape, divisor: Divisor, x: &[f32], y: &mut [f32]) {
    forward(isa, shape, Kind::Average(divisor), x, y);
}

/// Gradient of [`average_forward`] in x.
///
/// # Panics
/// If a length does not fit the shape.
pub fn average_backward(
    isa: Isa,
    shape: &Pool3dShape,
    divisor: Divisor,
    dy: &[f32],
    dx: &mut [f32],
) {
    backward(isa, shape, Kind::Average(divisor), &[], dy, dx);
}

#[derive(Clone, Copy)]
enum Kind {
    Max,
    Average(Divisor),
}

/// Channels of a strip: whole cache lines, so that no two tasks write to the same one.
const STRIP: usize = 32;

fn forward(isa: Isa, shape: &Pool3dShape, kind: Kind, x: &[f32], y: &mut [f32]) {
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
    let output = Shared::new(y);
    for_each_task(num_rows * split, |task| {
        let (row, strip) = (task / split, task % split);
        let channels = if split == 1 {
            0..channels
        } else {
            strip_of(strip, channels)
        };
        // SAFETY: the set is available; each task writes its own channels of its own row.
        unsafe {
            isa.run(Forward {
                shape,
                kind,
                x,
                y: output.get(),
                row,
                channels,
            })
        }
    });
}

fn backward(isa: Isa, shape: &Pool3dShape, kind: Kind, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert!(
        dx.len() == shape.x_len() && dy.len() == shape.y_len(),
        "lengths fit the shape"
    );
    let strips = shape.0.in_channels.div_ceil(STRIP);
    // Frames are independent where windows are one frame long.
    let is_flat = shape.0.kernel[0] == 1 && shape.0.options.padding[0] == 0;
    let frames = if is_flat { shape.output()[0] } else { 1 };
    // What no window of such a task reaches: frames that the stride skips.
    if is_flat && shape.0.options.stride[0] > 1 {
        dx.fill(0.0);
    }
    let output = Shared::new(dx);
    for_each_task(shape.0.batch * frames * strips, |task| {
        let (part, strip) = (task / strips, task % strips);
        let (image, frame) = (part / frames, part % frames);
        let [outputs, inputs] = if is_flat {
            let input = frame * shape.0.options.stride[0];
            [frame..frame + 1, input..input + 1]
        } else {
            [0..shape.output()[0], 0..shape.0.input[0]]
        };
        let channels = strip_of(strip, shape.0.in_channels);
        let dx = output.get();
        // SAFETY: the set is available; each task writes its own channels of its own frames.
        unsafe {
            isa.run(Backward {
                shape,
                kind,
                x,
                dy,
                dx,
                image,
                outputs,
                inputs,
                channels,
            })
        }
    });
}

fn strip_of(strip: usize, channels: usize) -> Range<usize> {
    strip * STRIP..channels.min((strip + 1) * STRIP)
}

/// One row of outputs.
struct Forward<'a> {
    shape: &'a Pool3dShape,
    kind: Kind,
    x: &'a [f32],
    y: *mut f32,
    row: usize,
    channels: Range<usize>,
}

impl Job for Forward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let shape = self.shape;
        let [t_len, h_len, w_len] = shape.output();
        let (image, t, h) = (
            self.row / (t_len * h_len),
            self.row / h_len % t_len,
            self.row % h_len,
        );
        let end = self.channels.end;
        let mut inputs = Vec::with_capacity(shape.0.num_taps());
        for w in 0..w_len {
            let output = [t, h, w];
            shape.list_inputs(image, output, &mut inputs);
            let pixel = (self.row * w_len + w) * shape.0.in_channels;
            for channel in self.channels.clone().step_by(V::LANES) {
                let len = V::LANES.min(end - channel);
                // SAFETY: the inputs of a window lie inside x; a vector or part of one fits there
                // and in this task's channels of y.
                unsafe {
                    let x = self.x.as_ptr().add(channel);
                    let value = match self.kind {
                        Kind::Max => largest::<V>(&inputs, x, len),
                        Kind::Average(divisor) => {
                            let mut sum = V::splat(0.0);
                            for at in &inputs {
                                sum = sum.add(f32::load_part::<V>(x.add(*at), len));
                            }
                            sum.mul(V::splat(shape.weight(output, divisor)))
                        }
                    };
                    f32::store_part(value, self.y.add(pixel + channel), len);
                }
            }
        }
    }
}

/// Largest elements of a window.
///
/// # Safety
/// `len` channels are readable at each of `inputs` from `x`.
#[inline(always)]
unsafe fn largest<V: Vector>(inputs: &[usize], x: *const f32, len: usize) -> V {
    // SAFETY: the contract.
    unsafe {
        let mut best = V::splat(f32::NEG_INFINITY);
        for at in inputs {
            best = best.max_or_nan(f32::load_part::<V>(x.add(*at), len));
        }
        best
    }
}

/// The windows of some output frames of an image, for a strip of channels.
struct Backward<'a> {
    shape: &'a Pool3dShape,
    kind: Kind,
    x: &'a [f32],
    dy: &'a [f32],
    dx: *mut f32,
    image: usize,
    /// Output frames.
    outputs: Range<usize>,
    /// Input frames that their windows see.
    inputs: Range<usize>,
    channels: Range<usize>,
}

impl Job for Backward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (shape, total) = (self.shape, self.shape.0.in_channels);
        let [_, h_in, _] = shape.0.input;
        let [t_len, h_len, w_len] = shape.output();
        // Rows of dx are cleared just before a window first reaches them, while they are at hand.
        let mut cleared = self.inputs.start * h_in;
        let is_flat = self.inputs.len() == 1;
        let mut inputs = Vec::with_capacity(shape.0.num_taps());
        for row in self.outputs.start * h_len..self.outputs.end * h_len {
            let (t, h) = (row / h_len, row % h_len);
            let reached = if is_flat {
                self.inputs.start * h_in + shape.window(1, h).end
            } else {
                shape.window(0, t).end * h_in
            };
            self.clear(cleared..reached);
            cleared = cleared.max(reached);
            for w in 0..w_len {
                let output = [t, h, w];
                shape.list_inputs(self.image, output, &mut inputs);
                let pixel = (self.image * t_len * h_len + row) * w_len + w;
                for channel in self.channels.clone().step_by(V::LANES) {
                    let len = V::LANES.min(self.channels.end - channel);
                    // SAFETY: a vector or part of one fits in the strip.
                    unsafe {
                        let dy =
                            f32::load_part::<V>(self.dy.as_ptr().add(pixel * total + channel), len);
                        self.add_window::<V>(output, &inputs, channel, len, dy);
                    }
                }
            }
        }
        self.clear(cleared..self.inputs.end * h_in);
    }
}

impl Backward<'_> {
    /// Sets this task's channels of some rows of the image to zero.
    fn clear(&self, rows: Range<usize>) {
        let [t_in, h_in, w_in] = self.shape.0.input;
        let first_row = self.image * t_in * h_in;
        for pixel in (first_row + rows.start) * w_in..(first_row + rows.end) * w_in {
            // SAFETY: the rows lie in this task's frames.
            unsafe {
                let start = self
                    .dx
                    .add(pixel * self.shape.0.in_channels + self.channels.start);
                std::slice::from_raw_parts_mut(start, self.channels.len()).fill(0.0);
            }
        }
    }

    /// Hands `dy` of one output on to its inputs.
    ///
    /// # Safety
    /// `len` channels from `channel` are this task's.
    #[inline(always)]
    unsafe fn add_window<V: Vector>(
        &self,
        output: [usize; 3],
        inputs: &[usize],
        channel: usize,
        len: usize,
        dy: V,
    ) {
        // SAFETY: the inputs of a window lie inside x and dx.
        unsafe {
            let dx = self.dx.add(channel);
            match self.kind {
                Kind::Average(divisor) => {
                    let share = dy.mul(V::splat(self.shape.weight(output, divisor)));
                    for at in inputs {
                        let to = dx.add(*at);
                        f32::store_part(f32::load_part::<V>(to, len).add(share), to, len);
                    }
                }
                Kind::Max => {
                    let x = self.x.as_ptr().add(channel);
                    let best = largest::<V>(inputs, x, len);
                    let mut left = dy;
                    for at in inputs {
                        // What is not below the largest element takes all that is left.
                        let kept = f32::load_part::<V>(x.add(*at), len).keep_below(best, left);
                        let to = dx.add(*at);
                        let sum = f32::load_part::<V>(to, len).add(left.sub(kept));
                        f32::store_part(sum, to, len);
                        left = kept;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reference::{for_each_position, noise, relative_error};
    use super::*;

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
                        let first = inputs
                            .iter()
                            .copied()
                            .reduce(|best, i| if x[i] > x[best] { i } else { best });
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

    fn check(x: [usize; 5], options: Pool3dOptions) {
        let shape = Pool3dShape::new(x, options);
        // Few different values, so that windows have several largest elements.
        let data: Vec<f32> = noise(shape.x_len(), 1)
            .iter()
            .map(|v| (v * 4.0).round())
            .collect();
        let dy = noise(shape.y_len(), 2);
        for kind in [
            Kind::Max,
            Kind::Average(Divisor::Window),
            Kind::Average(Divisor::Inside),
        ] {
            let [want_y, want_dx] = reference(&shape, kind, &data, &dy);
            for isa in Isa::available() {
                let (mut y, mut dx) =
                    (vec![f32::NAN; shape.y_len()], vec![f32::NAN; shape.x_len()]);
                forward(isa, &shape, kind, &data, &mut y);
                backward(isa, &shape, kind, &data, &dy, &mut dx);
                assert!(relative_error(&y, &want_y) < 1e-6, "{isa:?} y: {shape:?}");
                assert!(
                    relative_error(&dx, &want_dx) < 1e-6,
                    "{isa:?} dx: {shape:?}"
                );
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
