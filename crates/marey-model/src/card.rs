//! What a bundle says about its model: all that is needed to use it, and where it comes from.

use std::time::{SystemTime, UNIX_EPOCH};

use marey_clip::{ClassList, Sampling};
use marey_transform::Preprocess;
use serde::{Deserialize, Serialize};

use crate::{Answering, ErrorKind, ModelConfig, Outputs, Task};

/// Version of the bundle's format. It changes when a program of before would misread a bundle.
///
/// Version 2 added `[answer]`. Bundles of version 1 are read: they answer by softmax alone.
pub const FORMAT_VERSION: i64 = 2;

/// The oldest version that can be read.
const OLDEST_VERSION: i64 = 1;

/// A bundle's `card.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// [`FORMAT_VERSION`] of the program that wrote it.
    pub format_version: i64,
    /// What [`Preprocess::fingerprint`] gave when the model was trained.
    pub preprocess_fingerprint: String,
    /// The classes, in the order of the logits.
    pub classes: ClassList,
    /// The architecture and its settings.
    pub model: ModelConfig,
    /// What it learned to say about a clip. Bundles that do not say so classify.
    #[serde(default)]
    pub task: Task,
    /// The labels of [`Task::heads`], in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<HeadClasses>,
    /// Which frames make a clip.
    pub sampling: Sampling,
    /// How a clip becomes the model's input.
    pub preprocess: Preprocess,
    /// How logits become an answer.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub answer: Answering,
    /// Where the model comes from.
    pub provenance: Provenance,
    /// What was measured, and on what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<CardFigure>,
}

/// Where a model comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Name of the recipe.
    pub recipe: String,
    /// Name of the run folder.
    pub run: String,
    /// Version of the program that trained it.
    pub marey_version: String,
    /// When it was saved, RFC 3339 in UTC, as [`utc`] writes it.
    pub created: String,
    /// Name of the weights file that training started from; `None` where it started from random weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_weights: Option<String>,
    /// What activations were stored as in training, `f32`, `bf16` or `f16`. The weights are `f32`, and so is the
    /// arithmetic of a prediction. Bundles that do not say so were trained in `f32`.
    #[serde(default = "f32_name")]
    pub precision: String,
    /// What it was trained on.
    pub data: DataSummary,
}

fn is_plain(answer: &Answering) -> bool {
    *answer == Answering::default()
}

fn f32_name() -> String {
    "f32".to_owned()
}

/// What a model was trained on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSummary {
    /// Name of the data set: its file or folder, without the way there.
    pub name: String,
    /// Items it learned from.
    pub train: usize,
    /// Items that chose the best epoch.
    pub validation: usize,
    /// Items that were kept apart.
    pub test: usize,
    /// How the splits were made, for example `column split` or `group location, seed 7`.
    pub split: String,
}

/// A label that is learned beside the classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadClasses {
    /// The column of the manifest.
    pub column: String,
    /// Its values, in the order of the head's logits.
    pub classes: ClassList,
}

/// One figure with what it takes to believe it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardFigure {
    /// For example `test/macro_f1`.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// Its 95 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// Items it was computed on.
    pub support: usize,
    /// The same figure of the trivial predictor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
}

impl Card {
    /// A card of this program's version for a classifier, without figures.
    ///
    /// The weights file that `model` names is noted in the provenance, without the way there; a bundle brings its own.
    pub fn new(
        mut model: ModelConfig,
        classes: ClassList,
        sampling: Sampling,
        preprocess: Preprocess,
        mut provenance: Provenance,
    ) -> Self {
        model.head = None;
        if let Some(path) = model.weights.take() {
            provenance.initial_weights = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
        }
        Self {
            format_version: FORMAT_VERSION,
            preprocess_fingerprint: preprocess.fingerprint(),
            classes,
            model,
            task: Task::default(),
            heads: Vec::new(),
            sampling,
            preprocess,
            answer: Answering::default(),
            provenance,
            figures: Vec::new(),
        }
    }

    /// The card as `card.toml` holds it.
    ///
    /// # Errors
    /// When a value has no form in TOML.
    pub fn to_toml(&self) -> Result<String, ErrorKind> {
        toml::to_string_pretty(self).map_err(|error| ErrorKind::Card {
            problem: error.to_string(),
        })
    }

    /// The card in the text of a `card.toml`.
    ///
    /// # Errors
    /// When the text is of another format version, is no card, holds a setting that cannot work, or when its
    /// preprocessing gives other pixels today than it did when the model was trained.
    pub fn from_toml(text: &str) -> Result<Self, ErrorKind> {
        let invalid = |problem: String| ErrorKind::Card { problem };
        // The version first: a card of another version may well have other fields.
        let table: toml::Table =
            toml::from_str(text).map_err(|error| invalid(error.to_string()))?;
        let found = table
            .get("format_version")
            .and_then(toml::Value::as_integer)
            .ok_or_else(|| invalid("format_version is missing or no integer".to_owned()))?;
        if !(OLDEST_VERSION..=FORMAT_VERSION).contains(&found) {
            let advice = if found > FORMAT_VERSION {
                "update this program, or train again with this version"
            } else {
                "open it with the version that wrote it, or train again"
            };
            return Err(ErrorKind::Version {
                found,
                expected: FORMAT_VERSION,
                advice,
            });
        }
        let mut card: Self = toml::from_str(text).map_err(|error| invalid(error.to_string()))?;
        card.format_version = FORMAT_VERSION;
        card.model
            .validate()
            .map_err(|error| invalid(error.kind().to_string()))?;
        card.sampling
            .validate()
            .map_err(|error| invalid(error.to_string()))?;
        card.preprocess
            .validate()
            .map_err(|error| invalid(error.to_string()))?;
        card.answer
            .validate(&card.sampling, &card.preprocess, card.classes.len())
            .map_err(invalid)?;
        let found = card.preprocess.fingerprint();
        if found != card.preprocess_fingerprint {
            return Err(ErrorKind::Fingerprint {
                expected: card.preprocess_fingerprint,
                found,
                written_by: card.provenance.marey_version,
            });
        }
        Ok(card)
    }

    /// What the model says about a clip.
    pub fn outputs(&self) -> Outputs {
        Outputs {
            num_classes: self.classes.len(),
            heads: self.heads.iter().map(|head| head.classes.len()).collect(),
            task: self.task.clone(),
        }
    }
}

/// `time` as RFC 3339 in UTC, to the second: `2026-11-23T05:30:00Z`. Times before 1970 become its first second.
pub fn utc(time: SystemTime) -> String {
    let secs = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (days, rest) = (secs / 86_400, secs % 86_400);
    // Days to a date by eras of 400 years that start in March (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (secs, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(secs)), expected);
        }
    }
}
