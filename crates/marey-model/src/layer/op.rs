//! The heavy operations, one function each, channels last: what architectures call and `marey-kernel` computes.
//!
//! Letters: b batch, t frames, h height, w width, i and o input and output channels, g groups. On the CPU these are
//! kernels that work channels last; on every other device `marey-kernel` calls Burn's own operations.

use burn::tensor::Tensor;
use marey_kernel::{
    Activation, Affine, Conv3dOptions, Divisor, Fused, KeptWeights, NormOptions, Pool3dOptions,
    Statistics,
};

use super::count::counted;

/// Where a convolution's kernel sits on `[t, h, w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Distance between two outputs, at least 1.
    pub stride: [usize; 3],
    /// Zeros added at both ends.
    pub padding: [usize; 3],
    /// Distance between two taps of a kernel, at least 1.
    pub dilation: [usize; 3],
}

impl Default for Window {
    fn default() -> Self {
        Self {
            stride: [1; 3],
            padding: [0; 3],
            dilation: [1; 3],
        }
    }
}

/// Where a pooling sits on `[t, h, w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolWindow {
    /// Values a window spans, at least 1.
    pub kernel: [usize; 3],
    /// Distance between two windows, at least 1.
    pub stride: [usize; 3],
    /// What is added at both ends.
    pub padding: [usize; 3],
}

/// A convolution's own: where it sits, and where it keeps its weights for inference.
#[derive(Clone, Copy, Debug)]
pub struct ConvSite<'a> {
    /// Where the kernel sits.
    pub window: Window,
    /// Divides the input and output channels, and equals both where the convolution is depthwise.
    pub groups: usize,
    /// A place for its weights.
    pub kept: &'a KeptWeights,
}

/// Convolution over `[t, h, w]`, and an activation where there is a bias.
///
/// It computes in the type of `x`, which is also that of the output; weight and bias may stay in `f32`.
///
/// # Shapes
/// - `x`: `[b, t, h, w, i]`
/// - `weight`: `[o, kt, kh, kw, i / g]`, `bias`: `[o]`
/// - output: `[b, t', h', w', o]`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn conv(
    x: Tensor<5>,
    weight: Tensor<5>,
    bias: Option<Tensor<1>>,
    activation: Activation,
    site: ConvSite<'_>,
) -> Tensor<5> {
    convolved(x, weight, site, |x, weight, options| match bias {
        Some(bias) => marey_kernel::conv3d_bias(x, weight, bias, activation, options, site.kept),
        None => {
            assert!(
                activation == Activation::Identity,
                "an activation of a convolution comes with its bias; others belong to the norm"
            );
            marey_kernel::conv3d(x, weight, options)
        }
    })
}

/// A function of each value.
///
/// # Shapes
/// - `x` and output: `[b, t, h, w, c]`
pub fn activation(x: Tensor<5>, activation: Activation) -> Tensor<5> {
    let device = x.device().without_autodiff();
    let zeros = Tensor::<1>::zeros([x.dims()[4]], &device);
    let zeros = if x.device().is_autodiff() {
        Tensor::from_inner(zeros)
    } else {
        zeros
    };
    marey_kernel::bias_activation(x, zeros, activation)
}

/// Batch normalisation with given statistics, then plus `residual`, then the activation.
///
/// # Shapes
/// - `x`, `residual` and output: `[n, c]`
/// - `weight`, `bias`, `mean`, `var`: `[c]`
pub fn batch_norm(
    x: Tensor<2>,
    residual: Option<Tensor<2>>,
    [weight, bias]: [Tensor<1>; 2],
    [mean, var]: [Tensor<1>; 2],
    options: NormOptions,
) -> Tensor<2> {
    let dims = x.dims();
    let affine = Affine {
        gamma: weight,
        beta: bias,
    };
    let statistics = Statistics {
        mean,
        variance: var,
    };
    let (x, residual) = (as_pixels(x), residual.map(as_pixels));
    marey_kernel::batch_norm_frozen(x, residual, affine, statistics, options).reshape(dims)
}

/// Batch normalisation with the statistics of `x` itself, then plus `residual`, then the activation; also gives the mean
/// and the biased variance.
///
/// # Shapes
/// - `x`, `residual` and output: `[n, c]`
/// - `weight`, `bias`, and the mean and variance returned (without a gradient): `[c]`
pub fn batch_norm_train(
    x: Tensor<2>,
    residual: Option<Tensor<2>>,
    [weight, bias]: [Tensor<1>; 2],
    options: NormOptions,
) -> (Tensor<2>, [Tensor<1>; 2]) {
    let dims = x.dims();
    let affine = Affine {
        gamma: weight,
        beta: bias,
    };
    let (x, residual) = (as_pixels(x), residual.map(as_pixels));
    let (y, Statistics { mean, variance }) =
        marey_kernel::batch_norm_train(x, residual, affine, options);
    (y.reshape(dims), [mean, variance])
}

