//! I3D: Inception-v1 with its kernels inflated to clips (Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR
//! 2017, figure 3), with the names of the weights that are in use for PyTorch (`rgb_imagenet.pt`),
//! in lower case.
//!
//! Everything is padded as TensorFlow's `SAME`, unevenly where sizes are even.
//!
//! Letters: b batch, t frames, h height, w width, c channels, k classes.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig},
    tensor::{Device, Tensor, assert_shape, ops::PadMode},
};

use super::{Network, scaled_channels};
use crate::{
    Evidence,
    evidence::behind_mean,
    layer::{
        Activation, AvgPool3d, BatchNorm, Conv3d, ConvConfig, Init, MaxPool3d, global_average,
        same_padding,
    },
};

/// Sides of the stem's kernel.
const STEM_KERNEL: usize = 7;

/// Builds an [`I3d`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct I3dConfig {
    /// Classes.
    pub num_classes: usize,
    /// Factor on the channels; 1 is the paper's 64 behind the stem and 1024 in the end.
    pub width: f64,
    /// Share of the pooled feature that is dropped in training, in `[0, 1)`.
    pub dropout: f64,
}

impl I3dConfig {
    /// The paper's network, dropout 0.5; published weights see 64 frames of 224 pixels.
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
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> I3d {
        let scaled = |channels| scaled_channels(channels, self.width);
        let stem = ConvConfig::new(3, scaled(64), [STEM_KERNEL; 3])
            .with_stride([2; 3])
            .with_padding([0; 3]);
        let conv1a = Unit::new(stem, scaled(64), init, device);
        let unit = |from, to, kernel, init: &mut Init<'_>| {
            Unit::new(
                ConvConfig::new(scaled(from), scaled(to), kernel),
                scaled(to),
                init,
                device,
            )
        };
        let conv2b = unit(64, 64, [1; 3], init);
        let conv2c = unit(64, 192, [3; 3], init);
        let mut from = scaled(192);
        let mut mixed = |channels: [usize; 6]| {
            let inception = Inception::new(from, channels.map(scaled), init, device);
            from = inception.num_outputs();
            inception
        };
        let mixed_3 = [[64, 96, 128, 16, 32, 32], [128, 128, 192, 32, 96, 64]].map(&mut mixed);
        let mixed_4 = [
            [192, 96, 208, 16, 48, 64],
            [160, 112, 224, 24, 64, 64],
            [128, 128, 256, 24, 64, 64],
            [112, 144, 288, 32, 64, 64],
            [256, 160, 320, 32, 128, 128],
        ]
        .map(&mut mixed);
        let mixed_5 =
            [[256, 160, 320, 32, 128, 128], [384, 192, 384, 48, 128, 128]].map(&mut mixed);
        let ([b3, c3], [b4, c4, d4, e4, f4], [b5, c5]) = (mixed_3, mixed_4, mixed_5);
        let logits = ConvConfig::new(from, self.num_classes, [1; 3]);
        I3d {
            conv3d_1a_7x7: conv1a,
            conv3d_2b_1x1: conv2b,
            conv3d_2c_3x3: conv2c,
            mixed_3b: b3,
            mixed_3c: c3,
            mixed_4b: b4,
            mixed_4c: c4,
            mixed_4d: d4,
            mixed_4e: e4,
            mixed_4f: f4,
            mixed_5b: b5,
            mixed_5c: c5,
            pool_2a: MaxPool3d::same([1, 3, 3], [1, 2, 2]),
            pool_3a: MaxPool3d::same([1, 3, 3], [1, 2, 2]),
            pool_4a: MaxPool3d::same([3; 3], [2; 3]),
            pool_5a: MaxPool3d::same([2; 3], [2; 3]),
            pairs: AvgPool3d::new([2, 1, 1], [1; 3]),
            dropout: DropoutConfig::new(self.dropout).init(),
            logits: Logits {
                conv3d: logits.with_bias(Activation::Identity).init(init, device),
            },
        }
    }
}

/// Inception over clips.
#[derive(Module, Debug)]
pub struct I3d {
    conv3d_1a_7x7: Unit,
    conv3d_2b_1x1: Unit,
    conv3d_2c_3x3: Unit,
    mixed_3b: Inception,
    mixed_3c: Inception,
    mixed_4b: Inception,
    mixed_4c: Inception,
    mixed_4d: Inception,
    mixed_4e: Inception,
    mixed_4f: Inception,
    mixed_5b: Inception,
    mixed_5c: Inception,
    pool_2a: MaxPool3d,
    pool_3a: MaxPool3d,
    pool_4a: MaxPool3d,
    pool_5a: MaxPool3d,
    pairs: AvgPool3d,
    dropout: Dropout,
    logits: Logits,
}

#[derive(Module, Debug)]
struct Logits {
    conv3d: Conv3d,
}

impl Network for I3d {
    /// What the classifier sees, in `f32` whatever the type of the clips: the mean over space of the means of neighbouring
    /// frames of the last map. So the first and the last of them weigh half of what others do, as in the paper.
    fn features(&self, clips: Tensor<5>) -> Tensor<2> {
        let map = self.feature_map(clips);
        // The mean over pictures of 7x7 that follows in the paper is part of the global one.
        global_average(if map.dims()[1] > 1 {
            self.pairs.forward(map)
        } else {
            map
        })
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        let [b, d] = features.dims();
        // Upstream takes the mean over time behind this, which is the same, both being linear.
        let pixels = self.dropout.forward(features).reshape([b, 1, 1, 1, d]);
        let k = self.num_classes();
        self.logits.conv3d.forward(pixels).reshape([b, k])
    }

