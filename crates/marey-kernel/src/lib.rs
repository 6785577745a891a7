//! Kernels for channels-last video networks, behind Burn's tensors.
//!
//! **For:** convolution (2-D and 3-D; dense, grouped, depthwise), batch norm with residual and
//! activation, max, average and global average pooling, a factor a channel, on Burn's CPU device
//! (`flex`), forward and backward. Everything stays in the layout `[b, t, h, w, c]`, so that nothing
//! is transposed between the decoder and the logits. A 2-D layer is a 3-D one with one frame.
//!
//! With the feature `gpu` also on the GPUs that CubeCL drives, and with `cuda` convolutions by cuDNN
//! where it is installed.
//!
//! **Not for:** what has no kernel on a device, where the same functions call Burn's own operations
//! (between two permutations, which cost nothing where the device permutes inside anyway); activations
//! of other types than `f32`, `bf16` and `f16`, likewise; second derivatives.
//!
//! Kernels compute in `f32` whatever their operands are stored as, and round where they store.
//! Learnt scales, statistics and their gradients stay `f32`.
//!
//! - The public functions choose by device and type: see [`conv3d`], [`conv3d_fused`],
//!   [`batch_norm_train`], [`batch_norm_frozen`], [`max_pool3d`], [`avg_pool3d`], [`global_average`],
//!   [`channel_scale`], [`temporal_shift`], [`fork`], [`lstm`], [`bilstm`], [`linear`], [`bias_activation`], and
//!   for what comes after the gradients [`sum_of_squares`], [`adamw`], [`sgd`]. [`kernels_used`] says
//!   what they choose.
//! - [`raw`] holds the kernels, on plain slices, without Burn.
//!
//! The CPU's kernels run on the current rayon pool, and pick AVX-512, AVX2 or portable code at run time
//! ([`raw::Isa`]). Results do not depend on how threads were scheduled: with the same number of
//! threads and the same instruction set they are the same to the bit. Outputs live in a pool of
//! aligned buffers ([`raw::memory`]); a training step at rest costs no page fault.
//!
//! # Examples
//!
//! ```
//! use burn::tensor::{Device, Distribution, Tensor};
//! use marey_kernel::{
//!     Activation, Affine, Conv3dOptions, NormOptions, batch_norm_train, conv3d,
//! };
//!
//! let device = Device::flex();
//! let clips = Tensor::<5>::random([2, 4, 16, 16, 3], Distribution::Default, &device);
//! let weights = Tensor::<5>::random([8, 3, 3, 3, 3], Distribution::Default, &device);
//! let affine = Affine { gamma: Tensor::ones([8], &device), beta: Tensor::zeros([8], &device) };
//!
//! let options = Conv3dOptions { stride: [1, 2, 2], padding: [1, 1, 1], ..Default::default() };
//! let y = conv3d(clips, weights, options);
//! let relu = NormOptions { epsilon: 1e-5, activation: Activation::Relu };
//! let (y, _statistics) = batch_norm_train(y, None, affine, relu);
//! assert_eq!(y.dims(), [2, 4, 8, 8, 8]);
//! ```

pub mod raw;

#[cfg(feature = "gpu")]
mod gpu;
mod ops;

#[cfg(feature = "gpu")]
pub use gpu::keep_freed_memory;
pub use ops::conv::{Fused, conv3d, conv3d_fused, fuses_norms};
pub use ops::fork::fork;
pub use ops::kept::KeptWeights;
pub use ops::linear::{bias_activation, conv3d_bias, linear};
pub use ops::lstm::{bilstm, lstm};
pub use ops::norm::{Affine, NormOptions, Statistics, batch_norm_frozen, batch_norm_train};
pub use ops::optimizer::{adamw, blend, sgd, sum_of_squares};
pub use ops::pool::{avg_pool3d, global_average, max_pool3d};
pub use ops::scale::channel_scale;
pub use ops::shift::temporal_shift;
pub use ops::used::{in_pool, kernels_used};
pub use raw::optimizer::{AdamWStep, SgdStep};
pub use raw::pool::{Divisor, Pool3dOptions};
pub use raw::{Activation, Conv3dOptions, Conv3dShape, SumOrder, set_sum_order, sum_order};