/// Rows as clips of one pixel.
fn as_pixels(x: Tensor<2>) -> Tensor<5> {
    let [n, c] = x.dims();
    x.reshape([n, 1, 1, 1, c])
}

/// Convolution over `[t, h, w]` and what follows it: a norm, where its statistics are given.
///
/// # Shapes
/// As [`conv`].
///
/// # Panics
/// If the shapes do not fit each other.
pub fn conv_fused(x: Tensor<5>, weight: Tensor<5>, fused: Fused, site: ConvSite<'_>) -> Tensor<5> {
    convolved(x, weight, site, |x, weight, options| {
        let pictures = x.dims()[0];
        let residual = fused.residual.map(|residual| {
            let [.., h, w, o] = residual.dims();
            let frames = residual.shape().num_elements() / (pictures * h * w * o).max(1);
            residual.reshape([pictures, frames, h, w, o])
        });
        let fused = Fused { residual, ..fused };
        marey_kernel::conv3d_fused(x, weight, fused, options, site.kept)
    })
}

/// Where frames do not meet it is a convolution over pictures, for which devices have better kernels.
fn convolved(
    x: Tensor<5>,
    weight: Tensor<5>,
    site: ConvSite<'_>,
    conv: impl FnOnce(Tensor<5>, Tensor<5>, Conv3dOptions) -> Tensor<5>,
) -> Tensor<5> {
    let Window {
        stride,
        padding,
        dilation,
    } = site.window;
    let options = Conv3dOptions {
        stride,
        padding,
        dilation,
        groups: site.groups,
    };
    let [b, t, h, w, i] = x.dims();
    let [o, kt, kh, kw, taps_in] = weight.dims();
    let kernel = [kt, kh, kw];
    let output = || {
        let side = |axis: usize, side: usize| {
            let span = dilation[axis] * (kernel[axis] - 1) + 1;
            (side + 2 * padding[axis]).saturating_sub(span) / stride[axis] + 1
        };
        [b, side(0, t), side(1, h), side(2, w), o]
    };
    let taps = kernel.iter().product::<usize>() * taps_in;
    if let Some(zeros) = counted(&x, output, |y| y.iter().product::<usize>() * taps) {
        return zeros;
    }
    if kt > 1 || stride[0] > 1 || padding[0] > 0 {
        return conv(x, weight, options);
    }
    let y = conv(x.reshape([b * t, 1, h, w, i]), weight, options);
    let [_, _, h, w, _] = y.dims();
    y.reshape([b, t, h, w, o])
}

/// A linear map of the last axis; `weight` is `[o, i]`, as PyTorch stores it.
///
/// # Shapes
/// - `x`: `[.., i]`
/// - output: `[.., o]`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    kept: &KeptWeights,
) -> Tensor<D> {
    let mut dims = x.dims();
    let inputs = dims[D - 1];
    let rows = dims[..D - 1].iter().product::<usize>();
    dims[D - 1] = bias.dims()[0];
    let num = rows * inputs * dims[D - 1];
    if let Some(zeros) = counted(&x, || dims, |_| num) {
        return zeros;
    }
    marey_kernel::linear(x.reshape([rows, inputs]), weight, bias, kept).reshape(dims)
}

/// The product of matrices, for each index of the axes before the last two.
///
/// # Shapes
/// - `a`: `[.., n, i]`, `b`: `[.., i, o]`
/// - output: `[.., n, o]`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn matmul<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let mut dims = a.dims();
    let num = dims.iter().product::<usize>() * b.dims()[D - 1];
    dims[D - 1] = b.dims()[D - 1];
    counted(&a, || dims, |_| num).unwrap_or_else(|| a.matmul(b))
}

/// Moves `fold` channels one frame towards the start of their clip, and the next `fold` one towards its end; see
/// [`marey_kernel::temporal_shift`].
///
/// # Shapes
/// - `x` and output: `[n, h, w, c]`, clips of `num_frames` each
///
/// # Panics
/// If the frames are no whole number of clips, or `2 * fold` is more than `c`.
pub fn temporal_shift(x: Tensor<4>, num_frames: usize, fold: usize) -> Tensor<4> {
    let [n, h, w, c] = x.dims();
    assert!(
        num_frames > 0 && n.is_multiple_of(num_frames),
        "{n} frames in clips of {num_frames}"
    );
    let clips = x.reshape([n / num_frames, num_frames, h, w, c]);
    marey_kernel::temporal_shift(clips, fold).reshape([n, h, w, c])
}

/// `x` for a branch and for the way round it; see [`marey_kernel::fork`].
pub fn fork<const D: usize>(x: Tensor<D>) -> [Tensor<D>; 2] {
    marey_kernel::fork(x)
}

