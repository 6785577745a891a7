//! Pooling on Burn's CPU tensors.

use burn::tensor::DType;
use burn_flex::FlexTensor;

use super::super::element::{elements_of, filled_with, with_element};
use super::super::flex::{dense, dims};
use crate::raw::Isa;
use crate::raw::pool::{self, Divisor, Pool3dOptions, Pool3dShape};

/// Most positions of a window whose numbers `f16` holds exactly.
const MAX_F16_PLACES: usize = 2048;

/// Dimensions of a pooling's output.
fn pooled_dims(x: &FlexTensor, shape: &Pool3dShape) -> [usize; 5] {
    let [batch, _, _, _, channels] = dims(x);
    let [t, h, w] = shape.output();
    [batch, t, h, w, channels]
}

/// Forward max pooling.
pub(in super::super) fn max_pool3d(x: FlexTensor, options: Pool3dOptions) -> FlexTensor {
    let x = dense(x);
    let shape = Pool3dShape::new(dims(&x), options);
    with_element!(x.dtype(), E => filled_with(pooled_dims(&x, &shape), |y| {
        pool::max_forward::<E>(Isa::best(), &shape, elements_of(&x), y);
    }))
}

/// Forward max pooling, and the place of each output in its window for the backward pass.
pub(in super::super) fn max_pool3d_with_places(
    x: FlexTensor,
    options: Pool3dOptions,
) -> [FlexTensor; 2] {
    let x = dense(x);
    let shape = Pool3dShape::new(dims(&x), options);
    let y_dims = pooled_dims(&x, &shape);
    let places = if shape.num_places() <= MAX_F16_PLACES {
        DType::F16
    } else {
        DType::F32
    };
    with_element!(x.dtype(), E => with_element!(places, P => {
        let mut y = None;
        let places = filled_with::<P, 5>(y_dims, |places| {
            y = Some(filled_with::<E, 5>(y_dims, |y| {
                let x = elements_of(&x);
                pool::max_forward_with_places::<E, P>(Isa::best(), &shape, x, y, places);
            }));
        });
        [y.expect("the closure has run"), places]
    }))
}

/// Gradient of max pooling of an input of dimensions `x`.
pub(in super::super) fn max_pool3d_backward(
    x: [usize; 5],
    places: &FlexTensor,
    dy: &FlexTensor,
    options: Pool3dOptions,
) -> FlexTensor {
    let shape = Pool3dShape::new(x, options);
    with_element!(dy.dtype(), E => with_element!(places.dtype(), P => {
        filled_with::<E, 5>(x, |dx| {
            let (places, dy) = (elements_of::<P>(places), elements_of(dy));
            pool::max_backward::<E, P>(Isa::best(), &shape, places, dy, dx);
        })
    }))
}

/// Forward average pooling.
pub(in super::super) fn avg_pool3d(
    x: FlexTensor,
    options: Pool3dOptions,
    divisor: Divisor,
) -> FlexTensor {
    let x = dense(x);
    let shape = Pool3dShape::new(dims(&x), options);
    with_element!(x.dtype(), E => filled_with::<E, 5>(pooled_dims(&x, &shape), |y| {
        pool::average_forward::<E, E>(Isa::best(), &shape, divisor, elements_of(&x), y);
    }))
}

/// Gradient of average pooling of an input of dimensions `x`.
pub(in super::super) fn avg_pool3d_backward(
    x: [usize; 5],
    dy: &FlexTensor,
    options: Pool3dOptions,
    divisor: Divisor,
) -> FlexTensor {
    let shape = Pool3dShape::new(x, options);
    with_element!(dy.dtype(), E => filled_with::<E, 5>(x, |dx| {
        pool::average_backward::<E, E>(Isa::best(), &shape, divisor, elements_of(dy), dx);
    }))
}

/// The window that covers all of an input of dimensions `x`.
fn whole(x: [usize; 5]) -> Pool3dShape {
    let [_, t, h, w, _] = x;
    let options = Pool3dOptions {
        kernel: [t, h, w],
        stride: [1; 3],
        padding: [0; 3],
    };
    Pool3dShape::new(x, options)
}

/// Forward global average, in `f32`.
pub(in super::super) fn global_average(x: FlexTensor) -> FlexTensor {
    let x = dense(x);
    let [batch, .., channels] = dims::<5>(&x);
    let shape = whole(dims(&x));
    filled_with([batch, channels], |y| {
        with_element!(x.dtype(), E => {
            let x = elements_of::<E>(&x);
            pool::average_forward::<E, f32>(Isa::best(), &shape, Divisor::Window, x, y);
        })
    })
}

/// Gradient of the global average of an input of dimensions `x` and type `dtype`.
pub(in super::super) fn global_average_backward(
    x: [usize; 5],
    dtype: DType,
    dy: &FlexTensor,
) -> FlexTensor {
    let shape = whole(x);
    with_element!(dtype, E => filled_with::<E, 5>(x, |dx| {
        let dy = elements_of::<f32>(dy);
        pool::average_backward::<E, f32>(Isa::best(), &shape, Divisor::Window, dy, dx);
    }))
}
