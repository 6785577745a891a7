//! Labelled items and the batches made of them: importers, splits, audit, ledger, packed store, loader.
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

mod heads;

mod config;

mod import;

mod split;

mod leak;

mod audit;

mod discover;

mod nearest;

mod ledger;

mod manifest_writer;

mod loader;

mod sampler;

mod packed;

mod scoring;

mod twins;

mod atomic;

mod error;

pub use audit::{
    Audit, AuditConfig, Audited, CHECKS, Check, Depth, Enforced, Finding, Severity, Shortcut,
    SplitSize, Survey, Topic, audit, load, unsplit,
};
pub use config::{
    DataConfig, FaultKind, Format, SplitBy, SplitConfig, Unreadable, WindowConfig, WindowLabel,
};
pub use discover::{Proposal, discover_groups, overlapping_sources};
pub use error::{Error, ErrorKind};
pub use heads::LabelColumn;
pub use import::{Fault, Importer, Refused, importers};
pub use item::{Dataset, EVENTS_COLUMN, Item, Split};
pub use leak::{Leak, LeakKind, check_leaks, identical_items};
pub use ledger::{
    TestUse, TestUses, bundle_fingerprint, count_uses, ledger_path, read_ledger, record_test_use,
    test_fingerprint,
};
pub use loader::{Batch, Batches, Frames, Loader, LoaderConfig, Order, Skipped};
pub use manifest_writer::write_manifest;
pub use nearest::nearest_labels;
pub use packed::{PackConfig, PackProgress, PackReport, PackedStore, pack};
pub use sampler::{Drawn, Sampler, SamplerConfig, WeightBy};
pub use scoring::{ItemLogits, item_logits, scored};
pub use split::{
    BLOCK_COLUMN, BOUT_COLUMN, Fold, Gap, SplitShares, TimeSplit, fold_of_groups, k_folds,
    leave_one_group_out, nested_folds, split_by_group, split_by_time,
};
pub use twins::{
    Twin, TwinConfig, TwinKind, TwinProgress, TwinReport, TwinStage, find_twins, group_twins,
    twin_groups,
};
