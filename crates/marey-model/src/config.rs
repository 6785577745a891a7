//! The `[model]` section of a recipe.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor};
use marey_clip::SeededRng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Arch, Error, ErrorKind, Input, Model, Outputs,
    arch::{
        BackboneConfig, C3dConfig, FrameNetConfig, I3dConfig, Lateral, MobileNet3dConfig,
        NUM_HEADS, R3dConfig, SegmentNetConfig, SlowFastConfig, SlowOnlyConfig, Temporal,
        TwoStreamConfig, X3dConfig,
    },
    boxed::Boxed,
    heads::Heads,
    layer::{Init, multiply_adds},
    model::Net,
    weights::{self, ImportOptions, ImportReport},
};

/// What to do with the classifier of a weights file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeadImport {
    /// Load it; another number of classes is an error.
    #[default]
    Load,
    /// Leave it: the classifier keeps its random initial values.
    Skip,
}

/// The size of a model, and its work for one clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Values that training learns.
    pub parameters: usize,
    /// Multiply-adds of convolutions, linear layers, recurrences and attention; papers call 1e9 of them a GFLOP. Norms,
    /// activations and pools, and the optical flow of `two_stream`, which is no part of its layers, are not in it.
    pub multiply_adds: u64,
}

/// Which model, and the weights it starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The architecture.
    pub arch: Arch,
    /// Factor on the channels of the convolutions, 0.05 to 4 (default 1, the published size). Less is faster and weaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<f64>,
    /// What makes one feature of a clip from those of its frames, where `arch` is a network for frames (`resnet..`,
    /// `efficientnet_b..`): `mean` (default), `gru`, `lstm`, `bilstm` or `transformer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temporal: Option<Temporal>,
    /// Width of `temporal`: of the state in each direction (default 256), or of the transformer, a multiple of 8 (default
    /// 512); 8 to 4096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<usize>,
    /// Layers of `temporal`, 1 to 16 (default 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temporal_layers: Option<usize>,
    /// Share of features dropped in training, at least 0 and below 1 (default: the architecture's own, 0 for `r3d_18`,
    /// `mc3_18` and `r2plus1d_18`, 0.3 for networks for frames, 0.4 for `tsn`, 0.8 for `slowfast_r50_thermal`, 0.2 for
    /// `mobilenet3d`, 0.5 for the others).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Probability that a residual branch is dropped in training, at least 0 and below 1 (default 0); only
    /// EfficientNets have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_path: Option<f64>,
    /// What follows the convolutions that join the two paths of SlowFast: `normed`, a norm and a rectifier as in PySlowFast
    /// and pytorchvideo (default), or `plain`, nothing, as in mmaction2 (default of `slowfast_r50_thermal`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lateral: Option<Lateral>,
    /// Weights to start from: a `.pth`, `.pt` or `.safetensors` file (default: random).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// What to do with the classifier in `weights`: `load` (default), or `skip` where its classes are others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadImport>,
}

impl ModelConfig {
    /// `arch` at its published size, with random weights.
    pub const fn new(arch: Arch) -> Self {
        Self {
            arch,
            width: None,
            temporal: None,
            hidden: None,
            temporal_layers: None,
            dropout: None,
            drop_path: None,
            lateral: None,
            weights: None,
            head: None,
        }
    }

    /// Architecture and network over time: `r3d_18`, `efficientnet_b0 + bilstm`.
    pub fn name(&self) -> String {
        match self.temporal {
            Some(temporal) => format!("{} + {}", self.arch, temporal.name()),
            None => self.arch.to_string(),
        }
    }

    /// Checks what a person wrote.
    ///
    /// # Errors
    /// When a number is outside its range, or a key has no effect beside the others.
    pub fn validate(&self) -> Result<(), Error> {
        let setting = |key, value: String, expected| {
            Err(ErrorKind::Setting {
                key,
                value,
                expected,
            }
            .into())
        };
        if let Some(width) = self.width.filter(|width| !(0.05..=4.0).contains(width)) {
            return setting("width", width.to_string(), "0.05 to 4");
        }
        for (key, share) in [("dropout", self.dropout), ("drop_path", self.drop_path)] {
            if let Some(share) = share.filter(|share| !(0.0..1.0).contains(share)) {
                return setting(key, share.to_string(), "at least 0 and below 1");
            }
        }
        let backbone = self.arch.frame_backbone();
        if let Some(drop_path) = self.drop_path
            && !matches!(backbone, Some(BackboneConfig::EfficientNet(_)))
        {
            let expected =
                "nothing: only efficientnet_b0 to efficientnet_b4 have such a setting, remove it";
            return setting("drop_path", drop_path.to_string(), expected);
        }
        if let Some(lateral) = self.lateral.filter(|_| !self.arch.is_slowfast()) {
            let expected = "nothing: only the slowfast_r50 networks join two paths, remove it";
            return setting("lateral", lateral.name().to_owned(), expected);
        }
        self.validate_temporal(backbone.is_some())?;
        if let (None, Some(head)) = (&self.weights, self.head) {
            let expected = "nothing without model.weights: remove it, or name a weights file";
            return setting("head", format!("{head:?}").to_lowercase(), expected);
        }
        Ok(())
    }

