//! Numbered pictures of several videos in one folder: `Abuse001_x264_0.png`, `Abuse001_x264_10.png`, … are one source,
//! which is named by its pattern, `Abuse001_x264_*.png`.
//!
//! A frame tree such as that of UCF-Crime holds a million files in one folder, so a folder is listed once and the list is
//! kept for as long as the folder does not change. Numbers count frames of the video that the pictures were cut from: every
//! tenth frame gives numbers ten apart, and a picture that is missing leaves a hole in time, not a jump.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use marey_clip::Rational;

use crate::{
    Error, ErrorKind, Reader,
    images::{self, is_hidden, is_image, name},
    timing::{Timing, timing},
};

/// Numbers a second: the frame rate of the videos that numbered pictures are taken to be cut from.
pub const SEQUENCE_RATE_HZ: u32 = 30;

/// Digits of a number at most, so that its time can be expressed.
const MAX_DIGITS: usize = 10;

/// Numbered pictures of one folder that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// The source that [`open`](crate::open) takes: the folder and the pattern of the names, `*` for the number.
    pub source: PathBuf,
    /// The numbers, increasing.
    pub numbers: Vec<u64>,
}

impl Sequence {
    /// The commonest distance of two neighbours, the smaller where two are as common; 1 where there is one number.
    pub fn usual_step(&self) -> u64 {
        usual_step(&self.numbers)
    }

    /// Pictures that are missing between the first and the last, at the usual step.
    pub fn num_missing(&self) -> u64 {
        let step = self.usual_step();
        let missing = |pair: &[u64]| ((pair[1] - pair[0]) / step).saturating_sub(1);
        self.numbers.windows(2).map(missing).sum()
    }
}

/// What a folder of numbered pictures holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequences {
    /// The sequences, in the order of their patterns.
    pub found: Vec<Sequence>,
    /// Everything else but hidden entries: other files, pictures without a number, folders, and pictures whose number
    /// another one of their sequence has (`7.png` and `07.png`).
    pub others: Vec<PathBuf>,
}

/// The sequences of numbered pictures in a folder.
///
/// # Errors
/// When the folder cannot be listed.
pub fn sequences(folder: &Path) -> Result<Sequences, Error> {
    let listing = listing(folder).map_err(|error| Error::new(folder, ErrorKind::Io(error)))?;
    let found = listing.sequences.iter().map(|(key, frames)| Sequence {
        source: folder.join(format!("{}*{}", key.prefix, key.suffix)),
        numbers: frames.iter().map(|frame| frame.number).collect(),
    });
    Ok(Sequences {
        found: found.collect(),
        others: listing
            .others
            .iter()
            .map(|name| folder.join(name))
            .collect(),
    })
}

/// The files that a source consists of: the pictures of a sequence, the files in a folder, or the file itself.
///
/// # Errors
/// When a folder cannot be listed. A file that is not there is given all the same, and a sequence without pictures is
/// an empty list.
pub fn source_files(source: &Path) -> io::Result<Vec<PathBuf>> {
    if let Some((folder, key)) = pattern(source) {
        return Ok(match listing(&folder)?.sequences.get(&key) {
            Some(frames) => frames
                .iter()
                .map(|frame| folder.join(key.file(frame)))
                .collect(),
            None => Vec::new(),
        });
    }
    if !source.is_dir() {
        return Ok(vec![source.to_owned()]);
    }
    let mut files: Vec<PathBuf> = fs::read_dir(source)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

/// Whether there is something at `source`: a file, a folder, or at least one picture of a sequence.
pub fn source_exists(source: &Path) -> bool {
    match pattern(source) {
        Some((folder, key)) => {
            listing(&folder).is_ok_and(|listing| listing.sequences.contains_key(&key))
        }
        None => source.exists(),
    }
}

/// Whether `path` is the pattern of a sequence.
pub(crate) fn is_pattern(path: &Path) -> bool {
    pattern(path).is_some()
}

/// Opens the pictures of a sequence in the order of their numbers.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Reader>, Error> {
    let Some((folder, key)) = pattern(path) else {
        let detail = "expected a pattern such as Abuse001_x264_*.png".to_owned();
        return Err(Error::new(path, ErrorKind::NoVideo(detail)));
    };
    let listing = listing(&folder).map_err(|error| Error::new(&folder, ErrorKind::Io(error)))?;
    let Some(frames) = listing.sequences.get(&key) else {
        let detail = format!(
            "no picture of that name with a number for `*` is in {}",
            folder.display()
        );
        return Err(Error::new(path, ErrorKind::NoVideo(detail)));
    };
    let numbers: Vec<u64> = frames.iter().map(|frame| frame.number).collect();
    let files = frames.iter().map(|frame| folder.join(key.file(frame)));
    let timing = timing_of(&numbers).ok_or_else(|| {
        let detail = "its frame numbers are no times".to_owned();
        Error::new(path, ErrorKind::NoVideo(detail))
    })?;
    images::open_files(path, files.collect(), timing)
}

