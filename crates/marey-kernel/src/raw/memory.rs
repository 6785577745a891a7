//! Aligned buffers that are kept for the next user instead of going back to the system.
//!
//! A fresh page costs a fault and a cleared page, which together cost about as much as a light
//! kernel spends on it; a training step asks for the same sizes again and again.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::element::Element;

/// Alignment of every buffer: one cache line, one AVX-512 vector.
pub const ALIGNMENT: usize = 64;

/// Bytes of a page.
const PAGE: usize = 4096;
/// How much further into a page each new allocation starts than the one before; aligned, and a page
/// holds many different multiples of it.
const SKEW_STEP: usize = 13 * ALIGNMENT;

/// Bytes that may be kept however little was ever in use at a time: inference needs many sizes, one after
/// the other.
const LEAST_LIMIT: usize = 512 << 20;

/// Free buffers, and what is in use.
static POOL: Mutex<Pool> = Mutex::new(Pool {
    least_limit: LEAST_LIMIT,
    kept: Vec::new(),
    kept_bytes: 0,
    used_bytes: 0,
    most_used_bytes: 0,
});

struct Pool {
    least_limit: usize,
    /// Free buffers, by growing size.
    kept: Vec<Block>,
    kept_bytes: usize,
    used_bytes: usize,
    /// The most that was in use at a time.
    most_used_bytes: usize,
}

impl Pool {
    /// A free buffer of at least `bytes`, if one is kept, and it is not much larger: such are left for
    /// those who need them.
    fn take(&mut self, bytes: usize) -> Option<Block> {
        let at = self.kept.partition_point(|block| block.bytes < bytes);
        let block = self.kept.get(at)?;
        (block.bytes <= bytes + bytes / 8).then(|| {
            let block = self.kept.remove(at);
            self.kept_bytes -= block.bytes;
            self.count(block.bytes);
            block
        })
    }

    /// Counts `bytes` as used.
    fn count(&mut self, bytes: usize) {
        self.used_bytes += bytes;
        self.most_used_bytes = self.most_used_bytes.max(self.used_bytes);
    }

    /// Takes out what must go so that all buffers together are not much larger than the most that was
    /// ever in use: sizes that are no longer asked for. The largest go first, of which few do.
    fn shrink(&mut self) -> Vec<Block> {
        let limit = self
            .least_limit
            .max(self.most_used_bytes + self.most_used_bytes / 4);
        let mut surplus = vec![];
        while self.kept_bytes + self.used_bytes > limit {
            let Some(block) = self.kept.pop() else {
                break;
            };
            self.kept_bytes -= block.bytes;
            surplus.push(block);
        }
        surplus
    }

    fn keep(&mut self, block: Block) {
        self.used_bytes -= block.bytes;
        self.kept_bytes += block.bytes;
        let at = self.kept.partition_point(|other| other.bytes < block.bytes);
        self.kept.insert(at, block);
    }
}

fn pool() -> MutexGuard<'static, Pool> {
    // The pool is changed in steps that do not panic.
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One allocation.
struct Block {
    /// What the allocator gave.
    origin: NonNull<u8>,
    /// What is used: a little further on.
    start: NonNull<u8>,
    /// Bytes from there.
    bytes: usize,
}

// SAFETY: a block owns its memory, and nothing refers to it but its owner.
unsafe impl Send for Block {}

impl Block {
    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes + PAGE, ALIGNMENT)
            .expect("sizes in use are far below the limit")
    }

    fn new(bytes: usize) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        // Large allocations all start at the same place of a page. Kernels read one tensor and write
        // another at the same index, which the hardware would then take for one address.
        let skew = COUNT.fetch_add(1, Ordering::Relaxed) * SKEW_STEP % PAGE;
        let layout = Self::layout(bytes);
        // SAFETY: the size is not 0.
        let origin = unsafe { alloc_zeroed(layout) };
        let origin = NonNull::new(origin).unwrap_or_else(|| handle_alloc_error(layout));
        // SAFETY: the layout has a page to spare.
        Self {
            start: unsafe { origin.add(skew) },
            origin,
            bytes,
        }
    }

    fn free(self) {
        // SAFETY: allocated in `new` with the same layout, and owned.
        unsafe { dealloc(self.origin.as_ptr(), Self::layout(self.bytes)) }
    }
}

/// A buffer of floats, 64-byte aligned, that returns to the pool when dropped.
///
/// Its contents are whatever its last user left; kernels overwrite all of it.
pub struct Buffer<E: Element = f32> {
    block: Option<Block>,
    len: usize,
    elements: PhantomData<E>,
}

// SAFETY: the buffer owns its block, and shared access only reads.
unsafe impl<E: Element> Sync for Buffer<E> {}

