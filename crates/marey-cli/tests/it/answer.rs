use std::{collections::HashMap, fs};

use serde_json::Value;

use crate::harness::{Project, fail, succeed};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// `(item, scores)` of every row of a `predictions.csv`.
fn scores(csv: &str) -> HashMap<String, Vec<f64>> {
    let number = |cell: &str| cell.parse::<f64>().expect("a number");
    csv.lines()
        .skip(1)
        .map(|row| {
            let cells: Vec<&str> = row.split(',').collect();
            let scores = cells[6..].iter().map(|cell| number(cell)).collect();
            (cells[0].to_owned(), scores)
        })
        .collect()
}

fn named<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    let list = list.as_array().expect("a list");
    let found = list.iter().find(|entry| entry[key] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list:?}"))
}

#[test]
fn what_is_fitted_on_validation_is_in_the_card_and_used_everywhere() {
    let project = Project::new();
    project.train(
        "runs",
        &[
            "eval.calibration=temperature",
            "eval.views=2",
            "eval.flip=true",
            "eval.aggregate=logits",
            "eval.validate_views=true",
            "eval.coverage=0.5",
        ],
    );
    let card = project.read("runs/small-1/bundle/card.toml");
    for part in [
        "format_version = 2",
        "[answer]",
        "views = 2",
        "flip = true",
        "[answer.rejection]",
        "[answer.calibration]",
        "temperature = ",
    ] {
        assert!(card.contains(part), "{part} is not in\n{card}");
    }
    let report = json(&project.read("runs/small-1/report.json"));
    let calibration = &report["calibration"];
    assert_eq!(calibration["method"], "temperature");
    assert_eq!(calibration["fitted_on"], 8);
    for side in ["before", "after"] {
        assert!(named(&calibration[side], "name", "ece")["interval"]["low"].is_number());
    }
    // The judged scores are those after it.
    assert_eq!(
        named(&calibration["after"], "name", "ece")["value"],
        named(&report["classification"]["figures"], "name", "ece")["value"]
    );
    let change = named(&calibration["changes"], "figure", "ece");
    assert!(change["interval"]["high"].is_number());
    // Temperature changes no answer.
    assert_eq!(
        named(&calibration["changes"], "figure", "top1")["difference"],
        0.0
    );
    let selective = &report["selective"];
    let last = selective["curve"].as_array().expect("a curve").last();
    assert_eq!(last.expect("a point")["coverage"], 1.0);
    let rejection = &selective["rejection"];
    assert!(
        rejection["rule"]
            .as_str()
            .expect("text")
            .starts_with("so that 50.0 % of the validation items are answered"),
        "{rejection}"
    );
    named(&rejection["figures"], "name", "answered");
    // One clip of each item stands beside all views.
    named(
        &report["classification"]["comparisons"],
        "name",
        "the same model on one clip of each item",
    );
    let page = project.read("runs/small-1/report.html");
    for part in [
        "How far to trust a score",
        "Calibration: temperature",
        "uncertain",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for plot in ["reliability.png", "coverage.png"] {
        assert!(
            project.path("runs/small-1/plots").join(plot).is_file(),
            "{plot}"
        );
    }

    // Evaluation gives the very same, and prediction the same score and silence.
    let bundle = project.arg("runs/small-1/bundle");
    let again = json(&succeed(&["eval", &bundle, "--json"]));
    for part in ["classification", "calibration", "selective"] {
        assert_eq!(again[part], report[part], "{part}");
    }
    let below = rejection["below"].as_f64().expect("a number");
    let clips = project.arg("clips");
    let predictions = json(&succeed(&["predict", &bundle, &clips, "--json"]));
    let predictions = predictions.as_array().expect("a list");
    let judged = scores(&project.read("runs/small-1/predictions.csv"));
    let mut num_judged = 0;
    for prediction in predictions {
        let confidence = prediction["confidence"].as_f64().expect("a number");
        // Printed as f32: read as f64 the last digits differ.
        let is_below = f64::from(confidence as f32) < below;
        assert_eq!(prediction["is_uncertain"], is_below, "{prediction}");
        let path = prediction["path"].as_str().expect("a path");
        if let Some((_, scores)) = judged
            .iter()
            .find(|(item, _)| path.ends_with(item.as_str()))
        {
            let best = scores.iter().copied().fold(0.0, f64::max);
            assert!((best - confidence).abs() < 1e-4, "{best} {prediction}");
            num_judged += 1;
        }
    }
    assert_eq!(num_judged, judged.len());
    // Whatever was learned, no score is above a threshold of 1.
    let path = project.path("runs/small-1/bundle/card.toml");
    let line = card
        .lines()
        .find(|line| line.starts_with("below = "))
        .expect("a threshold");
    fs::write(&path, card.replace(line, "below = 1.0")).expect("written");
    let table = succeed(&["predict", &bundle, &clips]);
    let answers = table.lines().count();
    assert_eq!(table.matches(": uncertain: ").count(), answers, "{table}");

    // What was fitted for two views means nothing for three.
    fs::write(&path, card.replace("views = 2", "views = 3")).expect("written");
    let error = fail(&["predict", &bundle, &clips]);
    assert!(error.contains("marey calibrate"), "{error}");
}

#[test]
fn what_cannot_be_fitted_is_refused_before_a_run_is_made() {
    let project = Project::new();
    let split = "data.split={by=\"group\", validation=0.0, test=0.25, seed=1}";
    for key in ["eval.calibration=vector", "eval.accuracy=0.9"] {
        let error = project.refuse(&[split, key]);
        assert!(
            error.contains("is fitted on the validation split, and the data has none"),
            "{error}"
        );
    }
    // A given threshold needs no split.
    project.train(
        "given",
        &[
            split,
            "eval.reject_below=0.9",
            "eval.gap=true",
            "train.epochs=1",
        ],
    );
    let report = json(&project.read("given/small-1/report.json"));
    assert_eq!(report["selective"]["rejection"]["below"], 0.9);
    // How much better it is on what it was trained on.
    let gap = named(&report["gaps"], "figure", "top1");
    assert_eq!(gap["splits"], json("[\"train\", \"test\"]"));
    assert_eq!(gap["support"], json("[24, 8]"));
    let top1 = named(&report["classification"]["figures"], "name", "top1");
    assert_eq!(gap["values"][1], top1["value"]);
    assert!(
        project
            .read("given/small-1/report.html")
            .contains("What it only knows by heart")
    );
    let error = project.refuse(&["eval.crops=3"]);
    assert!(error.contains("eval.crops: 3 has no effect"), "{error}");
}

#[test]
fn a_bundle_of_before_answers_as_before_and_can_be_calibrated() {
    let project = Project::new();
    project.train("runs", &["train.epochs=1"]);
    let bundle = project.arg("runs/small-1/bundle");
    let clips = project.arg("clips");
    let predict = || json(&succeed(&["predict", &bundle, &clips, "--json"]));
    let before = predict();
    let path = project.path("runs/small-1/bundle/card.toml");
    let card = fs::read_to_string(&path).expect("a card");
    assert!(!card.contains("[answer"), "{card}");
    fs::write(
        &path,
        card.replace("format_version = 2", "format_version = 1"),
    )
    .expect("written");
    assert_eq!(predict(), before);

    let error = fail(&["eval", &bundle, "--set", "eval.flip=true"]);
    assert!(
        error.contains("eval.flip has no effect on a bundle"),
        "{error}"
    );
    let error = fail(&["calibrate", &bundle]);
    assert!(error.contains("asks for nothing"), "{error}");
    succeed(&[
        "calibrate",
        &bundle,
        "--set",
        "eval.calibration=isotonic",
        "--set",
        "eval.accuracy=0.01",
    ]);
    let card = fs::read_to_string(&path).expect("a card");
    assert!(
        card.contains("format_version = 2") && card.contains("method = \"isotonic\""),
        "{card}"
    );
    let report = json(&succeed(&["eval", &bundle, "--json"]));
    assert_eq!(report["calibration"]["method"], "isotonic");
    assert_ne!(predict(), before);
}

#[test]
fn bundles_answer_together_by_the_mean_of_their_scores() {
    let project = Project::new();
    project.train("runs", &["train.epochs=1", "train.seed=1"]);
    project.train("runs", &["train.epochs=1", "train.seed=2"]);
    let [a, b] = ["runs/small-1", "runs/small-2"].map(|run| project.arg(run));
    let together = project.arg("together");
    succeed(&["ensemble", &a, &b, "--output", &together]);
    let recipe = project.arg("runs/small-1/recipe.toml");
    let out = project.arg("judged");
    succeed(&["eval", &together, "--recipe", &recipe, "--output", &out]);
    let [a_scores, b_scores, both] = ["runs/small-1", "runs/small-2", "judged"]
        .map(|dir| scores(&project.read(&format!("{dir}/predictions.csv"))));
    assert_eq!(both.len(), a_scores.len());
    for (item, scores) in &both {
        for (class, score) in scores.iter().enumerate() {
            let mean = (a_scores[item][class] + b_scores[item][class]) / 2.0;
            assert!((score - mean).abs() < 1e-5, "{item}: {score} is not {mean}");
        }
    }
    let report = json(&project.read("judged/report.json"));
    let facts = report["origin"]["facts"].to_string();
    assert!(
        facts.contains("small-1") && facts.contains("small-2"),
        "{facts}"
    );

    // The same without a folder of its own.
    let [a, b] = [&a, &b].map(|run| format!("{run}/bundle"));
    let listed = succeed(&["eval", &a, "--with", &b, "--recipe", &recipe, "--json"]);
    assert_eq!(json(&listed)["classification"], report["classification"]);
    let clips = project.arg("clips");
    let [one, two] = [
        succeed(&["predict", &together, &clips, "--json"]),
        succeed(&["predict", &a, &clips, "--with", &b, "--json"]),
    ];
    assert_eq!(one, two);

    // An ensemble is calibrated as a whole.
    succeed(&[
        "calibrate",
        &together,
        "--recipe",
        &recipe,
        "--set",
        "eval.calibration=temperature",
    ]);
    let report = json(&succeed(&[
        "eval", &together, "--recipe", &recipe, "--json",
    ]));
    assert_eq!(report["calibration"]["method"], "temperature");
    let error = fail(&["ensemble", &a, &a, "--output", &together]);
    assert!(error.contains("given twice"), "{error}");
    let error = fail(&["eval", &together, "--with", &b, "--recipe", &recipe]);
    assert!(error.contains("is an ensemble"), "{error}");
}

#[test]
fn windows_are_smoothed_with_the_past() {
    let project = Project::new();
    project.train(
        "runs",
        &[
            "train.epochs=1",
            "eval.smoothing={kind=\"mean\", windows=2}",
        ],
    );
    let bundle = project.arg("runs/small-1/bundle");
    let clip = project.arg("clips/clips/circular_001.gif");
    let windows = |more: &[&str]| -> Vec<HashMap<String, f64>> {
        let args = [
            &[
                "predict", &bundle, &clip, "--json", "--top", "4", "--window", "0.3",
            ],
            more,
        ];
        let predictions = json(&succeed(&args.concat()));
        let windows = predictions[0]["windows"]
            .as_array()
            .expect("windows")
            .clone();
        let scores = |window: &Value| {
            let top = window["top"].as_array().expect("guesses").clone();
            top.iter()
                .map(|guess| {
                    let class = guess["class"].as_str().expect("text").to_owned();
                    (class, guess["score"].as_f64().expect("a number"))
                })
                .collect()
        };
        windows.iter().map(scores).collect()
    };
    let plain = windows(&["--smooth", "none"]);
    assert!(plain.len() >= 3);
    let check = |found: &[HashMap<String, f64>], weight: f64| {
        for (class, score) in &found[0] {
            assert!((score - plain[0][class]).abs() < 1e-6);
        }
        for (class, score) in &found[1] {
            let expected = weight * plain[1][class] + (1.0 - weight) * plain[0][class];
            assert!((score - expected).abs() < 1e-6, "{score} is not {expected}");
        }
    };
    // As the card says, and as the command line says.
    check(&windows(&[]), 0.5);
    check(&windows(&["--smooth", "exponential:0.25"]), 0.25);
    let error = fail(&[
        "predict", &bundle, &clip, "--window", "0.3", "--smooth", "mean:1",
    ]);
    assert!(error.contains("at least 2"), "{error}");
}