    /// Checks the keys of what is over time, which networks for frames have.
    fn validate_temporal(&self, has_frames: bool) -> Result<(), Error> {
        let setting = |key, value: String, expected| {
            Err(ErrorKind::Setting {
                key,
                value,
                expected,
            }
            .into())
        };
        let number = |value: Option<usize>| value.map(|value| value.to_string());
        let name = self.temporal.map(|temporal| temporal.name().to_owned());
        let numbers = [
            ("hidden", number(self.hidden)),
            ("temporal_layers", number(self.temporal_layers)),
        ];
        for (key, value) in [("temporal", name)].into_iter().chain(numbers.clone()) {
            if let (false, Some(value)) = (has_frames, value) {
                let expected = "nothing: this architecture has its own way over time; remove it, or take a network for \
                                frames (resnet.., efficientnet_b..)";
                return setting(key, value, expected);
            }
        }
        let temporal = self.temporal.unwrap_or_default();
        for (key, value) in numbers {
            if let (Temporal::Mean, Some(value)) = (temporal, value) {
                let expected = "nothing without a network over time: remove it, or set model.temporal to \"gru\", \
                                \"lstm\", \"bilstm\" or \"transformer\"";
                return setting(key, value, expected);
            }
        }
        if let Some(hidden) = self.hidden.filter(|hidden| !(8..=4096).contains(hidden)) {
            return setting("hidden", hidden.to_string(), "8 to 4096");
        }
        if let Some(layers) = self.temporal_layers.filter(|num| !(1..=16).contains(num)) {
            return setting("temporal_layers", layers.to_string(), "1 to 16");
        }
        if let Some(hidden) = self.hidden
            && temporal == Temporal::Transformer
            && !hidden.is_multiple_of(NUM_HEADS)
        {
            return setting(
                "hidden",
                hidden.to_string(),
                "a multiple of 8, the transformer's heads",
            );
        }
        Ok(())
    }

    /// The model with random weights from `rng`, the same on every device.
    ///
    /// # Errors
    /// As [`ModelConfig::validate`].
    pub fn init(
        &self,
        num_classes: usize,
        rng: &mut SeededRng,
        device: &Device,
    ) -> Result<Model, Error> {
        let outputs = Outputs::classes(num_classes);
        self.init_from(&outputs, &mut Init::Random(rng), device)
    }

    /// The model that training starts from: with random weights from `rng`, replaced by those of
    /// [`ModelConfig::weights`] where there are any; and what was loaded.
    ///
    /// # Errors
    /// As [`ModelConfig::validate`] and [`weights::import`].
    pub fn build(
        &self,
        outputs: &Outputs,
        rng: &mut SeededRng,
        device: &Device,
    ) -> Result<(Model, Option<ImportReport>), Error> {
        let model = self.init_from(outputs, &mut Init::Random(rng), device)?;
        let Some(path) = &self.weights else {
            return Ok((model, None));
        };
        let options = ImportOptions {
            head: self.head.unwrap_or_default(),
            ..ImportOptions::default()
        };
        let (model, report) = weights::import(model, path, &options)?;
        Ok((model, Some(report)))
    }

    /// What the model has and does at `num_classes` classes, for one clip of the size `input`: counted by building it, with
    /// all parameters 0, and walking through its layers.
    ///
    /// # Errors
    /// As [`ModelConfig::validate`].
    pub fn cost(&self, num_classes: usize, input: Input, device: &Device) -> Result<Cost, Error> {
        let outputs = Outputs::classes(num_classes);
        let model = self.init_from(&outputs, &mut Init::Zeros, device)?;
        let Input { frames, size } = input;
        let clip = Tensor::<5>::zeros([1, frames, size, size, 3], device);
        Ok(Cost {
            parameters: model.num_parameters(),
            multiply_adds: multiply_adds(|| {
                model.forward(clip);
            }),
        })
    }

