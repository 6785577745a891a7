//! Multiply-adds of a forward pass, counted by the layers themselves: the pass is run with zeros in place of the heavy
//! results, so that a count of any architecture at any size takes its memory but not its time.

use std::cell::Cell;

use burn::tensor::Tensor;

thread_local! {
    /// What [`multiply_adds`] has counted so far; `None` outside of it.
    static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Multiply-adds of the convolutions, linear layers, recurrences and matrix products that `forward` goes through on this
/// thread. What papers call FLOPs of a network is mostly this number; norms, activations, additions and pools, which are
/// not in it, add some per cent.
///
/// Within `forward` those operations give zeros of the right shape, so its result means nothing.
pub fn multiply_adds(forward: impl FnOnce()) -> u64 {
    COUNT.set(Some(0));
    forward();
    COUNT
        .take()
        .expect("only this function takes the count away")
}

/// While multiply-adds are counted: adds `num` of them, and gives zeros `[dims]` on the device and in the type of `like`.
/// Otherwise `None`: the caller computes.
pub(super) fn counted<const D: usize, const E: usize>(
    like: &Tensor<D>,
    dims: impl FnOnce() -> [usize; E],
    num: impl FnOnce([usize; E]) -> usize,
) -> Option<Tensor<E>> {
    let count = COUNT.get()?;
    let dims = dims();
    COUNT.set(Some(count + num(dims) as u64));
    Some(Tensor::zeros(dims, (&like.device(), like.dtype())))
}
