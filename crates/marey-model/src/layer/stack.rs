//! Recurrent layers one after the other.

use burn::{nn::Dropout, tensor::Tensor};

/// What the last of `layers` gives, with `dropout` between them; `states` runs one.
///
/// # Shapes
/// - `x`: `[b, t, d]`
/// - output: `[b, t, n]`, as `states` gives it
pub(super) fn through<L>(
    layers: &[L],
    dropout: &Dropout,
    x: Tensor<3>,
    states: impl Fn(&L, Tensor<3>) -> Tensor<3>,
) -> Tensor<3> {
    let last = layers.len().saturating_sub(1);
    layers.iter().enumerate().fold(x, |x, (idx, layer)| {
        let y = states(layer, x);
        if idx < last { dropout.forward(y) } else { y }
    })
}

/// The gradient of the input from that of the output, with nothing dropped; `input_gradient` takes a layer, its input, its
/// states and their gradient.
///
/// # Shapes
/// - `x`: `[b, t, d]`, `grad`: like the output
/// - output: `[b, t, d]`
pub(super) fn back_through<L>(
    layers: &[L],
    [x, grad]: [Tensor<3>; 2],
    states: impl Fn(&L, Tensor<3>) -> Tensor<3>,
    input_gradient: impl Fn(&L, [Tensor<3>; 3]) -> Tensor<3>,
) -> Tensor<3> {
    // What each layer is given, and what the last one gives.
    let mut given = vec![x];
    for layer in layers {
        given.push(states(layer, given[given.len() - 1].clone()));
    }
    let layers = layers.iter().enumerate().rev();
    layers.fold(grad, |grad, (idx, layer)| {
        input_gradient(layer, [given[idx].clone(), given[idx + 1].clone(), grad])
    })
}