    pub(crate) fn init_from(
        &self,
        outputs: &Outputs,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Result<Model, Error> {
        self.validate()?;
        let num_classes = outputs.num_classes;
        let width = self.width.unwrap_or(1.0);
        macro_rules! net {
            ($net:ident, $config:expr) => {{
                let config = $config;
                let net = config.init(init, device);
                (Net::$net(Boxed::new(net)), config.dropout)
            }};
        }
        // The published network, with the width and the dropout that were asked for.
        macro_rules! published {
            ($net:ident, $config:expr) => {{
                let mut config = $config;
                config.width = width;
                config.dropout = self.dropout.unwrap_or(config.dropout);
                net!($net, config)
            }};
        }
        let (net, dropout) = match self.arch {
            Arch::R3d18 => published!(R3d, R3dConfig::r3d_18(num_classes)),
            Arch::Tsn => net!(
                Segments,
                self.segment_net(SegmentNetConfig::tsn(num_classes))
            ),
            Arch::Tsm => net!(
                Segments,
                self.segment_net(SegmentNetConfig::tsm(num_classes))
            ),
            Arch::TwoStream => published!(TwoStream, TwoStreamConfig::new(num_classes)),
            Arch::ResNet18
            | Arch::ResNet34
            | Arch::ResNet50
            | Arch::ResNet101
            | Arch::EfficientNetB0
            | Arch::EfficientNetB1
            | Arch::EfficientNetB2
            | Arch::EfficientNetB3
            | Arch::EfficientNetB4 => {
                let backbone = self.arch.frame_backbone();
                let backbone = backbone.expect("these are networks for frames");
                net!(Frames, self.frame_net(num_classes, backbone))
            }
            Arch::Mc3_18 => published!(R3d, R3dConfig::mc3_18(num_classes)),
            Arch::R2plus1d18 => published!(R3d, R3dConfig::r2plus1d_18(num_classes)),
            Arch::SlowFastR50_4x16 => {
                published!(
                    SlowFast,
                    self.slow_fast(SlowFastConfig::r50_4x16(num_classes))
                )
            }
            Arch::SlowFastR50_8x8 => {
                published!(
                    SlowFast,
                    self.slow_fast(SlowFastConfig::r50_8x8(num_classes))
                )
            }
            Arch::SlowFastR50Thermal => {
                published!(
                    SlowFast,
                    self.slow_fast(SlowFastConfig::r50_thermal(num_classes))
                )
            }
            Arch::SlowOnlyR50 => published!(SlowOnly, SlowOnlyConfig::r50(num_classes)),
            Arch::X3dXs | Arch::X3dS | Arch::X3dM => {
                published!(X3d, X3dConfig::published(num_classes))
            }
            Arch::I3d => published!(I3d, I3dConfig::published(num_classes)),
            Arch::C3d => published!(C3d, C3dConfig::published(num_classes)),
            Arch::MobileNet3d => {
                published!(MobileNet3d, MobileNet3dConfig::published(num_classes))
            }
        };
        let heads = Heads::new(outputs, net.num_features(), dropout, init, device);
        Ok(Model::new(self.arch, net, heads))
    }

    fn segment_net(&self, mut config: SegmentNetConfig) -> SegmentNetConfig {
        config.backbone.width = self.width.unwrap_or(1.0);
        config.dropout = self.dropout.unwrap_or(config.dropout);
        config
    }

    fn slow_fast(&self, mut config: SlowFastConfig) -> SlowFastConfig {
        config.lateral = self.lateral.unwrap_or(config.lateral);
        config
    }

    fn frame_net(&self, num_classes: usize, mut backbone: BackboneConfig) -> FrameNetConfig {
        let width = self.width.unwrap_or(1.0);
        match &mut backbone {
            BackboneConfig::ResNet(config) => config.width = width,
            BackboneConfig::EfficientNet(config) => {
                config.width = width;
                config.drop_path = self.drop_path.unwrap_or(config.drop_path);
            }
        }
        let temporal = self.temporal.unwrap_or_default();
        let published = FrameNetConfig::new(num_classes, backbone, temporal);
        FrameNetConfig {
            hidden: self.hidden.unwrap_or(published.hidden),
            num_layers: self.temporal_layers.unwrap_or(published.num_layers),
            dropout: self.dropout.unwrap_or(published.dropout),
            ..published
        }
    }
}
