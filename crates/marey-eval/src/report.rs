//! The report of an evaluation: one JSON file for machines, one HTML file for people, and the plots as PNG.
//!
//! All three are written from one [`Report`]. The JSON is described by [`Report::json_schema`]; a change that breaks readers raises
//! [`SCHEMA_VERSION`].

pub(crate) mod page;

mod sections;

mod gallery;

mod trust;

mod recordings;

mod verdicts;

mod labels;

mod doubts;

mod words;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::breakdown::largest_confusions;
use crate::files;
use crate::{
    CalibrationFigures, Classification, Confusion, Error, ErrorKind, Figure, Finding, Gap,
    LabelCandidate, Mistake, Plot, RecordingAnomalies, RecordingEvents, Scored, Selective,
    Standing, Strip,
};

pub use labels::LabelFigures;

/// Version of the layout of `report.json`.
pub const SCHEMA_VERSION: u32 = 1;

/// Pairs of classes in [`Report::confusions`].
const MAX_CONFUSIONS: usize = 5;

/// Mistakes shown with their clips on the page.
const MAX_WORST: usize = 12;

/// All that is known about one evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`SCHEMA_VERSION`] of the program that wrote it.
    pub schema_version: u32,
    /// Name of the run.
    pub name: String,
    /// Name of the evaluated split, such as `test` or `validation`.
    pub split: String,
    /// Whether the epoch, or anything else, was chosen on this split; then its figures flatter the model, and the verdict says so.
    pub chosen_on_this_split: bool,
    /// Why a leak between the splits was accepted, if one was. It is said in the first line.
    pub accepted_leak: Option<String>,
    /// Name of the figure that the verdict is about. Default `top1`.
    pub headline: String,
    /// The verdict in one sentence, as [`Report::verdict`] gives it; filled when the report is written.
    #[serde(default)]
    pub verdict: String,
    /// The figures.
    pub classification: Classification,
    /// What the bundle's calibration does on these items, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationFigures>,
    /// What becomes of the items of which the model is unsure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selective: Option<Selective>,
    /// Events found in whole recordings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<RecordingEvents>,
    /// How anomalous frames and whole recordings look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anomalies: Option<RecordingAnomalies>,
    /// Labels that are told beside the classes. Empty where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LabelFigures>,
    /// The figures on what the model was trained on, and how much better they are. Empty where it was not scored there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Items whose label should be looked at, the most suspect first. Empty where nobody looked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub label_candidates: Vec<LabelCandidate>,
    /// The pairs of classes that are mixed up most often, the most frequent first, at most 5.
    #[serde(default)]
    pub confusions: Vec<Confusion>,
    /// What a check of the data found, the gravest first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Clips for the page, in any order. They are not in `report.json`.
    #[serde(skip)]
    pub strips: Vec<Strip>,
    /// What training recorded, epoch by epoch. Empty where nothing was trained.
    pub curves: Vec<Curve>,
    /// The epoch whose weights were evaluated.
    pub chosen_epoch: Option<f64>,
    /// What the figures were computed on.
    pub data: DataSection,
    /// The resolved recipe, as TOML.
    pub recipe: String,
    /// How to get the same again.
    pub origin: Origin,
}

/// A quantity over the epochs of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Curve {
    /// Name, such as `train loss` or `macro_f1`.
    pub name: String,
    /// The plot it belongs to.
    pub panel: CurvePanel,
    /// `(epoch, value)` in rising order of epochs, which may be fractional. A value that is not finite is left out of files and plots.
    #[serde(serialize_with = "finite_points")]
    pub points: Vec<(f64, f64)>,
}

/// The plots of training curves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CurvePanel {
    /// Training and validation loss.
    Loss,
    /// The learning rate.
    LearningRate,
    /// Validation figures, in 0..=1.
    Metric,
}

/// What the figures were computed on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataSection {
    /// Where the data came from, in words: a path, a manifest.
    pub source: String,
    /// One entry a split.
    pub splits: Vec<SplitCounts>,
    /// What the importer counted and left out.
    pub notes: Vec<String>,
    /// Items that could not be read and are not in the figures.
    pub skipped: Vec<Skipped>,
}

