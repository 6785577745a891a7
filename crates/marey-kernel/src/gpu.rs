//! Kernels on the GPUs that CubeCL drives, behind the same public functions as the CPU's.

mod autodiff;
mod conv;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
mod cudnn;
mod kernels;
mod lstm;
mod norm;
mod ops;
mod optimizer;
mod pool;
mod tensor;
mod tensors;

pub(crate) use ops::{has_convolution, is_on_gpu, kernels_used};
pub(crate) use tensors::{
    adamw, affine, batch_norm_frozen, batch_norm_train, conv3d, global_average, lstm, max_pool3d,
    sum_of_squares,
};
