use serde_json::Value;

use crate::harness::{Project, fail, run, stderr, succeed};

/// `predictions.csv` of a run on `items`: (name, group, truth, score of the class "fall").
fn predictions(items: &[(&str, &str, &str, f32)]) -> String {
    let mut csv =
        String::from("item,group,truth,predicted,correct,confidence,score_fall,score_walk\n");
    for (item, group, truth, fall) in items {
        let (predicted, confidence) = if *fall >= 0.5 {
            ("fall", *fall)
        } else {
            ("walk", 1.0 - fall)
        };
        let (correct, walk) = (predicted == *truth, 1.0 - fall);
        csv +=
            &format!("{item},{group},{truth},{predicted},{correct},{confidence},{fall},{walk}\n");
    }
    csv
}

/// Forty items of twenty cameras, of which the first run gets 24 right and the second all but the first.
fn two_runs(project: &Project) {
    let items: Vec<(String, String)> = (0..40)
        .map(|idx| (format!("clip-{idx:02}.mp4"), format!("camera-{}", idx / 2)))
        .collect();
    let of = |is_right: &dyn Fn(usize) -> bool, extra: &str| {
        let mut rows: Vec<(&str, &str, &str, f32)> = items
            .iter()
            .enumerate()
            .map(|(idx, (item, group))| {
                let truth = if idx % 4 < 2 { "fall" } else { "walk" };
                let fall = if (truth == "fall") == is_right(idx) {
                    0.9
                } else {
                    0.1
                };
                (item.as_str(), group.as_str(), truth, fall)
            })
            .collect();
        rows.push((extra, "elsewhere", "fall", 0.9));
        predictions(&rows)
    };
    project.write(
        "old/predictions.csv",
        &of(&|idx| idx % 5 < 3, "only-old.mp4"),
    );
    project.write("new/predictions.csv", &of(&|idx| idx > 0, "only-new.mp4"));
}

#[test]
fn a_better_run_is_told_from_a_worse_one() {
    let project = Project::empty();
    two_runs(&project);
    let (old, new, out) = (project.arg("old"), project.arg("new"), project.arg("out"));
    let compare = [
        "compare",
        &old,
        &new,
        "--figure",
        "top1",
        "--require-better",
    ];
    let text = succeed(&[&compare[..], &["--output", &out]].concat());
    for part in [
        "40 items of 20 groups that every run scored",
        "new is better than old. Top-1 accuracy is 97.5 % against 60.0 %: +37.5 points",
        "1 item only old recognised, 16 only new did; McNemar's exact test: p = 2.7e-4",
        "note: 1 item of old did not match",
        "note: 1 item of new did not match",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let page = project.read("out/compare.html");
    assert!(page.contains("new is better than old.") && page.contains("clip-00.mp4"));
    for name in ["compare.json", "plots/runs.png", "plots/differences.png"] {
        assert!(project.path("out").join(name).is_file(), "{name}");
    }
    let json: Value =
        serde_json::from_str(&succeed(&[&compare[..], &["--json"]].concat())).expect("JSON");
    let written: Value = serde_json::from_str(&project.read("out/compare.json")).expect("JSON");
    assert_eq!(json, written);
    assert_eq!(json["versus"][0]["num_changed"], 17);

    // The other way round the answer is no.
    let output = run(&["compare", &new, &old, "--require-better"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    // A run is not better than itself, under any name.
    let file = project.arg("old/predictions.csv");
    let text = succeed(&["compare", &old, &file]);
    assert!(text.contains("do not show which of"), "{text}");
}

#[test]
fn runs_that_cannot_be_compared_are_refused() {
    let project = Project::empty();
    two_runs(&project);
    let old = project.arg("old");
    let check = |name: &str, csv: String, message: &str| {
        project.write(&format!("{name}/predictions.csv"), &csv);
        let error = fail(&["compare", &old, &project.arg(name)]);
        assert!(error.contains(message), "{error}");
    };
    let one = |item: &str, truth: &str| predictions(&[(item, "camera-0", truth, 0.9)]);
    check(
        "other",
        one("elsewhere.mp4", "fall"),
        "no item was scored by all of [old, other]",
    );
    check(
        "relabelled",
        one("clip-00.mp4", "walk"),
        "is \"fall\" in old and \"walk\" in relabelled",
    );
    check(
        "classes",
        one("clip-00.mp4", "fall").replace("score_walk", "score_run"),
        "old knows the classes [fall, walk], classes knows [fall, run]",
    );
    check(
        "broken",
        "path,label\n".to_owned(),
        "its columns are [path, label]",
    );
    let error = fail(&["compare", &old, &project.arg("nowhere")]);
    assert!(
        error.contains("nowhere holds no predictions.csv"),
        "{error}"
    );
    let error = fail(&["compare", &old, &project.arg("new"), "--figure", "f2"]);
    assert!(
        error.contains("\"f2\" is no figure; there are top1"),
        "{error}"
    );
}