/// When the pictures of these numbers are shown.
fn timing_of(numbers: &[u64]) -> Option<Timing> {
    let ticks: Vec<i64> = numbers
        .iter()
        .map(|&number| i64::try_from(number).ok())
        .collect::<Option<_>>()?;
    let step = usual_step(numbers);
    let end = ticks.last()? + i64::try_from(step).ok()?;
    let tick = Rational::new(1, SEQUENCE_RATE_HZ).expect("positive");
    let mut timing = timing(&ticks, end, tick)?;
    let clock = format!(
        "pictures have no clock: their numbers are taken as frames of a video of {SEQUENCE_RATE_HZ} a second"
    );
    timing.warnings.insert(0, clock);
    if numbers.windows(2).any(|pair| pair[1] - pair[0] > step) {
        let warning = format!("frame numbers, mostly {step} apart, are missing in between");
        timing.warnings.push(warning);
    }
    Some(timing)
}

/// The commonest distance of two neighbours, the smaller where two are as common; 1 where there is one number.
fn usual_step(numbers: &[u64]) -> u64 {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for pair in numbers.windows(2) {
        *counts.entry(pair[1] - pair[0]).or_default() += 1;
    }
    let best = counts
        .into_iter()
        .max_by_key(|&(step, count)| (count, std::cmp::Reverse(step)));
    best.map_or(1, |(step, _)| step.max(1))
}

/// What the names of a sequence have in common: what is before the number and what is after it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    prefix: String,
    suffix: String,
}

impl Key {
    fn file(&self, frame: &Frame) -> String {
        let Frame { number, digits } = *frame;
        let digits = usize::from(digits);
        format!("{}{number:0digits$}{}", self.prefix, self.suffix)
    }
}

/// A picture of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    number: u64,
    /// Digits that it is written with.
    digits: u8,
}

/// The folder and the key of a path whose name holds one `*` and ends as a picture does.
fn pattern(path: &Path) -> Option<(PathBuf, Key)> {
    let name = path.file_name()?.to_str()?;
    let (prefix, suffix) = name.split_once('*')?;
    if suffix.contains('*') || !is_image(Path::new(&format!("x{suffix}"))) || path.exists() {
        return None;
    }
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => PathBuf::from("."),
        Some(folder) => folder.to_owned(),
        None => PathBuf::from("."),
    };
    let key = Key {
        prefix: prefix.to_owned(),
        suffix: suffix.to_owned(),
    };
    Some((folder, key))
}

/// The key and the number of a picture's name: the digits that end its stem.
fn numbered(name: &str) -> Option<(Key, Frame)> {
    let stem = Path::new(name).file_stem()?.to_str()?;
    let prefix = stem.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let digits = &stem[prefix.len()..];
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return None;
    }
    let key = Key {
        prefix: prefix.to_owned(),
        suffix: name[stem.len()..].to_owned(),
    };
    let frame = Frame {
        number: digits.parse().ok()?,
        digits: digits.len() as u8,
    };
    Some((key, frame))
}

#[derive(Debug, Default)]
struct Listing {
    sequences: BTreeMap<Key, Vec<Frame>>,
    others: Vec<String>,
}

impl Listing {
    fn of(folder: &Path) -> io::Result<Self> {
        let mut listing = Self::default();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if is_hidden(&path) {
                continue;
            }
            let name = name(&path);
            match numbered(&name).filter(|_| is_image(&path)) {
                Some((key, frame)) => listing.sequences.entry(key).or_default().push(frame),
                None => listing.others.push(name),
            }
        }
        for (key, frames) in &mut listing.sequences {
            frames.sort_unstable_by_key(|frame| (frame.number, frame.digits));
            let mut kept: Vec<Frame> = Vec::with_capacity(frames.len());
            for frame in frames.drain(..) {
                match kept.last() {
                    Some(last) if last.number == frame.number => {
                        listing.others.push(key.file(&frame))
                    }
                    _ => kept.push(frame),
                }
            }
            *frames = kept;
        }
        listing.others.sort();
        Ok(listing)
    }
}

/// Folders whose lists are kept, the most recently used last.
static LISTINGS: Mutex<Vec<(PathBuf, SystemTime, Arc<Listing>)>> = Mutex::new(Vec::new());

/// Folders kept at most.
const MAX_LISTINGS: usize = 64;

/// A folder that changed this recently may change again within one tick of the file system's clock, so its list is not kept.
const SETTLED: Duration = Duration::from_secs(2);

