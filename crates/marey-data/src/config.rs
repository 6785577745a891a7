//! [`DataConfig`]: the `[data]` table of a recipe.

use std::{borrow::Cow, collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Error, Fault, Gap, SplitShares, TimeSplit};

/// Where the data is and how to read it. Only `path` must be given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// A manifest (`.csv`), a folder with one folder a class, or the root of a set in another known layout.
    pub path: PathBuf,
    /// How `path` is laid out (default: found out from what is there).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Manifest column of the class name (default `label`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Column of what must not be shared across splits, or several joined by `+`, such as `location+camera_id`
    /// (default: `group` where there is such a column, the recording for a thermal set, else each source by itself).
    /// Of an event table: `video` (the default), `bout` (events of a video less than 30 s apart), or columns of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Regular expression on an item's path below `path`, with `/` between folders; what its parentheses match is the
    /// group (default: none). `'([^/]+)_\d+\.mp4$'` makes `circle_red` of `up/circle_red_5.mp4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_pattern: Option<String>,
    /// The class names in the order of the model's outputs (default: all labels that occur, sorted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Which items train, validate and test.
    #[serde(default)]
    pub split: SplitConfig,
    /// Folders of the manifest's paths and where they are here: `{ 'D:\clips' = "/data/clips" }` (default: none).
    /// A relative folder counts from the manifest's. Upper and lower case, and `/` and `\`, are alike in the first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub path_map: BTreeMap<String, PathBuf>,
    /// Leave out items whose file is not there, and say how many (default false: such an item is an error).
    #[serde(default)]
    pub allow_missing: bool,
    /// Faults of lines of a table that do not stop: such lines are counted and left out; only events without length of an
    /// event table stay, since a centred clip still shows them (default: none, every such line is an error).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_faults: Vec<FaultKind>,
    /// How the videos of a frame tree are cut into items (default: a video is one item). Only for `ucf_crime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowConfig>,
    /// The file of temporal annotations of a frame tree: `video class start end start end` a line, frames of the video,
    /// both ends inside, -1 for none (default: `Temporal_Anomaly_Annotation.txt` beside the data, where there is one).
    /// A relative path counts from `path`. Only for `ucf_crime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<PathBuf>,
    /// The class of a frame tree in which nothing happens (default `NormalVideos`). Only for `ucf_crime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normal: Option<String>,
    /// Why splits may share groups or files (default: they may not). The reason is kept with every figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_leak: Option<String>,
    /// What happens when an item cannot be decoded (default `stop`).
    #[serde(default)]
    pub unreadable: Unreadable,
    /// A packed store of this data, written by `marey data pack`, to read frames from (default: the files themselves).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<PathBuf>,
}

impl DataConfig {
    /// The data at `path`, everything else at its default.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            format: None,
            label: None,
            group: None,
            group_pattern: None,
            classes: None,
            split: SplitConfig::default(),
            path_map: BTreeMap::new(),
            allow_missing: false,
            allow_faults: Vec::new(),
            window: None,
            annotations: None,
            normal: None,
            allow_leak: None,
            unreadable: Unreadable::default(),
            packed: None,
        }
    }

    /// Refuses settings that the importer called `name` does not read.
    pub(crate) fn refuse(&self, name: &str, keys: &[(&'static str, bool)]) -> Result<(), Error> {
        match keys.iter().find(|(_, is_set)| *is_set) {
            Some(&(key, _)) => {
                let problem = format!("has no effect on data of the format `{name}`: remove it");
                Err(Error::config(&self.path, key, problem))
            }
            None => Ok(()),
        }
    }

    /// Refuses the settings of frame trees.
    pub(crate) fn refuse_of_frame_trees(&self, name: &str) -> Result<(), Error> {
        let keys = [
            ("data.window", self.window.is_some()),
            ("data.annotations", self.annotations.is_some()),
            ("data.normal", self.normal.is_some()),
        ];
        self.refuse(name, &keys)
    }

    /// Whether lines with this fault do not stop.
    pub(crate) fn allows(&self, kind: FaultKind) -> bool {
        self.allow_faults.contains(&kind)
    }
}

/// What can be wrong with a line of a table, where the rest of the table can do without it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The span starts and ends at one instant.
    ZeroLength,
    /// The span lies outside of its file.
    OutOfFile,
    /// Columns say that the file is not the one that shows the event.
    Mislinked,
    /// An earlier line of the same split is the same item.
    Repeated,
}

impl FaultKind {
    /// The word in a recipe.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZeroLength => "zero_length",
            Self::OutOfFile => "out_of_file",
            Self::Mislinked => "mislinked",
            Self::Repeated => "repeated",
        }
    }

    /// The kind of a fault; `None` for one that always stops. A repeat in another split is a leak, and one with another label
    /// a contradiction.
    pub(crate) fn of(fault: &Fault) -> Option<Self> {
        match fault {
            Fault::ZeroLength => Some(Self::ZeroLength),
            Fault::OutOfFile => Some(Self::OutOfFile),
            Fault::Mislinked => Some(Self::Mislinked),
            Fault::Repeated {
                splits: [a, b],
                same_label: true,
                ..
            } if a == b => Some(Self::Repeated),
            Fault::Missing | Fault::Unusable | Fault::Repeated { .. } => None,
        }
    }
}

