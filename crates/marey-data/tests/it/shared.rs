//! The data sets that lie beside the project.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use marey_clip::Sampling;
use marey_data::{
    AuditConfig, DataConfig, Dataset, Frames, Gap, Loader, LoaderConfig, Severity, Split, SplitBy,
    Survey, Topic, audit, load, split_by_group,
};
use marey_media::{OpenOptions, open};
use marey_transform::{Preprocess, Resize};

use crate::fixtures::shared_data;

const AUTHORS: &str = "the authors' split, for comparison with their figures";

fn counts(dataset: &Dataset) -> [usize; 3] {
    Split::ALL.map(|split| dataset.indices(split).len())
}

fn thermal(root: &Path) -> DataConfig {
    DataConfig {
        allow_leak: Some(AUTHORS.into()),
        ..DataConfig::new(root)
    }
}

#[test]
fn the_authors_cctv_split_shares_cameras() {
    let Some(data) = shared_data() else { return };
    let mut config = DataConfig::new(data.join("cctv_clips/clips.csv"));
    config.group = Some("location".into());
    let error = load(&config)
        .expect_err("a split by clip, not by place")
        .to_string();
    assert!(error.contains("group `"), "{error}");
    config.allow_leak = Some(AUTHORS.into());
    let dataset = load(&config).expect("accepted");
    assert_eq!(counts(&dataset), [320, 176, 0]);
    assert_eq!(
        dataset.classes.names(),
        ["bridge_down", "bridge_up", "no_action", "train_in_out"]
    );
}

#[test]
fn cctv_clips_split_by_place() {
    let Some(data) = shared_data() else { return };
    for group in ["location", "location+camera_id"] {
        let mut config = DataConfig::new(data.join("cctv_clips/clips.csv"));
        config.group = Some(group.into());
        config.split.by = SplitBy::Group;
        let dataset = load(&config).expect("a split that is made has no leak");
        assert!(
            dataset.notes[0].starts_with("5 files are there more than once"),
            "{:?}",
            dataset.notes
        );
        let groups = |split: Split| -> BTreeSet<String> {
            dataset
                .indices(split)
                .iter()
                .map(|&idx| dataset.items[idx].group_key())
                .collect()
        };
        assert!(
            groups(Split::Train).is_disjoint(&groups(Split::Validation)),
            "{group}"
        );
        let [train, validation, _] = counts(&dataset);
        assert_eq!(train + validation, 496);
        assert!(
            (50..=200).contains(&validation),
            "{group}: {validation} of 496 validate"
        );
    }
}

#[test]
fn shape_motion_groups_from_its_names() {
    let Some(data) = shared_data() else { return };
    let mut config = DataConfig::new(data.join("shape_motion/clips"));
    config.group_pattern = Some(r"([^/]+)_\d+\.mp4$".into());
    let dataset = load(&config).expect("three classes");
    assert_eq!((dataset.items.len(), dataset.classes.len()), (135, 3));
    let groups: BTreeSet<String> = dataset.items.iter().map(|item| item.group_key()).collect();
    assert!(groups.len() < 60, "{} groups", groups.len());
    let [_, validation, _] = counts(&dataset);
    assert!(
        (20..=34).contains(&validation),
        "{validation} of 135 validate"
    );
}

#[test]
fn thermal_v1_loads_every_sample() {
    let Some(data) = shared_data() else { return };
    let root = data.join("thermal/v1");
    let error = load(&DataConfig::new(&root))
        .expect_err("both splits hold every recording")
        .to_string();
    assert!(error.contains("group `SL14_R1` is in train"), "{error}");
    let dataset = load(&thermal(&root)).expect("accepted");
    assert_eq!(counts(&dataset), [314, 73, 0]);
    assert_eq!(dataset.classes.len(), 14);
    assert_eq!(
        dataset.class_counts(Split::Validation).into_iter().max(),
        Some(37)
    );
    assert_eq!(dataset.items[0].id, "SL14_R1_1760482263581");
    assert_eq!(dataset.items[0].group.as_deref(), Some("SL14_R1"));
    assert!(Survey::of(&dataset).unreadable().is_empty());
    assert!(
        dataset
            .notes
            .iter()
            .any(|note| note.starts_with("72 of 314")),
        "{:?}",
        dataset.notes
    );
}

