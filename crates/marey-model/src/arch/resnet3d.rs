//! A residual network of bottlenecks over clips, 50 layers deep: SlowOnly, and each of SlowFast's two pathways
//! (Feichtenhofer et al., "SlowFast Networks for Video Recognition", ICCV 2019, table 1), with the names of mmaction2's
//! `ResNet3dPathway`.
//!
//! Letters: b batch, t frames, h height, w width, c channels.

use burn::{
    module::Module,
    tensor::{Device, Tensor, assert_shape},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::layer::{Activation, BatchNorm, Conv3d, ConvConfig, Init, MaxPool3d, op};

/// Bottlenecks of each stage.
const DEPTHS: [usize; 4] = [3, 4, 6, 3];

/// Builds a [`Pathway`].
#[derive(Clone, Copy, Debug)]
pub(super) struct PathwayConfig {
    /// Channels behind the stem; stage `i` has `4 * 2^i` times as many.
    pub(super) channels: usize,
    /// Frames that the stem's kernel spans.
    pub(super) stem_frames: usize,
    /// For each stage: does the first convolution of its bottlenecks span 3 frames (else 1)?
    pub(super) sees_time: [bool; 4],
    /// What joins from a faster pathway, if anything does.
    pub(super) laterals: Option<LateralConfig>,
}

/// What a faster pathway sends to this one, behind the stem and the stages but the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct LateralConfig {
    /// Channels behind the faster pathway's stem.
    pub(super) from: usize,
    /// Frames that the kernel spans.
    pub(super) kernel: usize,
    /// Frames of the faster pathway for one of this.
    pub(super) speed_ratio: usize,
    /// What follows the convolution.
    pub(super) end: Lateral,
}

/// What follows the convolution that joins two pathways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lateral {
    /// Nothing, as in mmaction2.
    Plain,
    /// A norm and a rectifier, as in PySlowFast and pytorchvideo.
    Normed,
}

impl Lateral {
    /// Its name in recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Normed => "normed",
        }
    }
}

impl PathwayConfig {
    /// The pathway.
    pub(super) fn init(&self, init: &mut Init<'_>, device: &Device) -> Pathway {
        let c = self.channels;
        let conv1 = Unit::new(
            ConvConfig::new(3, c, [self.stem_frames, 7, 7]).with_stride([1, 2, 2]),
            c,
            Activation::Relu,
            init,
            device,
        );
        let (mut from, mut joined) = (c, Vec::new());
        let mut stages = Vec::new();
        for (idx, depth) in DEPTHS.into_iter().enumerate() {
            let lateral = self.laterals.map(|lateral| lateral.init(idx, init, device));
            let added = self.laterals.map_or(0, |lateral| lateral.added(idx));
            joined.push(lateral);
            let (inner, stride) = (c << idx, if idx == 0 { 1 } else { 2 });
            let block = |block_idx: usize| {
                let (from, stride) = if block_idx == 0 {
                    (from + added, stride)
                } else {
                    (4 * inner, 1)
                };
                Bottleneck::new([from, inner], self.sees_time[idx], stride, init, device)
            };
            stages.push((0..depth).map(block).collect());
            from = 4 * inner;
        }
        let [layer1, layer2, layer3, layer4] = stages.try_into().expect("four stages");
        let [
            conv1_lateral,
            layer1_lateral,
            layer2_lateral,
            layer3_lateral,
        ] = joined.try_into().expect("one before each stage");
        Pathway {
            conv1,
            conv1_lateral,
            layer1,
            layer1_lateral,
            layer2,
            layer2_lateral,
            layer3,
            layer3_lateral,
            layer4,
            pool: MaxPool3d::new([1, 3, 3], [1, 2, 2]),
        }
    }

    /// Channels behind the last stage.
    pub(super) const fn num_features(&self) -> usize {
        self.channels * 32
    }
}

impl LateralConfig {
    /// Channels of the faster pathway in front of stage `idx`.
    const fn channels(&self, idx: usize) -> usize {
        match idx {
            0 => self.from,
            idx => self.from << (idx + 1),
        }
    }

    /// Channels that join in front of stage `idx`: twice those of the faster pathway.
    const fn added(&self, idx: usize) -> usize {
        2 * self.channels(idx)
    }

    fn init(&self, idx: usize, init: &mut Init<'_>, device: &Device) -> LateralUnit {
        let (from, to) = (self.channels(idx), self.added(idx));
        let conv = ConvConfig::new(from, to, [self.kernel, 1, 1])
            .with_stride([self.speed_ratio, 1, 1])
            .init(init, device);
        let bn =
            (self.end == Lateral::Normed).then(|| BatchNorm::new(to, Activation::Relu, device));
        LateralUnit { conv, bn }
    }
}

