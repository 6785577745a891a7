use std::fs;

use serde_json::Value;

use crate::harness::{Project, fail, stderr, succeed};

/// Three clips of which the last is a copy of the first, in groups of their own.
fn project() -> Project {
    let project = Project::new();
    let clip = |name: &str| project.path(&format!("clips/clips/{name}"));
    fs::copy(clip("horizontal_000.gif"), clip("copy.gif")).expect("copied");
    project.write(
        "clips/three.csv",
        "path,label,group\nclips/horizontal_000.gif,a,x\nclips/circular_001.gif,b,y\nclips/copy.gif,a,z\n",
    );
    project
}

#[test]
fn twins_are_told_as_text_as_json_and_as_groups() {
    let project = project();
    let (manifest, groups) = (
        project.arg("clips/three.csv"),
        project.arg("clips/groups.csv"),
    );
    let text = succeed(&["data", "twins", &manifest]);
    assert!(text.contains("identical bytes"), "{text}");
    assert!(text.contains("1 pairs of twins among 3 items"), "{text}");
    let json = succeed(&[
        "data",
        "twins",
        &manifest,
        "--json",
        "--write-groups",
        &groups,
    ]);
    let answer: Value = serde_json::from_str(&json).expect("JSON");
    let twin = &answer["twins"][0];
    assert_eq!(twin["kind"], "identical_bytes", "{answer}");
    assert_eq!(twin["items"], serde_json::json!([0, 2]), "{answer}");
    assert_eq!(answer["unreadable"], serde_json::json!([]), "{answer}");
    let written = project.read("clips/groups.csv");
    let groups: Vec<&str> = written
        .lines()
        .skip(1)
        .map(|line| line.rsplit(',').next().expect("a column"))
        .collect();
    assert_eq!(groups, ["x", "y", "x"], "{written}");
}

#[test]
fn an_item_that_cannot_be_read_is_told_and_the_rest_is_done() {
    let project = project();
    project.write("clips/clips/circular_001.gif", "no GIF");
    let manifest = project.arg("clips/three.csv");
    let output = crate::harness::run(&["data", "twins", &manifest]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("could not read clips/circular_001.gif"),
        "{}",
        stderr(&output)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("identical bytes") && text.contains("1 could not be read"),
        "{text}"
    );
    let error = fail(&["data", "twins", &manifest, "--similarity", "1.5"]);
    assert!(
        error.contains("similarity: 1.5 is not between 0 and 1"),
        "{error}"
    );
}
