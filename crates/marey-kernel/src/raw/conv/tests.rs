//! Every direction, on every instruction set, against the scalar reference.

use half::{bf16, f16};
use proptest::prelude::*;

use super::super::reference::{
    conv_backward_data, conv_backward_weights, conv_forward, noise, relative_error,
};
use super::super::shape::{Conv3dOptions, Conv3dShape};
use super::*;

/// Largest difference over the largest magnitude that `f32` sums of these lengths may show.
const TOLERANCE: f64 = 5e-6;

/// Largest difference that rounding outputs to the type may add.
fn rounding<E: Element>() -> f64 {
    match E::TYPE {
        ElementType::F32 => 0.0,
        ElementType::Bf16 => 1.0 / 256.0,
        ElementType::F16 => 1.0 / 2048.0,
    }
}

/// `len` numbers of a type, as they are stored and as floats.
fn stored<E: Element>(len: usize, seed: u64) -> (Vec<E>, Vec<f32>) {
    let stored: Vec<E> = noise(len, seed).into_iter().map(E::from_f32).collect();
    let values = stored.iter().map(|value| value.to_f32()).collect();
    (stored, values)
}

fn floats<E: Element>(stored: &[E]) -> Vec<f32> {
    stored.iter().map(|value| value.to_f32()).collect()
}

/// All instruction sets of the machine, as far as they make a difference to dense convolutions of a type.
fn all_sets<E: Element>() -> Vec<Sets> {
    if E::TYPE == ElementType::Bf16 {
        let sets = Bf16::available();
        return sets
            .into_iter()
            .map(|bf16| Sets {
                isa: Isa::best(),
                bf16,
            })
            .collect();
    }
    let sets = Isa::available();
    sets.into_iter().map(Sets::of).collect()
}

/// Compares all three directions, on all instruction sets of the machine, with the reference.
/// Outputs start as NaN, so that an element nobody writes is found.
fn check_type<E: Element>(shape: &Conv3dShape) {
    let (x, x_values) = stored::<E>(shape.x_len(), 1);
    let (_, weights) = stored::<E>(shape.weights_len(), 2);
    let (dy, dy_values) = stored::<E>(shape.y_len(), 3);
    let want_y = conv_forward(shape, &x_values, &weights);
    let want_dx = conv_backward_data(shape, &dy_values, &weights);
    let want_dw = conv_backward_weights(shape, &x_values, &dy_values);
    for sets in all_sets::<E>() {
        let fresh = |len: usize| vec![E::from_f32(f32::NAN); len];
        let (mut y, mut dx) = (fresh(shape.y_len()), fresh(shape.x_len()));
        let mut dw = vec![f32::NAN; shape.weights_len()];
        forward(sets, shape, &x, &weights[..], Epilogue::default(), &mut y);
        backward_data(sets, shape, &dy, &weights, &mut dx);
        backward_weights(sets, shape, &x, &dy, &mut dw);
        for (name, got, want, tolerance) in [
            ("y", floats(&y), &want_y, TOLERANCE + rounding::<E>()),
            ("dx", floats(&dx), &want_dx, TOLERANCE + rounding::<E>()),
            ("dw", dw, &want_dw, TOLERANCE),
        ] {
            let error = relative_error(&got, want);
            assert!(
                error <= tolerance,
                "{:?} {sets:?} {name} is off by {error:.1e}: {shape:?}",
                E::TYPE
            );
        }
    }
}

fn check(shape: &Conv3dShape) {
    check_type::<f32>(shape);
    check_type::<bf16>(shape);
    check_type::<f16>(shape);
}

fn shape(
    x: [usize; 5],
    [out_channels, kt, kh, kw]: [usize; 4],
    stride: [usize; 3],
    padding: [usize; 3],
    dilation: [usize; 3],
    groups: usize,
) -> Conv3dShape {
    let options = Conv3dOptions {
        stride,
        padding,
        dilation,
        groups,
    };
    Conv3dShape::new(x, [out_channels, kt, kh, kw, x[4] / groups], options)
}

