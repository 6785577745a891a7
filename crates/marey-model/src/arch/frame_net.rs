//! A network for pictures on each frame, then one over time: ResNet or EfficientNet, and the mean, a GRU, an LSTM, a
//! bidirectional LSTM or a transformer.
//!
//! With EfficientNet-B0 and the bidirectional LSTM it is the recogniser of the UCF-Crime anomaly systems, with the names of
//! their checkpoints; the others have names of the same kind.
//!
//! Letters: b batch, t frames, h height, w width, d width of a frame's feature, e width of a clip's, k classes.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, Relu},
    tensor::{Device, Tensor, assert_shape},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EfficientNet, EfficientNetConfig, Network, ResNet, ResNetConfig};
use crate::{
    Evidence,
    evidence::{places, sum_of_frames},
    layer::{
        Activation, AdditiveAttention, BatchNorm, Directions, Gru, Init, Linear, LinearInit, Lstm,
        Transformer, TransformerConfig, global_average,
    },
};

/// What makes one feature of a clip from those of its frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Temporal {
    /// The mean over frames, whose order then means nothing.
    #[default]
    Mean,
    /// A GRU (Cho et al., EMNLP 2014), then additive attention.
    Gru,
    /// An LSTM (Hochreiter and Schmidhuber, 1997), then additive attention.
    Lstm,
    /// An LSTM from either end, then additive attention (Bahdanau, Cho and Bengio, ICLR 2015).
    #[serde(rename = "bilstm")]
    BiLstm,
    /// A transformer encoder (Vaswani et al., NeurIPS 2017), then the mean over frames.
    Transformer,
}

impl Temporal {
    /// Every one there is.
    pub const ALL: [Self; 5] = [
        Self::Mean,
        Self::Gru,
        Self::Lstm,
        Self::BiLstm,
        Self::Transformer,
    ];

    /// Its name in recipes and cards.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Gru => "gru",
            Self::Lstm => "lstm",
            Self::BiLstm => "bilstm",
            Self::Transformer => "transformer",
        }
    }

    /// Its width unless the recipe has another: of the state in each direction, or of the transformer.
    pub const fn default_hidden(self) -> usize {
        match self {
            Self::Transformer => 512,
            _ => 256,
        }
    }
}

/// Heads of the transformer's attention; they divide its width.
pub(crate) const NUM_HEADS: usize = 8;

/// The network on each frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BackboneConfig {
    /// Of any depth.
    ResNet(ResNetConfig),
    /// Of any size.
    EfficientNet(EfficientNetConfig),
}

impl BackboneConfig {
    /// Channels of a frame's feature.
    pub fn num_features(&self) -> usize {
        match self {
            Self::ResNet(config) => config.num_features(),
            Self::EfficientNet(config) => config.num_features(),
        }
    }

    fn init(&self, init: &mut Init<'_>, device: &Device) -> Pictures {
        match self {
            Self::ResNet(config) => Pictures::ResNet(config.init(init, device)),
            Self::EfficientNet(config) => Pictures::EfficientNet(config.init(init, device)),
        }
    }
}

/// Builds a [`FrameNet`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameNetConfig {
    /// Classes.
    pub num_classes: usize,
    /// The network for the frames.
    pub backbone: BackboneConfig,
    /// What is over time.
    pub temporal: Temporal,
    /// Width of a recurrent state in each direction, or of the transformer; nothing for the mean.
    pub hidden: usize,
    /// Recurrent layers, or blocks of the transformer; nothing for the mean.
    pub num_layers: usize,
    /// Share that is dropped in training after the backbone, between recurrent layers and within the transformer's blocks,
    /// and before the classifier, in `[0, 1)`.
    pub dropout: f64,
}

impl FrameNetConfig {
    /// Two layers of the default width, dropout 0.3.
    pub const fn new(num_classes: usize, backbone: BackboneConfig, temporal: Temporal) -> Self {
        Self {
            num_classes,
            backbone,
            temporal,
            hidden: temporal.default_hidden(),
            num_layers: 2,
            dropout: 0.3,
        }
    }

