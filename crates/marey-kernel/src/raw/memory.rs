//! Aligned buffers that are kept for the next user instead of going back to the system.
//!
//! A fresh page costs a fault and a cleared page, which together cost about as much as a light
//! kernel spends on it; a training step asks for the same sizes again and again.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::element::Element;

/// Alignment of every buffer: one cache line, one AVX-512 vector.
pub const ALIGNMENT: usize = 64;

/// Bytes of a page.
const PAGE: usize = 4096;
/// How much further into a page each new allocation starts than the one before; aligned, and a page
/// holds many different multiples of it.
const SKEW_STEP: usize = 13 * ALIGNMENT;

/// Bytes that the pool holds back at most; what comes beyond is freed.
const MAX_KEPT_BYTES: usize = 2 << 30;

/// Free buffers, by growing size.
static POOL: Mutex<Kept> = Mutex::new(Kept {
    buffers: Vec::new(),
    bytes: 0,
});

struct Kept {
    buffers: Vec<Block>,
    bytes: usize,
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
        let kept = {
            let mut pool = POOL
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let at = pool.buffers.partition_point(|block| block.bytes < bytes);
            // A buffer much larger than asked for is left for those who need it.
            let fits = pool
                .buffers
                .get(at)
                .is_some_and(|block| block.bytes <= bytes + bytes / 8);
            fits.then(|| {
                let block = pool.buffers.remove(at);
                pool.bytes -= block.bytes;
                block
            })
        };
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
        let mut pool = POOL
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if pool.bytes + block.bytes > MAX_KEPT_BYTES {
            drop(pool);
            block.free();
        } else {
            pool.bytes += block.bytes;
            let at = pool
                .buffers
                .partition_point(|other| other.bytes < block.bytes);
            pool.buffers.insert(at, block);
        }
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
    let mut pool = POOL
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    pool.bytes = 0;
    let blocks = std::mem::take(&mut pool.buffers);
    drop(pool);
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

    #[test]
    fn an_empty_buffer_is_possible() {
        assert!(Buffer::<f32>::take(0).is_empty());
        assert_eq!(&*Buffer::copy_of(&[1.0, 2.0]), [1.0, 2.0]);
    }
}
