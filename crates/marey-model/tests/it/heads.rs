//! What a model says beside its classes.

use burn::tensor::{Device, Tensor};
use marey_clip::{ClassList, rng_for};
use marey_model::{
    Arch, DeepSvdd, HeadClasses, Model, ModelConfig, Outputs, Ranking, Task, Temporal, weights,
};

use crate::hashed::{clips, values};

fn anomaly(deep_svdd: Option<DeepSvdd>, ranking: Option<Ranking>) -> Outputs {
    let task = Task::Anomaly {
        normal: "NormalVideos".into(),
        binary_weight: 0.5,
        deep_svdd,
        ranking,
    };
    Outputs {
        task,
        ..Outputs::classes(14)
    }
}

fn build(arch: Arch, width: f64, outputs: &Outputs) -> Model {
    let mut config = ModelConfig::new(arch);
    config.width = Some(width);
    if arch == Arch::EfficientNetB0 {
        config.temporal = Some(Temporal::BiLstm);
    }
    let mut rng = rng_for(5, 0, 0, 0);
    let (model, _) = config
        .build(outputs, &mut rng, &Device::flex())
        .expect("valid");
    model
}

#[test]
fn the_anomaly_system_has_its_published_size_and_names() {
    let outputs = anomaly(Some(DeepSvdd::default()), None);
    let model = build(Arch::EfficientNetB0, 1.0, &outputs);
    // 9.30 M, as counted in the original.
    assert_eq!(model.num_parameters(), 9_302_541);
    let names: Vec<String> = weights::parameters(&model)
        .into_iter()
        .map(|parameter| parameter.name)
        .collect();
    for name in [
        "classifier.weight",
        "binary_classifier.weight",
        "anomaly_head.embedding.0.weight",
        "anomaly_head.embedding.2.running_var",
        "anomaly_head.embedding.4.bias",
        "anomaly_head.center",
    ] {
        assert!(names.iter().any(|found| found == name), "{name}");
    }
}

#[test]
fn each_head_says_its_part() {
    let outputs = anomaly(Some(DeepSvdd::default()), Some(Ranking::default()));
    let model = build(Arch::R3d18, 0.125, &outputs);
    let clips = clips([2, 4, 32, 32, 3], &Device::flex());
    let before = model.outputs(clips.clone()).anomaly.expect("heads");
    let embedding = before.embedding.expect("an embedding");
    let mean = embedding.clone().mean_dim(0).squeeze_dim::<1>(0);
    model.set_center(mean.clone() * 1e3);
    let after = model.outputs(clips).anomaly.expect("heads");
    let moved = embedding - (mean * 1e3).unsqueeze_dim::<2>(0);
    let expected = values((moved.clone() * moved).sum_dim(1));
    for (found, expected) in values(after.distance.expect("distances"))
        .iter()
        .zip(expected)
    {
        assert!(
            (found - expected).abs() < 1e-3 * expected,
            "{found} for {expected}"
        );
    }
    assert_eq!(after.binary_logits.dims(), [2, 2]);
    let ranking = values(after.ranking.expect("a ranking score"));
    assert!(ranking.iter().all(|score| (0.0..=1.0).contains(score)));
}

#[test]
fn a_center_keeps_away_from_zero() {
    let outputs = anomaly(Some(DeepSvdd::default()), None);
    let model = build(Arch::R3d18, 0.125, &outputs);
    let device = Device::flex();
    let mut center = vec![0.5; 128];
    (center[0], center[1], center[2]) = (0.0, -0.01, -3.0);
    model.set_center(Tensor::from_floats(center.as_slice(), &device));
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("model.safetensors");
    weights::save(&model, &path).expect("written");
    let bytes = std::fs::read(&path).expect("written");
    let stored = safetensors::SafeTensors::deserialize(&bytes).expect("whole");
    let stored = stored.tensor("anomaly_head.center").expect("there");
    let found: Vec<f32> = stored
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("4")))
        .collect();
    assert_eq!(found[..4], [0.1, -0.1, -3.0, 0.5]);
}

#[test]
fn a_bundle_keeps_its_heads() {
    let outputs = Outputs {
        heads: vec![3, 5],
        task: Task::Classify {
            heads: vec!["actor".into(), "place".into()],
        },
        ..Outputs::classes(2)
    };
    let model = build(Arch::R3d18, 0.125, &outputs);
    let list = |num: usize| {
        ClassList::new((0..num).map(|idx| format!("c{idx}")).collect()).expect("a list")
    };
    let mut card = crate::bundle::bundle(1).into_parts().1;
    card.model.width = Some(0.125);
    card.task = outputs.task.clone();
    card.heads = [("actor", 3), ("place", 5)]
        .map(|(column, num)| HeadClasses {
            column: column.into(),
            classes: list(num),
        })
        .into();
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path().join("bundle");
    marey_model::Bundle::new(model.clone(), card)
        .save(&dir)
        .expect("written");
    let loaded = marey_model::Bundle::load(&dir, &Device::flex()).expect("read");
    let clips = clips([1, 4, 32, 32, 3], &Device::flex());
    let (ours, theirs) = (model.outputs(clips.clone()), loaded.model().outputs(clips));
    assert_eq!(ours.heads.len(), 2);
    for (ours, theirs) in ours.heads.into_iter().zip(theirs.heads) {
        assert_eq!(values(ours), values(theirs));
    }
}
