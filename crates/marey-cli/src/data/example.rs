//! `marey data example`: rendered sets in the layouts of published ones.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use marey_test::{AnomalySize, write_anomaly_set, write_cattle_set, write_thermal_set};

use crate::{Outcome, output, recognise::is_occupied};

/// Arguments of `marey data example`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is rendered.
    #[arg(value_enum)]
    kind: Kind,
    /// The folder to write; it must be new or empty.
    dir: PathBuf,
    /// Training videos of each anomalous class (default 12), videos of the cattle set (default 24), or recordings of the
    /// thermal set (default 8).
    #[arg(long)]
    videos: Option<usize>,
    /// Anomalous classes, 1 to 13 (default 4). Only for `anomaly`.
    #[arg(long)]
    classes: Option<usize>,
    /// Seed of everything that is drawn.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A frame tree as UCF-Crime: `{Train,Test}/<class>/<video>_x264_<frame>.png`, with temporal annotations.
    Anomaly,
    /// Events of calves in long videos: tables with 17 columns and Windows paths, with and without faults.
    Cattle,
    /// Recordings of a thermal sensor as HDF5, with annotated frames: lost pixels, uneven frame times, a recording that is
    /// not there.
    Thermal,
}

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let dir = &args.dir;
    ensure!(
        !is_occupied(dir)?,
        "{} is not empty: remove it, or name another folder",
        dir.display()
    );
    if args.kind != Kind::Anomaly {
        ensure!(
            args.classes.is_none(),
            "--classes has an effect on the anomaly set only: remove it"
        );
    }
    match args.kind {
        Kind::Anomaly => anomaly(args),
        Kind::Cattle => cattle(args),
        Kind::Thermal => thermal(args),
    }
    .with_context(|| format!("cannot render the set into {}", dir.display()))?;
    Ok(Outcome::Done)
}

fn anomaly(args: &Args) -> Result<()> {
    let dir = &args.dir;
    let train_videos = args.videos.unwrap_or(12);
    let size = AnomalySize {
        classes: args.classes.unwrap_or(4),
        train_videos,
        test_videos: train_videos.div_ceil(3),
        pictures: 32,
    };
    let set = write_anomaly_set(dir, &size, args.seed)?;
    output::line(format!(
        "{}: {} pictures of {} videos; {} of {} pictures of anomalous test videos lie in an annotated interval",
        dir.display(),
        set.pictures,
        set.videos,
        set.anomalous_test_pictures[1],
        set.anomalous_test_pictures[0]
    ))?;
    output::line(format!(
        "train on it by: marey train recipes/anomaly.toml --set data.path={}",
        dir.display()
    ))?;
    Ok(())
}

fn cattle(args: &Args) -> Result<()> {
    let dir = &args.dir;
    let set = write_cattle_set(dir, args.videos.unwrap_or(24), args.seed)?;
    output::line(format!(
        "{}: {} events of {} videos, {} of them neither ear nor tail",
        set.events.display(),
        set.binary_events + set.other_events,
        set.videos,
        set.other_events
    ))?;
    output::line(format!(
        "{}: the same with {} events that cannot be used",
        set.faulty.display(),
        set.zero_length + set.out_of_file + set.mislinked
    ))?;
    for (folder, what) in [
        (&set.intravideo, "divided inside of the videos"),
        (&set.boosted, "with repeated lines in both splits"),
        (&set.retest, "with a test that training holds"),
    ] {
        output::line(format!("{}: {what}", folder.display()))?;
    }
    output::line(format!(
        "train on it by: marey train recipes/cattle.toml --set data.path={}",
        set.events.display()
    ))?;
    Ok(())
}

fn thermal(args: &Args) -> Result<()> {
    let dir = &args.dir;
    let set = write_thermal_set(dir, args.videos.unwrap_or(8), args.seed)?;
    let [train, validation] = set.frames;
    output::line(format!(
        "{}: {} recordings with {train} annotated training and {validation} validation frames, {} of them with two labels; \
         {} frames lost pixels",
        dir.display(),
        set.recordings,
        set.mixed_frames,
        set.lossy_frames
    ))?;
    output::line(format!(
        "{} more annotated frames are of a recording that is not there, as in the published set",
        set.absent_frames
    ))?;
    output::line(format!(
        "train on it by: marey train recipes/thermal-time.toml --set data.path={} --set data.allow_missing=true",
        dir.display()
    ))
}
