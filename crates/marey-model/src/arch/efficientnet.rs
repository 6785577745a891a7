//! EfficientNet (Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019) as
//! a feature extractor, with the names and the initial values of timm's `efficientnet_b0` to `efficientnet_b4`.
//!
//! Letters: b batch, h height, w width, c channels.

use burn::{
    module::Module,
    tensor::{Device, Tensor, assert_shape},
};
use marey_kernel::channel_scale;

use super::scaled_channels;
use crate::layer::{Activation, BatchNorm, Conv2d, ConvConfig, DropPath, Init, global_average, op};

/// Repeats, kernel, stride, expansion and output channels of each stage (table 1 of the paper).
const STAGES: [Stage; 7] = [
    Stage {
        repeats: 1,
        kernel: 3,
        stride: 1,
        expansion: 1,
        channels: 16,
    },
    Stage {
        repeats: 2,
        kernel: 3,
        stride: 2,
        expansion: 6,
        channels: 24,
    },
    Stage {
        repeats: 2,
        kernel: 5,
        stride: 2,
        expansion: 6,
        channels: 40,
    },
    Stage {
        repeats: 3,
        kernel: 3,
        stride: 2,
        expansion: 6,
        channels: 80,
    },
    Stage {
        repeats: 3,
        kernel: 5,
        stride: 1,
        expansion: 6,
        channels: 112,
    },
    Stage {
        repeats: 4,
        kernel: 5,
        stride: 2,
        expansion: 6,
        channels: 192,
    },
    Stage {
        repeats: 1,
        kernel: 3,
        stride: 1,
        expansion: 6,
        channels: 320,
    },
];

#[derive(Clone, Copy)]
struct Stage {
    repeats: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
}

/// Which of the paper's networks: B0 scaled up by its compound coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EfficientNetSize {
    /// The base.
    B0,
    /// Blocks times 1.1.
    B1,
    /// Channels times 1.1, blocks times 1.2.
    B2,
    /// Channels times 1.2, blocks times 1.4.
    B3,
    /// Channels times 1.4, blocks times 1.8.
    B4,
}

impl EfficientNetSize {
    /// Factor on the channels, and that on the blocks of a stage.
    const fn coefficients(self) -> [f64; 2] {
        match self {
            Self::B0 => [1.0, 1.0],
            Self::B1 => [1.0, 1.1],
            Self::B2 => [1.1, 1.2],
            Self::B3 => [1.2, 1.4],
            Self::B4 => [1.4, 1.8],
        }
    }
}

/// Builds an [`EfficientNet`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EfficientNetConfig {
    /// Which of the paper's networks.
    pub size: EfficientNetSize,
    /// Factor on the channels of `size`; 1 is the published number.
    pub width: f64,
    /// Probability that the last block's branch is dropped in training, in `[0, 1)`; earlier blocks' grow to it from 0.
    pub drop_path: f64,
}

impl EfficientNetConfig {
    /// The published network, nothing dropped.
    pub const fn new(size: EfficientNetSize) -> Self {
        Self {
            size,
            width: 1.0,
            drop_path: 0.0,
        }
    }

    /// Channels of the feature: 1280 for B0 at width 1.
    pub fn num_features(&self) -> usize {
        self.scaled(1280)
    }

    fn scaled(&self, channels: usize) -> usize {
        let [width, _] = self.size.coefficients();
        scaled_channels(channels, width * self.width)
    }

    /// The stages with their number of blocks.
    fn stages(&self) -> [Stage; 7] {
        let [_, depth] = self.size.coefficients();
        STAGES.map(|stage| Stage {
            repeats: (stage.repeats as f64 * depth).ceil() as usize,
            ..stage
        })
    }

