//! Labelled items and the batches made of them: importers, splits, leak check, packed store, loader.
//!
//! For: from a folder or a table on disk to batches of pixels in a fixed order, whatever the number of threads.
//! Not for: decoding (`marey-media`), resizing and augmenting (`marey-transform`), tensors and training.
//!
//! ```no_run
//! use std::sync::Arc;
//! use marey_clip::Sampling;
//! use marey_data::{DataConfig, Frames, Loader, LoaderConfig, Order, Split, load};
//! use marey_transform::{Augment, Preprocess, Resize};
//!
//! let dataset = Arc::new(load(&DataConfig::new("clips/manifest.csv"))?);
//! let preprocess = Preprocess::new([112, 112], Resize::ShortSide);
//! let config = LoaderConfig { batch: 8, ..LoaderConfig::default() };
//! let train = dataset.indices(Split::Train);
//! let frames = Frames::Files(Default::default());
//! let loader = Loader::new(dataset, train, Sampling::uniform(16), preprocess, config, frames)?;
//! for batch in loader.train_epoch(0, &Augment::default(), Order::Shuffled, 0) {
//!     assert_eq!(batch?.dims[1..], [16, 112, 112, 3]);
//! }
//! # Ok::<(), marey_data::Error>(())
//! ```

mod item;

mod config;

mod import;

mod split;

mod leak;

mod manifest_writer;

mod loader;

mod packed;

mod scoring;

mod twins;

mod check;

mod atomic;

mod error;

pub use check::unreadable_sources;
pub use config::{DataConfig, Format, SplitBy, SplitConfig, Unreadable};
pub use error::{Error, ErrorKind};
pub use import::{Importer, importers, load};
pub use item::{Dataset, Item, Split};
pub use leak::{Leak, LeakKind, check_leaks, identical_items};
pub use loader::{Batch, Batches, Frames, Loader, LoaderConfig, Order, Skipped};
pub use manifest_writer::write_manifest;
pub use packed::{PackConfig, PackProgress, PackReport, PackedStore, pack};
pub use scoring::score_views;
pub use split::{SplitShares, split_by_group};
pub use twins::{
    Twin, TwinConfig, TwinKind, TwinProgress, TwinReport, TwinStage, find_twins, twin_groups,
};
