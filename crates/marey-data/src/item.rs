//! Items, splits and the data set that holds them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    path::PathBuf,
};

use marey_clip::{ClassList, Span, Timestamp};
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

    /// The split that a word names: `train`, `training`, `val`, `valid`, `validate`, `validation`, `dev`, `test`, `testing`,
    /// in any case.
    pub fn from_word(word: &str) -> Option<Self> {
        match word.trim().to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "val" | "valid" | "validate" | "validation" | "dev" => Some(Self::Validation),
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

    /// When its class is on, by the column [`EVENTS_COLUMN`]: spans on the source's clock, of the whole source, not only of
    /// this item. `None` where nobody said; an empty list where it is known that nothing happens.
    ///
    /// # Errors
    /// A sentence, where the column holds no spans.
    pub fn events(&self) -> Result<Option<Vec<Span>>, String> {
        match self.metadata.get(EVENTS_COLUMN).map(|cell| cell.trim()) {
            None | Some("") => Ok(None),
            Some(NO_EVENTS) => Ok(Some(Vec::new())),
            Some(cell) => cell
                .split(';')
                .map(|text| {
                    event(text).ok_or_else(|| {
                        format!(
                            "`{text}` in the column `{EVENTS_COLUMN}` of `{}` is no span: expected `start-end` in seconds, \
                             several joined by `;`, or `{NO_EVENTS}`",
                            self.id
                        )
                    })
                })
                .collect::<Result<_, _>>()
                .map(Some),
        }
    }

    /// Writes [`Item::events`].
    pub(crate) fn set_events(&mut self, events: &[Span]) {
        let text: Vec<String> = events
            .iter()
            .map(|span| format!("{}-{}", exact_secs(span.start()), exact_secs(span.end())))
            .collect();
        let cell = match text.is_empty() {
            true => NO_EVENTS.to_owned(),
            false => text.join(";"),
        };
        self.metadata.insert(EVENTS_COLUMN.to_owned(), cell);
    }
}

/// The column that says when an item's class is on in its source, where the label is that of the whole source: spans
/// `start-end` in seconds, half-open, joined by `;`, or `none`. Figures of single frames are judged against it.
pub const EVENTS_COLUMN: &str = "events";
const NO_EVENTS: &str = "none";

fn event(text: &str) -> Option<Span> {
    let (start, end) = text.trim().split_once('-')?;
    let secs = |text: &str| parse_time(text.trim());
    Span::new(secs(start)?, secs(end)?)
}

/// Seconds (`12.5`), minutes (`1:12.5`) or hours (`0:01:12.5`), exact to the nanosecond.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    // A decimal comma comes with the `;` between columns.
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let parts: Vec<&str> = whole.split(':').collect();
    let is_digits = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    let is_empty = whole.is_empty() && fraction.is_empty();
    if is_empty || parts.len() > 3 || !parts.iter().all(is_digits) || !is_digits(&fraction) {
        return None;
    }
    let mut nanos = 0i64;
    for part in parts {
        let value = if part.is_empty() {
            0
        } else {
            part.parse().ok()?
        };
        nanos = nanos.checked_mul(60)?.checked_add(value)?;
    }
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    nanos = nanos
        .checked_mul(1_000_000_000)?
        .checked_add(digits.parse().ok()?)?;
    Some(Timestamp::from_nanos(sign * nanos))
}

/// Exact decimal seconds: an instant read back is the same instant.
pub(crate) fn exact_secs(instant: Timestamp) -> String {
    let nanos = instant.as_nanos();
    let sign = if nanos < 0 { "-" } else { "" };
    let (whole, fraction) = (
        nanos.unsigned_abs() / 1_000_000_000,
        nanos.unsigned_abs() % 1_000_000_000,
    );
    match format!("{fraction:09}").trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let secs = |text: &str| parse_time(text).map(Timestamp::as_secs);
        for (text, expected) in [
            ("12.5", Some(12.5)),
            ("0", Some(0.0)),
            ("12,5", Some(12.5)),
            ("1:02.5", Some(62.5)),
            ("1:00:01", Some(3601.0)),
            ("-3", Some(-3.0)),
            (".5", Some(0.5)),
            ("1760482247.375000001", Some(1_760_482_247.375)),
            ("", None),
            ("abc", None),
            ("nan", None),
            ("inf", None),
            ("1:2:3:4", None),
            ("1:-2", None),
        ] {
            assert_eq!(secs(text), expected, "{text}");
        }
    }

    #[test]
    fn events_are_written_and_read_back_exactly() {
        let mut item = Item {
            id: "a".into(),
            source: "a.mp4".into(),
            span: None,
            label: 0,
            group: None,
            split: None,
            metadata: BTreeMap::new(),
        };
        assert_eq!(item.events(), Ok(None));
        item.set_events(&[]);
        assert_eq!(item.events(), Ok(Some(vec![])));
        let at = Timestamp::from_nanos;
        let spans: Vec<Span> = [(0, 33_333_333), (5_500_000_000, 8_000_000_001)]
            .into_iter()
            .filter_map(|(start, end)| Span::new(at(start), at(end)))
            .collect();
        item.set_events(&spans);
        assert_eq!(
            item.metadata[EVENTS_COLUMN],
            "0-0.033333333;5.5-8.000000001"
        );
        assert_eq!(item.events(), Ok(Some(spans)));
        for wrong in ["5", "7-3", "a-b", "1-2;3"] {
            item.metadata.insert(EVENTS_COLUMN.into(), wrong.into());
            let problem = item.events().expect_err(wrong);
            assert!(problem.contains("is no span"), "{problem}");
        }
    }
}
