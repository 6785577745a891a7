//! ResNet (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016) as a feature extractor, with the names and
//! the initial values of torchvision's `resnet18`, `resnet34`, `resnet50` and `resnet101`.
//!
//! Bottlenecks have their stride in the 3x3 convolution, as torchvision and mmaction2's `style="pytorch"` do.
//!
//! Letters: n pictures (frames of all clips), t frames of a clip, h height, w width, c channels.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use super::scaled_channels;
use crate::layer::{
    Activation, BatchNorm, Conv2d, ConvConfig, Init, MaxPool3d, global_average, op,
};

/// How many layers a [`ResNet`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResNetDepth {
    /// 18 layers, two 3x3 convolutions a block.
    D18,
    /// 34 layers, two 3x3 convolutions a block.
    D34,
    /// 50 layers in bottlenecks.
    D50,
    /// 101 layers in bottlenecks.
    D101,
}

impl ResNetDepth {
    /// Blocks of each stage (table 1 of the paper).
    const fn blocks(self) -> [usize; 4] {
        match self {
            Self::D18 => [2, 2, 2, 2],
            Self::D34 | Self::D50 => [3, 4, 6, 3],
            Self::D101 => [3, 4, 23, 3],
        }
    }

    const fn has_bottlenecks(self) -> bool {
        matches!(self, Self::D50 | Self::D101)
    }

    /// Channels of a block's output for each of its 3x3 convolution.
    const fn expansion(self) -> usize {
        if self.has_bottlenecks() { 4 } else { 1 }
    }
}

/// Builds a [`ResNet`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResNetConfig {
    /// Its layers.
    pub depth: ResNetDepth,
    /// Channels of the pictures: 3 for colours.
    pub in_channels: usize,
    /// Factor on the channels of every stage; 1 is the paper's 64, 128, 256, 512.
    pub width: f64,
    /// Which share of a block's input channels moves one frame each way before its first convolution: one of this many.
    /// `None`: frames do not meet.
    pub shift: Option<usize>,
}

impl ResNetConfig {
    /// A network for colour pictures, at its published size.
    pub const fn new(depth: ResNetDepth) -> Self {
        Self {
            depth,
            in_channels: 3,
            width: 1.0,
            shift: None,
        }
    }

    /// Channels of the feature: 512 or, with bottlenecks, 2048 at width 1.
    pub fn num_features(&self) -> usize {
        scaled_channels(512, self.width) * self.depth.expansion()
    }

    /// The network.
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> ResNet {
        let scaled = |channels| scaled_channels(channels, self.width);
        let conv1 = ConvConfig::new(self.in_channels, scaled(64), [7; 2])
            .with_stride([2; 2])
            .init(init, device);
        let mut from = scaled(64);
        let mut stage = |channels, num_blocks, stride| -> Vec<Block> {
            let inner = scaled(channels);
            (0..num_blocks)
                .map(|idx| {
                    let stride = if idx == 0 { stride } else { 1 };
                    let channels = [from, inner, inner * self.depth.expansion()];
                    from = channels[2];
                    Block::new(self, channels, stride, init, device)
                })
                .collect()
        };
        let [n1, n2, n3, n4] = self.depth.blocks();
        ResNet {
            conv1,
            bn1: BatchNorm::new(scaled(64), Activation::Relu, device),
            maxpool: MaxPool3d::new([1, 3, 3], [1, 2, 2]),
            layer1: stage(64, n1, 1),
            layer2: stage(128, n2, 2),
            layer3: stage(256, n3, 2),
            layer4: stage(512, n4, 2),
        }
    }
}

/// A feature for each picture, in `f32` whatever the type of the pictures.
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm,
    maxpool: MaxPool3d,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
}

impl ResNet {
    /// # Shapes
    /// - `frames`: `[n, h, w, c]`, clips of `num_frames` each; the number matters only where channels shift
    /// - output: `[n, 2048]` with bottlenecks at width 1
    ///
    /// # Panics
    /// If the pictures have other channels, or are no whole number of clips.
    pub fn forward(&self, frames: Tensor<4>, num_frames: usize) -> Tensor<2> {
        global_average(self.feature_map(frames, num_frames))
    }

    /// What [`ResNet::forward`] takes the mean of.
    ///
    /// # Shapes
    /// - `frames`: as [`ResNet::forward`]
    /// - output: `[n, h / 32, w / 32, 2048]` with bottlenecks at width 1, in the type of the pictures
    ///
    /// # Panics
    /// As [`ResNet::forward`].
    pub fn feature_map(&self, frames: Tensor<4>, num_frames: usize) -> Tensor<4> {
        let x = self.conv1.forward_normed(frames, &self.bn1, None); // [n, h / 2, w / 2, 64]
        let x = self.maxpool.forward(x.unsqueeze_dim(1)).squeeze_dim(1);
        let stages = [&self.layer1, &self.layer2, &self.layer3, &self.layer4];
        // Stages 2 to 4 halve the sides.
        stages
            .into_iter()
            .flatten()
            .fold(x, |x, block| block.forward(x, num_frames))
    }
}

