//! Every type of element against the scalar reference; `conv::tests` has `f32` in more geometries.

use half::{bf16, f16};
use proptest::prelude::*;

use super::super::super::activation::Activation;
use super::super::super::reference::{
    conv_backward_data, conv_backward_weights, conv_forward, noise, relative_error, rounded,
    rounding_error, widened,
};
use super::super::super::shape::Conv3dOptions;
use super::*;

/// Largest error that sums in `f32` may show.
const TOLERANCE: f64 = 5e-6;

fn check<E: Element>(shape: &Conv3dShape) {
    let (x, dy): (Vec<E>, Vec<E>) = (
        rounded(&noise(shape.x_len(), 1)),
        rounded(&noise(shape.y_len(), 2)),
    );
    let weights = noise(shape.weights_len(), 3);
    let [scale, bias] = [5, 4].map(|seed| noise(shape.out_channels, seed));
    let sums = conv_forward(shape, &widened(&x), &weights);
    let affine = scale.iter().zip(&bias).cycle();
    let finished = |(sum, (scale, bias)): (&f64, (&f32, &f32))| {
        Activation::Relu.of(sum * f64::from(*scale) + f64::from(*bias))
    };
    let want_y: Vec<f64> = sums.iter().zip(affine).map(finished).collect();
    let want_dx = conv_backward_data(shape, &widened(&dy), &weights);
    let want_dw = conv_backward_weights(shape, &widened(&x), &widened(&dy));
    let epilogue = Epilogue {
        scale: Some(&scale),
        bias: Some(&bias),
        residual: None,
        activation: Activation::Relu,
    };
    let nan = E::from_f32(f32::NAN);
    for isa in Isa::available() {
        let (mut y, mut dx) = (vec![nan; shape.y_len()], vec![nan; shape.x_len()]);
        let mut dw = vec![f32::NAN; shape.weights_len()];
        forward(isa, shape, &x, &weights, epilogue, &mut y);
        backward_data(isa, shape, &dy, &weights, &mut dx);
        backward_weights(isa, shape, &x, &dy, &mut dw);
        let stored = TOLERANCE + rounding_error::<E>();
        for (name, got, want, most) in [
            ("y", widened(&y), &want_y, stored),
            ("dx", widened(&dx), &want_dx, stored),
            ("dw", dw, &want_dw, TOLERANCE),
        ] {
            let (error, element) = (relative_error(&got, want), std::any::type_name::<E>());
            assert!(
                error <= most,
                "{isa:?} {element} {name} is off by {error:.1e}: {shape:?}"
            );
        }
    }
}

fn check_all(shape: &Conv3dShape) {
    check::<f32>(shape);
    check::<bf16>(shape);
    check::<f16>(shape);
}

fn depthwise(
    [batch, t, h, w, channels]: [usize; 5],
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
) -> Conv3dShape {
    let options = Conv3dOptions {
        stride,
        padding,
        dilation: [1; 3],
        groups: channels,
    };
    let [kt, kh, kw] = kernel;
    Conv3dShape::new(
        [batch, t, h, w, channels],
        [channels, kt, kh, kw, 1],
        options,
    )
}

#[test]
fn maps_of_every_width_agree_with_the_reference() {
    for width in 1..=20 {
        for stride in 1..=3 {
            let (stride, shape) = ([1, stride, stride], [2, 1, 3, width, 21]);
            check_all(&depthwise(shape, [1, 3, 3], stride, [0, 1, 1]));
            check_all(&depthwise(shape, [1, 5, 5], stride, [0, 2, 2]));
        }
    }
    // Runs of 5 and 2 taps; rows of time; a 1 x 1 map.
    check_all(&depthwise([1, 1, 9, 19, 17], [1, 1, 7], [1; 3], [0, 0, 3]));
    check_all(&depthwise(
        [2, 5, 4, 9, 16],
        [3, 3, 3],
        [2, 2, 2],
        [1, 1, 1],
    ));
    check_all(&depthwise([3, 1, 1, 1, 40], [1, 5, 5], [1; 3], [0, 2, 2]));
}

#[test]
fn channels_in_several_blocks_agree_with_the_reference() {
    for channels in [40, 333, 672] {
        check_all(&depthwise(
            [2, 1, 4, 10, channels],
            [1, 5, 5],
            [1, 1, 1],
            [0, 2, 2],
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_geometry_agrees_with_the_reference(
        batch in 1usize..4,
        channels in 2usize..70,
        kernel in [1usize..4, 1usize..8, 1usize..8],
        stride in [1usize..3, 1usize..4, 1usize..4],
        extra in [0usize..3, 0usize..6, 0usize..20],
    ) {
        let padding = kernel.map(|side| side / 2);
        let [t, h, w] = std::array::from_fn(|axis| {
            (kernel[axis] + extra[axis]).saturating_sub(2 * padding[axis]).max(1)
        });
        check_all(&depthwise([batch, t, h, w, channels], kernel, stride, padding));
    }
}
