//! Items, splits and the data set that holds them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    path::PathBuf,
};

use marey_clip::{ClassList, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an item is used for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Weights are fitted to it.
    Train,
    /// Epochs and settings are chosen by it.
    Validation,
    /// Nothing is chosen by it.
    Test,
}

impl Split {
    /// All splits.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// The split that a word names: `train`, `training`, `val`, `valid`, `validation`, `dev`, `test`, `testing`, in
    /// any case.
    pub fn from_word(word: &str) -> Option<Self> {
        match word.trim().to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "val" | "valid" | "validation" | "dev" => Some(Self::Validation),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }

    /// The word that the program writes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One labelled thing: a file, or a span of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its name, unique in the data set.
    pub id: String,
    /// The file, or the folder of images, that its frames come from.
    pub source: PathBuf,
    /// The part of the source that is labelled; `None` is all of it.
    pub span: Option<Span>,
    /// Position of its class in [`Dataset::classes`].
    pub label: usize,
    /// What it must not share across splits; `None` stands for its source.
    pub group: Option<String>,
    /// What it is used for; `None` until a split is made.
    pub split: Option<Split>,
    /// Everything else that the data says about it, by column.
    pub metadata: BTreeMap<String, String>,
}

impl Item {
    /// What it must not share across splits: its group, or its source where it has none.
    pub fn group_key(&self) -> String {
        self.group
            .clone()
            .unwrap_or_else(|| self.source.display().to_string())
    }
}

/// Labelled items and the classes they are labelled with.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The classes, in the order of the model's outputs.
    pub classes: ClassList,
    /// The items, in the order of the data.
    pub items: Vec<Item>,
    /// What an importer assumed, counted or left out, a sentence each.
    pub notes: Vec<String>,
    /// Why it was accepted that splits share groups or files; `None` where they do not.
    pub accepted_leak: Option<String>,
}

impl Dataset {
    /// Positions of the items of one split, in order.
    pub fn indices(&self, split: Split) -> Vec<usize> {
        let is_in = |&idx: &usize| self.items[idx].split == Some(split);
        (0..self.items.len()).filter(is_in).collect()
    }

    /// Positions of the items that pairs of ids name.
    ///
    /// # Errors
    /// The first id that no item has.
    pub fn positions(&self, pairs: &[[String; 2]]) -> Result<Vec<[usize; 2]>, String> {
        let known: HashMap<&str, usize> = self
            .items
            .iter()
            .enumerate()
            .map(|(idx, item)| (item.id.as_str(), idx))
            .collect();
        let position = |id: &String| known.get(id.as_str()).copied().ok_or_else(|| id.clone());
        pairs
            .iter()
            .map(|[a, b]| Ok([position(a)?, position(b)?]))
            .collect()
    }

    /// Number of groups that the items of one split name.
    pub fn num_groups(&self, split: Split) -> usize {
        let items = self.items.iter().filter(|item| item.split == Some(split));
        items
            .filter_map(|item| item.group.as_ref())
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// Number of items of each class in one split.
    pub fn class_counts(&self, split: Split) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for item in self.items.iter().filter(|item| item.split == Some(split)) {
            counts[item.label] += 1;
        }
        counts
    }
}
