//! Which input pixels an output pixel sees, and how a task gets at them.
//!
//! There is no im2col matrix. A task copies the band of input that its block of outputs sees, once,
//! into a buffer with the padding written out as zeros; or it reads the input in place where
//! nothing is padded. In either, every tap is one constant shift of a pixel's address, so that a
//! register tile takes any pixels and walks the taps itself; taps along the width that are
//! neighbours in memory merge into one run.

use super::super::element::Element;
use super::super::tile::MAX_ROWS;

/// The window of every output pixel: position `j` on an axis of output `o` reads input
/// `o * stride + offsets[j]` there, and zero outside the input.
#[derive(Debug)]
pub(super) struct Window {
    /// `[t, h, w]` of the tensor that is read.
    pub(super) input: [usize; 3],
    /// Channels that are read of a pixel.
    pub(super) channels: usize,
    /// Channels of a pixel in memory; more than `channels` if there are groups.
    pub(super) pitch: usize,
    /// Channels of a pixel of the window: `channels`, or more if a kernel wants zeros after them.
    pub(super) width: usize,
    /// Input positions from one output to the next.
    pub(super) stride: [usize; 3],
    /// Positions of the window relative to `o * stride`, growing; none is empty.
    pub(super) offsets: [Vec<isize>; 3],
}

/// A box of output pixels, whole rows of several images.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// First image.
    pub(super) image: usize,
    /// Images.
    pub(super) num_images: usize,
    /// First `[t, h, w]`; w is 0.
    pub(super) start: [usize; 3],
    /// Size in `[t, h, w]`; w is that of the output.
    pub(super) size: [usize; 3],
}

impl Block {
    /// Output pixels.
    pub(super) fn num_pixels(&self) -> usize {
        self.num_images * self.size.iter().product::<usize>()
    }

    /// Calls `visit` with the image and position of the first pixel of every row, in memory order.
    pub(super) fn for_each_row(&self, mut visit: impl FnMut(usize, [usize; 3])) {
        let [t0, h0, _] = self.start;
        for image in self.image..self.image + self.num_images {
            for t in t0..t0 + self.size[0] {
                for h in h0..h0 + self.size[1] {
                    visit(image, [t, h, 0]);
                }
            }
        }
    }
}

/// What a register tile needs to read a block's windows.
pub(super) struct Band<'a, E> {
    /// Origin of the offsets.
    pub(super) base: *const E,
    /// Offset of each output pixel's window, in memory order of the outputs.
    pub(super) pixels: Vec<isize>,
    /// Offset of each run of the window from a pixel.
    pub(super) runs: Vec<isize>,
    /// The source or scratch that `base` points into stays borrowed.
    pub(super) _data: std::marker::PhantomData<&'a [E]>,
}

// SAFETY: a band is only read, and so is what its pointer refers to, which stays borrowed.
unsafe impl<E: Sync> Sync for Band<'_, E> {}

/// Elements that a tile may read past the end of a run; they are never used.
pub(super) const SLACK: usize = 32;

impl Window {
    /// Taps along the width that lie together in memory: all of them, or 1.
    pub(super) fn merged_taps(&self) -> usize {
        let offsets = &self.offsets[2];
        let adjacent = offsets.windows(2).all(|pair| pair[1] == pair[0] + 1);
        if adjacent { offsets.len() } else { 1 }
    }

    /// Elements of one run.
    pub(super) fn run_len(&self) -> usize {
        self.merged_taps() * self.width
    }

    /// Elements of a window.
    pub(super) fn len(&self) -> usize {
        self.offsets.iter().map(Vec::len).product::<usize>() * self.width
    }

    /// Must bands be copied: is there padding of the image or of the channels, or are there groups?
    pub(super) fn needs_copy(&self, grid: [usize; 3]) -> bool {
        let padded = (0..3).any(|axis| {
            let (low, high) = self.ends(axis);
            low < 0
                || ((grid[axis] - 1) * self.stride[axis]) as isize + high
                    >= self.input[axis] as isize
        });
        padded || self.pitch != self.channels || self.width != self.channels
    }

    /// First and last offset of an axis.
    fn ends(&self, axis: usize) -> (isize, isize) {
        let offsets = &self.offsets[axis];
        (
            offsets[0],
            *offsets.last().expect("a window has positions on each axis"),
        )
    }

    /// Input positions that `size` outputs on an axis see, from first to last.
    pub(super) fn extent(&self, axis: usize, size: usize) -> usize {
        let (low, high) = self.ends(axis);
        (size - 1) * self.stride[axis] + (high - low) as usize + 1
    }