#[test]
fn the_window_of_a_thermal_sample_is_64_frames_around_its_own() {
    let Some(data) = shared_data() else { return };
    let dataset = load(&thermal(&data.join("thermal/v1"))).expect("accepted");
    let sampling = Sampling::centered(64, 1);
    for item in dataset.items.iter().take(60) {
        let reader = open(&item.source, &OpenOptions::default()).expect("a recording");
        let timeline = &reader.info().timeline;
        let k: usize = item.metadata["frame_idx"].parse().expect("a number");
        let plan = &sampling.plan_views(timeline, item.span.expect("a frame's time"))[0];
        let frame = |i: usize| (k + i).saturating_sub(32).min(timeline.len() - 1);
        let expected: Vec<_> = (0..64).map(|i| timeline.timestamps()[frame(i)]).collect();
        assert_eq!(plan.timestamps, expected, "{}", item.id);
    }
}

#[test]
fn thermal_clips_become_batches() {
    let Some(data) = shared_data() else { return };
    let dataset = Arc::new(load(&thermal(&data.join("thermal/v1"))).expect("accepted"));
    let mut preprocess = Preprocess::new([32, 48], Resize::Stretch);
    preprocess.temperature = Some([5.0, 45.0]);
    let config = LoaderConfig {
        batch: 4,
        workers: 2,
        ..LoaderConfig::default()
    };
    let frames = Frames::Files(OpenOptions::default());
    let indices: Vec<usize> = dataset
        .indices(Split::Validation)
        .into_iter()
        .take(8)
        .collect();
    let loader = Loader::new(
        dataset,
        indices,
        Sampling::centered(64, 1),
        preprocess,
        config,
        frames,
    )
    .expect("valid settings");
    for batch in loader.views() {
        let batch = batch.expect("a readable recording");
        assert_eq!(batch.dims, [4, 64, 32, 48, 3]);
        assert!(
            batch.pixels.iter().any(|&value| value > 100),
            "somebody warm is in view"
        );
    }
}

#[test]
fn thermal_v2_names_what_it_lacks() {
    let Some(data) = shared_data() else { return };
    let mut config = thermal(&data.join("thermal/v2"));
    let error = load(&config)
        .expect_err("two recordings are missing")
        .to_string();
    for part in ["1229 of 2537 items", "SL06_R", "there are 2 such files"] {
        assert!(error.contains(part), "{error}\nlacks\n{part}");
    }
    config.allow_missing = true;
    let dataset = load(&config).expect("the others are there");
    assert_eq!(counts(&dataset), [2043 - 984, 494 - 245, 0]);
    assert!(
        dataset.notes.iter().any(|note| note.contains("SL06_R1.h5")),
        "{:?}",
        dataset.notes
    );
}

#[test]
fn thermal_is_divided_by_time_in_a_recipe() {
    let Some(data) = shared_data() else { return };
    let mut config = DataConfig::new(data.join("thermal/v1"));
    config.split.by = SplitBy::Time;
    config.split.validation = Some(0.2);
    config.split.seed = Some(1);
    let dataset = load(&config).expect("blocks of time share no group");
    let [train, validation, _] = counts(&dataset);
    assert!(
        validation >= 30 && train + validation < 387,
        "{train} + {validation}"
    );
    // Frames of two splits are so far apart that no two windows of 64 frames touch.
    let frame = |idx: usize| -> i64 {
        dataset.items[idx].metadata["frame_idx"]
            .parse()
            .expect("a number")
    };
    for a in dataset.indices(Split::Train) {
        for b in dataset.indices(Split::Validation) {
            if dataset.items[a].source == dataset.items[b].source {
                assert!((frame(a) - frame(b)).abs() > 64, "{a} and {b}");
            }
        }
    }
    let settings = AuditConfig {
        sampling: Some(Sampling::centered(64, 1)),
        ..AuditConfig::default()
    };
    let found = audit(&config, &settings).expect("thermal v1").audit;
    assert!(found.of(Severity::Leak).next().is_none(), "{found}");
    config.split.gap = Some(Gap::Frames(1));
    let found = audit(&config, &settings).expect("thermal v1").audit;
    assert!(
        found
            .of(Severity::Leak)
            .any(|finding| finding.topic == Topic::WindowOverlap),
        "a gap that is too small shows: {found}"
    );
    config.split.by = SplitBy::Group;
    let error = load(&config).expect_err("a gap without time").to_string();
    assert!(
        error.contains("gap and blocks have an effect with by = \"time\" only"),
        "{error}"
    );
}

