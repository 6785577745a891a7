//! `marey bench loader`: clips a second out of the loader.

use std::{path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use marey::{
    clip::Sampling,
    data::{
        self, DataConfig, Frames, Loader, LoaderConfig, Order, PackConfig, PackedStore, SplitBy,
        Unreadable,
    },
    media::OpenOptions,
    transform::{Augment, Preprocess, Resize},
};
use serde_json::json;

use crate::{Outcome, machine, output};

/// Arguments of `marey bench loader`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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

pub(super) fn run(args: &Args) -> Result<Outcome> {
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
