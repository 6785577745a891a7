//! Integration tests of `marey-data`, over files that the tests write and, where it is there, the shared test data.

/// Sources and manifests that the tests write.
mod fixtures;

/// Manifests as people write them.
mod manifest;

/// A folder a class.
mod folders;

/// The frame tree of UCF-Crime.
mod frame_tree;

/// Tables of events in long videos.
mod events;

/// Lists of mmaction2 and Kinetics.
mod lists;

/// Splits that share groups or files.
mod leaks;

/// What an audit finds.
mod audit;

/// Order, determinism, unreadable items, shutdown.
mod loader;

/// The packed store.
mod packed;

/// Near-duplicates.
mod twins;

/// The data sets that lie beside the project.
mod shared;
