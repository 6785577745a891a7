//! Convolution, 2-D and 3-D, dense, grouped and depthwise, in its three directions.

mod blocking;
mod dense;
mod depthwise;
mod pack;
mod product;
mod weights;
mod window;

#[cfg(test)]
mod tests;

use super::activation::Activation;
use super::shape::Conv3dShape;
use super::simd::Isa;

/// What a forward convolution does to its sums before it stores them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Added to each output channel.
    pub bias: Option<&'a [f32]>,
    /// Applied after the bias.
    pub activation: Activation,
}

impl Epilogue<'_> {
    fn is_empty(&self) -> bool {
        self.bias.is_none() && self.activation == Activation::Identity
    }
}

/// `y = activation(conv(x, weights) + bias)`; every element of `y` is written.
///
/// # Panics
/// If a length does not fit the shape.
pub fn forward(
    isa: Isa,
    shape: &Conv3dShape,
    x: &[f32],
    weights: &[f32],
    epilogue: Epilogue,
    y: &mut [f32],
) {
    check(shape, x.len(), weights.len(), y.len());
    let bias = epilogue.bias.unwrap_or(&[]);
    assert!(
        epilogue.bias.is_none() || bias.len() == shape.out_channels,
        "one bias a channel"
    );
    if y.is_empty() {
        return;
    }
    if shape.is_depthwise() {
        depthwise::forward(isa, shape, x, weights, epilogue, y);
    } else {
        let finish = (!epilogue.is_empty()).then_some((bias, epilogue.activation));
        dense::forward(isa, shape, x, weights, finish, y);
    }
}

/// Gradient of `x`; every element of `dx` is written.
///
/// # Panics
/// If a length does not fit the shape.
pub fn backward_data(isa: Isa, shape: &Conv3dShape, dy: &[f32], weights: &[f32], dx: &mut [f32]) {
    check(shape, dx.len(), weights.len(), dy.len());
    if dx.is_empty() || dy.is_empty() {
        dx.fill(0.0);
    } else if shape.is_depthwise() {
        depthwise::backward_data(isa, shape, dy, weights, dx);
    } else {
        dense::backward_data(isa, shape, dy, weights, dx);
    }
}

/// Gradient of the weights; every element of `dw` is written.
///
/// # Panics
/// If a length does not fit the shape.
pub fn backward_weights(isa: Isa, shape: &Conv3dShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    check(shape, x.len(), dw.len(), dy.len());
    if x.is_empty() || dy.is_empty() {
        dw.fill(0.0);
    } else if shape.is_depthwise() {
        depthwise::backward_weights(isa, shape, x, dy, dw);
    } else {
        weights::backward_weights(isa, shape, x, dy, dw);
    }
}

fn check(shape: &Conv3dShape, x: usize, weights: usize, y: usize) {
    assert!(
        x == shape.x_len() && weights == shape.weights_len() && y == shape.y_len(),
        "{x}, {weights} and {y} elements of x, weights and y do not fit {shape:?}"
    );
}
