//! Depthwise convolution over clips `[b, t, h, w, c]`, channels last: one filter per channel.
//!
//! Filters are `[c, kt, kh, kw, 1]`; the kernels read them as f32 `[taps, c]`.

mod pixels;
mod weights;

pub(crate) use pixels::{backward_data, forward};
pub(crate) use weights::backward_weights;

const UNITS: usize = 128;
const CUBES: usize = 528;

/// The extents of a filter and how it moves, along t, h and w.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    /// The filter's pixels along each axis.
    pub(crate) kernel: [usize; 3],
    /// Input pixels from one output to the next.
    pub(crate) stride: [usize; 3],
    /// Zeros on either side of the clip.
    pub(crate) padding: [usize; 3],
    /// Input pixels from one tap to the next.
    pub(crate) dilation: [usize; 3],
}

impl Window {
    /// The pixels of a filter.
    pub(crate) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// The extents `[b, t, h, w, c]` of the answer for an input of these extents.
    pub(crate) fn output(&self, input: [usize; 5]) -> [usize; 5] {
        let mut out = input;
        for axis in 0..3 {
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            let padded = input[axis + 1] + 2 * self.padding[axis];
            out[axis + 1] = (padded - reach) / self.stride[axis] + 1;
        }
        out
    }

    /// The window that takes `dy` to `dx` with the taps reversed, where this one has no stride.
    fn reversed(&self) -> Option<Self> {
        let mut window = *self;
        for axis in 0..3 {
            let reach = self.dilation[axis] * (self.kernel[axis] - 1);
            if self.stride[axis] != 1 || self.padding[axis] > reach {
                return None;
            }
            window.padding[axis] = reach - self.padding[axis];
        }
        Some(window)
    }
}
