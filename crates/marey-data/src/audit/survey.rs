//! Facts about every source, found by opening it once: headers and times, no frames.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::SystemTime,
};

use marey_clip::{Size, Timeline};
use marey_media::{MediaKind, OpenOptions};

use crate::{Dataset, Error, ErrorKind, leak::length};

/// A clock that starts later than this counts from 1970, so that two sources can be compared: 2001-09-09 in nanoseconds.
const ABSOLUTE_NANOS: i64 = 1_000_000_000_000_000_000;

/// What opening a source told.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) kind: MediaKind,
    pub(crate) container: String,
    pub(crate) codec: String,
    pub(crate) size: Size,
    pub(crate) timeline: Timeline,
    pub(crate) declared_frames: Option<u64>,
    pub(crate) has_constant_rate: bool,
    pub(crate) warnings: Vec<String>,
    pub(crate) bytes: u64,
    pub(crate) modified: Option<SystemTime>,
}

impl Facts {
    fn of(source: &Path) -> Result<Self, Error> {
        let reader = marey_media::open(source, &OpenOptions::default())
            .map_err(|error| Error::new(source, ErrorKind::Media(error)))?;
        let info = reader.info();
        let unread = |error| Error::io(source, "read the file", error);
        // Of a folder or a sequence, the first file speaks for the date.
        let first = match marey_media::source_files(source).map_err(unread)? {
            files if files.is_empty() => source.to_owned(),
            mut files => files.swap_remove(0),
        };
        let modified = first.metadata().map_err(unread)?.modified().ok();
        Ok(Self {
            kind: info.kind,
            container: info.container.clone(),
            codec: info.codec.clone(),
            size: info.size,
            timeline: info.timeline.clone(),
            declared_frames: info.declared_frames,
            has_constant_rate: info.frame_rate.is_some(),
            warnings: info.warnings.clone(),
            bytes: length(source).map_err(unread)?,
            modified,
        })
    }

    /// Frames a second, counted over the whole source; `None` for one frame.
    pub(crate) fn mean_rate(&self) -> Option<f64> {
        let stamps = self.timeline.timestamps();
        let secs = stamps[stamps.len() - 1].as_secs() - stamps[0].as_secs();
        (secs > 0.0).then(|| (stamps.len() - 1) as f64 / secs)
    }

    /// Whether its clock counts from 1970.
    pub(crate) fn has_absolute_clock(&self) -> bool {
        self.timeline.span().start().as_nanos() > ABSOLUTE_NANOS
    }
}

/// What opening every distinct source of a data set told.
#[derive(Debug, Default)]
pub struct Survey {
    facts: HashMap<PathBuf, Facts>,
    unreadable: Vec<Error>,
}

impl Survey {
    /// Opens every distinct source, on all processors. Opening reads headers and indices, not
    /// frames: damage inside a file shows later.
    pub fn of(dataset: &Dataset) -> Self {
        let mut sources: Vec<&Path> = dataset
            .items
            .iter()
            .map(|item| item.source.as_path())
            .collect();
        let mut seen = std::collections::HashSet::new();
        sources.retain(|source| seen.insert(*source));
        let next = AtomicUsize::new(0);
        let found = Mutex::new(Vec::with_capacity(sources.len()));
        let work = || {
            loop {
                let idx = next.fetch_add(1, Ordering::Relaxed);
                let Some(source) = sources.get(idx) else {
                    return;
                };
                let facts = Facts::of(source);
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.push((idx, facts));
            }
        };
        let num_threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| (0..num_threads).for_each(|_| drop(scope.spawn(work))));
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|(idx, _)| *idx);
        let mut survey = Self::default();
        for (idx, facts) in found {
            match facts {
                Ok(facts) => drop(survey.facts.insert(sources[idx].to_owned(), facts)),
                Err(error) => survey.unreadable.push(error),
            }
        }
        survey
    }

    /// Why sources could not be opened, in the order of the data set.
    pub fn unreadable(&self) -> &[Error] {
        &self.unreadable
    }

    /// The same, to be reported.
    pub fn into_unreadable(self) -> Vec<Error> {
        self.unreadable
    }

    pub(crate) fn facts(&self, source: &Path) -> Option<&Facts> {
        self.facts.get(source)
    }

    /// Number of sources that could be opened.
    pub(crate) fn len(&self) -> usize {
        self.facts.len()
    }
}
