//! Files that PyTorch wrote.

use std::{error::Error as _, fs, path::Path};

use burn::tensor::Device;
use marey_clip::rng_for;
use marey_model::{
    Arch, Error, HeadImport, Model, ModelConfig, Temporal,
    weights::{self, ImportOptions, ImportReport},
};
use safetensors::{Dtype, tensor::TensorView};

use crate::hashed::{check_close, clips, golden, golden_path, values, weight_of};

fn small(num_classes: usize) -> Model {
    let mut config = ModelConfig::new(Arch::R3d18);
    config.width = Some(0.05);
    config
        .init(num_classes, &mut rng_for(1, 0, 0, 0), &Device::flex())
        .expect("valid")
}

fn import(
    file: &str,
    num_classes: usize,
    head: HeadImport,
) -> Result<(Model, ImportReport), Error> {
    weights::import(
        small(num_classes),
        &golden_path(file),
        &ImportOptions {
            head,
            container: None,
        },
    )
}

fn message(error: &Error) -> String {
    format!("{error}: {}", error.source().expect("a kind"))
}

fn check_logits(model: &Model, dtype: &str) {
    let golden = golden("imports.safetensors");
    let (_, _, expected) = golden
        .iter()
        .find(|(name, ..)| name == &format!("logits/{dtype}"))
        .expect("logits");
    let logits = values(model.forward(clips([1, 4, 32, 32, 3], &Device::flex())));
    check_close(dtype, &logits, expected, 1e-4);
}

#[test]
fn a_zip_checkpoint_in_half_precision_gives_pytorchs_output() {
    let (model, report) = import("small_r3d_zip.pth", 3, HeadImport::Load).expect("readable");
    check_logits(&model, "f16");
    assert_eq!(
        (report.container.as_str(), report.loaded.len()),
        ("state_dict", 102)
    );
    assert_eq!(
        (report.missing, report.skipped, report.unused),
        (vec![], vec![], vec![])
    );
    assert_eq!(report.ignored.len(), 20);
    assert_eq!(
        report.ignored[0],
        "state_dict.module._orig_mod.layer1.0.conv1.1.num_batches_tracked"
    );
}

#[test]
fn safetensors_in_bfloat16_give_pytorchs_output() {
    let (model, report) = import("small_r3d.safetensors", 3, HeadImport::Load).expect("readable");
    check_logits(&model, "bf16");
    assert_eq!((report.container.as_str(), report.loaded.len()), ("", 102));
}

#[test]
fn a_legacy_checkpoint_with_a_part_of_the_network_says_what_it_lacks() {
    let (model, report) = import("part_r3d_legacy.pth", 3, HeadImport::Load).expect("readable");
    assert_eq!(report.container, "model");
    assert_eq!(report.loaded.len(), 27);
    assert!(
        report.loaded.contains(&"fc.weight".to_owned())
            && report.loaded.contains(&"stem.0.weight".to_owned())
    );
    assert!(
        report
            .missing
            .iter()
            .all(|name| !name.starts_with("layer1."))
    );
    assert_eq!(report.missing.len(), 102 - 27);
    assert!(
        report.unused.contains(&"model.temperature".to_owned()),
        "{:?}",
        report.unused
    );
    assert!(
        report
            .unused
            .iter()
            .any(|name| name.starts_with("optimizer.state.0")),
        "{:?}",
        report.unused
    );
    // Both names of one weight, and its values: not the random ones.
    assert_eq!(model.num_classes(), 3);
    let text = report.to_string();
    assert!(
        text.starts_with("27 tensors loaded, 75 missing in the file, 0 skipped, "),
        "{text}"
    );
    assert!(
        text.contains("\n  missing: layer4.1.conv2.1.running_var\n"),
        "{text}"
    );
}

