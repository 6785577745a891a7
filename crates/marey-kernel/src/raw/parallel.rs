//! Work sharing over the current rayon pool, and memory that its threads keep.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::element::Element;

/// Calls `work` once for each of `0..num_tasks`, from as many threads as the current rayon pool has.
///
/// Each thread begins with a share of its own, always the same: neighbouring tasks, so that what one kernel wrote is
/// read by the next where it is still in that core's cache. Tasks are handed out one by one, and a thread that is done
/// goes on with the others' shares, so that one which the machine serves badly does not hold up the rest. Results stay
/// the same from run to run because a task's result never depends on which thread runs it or when: each task owns its
/// part of the output.
pub(crate) fn for_each_task(num_tasks: usize, work: impl Fn(usize) + Sync) {
    let num_shares = rayon::current_num_threads().min(num_tasks);
    if num_shares <= 1 {
        return (0..num_tasks).for_each(work);
    }
    let first = |share: usize| share * num_tasks / num_shares;
    let next: Vec<AtomicUsize> = (0..num_shares)
        .map(|share| AtomicUsize::new(first(share)))
        .collect();
    rayon::scope(|scope| {
        for _ in 0..num_shares {
            scope.spawn(|_| {
                let own = rayon::current_thread_index().expect("a scope's work runs in the pool");
                for share in (own..own + num_shares).map(|share| share % num_shares) {
                    loop {
                        let task = next[share].fetch_add(1, Ordering::Relaxed);
                        if task >= first(share + 1) {
                            break;
                        }
                        work(task);
                    }
                }
            });
        }
    });
}

/// Calls `work` from a thread of the current rayon pool. Between its many short kernels it then needs no waking up, as a
/// thread outside the pool does after each. Not for what waits for others.
pub fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}

/// A pointer that tasks share; whoever makes one keeps the tasks' writes disjoint.
pub(crate) struct Shared<T>(*mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

// SAFETY: the pointer is only ever dereferenced in `unsafe` blocks that argue for disjoint writes.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Shares `data` among tasks.
    pub(crate) fn new(data: &mut [T]) -> Self {
        Self(data.as_mut_ptr())
    }

    /// Shares what lies at `start`.
    pub(crate) fn at(start: *mut T) -> Self {
        Self(start)
    }

    /// The pointer itself.
    pub(crate) fn get(&self) -> *mut T {
        self.0
    }
}

/// Calls `work` on `data` cut into pieces of `piece` elements (the last may be shorter), in parallel.
pub(crate) fn for_each_piece<T: Send>(
    data: &mut [T],
    piece: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    let len = data.len();
    let shared = Shared::new(data);
    for_each_task(len.div_ceil(piece.max(1)), |task| {
        let start = task * piece;
        let end = len.min(start + piece);
        // SAFETY: start..end lies in `data`, and no other task has the same one.
        let part = unsafe { std::slice::from_raw_parts_mut(shared.get().add(start), end - start) };
        work(task, part);
    });
}

/// Scratch memory of one thread: 64-byte aligned, grows, is kept. What it holds is whatever the
/// last user left there.
#[derive(Default)]
pub(crate) struct Scratch(Vec<Line>);

/// One cache line of zeros.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

impl Scratch {
    /// `len` initialised elements.
    pub(crate) fn take<E: Element>(&mut self, len: usize) -> &mut [E] {
        let lines = (len * size_of::<E>()).div_ceil(size_of::<Line>());
        if self.0.len() < lines {
            // The old contents need not be copied.
            self.0 = Vec::new();
            self.0.resize(lines, Line([0.0; 16]));
        }
        // SAFETY: a line is 64 initialised bytes without padding, and any bits are an element.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
    }
}

thread_local!(static SCRATCH: RefCell<[Scratch; 3]> = RefCell::default());

/// Lends this thread's scratch buffers. Not to be nested.
pub(crate) fn with_scratch<R>(work: impl FnOnce(&mut [Scratch; 3]) -> R) -> R {
    SCRATCH.with(|scratch| work(&mut scratch.borrow_mut()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        let counts: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        for_each_task(counts.len(), |task| {
            counts[task].fetch_add(1, Ordering::Relaxed);
        });
        assert!(
            counts
                .iter()
                .all(|count| count.load(Ordering::Relaxed) == 1)
        );
    }

    #[test]
    fn pieces_cover_the_whole() {
        let mut data = vec![0usize; 103];
        for_each_piece(&mut data, 10, |piece, part| part.fill(piece));
        assert!(data.iter().enumerate().all(|(i, piece)| *piece == i / 10));
    }

    #[test]
    fn scratch_is_aligned() {
        let mut scratch = Scratch::default();
        for len in [1, 100, 17, 5000] {
            let slice: &mut [f32] = scratch.take(len);
            assert_eq!((slice.as_ptr() as usize % 64, slice.len()), (0, len));
        }
    }
}
