//! What a run says while it goes on. The loop never prints; whoever watches does.

use std::time::Duration;

use crate::{EpochRecord, StepRecord};

/// Something that a watcher of a run may want to know.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An optimiser step was made.
    Step {
        /// Its figures.
        record: StepRecord,
        /// Epochs of the run.
        num_epochs: usize,
        /// Batches of the epoch used up.
        batches_done: usize,
        /// Batches of an epoch.
        num_batches: usize,
        /// Time left until the last step at the speed so far, validation not counted.
        time_left: Duration,
    },
    /// The validation split is being scored.
    Validating {
        /// Clips scored.
        clips_done: usize,
        /// Clips to score.
        num_clips: usize,
    },
    /// An epoch is over.
    Epoch {
        /// Its figures.
        record: &'a EpochRecord,
        /// Epochs of the run.
        num_epochs: usize,
        /// Whether the monitored figure is the best so far.
        is_best: bool,
    },
    /// An item could not be read and was left out (`data.unreadable = "skip"`).
    Skipped {
        /// Id of the item.
        item: &'a str,
        /// Why.
        reason: &'a str,
    },
}

/// Takes in the events of a run.
pub trait Observer {
    /// Called in the loop's own thread, so it should be quick.
    fn on_event(&mut self, event: &Event<'_>);
}

/// Lets every event pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn on_event(&mut self, _event: &Event<'_>) {}
}