#[test]
fn a_head_of_other_classes_is_skipped_only_when_asked() {
    let error = import("small_r3d_zip.pth", 5, HeadImport::Load).expect_err("3 classes, not 5");
    let message = message(&error);
    assert_eq!(
        error.path(),
        Some(golden_path("small_r3d_zip.pth").as_path())
    );
    for part in [
        "`state_dict.module._orig_mod.fc.bias` has shape [3], the model's `fc.bias` has [5]",
        "set model.head = \"skip\"",
    ] {
        assert!(
            message.contains(part)
                || message.contains(
                    &part
                        .replace("bias", "weight")
                        .replace("[3]", "[3, 24]")
                        .replace("[5]", "[5, 24]")
                ),
            "{message}"
        );
    }
    let (_, report) = import("small_r3d_zip.pth", 5, HeadImport::Skip).expect("readable");
    assert_eq!(report.skipped, ["fc.weight", "fc.bias"]);
    assert_eq!(report.loaded.len(), 100);
    assert!(report.unused.iter().all(|name| name.contains(".fc.")) && report.unused.len() == 2);
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let import_into = |config: &ModelConfig, file: &str| {
        let model = config
            .init(3, &mut rng_for(1, 0, 0, 0), &Device::flex())
            .expect("valid");
        message(
            &weights::import(model, &golden_path(file), &ImportOptions::default())
                .expect_err("does not fit"),
        )
    };
    let mut wide = ModelConfig::new(Arch::R3d18);
    wide.width = Some(0.25);
    let text = import_into(&wide, "small_r3d.safetensors");
    assert!(text.contains("`stem.0.weight` has shape [8, 3, 3, 7, 7], the model's `stem.0.weight` has [16, 3, 3, 7, 7]"), "{text}");
    let mut other = ModelConfig::new(Arch::EfficientNetB0);
    other.width = Some(0.25);
    let text = import_into(&other, "small_r3d.safetensors");
    assert!(text.contains("belongs to efficientnet_b0"), "{text}");
    assert!(
        text.contains("`fc.bias`") && text.contains("`backbone.backbone.conv_stem.weight`"),
        "{text}"
    );
}

#[test]
fn damaged_files_are_errors_with_their_path() {
    let dir = tempfile::tempdir().expect("a folder");
    let check = |path: &Path, part: &str| {
        let error =
            weights::import(small(3), path, &ImportOptions::default()).expect_err("damaged");
        assert_eq!(error.path(), Some(path));
        assert!(message(&error).contains(part), "{}", message(&error));
    };
    check(&dir.path().join("no.pth"), "cannot open the weights file");
    for (file, part) in [
        ("small_r3d_zip.pth", "expected a PyTorch checkpoint"),
        ("part_r3d_legacy.pth", "expected a PyTorch checkpoint"),
        ("small_r3d.safetensors", "no safetensors"),
    ] {
        let bytes = fs::read(golden_path(file)).expect("a golden file");
        let path = dir.path().join(file);
        fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
        check(&path, part);
    }
    let path = dir.path().join("text.pth");
    fs::write(&path, "<html>not found</html>").expect("written");
    check(&path, "expected a PyTorch checkpoint");
}

#[test]
fn tensors_that_are_no_weights_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("odd.safetensors");
    let check = |tensors: &[(&str, Dtype, &[usize], &[u8])], part: &str| {
        let views: Vec<_> = tensors
            .iter()
            .map(|(name, dtype, shape, bytes)| {
                (
                    name.to_string(),
                    TensorView::new(*dtype, shape.to_vec(), bytes).expect("fits"),
                )
            })
            .collect();
        safetensors::serialize_to_file(views, None, &path).expect("written");
        let error = weights::import(small(3), &path, &ImportOptions::default()).expect_err(part);
        assert!(message(&error).contains(part), "{}", message(&error));
    };
    let zeros = [0; 24];
    let nan: Vec<u8> = [0.0, f32::NAN, 0.0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    check(
        &[("fc.bias", Dtype::F32, &[3], &nan)],
        "`fc.bias` cannot be read: it holds NaN",
    );
    check(
        &[("fc.bias", Dtype::I64, &[3], &zeros)],
        "`fc.bias` cannot be read: it holds I64, expected floats",
    );
    check(
        &[("fc.bias", Dtype::F32, &[], &zeros[..4])],
        "`fc.bias` has shape [], the model's `fc.bias` has [3]",
    );
    let twice: [(&str, Dtype, &[usize], &[u8]); 2] = [
        ("fc.bias", Dtype::F32, &[3], &zeros[..12]),
        ("module.fc.bias", Dtype::F32, &[3], &zeros[..12]),
    ];
    check(
        &twice,
        "`fc.bias` and `module.fc.bias` both mean the model's `fc.bias`",
    );
}

