use std::{collections::BTreeMap, fs, path::Path};

use marey_clip::{ClipPlan, Pixels, Timestamp};
use marey_media::{Backend, DecoderChoice, ErrorKind, OpenOptions, Reader, each_i420, open};
use sha1::{Digest, Sha1};

use crate::corpus::{
    Place, difference, examine, manifest, read_rgb, reference_frames, shared_data,
};

/// What pure Rust does not decode although the reference does, each with a word of the reason.
const NOT_IN_RUST: [(&str, &str); 16] = [
    ("flipping_a_pancake.mkv", "Matroska"),
    ("issue53_brightness_change.avi", "MPEG-4 part 2"),
    ("bbb_sunflower_QCIF_30fps_h263_noaudio_1f.3gp", "H.263"),
    (
        "bbb_sunflower_QCIF_30fps_mp4v_noaudio_1f.mp4",
        "MPEG-4 part 2",
    ),
    ("hevc_white_frame.mp4", "HEVC"),
    ("tiny_av1.mp4", "AV1"),
    ("av1-clearkey-cbcs-video.mp4", "encrypted"),
    ("video_colr_nclx_rgb.mp4", "4:4:4"),
    ("av1_video.mkv", "Matroska"),
    ("h264_10bits.mp4", "10 bits"),
    ("h265_10bits.mp4", "HEVC"),
    ("h265_video.mp4", "HEVC"),
    ("MR1_BT_A.h264", "truncated"),
    ("BA_MW_D_IDR_LOST.264", "IDR"),
    (
        "BA_MW_D_P_LOST.264",
        "at 0.040 s: cannot decode frame 1: the built-in H.264 decoder stops",
    ),
    ("Error_I_P.264", "continues a missing picture"),
];

