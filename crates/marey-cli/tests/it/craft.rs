use serde_json::Value;

use crate::harness::{Project, losses};

/// The values of `key` in the lines of `kind` of the metrics of the run in `runs`.
fn values(project: &Project, runs: &str, [kind, key]: [&str; 2]) -> Vec<f64> {
    let metrics = project.read(&format!("{runs}/small-1/metrics.jsonl"));
    metrics
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|line| line["kind"] == kind)
        .map(|line| line[key].as_f64().expect("a number"))
        .collect()
}

fn of_steps(project: &Project, runs: &str, key: &str) -> Vec<f64> {
    values(project, runs, ["step", key])
}

fn of_epochs(project: &Project, runs: &str, key: &str) -> Vec<f64> {
    values(project, runs, ["epoch", key])
}

fn losses_of(project: &Project, runs: &str) -> Vec<(u64, String)> {
    losses(&project.read(&format!("{runs}/small-1/metrics.jsonl")))
}

#[test]
fn averages_change_what_is_bundled_and_not_how_it_is_learned() {
    let project = Project::new();
    let last = "train.select=last";
    project.train("plain", &[last]);
    // An average that remembers nothing is the last weights.
    project.train("forgetful", &[last, "train.ema={decay=0.0, warmup=false}"]);
    project.train("ema", &[last, "train.ema={decay=0.5, warmup=false}"]);
    project.train("swa", &["train.swa={start_epoch=1}"]);
    let plain = losses_of(&project, "plain");
    for runs in ["forgetful", "ema", "swa"] {
        assert_eq!(losses_of(&project, runs), plain, "{runs}");
    }
    let [plain, forgetful, ema, swa] =
        ["plain", "forgetful", "ema", "swa"].map(|runs| project.bundled_values(runs));
    assert!(forgetful == plain, "an average that remembers nothing");
    assert!(ema != plain && swa != plain, "an average that remembers");
    let log = project.read("swa/small-1/log.jsonl");
    let averaged: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|line: &Value| line["event"] == "averaged")
        .collect();
    assert_eq!(averaged.len(), 1, "{log}");
    assert_eq!(averaged[0]["epochs"], 2);
    assert!(averaged[0]["validation"]["macro_f1"].is_f64(), "{log}");
}

#[test]
fn averages_keep_the_centre_of_normal_clips_and_renew_the_norms_of_every_head() {
    let project = Project::new();
    let anomaly = "task={kind=\"anomaly\", normal=\"horizontal\", deep_svdd={weight=0.1}}";
    project.train("plain", &[anomaly, "train.select=last"]);
    project.train("ema", &[anomaly, "train.select=last", "train.ema={}"]);
    // The mean of one epoch is its weights.
    project.train("swa", &[anomaly, "train.swa={start_epoch=2}"]);
    let tensor = |runs: &str, name: &str| project.bundled_tensor(runs, name);
    let center = tensor("plain", "anomaly_head.center");
    assert!(tensor("ema", "anomaly_head.center") == center);
    assert!(tensor("swa", "anomaly_head.center") == center);
    let weight = "anomaly_head.embedding.0.weight";
    assert!(tensor("swa", weight) == tensor("plain", weight));
    let statistic = "anomaly_head.embedding.2.running_mean";
    assert!(tensor("swa", statistic) != tensor("plain", statistic));
}

#[test]
fn a_moving_average_is_what_is_validated() {
    let project = Project::new();
    // The first weights, for good: every epoch is validated alike, whatever the steps do.
    let frozen = "train.ema={decay=0.9999999, warmup=false}";
    project.train("still", &[frozen, "train.epochs=3", "train.monitor=loss"]);
    let figures = of_epochs(&project, "still", "val_loss");
    assert_eq!(figures.len(), 3);
    assert!(
        figures
            .iter()
            .all(|value| (value - figures[0]).abs() < 1e-4),
        "{figures:?}"
    );
}