#[test]
fn a_pickle_that_calls_a_program_is_not_obeyed() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, mark) = (dir.path().join("evil.pth"), dir.path().join("mark"));
    let pickle = format!("\u{2}cos\nsystem\n(S'touch {}'\ntR.", mark.display());
    fs::write(&path, [b"\x80", pickle.as_bytes()].concat()).expect("written");
    weights::import(small(3), &path, &ImportOptions::default()).expect_err("no weights");
    assert!(!mark.exists());
}

#[test]
fn weights_of_a_frame_network_alone_become_the_backbone() {
    let config = ModelConfig {
        width: Some(0.25),
        temporal: Some(Temporal::BiLstm),
        ..ModelConfig::new(Arch::EfficientNetB0)
    };
    let model = |seed| {
        config
            .init(3, &mut rng_for(seed, 0, 0, 0), &Device::flex())
            .expect("valid")
    };
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("ours.safetensors");
    weights::save(&model(1), &path).expect("written");
    // The names that timm gives, by cutting ours; with timm's own classifier, which must not be taken for ours.
    let bytes = fs::read(&path).expect("written");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("ours");
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("ours");
    let tensors: Vec<_> = file
        .tensors()
        .into_iter()
        .filter_map(
            |(name, view)| match name.strip_prefix("backbone.backbone.") {
                Some(name) => Some((name.to_owned(), view)),
                None => name.starts_with("classifier.").then_some((name, view)),
            },
        )
        .collect();
    let num = tensors.len();
    let timm = dir.path().join("timm.safetensors");
    safetensors::serialize_to_file(tensors, header.metadata().clone(), &timm).expect("written");
    let (_, report) =
        weights::import(model(2), &timm, &ImportOptions::default()).expect("a backbone");
    assert_eq!(report.loaded.len(), num - 2);
    assert_eq!(report.unused, ["classifier.bias", "classifier.weight"]);
    assert!(report.missing.contains(&"classifier.weight".to_owned()));
    assert!(
        report
            .missing
            .contains(&"temporal_encoder.rnn.weight_hh_l1_reverse".to_owned())
    );
}

/// The weights of a small `arch`, and a file of them with other names; those that `rename` drops are left out.
fn renamed(
    (arch, temporal): (Arch, Option<Temporal>),
    path: &Path,
    rename: impl Fn(&str) -> Option<String>,
) -> Model {
    let model = small_net((arch, temporal), 1);
    let ours = path.with_extension("ours");
    weights::save(&model, &ours).expect("written");
    let bytes = fs::read(&ours).expect("written");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("ours");
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("ours");
    let tensors: Vec<_> = file
        .tensors()
        .into_iter()
        .filter_map(|(name, view)| Some((rename(&name)?, view)))
        .collect();
    safetensors::serialize_to_file(tensors, header.metadata().clone(), path).expect("written");
    model
}

fn small_net((arch, temporal): (Arch, Option<Temporal>), seed: u64) -> Model {
    let config = ModelConfig {
        width: Some(0.1),
        temporal,
        ..ModelConfig::new(arch)
    };
    config
        .init(3, &mut rng_for(seed, 0, 0, 0), &Device::flex())
        .expect("valid")
}

/// mmaction2's name of a tensor of TSN or TSM, from its `ConvModule`s and its `TemporalShift`.
fn mmaction2(name: &str, is_tsm: bool) -> String {
    let name = name
        .replace("downsample.0.", "downsample.conv.")
        .replace("downsample.1.", "downsample.bn.");
    let mut parts: Vec<String> = name.split('.').map(str::to_owned).collect();
    let at = parts.len() - 2;
    let is_in_block = name.starts_with("backbone.layer");
    if name.starts_with("backbone.") && parts[at].starts_with("conv") && parts[at] != "conv" {
        let shifts = is_tsm && is_in_block && parts[at] == "conv1";
        parts[at] += if shifts { ".conv.net" } else { ".conv" };
    } else if parts[at].starts_with("bn") && parts[at] != "bn" {
        parts[at] = parts[at].replace("bn", "conv") + ".bn";
    }
    parts.join(".")
}

