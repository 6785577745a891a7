//! The threads behind a loader, and the order that hides them.
//!
//! Jobs go to the workers through one channel and come back through another, each with its position. The iterator hands
//! out as many jobs as the read-ahead allows, keeps what comes back too early, and builds batches in order. Both
//! channels hold no more than the read-ahead, because that is all that is ever on the way.

use std::{
    collections::HashMap,
    iter::FusedIterator,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender};
use marey_transform::Augment;

use crate::{
    Error, ErrorKind, Skipped, Unreadable,
    loader::clips::{Clips, Job, Readers},
};

/// Clips that go through the model together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Position in the epoch; a run that resumes after this batch leaves out `idx + 1`.
    pub idx: usize,
    /// `[b, t, h, w, 3]` values.
    pub pixels: Vec<u8>,
    /// `[b, t, h, w, 3]`.
    pub dims: [usize; 5],
    /// The class of each clip.
    pub targets: Vec<usize>,
    /// The item of each clip: a position in [`Dataset::items`](crate::Dataset::items).
    pub items: Vec<usize>,
}

/// What an iterator over batches needs.
pub(super) struct Plan {
    pub(super) clips: Arc<Clips>,
    pub(super) jobs: Vec<Job>,
    pub(super) items_per_batch: usize,
    pub(super) skip_batches: usize,
    pub(super) augment: Augment,
    pub(super) workers: usize,
    pub(super) prefetch: usize,
    pub(super) unreadable: Unreadable,
    pub(super) skipped: Arc<Mutex<Vec<Skipped>>>,
}

/// The clips of one job, or why there are none.
type Outcome = Result<Vec<Vec<u8>>, Error>;

/// The batches of one epoch, in order. Dropping it stops the workers and waits for them.
///
/// After an error it is at its end.
pub struct Batches {
    plan: Plan,
    /// Next job to hand out.
    sent: usize,
    /// Next job to put into a batch.
    taken: usize,
    early: HashMap<usize, Outcome>,
    pool: Option<Pool>,
    /// The readers of this thread, where there are no workers.
    readers: Readers,
    num_batches: usize,
    last_reason: Option<Error>,
    done: bool,
}

impl Batches {
    pub(super) fn new(plan: Plan) -> Self {
        let first = (plan.skip_batches * plan.items_per_batch).min(plan.jobs.len());
        Self {
            sent: first,
            taken: first,
            early: HashMap::new(),
            pool: None,
            readers: Readers::default(),
            num_batches: 0,
            last_reason: None,
            done: false,
            plan,
        }
    }

    /// The next batch that is not empty.
    fn next_batch(&mut self) -> Result<Option<Batch>, Error> {
        while self.taken < self.plan.jobs.len() {
            let idx = self.taken / self.plan.items_per_batch;
            let end = ((idx + 1) * self.plan.items_per_batch).min(self.plan.jobs.len());
            let [t, h, w, c] = self.plan.clips.clip_dims();
            let mut batch = Batch {
                idx,
                pixels: Vec::with_capacity((end - self.taken) * t * h * w * c),
                dims: [0, t, h, w, c],
                targets: Vec::new(),
                items: Vec::new(),
            };
            while self.taken < end {
                let item = self.plan.jobs[self.taken].item();
                let outcome = self.outcome()?;
                self.taken += 1;
                for clip in self.unless_skipped(item, outcome)? {
                    batch.pixels.extend_from_slice(&clip);
                    batch
                        .targets
                        .push(self.plan.clips.dataset.items[item].label);
                    batch.items.push(item);
                }
            }
            batch.dims[0] = batch.items.len();
            if !batch.items.is_empty() {
                self.num_batches += 1;
                return Ok(Some(batch));
            }
        }
        match self.last_reason.take() {
            Some(reason) if self.num_batches == 0 => Err(reason),
            _ => Ok(None),
        }
    }

    /// The outcome of the job whose turn it is.
    fn outcome(&mut self) -> Result<Outcome, Error> {
        if self.plan.workers == 0 {
            let job = self.plan.jobs[self.taken];
            return Ok(run(
                &self.plan.clips,
                job,
                &self.plan.augment,
                &mut self.readers,
            ));
        }
        if self.pool.is_none() {
            self.pool = Some(Pool::start(&self.plan)?);
        }
        let pool = self.pool.as_ref().expect("just started");
        let ahead = (self.plan.prefetch + 1) * self.plan.items_per_batch;
        while self.sent < self.plan.jobs.len().min(self.taken + ahead) {
            pool.send(self.sent, self.plan.jobs[self.sent]);
            self.sent += 1;
        }
        loop {
            if let Some(outcome) = self.early.remove(&self.taken) {
                return Ok(outcome);
            }
            let (position, outcome) = pool.receive();
            self.early.insert(position, outcome);
        }
    }

