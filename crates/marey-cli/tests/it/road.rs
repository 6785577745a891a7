use serde_json::Value;

use crate::harness::{Project, succeed};

#[test]
fn a_clip_gets_the_same_scores_in_training_evaluation_and_prediction() {
    let project = Project::new();
    let printed = project.train("runs", &[]);
    let run = project.path("runs/small-1");
    for name in [
        "recipe.toml",
        "log.jsonl",
        "metrics.jsonl",
        "metrics.csv",
        "report.html",
        "report.json",
        "predictions.csv",
        "bundle/card.toml",
        "bundle/model.safetensors",
        "checkpoints/last",
        "checkpoints/best",
    ] {
        assert!(run.join(name).exists(), "{name} is missing");
    }
    assert!(printed.contains("macro F1"), "{printed}");
    let report: Value =
        serde_json::from_str(&project.read("runs/small-1/report.json")).expect("JSON");
    assert_eq!(report["split"], "test");
    assert_eq!(report["chosen_on_this_split"], false);
    check_clips(&project.read("runs/small-1/report.html"), &report);

    // Evaluation of the bundle gives the very figures of the report.
    let bundle = project.arg("runs/small-1/bundle");
    let again: Value = serde_json::from_str(&succeed(&["eval", &bundle, "--json"])).expect("JSON");
    assert_eq!(again["classification"], report["classification"]);

    // A run beside a judgement of its own bundle: nothing changed, whichever way it is named.
    let out = project.arg("again");
    succeed(&["eval", &bundle, "--output", &out]);
    check_clips(&project.read("again/report.html"), &report);
    let compared: Value =
        serde_json::from_str(&succeed(&["compare", &bundle, &out, "--json"])).expect("JSON");
    let names = [&compared["runs"][0]["name"], &compared["runs"][1]["name"]];
    assert_eq!(names, ["small-1", "again"]);
    assert_eq!(compared["num_items"], report["classification"]["num_items"]);
    assert_eq!(compared["versus"][0]["num_changed"], 0);
    assert_eq!(compared["versus"][0]["mcnemar"]["p_value"], 1.0);

    // Prediction gives the very score of predictions.csv.
    let rows = project.read("runs/small-1/predictions.csv");
    let mut reader = rows.lines();
    let header: Vec<&str> = reader.next().expect("a header").split(',').collect();
    let row: Vec<&str> = reader.next().expect("an item").split(',').collect();
    let column = |name: &str| {
        row[header
            .iter()
            .position(|&column| column == name)
            .expect("the column")]
    };
    let file = project.path("clips").join(column("item"));
    let file = file.to_str().expect("UTF-8");
    let predicted: Value =
        serde_json::from_str(&succeed(&["predict", &bundle, file, "--json"])).expect("JSON");
    assert_eq!(predicted[0]["class"], column("predicted"));
    let (found, expect) = (
        predicted[0]["confidence"].as_f64().expect("a number"),
        column("confidence"),
    );
    // The batch holds one clip here and several there; sums may differ in the last bits.
    assert!(
        (found - expect.parse::<f64>().expect("a number")).abs() < 1e-5,
        "{found} is not {expect}"
    );
}

/// Every worst mistake is on the page with its clip, and where the model looked.
fn check_clips(page: &str, report: &Value) {
    let mistakes = report["classification"]["num_mistakes"]
        .as_u64()
        .expect("a number");
    assert!(mistakes > 0, "two epochs leave mistakes");
    let shown = mistakes.min(12) as usize;
    assert_eq!(page.matches("class=\"card\"").count(), shown);
    let films = page.matches("<img src=\"data:image/jpeg;base64,").count();
    assert!(films >= shown, "{films} pictures of {shown} mistakes");
}

#[test]
fn predictions_come_as_table_csv_and_timeline() {
    let project = Project::new();
    project.train("runs", &["train.epochs=1"]);
    let (bundle, clips) = (project.arg("runs/small-1/bundle"), project.arg("clips"));
    let table = succeed(&["predict", &bundle, &clips]);
    assert_eq!(table.lines().count(), 32);

    let json = succeed(&[
        "predict", &bundle, &clips, "--json", "--window", "0.5", "--hop", "0.25",
    ]);
    let predictions: Vec<Value> = serde_json::from_str(&json).expect("JSON");
    let windows = predictions[0]["windows"].as_array().expect("a timeline");
    assert!(windows.len() > 1);
    assert_eq!(windows[0]["start_sec"], 0.0);
    assert_eq!(windows[1]["start_sec"], 0.25);
}

#[test]
fn a_csv_holds_the_same_guesses_as_json() {
    let project = Project::new();
    project.train("runs", &["train.epochs=1"]);
    let (bundle, clips) = (project.arg("runs/small-1/bundle"), project.arg("clips"));
    // The rendered set has four classes, so of five guesses there are four.
    for (top, num_guesses) in [("2", 2), ("5", 4)] {
        let predict =
            |more: &[&str]| succeed(&[&["predict", &bundle, &clips, "--top", top], more].concat());
        let csv = predict(&["--format", "csv"]);
        let mut lines = csv.lines();
        let header = (1..=num_guesses).map(|rank| format!(",class_{rank},score_{rank}"));
        let expected = format!(
            "path,start_sec,end_sec,is_uncertain{}",
            header.collect::<String>()
        );
        assert_eq!(lines.next(), Some(&expected[..]));
        let predictions: Vec<Value> = serde_json::from_str(&predict(&["--json"])).expect("JSON");
        let rows = predictions.iter().map(|prediction| {
            let mut row = format!("{},,,false", prediction["path"].as_str().expect("a path"));
            for guess in prediction["top"].as_array().expect("guesses") {
                let class = guess["class"].as_str().expect("a class");
                row += &format!(
                    ",{class},{}",
                    guess["score"].as_f64().expect("a score") as f32
                );
            }
            row
        });
        assert_eq!(lines.collect::<Vec<_>>(), rows.collect::<Vec<_>>());
    }
    let csv = succeed(&[
        "predict", &bundle, &clips, "--format", "csv", "--window", "0.5",
    ]);
    let row = csv.lines().nth(1).expect("a window");
    assert!(
        row.contains(".gif,0,0.5,false,") && row.split(',').count() == 10,
        "{row}"
    );
}

#[test]
fn packed_clips_train_to_the_same_losses_as_files() {
    let project = Project::new();
    project.train("runs", &["train.epochs=1"]);
    let store = project.arg("clips.store");
    succeed(&[
        "data",
        "pack",
        &project.arg("small.toml"),
        "--output",
        &store,
    ]);
    project.train(
        "packed",
        &["train.epochs=1", &format!("data.packed={store:?}")],
    );
    let losses = |runs: &str| {
        crate::harness::losses(&project.read(&format!("{runs}/small-1/metrics.jsonl")))
    };
    assert_eq!(losses("runs"), losses("packed"));
}

#[test]
fn a_written_split_is_read_back_and_used() {
    let project = Project::new();
    let (clips, manifest) = (
        project.arg("clips/manifest.csv"),
        project.arg("clips/split.csv"),
    );
    let printed = succeed(&[
        "data", "split", &clips, "--group", "group", "--output", &manifest,
    ]);
    assert!(
        printed.contains("train") && printed.contains("test"),
        "{printed}"
    );
    let changes = [
        &format!("data.path={manifest:?}") as &str,
        "data.split={by=\"given\"}",
        "train.epochs=1",
    ];
    project.train("runs", &changes);
    let report: Value =
        serde_json::from_str(&project.read("runs/small-1/report.json")).expect("JSON");
    assert_eq!(report["split"], "test");
}