fn check_corpus(decoder: DecoderChoice) -> Option<usize> {
    let data = shared_data()?;
    let mut complete = 0;
    let mut wrong = Vec::new();
    for entry in manifest(&data) {
        let path = data.join("codecs").join(&entry.file);
        let found = examine(&path, decoder);
        let name = Path::new(&entry.file)
            .file_name()
            .expect("a name")
            .to_string_lossy();
        if let Some(error) = &found.error {
            let text = error.to_string();
            // Every error names the file, and more than that.
            if !text.contains(&*name) || text.len() < path.display().to_string().len() + 20 {
                wrong.push(format!("{name}: an error without content: {text}"));
            }
        }
        let all_read = found.error.is_none() && entry.frames == Some(found.frames);
        if let (Some(info), Some(secs), false) = (&found.info, entry.start_secs, entry.damaged) {
            let start = info.timeline.span().start().as_secs();
            if (start - secs).abs() > 1e-6 {
                wrong.push(format!("{name}: starts at {start} s, expected {secs} s"));
            }
        }
        let refused_for = NOT_IN_RUST
            .iter()
            .find(|(file, _)| *file == name)
            .map(|(_, why)| why);
        let ok = match (&found.error, decoder) {
            _ if all_read => true,
            (Some(error), DecoderChoice::Rust) if refused_for.is_some() => {
                error.to_string().contains(refused_for.expect("just seen"))
            }
            // What the reference cannot read, or complains of, may be an error here.
            (Some(_), _) => entry.frames.is_none() || entry.damaged,
            (None, _) => false,
        };
        complete += usize::from(all_read);
        let error = found
            .error
            .map_or_else(|| "no error".into(), |error| error.to_string());
        println!(
            "{name} ({} {}): {} frames, {error}",
            entry.codec, entry.pixel_format, found.frames
        );
        if !ok {
            wrong.push(format!(
                "{name}: {} of {:?} frames, {error}",
                found.frames, entry.frames
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Some(complete)
}

#[test]
fn the_corpus_in_pure_rust() {
    if let Some(complete) = check_corpus(DecoderChoice::Rust) {
        assert!(complete >= 69, "only {complete} files were read in full");
    }
}

#[test]
fn the_corpus_with_the_program() {
    if has_program()
        && let Some(complete) = check_corpus(DecoderChoice::Program)
    {
        assert!(complete >= 80, "only {complete} files were read in full");
    }
}

#[cfg(feature = "ffmpeg")]
#[test]
fn the_corpus_with_the_linked_libraries() {
    if let Some(complete) = check_corpus(DecoderChoice::Linked) {
        assert!(complete >= 80, "only {complete} files were read in full");
    }
}

fn has_program() -> bool {
    let runs = std::process::Command::new("ffmpeg")
        .arg("-version")
        .output()
        .is_ok();
    if !runs {
        println!("skipped: no `ffmpeg` program");
    }
    runs
}

/// Every frame is the same as torchcodec's, to the bit.
fn check_reference_frames(decoder: DecoderChoice, expect: usize) {
    let Some(data) = shared_data() else { return };
    let mut compared = 0;
    for reference in reference_frames(&data) {
        let options = OpenOptions {
            decoder,
            video_track: reference.track,
        };
        let mut reader = match open(&reference.video, &options) {
            Ok(reader) => reader,
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        let timestamps = reader.info().timeline.timestamps();
        let frame = match reference.place {
            Place::Frame(frame) => frame,
            // Named for the time that was sought: the first frame at or after it, to the microsecond of the name.
            Place::Secs(secs) => {
                let sought = Timestamp::from_secs(secs - 1e-6).expect("finite");
                timestamps.partition_point(|&at| at < sought)
            }
        };
        let at = timestamps[frame];
        let rgb = read_rgb(&mut *reader, at);
        let (largest, mean) = difference(&rgb, &reference.rgb);
        let name = reference.video.display();
        assert_eq!(
            largest, 0,
            "{name} {:?}: mean difference {mean}",
            reference.place
        );
        compared += 1;
    }
    assert_eq!(compared, expect, "reference frames compared");
}

#[test]
fn reference_frames_in_pure_rust() {
    check_reference_frames(DecoderChoice::Rust, 38);
}

#[test]
fn reference_frames_with_the_program() {
    if has_program() {
        check_reference_frames(DecoderChoice::Program, 40);
    }
}

#[cfg(feature = "ffmpeg")]
#[test]
fn reference_frames_with_the_linked_libraries() {
    check_reference_frames(DecoderChoice::Linked, 40);
}

/// What pure Rust and FFmpeg both read is the same: size, time, and three of the first pictures, to the bit.
/// Rotated, full-range, BT.2020 and cut files among them.
#[test]
fn pure_rust_and_the_program_agree() {
    let Some(data) = shared_data().filter(|_| has_program()) else {
        return;
    };
    let mut compared = 0;
    for entry in manifest(&data)
        .iter()
        .filter(|entry| entry.frames.is_some() && !entry.damaged)
    {
        let path = data.join("codecs").join(&entry.file);
        let options = |decoder| OpenOptions {
            decoder,
            video_track: 0,
        };
        let Ok(mut ours) = open(&path, &options(DecoderChoice::Rust)) else {
            continue;
        };
        let mut theirs = open(&path, &options(DecoderChoice::Program)).expect("FFmpeg reads it");
        let (a, b) = (ours.info().clone(), theirs.info().clone());
        let name = &entry.file;
        assert_eq!((a.size, a.rotation_deg), (b.size, b.rotation_deg), "{name}");
        // Lost and damaged pictures are the only reason to differ; the corpus test names those files.
        if a.timeline.len() != b.timeline.len()
            || NOT_IN_RUST.iter().any(|(file, _)| name.ends_with(file))
        {
            continue;
        }
        let (ours_at, theirs_at) = (a.timeline.timestamps(), b.timeline.timestamps());
        for (x, y) in ours_at.iter().zip(theirs_at) {
            assert!((x.as_secs() - y.as_secs()).abs() < 1e-6, "{name}: {x} {y}");
        }
        let last = ours_at.len() - 1;
        let mut places = vec![0, last.min(37), last.min(80)];
        places.dedup();
        let picture = |reader: &mut dyn Reader, at: &[Timestamp]| {
            let timestamps = places.iter().map(|&place| at[place]).collect();
            match reader
                .read(&ClipPlan { timestamps })
                .expect("readable")
                .into_parts()
                .0
            {
                Pixels::U8(values) => values,
                Pixels::F32(_) => panic!("a video has u8 pixels"),
            }
        };
        // The decoder's fault with I_PCM; see docs/reference/codecs.md.
        let allowed = if name.ends_with("QCIF_2P_I_allIPCM.264") {
            25
        } else {
            0
        };
        let (x, y) = (
            picture(&mut *ours, ours_at),
            picture(&mut *theirs, theirs_at),
        );
        let (largest, mean) = difference(&x, &y);
        assert!(largest <= allowed, "{name}: {largest}, mean {mean}");
        compared += 1;
    }
    println!("{compared} files compared");
    assert!(compared >= 65, "only {compared} files compared");
}

/// A file that the built-in decoder gives up on in the middle goes on with FFmpeg, where there is one.
#[test]
fn the_choice_of_decoder_changes_hands_in_the_middle() {
    let Some(data) = shared_data().filter(|_| has_program()) else {
        return;
    };
    let path = data.join("codecs/openh264/res/MR1_BT_A.h264");
    let read = |decoder| {
        let mut reader = open(
            &path,
            &OpenOptions {
                decoder,
                video_track: 0,
            },
        )
        .expect("readable");
        let before = reader.info().backend;
        let timestamps = reader.info().timeline.timestamps().to_vec();
        let frames: Vec<_> = timestamps
            .iter()
            .map(|&at| read_rgb(&mut *reader, at))
            .collect();
        (before, reader.info().backend, frames)
    };
    let (before, after, frames) = read(DecoderChoice::Auto);
    assert_eq!(before, Backend::Rust);
    assert_ne!(after, Backend::Rust);
    assert_eq!(frames.len(), 62);
    let wanted = if cfg!(feature = "ffmpeg") {
        DecoderChoice::Linked
    } else {
        DecoderChoice::Program
    };
    let (_, _, theirs) = read(wanted);
    let differ: Vec<usize> = (0..62)
        .filter(|&frame| frames[frame] != theirs[frame])
        .collect();
    assert_eq!(differ, [] as [usize; 0]);
}

#[test]
fn timelines_are_torchcodecs() {
    let Some(data) = shared_data() else { return };
    let folder = data.join("codecs/torchcodec");
    for (track, stream) in [(0, 0), (1, 3)] {
        let file = folder.join(format!(
            "nasa_13013.mp4.stream{stream}.all_frames_info.json"
        ));
        let text = fs::read_to_string(file).expect("a listing");
        let listing: Vec<BTreeMap<String, String>> = serde_json::from_str(&text).expect("JSON");
        let options = OpenOptions {
            decoder: DecoderChoice::Rust,
            video_track: track,
        };
        let reader = open(&folder.join("nasa_13013.mp4"), &options).expect("readable");
        let timestamps = reader.info().timeline.timestamps();
        assert_eq!(timestamps.len(), listing.len());
        for (at, listed) in timestamps.iter().zip(&listing) {
            let secs: f64 = listed["pts_time"].parse().expect("seconds");
            assert!((at.as_secs() - secs).abs() < 1e-6, "{at} {secs}");
        }
    }
}

/// SHA-1s of decoded I420 that openh264's authors published, where FFmpeg agrees with them.
#[test]
fn raw_streams_decode_to_the_published_bytes() {
    let Some(data) = shared_data() else { return };
    let folder = data.join("codecs/openh264");
    let mut reader = csv::Reader::from_path(folder.join("decoded_yuv_sha1.csv")).expect("the list");
    // The decoder deblocks I_PCM macroblocks of CABAC streams by the wrong quantiser (QCIF_2P_I_allIPCM), and loses a
    // reference picture of MR1_BT_A, which is an error there.
    let known = ["res/QCIF_2P_I_allIPCM.264", "res/MR1_BT_A.h264"];
    let (mut same, mut different) = (0, Vec::new());
    for row in reader
        .records()
        .map(|row| row.expect("a row"))
        .filter(|row| &row[2] == "yes")
    {
        let mut hash = Sha1::new();
        let outcome = each_i420(&folder.join(&row[0]), &mut |frame| hash.update(frame));
        let found: String = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if outcome.is_ok() && found == row[1] {
            same += 1;
        } else {
            different.push(row[0].to_owned());
        }
    }
    different.sort();
    let mut known: Vec<_> = known.map(str::to_owned).into();
    known.sort();
    assert_eq!((same, different), (34, known));
}

#[test]
fn each_backend_can_be_asked_for_and_says_so() {
    let Some(data) = shared_data() else { return };
    let path = data.join("codecs/dvr-scan/tests/resources/traffic_camera.mp4");
    let opened = |decoder| {
        let options = OpenOptions {
            decoder,
            video_track: 0,
        };
        open(&path, &options).map(|reader| reader.info().backend)
    };
    assert_eq!(
        opened(DecoderChoice::Auto).expect("readable"),
        Backend::Rust
    );
    assert_eq!(
        opened(DecoderChoice::Rust).expect("readable"),
        Backend::Rust
    );
    if has_program() {
        assert_eq!(
            opened(DecoderChoice::Program).expect("readable"),
            Backend::FfmpegProgram
        );
    }
    let linked = opened(DecoderChoice::Linked);
    if cfg!(feature = "ffmpeg") {
        assert_eq!(linked.expect("readable"), Backend::LinkedFfmpeg);
    } else {
        let error = linked.expect_err("not built in").to_string();
        assert!(error.contains("cargo feature `ffmpeg`"), "{error}");
    }
}
