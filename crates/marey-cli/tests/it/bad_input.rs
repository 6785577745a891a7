use std::{fs, process::Command};

use crate::harness::{Project, fail, stderr, succeed};

fn check(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "expected `{part}` in:\n{error}");
    }
    let errors = error
        .lines()
        .filter(|line| line.starts_with("error:"))
        .count();
    assert_eq!(errors, 1, "one error, not several:\n{error}");
    assert!(!error.contains("panicked"), "{error}");
}

#[test]
fn an_empty_folder_is_named() {
    let project = Project::new();
    fs::create_dir(project.path("empty")).expect("a folder");
    let error = project.refuse(&[
        &format!("data.path={:?}", project.arg("empty")),
        "data.group=\"\"",
    ]);
    check(&error, &["empty"]);
}

#[test]
fn one_class_is_nothing_to_tell_apart() {
    let project = Project::new();
    let manifest = project.read("clips/manifest.csv");
    let mut rows = manifest.lines();
    let header = rows.next().expect("a header");
    let label = header
        .split(',')
        .position(|column| column == "label")
        .expect("a label column");
    let class = rows
        .next()
        .expect("a row")
        .split(',')
        .nth(label)
        .expect("a label")
        .to_owned();
    let of_class = manifest
        .lines()
        .skip(1)
        .filter(|row| row.split(',').nth(label) == Some(&class));
    let one: Vec<&str> = std::iter::once(header).chain(of_class).collect();
    project.write("clips/one.csv", &one.join("\n"));
    let error = project.refuse(&[&format!("data.path={:?}", project.arg("clips/one.csv"))]);
    check(&error, &["at least 2 classes", &class]);
}

#[test]
fn an_unreadable_video_is_named_or_left_out_when_told_to() {
    let project = Project::new();
    let manifest = project.read("clips/manifest.csv");
    let first = manifest
        .lines()
        .nth(1)
        .expect("a row")
        .split(',')
        .next()
        .expect("a path")
        .to_owned();
    project.write(&format!("clips/{first}"), "this is no video");
    let error = project.refuse(&[]);
    check(&error, &[&first, "data.unreadable"]);
    // Told to, the run leaves it out and says so.
    let args = project.train_args("runs", &["data.unreadable=\"skip\"", "train.epochs=1"]);
    let output = crate::harness::run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", stderr(&output));
    let told = stderr(&output)
        + &project.read("runs/small-1/log.jsonl")
        + &project.read("runs/small-1/report.json");
    assert!(told.contains(&first), "the item left out is listed");
}

#[test]
fn a_label_outside_the_class_list_is_named() {
    let project = Project::new();
    let error = project.refuse(&["data.classes=[\"up\", \"down\"]"]);
    check(&error, &["line 2", "data.classes", "nearest"]);
}

#[test]
fn a_misspelt_key_is_answered_with_the_nearest() {
    let project = Project::new();
    project.write(
        "small.toml",
        &project
            .read("small.toml")
            .replace("epochs = 2", "epoch = 2"),
    );
    let error = project.refuse(&[]);
    check(
        &error,
        &[
            "small.toml",
            "unknown field `epoch`",
            "did you mean `epochs`?",
        ],
    );
}

#[test]
fn a_split_that_shares_a_group_is_refused_unless_it_says_why() {
    let project = Project::new();
    // Whole classes go to each side, and every class has the same groups: all of them are on both sides.
    let manifest = project.read("clips/manifest.csv");
    let mut rows = manifest.lines();
    let mut leaking = vec![format!("{},split", rows.next().expect("a header"))];
    leaking.extend(
        rows.enumerate()
            .map(|(idx, row)| format!("{row},{}", ["train", "test"][idx / 8 % 2])),
    );
    project.write("clips/leaking.csv", &leaking.join("\n"));
    let path = format!("data.path={:?}", project.arg("clips/leaking.csv"));
    let by_column = "data.split={by=\"given\"}";
    // A leak is an answer, not a failure of the program.
    let error = project.refuse_with(1, &[&path, by_column]);
    check(&error, &["group", "allow_leak", "marey data split"]);
    let reason = "data.allow_leak=\"to compare with the published split\"";
    project.train("runs", &[&path, by_column, reason, "train.epochs=1"]);
    let report = project.read("runs/small-1/report.json");
    assert!(
        report.contains("accepted leak: to compare with the published split"),
        "{report}"
    );
}