/// The raw annotations of a recording, made of the generated ones.
fn raw_lines(root: &Path, sensor: &str) -> String {
    let read = |name: &str| -> serde_json::Value {
        let text = std::fs::read_to_string(root.join("annotations").join(name)).expect("a file");
        serde_json::from_str(&text).expect("JSON")
    };
    let mut lines = Vec::new();
    for name in ["train.json", "val.json"] {
        let file = read(name);
        let all = file["annotations"].as_array().expect("a list");
        for image in file["images"].as_array().expect("a list") {
            if image["sensor_id"] != sensor {
                continue;
            }
            let persons = all.iter().filter(|one| one["image_id"] == image["id"]);
            let mut things: Vec<serde_json::Value> = persons
                .map(|one| serde_json::json!({"bbox": one["bbox"], "category": "person", "subcategory": one["category_name"]}))
                .collect();
            things.push(serde_json::json!({"category": "furniture", "subcategory": "bed"}));
            let time = image["timestamp"].as_i64().expect("ms") + 3;
            lines.push(serde_json::json!({
                "data_id": sensor, "mac_address": image["mac_address"], "annotator_id": 1,
                "annotation_time": time, "data_time": time, "annotations": things,
            }));
        }
    }
    lines.sort_by_key(|line| line["data_time"].as_i64());
    // Somebody marked a frame before the recording began, and one in which nobody is.
    let mut early = lines[0].clone();
    early["data_time"] = (early["data_time"].as_i64().expect("ms") - 600_000).into();
    lines.insert(0, early);
    let mut empty = lines[1].clone();
    empty["annotations"] = serde_json::json!([{"category": "furniture", "subcategory": "bed"}]);
    lines.push(empty);
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn raw_thermal_annotations_give_the_same_items() {
    let Some(data) = shared_data() else { return };
    let root = data.join("thermal/v1");
    let dir = crate::fixtures::folder();
    let frames = dir.path().join("frames");
    std::fs::create_dir_all(&frames).expect("a folder");
    for sensor in ["SL14_R1", "SL18_R2"] {
        let name = format!("{sensor}.h5");
        std::fs::copy(root.join("frames").join(&name), frames.join(&name)).expect("a copy");
        let path = dir.path().join(format!("{sensor}_annotation.json"));
        crate::fixtures::write(&path, raw_lines(&root, sensor).as_bytes());
    }
    let mut config = DataConfig::new(dir.path());
    config.split.by = SplitBy::Group;
    config.split.validation = Some(0.5);
    let raw = load(&config).expect("raw annotations");
    let generated = load(&thermal(&root)).expect("accepted");
    let facts = |dataset: &Dataset| -> BTreeSet<(String, String, usize)> {
        let items = dataset.items.iter();
        let of_both = items
            .filter(|item| ["SL14_R1", "SL18_R2"].contains(&item.metadata["sensor_id"].as_str()));
        of_both
            .map(|item| {
                (
                    item.metadata["sensor_id"].clone(),
                    item.metadata["frame_idx"].clone(),
                    item.label,
                )
            })
            .collect()
    };
    assert_eq!(facts(&raw), facts(&generated));
    assert_eq!(raw.classes, generated.classes);
    for part in ["show no labelled person", "have no frame within 50 ms"] {
        assert!(
            raw.notes.iter().any(|note| note.contains(part)),
            "{part} in {:?}",
            raw.notes
        );
    }
}

#[test]
fn splitting_again_with_the_same_seed_is_the_same_split() {
    let Some(data) = shared_data() else { return };
    let mut config = DataConfig::new(data.join("shape_motion/clips"));
    config.group_pattern = Some(r"([^/]+)_\d+\.mp4$".into());
    let dataset = load(&config).expect("three classes");
    let mut items = dataset.items.clone();
    split_by_group(&mut items, &dataset.classes, &config.split.shares(), &[])
        .expect("enough groups");
    assert_eq!(items, dataset.items);
}