/// The states of an LSTM that reads from the first frame on; see [`marey_kernel::lstm`].
///
/// # Shapes
/// - `inputs`: `[b, t, 4 * n]`, `weights`: `[4 * n, n]`
/// - output: `[b, t, n]`
pub fn lstm(inputs: Tensor<3>, weights: Tensor<2>) -> Tensor<3> {
    let ([b, t, gates], [_, n]) = (inputs.dims(), weights.dims());
    let num = b * t * gates * n;
    counted(&inputs, || [b, t, n], |_| num).unwrap_or_else(|| marey_kernel::lstm(inputs, weights))
}

/// The states of two LSTMs, one from either end; see [`marey_kernel::bilstm`].
///
/// # Shapes
/// - `inputs`: `[b, t, 4 * n]` twice, `weights`: `[4 * n, n]` twice
/// - output: `[b, t, 2 * n]`
pub fn bilstm(inputs: [Tensor<3>; 2], weights: [Tensor<2>; 2]) -> Tensor<3> {
    let ([b, t, gates], [_, n]) = (inputs[0].dims(), weights[0].dims());
    let num = 2 * b * t * gates * n;
    counted(&inputs[0], || [b, t, 2 * n], |_| num)
        .unwrap_or_else(|| marey_kernel::bilstm(inputs, weights))
}

/// Largest value of each window, a channel at a time.
///
/// # Shapes
/// - `x`: `[b, t, h, w, c]`
/// - output: `[b, t', h', w', c]`
pub fn max_pool(x: Tensor<5>, window: PoolWindow) -> Tensor<5> {
    marey_kernel::max_pool3d(x, window.into())
}

/// Mean of each window, a channel at a time; padding counts as zeros, as PyTorch does by default.
///
/// # Shapes
/// - `x`: `[b, t, h, w, c]`
/// - output: `[b, t', h', w', c]`
pub fn avg_pool(x: Tensor<5>, window: PoolWindow) -> Tensor<5> {
    marey_kernel::avg_pool3d(x, window.into(), Divisor::Window)
}

