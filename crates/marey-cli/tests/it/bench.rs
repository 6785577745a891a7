use serde_json::Value;

use crate::harness::{fail, succeed};

/// A small measurement that takes a second.
const SMALL: [&str; 9] = [
    "bench", "model", "r3d_18", "--batch", "1", "--frames", "2", "--size", "32",
];

fn bench(more: &[&str]) -> String {
    succeed(&[&SMALL[..], more].concat())
}

#[test]
fn a_model_is_measured_whole_and_by_layer() {
    let more = ["--steps", "1", "--clips", "1", "--by-layer", "--json"];
    let measured: Value = serde_json::from_str(&bench(&more)).expect("JSON");
    for pointer in [
        "/step/step_ms",
        "/step/clips_per_s",
        "/step/forward_ms",
        "/step/backward_ms",
        "/step/update_ms",
        "/inference/clip_ms",
    ] {
        let value = measured.pointer(pointer).and_then(Value::as_f64);
        assert!(
            value.is_some_and(|value| value > 0.0),
            "{pointer}: {measured}"
        );
    }
    // R3D-18 has 33 M parameters; their gradients and two moments are as large.
    let memory = &measured["step"]["peak_memory_bytes"];
    assert!(
        !cfg!(target_os = "linux") || memory.as_u64() > Some(4 * 4 * 33_000_000),
        "{memory}"
    );
    let layers = measured["layers"].as_array().expect("layers");
    let times = |kind: &str| {
        let of_kind = layers.iter().filter(|layer| layer["kind"] == kind);
        of_kind
            .filter_map(|layer| layer["times"].as_u64())
            .sum::<u64>()
    };
    assert_eq!(
        ["conv", "norm", "linear"].map(times),
        [20, 20, 1],
        "{measured}"
    );
}

#[test]
fn what_is_over_time_is_a_choice() {
    let small = [
        "--batch", "1", "--frames", "2", "--size", "32", "--steps", "1", "--clips", "0",
    ];
    let more = ["--temporal", "bilstm", "--by-layer"];
    let start = ["bench", "model", "efficientnet_b0"];
    let table = succeed(&[&start[..], &small, &more].concat());
    assert!(
        table.contains("lstm 2 layers in both directions"),
        "{table}"
    );
    assert!(
        table.starts_with("efficientnet_b0 + bilstm, clips of"),
        "{table}"
    );
}

#[test]
fn what_is_not_asked_for_is_not_measured() {
    let measured: Value =
        serde_json::from_str(&bench(&["--steps", "0", "--clips", "1", "--json"])).expect("JSON");
    assert!(
        measured["step"].is_null() && measured["layers"].is_null(),
        "{measured}"
    );
    let table = bench(&["--steps", "0", "--clips", "0", "--by-layer"]);
    assert!(table.contains("conv 3x7x7 s1x2x2 3-64"), "{table}");
    assert!(
        !table.contains("training") && !table.contains("inference"),
        "{table}"
    );
}

#[test]
fn measuring_nothing_or_an_unknown_model_is_an_error() {
    let nothing = fail(&[&SMALL[..], &["--steps", "0", "--clips", "0"]].concat());
    assert!(nothing.contains("nothing to measure"), "{nothing}");
    let empty = fail(&["bench", "model", "r3d_18", "--frames", "0"]);
    assert!(empty.contains("--frames 0: expected at least 1"), "{empty}");
    let unknown = fail(&["bench", "model", "r3d_19"]);
    assert!(unknown.contains("efficientnet_b0, "), "{unknown}");
    let no_time = fail(&["bench", "model", "r3d_18", "--temporal", "gru"]);
    assert!(
        no_time.contains("model.temporal is gru, expected nothing"),
        "{no_time}"
    );
}
