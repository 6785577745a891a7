//! Clips a second out of a folder of videos, one thread; `reference/media_speed.py` does the same with PyAV and decord.
//!
//! `cargo run --release -p marey-media --example clip_speed -- ../shared/data/cctv_clips 100`
#![expect(clippy::print_stdout, reason = "the figures go to stdout")]

use std::{env, error::Error, fs, path::Path, time::Instant};

use marey_clip::{Sampling, Timeline};
use marey_media::{DecoderChoice, OpenOptions, open};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, count] = &arguments[..] else {
        return Err("usage: clip_speed FOLDER_WITH_CLIPS_CSV NUMBER_OF_CLIPS".into());
    };
    let folder = Path::new(folder);
    let table = fs::read_to_string(folder.join("clips.csv"))?;
    let files: Vec<_> = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').next())
        .collect();
    let files: Vec<_> = files
        .into_iter()
        .take(count.parse()?)
        .map(|file| folder.join(file))
        .collect();
    let mut decoders = vec![("pure Rust", DecoderChoice::Rust)];
    if cfg!(feature = "ffmpeg") {
        decoders.push(("linked FFmpeg", DecoderChoice::Linked));
    }
    for (name, decoder) in decoders {
        let samplings = [
            ("uniform", Sampling::uniform(16)),
            ("dense, step 2", Sampling::dense(16, 2)),
        ];
        for (way, sampling) in samplings {
            let start = Instant::now();
            for file in &files {
                let mut reader = open(
                    file,
                    &OpenOptions {
                        decoder,
                        video_track: 0,
                    },
                )?;
                let timeline: Timeline = reader.info().timeline.clone();
                reader.read(&sampling.plan_views(&timeline, timeline.span())[0])?;
            }
            let rate = files.len() as f64 / start.elapsed().as_secs_f64();
            println!("{name}, 16 frames {way}: {rate:.1} clips/s");
        }
    }
    Ok(())
}
