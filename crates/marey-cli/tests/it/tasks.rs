//! What a model learns beside the classes.

use serde_json::Value;

use crate::{
    harness::{Project, losses, succeed},
    resume::check_killed,
};

const ANOMALY: &str = "task={kind=\"anomaly\", normal=\"horizontal\", deep_svdd={weight=0.1}}";

#[test]
fn a_killed_run_that_looks_for_anomalies_goes_on_to_the_bit() {
    check_killed(&["train.checkpoint_steps=1", "train.epochs=3", ANOMALY], 1);
}

#[test]
fn a_killed_run_that_ranks_bags_goes_on_to_the_bit() {
    let task = "task={kind=\"anomaly\", normal=\"horizontal\", ranking={segments=2}}";
    check_killed(&["train.checkpoint_steps=1", "train.epochs=3", task], 1);
}

#[test]
fn the_heads_of_a_task_are_bundled_and_change_what_is_learned() {
    let project = Project::new();
    project.train("classes", &[]);
    project.train("anomaly", &[ANOMALY]);
    project.train("labels", &["task={kind=\"classify\", heads=[\"shape\"]}"]);
    let [classes, anomaly, labels] = ["classes", "anomaly", "labels"]
        .map(|runs| losses(&project.read(&format!("{runs}/small-1/metrics.jsonl"))));
    assert_ne!(classes[0], anomaly[0]);
    assert_ne!(classes[0], labels[0]);
    let card = project.read("anomaly/small-1/bundle/card.toml");
    assert!(card.contains("normal = \"horizontal\""), "{card}");
    let card = project.read("labels/small-1/bundle/card.toml");
    assert!(card.contains("column = \"shape\""), "{card}");

    // The report judges the label, and a prediction tells it.
    let report = project.read("labels/small-1/report.json");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let label = &report["labels"][0];
    assert_eq!(label["column"], "shape");
    let names: Vec<_> = label["figures"]
        .as_array()
        .expect("figures")
        .iter()
        .map(|f| &f["name"])
        .collect();
    for name in ["top1", "macro_f1", "combined_accuracy", "joint_accuracy"] {
        assert!(
            names.iter().any(|found| *found == name),
            "{name} in {names:?}"
        );
    }
    let predicted = predict(&project, "labels");
    let labels = predicted[0]["labels"].as_array().expect("labels");
    assert_eq!(labels[0]["column"], "shape");
    assert!(predicted[0].get("anomaly").is_none());

    let predicted = predict(&project, "anomaly");
    let anomaly = &predicted[0]["anomaly"];
    let score = anomaly["score"].as_f64().expect("a score");
    assert!((0.0..=1.0).contains(&score), "{score}");
    assert!(anomaly["distance"].as_f64().expect("a distance") >= 0.0);
    assert!(anomaly.get("ranking").is_none());
}

/// What the bundle of `runs` says about the rendered clips.
fn predict(project: &Project, runs: &str) -> Value {
    let bundle = project.arg(&format!("{runs}/small-1/bundle"));
    let clips = project.arg("clips");
    let text = succeed(&["predict", "--json", &bundle, &clips]);
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_anomaly_score_is_calibrated_on_validation() {
    let project = Project::new();
    // The normal class is that of the task.
    let windows = "eval.anomaly={window=0.4}";
    project.train(
        "runs",
        &[
            ANOMALY,
            windows,
            "eval.calibration=temperature",
            "train.epochs=1",
        ],
    );
    let card = project.read("runs/small-1/bundle/card.toml");
    assert!(card.contains("anomaly_temperature = "), "{card}");
    let report = project.read("runs/small-1/report.json");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["anomalies"]["has_own_score"], true);
}

#[test]
fn a_task_that_the_data_cannot_teach_is_refused() {
    let project = Project::new();
    for (change, expect) in [
        (
            "task={kind=\"anomaly\", normal=\"NormalVideos\"}",
            "task.normal is `NormalVideos`, and the classes are",
        ),
        (
            "task={kind=\"classify\", heads=[\"actor\"]}",
            "the data has no column `actor`",
        ),
        (
            "task={kind=\"anomaly\", normal=\"horizontal\", nu=0.1}",
            "unknown field `nu`",
        ),
    ] {
        let error = project.refuse(&[change]);
        assert!(error.contains(expect), "{error}");
    }
    let ranking = "task={kind=\"anomaly\", normal=\"horizontal\", ranking={}}";
    for (change, expect) in [
        ("train.batch=1", "no effect with train.batch = 1"),
        ("train.mix={mixup_alpha=0.2}", "cannot work with train.mix"),
    ] {
        let error = project.refuse(&[ranking, change]);
        assert!(error.contains(expect), "{error}");
    }
}
