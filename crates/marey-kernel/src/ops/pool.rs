//! Pooling: the public functions, and what other devices run.

use burn::backend::Dispatch;
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Tensor, module};

use super::{VideoOps, has_kernels};
use crate::raw::pool::{Divisor, Pool3dOptions, Pool3dShape};

/// Largest element of each window of channels-last clips; NaN if a window holds one. The gradient
/// goes to the first of a window's largest elements. A 2-D pooling has windows one frame long.
///
/// # Shapes
/// - `x`: `[b, t, h, w, c]`
/// - output: `[b, t', h', w', c]`
///
/// # Panics
/// If the padding is not less than the kernel, or the padded input smaller than it.
pub fn max_pool3d(x: Tensor<5>, options: Pool3dOptions) -> Tensor<5> {
    if has_kernels(&x) {
        let y = <Dispatch as VideoOps>::max_pool3d(x.into_dispatch(), options);
        return Tensor::from_dispatch(y);
    }
    default(x, options, |images, [kernel, stride, padding]| {
        let options = MaxPoolOptions::new(kernel)
            .with_stride(stride)
            .with_padding(padding);
        module::max_pool2d(images, options)
    })
}

/// Mean of each window of channels-last clips. A 2-D pooling has windows one frame long; a global
/// one has a kernel as large as the input.
///
/// # Shapes
/// - `x`: `[b, t, h, w, c]`
/// - output: `[b, t', h', w', c]`
///
/// # Panics
/// If the padding is not less than the kernel, or the padded input smaller than it.
pub fn avg_pool3d(x: Tensor<5>, options: Pool3dOptions, divisor: Divisor) -> Tensor<5> {
    if has_kernels(&x) {
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
    use burn::tensor::{Device, Distribution};

    use super::*;

    fn check(x: [usize; 5], options: Pool3dOptions) {
        let device = Device::flex().autodiff();
        // In f64 a tensor takes the default path.
        let x = Tensor::<5>::random(x, Distribution::Default, &device).require_grad();
        let wide = x.clone().inner().cast(burn::tensor::DType::F64);
        let wide = Tensor::<5>::from_inner(wide).require_grad();
        let average = |divisor| move |x: Tensor<5>| avg_pool3d(x, options, divisor);
        type Pooling = Box<dyn Fn(Tensor<5>) -> Tensor<5>>;
        let poolings: [(&str, Pooling); 3] = [
            ("max", Box::new(move |x| max_pool3d(x, options))),
            ("average of the window", Box::new(average(Divisor::Window))),
            ("average inside", Box::new(average(Divisor::Inside))),
        ];
        for (name, pool) in poolings {
            let run = |x: &Tensor<5>| {
                let y = pool(x.clone());
                let gradients = y.clone().powi_scalar(2).sum().backward();
                [y.inner(), x.grad(&gradients).expect("x is tracked")]
            };
            for (which, (ours, burns)) in run(&x).into_iter().zip(run(&wide)).enumerate() {
                let difference = (ours.cast(burn::tensor::DType::F64) - burns).abs().max();
                let error = difference.into_scalar::<f64>();
                assert!(
                    error < 1e-5,
                    "{name}, tensor {which}, is off by {error:.1e}: {options:?}"
                );
            }
        }
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