impl From<PoolWindow> for Pool3dOptions {
    fn from(
        PoolWindow {
            kernel,
            stride,
            padding,
        }: PoolWindow,
    ) -> Self {
        Self {
            kernel,
            stride,
            padding,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, TensorData, Tolerance};
    use marey_kernel::Activation;

    use super::*;

    fn numbered<const D: usize>(dims: [usize; D]) -> Tensor<D> {
        // 37 is prime to the counts below, so neighbours differ and no order is special.
        let num: usize = dims.iter().product();
        let values: Vec<f32> = (0..num).map(|i| ((i * 37) % num) as f32).collect();
        Tensor::from_data(TensorData::new(values, dims), &Device::flex())
    }

    /// The value of a convolution at one output, by its definition.
    fn conv_at(
        x: &[f32],
        x_dims: [usize; 5],
        weight: &[f32],
        w_dims: [usize; 5],
        at: [usize; 5],
        window: Window,
        groups: usize,
    ) -> f32 {
        let [_, t, h, w, i] = x_dims;
        let [o, kt, kh, kw, i_group] = w_dims;
        let [b, ot, oh, ow, oc] = at;
        let first = oc / (o / groups) * i_group;
        let tap = |out: usize, k: usize, axis: usize, len: usize| {
            let at = (out * window.stride[axis] + k * window.dilation[axis])
                .checked_sub(window.padding[axis])?;
            (at < len).then_some(at)
        };
        let mut sum = 0.0;
        for (a, e, f) in
            (0..kt).flat_map(|a| (0..kh).flat_map(move |e| (0..kw).map(move |f| (a, e, f))))
        {
            let (Some(y), Some(z), Some(u)) =
                (tap(ot, a, 0, t), tap(oh, e, 1, h), tap(ow, f, 2, w))
            else {
                continue;
            };
            for c in 0..i_group {
                let x = x[(((b * t + y) * h + z) * w + u) * i + first + c];
                sum += x * weight[(((oc * kt + a) * kh + e) * kw + f) * i_group + c];
            }
        }
        sum
    }

    fn check_conv(x_dims: [usize; 5], w_dims: [usize; 5], window: Window, groups: usize) {
        let device = Device::flex();
        device.seed(1);
        let x = Tensor::<5>::random(x_dims, Distribution::Uniform(-1.0, 1.0), &device);
        let weight = Tensor::<5>::random(w_dims, Distribution::Uniform(-1.0, 1.0), &device);
        let y = conv(
            x.clone(),
            weight.clone(),
            None,
            Activation::Identity,
            ConvSite {
                window,
                groups,
                kept: &KeptWeights::default(),
            },
        );
        let dims = y.dims();
        let [x, weight, y] =
            [x, weight, y].map(|tensor| tensor.into_data().try_into_vec::<f32>().expect("f32"));
        for (idx, &found) in y.iter().enumerate() {
            let mut rest = idx;
            let mut at = [0; 5];
            for axis in (0..5).rev() {
                at[axis] = rest % dims[axis];
                rest /= dims[axis];
            }
            let expected = conv_at(&x, x_dims, &weight, w_dims, at, window, groups);
            assert!(
                (found - expected).abs() < 1e-4,
                "{x_dims:?} {w_dims:?} at {at:?}: {found} for {expected}"
            );
        }
    }

    #[test]
    fn convolution_is_its_definition() {
        let strided = Window {
            stride: [1, 2, 2],
            padding: [1, 1, 1],
            ..Window::default()
        };
        let over_time = Window {
            stride: [2, 1, 1],
            padding: [1, 0, 0],
            ..Window::default()
        };
        let dilated = Window {
            padding: [0, 2, 2],
            dilation: [1, 2, 2],
            ..Window::default()
        };
        // Dense over space and time.
        check_conv([2, 3, 5, 6, 3], [4, 3, 3, 3, 3], strided, 1);
        // Over time alone.
        check_conv([1, 5, 2, 3, 4], [6, 3, 1, 1, 4], over_time, 1);
        // Over space alone, dilated.
        check_conv([2, 2, 7, 6, 3], [4, 1, 3, 3, 3], dilated, 1);
        // A matrix product.
        check_conv([2, 2, 3, 4, 5], [7, 1, 1, 1, 5], Window::default(), 1);
        // The same kernel, which skips pixels and so is no matrix product of all of them.
        check_conv(
            [2, 2, 5, 5, 3],
            [2, 1, 1, 1, 3],
            Window {
                stride: [1, 2, 2],
                ..Window::default()
            },
            1,
        );
        // Depthwise and grouped, in space and over time.
        check_conv(
            [2, 2, 6, 6, 4],
            [4, 1, 3, 3, 1],
            Window {
                padding: [0, 1, 1],
                ..Window::default()
            },
            4,
        );
        check_conv([1, 4, 5, 5, 4], [8, 3, 3, 3, 2], strided, 2);
    }

    #[test]
    fn pooling_is_its_definition() {
        let x = numbered([2, 5, 6, 7, 3]);
        let values = x.to_data().try_into_vec::<f32>().expect("f32");
        let window = PoolWindow {
            kernel: [3, 3, 2],
            stride: [2, 2, 1],
            padding: [1, 1, 0],
        };
        let max = max_pool(x.clone(), window);
        let mean = avg_pool(x, window);
        assert_eq!(
            (max.dims(), mean.dims()),
            ([2, 3, 3, 6, 3], [2, 3, 3, 6, 3])
        );
        let [max, mean] =
            [max, mean].map(|tensor| tensor.into_data().try_into_vec::<f32>().expect("f32"));
        for idx in 0..max.len() {
            let (c, ow, oh, ot, b) = (idx % 3, idx / 3 % 6, idx / 18 % 3, idx / 54 % 3, idx / 162);
            let (mut largest, mut sum) = (f32::NEG_INFINITY, 0.0);
            for (kt, kh, kw) in (0..18).map(|k| (k / 6, k / 2 % 3, k % 2)) {
                let (t, h, w) = (
                    (ot * 2 + kt).wrapping_sub(1),
                    (oh * 2 + kh).wrapping_sub(1),
                    ow + kw,
                );
                if t < 5 && h < 6 && w < 7 {
                    let value = values[(((b * 5 + t) * 6 + h) * 7 + w) * 3 + c];
                    largest = largest.max(value);
                    sum += value;
                }
            }
            assert_eq!(max[idx], largest, "maximum at {idx}");
            assert!(
                (mean[idx] - sum / 18.0).abs() < 1e-2,
                "mean at {idx}: {} for {}",
                mean[idx],
                sum / 18.0
            );
        }
    }

    #[test]
    fn activations_follow_the_norm() {
        let x = numbered([6, 2]);
        let ones = || Tensor::<1>::ones([2], &Device::flex());
        let zeros = || Tensor::<1>::zeros([2], &Device::flex());
        let options = |activation| NormOptions {
            epsilon: 0.0,
            activation,
        };
        let plain = batch_norm(
            x.clone(),
            None,
            [ones(), zeros()],
            [ones() * 5.0, ones()],
            options(Activation::Identity),
        );
        let relu = batch_norm(
            x.clone(),
            None,
            [ones(), zeros()],
            [ones() * 5.0, ones()],
            options(Activation::Relu),
        );
        plain
            .into_data()
            .assert_approx_eq::<f32>(&(x.clone() - 5.0).into_data(), Tolerance::default());
        relu.into_data()
            .assert_approx_eq::<f32>(&(x - 5.0).clamp_min(0.0).into_data(), Tolerance::default());
    }
}
