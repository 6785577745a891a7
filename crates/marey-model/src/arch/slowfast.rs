//! SlowFast with 50 layers (Feichtenhofer et al., "SlowFast Networks for Video Recognition", ICCV 2019): a slow pathway
//! that sees few frames through many channels, a fast one that sees many through an eighth of the channels, and
//! convolutions over time that bring what the fast one found to the slow one. Names are mmaction2's, for
//! pytorchvideo's checkpoints too.
//!
//! Letters: b batch, t frames, h height, w width, c channels, k classes.

use burn::{
    module::Module,
    tensor::{Device, Tensor, assert_shape, s},
};

use super::{
    Network,
    cls_head::ClsHead,
    resnet3d::{Lateral, LateralConfig, Pathway, PathwayConfig},
    scaled_channels,
};
use crate::{
    Evidence,
    evidence::behind_mean,
    layer::{Init, global_average},
};

/// Channels of the slow pathway for one of the fast: one over the paper's beta.
const CHANNEL_RATIO: usize = 8;

/// Builds a [`SlowFast`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowFastConfig {
    /// Classes.
    pub num_classes: usize,
    /// Factor on the channels of both pathways; 1 is the paper's 64 behind the slow stem and 8 behind the fast.
    pub width: f64,
    /// Share of the pooled feature that is dropped in training, in `[0, 1)`.
    pub dropout: f64,
    /// Frames of the clip for one of the slow pathway.
    pub slow_step: usize,
    /// Frames of the fast pathway for one of the slow (the paper's alpha); divides `slow_step`.
    pub speed_ratio: usize,
    /// Frames that the kernel between the pathways spans; odd.
    pub lateral_kernel: usize,
    /// What follows the convolution between the pathways.
    pub lateral: Lateral,
}

impl SlowFastConfig {
    /// 4x16: of a clip of 32 frames, at a step of 2, the slow pathway sees 4. PySlowFast's `SLOWFAST_4x16_R50`.
    pub const fn r50_4x16(num_classes: usize) -> Self {
        Self {
            num_classes,
            width: 1.0,
            dropout: 0.5,
            slow_step: 8,
            speed_ratio: 8,
            lateral_kernel: 5,
            lateral: Lateral::Normed,
        }
    }

    /// 8x8: of a clip of 32 frames, at a step of 2, the slow pathway sees 8. PySlowFast's `SLOWFAST_8x8_R50`, and
    /// pytorchvideo's `slowfast_r50`.
    pub const fn r50_8x8(num_classes: usize) -> Self {
        Self {
            slow_step: 4,
            speed_ratio: 4,
            lateral_kernel: 7,
            ..Self::r50_4x16(num_classes)
        }
    }

    /// mmaction2's `slowfast_r50`, 4x16 of 32 frames, as the thermal systems use it: 8x8 of 64 frames, without a norm
    /// between the pathways and with a dropout of 0.8.
    pub const fn r50_thermal(num_classes: usize) -> Self {
        Self {
            dropout: 0.8,
            lateral: Lateral::Plain,
            ..Self::r50_4x16(num_classes)
        }
    }

    /// The network.
    ///
    /// # Panics
    /// If `dropout` is outside `[0, 1)`, `speed_ratio` does not divide `slow_step`, or `lateral_kernel` is even.
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> SlowFast {
        assert!(
            self.speed_ratio > 0 && self.slow_step.is_multiple_of(self.speed_ratio),
            "speed ratio {} and slow step {}",
            self.speed_ratio,
            self.slow_step
        );
        assert!(
            self.lateral_kernel % 2 == 1,
            "lateral kernel {}",
            self.lateral_kernel
        );
        let channels = scaled_channels(64, self.width);
        let fast = PathwayConfig {
            channels: channels / CHANNEL_RATIO,
            stem_frames: 5,
            sees_time: [true; 4],
            laterals: None,
        };
        let slow = PathwayConfig {
            channels,
            stem_frames: 1,
            sees_time: [false, false, true, true],
            laterals: Some(LateralConfig {
                from: fast.channels,
                kernel: self.lateral_kernel,
                speed_ratio: self.speed_ratio,
                end: self.lateral,
            }),
        };
        let features = fast.num_features() + slow.num_features();
        SlowFast {
            backbone: Backbone {
                slow_path: slow.init(init, device),
                fast_path: fast.init(init, device),
            },
            cls_head: ClsHead::new(
                [features, self.num_classes],
                0.01,
                self.dropout,
                init,
                device,
            ),
            slow_step: self.slow_step,
            fast_step: self.slow_step / self.speed_ratio,
        }
    }
}

