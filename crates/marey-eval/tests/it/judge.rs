//! Figures of scores against scikit-learn, torchmetrics and SciPy, on inputs with ties, missing classes and groups of one class.
//! Written by `reference/judge_golden.py`.

use std::collections::BTreeMap;

use marey_eval::{
    Bootstrap, Calibration, Figure, Foreignness, LabelledLogits, LearningCurve, LearningPoint,
    Picture, Rectangle, Scored, Validation, average_precision, calibration_error, classify,
    fpr_at_tpr, judge_boxes, judge_class, judge_probabilities, judge_selective, label_candidates,
    roc_auc, tpr_at_fpr,
};
use serde::Deserialize;

const FEW_DRAWS: Bootstrap = Bootstrap { draws: 20, seed: 0 };

/// torchmetrics computes in f32.
const TOLERANCE: f64 = 1e-6;

fn close(what: &str, found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0),
        "{what}: {found}, expected {expected}"
    );
}

#[derive(Deserialize)]
struct Golden {
    classification: Vec<Classes>,
    binary: Vec<Binary>,
    calibration: Vec<Logits>,
    detection: Vec<Boxes>,
    learning_curve: Curve,
}

#[derive(Deserialize)]
struct Classes {
    name: String,
    train_counts: Vec<usize>,
    targets: Vec<usize>,
    groups: Vec<usize>,
    scores_in_64ths: Vec<Vec<u8>>,
    figures: BTreeMap<String, f64>,
    baselines: BTreeMap<String, f64>,
    selective: BTreeMap<String, f64>,
    /// Item, likely class, margin.
    label_candidates: Vec<(String, usize, f64)>,
    nll: f64,
    class_0: BTreeMap<String, Option<f64>>,
}

