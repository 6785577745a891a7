//! `marey bench model`: the training step of an architecture, its inference and its layers, on noise.

use std::time::Instant;

use anyhow::{Result, ensure};
use marey::{
    burn::tensor::{Distribution, Tensor},
    model::{Arch, ModelConfig, Temporal},
    train::{LayerTime, NoiseConfig, NoiseTrainer, OptimizerConfig, Precision},
};
use serde::Serialize;

use crate::{
    Outcome,
    device::{Chosen, DeviceArg},
    machine, output,
};

/// Runs of each layer by itself.
const LAYER_REPEATS: usize = 5;

/// Arguments of `marey bench model`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The architecture, as `marey models` names it.
    #[arg(value_parser = parse_arch)]
    arch: Arch,
    /// What is over time, where the architecture is a network for frames: mean, gru, lstm, bilstm or transformer (default:
    /// mean).
    #[arg(long, value_parser = parse_temporal)]
    temporal: Option<Temporal>,
    /// Clips of a batch, in training.
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
    /// What activations are stored as in training: f32, bf16 or f16. Inference is always in f32.
    #[arg(long, default_value = "f32", value_parser = parse_precision)]
    precision: Precision,
    /// Training steps (AdamW) to time, after those that warm up, and as many again for the parts; 0: none.
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Clips to score one by one, after those that warm up; 0: none.
    #[arg(long, default_value_t = 10)]
    clips: usize,
    /// Steps, and clips, that warm up. A GPU chooses its kernels in the first ones.
    #[arg(long, default_value_t = 1, value_name = "N")]
    warm_up: usize,
    /// Also time each layer's forward and backward pass by itself.
    #[arg(long)]
    by_layer: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArg,
}

/// What was measured. Times are medians.
#[derive(Debug, Serialize)]
struct Measured {
    /// Architecture and network over time.
    model: String,
    device: String,
    kernels: String,
    precision: Precision,
    batch: usize,
    frames: usize,
    size: usize,
    step: Option<StepFigures>,
    inference: Option<InferenceFigures>,
    layers: Option<Vec<LayerFigures>>,
}

#[derive(Debug, Serialize)]
struct StepFigures {
    step_ms: f64,
    lowest_ms: f64,
    highest_ms: f64,
    clips_per_s: f64,
    forward_ms: f64,
    backward_ms: f64,
    update_ms: f64,
    /// Highest resident memory of the process, up to the last whole step.
    peak_memory_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct InferenceFigures {
    clip_ms: f64,
    lowest_ms: f64,
    highest_ms: f64,
    clips_per_s: f64,
}

#[derive(Debug, Serialize)]
struct LayerFigures {
    kind: &'static str,
    label: String,
    input: Vec<usize>,
    times: usize,
    forward_ms: f64,
    backward_ms: f64,
}

fn parse_arch(name: &str) -> Result<Arch, String> {
    by_name(name, Arch::ALL, Arch::name)
}

fn parse_temporal(name: &str) -> Result<Temporal, String> {
    by_name(name, &Temporal::ALL, Temporal::name)
}

fn parse_precision(name: &str) -> Result<Precision, String> {
    by_name(name, &Precision::ALL, Precision::name)
}

/// The one of `all` that is called `name`.
fn by_name<T: Copy>(name: &str, all: &[T], name_of: fn(T) -> &'static str) -> Result<T, String> {
    let found = all.iter().find(|&&one| name_of(one) == name).copied();
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|&one| name_of(one)).collect();
        format!("expected one of {}", names.join(", "))
    })
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    ensure!(
        args.steps > 0 || args.clips > 0 || args.by_layer,
        "nothing to measure: give --steps or --clips at least 1, or --by-layer"
    );
    let sizes = [
        ("batch", args.batch),
        ("frames", args.frames),
        ("size", args.size),
        ("classes", args.classes),
    ];
    for (name, value) in sizes {
        ensure!(value > 0, "--{name} 0: expected at least 1");
    }
    let measured = measure(args, &args.device.choose()?)?;
    if args.json {
        output::json(&measured)?;
    } else {
        print(&measured)?;
    }
    Ok(Outcome::Done)
}

fn measure(args: &Args, chosen: &Chosen) -> Result<Measured> {
    let config = NoiseConfig {
        model: ModelConfig {
            temporal: args.temporal,
            ..ModelConfig::new(args.arch)
        },
        num_classes: args.classes,
        dims: [args.batch, args.frames, args.size, args.size, 3],
        precision: args.precision,
        optimizer: OptimizerConfig::AdamW {
            lr: 1e-4,
            weight_decay: 0.01,
            betas: [0.9, 0.999],
        },
    };
    let mut trainer = NoiseTrainer::new(&config, &chosen.device)?;
    // The step's memory is read before anything else could need more.
    let step = (args.steps > 0).then(|| time_steps(args, &mut trainer));
    let layers = args.by_layer.then(|| {
        let layers = trainer.layers(LAYER_REPEATS).into_iter();
        layers.map(LayerFigures::from).collect()
    });
    let inference = (args.clips > 0).then(|| time_inference(args, &trainer, chosen));
    Ok(Measured {
        model: config.model.name(),
        device: chosen.name.clone(),
        kernels: chosen.kernels(args.precision),
        precision: args.precision,
        batch: args.batch,
        frames: args.frames,
        size: args.size,
        step,
        inference,
        layers,
    })
}