    /// The clips, none where the item may be left out.
    fn unless_skipped(&mut self, item: usize, outcome: Outcome) -> Result<Vec<Vec<u8>>, Error> {
        let error = match outcome {
            Ok(clips) => return Ok(clips),
            Err(error) => error,
        };
        // A clip that does not fit the settings, or a defect of the program, is nothing to pass over.
        let is_unreadable = matches!(error.kind(), ErrorKind::Media(_) | ErrorKind::Unpacked(_));
        if self.plan.unreadable == Unreadable::Stop || !is_unreadable {
            return Err(error);
        }
        let mut skipped = self
            .plan
            .skipped
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !skipped.iter().any(|known| known.item == item) {
            let data = &self.plan.clips.dataset.items[item];
            skipped.push(Skipped {
                item,
                id: data.id.clone(),
                source: data.source.clone(),
                reason: error.to_string(),
            });
        }
        drop(skipped);
        self.last_reason = Some(error);
        Ok(Vec::new())
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.next_batch().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.done = true;
            self.pool = None;
        }
        next
    }
}

impl FusedIterator for Batches {}

/// The worker threads.
struct Pool {
    jobs: Option<Sender<(usize, Job)>>,
    outcomes: Receiver<(usize, Outcome)>,
    cancelled: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    fn start(plan: &Plan) -> Result<Self, Error> {
        let (jobs, job_queue) = crossbeam_channel::unbounded();
        let (outcome_queue, outcomes) = crossbeam_channel::unbounded();
        // Threads that could be started stop again when the pool is dropped by an error.
        let mut pool = Self {
            jobs: Some(jobs),
            outcomes,
            cancelled: Arc::default(),
            threads: Vec::with_capacity(plan.workers),
        };
        for idx in 0..plan.workers {
            let worker = Worker {
                clips: plan.clips.clone(),
                augment: plan.augment.clone(),
                jobs: job_queue.clone(),
                outcomes: outcome_queue.clone(),
                cancelled: pool.cancelled.clone(),
            };
            let started = thread::Builder::new()
                .name(format!("marey-loader-{idx}"))
                .spawn(move || worker.run())
                .map_err(|source| {
                    let path = &plan.clips.dataset.items[plan.jobs[0].item()].source;
                    Error::io(path, "start a loader thread", source)
                })?;
            pool.threads.push(started);
        }
        Ok(pool)
    }

    fn send(&self, position: usize, job: Job) {
        let jobs = self.jobs.as_ref().expect("open until the pool is dropped");
        jobs.send((position, job))
            .expect("workers listen until this sender is gone");
    }

    fn receive(&self) -> (usize, Outcome) {
        self.outcomes
            .recv()
            .expect("a worker answers every job, even when it panics")
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
        // Without a sender the workers' queue ends.
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A worker catches its panics, so this cannot fail; there is nobody to tell if it did.
            let _ = thread.join();
        }
    }
}

struct Worker {
    clips: Arc<Clips>,
    augment: Augment,
    jobs: Receiver<(usize, Job)>,
    outcomes: Sender<(usize, Outcome)>,
    cancelled: Arc<AtomicBool>,
}

impl Worker {
    fn run(self) {
        let mut readers = Readers::default();
        for (position, job) in &self.jobs {
            if self.cancelled.load(Ordering::Relaxed) {
                return;
            }
            let outcome = run(&self.clips, job, &self.augment, &mut readers);
            if self.outcomes.send((position, outcome)).is_err() {
                return;
            }
        }
    }
}

/// One job; a panic is its error.
fn run(clips: &Clips, job: Job, augment: &Augment, readers: &mut Readers) -> Outcome {
    let source = &clips.dataset.items[job.item()].source;
    let outcome = caught(source, || clips.read(job, augment, readers));
    if matches!(&outcome, Err(error) if matches!(error.kind(), ErrorKind::Panic(_))) {
        // A decoder that was interrupted may be in any state.
        *readers = Readers::default();
    }
    outcome
}

/// What `work` gives; a panic is an error about `source`.
fn caught(source: &Path, work: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::new(
            source,
            ErrorKind::Panic(text.unwrap_or_else(|| "no message".to_owned())),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_names_the_source() {
        let number = 7;
        let error =
            caught(Path::new("gate.mp4"), || panic!("broken at {number}")).expect_err("a panic");
        assert_eq!(
            error.to_string(),
            "gate.mp4: the program failed on this item (please report it): broken at 7"
        );
    }
}
