//! `marey doctor`: what this machine can do, and whether a training step works on it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Result, ensure};
use marey::{
    burn::tensor::{Distribution, Tensor},
    model::{Arch, ModelConfig},
    train::{NoiseConfig, NoiseTrainer, OptimizerConfig, Precision},
};
use serde::Serialize;

use crate::{
    Outcome,
    device::{self, Chosen, DeviceArg},
    machine, output,
};

/// Arguments of `marey doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder whose disk is looked at.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArg,
}

#[derive(Serialize)]
struct Findings {
    version: &'static str,
    processor: String,
    threads: usize,
    cpu_features: Vec<&'static str>,
    memory_total_bytes: Option<u64>,
    memory_available_bytes: Option<u64>,
    disk_free_bytes: Option<u64>,
    devices: Vec<&'static str>,
    /// What computes at each precision of training.
    kernels: Vec<String>,
    codecs: Vec<Codec>,
    step: Step,
    advice: Vec<String>,
}

#[derive(Serialize)]
struct Codec {
    formats: &'static str,
    reader: String,
}

#[derive(Serialize)]
struct Step {
    device: String,
    forward_ms: f64,
    step_ms: f64,
    loss_before: f32,
    loss_after: f32,
}

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let chosen = args.device.choose()?;
    let findings = look(&args.dir, &chosen)?;
    if args.json {
        output::json(&findings)?;
    } else {
        print(&findings)?;
    }
    ensure!(
        findings.step.loss_after.is_finite()
            && findings.step.loss_after < findings.step.loss_before,
        "a training step on {} did not lower the loss ({} to {}): the device computes wrongly",
        findings.step.device,
        findings.step.loss_before,
        findings.step.loss_after
    );
    Ok(Outcome::Done)
}

fn look(dir: &Path, chosen: &Chosen) -> Result<Findings> {
    let (memory_total_bytes, memory_available_bytes) = machine::memory_bytes().unzip();
    let disk_free_bytes = machine::free_disk_bytes(dir);
    let others = match (cfg!(feature = "ffmpeg"), ffmpeg_program()) {
        (true, _) => "linked FFmpeg libraries".to_owned(),
        (false, Some(version)) => format!("`ffmpeg` program ({version})"),
        (false, None) => {
            "none: build with `--features ffmpeg`, or put an `ffmpeg` program on the PATH"
                .to_owned()
        }
    };
    let codecs = vec![
        Codec {
            formats: "H.264 in MP4 and MOV, MJPEG, GIF",
            reader: "built-in".to_owned(),
        },
        Codec {
            formats: "folders of PNG, JPEG, WebP, BMP",
            reader: "built-in".to_owned(),
        },
        Codec {
            formats: ".npy arrays, HDF5 thermal recordings",
            reader: "built-in".to_owned(),
        },
        Codec {
            formats: "all other video",
            reader: others,
        },
    ];
    let mut advice = Vec::new();
    if memory_available_bytes.is_some_and(|bytes| bytes < 4 << 30) {
        advice.push("less than 4 GiB of memory is free: use a small train.batch".to_owned());
    }
    if disk_free_bytes.is_some_and(|bytes| bytes < 5 << 30) {
        advice.push(
            "less than 5 GiB of disk is free: a run with R3D-18 keeps about 1 GiB of checkpoints"
                .to_owned(),
        );
    }
    Ok(Findings {
        version: env!("CARGO_PKG_VERSION"),
        processor: machine::cpu_name(),
        threads: machine::num_threads(),
        cpu_features: machine::cpu_features(),
        memory_total_bytes,
        memory_available_bytes,
        disk_free_bytes,
        devices: device::compiled_in(),
        kernels: Precision::ALL
            .map(|precision| chosen.kernels(precision))
            .to_vec(),
        codecs,
        step: step(chosen)?,
        advice,
    })
}

/// The first words of `ffmpeg -version`, where there is such a program on the `PATH`.
fn ffmpeg_program() -> Option<String> {
    let output = Command::new("ffmpeg").arg("-version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(
        text.split_whitespace()
            .skip(1)
            .take(2)
            .collect::<Vec<_>>()
            .join(" "),
    )
}

/// A forward pass and two real steps of R3D-18 on noise; the losses before and after the first step tell whether it learns.
fn step(chosen: &Chosen) -> Result<Step> {
    let config = NoiseConfig {
        model: ModelConfig::new(Arch::R3d18),
        num_classes: 2,
        dims: [2, 4, 32, 32, 3],
        precision: Precision::F32,
        optimizer: OptimizerConfig::Sgd {
            lr: 0.01,
            weight_decay: 0.0,
            momentum: 0.0,
        },
    };
    let mut trainer = NoiseTrainer::new(&config, &chosen.device)?;
    let (model, clips) = (
        trainer.valid(),
        Tensor::<5>::random(config.dims, Distribution::Default, &chosen.device),
    );
    let started = Instant::now();
    model.scores(clips);
    let forward_ms = started.elapsed().as_secs_f64() * 1e3;
    let steps = [trainer.step(), trainer.step()];
    Ok(Step {
        device: chosen.name.clone(),
        forward_ms,
        step_ms: steps[1].seconds * 1e3,
        loss_before: steps[0].loss,
        loss_after: steps[1].loss,
    })
}

fn print(findings: &Findings) -> Result<()> {
    let readable =
        |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), machine::readable_bytes);
    let disk = readable(findings.disk_free_bytes);
    let memory = format!(
        "{} free of {}",
        readable(findings.memory_available_bytes),
        readable(findings.memory_total_bytes)
    );
    let features = if findings.cpu_features.is_empty() {
        "none".to_owned()
    } else {
        findings.cpu_features.join(" ")
    };
    let rows = [
        ("marey", findings.version.to_owned()),
        (
            "processor",
            format!(
                "{}, {} threads, {features}",
                findings.processor, findings.threads
            ),
        ),
        ("memory", memory),
        ("disk", format!("{disk} free")),
        ("devices", findings.devices.join(", ")),
    ];
    for (name, value) in rows {
        output::line(format!("{name:<10}{value}"))?;
    }
    for kernels in &findings.kernels {
        output::line(format!("{:<10}{kernels}", "computes"))?;
    }
    for codec in &findings.codecs {
        output::line(format!(
            "{:<10}{}: {}",
            "reads", codec.formats, codec.reader
        ))?;
    }
    let step = &findings.step;
    output::line(format!(
        "{:<10}R3D-18, 2 clips of 4 frames of 32x32 on {}: forward {:.0} ms, step {:.0} ms, loss {:.3} to {:.3}",
        "step", step.device, step.forward_ms, step.step_ms, step.loss_before, step.loss_after
    ))?;
    for advice in &findings.advice {
        output::line(format!("{:<10}{advice}", "advice"))?;
    }
    Ok(())
}
