//! Writing a packed store: sources are opened to lay the file out, then decoded by several threads at once.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use crossbeam_channel::Sender;
use marey_clip::{ClipPlan, Pixels, Sampling};
use marey_media::{OpenOptions, Reader};
use marey_transform::Preprocess;

use super::{
    HEADER_LEN, Index, Source, data_fingerprint,
    file::{Contents, Writer},
    layout::LaidOut,
    pixels_fingerprint,
};
use crate::{Dataset, Error, ErrorKind, Item, Skipped, Unreadable, atomic::AtomicFile};

/// How a store is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackConfig {
    /// Where the store goes; it appears whole or not at all.
    pub path: PathBuf,
    /// Threads that decode, at least 1.
    pub workers: usize,
    /// What happens when a source cannot be decoded. A source that is left out is listed in the store, with the reason.
    pub unreadable: Unreadable,
    /// How sources are opened.
    pub open: OpenOptions,
}

/// How far packing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackProgress {
    /// Frames that are written.
    pub frames: usize,
    /// Frames in all.
    pub total: usize,
}

/// What was packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackReport {
    /// Sources in the store.
    pub sources: usize,
    /// Frames in the store.
    pub frames: usize,
    /// Size of the store.
    pub size_bytes: u64,
    /// Items that were left out because their source could not be decoded.
    pub skipped: Vec<Skipped>,
}

/// Frames that are decoded together hold at most this many bytes at the source's size.
const CHUNK_BYTES: usize = 32 << 20;

/// Decodes every frame that `sampling` may pick from the items of `dataset` and writes it as `preprocess` resizes it.
///
/// `progress` is called now and then, on the calling thread.
///
/// # Errors
/// When a source cannot be decoded (unless it may be left out), or the store cannot be written, for example because the
/// disk is full; nothing is left behind then.
pub fn pack(
    dataset: &Dataset,
    sampling: &Sampling,
    preprocess: &Preprocess,
    config: &PackConfig,
    progress: &mut dyn FnMut(PackProgress),
) -> Result<PackReport, Error> {
    // Before any decoding, so that a folder that is not there or not writable shows at once.
    let file = AtomicFile::create(&config.path)?;
    preprocess
        .validate()
        .map_err(|error| Error::config(&config.path, "preprocess", error.to_string()))?;
    let mut by_source: BTreeMap<&Path, Vec<&Item>> = BTreeMap::new();
    for item in &dataset.items {
        by_source.entry(&item.source).or_default().push(item);
    }
    let packer = Packer {
        groups: by_source.into_iter().collect(),
        sampling,
        preprocess,
        config,
        failed: AtomicBool::new(false),
    };
    let mut sources = packer.lay_out()?;
    let mut writer = Writer::new(&config.path, &file.file);
    packer.decode(&mut sources, &mut writer, progress)?;
    let index = packer.index(sources, dataset);
    let size_bytes = writer.finish(&index)?;
    let skipped = skipped(dataset, &index);
    if skipped.len() == dataset.items.len() {
        let reason = skipped
            .first()
            .map_or("no item".to_owned(), |first| first.reason.clone());
        return Err(Error::new(
            &config.path,
            ErrorKind::Unpacked(format!("nothing could be decoded: {reason}")),
        ));
    }
    drop(writer);
    file.commit()?;
    let readable = || {
        index
            .index
            .sources
            .iter()
            .filter(|source| source.unreadable.is_none())
    };
    Ok(PackReport {
        sources: readable().count(),
        frames: readable().map(Source::num_stored).sum(),
        size_bytes,
        skipped,
    })
}

/// Frames on their way to the file.
enum Message {
    Frames {
        offset: u64,
        bytes: Vec<u8>,
        count: usize,
    },
    Failed {
        source: usize,
        error: Error,
    },
}

pub(super) struct Packer<'a> {
    pub(super) groups: Vec<(&'a Path, Vec<&'a Item>)>,
    pub(super) sampling: &'a Sampling,
    pub(super) preprocess: &'a Preprocess,
    pub(super) config: &'a PackConfig,
    failed: AtomicBool,
}