    /// Elements of the band that `t` frames of `h` rows of one image of the output see.
    pub(super) fn band_len(&self, t: usize, h: usize) -> usize {
        let row = (self.input[2] + self.offsets[2].len()) * self.width;
        self.extent(0, t) * self.extent(1, h) * row
    }

    /// Elements that a copy of the band of `block` needs.
    pub(super) fn copy_len(&self, block: &Block) -> usize {
        let extent = |axis| self.extent(axis, block.size[axis]);
        block.num_images * extent(0) * extent(1) * extent(2) * self.width + SLACK
    }

    /// Makes the windows of `block` readable: in a copy, if there is memory for one, else in place.
    /// `group` counts the channels in steps of `self.channels`.
    pub(super) fn stage<'a, E: Element>(
        &self,
        source: &'a [E],
        block: &Block,
        group: usize,
        copy: Option<&'a mut [E]>,
    ) -> Band<'a, E> {
        let mut low = [0isize; 3];
        let mut extent = self.input;
        let (mut first_image, mut pitch) = (0, self.pitch);
        // A plain view starts at the group's first channel.
        let mut base = source[group * self.channels..].as_ptr();
        if let Some(copy) = copy {
            for axis in 0..3 {
                low[axis] = (block.start[axis] * self.stride[axis]) as isize + self.ends(axis).0;
                extent[axis] = self.extent(axis, block.size[axis]);
            }
            (first_image, pitch) = (block.image, self.width);
            self.copy_band(source, block, group, low, extent, copy);
            base = copy.as_ptr();
        }
        let [t_len, h_len, w_len] = extent.map(|len| len as isize);
        let pitch = pitch as isize;
        let mut pixels = Vec::with_capacity(block.num_pixels() + MAX_ROWS);
        let step = self.stride[2] as isize * pitch;
        block.for_each_row(|image, position| {
            let [t, h, w]: [isize; 3] = std::array::from_fn(|axis| {
                (position[axis] * self.stride[axis]) as isize - low[axis]
            });
            let image = (image - first_image) as isize;
            let first = (((image * t_len + t) * h_len + h) * w_len + w) * pitch;
            pixels.extend((0..block.size[2] as isize).map(|at| first + at * step));
        });
        let mut runs = Vec::with_capacity(self.len() / self.run_len());
        for t in &self.offsets[0] {
            for h in &self.offsets[1] {
                for w in self.offsets[2].iter().step_by(self.merged_taps()) {
                    runs.push(((t * h_len + h) * w_len + w) * pitch);
                }
            }
        }
        Band {
            base,
            pixels,
            runs,
            _data: std::marker::PhantomData,
        }
    }

    /// Copies the box of input from `low`, `extent` large, of the block's images into `band`, with
    /// zeros where it leaves the input.
    fn copy_band<E: Element>(
        &self,
        source: &[E],
        block: &Block,
        group: usize,
        low: [isize; 3],
        extent: [usize; 3],
        band: &mut [E],
    ) {
        let (channels, width) = (self.channels, self.width);
        let zero = E::default();
        let row_len = extent[2] * width;
        // Columns before, inside and after the input, the same for all rows.
        let left = ((-low[2]).max(0) as usize).min(extent[2]);
        let from = low[2].max(0) as usize;
        let inside = self.input[2].saturating_sub(from).min(extent[2] - left);
        let (rows, slack) = band.split_at_mut(band.len() - SLACK);
        slack.fill(zero);
        for (row_idx, row) in rows.chunks_exact_mut(row_len).enumerate() {
            let image = block.image + row_idx / (extent[0] * extent[1]);
            let t = (row_idx / extent[1] % extent[0]) as isize + low[0];
            let h = (row_idx % extent[1]) as isize + low[1];
            let is_inside = |at: isize, axis: usize| (0..self.input[axis] as isize).contains(&at);
            if inside == 0 || !is_inside(t, 0) || !is_inside(h, 1) {
                row.fill(zero);
                continue;
            }
            let line = (image * self.input[0] + t as usize) * self.input[1] + h as usize;
            let first = (line * self.input[2] + from) * self.pitch + group * channels;
            let (before, rest) = row.split_at_mut(left * width);
            let (middle, after) = rest.split_at_mut(inside * width);
            before.fill(zero);
            after.fill(zero);
            if self.pitch == channels && width == channels {
                middle.copy_from_slice(&source[first..first + inside * width]);
            } else {
                for (w, pixel) in middle.chunks_exact_mut(width).enumerate() {
                    let at = first + w * self.pitch;
                    let (pixel, padding) = pixel.split_at_mut(channels);
                    pixel.copy_from_slice(&source[at..at + channels]);
                    padding.fill(zero);
                }
            }
        }
    }
}
