//! Tensors of Burn's backend for CubeCL around memory that our kernels have filled.

use burn::tensor::{DType, Shape};
use burn_cubecl::tensor::CubeTensor;
use burn_std::{Metadata, Strides};
use cubecl::server::Handle;

/// A tensor of the same shape and type, on the same device. `tensor` is contiguous.
pub(super) fn like(tensor: &CubeTensor, handle: Handle) -> CubeTensor {
    CubeTensor {
        handle,
        ..tensor.clone()
    }
}

/// A contiguous tensor on the device of `tensor`.
pub(super) fn with_shape<const D: usize>(
    tensor: &CubeTensor,
    handle: Handle,
    dims: [usize; D],
    dtype: DType,
) -> CubeTensor {
    let mut strides = [1; D];
    for axis in (1..D).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    CubeTensor::new(
        tensor.client.clone(),
        handle,
        Metadata::new(Shape::from(dims), Strides::new(&strides)),
        tensor.device.clone(),
        dtype,
    )
}
