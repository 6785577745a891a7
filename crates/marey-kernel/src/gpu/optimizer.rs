//! The optimiser's part of a step on a GPU.

use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata, backend_extension};
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;

use super::kernels::optimizer;
use super::tensor::{like, with_shape};
use crate::raw::optimizer::{AdamWFactors, AdamWStep};

/// See the public functions of the same names for shapes.
#[backend_extension(Cube, Fusion)]
pub(crate) trait GpuOptimizerOps: Backend {
    /// [`crate::adamw`]; gives the parameter and the moments.
    #[fusion(meta = |parameter: &TensorSpec, _: &TensorSpec, _: &TensorSpec, _: &TensorSpec, _: &AdamWStep| {
        (parameter.clone(), parameter.clone(), parameter.clone())
    })]
    fn gpu_adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// [`crate::sum_of_squares`].
    #[fusion(dtype = x, shape = Shape::from([1]))]
    fn gpu_sum_of_squares(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl GpuOptimizerOps for CubeBackend {
    fn gpu_adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let operands = [parameter, gradient, moment_1, moment_2].map(into_contiguous);
        let [parameter, ..] = &operands;
        let len = parameter.shape().num_elements();
        let handles = operands.each_ref().map(|tensor| &tensor.handle);
        let factors = AdamWFactors::of(&step);
        let outputs = optimizer::adamw(&parameter.client, handles, &factors, len);
        outputs.map(|handle| like(parameter, handle)).into()
    }
    fn gpu_sum_of_squares(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = into_contiguous(x);
        let len = x.shape().num_elements();
        let sum = optimizer::sum_of_squares(&x.client, &x.handle, len);
        with_shape(&x, sum, [1], x.dtype)
    }
}