    /// The network.
    ///
    /// # Panics
    /// If a share is outside `[0, 1)`, or the transformer's heads (8) do not divide its width.
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> FrameNet {
        let backbone = Backbone {
            backbone: self.backbone.init(init, device),
        };
        let temporal_encoder = self.encoder(init, device);
        let e = match self.temporal {
            Temporal::Mean => self.backbone.num_features(),
            Temporal::BiLstm => 2 * self.hidden,
            Temporal::Gru | Temporal::Lstm | Temporal::Transformer => self.hidden,
        };
        let projection = matches!(temporal_encoder, Some(Encoder::Recurrent(_))).then(|| {
            (
                Linear::new([e, e], LinearInit::Default, init, device),
                Relu::new(),
                BatchNorm::new(e, Activation::Identity, device),
            )
        });
        FrameNet {
            backbone,
            temporal_encoder,
            projection,
            classifier: Linear::new([e, self.num_classes], LinearInit::Default, init, device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }

    fn encoder(&self, init: &mut Init<'_>, device: &Device) -> Option<Encoder> {
        let (d, n) = (self.backbone.num_features(), self.hidden);
        let mut lstm = |directions| {
            let rnn = Lstm::new(
                [d, n],
                self.num_layers,
                directions,
                self.dropout,
                (init, device),
            );
            Rnn::Lstm(rnn)
        };
        let (rnn, states) = match self.temporal {
            Temporal::Mean => return None,
            Temporal::Transformer => {
                let config = TransformerConfig {
                    width: n,
                    num_heads: NUM_HEADS,
                    feed_forward: 2 * n,
                    num_layers: self.num_layers,
                    dropout: self.dropout,
                };
                return Some(Encoder::Transformer(Attending {
                    input: Linear::new([d, n], LinearInit::Default, init, device),
                    encoder: config.init(init, device),
                }));
            }
            Temporal::Lstm => (lstm(Directions::Forward), n),
            Temporal::BiLstm => (lstm(Directions::Both), 2 * n),
            Temporal::Gru => {
                let rnn = Gru::new([d, n], self.num_layers, self.dropout, init, device);
                (Rnn::Gru(rnn), n)
            }
        };
        Some(Encoder::Recurrent(Recurrent {
            rnn,
            attention: AdditiveAttention::new([states, n], init, device),
        }))
    }
}

/// A network for pictures, one for time, and a classifier.
#[derive(Module, Debug)]
pub struct FrameNet {
    backbone: Backbone,
    temporal_encoder: Option<Encoder>,
    projection: Option<(Linear, Relu, BatchNorm)>,
    classifier: Linear,
    dropout: Dropout,
}

/// A level that only the names of the checkpoints know.
#[derive(Module, Debug)]
struct Backbone {
    backbone: Pictures,
}

#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a model has one of them, not many in a row"
)]
enum Pictures {
    ResNet(ResNet),
    EfficientNet(EfficientNet),
}

impl Pictures {
    /// `[b, t, h, w, 3]` to `[b, t, h', w', d]`, in the type of the clips.
    fn feature_map(&self, clips: Tensor<5>) -> Tensor<5> {
        assert_shape!(clips, [_, _, _, _, 3]);
        let [b, t, h, w, c] = clips.dims();
        let frames = clips.reshape([b * t, h, w, c]);
        let map = match self {
            Self::ResNet(net) => net.feature_map(frames, t),
            Self::EfficientNet(net) => net.feature_map(frames),
        };
        let [_, h, w, d] = map.dims();
        map.reshape([b, t, h, w, d])
    }
}

#[derive(Module, Debug)]
enum Encoder {
    Recurrent(Recurrent),
    Transformer(Attending),
}

#[derive(Module, Debug)]
struct Recurrent {
    rnn: Rnn,
    attention: AdditiveAttention,
}

#[derive(Module, Debug)]
enum Rnn {
    Gru(Gru),
    Lstm(Lstm),
}