/// The size of a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SplitCounts {
    /// Name, such as `train`.
    pub split: String,
    /// Number of items.
    pub items: usize,
    /// Number of groups, where groups are known.
    pub groups: Option<usize>,
    /// Number of items of each class, in the order of the class list.
    pub per_class: Vec<usize>,
}

/// An item that could not be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// The item.
    pub item: String,
    /// Why.
    pub reason: String,
}

/// How to get the same figures again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The command line.
    pub command: String,
    /// Seed of the run.
    pub seed: u64,
    /// Version of the program, with commit where known.
    pub version: String,
    /// The device, in words.
    pub device: String,
    /// The kernels that computed, in words.
    pub kernels: String,
    /// Wall time of the whole command, in seconds.
    pub wall_time_sec: Option<f64>,
    /// Highest resident memory of the process, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Further facts as `(name, value)`, such as the number of parameters or the run's id.
    pub facts: Vec<(String, String)>,
}

impl Report {
    /// A report with these figures; every other field is empty and may be filled in.
    pub fn new(
        name: impl Into<String>,
        split: impl Into<String>,
        classification: Classification,
    ) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            name: name.into(),
            split: split.into(),
            chosen_on_this_split: false,
            accepted_leak: None,
            headline: "top1".into(),
            verdict: String::new(),
            classification,
            calibration: None,
            selective: None,
            events: None,
            anomalies: None,
            labels: Vec::new(),
            gaps: Vec::new(),
            label_candidates: Vec::new(),
            confusions: Vec::new(),
            findings: Vec::new(),
            strips: Vec::new(),
            curves: Vec::new(),
            chosen_epoch: None,
            data: DataSection::default(),
            recipe: String::new(),
            origin: Origin::default(),
        }
    }

    /// Fills [`Report::confusions`] from the items that the figures were computed on.
    pub fn break_down(&mut self, items: &[Scored]) {
        let classes = &self.classification.classes;
        self.confusions = largest_confusions(classes, items, MAX_CONFUSIONS);
    }

    /// The mistakes that the page shows with their clips: those of which the model was surest, at most 12.
    pub fn worst_mistakes(&self) -> &[Mistake] {
        let mistakes = &self.classification.mistakes;
        &mistakes[..mistakes.len().min(MAX_WORST)]
    }

    /// The label candidates that the page shows with their clips: the most suspect, at most 12.
    pub fn worst_label_candidates(&self) -> &[LabelCandidate] {
        let candidates = &self.label_candidates;
        &candidates[..candidates.len().min(MAX_WORST)]
    }

    /// The items whose clips the page has a place for, each once: the worst mistakes, then examples of the largest
    /// confusions, then the most suspect labels.
    pub fn items_to_show(&self) -> Vec<&str> {
        let worst = self.worst_mistakes().iter().map(|mistake| &mistake.item);
        let examples = self.confusions.iter().flat_map(|pair| &pair.examples);
        let suspects = self.worst_label_candidates().iter();
        let suspects = suspects.map(|candidate| &candidate.item);
        let mut items: Vec<&str> = Vec::new();
        for item in worst.chain(examples).chain(suspects) {
            if !items.contains(&item.as_str()) {
                items.push(item);
            }
        }
        items
    }

    /// The strip of an item, where there is one.
    fn strip(&self, item: &str) -> Option<&Strip> {
        self.strips.iter().find(|strip| strip.item() == item)
    }

    /// The figure that the verdict is about: `headline`, or the first where there is none of that name.
    pub fn headline_figure(&self) -> Option<&Figure> {
        let figures = &self.classification.figures;
        self.classification
            .figure(&self.headline)
            .or_else(|| figures.first())
    }

    /// Why the label candidates may mean nothing: models that are not shown to be better than the baseline take items for
    /// other classes whatever their labels are. Nothing if they are better, or if there are no candidates.
    pub fn doubt_about_candidates(&self) -> Option<String> {
        let figure = self.headline_figure()?;
        (!self.label_candidates.is_empty() && figure.standing() != Standing::Above).then(|| {
            format!(
                "These models are not shown to be better than {}, so what they take for another class says little about \
                 labels. Train them better first: longer, larger, or on more data.",
                figure.baseline.name
            )
        })
    }

    /// How good the model is, in plain words: figure, interval, baseline, and whether the interval excludes the baseline. It
    /// begins with the accepted leak, if there is one.
    pub fn verdict(&self) -> String {
        let (leak, sentence) = self.verdict_parts();
        leak.map_or(sentence.clone(), |leak| format!("{leak}. {sentence}"))
    }

    /// The accepted leak, and the sentence about the figure.
    fn verdict_parts(&self) -> (Option<String>, String) {
        let leak = self
            .accepted_leak
            .as_ref()
            .map(|reason| format!("accepted leak: {}", reason.trim().trim_end_matches('.')));
        let Some(figure) = self.headline_figure() else {
            return (leak, "No figure was computed.".into());
        };
        let standing = standing_sentence(figure);
        let chosen = if self.chosen_on_this_split {
            " The model was chosen on this split, so expect less on new data."
        } else {
            ""
        };
        let sentence = format!(
            "On {} ({}) {} is {} (95 % interval {}), against {} for {}. {standing}{chosen}",
            self.split,
            self.classification.evidence(),
            figure.title,
            figure.scale.text(figure.value),
            figure.scale.range_text(&figure.widest_interval()),
            figure.scale.text(figure.baseline.value),
            figure.baseline.name,
        );
        (leak, sentence)
    }

    /// The report as `report.json`, indented.
    pub fn to_json(&self) -> String {
        let written = Self {
            verdict: self.verdict(),
            ..self.clone()
        };
        let mut json = serde_json::to_string_pretty(&written)
            .expect("a report has only string keys, which JSON can always write");
        json.push('\n');
        json
    }

    /// Reads a `report.json`.
    ///
    /// # Errors
    /// If it is not a report, or one of another schema version.
    pub fn from_json(json: &str) -> Result<Self, Error> {
        let value: serde_json::Value = serde_json::from_str(json).map_err(ErrorKind::Json)?;
        if let Some(found) = value
            .get("schema_version")
            .and_then(serde_json::Value::as_u64)
            && found != u64::from(SCHEMA_VERSION)
        {
            return Err(ErrorKind::Schema {
                found,
                expected: SCHEMA_VERSION.into(),
            }
            .into());
        }
        Ok(serde_json::from_value(value).map_err(ErrorKind::Json)?)
    }

    /// The JSON Schema of `report.json`.
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// The report as one HTML file: no request, no script; light and dark, phone and paper. It holds every clip of
    /// [`Report::strips`] that it has a place for.
    pub fn to_html(&self) -> String {
        page::page(self)
    }

    /// Every plot that this report has data for, in the order of the page.
    pub fn plots(&self) -> Vec<Plot> {
        crate::plot::all(self)
    }

    /// Writes `report.json`, `report.html` and `plots/*.png` into `dir`, which must exist. Each file is written under another name
    /// first and then renamed, so that none is ever half there.
    ///
    /// # Errors
    /// If a file cannot be written, with its path.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        files::write_plots(dir, &self.plots())?;
        files::write(&dir.join("report.json"), self.to_json().as_bytes())?;
        files::write(&dir.join("report.html"), self.to_html().as_bytes())
    }
}

/// Where the figure lies against its baseline, and what follows.
fn standing_sentence(figure: &Figure) -> String {
    let interval = figure.widest_interval();
    let side = if interval.low > figure.baseline.value {
        "above"
    } else {
        "below"
    };
    match (figure.standing(), figure.over_baseline) {
        (Standing::Above, _) => {
            format!("The whole interval lies {side} the baseline: the model is better than it.")
        }
        (Standing::Below, _) => {
            format!("The whole interval lies {side} the baseline: the model is worse than it.")
        }
        (Standing::Undecided, Some(difference)) if !interval.contains(figure.baseline.value) => {
            format!(
                "The interval lies {side} the baseline, which is uncertain as well: their difference \
                 ({}) may be 0, so these items do not show that the model is better than it.",
                figure.scale.difference_range_text(&difference)
            )
        }
        (Standing::Undecided, _) => "The interval includes the baseline: these items do not show \
             that the model is better than it."
            .into(),
    }
}

fn finite_points<S: Serializer>(points: &[(f64, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(
        points
            .iter()
            .filter(|(epoch, value)| epoch.is_finite() && value.is_finite()),
    )
}
