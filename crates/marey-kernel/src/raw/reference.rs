//! Slow, obvious versions in `f64` that the tests and benchmarks compare the kernels with.

use super::element::Element;
use super::shape::Conv3dShape;

/// Calls `visit` with the indices into x, weights and y of every multiplication of a convolution.
fn for_each_product(shape: &Conv3dShape, mut visit: impl FnMut(usize, usize, usize)) {
    let (output, options) = (shape.output(), &shape.options);
    let (inputs, outputs) = (shape.group_inputs(), shape.group_outputs());
    for_each_position(shape.batch, output, |image, out, y_pixel| {
        for_each_position(1, shape.kernel, |_, tap, tap_idx| {
            let mut pixel = image;
            for axis in 0..3 {
                let at = out[axis] * options.stride[axis] + tap[axis] * options.dilation[axis];
                let inside =
                    at >= options.padding[axis] && at - options.padding[axis] < shape.input[axis];
                if !inside {
                    return;
                }
                pixel = pixel * shape.input[axis] + at - options.padding[axis];
            }
            for channel in 0..shape.out_channels {
                for input in 0..inputs {
                    let x = pixel * shape.in_channels + channel / outputs * inputs + input;
                    let w = (channel * shape.num_taps() + tap_idx) * inputs + input;
                    visit(x, w, y_pixel * shape.out_channels + channel);
                }
            }
        });
    });
}

/// Calls `visit` with image, `[t, h, w]` and flat index of each position.
pub(crate) fn for_each_position(
    batch: usize,
    [t_len, h_len, w_len]: [usize; 3],
    mut visit: impl FnMut(usize, [usize; 3], usize),
) {
    for idx in 0..batch * t_len * h_len * w_len {
        let (row, w) = (idx / w_len, idx % w_len);
        visit(
            row / (t_len * h_len),
            [row / h_len % t_len, row % h_len, w],
            idx,
        );
    }
}

/// `y` of a convolution.
pub fn conv_forward(shape: &Conv3dShape, x: &[f32], weights: &[f32]) -> Vec<f64> {
    let mut y = vec![0.0; shape.y_len()];
    for_each_product(shape, |i, j, k| {
        y[k] += f64::from(x[i]) * f64::from(weights[j])
    });
    y
}

/// Gradient of `x`.
pub fn conv_backward_data(shape: &Conv3dShape, dy: &[f32], weights: &[f32]) -> Vec<f64> {
    let mut dx = vec![0.0; shape.x_len()];
    for_each_product(shape, |i, j, k| {
        dx[i] += f64::from(dy[k]) * f64::from(weights[j])
    });
    dx
}

/// Gradient of the weights.
pub fn conv_backward_weights(shape: &Conv3dShape, x: &[f32], dy: &[f32]) -> Vec<f64> {
    let mut dw = vec![0.0; shape.weights_len()];
    for_each_product(shape, |i, j, k| dw[j] += f64::from(x[i]) * f64::from(dy[k]));
    dw
}

/// Numbers in -1..1 that look random and are the same everywhere.
pub fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x9E37_79B9_7F4A_7C15;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// `values` as elements, each the nearest.
pub fn rounded<E: Element>(values: &[f32]) -> Vec<E> {
    values.iter().map(|value| E::from_f32(*value)).collect()
}

/// The values of elements.
pub fn widened<E: Element>(elements: &[E]) -> Vec<f32> {
    elements.iter().map(|element| element.to_f32()).collect()
}

/// Largest relative error of rounding to an element: half the distance from 1 to the next one.
pub fn rounding_error<E: Element>() -> f64 {
    let differs = |step: &f32| E::from_f32(1.0 + step).to_f32() != 1.0;
    let steps = std::iter::successors(Some(1.0f32), |step| Some(step / 2.0));
    f64::from(steps.take_while(differs).last().unwrap_or(1.0)) / 2.0
}

/// Largest difference over the largest magnitude of `want`.
pub fn relative_error(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let top = want
        .iter()
        .fold(1e-30, |top: f64, value| top.max(value.abs()));
    let pairs = got.iter().zip(want);
    // A NaN must not pass for a small difference.
    pairs.fold(0.0, |worst: f64, (got, want)| {
        let difference = (f64::from(*got) - want).abs();
        if difference.is_nan() {
            f64::INFINITY
        } else {
            worst.max(difference)
        }
    }) / top
}
