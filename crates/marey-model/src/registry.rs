//! The architectures by name: what a recipe may ask for, and what is known of each.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An architecture, by the name a recipe gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Arch {
    /// 18-layer residual network of 3x3x3 convolutions (Tran et al., 2018).
    #[serde(rename = "r3d_18")]
    R3d18,
    /// EfficientNet-B0 on each frame (Tan and Le, 2019), then a bidirectional LSTM and additive attention over time.
    #[serde(rename = "efficientnet_b0_bilstm")]
    EfficientNetB0BiLstm,
}

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
    pub const ALL: &[Self] = &[Self::R3d18, Self::EfficientNetB0BiLstm];

    const fn entry(self) -> Entry {
        match self {
            Self::R3d18 => Entry {
                name: "r3d_18",
                parameters: 33_167_298,
                input: input(16, 112),
                paper: "Tran et al., A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018",
            },
            Self::EfficientNetB0BiLstm => Entry {
                name: "efficientnet_b0_bilstm",
                parameters: 9_130_623,
                input: input(16, 64),
                paper: "Tan and Le, EfficientNet, ICML 2019; Bahdanau, Cho and Bengio, Neural Machine Translation by \
                        Jointly Learning to Align and Translate, ICLR 2015",
            },
        }
    }

    /// Its name in recipes and cards.
    pub const fn name(self) -> &'static str {
        self.entry().name
    }

    /// Parameters at 2 classes and width 1.
    pub const fn num_parameters(self) -> usize {
        self.entry().parameters
    }

    /// The clips it was published with.
    pub const fn input(self) -> Input {
        self.entry().input
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