#[test]
fn awkward_shapes_agree_with_the_reference() {
    for case in [
        // The stem of the video ResNets.
        shape(
            [2, 3, 17, 18, 3],
            [64, 3, 7, 7],
            [1, 2, 2],
            [1, 3, 3],
            [1; 3],
            1,
        ),
        // Channels that are no multiple of anything.
        shape(
            [1, 2, 5, 6, 19],
            [37, 2, 3, 2],
            [1; 3],
            [1, 1, 0],
            [1; 3],
            1,
        ),
        // Strides with classes that no tap reaches, and a stride larger than the kernel.
        shape([2, 1, 9, 9, 4], [5, 1, 1, 1], [1, 3, 2], [0; 3], [1; 3], 1),
        shape([1, 5, 11, 8, 3], [8, 2, 2, 2], [3, 3, 3], [1; 3], [1; 3], 1),
        // Dilation, with more padding than input.
        shape(
            [1, 1, 4, 3, 6],
            [7, 1, 3, 3],
            [1, 2, 1],
            [0, 5, 4],
            [1, 3, 2],
            1,
        ),
        // One pixel, one channel.
        shape([1, 1, 1, 1, 1], [1, 1, 1, 1], [1; 3], [0; 3], [1; 3], 1),
        // A product in place, whose last rows lie at the end of x.
        shape([3, 1, 1, 7, 1], [33, 1, 1, 1], [1; 3], [0; 3], [1; 3], 1),
        shape([2, 2, 9, 7, 64], [96, 1, 1, 1], [1; 3], [0; 3], [1; 3], 1),
        // A sum in several parts, several panels, several images a block.
        shape(
            [9, 1, 5, 5, 130],
            [70, 1, 3, 3],
            [1; 3],
            [0, 1, 1],
            [1; 3],
            1,
        ),
        // Weights so large, and maps so small, that panels are packed on demand.
        shape(
            [3, 1, 3, 3, 512],
            [520, 1, 3, 3],
            [1; 3],
            [0, 1, 1],
            [1; 3],
            1,
        ),
        shape(
            [2, 1, 1, 1, 2100],
            [1010, 1, 1, 1],
            [1; 3],
            [0; 3],
            [1; 3],
            1,
        ),
        // One frame of padding only.
        shape(
            [1, 4, 3, 3, 40],
            [24, 3, 1, 1],
            [1; 3],
            [1, 0, 0],
            [1; 3],
            1,
        ),
        // Groups, and depthwise with two outputs a channel.
        shape(
            [2, 2, 6, 5, 12],
            [18, 1, 3, 3],
            [1, 2, 1],
            [0, 1, 1],
            [1; 3],
            3,
        ),
        shape(
            [1, 1, 6, 5, 10],
            [20, 1, 3, 3],
            [1; 3],
            [0, 1, 1],
            [1; 3],
            10,
        ),
        // Depthwise: kernels with and without a tile of their own, remainders of a vector.
        shape([2, 3, 9, 11, 33], [33, 3, 3, 3], [1; 3], [1; 3], [1; 3], 33),
        shape(
            [1, 1, 12, 20, 16],
            [16, 1, 5, 5],
            [1, 2, 2],
            [0, 2, 2],
            [1; 3],
            16,
        ),
        shape(
            [1, 1, 9, 9, 7],
            [7, 1, 2, 4],
            [1, 2, 3],
            [0, 1, 3],
            [1, 2, 2],
            7,
        ),
        shape(
            [1, 1, 3, 3, 40],
            [40, 1, 7, 7],
            [1; 3],
            [0, 3, 3],
            [1; 3],
            40,
        ),
    ] {
        check(&case);
    }
}

