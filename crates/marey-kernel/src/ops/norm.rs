//! Batch normalisation: the public functions, and what other devices run.

pub(super) mod flex;

use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};

use super::conv::activate;
use super::{VideoOps, has_activation_kernels, has_kernels};
use crate::raw::Activation;

/// What a batch norm does beside normalising.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormOptions {
    /// Added to the variance.
    pub epsilon: f64,
    /// Applied last, after the residual.
    pub activation: Activation,
}

/// Scale and shift that a batch norm has learnt, a number a channel each.
#[derive(Clone, Debug)]
pub struct Affine {
    /// Factor of the normalised value, `[c]`.
    pub gamma: Tensor<1>,
    /// Summand, `[c]`.
    pub beta: Tensor<1>,
}

/// Mean and variance of each channel.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// `[c]`.
    pub mean: Tensor<1>,
    /// `[c]`.
    pub variance: Tensor<1>,
}

/// `activation(norm(x) + residual)` with the statistics of this batch, in one pass, and those
/// statistics: the biased variance (running averages usually want `n / (n - 1)` times as much, with
/// `n = b * t * h * w`). Differentiable in x, residual, gamma and beta; the statistics that come
/// back are not tracked.
///
/// `x` and the residual may be in half precision, and so is then the output; `affine` and the
/// statistics stay `f32`.
///
/// # Shapes
/// - `x`, `residual`, output: `[b, t, h, w, c]`
/// - `affine`, statistics: `[c]`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn batch_norm_train(
    x: Tensor<5>,
    residual: Option<Tensor<5>>,
    affine: Affine,
    options: NormOptions,
) -> (Tensor<5>, Statistics) {
    check(&x, residual.as_ref(), &affine);
    if takes(&x, residual.as_ref(), &affine) {
        let (gamma, beta) = (affine.gamma.into_dispatch(), affine.beta.into_dispatch());
        let residual = residual.unwrap_or_else(|| nothing(&x)).into_dispatch();
        let x = x.into_dispatch();
        let (y, mean, variance) =
            <Dispatch as VideoOps>::batch_norm_train(x, residual, gamma, beta, options);
        let (mean, variance) = (Tensor::from_dispatch(mean), Tensor::from_dispatch(variance));
        return (Tensor::from_dispatch(y), Statistics { mean, variance });
    }
    #[cfg(feature = "gpu")]
    if crate::gpu::takes_norm(&x, residual.as_ref(), &[&affine.gamma, &affine.beta]) {
        return crate::gpu::batch_norm_train(x, residual, affine, options);
    }
    let (rows, channels) = rows(&x);
    let flat = wide(x.clone()).reshape([rows, channels]);
    let mean = flat.clone().mean_dim(0);
    let variance = (flat - mean.clone()).square().mean_dim(0);
    let statistics = Statistics {
        mean: mean.reshape([channels]),
        variance: variance.reshape([channels]),
    };
    let y = default(x, residual, affine, statistics.clone(), options);
    let Statistics { mean, variance } = statistics;
    (
        y,
        Statistics {
            mean: mean.detach(),
            variance: variance.detach(),
        },
    )
}

/// `activation(norm(x) + residual)` with given statistics, in one pass: for inference, and for
/// training around a norm that is kept frozen. Differentiable in x, residual, gamma and beta.
///
/// # Shapes
/// As [`batch_norm_train`].
///
/// # Panics
/// As [`batch_norm_train`].
pub fn batch_norm_frozen(
    x: Tensor<5>,
    residual: Option<Tensor<5>>,
    affine: Affine,
    statistics: Statistics,
    options: NormOptions,
) -> Tensor<5> {
    check(&x, residual.as_ref(), &affine);
    let Statistics { mean, variance } = statistics;
    if takes(&x, residual.as_ref(), &affine) && has_kernels(&mean) && has_kernels(&variance) {
        let (gamma, beta) = (affine.gamma.into_dispatch(), affine.beta.into_dispatch());
        let residual = residual.unwrap_or_else(|| nothing(&x)).into_dispatch();
        return Tensor::from_dispatch(<Dispatch as VideoOps>::batch_norm_frozen(
            x.into_dispatch(),
            residual,
            gamma,
            beta,
            mean.into_dispatch(),
            variance.into_dispatch(),
            options,
        ));
    }
    let statistics = Statistics {
        mean: mean.detach(),
        variance: variance.detach(),
    };
    #[cfg(feature = "gpu")]
    {
        let channels = [
            &affine.gamma,
            &affine.beta,
            &statistics.mean,
            &statistics.variance,
        ];
        if crate::gpu::takes_norm(&x, residual.as_ref(), &channels) {
            return crate::gpu::batch_norm_frozen(x, residual, affine, statistics, options);
        }
    }
    default(x, residual, affine, statistics, options)
}

