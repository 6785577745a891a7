//! Pooling of a GPU's tensors.

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::kernels::pool;
use super::norm::element;
use super::tensor::with_shape;
use crate::raw::pool::Pool3dOptions;

/// y of [`crate::max_pool3d`], and the pixel of the clip that each output has its value from (`u32`).
pub(super) fn max_pool3d(x: CubeTensor, options: Pool3dOptions) -> (CubeTensor, CubeTensor) {
    let x = into_contiguous(x);
    let x_dims = x.shape().dims();
    let (y, places) = pool::max_pool3d(&x.client, &x.handle, element(&x), x_dims, options);
    let y_dims = pool::output_dims(x_dims, options);
    (
        with_shape(&x, y, y_dims, x.dtype),
        with_shape(&x, places, y_dims, DType::U32),
    )
}

/// The gradient of [`max_pool3d`] in its input.
pub(super) fn max_pool3d_backward(
    dy: CubeTensor,
    places: CubeTensor,
    x_dims: [usize; 5],
    options: Pool3dOptions,
) -> CubeTensor {
    let [dy, places] = [dy, places].map(into_contiguous);
    let dx = pool::max_pool3d_backward(
        &dy.client,
        &dy.handle,
        &places.handle,
        element(&dy),
        x_dims,
        options,
    );
    with_shape(&dy, dx, x_dims, dy.dtype)
}

/// The mean of each channel over the pixels of a clip, `[b, c]`.
pub(super) fn global_average(x: CubeTensor) -> CubeTensor {
    let x = into_contiguous(x);
    let [b, t, h, w, c] = x.shape().dims();
    let y = pool::global_average(&x.client, &x.handle, element(&x), b, t * h * w, c);
    with_shape(&x, y, [b, c], x.dtype)
}
