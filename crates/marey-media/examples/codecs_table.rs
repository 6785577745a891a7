//! Writes `docs/reference/codecs.md`: what each way of decoding makes of the corpus in `../shared/data/codecs`.
#![expect(clippy::print_stdout, reason = "the page goes to stdout")]

use std::{fs, path::Path};

use marey_media::{DecoderChoice, OpenOptions, each_i420, open};
use sha1::{Digest, Sha1};

use corpus::{Examination, Place};

#[allow(dead_code, reason = "the tests use what this does not")]
#[path = "../tests/it/corpus.rs"]
mod corpus;

/// What is true whatever the corpus gives.
const HEAD: &str = include_str!("codecs_head.md");

fn main() {
    let Some(data) = corpus::shared_data() else {
        return;
    };
    println!("{HEAD}");
    let ways = [
        ("pure Rust", DecoderChoice::Rust),
        ("`ffmpeg` program", DecoderChoice::Program),
        ("linked FFmpeg", DecoderChoice::Linked),
    ];
    let mut rows = Vec::new();
    let mut totals = [0; 3];
    let manifest = corpus::manifest(&data);
    for entry in &manifest {
        let path = data.join("codecs").join(&entry.file);
        let frames = entry.frames.map_or("–".to_owned(), |n| n.to_string());
        let complains = if entry.damaged && entry.frames.is_some() {
            " (with errors)"
        } else {
            ""
        };
        let mut row = format!(
            "| `{}` | {} {} | {frames}{complains} |",
            entry.file, entry.codec, entry.pixel_format
        );
        for (total, (_, decoder)) in totals.iter_mut().zip(ways) {
            let found = corpus::examine(&path, decoder);
            *total += usize::from(found.error.is_none() && Some(found.frames) == entry.frames);
            row.push_str(&format!(" {} |", cell(&found, &path)));
        }
        rows.push(row);
    }
    let readable = manifest
        .iter()
        .filter(|entry| entry.frames.is_some())
        .count();
    println!("## In sum\n");
    println!("| | {} |", ways.map(|(name, _)| name).join(" | "));
    println!("|---|---|---|---|");
    println!(
        "| files of {readable} with the reference decoder's frame count | {} |",
        totals.map(|n| n.to_string()).join(" | ")
    );
    println!(
        "| torchcodec's reference frames, identical / compared | {} |",
        ways.map(|(_, d)| reference(&data, d)).join(" | ")
    );
    println!(
        "| published SHA-1s of raw streams, reproduced | {} | | |",
        published(&data)
    );
    println!("\n## File by file\n");
    println!(
        "| file | coded as | reference | {} |",
        ways.map(|(name, _)| name).join(" | ")
    );
    println!("|---|---|---|---|---|---|");
    println!("{}", rows.join("\n"));
}

/// Frames read, and the error without the path.
fn cell(found: &Examination, path: &Path) -> String {
    let Some(error) = &found.error else {
        return found.frames.to_string();
    };
    let text = error.to_string();
    let text = text.replace(&format!("cannot read {}", path.display()), "");
    let text = text
        .split(": put the programs")
        .next()
        .unwrap_or("")
        .trim_start_matches([' ', ':']);
    let frames = if found.frames > 0 {
        format!("{}, then ", found.frames)
    } else {
        String::new()
    };
    format!("{frames}*{}*", text.replace('|', "/").trim())
}

fn reference(data: &Path, decoder: DecoderChoice) -> String {
    let (mut identical, mut compared) = (0, 0);
    for reference in corpus::reference_frames(data) {
        let options = OpenOptions {
            decoder,
            video_track: reference.track,
        };
        let Ok(mut reader) = open(&reference.video, &options) else {
            continue;
        };
        let timestamps = reader.info().timeline.timestamps();
        let frame = match reference.place {
            Place::Frame(frame) => frame,
            Place::Secs(secs) => timestamps.partition_point(|at| at.as_secs() < secs - 1e-6),
        };
        let at = timestamps[frame];
        let rgb = corpus::read_rgb(&mut *reader, at);
        compared += 1;
        identical += usize::from(corpus::difference(&rgb, &reference.rgb).0 == 0);
    }
    format!("{identical} / {compared}")
}

fn published(data: &Path) -> String {
    let folder = data.join("codecs/openh264");
    let list = fs::read_to_string(folder.join("decoded_yuv_sha1.csv")).expect("the list");
    let (mut same, mut all) = (0, 0);
    for line in list.lines().filter(|line| line.ends_with(",yes")) {
        let fields: Vec<&str> = line.split(',').collect();
        let mut hash = Sha1::new();
        let outcome = each_i420(&folder.join(fields[0]), &mut |frame| hash.update(frame));
        let found: String = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        all += 1;
        same += usize::from(outcome.is_ok() && found == fields[1]);
    }
    format!("{same} / {all}")
}
