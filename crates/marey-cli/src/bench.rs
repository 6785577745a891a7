//! `marey bench`: the loader and the training step, timed on this machine. `reference/bench_*.py` runs these beside PyTorch.

use std::{path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use clap::Subcommand;
use marey::{
    clip::Sampling,
    data::{
        self, DataConfig, Frames, Loader, LoaderConfig, Order, PackConfig, PackedStore, SplitBy,
        Unreadable,
    },
    media::OpenOptions,
    model::{Arch, ModelConfig},
    train::{NoiseConfig, NoiseStep, OptimizerConfig, Precision, train_on_noise},
    transform::{Augment, Preprocess, Resize},
};
use serde_json::json;

use crate::{Outcome, device::DeviceArg, machine, output};

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Clips a second out of the loader.
    Loader(LoaderArgs),
    /// Milliseconds of a training step.
    Step(StepArgs),
}

/// Arguments of `marey bench loader`.
#[derive(Debug, clap::Args)]
pub(crate) struct LoaderArgs {
    /// A manifest, or a folder of class folders.
    #[arg(long)]
    data: PathBuf,
    /// Frames of a clip, sampled uniformly.
    #[arg(long, default_value_t = 8)]
    frames: usize,
    /// Height and width of the clips, in pixels; frames are stretched to it.
    #[arg(long, default_value_t = 112)]
    size: usize,
    /// Clips to load: the first of the data set.
    #[arg(long, default_value_t = 200)]
    clips: usize,
    /// Clips of a batch.
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Worker threads.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Load from a packed store. It is made first where it does not exist; that is not timed.
    #[arg(long, value_name = "FILE")]
    packed: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `marey bench step`.
#[derive(Debug, clap::Args)]
pub(crate) struct StepArgs {
    /// The architecture, as `marey models` names it.
    #[arg(long, default_value = "r3d_18", value_parser = parse_arch)]
    arch: Arch,
    /// Clips of a batch.
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Frames of a clip.
    #[arg(long, default_value_t = 16)]
    frames: usize,
    /// Height and width, in pixels.
    #[arg(long, default_value_t = 112)]
    size: usize,
    /// Classes.
    #[arg(long, default_value_t = 4)]
    classes: usize,
    /// What activations are stored as: f32, bf16 or f16.
    #[arg(long, default_value = "f32", value_parser = parse_precision)]
    precision: Precision,
    /// Steps; the median is printed.
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArg,
}

fn parse_arch(name: &str) -> Result<Arch, String> {
    let known = || Arch::ALL.map(Arch::name).join(", ");
    Arch::ALL
        .into_iter()
        .find(|arch| arch.name() == name)
        .ok_or_else(|| format!("expected one of {}", known()))
}

fn parse_precision(name: &str) -> Result<Precision, String> {
    let known = || Precision::ALL.map(Precision::name).join(", ");
    Precision::ALL
        .into_iter()
        .find(|precision| precision.name() == name)
        .ok_or_else(|| format!("expected one of {}", known()))
}

pub(crate) fn run(command: Command) -> Result<Outcome> {
    match command {
        Command::Loader(args) => loader(&args),
        Command::Step(args) => step(&args),
    }
}

fn loader(args: &LoaderArgs) -> Result<Outcome> {
    let mut config = DataConfig::new(args.data.clone());
    // How the items are divided does not matter here, and nothing is judged.
    config.allow_leak = Some("the loader is timed, nothing is judged".to_owned());
    config.split.by = SplitBy::Auto;
    let dataset = Arc::new(data::load(&config)?);
    let preprocess = Preprocess::new([args.size, args.size], Resize::Stretch);
    let sampling = Sampling::uniform(args.frames);
    let frames = match &args.packed {
        None => Frames::Files(OpenOptions::default()),
        Some(path) => {
            if !path.exists() {
                let config = PackConfig {
                    path: path.clone(),
                    workers: args.workers.max(1),
                    unreadable: Unreadable::Stop,
                    open: OpenOptions::default(),
                };
                data::pack(&dataset, &sampling, &preprocess, &config, &mut |_| {})?;
            }
            Frames::Packed(Arc::new(PackedStore::open(path)?))
        }
    };
    let indices: Vec<usize> = (0..dataset.items.len().min(args.clips)).collect();
    let num_clips = indices.len();
    let config = LoaderConfig {
        batch: args.batch,
        workers: args.workers,
        ..LoaderConfig::default()
    };
    let loader = Loader::new(dataset, indices, sampling, preprocess, config, frames)?;
    let started = Instant::now();
    let mut loaded = 0;
    for batch in loader.train_epoch(0, &Augment::default(), Order::Shuffled, 0) {
        loaded += batch?.targets.len();
    }
    let seconds = started.elapsed().as_secs_f64();
    ensure!(
        loaded == num_clips,
        "{loaded} of {num_clips} clips were loaded"
    );
    let clips_per_s = loaded as f64 / seconds;
    if args.json {
        let peak = machine::peak_memory_bytes();
        output::json(&json!({
            "clips_per_s": clips_per_s, "clips": loaded, "seconds": seconds, "peak_memory_bytes": peak,
        }))?;
    } else {
        output::line(format!(
            "{clips_per_s:.1} clips/s ({loaded} clips in {seconds:.2} s)"
        ))?;
    }
    Ok(Outcome::Done)
}

fn step(args: &StepArgs) -> Result<Outcome> {
    ensure!(args.steps > 0, "--steps 0: expected at least 1");
    let chosen = args.device.choose()?;
    let optimizer = OptimizerConfig::AdamW {
        lr: 1e-4,
        weight_decay: 0.01,
        betas: [0.9, 0.999],
    };
    let noise = NoiseConfig {
        model: &ModelConfig::new(args.arch),
        num_classes: args.classes,
        dims: [args.batch, args.frames, args.size, args.size, 3],
        optimizer: &optimizer,
        precision: args.precision,
        num_steps: args.steps + 1,
    };
    // The first step is not counted.
    let steps = train_on_noise(&noise, &chosen.device)?.split_off(1);
    let median_ms = |seconds: fn(&NoiseStep) -> f64| {
        let mut times: Vec<f64> = steps.iter().map(|step| seconds(step) * 1e3).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let step_ms = median_ms(|step| step.seconds);
    let update_ms = median_ms(|step| step.update_seconds);
    if args.json {
        output::json(&json!({
            "step_ms": step_ms, "update_ms": update_ms, "device": chosen.name,
            "kernels": chosen.kernels(args.precision), "peak_memory_bytes": machine::peak_memory_bytes(),
        }))?;
    } else {
        output::line(format!(
            "{step_ms:.0} ms a step, {update_ms:.0} ms of it for the norm of the gradients and the update (medians of {})",
            args.steps
        ))?;
    }
    Ok(Outcome::Done)
}