#[test]
fn mmaction2s_tsn_and_tsm_load_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("mmaction2.safetensors");
    assert_eq!(
        mmaction2("backbone.layer1.0.conv1.weight", true),
        "backbone.layer1.0.conv1.conv.net.weight"
    );
    assert_eq!(
        mmaction2("backbone.bn1.running_mean", true),
        "backbone.conv1.bn.running_mean"
    );
    for (arch, is_tsm) in [(Arch::Tsn, false), (Arch::Tsm, true)] {
        let theirs = renamed((arch, None), &path, |name| Some(mmaction2(name, is_tsm)));
        let ours = small_net((arch, None), 2);
        let (ours, report) = weights::import(ours, &path, &ImportOptions::default()).expect("fits");
        assert_eq!(report.missing.len() + report.unused.len(), 0, "{report}");
        let input = || clips([1, 3, 32, 32, 3], &Device::flex());
        assert_eq!(
            values(ours.forward(input())),
            values(theirs.forward(input()))
        );
    }
}

#[test]
fn an_imagenet_resnet_becomes_the_backbone_and_the_rest_stays_random() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("resnet50.safetensors");
    // torchvision's names, with its own classifier.
    renamed((Arch::ResNet50, None), &path, |name| {
        let inner = name.strip_prefix("backbone.backbone.").map(str::to_owned);
        inner.or_else(|| Some(name.replace("classifier.", "fc.")))
    });
    for (arch, temporal, prefix) in [
        (Arch::ResNet50, Some(Temporal::Gru), "backbone.backbone."),
        (
            Arch::ResNet50,
            Some(Temporal::Transformer),
            "backbone.backbone.",
        ),
        (Arch::Tsn, None, "backbone."),
        (Arch::Tsm, None, "backbone."),
        (Arch::TwoStream, None, "rgb."),
    ] {
        let model = small_net((arch, temporal), 2);
        let (_, report) = weights::import(model, &path, &ImportOptions::default()).expect("fits");
        assert_eq!(report.loaded.len(), 53 + 4 * 53, "{arch}: {report}");
        assert!(report.loaded.iter().all(|name| name.starts_with(prefix)));
        assert!(report.missing.iter().all(|name| !name.starts_with(prefix)));
        assert!(!report.missing.is_empty(), "{arch}");
        assert_eq!(report.unused, ["fc.bias", "fc.weight"], "{arch}");
    }
}

/// The network of the published size with what a file of pytorchvideo's holds: hashed values under its names, which
/// `upstream_{theirs}.txt` lists with their shapes.
fn import_from_pytorchvideo(arch: Arch, theirs: &str, container: &str) -> (Model, ImportReport) {
    let device = Device::flex();
    let model = ModelConfig::new(arch)
        .init(3, &mut rng_for(1, 0, 0, 0), &device)
        .expect("valid");
    let list = fs::read_to_string(golden_path(&format!("upstream_{theirs}.txt"))).expect("a list");
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = list
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().expect("a name");
            let shape: Vec<usize> = words.map(|side| side.parse().expect("a side")).collect();
            let bytes = if shape.is_empty() {
                vec![0; 8]
            } else {
                weight_of(name, &shape)
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect()
            };
            (format!("{container}{name}"), shape, bytes)
        })
        .collect();
    let views = data.iter().map(|(name, shape, bytes)| {
        let dtype = if shape.is_empty() {
            Dtype::I64
        } else {
            Dtype::F32
        };
        let view = TensorView::new(dtype, shape.clone(), bytes).expect("fits");
        (name, view)
    });
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("theirs.safetensors");
    safetensors::serialize_to_file(views, None, &path).expect("written");
    weights::import(model, &path, &ImportOptions::default()).expect("readable")
}

