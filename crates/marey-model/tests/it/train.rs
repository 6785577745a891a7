//! Every architecture learns, and follows from its seed.

use burn::{
    module::{Module, ModuleVisitor, Param},
    nn::loss::CrossEntropyLossConfig,
    optim::{GradientsParams, SgdConfig},
    tensor::{DType, Device, Int, Tensor},
};
use marey_clip::rng_for;
use marey_model::{Arch, Input, Model, ModelConfig, Temporal, arch::Lateral, weights};

use crate::hashed::{clips, values};

/// Every architecture, and a network for frames with every way over time.
fn small() -> Vec<ModelConfig> {
    let narrow = |arch| ModelConfig {
        width: Some(0.1),
        dropout: Some(0.0),
        ..ModelConfig::new(arch)
    };
    let over_time = [
        Temporal::Gru,
        Temporal::Lstm,
        Temporal::BiLstm,
        Temporal::Transformer,
    ];
    let over_time = over_time.map(|temporal| ModelConfig {
        temporal: Some(temporal),
        hidden: Some(32),
        ..narrow(Arch::EfficientNetB0)
    });
    let alone = Arch::ALL.iter().map(|&arch| narrow(arch));
    alone.chain(over_time).collect()
}

fn model(config: &ModelConfig, seed: u64, device: &Device) -> Model {
    config
        .init(3, &mut rng_for(seed, 0, 0, 0), device)
        .expect("valid")
}

/// What a message calls a model.
fn name(config: &ModelConfig) -> String {
    let temporal = config.temporal.map(Temporal::name).unwrap_or_default();
    format!("{} {temporal}", config.arch)
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
    // torchvision's and timm's have these at 1000 classes, with features of these widths.
    for (arch, published, width) in [
        (Arch::ResNet18, 11_689_512, 512),
        (Arch::ResNet34, 21_797_672, 512),
        (Arch::ResNet50, 25_557_032, 2048),
        (Arch::ResNet101, 44_549_160, 2048),
        (Arch::EfficientNetB0, 5_288_548, 1280),
        (Arch::EfficientNetB1, 7_794_184, 1280),
        (Arch::EfficientNetB2, 9_109_994, 1408),
        (Arch::EfficientNetB3, 12_233_232, 1536),
        (Arch::EfficientNetB4, 19_341_616, 1792),
        (Arch::Tsn, 25_557_032, 2048),
        (Arch::Tsm, 25_557_032, 2048),
    ] {
        let expected = published - 998 * (width + 1);
        assert_eq!(arch.num_parameters(), expected, "{arch}");
    }
    // Two of them, the second with 17 more channels in its first convolution of 64 7x7 kernels.
    let second = Arch::ResNet50.num_parameters() + 17 * 64 * 49;
    assert_eq!(
        Arch::TwoStream.num_parameters(),
        Arch::ResNet50.num_parameters() + second
    );
    // At the 400 classes of Kinetics: torchvision's documentation, pytorchvideo's and mmaction2's networks, and for I3D
    // the published weights; beside them the width of what the classifier sees.
    for (arch, at_kinetics, width) in [
        (Arch::Mc3_18, 11_695_440, 512),
        (Arch::R2plus1d18, 31_505_325, 512),
        (Arch::SlowFastR50_4x16, 34_480_216, 2304),
        (Arch::SlowFastR50_8x8, 34_566_488, 2304),
        (Arch::SlowFastR50Thermal, 34_479_288, 2304),
        (Arch::SlowOnlyR50, 32_454_096, 2048),
        (Arch::X3dXs, 3_794_274, 2048),
        (Arch::X3dS, 3_794_274, 2048),
        (Arch::X3dM, 3_794_274, 2048),
        (Arch::I3d, 12_697_264, 1024),
        (Arch::C3d, 79_634_576, 4096),
        // The paper has 3.12 M at the 600 classes of Kinetics-600.
        (Arch::MobileNet3d, 2_866_448, 1280),
    ] {
        let at_two = at_kinetics - 398 * (width + 1);
        assert_eq!(arch.num_parameters(), at_two, "{arch}");
    }
}

