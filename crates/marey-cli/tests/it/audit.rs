use std::fs;

use serde_json::Value;

use crate::harness::{Project, end_with, fail, succeed};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// The rendered clips with a column of cameras that nobody calls a group, and every second clip of each held out.
fn with_cameras(project: &Project) -> String {
    let manifest = project.read("clips/manifest.csv");
    let rows = manifest.lines().skip(1).enumerate().map(|(idx, row)| {
        let cells: Vec<&str> = row.split(',').collect();
        let split = ["train", "test"][idx / 8 % 2];
        format!("{},{},{split},cam{}\n", cells[0], cells[1], idx % 6)
    });
    let text = format!("path,label,split,camera\n{}", rows.collect::<String>());
    project.write("clips/cameras.csv", &text);
    project.arg("clips/cameras.csv")
}

#[test]
fn an_audit_says_what_is_wrong_and_train_stops_at_it() {
    let project = Project::new();
    let manifest = with_cameras(&project);
    let (text, _) = end_with(1, &["data", "audit", &manifest]);
    for part in [
        "leak: 6 of 6 values of the column `camera` are in train and in test",
        &format!("mend:  marey data split {manifest} --group camera"),
        "looked at: headers and times of 32 sources",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    let (text, _) = end_with(1, &["data", "audit", &manifest, "--json"]);
    let audit = json(&text);
    let leak = &audit["findings"][0];
    assert_eq!(
        (&leak["severity"], &leak["topic"]),
        (&"leak".into(), &"shared_column".into())
    );
    assert_eq!(leak["items"].as_array().expect("all of them").len(), 16);

    // The same stops training before a run folder is made, until the recipe says why it may go on.
    let path = format!("data.path={manifest:?}");
    let changes = [&path as &str, "data.split={by=\"given\"}", "train.epochs=1"];
    project.write(
        "small.toml",
        &project.read("small.toml").replace("group = \"group\"", ""),
    );
    let error = project.refuse_with(1, &changes);
    assert!(
        error.contains("`camera`") && error.contains("data.allow_leak"),
        "{error}"
    );
    project.train(
        "runs",
        &[&changes[..], &["data.allow_leak=\"one barn\""]].concat(),
    );
    let report = json(&project.read("runs/small-1/report.json"));
    assert!(
        report["verdict"]
            .as_str()
            .expect("text")
            .starts_with("accepted leak: one barn."),
        "{report}"
    );
    // It stands in the report once, with what mends it.
    let sentence = "6 of 6 values of the column";
    assert!(
        report["findings"].to_string().contains(sentence),
        "{report}"
    );
    let notes = report["data"]["notes"].to_string();
    assert!(!notes.contains(sentence), "{notes}");
    let page = project.read("runs/small-1/report.html");
    assert!(
        page.matches("6 of 6 values of the column").count() <= 2,
        "in the verdict and the findings"
    );
}

#[test]
fn a_recipe_says_what_is_audited() {
    let project = Project::new();
    let text = succeed(&["data", "audit", "--recipe", &project.arg("small.toml")]);
    assert!(text.contains("windows of 4 frames"), "{text}");
    let single = ["--set", "sampling.frames=1"];
    let text = succeed(
        &[
            &["data", "audit", "--recipe", &project.arg("small.toml")],
            &single[..],
        ]
        .concat(),
    );
    assert!(text.contains("warning: sampling.frames is 1"), "{text}");
    assert_eq!(succeed(&["data", "audit", "--checks"]).lines().count(), 22);
    assert!(fail(&["data", "audit"]).contains("required"));
}

#[test]
fn groups_that_nobody_named_are_shown_and_taken_only_when_told_to() {
    let project = Project::new();
    let (manifest, output) = (with_cameras(&project), project.arg("clips/split.csv"));
    let split = ["data", "split", &manifest, "--output", &output];
    let (shown, told) = end_with(1, &split);
    assert!(
        shown.contains("--group camera") && told.contains("nothing is written"),
        "{shown}{told}"
    );
    assert!(!project.path("clips/split.csv").exists());
    succeed(&[&split[..], &["--group-by", "discovered"]].concat());
    // What was taken holds: no camera is in two splits.
    succeed(&["data", "audit", &output]);
    assert!(
        project
            .read("clips/split.csv")
            .starts_with("path,label,split,group,")
    );
    succeed(&[&split[..], &["--group-by", "source"]].concat());
    end_with(1, &["data", "audit", &output]);
}

#[test]
fn folds_are_manifests_that_can_be_trained_on() {
    let project = Project::new();
    let (manifest, output) = (
        project.arg("clips/manifest.csv"),
        project.arg("clips/fold.csv"),
    );
    let split = |by: &str, more: &[&str]| {
        let args = [
            "data", "split", &manifest, "--group", "group", "--output", &output, "--by", by,
        ];
        succeed(&[&args, more].concat())
    };
    let printed = split("folds", &["--folds", "4", "--validation", "0.2"]);
    assert_eq!(printed.lines().count(), 5, "{printed}");
    let path = format!("data.path={:?}", project.arg("clips/fold-3.csv"));
    project.train(
        "runs",
        &[&path, "data.split={by=\"given\"}", "train.epochs=1"],
    );
    assert!(project.read("clips/fold-3.csv").contains("fold"));
    assert_eq!(
        split("nested", &["--folds", "3", "--inner-folds", "2"])
            .lines()
            .count(),
        7
    );
    // Eight groups, one a fold.
    assert_eq!(split("leave-one-out", &[]).lines().count(), 9);
    let error = fail(&[
        "data", "split", &manifest, "--output", &output, "--folds", "3",
    ]);
    assert!(
        error.contains("--folds has no effect with --by group"),
        "{error}"
    );
}

#[test]
fn time_is_divided_with_a_gap() {
    let project = Project::new();
    let clip = project
        .read("clips/manifest.csv")
        .lines()
        .nth(1)
        .expect("a clip")
        .split(',')
        .next()
        .expect("a path")
        .to_owned();
    // 24 frames at 25 a second: 46 overlapping events of two frames each.
    let rows = (0..23).flat_map(|idx| {
        let start = 40 * idx;
        [0, 1].map(|half| {
            format!(
                "{clip},{:.3},{:.3},{}\n",
                (start + 20 * half) as f64 / 1e3,
                (start + 20 * half + 60) as f64 / 1e3,
                ["a", "b"][idx % 2]
            )
        })
    });
    project.write(
        "clips/events.csv",
        &format!("path,start,end,label\n{}", rows.collect::<String>()),
    );
    let (manifest, output) = (
        project.arg("clips/events.csv"),
        project.arg("clips/time.csv"),
    );
    let split = [
        "data", "split", &manifest, "--by", "time", "--gap", "1f", "--output", &output,
    ];
    succeed(&split);
    // The one recording is in all splits, which is a warning here and no leak, since the blocks keep apart.
    let audit = json(&succeed(&["data", "audit", &output, "--json"]));
    let severities: Vec<&str> = audit["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter_map(|finding| finding["severity"].as_str())
        .collect();
    assert!(
        !severities.contains(&"leak") && severities.contains(&"warning"),
        "{audit}"
    );
    assert!(audit.to_string().contains("divided by time"), "{audit}");
    let error = fail(&[
        "data", "split", &manifest, "--by", "time", "--gap", "9s", "--output", &output,
    ]);
    assert!(error.contains("the gap leaves no item"), "{error}");
}

#[test]
fn each_use_of_the_test_split_is_in_the_ledger() {
    let project = Project::new();
    project.train("runs", &["train.epochs=1"]);
    let bundle = project.arg("runs/small-1/bundle");
    let told = |text: &str| {
        let report = json(text);
        let facts = report["origin"]["facts"].as_array().expect("facts").clone();
        let fact = facts
            .iter()
            .find(|fact| fact[0] == "test split")
            .map(|fact| fact[1].as_str().expect("text").to_owned());
        fact.unwrap_or_default()
    };
    assert!(
        told(&project.read("runs/small-1/report.json"))
            .starts_with("used once, this time included")
    );
    assert!(
        told(&succeed(&["eval", &bundle, "--json"]))
            .starts_with("used 2 times, this time included")
    );
    // Validation is for choosing, and not written down.
    assert_eq!(
        told(&succeed(&[
            "eval",
            &bundle,
            "--split",
            "validation",
            "--json"
        ])),
        ""
    );
    project.train("runs", &["train.epochs=1", "train.seed=5"]);
    assert!(
        told(&project.read("runs/small-2/report.json"))
            .starts_with("used 3 times by 2 different bundles")
    );
    let ledger = project.read("clips/manifest.csv.ledger.jsonl");
    let lines: Vec<Value> = ledger.lines().map(json).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&lines[1]["run"], &lines[1]["figure"]),
        (&"small-1".into(), &"macro_f1".into())
    );
    assert!(
        lines[1]["command"]
            .as_str()
            .expect("text")
            .starts_with("marey eval")
    );
    assert_ne!(lines[0]["bundle"], lines[2]["bundle"]);
    // The audit warns of a test split that several models were judged on.
    let audit = succeed(&["data", "audit", "--recipe", &project.arg("small.toml")]);
    assert!(
        audit.contains("warning: the test split was used 3 times by 2 different bundles"),
        "{audit}"
    );
}

#[test]
fn a_ledger_that_cannot_be_kept_withholds_no_figure_and_says_so() {
    let project = Project::new();
    // A folder in the place of the file cannot be written by anybody.
    fs::create_dir(project.path("clips/manifest.csv.ledger.jsonl")).expect("a folder");
    let args = project.train_args("runs", &["train.epochs=1"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (_, told) = end_with(0, &args);
    assert!(
        told.contains("warning: test split: this use is not in the ledger"),
        "{told}"
    );
    assert!(
        project
            .read("runs/small-1/report.json")
            .contains("this use is not in the ledger")
    );
}