impl<E: Element> Buffer<E> {
    /// A buffer of `len` elements with unspecified (but initialised) contents.
    pub fn take(len: usize) -> Self {
        // Whole kilobytes: sizes that differ by a little share buffers.
        let bytes = (len * size_of::<E>()).next_multiple_of(1024).max(1024);
        let (kept, surplus) = {
            let mut pool = pool();
            match pool.take(bytes) {
                Some(block) => (Some(block), vec![]),
                None => {
                    pool.count(bytes);
                    (None, pool.shrink())
                }
            }
        };
        surplus.into_iter().for_each(Block::free);
        Self {
            block: Some(kept.unwrap_or_else(|| Block::new(bytes))),
            len,
            elements: PhantomData,
        }
    }

    /// A buffer with the contents of `data`.
    pub fn copy_of(data: &[E]) -> Self {
        let mut buffer = Self::take(data.len());
        buffer.copy_from_slice(data);
        buffer
    }

    fn block(&self) -> &Block {
        self.block.as_ref().expect("only drop takes the block")
    }

    fn start(&self) -> *mut E {
        self.block().start.as_ptr().cast()
    }

    /// All of the memory, which may be more than was asked for.
    pub(crate) fn memory(&self) -> &[MaybeUninit<u8>] {
        let Block { start, bytes, .. } = self.block();
        // SAFETY: the block owns this memory, all of it initialised.
        unsafe { std::slice::from_raw_parts(start.as_ptr().cast(), *bytes) }
    }

    /// As [`Buffer::memory`].
    pub(crate) fn memory_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let Block { start, bytes, .. } = self.block();
        // SAFETY: as in `memory`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr().cast(), *bytes) }
    }
}

impl<E: Element> Drop for Buffer<E> {
    fn drop(&mut self) {
        let block = self.block.take().expect("dropped once");
        pool().keep(block);
    }
}

impl<E: Element> std::ops::Deref for Buffer<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        // SAFETY: the block holds at least `len` elements, all initialised: it was born as zeros, and any
        // bits are an element.
        unsafe { std::slice::from_raw_parts(self.start(), self.len) }
    }
}

impl<E: Element> std::ops::DerefMut for Buffer<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        // SAFETY: as in `deref`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.len) }
    }
}

/// Gives the memory that no buffer uses back to the system.
pub fn release_kept_memory() {
    let blocks = {
        let mut pool = pool();
        (pool.kept_bytes, pool.most_used_bytes) = (0, pool.used_bytes);
        std::mem::take(&mut pool.kept)
    };
    blocks.into_iter().for_each(Block::free);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_from_the_pool() {
        // A size no other test uses, so that running beside them does not matter.
        let len = 1_234_567;
        let first = Buffer::<f32>::take(len);
        let (start, size) = (first.as_ptr(), first.len());
        assert_eq!((start as usize % ALIGNMENT, size), (0, len));
        drop(first);
        assert_eq!(Buffer::<f32>::take(len - 3).as_ptr(), start);
    }

    /// On a pool of its own, because other tests use the process's.
    #[test]
    fn sizes_that_are_no_longer_asked_for_go() {
        let mut pool = Pool {
            least_limit: 0,
            kept: vec![],
            kept_bytes: 0,
            used_bytes: 0,
            most_used_bytes: 0,
        };
        let fresh = |pool: &mut Pool, bytes| {
            assert!(pool.take(bytes).is_none(), "{bytes} are not kept");
            pool.count(bytes);
            let surplus = pool.shrink();
            let surplus_bytes: usize = surplus.iter().map(|block| block.bytes).sum();
            surplus.into_iter().for_each(Block::free);
            (Block::new(bytes), surplus_bytes)
        };
        let (first, _) = fresh(&mut pool, 8192);
        pool.keep(first);
        // A tenth less takes the same one, half of it does not: and the larger one is in the way.
        let first = pool
            .take(7400)
            .expect("one that is a little larger is kept");
        pool.keep(first);
        let (second, surplus) = fresh(&mut pool, 4096);
        assert_eq!((surplus, pool.kept_bytes), (8192, 0));
        pool.keep(second);
        let second = pool.take(4096).expect("it was kept");
        assert_eq!(
            (pool.kept_bytes, pool.used_bytes, pool.most_used_bytes),
            (0, 4096, 8192)
        );
        pool.keep(second);
        pool.kept.into_iter().for_each(Block::free);
    }

    #[test]
    fn an_empty_buffer_is_possible() {
        assert!(Buffer::<f32>::take(0).is_empty());
        assert_eq!(&*Buffer::copy_of(&[1.0, 2.0]), [1.0, 2.0]);
    }
}