/// Stem and four stages. The laterals belong to the slower of two pathways.
#[derive(Module, Debug)]
pub(super) struct Pathway {
    conv1: Unit,
    conv1_lateral: Option<LateralUnit>,
    layer1: Vec<Bottleneck>,
    layer1_lateral: Option<LateralUnit>,
    layer2: Vec<Bottleneck>,
    layer2_lateral: Option<LateralUnit>,
    layer3: Vec<Bottleneck>,
    layer3_lateral: Option<LateralUnit>,
    layer4: Vec<Bottleneck>,
    pool: MaxPool3d,
}

impl Pathway {
    /// `[b, t, h, w, 3]` to `[b, t, h / 4, w / 4, c]`.
    pub(super) fn stem(&self, clips: Tensor<5>) -> Tensor<5> {
        assert_shape!(clips, [_, _, _, _, 3]);
        self.pool.forward(self.conv1.forward(clips, None))
    }

    /// Stage `idx`, from 0 on; the last three halve space. With a faster pathway, its map in front of this stage joins.
    pub(super) fn stage(&self, idx: usize, x: Tensor<5>, faster: Option<Tensor<5>>) -> Tensor<5> {
        let (lateral, blocks) = match idx {
            0 => (&self.conv1_lateral, &self.layer1),
            1 => (&self.layer1_lateral, &self.layer2),
            2 => (&self.layer2_lateral, &self.layer3),
            3 => (&self.layer3_lateral, &self.layer4),
            _ => panic!("stage {idx} of 4"),
        };
        let x = match (lateral, faster) {
            (Some(lateral), Some(faster)) => Tensor::cat(vec![x, lateral.forward(faster)], 4),
            (None, None) => x,
            _ => panic!("laterals come with a faster pathway"),
        };
        blocks.iter().fold(x, |x, block| block.forward(x))
    }

    /// All of it, for a pathway that is alone: `[b, t, h, w, 3]` to `[b, t, h / 32, w / 32, 32 c]`.
    pub(super) fn forward(&self, clips: Tensor<5>) -> Tensor<5> {
        (0..DEPTHS.len()).fold(self.stem(clips), |x, idx| self.stage(idx, x, None))
    }
}

/// A convolution and its norm.
#[derive(Module, Debug)]
struct Unit {
    conv: Conv3d,
    bn: BatchNorm,
}

impl Unit {
    fn new(
        config: ConvConfig<3>,
        channels: usize,
        activation: Activation,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Self {
        Self {
            conv: config.init(init, device),
            bn: BatchNorm::new(channels, activation, device),
        }
    }

    fn forward(&self, x: Tensor<5>, residual: Option<Tensor<5>>) -> Tensor<5> {
        self.conv.forward_normed(x, &self.bn, residual)
    }
}

/// A convolution over time, from a faster pathway to a slower.
#[derive(Module, Debug)]
struct LateralUnit {
    conv: Conv3d,
    bn: Option<BatchNorm>,
}

impl LateralUnit {
    fn forward(&self, faster: Tensor<5>) -> Tensor<5> {
        match &self.bn {
            Some(norm) => self.conv.forward_normed(faster, norm, None),
            None => self.conv.forward(faster),
        }
    }
}

/// Three convolutions, over time, over space and over channels, and a way round them.
#[derive(Module, Debug)]
struct Bottleneck {
    conv1: Unit,
    conv2: Unit,
    conv3: Unit,
    downsample: Option<Unit>,
}

impl Bottleneck {
    fn new(
        [from, inner]: [usize; 2],
        sees_time: bool,
        stride: usize,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Self {
        let (to, in_space) = (4 * inner, [1, stride, stride]);
        let frames = if sees_time { 3 } else { 1 };
        let unit = |config, channels, activation, init: &mut Init<'_>| {
            Unit::new(config, channels, activation, init, device)
        };
        let over_space = ConvConfig::new(inner, inner, [1, 3, 3]).with_stride(in_space);
        let around = ConvConfig::new(from, to, [1; 3]).with_stride(in_space);
        Self {
            conv1: unit(
                ConvConfig::new(from, inner, [frames, 1, 1]),
                inner,
                Activation::Relu,
                init,
            ),
            conv2: unit(over_space, inner, Activation::Relu, init),
            conv3: unit(
                ConvConfig::new(inner, to, [1; 3]),
                to,
                Activation::Relu,
                init,
            ),
            downsample: (stride > 1 || from != to)
                .then(|| unit(around, to, Activation::Identity, init)),
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let [y, x] = op::fork(x);
        let y = self.conv1.forward(y, None);
        let y = self.conv2.forward(y, None);
        let x = match &self.downsample {
            Some(downsample) => downsample.forward(x, None),
            None => x,
        };
        self.conv3.forward(y, Some(x))
    }
}