impl Packer<'_> {
    /// The next source, unless one has failed for good.
    pub(super) fn take(&self, next: &AtomicUsize) -> Option<usize> {
        if self.failed.load(Ordering::Relaxed) {
            return None;
        }
        let idx = next.fetch_add(1, Ordering::Relaxed);
        (idx < self.groups.len()).then_some(idx)
    }

    pub(super) fn open(&self, idx: usize) -> Result<Box<dyn Reader>, Error> {
        let path = self.groups[idx].0;
        marey_media::open(path, &self.config.open)
            .map_err(|error| Error::new(path, ErrorKind::Media(error)))
    }

    /// Decodes all sources and writes their frames as they come.
    fn decode(
        &self,
        sources: &mut [LaidOut],
        writer: &mut Writer<'_>,
        progress: &mut dyn FnMut(PackProgress),
    ) -> Result<(), Error> {
        let total = sources.iter().map(|one| one.source.num_stored()).sum();
        let next = AtomicUsize::new(0);
        let workers = self.config.workers.max(1);
        let (queue, messages) = crossbeam_channel::bounded(2 * workers);
        let mut failures = BTreeMap::new();
        let shared: &[LaidOut] = sources;
        let written = thread::scope(|scope| {
            for _ in 0..workers {
                let queue = queue.clone();
                let next = &next;
                scope.spawn(move || {
                    while let Some(idx) = self.take(next) {
                        self.decode_one(idx, &shared[idx], &queue);
                    }
                });
            }
            drop(queue);
            let mut frames = 0;
            let mut result = Ok(());
            // Messages are taken to the end even after a failure, so that no worker waits for ever.
            for message in messages {
                match message {
                    Message::Failed { source, error } => {
                        if self.config.unreadable == Unreadable::Stop {
                            self.failed.store(true, Ordering::Relaxed);
                        }
                        failures.insert(source, error);
                    }
                    Message::Frames {
                        offset,
                        bytes,
                        count,
                    } if result.is_ok() => {
                        result = writer.write_at(offset, &bytes);
                        if result.is_err() {
                            self.failed.store(true, Ordering::Relaxed);
                        }
                        frames += count;
                        progress(PackProgress { frames, total });
                    }
                    Message::Frames { .. } => {}
                }
            }
            result
        });
        written?;
        for (idx, error) in failures {
            if self.config.unreadable == Unreadable::Stop {
                return Err(error);
            }
            sources[idx].source.unreadable = Some(error.to_string());
        }
        Ok(())
    }

    fn decode_one(&self, idx: usize, laid_out: &LaidOut, queue: &Sender<Message>) {
        if let Err(error) = self.send_frames(idx, laid_out, queue) {
            // The receiver listens until every sender is gone.
            let _ = queue.send(Message::Failed { source: idx, error });
        }
    }

    fn send_frames(
        &self,
        idx: usize,
        laid_out: &LaidOut,
        queue: &Sender<Message>,
    ) -> Result<(), Error> {
        let (source, Some(timeline)) = (&laid_out.source, &laid_out.timeline) else {
            return Ok(());
        };
        let path = self.groups[idx].0;
        let mut reader = self.open(idx)?;
        let info = reader.info();
        let bytes_per_value = if self.preprocess.temperature.is_some() {
            4
        } else {
            1
        };
        let frame_bytes = info.size.height * info.size.width * info.channels * bytes_per_value;
        let chunk = (CHUNK_BYTES / frame_bytes.max(1)).clamp(1, 64);
        let frames: Vec<usize> = source
            .runs
            .iter()
            .flat_map(|&[first, count]| first..first + count)
            .collect();
        let mut offset = source.offset;
        for frames in frames.chunks(chunk) {
            if self.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            let timestamps = frames
                .iter()
                .map(|&frame| timeline.timestamps()[frame])
                .collect();
            let clip = reader
                .read(&ClipPlan { timestamps })
                .map_err(|error| Error::new(path, ErrorKind::Media(error)))?;
            let clip = self
                .preprocess
                .resized(&clip)
                .map_err(|error| Error::new(path, ErrorKind::Transform(error)))?;
            let Pixels::U8(bytes) = clip.into_parts().0 else {
                unreachable!("`Preprocess` makes bytes of every clip");
            };
            if bytes.len() != frames.len() * source.frame_len() {
                let problem = format!("{} changed while it was packed: pack again", path.display());
                return Err(Error::new(&self.config.path, ErrorKind::Store(problem)));
            }
            let count = frames.len();
            let len = bytes.len() as u64;
            let _ = queue.send(Message::Frames {
                offset,
                bytes,
                count,
            });
            offset += len;
        }
        Ok(())
    }

    fn index(&self, laid_out: Vec<LaidOut>, dataset: &Dataset) -> Contents {
        let end = |one: &LaidOut| {
            one.source.offset + (one.source.num_stored() * one.source.frame_len()) as u64
        };
        let timestamps_at = laid_out.last().map_or(HEADER_LEN as u64, end);
        let mut timestamps = Vec::new();
        let mut sources = Vec::with_capacity(laid_out.len());
        for LaidOut {
            mut source,
            timeline,
        } in laid_out
        {
            source.timestamps = timestamps_at + timestamps.len() as u64;
            let nanos = timeline.iter().flat_map(|timeline| timeline.timestamps());
            timestamps.extend(nanos.flat_map(|timestamp| timestamp.as_nanos().to_le_bytes()));
            sources.push(source);
        }
        let names = self.groups.iter().enumerate();
        let items = names
            .flat_map(|(idx, (_, items))| items.iter().map(move |item| (item.id.clone(), idx)));
        let index = Index {
            preprocess: pixels_fingerprint(self.preprocess),
            data: data_fingerprint(&dataset.items),
            sources,
            items: items.collect(),
        };
        Contents {
            index,
            timestamps,
            timestamps_at,
        }
    }
}

fn skipped(dataset: &Dataset, contents: &Contents) -> Vec<Skipped> {
    let reason = |item: &Item| {
        let source = &contents.index.sources[contents.index.items[&item.id]];
        source.unreadable.clone()
    };
    let items = dataset.items.iter().enumerate();
    items
        .filter_map(|(idx, item)| {
            let (id, source) = (item.id.clone(), item.source.clone());
            reason(item).map(|reason| Skipped {
                item: idx,
                id,
                source,
                reason,
            })
        })
        .collect()
}
