//! The public functions give the same on the device that Burn prefers as on the CPU: with
//! `MAREY_TEST_DEVICE=default`, and a device feature of `marey-kernel`.

use burn::tensor::{DType, Device, Distribution, Tensor};
use marey_kernel::{
    Activation, AdamWStep, Affine, Conv3dOptions, Fused, KeptWeights, NormOptions, Pool3dOptions,
    Statistics, adamw, batch_norm_frozen, batch_norm_train, bilstm, blend, conv3d, conv3d_fused,
    global_average, linear, max_pool3d, sum_of_squares,
};

/// The device to test, if one is asked for.
#[allow(clippy::print_stderr, reason = "a test says that it is skipped")]
fn device() -> Option<Device> {
    match std::env::var("MAREY_TEST_DEVICE").as_deref() {
        Err(_) => {
            eprintln!("skipped: MAREY_TEST_DEVICE is not set");
            None
        }
        Ok("default") => Some(Device::default()),
        Ok(other) => panic!("MAREY_TEST_DEVICE is `{other}`, expected `default`"),
    }
}

/// The types of activations that the device can hold.
fn types(device: &Device) -> Vec<DType> {
    let all = [DType::F32, DType::BF16, DType::F16];
    all.into_iter()
        .filter(|&dtype| device.supports_dtype(dtype))
        .collect()
}

/// Of the largest magnitude: TF32 and f16 round to 10 bits, bf16 to 7.
fn tolerance(dtype: DType) -> f32 {
    match dtype {
        DType::BF16 => 2e-2,
        _ => 3e-3,
    }
}

/// Random numbers on the CPU.
fn random<const D: usize>(dims: [usize; D]) -> Tensor<D> {
    Tensor::random(dims, Distribution::Uniform(-0.5, 0.5), &Device::flex())
}

/// Panics unless `found` is as good as `expected`, which lies on the CPU.
fn check_close<const D: usize>(what: &str, found: Tensor<D>, expected: Tensor<D>, tolerance: f32) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    assert_eq!(found.dtype(), expected.dtype(), "{what}");
    let found = found.to_device(&expected.device()).cast(DType::F32);
    let expected = expected.cast(DType::F32);
    let scale = expected.clone().abs().max().into_scalar::<f32>();
    let error = (found - expected).abs().max().into_scalar::<f32>();
    // Some gradients are zero, and exactly so.
    assert!(
        error <= tolerance * scale,
        "{what} is off by {error:.1e} of {scale}"
    );
}

/// A copy on a device, tracked.
fn tracked<const D: usize>(tensor: &Tensor<D>, device: &Device) -> Tensor<D> {
    Tensor::from_inner(tensor.clone().to_device(device)).require_grad()
}

/// y, and the gradients in `operands` of the sum of a function of it, flat.
fn gradients<const N: usize>(y: Tensor<5>, operands: [Tensor<1>; N]) -> Vec<Tensor<1>> {
    let wide = y.clone().cast(DType::F32);
    let weights = wide.clone().detach().powi_scalar(2) + 0.3;
    let gradients = (wide * weights).sum().backward();
    let of = |operand: &Tensor<1>| operand.grad(&gradients).expect("it is tracked");
    std::iter::once(y.inner().flatten(0, 4))
        .chain(operands.iter().map(of))
        .collect()
}

