//! Whether every source can be opened, found out before anything is trained.

use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use marey_media::OpenOptions;

use crate::{Dataset, Error, ErrorKind};

/// Opens every distinct source of the items that have a split, on all processors, and gives those that cannot be opened,
/// in the order of the data set. Opening reads headers and indices, not frames: damage inside a file shows later.
pub fn unreadable_sources(dataset: &Dataset) -> Vec<Error> {
    let mut seen: HashSet<&Path> = HashSet::new();
    let used = dataset.items.iter().filter(|item| item.split.is_some());
    let sources: Vec<&Path> = used
        .map(|item| item.source.as_path())
        .filter(|source| seen.insert(source))
        .collect();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let idx = next.fetch_add(1, Ordering::Relaxed);
            let Some(source) = sources.get(idx) else {
                return;
            };
            if let Err(error) = marey_media::open(source, &OpenOptions::default()) {
                let error = Error::new(source, ErrorKind::Media(error));
                failed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((idx, error));
            }
        }
    };
    let num_threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..num_threads).for_each(|_| drop(scope.spawn(work))));
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_by_key(|(position, _)| *position);
    failed.into_iter().map(|(_, error)| error).collect()
}
