//! Geometry of pooling.

use std::ops::Range;

use super::super::shape::{Conv3dOptions, Conv3dShape};

/// How a pooling window moves. Triples are `[t, h, w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool3dOptions {
    /// Size of the window.
    pub kernel: [usize; 3],
    /// Distance between neighbouring windows; at least 1.
    pub stride: [usize; 3],
    /// Positions added on both sides, less than the kernel; they never win a maximum.
    pub padding: [usize; 3],
}

/// What a window's sum is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divisor {
    /// The size of the window, padding included (PyTorch's default).
    Window,
    /// The positions of the window inside the input.
    Inside,
}

/// Geometry of a pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool3dShape(pub(super) Conv3dShape);

impl Pool3dShape {
    /// Geometry from the dimensions `[batch, t, h, w, channels]` of the input.
    ///
    /// # Panics
    /// If the padding is not less than the kernel, or the padded input smaller than the kernel.
    pub fn new(x: [usize; 5], options: Pool3dOptions) -> Self {
        let Pool3dOptions {
            kernel: [kt, kh, kw],
            stride,
            padding,
        } = options;
        let fits = (0..3).all(|axis| padding[axis] < options.kernel[axis]);
        assert!(fits, "padding is less than the kernel: {options:?}");
        let options = Conv3dOptions {
            stride,
            padding,
            dilation: [1; 3],
            groups: x[4].max(1),
        };
        Self(Conv3dShape::new(x, [x[4], kt, kh, kw, 1], options))
    }

    /// `[t, h, w]` of the output.
    pub fn output(&self) -> [usize; 3] {
        self.0.output()
    }

    /// Elements of the input.
    pub fn x_len(&self) -> usize {
        self.0.x_len()
    }

    /// Elements of the output.
    pub fn y_len(&self) -> usize {
        self.0.y_len()
    }

    /// Positions of the window of output `o` inside the input, on one axis.
    pub(super) fn window(&self, axis: usize, o: usize) -> Range<usize> {
        let start = o * self.0.options.stride[axis];
        let padding = self.0.options.padding[axis];
        let end = (start + self.0.kernel[axis]).saturating_sub(padding);
        start.saturating_sub(padding)..end.min(self.0.input[axis])
    }

    /// Lists the offset of each input pixel, of the given image, that an output sees.
    pub(super) fn list_inputs(&self, image: usize, output: [usize; 3], inputs: &mut Vec<usize>) {
        let [t_len, h_len, w_len] = self.0.input;
        let [t_window, h_window, w_window]: [Range<usize>; 3] =
            std::array::from_fn(|axis| self.window(axis, output[axis]));
        inputs.clear();
        for t in t_window {
            for h in h_window.clone() {
                let line = ((image * t_len + t) * h_len + h) * w_len;
                inputs.extend(w_window.clone().map(|w| (line + w) * self.0.in_channels));
            }
        }
    }

    /// One over what the window of an output is divided by.
    pub(super) fn weight(&self, output: [usize; 3], divisor: Divisor) -> f32 {
        let size: usize = match divisor {
            Divisor::Window => self.0.num_taps(),
            Divisor::Inside => (0..3)
                .map(|axis| self.window(axis, output[axis]).len())
                .product(),
        };
        1.0 / size as f32
    }
}
