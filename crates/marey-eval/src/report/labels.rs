//! Labels beside the classes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Report,
    page::{Section, table},
    recordings::{HEADS, row},
};
use crate::{Figure, plot::escape};

/// The figures of a label that is told beside the classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LabelFigures {
    /// The column of the manifest.
    pub column: String,
    /// Its values.
    pub classes: Vec<String>,
    /// As [`classify`](crate::classify) gives them, and for class and label together as
    /// [`judge_two_heads`](crate::judge_two_heads) does.
    pub figures: Vec<Figure>,
}

/// Figures that the page shows; report.json has all.
const SHOWN: [&str; 4] = ["top1", "macro_f1", "combined_accuracy", "joint_accuracy"];

pub(super) fn labels(report: &Report) -> Option<Section> {
    if report.labels.is_empty() {
        return None;
    }
    let mut body = String::new();
    for label in &report.labels {
        let shown = label.figures.iter();
        let shown = shown.filter(|figure| SHOWN.contains(&&*figure.name));
        let rows: Vec<_> = shown.map(row).collect();
        body += &format!(
            "<h3>{}</h3>\n<p class=\"note\">{} values. Combined accuracy asks for the class and this label both right; the joint \
             one takes the pair of them that occurs in training and has the highest product of scores.</p>\n{}",
            escape(&label.column),
            label.classes.len(),
            table("tight", &HEADS, &rows)
        );
    }
    Some(Section {
        heading: "Other labels",
        body,
    })
}
