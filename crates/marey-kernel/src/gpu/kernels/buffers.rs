//! Memory as arguments of kernels, and the places of pixels in it.

use cubecl::prelude::*;
use cubecl::server::Handle;
use cubecl::std::FastDivmod;

/// The most lanes, up to `most`, that a load of this element type may have when `c` channels
/// are contiguous.
pub(crate) fn lanes_of(client: &Client, dtype: ElemType, c: usize, most: usize) -> usize {
    client
        .io_optimized_vector_sizes(dtype.size())
        .filter(|lanes| c.is_multiple_of(*lanes) && *lanes <= most)
        .max()
        .unwrap_or(1)
}

/// Memory for `N` buffers of `bytes` each, in one piece: a device looks for free memory once.
pub(crate) fn pieces<const N: usize>(client: &Client, bytes: usize) -> [Handle; N] {
    /// What each device wants of the place where a buffer starts, at most.
    const ALIGNMENT: usize = 512;
    let each = bytes.next_multiple_of(ALIGNMENT);
    let whole = client.empty(N * each);
    std::array::from_fn(|idx| {
        let (before, after) = (idx * each, (N - idx) * each - bytes);
        whole
            .clone()
            .offset_start(before as u64)
            .offset_end(after as u64)
    })
}

/// A handle as a kernel's argument; `len` counts scalars.
pub(crate) fn buffer(handle: &Handle, len: usize) -> BufferArg {
    // SAFETY: every kernel here checks its own bounds against the sizes it is given, and the
    // callers pass handles that hold at least `len` scalars.
    unsafe { BufferArg::from_raw_parts(handle.clone(), len) }
}

/// Extents as a kernel's argument that divides by them fast.
pub(crate) fn divisors(extents: &[usize]) -> SequenceArg<FastDivmod<usize>> {
    let mut all = SequenceArg::new();
    extents.iter().for_each(|extent| all.push(*extent));
    all
}

/// The index `((b * t + at) * h + ah) * w + aw` taken apart, for `grid` `[t, h, w, ..]`:
/// `(b, at, ah, aw)`.
#[cube]
pub(crate) fn pixel_of(
    index: usize,
    grid: &Sequence<FastDivmod<usize>>,
) -> (usize, usize, usize, usize) {
    let (rest, w) = grid[2].div_mod(index);
    let (rest, h) = grid[1].div_mod(rest);
    let (b, t) = grid[0].div_mod(rest);
    (b, t, h, w)
}
