//! X3D (Feichtenhofer, "X3D: Expanding Architectures for Efficient Video Recognition", CVPR 2020, table 1), with the names
//! of pytorchvideo's `x3d_xs`, `x3d_s` and `x3d_m`. These three are one network for clips of other sizes: XS is meant for
//! 4 frames of 160 pixels, S for 13 of 160 and M for 16 of 224.
//!
//! Letters: b batch, t frames, h height, w width, c channels, k classes.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, Relu},
    tensor::{Device, Tensor, assert_shape},
};
use marey_kernel::channel_scale;

use super::{Network, scaled_channels};
use crate::{
    Evidence,
    evidence::behind_mean,
    layer::{
        Activation, BatchNorm, Conv3d, ConvConfig, Init, Linear, LinearInit, global_average, op,
    },
};

/// Blocks and output channels of each stage: the paper's X2D, deepened 2.2 and widened 2 times.
const STAGES: [(usize, usize); 4] = [(3, 24), (5, 48), (11, 96), (7, 192)];

/// Inner channels of a block for one of its output.
const EXPANSION: f64 = 2.25;

/// Inner channels that squeeze-and-excitation reduces to, for one.
const SQUEEZE: f64 = 0.0625;

/// Builds an [`X3d`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct X3dConfig {
    /// Classes.
    pub num_classes: usize,
    /// Factor on the channels; 1 is 24 to 192, and 2048 that the classifier sees.
    pub width: f64,
    /// Share of what the classifier sees that is dropped in training, in `[0, 1)`.
    pub dropout: f64,
}

impl X3dConfig {
    /// X3D-XS, X3D-S and X3D-M, dropout 0.5: 3.79 M parameters at 400 classes.
    pub const fn published(num_classes: usize) -> Self {
        Self {
            num_classes,
            width: 1.0,
            dropout: 0.5,
        }
    }

