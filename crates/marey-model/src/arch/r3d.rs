//! The 18-layer residual networks of Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition",
//! CVPR 2018, with the names and the initial values of torchvision's `r3d_18`, `mc3_18` and `r2plus1d_18`. They differ in
//! their convolutions: R3D has kernels over space and time, MC3 has these in the first stage and kernels over space in the
//! others, and R(2+1)D has a kernel over space and then one over time everywhere.
//!
//! Letters: b batch, t frames, h height, w width, c channels, k classes.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, Relu},
    tensor::{Device, Tensor, assert_shape},
};

use super::{Network, scaled_channels};
use crate::{
    Evidence,
    evidence::behind_mean,
    layer::{
        Activation, BatchNorm, Conv3d, ConvConfig, Init, Linear, LinearInit, global_average, op,
    },
};

/// Builds an [`R3d`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct R3dConfig {
    /// Classes.
    pub num_classes: usize,
    /// What the convolutions see.
    pub kernels: ResidualKernels,
    /// Factor on the channels of every stage; 1 is the paper's 64, 128, 256, 512.
    pub width: f64,
    /// Share of the pooled feature that is dropped in training, in `[0, 1)`; the paper's is 0.
    pub dropout: f64,
}

/// What the convolutions of an [`R3d`] see (figure 1 of the paper).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResidualKernels {
    /// R3D: space and time, `3x3x3`.
    Whole,
    /// MC3: space and time in the first stage, then each frame by itself, `1x3x3`; only the stem and the first stage see
    /// motion, and no stage shortens the clip.
    Mixed,
    /// R(2+1)D: `1x3x3`, a norm and a rectifier, then `3x1x1`, with as many channels between as make it about as large as
    /// `3x3x3`.
    Factored,
}

impl R3dConfig {
    /// R3D with 18 layers: torchvision's `r3d_18`.
    pub const fn r3d_18(num_classes: usize) -> Self {
        Self {
            num_classes,
            kernels: ResidualKernels::Whole,
            width: 1.0,
            dropout: 0.0,
        }
    }

    /// MC3 with 18 layers: torchvision's `mc3_18`.
    pub const fn mc3_18(num_classes: usize) -> Self {
        Self {
            kernels: ResidualKernels::Mixed,
            ..Self::r3d_18(num_classes)
        }
    }

    /// R(2+1)D with 18 layers: torchvision's `r2plus1d_18`.
    pub const fn r2plus1d_18(num_classes: usize) -> Self {
        Self {
            kernels: ResidualKernels::Factored,
            ..Self::r3d_18(num_classes)
        }
    }

    /// The network.
    ///
    /// # Panics
    /// If `dropout` is outside `[0, 1)`.
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> R3d {
        let [c1, c2, c3, c4] =
            [64, 128, 256, 512].map(|channels| scaled_channels(channels, self.width));
        let (first, later) = match self.kernels {
            ResidualKernels::Whole => (Kernel::Whole, Kernel::Whole),
            ResidualKernels::Mixed => (Kernel::Whole, Kernel::Flat),
            ResidualKernels::Factored => (Kernel::Factored, Kernel::Factored),
        };
        let stage = |from, to, kernel, stride, init: &mut Init<'_>| {
            vec![
                BasicBlock::new([from, to], kernel, stride, init, device),
                BasicBlock::new([to, to], kernel, 1, init, device),
            ]
        };
        R3d {
            stem: Stem::new(c1, first, init, device),
            layer1: stage(c1, c1, first, 1, init),
            layer2: stage(c1, c2, later, 2, init),
            layer3: stage(c2, c3, later, 2, init),
            layer4: stage(c3, c4, later, 2, init),
            dropout: DropoutConfig::new(self.dropout).init(),
            fc: Linear::new(
                [c4, self.num_classes],
                LinearInit::Normal(0.01),
                init,
                device,
            ),
        }
    }
}

/// What one convolution sees: see [`ResidualKernels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    Whole,
    Flat,
    Factored,
}

