//! The packed store: every frame that training may need, decoded once, at the training size, in one file.
//!
//! A store keeps whole frames at the size from which crops are taken ([`Preprocess::resized`]): the model's size for
//! `stretch`, the resized frame before its crop for `short_side`, so that random crops, flips and colours work as they
//! do on files. Evaluation gets the same pixels to the bit; a random resized crop is cut from the smaller frame, so it
//! is a little softer than one from the file. Temperatures are kept as the `u8` of their window. Nothing is
//! compressed: reading a clip is a copy out of memory that the system manages.
//!
//! File, little-endian: a header of 64 bytes (magic, version, position, length and hash of the index), the frames of
//! source after source, their timestamps, the index as JSON. It is written under another name and renamed when whole.

mod file;

mod layout;

mod write;

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use marey_clip::{Clip, ClipPlan, Pixels, Timeline, Timestamp};
use marey_transform::{Preprocess, Resize};
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

pub use write::{PackConfig, PackProgress, PackReport, pack};

use crate::{Dataset, Error, ErrorKind, Item};

const MAGIC: &[u8; 8] = b"MAREYPCK";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 64;

/// What is where.
#[derive(Debug, Serialize, Deserialize)]
struct Index {
    /// Fingerprint of everything that decides a stored frame's pixels.
    preprocess: String,
    /// Fingerprint of the items and their spans.
    data: String,
    sources: Vec<Source>,
    /// Item to position in `sources`.
    items: BTreeMap<String, usize>,
}

/// The stored frames of one source.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Source {
    /// Length of the file that was decoded, in bytes; 0 for a folder.
    file_len: u64,
    /// Height, width and channels of a stored frame.
    frame: [usize; 3],
    /// Number of frames of the source, stored or not.
    num_frames: usize,
    /// Where the timestamps of all frames are, nanoseconds in 8 bytes each.
    timestamps: u64,
    /// End of the last frame, in nanoseconds.
    end: i64,
    /// Stored frames: position of the first, and their number; increasing, never touching.
    runs: Vec<[usize; 2]>,
    /// Where the first stored frame is.
    offset: u64,
    /// Why it could not be decoded.
    unreadable: Option<String>,
}

impl Source {
    const fn frame_len(&self) -> usize {
        self.frame[0] * self.frame[1] * self.frame[2]
    }

    fn num_stored(&self) -> usize {
        self.runs.iter().map(|&[_, count]| count).sum()
    }

    /// Position among the stored frames of a frame of the source.
    fn stored(&self, frame: usize) -> Option<usize> {
        let mut before = 0;
        for &[first, count] in &self.runs {
            if (first..first + count).contains(&frame) {
                return Some(before + frame - first);
            }
            before += count;
        }
        None
    }
}

/// A packed store, open for reading from any number of threads.
#[derive(Debug)]
pub struct PackedStore {
    path: PathBuf,
    map: Mmap,
    index: Index,
}

impl PackedStore {
    /// Opens a store.
    ///
    /// # Errors
    /// When the file cannot be read, is no store, is of another version, or is damaged.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file =
            File::open(path).map_err(|source| Error::io(path, "open the packed store", source))?;
        // SAFETY: the map is only read, as bytes. Another program that cuts the file short while it is mapped would
        // end this one with a signal; stores are written under another name and renamed, so `marey` never does.
        let map = unsafe { Mmap::map(&file) }
            .map_err(|source| Error::io(path, "map the packed store into memory", source))?;
        let index =
            read_index(&map).map_err(|problem| Error::new(path, ErrorKind::Store(problem)))?;
        Ok(Self {
            path: path.to_owned(),
            map,
            index,
        })
    }

    /// Refuses a store that was made of other items, for another size, or of files that have changed since.
    ///
    /// # Errors
    /// When it was; the error says what to do.
    pub fn check(&self, dataset: &Dataset, preprocess: &Preprocess) -> Result<(), Error> {
        let again = "pack again by `marey data pack`";
        if self.index.preprocess != pixels_fingerprint(preprocess) {
            let size = preprocess.size;
            return Err(self.error(format!(
                "was packed with other preprocessing than this run's ({size:?}, {:?}): {again}",
                preprocess.resize
            )));
        }
        if self.index.data != data_fingerprint(&dataset.items) {
            return Err(self.error(format!(
                "was packed from another list of items or spans: {again}"
            )));
        }
        for item in &dataset.items {
            let packed = self.source(&item.id)?.file_len;
            // The files themselves need not be there any more.
            if packed > 0 && item.source.metadata().is_ok_and(|now| now.len() != packed) {
                let changed = item.source.display();
                return Err(self.error(format!(
                    "{changed} has changed since it was packed: {again}"
                )));
            }
        }
        Ok(())
    }

    /// When each frame of an item's source is shown.
    pub(crate) fn timeline(&self, item: &str) -> Result<Timeline, Error> {
        let source = self.readable(item)?;
        let bytes = self.bytes(source.timestamps, source.num_frames * 8)?;
        let timestamps = bytes.chunks_exact(8).map(|bytes| {
            let bytes = bytes.try_into().expect("chunks of eight");
            Timestamp::from_nanos(i64::from_le_bytes(bytes))
        });
        Timeline::new(timestamps.collect(), Timestamp::from_nanos(source.end))
            .map_err(|error| self.error(format!("is damaged: {error}")))
    }

    /// The frames of a plan at the stored size.
    pub(crate) fn clip(&self, item: &str, plan: &ClipPlan) -> Result<Clip, Error> {
        let source = self.readable(item)?;
        let timeline = self.timeline(item)?;
        let len = source.frame_len();
        let mut pixels = Vec::with_capacity(plan.timestamps.len() * len);
        for &timestamp in &plan.timestamps {
            let stored = source.stored(timeline.index_at(timestamp)).ok_or_else(|| {
                self.error(format!(
                    "lacks the frame of `{item}` at {timestamp}, because it was packed for another sampling: pack \
                     again by `marey data pack`"
                ))
            })?;
            pixels.extend_from_slice(self.bytes(source.offset + (stored * len) as u64, len)?);
        }
        let [h, w, c] = source.frame;
        Ok(Clip::new(
            [plan.timestamps.len(), h, w, c],
            Pixels::U8(pixels),
            plan.timestamps.clone(),
        ))
    }

    fn source(&self, item: &str) -> Result<&Source, Error> {
        let source = self
            .index
            .items
            .get(item)
            .and_then(|&idx| self.index.sources.get(idx));
        source.ok_or_else(|| {
            self.error(format!(
                "lacks the item `{item}`: pack again by `marey data pack`"
            ))
        })
    }

    fn readable(&self, item: &str) -> Result<&Source, Error> {
        let source = self.source(item)?;
        match &source.unreadable {
            Some(reason) => Err(Error::new(&self.path, ErrorKind::Unpacked(reason.clone()))),
            None => Ok(source),
        }
    }

    fn bytes(&self, offset: u64, len: usize) -> Result<&[u8], Error> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(len)?));
        let bytes = range.and_then(|range| self.map.get(range));
        bytes.ok_or_else(|| self.error("is damaged: it points beyond its end".to_owned()))
    }

    fn error(&self, problem: String) -> Error {
        Error::new(&self.path, ErrorKind::Store(problem))
    }
}

