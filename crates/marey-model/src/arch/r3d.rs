//! R3D-18: an 18-layer residual network of 3x3x3 convolutions (Tran et al., "A Closer Look at Spatiotemporal
//! Convolutions for Action Recognition", CVPR 2018), with the names and the initial values of torchvision's `r3d_18`.
//!
//! Letters: b batch, t frames, h height, w width, c channels, k classes.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig},
    tensor::{Device, FloatDType, Tensor, assert_shape},
};

use super::{Network, scaled_channels};
use crate::{
    Evidence,
    evidence::places,
    layer::{Activation, BatchNorm, Conv3d, ConvConfig, Init, Linear, LinearInit, global_average},
};

/// Builds an [`R3d`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct R3dConfig {
    /// Classes.
    pub num_classes: usize,
    /// Factor on the channels of every stage; 1 is the paper's 64, 128, 256, 512.
    pub width: f64,
    /// Share of the pooled feature that is dropped in training, in `[0, 1)`; the paper's is 0.
    pub dropout: f64,
}

impl R3dConfig {
    /// The paper's 18 layers: torchvision's `r3d_18`.
    pub const fn r3d_18(num_classes: usize) -> Self {
        Self {
            num_classes,
            width: 1.0,
            dropout: 0.0,
        }
    }

    /// The network.
    ///
    /// # Panics
    /// If `dropout` is outside `[0, 1)`.
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> R3d {
        let [c1, c2, c3, c4] =
            [64, 128, 256, 512].map(|channels| scaled_channels(channels, self.width));
        let stem = ConvConfig::new(3, c1, [3, 7, 7])
            .with_stride([1, 2, 2])
            .init(init, device);
        let stage = |from, to, stride, init: &mut Init<'_>| {
            vec![
                BasicBlock::new([from, to], stride, init, device),
                BasicBlock::new([to, to], 1, init, device),
            ]
        };
        R3d {
            stem: (stem, BatchNorm::new(c1, Activation::Relu, device)),
            layer1: stage(c1, c1, 1, init),
            layer2: stage(c1, c2, 2, init),
            layer3: stage(c2, c3, 2, init),
            layer4: stage(c3, c4, 2, init),
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

/// A residual network of 3x3x3 convolutions.
#[derive(Module, Debug)]
pub struct R3d {
    stem: (Conv3d, BatchNorm),
    layer1: Vec<BasicBlock>,
    layer2: Vec<BasicBlock>,
    layer3: Vec<BasicBlock>,
    layer4: Vec<BasicBlock>,
    dropout: Dropout,
    fc: Linear,
}

impl Network for R3d {
    fn features(&self, clips: Tensor<5>) -> Tensor<2> {
        global_average(self.feature_map(clips))
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.fc.forward(self.dropout.forward(features))
    }

    /// The last feature map by the classifier's weights, over the number of places. That is Grad-CAM, since the gradient of a
    /// logit through a mean and a linear layer is just that.
    fn evidence(&self, clips: Tensor<5>, class: usize) -> Evidence {
        // `global_average` works in `f32` too.
        let map = self.feature_map(clips).cast(FloatDType::F32);
        let [b, t, h, w, c] = map.dims();
        let gradient = self.fc.weights_of(class) / (t * h * w) as f64;
        let places = places(map, gradient.reshape([1, 1, c]));
        let over_time = places.clone().reshape([b, t, h * w]).sum_dim(2);
        Evidence {
            places,
            over_time: over_time.reshape([b, t]),
        }
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
    /// `[b, t, h, w, 3]` to `[b, t / 8, h / 16, w / 16, 512]` at width 1, in the type of the clips.
    fn feature_map(&self, clips: Tensor<5>) -> Tensor<5> {
        assert_shape!(clips, [_, _, _, _, 3]);
        let (conv, norm) = &self.stem;
        let x = conv.forward_normed(clips, norm, None); // [b, t, h / 2, w / 2, 64]
        let stages = [&self.layer1, &self.layer2, &self.layer3, &self.layer4];
        // Stages 2 to 4 halve time and space.
        stages
            .into_iter()
            .flatten()
            .fold(x, |x, block| block.forward(x))
    }
}

/// Two convolutions and a way round them.
#[derive(Module, Debug)]
struct BasicBlock {
    conv1: (Conv3d, BatchNorm),
    conv2: (Conv3d, BatchNorm),
    downsample: Option<(Conv3d, BatchNorm)>,
}

impl BasicBlock {
    fn new([from, to]: [usize; 2], stride: usize, init: &mut Init<'_>, device: &Device) -> Self {
        let norm = |activation| BatchNorm::new(to, activation, device);
        let first = ConvConfig::new(from, to, [3; 3])
            .with_stride([stride; 3])
            .init(init, device);
        let second = ConvConfig::new(to, to, [3; 3]).init(init, device);
        let downsample = (stride > 1 || from != to).then(|| {
            let conv = ConvConfig::new(from, to, [1; 3])
                .with_stride([stride; 3])
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
        let run = |(conv, norm): &(Conv3d, BatchNorm), x, residual| {
            conv.forward_normed(x, norm, residual)
        };
        let y = run(&self.conv1, x.clone(), None);
        let x = match &self.downsample {
            Some(downsample) => run(downsample, x, None),
            None => x,
        };
        run(&self.conv2, y, Some(x))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};
    use marey_clip::rng_for;

    use super::*;

    #[test]
    fn cam_is_grad_cam() {
        let device = Device::flex();
        let config = R3dConfig {
            width: 0.125,
            ..R3dConfig::r3d_18(3)
        };
        let build =
            |device: &Device| config.init(&mut Init::Random(&mut rng_for(3, 0, 0, 0)), device);
        let clips = Tensor::<5>::random([2, 16, 32, 48, 3], Distribution::Default, &device);
        let model = build(&device);
        let evidence = model.evidence(clips.clone(), 1);

        // Grad-CAM as its paper writes it, by autodiff behind the map.
        let tape = device.clone().autodiff();
        let map = model.feature_map(clips);
        let [b, t, h, w, c] = map.dims();
        let leaf = Tensor::<5>::from_data(map.clone().into_data(), &tape).require_grad();
        let logits = build(&tape).fc.forward(global_average(leaf.clone()));
        let grads = logits.narrow(1, 1, 1).sum().backward();
        let grad = leaf.grad(&grads).expect("the map leads to the logit");
        let alpha = grad
            .reshape([b, t * h * w, c])
            .mean_dim(1)
            .reshape([b, 1, 1, 1, c]);
        let expected =
            burn::tensor::activation::relu((map * alpha).sum_dim(4).reshape([b, t, h, w]));
        assert!(expected.clone().max().into_scalar::<f32>() > 0.0);
        let off = (evidence.places.clone() - expected.clone()).abs().max();
        let scale = expected.clone().max().into_scalar::<f32>();
        assert!(off.into_scalar::<f32>() < 1e-5 * scale);
        let sums = evidence
            .places
            .reshape([b, t, h * w])
            .sum_dim(2)
            .reshape([b, t]);
        let off = (sums - evidence.over_time).abs().max().into_scalar::<f32>();
        assert_eq!(off, 0.0);
    }
}
