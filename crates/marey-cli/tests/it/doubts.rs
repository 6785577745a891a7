use serde_json::Value;

use crate::harness::{Project, fail, succeed};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_learning_curve_is_trained_or_taken_from_runs() {
    let project = Project::new();
    let (recipe, runs, out) = (
        project.arg("small.toml"),
        project.arg("runs"),
        project.arg("curve.json"),
    );
    let drawn = project.arg("curve.svg");
    let printed = succeed(&[
        "data",
        "learning-curve",
        &recipe,
        "--set",
        "train.epochs=1",
        "--shares",
        "0.5,0.7,1",
        "--runs",
        &runs,
        "--more",
        "100",
        "--figure",
        "top1",
        "--output",
        &out,
        "--output",
        &drawn,
    ]);
    assert!(
        printed.contains("100 more clips would buy about"),
        "{printed}"
    );
    let curve = json(&project.read("curve.json"));
    let points = curve["points"].as_array().expect("points");
    let sizes: Vec<u64> = points
        .iter()
        .map(|point| point["num_items"].as_u64().expect("a number"))
        .collect();
    // Four groups of four clips train.
    assert_eq!(sizes, [8, 12, 16]);
    // It was judged on validation: the test split was not used.
    assert_eq!(curve["split"], "validation");
    assert!(!project.path("clips/manifest.csv.ledger.jsonl").exists());
    for (point, size) in points.iter().zip(sizes) {
        let dir = format!("runs/small-{size}-items-1");
        let report = json(&project.read(&format!("{dir}/report.json")));
        let figures = report["classification"]["figures"]
            .as_array()
            .expect("figures");
        let top1 = figures.iter().find(|figure| figure["name"] == "top1");
        assert_eq!(point["value"], top1.expect("given")["value"]);
        assert_eq!(report["data"]["splits"][0]["items"], size);
    }
    let dirs: Vec<String> = points
        .iter()
        .map(|point| point["run"].as_str().expect("a path").to_owned())
        .collect();
    let mut args = vec![
        "data",
        "learning-curve",
        "--json",
        "--figure",
        "top1",
        "--more",
        "100",
        "--from",
    ];
    args.extend(dirs.iter().map(String::as_str));
    let again = json(&succeed(&args));
    for part in ["points", "floor", "scale", "exponent", "gain", "sentence"] {
        assert_eq!(again[part], curve[part], "{part}");
    }
    let svg = project.read("curve.svg");
    assert!(svg.starts_with("<svg"), "{svg}");
    // A dot a size, one for the projection, one in the legend.
    assert_eq!(svg.matches("<circle").count(), 5);
    assert!(svg.contains("16 items there are"), "{svg}");
    let error = fail(&[&args[..], &["--output", "curve.pdf"]].concat());
    assert!(error.contains("ends in .svg, .png or .json"), "{error}");

    let refused = |shares: &str| {
        fail(&[
            "data",
            "learning-curve",
            &recipe,
            "--shares",
            shares,
            "--runs",
            &runs,
        ])
    };
    assert!(refused("0.5,1").contains("at least 3 sizes"));
    assert!(refused("0.5,0.51,1").contains("the same 8 of 16 training items"));
    assert!(refused("0.5,1.5,1").contains("above 0 and at most 1"));
}

#[test]
fn labels_are_looked_at_by_models_that_never_saw_them() {
    let project = Project::new();
    let (recipe, runs, out) = (
        project.arg("small.toml"),
        project.arg("runs"),
        project.arg("labels"),
    );
    let printed = succeed(&[
        "data",
        "label-errors",
        &recipe,
        "--set",
        "train.epochs=1",
        "--folds",
        "2",
        "--runs",
        &runs,
        "--output",
        &out,
    ]);
    assert!(
        printed.contains("of 24 items look like another class"),
        "{printed}"
    );
    assert!(
        printed.starts_with("On 2 folds, each item out of fold"),
        "{printed}"
    );
    // Train and validation items, each scored once, by the fold that left its group out.
    let predictions = project.read("labels/predictions.csv");
    assert_eq!(predictions.lines().count(), 25);
    for fold in ["runs/small-fold-1-1", "runs/small-fold-2-1"] {
        assert!(
            project.path(fold).join("bundle/card.toml").is_file(),
            "{fold}"
        );
    }
    assert!(!project.path("clips/manifest.csv.ledger.jsonl").exists());
    let report = json(&project.read("labels/report.json"));
    let empty = Vec::new();
    let candidates = report["label_candidates"].as_array().unwrap_or(&empty);
    // The most suspect ones are shown with their clips.
    let page = project.read("labels/report.html");
    let (_, section) = page
        .split_once("<h2>Labels to look at</h2>")
        .unwrap_or_default();
    let (section, _) = section.split_once("</section>").unwrap_or_default();
    let num_shown = candidates.len().min(12);
    assert!(num_shown > 0, "no candidate: the test shows nothing");
    assert_eq!(section.matches("<div class=\"card\">").count(), num_shown);
    let films = section.matches("data:image/jpeg;base64,").count();
    assert!(films >= num_shown, "{films} films of {num_shown} clips");
    let csv = project.read("labels/label_candidates.csv");
    let mut rows = csv.lines();
    assert_eq!(rows.next(), Some("rank,item,group,label,likely,margin"));
    assert_eq!(rows.clone().count(), candidates.len());
    let classes = &report["classification"]["classes"];
    for (row, candidate) in rows.zip(candidates) {
        let cells: Vec<&str> = row.split(',').collect();
        assert_eq!(candidate["item"], cells[1]);
        let class = |key: &str| &classes[candidate[key].as_u64().expect("an index") as usize];
        assert_eq!(
            (class("label"), class("likely")),
            (&cells[3].into(), &cells[4].into())
        );
        assert_ne!(cells[3], cells[4]);
    }
    let error = fail(&[
        "data",
        "label-errors",
        &recipe,
        "--folds",
        "9",
        "--runs",
        &runs,
        "--output",
        &out,
    ]);
    assert!(error.contains("6 groups cannot fill 9 folds"), "{error}");
}