fn rows(x: &Tensor<5>) -> (usize, usize) {
    let [b, t, h, w, c] = x.dims();
    (b * t * h * w, c)
}

fn check(x: &Tensor<5>, residual: Option<&Tensor<5>>, affine: &Affine) {
    let (rows, channels) = rows(x);
    assert!(
        rows > 0 && channels > 0,
        "a batch norm needs elements, not {:?}",
        x.dims()
    );
    let affine_dims = [affine.gamma.dims(), affine.beta.dims()];
    assert!(
        affine_dims == [[channels]; 2],
        "gamma and beta {affine_dims:?} for {channels} channels"
    );
    let residual = residual.map(|residual| residual.dims());
    assert!(
        residual.is_none_or(|dims| dims == x.dims()),
        "a residual of {residual:?} for an input of {:?}",
        x.dims()
    );
}

fn takes(x: &Tensor<5>, residual: Option<&Tensor<5>>, affine: &Affine) -> bool {
    has_activation_kernels(x)
        && residual.is_none_or(|residual| {
            has_activation_kernels(residual) && residual.dtype() == x.dtype()
        })
        && has_kernels(&affine.gamma)
        && has_kernels(&affine.beta)
}

/// Stands for "no residual" in the extension, whose arguments cannot be optional.
fn nothing(x: &Tensor<5>) -> Tensor<5> {
    Tensor::zeros([0; 5], &x.device())
}

/// Half-precision values as `f32`, others as they are.
pub(super) fn wide<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if matches!(x.dtype(), DType::BF16 | DType::F16) {
        x.cast(DType::F32)
    } else {
        x
    }
}

