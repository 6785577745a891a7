//! The architectures by name: what a recipe may ask for, and what is known of each.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arch::{
    BackboneConfig, EfficientNetConfig, EfficientNetSize, ResNetConfig, ResNetDepth,
};

/// An architecture, by the name a recipe gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Arch {
    /// 18-layer residual network of 3x3x3 convolutions (Tran et al., 2018).
    #[serde(rename = "r3d_18")]
    R3d18,
    /// ResNet-18 on each frame (He et al., 2016), then what `model.temporal` says.
    #[serde(rename = "resnet18")]
    ResNet18,
    /// ResNet-34 on each frame.
    #[serde(rename = "resnet34")]
    ResNet34,
    /// ResNet-50 on each frame.
    #[serde(rename = "resnet50")]
    ResNet50,
    /// ResNet-101 on each frame.
    #[serde(rename = "resnet101")]
    ResNet101,
    /// EfficientNet-B0 on each frame (Tan and Le, 2019), then what `model.temporal` says.
    #[serde(rename = "efficientnet_b0")]
    EfficientNetB0,
    /// EfficientNet-B1 on each frame.
    #[serde(rename = "efficientnet_b1")]
    EfficientNetB1,
    /// EfficientNet-B2 on each frame.
    #[serde(rename = "efficientnet_b2")]
    EfficientNetB2,
    /// EfficientNet-B3 on each frame.
    #[serde(rename = "efficientnet_b3")]
    EfficientNetB3,
    /// EfficientNet-B4 on each frame.
    #[serde(rename = "efficientnet_b4")]
    EfficientNetB4,
    /// ResNet-50 on a frame of each segment, answers averaged (Wang et al., 2016).
    #[serde(rename = "tsn")]
    Tsn,
    /// TSN whose channels move between neighbouring frames (Lin, Gan and Han, 2019).
    #[serde(rename = "tsm")]
    Tsm,
    /// ResNet-50 on a frame and on optical flow (Simonyan and Zisserman, 2014).
    #[serde(rename = "two_stream")]
    TwoStream,
}

const RESNET: &str = "He et al., Deep Residual Learning for Image Recognition, CVPR 2016";

const EFFICIENTNET: &str = "Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019";

/// What is known of an architecture before it is built.
struct Entry {
    name: &'static str,
    parameters: usize,
    input: Input,
    paper: &'static str,
}

/// The clips that an architecture was published with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    /// Frames.
    pub frames: usize,
    /// Height and width in pixels.
    pub size: usize,
}

const fn input(frames: usize, size: usize) -> Input {
    Input { frames, size }
}

impl Arch {
    /// Every architecture there is.
    pub const ALL: &[Self] = &[
        Self::R3d18,
        Self::ResNet18,
        Self::ResNet34,
        Self::ResNet50,
        Self::ResNet101,
        Self::EfficientNetB0,
        Self::EfficientNetB1,
        Self::EfficientNetB2,
        Self::EfficientNetB3,
        Self::EfficientNetB4,
        Self::Tsn,
        Self::Tsm,
        Self::TwoStream,
    ];

