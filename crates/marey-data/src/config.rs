//! [`DataConfig`]: the `[data]` table of a recipe.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, SplitShares};

/// Where the data is and how to read it. Only `path` must be given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// A manifest (`.csv`), a folder with one folder a class, or the root of a thermal set.
    pub path: PathBuf,
    /// How `path` is laid out (default: found out from what is there).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Manifest column of the class name (default `label`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Column of what must not be shared across splits, or several joined by `+`, such as `location+camera_id`
    /// (default: `group` where there is such a column, the recording for a thermal set, else each source by itself).
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
}

/// How data is laid out on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A table with a line an item.
    Manifest,
    /// A folder a class, below an optional level of `train`, `val` and `test`.
    Folders,
    /// `annotations/{train,val}.json` and `frames/<recording>.h5`.
    Thermal,
}

/// Which items train, validate and test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SplitConfig {
    /// Who decides (default `auto`).
    pub by: SplitBy,
    /// Share of the items that validate, 0 to 1 (default 0.2). Only for a split that is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
    /// Share of the items that test, 0 to 1 (default 0). Only for a split that is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<f64>,
    /// Seed of the split (default 0). Only for a split that is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
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
