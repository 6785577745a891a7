//! The `[loss]` section of a recipe.

use burn::tensor::{Device, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClassWeights, Loss};
use crate::recipe::effect::{Key, has_effect, in_range};

/// The `[loss]` section of a recipe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// Which loss (default `"cross_entropy"`).
    pub kind: LossKind,
    /// Share of the target spread evenly over all classes, 0–0.999 (default 0; Szegedy et al., 2016, section 7).
    pub label_smoothing: f64,
    /// Weight of each class (default `"none"`).
    pub class_weights: ClassWeights,
    /// How fast the number of clips of a class saturates, 0–0.999999 (default 0.999); `class_weights = "effective"` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// How strongly sure clips are held down, 0–10 (default 2); `"focal"` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// Factor on the whole loss, 0.001–1000 (default 1); `"focal"` and `"adaptive_focal"`. The paper's weight of each
    /// class is `class_weights`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// `[below, gamma]` pairs: the gamma of clips whose class has a probability below that, rising, the last below 1
    /// (default `[[0.2, 5.0], [1.0, 3.0]]`); `"adaptive_focal"` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gammas: Option<Vec<[f64; 2]>>,
    /// What the focal losses take for the probability of a clip's class (default `"probability"`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pt: Option<FocalPt>,
}

/// Which loss is minimised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Every clip counts as its class weight says.
    #[default]
    CrossEntropy,
    /// The cross-entropy times `(1 - pt)^gamma`: clips that are already right count less (Lin et al., "Focal Loss for
    /// Dense Object Detection", 2017, with softmax).
    Focal,
    /// Focal with a gamma of its own for each clip, larger where the model is further off (the sample-dependent schedule
    /// FLSD-53 of Mukhoti et al., "Calibrating Deep Neural Networks using Focal Loss", NeurIPS 2020, section 5).
    AdaptiveFocal,
}

impl LossKind {
    const fn name(self) -> &'static str {
        match self {
            Self::CrossEntropy => "cross_entropy",
            Self::Focal => "focal",
            Self::AdaptiveFocal => "adaptive_focal",
        }
    }
}

/// What the focal losses take for `pt`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FocalPt {
    /// The probability that the model gives the class, as in the papers.
    #[default]
    Probability,
    /// `exp(-S)` with S the label-smoothed cross-entropy without class weights: what programs compute that wrap a
    /// smoothed cross-entropy. It never reaches 1, so sure clips are held down less. Only with `label_smoothing`.
    SmoothedLoss,
}

/// Gamma of Lin et al.
const GAMMA: f64 = 2.0;
/// FLSD-53.
const GAMMAS: [[f64; 2]; 2] = [[0.2, 5.0], [1.0, 3.0]];

impl LossConfig {
    /// Checks what a person wrote, and fills in what depends on the kind.
    pub(crate) fn resolve(&mut self) -> Result<(), String> {
        let (focal, adaptive) = (
            self.kind == LossKind::Focal,
            self.kind == LossKind::AdaptiveFocal,
        );
        let kind = format!("kind = \"{}\"", self.kind.name());
        has_effect(
            "loss",
            &kind,
            &[
                Key("gamma", self.gamma.is_some(), focal, "\"focal\""),
                Key(
                    "gammas",
                    self.gammas.is_some(),
                    adaptive,
                    "\"adaptive_focal\"",
                ),
                Key(
                    "alpha",
                    self.alpha.is_some(),
                    focal || adaptive,
                    "the focal losses",
                ),
                Key(
                    "pt",
                    self.pt.is_some(),
                    focal || adaptive,
                    "the focal losses",
                ),
            ],
        )?;
        let effective = self.class_weights == ClassWeights::Effective;
        if self.beta.is_some() && !effective {
            return Err(
                "loss.beta has no effect without loss.class_weights = \"effective\": remove it, or set that".into(),
            );
        }
        if self.pt == Some(FocalPt::SmoothedLoss) && self.label_smoothing == 0.0 {
            return Err(
                "loss.pt = \"smoothed_loss\" has no effect with loss.label_smoothing = 0: remove one of them".into(),
            );
        }
        in_range("loss.label_smoothing", self.label_smoothing, 0.0..=0.999)?;
        in_range("loss.beta", self.beta.unwrap_or(0.0), 0.0..=0.999_999)?;
        in_range("loss.gamma", self.gamma.unwrap_or(0.0), 0.0..=10.0)?;
        in_range("loss.alpha", self.alpha.unwrap_or(1.0), 0.001..=1000.0)?;
        check_gammas(self.gammas.as_deref().unwrap_or(&GAMMAS))?;
        self.class_weights.check()?;
        if effective {
            self.beta.get_or_insert(0.999);
        }
        if focal {
            self.gamma.get_or_insert(GAMMA);
        }
        if adaptive {
            self.gammas.get_or_insert_with(|| GAMMAS.to_vec());
        }
        if focal || adaptive {
            self.alpha.get_or_insert(1.0);
            self.pt.get_or_insert(FocalPt::default());
        }
        Ok(())
    }

