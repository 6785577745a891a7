//! Pooling: maximum, average, and the average over everything.

use burn::{module::Module, tensor::Tensor};

use super::{
    op::{self, PoolWindow},
    trace::note,
};

/// Largest value of each window. A kernel of one frame is a pooling over pictures.
#[derive(Module, Debug)]
pub struct MaxPool3d {
    #[module(skip)]
    window: PoolWindow,
}

impl MaxPool3d {
    /// Sides are `[t, h, w]`; as much padding as `kernel` needs to keep the size at stride 1, where it is odd.
    pub fn new(kernel: [usize; 3], stride: [usize; 3]) -> Self {
        Self {
            window: PoolWindow {
                kernel,
                stride,
                padding: kernel.map(|side| side / 2),
            },
        }
    }

    /// # Shapes
    /// - `x`: `[b, t, h, w, c]`
    /// - output: `[b, t', h', w', c]`
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        note(
            "pool",
            || format!("max {:?}", self.window.kernel),
            self,
            &x,
            Self::forward,
        );
        op::max_pool(x, self.window)
    }
}

/// Mean of each window. A kernel of one frame is a pooling over pictures.
#[derive(Module, Debug)]
pub struct AvgPool3d {
    #[module(skip)]
    window: PoolWindow,
}

impl AvgPool3d {
    /// Sides are `[t, h, w]`; nothing is padded.
    pub const fn new(kernel: [usize; 3], stride: [usize; 3]) -> Self {
        Self {
            window: PoolWindow {
                kernel,
                stride,
                padding: [0; 3],
            },
        }
    }

    /// # Shapes
    /// - `x`: `[b, t, h, w, c]`
    /// - output: `[b, t', h', w', c]`
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        note(
            "pool",
            || format!("average {:?}", self.window.kernel),
            self,
            &x,
            Self::forward,
        );
        op::avg_pool(x, self.window)
    }
}

/// Mean of each channel over all that lies between the first and the last axis; in `f32` where `x` is in half precision.
///
/// # Shapes
/// - `x`: `[b, .., c]`
/// - output: `[b, c]`
pub fn global_average<const D: usize>(x: Tensor<D>) -> Tensor<2> {
    let dims = x.dims();
    let (b, c) = (dims[0], dims[D - 1]);
    let num = dims[1..D - 1].iter().product();
    marey_kernel::global_average(x.reshape([b, 1, 1, num, c]))
}
