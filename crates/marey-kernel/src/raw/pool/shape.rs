//! Geometry of pooling.

use std::ops::Range;

use super::super::shape::{Conv3dOptions, Conv3dShape};

/// How a pooling window moves. Triples are `[t, h, w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

    /// Outputs whose windows hold an input position, on one axis.
    pub(super) fn holders(&self, axis: usize, position: usize) -> Range<usize> {
        let stride = self.0.options.stride[axis];
        let padded = position + self.0.options.padding[axis];
        let start = (padded + 1)
            .saturating_sub(self.0.kernel[axis])
            .div_ceil(stride);
        let end = (padded / stride + 1).min(self.output()[axis]);
        start..end.max(start)
    }

    /// Positions of a window, padding counted: the places of its elements are below this number.
    /// `f16` holds whole numbers exactly up to 2048, `f32` up to 2^24.
    pub fn num_places(&self) -> usize {
        self.0.num_taps()
    }

    /// Number, on one axis, of an input position in the window of an output, padding counted.
    pub(super) fn tap(&self, axis: usize, output: usize, input: usize) -> usize {
        input + self.0.options.padding[axis] - output * self.0.options.stride[axis]
    }

    /// One over what the window of an output is divided by on one axis.
    pub(super) fn weight(&self, axis: usize, output: usize, divisor: Divisor) -> f32 {
        let size = match divisor {
            Divisor::Window => self.0.kernel[axis],
            Divisor::Inside => self.window(axis, output).len(),
        };
        1.0 / size as f32
    }
}
