//! What a check of the data found, as plain words for the report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that was found in the data before anything was trained or judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// What was found and why it matters, in one sentence.
    pub sentence: String,
    /// The items concerned, the clearest first.
    pub items: Vec<String>,
    /// The command that mends it, where there is one.
    pub command: Option<String>,
}

/// How grave a [`Finding`] is; the gravest comes first in order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Figures on this data flatter the model: training does not start unless the recipe says why it is accepted.
    Stop,
    /// A figure may mislead.
    Warning,
    /// Worth knowing.
    Note,
}
