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
    assert!(num_recipes >= 4);
}

/// Trains a shipped recipe for one small epoch on its own data and gives its report.
fn report(name: &str, changes: &[&str]) -> Option<Value> {
    if marey_test::shared_data().is_none() {
        println!("skipped: no ../shared/data");
        return None;
    }
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
    Some(serde_json::from_str(&fs::read_to_string(path).expect("a report")).expect("JSON"))
}

#[test]
fn thermal_loads_every_sample_and_reports_the_majority() {
    let Some(report) = report("thermal", &[]) else {
        return;
    };
    let items = |idx: usize| {
        report["data"]["splits"][idx]["items"]
            .as_u64()
            .expect("a number")
    };
    assert_eq!(items(0) + items(1), 387);
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
