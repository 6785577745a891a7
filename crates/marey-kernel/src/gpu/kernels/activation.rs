//! The activations and their derivatives.

use cubecl::prelude::*;

use crate::raw::Activation;

#[cube]
fn logistic<N: Size>(z: Vector<f32, N>) -> Vector<f32, N> {
    let one = Vector::<f32, N>::new(1.0);
    let e = Vector::exp(Vector::<f32, N>::new(0.0) - z);
    one / (one + e)
}

/// The activation of `z`; NaN stays NaN.
#[cube]
pub(crate) fn activate<N: Size>(
    z: Vector<f32, N>,
    #[comptime] activation: Activation,
) -> Vector<f32, N> {
    let zero = Vector::<f32, N>::new(0.0);
    let six = Vector::<f32, N>::new(6.0);
    match comptime!(activation) {
        Activation::Identity => z,
        Activation::Relu => select_many(z.less_than(&zero), zero, z),
        Activation::Relu6 => {
            let floor = select_many(z.less_than(&zero), zero, z);
            select_many(floor.greater_than(&six), six, floor)
        }
        // The product would make NaN of minus infinity.
        Activation::Silu => {
            let lowest = Vector::<f32, N>::new(f32::MIN);
            select_many(z.less_than(&lowest), z, z * logistic::<N>(z))
        }
        Activation::Sigmoid => logistic::<N>(z),
    }
}

/// `dy` times the derivative of the activation at `z`.
#[cube]
pub(crate) fn activate_backward<N: Size>(
    dy: Vector<f32, N>,
    z: Vector<f32, N>,
    #[comptime] activation: Activation,
) -> Vector<f32, N> {
    let zero = Vector::<f32, N>::new(0.0);
    let one = Vector::<f32, N>::new(1.0);
    let six = Vector::<f32, N>::new(6.0);
    match comptime!(activation) {
        Activation::Identity => dy,
        Activation::Relu => select_many(z.greater_than(&zero), dy, zero),
        Activation::Relu6 => {
            let below = select_many(z.less_than(&six), dy, zero);
            select_many(z.greater_than(&zero), below, zero)
        }
        Activation::Silu => {
            let s = logistic::<N>(z);
            dy * s * (one + z * (one - s))
        }
        Activation::Sigmoid => {
            let s = logistic::<N>(z);
            dy * s * (one - s)
        }
    }
}
