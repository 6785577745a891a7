//! Figures against scikit-learn, torchmetrics and SciPy, on inputs with ties, missing classes and groups of one class. Written by
//! `reference/eval_golden.py`.

use std::collections::BTreeMap;

use marey_eval::{Bootstrap, Classification, Estimate, Scored, classify};
use serde::Deserialize;

/// torchmetrics computes in f32.
const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct Golden {
    train_counts: Vec<usize>,
    targets: Vec<usize>,
    groups: Vec<usize>,
    scores_in_sixteenths: Vec<Vec<u8>>,
    figures: BTreeMap<String, f64>,
    baselines: BTreeMap<String, f64>,
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    confusion: Vec<Vec<u64>>,
    top1_wilson: [f64; 2],
    macro_f1_bootstrap: [f64; 2],
}

impl Golden {
    fn classify(&self, bootstrap: &Bootstrap) -> Classification {
        let classes: Vec<String> = (0..self.train_counts.len())
            .map(|k| format!("class {k}"))
            .collect();
        let items: Vec<Scored> = (0..self.targets.len())
            .map(|i| Scored {
                item: format!("item {i}"),
                group: Some(format!("group {}", self.groups[i])),
                target: self.targets[i],
                scores: self.scores_in_sixteenths[i]
                    .iter()
                    .map(|&s| f32::from(s) / 16.0)
                    .collect(),
            })
            .collect();
        classify(&classes, &self.train_counts, &items, bootstrap).expect("sound items")
    }
}

fn check(name: &str, json: &str) {
    let golden: Golden = serde_json::from_str(json).expect("a golden file");
    let found = golden.classify(&Bootstrap {
        draws: 20_000,
        seed: 5,
    });
    let close = |what: &str, found: f64, expected: f64, tolerance: f64| {
        assert!(
            (found - expected).abs() <= tolerance,
            "{name}, {what}: {found}, expected {expected}"
        );
    };
    assert_eq!(found.figures.len(), golden.figures.len(), "{name}");
    for figure in &found.figures {
        close(
            &figure.name,
            figure.value,
            golden.figures[&figure.name],
            TOLERANCE,
        );
        let baseline = golden.baselines[&figure.name];
        close(
            &format!("baseline of {}", figure.name),
            figure.baseline.value,
            baseline,
            TOLERANCE,
        );
    }
    let per_class = |pick: fn(&marey_eval::ClassFigures) -> Estimate| -> Vec<f64> {
        found
            .per_class
            .iter()
            .map(|class| pick(class).value)
            .collect()
    };
    for (what, found, expected) in [
        (
            "precision",
            per_class(|class| class.precision),
            &golden.precision,
        ),
        ("recall", per_class(|class| class.recall), &golden.recall),
        ("F1", per_class(|class| class.f1), &golden.f1),
    ] {
        for (class, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            close(
                &format!("{what} of class {class}"),
                found,
                expected,
                TOLERANCE,
            );
        }
    }
    assert_eq!(found.confusion, golden.confusion, "{name}");
    let wilson = found.figure("top1").expect("always given").interval;
    close("Wilson low", wilson.low, golden.top1_wilson[0], TOLERANCE);
    close("Wilson high", wilson.high, golden.top1_wilson[1], TOLERANCE);
    // Other draws, so a statistical comparison: the percentile of 20,000 draws has a standard error near 0.001 here.
    let interval = found.figure("macro_f1").expect("always given").interval;
    close(
        "bootstrap low",
        interval.low,
        golden.macro_f1_bootstrap[0],
        0.01,
    );
    close(
        "bootstrap high",
        interval.high,
        golden.macro_f1_bootstrap[1],
        0.01,
    );
}

#[test]
fn two_classes() {
    check("two_classes", include_str!("golden/two_classes.json"));
}

#[test]
fn ties() {
    check("ties", include_str!("golden/ties.json"));
}

#[test]
fn missing_classes() {
    check(
        "missing_classes",
        include_str!("golden/missing_classes.json"),
    );
}

#[test]
fn single_class_groups() {
    check(
        "single_class_groups",
        include_str!("golden/single_class_groups.json"),
    );
}

#[test]
fn one_class() {
    check("one_class", include_str!("golden/one_class.json"));
}

#[test]
fn many_classes() {
    check("many_classes", include_str!("golden/many_classes.json"));
}