    /// What in clips speaks for a class: Grad-CAM of the last map. The mean gradient of a channel is the classifier's
    /// weight, over the number of places, whatever the frames weigh.
    fn evidence(&self, clips: Tensor<5>, class: usize) -> Evidence {
        let gradient = self.logits.conv3d.pixel_weights_of(class).unsqueeze_dim(0);
        behind_mean(self.feature_map(clips), gradient)
    }

    fn num_features(&self) -> usize {
        self.mixed_5c.num_outputs()
    }

    fn num_classes(&self) -> usize {
        self.logits.conv3d.num_outputs()
    }

    fn head(&self) -> &'static str {
        "logits.conv3d."
    }
}

impl I3d {
    /// `[b, t, h, w, 3]` to `[b, t / 8, h / 32, w / 32, 1024]` at width 1, in the type of the clips.
    fn feature_map(&self, clips: Tensor<5>) -> Tensor<5> {
        assert_shape!(clips, [_, _, _, _, 3]);
        let x = self.conv3d_1a_7x7.forward(padded_for_stem(clips)); // [b, t / 2, h / 2, w / 2, 64]
        let x = self.conv3d_2b_1x1.forward(self.pool_2a.forward(x));
        let x = self.pool_3a.forward(self.conv3d_2c_3x3.forward(x)); // [b, t / 2, h / 8, w / 8, 192]
        let x = self.mixed_3c.forward(self.mixed_3b.forward(x));
        let x = self.pool_4a.forward(x); // [b, t / 4, h / 16, w / 16, 480]
        let fourth = [
            &self.mixed_4b,
            &self.mixed_4c,
            &self.mixed_4d,
            &self.mixed_4e,
            &self.mixed_4f,
        ];
        let x = fourth.into_iter().fold(x, |x, mixed| mixed.forward(x));
        let x = self.pool_5a.forward(x); // [b, t / 8, h / 32, w / 32, 832]
        self.mixed_5c.forward(self.mixed_5b.forward(x))
    }
}

/// The stem has a stride, so that its padding depends on the size; convolutions of the house pad both ends alike.
fn padded_for_stem(clips: Tensor<5>) -> Tensor<5> {
    let [_, t, h, w, _] = clips.dims();
    let [t, h, w] = [t, h, w].map(|side| {
        let [front, end] = same_padding(side, STEM_KERNEL, 2);
        (front, end)
    });
    clips.pad([(0, 0), t, h, w, (0, 0)], PadMode::Constant(0.0))
}

/// A convolution, its norm and a rectifier.
#[derive(Module, Debug)]
struct Unit {
    conv3d: Conv3d,
    bn: BatchNorm,
}

impl Unit {
    fn new(config: ConvConfig<3>, channels: usize, init: &mut Init<'_>, device: &Device) -> Self {
        Self {
            conv3d: config.init(init, device),
            bn: BatchNorm::new(channels, Activation::Relu, device)
                .with_epsilon(1e-3)
                .with_momentum(0.01),
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        self.conv3d.forward_normed(x, &self.bn, None)
    }
}

/// Four branches side by side (Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, figure 2b).
#[derive(Module, Debug)]
struct Inception {
    b0: Unit,
    b1a: Unit,
    b1b: Unit,
    b2a: Unit,
    b2b: Unit,
    b3a: MaxPool3d,
    b3b: Unit,
}

impl Inception {
    fn new(
        from: usize,
        [c0, c1a, c1b, c2a, c2b, c3]: [usize; 6],
        init: &mut Init<'_>,
        device: &Device,
    ) -> Self {
        let mut unit =
            |from, to, side| Unit::new(ConvConfig::new(from, to, [side; 3]), to, init, device);
        Self {
            b0: unit(from, c0, 1),
            b1a: unit(from, c1a, 1),
            b1b: unit(c1a, c1b, 3),
            b2a: unit(from, c2a, 1),
            b2b: unit(c2a, c2b, 3),
            b3a: MaxPool3d::new([3; 3], [1; 3]),
            b3b: unit(from, c3, 1),
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let pooled = self.b3a.forward(x.clone());
        let branches = vec![
            self.b0.forward(x.clone()),
            self.b1b.forward(self.b1a.forward(x.clone())),
            self.b2b.forward(self.b2a.forward(x)),
            self.b3b.forward(pooled),
        ];
        Tensor::cat(branches, 4)
    }

    fn num_outputs(&self) -> usize {
        [&self.b0, &self.b1b, &self.b2b, &self.b3b]
            .map(|unit| unit.conv3d.num_outputs())
            .iter()
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;
    use crate::evidence::grad_cam;

    #[test]
    fn evidence_is_grad_cam() {
        let mut config = I3dConfig::published(3);
        (config.width, config.dropout) = (0.125, 0.0);
        let build =
            |device: &Device| config.init(&mut Init::Random(&mut rng_for(3, 0, 0, 0)), device);
        let clips = || grad_cam::clips([2, 24, 64, 48, 3]);
        let model = build(&Device::flex());
        let tape = build(&Device::flex().autodiff());
        let speaks = grad_cam::check(
            &model.evidence(clips(), 1),
            model.feature_map(clips()),
            |map| {
                tape.classify(global_average(tape.pairs.forward(map)))
                    .narrow(1, 1, 1)
            },
        );
        assert!(speaks > 0.0, "something speaks for the class");
    }
}