    const fn entry(self) -> Entry {
        match self {
            Self::R3d18 => Entry {
                name: "r3d_18",
                parameters: 33_167_298,
                input: input(16, 112),
                paper: "Tran et al., A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018",
            },
            Self::ResNet18 => Entry {
                name: "resnet18",
                parameters: 11_177_538,
                input: input(8, 224),
                paper: RESNET,
            },
            Self::ResNet34 => Entry {
                name: "resnet34",
                parameters: 21_285_698,
                input: input(8, 224),
                paper: RESNET,
            },
            Self::ResNet50 => Entry {
                name: "resnet50",
                parameters: 23_512_130,
                input: input(8, 224),
                paper: RESNET,
            },
            Self::ResNet101 => Entry {
                name: "resnet101",
                parameters: 42_504_258,
                input: input(8, 224),
                paper: RESNET,
            },
            Self::EfficientNetB0 => Entry {
                name: "efficientnet_b0",
                parameters: 4_010_110,
                input: input(8, 224),
                paper: EFFICIENTNET,
            },
            Self::EfficientNetB1 => Entry {
                name: "efficientnet_b1",
                parameters: 6_515_746,
                input: input(8, 240),
                paper: EFFICIENTNET,
            },
            Self::EfficientNetB2 => Entry {
                name: "efficientnet_b2",
                parameters: 7_703_812,
                input: input(8, 260),
                paper: EFFICIENTNET,
            },
            Self::EfficientNetB3 => Entry {
                name: "efficientnet_b3",
                parameters: 10_699_306,
                input: input(8, 300),
                paper: EFFICIENTNET,
            },
            Self::EfficientNetB4 => Entry {
                name: "efficientnet_b4",
                parameters: 17_552_202,
                input: input(8, 380),
                paper: EFFICIENTNET,
            },
            Self::Tsn => Entry {
                name: "tsn",
                parameters: 23_512_130,
                input: input(8, 224),
                paper: "Wang et al., Temporal Segment Networks, ECCV 2016",
            },
            Self::Tsm => Entry {
                name: "tsm",
                parameters: 23_512_130,
                input: input(8, 224),
                paper: "Lin, Gan and Han, TSM: Temporal Shift Module for Efficient Video Understanding, ICCV 2019",
            },
            Self::TwoStream => Entry {
                name: "two_stream",
                parameters: 47_077_572,
                input: input(11, 224),
                paper: "Simonyan and Zisserman, Two-Stream Convolutional Networks for Action Recognition in Videos, NIPS 2014",
            },
        }
    }

    /// Its name in recipes and cards.
    pub const fn name(self) -> &'static str {
        self.entry().name
    }

    /// Parameters at 2 classes and width 1, with the mean over frames where `model.temporal` has a say.
    pub const fn num_parameters(self) -> usize {
        self.entry().parameters
    }

    /// The clips it was published with.
    pub const fn input(self) -> Input {
        self.entry().input
    }

    /// The network on each frame, where that is the architecture and `model.temporal` says what follows.
    pub(crate) const fn frame_backbone(self) -> Option<BackboneConfig> {
        use EfficientNetSize::{B0, B1, B2, B3, B4};
        use ResNetDepth::{D18, D34, D50, D101};
        Some(match self {
            Self::ResNet18 => BackboneConfig::ResNet(ResNetConfig::new(D18)),
            Self::ResNet34 => BackboneConfig::ResNet(ResNetConfig::new(D34)),
            Self::ResNet50 => BackboneConfig::ResNet(ResNetConfig::new(D50)),
            Self::ResNet101 => BackboneConfig::ResNet(ResNetConfig::new(D101)),
            Self::EfficientNetB0 => BackboneConfig::EfficientNet(EfficientNetConfig::new(B0)),
            Self::EfficientNetB1 => BackboneConfig::EfficientNet(EfficientNetConfig::new(B1)),
            Self::EfficientNetB2 => BackboneConfig::EfficientNet(EfficientNetConfig::new(B2)),
            Self::EfficientNetB3 => BackboneConfig::EfficientNet(EfficientNetConfig::new(B3)),
            Self::EfficientNetB4 => BackboneConfig::EfficientNet(EfficientNetConfig::new(B4)),
            _ => return None,
        })
    }

    /// Whether its frames go through a ResNet.
    pub(crate) const fn has_resnet(self) -> bool {
        matches!(self, Self::Tsn | Self::Tsm | Self::TwoStream)
            || matches!(self.frame_backbone(), Some(BackboneConfig::ResNet(_)))
    }

    /// Where it comes from.
    pub const fn paper(self) -> &'static str {
        self.entry().paper
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_written_by_their_names() {
        for arch in Arch::ALL {
            let written = toml::Value::try_from(arch).expect("a string");
            assert_eq!(written.as_str(), Some(arch.name()));
        }
    }
}