impl Rnn {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Gru(rnn) => rnn.forward(x),
            Self::Lstm(rnn) => rnn.forward(x),
        }
    }

    fn input_gradient(&self, x: Tensor<3>, grad: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Gru(rnn) => rnn.input_gradient(x, grad),
            Self::Lstm(rnn) => rnn.input_gradient(x, grad),
        }
    }
}

/// Frames brought to the transformer's width, and the transformer.
#[derive(Module, Debug)]
struct Attending {
    input: Linear,
    encoder: Transformer,
}

impl Encoder {
    /// `[b, t, d]` to `[b, e]`.
    fn forward(&self, frames: Tensor<3>) -> Tensor<2> {
        match self {
            Self::Recurrent(Recurrent { rnn, attention }) => attention.forward(rnn.forward(frames)),
            Self::Transformer(Attending { input, encoder }) => {
                let tokens = encoder.forward(input.forward(frames));
                tokens.mean_dim(1).squeeze_dim(1)
            }
        }
    }

    /// The gradient of the frames `[b, t, d]` from that of the clip `[b, e]`.
    fn input_gradient(&self, frames: Tensor<3>, grad: Tensor<2>) -> Tensor<3> {
        match self {
            Self::Recurrent(Recurrent { rnn, attention }) => {
                let states = rnn.forward(frames.clone());
                rnn.input_gradient(frames, attention.input_gradient(states, grad))
            }
            Self::Transformer(Attending { input, encoder }) => {
                let [b, t, d] = frames.dims();
                let tokens = input.forward(frames);
                let e = tokens.dims()[2];
                let of_tokens = (grad / t as f64).unsqueeze_dim::<3>(1).expand([b, t, e]);
                let of_input = encoder.input_gradient(tokens, of_tokens);
                let of_frames = input.input_gradient(of_input.reshape([b * t, e]));
                of_frames.reshape([b, t, d])
            }
        }
    }

    /// How much each frame counts, where there is an attention that says so: `[b, t]`.
    fn attention(&self, frames: Tensor<3>) -> Option<Tensor<2>> {
        match self {
            Self::Recurrent(Recurrent { rnn, attention }) => {
                Some(attention.weights(rnn.forward(frames)).squeeze_dim(2))
            }
            Self::Transformer(_) => None,
        }
    }
}

impl Network for FrameNet {
    /// At `t` = 1 there is nothing to learn about time.
    fn features(&self, clips: Tensor<5>) -> Tensor<2> {
        let frames = self.pooled(self.backbone.backbone.feature_map(clips));
        let clip = match &self.temporal_encoder {
            Some(encoder) => encoder.forward(self.dropout.forward(frames)),
            None => frames.mean_dim(1).squeeze_dim(1),
        };
        match &self.projection {
            Some((linear, relu, norm)) => norm.forward(relu.forward(linear.forward(clip))),
            None => clip,
        }
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.classifier.forward(self.dropout.forward(features))
    }