fn check_pytorchvideo(arch: Arch, theirs: &str, container: &str) {
    let (model, report) = import_from_pytorchvideo(arch, theirs, container);
    assert_eq!(report.container, container.trim_end_matches('.'));
    assert_eq!((&report.missing, &report.unused), (&vec![], &vec![]));
    assert_eq!(report.loaded.len(), weights::parameters(&model).len());
    assert!(
        report
            .ignored
            .iter()
            .all(|name| name.ends_with(".num_batches_tracked"))
    );
    let golden = golden(&format!("upstream_{theirs}.safetensors"));
    let [(name, _, expected)] = &golden[..] else {
        panic!("one output")
    };
    let sides: Vec<usize> = name
        .trim_start_matches("eval/")
        .split('x')
        .map(|side| side.parse().expect("a side"))
        .collect();
    let dims = sides.try_into().expect("five sides");
    let logits = values(model.forward(clips(dims, &Device::flex())));
    check_close(theirs, &logits, expected, 1e-4);
}

#[test]
fn slowfast_of_pytorchvideo_gives_its_output_though_its_classifier_sees_the_slow_pathway_first() {
    check_pytorchvideo(Arch::SlowFastR50_8x8, "slowfast", "model_state.");
}

#[test]
fn slow_of_pytorchvideo_gives_its_output() {
    check_pytorchvideo(Arch::SlowOnlyR50, "slow", "");
}

#[test]
fn laterals_of_another_slowfast_are_refused_not_dropped() {
    // Kernels of 7 frames do not fit those of 5, which a load by name alone would drop.
    let device = Device::flex();
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("8x8.safetensors");
    let build = |arch| {
        let mut config = ModelConfig::new(arch);
        config.width = Some(0.05);
        config
            .init(3, &mut rng_for(1, 0, 0, 0), &device)
            .expect("valid")
    };
    weights::save(&build(Arch::SlowFastR50_8x8), &path).expect("written");
    let thermal = build(Arch::SlowFastR50Thermal);
    let error = weights::import(thermal, &path, &ImportOptions::default()).expect_err("7 for 5");
    let text = message(&error);
    assert!(
        text.contains("`backbone.slow_path.conv1_lateral.conv.weight` has shape [2, 7, 1, 1, 1]")
            && text.contains("has [2, 5, 1, 1, 1]"),
        "{text}"
    );
}

#[test]
fn a_checkpoint_of_mmengine_is_read_past_the_objects_it_keeps() {
    let mut config = ModelConfig::new(Arch::SlowFastR50Thermal);
    config.width = Some(0.05);
    let model = config
        .init(14, &mut rng_for(1, 0, 0, 0), &Device::flex())
        .expect("valid");
    let wanted = weights::parameters(&model);
    let path = golden_path("mmaction2_slowfast.pth");
    let (model, report) =
        weights::import(model, &path, &ImportOptions::default()).expect("readable");
    assert_eq!(report.container, "state_dict");
    // Both stems (5 tensors each), two laterals of one tensor, and the classifier.
    assert_eq!(report.loaded.len(), 5 + 5 + 2 + 2, "{:?}", report.loaded);
    assert_eq!(report.missing.len(), wanted.len() - 14);
    assert!(
        report
            .missing
            .contains(&"backbone.slow_path.layer2_lateral.conv.weight".to_owned())
    );
    // Of what lies beside the weights, tensors are listed and objects are passed over.
    assert!(
        report
            .unused
            .iter()
            .all(|name| name.starts_with("optimizer.")),
        "{:?}",
        report.unused
    );
    assert_eq!(report.ignored.len(), 2);
    // The values are the file's.
    let dir = tempfile::tempdir().expect("a folder");
    let saved = dir.path().join("ours.safetensors");
    weights::save(&model, &saved).expect("written");
    let bytes = fs::read(&saved).expect("written");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("ours");
    let bias = file
        .tensor("cls_head.fc_cls.bias")
        .expect("the classifier's");
    let found: Vec<f32> = bias
        .data()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&value| f32::from_le_bytes(value))
        .collect();
    assert_eq!(found, weight_of("cls_head.fc_cls.bias", &[14]));
}