/// The same by Burn's own operations. Half-precision activations are widened inside.
fn default(
    x: Tensor<5>,
    residual: Option<Tensor<5>>,
    affine: Affine,
    statistics: Statistics,
    options: NormOptions,
) -> Tensor<5> {
    let Statistics { mean, variance } = statistics;
    let scale = affine.gamma / (variance + options.epsilon).sqrt();
    let dtype = x.dtype();
    let y = (wide(x) - mean.unsqueeze()) * scale.unsqueeze() + affine.beta.unsqueeze();
    let y = match residual {
        Some(residual) => y + wide(residual),
        None => y,
    };
    activate(y, options.activation).cast(dtype)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::noise_tensor;
    use super::*;

    /// The tensors of one case, all tracked.
    struct Case {
        x: Tensor<5>,
        residual: Option<Tensor<5>>,
        affine: Affine,
        mean: Tensor<1>,
        variance: Tensor<1>,
    }

    impl Case {
        fn new(has_residual: bool, dtype: DType) -> Self {
            let device = Device::flex().autodiff();
            let dims = [2, 3, 5, 4, 11];
            let stored = |seed| {
                let x = noise_tensor(dims, seed, &device).cast(dtype);
                x.detach().require_grad()
            };
            let channels = |seed| noise_tensor([11], seed, &device) + 0.7;
            Self {
                x: stored(1),
                residual: has_residual.then(|| stored(2)),
                affine: Affine {
                    gamma: channels(3).detach().require_grad(),
                    beta: channels(4).detach().require_grad(),
                },
                mean: channels(5),
                variance: channels(6),
            }
        }

        /// y and every gradient, flat.
        fn gradients(&self, y: Tensor<5>) -> Vec<Tensor<1>> {
            let dtype = y.dtype();
            let y = y.cast(DType::F32);
            let weights = y.clone().inner().powi_scalar(2) + 0.3;
            let gradients = (y.clone() * Tensor::from_inner(weights)).sum().backward();
            let mut all = vec![y.inner().flatten(0, 4)];
            all.push(self.x.grad(&gradients).expect("x is tracked").flatten(0, 4));
            all.push(
                self.affine
                    .gamma
                    .grad(&gradients)
                    .expect("gamma is tracked"),
            );
            all.push(self.affine.beta.grad(&gradients).expect("beta is tracked"));
            if let Some(residual) = &self.residual {
                all.push(
                    residual
                        .grad(&gradients)
                        .expect("the residual is tracked")
                        .flatten(0, 4),
                );
            }
            assert_eq!(
                (self.x.dtype(), all[1].dtype()),
                (dtype, dtype),
                "types of x, dx and y"
            );
            assert_eq!(all[2].dtype(), DType::F32, "the type of dgamma");
            all.into_iter()
                .map(|tensor| tensor.cast(DType::F32))
                .collect()
        }

        fn check(&self, ours: Tensor<5>, burns: Tensor<5>, label: &str) {
            let most = match self.x.dtype() {
                DType::BF16 => 0.02,
                DType::F16 => 0.003,
                _ => 2e-5,
            };
            for (idx, (ours, burns)) in self
                .gradients(ours)
                .into_iter()
                .zip(self.gradients(burns))
                .enumerate()
            {
                let scale = burns.clone().abs().max().into_scalar::<f32>();
                let error = (ours - burns).abs().max().into_scalar::<f32>() / scale;
                assert!(error < most, "{label}: tensor {idx} is off by {error:.1e}");
            }
        }
    }

    #[test]
    fn kernels_and_composition_agree() {
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            check_type(dtype);
        }
    }

    fn check_type(dtype: DType) {
        for activation in [
            Activation::Identity,
            Activation::Relu,
            Activation::Relu6,
            Activation::Silu,
        ] {
            for has_residual in [false, true] {
                let case = Case::new(has_residual, dtype);
                let options = NormOptions {
                    epsilon: 1e-3,
                    activation,
                };
                let (x, residual, affine) = (&case.x, &case.residual, &case.affine);
                let label = format!("{dtype:?} {activation:?}, residual {has_residual}");

                let statistics = Statistics {
                    mean: case.mean.clone(),
                    variance: case.variance.clone(),
                };
                let ours = batch_norm_frozen(
                    x.clone(),
                    residual.clone(),
                    affine.clone(),
                    statistics.clone(),
                    options,
                );
                let burns = default(
                    x.clone(),
                    residual.clone(),
                    affine.clone(),
                    statistics,
                    options,
                );
                case.check(ours, burns, &format!("frozen {label}"));

                let (ours, given) =
                    batch_norm_train(x.clone(), residual.clone(), affine.clone(), options);
                let flat = wide(x.clone()).reshape([2 * 3 * 5 * 4, 11]);
                let mean = flat.clone().mean_dim(0);
                let variance = (flat - mean.clone()).square().mean_dim(0);
                let statistics = Statistics {
                    mean: mean.reshape([11]),
                    variance: variance.reshape([11]),
                };
                for (ours, burns) in [
                    (given.mean, &statistics.mean),
                    (given.variance, &statistics.variance),
                ] {
                    let error = (ours - burns.clone()).abs().max().into_scalar::<f32>();
                    assert!(error < 1e-6, "statistics are off by {error:.1e}");
                }
                let burns = default(
                    x.clone(),
                    residual.clone(),
                    affine.clone(),
                    statistics,
                    options,
                );
                case.check(ours, burns, &format!("train {label}"));
            }
        }
    }
}