#[test]
fn a_sharp_step_of_no_length_is_a_plain_one() {
    let project = Project::new();
    // So small a rate that rounding, which norms of few values magnify, does not lead the runs apart.
    for (runs, sam) in [
        ("plain", ""),
        ("still", ", sam={rho=1e-9}"),
        ("sharp", ", sam={rho=0.5}"),
    ] {
        let optimizer = format!("optimizer={{kind=\"sgd\", lr=1e-6{sam}}}");
        project.train(runs, &["model.dropout=0.3", &optimizer]);
    }
    let apart = |runs: &str, key: &str| {
        let [plain, other] = ["plain", runs].map(|runs| of_steps(&project, runs, key));
        let pairs = plain.iter().zip(&other);
        pairs.map(|(a, b)| (a - b).abs() / a).fold(0.0, f64::max)
    };
    // The same clips, the same dropout, and running statistics that moved once.
    assert!(apart("still", "loss") < 1e-3 && apart("still", "grad_norm") < 1e-3);
    let [plain, still] = ["plain", "still"].map(|runs| of_epochs(&project, runs, "val_loss"));
    let together = plain.iter().zip(&still).all(|(a, b)| (a - b).abs() < 1e-3);
    assert!(together, "{plain:?} {still:?}");
    // The gradient is another at the worst point, the loss is that of the weights.
    assert!(apart("sharp", "grad_norm") > 1e-2);
    let [plain, sharp] = ["plain", "sharp"].map(|runs| of_steps(&project, runs, "loss"));
    assert_eq!(plain[0], sharp[0]);
}

#[test]
fn rates_follow_the_schedule_and_the_batch() {
    let project = Project::new();
    project.train(
        "rates",
        &[
            "train.epochs=3",
            "optimizer.scale_lr_to_batch=8",
            "schedule={kind=\"step\", every_epochs=1, factor=0.5}",
        ],
    );
    let rates = of_steps(&project, "rates", "lr");
    // A rate of 0.001 for 8 clips, and steps of 4.
    let per_epoch = rates.len() / 3;
    let expect = [0.0005, 0.00025, 0.000125];
    for (step, rate) in rates.iter().enumerate() {
        assert!((rate - expect[step / per_epoch]).abs() < 1e-12, "{rates:?}");
    }
}

#[test]
fn a_plateau_lowers_the_rate_after_the_epochs_it_bears() {
    let project = Project::new();
    project.train(
        "plateau",
        &[
            "train.epochs=4",
            "train.select=last",
            // No figure is better by 10.
            "schedule={kind=\"plateau\", patience=1, factor=0.5, min_delta=10.0}",
        ],
    );
    let rates = of_steps(&project, "plateau", "lr");
    let per_epoch = rates.len() / 4;
    // The first epoch is the best so far, the second is borne, the third is one too many.
    let expect = [0.001, 0.001, 0.001, 0.0005];
    for (step, rate) in rates.iter().enumerate() {
        assert!((rate - expect[step / per_epoch]).abs() < 1e-12, "{rates:?}");
    }
}

#[test]
fn what_does_not_fit_data_or_model_is_refused_before_training() {
    let project = Project::new();
    let cases: [(&[&str], &str); 8] = [
        (
            &["train.monitor=f1:nothing"],
            "names no class; the classes are",
        ),
        (&["train.monitor=f1_score"], "did you mean"),
        (&["optimizer.freeze=[\"layer1\"]"], "names begin with"),
        (
            &["optimizer.lr_factors={head=2.0}"],
            "optimizer.lr_factors names \"head\"",
        ),
        (
            &["loss.class_weights={nothing=2.0}"],
            "names \"nothing\", which is no class",
        ),
        (&["train.swa={start_epoch=9}"], "at most train.epochs (2)"),
        (
            &[
                "data.split={by=\"group\", validation=0.0, test=0.3, seed=1}",
                "train.patience=1",
            ],
            "train.patience needs a validation split",
        ),
        (
            &[
                "data.split={by=\"group\", validation=0.0, test=0.3, seed=1}",
                "schedule={kind=\"plateau\"}",
            ],
            "schedule.kind = \"plateau\" needs a validation split",
        ),
    ];
    for (changes, expect) in cases {
        let error = project.refuse(changes);
        assert!(error.contains(expect), "{changes:?}: {error}");
    }
}
