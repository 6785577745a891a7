//! The architectures, one file each, to be read from top to bottom as their papers are.

mod cls_head;

mod r3d;

mod resnet3d;

mod slowfast;

mod slowonly;

mod x3d;

mod i3d;

mod c3d;

mod mobilenet3d;

mod efficientnet;

mod resnet;

mod frame_net;

mod segments;

mod two_stream;

use burn::tensor::Tensor;

use crate::Evidence;

pub use c3d::{C3d, C3dConfig};
pub use efficientnet::{EfficientNet, EfficientNetConfig, EfficientNetSize};
pub(crate) use frame_net::NUM_HEADS;
pub use frame_net::{BackboneConfig, FrameNet, FrameNetConfig, Temporal};
pub use i3d::{I3d, I3dConfig};
pub use mobilenet3d::{MobileNet3d, MobileNet3dConfig};
pub use r3d::{R3d, R3dConfig, ResidualKernels};
pub use resnet::{ResNet, ResNetConfig, ResNetDepth};
pub use resnet3d::Lateral;
pub use segments::{SegmentNet, SegmentNetConfig};
pub use slowfast::{SlowFast, SlowFastConfig};
pub use slowonly::{SlowOnly, SlowOnlyConfig};
pub use two_stream::{TwoStream, TwoStreamConfig};
pub use x3d::{X3d, X3dConfig};

/// What every architecture can do.
pub(crate) trait Network {
    /// What the classifier sees, before dropout, in `f32` whatever the type of the clips: `[b, t, h, w, 3]` to `[b, d]`.
    fn features(&self, clips: Tensor<5>) -> Tensor<2>;

    /// Dropout and classifier: `[b, d]` to logits `[b, k]`.
    fn classify(&self, features: Tensor<2>) -> Tensor<2>;

    /// What in clips speaks for a class (Grad-CAM), without autodiff.
    fn evidence(&self, clips: Tensor<5>, class: usize) -> Evidence;

    /// Width of the features, `d`.
    fn num_features(&self) -> usize;

    /// Classes it tells apart, `k`.
    fn num_classes(&self) -> usize;

    /// First part of the names of the classifier's parameters, for example `fc.`.
    fn head(&self) -> &'static str;
}

/// `channels * width`, to a multiple of 8 that is at least 8 and at most a tenth less, as EfficientNet scales.
fn scaled_channels(channels: usize, width: f64) -> usize {
    let wanted = channels as f64 * width;
    let near = ((wanted + 4.0) as usize / 8 * 8).max(8);
    if (near as f64) < 0.9 * wanted {
        near + 8
    } else {
        near
    }
}
