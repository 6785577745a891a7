//! What an audit says: findings, ranked, each with the items and the command that mends it.

use std::fmt;

use marey_clip::ClassList;
use serde::Serialize;

use crate::{Dataset, Split};

/// How grave a [`Finding`] is, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Held-out items are not new to the model. Stops training and evaluation unless `data.allow_leak` says why not.
    Leak,
    /// Entries that cannot be used, or that count wrongly. Stops training and evaluation.
    Error,
    /// Something that makes a figure mean less than it seems to.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word that is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leak => "leak",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// What a [`Finding`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// A group in two splits.
    SharedGroup,
    /// A source in two splits.
    SharedSource,
    /// A video, camera, animal or place, as a column names it, in two splits.
    SharedColumn,
    /// Clips of two splits that show the same time of the same source.
    WindowOverlap,
    /// Files with the same bytes.
    Duplicate,
    /// Clips that look the same.
    NearDuplicate,
    /// An item that is listed more than once.
    Repeated,
    /// File names that look like parts of a common recording.
    NamePattern,
    /// A label that can be told without looking at the pictures.
    Shortcut,
    /// A class without items.
    ClassSupport,
    /// A span without length or outside of its source.
    Span,
    /// An item whose columns speak of another file, or of an event that is not its span.
    Link,
    /// A file that is not there or cannot be opened.
    Unreadable,
    /// Pixels that no sensor measures.
    Pixels,
    /// Frames that are missing, or shown at odd times.
    Timing,
    /// Boxes that hold the whole frame, or no item without a box.
    Boxes,
    /// A label that is that of a whole source, where its class is on only at times.
    LabelScope,
    /// Clips that are longer than what they are cut from, or of one frame.
    ClipLength,
    /// Test items that have been judged before.
    TestUse,
}

impl Topic {
    /// The number of the check in [`CHECKS`](crate::CHECKS).
    pub const fn check(self) -> u8 {
        match self {
            Self::SharedGroup | Self::SharedSource | Self::SharedColumn | Self::NamePattern => 1,
            Self::WindowOverlap => 2,
            Self::Duplicate | Self::NearDuplicate => 3,
            Self::Shortcut => 4,
            Self::Boxes => 6,
            Self::Span | Self::Link | Self::LabelScope => 7,
            Self::Pixels | Self::Timing => 11,
            Self::TestUse => 15,
            Self::ClassSupport => 18,
            Self::Repeated => 19,
            Self::ClipLength => 20,
            Self::Unreadable => 21,
        }
    }
}

/// One thing that an audit found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// What it is about.
    pub topic: Topic,
    /// The same in one sentence.
    pub sentence: String,
    /// The items that are concerned, in the order of the data; for something that two splits share, those of the later one.
    pub items: Vec<String>,
    /// What mends it, a command or a key of the recipe; empty where nothing does.
    pub mend: String,
}

impl Finding {
    pub(crate) fn new(severity: Severity, topic: Topic, sentence: impl Into<String>) -> Self {
        Self {
            severity,
            topic,
            sentence: sentence.into(),
            items: Vec::new(),
            mend: String::new(),
        }
    }

    /// The same, about these items of `dataset`.
    pub(crate) fn about(
        mut self,
        dataset: &Dataset,
        items: impl IntoIterator<Item = usize>,
    ) -> Self {
        let mut items: Vec<usize> = items.into_iter().collect();
        items.sort_unstable();
        items.dedup();
        self.items = items
            .into_iter()
            .map(|idx| dataset.items[idx].id.clone())
            .collect();
        self
    }

    /// The same, mended by `mend`.
    pub(crate) fn mended_by(mut self, mend: impl Into<String>) -> Self {
        self.mend = mend.into();
        self
    }
}

/// How many items a printed finding names; the JSON names all.
const ITEMS_SHOWN: usize = 3;

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity.name(), self.sentence)?;
        if !self.items.is_empty() {
            write!(f, "\n    items: {}", first_of(&self.items, ITEMS_SHOWN))?;
        }
        if !self.mend.is_empty() {
            write!(f, "\n    mend:  {}", self.mend)?;
        }
        Ok(())
    }
}

/// The first `shown` of `names`, and how many more there are.
pub(crate) fn first_of<T: AsRef<str>>(names: &[T], shown: usize) -> String {
    let head: Vec<&str> = names.iter().take(shown).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(shown) {
        0 => head.join(", "),
        more => format!("{} and {more} more", head.join(", ")),
    }
}

/// The number of items and of each class in one split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SplitSize {
    /// The split.
    pub split: Split,
    /// Its items.
    pub items: usize,
    /// Its groups, where groups are named.
    pub groups: usize,
    /// Its items of each class, in the order of [`Audit::classes`].
    pub per_class: Vec<usize>,
}

/// How well one column tells the label, judged on groups that the rule has not seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shortcut {
    /// The column, or `all columns together`.
    pub column: String,
    /// Items that have a value.
    pub items: usize,
    /// Mean over the classes of the share of their items that were told, 0 to 1.
    pub score: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
    /// What guessing gets.
    pub chance: f64,
}

/// All that was found about a data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// The data.
    pub data: String,
    /// The classes.
    pub classes: ClassList,
    /// The splits that hold items.
    pub splits: Vec<SplitSize>,
    /// What the importer assumed, counted or left out, a sentence each.
    pub notes: Vec<String>,
    /// What was looked at, and what not, a sentence each.
    pub looked_at: Vec<String>,
    /// What was found, the gravest first.
    pub findings: Vec<Finding>,
    /// What metadata alone tells about the label, the best column first; all columns, also those that tell nothing.
    pub shortcuts: Vec<Shortcut>,
}

impl Audit {
    /// The findings of one severity.
    pub fn of(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |finding| finding.severity == severity)
    }

    /// Whether training must not start: there is a leak or an error.
    pub fn stops(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity <= Severity::Error)
    }

    /// How many findings of each severity there are, in words.
    pub fn summary(&self) -> String {
        let counts = [
            Severity::Leak,
            Severity::Error,
            Severity::Warning,
            Severity::Note,
        ]
        .map(|severity| (severity.name(), self.of(severity).count()));
        let told: Vec<String> = counts
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}{}", if *count > 1 { "s" } else { "" }))
            .collect();
        if told.is_empty() {
            "nothing found".to_owned()
        } else {
            told.join(", ")
        }
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.data, self.summary())?;
        for size in &self.splits {
            let counts = self.classes.names().iter().zip(&size.per_class);
            let counts: Vec<String> = counts
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            writeln!(
                f,
                "  {:<10} {:>6} items: {}",
                size.split.name(),
                size.items,
                counts.join(", ")
            )?;
        }
        for note in &self.notes {
            writeln!(f, "  read: {note}")?;
        }
        for finding in &self.findings {
            write!(f, "\n{finding}\n")?;
        }
        if let Some(best) = self.shortcuts.first() {
            writeln!(
                f,
                "\nmetadata alone: `{}` tells the label best, {:.1} % ({:.1}-{:.1} %) where guessing gets {:.1} %",
                best.column,
                100.0 * best.score,
                100.0 * best.interval[0],
                100.0 * best.interval[1],
                100.0 * best.chance
            )?;
        }
        for sentence in &self.looked_at {
            write!(f, "\nlooked at: {sentence}")?;
        }
        Ok(())
    }
}
