//! The run folder: where one training writes everything it knows.
//!
//! ```text
//! runs/<name>-<n>/
//!   recipe.toml           the recipe, every default written out
//!   log.jsonl             what happened
//!   metrics.jsonl         a line an optimiser step and a line an epoch
//!   metrics.csv           a row an epoch
//!   tensorboard/          the same curves
//!   checkpoints/          last, best, step-N
//!   plots/ report.html report.json predictions.csv bundle/
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::{Error, Monitor, Recipe, Validation, tensorboard::EventWriter};

/// The folder of one training.
#[derive(Clone, Debug)]
pub struct Run {
    dir: PathBuf,
}

impl Run {
    /// Makes the next free folder `<root>/<name>-<n>` and writes the recipe into it.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub fn create(root: &Path, recipe: &Recipe) -> Result<Self, Error> {
        fs::create_dir_all(root).map_err(Error::io("create the folder", root))?;
        for n in 1usize.. {
            let dir = root.join(format!("{}-{n}", recipe.name));
            match fs::create_dir(&dir) {
                Ok(()) => {
                    let run = Self { dir };
                    if let Err(error) = run.prepare(recipe) {
                        // Nothing half-written stays behind; the first error is the one to tell.
                        let _ = fs::remove_dir_all(&run.dir);
                        return Err(error);
                    }
                    return Ok(run);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create the folder", &dir)(error)),
            }
        }
        unreachable!("there are more numbers than folders")
    }

    /// The run in `dir`, to go on with or to read.
    ///
    /// # Errors
    /// When `dir` is no run folder.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let run = Self {
            dir: dir.to_owned(),
        };
        let recipe = run.recipe_path();
        fs::metadata(&recipe).map_err(Error::io("open the run: there is no", &recipe))?;
        Ok(run)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder's name, which names the run.
    pub fn id(&self) -> String {
        self.dir.file_name().map_or_else(
            || "run".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        )
    }

    /// The resolved recipe.
    pub fn recipe_path(&self) -> PathBuf {
        self.dir.join("recipe.toml")
    }

    /// The folder of checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.dir.join("checkpoints")
    }

    /// The folder of the bundle.
    pub fn bundle(&self) -> PathBuf {
        self.dir.join("bundle")
    }

    fn prepare(&self, recipe: &Recipe) -> Result<(), Error> {
        for name in ["checkpoints", "tensorboard", "plots"] {
            let dir = self.dir.join(name);
            fs::create_dir(&dir).map_err(Error::io("create the folder", &dir))?;
        }
        let path = self.recipe_path();
        fs::write(&path, recipe.to_toml()).map_err(Error::io("write", &path))
    }
}

/// One optimiser step, as logged.
#[derive(Clone, Copy, Debug)]
pub struct StepRecord {
    /// The step, counted from 0.
    pub step: usize,
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Mean loss of the step's clips.
    pub loss: f32,
    /// Learning rate.
    pub lr: f64,
    /// L2 norm of all gradients before clipping; not finite where the step was skipped.
    pub grad_norm: f32,
    /// The factor on the loss, in `f16`.
    pub loss_scale: Option<f32>,
    /// Whether the step was not applied, since a gradient was beyond `f16`.
    pub is_skipped: bool,
    /// Clips a second since the step before.
    pub clips_per_sec: f64,
}

/// One epoch, as logged.
#[derive(Clone, Debug)]
pub struct EpochRecord {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Optimiser steps made so far.
    pub step: usize,
    /// Learning rate of the epoch's last step.
    pub lr: f64,
    /// Mean training loss of the epoch's clips.
    pub train_loss: f64,
    /// Figures of the validation split; `None` without one.
    pub validation: Option<Validation>,
    /// Training clips a second.
    pub clips_per_sec: f64,
    /// Seconds of training so far, validation included.
    pub seconds: f64,
}

/// The curves of a run, written as they come.
#[derive(Debug)]
pub(crate) struct Metrics {
    jsonl: Lines,
    csv: Lines,
    tensorboard: EventWriter,
    tensorboard_path: PathBuf,
    /// What the recipe watches, where that is none of [`Monitor::ALL`].
    further: Option<String>,
}