#[test]
fn a_bundle_of_another_version_says_both() {
    let project = Project::new();
    project.train("runs", &["train.epochs=1"]);
    let card = "runs/small-1/bundle/card.toml";
    project.write(
        card,
        &project
            .read(card)
            .replace("format_version = 2", "format_version = 99"),
    );
    let error = fail(&[
        "predict",
        &project.arg("runs/small-1/bundle"),
        &project.arg("clips"),
    ]);
    check(&error, &["99", "1", "version"]);
}

#[test]
fn a_missing_file_is_named() {
    let project = Project::new();
    check(
        &fail(&["train", &project.arg("nowhere.toml")]),
        &["nowhere.toml"],
    );
    check(
        &fail(&["data", "probe", &project.arg("nowhere.mp4")]),
        &["nowhere.mp4"],
    );
    check(
        &fail(&["predict", &project.arg("nowhere"), &project.arg("clips")]),
        &["nowhere"],
    );
}

#[test]
fn a_device_that_is_not_built_in_is_an_error() {
    if cfg!(feature = "cuda") {
        return;
    }
    check(&fail(&["doctor", "--device", "cuda"]), &["--features cuda"]);
    check(
        &fail(&["doctor", "--device", "tpu"]),
        &["unknown, expected cpu"],
    );
}

/// Runs `marey` in a mount namespace of its own, where `dir` is a small or read-only disk. `None` where the system does
/// not let a test make one.
fn on_disk(options: &str, dir: &str, args: &[String]) -> Option<std::process::Output> {
    let mount = format!("mount -t tmpfs -o {options} none {dir}");
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        command
    };
    if !unshare()
        .arg(&mount)
        .status()
        .is_ok_and(|status| status.success())
    {
        println!("skipped: this system does not let a test mount a disk");
        return None;
    }
    let script = format!("{mount} && exec \"$0\" \"$@\"");
    Some(
        unshare()
            .arg(script)
            .arg(env!("CARGO_BIN_EXE_marey"))
            .args(args)
            .output()
            .expect("unshare runs"),
    )
}

#[test]
fn a_full_disk_is_said_and_leaves_no_half_written_file() {
    let project = Project::new();
    fs::create_dir(project.path("small")).expect("a folder");
    // Room for the first files of a run, not for a checkpoint of 9 million weights.
    let args = project.train_args("small", &["train.epochs=1"]);
    let Some(output) = on_disk("size=4m", &project.arg("small"), &args) else {
        return;
    };
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    check(&stderr(&output), &["small-1", "No space left"]);
    // A store that does not fit leaves nothing at its place.
    let store = format!("{}/clips.store", project.arg("small"));
    let args = [
        "data",
        "pack",
        &project.arg("small.toml"),
        "--output",
        &store,
        "--set",
        "preprocess.size=[512,512]",
    ];
    let args = args.map(str::to_owned);
    let Some(output) = on_disk("size=1m", &project.arg("small"), &args) else {
        return;
    };
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    check(&stderr(&output), &["clips.store", "the disk is full"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let project = Project::new();
    fs::create_dir(project.path("locked")).expect("a folder");
    let Some(output) = on_disk(
        "ro",
        &project.arg("locked"),
        &project.train_args("locked", &[]),
    ) else {
        return;
    };
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    check(&stderr(&output), &["locked", "Read-only file system"]);
}

#[test]
fn probing_goes_on_past_a_broken_file() {
    let project = Project::new();
    project.write("broken.mp4", "this is no video");
    let manifest = project.read("clips/manifest.csv");
    let first = manifest
        .lines()
        .nth(1)
        .expect("a row")
        .split(',')
        .next()
        .expect("a path");
    let good = project.arg(&format!("clips/{first}"));
    let output = crate::harness::run(&["data", "probe", &project.arg("broken.mp4"), &good]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stdout).contains(first),
        "the good file is still described"
    );
    assert!(succeed(&["data", "probe", "--json", &good]).starts_with('['));
}
