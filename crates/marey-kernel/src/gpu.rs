//! Kernels on the GPUs that CubeCL drives, behind the same public functions as the CPU's.

mod autodiff;
mod conv;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
mod cudnn;
mod kernels;
mod lstm;
mod memory;
mod norm;
mod ops;
mod optimizer;
mod pool;
mod tensor;
mod tensors;

pub use memory::keep_freed_memory;
pub(crate) use ops::{
    has_convolution, is_on_gpu, kernels_used, takes_f32, takes_lstm, takes_norm, takes_pool,
};
pub(crate) use tensors::{
    adamw, affine, batch_norm_frozen, batch_norm_train, blend, conv3d, global_average, lstm,
    max_pool3d, sum_of_squares,
};