    /// The network.
    ///
    /// # Panics
    /// If `drop_path` is outside `[0, 1)`.
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> EfficientNet {
        let scaled = |channels| self.scaled(channels);
        let stages = self.stages();
        let num_blocks: usize = stages.iter().map(|stage| stage.repeats).sum();
        let conv_stem = ConvConfig::new(3, scaled(32), [3; 2])
            .with_stride([2; 2])
            .init(init, device);
        let (mut from, mut idx) = (scaled(32), 0);
        let mut blocks = Vec::new();
        for stage in stages {
            let mut of_stage = Vec::new();
            for repeat in 0..stage.repeats {
                let stride = if repeat == 0 { stage.stride } else { 1 };
                let drop_path = self.drop_path * idx as f64 / num_blocks as f64;
                let stage = Stage {
                    stride,
                    channels: scaled(stage.channels),
                    ..stage
                };
                of_stage.push(Block::new(from, stage, drop_path, init, device));
                (from, idx) = (stage.channels, idx + 1);
            }
            blocks.push(of_stage);
        }
        let features = self.num_features();
        EfficientNet {
            conv_stem,
            bn1: BatchNorm::new(scaled(32), Activation::Silu, device),
            blocks,
            conv_head: ConvConfig::new(from, features, [1; 2]).init(init, device),
            bn2: BatchNorm::new(features, Activation::Silu, device),
        }
    }
}

/// A feature for each picture, in `f32` whatever the type of the pictures.
#[derive(Module, Debug)]
pub struct EfficientNet {
    conv_stem: Conv2d,
    bn1: BatchNorm,
    blocks: Vec<Vec<Block>>,
    conv_head: Conv2d,
    bn2: BatchNorm,
}

impl EfficientNet {
    /// # Shapes
    /// - `pictures`: `[b, h, w, 3]`
    /// - output: `[b, 1280]` for B0 at width 1
    ///
    /// # Panics
    /// If the pictures do not have 3 channels.
    pub fn forward(&self, pictures: Tensor<4>) -> Tensor<2> {
        global_average(self.feature_map(pictures))
    }

    /// What [`EfficientNet::forward`] takes the mean of.
    ///
    /// # Shapes
    /// - `pictures`: `[b, h, w, 3]`
    /// - output: `[b, h / 32, w / 32, 1280]` for B0 at width 1, in the type of the pictures
    ///
    /// # Panics
    /// If the pictures do not have 3 channels.
    pub fn feature_map(&self, pictures: Tensor<4>) -> Tensor<4> {
        assert_shape!(pictures, [_, _, _, 3]);
        let x = self.conv_stem.forward_normed(pictures, &self.bn1, None); // [b, h / 2, w / 2, 32]
        let x = self
            .blocks
            .iter()
            .flatten()
            .fold(x, |x, block| block.forward(x)); // [b, h / 32, w / 32, 320]
        self.conv_head.forward_normed(x, &self.bn2, None)
    }
}

/// One block of a stage.
#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "all blocks but one are of the larger variant"
)]
enum Block {
    Separable(DepthwiseSeparable),
    Inverted(InvertedResidual),
}

