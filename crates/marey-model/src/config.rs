//! The `[model]` section of a recipe.

use std::path::PathBuf;

use burn::tensor::Device;
use marey_clip::SeededRng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Arch, Error, ErrorKind, Model, Outputs,
    arch::{EfficientNetBiLstmConfig, EfficientNetConfig, R3dConfig},
    heads::Heads,
    layer::Init,
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

/// Which model, and the weights it starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The architecture.
    pub arch: Arch,
    /// Factor on the channels of the convolutions, 0.05 to 4 (default 1, the published size). Less is faster and weaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<f64>,
    /// Share of features dropped in training, at least 0 and below 1 (default: the architecture's own, 0 for `r3d_18`,
    /// 0.3 for `efficientnet_b0_bilstm`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Probability that a residual branch is dropped in training, at least 0 and below 1 (default 0); only
    /// `efficientnet_b0_bilstm` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_path: Option<f64>,
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
            dropout: None,
            drop_path: None,
            weights: None,
            head: None,
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
        if let (Arch::R3d18, Some(drop_path)) = (self.arch, self.drop_path) {
            let expected = "nothing: r3d_18 has no such setting, remove it";
            return setting("drop_path", drop_path.to_string(), expected);
        }
        if let (None, Some(head)) = (&self.weights, self.head) {
            let expected = "nothing without model.weights: remove it, or name a weights file";
            return setting("head", format!("{head:?}").to_lowercase(), expected);
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

    pub(crate) fn init_from(
        &self,
        outputs: &Outputs,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Result<Model, Error> {
        self.validate()?;
        let num_classes = outputs.num_classes;
        let width = self.width.unwrap_or(1.0);
        let (net, dropout) = match self.arch {
            Arch::R3d18 => {
                let published = R3dConfig::r3d_18(num_classes);
                let config = R3dConfig {
                    width,
                    dropout: self.dropout.unwrap_or(published.dropout),
                    ..published
                };
                (Net::R3d(config.init(init, device)), config.dropout)
            }
            Arch::EfficientNetB0BiLstm => {
                let published = EfficientNetBiLstmConfig::b0(num_classes);
                let drop_path = self.drop_path.unwrap_or(published.backbone.drop_path);
                let config = EfficientNetBiLstmConfig {
                    backbone: EfficientNetConfig { width, drop_path },
                    dropout: self.dropout.unwrap_or(published.dropout),
                    ..published
                };
                let net = Net::EfficientNetBiLstm(config.init(init, device));
                (net, config.dropout)
            }
        };
        let heads = Heads::new(outputs, net.num_features(), dropout, init, device);
        Ok(Model::new(self.arch, net, heads))
    }
}
