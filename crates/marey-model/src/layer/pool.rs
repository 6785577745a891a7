//! Pooling: maximum, average, the average over everything, and the average on a grid.

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
    #[module(skip)]
    edge: Edge,
}

/// Where the windows of a [`MaxPool3d`] lie at the edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    /// As much is added at both ends, and what is left over at the end is not seen.
    Even,
    /// TensorFlow's `SAME`: one window for each `stride` values begun; of an odd number of positions to add, the end gets
    /// one more.
    Same,
}

impl MaxPool3d {
    /// Sides are `[t, h, w]`; as much padding as `kernel` needs to keep the size at stride 1, where it is odd.
    pub fn new(kernel: [usize; 3], stride: [usize; 3]) -> Self {
        Self::with_padding(kernel, stride, kernel.map(|side| side / 2))
    }

    /// The same with given padding, less than the kernel.
    pub const fn with_padding(kernel: [usize; 3], stride: [usize; 3], padding: [usize; 3]) -> Self {
        let window = PoolWindow {
            kernel,
            stride,
            padding,
        };
        Self {
            window,
            edge: Edge::Even,
        }
    }

    /// Windows as TensorFlow's `SAME` lays them: `ceil(size / stride)` of them on each side, whatever the size.
    pub const fn same(kernel: [usize; 3], stride: [usize; 3]) -> Self {
        let mut pool = Self::with_padding(kernel, stride, [0; 3]);
        pool.edge = Edge::Same;
        pool
    }

    /// A side of the input that is shorter than the kernel is taken whole: the kernel is cut to it.
    ///
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
        match self.edge {
            Edge::Even => op::max_pool(x.clone(), self.cut_to(&x)),
            Edge::Same => self.same_padded(x),
        }
    }

    fn cut_to(&self, x: &Tensor<5>) -> PoolWindow {
        let [_, t, h, w, _] = x.dims();
        let PoolWindow {
            mut kernel,
            stride,
            mut padding,
        } = self.window;
        for (axis, side) in [t, h, w].into_iter().enumerate() {
            if side + 2 * padding[axis] < kernel[axis] {
                (kernel[axis], padding[axis]) = (side, 0);
            }
        }
        PoolWindow {
            kernel,
            stride,
            padding,
        }
    }

    /// The kernel pads both ends alike. Where the end needs one position more than the front, either the front gets a
    /// whole stride more and the window that lies there is dropped, or, where the padding would reach the kernel's
    /// length, the last slice is there twice, which changes no maximum.
    fn same_padded(&self, mut x: Tensor<5>) -> Tensor<5> {
        let PoolWindow { kernel, stride, .. } = self.window;
        let (mut padding, mut dropped, mut wanted) = ([0; 3], [0; 3], [0; 3]);
        for axis in 0..3 {
            let side = x.dims()[axis + 1];
            let [front, end] = same_padding(side, kernel[axis], stride[axis]);
            wanted[axis] = side.div_ceil(stride[axis]);
            padding[axis] = front;
            if end > front && front + stride[axis] < kernel[axis] {
                padding[axis] = front + stride[axis];
                dropped[axis] = 1;
            } else if end > front {
                let last = x.clone().narrow(axis + 1, side - 1, 1);
                x = Tensor::cat(vec![x, last], axis + 1);
            }
        }
        let window = PoolWindow {
            kernel,
            stride,
            padding,
        };
        let mut y = op::max_pool(x, window);
        for axis in 0..3 {
            if y.dims()[axis + 1] != wanted[axis] {
                y = y.narrow(axis + 1, dropped[axis], wanted[axis]);
            }
        }
        y
    }
}