impl Block {
    fn new(
        from: usize,
        stage: Stage,
        drop_path: f64,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Self {
        if stage.expansion == 1 {
            Self::Separable(DepthwiseSeparable::new(
                from, stage, drop_path, init, device,
            ))
        } else {
            Self::Inverted(InvertedResidual::new(from, stage, drop_path, init, device))
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Separable(block) => block.forward(x),
            Self::Inverted(block) => block.forward(x),
        }
    }
}

fn depthwise(channels: usize, stage: Stage, init: &mut Init<'_>, device: &Device) -> Conv2d {
    ConvConfig::new(channels, channels, [stage.kernel; 2])
        .with_stride([stage.stride; 2])
        .with_groups(channels)
        .init(init, device)
}

/// The block without an expansion: a convolution a channel, then one over channels.
#[derive(Module, Debug)]
struct DepthwiseSeparable {
    conv_dw: Conv2d,
    bn1: BatchNorm,
    se: SqueezeExcite,
    conv_pw: Conv2d,
    bn2: BatchNorm,
    drop_path: Option<DropPath>,
}

impl DepthwiseSeparable {
    fn new(
        from: usize,
        stage: Stage,
        drop_path: f64,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Self {
        Self {
            conv_dw: depthwise(from, stage, init, device),
            bn1: BatchNorm::new(from, Activation::Silu, device),
            se: SqueezeExcite::new([from, from / 4], init, device),
            conv_pw: ConvConfig::new(from, stage.channels, [1; 2]).init(init, device),
            bn2: BatchNorm::new(stage.channels, Activation::Identity, device),
            drop_path: residual(from, stage, drop_path),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [y, x] = op::fork(x);
        let y = self.conv_dw.forward_normed(y, &self.bn1, None);
        let y = self.se.forward(y);
        project(&self.conv_pw, &self.bn2, y, x, self.drop_path.as_ref())
    }
}

/// Expand the channels, a convolution a channel, squeeze and excite, project (Sandler et al., "MobileNetV2", 2018).
#[derive(Module, Debug)]
struct InvertedResidual {
    conv_pw: Conv2d,
    bn1: BatchNorm,
    conv_dw: Conv2d,
    bn2: BatchNorm,
    se: SqueezeExcite,
    conv_pwl: Conv2d,
    bn3: BatchNorm,
    drop_path: Option<DropPath>,
}

impl InvertedResidual {
    fn new(
        from: usize,
        stage: Stage,
        drop_path: f64,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Self {
        let expanded = from * stage.expansion;
        Self {
            conv_pw: ConvConfig::new(from, expanded, [1; 2]).init(init, device),
            bn1: BatchNorm::new(expanded, Activation::Silu, device),
            conv_dw: depthwise(expanded, stage, init, device),
            bn2: BatchNorm::new(expanded, Activation::Silu, device),
            se: SqueezeExcite::new([expanded, from / 4], init, device),
            conv_pwl: ConvConfig::new(expanded, stage.channels, [1; 2]).init(init, device),
            bn3: BatchNorm::new(stage.channels, Activation::Identity, device),
            drop_path: residual(from, stage, drop_path),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [y, x] = op::fork(x);
        let y = self.conv_pw.forward_normed(y, &self.bn1, None);
        let y = self.conv_dw.forward_normed(y, &self.bn2, None);
        let y = self.se.forward(y);
        project(&self.conv_pwl, &self.bn3, y, x, self.drop_path.as_ref())
    }
}

/// Where input and output have the same shape, the block is a branch beside its input.
fn residual(from: usize, stage: Stage, drop_path: f64) -> Option<DropPath> {
    (stage.stride == 1 && from == stage.channels).then(|| DropPath::new(drop_path))
}

/// The end of a branch, and the block's input added where there is a way round the branch.
fn project(
    conv: &Conv2d,
    norm: &BatchNorm,
    branch: Tensor<4>,
    x: Tensor<4>,
    drop_path: Option<&DropPath>,
) -> Tensor<4> {
    match drop_path {
        Some(drop_path) if drop_path.drops(&branch) => {
            drop_path.forward(conv.forward_normed(branch, norm, None)) + x
        }
        Some(_) => conv.forward_normed(branch, norm, Some(x)),
        None => conv.forward_normed(branch, norm, None),
    }
}

/// Weighs each channel by a function of all channels' means (Hu, Shen and Sun, 2018).
#[derive(Module, Debug)]
struct SqueezeExcite {
    conv_reduce: Conv2d,
    conv_expand: Conv2d,
}

impl SqueezeExcite {
    fn new([channels, reduced]: [usize; 2], init: &mut Init<'_>, device: &Device) -> Self {
        Self {
            conv_reduce: ConvConfig::new(channels, reduced, [1; 2])
                .with_bias(Activation::Silu)
                .init(init, device),
            conv_expand: ConvConfig::new(reduced, channels, [1; 2])
                .with_bias(Activation::Sigmoid)
                .init(init, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, _, _, c] = x.dims();
        let mean = global_average(x.clone()).reshape([b, 1, 1, c]);
        let gate = self.conv_expand.forward(self.conv_reduce.forward(mean));
        channel_scale(x.unsqueeze_dim(1), gate.reshape([b, c])).squeeze_dim(1)
    }
}
