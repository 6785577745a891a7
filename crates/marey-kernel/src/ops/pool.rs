//! Pooling: the public functions, and what other devices run.

pub(super) mod flex;

use burn::backend::Dispatch;
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Tensor, module};

use super::norm::wide;
use super::{VideoOps, has_activation_kernels};
use crate::raw::pool::{Divisor, Pool3dOptions, Pool3dShape};

/// Largest element of each window of channels-last clips; NaN if a window holds one. The gradient
/// goes to the first of a window's largest elements, of which NaN is one. A 2-D pooling has windows one frame long.
///
/// # Shapes
/// - `x`: `[b, t, h, w, c]`
/// - output: `[b, t', h', w', c]`
///
/// # Panics
/// If the padding is not less than the kernel, or the padded input smaller than it.
pub fn max_pool3d(x: Tensor<5>, options: Pool3dOptions) -> Tensor<5> {
    if has_activation_kernels(&x) {
        let y = <Dispatch as VideoOps>::max_pool3d(x.into_dispatch(), options);
        return Tensor::from_dispatch(y);
    }
    #[cfg(feature = "gpu")]
    if crate::gpu::takes_pool(&x, options) {
        return crate::gpu::max_pool3d(x, options);
    }
    default(x, options, |images, [kernel, stride, padding]| {
        let options = MaxPoolOptions::new(kernel)
            .with_stride(stride)
            .with_padding(padding);
        module::max_pool2d(images, options)
    })
}

/// Mean of each window of channels-last clips. A 2-D pooling has windows one frame long; for one
/// window see [`global_average`].
///
/// # Shapes
/// - `x`: `[b, t, h, w, c]`
/// - output: `[b, t', h', w', c]`
///
/// # Panics
/// If the padding is not less than the kernel, or the padded input smaller than it.
pub fn avg_pool3d(x: Tensor<5>, options: Pool3dOptions, divisor: Divisor) -> Tensor<5> {
    if has_activation_kernels(&x) {
        let y = <Dispatch as VideoOps>::avg_pool3d(x.into_dispatch(), options, divisor);
        return Tensor::from_dispatch(y);
    }
    let count_padding = divisor == Divisor::Window;
    default(x, options, |images, [kernel, stride, padding]| {
        let options = AvgPoolOptions::new(kernel)
            .with_stride(stride)
            .with_padding(padding)
            .with_count_include_pad(count_padding);
        module::avg_pool2d(images, options)
    })
}

/// Mean of each channel over all pixels of a clip. In `f32` where `x` is in half precision: what
/// follows is small and wants it exact.
///
/// # Shapes
/// - `x`: `[b, t, h, w, c]`
/// - output: `[b, c]`
///
/// # Panics
/// If a clip has no pixels.
pub fn global_average(x: Tensor<5>) -> Tensor<2> {
    let [b, t, h, w, c] = x.dims();
    assert!(t * h * w > 0, "a mean needs pixels, not {:?}", x.dims());
    if has_activation_kernels(&x) {
        let y = <Dispatch as VideoOps>::global_average(x.into_dispatch());
        return Tensor::from_dispatch(y);
    }
    #[cfg(feature = "gpu")]
    if crate::gpu::is_on_gpu(&x) && b * c > 0 {
        return wide(crate::gpu::global_average(x));
    }
    wide(x)
        .reshape([b, t * h * w, c])
        .mean_dim(1)
        .squeeze_dim(1)
}