/// How a video becomes several items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowConfig {
    /// Stored frames of a window, at least 1.
    pub frames: usize,
    /// Stored frames between the starts of two training windows, at least 1 (default: `frames`, so that windows lie end to
    /// end). More than `frames` leaves frames between windows out. Windows of held-out splits always lie end to end, and the
    /// last one may be shorter: every frame is in exactly one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<usize>,
    /// What a window of an annotated video is labelled by (default `video`).
    #[serde(default)]
    pub label: WindowLabel,
}

/// What a window of an annotated video is labelled by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WindowLabel {
    /// The class of its video, whether or not it shows it.
    #[default]
    Video,
    /// The class of its video where it touches an annotated interval, else the class in which nothing happens.
    Interval,
}

/// How data is laid out on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A table with a line an item.
    Manifest,
    /// A folder a class, below an optional level of `train`, `val` and `test`.
    Folders,
    /// `annotations/{train,val}.json` or `*_annotation.json`, and `frames/<recording>.h5`.
    Thermal,
    /// The frame tree of UCF-Crime: `{Train,Test}/<class>/<video>_<frame>.png`.
    UcfCrime,
    /// A table of events in long videos, or a folder with `train.csv`, `val.csv` and `test.csv` of such: `behavior`,
    /// `video_path`, `event_offset_sec`, `duration_sec`.
    Cattle,
    /// A Kinetics table: `label,youtube_id,time_start,time_end,split`.
    Kinetics,
    /// A list of mmaction2: `path label`, `path frames label` or `path start end label` a line.
    List,
}

/// Which items train, validate and test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SplitConfig {
    /// Who decides (default `auto`).
    pub by: SplitBy,
    /// Share of the items that validate, 0 to 1 (default 0.2). For a split that is made; where the data brings a split for
    /// training and test only, the share of the training items that validate instead (default 0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
    /// Share of the items that test, 0 to 1 (default 0). Only for a split that is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<f64>,
    /// Seed of the split (default 0). Only where one is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// What must lie between items of two splits with `by = "time"`: frames (`"64f"`) or seconds (`"10s"`) (default `"64f"`).
    /// It is counted between the items' spans. A centred clip reaches beyond its item, by half its length to either side, so
    /// take at least a clip's length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// Blocks that each recording is cut into with `by = "time"`, at least 2 (default 5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<usize>,
}

impl SplitConfig {
    /// The shares, with defaults filled in.
    pub fn shares(&self) -> SplitShares {
        SplitShares {
            validation: self.validation.unwrap_or(0.2),
            test: self.test.unwrap_or(0.0),
            seed: self.seed.unwrap_or(0),
        }
    }

    /// How time is divided, with defaults filled in.
    pub fn time(&self) -> TimeSplit {
        TimeSplit {
            shares: self.shares(),
            blocks: self.blocks.unwrap_or(5),
            gap: self.gap.unwrap_or(Gap::Frames(64)),
        }
    }
}

impl FromStr for Gap {
    type Err = String;

    /// Frames (`64f`) or seconds (`10s`).
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is no gap: expected frames (64f) or seconds (10s)");
        if let Some(frames) = text.strip_suffix('f') {
            return frames.parse().map(Self::Frames).map_err(|_| expected());
        }
        let secs: f64 = text
            .strip_suffix('s')
            .and_then(|secs| secs.parse().ok())
            .ok_or_else(expected)?;
        if secs.is_finite() && secs >= 0.0 {
            Ok(Self::Secs(secs))
        } else {
            Err(expected())
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frames(frames) => write!(f, "{frames}f"),
            Self::Secs(secs) => write!(f, "{secs}s"),
        }
    }
}

impl Serialize for Gap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Gap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Gap {
    fn schema_name() -> Cow<'static, str> {
        "Gap".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]+f|[0-9]+(\\.[0-9]+)?s)$" })
    }
}

/// Who decides which items train, validate and test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SplitBy {
    /// The data where it says so, else as `group`.
    #[default]
    Auto,
    /// The data; it is an error when an item has no split.
    Given,
    /// Made here whatever the data says: whole groups, with the classes in proportion.
    Group,
    /// Made here whatever the data says: blocks of time of each recording, with a gap between splits. Items in the gap are
    /// left out. The figures speak of other times of the same recordings, not of other recordings.
    Time,
}

/// What happens when an item cannot be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unreadable {
    /// The run stops with the item's error.
    #[default]
    Stop,
    /// The item is left out, counted and listed.
    Skip,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_frames_or_seconds() {
        for (text, gap) in [
            ("64f", Some(Gap::Frames(64))),
            ("10s", Some(Gap::Secs(10.0))),
            ("0.5s", Some(Gap::Secs(0.5))),
            ("10", None),
            ("-1s", None),
            ("infs", None),
            ("1.5f", None),
        ] {
            assert_eq!(text.parse::<Gap>().ok(), gap, "{text}");
            if let Some(gap) = gap {
                assert_eq!(gap.to_string(), text);
            }
        }
    }
}
