//! Batches of clips in a fixed order, read ahead by threads.
//!
//! What a batch holds depends on the seed, the epoch and the order of the items only: each clip draws from a generator
//! of its own, and batches are put together in order whichever thread is first. So any number of workers gives the
//! same batches, and a run can go on in the middle of an epoch by leaving batches out without reading them.

mod batches;

mod clips;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use marey_clip::Sampling;
use marey_media::OpenOptions;
use marey_transform::{Augment, Preprocess, SpatialViews};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use batches::{Batch, Batches};

use crate::{
    Dataset, Error, ErrorKind, PackedStore, Unreadable,
    loader::{
        batches::Plan,
        clips::{Clips, Job},
    },
    sampler,
};

/// How batches are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoaderConfig {
    /// Clips of a batch, at least 1 (default 8).
    pub batch: usize,
    /// Threads that read and transform clips (default: one a processor, at most 16). With 0 they are read when they
    /// are asked for. It changes the speed and nothing else.
    pub workers: usize,
    /// Batches that are read ahead of the one in use (default 2). Together with `batch` it bounds the memory.
    pub prefetch: usize,
    /// Seed of the order and of everything that is drawn for a clip (default 0).
    pub seed: u64,
    /// Leave out the last batch of a training epoch when it is not full (default false).
    pub drop_last: bool,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, |num| num.get());
        Self {
            batch: 8,
            workers: processors.min(16),
            prefetch: 2,
            seed: 0,
            drop_last: false,
        }
    }
}

/// Where frames come from.
#[derive(Clone, Debug)]
pub enum Frames {
    /// The sources themselves, decoded each time.
    Files(OpenOptions),
    /// A packed store.
    Packed(Arc<PackedStore>),
}

/// The order of the items in a training epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order<'a> {
    /// A permutation of the loader's items, drawn from the seed and the epoch.
    Shuffled,
    /// As the loader was given them.
    Sequential,
    /// These positions in [`Dataset::items`], each as often as it occurs.
    Given(&'a [usize]),
}

/// An item that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Position in [`Dataset::items`].
    pub item: usize,
    /// The item's name.
    pub id: String,
    /// Its source.
    pub source: PathBuf,
    /// What the reader said.
    pub reason: String,
}

/// Reads clips of a data set as batches.
#[derive(Debug)]
pub struct Loader {
    clips: Arc<Clips>,
    indices: Vec<usize>,
    config: LoaderConfig,
    spatial: SpatialViews,
    unreadable: Unreadable,
    segments: usize,
    skipped: Arc<Mutex<Vec<Skipped>>>,
}

impl Loader {
    /// A loader of the items at `indices` of `dataset`, which stops at an item that cannot be read.
    ///
    /// # Errors
    /// When a setting cannot work, `indices` is empty, or a packed store is of other data or other settings.
    ///
    /// # Panics
    /// If an index is not that of an item.
    pub fn new(
        dataset: Arc<Dataset>,
        indices: Vec<usize>,
        sampling: Sampling,
        preprocess: Preprocess,
        config: LoaderConfig,
        frames: Frames,
    ) -> Result<Self, Error> {
        let path = indices
            .first()
            .map(|&idx| dataset.items[idx].source.clone())
            .unwrap_or_default();
        if indices.is_empty() {
            return Err(Error::layout(&path, "no item to load: this split is empty"));
        }
        if config.batch == 0 {
            return Err(Error::config(
                &path,
                "loader.batch",
                "is 0, it must be at least 1",
            ));
        }
        sampling
            .validate()
            .map_err(|error| Error::config(&path, "sampling", error.to_string()))?;
        preprocess
            .validate()
            .map_err(|error| Error::config(&path, "preprocess", error.to_string()))?;
        if let Frames::Packed(store) = &frames {
            store.check(&dataset, &preprocess)?;
        }
        Ok(Self {
            clips: Arc::new(Clips::new(dataset, sampling, preprocess, frames)),
            indices,
            config,
            spatial: SpatialViews::default(),
            unreadable: Unreadable::Stop,
            segments: 1,
            skipped: Arc::default(),
        })
    }