    /// Grad-CAM of each frame's last feature map, for all `t` frames; and the attention over time, or the sum of each
    /// frame's places where nothing attends to frames.
    fn evidence(&self, clips: Tensor<5>, class: usize) -> Evidence {
        let map = self.backbone.backbone.feature_map(clips);
        let map = map.cast(burn::tensor::FloatDType::F32);
        let [b, t, h, w, d] = map.dims();
        let frames = self.pooled(map.clone());
        let gradient = self.input_gradient(frames.clone(), class) / (h * w) as f64;
        let places = places(map, gradient.expand([b, t, d]));
        let encoder = self.temporal_encoder.as_ref();
        let attention = encoder.and_then(|encoder| encoder.attention(frames));
        let over_time = attention.unwrap_or_else(|| sum_of_frames(&places));
        Evidence { places, over_time }
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

impl FrameNet {
    /// The mean of each frame's map, in `f32`: `[b, t, h, w, d]` to `[b, t, d]`.
    fn pooled(&self, map: Tensor<5>) -> Tensor<3> {
        let [b, t, h, w, d] = map.dims();
        global_average(map.reshape([b * t, h, w, d])).reshape([b, t, d])
    }

    /// The gradient of a class's logit with respect to the pooled frames, backwards through the head.
    ///
    /// # Shapes
    /// - `frames` and output: `[b, t, d]`
    fn input_gradient(&self, frames: Tensor<3>, class: usize) -> Tensor<3> {
        let [b, t, d] = frames.dims();
        let of_features = self.classifier.weights_of(class).unsqueeze_dim::<2>(0);
        let Some(encoder) = &self.temporal_encoder else {
            return (of_features / t as f64)
                .reshape([1, 1, d])
                .expand([b, t, d]);
        };
        let of_clip = match &self.projection {
            Some((linear, _, norm)) => {
                let fixed = norm.fixed(&frames.device());
                let affine = fixed
                    .expect("evidence is asked for on a device without autodiff")
                    .affine;
                let before = linear.forward(encoder.forward(frames.clone()));
                let of_norm = of_features * affine.gamma.unsqueeze_dim::<2>(0);
                // The ReLU lets through what is above zero.
                linear.input_gradient(before.greater_elem(0.0).float() * of_norm)
            }
            None => {
                let [_, e] = of_features.dims();
                of_features.expand([b, e])
            }
        };
        encoder.input_gradient(frames, of_clip)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, activation::relu};
    use marey_clip::rng_for;

    use super::*;
    use crate::arch::ResNetDepth;

    #[test]
    fn evidence_of_every_head_is_grad_cam() {
        let device = Device::flex();
        let tape = device.clone().autodiff();
        let backbone = BackboneConfig::ResNet(ResNetConfig {
            width: 0.125,
            ..ResNetConfig::new(ResNetDepth::D18)
        });
        for temporal in Temporal::ALL {
            let config = FrameNetConfig {
                hidden: 16,
                dropout: 0.0,
                ..FrameNetConfig::new(3, backbone, temporal)
            };
            let build =
                |device: &Device| config.init(&mut Init::Random(&mut rng_for(3, 0, 0, 0)), device);
            let clips = Tensor::<5>::random([2, 4, 64, 96, 3], Distribution::Default, &device);
            let model = build(&device);

            // Grad-CAM as its paper writes it, by autodiff behind the map.
            let map = model.backbone.backbone.feature_map(clips.clone());
            let [b, t, h, w, d] = map.dims();
            let taped = build(&tape);
            let logits = |leaf: Tensor<5>| {
                let frames = taped.pooled(leaf);
                let clip = match &taped.temporal_encoder {
                    Some(encoder) => encoder.forward(frames),
                    None => frames.mean_dim(1).squeeze_dim(1),
                };
                let features = match (&taped.projection, &model.projection) {
                    (Some((linear, relu, _)), Some((_, _, norm))) => {
                        // The norm with its running statistics, as in prediction.
                        let affine = norm.fixed(&device).expect("no autodiff").affine;
                        let row = |x: Tensor<1>| Tensor::from_inner(x).unsqueeze_dim::<2>(0);
                        relu.forward(linear.forward(clip)) * row(affine.gamma) + row(affine.beta)
                    }
                    _ => clip,
                };
                taped.classifier.forward(features)
            };
            // What speaks against one class everywhere speaks for another: they are compared on one scale.
            let (mut off, mut scale) = (0f32, 0f32);
            for class in 0..3 {
                let leaf = Tensor::<5>::from_data(map.clone().into_data(), &tape).require_grad();
                let grads = logits(leaf.clone()).narrow(1, class, 1).sum().backward();
                let grad = leaf.grad(&grads).expect("the map leads to the logit");
                let alpha = grad.reshape([b, t, h * w, d]).mean_dim(2);
                let product = map.clone() * alpha.reshape([b, t, 1, 1, d]);
                let expected = relu(product.sum_dim(4).reshape([b, t, h, w]));
                let evidence = model.evidence(clips.clone(), class);
                assert_eq!(evidence.over_time.dims(), [b, t]);
                scale = scale.max(expected.clone().max().into_scalar());
                off = off.max((evidence.places - expected).abs().max().into_scalar());
            }
            assert!(
                scale > 0.0 && off < 1e-4 * scale,
                "{temporal:?}: {off} of {scale}"
            );
        }
    }
}