    /// The network.
    ///
    /// # Panics
    /// If `dropout` is outside `[0, 1)`.
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> X3d {
        let scaled = |channels| scaled_channels(channels, self.width);
        let stem = Stem::new(scaled(24), init, device);
        let mut from = scaled(24);
        let stages = STAGES.map(|(depth, channels)| {
            let to = scaled(channels);
            let res_blocks = (0..depth)
                .map(|idx| Block::new([if idx == 0 { from } else { to }, to], idx, init, device))
                .collect();
            from = to;
            Stage { res_blocks }
        });
        let [first, second, third, fourth] = stages;
        let (inner, features) = (expanded(from), scaled(2048));
        let pool = ProjectedPool {
            pre_conv: ConvConfig::new(from, inner, [1; 3]).init(init, device),
            pre_norm: BatchNorm::new(inner, Activation::Relu, device),
            post_conv: ConvConfig::new(inner, features, [1; 3]).init(init, device),
        };
        let proj = [features, self.num_classes];
        let head = Head {
            pool,
            proj: Linear::new(proj, LinearInit::Normal(0.01), init, device),
        };
        X3d {
            blocks: (stem, first, second, third, fourth, head),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

fn expanded(channels: usize) -> usize {
    (EXPANSION * channels as f64) as usize
}

/// Residual blocks of depthwise convolutions over clips.
#[derive(Module, Debug)]
pub struct X3d {
    /// Named by position, as in the upstream checkpoints.
    blocks: (Stem, Stage, Stage, Stage, Stage, Head),
    dropout: Dropout,
}

impl Network for X3d {
    /// What the classifier sees, in `f32` whatever the type of the clips: the mean of the last map over all of the clip,
    /// projected.
    fn features(&self, clips: Tensor<5>) -> Tensor<2> {
        self.head()
            .pool
            .project(self.feature_map(clips))
            .clamp_min(0.0)
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.head().proj.forward(self.dropout.forward(features))
    }

    /// What in clips speaks for a class: Grad-CAM of the map that is averaged. Behind the mean there are a projection, a
    /// rectifier and the classifier, so that the gradient is that of each clip.
    fn evidence(&self, clips: Tensor<5>, class: usize) -> Evidence {
        let Head { pool, proj } = self.head();
        let map = self.feature_map(clips);
        let projected = pool.project(map.clone());
        let weights = proj.weights_of(class).unsqueeze_dim::<2>(0);
        let gradient = projected.greater_elem(0.0).float() * weights;
        behind_mean(map, pool.post_conv.pixel_gradient(gradient))
    }

    fn num_features(&self) -> usize {
        self.head().proj.num_inputs()
    }

    fn num_classes(&self) -> usize {
        self.head().proj.num_outputs()
    }

    fn head(&self) -> &'static str {
        "blocks.5.proj."
    }
}

impl X3d {
    /// `[b, t, h, w, 3]` to `[b, t, h / 32, w / 32, 432]` at width 1, in the type of the clips.
    fn feature_map(&self, clips: Tensor<5>) -> Tensor<5> {
        assert_shape!(clips, [_, _, _, _, 3]);
        let (stem, first, second, third, fourth, head) = &self.blocks;
        let x = stem.forward(clips); // [b, t, h / 2, w / 2, 24]
        let x = [first, second, third, fourth]
            .into_iter()
            .flat_map(|stage| &stage.res_blocks)
            .fold(x, |x, block| block.forward(x)); // [b, t, h / 32, w / 32, 192]
        let ProjectedPool {
            pre_conv, pre_norm, ..
        } = &head.pool;
        pre_conv.forward_normed(x, pre_norm, None)
    }

    fn head(&self) -> &Head {
        &self.blocks.5
    }
}

/// A convolution over space, then one over time for each channel.
#[derive(Module, Debug)]
struct Stem {
    conv: StemConv,
    norm: BatchNorm,
}

/// Upstream's names: `conv_t` is the first of two, and is over space.
#[derive(Module, Debug)]
struct StemConv {
    conv_t: Conv3d,
    conv_xy: Conv3d,
}

impl Stem {
    fn new(channels: usize, init: &mut Init<'_>, device: &Device) -> Self {
        let conv_t = ConvConfig::new(3, channels, [1, 3, 3])
            .with_stride([1, 2, 2])
            .init(init, device);
        let conv_xy = ConvConfig::new(channels, channels, [5, 1, 1])
            .with_groups(channels)
            .init(init, device);
        Self {
            conv: StemConv { conv_t, conv_xy },
            norm: BatchNorm::new(channels, Activation::Relu, device),
        }
    }

    fn forward(&self, clips: Tensor<5>) -> Tensor<5> {
        let x = self.conv.conv_t.forward(clips);
        self.conv.conv_xy.forward_normed(x, &self.norm, None)
    }
}

#[derive(Module, Debug)]
struct Stage {
    res_blocks: Vec<Block>,
}

/// A bottleneck and a way round it.
#[derive(Module, Debug)]
struct Block {
    branch1_conv: Option<Conv3d>,
    branch1_norm: Option<BatchNorm>,
    branch2: Branch,
}

impl Block {
    /// The block at position `idx` of its stage: the first halves space, and every second one, from the first on, has
    /// squeeze-and-excitation.
    fn new([from, to]: [usize; 2], idx: usize, init: &mut Init<'_>, device: &Device) -> Self {
        let stride = if idx == 0 { [1, 2, 2] } else { [1; 3] };
        let branch1_conv = (idx == 0).then(|| {
            ConvConfig::new(from, to, [1; 3])
                .with_stride(stride)
                .init(init, device)
        });
        // Upstream's first stage, which keeps its channels, has a convolution here and no norm.
        let branch1_norm = (from != to).then(|| BatchNorm::new(to, Activation::Identity, device));
        let inner = expanded(to);
        let se = idx
            .is_multiple_of(2)
            .then(|| SqueezeExcite::new(inner, init, device));
        let after_norm = match se {
            Some(_) => Activation::Identity,
            None => Activation::Silu,
        };
        let conv_b = ConvConfig::new(inner, inner, [3; 3])
            .with_stride(stride)
            .with_groups(inner);
        let branch2 = Branch {
            conv_a: ConvConfig::new(from, inner, [1; 3]).init(init, device),
            norm_a: BatchNorm::new(inner, Activation::Relu, device),
            conv_b: conv_b.init(init, device),
            norm_b: (BatchNorm::new(inner, after_norm, device), se),
            conv_c: ConvConfig::new(inner, to, [1; 3]).init(init, device),
            norm_c: BatchNorm::new(to, Activation::Relu, device),
        };
        Self {
            branch1_conv,
            branch1_norm,
            branch2,
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let [x, around] = op::fork(x);
        let around = match (&self.branch1_conv, &self.branch1_norm) {
            (Some(conv), Some(norm)) => conv.forward_normed(around, norm, None),
            (Some(conv), None) => conv.forward(around),
            (None, _) => around,
        };
        self.branch2.forward(x, around)
    }
}

/// Expand the channels, a convolution over the clip for each of them, project.
#[derive(Module, Debug)]
struct Branch {
    conv_a: Conv3d,
    norm_a: BatchNorm,
    conv_b: Conv3d,
    norm_b: (BatchNorm, Option<SqueezeExcite>),
    conv_c: Conv3d,
    norm_c: BatchNorm,
}

impl Branch {
    fn forward(&self, x: Tensor<5>, around: Tensor<5>) -> Tensor<5> {
        let x = self.conv_a.forward_normed(x, &self.norm_a, None);
        let (norm, se) = &self.norm_b;
        let x = self.conv_b.forward_normed(x, norm, None);
        let x = match se {
            Some(se) => op::activation(se.forward(x), Activation::Silu),
            None => x,
        };
        self.conv_c.forward_normed(x, &self.norm_c, Some(around))
    }
}

/// Weighs each channel by a function of all channels' means (Hu, Shen and Sun, 2018).
#[derive(Module, Debug)]
struct SqueezeExcite {
    /// Named by position, as in the upstream checkpoints.
    block: (Conv3d, Relu, Conv3d),
}

impl SqueezeExcite {
    fn new(channels: usize, init: &mut Init<'_>, device: &Device) -> Self {
        let reduced = scaled_channels(channels, SQUEEZE);
        let layer = |from, to, activation, init: &mut Init<'_>| {
            ConvConfig::new(from, to, [1; 3])
                .with_bias(activation)
                .init(init, device)
        };
        let reduce = layer(channels, reduced, Activation::Relu, init);
        let expand = layer(reduced, channels, Activation::Sigmoid, init);
        Self {
            block: (reduce, Relu::new(), expand),
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let [b, _, _, _, c] = x.dims();
        let (reduce, _, expand) = &self.block;
        let mean = global_average(x.clone()).reshape([b, 1, 1, 1, c]);
        let gate = expand.forward(reduce.forward(mean));
        channel_scale(x, gate.reshape([b, c]))
    }
}

#[derive(Module, Debug)]
struct Head {
    pool: ProjectedPool,
    proj: Linear,
}

/// Expand the channels, take the mean of each, project.
#[derive(Module, Debug)]
struct ProjectedPool {
    pre_conv: Conv3d,
    pre_norm: BatchNorm,
    post_conv: Conv3d,
}

impl ProjectedPool {
    /// `[b, t, h, w, 432]` to `[b, 2048]` at width 1, before the rectifier.
    fn project(&self, map: Tensor<5>) -> Tensor<2> {
        let [b, _, _, _, c] = map.dims();
        let mean = global_average(map).reshape([b, 1, 1, 1, c]);
        let projected = self.post_conv.forward(mean);
        let [.., d] = projected.dims();
        projected.reshape([b, d])
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;
    use crate::evidence::grad_cam;

    #[test]
    fn evidence_is_grad_cam() {
        let mut config = X3dConfig::published(3);
        (config.width, config.dropout) = (0.125, 0.0);
        let build =
            |device: &Device| config.init(&mut Init::Random(&mut rng_for(3, 0, 0, 0)), device);
        let clips = || grad_cam::clips([2, 4, 64, 48, 3]);
        let model = build(&Device::flex());
        let tape = build(&Device::flex().autodiff());
        let speaks = grad_cam::check(
            &model.evidence(clips(), 1),
            model.feature_map(clips()),
            |map| {
                tape.classify(tape.head().pool.project(map).clamp_min(0.0))
                    .narrow(1, 1, 1)
            },
        );
        assert!(speaks > 0.0, "something speaks for the class");
    }
}