/// Burn pools images only. Both poolings are separable, so the frames are pooled as images first
/// and the result over time as images of height t'.
fn default(
    x: Tensor<5>,
    options: Pool3dOptions,
    pool: impl Fn(Tensor<4>, [[usize; 2]; 3]) -> Tensor<4>,
) -> Tensor<5> {
    let [b, t, h, w, c] = x.dims();
    let [t_out, h_out, w_out] = Pool3dShape::new([b, t, h, w, c], options).output();
    let Pool3dOptions {
        kernel,
        stride,
        padding,
    } = options;
    let mut x_btchw = x.permute([0, 1, 4, 2, 3]);
    let in_space = [kernel, stride, padding].map(|[_, h, w]| [h, w]);
    if in_space != [[1, 1], [1, 1], [0, 0]] {
        let images = pool(x_btchw.reshape([b * t, c, h, w]), in_space);
        x_btchw = images.reshape([b, t, c, h_out, w_out]);
    }
    let in_time = [[kernel[0], 1], [stride[0], 1], [padding[0], 0]];
    if in_time != [[1, 1], [1, 1], [0, 0]] {
        let x_bcthw = x_btchw.permute([0, 2, 1, 3, 4]);
        let images = pool(x_bcthw.reshape([b, c, t, h_out * w_out]), in_time);
        return images
            .reshape([b, c, t_out, h_out, w_out])
            .permute([0, 2, 3, 4, 1]);
    }
    x_btchw.permute([0, 1, 3, 4, 2])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::super::noise_tensor;
    use super::*;

    type Pooling = Box<dyn Fn(Tensor<5>) -> Tensor<5>>;

    fn check(x: [usize; 5], options: Pool3dOptions) {
        let average = |divisor| move |x: Tensor<5>| avg_pool3d(x, options, divisor);
        let [b, _, _, _, c] = x;
        let poolings: [(&str, Pooling); 4] = [
            ("max", Box::new(move |x| max_pool3d(x, options))),
            ("average of the window", Box::new(average(Divisor::Window))),
            ("average inside", Box::new(average(Divisor::Inside))),
            (
                "global",
                Box::new(move |x| global_average(x).reshape([b, 1, 1, 1, c])),
            ),
        ];
        for (name, pool) in poolings {
            for (dtype, most) in [(DType::F32, 1e-5), (DType::BF16, 0.04), (DType::F16, 0.005)] {
                let error = difference(x, dtype, &pool);
                assert!(
                    error < most,
                    "{name} in {dtype:?} is off by {error:.1e}: {options:?}"
                );
            }
        }
    }

    /// Largest difference in y and dx between kernels and Burn's own operations.
    fn difference(x: [usize; 5], dtype: DType, pool: &Pooling) -> f64 {
        let device = Device::flex().autodiff();
        let x = noise_tensor(x, 1, &device).cast(dtype);
        let x = x.detach().require_grad();
        // In f64 a tensor takes the default path.
        let wide = Tensor::<5>::from_inner(x.clone().inner().cast(DType::F64)).require_grad();
        let run = |x: &Tensor<5>| {
            let y = pool(x.clone());
            let weighted = y.clone().cast(DType::F64).powi_scalar(2);
            let dx = x.grad(&weighted.sum().backward()).expect("x is tracked");
            assert_eq!(dx.dtype(), x.dtype());
            [y.inner(), dx].map(|tensor| tensor.cast(DType::F64))
        };
        let pairs = run(&x).into_iter().zip(run(&wide));
        let largest =
            |(ours, burns): (Tensor<5>, Tensor<5>)| (ours - burns).abs().max().into_scalar::<f64>();
        pairs.map(largest).fold(0.0, f64::max)
    }

    #[test]
    fn kernels_and_burns_own_pooling_agree() {
        check(
            [2, 1, 9, 8, 5],
            Pool3dOptions {
                kernel: [1, 3, 3],
                stride: [1, 2, 2],
                padding: [0, 1, 1],
            },
        );
        check(
            [2, 5, 6, 7, 18],
            Pool3dOptions {
                kernel: [3, 3, 3],
                stride: [2, 2, 2],
                padding: [1, 1, 1],
            },
        );
        check(
            [2, 3, 4, 4, 3],
            Pool3dOptions {
                kernel: [3, 4, 4],
                stride: [1; 3],
                padding: [0; 3],
            },
        );
        check(
            [1, 4, 3, 3, 6],
            Pool3dOptions {
                kernel: [2, 1, 1],
                stride: [2, 1, 1],
                padding: [0; 3],
            },
        );
    }
}