#[test]
fn a_step_against_the_gradient_makes_the_loss_smaller() {
    for config in small() {
        let arch = name(&config);
        let device = Device::flex().autodiff();
        let model = model(&config, 1, &device);
        let input = clips([4, 4, 32, 32, 3], &device);
        let loss = |model: &Model| {
            let targets = Tensor::<1, Int>::from_data([0, 1, 2, 0], &device);
            CrossEntropyLossConfig::new()
                .init(&device)
                .forward(model.forward(input.clone()), targets)
        };
        // How short a step must be differs: a deep network whose norms see four values is far from linear. To first order
        // the first step makes the loss smaller by a hundredth.
        let tried = [1e-2, 1e-3, 1e-4].map(|share| {
            let before = loss(&model);
            let grads = GradientsParams::from_grads(before.backward(), &model);
            let mut gradients = Gradients {
                grads: &grads,
                values: Vec::new(),
            };
            model.visit(&mut gradients);
            let square: f64 = gradients.values.iter().map(|&g| f64::from(g).powi(2)).sum();
            let moved = SgdConfig::new()
                .init()
                .step(share / square, model.clone(), grads);
            [values(before)[0], values(loss(&moved))[0]]
        });
        assert!(
            tried.iter().any(|[before, after]| after < before),
            "{arch}: {tried:?}"
        );
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
    for config in small() {
        let arch = name(&config);
        let model = model(&config, 1, &device);
        let valid = model.valid();
        let shallow = [Arch::R3d18, Arch::ResNet18, Arch::EfficientNetB0];
        let is_compared_in_training = shallow.contains(&config.arch)
            && matches!(config.temporal, None | Some(Temporal::BiLstm));
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
            assert!(
                values(logits.clone()).iter().all(|logit| logit.is_finite()),
                "{arch} {dtype:?}"
            );
            if is_compared_in_training {
                return (values(logits), gradients.values);
            }
            // Of a deep network the gradients' values say nothing here: PyTorch's are off by a hundredth in `f32` already,
            // and half precision rounds ten thousand times as much. Its answers are compared instead.
            let plain = device.clone().without_autodiff();
            let logits = valid.forward(clips([4, 4, 64, 64, 3], &plain).cast(dtype));
            (values(logits.clone()), values(logits))
        };
        let (logits, gradients) = run(DType::F32);
        // Roundings of 2^-9 and 2^-12 that a deep network with norms over a small batch multiplies.
        for (dtype, tolerance) in [(DType::BF16, 0.5), (DType::F16, 0.2)] {
            let half = run(dtype);
            if dtype == DType::F16 && !is_compared_in_training {
                // Without statistics that training has moved, the branches of a deep network add up beyond `f16`.
                continue;
            }
            for (name, a, b) in [
                ("logits", &half.0, &logits),
                ("gradients", &half.1, &gradients),
            ] {
                let norm = |values: &mut dyn Iterator<Item = f32>| {
                    values.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt()
                };
                let distance = norm(&mut a.iter().zip(b).map(|(a, b)| a - b));
                let error = distance / norm(&mut b.iter().copied());
                assert!(error.is_finite(), "{arch} {dtype:?}: {name}");
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
    for config in small() {
        let arch = name(&config);
        let logits =
            |seed| values(model(&config, seed, &device).forward(clips([1, 2, 32, 32, 3], &device)));
        assert_eq!(logits(1), logits(1), "{arch}");
        assert_ne!(logits(1), logits(2), "{arch}");
    }
}

#[test]
fn clips_of_one_frame_and_of_odd_sizes_pass() {
    let device = Device::flex().autodiff();
    for config in small() {
        let arch = name(&config);
        let model = model(&config, 1, &device);
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
fn what_is_saved_answers_the_same_when_loaded() {
    let device = Device::flex();
    let dir = tempfile::tempdir().expect("a folder");
    for config in small() {
        let arch = name(&config);
        let path = dir.path().join("model.safetensors");
        let saved = model(&config, 1, &device);
        weights::save(&saved, &path).expect("written");
        let loaded = weights::load(model(&config, 2, &device), &path).expect("its own weights");
        let input = || clips([1, 3, 40, 32, 3], &device);
        assert_eq!(
            values(loaded.forward(input())),
            values(saved.forward(input())),
            "{arch}"
        );
    }
}

#[test]
fn features_are_as_wide_as_the_model_says_and_lead_to_evidence_everywhere() {
    let device = Device::flex();
    for config in small() {
        let arch = name(&config);
        let model = model(&config, 1, &device);
        let input = || clips([2, 9, 64, 48, 3], &device);
        let features = model.features(input());
        assert_eq!(features.dims(), [2, model.num_features()], "{arch}");
        let evidence = model.evidence(input(), 1);
        let [b, t, _, _] = evidence.places.dims();
        assert_eq!((b, evidence.over_time.dims()), (2, [2, t]), "{arch}");
        for value in values(evidence.places) {
            assert!(value >= 0.0 && value.is_finite(), "{arch}: {value}");
        }
    }
}

#[test]
fn a_record_of_a_training_model_keeps_the_last_running_statistics() {
    let device = Device::flex().autodiff();
    let config = &small()[0];
    let trained = model(config, 1, &device);
    trained.forward(clips([2, 2, 32, 32, 3], &device));
    let restored = model(config, 2, &device).load_record(trained.clone().into_record());
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
    let (r3d, efficientnet) = (Arch::R3d18, Arch::EfficientNetB0);
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
        "model.drop_path is 0.2, expected nothing: only efficientnet_b0 to efficientnet_b4 have such a setting, remove it",
    );
    check(
        |c| c.drop_path = Some(0.2),
        Arch::ResNet50,
        "model.drop_path is 0.2, expected nothing: only efficientnet_b0 to efficientnet_b4 have such a setting, remove it",
    );
    check(
        |c| c.lateral = Some(Lateral::Plain),
        Arch::SlowOnlyR50,
        "model.lateral is plain, expected nothing: only the slowfast_r50 networks join two paths, remove it",
    );
    for arch in [r3d, Arch::Tsn, Arch::Tsm, Arch::TwoStream] {
        check(
            |c| c.temporal = Some(Temporal::Mean),
            arch,
            "model.temporal is mean, expected nothing: this architecture has its own way over time; remove it, or take a \
             network for frames (resnet.., efficientnet_b..)",
        );
    }
    let no_layers = "expected nothing without a network over time: remove it, or set model.temporal to \"gru\", \"lstm\", \
                     \"bilstm\" or \"transformer\"";
    let hidden: fn(&mut ModelConfig) = |c| c.hidden = Some(64);
    check(
        hidden,
        efficientnet,
        &format!("model.hidden is 64, {no_layers}"),
    );
    check(
        hidden,
        r3d,
        "model.hidden is 64, expected nothing: this architecture has its own way over time; remove it, or take a network \
         for frames (resnet.., efficientnet_b..)",
    );
    check(
        |c| (c.temporal, c.temporal_layers) = (Some(Temporal::Mean), Some(2)),
        efficientnet,
        &format!("model.temporal_layers is 2, {no_layers}"),
    );
    check(
        |c| (c.temporal, c.temporal_layers) = (Some(Temporal::Gru), Some(0)),
        efficientnet,
        "model.temporal_layers is 0, expected 1 to 16",
    );
    check(
        |c| (c.temporal, c.hidden) = (Some(Temporal::Gru), Some(5000)),
        efficientnet,
        "model.hidden is 5000, expected 8 to 4096",
    );
    check(
        |c| (c.temporal, c.hidden) = (Some(Temporal::Transformer), Some(100)),
        efficientnet,
        "model.hidden is 100, expected a multiple of 8, the transformer's heads",
    );
    check(
        |c| c.head = Some(marey_model::HeadImport::Skip),
        r3d,
        "model.head is skip, expected nothing without model.weights: remove it, or name a weights file",
    );
}

#[test]
fn saved_weights_give_the_same_output_and_another_width_another_size() {
    let device = Device::flex();
    let dir = tempfile::tempdir().expect("a folder");
    for config in small() {
        let what = name(&config);
        let path = dir.path().join("weights.safetensors");
        let saved = model(&config, 1, &device);
        weights::save(&saved, &path).expect("written");
        let loaded = weights::load(model(&config, 2, &device), &path).expect("its own");
        let input = || clips([1, 3, 32, 32, 3], &device);
        let (before, after) = (saved.forward(input()), loaded.forward(input()));
        assert_eq!(values(before), values(after), "{what}");
        assert_eq!(
            loaded.features(input()).dims(),
            [1, loaded.num_features()],
            "{what}"
        );
        let wide = ModelConfig {
            width: Some(0.2),
            ..config
        };
        let wide = model(&wide, 1, &device);
        assert!(wide.num_parameters() > saved.num_parameters(), "{what}");
        weights::load(wide, &path).expect_err("of another width");
    }
}

#[test]
fn evidence_has_a_map_for_the_clip_and_is_somewhere() {
    let device = Device::flex();
    for config in small() {
        let what = name(&config);
        // What speaks against one class everywhere speaks for another.
        let model = config.init(12, &mut rng_for(1, 0, 0, 0), &device);
        let model = model.expect("valid");
        let mut total = 0.0;
        for class in 0..12 {
            let evidence = model.evidence(clips([1, 16, 64, 64, 3], &device), class);
            let [b, t, ..] = evidence.places.dims();
            assert_eq!(evidence.over_time.dims(), [b, t], "{what}");
            let places = values(evidence.places);
            assert!(places.iter().all(|&value| value >= 0.0), "{what}");
            total += places.iter().sum::<f32>();
        }
        assert!(total > 0.0, "{what}");
    }
}

#[test]
fn multiply_adds_are_the_published_ones() {
    let device = Device::flex();
    // Billions for one clip, as torchvision's documentation has them at 1000 classes (400 for the video); the classifier's
    // share is less than its last digit, but for that of EfficientNet.
    for (arch, input, published) in [
        (Arch::ResNet18, input(1, 224), 1.814),
        (Arch::ResNet34, input(1, 224), 3.664),
        (Arch::ResNet50, input(1, 224), 4.089),
        (Arch::ResNet101, input(1, 224), 7.801),
        (Arch::EfficientNetB0, input(1, 224), 0.386),
        (Arch::R3d18, input(16, 112), 40.697),
    ] {
        let classes = if arch == Arch::R3d18 { 400 } else { 1000 };
        let cost = ModelConfig::new(arch)
            .cost(classes, input, &device)
            .expect("valid");
        let billions = cost.multiply_adds as f64 / 1e9;
        assert!((billions - published).abs() < 0.0011, "{arch}: {billions}");
    }
    // Eight frames are eight times the work, but for the one classifier; the shift of TSM costs nothing that is counted.
    let of = |arch, frames| {
        let cost = ModelConfig::new(arch).cost(2, input(frames, 64), &device);
        cost.expect("valid").multiply_adds
    };
    assert_eq!(of(Arch::Tsn, 8), 8 * (of(Arch::Tsn, 1) - 4096) + 4096);
    assert_eq!(of(Arch::Tsm, 8), of(Arch::Tsn, 8));
    // One layer of an LSTM: 4 gates of 256 from 1280 and from 256, for each of 8 frames.
    let over_time = |temporal| {
        let config = ModelConfig {
            temporal: Some(temporal),
            temporal_layers: Some(1),
            ..ModelConfig::new(Arch::EfficientNetB0)
        };
        let cost = config.cost(2, input(8, 64), &device).expect("valid");
        cost.multiply_adds - (of(Arch::EfficientNetB0, 8) - 2 * 1280)
    };
    let head = |states: u64| 8 * (states * 256 + 256) + states * states + 2 * states;
    assert_eq!(
        over_time(Temporal::Lstm),
        8 * 1024 * (1280 + 256) + head(256)
    );
    assert_eq!(
        over_time(Temporal::BiLstm),
        2 * 8 * 1024 * (1280 + 256) + head(512)
    );
    assert_eq!(over_time(Temporal::Gru), 8 * 768 * (1280 + 256) + head(256));
    // The way in, three projections and one back, two products of 8x8 frames, the feed-forward layers, the classifier.
    let block = 8 * 512 * (3 * 512 + 512) + 2 * 8 * 8 * 512 + 2 * 8 * 512 * 1024;
    assert_eq!(
        over_time(Temporal::Transformer),
        8 * 1280 * 512 + block + 2 * 512
    );
}

const fn input(frames: usize, size: usize) -> Input {
    Input { frames, size }
}