impl Metrics {
    /// Opens the files of `run`. Lines from step `first_step` or after epoch `epochs_done` on are dropped: they belong
    /// to work that is done again after a crash.
    pub(crate) fn open(
        run: &Run,
        monitor: &Monitor,
        first_step: usize,
        epochs_done: usize,
    ) -> Result<Self, Error> {
        let keep_json = |line: &str| {
            serde_json::from_str::<Value>(line).is_ok_and(|line| {
                let number = |key: &str| line[key].as_u64().unwrap_or(u64::MAX) as usize;
                if line["kind"] == "epoch" {
                    number("epoch") <= epochs_done
                } else {
                    number("step") < first_step
                }
            })
        };
        let keep_csv = |line: &str| {
            let epoch = line.split(',').next().unwrap_or_default();
            epoch == "epoch" || epoch.parse().is_ok_and(|epoch: usize| epoch <= epochs_done)
        };
        let jsonl = Lines::open(run.dir.join("metrics.jsonl"), &keep_json)?;
        let mut csv = Lines::open(run.dir.join("metrics.csv"), &keep_csv)?;
        if csv.is_empty {
            let figures: Vec<_> = Monitor::ALL
                .iter()
                .map(|figure| format!("val_{}", figure.name()))
                .collect();
            csv.write(&format!(
                "epoch,step,lr,train_loss,{},clips_per_s,seconds",
                figures.join(",")
            ))?;
        }
        let tensorboard_path = run.dir.join("tensorboard");
        let tensorboard = EventWriter::create(&tensorboard_path, unix_time(), first_step)
            .map_err(Error::io("write to", &tensorboard_path))?;
        Ok(Self {
            jsonl,
            csv,
            tensorboard,
            tensorboard_path,
            further: (!Monitor::ALL.contains(monitor)).then(|| monitor.name()),
        })
    }

    pub(crate) fn step(&mut self, record: &StepRecord) -> Result<(), Error> {
        let StepRecord {
            step,
            epoch,
            loss,
            lr,
            grad_norm,
            loss_scale,
            is_skipped,
            clips_per_sec,
        } = *record;
        // JSON has no infinity: the norm of a skipped step is null.
        let mut line = json!({
            "kind": "step", "step": step, "epoch": epoch, "loss": loss, "lr": lr, "grad_norm": grad_norm,
            "clips_per_s": rounded(clips_per_sec),
        });
        let mut curves = vec![("train/loss_step", loss), ("train/lr", lr as f32)];
        if !is_skipped {
            curves.push(("train/grad_norm", grad_norm));
        }
        if let Some(scale) = loss_scale {
            line["loss_scale"] = json!(scale);
            line["skipped"] = json!(is_skipped);
            curves.push(("train/loss_scale", scale));
        }
        self.jsonl.write(&line.to_string())?;
        self.curves(step, &curves)
    }

    pub(crate) fn epoch(&mut self, record: &EpochRecord) -> Result<(), Error> {
        let EpochRecord {
            epoch,
            step,
            lr,
            train_loss,
            validation,
            clips_per_sec,
            seconds,
        } = record;
        let mut line = json!({
            "kind": "epoch", "epoch": epoch, "step": step, "lr": lr, "train_loss": train_loss,
            "clips_per_s": rounded(*clips_per_sec), "seconds": rounded(*seconds),
        });
        let mut cells = vec![String::new(); Monitor::ALL.len()];
        let mut curves = vec![("train/loss".to_owned(), *train_loss as f32)];
        if let Some(Validation { figures, monitored }) = validation {
            if let Some(name) = &self.further {
                line[format!("val_{name}")] = json!(monitored);
                curves.push((format!("validation/{name}"), *monitored as f32));
            }
            for ((figure, &value), cell) in Monitor::ALL.iter().zip(figures).zip(&mut cells) {
                line[format!("val_{}", figure.name())] = json!(value);
                *cell = value.to_string();
                curves.push((format!("validation/{}", figure.name()), value as f32));
            }
        }
        self.jsonl.write(&line.to_string())?;
        self.csv.write(&format!(
            "{epoch},{step},{lr},{train_loss},{},{:.2},{:.2}",
            cells.join(","),
            clips_per_sec,
            seconds
        ))?;
        let curves: Vec<_> = curves
            .iter()
            .map(|(tag, value)| (tag.as_str(), *value))
            .collect();
        self.curves(*step, &curves)
    }

    fn curves(&mut self, step: usize, points: &[(&str, f32)]) -> Result<(), Error> {
        let now = unix_time();
        points
            .iter()
            .try_for_each(|(tag, value)| self.tensorboard.scalar(now, step, tag, *value))
            .and_then(|()| self.tensorboard.flush())
            .map_err(Error::io("write to", &self.tensorboard_path))
    }
}

