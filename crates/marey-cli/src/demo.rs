//! `marey demo`: the whole road on rendered clips, in a few minutes.

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, Result, ensure};
use marey::{
    data::Split,
    infer::Predictor,
    media::OpenOptions,
    model::files::write_whole,
    train::{Recipe, Run, Start},
};

use crate::{
    Outcome,
    device::DeviceArg,
    machine::readable_secs,
    output,
    recognise::{is_occupied, load_to_train, train_and_report},
};

/// Clips rendered of each class.
const CLIPS_PER_CLASS: usize = 40;

/// Arguments of `marey demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder for the clips, the recipe and the run; it must be new or empty.
    #[arg(long, value_name = "DIR", default_value = "demo")]
    output: PathBuf,
    #[command(flatten)]
    device: DeviceArg,
}

pub(crate) fn run(args: Args) -> Result<Outcome> {
    let started = Instant::now();
    let chosen = args.device.choose()?;
    let dir = &args.output;
    ensure!(
        !is_occupied(dir)?,
        "{} is not empty: remove it, or name another folder by --output",
        dir.display()
    );
    let clips = dir.join("clips");
    let set = marey_test::write_motion_set(&clips, CLIPS_PER_CLASS, 0)
        .with_context(|| format!("cannot render clips into {}", clips.display()))?;
    output::note(format!(
        "rendered {} clips into {}: only motion tells their classes apart",
        set.num_clips,
        clips.display()
    ));
    let path = dir.join("demo.toml");
    let text = include_str!("../../../recipes/demo.toml");
    write_whole(&path, text.as_bytes())?;
    let place = format!("data.path={:?}", set.manifest.display().to_string());
    let recipe = Recipe::read(&path, &[place])?;
    let data = load_to_train(&recipe)?;
    let run = Run::create(&dir.join("runs"), &recipe)?;
    let command = format!("marey demo --output {}", dir.display());
    let outcome = train_and_report(&recipe, &data, &run, Start::Fresh, &chosen, &command)?;
    if outcome != Outcome::Done {
        return Ok(outcome);
    }
    let predictor = Predictor::open(&run.bundle(), recipe.train.batch, &chosen.device)?;
    output::line("")?;
    output::line("Three clips of shapes that training never saw:")?;
    let test = data.dataset.indices(Split::Test);
    for &idx in test.iter().step_by((test.len() / 3).max(1)).take(3) {
        let item = &data.dataset.items[idx];
        let prediction = predictor.predict(&item.source, 1, None, &OpenOptions::default())?;
        let truth = data.dataset.classes.name(item.label);
        output::line(format!(
            "  {}: {} {:.3} (truth: {truth})",
            item.source.display(),
            prediction.class,
            prediction.confidence
        ))?;
    }
    output::line("")?;
    output::line(format!(
        "demo done in {}; look at",
        readable_secs(started.elapsed().as_secs_f64())
    ))?;
    output::line(format!("  {}", run.dir().join("report.html").display()))?;
    output::line("and try")?;
    output::line(format!(
        "  marey predict {} {}",
        run.bundle().display(),
        clips.display()
    ))?;
    Ok(Outcome::Done)
}
