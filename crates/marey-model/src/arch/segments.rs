//! TSN and TSM: a ResNet-50 on each of the frames that a clip's segments give, whose answers are averaged (Wang et al.,
//! "Temporal Segment Networks: Towards Good Practices for Deep Action Recognition", ECCV 2016); in TSM, an eighth of the
//! channels in each direction also moves to the neighbouring frame before the first convolution of every residual branch
//! (Lin, Gan and Han, "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019). Names are those of
//! mmaction2's `tsn_r50` and `tsm_r50`, with torchvision's within the backbone.
//!
//! One frame of each segment is what `sampling.mode = "uniform"` takes; `sampling.frames` is the number of segments.
//!
//! Letters: b batch, t frames (one a segment), h height, w width, c channels, k classes.

use burn::{
    module::Module,
    tensor::{Device, Tensor, assert_shape},
};

use super::{Network, ResNet, ResNetConfig, ResNetDepth, cls_head::ClsHead};
use crate::{
    Evidence,
    evidence::behind_mean,
    layer::{Init, global_average},
};

/// Builds a [`SegmentNet`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentNetConfig {
    /// Classes.
    pub num_classes: usize,
    /// The network for the frames.
    pub backbone: ResNetConfig,
    /// Share of the pooled feature that is dropped in training, in `[0, 1)`.
    pub dropout: f64,
    /// Standard deviation of the classifier's first weights.
    pub classifier_std: f64,
}

impl SegmentNetConfig {
    /// TSN: frames do not meet before their answers are averaged; dropout 0.4, as mmaction2 has it.
    pub const fn tsn(num_classes: usize) -> Self {
        Self {
            num_classes,
            backbone: ResNetConfig::new(ResNetDepth::D50),
            dropout: 0.4,
            classifier_std: 0.01,
        }
    }

    /// TSM: one channel in eight moves forward and one in eight back, in every block; dropout 0.5, as mmaction2 has it.
    pub const fn tsm(num_classes: usize) -> Self {
        let mut backbone = ResNetConfig::new(ResNetDepth::D50);
        backbone.shift = Some(8);
        Self {
            num_classes,
            backbone,
            dropout: 0.5,
            classifier_std: 0.001,
        }
    }

    /// The network.
    ///
    /// # Panics
    /// If `dropout` is outside `[0, 1)`.
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> SegmentNet {
        let sizes = [self.backbone.num_features(), self.num_classes];
        SegmentNet {
            backbone: self.backbone.init(init, device),
            cls_head: ClsHead::new(sizes, self.classifier_std, self.dropout, init, device),
        }
    }
}

/// TSN or TSM.
#[derive(Module, Debug)]
pub struct SegmentNet {
    backbone: ResNet,
    cls_head: ClsHead,
}

/// A level that only the names of the checkpoints know.
impl Network for SegmentNet {
    /// The mean of the segments' features. The mean of the classifier's answers, the paper's consensus, is its answer to
    /// this mean.
    fn features(&self, clips: Tensor<5>) -> Tensor<2> {
        global_average(self.feature_map(clips))
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.cls_head.forward(features)
    }

    /// The last feature map by the classifier's weights, over the number of places of all segments, which is Grad-CAM; for
    /// all `t` frames.
    fn evidence(&self, clips: Tensor<5>, class: usize) -> Evidence {
        let gradient = self.cls_head.weights_of(class).unsqueeze_dim(0);
        behind_mean(self.feature_map(clips), gradient)
    }

    fn num_features(&self) -> usize {
        self.cls_head.num_features()
    }

    fn num_classes(&self) -> usize {
        self.cls_head.num_classes()
    }

    fn head(&self) -> &'static str {
        ClsHead::NAME
    }
}

impl SegmentNet {
    /// `[b, t, h, w, 3]` to `[b, t, h / 32, w / 32, 2048]` at width 1, in the type of the clips.
    fn feature_map(&self, clips: Tensor<5>) -> Tensor<5> {
        assert_shape!(clips, [_, _, _, _, 3]);
        let [b, t, h, w, c] = clips.dims();
        let map = self
            .backbone
            .feature_map(clips.reshape([b * t, h, w, c]), t);
        let [_, h, w, c] = map.dims();
        map.reshape([b, t, h, w, c])
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use marey_clip::rng_for;

    use super::*;

    fn logits(net: &SegmentNet, clips: Tensor<5>) -> Tensor<2> {
        net.classify(net.features(clips))
    }

    fn small(config: SegmentNetConfig) -> SegmentNet {
        let config = SegmentNetConfig {
            backbone: ResNetConfig {
                width: 0.125,
                ..config.backbone
            },
            classifier_std: 0.5,
            ..config
        };
        let mut rng = rng_for(3, 0, 0, 0);
        config.init(&mut Init::Random(&mut rng), &Device::flex())
    }

    #[test]
    fn the_consensus_of_tsn_is_the_mean_of_its_answers_and_tsm_sees_time() {
        let clips = Tensor::<5>::random([1, 3, 64, 64, 3], Distribution::Default, &Device::flex());
        let alone = |net: &SegmentNet| {
            let answers = (0..3).map(|at| logits(net, clips.clone().narrow(1, at, 1)));
            Tensor::stack::<3>(answers.collect(), 0)
                .mean_dim(0)
                .squeeze_dim::<2>(0)
        };
        let off = |net: &SegmentNet, clips: Tensor<5>| {
            let scale = alone(net).abs().max().into_scalar::<f32>();
            (logits(net, clips) - alone(net))
                .abs()
                .max()
                .into_scalar::<f32>()
                / scale
        };
        let tsn = small(SegmentNetConfig::tsn(4));
        assert!(off(&tsn, clips.clone()) < 1e-5);
        let tsm = small(SegmentNetConfig::tsm(4));
        assert!(off(&tsm, clips.clone()) > 1e-2);
        let turned = (logits(&tsm, clips.clone()) - logits(&tsm, clips.clone().flip([1]))).abs();
        assert!(turned.max().into_scalar::<f32>() > 1e-4);
    }

    #[test]
    fn evidence_adds_up_to_the_logit_where_all_of_it_speaks_for_the_class() {
        // A logit is its bias (0 here) plus the sum over places of map times weight over the number of places. Evidence
        // keeps what is positive, so it is at least the logit.
        let clips = Tensor::<5>::random([2, 3, 64, 64, 3], Distribution::Default, &Device::flex());
        for config in [SegmentNetConfig::tsn(3), SegmentNetConfig::tsm(3)] {
            let net = small(config);
            let logits = logits(&net, clips.clone());
            let map = net.feature_map(clips.clone());
            let [b, t, h, w, c] = map.dims();
            let weights = net.cls_head.weights_of(1).reshape([1, 1, 1, 1, c]);
            let spoken = (map * weights).sum_dim(4).reshape([b, t, h, w]) / (t * h * w) as f64;
            let sum = spoken.clone().reshape([b, t * h * w]).sum_dim(1);
            let off = (sum - logits.narrow(1, 1, 1))
                .abs()
                .max()
                .into_scalar::<f32>();
            let scale = spoken.clone().abs().max().into_scalar::<f32>();
            assert!(off < 1e-4 * scale, "{off} of {scale}");
            let evidence = net.evidence(clips.clone(), 1);
            let off = (burn::tensor::activation::relu(spoken) - evidence.places).abs();
            assert!(off.max().into_scalar::<f32>() < 1e-5 * scale);
        }
    }
}
