use serde_json::Value;

use crate::{
    harness::{Project, losses, run, stderr},
    resume::{resume, start_until},
};

/// A narrow model, quick and quick to learn the few clips by heart.
const SMALL: [&str; 4] = [
    "model={arch=\"r3d_18\", width=0.125}",
    "optimizer.lr=0.002",
    "augment.flip=0.0",
    "train.checkpoint_steps=1",
];

fn with<'a>(changes: &[&'a str]) -> Vec<&'a str> {
    SMALL.iter().chain(changes).copied().collect()
}

fn json_lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn fact(report: &Value, name: &str) -> Option<String> {
    let facts = report["origin"]["facts"].as_array().expect("facts");
    let fact = facts.iter().find(|fact| fact[0] == name)?;
    Some(fact[1].as_str().expect("text").to_owned())
}

#[test]
fn half_precision_learns_and_resumes_to_the_same_losses_to_the_bit() {
    let project = Project::new();
    let mut runs = Vec::new();
    for precision in ["f32", "bf16", "f16"] {
        let set = format!("train.precision={precision}");
        let changes = with(&["train.epochs=12", &set]);
        project.train(precision, &changes);
        let whole = losses(&project.read(&format!("{precision}/small-1/metrics.jsonl")));
        let loss = |(_, loss): &(u64, String)| loss.parse::<f64>().expect("a number");
        let mean = |part: &[(u64, String)]| part.iter().map(loss).sum::<f64>() / part.len() as f64;
        let (first, last) = (mean(&whole[..4]), mean(&whole[whole.len() - 4..]));
        assert!(last < 0.8 * first, "{precision}: {first} to {last}");

        let killed = format!("killed-{precision}");
        let mut child = start_until(&project, &killed, &changes, 2);
        child.kill().expect("SIGKILL");
        child.wait().expect("a status");
        resume(&project, &killed);
        let metrics = project.read(&format!("{killed}/small-1/metrics.jsonl"));
        assert_eq!(losses(&metrics), whole, "{precision}");

        let report = project.read(&format!("{precision}/small-1/report.json"));
        let report: Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(fact(&report, "trained in").as_deref(), Some(precision));
        let kernels = report["origin"]["kernels"].as_str().expect("text");
        assert!(kernels.contains(precision), "{kernels}");
        let card = project.read(&format!("{precision}/small-1/bundle/card.toml"));
        assert!(
            card.contains(&format!("precision = \"{precision}\"")),
            "{card}"
        );
        let start = json_lines(&project.read(&format!("{precision}/small-1/log.jsonl"))).remove(0);
        assert_eq!(start["precision"], precision);
        runs.push(whole);
    }
    // The key reaches the layers: no two precisions give the same losses.
    assert!(runs[0] != runs[1] && runs[1] != runs[2] && runs[0] != runs[2]);
}

#[test]
fn an_overflow_in_f16_skips_the_step_lowers_the_scale_and_is_told() {
    let project = Project::new();
    let changes = with(&["train.epochs=4", "train.precision=f16"]);
    let mut child = start_until(&project, "runs", &changes, 2);
    child.kill().expect("SIGKILL");
    child.wait().expect("a status");
    // No gradient of this model bears a factor of 2^36.
    let path = "runs/small-1/checkpoints/last/progress.json";
    let mut progress: Value = serde_json::from_str(&project.read(path)).expect("JSON");
    assert!(progress["loss_scale"]["factor"].as_f64() <= Some(65_536.0));
    progress["loss_scale"]["factor"] = 2f64.powi(36).into();
    project.write(path, &progress.to_string());
    resume(&project, "runs");

    let log = json_lines(&project.read("runs/small-1/log.jsonl"));
    let skipped: Vec<_> = log
        .iter()
        .filter(|line| line["event"] == "step_skipped")
        .collect();
    assert!(!skipped.is_empty());
    for (idx, line) in skipped.iter().enumerate() {
        let scale = 2f64.powi(36 - idx as i32);
        assert_eq!(line["loss_scale"], scale);
        assert_eq!(line["next_loss_scale"], scale / 2.0);
        assert_eq!(line["items"].as_array().expect("items").len(), 4);
    }
    let metrics = json_lines(&project.read("runs/small-1/metrics.jsonl"));
    let of_skipped: Vec<_> = metrics
        .iter()
        .filter(|line| line["skipped"] == true)
        .collect();
    assert_eq!(of_skipped.len(), skipped.len());
    assert!(of_skipped.iter().all(|line| line["grad_norm"].is_null()));
    let report: Value =
        serde_json::from_str(&project.read("runs/small-1/report.json")).expect("JSON");
    let fact = fact(&report, "skipped steps").expect("a fact");
    assert!(
        fact.starts_with(&format!("{} of ", skipped.len())),
        "{fact}"
    );
}

#[test]
fn a_wrong_precision_is_answered_with_the_nearest_one() {
    let error = Project::new().refuse(&["train.precision=\"half\""]);
    assert!(error.contains("did you mean `f"), "{error}");
    let error = Project::new().refuse(&["train.precision=\"bfloat16\""]);
    assert!(error.contains("did you mean `bf16`?"), "{error}");
    let error = Project::new().refuse(&["train.deterministic=\"no\""]);
    assert!(error.contains("expected a boolean"), "{error}");
}

#[test]
fn a_run_that_may_reorder_sums_says_so() {
    let project = Project::new();
    let args = project.train_args(
        "runs",
        &with(&["train.epochs=1", "train.deterministic=false"]),
    );
    let output = run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("not to the same losses to the bit"),
        "{}",
        stderr(&output)
    );
    let start = json_lines(&project.read("runs/small-1/log.jsonl")).remove(0);
    assert_eq!(start["deterministic"], false);
}
