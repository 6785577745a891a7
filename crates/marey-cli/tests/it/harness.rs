use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The binary under test.
pub(crate) fn marey() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marey"));
    command.stdin(Stdio::null()).env_remove("MAREY_LOG");
    command
}

/// Runs `marey` with arguments.
pub(crate) fn run(args: &[&str]) -> Output {
    marey().args(args).output().expect("the binary runs")
}

/// Runs `marey`, which must succeed, and gives what it wrote to stdout.
pub(crate) fn succeed(args: &[&str]) -> String {
    let output = run(args);
    assert!(
        output.status.success(),
        "marey {}:\n{}",
        args.join(" "),
        stderr(&output)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs `marey`, which must fail with exit code 2, and gives what it wrote to stderr.
pub(crate) fn fail(args: &[&str]) -> String {
    end_with(2, args).1
}

/// Runs `marey`, which must end with the exit code `code`, and gives what it wrote to stdout and stderr.
pub(crate) fn end_with(code: i32, args: &[&str]) -> (String, String) {
    let output = run(args);
    assert_eq!(
        output.status.code(),
        Some(code),
        "marey {}:\n{}",
        args.join(" "),
        stderr(&output)
    );
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr(&output),
    )
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with a few rendered clips and a recipe that trains on them in seconds.
pub(crate) struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    pub(crate) fn new() -> Self {
        let project = Self {
            dir: tempfile::tempdir().expect("a folder"),
        };
        marey_test::write_motion_set(&project.path("clips"), 8, 3).expect("rendered clips");
        project.write("small.toml", &recipe(&project.path("clips/manifest.csv")));
        project
    }

    /// A folder with nothing in it.
    pub(crate) fn empty() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a folder"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same as text, for arguments.
    pub(crate) fn arg(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("written");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Arguments that train the recipe `small.toml` into `runs`, with changes.
    pub(crate) fn train_args(&self, runs: &str, changes: &[&str]) -> Vec<String> {
        let mut args = vec![
            "train".to_owned(),
            self.arg("small.toml"),
            "--runs".to_owned(),
            self.arg(runs),
        ];
        for change in changes {
            args.extend(["--set".to_owned(), (*change).to_owned()]);
        }
        args
    }

    /// Trains, which must succeed.
    pub(crate) fn train(&self, runs: &str, changes: &[&str]) -> String {
        let args = self.train_args(runs, changes);
        succeed(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The header of the bundle's weights in the run of `runs`, whose entries come in any order, and the values after it.
    fn bundled(&self, runs: &str) -> (serde_json::Value, Vec<u8>) {
        let path = self.path(&format!("{runs}/small-1/bundle/model.safetensors"));
        let bytes = fs::read(path).expect("the bundle's weights");
        let len = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
        let header = serde_json::from_slice(&bytes[8..8 + len]).expect("JSON");
        (header, bytes[8 + len..].to_vec())
    }

    /// The values of the bundle's weights in the run of `runs`.
    pub(crate) fn bundled_values(&self, runs: &str) -> Vec<u8> {
        self.bundled(runs).1
    }

    /// The values of one tensor of it.
    pub(crate) fn bundled_tensor(&self, runs: &str, name: &str) -> Vec<u8> {
        let (header, values) = self.bundled(runs);
        let offsets = &header[name]["data_offsets"];
        let [from, to] = [0, 1].map(|idx| offsets[idx].as_u64().expect("an offset") as usize);
        values[from..to].to_vec()
    }

    /// Trains, which must fail with exit code 2 and leave no run folder; gives the error.
    pub(crate) fn refuse(&self, changes: &[&str]) -> String {
        self.refuse_with(2, changes)
    }

    /// The same with another exit code.
    pub(crate) fn refuse_with(&self, code: i32, changes: &[&str]) -> String {
        let args = self.train_args("refused", changes);
        let (_, error) = end_with(code, &args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(
            !self.path("refused").exists(),
            "a refused run leaves no folder"
        );
        error
    }
}

fn recipe(manifest: &Path) -> String {
    format!(
        r#"
        [data]
        path = {:?}
        group = "group"
        split = {{ by = "group", validation = 0.25, test = 0.25, seed = 1 }}
        [sampling]
        mode = "uniform"
        frames = 4
        [preprocess]
        size = [32, 32]
        resize = "stretch"
        [augment]
        flip = 0.5
        [model]
        arch = "efficientnet_b0"
        temporal = "bilstm"
        [optimizer]
        kind = "adamw"
        lr = 0.001
        [train]
        epochs = 2
        batch = 4
        "#,
        manifest.to_str().expect("UTF-8")
    )
}

/// The losses of every optimiser step in `metrics.jsonl`, exactly as written.
pub(crate) fn losses(metrics: &str) -> Vec<(u64, String)> {
    metrics
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .filter(|line| line["kind"] == "step")
        .map(|line| {
            (
                line["step"].as_u64().expect("a number"),
                line["loss"].to_string(),
            )
        })
        .collect()
}
