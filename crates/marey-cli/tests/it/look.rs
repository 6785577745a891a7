use serde_json::Value;

use crate::harness::{marey, succeed};

#[test]
fn doctor_makes_a_real_step() {
    let findings: Value = serde_json::from_str(&succeed(&["doctor", "--json"])).expect("JSON");
    let loss = |key: &str| findings["step"][key].as_f64().expect("a number");
    assert!(loss("loss_after") < loss("loss_before"), "{findings}");
    assert!(succeed(&["doctor"]).contains("processor"));
}

#[test]
fn models_lists_what_can_be_trained_with_its_size_and_work() {
    let rows: Vec<Value> = serde_json::from_str(&succeed(&["models", "--json"])).expect("JSON");
    let row = |arch: &str| {
        let row = rows.iter().find(|row| row["arch"] == arch);
        row.unwrap_or_else(|| panic!("no {arch} in {rows:?}"))
    };
    assert_eq!(row("r3d_18")["parameters"], 33_167_298);
    assert_eq!(row("r3d_18")["input"]["frames"], 16);
    // torchvision has 40.697 and 4.089 billions; eight frames of the second, whose classifier is smaller here.
    let billions = |arch| row(arch)["multiply_adds"].as_u64().expect("a number") as f64 / 1e9;
    assert!((billions("r3d_18") - 40.697).abs() < 0.001);
    assert!((billions("resnet50") - 8.0 * 4.087).abs() < 0.01);
    for row in &rows {
        assert!(row["multiply_adds"].as_u64() > Some(100_000_000), "{row}");
        assert!(
            row["paper"].as_str().is_some_and(|paper| paper.len() > 20),
            "{row}"
        );
    }
    let table = succeed(&["models"]);
    let line = table
        .lines()
        .find(|line| line.starts_with("efficientnet_b0 "));
    let line = line.expect("a line for it");
    assert!(
        line.contains("4.01 M") && line.contains("8x224x224"),
        "{line}"
    );
}

#[test]
fn the_schema_knows_every_section() {
    let schema: Value = serde_json::from_str(&succeed(&["train", "--schema"])).expect("JSON");
    for section in [
        "data",
        "sampling",
        "preprocess",
        "augment",
        "model",
        "loss",
        "optimizer",
        "schedule",
        "train",
        "eval",
    ] {
        assert!(!schema["properties"][section].is_null(), "{section}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = marey()
        .args(["train", "--schema"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("a status");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}