/// What happened in a run, one JSON object a line.
#[derive(Debug)]
pub struct EventLog {
    lines: Lines,
}

impl EventLog {
    /// Opens `log.jsonl` of `run` to add to it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(run: &Run) -> Result<Self, Error> {
        Ok(Self {
            lines: Lines::open(run.dir.join("log.jsonl"), &|_| true)?,
        })
    }

    /// Adds an event named `event` with the fields of `details`, an object.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, event: &str, details: &Value) -> Result<(), Error> {
        let mut line = json!({ "time": rounded(unix_time()), "event": event });
        if let (Value::Object(line), Value::Object(details)) = (&mut line, details) {
            line.extend(details.clone());
        }
        self.lines.write(&line.to_string())
    }
}

/// A file of lines that is only ever added to, each line handed to the system at once.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    file: File,
    is_empty: bool,
}

impl Lines {
    /// Opens `path`, made if it is not there, and drops the lines that `keep` refuses: among them a last line that a
    /// crash cut off.
    fn open(path: PathBuf, keep: &dyn Fn(&str) -> bool) -> Result<Self, Error> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let kept: String = text
            .lines()
            .filter(|line| keep(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        if kept != text {
            let fresh = path.with_extension("tmp");
            fs::write(&fresh, &kept).map_err(Error::io("write", &fresh))?;
            fs::rename(&fresh, &path).map_err(Error::io("replace", &path))?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::io("write", &path))?;
        Ok(Self {
            path,
            file,
            is_empty: kept.is_empty(),
        })
    }

    fn write(&mut self, line: &str) -> Result<(), Error> {
        self.is_empty = false;
        self.file
            .write_all(format!("{line}\n").as_bytes())
            .map_err(Error::io("write", &self.path))
    }
}

fn unix_time() -> f64 {
    // A clock before 1970 is a misconfigured machine; its times are shown as zero.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

/// Three decimals: times and rates are read by people.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: usize) -> StepRecord {
        StepRecord {
            step,
            epoch: 1,
            loss: 0.1,
            lr: 0.01,
            grad_norm: 1.0,
            loss_scale: None,
            is_skipped: false,
            clips_per_sec: 3.0,
        }
    }

    fn epoch(epoch: usize) -> EpochRecord {
        let validation = Some(Validation {
            figures: [0.5; Monitor::ALL.len()],
            monitored: 0.25,
        });
        EpochRecord {
            epoch,
            step: epoch * 2,
            lr: 0.01,
            train_loss: 1.0,
            validation,
            clips_per_sec: 3.0,
            seconds: 9.0,
        }
    }

    #[test]
    fn a_resumed_run_drops_what_it_will_do_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let run = Run {
            dir: dir.path().to_owned(),
        };
        fs::create_dir(dir.path().join("tensorboard")).expect("a folder");
        let watched = Monitor::try_from("f1:tail".to_owned()).expect("a name");
        let mut metrics = Metrics::open(&run, &watched, 0, 0).expect("opened");
        for n in 0..2 {
            metrics
                .step(&step(2 * n))
                .and_then(|()| metrics.step(&step(2 * n + 1)))
                .expect("written");
            metrics.epoch(&epoch(n + 1)).expect("written");
        }
        // A crash in the middle of a line.
        let path = dir.path().join("metrics.jsonl");
        fs::write(
            &path,
            fs::read_to_string(&path).expect("lines") + "{\"kind\":\"st",
        )
        .expect("written");

        drop(Metrics::open(&run, &watched, 3, 1).expect("opened again"));
        let lines = fs::read_to_string(&path).expect("lines");
        let kinds: Vec<_> = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .collect();
        let steps: Vec<_> = kinds
            .iter()
            .map(|line| (line["kind"].clone(), line["step"].clone()))
            .collect();
        let expect = [("step", 0), ("step", 1), ("epoch", 2), ("step", 2)];
        assert_eq!(steps, expect.map(|(kind, step)| (json!(kind), json!(step))));
        let watched = kinds[2]["val_f1:tail"].as_f64();
        assert_eq!(
            (watched, kinds[2]["val_macro_f1"].as_f64()),
            (Some(0.25), Some(0.5))
        );
        let csv = fs::read_to_string(dir.path().join("metrics.csv")).expect("rows");
        assert_eq!(csv.lines().count(), 2);
        assert!(csv.starts_with("epoch,step,lr,train_loss,val_loss,"));
    }
}