/// A residual network of convolutions over clips.
#[derive(Module, Debug)]
pub struct R3d {
    stem: Stem,
    layer1: Vec<BasicBlock>,
    layer2: Vec<BasicBlock>,
    layer3: Vec<BasicBlock>,
    layer4: Vec<BasicBlock>,
    dropout: Dropout,
    fc: Linear,
}

impl Network for R3d {
    /// What the classifier sees, in `f32` whatever the type of the clips.
    fn features(&self, clips: Tensor<5>) -> Tensor<2> {
        global_average(self.feature_map(clips))
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.fc.forward(self.dropout.forward(features))
    }

    /// What in clips speaks for a class: the last feature map by the classifier's weights, over the number of places. That is
    /// Grad-CAM, since the gradient of a logit through a mean and a linear layer is just that.
    fn evidence(&self, clips: Tensor<5>, class: usize) -> Evidence {
        let gradient = self.fc.weights_of(class).unsqueeze_dim(0);
        behind_mean(self.feature_map(clips), gradient)
    }

    fn num_features(&self) -> usize {
        self.fc.num_inputs()
    }

    fn num_classes(&self) -> usize {
        self.fc.num_outputs()
    }

    fn head(&self) -> &'static str {
        "fc."
    }
}

impl R3d {
    /// `[b, t, h, w, 3]` to `[b, t / 8, h / 16, w / 16, 512]` at width 1, and all `t` for MC3; in the type of the clips.
    fn feature_map(&self, clips: Tensor<5>) -> Tensor<5> {
        assert_shape!(clips, [_, _, _, _, 3]);
        let x = self.stem.forward(clips); // [b, t, h / 2, w / 2, 64]
        let stages = [&self.layer1, &self.layer2, &self.layer3, &self.layer4];
        // Stages 2 to 4 halve space, and time where their kernels see it.
        stages
            .into_iter()
            .flatten()
            .fold(x, |x, block| block.forward(x))
    }
}

/// The first convolution, over pixels.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a network has one stem")]
enum Stem {
    Whole((Conv3d, BatchNorm)),
    Factored((Conv3d, BatchNorm, Relu, Conv3d, BatchNorm)),
}

impl Stem {
    fn new(channels: usize, kernel: Kernel, init: &mut Init<'_>, device: &Device) -> Self {
        let norm = |channels| BatchNorm::new(channels, Activation::Relu, device);
        let over = |[from, to]: [usize; 2], kernel| {
            ConvConfig::new(from, to, kernel).with_stride([1, 2, 2])
        };
        if kernel == Kernel::Factored {
            // torchvision's; the formula of the blocks gives 43.
            let between = channels_of_stem(channels);
            let in_space = over([3, between], [1, 7, 7]).init(init, device);
            let in_time = ConvConfig::new(between, channels, [3, 1, 1]).init(init, device);
            return Self::Factored((
                in_space,
                norm(between),
                Relu::new(),
                in_time,
                norm(channels),
            ));
        }
        let conv = over([3, channels], [3, 7, 7]).init(init, device);
        Self::Whole((conv, norm(channels)))
    }

    fn forward(&self, clips: Tensor<5>) -> Tensor<5> {
        match self {
            Self::Whole((conv, norm)) => conv.forward_normed(clips, norm, None),
            Self::Factored((in_space, between, _, in_time, norm)) => {
                let x = in_space.forward_normed(clips, between, None);
                in_time.forward_normed(x, norm, None)
            }
        }
    }
}

/// Channels between the two convolutions of R(2+1)D's stem, for `channels` after it: 45 for 64.
const fn channels_of_stem(channels: usize) -> usize {
    channels * 45 / 64
}

/// A convolution with a kernel of one of the three kinds.
#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a few dozen in a network, beside weights that are far larger"
)]
enum Conv {
    Single(Conv3d),
    Factored((Conv3d, BatchNorm, Relu, Conv3d)),
}