/// One block of a stage.
#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the blocks of a network are all of one variant"
)]
enum Block {
    Basic(BasicBlock),
    Bottleneck(Bottleneck),
}

impl Block {
    fn new(
        config: &ResNetConfig,
        channels: [usize; 3],
        stride: usize,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Self {
        let fold = config.shift.map(|share| channels[0] / share);
        if config.depth.has_bottlenecks() {
            Self::Bottleneck(Bottleneck::new(channels, stride, fold, init, device))
        } else {
            Self::Basic(BasicBlock::new(channels, stride, fold, init, device))
        }
    }

    fn forward(&self, x: Tensor<4>, num_frames: usize) -> Tensor<4> {
        match self {
            Self::Basic(block) => block.forward(x, num_frames),
            Self::Bottleneck(block) => block.forward(x, num_frames),
        }
    }
}

/// Where input and output of a block have different shapes: a 1x1 convolution on the way round it.
fn downsample(
    [from, _, to]: [usize; 3],
    stride: usize,
    init: &mut Init<'_>,
    device: &Device,
) -> Option<(Conv2d, BatchNorm)> {
    (stride > 1 || from != to).then(|| {
        let conv = ConvConfig::new(from, to, [1; 2])
            .with_stride([stride; 2])
            .init(init, device);
        (conv, BatchNorm::new(to, Activation::Identity, device))
    })
}

/// What a block adds to its branch.
fn way_round(downsample: Option<&(Conv2d, BatchNorm)>, x: Tensor<4>) -> Tensor<4> {
    match downsample {
        Some((conv, norm)) => conv.forward_normed(x, norm, None),
        None => x,
    }
}

/// What a block's first convolution sees: its input, some channels of it from the neighbouring frames.
fn shifted(x: Tensor<4>, num_frames: usize, fold: Option<usize>) -> Tensor<4> {
    match fold {
        Some(fold) => op::temporal_shift(x, num_frames, fold),
        None => x,
    }
}

/// Two 3x3 convolutions and a way round them.
#[derive(Module, Debug)]
struct BasicBlock {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    downsample: Option<(Conv2d, BatchNorm)>,
    fold: Option<usize>,
}

impl BasicBlock {
    fn new(
        channels: [usize; 3],
        stride: usize,
        fold: Option<usize>,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Self {
        let [from, inner, to] = channels;
        Self {
            conv1: ConvConfig::new(from, inner, [3; 2])
                .with_stride([stride; 2])
                .init(init, device),
            bn1: BatchNorm::new(inner, Activation::Relu, device),
            conv2: ConvConfig::new(inner, to, [3; 2]).init(init, device),
            bn2: BatchNorm::new(to, Activation::Relu, device),
            downsample: downsample(channels, stride, init, device),
            fold,
        }
    }

    fn forward(&self, x: Tensor<4>, num_frames: usize) -> Tensor<4> {
        let [y, x] = op::fork(x);
        let y = shifted(y, num_frames, self.fold);
        let y = self.conv1.forward_normed(y, &self.bn1, None);
        let x = way_round(self.downsample.as_ref(), x);
        self.conv2.forward_normed(y, &self.bn2, Some(x))
    }
}

/// Fewer channels, a 3x3 convolution, more channels, and a way round them.
#[derive(Module, Debug)]
struct Bottleneck {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    conv3: Conv2d,
    bn3: BatchNorm,
    downsample: Option<(Conv2d, BatchNorm)>,
    fold: Option<usize>,
}

impl Bottleneck {
    fn new(
        channels: [usize; 3],
        stride: usize,
        fold: Option<usize>,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Self {
        let [from, inner, to] = channels;
        Self {
            conv1: ConvConfig::new(from, inner, [1; 2]).init(init, device),
            bn1: BatchNorm::new(inner, Activation::Relu, device),
            conv2: ConvConfig::new(inner, inner, [3; 2])
                .with_stride([stride; 2])
                .init(init, device),
            bn2: BatchNorm::new(inner, Activation::Relu, device),
            conv3: ConvConfig::new(inner, to, [1; 2]).init(init, device),
            bn3: BatchNorm::new(to, Activation::Relu, device),
            downsample: downsample(channels, stride, init, device),
            fold,
        }
    }

    fn forward(&self, x: Tensor<4>, num_frames: usize) -> Tensor<4> {
        let [y, x] = op::fork(x);
        let y = shifted(y, num_frames, self.fold);
        let y = self.conv1.forward_normed(y, &self.bn1, None);
        let y = self.conv2.forward_normed(y, &self.bn2, None);
        let x = way_round(self.downsample.as_ref(), x);
        self.conv3.forward_normed(y, &self.bn3, Some(x))
    }
}