/// Runs backward weights often on more threads than the machine has.
fn check_order<E: Element>(case: &Conv3dShape) {
    let (x, dy) = (
        stored::<E>(case.x_len(), 1).0,
        stored::<E>(case.y_len(), 2).0,
    );
    for sets in all_sets::<E>() {
        let run = || {
            let mut dw = vec![0.0; case.weights_len()];
            backward_weights(sets, case, &x, &dy, &mut dw);
            dw
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(5)
            .build()
            .expect("threads start");
        let first = pool.install(run);
        for _ in 0..20 {
            assert!(pool.install(run) == first, "{sets:?}");
        }
    }
}

#[test]
fn results_do_not_depend_on_scheduling() {
    let case = shape([4, 3, 14, 14, 24], [40, 3, 3, 3], [1; 3], [1; 3], [1; 3], 1);
    check_order::<f32>(&case);
    check_order::<bf16>(&case);
}

fn check_fused<E: Element>(case: &Conv3dShape) {
    let (x, x_values) = stored::<E>(case.x_len(), 1);
    let (_, weights) = stored::<E>(case.weights_len(), 2);
    let [scale, bias] = [4, 3].map(|seed| noise(case.out_channels, seed));
    let sums = conv_forward(case, &x_values, &weights);
    for activation in [Activation::Identity, Activation::Relu, Activation::Silu] {
        let affine = scale.iter().zip(&bias).cycle();
        let want: Vec<f64> = sums
            .iter()
            .zip(affine)
            .map(|(sum, (scale, bias))| activation.of(sum * f64::from(*scale) + f64::from(*bias)))
            .collect();
        for sets in all_sets::<E>() {
            let mut y = vec![E::from_f32(f32::NAN); case.y_len()];
            let epilogue = Epilogue {
                scale: Some(&scale),
                bias: Some(&bias),
                residual: None,
                activation,
            };
            forward(sets, case, &x, &weights[..], epilogue, &mut y);
            let error = relative_error(&floats(&y), &want);
            assert!(
                error <= TOLERANCE + rounding::<E>(),
                "{sets:?} {activation:?} off by {error:.1e}: {case:?}"
            );
        }
    }
}

#[test]
fn scale_bias_and_activation_are_fused() {
    for case in [
        shape([2, 2, 7, 6, 50], [37, 3, 3, 3], [1; 3], [1; 3], [1; 3], 1),
        shape(
            [2, 1, 7, 6, 12],
            [36, 1, 3, 3],
            [1; 3],
            [0, 1, 1],
            [1; 3],
            2,
        ),
        shape(
            [2, 1, 7, 6, 19],
            [19, 1, 3, 3],
            [1; 3],
            [0, 1, 1],
            [1; 3],
            19,
        ),
        shape([2, 1, 7, 6, 3], [3, 1, 3, 3], [1; 3], [0, 1, 1], [1; 3], 3),
    ] {
        check_fused::<f32>(&case);
        check_fused::<bf16>(&case);
        check_fused::<f16>(&case);
    }
}

#[test]
fn many_3x3_windows_agree_with_the_reference() {
    // Odd sizes, no padding and more than one needs, a stride over time, columns that are no multiple of a vector.
    for case in [
        shape(
            [2, 3, 27, 31, 48],
            [37, 3, 3, 3],
            [1; 3],
            [0, 1, 2],
            [1; 3],
            1,
        ),
        shape(
            [1, 5, 30, 40, 64],
            [32, 3, 3, 3],
            [2, 1, 1],
            [1, 1, 0],
            [1; 3],
            1,
        ),
        shape(
            [2, 1, 33, 32, 128],
            [40, 1, 3, 3],
            [1; 3],
            [0, 1, 1],
            [1; 3],
            1,
        ),
    ] {
        check_type::<f32>(&case);
    }
}

#[test]
fn what_is_not_finite_stays_near_where_it_is_seen() {
    let case = shape([1, 2, 32, 34, 64], [32, 2, 3, 3], [1; 3], [1; 3], [1; 3], 1);
    let (h, w) = (32, 34);
    let mut x = noise(case.x_len(), 1);
    x[((h + 7) * w + 12) * 64 + 5] = f32::NAN;
    let weights = noise(case.weights_len(), 2);
    for isa in Isa::available() {
        let mut y = vec![0.0; case.y_len()];
        forward(
            Sets::of(isa),
            &case,
            &x,
            &weights[..],
            Epilogue::default(),
            &mut y,
        );
        for (pixel, values) in y.chunks_exact(32).enumerate() {
            let (frame, row, column) = (pixel / (h * w), pixel / w % h, pixel % w);
            let (sees_time, row, column) = (frame > 0, row.abs_diff(7), column.abs_diff(12));
            let is_nan = values.iter().any(|value| value.is_nan());
            let sees = sees_time && row.max(column) <= 1;
            let is_near = sees_time && row.max(column) <= 2;
            assert!(is_nan >= sees && is_nan <= is_near, "{isa:?} at {pixel}");
        }
    }
}

#[test]
fn residuals_are_added_before_the_activation_and_kept_weights_are_those_given() {
    for case in [
        shape([2, 2, 7, 6, 50], [37, 3, 3, 3], [1; 3], [1; 3], [1; 3], 1),
        shape([3, 1, 2, 2, 40], [80, 1, 1, 1], [1; 3], [0; 3], [1; 3], 1),
        shape([1, 4, 13, 11, 48], [40, 3, 3, 3], [1; 3], [1; 3], [1; 3], 1),
        shape(
            [2, 1, 7, 6, 12],
            [36, 1, 3, 3],
            [1; 3],
            [0, 1, 1],
            [1; 3],
            2,
        ),
    ] {
        let [x, weights, residual] =
            [case.x_len(), case.weights_len(), case.y_len()].map(|len| noise(len, len as u64));
        let [scale, bias] = [4, 3].map(|seed| noise(case.out_channels, seed));
        let affine = scale.iter().zip(&bias).cycle();
        let sums = conv_forward(&case, &x, &weights).into_iter().zip(affine);
        let want: Vec<f64> = sums
            .zip(&residual)
            .map(|((sum, (scale, bias)), residual)| {
                let value = sum * f64::from(*scale) + f64::from(*bias) + f64::from(*residual);
                Activation::Relu.of(value)
            })
            .collect();
        for isa in Isa::available() {
            let rows = case.weights_len() / case.out_channels;
            let groups = case.options.groups;
            let packed =
                PackedWeights::new(isa, &weights, [groups, case.out_channels / groups, rows]);
            for packed in [None, Some(&packed)] {
                let mut y = vec![f32::NAN; case.y_len()];
                let epilogue = Epilogue {
                    scale: Some(&scale),
                    bias: Some(&bias),
                    residual: Some(&residual),
                    activation: Activation::Relu,
                };
                // What is packed is what counts.
                let values = if packed.is_some() {
                    vec![f32::NAN; weights.len()]
                } else {
                    weights.clone()
                };
                let given = Weights {
                    values: &values,
                    packed,
                };
                forward(Sets::of(isa), &case, &x, given, epilogue, &mut y);
                let error = relative_error(&y, &want);
                assert!(error <= TOLERANCE, "{isa:?} off by {error:.1e}: {case:?}");
            }
        }
    }
}

/// A NaN and an infinity in x reach what sees them and nothing else.
fn check_not_finite<E: Element>(channels: usize, groups: usize) {
    let case = shape(
        [1, 1, 9, 9, channels],
        [channels, 1, 3, 3],
        [1; 3],
        [0, 1, 1],
        [1; 3],
        groups,
    );
    let (mut x, _) = stored::<E>(case.x_len(), 1);
    let weights = noise(case.weights_len(), 2);
    x[(4 * 9 + 4) * channels] = E::from_f32(f32::NAN);
    x[(7 * 9) * channels] = E::from_f32(f32::INFINITY);
    for sets in all_sets::<E>() {
        let mut y = vec![E::default(); case.y_len()];
        forward(sets, &case, &x, &weights[..], Epilogue::default(), &mut y);
        for (pixel, values) in floats(&y).chunks_exact(channels).enumerate() {
            let (h, w) = (pixel / 9, pixel % 9);
            let sees = (3..=5).contains(&h) && (3..=5).contains(&w) || h >= 6 && w <= 1;
            assert_eq!(
                !values[0].is_finite(),
                sees,
                "{sets:?} {channels} in {groups} groups at {h}, {w}"
            );
        }
        let ones = (0..case.y_len())
            .map(|_| E::from_f32(1.0))
            .collect::<Vec<_>>();
        let mut dw = vec![0.0; case.weights_len()];
        backward_weights(sets, &case, &x, &ones, &mut dw);
        let per_tap = case.group_inputs();
        for (idx, value) in dw.iter().enumerate() {
            let sees = if groups == 1 {
                idx % per_tap == 0
            } else {
                idx < 9
            };
            assert_eq!(
                !value.is_finite(),
                sees,
                "{sets:?} {channels} in {groups} groups weight {idx}"
            );
        }
    }
}

/// Small enough for an interpreter: `cargo xtask miri`.
#[test]
fn tiny_geometries_agree_with_the_reference() {
    let pad = [0, 1, 1];
    for case in [
        shape([1, 1, 3, 2, 3], [4, 1, 2, 2], [1; 3], pad, [1; 3], 1),
        shape([1, 2, 2, 3, 2], [3, 2, 1, 2], [1, 2, 1], [0; 3], [1; 3], 1),
        // A stride larger than the kernel, and dilation with more padding than input.
        shape([1, 1, 4, 5, 2], [3, 1, 1, 1], [1, 3, 2], [0; 3], [1; 3], 1),
        shape(
            [1, 1, 3, 2, 2],
            [3, 1, 3, 2],
            [1, 2, 1],
            [0, 5, 4],
            [1, 3, 2],
            1,
        ),
        // A product in place, and depthwise.
        shape([2, 1, 1, 2, 5], [3, 1, 1, 1], [1; 3], [0; 3], [1; 3], 1),
        shape([1, 1, 3, 3, 3], [3, 1, 3, 3], [1, 1, 2], pad, [1; 3], 3),
    ] {
        check(&case);
    }
}

#[test]
fn nan_and_infinity_reach_the_pixels_that_see_them_and_no_others() {
    for (channels, groups) in [(20, 1), (20, 20), (3, 1), (64, 1)] {
        check_not_finite::<f32>(channels, groups);
        check_not_finite::<bf16>(channels, groups);
        check_not_finite::<f16>(channels, groups);
    }
}

/// A pixel that only the first row of outputs sees must not reach the taps that do not see it.
#[test]
fn nan_at_the_edge_reaches_the_weights_that_see_it_and_no_others() {
    // Sizes at which rows do not fill chunks of pairs.
    for w in [5, 7, 11, 35] {
        let case = shape([2, 2, 7, w, 8], [8, 1, 3, 1], [1; 3], [0; 3], [1; 3], 1);
        let mut x = stored::<bf16>(case.x_len(), 1).0;
        x[0] = bf16::NAN;
        for sets in all_sets::<bf16>() {
            let mut dw = vec![0.0; case.weights_len()];
            let dy = stored::<bf16>(case.y_len(), 2).0;
            backward_weights(sets, &case, &x, &dy, &mut dw);
            for (idx, value) in dw.iter().enumerate() {
                assert_eq!(
                    value.is_nan(),
                    idx % 24 == 0,
                    "{sets:?} weight {idx} at width {w}"
                );
            }
        }
    }
}

prop_compose! {
    /// Any geometry that a small input allows.
    fn any_shape()(
        batch in 1usize..4,
        kernel in [1usize..4, 1usize..5, 1usize..5],
        stride in [1usize..3, 1usize..4, 1usize..4],
        padding in [0usize..3, 0usize..4, 0usize..4],
        dilation in [1usize..3, 1usize..4, 1usize..4],
        extra in [0usize..4, 0usize..9, 0usize..9],
        groups in prop_oneof![3 => Just(1usize), 1 => 2usize..5],
        inputs in 1usize..40,
        outputs in 1usize..40,
        is_depthwise in prop::bool::weighted(0.3),
    ) -> Conv3dShape {
        let input: [usize; 3] = std::array::from_fn(|axis| {
            let reach = dilation[axis] * (kernel[axis] - 1) + 1;
            (reach + extra[axis]).saturating_sub(2 * padding[axis]).max(1)
        });
        let (groups, inputs, outputs) =
            if is_depthwise { (inputs, 1, 1) } else { (groups, inputs, outputs) };
        let [t, h, w] = input;
        let options = Conv3dOptions { stride, padding, dilation, groups };
        let weights = [outputs * groups, kernel[0], kernel[1], kernel[2], inputs];
        Conv3dShape::new([batch, t, h, w, inputs * groups], weights, options)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_geometry_agrees_with_the_reference(shape in any_shape()) {
        check(&shape);
    }
}