/// Checks what `run` gives on the device against what it gives on the CPU. `run` gets its operands flat.
fn compare<const N: usize>(
    what: &str,
    device: &Device,
    operands: [Tensor<1>; N],
    tolerance: f32,
    run: impl Fn([Tensor<1>; N]) -> Tensor<5>,
) {
    let on = |device: &Device| {
        let operands = operands.each_ref().map(|operand| tracked(operand, device));
        gradients(run(operands.clone()), operands)
    };
    let results = on(device).into_iter().zip(on(&Device::flex()));
    for (idx, (found, expected)) in results.enumerate() {
        check_close(&format!("{what}, tensor {idx}"), found, expected, tolerance);
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    tensor.flatten(0, D as isize - 1)
}

fn options(
    stride: [usize; 3],
    padding: [usize; 3],
    dilation: [usize; 3],
    groups: usize,
) -> Conv3dOptions {
    Conv3dOptions {
        stride,
        padding,
        dilation,
        groups,
    }
}

#[test]
#[rustfmt::skip]
fn convolutions_agree() {
    let Some(device) = device() else { return };
    let cases: [(&str, [usize; 5], [usize; 5], Conv3dOptions); 10] = [
        ("3-D", [2, 4, 14, 14, 64], [32, 3, 3, 3, 64], options([1; 3], [1; 3], [1; 3], 1)),
        ("3-D, stride 2", [2, 4, 14, 15, 16], [32, 3, 3, 3, 16], options([2; 3], [1; 3], [1; 3], 1)),
        ("stem of 3 channels", [1, 4, 32, 32, 3], [64, 3, 7, 7, 3], options([1, 2, 2], [1, 3, 3], [1; 3], 1)),
        ("one pixel", [2, 4, 9, 9, 24], [40, 1, 1, 1, 24], options([1; 3], [0; 3], [1; 3], 1)),
        ("in time", [2, 6, 5, 5, 20], [12, 3, 1, 1, 20], options([1; 3], [1, 0, 0], [1; 3], 1)),
        ("image, dilated", [3, 1, 16, 16, 8], [16, 1, 3, 3, 8], options([1; 3], [0, 2, 2], [1, 2, 2], 1)),
        ("grouped", [2, 1, 8, 8, 32], [32, 1, 3, 3, 8], options([1; 3], [0, 1, 1], [1; 3], 4)),
        ("depthwise", [4, 1, 16, 16, 48], [48, 1, 5, 5, 1], options([1, 2, 2], [0, 2, 2], [1; 3], 48)),
        ("depthwise, 3-D", [2, 5, 9, 8, 20], [20, 3, 3, 3, 1], options([1; 3], [1; 3], [1; 3], 20)),
        ("odd channels", [1, 3, 7, 6, 5], [7, 3, 3, 3, 5], options([1; 3], [1; 3], [1; 3], 1)),
    ];
    for dtype in types(&device) {
        for (name, x_dims, weights_dims, options) in cases {
            let operands = [flat(random(x_dims).cast(dtype)), flat(random(weights_dims))];
            compare(&format!("{name}, {dtype:?}"), &device, operands, tolerance(dtype), |[x, weights]| {
                conv3d(x.reshape(x_dims), weights.reshape(weights_dims), options)
            });
        }
    }
}

#[test]
fn norms_agree() {
    let Some(device) = device() else { return };
    for dtype in types(&device) {
        for (dims, has_residual, activation, is_frozen) in [
            ([2, 3, 10, 9, 64], false, Activation::Relu, false),
            ([2, 3, 10, 9, 64], true, Activation::Relu, false),
            ([1, 1, 5, 3, 19], true, Activation::Silu, false),
            ([4, 1, 7, 7, 130], false, Activation::Identity, true),
            ([1, 2, 3, 3, 24], true, Activation::Relu6, true),
        ] {
            let c = dims[4];
            let operands = [
                flat(random(dims).cast(dtype)),
                flat(random(dims).cast(dtype)),
                random([c]) + 1.0,
                random([c]),
            ];
            let statistics = [random([c]), random([c]) + 1.0];
            let what = format!("{dims:?} {dtype:?} {activation:?} {has_residual} {is_frozen}");
            let options = NormOptions {
                epsilon: 1e-3,
                activation,
            };
            let most = if dtype == DType::F32 {
                1e-4
            } else {
                tolerance(dtype)
            };
            compare(
                &what,
                &device,
                operands,
                most,
                |[x, residual, gamma, beta]| {
                    // Without a residual it is still tracked, for the gradient that is asked for.
                    let added = residual.clone().reshape(dims);
                    let nothing = (residual * 0.0).reshape(dims);
                    let [mean, variance] = statistics.each_ref().map(|values| {
                        Tensor::from_inner(values.clone().to_device(&x.device().without_autodiff()))
                    });
                    let (x, affine) = (x.reshape(dims), Affine { gamma, beta });
                    let residual = has_residual.then_some(added);
                    let y = if is_frozen {
                        batch_norm_frozen(
                            x,
                            residual,
                            affine,
                            Statistics { mean, variance },
                            options,
                        )
                    } else {
                        batch_norm_train(x, residual, affine, options).0
                    };
                    y + nothing
                },
            );
        }
    }
}

#[test]
fn statistics_agree() {
    let Some(device) = device() else { return };
    let x = random([4, 2, 30, 30, 48]) * 3.0 + 100.0;
    let run = |device: &Device| {
        let c = |value: f32| Tensor::<1>::full([48], value, device);
        let affine = Affine {
            gamma: c(1.0),
            beta: c(0.0),
        };
        let options = NormOptions {
            epsilon: 1e-5,
            activation: Activation::Identity,
        };
        batch_norm_train(x.clone().to_device(device), None, affine, options).1
    };
    let (found, expected) = (run(&device), run(&Device::flex()));
    check_close("mean", found.mean, expected.mean, 1e-6);
    check_close("variance", found.variance, expected.variance, 1e-4);
}

#[test]
fn pools_agree() {
    let Some(device) = device() else { return };
    for dtype in types(&device) {
        let dims = [2, 4, 9, 8, 24];
        let options = Pool3dOptions {
            kernel: [2, 3, 3],
            stride: [2, 2, 2],
            padding: [0, 1, 1],
        };
        let x = || [flat(random(dims).cast(dtype))];
        compare(&format!("maximum, {dtype:?}"), &device, x(), 1e-6, |[x]| {
            max_pool3d(x.reshape(dims), options)
        });
        compare(
            &format!("average, {dtype:?}"),
            &device,
            x(),
            tolerance(dtype),
            |[x]| global_average(x.reshape(dims)).reshape([2, 1, 1, 1, 24]),
        );
    }
}

#[test]
fn a_maximum_of_nan_is_nan_and_its_gradient_goes_to_the_first() {
    let Some(device) = device() else { return };
    let values = [1.0, f32::NAN, 3.0, f32::NAN];
    let options = Pool3dOptions {
        kernel: [1, 1, 4],
        stride: [1; 3],
        padding: [0; 3],
    };
    for device in [Device::flex(), device] {
        let x = tracked(&Tensor::<1>::from_floats(values, &Device::flex()), &device);
        let y = max_pool3d(x.clone().reshape([1, 1, 1, 4, 1]), options);
        let gradients = y.clone().sum().backward();
        let dx = x.grad(&gradients).expect("x is tracked").into_data();
        assert!(y.inner().into_scalar::<f32>().is_nan());
        assert_eq!(dx.try_into_vec::<f32>().expect("f32"), [0.0, 1.0, 0.0, 0.0]);
    }
}

#[test]
fn recurrences_and_linear_layers_agree() {
    let Some(device) = device() else { return };
    for [b, t, n] in [[3, 5, 16], [8, 16, 128], [1, 1, 7]] {
        let (inputs, weights) = ([b, t, 4 * n], [4 * n, n]);
        let operands = [
            flat(random(inputs) * 2.0),
            flat(random(inputs) * 2.0),
            flat(random(weights)),
            flat(random(weights)),
        ];
        compare(
            &format!("LSTM {b} {t} {n}"),
            &device,
            operands,
            1e-3,
            |[x, x_back, w, w_back]| {
                let inputs = [x, x_back].map(|x| x.reshape(inputs));
                let weights = [w, w_back].map(|w| w.reshape(weights));
                bilstm(inputs, weights).reshape([b, t, 1, 1, 2 * n])
            },
        );
    }
    let operands = [flat(random([6, 40])), flat(random([24, 40])), random([24])];
    compare("linear", &device, operands, 3e-3, |[x, weights, bias]| {
        let (x, weights) = (x.reshape([6, 40]), weights.reshape([24, 40]));
        linear(x, weights, bias, &KeptWeights::default()).reshape([6, 1, 1, 1, 24])
    });
}

#[test]
fn fused_convolutions_agree() {
    let Some(device) = device() else { return };
    let (x, weights) = (random([2, 3, 8, 8, 16]), random([32, 3, 3, 3, 16]));
    let (gamma, beta, added) = (random([32]), random([32]), random([2, 3, 8, 8, 32]));
    for activation in [Activation::Relu, Activation::Silu, Activation::Sigmoid] {
        for has_residual in [false, true] {
            let run = |device: &Device| {
                let on = |tensor: &Tensor<5>| tensor.clone().to_device(device);
                let fused = Fused {
                    affine: Affine {
                        gamma: gamma.clone().to_device(device),
                        beta: beta.clone().to_device(device),
                    },
                    residual: has_residual.then(|| on(&added)),
                    activation,
                };
                let options = options([1; 3], [1; 3], [1; 3], 1);
                conv3d_fused(
                    on(&x),
                    on(&weights),
                    fused,
                    options,
                    &KeptWeights::default(),
                )
            };
            let what = format!("{activation:?}, {has_residual}");
            check_close(&what, run(&device), run(&Device::flex()), 3e-3);
        }
    }
}

#[test]
fn optimisers_agree() {
    let Some(device) = device() else { return };
    for len in [1, 7, 4096, 1_000_003] {
        let [parameter, gradient, first] = [(); 3].map(|()| random([len]));
        let second = random([len]).square();
        let run = |device: &Device| {
            let [parameter, gradient, first, second] = [&parameter, &gradient, &first, &second]
                .map(|tensor| tensor.clone().to_device(device));
            let squares = sum_of_squares(vec![gradient.clone(), first.clone()]).expect("tensors");
            let step = AdamWStep {
                lr: 0.01,
                betas: [0.9, 0.999],
                epsilon: 1e-8,
                weight_decay: 0.01,
                gradient_factor: 0.5,
                time: 3,
            };
            let blended = blend(parameter.clone(), gradient.clone(), [0.9, 0.2]);
            let (parameter, [first, second]) = adamw(parameter, gradient, [first, second], step);
            [parameter, first, second, squares, blended]
        };
        for (found, expected) in run(&device).into_iter().zip(run(&Device::flex())) {
            check_close(&format!("AdamW of {len}"), found, expected, 1e-5);
        }
    }
}
