//! SlowOnly with 50 layers: SlowFast's slow pathway by itself (Feichtenhofer et al., "SlowFast Networks for Video
//! Recognition", ICCV 2019), with mmaction2's names, for pytorchvideo's `slow_r50` too. It does not shorten the clip;
//! only the two last stages see motion.
//!
//! Letters: b batch, t frames, h height, w width, c channels, k classes.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use super::{
    Network,
    cls_head::ClsHead,
    resnet3d::{Pathway, PathwayConfig},
    scaled_channels,
};
use crate::{
    Evidence,
    evidence::behind_mean,
    layer::{Init, global_average},
};

/// Builds a [`SlowOnly`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowOnlyConfig {
    /// Classes.
    pub num_classes: usize,
    /// Factor on the channels; 1 is the paper's 64 behind the stem and 2048 in the end.
    pub width: f64,
    /// Share of the pooled feature that is dropped in training, in `[0, 1)`.
    pub dropout: f64,
}

impl SlowOnlyConfig {
    /// The paper's 50 layers, dropout 0.5; published checkpoints see 8 frames at a step of 8, or 4 at 16.
    pub const fn r50(num_classes: usize) -> Self {
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
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> SlowOnly {
        let backbone = PathwayConfig {
            channels: scaled_channels(64, self.width),
            stem_frames: 1,
            sees_time: [false, false, true, true],
            laterals: None,
        };
        SlowOnly {
            backbone: backbone.init(init, device),
            cls_head: ClsHead::new(
                [backbone.num_features(), self.num_classes],
                0.01,
                self.dropout,
                init,
                device,
            ),
        }
    }
}

/// One pathway and a classifier.
#[derive(Module, Debug)]
pub struct SlowOnly {
    backbone: Pathway,
    cls_head: ClsHead,
}

impl Network for SlowOnly {
    /// What the classifier sees, in `f32` whatever the type of the clips.
    fn features(&self, clips: Tensor<5>) -> Tensor<2> {
        global_average(self.backbone.forward(clips))
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.cls_head.forward(features)
    }

    /// What in clips speaks for a class: the last map by the classifier's weights, over the number of places, which is
    /// Grad-CAM.
    fn evidence(&self, clips: Tensor<5>, class: usize) -> Evidence {
        let gradient = self.cls_head.weights_of(class).unsqueeze_dim(0);
        behind_mean(self.backbone.forward(clips), gradient)
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

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;
    use crate::evidence::grad_cam;

    #[test]
    fn evidence_is_grad_cam() {
        let mut config = SlowOnlyConfig::r50(3);
        (config.width, config.dropout) = (0.125, 0.0);
        let build =
            |device: &Device| config.init(&mut Init::Random(&mut rng_for(3, 0, 0, 0)), device);
        let clips = || grad_cam::clips([2, 4, 64, 96, 3]);
        let model = build(&Device::flex());
        let tape = build(&Device::flex().autodiff());
        let speaks = (0..3).map(|class| {
            grad_cam::check(
                &model.evidence(clips(), class),
                model.backbone.forward(clips()),
                |map| tape.classify(global_average(map)).narrow(1, class, 1),
            )
        });
        assert!(speaks.sum::<f32>() > 0.0, "something speaks for a class");
    }
}