#[derive(Deserialize)]
struct Binary {
    name: String,
    is_positive: Vec<bool>,
    scores: Vec<f64>,
    figures: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Logits {
    name: String,
    targets: Vec<usize>,
    logits: Vec<Vec<f32>>,
    fresh: Vec<Vec<f32>>,
    temperature: f64,
    scale: Vec<f64>,
    bias: Vec<f64>,
    by_temperature: Vec<Vec<f64>>,
    by_vector: Vec<Vec<f64>>,
    by_isotonic: Vec<Vec<f64>>,
    msp: Vec<f64>,
    entropy: Vec<f64>,
    energy: Vec<f64>,
}

#[derive(Deserialize)]
struct Boxes {
    pictures: Vec<Boxed>,
    ap50: f64,
    ap50_95: f64,
}

#[derive(Deserialize)]
struct Boxed {
    truths: Vec<(usize, [f64; 4])>,
    found: Vec<(usize, [f64; 4], f64)>,
}

#[derive(Deserialize)]
struct Curve {
    sizes: Vec<f64>,
    errors: Vec<f64>,
    at_640: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/judge.json")).expect("a golden file")
}

impl Classes {
    fn items(&self) -> Vec<Scored> {
        let item = |(idx, &target): (usize, &usize)| Scored {
            item: format!("item {idx:03}"),
            group: Some(format!("group {}", self.groups[idx])),
            target,
            scores: self.scores_in_64ths[idx]
                .iter()
                .map(|&s| f32::from(s) / 64.0)
                .collect(),
        };
        self.targets.iter().enumerate().map(item).collect()
    }
}

#[test]
fn of_several_classes() {
    for case in golden().classification {
        let names: Vec<String> = (0..case.train_counts.len())
            .map(|k| k.to_string())
            .collect();
        let found =
            classify(&names, &case.train_counts, &case.items(), &FEW_DRAWS).expect("sound items");
        for (name, &expected) in &case.figures {
            let figure = found
                .figure(name)
                .unwrap_or_else(|| panic!("{} of {}", name, case.name));
            close(&format!("{}, {name}", case.name), figure.value, expected);
        }
        for (name, &expected) in &case.baselines {
            let figure = found
                .figure(name)
                .unwrap_or_else(|| panic!("{} of {}", name, case.name));
            close(
                &format!("{}, baseline of {name}", case.name),
                figure.baseline.value,
                expected,
            );
        }
        // One class has no ROC AUC, here and there.
        assert_eq!(
            found.figure("roc_auc").is_some(),
            case.figures.contains_key("roc_auc"),
            "{}",
            case.name
        );
    }
}

#[test]
fn of_two_classes() {
    for case in golden().binary {
        let (labels, scores) = (&case.is_positive, &case.scores);
        let found = [
            ("average_precision", average_precision(labels, scores)),
            ("roc_auc", roc_auc(labels, scores)),
            ("fpr_at_95_tpr", fpr_at_tpr(labels, scores, 0.95)),
            ("tpr_at_5_fpr", tpr_at_fpr(labels, scores, 0.05)),
            ("ece", calibration_error(scores, labels, 10)),
        ];
        for (name, found) in found {
            match (found, case.figures.get(name)) {
                (Ok(found), Some(&expected)) => {
                    close(&format!("{}, {name}", case.name), found, expected)
                }
                (Err(_), None) => {}
                (found, expected) => {
                    panic!("{}, {name}: {found:?}, expected {expected:?}", case.name)
                }
            }
        }
    }
}

/// The figures among `found` against those expected of them.
fn check_figures(case: &str, found: &[Figure], expected: &BTreeMap<String, f64>) {
    for (name, &expected) in expected {
        let figure = found.iter().find(|figure| figure.name == *name);
        let figure = figure.unwrap_or_else(|| panic!("{name} of {case}"));
        close(&format!("{case}, {name}"), figure.value, expected);
    }
}

#[test]
fn of_a_class_and_of_sureness() {
    for case in golden().classification {
        let items = case.items();
        let selective = judge_selective(&items, 0.8, &FEW_DRAWS).expect("sound items");
        check_figures(&case.name, &selective, &case.selective);
        let names: Vec<String> = (0..case.train_counts.len())
            .map(|k| k.to_string())
            .collect();
        let found = judge_probabilities(&names, &case.train_counts, &items, &FEW_DRAWS);
        let expected = BTreeMap::from([("nll".to_owned(), case.nll)]);
        check_figures(&case.name, &found.expect("probabilities"), &expected);
        let expected: Option<BTreeMap<String, f64>> = case
            .class_0
            .iter()
            .map(|(name, value)| Some((name.clone(), (*value)?)))
            .collect();
        match (judge_class(&items, 0, &FEW_DRAWS), expected) {
            (Ok(found), Some(expected)) => check_figures(&case.name, &found, &expected),
            // No item of class 0.
            (found, expected) => assert!(found.is_err() && expected.is_none(), "{}", case.name),
        }
    }
}

#[test]
fn suspect_labels() {
    let mut num_candidates = 0;
    for case in golden().classification {
        let found = label_candidates(&case.items()).expect("sound items");
        let order = |item: &str, likely: usize| (item.to_owned(), likely);
        let names: Vec<_> = found.iter().map(|c| order(&c.item, c.likely)).collect();
        let expected: Vec<_> = case
            .label_candidates
            .iter()
            .map(|c| order(&c.0, c.1))
            .collect();
        assert_eq!(names, expected, "{}", case.name);
        for (found, expected) in found.iter().zip(&case.label_candidates) {
            close(&case.name, found.margin, expected.2);
        }
        num_candidates += found.len();
    }
    assert!(num_candidates > 20, "the cases hold candidates");
}

#[test]
fn of_calibrated_logits() {
    for case in golden().calibration {
        let data = LabelledLogits {
            targets: &case.targets,
            logits: &case.logits,
        };
        let validation = Validation::of_split("validation", data).expect("validation");
        let temperature = Calibration::fit_temperature(&validation).expect("sound logits");
        let vector = Calibration::fit_vector(&validation).expect("sound logits");
        let isotonic = Calibration::fit_isotonic(&validation).expect("sound logits");
        match (&temperature, &vector) {
            (Calibration::Temperature { temperature }, Calibration::Vector { scale, bias }) => {
                close(&case.name, *temperature, case.temperature);
                for (found, expected) in scale
                    .iter()
                    .zip(&case.scale)
                    .chain(bias.iter().zip(&case.bias))
                {
                    // The valley is flat where the penalty alone decides.
                    assert!(
                        (found - expected).abs() < 1e-4,
                        "{}: {found} {expected}",
                        case.name
                    );
                }
            }
            _ => panic!("another calibration than was asked for"),
        }
        let fitted = [
            (&temperature, &case.by_temperature),
            (&vector, &case.by_vector),
            (&isotonic, &case.by_isotonic),
        ];
        for (calibration, expected) in fitted {
            for (logits, expected) in case.fresh.iter().zip(expected) {
                let found = calibration.scores(logits).expect("sound logits");
                for (&found, &expected) in found.iter().zip(expected) {
                    close(&case.name, f64::from(found), expected);
                }
            }
        }
        for (foreignness, expected) in
            Foreignness::ALL
                .iter()
                .zip([&case.msp, &case.entropy, &case.energy])
        {
            for (logits, &expected) in case.fresh.iter().zip(expected) {
                let found = foreignness.of(logits).expect("sound logits");
                close(foreignness.name(), found, expected);
            }
        }
    }
}

#[test]
fn of_boxes() {
    let rectangle = |[left, top, right, bottom]: [f64; 4]| Rectangle {
        left,
        top,
        right,
        bottom,
    };
    for case in golden().detection {
        let picture = |(idx, boxed): (usize, &Boxed)| Picture {
            name: idx.to_string(),
            group: None,
            frame: rectangle([0.0, 0.0, 20.0, 20.0]),
            truths: boxed
                .truths
                .iter()
                .map(|&(class, edges)| (class, rectangle(edges)))
                .collect(),
            found: boxed
                .found
                .iter()
                .map(|&(class, edges, score)| (class, rectangle(edges), score))
                .collect(),
        };
        let pictures: Vec<Picture> = case.pictures.iter().enumerate().map(picture).collect();
        let found = judge_boxes(3, &pictures, &FEW_DRAWS).expect("sound pictures");
        let expected = [("ap50", case.ap50), ("ap50_95", case.ap50_95)];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        check_figures("boxes", &found, &BTreeMap::from(expected));
    }
}

#[test]
fn of_a_learning_curve() {
    let case = golden().learning_curve;
    let points: Vec<LearningPoint> = case
        .sizes
        .iter()
        .zip(&case.errors)
        .map(|(&size, &error)| LearningPoint {
            num_items: size as usize,
            error,
            standard_error: 0.01,
        })
        .collect();
    let curve = LearningCurve::fit(&points, 0).expect("four points");
    close("at 640", 1.0 - curve.figure_at(640).value, case.at_640);
}