fn time_steps(args: &Args, trainer: &mut NoiseTrainer) -> StepFigures {
    (0..args.warm_up).for_each(|_| {
        trainer.step();
    });
    let times = (0..args.steps).map(|_| trainer.step().seconds).collect();
    let [lowest_ms, step_ms, highest_ms] = spread_ms(times);
    let peak_memory_bytes = machine::peak_memory_bytes();
    let parts: Vec<_> = (0..args.steps).map(|_| trainer.step_in_parts()).collect();
    let median = |part: fn(&marey::train::StepParts) -> f64| {
        let [_, median, _] = spread_ms(parts.iter().map(part).collect());
        median
    };
    StepFigures {
        step_ms,
        lowest_ms,
        highest_ms,
        clips_per_s: args.batch as f64 / step_ms * 1e3,
        forward_ms: median(|parts| parts.forward),
        backward_ms: median(|parts| parts.backward),
        update_ms: median(|parts| parts.update),
        peak_memory_bytes,
    }
}

/// One clip at a time, from the clip on the device to its scores on the host.
fn time_inference(args: &Args, trainer: &NoiseTrainer, chosen: &Chosen) -> InferenceFigures {
    let model = trainer.valid();
    let dims = [1, args.frames, args.size, args.size, 3];
    let clip = Tensor::<5>::random(dims, Distribution::Default, &chosen.device);
    (0..args.warm_up).for_each(|_| {
        model.scores(clip.clone());
    });
    let times = (0..args.clips)
        .map(|_| {
            let started = Instant::now();
            model.scores(clip.clone());
            started.elapsed().as_secs_f64()
        })
        .collect();
    let [lowest_ms, clip_ms, highest_ms] = spread_ms(times);
    InferenceFigures {
        clip_ms,
        lowest_ms,
        highest_ms,
        clips_per_s: 1e3 / clip_ms,
    }
}

/// Lowest, median and highest of some seconds, in milliseconds.
fn spread_ms(mut seconds: Vec<f64>) -> [f64; 3] {
    seconds.sort_by(f64::total_cmp);
    let last = seconds.len() - 1;
    [0, seconds.len() / 2, last].map(|idx| seconds[idx] * 1e3)
}

impl From<LayerTime> for LayerFigures {
    fn from(layer: LayerTime) -> Self {
        Self {
            kind: layer.kind,
            label: layer.label,
            input: layer.dims,
            times: layer.times,
            forward_ms: layer.forward * 1e3,
            backward_ms: layer.backward * 1e3,
        }
    }
}

impl LayerFigures {
    /// Both passes, as often as the model has the layer.
    fn total_ms(&self) -> f64 {
        self.times as f64 * (self.forward_ms + self.backward_ms)
    }
}

fn print(measured: &Measured) -> Result<()> {
    output::line(format!(
        "{}, clips of {} frames of {}x{} on {}; kernels: {}",
        measured.model,
        measured.frames,
        measured.size,
        measured.size,
        measured.device,
        measured.kernels,
    ))?;
    if let Some(step) = &measured.step {
        output::line(format!(
            "training   {:.1} ms a step of {} clips ({:.1} to {:.1}), {:.2} clips/s, {}",
            step.step_ms,
            measured.batch,
            step.lowest_ms,
            step.highest_ms,
            step.clips_per_s,
            measured.precision.name(),
        ))?;
        output::line(format!(
            "           forward {:.1} ms, backward {:.1} ms, update {:.1} ms",
            step.forward_ms, step.backward_ms, step.update_ms
        ))?;
        if let Some(bytes) = step.peak_memory_bytes {
            let bytes = machine::readable_bytes(bytes);
            output::line(format!("           {bytes} of memory at most"))?;
        }
    }
    if let Some(inference) = &measured.inference {
        output::line(format!(
            "inference  {:.1} ms a clip ({:.1} to {:.1}), {:.2} clips/s, f32",
            inference.clip_ms, inference.lowest_ms, inference.highest_ms, inference.clips_per_s
        ))?;
    }
    match &measured.layers {
        Some(layers) => print_layers(layers, measured.step.as_ref()),
        None => Ok(()),
    }
}

fn print_layers(layers: &[LayerFigures], step: Option<&StepFigures>) -> Result<()> {
    let sum: f64 = layers.iter().map(LayerFigures::total_ms).sum();
    output::line("")?;
    output::line("Each layer by itself; the sum counts both passes as often as the layer occurs.")?;
    output::line(format!(
        "{:<38}  {:<22}  {:>5}  {:>10}  {:>11}  {:>9}",
        "layer", "input", "times", "forward ms", "backward ms", "sum ms"
    ))?;
    for layer in layers {
        output::line(format!(
            "{:<38}  {:<22}  {:>5}  {:>10.2}  {:>11.2}  {:>9.1}",
            format!("{} {}", layer.kind, layer.label),
            format!("{:?}", layer.input),
            layer.times,
            layer.forward_ms,
            layer.backward_ms,
            layer.total_ms()
        ))?;
    }
    output::line("")?;
    let mut kinds: Vec<&str> = Vec::new();
    for layer in layers {
        if !kinds.contains(&layer.kind) {
            kinds.push(layer.kind);
        }
    }
    let of_kind = |kind: &str| {
        let layers = layers.iter().filter(|layer| layer.kind == kind);
        layers.map(LayerFigures::total_ms).sum::<f64>()
    };
    for kind in kinds {
        output::line(format!("{kind:<22}{:>9.1} ms", of_kind(kind)))?;
    }
    if let Some(step) = step {
        // Negative where layers are slower by themselves than inside a step.
        let rest = step.forward_ms + step.backward_ms - sum;
        output::line(format!("{:<22}{rest:>9.1} ms", "rest of both passes"))?;
        output::line(format!("{:<22}{:>9.1} ms", "update", step.update_ms))?;
    }
    Ok(())
}
