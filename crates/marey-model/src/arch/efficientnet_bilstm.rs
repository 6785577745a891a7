//! EfficientNet-B0 on each frame, a bidirectional LSTM and additive attention over time: the recogniser of the UCF-Crime
//! anomaly systems, with the names of their checkpoints.
//!
//! Letters: b batch, t frames, h height, w width, d width of a feature, k classes.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, Relu},
    tensor::{Device, Tensor, assert_shape},
};

use super::{EfficientNet, EfficientNetConfig, Network};
use crate::{
    Evidence,
    evidence::places,
    layer::{
        Activation, AdditiveAttention, BatchNorm, BiLstm, Init, Linear, LinearInit, global_average,
    },
};

/// Builds an [`EfficientNetBiLstm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EfficientNetBiLstmConfig {
    /// Classes.
    pub num_classes: usize,
    /// The network for the frames.
    pub backbone: EfficientNetConfig,
    /// Width of the LSTM's state in each direction.
    pub hidden: usize,
    /// Layers of the LSTM.
    pub num_layers: usize,
    /// Share that is dropped in training after the backbone, between the LSTM's layers and before the classifier, in
    /// `[0, 1)`.
    pub dropout: f64,
}

impl EfficientNetBiLstmConfig {
    /// B0, two layers of 256 in each direction, dropout 0.3: 9.14 M parameters at 14 classes.
    pub const fn b0(num_classes: usize) -> Self {
        Self {
            num_classes,
            backbone: EfficientNetConfig::b0(),
            hidden: 256,
            num_layers: 2,
            dropout: 0.3,
        }
    }

    /// The network.
    ///
    /// # Panics
    /// If a share is outside `[0, 1)`.
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> EfficientNetBiLstm {
        let d = 2 * self.hidden;
        let lstm = [self.backbone.num_features(), self.hidden];
        EfficientNetBiLstm {
            backbone: Backbone {
                backbone: self.backbone.init(init, device),
            },
            temporal_encoder: TemporalEncoder {
                rnn: BiLstm::new(lstm, self.num_layers, self.dropout, init, device),
                attention: AdditiveAttention::new([d, self.hidden], init, device),
            },
            projection: (
                Linear::new([d, d], LinearInit::Default, init, device),
                Relu::new(),
                BatchNorm::new(d, Activation::Identity, device),
            ),
            classifier: Linear::new([d, self.num_classes], LinearInit::Default, init, device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

/// A network for pictures, one for time, and a classifier.
#[derive(Module, Debug)]
pub struct EfficientNetBiLstm {
    backbone: Backbone,
    temporal_encoder: TemporalEncoder,
    projection: (Linear, Relu, BatchNorm),
    classifier: Linear,
    dropout: Dropout,
}

/// A level that only the names of the checkpoints know.
#[derive(Module, Debug)]
struct Backbone {
    backbone: EfficientNet,
}

#[derive(Module, Debug)]
struct TemporalEncoder {
    rnn: BiLstm,
    attention: AdditiveAttention,
}

impl Network for EfficientNetBiLstm {
    /// At `t` = 1 the LSTM sees one step and the attention has nothing to choose.
    fn features(&self, clips: Tensor<5>) -> Tensor<2> {
        assert_shape!(clips, [_, _, _, _, 3]);
        let [b, t, h, w, c] = clips.dims();
        let frames = self
            .backbone
            .backbone
            .forward(clips.reshape([b * t, h, w, c]));
        let frames = self.dropout.forward(frames);
        let [_, d] = frames.dims();
        let states = self.temporal_encoder.rnn.forward(frames.reshape([b, t, d])); // [b, t, 512]
        let clip = self.temporal_encoder.attention.forward(states);
        let (linear, relu, norm) = &self.projection;
        norm.forward(relu.forward(linear.forward(clip)))
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.classifier.forward(self.dropout.forward(features))
    }

    /// Grad-CAM of each frame's last feature map, with all `t` frames, and the attention over time.
    fn evidence(&self, clips: Tensor<5>, class: usize) -> Evidence {
        assert_shape!(clips, [_, _, _, _, 3]);
        let [b, t, h, w, c] = clips.dims();
        let backbone = &self.backbone.backbone;
        let map = backbone.feature_map(clips.reshape([b * t, h, w, c]));
        let map = map.cast(burn::tensor::FloatDType::F32);
        let [_, h, w, d] = map.dims();
        let frames = global_average(map.clone()).reshape([b, t, d]);
        let states = self.temporal_encoder.rnn.forward(frames.clone());
        let attention = self.temporal_encoder.attention.weights(states.clone());
        let gradient = self.input_gradient(frames, states, class) / (h * w) as f64;
        Evidence {
            places: places(map.reshape([b, t, h, w, d]), gradient),
            over_time: attention.reshape([b, t]),
        }
    }

    fn num_features(&self) -> usize {
        self.classifier.num_inputs()
    }

    fn num_classes(&self) -> usize {
        self.classifier.num_outputs()
    }

    fn head(&self) -> &'static str {
        "classifier."
    }
}

impl EfficientNetBiLstm {
    /// The gradient of a class's logit with respect to the pooled frames, backwards through the head.
    ///
    /// # Shapes
    /// - `frames`: `[b, t, d]`, `states`: `[b, t, 512]`
    /// - output: `[b, t, d]`
    fn input_gradient(&self, frames: Tensor<3>, states: Tensor<3>, class: usize) -> Tensor<3> {
        let TemporalEncoder { rnn, attention } = &self.temporal_encoder;
        let (linear, _, norm) = &self.projection;
        let fixed = norm.fixed(&frames.device());
        let affine = fixed
            .expect("evidence is asked for on a device without autodiff")
            .affine;
        let before = linear.forward(attention.forward(states.clone())); // [b, 512]
        let of_norm = (self.classifier.weights_of(class) * affine.gamma).unsqueeze_dim::<2>(0);
        // The ReLU lets through what is above zero.
        let of_linear = before.greater_elem(0.0).float() * of_norm;
        let of_clip = linear.input_gradient(of_linear);
        let of_states = attention.input_gradient(states, of_clip);
        rnn.input_gradient(frames, of_states)
    }
}