    /// The same, with another rule for items that cannot be read.
    #[must_use]
    pub fn with_unreadable(self, unreadable: Unreadable) -> Self {
        Self { unreadable, ..self }
    }

    /// The same, with a random clip of each of `segments` equal parts of an item in training, in order, where it is one clip
    /// of the whole otherwise. A batch then has `segments` times as many clips.
    ///
    /// # Panics
    /// If `segments` is 0.
    #[must_use]
    pub fn with_segments(self, segments: usize) -> Self {
        assert!(segments > 0, "an item has at least one part");
        Self { segments, ..self }
    }

    /// The same, with these crops of each view in [`Loader::views`].
    ///
    /// # Errors
    /// When there are no such crops, or they have no effect.
    pub fn with_spatial(self, spatial: SpatialViews) -> Result<Self, Error> {
        let path = &self.clips.dataset.items[self.indices[0]].source;
        spatial
            .validate(&self.clips.preprocess)
            .map_err(|error| Error::new(path, ErrorKind::Transform(error)))?;
        Ok(Self { spatial, ..self })
    }

    /// The data set.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.clips.dataset
    }

    /// Positions in [`Dataset::items`] of the loader's items.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// Batches of a training epoch over `num_items` items.
    pub fn num_batches(&self, num_items: usize) -> usize {
        if self.config.drop_last {
            num_items / self.config.batch
        } else {
            num_items.div_ceil(self.config.batch)
        }
    }

    /// The batches of one training epoch, each item as a random clip, without the first `skip_batches`, which are not
    /// read.
    ///
    /// A batch is of the items `order[i * batch..(i + 1) * batch]`. It is smaller where one of them was left out, and
    /// is itself left out where all were; [`Batch::idx`] counts those too.
    ///
    /// # Panics
    /// If an index of a given order is not that of an item.
    pub fn train_epoch(
        &self,
        epoch: u64,
        augment: &Augment,
        order: Order<'_>,
        skip_batches: usize,
    ) -> Batches {
        let order = match order {
            Order::Sequential => self.indices.clone(),
            Order::Given(order) => order.to_vec(),
            Order::Shuffled => {
                sampler::shuffled(&self.indices, &mut sampler::rng(self.config.seed, epoch))
            }
        };
        let mut times = vec![0; self.clips.dataset.items.len()];
        let mut jobs: Vec<Job> = Vec::with_capacity(order.len());
        for item in order {
            jobs.push(Job::Random {
                item,
                epoch,
                seed: self.config.seed,
                occurrence: times[item],
                segments: self.segments,
            });
            times[item] += 1;
        }
        jobs.truncate(self.num_batches(jobs.len()) * self.config.batch);
        self.batches(jobs, self.config.batch, skip_batches, Some(augment.clone()))
    }

    /// Every item as all of its views, in order, without randomness; the views of an item are in the same batch.
    ///
    /// [`Batch::items`] names an item once a view, so its scores are the mean over its rows. A batch holds at most
    /// [`LoaderConfig::batch`] clips, or one item's views where those are more.
    pub fn views(&self) -> Batches {
        let jobs = self
            .indices
            .iter()
            .map(|&item| Job::Views {
                item,
                spatial: self.spatial,
            })
            .collect();
        let num_views = self.clips.sampling.views * self.spatial.count();
        let items = (self.config.batch / num_views).max(1);
        self.batches(jobs, items, 0, None)
    }

    /// The items that were left out so far, in the order of the data set, each once.
    pub fn skipped(&self) -> Vec<Skipped> {
        let mut skipped = self
            .skipped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        skipped.sort_by_key(|skipped| skipped.item);
        skipped
    }

    fn batches(
        &self,
        jobs: Vec<Job>,
        items_per_batch: usize,
        skip_batches: usize,
        augment: Option<Augment>,
    ) -> Batches {
        Batches::new(Plan {
            clips: self.clips.clone(),
            jobs,
            items_per_batch,
            skip_batches,
            augment: augment.unwrap_or_default(),
            workers: self.config.workers,
            prefetch: self.config.prefetch,
            unreadable: self.unreadable,
            skipped: self.skipped.clone(),
        })
    }
}