fn read_index(map: &[u8]) -> Result<Index, String> {
    let again = "pack again by `marey data pack`";
    let header = map
        .get(..HEADER_LEN)
        .filter(|header| header.starts_with(MAGIC));
    let header =
        header.ok_or("is no packed store, expected a file that `marey data pack` wrote")?;
    let version = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
    if version != VERSION {
        return Err(format!(
            "is a packed store of version {version}, this program reads {VERSION}: {again}"
        ));
    }
    let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let (start, len) = (word(16), word(24));
    let end = start
        .checked_add(len)
        .filter(|&end| end == map.len() as u64);
    let damaged = |what: &str| format!("is damaged, {what}: {again}");
    let end = end.ok_or_else(|| damaged("its length is not the one it was written with"))?;
    let index = &map[start as usize..end as usize];
    if blake3::hash(index).as_bytes()[..] != header[32..64] {
        return Err(damaged(
            "its index does not have the hash it was written with",
        ));
    }
    serde_json::from_slice(index).map_err(|error| damaged(&error.to_string()))
}

/// Fingerprint of what decides a stored frame: not of mean and deviation, which come later.
fn pixels_fingerprint(preprocess: &Preprocess) -> String {
    let neutral = Preprocess::new([1, 1], Resize::Stretch);
    let pixels = Preprocess {
        mean: neutral.mean,
        std: neutral.std,
        ..preprocess.clone()
    };
    pixels.fingerprint()
}

/// Fingerprint of a list of items: their names and spans, in any order.
fn data_fingerprint(items: &[Item]) -> String {
    let mut lines: Vec<String> = items
        .iter()
        .map(|item| {
            let span = item
                .span
                .map(|span| (span.start().as_nanos(), span.end().as_nanos()));
            format!("{:?} {span:?}\n", item.id)
        })
        .collect();
    lines.sort();
    let mut hasher = blake3::Hasher::new();
    for line in lines {
        hasher.update(line.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_frames_are_found_across_gaps() {
        let source = Source {
            runs: vec![[2, 3], [10, 2]],
            ..Source::default()
        };
        let found: Vec<_> = (0..13).map(|frame| source.stored(frame)).collect();
        let none = None;
        assert_eq!(
            found,
            [
                none,
                none,
                Some(0),
                Some(1),
                Some(2),
                none,
                none,
                none,
                none,
                none,
                Some(3),
                Some(4),
                none
            ]
        );
        assert_eq!(source.num_stored(), 5);
    }

    #[test]
    fn what_is_no_store_is_refused() {
        let mut other_version = MAGIC.to_vec();
        other_version.extend(2u32.to_le_bytes());
        other_version.resize(HEADER_LEN, 0);
        let mut too_short = MAGIC.to_vec();
        too_short.extend(VERSION.to_le_bytes());
        too_short.resize(HEADER_LEN, 0);
        for (bytes, message) in [
            (&b"path,label\n"[..], "is no packed store"),
            (&[0; 200], "is no packed store"),
            (
                &other_version,
                "is a packed store of version 2, this program reads 1",
            ),
            (&too_short, "its length is not the one it was written with"),
        ] {
            let problem = read_index(bytes).expect_err(message);
            assert!(problem.contains(message), "{problem}");
        }
    }
}