fn listing(folder: &Path) -> io::Result<Arc<Listing>> {
    let modified = folder.metadata()?.modified()?;
    let lock = || LISTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    {
        let mut known = lock();
        let position = known
            .iter()
            .position(|(path, at, _)| path == folder && *at == modified);
        if let Some(idx) = position {
            let entry = known.remove(idx);
            let listing = Arc::clone(&entry.2);
            known.push(entry);
            return Ok(listing);
        }
    }
    let listing = Arc::new(Listing::of(folder)?);
    if modified.elapsed().is_ok_and(|age| age > SETTLED) {
        let mut known = lock();
        known.retain(|(path, ..)| path != folder);
        if known.len() >= MAX_LISTINGS {
            known.remove(0);
        }
        known.push((folder.to_owned(), modified, Arc::clone(&listing)));
    }
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_at_their_last_number() {
        for (name, prefix, number) in [
            ("Abuse001_x264_10.png", "Abuse001_x264_", Some(10)),
            (
                "Normal_Videos003_x264_0.png",
                "Normal_Videos003_x264_",
                Some(0),
            ),
            (
                "Normal_Videos_003_x264_970.png",
                "Normal_Videos_003_x264_",
                Some(970),
            ),
            ("0007.jpg", "", Some(7)),
            ("Abuse001_x264.final.png", "", None),
            ("cover.png", "", None),
            ("t_1760482263581.png", "", None),
        ] {
            let found = numbered(name);
            let expected = number.map(|number| (prefix.to_owned(), number));
            let found = found.map(|(key, frame)| (key.prefix, frame.number));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn times_are_those_of_the_numbers_and_a_hole_stays_a_hole() {
        let timing = timing_of(&[0, 10, 20, 50]).expect("frames");
        let secs: Vec<f64> = timing
            .timeline
            .timestamps()
            .iter()
            .map(|at| (at.as_secs() * 300.0).round() / 300.0)
            .collect();
        assert_eq!(secs, [0.0, 1.0 / 3.0, 2.0 / 3.0, 5.0 / 3.0]);
        // The last picture stands for as many frames as the others: numbers 50 to 59.
        assert_eq!(timing.timeline.span().end().as_secs(), 2.0);
        assert!(
            timing
                .warnings
                .iter()
                .any(|warning| warning.contains("mostly 10 apart"))
        );
        let sequence = Sequence {
            source: "x_*.png".into(),
            numbers: vec![0, 10, 20, 50],
        };
        assert_eq!((sequence.usual_step(), sequence.num_missing()), (10, 2));
        let even = timing_of(&[5, 15, 25]).expect("frames");
        assert_eq!(even.frame_rate, Rational::new(3, 1));
        assert_eq!(even.warnings.len(), 1, "{:?}", even.warnings);
    }

    #[test]
    fn one_folder_holds_several_sources() {
        let dir = tempfile::tempdir().expect("a folder");
        let save = |name: &str, value: u8| {
            image::RgbImage::from_pixel(4, 3, image::Rgb([value; 3]))
                .save(dir.path().join(name))
                .expect("a picture");
        };
        for number in [0u8, 10, 20, 100] {
            save(&format!("A_1_{number}.png"), number);
        }
        save("A_10.png", 200);
        save("A_010.png", 201);
        save("cover.png", 1);
        fs::write(dir.path().join("notes.txt"), "").expect("a file");
        let found = sequences(dir.path()).expect("a folder");
        let sources: Vec<String> = found.found.iter().map(|one| name(&one.source)).collect();
        assert_eq!(sources, ["A_*.png", "A_1_*.png"]);
        assert_eq!(found.found[1].numbers, [0, 10, 20, 100]);
        let others: Vec<String> = found.others.iter().map(|path| name(path)).collect();
        assert_eq!(others, ["A_010.png", "cover.png", "notes.txt"]);
        let source = dir.path().join("A_1_*.png");
        assert!(source_exists(&source) && !source_exists(&dir.path().join("B_*.png")));
        assert_eq!(source_files(&source).expect("files").len(), 4);
        let mut reader = open(&source).expect("a sequence");
        let timeline = reader.info().timeline.clone();
        let plan = marey_clip::ClipPlan {
            timestamps: timeline.timestamps().to_vec(),
        };
        let clip = reader.read(&plan).expect("four frames");
        let marey_clip::Pixels::U8(values) = clip.pixels() else {
            panic!("bytes");
        };
        let first: Vec<u8> = values.chunks(4 * 3 * 3).map(|frame| frame[0]).collect();
        assert_eq!(first, [0, 10, 20, 100], "in the order of the numbers");
        let error = open(&dir.path().join("B_*.png"))
            .err()
            .expect("nothing there");
        assert!(
            error.to_string().contains("no picture of that name"),
            "{error}"
        );
    }
}
