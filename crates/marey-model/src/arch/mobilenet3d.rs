//! MobileNetV2 inflated to clips (Köpüklü et al., "Resource Efficient 3D Convolutional Neural Networks", ICCV Workshops 2019,
//! table 3; Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018), with the names of the
//! authors' checkpoints.
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

/// Expansion, output channels, blocks, and stride in time and space of each stage.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// Builds a [`MobileNet3d`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MobileNet3dConfig {
    /// Classes.
    pub num_classes: usize,
    /// Factor on the channels; 1 is 32 to 320. The 1280 that the classifier sees grow with it and do not shrink.
    pub width: f64,
    /// Share of the pooled feature that is dropped in training, in `[0, 1)`.
    pub dropout: f64,
}

impl MobileNet3dConfig {
    /// Width 1, dropout 0.2; meant for 16 frames of 112 pixels.
    pub const fn published(num_classes: usize) -> Self {
        Self {
            num_classes,
            width: 1.0,
            dropout: 0.2,
        }
    }

    /// The network.
    ///
    /// # Panics
    /// If `dropout` is outside `[0, 1)`.
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> MobileNet3d {
        let scaled = |channels| scaled_channels(channels, self.width);
        let stem = ConvConfig::new(3, scaled(32), [3; 3]).with_stride([1, 2, 2]);
        let mut features = vec![Feature::Unit(unit(stem, scaled(32), init, device))];
        let mut from = scaled(32);
        for (expansion, channels, num, stride) in STAGES {
            for idx in 0..num {
                let stride = if idx == 0 { stride } else { 1 };
                let to = scaled(channels);
                let block = InvertedResidual::new([from, to], expansion, stride, init, device);
                features.push(Feature::Block(block));
                from = to;
            }
        }
        let last = scaled_channels(1280, self.width.max(1.0));
        let end = ConvConfig::new(from, last, [1; 3]);
        features.push(Feature::Unit(unit(end, last, init, device)));
        let fc = [last, self.num_classes];
        MobileNet3d {
            features,
            classifier: (
                DropoutConfig::new(self.dropout).init(),
                Linear::new(fc, LinearInit::Normal(0.01), init, device),
            ),
        }
    }
}

/// Inverted residuals of depthwise convolutions over clips.
#[derive(Module, Debug)]
pub struct MobileNet3d {
    features: Vec<Feature>,
    classifier: (Dropout, Linear),
}

impl Network for MobileNet3d {
    fn features(&self, clips: Tensor<5>) -> Tensor<2> {
        global_average(self.feature_map(clips))
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        let (dropout, fc) = &self.classifier;
        fc.forward(dropout.forward(features))
    }

    /// The last map by the classifier's weights, over the number of places, which is Grad-CAM.
    fn evidence(&self, clips: Tensor<5>, class: usize) -> Evidence {
        let gradient = self.classifier.1.weights_of(class).unsqueeze_dim(0);
        behind_mean(self.feature_map(clips), gradient)
    }

    fn num_features(&self) -> usize {
        self.classifier.1.num_inputs()
    }

    fn num_classes(&self) -> usize {
        self.classifier.1.num_outputs()
    }

    fn head(&self) -> &'static str {
        "classifier."
    }
}

impl MobileNet3d {
    /// `[b, t, h, w, 3]` to `[b, t / 16, h / 32, w / 32, 1280]`, in the type of the clips.
    fn feature_map(&self, clips: Tensor<5>) -> Tensor<5> {
        assert_shape!(clips, [_, _, _, _, 3]);
        self.features
            .iter()
            .fold(clips, |x, feature| feature.forward(x))
    }
}

/// One of the sequence.
#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "all but two of them are of the larger variant"
)]
enum Feature {
    Unit((Conv3d, BatchNorm)),
    Block(InvertedResidual),
}

impl Feature {
    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        match self {
            Self::Unit((conv, norm)) => conv.forward_normed(x, norm, None),
            Self::Block(block) => block.forward(x),
        }
    }
}

fn unit(
    config: ConvConfig<3>,
    channels: usize,
    init: &mut Init<'_>,
    device: &Device,
) -> (Conv3d, BatchNorm) {
    let norm = BatchNorm::new(channels, Activation::Relu6, device);
    (config.init(init, device), norm)
}

/// Expand the channels, a convolution over the clip for each of them, project without an activation.
#[derive(Module, Debug)]
struct InvertedResidual {
    conv: Inverted,
    has_way_round: bool,
}

/// Named by position, as in the upstream checkpoints; a [`Relu`] only holds the place of an activation, which is the norm's.
#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "all blocks but one are of the larger variant"
)]
enum Inverted {
    /// Nothing is expanded.
    Depthwise((Conv3d, BatchNorm, Relu, Conv3d, BatchNorm)),
    Expanded(
        (
            Conv3d,
            BatchNorm,
            Relu,
            Conv3d,
            BatchNorm,
            Relu,
            Conv3d,
            BatchNorm,
        ),
    ),
}

impl InvertedResidual {
    fn new(
        [from, to]: [usize; 2],
        expansion: usize,
        stride: usize,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Self {
        let inner = from * expansion;
        let expand = (expansion > 1)
            .then(|| unit(ConvConfig::new(from, inner, [1; 3]), inner, init, device));
        let over_clip = ConvConfig::new(inner, inner, [3; 3])
            .with_stride([stride; 3])
            .with_groups(inner);
        let (depthwise, norm) = unit(over_clip, inner, init, device);
        let project = ConvConfig::new(inner, to, [1; 3]).init(init, device);
        let last = BatchNorm::new(to, Activation::Identity, device);
        let relu = Relu::new;
        let conv = match expand {
            None => Inverted::Depthwise((depthwise, norm, relu(), project, last)),
            Some((conv, first)) => {
                Inverted::Expanded((conv, first, relu(), depthwise, norm, relu(), project, last))
            }
        };
        Self {
            conv,
            has_way_round: stride == 1 && from == to,
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let [x, around] = op::fork(x);
        let residual = self.has_way_round.then_some(around);
        let (x, depthwise, norm, project, last) = match &self.conv {
            Inverted::Depthwise((depthwise, norm, _, project, last)) => {
                (x, depthwise, norm, project, last)
            }
            Inverted::Expanded((expand, first, _, depthwise, norm, _, project, last)) => {
                let x = expand.forward_normed(x, first, None);
                (x, depthwise, norm, project, last)
            }
        };
        let x = depthwise.forward_normed(x, norm, None);
        project.forward_normed(x, last, residual)
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;
    use crate::evidence::grad_cam;

    #[test]
    fn evidence_is_grad_cam() {
        let mut config = MobileNet3dConfig::published(3);
        (config.width, config.dropout) = (0.125, 0.0);
        let build =
            |device: &Device| config.init(&mut Init::Random(&mut rng_for(3, 0, 0, 0)), device);
        let clips = || grad_cam::clips([2, 32, 64, 96, 3]);
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
