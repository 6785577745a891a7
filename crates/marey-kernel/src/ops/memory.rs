//! Tensors whose memory goes back to the kernels' pool.

use std::mem::MaybeUninit;

use burn::tensor::{AllocationProperty, Bytes};
use burn_std::{AccessError, AccessPolicy, AllocationController};

use crate::raw::Element;
use crate::raw::memory::{ALIGNMENT, Buffer};

/// A buffer as the storage of a tensor.
struct Pooled<E: Element>(Buffer<E>);

impl<E: Element> AllocationController for Pooled<E> {
    fn alloc_align(&self) -> usize {
        ALIGNMENT
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(
        &mut self,
        _: AccessPolicy,
    ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        Ok(self.0.memory_mut())
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        Ok(self.0.memory())
    }
}

/// The elements of `buffer`, as storage that Burn's tensors take.
pub(super) fn bytes_of<E: Element>(buffer: Buffer<E>) -> Bytes {
    let len = size_of_val(&*buffer);
    // SAFETY: a buffer's memory is initialised, and at least `len` bytes long.
    unsafe { Bytes::from_controller(Box::new(Pooled(buffer)), len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_shared_copied_and_changed_like_any_other() {
        let mut bytes = bytes_of(Buffer::copy_of(&[1.0f32, 2.0, 3.0]));
        let copy = bytes.clone();
        bytes[..4].copy_from_slice(&5.0f32.to_ne_bytes());
        let floats = |bytes: &[u8]| -> Vec<f32> {
            bytes
                .chunks(4)
                .map(|b| f32::from_ne_bytes(b.try_into().expect("4 bytes")))
                .collect()
        };
        assert_eq!(
            (floats(&bytes), floats(&copy)),
            (vec![5.0, 2.0, 3.0], vec![1.0, 2.0, 3.0])
        );
        // A vector would hand the memory to another allocator: it must be refused.
        assert!(bytes.try_into_vec::<f32>().is_err());
    }
}