    /// The loss of a run over `classes`, of which the training split has `train_counts` clips each.
    ///
    /// # Errors
    /// When a table of class weights does not name exactly the classes.
    pub fn init(
        &self,
        classes: &[String],
        train_counts: &[usize],
        device: &Device,
    ) -> Result<Loss, String> {
        let beta = self.beta.unwrap_or(0.999);
        let weights = self.class_weights.weights(classes, train_counts, beta)?;
        let weights = weights
            .map(|weights| Tensor::from_data(TensorData::new(weights, [classes.len()]), device));
        let gammas = match self.kind {
            LossKind::CrossEntropy => Vec::new(),
            LossKind::Focal => vec![[1.0, self.gamma.unwrap_or(GAMMA)]],
            LossKind::AdaptiveFocal => self.gammas.clone().unwrap_or_else(|| GAMMAS.to_vec()),
        };
        Ok(Loss {
            weights,
            label_smoothing: self.label_smoothing,
            gammas,
            alpha: self.alpha.unwrap_or(1.0),
            pt: self.pt.unwrap_or_default(),
        })
    }
}

fn check_gammas(gammas: &[[f64; 2]]) -> Result<(), String> {
    let rises = gammas.windows(2).all(|pair| pair[0][0] < pair[1][0]);
    let ends_at_one = gammas.last().is_some_and(|last| last[0] == 1.0);
    let fits = gammas
        .iter()
        .all(|[below, gamma]| *below > 0.0 && (0.0..=10.0).contains(gamma));
    if rises && ends_at_one && fits {
        return Ok(());
    }
    Err(format!(
        "loss.gammas is {gammas:?}, expected [below, gamma] pairs whose first numbers rise from above 0 to 1 and whose \
         gammas lie in 0..=10, for example [[0.2, 5.0], [1.0, 3.0]]"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_another_kind_are_refused_and_defaults_are_filled_in() {
        let refused = |text: &str, expect: &str| {
            let mut config: LossConfig = toml::from_str(text).expect("valid TOML");
            let error = config.resolve().expect_err(text);
            assert!(error.contains(expect), "{text}: {error}");
        };
        refused(
            "gamma = 2",
            "loss.gamma has no effect with kind = \"cross_entropy\"",
        );
        refused(
            "kind = \"adaptive_focal\"\ngamma = 2",
            "it belongs to \"focal\"",
        );
        refused("beta = 0.9", "loss.class_weights = \"effective\"");
        refused(
            "kind = \"focal\"\npt = \"smoothed_loss\"",
            "label_smoothing = 0",
        );
        refused("kind = \"focal\"\ngamma = -1", "must lie in 0..=10");
        refused(
            "kind = \"adaptive_focal\"\ngammas = [[0.2, 5.0]]",
            "rise from above 0 to 1",
        );
        let mut config: LossConfig = toml::from_str("kind = \"focal\"").expect("valid TOML");
        config.resolve().expect("valid");
        let filled = (config.gamma, config.alpha, config.pt, config.gammas.clone());
        assert_eq!(
            filled,
            (Some(2.0), Some(1.0), Some(FocalPt::Probability), None)
        );
    }
}
