//! The optimiser's part of a step on a GPU.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata, backend_extension};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::kernels::optimizer;
use super::tensor::{like, with_shape};
use crate::raw::optimizer::{AdamWFactors, AdamWStep};

/// See the public functions of the same names for shapes.
#[backend_extension(Cube)]
pub(crate) trait GpuOptimizerOps: Backend {
    /// [`crate::adamw`]; gives the parameter and the moments.
    fn gpu_adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// [`crate::blend`].
    fn gpu_blend(a: FloatTensor<Self>, b: FloatTensor<Self>, shares: [f64; 2])
    -> FloatTensor<Self>;
}

/// [`crate::sum_of_squares`]. It is no method of the extension, whose arguments cannot be many.
pub(super) fn sum_of_squares(tensors: Vec<CubeTensor>) -> CubeTensor {
    let tensors: Vec<_> = tensors.into_iter().map(into_contiguous).collect();
    let parts: Vec<_> = tensors
        .iter()
        .map(|x| (&x.handle, x.shape().num_elements()))
        .collect();
    let first = &tensors[0];
    let sum = optimizer::sum_of_squares(&first.client, &parts);
    with_shape(first, sum, [1], first.dtype)
}

/// The tensor itself, where nobody shares its memory; else a copy. Contiguous.
fn own(tensor: CubeTensor) -> CubeTensor {
    let tensor = into_contiguous(tensor);
    match tensor.can_mut() {
        true => tensor,
        false => tensor.copy(),
    }
}

impl GpuOptimizerOps for CubeBackend {
    fn gpu_adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [parameter, moment_1, moment_2] = [parameter, moment_1, moment_2].map(own);
        let gradient = into_contiguous(gradient);
        optimizer::adamw(
            &parameter.client,
            [&parameter, &gradient, &moment_1, &moment_2].map(|tensor| &tensor.handle),
            &AdamWFactors::of(&step),
            parameter.shape().num_elements(),
        );
        (parameter, moment_1, moment_2)
    }
    fn gpu_blend(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        shares: [f64; 2],
    ) -> FloatTensor<Self> {
        let [a, b] = [a, b].map(into_contiguous);
        let len = a.shape().num_elements();
        let shares = shares.map(|share| share as f32);
        let out = optimizer::blend(&a.client, [&a.handle, &b.handle], shares, len);
        like(&a, out)
    }
}
