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
fn models_lists_what_can_be_trained() {
    let rows: Vec<Value> = serde_json::from_str(&succeed(&["models", "--json"])).expect("JSON");
    assert!(rows.iter().any(|row| row["arch"] == "r3d_18"), "{rows:?}");
    assert!(succeed(&["models"]).contains("efficientnet_b0_bilstm"));
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
