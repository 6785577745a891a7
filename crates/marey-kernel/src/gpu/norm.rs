//! Norms and what follows a convolution, on a GPU's tensors.

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_elem_type;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;

use super::kernels::norm::{self, NormalizeGradients, Normalized};
use super::tensor::like;
use crate::ops::norm::NormOptions;
use crate::raw::Activation;

/// y, mean and biased variance of [`crate::batch_norm_train`].
pub(super) fn batch_norm_train(
    x: CubeTensor,
    residual: Option<CubeTensor>,
    affine: [CubeTensor; 2],
    options: NormOptions,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let (x, affine) = (into_contiguous(x), affine.map(into_contiguous));
    let (rows, c) = rows(&x);
    let (mean, variance) = norm::batch_statistics(&x.client, &x.handle, element(&x), rows, c);
    let [mean, variance] = [mean, variance].map(|handle| like(&affine[0], handle));
    let y = batch_norm_frozen(
        x,
        residual,
        affine,
        [mean.clone(), variance.clone()],
        options,
    );
    (y, mean, variance)
}

/// y of [`crate::batch_norm_frozen`].
pub(super) fn batch_norm_frozen(
    x: CubeTensor,
    residual: Option<CubeTensor>,
    affine: [CubeTensor; 2],
    statistics: [CubeTensor; 2],
    options: NormOptions,
) -> CubeTensor {
    let operands = Operands::new(x, residual, affine, statistics);
    let y = norm::normalize(&operands.x.client, operands.normalized(options));
    like(&operands.x, y)
}

/// Gradients of a norm in x, the residual, gamma and beta; without a residual, that of x stands in its place.
pub(super) fn backward(
    dy: CubeTensor,
    x: CubeTensor,
    residual: Option<CubeTensor>,
    affine: [CubeTensor; 2],
    statistics: [CubeTensor; 2],
    options: NormOptions,
    by_batch: bool,
) -> [CubeTensor; 4] {
    let dy = into_contiguous(dy);
    let operands = Operands::new(x, residual, affine, statistics);
    let NormalizeGradients {
        dx,
        dresidual,
        dgamma,
        dbeta,
    } = norm::normalize_backward(
        &dy.client,
        &dy.handle,
        operands.normalized(options),
        by_batch,
    );
    let dx = like(&operands.x, dx);
    let dresidual = dresidual.map_or_else(|| dx.clone(), |handle| like(&operands.x, handle));
    let [dgamma, dbeta] = [dgamma, dbeta].map(|handle| like(&operands.affine[0], handle));
    [dx, dresidual, dgamma, dbeta]
}

/// `activation(x * gamma + beta + residual)`.
pub(super) fn affine(
    x: CubeTensor,
    affine: [CubeTensor; 2],
    residual: Option<CubeTensor>,
    activation: Activation,
) -> CubeTensor {
    let x = into_contiguous(x);
    let [gamma, beta] = affine.map(into_contiguous);
    let residual = residual.map(into_contiguous);
    let (rows, c) = rows(&x);
    let y = norm::affine(
        &x.client,
        &x.handle,
        &gamma.handle,
        &beta.handle,
        residual.as_ref().map(|residual| &residual.handle),
        activation,
        element(&x),
        rows,
        c,
    );
    like(&x, y)
}

/// What a norm reads, each without gaps.
struct Operands {
    x: CubeTensor,
    residual: Option<CubeTensor>,
    affine: [CubeTensor; 2],
    statistics: [CubeTensor; 2],
}

impl Operands {
    fn new(
        x: CubeTensor,
        residual: Option<CubeTensor>,
        affine: [CubeTensor; 2],
        statistics: [CubeTensor; 2],
    ) -> Self {
        Self {
            x: into_contiguous(x),
            residual: residual.map(into_contiguous),
            affine: affine.map(into_contiguous),
            statistics: statistics.map(into_contiguous),
        }
    }

    fn normalized(&self, options: NormOptions) -> Normalized<'_> {
        let (rows, c) = rows(&self.x);
        Normalized {
            x: &self.x.handle,
            residual: self.residual.as_ref().map(|residual| &residual.handle),
            gamma: &self.affine[0].handle,
            beta: &self.affine[1].handle,
            mean: &self.statistics[0].handle,
            variance: &self.statistics[1].handle,
            epsilon: options.epsilon as f32,
            activation: options.activation,
            dtype: element(&self.x),
            rows,
            c,
        }
    }
}

/// Rows and channels of `[b, t, h, w, c]`.
fn rows(x: &CubeTensor) -> (usize, usize) {
    let [b, t, h, w, c] = x.shape().dims();
    (b * t * h * w, c)
}

/// The type of a tensor's elements, as kernels name it.
pub(super) fn element(x: &CubeTensor) -> ElemType {
    dtype_to_elem_type(x.dtype)
}
