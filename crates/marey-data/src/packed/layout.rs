//! Where each frame of a store goes, known before anything is decoded.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError, atomic::AtomicUsize},
    thread,
};

use marey_clip::{SamplingMode, Timeline};

use super::{HEADER_LEN, Source, write::Packer};
use crate::{Error, Item, Unreadable};

/// A source as it was laid out.
pub(super) struct LaidOut {
    pub(super) source: Source,
    pub(super) timeline: Option<Timeline>,
}

impl Packer<'_> {
    /// Opens every source and gives its frames a place.
    pub(super) fn lay_out(&self) -> Result<Vec<LaidOut>, Error> {
        let results: Mutex<BTreeMap<usize, Result<LaidOut, Error>>> = Mutex::default();
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..self.config.workers.max(1) {
                scope.spawn(|| {
                    while let Some(idx) = self.take(&next) {
                        let result = self.measure(idx);
                        results
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .insert(idx, result);
                    }
                });
            }
        });
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut offset = HEADER_LEN as u64;
        let mut laid_out = Vec::with_capacity(results.len());
        for (_, result) in results {
            let mut one = match result {
                Err(error) if self.config.unreadable == Unreadable::Skip => {
                    let unreadable = Some(error.to_string());
                    LaidOut {
                        source: Source {
                            unreadable,
                            ..Source::default()
                        },
                        timeline: None,
                    }
                }
                result => result?,
            };
            one.source.offset = offset;
            offset += (one.source.num_stored() * one.source.frame_len()) as u64;
            laid_out.push(one);
        }
        Ok(laid_out)
    }

    fn measure(&self, idx: usize) -> Result<LaidOut, Error> {
        let (path, items) = &self.groups[idx];
        let reader = self.open(idx)?;
        let info = reader.info();
        let size = self.preprocess.resized_size(info.size);
        let frames = self.frames(&info.timeline, items);
        let is_file = |metadata: &std::fs::Metadata| metadata.is_file();
        let source = Source {
            file_len: path
                .metadata()
                .ok()
                .filter(is_file)
                .map_or(0, |metadata| metadata.len()),
            frame: [size.height, size.width, info.channels],
            num_frames: info.timeline.len(),
            end: info.timeline.span().end().as_nanos(),
            runs: runs(&frames),
            ..Source::default()
        };
        Ok(LaidOut {
            source,
            timeline: Some(info.timeline.clone()),
        })
    }

    /// The frames that the sampling may pick for any of the items.
    fn frames(&self, timeline: &Timeline, items: &[&Item]) -> BTreeSet<usize> {
        let mut frames = BTreeSet::new();
        for item in items {
            let span = item.span.unwrap_or(timeline.span());
            match self.sampling.mode {
                SamplingMode::Uniform | SamplingMode::Dense => {
                    frames.extend(timeline.indices_in(span))
                }
                SamplingMode::Centered => {
                    let plans = self.sampling.plan_views(timeline, span);
                    let timestamps = plans.iter().flat_map(|plan| &plan.timestamps);
                    frames.extend(timestamps.map(|&timestamp| timeline.index_at(timestamp)));
                }
            }
        }
        frames
    }
}

/// Neighbouring frames as their first one and their number.
fn runs(frames: &BTreeSet<usize>) -> Vec<[usize; 2]> {
    let mut runs: Vec<[usize; 2]> = Vec::new();
    for &frame in frames {
        match runs.last_mut() {
            Some([first, count]) if *first + *count == frame => *count += 1,
            _ => runs.push([frame, 1]),
        }
    }
    runs
}
