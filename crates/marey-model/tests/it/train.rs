//! Every architecture learns, and follows from its seed.

use burn::{
    module::{Module, ModuleVisitor, Param},
    nn::loss::CrossEntropyLossConfig,
    optim::{GradientsParams, SgdConfig},
    tensor::{DType, Device, Int, Tensor},
};
use marey_clip::rng_for;
use marey_model::{Arch, Model, ModelConfig};

use crate::hashed::{clips, values};

fn small(arch: Arch) -> ModelConfig {
    ModelConfig {
        width: Some(0.1),
        dropout: Some(0.0),
        ..ModelConfig::new(arch)
    }
}

fn model(arch: Arch, seed: u64, device: &Device) -> Model {
    small(arch)
        .init(3, &mut rng_for(seed, 0, 0, 0), device)
        .expect("valid")
}

#[test]
fn parameter_counts_are_the_published_ones() {
    for &arch in Arch::ALL {
        let model = ModelConfig::new(arch)
            .init(2, &mut rng_for(0, 0, 0, 0), &Device::flex())
            .expect("valid");
        assert_eq!(model.num_parameters(), arch.num_parameters(), "{arch}");
    }
    // torchvision's documentation has 33,371,472 at 400 classes.
    assert_eq!(Arch::R3d18.num_parameters(), 33_371_472 - 398 * 513);
}

#[test]
fn a_step_against_the_gradient_makes_the_loss_smaller() {
    for &arch in Arch::ALL {
        let device = Device::flex().autodiff();
        let mut model = model(arch, 1, &device);
        let mut optimizer = SgdConfig::new().init();
        let input = clips([4, 4, 32, 32, 3], &device);
        let loss = |model: &Model| {
            let targets = Tensor::<1, Int>::from_data([0, 1, 2, 0], &device);
            CrossEntropyLossConfig::new()
                .init(&device)
                .forward(model.forward(input.clone()), targets)
        };
        let before = loss(&model);
        let grads = GradientsParams::from_grads(before.backward(), &model);
        model = optimizer.step(1e-2, model, grads);
        let (before, after) = (values(before)[0], values(loss(&model))[0]);
        assert!(after < before, "{arch}: {after} after {before}");
    }
}

/// All gradients of a model in a row.
struct Gradients<'a> {
    grads: &'a GradientsParams,
    values: Vec<f32>,
}

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            assert_eq!(grad.dtype(), DType::F32, "the type of a weight's gradient");
            self.values.extend(values(grad));
        }
    }
}

#[test]
fn half_precision_clips_give_f32_logits_and_gradients_near_those_of_f32() {
    let device = Device::flex().autodiff();
    for &arch in Arch::ALL {
        let model = model(arch, 1, &device);
        let run = |dtype: DType| {
            // The loss is scaled as `f16` needs it.
            let logits = model.forward(clips([4, 4, 64, 64, 3], &device).cast(dtype));
            assert_eq!(logits.dtype(), DType::F32, "{arch} {dtype:?}");
            let targets = Tensor::<1, Int>::from_data([0, 1, 2, 0], &device);
            let loss = CrossEntropyLossConfig::new()
                .init(&device)
                .forward(logits.clone(), targets);
            let grads = GradientsParams::from_grads((loss * 1024.0).backward(), &model);
            let mut gradients = Gradients {
                grads: &grads,
                values: Vec::new(),
            };
            model.visit(&mut gradients);
            (values(logits), gradients.values)
        };
        let (logits, gradients) = run(DType::F32);
        // Roundings of 2^-9 and 2^-12 that a deep network with norms over a small batch multiplies.
        for (dtype, tolerance) in [(DType::BF16, 0.5), (DType::F16, 0.2)] {
            let half = run(dtype);
            for (name, a, b) in [
                ("logits", &half.0, &logits),
                ("gradients", &half.1, &gradients),
            ] {
                let norm = |values: &mut dyn Iterator<Item = f32>| {
                    values.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt()
                };
                let distance = norm(&mut a.iter().zip(b).map(|(a, b)| a - b));
                let error = distance / norm(&mut b.iter().copied());
                assert!(
                    error < tolerance,
                    "{arch} {dtype:?}: {name} are off by {error:.3}"
                );
                // What is computed in another type is not the same to the bit.
                assert!(error > 0.0, "{arch} {dtype:?}: {name}");
            }
        }
    }
}

#[test]
fn a_seed_gives_a_model_and_another_seed_another() {
    let device = Device::flex();
    for &arch in Arch::ALL {
        let logits =
            |seed| values(model(arch, seed, &device).forward(clips([1, 2, 32, 32, 3], &device)));
        assert_eq!(logits(1), logits(1), "{arch}");
        assert_ne!(logits(1), logits(2), "{arch}");
    }
}

#[test]
fn clips_of_one_frame_and_of_odd_sizes_pass() {
    let device = Device::flex().autodiff();
    for &arch in Arch::ALL {
        let model = model(arch, 1, &device);
        for dims in [[1, 1, 32, 32, 3], [2, 3, 33, 47, 3]] {
            let logits = model.forward(clips(dims, &device));
            assert_eq!(logits.dims(), [dims[0], 3], "{arch} {dims:?}");
            assert!(
                values(logits).iter().all(|logit| logit.is_finite()),
                "{arch} {dims:?}"
            );
        }
        let scores = model
            .valid()
            .scores(clips([2, 2, 32, 32, 3], &device.clone().without_autodiff()));
        assert_eq!(scores.len(), 2);
        for scores in scores {
            assert!(
                (scores.iter().sum::<f32>() - 1.0).abs() < 1e-5 && scores.len() == 3,
                "{arch} {scores:?}"
            );
        }
    }
}

#[test]
fn a_record_of_a_training_model_keeps_the_last_running_statistics() {
    let device = Device::flex().autodiff();
    let trained = model(Arch::R3d18, 1, &device);
    trained.forward(clips([2, 2, 32, 32, 3], &device));
    let restored = model(Arch::R3d18, 2, &device).load_record(trained.clone().into_record());
    let input = clips([1, 2, 32, 32, 3], &device.clone().without_autodiff());
    assert_eq!(
        values(restored.valid().forward(input.clone())),
        values(trained.valid().forward(input))
    );
}

#[test]
fn settings_that_cannot_work_are_named() {
    let check = |change: fn(&mut ModelConfig), arch, expected: &str| {
        let mut config = ModelConfig::new(arch);
        change(&mut config);
        let error = config.validate().expect_err(expected);
        assert_eq!(error.kind().to_string(), expected);
    };
    let (r3d, efficientnet) = (Arch::R3d18, Arch::EfficientNetB0BiLstm);
    check(
        |c| c.width = Some(9.0),
        r3d,
        "model.width is 9, expected 0.05 to 4",
    );
    check(
        |c| c.width = Some(f64::NAN),
        r3d,
        "model.width is NaN, expected 0.05 to 4",
    );
    check(
        |c| c.dropout = Some(1.0),
        efficientnet,
        "model.dropout is 1, expected at least 0 and below 1",
    );
    check(
        |c| c.drop_path = Some(0.2),
        r3d,
        "model.drop_path is 0.2, expected nothing: r3d_18 has no such setting, remove it",
    );
    check(
        |c| c.head = Some(marey_model::HeadImport::Skip),
        r3d,
        "model.head is skip, expected nothing without model.weights: remove it, or name a weights file",
    );
}
