//! One item to the bytes of its clips.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use marey_clip::{Clip, ClipPlan, Pixels, Sampling, Timeline, rng_for};
use marey_media::Reader;
use marey_transform::{Augment, Preprocess, SpatialViews};

use crate::{Dataset, Error, ErrorKind, Frames, Item};

/// What a worker is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// One random clip of each of `segments` equal parts of the item, in order. `occurrence` counts an item's earlier ones
    /// in the epoch, so that a repeated item differs.
    Random {
        item: usize,
        epoch: u64,
        seed: u64,
        occurrence: u64,
        segments: usize,
    },
    /// All views, each as these crops.
    Views { item: usize, spatial: SpatialViews },
}

impl Job {
    pub(super) const fn item(self) -> usize {
        match self {
            Self::Random { item, .. } | Self::Views { item, .. } => item,
        }
    }
}

/// Keeps the draws for a clip apart from all others of the same seed; repeats of an item count up from here.
const PURPOSE_CLIP: u64 = 0x434C_4950_0000_0000;

/// Everything that turns a [`Job`] into pixels; shared by all workers.
#[derive(Debug)]
pub(super) struct Clips {
    pub(super) dataset: Arc<Dataset>,
    pub(super) sampling: Sampling,
    pub(super) preprocess: Preprocess,
    frames: Frames,
    /// Sources of more than one item: worth keeping open.
    repeated: HashSet<PathBuf>,
}

impl Clips {
    pub(super) fn new(
        dataset: Arc<Dataset>,
        sampling: Sampling,
        preprocess: Preprocess,
        frames: Frames,
    ) -> Self {
        let mut times: HashMap<&Path, usize> = HashMap::new();
        for item in &dataset.items {
            *times.entry(&item.source).or_default() += 1;
        }
        let repeated = times.into_iter().filter(|&(_, times)| times > 1);
        let repeated = repeated.map(|(source, _)| source.to_owned()).collect();
        let preprocess = match frames {
            Frames::Files(_) => preprocess,
            Frames::Packed(_) => preprocess.for_packed(),
        };
        Self {
            dataset,
            sampling,
            preprocess,
            frames,
            repeated,
        }
    }

    /// `[t, h, w, 3]` of every clip.
    pub(super) fn clip_dims(&self) -> [usize; 4] {
        let [height, width] = self.preprocess.size;
        [self.sampling.frames, height, width, 3]
    }

    /// The clips of one job, in order.
    pub(super) fn read(
        &self,
        job: Job,
        augment: &Augment,
        readers: &mut Readers,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let item = &self.dataset.items[job.item()];
        let failed = |error| Error::new(&item.source, ErrorKind::Transform(error));
        let timeline = self.timeline(item, readers)?;
        let span = item.span.unwrap_or(timeline.span());
        match job {
            Job::Random {
                item: idx,
                epoch,
                seed,
                occurrence,
                segments,
            } => {
                let mut rng = rng_for(seed, epoch, idx as u64, PURPOSE_CLIP + occurrence);
                let random = |span| {
                    let plan = self.sampling.plan_random(&timeline, span, &mut rng);
                    let clip = self.clip(item, &plan, readers)?;
                    let preprocess = &self.preprocess;
                    let clip = preprocess.spatial_random(&clip, augment, &mut rng);
                    Ok(bytes(clip.map_err(failed)?))
                };
                span.parts(segments).map(random).collect()
            }
            Job::Views { spatial, .. } => {
                let mut clips = Vec::new();
                for plan in self.sampling.plan_views(&timeline, span) {
                    let clip = self.clip(item, &plan, readers)?;
                    let views = self.preprocess.spatial_views(&clip, spatial);
                    clips.extend(views.map_err(failed)?.into_iter().map(bytes));
                }
                Ok(clips)
            }
        }
    }

    fn timeline(&self, item: &Item, readers: &mut Readers) -> Result<Timeline, Error> {
        match &self.frames {
            Frames::Packed(store) => store.timeline(&item.id),
            Frames::Files(options) => readers.with(
                item,
                self,
                |reader| Ok(reader.info().timeline.clone()),
                options,
            ),
        }
    }

    fn clip(&self, item: &Item, plan: &ClipPlan, readers: &mut Readers) -> Result<Clip, Error> {
        match &self.frames {
            Frames::Packed(store) => store.clip(&item.id, plan),
            Frames::Files(options) => readers.with(item, self, |reader| reader.read(plan), options),
        }
    }
}

fn bytes(clip: Clip) -> Vec<u8> {
    match clip.into_parts() {
        (Pixels::U8(values), _) => values,
        (Pixels::F32(_), _) => unreachable!("`Preprocess` makes bytes of every clip"),
    }
}

/// The readers that one worker keeps open.
#[derive(Default)]
pub(super) struct Readers {
    /// The most recently used last.
    open: Vec<(PathBuf, Box<dyn Reader>)>,
}

/// Readers that a worker keeps for sources that are needed again, each with its decoder's memory.
const MAX_OPEN: usize = 4;

impl Readers {
    /// Calls `read` with the reader of an item's source, opened unless it still is.
    fn with<T>(
        &mut self,
        item: &Item,
        clips: &Clips,
        read: impl FnOnce(&mut dyn Reader) -> Result<T, marey_media::Error>,
        options: &marey_media::OpenOptions,
    ) -> Result<T, Error> {
        let failed = |error| Error::new(&item.source, ErrorKind::Media(error));
        let known = self.open.iter().position(|(path, _)| *path == item.source);
        let mut entry = match known {
            Some(idx) => self.open.remove(idx),
            None => {
                // Those that no other item needs are closed first.
                self.open.retain(|(path, _)| clips.repeated.contains(path));
                if self.open.len() >= MAX_OPEN {
                    self.open.remove(0);
                }
                (
                    item.source.clone(),
                    marey_media::open(&item.source, options).map_err(failed)?,
                )
            }
        };
        // A reader that failed is not put back: its decoder may be in any state.
        let value = read(&mut *entry.1).map_err(failed)?;
        self.open.push(entry);
        Ok(value)
    }
}
