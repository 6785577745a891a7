use std::{
    fs,
    io::Read,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use crate::harness::{Project, losses, marey, run, stderr};

/// Starts a training and waits until `metrics.jsonl` holds `lines` lines.
pub(crate) fn start_until(project: &Project, runs: &str, changes: &[&str], lines: usize) -> Child {
    let mut child = marey()
        .args(project.train_args(runs, changes))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let metrics = project.path(runs).join("small-1/metrics.jsonl");
    let started = Instant::now();
    while num_lines(&metrics) < lines {
        if let Some(status) = child.try_wait().expect("a child") {
            let mut error = String::new();
            child
                .stderr
                .take()
                .expect("piped")
                .read_to_string(&mut error)
                .expect("text");
            panic!(
                "ended with {status} after {} lines: {error}",
                num_lines(&metrics)
            );
        }
        assert!(
            started.elapsed() < Duration::from_secs(300),
            "the run makes no step"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn num_lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

/// Goes on with the run in `runs`, which must succeed.
pub(crate) fn resume(project: &Project, runs: &str) {
    let dir = project.arg(&format!("{runs}/small-1"));
    let output = run(&["train", "--resume", &dir]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A run with `changes`, whole, and killed when its metrics have `lines` lines: losses, figures and bundle are the same.
pub(crate) fn check_killed(changes: &[&str], lines: usize) {
    let project = Project::new();
    project.train("whole", changes);
    let whole = losses(&project.read("whole/small-1/metrics.jsonl"));
    assert!(whole.len() >= 4, "{whole:?}");

    let mut child = start_until(&project, "killed", changes, lines);
    child.kill().expect("SIGKILL");
    child.wait().expect("a status");
    let before = losses(&project.read("killed/small-1/metrics.jsonl"));
    assert!(
        before.len() < whole.len(),
        "killed too late to show anything"
    );
    resume(&project, "killed");
    assert_eq!(losses(&project.read("killed/small-1/metrics.jsonl")), whole);
    // The report of both runs is the same in every figure.
    let figures = |runs: &str| {
        let report = project.read(&format!("{runs}/small-1/report.json"));
        serde_json::from_str::<serde_json::Value>(&report).expect("JSON")["classification"].clone()
    };
    assert_eq!(figures("killed"), figures("whole"));
    let [killed, whole] = ["killed", "whole"].map(|runs| project.bundled_values(runs));
    assert!(killed == whole, "the bundles differ");
}

#[test]
fn a_killed_run_goes_on_to_the_same_losses_to_the_bit() {
    let changes = [
        "train.checkpoint_steps=1",
        "train.accumulate=2",
        "model.dropout=0.3",
    ];
    check_killed(&changes, 1);
}

#[test]
fn a_killed_run_with_sharp_steps_and_a_moving_average_goes_on_to_the_bit() {
    let changes = [
        "train.checkpoint_steps=1",
        "train.accumulate=2",
        "train.clip_norm=1.0",
        "train.ema={decay=0.9}",
        "train.monitor=pr_auc",
        "model.dropout=0.3",
        "optimizer.sam={rho=0.1, adaptive=true}",
        "optimizer.backbone_lr_factor=0.5",
        "optimizer.decay_norms_and_biases=false",
        "optimizer.freeze_norm=statistics",
        "optimizer.scale_lr_to_batch=16",
        "schedule={kind=\"one_cycle\"}",
        "loss={kind=\"adaptive_focal\", class_weights=\"effective\", label_smoothing=0.1}",
    ];
    check_killed(&changes, 1);
}

#[test]
fn a_killed_run_with_a_mean_of_epochs_and_a_plateau_goes_on_to_the_bit() {
    let changes = [
        "train.checkpoint_steps=1",
        "train.accumulate=2",
        "train.epochs=4",
        "train.precision=f16",
        "train.monitor=loss",
        "train.swa={start_epoch=2, lr=0.0005, anneal_epochs=2}",
        "optimizer={kind=\"sgd\", lr=0.01, sam={}}",
        "schedule={kind=\"plateau\", patience=0, factor=0.5, min_delta=10.0, warmup_steps=2}",
        "loss={kind=\"focal\", class_weights=\"inv_sqrt\"}",
    ];
    // In the third epoch: one is in the mean, and the rate has fallen.
    check_killed(&changes, 7);
}

/// Everything that training changes about clips and draws by itself, at once.
const EVERYTHING: [&str; 14] = [
    "augment={ flip = 0.5, rain = {}, fog = {}, shadow = {}, snow = {}, gaussian_blur = {}, gaussian_noise = {} }",
    "augment.autocontrast=0.3",
    "augment.grayscale=0.2",
    "augment.affine={ degrees = 10.0, translate = 0.05, scale = [0.9, 1.1] }",
    "augment.rand_augment={ num_ops = 1 }",
    "augment.random_resized_crop={ scale = [0.6, 1.0] }",
    "augment.color_jitter={ brightness = 0.2, contrast = 0.2, saturation = 0.2, hue = 0.05 }",
    "augment.random_erasing={ probability = 0.3 }",
    "augment.coarse_dropout={ probability = 0.3 }",
    "sampling={ mode = \"centered\", frames = 4, step = 2, jitter = 3 }",
    "loss.class_weights=balanced",
    "train.checkpoint_steps=1",
    "train.sampler={ kind = \"weighted\", by = \"inv_sqrt\" }",
    "train.mix={ mixup_alpha = 0.8, cutmix_alpha = 1.0, probability = 0.9 }",
];

#[test]
fn a_killed_run_goes_on_to_the_same_losses_with_every_change_and_draw_on() {
    let project = Project::new();
    let changes = EVERYTHING;
    project.train("whole", &changes);
    let whole = losses(&project.read("whole/small-1/metrics.jsonl"));
    let mut child = start_until(&project, "killed", &changes, 1);
    child.kill().expect("SIGKILL");
    child.wait().expect("a status");
    let before = losses(&project.read("killed/small-1/metrics.jsonl"));
    assert!(
        before.len() < whole.len(),
        "killed too late to show anything"
    );
    resume(&project, "killed");
    assert_eq!(losses(&project.read("killed/small-1/metrics.jsonl")), whole);

    // The log says what each epoch drew, and the two corrections of the balance are told everywhere.
    let log = project.read("whole/small-1/log.jsonl");
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let drawn: Vec<u64> = lines
        .iter()
        .filter(|line| line["event"] == "drawn")
        .map(|line| {
            let per_class = line["per_class"].as_object().expect("a table");
            per_class
                .values()
                .map(|num| num.as_u64().expect("a number"))
                .sum()
        })
        .collect();
    assert!(
        drawn.len() == 2 && drawn[0] == drawn[1] && drawn[0] > 8,
        "{log}"
    );
    assert!(
        log.contains("\"warning\"") && log.contains("each make rare classes count more"),
        "{log}"
    );
    let report = project.read("whole/small-1/report.json");
    assert!(
        report.contains("each make rare classes count more"),
        "the report has the warning"
    );
    assert!(
        report.contains("in the last epoch, from"),
        "the report says what was drawn"
    );
    // Without either of the two, other steps are made.
    for without in ["train.mix", "train.sampler"] {
        let mut fewer: Vec<&str> = changes
            .into_iter()
            .filter(|change| !change.starts_with(without))
            .collect();
        assert_eq!(fewer.len(), changes.len() - 1, "{without}");
        fewer.push("train.epochs=1");
        let runs = without.replace('.', "-");
        project.train(&runs, &fewer);
        let other = losses(&project.read(&format!("{runs}/small-1/metrics.jsonl")));
        assert_ne!(other[..2], whole[..2], "{without}");
    }
}

#[test]
fn a_sampler_that_does_not_fit_the_data_leaves_no_run() {
    let project = Project::new();
    let error = project
        .refuse(&["train.sampler={ kind = \"boosted\", class = \"sideways\", share = 0.5 }"]);
    assert!(
        error.contains("train.sampler.class = \"sideways\" is no class of the data, which has"),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_a_checkpoint_and_the_run_can_be_resumed() {
    let project = Project::new();
    let child = start_until(&project, "stopped", &[], 1);
    let kill = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.expect("kill runs").success());
    let output = child.wait_with_output().expect("a status");
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("marey train --resume"),
        "{}",
        stderr(&output)
    );
    let stopped = losses(&project.read("stopped/small-1/metrics.jsonl"));
    resume(&project, "stopped");
    project.train("whole", &[]);
    let whole = losses(&project.read("whole/small-1/metrics.jsonl"));
    assert!(
        stopped.len() < whole.len(),
        "stopped too late to show anything"
    );
    assert_eq!(
        losses(&project.read("stopped/small-1/metrics.jsonl")),
        whole
    );
}

#[test]
fn workers_change_the_speed_and_nothing_else() {
    let project = Project::new();
    project.train("one", &["train.workers=1", "train.epochs=1"]);
    project.train(
        "three",
        &["train.workers=3", "train.prefetch=1", "train.epochs=1"],
    );
    let losses = |runs: &str| losses(&project.read(&format!("{runs}/small-1/metrics.jsonl")));
    assert_eq!(losses("one"), losses("three"));
}

#[test]
fn a_complete_run_is_not_resumed() {
    let project = Project::new();
    project.train("runs", &["train.epochs=1"]);
    let output = run(&["train", "--resume", &project.arg("runs/small-1")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("is complete"),
        "{}",
        stderr(&output)
    );
}
