//! The corpus of video files and what a reference decoder makes of them.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use marey_clip::{ClipPlan, Pixels, Timestamp};
use marey_media::{DecoderChoice, Error, MediaInfo, OpenOptions, Reader, open};

/// The folder of shared test data; `None` where it is not there.
pub(crate) fn shared_data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let root = env::var_os("MAREY_SHARED").map_or(beside, PathBuf::from);
    let data = root.join("data");
    if !data.is_dir() {
        println!("skipped: no ../shared/data");
        return None;
    }
    Some(data)
}

/// A row of `manifest.csv`.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Path below the corpus.
    pub(crate) file: String,
    /// Frames that the reference decoder delivers; `None` when it delivers none.
    pub(crate) frames: Option<usize>,
    /// Whether it complained while decoding.
    pub(crate) damaged: bool,
    /// Codec by FFmpeg's name, empty where there is no video.
    pub(crate) codec: String,
    /// FFmpeg's pixel format.
    pub(crate) pixel_format: String,
    /// Start of the stream in seconds.
    pub(crate) start_secs: Option<f64>,
}

/// The rows of `manifest.csv`.
pub(crate) fn manifest(data: &Path) -> Vec<Entry> {
    let mut reader =
        csv::Reader::from_path(data.join("codecs/manifest.csv")).expect("the manifest");
    let headers = reader.headers().expect("a header").clone();
    let rows = reader.records().map(|row| row.expect("a row"));
    rows.map(|row| {
        let get = |name: &str| {
            let column = headers
                .iter()
                .position(|header| header == name)
                .expect("a column");
            row[column].to_owned()
        };
        Entry {
            file: get("file"),
            frames: get("decoded_frames").parse().ok().filter(|&n| n > 0),
            damaged: get("decode_errs") != "0",
            codec: get("codec_name"),
            pixel_format: get("pix_fmt"),
            start_secs: get("start_time").parse().ok(),
        }
    })
    .collect()
}

/// What reading a whole file gave.
pub(crate) struct Examination {
    pub(crate) info: Option<MediaInfo>,
    /// Frames read.
    pub(crate) frames: usize,
    /// The first error.
    pub(crate) error: Option<Error>,
}

/// Opens a file and reads all of it, a few frames at a time; with the program, whose pipe is slow, only every 16th frame
/// and the last of long files, and the others count as read.
pub(crate) fn examine(path: &Path, decoder: DecoderChoice) -> Examination {
    let options = OpenOptions {
        decoder,
        video_track: 0,
    };
    let mut reader = match open(path, &options) {
        Ok(reader) => reader,
        Err(error) => {
            return Examination {
                info: None,
                frames: 0,
                error: Some(error),
            };
        }
    };
    let timestamps = reader.info().timeline.timestamps().to_vec();
    let (mut frames, mut error) = (0, None);
    let by_program = decoder == DecoderChoice::Program;
    let batch = if by_program { 64 } else { 8 };
    for wanted in timestamps.chunks(batch) {
        let skip = if by_program && timestamps.len() > 150 {
            16
        } else {
            1
        };
        let mut plan: Vec<Timestamp> = wanted.iter().copied().step_by(skip).collect();
        plan.extend(wanted.last().filter(|&last| plan.last() != Some(last)));
        match reader.read(&ClipPlan { timestamps: plan }) {
            Ok(_) => frames += wanted.len(),
            Err(failed) => {
                error = Some(failed);
                break;
            }
        }
    }
    Examination {
        info: Some(reader.info().clone()),
        frames,
        error,
    }
}

/// One frame's RGB values.
pub(crate) fn read_rgb(reader: &mut dyn Reader, at: Timestamp) -> Vec<u8> {
    let clip = reader
        .read(&ClipPlan {
            timestamps: vec![at],
        })
        .expect("a frame that is there");
    match clip.into_parts().0 {
        Pixels::U8(values) => values,
        Pixels::F32(_) => panic!("a video has u8 pixels"),
    }
}

/// A frame that torchcodec decoded.
pub(crate) struct ReferenceFrame {
    /// The video, below the corpus.
    pub(crate) video: PathBuf,
    /// Counted among the video tracks.
    pub(crate) track: usize,
    pub(crate) place: Place,
    /// `[h, w, 3]`.
    pub(crate) rgb: Vec<u8>,
}

/// How a reference frame is named.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// Position in display order.
    Frame(usize),
    /// The frame found by seeking to a time in seconds.
    Secs(f64),
}

/// The reference frames of the corpus.
pub(crate) fn reference_frames(data: &Path) -> Vec<ReferenceFrame> {
    let folder = data.join("codecs/torchcodec");
    let mut frames = Vec::new();
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of reference frames")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    for file in files {
        let name = file
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let Some(stem) = name.strip_suffix(".pt") else {
            continue;
        };
        let (video, track, place) = if let Some((video, secs)) = stem.split_once(".time") {
            // Times are given for what torchcodec takes for the best of two video streams, the second.
            (video, 1, Place::Secs(secs.parse().expect("seconds")))
        } else if let Some((video, rest)) = stem.split_once(".stream")
            && let Some((stream, frame)) = rest.split_once(".frame")
        {
            (
                video,
                usize::from(stream != "0"),
                Place::Frame(frame.parse().expect("a number")),
            )
        } else {
            continue;
        };
        let rgb = stored_entry(&fs::read(&file).expect("a readable file"), "data/0");
        frames.push(ReferenceFrame {
            video: folder.join(video),
            track,
            place,
            rgb,
        });
    }
    frames
}

/// The bytes of a stored (not compressed) entry of a zip file, found by the end of its name.
fn stored_entry(zip: &[u8], name_end: &str) -> Vec<u8> {
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([zip[at], zip[at + 1]]));
    let u32_at = |at: usize| u16_at(at) | u16_at(at + 2) << 16;
    let end = zip
        .windows(4)
        .rposition(|w| w == b"PK\x05\x06")
        .expect("a zip file");
    let mut entry = u32_at(end + 16);
    for _ in 0..u16_at(end + 10) {
        let (name_len, extra, comment) =
            (u16_at(entry + 28), u16_at(entry + 30), u16_at(entry + 32));
        let name = &zip[entry + 46..entry + 46 + name_len];
        if name.ends_with(name_end.as_bytes()) {
            let local = u32_at(entry + 42);
            let start = local + 30 + u16_at(local + 26) + u16_at(local + 28);
            return zip[start..start + u32_at(entry + 24)].to_vec();
        }
        entry += 46 + name_len + extra + comment;
    }
    panic!("no entry that ends in {name_end}");
}

/// Largest and mean difference of two pictures.
pub(crate) fn difference(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len(), "pictures of one size");
    let diffs = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = diffs.clone().map(u64::from).sum();
    (diffs.max().unwrap_or(0), sum as f64 / a.len() as f64)
}