/// Positions that TensorFlow's `SAME` adds at the front and at the end of `side` positions, for one output for each
/// `stride` of them begun.
pub(crate) fn same_padding(side: usize, kernel: usize, stride: usize) -> [usize; 2] {
    let reach = (side.div_ceil(stride) - 1) * stride + kernel;
    let total = reach.saturating_sub(side);
    [total / 2, total - total / 2]
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

/// Mean of each cell of a grid of `sides` cells `[h, w]`, as PyTorch's adaptive pooling divides pictures: cell `i` of `n`
/// spans `i * side / n`, rounded down, to `(i + 1) * side / n`, rounded up. A picture that has these sides goes through.
///
/// # Shapes
/// - `x`: `[b, t, h, w, c]`
/// - output: `[b, t, h', w', c]`
///
/// # Panics
/// If a side of `x` is empty.
pub fn grid_average(x: Tensor<5>, sides: [usize; 2]) -> Tensor<5> {
    sides.into_iter().zip([2, 3]).fold(x, |x, (num, axis)| {
        let side = x.dims()[axis];
        if side == num {
            return x;
        }
        let cell = |idx: usize| {
            let (start, end) = (idx * side / num, ((idx + 1) * side).div_ceil(num));
            x.clone().narrow(axis, start, end - start).mean_dim(axis)
        };
        Tensor::cat((0..num).map(cell).collect(), axis)
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, TensorData};

    use super::*;

    fn line(values: &[f32], axis: usize) -> Tensor<5> {
        let mut dims = [1; 5];
        dims[axis] = values.len();
        Tensor::from_data(TensorData::new(values.to_vec(), dims), &Device::flex())
    }

    fn values(x: Tensor<5>) -> Vec<f32> {
        x.into_data().try_into_vec().expect("f32")
    }

    #[test]
    fn same_padding_is_tensorflows() {
        // (side, kernel, stride): front, end.
        for (case, expected) in [
            // The stem of I3D on 224 and on 225 pixels.
            ((224, 7, 2), [2, 3]),
            ((225, 7, 2), [3, 3]),
            ((112, 3, 2), [0, 1]),
            ((7, 3, 1), [1, 1]),
            ((7, 2, 2), [0, 1]),
            ((8, 2, 2), [0, 0]),
            // A stride that skips positions needs none.
            ((9, 1, 2), [0, 0]),
            ((1, 3, 2), [1, 1]),
        ] {
            assert_eq!(same_padding(case.0, case.1, case.2), expected, "{case:?}");
        }
    }

    #[test]
    fn a_same_pool_sees_every_value_once_a_stride_begins() {
        // By hand; all values are negative, so that a zero of padding would win.
        for axis in 1..4 {
            let pool = |values_in: &[f32], kernel: usize, stride: usize| {
                let sides =
                    |side| std::array::from_fn(|idx| if idx + 1 == axis { side } else { 1 });
                values(MaxPool3d::same(sides(kernel), sides(stride)).forward(line(values_in, axis)))
            };
            // Windows 0..3, 2..5 and 4..6, cut at the end.
            assert_eq!(pool(&[-6., -5., -4., -3., -2., -1.], 3, 2), [-4., -2., -1.]);
            assert_eq!(pool(&[-1., -2., -3., -4., -5., -6.], 3, 2), [-1., -3., -5.]);
            // An odd length is padded by one at both ends: windows -1..2, 1..4, 3..5.
            assert_eq!(pool(&[-5., -4., -3., -2., -1.], 3, 2), [-4., -2., -1.]);
            // Pairs, the last of which is one value.
            assert_eq!(pool(&[-5., -4., -3., -2., -1.], 2, 2), [-4., -2., -1.]);
            assert_eq!(pool(&[-5., -4.], 3, 1), [-4., -4.]);
            assert_eq!(pool(&[-5.], 3, 2), [-5.]);
        }
    }

    #[test]
    fn gradients_pass_a_same_pool() {
        let device = Device::flex().autodiff();
        let x = Tensor::<5>::random([2, 4, 6, 5, 3], Distribution::Default, &device).require_grad();
        let y = MaxPool3d::same([3, 3, 2], [2; 3]).forward(x.clone());
        assert_eq!(y.dims(), [2, 2, 3, 3, 3]);
        let grad = x.grad(&y.sum().backward()).expect("x leads to y");
        // Each maximum sends 1 to one place.
        assert_eq!(grad.sum().into_scalar::<f32>(), (2 * 2 * 3 * 3 * 3) as f32);
    }

    #[test]
    fn a_kernel_longer_than_the_clip_takes_all_of_it() {
        let pool = MaxPool3d::with_padding([2, 1, 1], [2, 1, 1], [0; 3]);
        assert_eq!(values(pool.forward(line(&[-3.], 1))), [-3.]);
        assert_eq!(values(pool.forward(line(&[-3., -2., -1.], 1))), [-2.]);
    }

    #[test]
    fn a_grid_is_pytorchs_adaptive_average() {
        for axis in 2..4 {
            let grid = |values_in: &[f32], num| {
                let sides = std::array::from_fn(|idx| if idx + 2 == axis { num } else { 1 });
                values(grid_average(line(values_in, axis), sides))
            };
            // Cells 0..2, 1..4, 3..5 of five; more cells than values repeat them.
            assert_eq!(grid(&[0., 2., 4., 6., 8.], 3), [1., 4., 7.]);
            assert_eq!(grid(&[1., 3.], 4), [1., 1., 3., 3.]);
            assert_eq!(grid(&[1., 3.], 2), [1., 3.]);
        }
    }
}
