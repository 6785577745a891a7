//! The three forms of a report.

use std::fs;

use marey_eval::{
    Bootstrap, Curve, CurvePanel, ErrorKind, Report, SCHEMA_VERSION, Skipped, classify,
};

use crate::sample;

#[test]
fn json_is_read_back_as_it_was() {
    let report = sample::report();
    let read = Report::from_json(&report.to_json()).expect("its own JSON");
    let expected = Report {
        verdict: report.verdict(),
        ..report
    };
    // f64 survives JSON to the bit; f32 scores do as well.
    assert_eq!(read, expected);
}

#[test]
fn a_loss_that_is_not_finite_does_not_break_the_file() {
    let mut report = sample::report();
    let points = vec![(1.0, 0.5), (2.0, f64::NAN), (3.0, f64::INFINITY)];
    report.curves = vec![Curve {
        name: "training".into(),
        panel: CurvePanel::Loss,
        points,
    }];
    let read = Report::from_json(&report.to_json()).expect("its own JSON");
    assert_eq!(read.curves[0].points, [(1.0, 0.5)]);
}

#[test]
fn another_version_is_refused() {
    let json = sample::report().to_json();
    let version = format!("\"schema_version\": {SCHEMA_VERSION}");
    assert!(json.contains(&version));
    let error = Report::from_json(&json.replace(&version, "\"schema_version\": 99"))
        .expect_err("version 99");
    assert!(
        matches!(error.kind(), ErrorKind::Schema { found: 99, .. }),
        "{error:?}"
    );
    let error = Report::from_json("{}").expect_err("not a report");
    assert!(matches!(error.kind(), ErrorKind::Json(_)), "{error:?}");
}

/// A change of the layout must be seen in review, and raise `SCHEMA_VERSION` if it breaks readers. The example `report` writes the
/// file anew.
#[test]
fn the_documented_schema_is_the_real_one() {
    let documented: serde_json::Value =
        serde_json::from_str(include_str!("../../report.schema.json")).expect("a JSON file");
    assert_eq!(documented, Report::json_schema());
}

#[test]
fn the_verdict_says_figure_interval_baseline_and_standing() {
    let mut report = sample::report();
    let figure = report.headline_figure().expect("always there").clone();
    let verdict = report.verdict();
    for part in [
        format!("macro F1 is {:.1} %", 100.0 * figure.value),
        format!(
            "{:.1}–{:.1} %",
            100.0 * figure.interval.low,
            100.0 * figure.interval.high
        ),
        format!("against {:.1} %", 100.0 * figure.baseline.value),
        "201 items of 23 groups".into(),
        "above the baseline".into(),
    ] {
        assert!(verdict.contains(&part), "{part:?} in {verdict:?}");
    }
    let idx = report
        .classification
        .figures
        .iter()
        .position(|f| f.name == "macro_f1")
        .expect("there");
    for (baseline, expected) in [
        (figure.value, "includes the baseline"),
        (1.0, "below the baseline"),
    ] {
        report.classification.figures[idx].baseline.value = baseline;
        assert!(
            report.verdict().contains(expected),
            "{baseline}: {}",
            report.verdict()
        );
    }
}

#[test]
fn an_accepted_leak_comes_first() {
    let mut report = sample::report();
    report.accepted_leak = Some("the authors' split shares cameras.".into());
    report.chosen_on_this_split = true;
    let verdict = report.verdict();
    assert!(
        verdict.starts_with("accepted leak: the authors' split shares cameras. On test"),
        "{verdict}"
    );
    assert!(verdict.ends_with("expect less on new data."), "{verdict}");
    let html = report.to_html();
    let leak = html.find("accepted leak").expect("the leak is on the page");
    assert!(
        leak < html
            .find("macro F1 is")
            .expect("the sentence is on the page")
    );
}

#[test]
fn the_page_asks_for_nothing_and_runs_nothing() {
    let html = sample::report().to_html();
    let without_namespace = html.replace("http://www.w3.org/2000/svg", "");
    for forbidden in [
        "http:", "https:", "//cdn", "<script", "<link", "<img", "url(", "@import", "src=",
    ] {
        assert!(!without_namespace.contains(forbidden), "{forbidden}");
    }
    for needed in [
        "prefers-color-scheme:dark",
        "@media print",
        "name=\"viewport\"",
        "<svg",
    ] {
        assert!(html.contains(needed), "{needed}");
    }
}

#[test]
fn no_name_becomes_markup() {
    let evil = "<img src=x onerror='alert(1)'>\"";
    let mut items = sample::scored(1, 0.2);
    for item in &mut items {
        item.item = format!("{evil}{}", item.item);
        item.group = Some(format!("{evil}{}", item.group.as_deref().unwrap_or("")));
    }
    let classes: Vec<String> = (0..7).map(|class| format!("{evil}{class}")).collect();
    let mut report = sample::report();
    let comparisons = report.classification.comparisons.clone();
    report.classification = classify(
        &classes,
        &[9, 8, 0, 5, 4, 3, 2],
        &items,
        &Bootstrap::default(),
    )
    .expect("sound items");
    report.classification.comparisons = comparisons;
    report.classification.comparisons[0].name = evil.into();
    for text in [
        &mut report.name,
        &mut report.split,
        &mut report.recipe,
        &mut report.data.source,
        &mut report.data.notes[0],
        &mut report.data.splits[0].split,
        &mut report.curves[0].name,
        &mut report.origin.command,
        &mut report.origin.version,
        &mut report.origin.device,
        &mut report.origin.kernels,
    ] {
        *text = evil.into();
    }
    report.data.skipped[0] = Skipped {
        item: evil.into(),
        reason: evil.into(),
    };
    report.origin.facts[0] = (evil.into(), evil.into());
    report.accepted_leak = Some(evil.into());
    let html = report.to_html();
    assert!(!html.contains("<img"), "markup came through");
    assert!(
        html.matches("&lt;img src=x onerror=&#39;alert(1)&#39;&gt;&quot;")
            .count()
            > 100
    );
}

#[test]
fn files_are_written_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let report = sample::report();
    report.save(dir.path()).expect("a writable folder");
    let names = |path: &std::path::Path| -> Vec<String> {
        let entries = fs::read_dir(path).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(dir.path()), ["plots", "report.html", "report.json"]);
    let plots = names(&dir.path().join("plots"));
    assert_eq!(plots.len(), report.plots().len());
    assert!(plots.iter().all(|name| name.ends_with(".png")), "{plots:?}");

    // A file where a folder must be.
    let blocked = dir.path().join("report.json");
    let error = report.save(&blocked).expect_err("not a folder");
    assert_eq!(error.path(), Some(blocked.join("plots").as_path()));
    assert!(error.to_string().starts_with("cannot write "), "{error}");
}

#[test]
fn an_evaluation_without_training_is_a_report_too() {
    let full = sample::report();
    let report = Report::new("bundle", "test", full.classification);
    let html = report.to_html();
    for absent in ["<h2>Training", "<h2>Data", "<h2>Recipe", "<h2>How to get"] {
        assert!(!html.contains(absent), "{absent}");
    }
    assert!(html.contains("top-1 accuracy is "));
}
