use std::{fs, path::Path};

use serde_json::Value;

use crate::harness::{run, stderr};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn every_shipped_recipe_parses_and_builds_its_model() {
    let mut num_recipes = 0;
    for entry in fs::read_dir(root().join("recipes")).expect("the folder") {
        let path = entry.expect("an entry").path();
        let recipe =
            marey::train::Recipe::read(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        let device = marey::burn::tensor::Device::flex();
        recipe
            .model
            .init(4, &mut marey::clip::rng_for(0, 0, 0, 0), &device)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        num_recipes += 1;
    }
    assert!(num_recipes >= 7);
}

/// Trains a shipped recipe for one small epoch on its own data beside the project and gives its report.
fn report(name: &str, changes: &[&str]) -> Option<Value> {
    if marey_test::shared_data().is_none() {
        println!("skipped: no ../shared/data");
        return None;
    }
    Some(small_run(name, changes))
}

/// Trains a shipped recipe for one small epoch and gives its report.
fn small_run(name: &str, changes: &[&str]) -> Value {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = crate::harness::marey();
    command
        .current_dir(root())
        .args(["train", &format!("recipes/{name}.toml"), "--runs"])
        .arg(dir.path());
    for change in [
        "train.epochs=1",
        "schedule.warmup_epochs=0",
        "sampling.frames=2",
        "preprocess.size=[16,16]",
    ]
    .iter()
    .chain(changes)
    {
        command.args(["--set", change]);
    }
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{}", stderr(&output));
    let path = dir.path().join(format!("{name}-1/report.json"));
    serde_json::from_str(&fs::read_to_string(path).expect("a report")).expect("JSON")
}

/// The items of the splits of a report.
fn items(report: &Value) -> Vec<u64> {
    let splits = report["data"]["splits"].as_array().expect("splits");
    let items = splits.iter().map(|split| split["items"].as_u64());
    items.map(|items| items.expect("a number")).collect()
}

#[test]
fn thermal_by_time_leaves_no_leak_to_accept() {
    let Some(report) = report("thermal-time", &[]) else {
        return;
    };
    let verdict = report["verdict"].as_str().expect("text");
    assert!(!verdict.contains("leak"), "{verdict}");
    let total: u64 = items(&report).iter().sum();
    assert!(total < 387, "{total} items, none of them in the gap");
}

#[test]
fn rendered_events_and_frame_trees_train() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_owned();
    for (kind, videos) in [("cattle", "8"), ("anomaly", "3")] {
        let output = run(&["data", "example", kind, &path(kind), "--videos", videos]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let place = format!("data.path={:?}", path("cattle/events.csv"));
    let cattle = small_run("cattle", &[&place]);
    assert!(items(&cattle).iter().sum::<u64>() > 30, "{cattle}");
    let place = format!("data.path={:?}", path("anomaly"));
    let anomaly = small_run("anomaly", &[&place]);
    // 4 + 2 test videos of 32 pictures in windows of 16.
    assert_eq!(items(&anomaly).last(), Some(&12), "{anomaly}");
    let again = run(&["data", "example", "cattle", &path("cattle")]);
    assert!(
        stderr(&again).contains("is not empty"),
        "{}",
        stderr(&again)
    );

    let recipe = root().join("recipes/cattle.toml");
    let audit = run(&[
        "data",
        "audit",
        &path("cattle/faulty.csv"),
        "--recipe",
        recipe.to_str().expect("UTF-8"),
    ]);
    assert_eq!(audit.status.code(), Some(1));
    let text = String::from_utf8_lossy(&audit.stdout).into_owned();
    for part in [
        "3 entries have a span without length",
        "2 entries have a span outside of their file",
        "3 events are linked to a file that does not show them",
        "have a behavior that is no class and were left out",
        "data.allow_faults",
    ] {
        assert!(text.contains(part), "{text}\nlacks\n{part}");
    }
}

#[test]
fn rendered_thermal_recordings_train_without_the_one_that_is_absent() {
    let dir = tempfile::tempdir().expect("a folder");
    let root_of_set = dir.path().join("thermal");
    let set = root_of_set.to_str().expect("UTF-8");
    let output = run(&["data", "example", "thermal", set, "--videos", "3"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("3 recordings with"), "{text}");

    let place = format!("data.path={set:?}");
    let recipe = root().join("recipes/thermal-time.toml");
    let recipe = recipe.to_str().expect("UTF-8");
    let refused = run(&["train", recipe, "--set", &place, "--runs", set]);
    assert_eq!(refused.status.code(), Some(2));
    let problem = stderr(&refused);
    assert!(problem.contains("SL14_R4.h5"), "{problem}");

    let by_time = small_run("thermal-time", &[&place, "data.allow_missing=true"]);
    assert!(items(&by_time).iter().sum::<u64>() > 30, "{by_time}");
    // Frame by frame, as published: all of the annotated frames whose recording is there.
    let given = small_run("thermal", &[&place, "data.allow_missing=true"]);
    let annotated = |file: &str| {
        let text = fs::read_to_string(root_of_set.join("annotations").join(file)).expect("a file");
        let file: Value = serde_json::from_str(&text).expect("JSON");
        let images = file["images"].as_array().expect("images").clone();
        let is_there = |image: &&Value| image["sensor_id"] != "SL14_R4";
        images.iter().filter(is_there).count() as u64
    };
    assert_eq!(
        items(&given),
        ["train.json", "val.json"].map(annotated),
        "{given}"
    );
}

#[test]
fn thermal_loads_every_sample_and_reports_the_majority() {
    let Some(report) = report("thermal", &[]) else {
        return;
    };
    assert_eq!(items(&report).iter().sum::<u64>(), 387);
    let figures = report["classification"]["figures"]
        .as_array()
        .expect("figures");
    let top1 = figures
        .iter()
        .find(|figure| figure["name"] == "top1")
        .expect("top1");
    let baseline = top1["baseline"]["value"].as_f64().expect("a number");
    assert!((baseline - 37.0 / 73.0).abs() < 1e-12, "{top1}");
    assert!(
        report["verdict"]
            .as_str()
            .expect("text")
            .starts_with("accepted leak: ")
    );
}

#[test]
fn cctv_is_judged_by_the_authors_split_only_with_a_reason() {
    let Some(report) = report("cctv", &["data.allow_leak=\"test\""]) else {
        return;
    };
    assert_eq!(report["classification"]["num_items"], 176);
    let recipe = root().join("recipes/cctv.toml");
    let path = recipe.to_str().expect("UTF-8");
    assert!(
        !run(&[
            "train",
            path,
            "--set",
            "data.allow_leak=\"\"",
            "--runs",
            "/nonexistent"
        ])
        .status
        .success()
    );
}