/// Two pathways and a classifier. Each pathway sees the first frame of each of its steps, so that clips of any length pass.
#[derive(Module, Debug)]
pub struct SlowFast {
    backbone: Backbone,
    cls_head: ClsHead,
    slow_step: usize,
    fast_step: usize,
}

#[derive(Module, Debug)]
struct Backbone {
    slow_path: Pathway,
    fast_path: Pathway,
}

impl Network for SlowFast {
    /// What the classifier sees, in `f32` whatever the type of the clips: first what the fast pathway found, then what
    /// the slow one did.
    fn features(&self, clips: Tensor<5>) -> Tensor<2> {
        let [slow, fast] = self.feature_maps(clips);
        Tensor::cat(vec![global_average(fast), global_average(slow)], 1)
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.cls_head.forward(features)
    }

    /// What in clips speaks for a class, by the slow pathway, which knows what the fast one found: its last map by the
    /// classifier's weights for it, over the number of places, which is Grad-CAM. The fast pathway's own map, an eighth
    /// of the features, is left out: it has other frames.
    fn evidence(&self, clips: Tensor<5>, class: usize) -> Evidence {
        let [slow, fast] = self.feature_maps(clips);
        let ([.., from_slow], [.., from_fast]) = (slow.dims(), fast.dims());
        let weights = self.cls_head.weights_of(class);
        let of_slow = weights.narrow(0, from_fast, from_slow);
        behind_mean(slow, of_slow.unsqueeze_dim(0))
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

impl SlowFast {
    /// The last maps of the slow and of the fast pathway: `[b, t / 8, h / 32, w / 32, 2048]` and
    /// `[b, t, h / 32, w / 32, 256]` at width 1 and 4x16, in the type of the clips.
    fn feature_maps(&self, clips: Tensor<5>) -> [Tensor<5>; 2] {
        assert_shape!(clips, [_, _, _, _, 3]);
        let Backbone {
            slow_path,
            fast_path,
        } = &self.backbone;
        let mut slow = slow_path.stem(every(self.slow_step, clips.clone()));
        let mut fast = fast_path.stem(every(self.fast_step, clips));
        for idx in 0..4 {
            slow = slow_path.stage(idx, slow, Some(fast.clone()));
            fast = fast_path.stage(idx, fast, None);
        }
        [slow, fast]
    }
}

/// The first of each `step` frames begun: what taking the nearest frame gives for a clip of whole steps.
fn every(step: usize, clips: Tensor<5>) -> Tensor<5> {
    if step == 1 {
        return clips;
    }
    let step = step.try_into().expect("a step of a few frames");
    clips.slice_dim(1, s![..;step])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Int, TensorData};
    use marey_clip::rng_for;

    use super::*;
    use crate::evidence::grad_cam;

    #[test]
    fn a_pathway_sees_the_first_frame_of_each_step() {
        let device = Device::flex();
        let clips = |t: usize| {
            Tensor::<1, Int>::arange(0..t as i64, &device)
                .float()
                .reshape([1, t, 1, 1, 1])
        };
        for (t, step, expected) in [
            (32, 8, vec![0f32, 8., 16., 24.]),
            (16, 4, vec![0., 4., 8., 12.]),
            (9, 4, vec![0., 4., 8.]),
            (3, 8, vec![0.]),
            (2, 1, vec![0., 1.]),
        ] {
            let seen = every(step, clips(t));
            let expected = TensorData::new(expected.clone(), [1, expected.len(), 1, 1, 1]);
            assert_eq!(seen.into_data(), expected, "every {step} of {t}");
        }
    }

    #[test]
    fn evidence_is_grad_cam_of_the_slow_pathway() {
        let mut config = SlowFastConfig::r50_4x16(3);
        (config.width, config.dropout) = (0.125, 0.0);
        let build =
            |device: &Device| config.init(&mut Init::Random(&mut rng_for(3, 0, 0, 0)), device);
        let clips = || grad_cam::clips([2, 32, 64, 96, 3]);
        let model = build(&Device::flex());
        let tape = build(&Device::flex().autodiff());
        let [slow, fast] = model.feature_maps(clips());
        let fast = global_average(Tensor::<5>::from_inner(fast));
        let speaks = grad_cam::check(&model.evidence(clips(), 1), slow, |map| {
            let features = Tensor::cat(vec![fast, global_average(map)], 1);
            tape.classify(features).narrow(1, 1, 1)
        });
        assert!(speaks > 0.0, "something speaks for the class");
    }
}