impl Conv {
    /// `between` channels lie inside where the kernel is factored.
    fn new(
        [from, between, to]: [usize; 3],
        kernel: Kernel,
        stride: usize,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Self {
        let single = |from, to, kernel: [usize; 3], stride, init: &mut Init<'_>| {
            ConvConfig::new(from, to, kernel)
                .with_stride(stride)
                .init(init, device)
        };
        let in_space = [1, stride, stride];
        match kernel {
            Kernel::Whole => Self::Single(single(from, to, [3; 3], [stride; 3], init)),
            Kernel::Flat => Self::Single(single(from, to, [1, 3, 3], in_space, init)),
            Kernel::Factored => Self::Factored((
                single(from, between, [1, 3, 3], in_space, init),
                BatchNorm::new(between, Activation::Relu, device),
                Relu::new(),
                single(between, to, [3, 1, 1], [stride, 1, 1], init),
            )),
        }
    }

    fn forward_normed(
        &self,
        x: Tensor<5>,
        norm: &BatchNorm,
        residual: Option<Tensor<5>>,
    ) -> Tensor<5> {
        match self {
            Self::Single(conv) => conv.forward_normed(x, norm, residual),
            Self::Factored((in_space, between, _, in_time)) => {
                let x = in_space.forward_normed(x, between, None);
                in_time.forward_normed(x, norm, residual)
            }
        }
    }
}

/// Channels between the two convolutions of R(2+1)D: the most with which they have no more weights than the `3x3x3` that
/// they stand for (section 3.5 of the paper).
const fn channels_between([from, to]: [usize; 2]) -> usize {
    from * to * 27 / (from * 9 + 3 * to)
}

/// Two convolutions and a way round them.
#[derive(Module, Debug)]
struct BasicBlock {
    conv1: (Conv, BatchNorm),
    conv2: (Conv, BatchNorm),
    downsample: Option<(Conv3d, BatchNorm)>,
}

impl BasicBlock {
    fn new(
        [from, to]: [usize; 2],
        kernel: Kernel,
        stride: usize,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Self {
        let norm = |activation| BatchNorm::new(to, activation, device);
        // torchvision gives the second convolution as many as the first.
        let between = channels_between([from, to]);
        let first = Conv::new([from, between, to], kernel, stride, init, device);
        let second = Conv::new([to, between, to], kernel, 1, init, device);
        let in_time = if kernel == Kernel::Flat { 1 } else { stride };
        let downsample = (stride > 1 || from != to).then(|| {
            let conv = ConvConfig::new(from, to, [1; 3])
                .with_stride([in_time, stride, stride])
                .init(init, device);
            (conv, norm(Activation::Identity))
        });
        Self {
            conv1: (first, norm(Activation::Relu)),
            conv2: (second, norm(Activation::Relu)),
            downsample,
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let (conv1, norm1) = &self.conv1;
        let (conv2, norm2) = &self.conv2;
        let [y, x] = op::fork(x);
        let y = conv1.forward_normed(y, norm1, None);
        let x = match &self.downsample {
            Some((conv, norm)) => conv.forward_normed(x, norm, None),
            None => x,
        };
        conv2.forward_normed(y, norm2, Some(x))
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;
    use crate::evidence::grad_cam;

    #[test]
    fn factored_kernels_have_the_channels_of_the_paper() {
        // Those of torchvision's r2plus1d_18, read off its state dict.
        for (channels, expected) in [([64, 64], 144), ([64, 128], 230), ([256, 512], 921)] {
            assert_eq!(channels_between(channels), expected);
            let [from, to] = channels;
            let weights = |between| between * (9 * from + 3 * to);
            assert!(weights(expected) <= 27 * from * to && weights(expected + 1) > 27 * from * to);
        }
        assert_eq!(channels_of_stem(64), 45);
    }

    #[test]
    fn cam_is_grad_cam() {
        let config = R3dConfig {
            width: 0.125,
            ..R3dConfig::r3d_18(3)
        };
        let build =
            |device: &Device| config.init(&mut Init::Random(&mut rng_for(3, 0, 0, 0)), device);
        let clips = || grad_cam::clips([2, 16, 32, 48, 3]);
        let model = build(&Device::flex());
        let tape = build(&Device::flex().autodiff());
        let speaks = grad_cam::check(
            &model.evidence(clips(), 1),
            model.feature_map(clips()),
            |map| tape.classify(global_average(map)).narrow(1, 1, 1),
        );
        assert!(speaks > 0.0, "something speaks for the class");
    }
}
