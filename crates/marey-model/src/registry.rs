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
    /// R3D-18 with kernels over space and time in its first stage, and over space alone behind it (Tran et al., 2018).
    #[serde(rename = "mc3_18")]
    Mc3_18,
    /// R3D-18 with each kernel factored into one over space and one over time (Tran et al., 2018).
    #[serde(rename = "r2plus1d_18")]
    R2plus1d18,
    /// A slow and a fast network side by side, 50 layers; 4 slow frames of 32, as in PySlowFast and pytorchvideo
    /// (Feichtenhofer et al., 2019).
    #[serde(rename = "slowfast_r50_4x16")]
    SlowFastR50_4x16,
    /// The same with 8 slow frames of 32.
    #[serde(rename = "slowfast_r50_8x8")]
    SlowFastR50_8x8,
    /// The same with 8 slow frames of 64, as in mmaction2 and the thermal systems.
    #[serde(rename = "slowfast_r50_thermal")]
    SlowFastR50Thermal,
    /// The slow network of SlowFast by itself.
    #[serde(rename = "slowonly_r50")]
    SlowOnlyR50,
    /// Residual network of depthwise convolutions over clips (Feichtenhofer, 2020), for 4 frames of 160 pixels.
    #[serde(rename = "x3d_xs")]
    X3dXs,
    /// The same for 13 frames of 160 pixels.
    #[serde(rename = "x3d_s")]
    X3dS,
    /// The same for 16 frames of 224 pixels.
    #[serde(rename = "x3d_m")]
    X3dM,
    /// Inception-v1 with its kernels inflated to clips (Carreira and Zisserman, 2017).
    #[serde(rename = "i3d")]
    I3d,
    /// Eight 3x3x3 convolutions and three linear layers (Tran et al., 2015).
    #[serde(rename = "c3d")]
    C3d,
    /// MobileNetV2 with its kernels inflated to clips (Köpüklü et al., 2019).
    #[serde(rename = "mobilenet3d")]
    MobileNet3d,
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
        Self::Mc3_18,
        Self::R2plus1d18,
        Self::SlowFastR50_4x16,
        Self::SlowFastR50_8x8,
        Self::SlowFastR50Thermal,
        Self::SlowOnlyR50,
        Self::X3dXs,
        Self::X3dS,
        Self::X3dM,
        Self::I3d,
        Self::C3d,
        Self::MobileNet3d,
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
            Self::Mc3_18 => Entry {
                name: "mc3_18",
                parameters: 11_491_266,
                input: input(16, 112),
                paper: "Tran et al., A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018",
            },
            Self::R2plus1d18 => Entry {
                name: "r2plus1d_18",
                parameters: 31_301_151,
                input: input(16, 112),
                paper: "Tran et al., A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018",
            },
            Self::SlowFastR50_4x16 => Entry {
                name: "slowfast_r50_4x16",
                parameters: 33_562_826,
                input: input(32, 224),
                paper: "Feichtenhofer et al., SlowFast Networks for Video Recognition, ICCV 2019",
            },
            Self::SlowFastR50_8x8 => Entry {
                name: "slowfast_r50_8x8",
                parameters: 33_649_098,
                input: input(32, 224),
                paper: "Feichtenhofer et al., SlowFast Networks for Video Recognition, ICCV 2019",
            },
            Self::SlowFastR50Thermal => Entry {
                name: "slowfast_r50_thermal",
                parameters: 33_561_898,
                input: input(64, 256),
                paper: "Feichtenhofer et al., SlowFast Networks for Video Recognition, ICCV 2019",
            },
            Self::SlowOnlyR50 => Entry {
                name: "slowonly_r50",
                parameters: 31_638_594,
                input: input(8, 224),
                paper: "Feichtenhofer et al., SlowFast Networks for Video Recognition, ICCV 2019",
            },
            Self::X3dXs => Entry {
                name: "x3d_xs",
                parameters: 2_978_772,
                input: input(4, 160),
                paper: "Feichtenhofer, X3D: Expanding Architectures for Efficient Video Recognition, CVPR 2020",
            },
            Self::X3dS => Entry {
                name: "x3d_s",
                parameters: 2_978_772,
                input: input(13, 160),
                paper: "Feichtenhofer, X3D: Expanding Architectures for Efficient Video Recognition, CVPR 2020",
            },
            Self::X3dM => Entry {
                name: "x3d_m",
                parameters: 2_978_772,
                input: input(16, 224),
                paper: "Feichtenhofer, X3D: Expanding Architectures for Efficient Video Recognition, CVPR 2020",
            },
            Self::I3d => Entry {
                name: "i3d",
                parameters: 12_289_314,
                input: input(64, 224),
                paper: "Carreira and Zisserman, Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset, CVPR 2017",
            },
            Self::C3d => Entry {
                name: "c3d",
                parameters: 78_003_970,
                input: input(16, 112),
                paper: "Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015",
            },
            Self::MobileNet3d => Entry {
                name: "mobilenet3d",
                parameters: 2_356_610,
                input: input(16, 112),
                paper: "Köpüklü et al., Resource Efficient 3D Convolutional Neural Networks, ICCV Workshops 2019; Sandler et \
                        al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018",
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

    /// Whether two paths of it are joined by convolutions.
    pub(crate) const fn is_slowfast(self) -> bool {
        matches!(
            self,
            Self::SlowFastR50_4x16 | Self::SlowFastR50_8x8 | Self::SlowFastR50Thermal
        )
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
