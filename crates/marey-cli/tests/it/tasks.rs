//! What a model learns beside the classes.

use crate::{
    harness::{Project, losses},
    resume::check_killed,
};

const ANOMALY: &str = "task={kind=\"anomaly\", normal=\"horizontal\", deep_svdd={weight=0.1}}";

#[test]
fn a_killed_run_that_looks_for_anomalies_goes_on_to_the_bit() {
    check_killed(&["train.checkpoint_steps=1", "train.epochs=3", ANOMALY], 1);
}

#[test]
fn a_killed_run_that_ranks_bags_goes_on_to_the_bit() {
    let task = "task={kind=\"anomaly\", normal=\"horizontal\", ranking={segments=2}}";
    check_killed(&["train.checkpoint_steps=1", "train.epochs=3", task], 1);
}

#[test]
fn the_heads_of_a_task_are_bundled_and_change_what_is_learned() {
    let project = Project::new();
    project.train("classes", &[]);
    project.train("anomaly", &[ANOMALY]);
    project.train("labels", &["task={kind=\"classify\", heads=[\"shape\"]}"]);
    let [classes, anomaly, labels] = ["classes", "anomaly", "labels"]
        .map(|runs| losses(&project.read(&format!("{runs}/small-1/metrics.jsonl"))));
    assert_ne!(classes[0], anomaly[0]);
    assert_ne!(classes[0], labels[0]);
    let card = project.read("anomaly/small-1/bundle/card.toml");
    assert!(card.contains("normal = \"horizontal\""), "{card}");
    let card = project.read("labels/small-1/bundle/card.toml");
    assert!(card.contains("column = \"shape\""), "{card}");
}

#[test]
fn a_task_that_the_data_cannot_teach_is_refused() {
    let project = Project::new();
    for (change, expect) in [
        (
            "task={kind=\"anomaly\", normal=\"NormalVideos\"}",
            "task.normal is `NormalVideos`, and the classes are",
        ),
        (
            "task={kind=\"classify\", heads=[\"actor\"]}",
            "the data has no column `actor`",
        ),
        (
            "task={kind=\"anomaly\", normal=\"horizontal\", nu=0.1}",
            "unknown field `nu`",
        ),
    ] {
        let error = project.refuse(&[change]);
        assert!(error.contains(expect), "{error}");
    }
    let ranking = "task={kind=\"anomaly\", normal=\"horizontal\", ranking={}}";
    for (change, expect) in [
        ("train.batch=1", "no effect with train.batch = 1"),
        ("train.mix={mixup_alpha=0.2}", "cannot work with train.mix"),
    ] {
        let error = project.refuse(&[ranking, change]);
        assert!(error.contains(expect), "{error}");
    }
}
