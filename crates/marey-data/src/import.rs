//! From what is on disk to a [`Dataset`]: one importer a layout, and what all of them share.

mod folders;

mod manifest;

mod spans;

mod thermal;

mod annotations;

mod ucf_crime;

mod cattle;

mod kinetics;

mod list;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

use marey_clip::{ClassList, ClassListError};
use regex::Regex;

use crate::{
    DataConfig, Dataset, Error, ErrorKind, FaultKind, Format, Item, Split, SplitBy, SplitShares,
    Survey, identical_items, split_by_group, split_by_time,
};

/// Reads one layout of data.
pub trait Importer: Sync {
    /// The layout's name, as in [`Format`].
    fn name(&self) -> &'static str;

    /// Which [`Format`] chooses it.
    fn format(&self) -> Format;

    /// Whether what is at `path` looks like its layout.
    fn detects(&self, path: &Path) -> bool;

    /// The items of `config.path`, with the splits that the data itself states. What cannot be an item goes to `refused`.
    ///
    /// # Errors
    /// When the data contradicts itself or the configuration; nothing is guessed or left out in silence.
    fn import(&self, config: &DataConfig, refused: &mut Vec<Refused>) -> Result<Dataset, Error>;
}

/// What is wrong with an entry that cannot be an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its span starts and ends at one instant.
    ZeroLength,
    /// Its span lies outside of its source, or reaches beyond the end.
    OutOfFile,
    /// Its columns say that its file is not the one that shows it.
    Mislinked,
    /// Its file is not there; one entry stands for all such items.
    Missing,
    /// Another entry is the same item.
    Repeated {
        /// The item.
        item: String,
        /// Splits of the first entry and of this one.
        splits: [Option<Split>; 2],
        /// Whether the two have the same label.
        same_label: bool,
    },
    /// Anything else, such as a time that is none.
    Unusable,
}

/// An entry of the data that cannot be an item.
#[derive(Debug)]
pub struct Refused {
    /// What is wrong.
    pub fault: Fault,
    /// The same in words, with file and line.
    pub error: Error,
}

impl Refused {
    pub(crate) const fn new(fault: Fault, error: Error) -> Self {
        Self { fault, error }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::new(Fault::Unusable, error)
    }
}

/// All importers, in the order in which a layout is looked for.
pub fn importers() -> [&'static dyn Importer; 7] {
    [
        &thermal::Thermal,
        &cattle::Cattle,
        &kinetics::Kinetics,
        &manifest::Manifest,
        &list::List,
        &ucf_crime::UcfCrime,
        &folders::Folders,
    ]
}

/// The data that `config` names, grouped and without repeats, as it is before a split is made; and what could not be an item.
pub(crate) fn import(config: &DataConfig) -> Result<(Dataset, Vec<Refused>), Error> {
    let mut refused = Vec::new();
    let mut dataset = importer(config)?.import(config, &mut refused)?;
    group_by_pattern(config, &mut dataset)?;
    remove_repeats(config, &mut dataset, &mut refused);
    let refused = without_allowed(config, refused, &mut dataset.notes);
    Ok((dataset, refused))
}

/// Leaves out what `allow_faults` allows, with a note that counts and names it.
fn without_allowed(
    config: &DataConfig,
    refused: Vec<Refused>,
    notes: &mut Vec<String>,
) -> Vec<Refused> {
    let mut allowed: BTreeMap<FaultKind, (usize, String)> = BTreeMap::new();
    let mut stopping = Vec::new();
    for entry in refused {
        match FaultKind::of(&entry.fault).filter(|kind| config.allows(*kind)) {
            Some(kind) => {
                let counted = allowed.entry(kind);
                counted.or_insert_with(|| (0, entry.error.to_string())).0 += 1;
            }
            None => stopping.push(entry),
        }
    }
    notes.extend(allowed.into_iter().map(|(kind, (count, first))| {
        format!(
            "{count} {} entries were left out by data.allow_faults, the first: {first}",
            kind.name()
        )
    }));
    stopping
}

fn importer(config: &DataConfig) -> Result<&'static dyn Importer, Error> {
    let path = &config.path;
    if let Err(source) = path.metadata() {
        return Err(Error::io(path, "read data", source));
    }
    let fits = |importer: &&dyn Importer| match config.format {
        Some(format) => importer.format() == format,
        None => importer.detects(path),
    };
    importers().into_iter().find(fits).ok_or_else(|| {
        let expected = "expected a .csv manifest, a .txt list, a folder with one folder a class, a frame tree, or a \
                        thermal set (annotations/ and frames/)";
        Error::layout(path, format!("no known layout of data: {expected}"))
    })
}

/// Groups by what the parentheses of `group_pattern` match in an item's name.
fn group_by_pattern(config: &DataConfig, dataset: &mut Dataset) -> Result<(), Error> {
    let Some(pattern) = &config.group_pattern else {
        return Ok(());
    };
    let key = "data.group_pattern";
    if config.group.is_some() {
        let problem = "stands beside data.group, and only one of them can decide: remove one";
        return Err(Error::config(&config.path, key, problem));
    }
    let regex = Regex::new(pattern).map_err(|error| {
        Error::config(&config.path, key, format!("no regular expression: {error}"))
    })?;
    for item in &mut dataset.items {
        let Some(captures) = regex.captures(&item.id) else {
            let problem = format!("`{pattern}` does not match the item `{}`", item.id);
            return Err(Error::config(&config.path, key, problem));
        };
        let skip = usize::from(captures.len() > 1);
        let parts: Vec<&str> = captures
            .iter()
            .skip(skip)
            .flatten()
            .map(|part| part.as_str())
            .collect();
        item.group = Some(parts.join("+"));
    }
    Ok(())
}

/// Moves every entry that is the same item as an earlier one to `refused`.
fn remove_repeats(config: &DataConfig, dataset: &mut Dataset, refused: &mut Vec<Refused>) {
    let mut first: HashMap<String, (Option<Split>, usize)> = HashMap::new();
    dataset.items.retain(|item| {
        let Some(&(split, label)) = first.get(&item.id) else {
            first.insert(item.id.clone(), (item.split, item.label));
            return true;
        };
        let problem = format!(
            "the item `{}` is listed twice: remove one of its lines",
            item.id
        );
        let fault = Fault::Repeated {
            item: item.id.clone(),
            splits: [split, item.split],
            same_label: label == item.label,
        };
        refused.push(Refused::new(fault, Error::layout(&config.path, problem)));
        false
    });
}

/// Leaves the split of the data as it is, or makes one.
pub(crate) fn split(config: &DataConfig, dataset: &mut Dataset) -> Result<(), Error> {
    let settings = &config.split;
    let total = dataset.items.len();
    let with_split = dataset
        .items
        .iter()
        .filter(|item| item.split.is_some())
        .count();
    let failed = |kind| Error::new(&config.path, kind);
    let is_time = settings.by == SplitBy::Time;
    if !is_time && (settings.gap.is_some() || settings.blocks.is_some()) {
        let problem = "gap and blocks have an effect with by = \"time\" only: remove them";
        return Err(Error::config(&config.path, "data.split", problem));
    }
    let given = match settings.by {
        SplitBy::Given => true,
        SplitBy::Auto => with_split > 0,
        SplitBy::Group | SplitBy::Time => false,
    };
    if is_time {
        let survey = Survey::of(dataset);
        let notes = split_by_time(dataset, &survey, None, &settings.time()).map_err(failed)?;
        dataset.notes.extend(notes);
        return Ok(());
    }
    if !given {
        return split_by_groups(config, dataset, &settings.shares(), |_| true);
    }
    if with_split < total {
        let without = dataset.items.iter().find(|item| item.split.is_none());
        let problem = format!(
            "{} of {total} items have no split, the first is `{}`: give every item one, or make one for all by \
             data.split.by = \"group\"",
            total - with_split,
            without.map_or("", |item| &item.id),
        );
        return Err(failed(ErrorKind::Split(problem)));
    }
    let validates = dataset
        .items
        .iter()
        .any(|item| item.split == Some(Split::Validation));
    let shares = SplitShares {
        test: 0.0,
        ..settings.shares()
    };
    match settings.validation {
        Some(share) if !validates && share > 0.0 && settings.test.is_none() => {
            split_by_groups(config, dataset, &shares, |item| {
                item.split == Some(Split::Train)
            })
        }
        None if settings.test.is_none() && settings.seed.is_none() => Ok(()),
        _ => {
            let problem = "validation, test and seed have no effect on the split that the data brings (but for a \
                           validation share above 0 where it brings no validation split): remove them, or make a new \
                           split by data.split.by = \"group\"";
            Err(Error::config(&config.path, "data.split", problem))
        }
    }
}

/// Divides the items that `is_divided` picks by group; the others keep their split.
fn split_by_groups(
    config: &DataConfig,
    dataset: &mut Dataset,
    shares: &SplitShares,
    is_divided: impl Fn(&Item) -> bool,
) -> Result<(), Error> {
    let picked: Vec<usize> = (0..dataset.items.len())
        .filter(|&idx| is_divided(&dataset.items[idx]))
        .collect();
    let mut items: Vec<Item> = picked
        .iter()
        .map(|&idx| dataset.items[idx].clone())
        .collect();
    let together = identical_items(&items)?;
    if !together.is_empty() {
        let files = together.len();
        dataset.notes.push(format!(
            "{files} files are there more than once; the copies are in one split"
        ));
    }
    let notes = split_by_group(&mut items, &dataset.classes, shares, &together)
        .map_err(|kind| Error::new(&config.path, kind))?;
    for (idx, item) in picked.into_iter().zip(items) {
        dataset.items[idx].split = item.split;
    }
    dataset.notes.extend(notes);
    Ok(())
}

/// The class list of `config`, or all labels that occur; numbers in numeric order.
fn class_list<'a>(
    config: &DataConfig,
    labels: impl Iterator<Item = &'a str>,
) -> Result<ClassList, Error> {
    let names = config.classes.clone().unwrap_or_else(|| {
        let mut names: Vec<&str> = labels.collect::<BTreeSet<_>>().into_iter().collect();
        if names.iter().all(|name| name.parse::<u64>().is_ok()) {
            names.sort_by_key(|name| name.parse::<u64>().unwrap_or(u64::MAX));
        }
        names.into_iter().map(str::to_owned).collect()
    });
    ClassList::new(names.clone()).map_err(|error| match error {
        ClassListError::TooFew { found: 1 } if config.classes.is_none() => Error::layout(
            &config.path,
            format!(
                "every item is labelled `{}`, and a model needs at least 2 classes to tell apart: add items of \
                 another class{}",
                names[0],
                manifest_nearby(&config.path),
            ),
        ),
        ClassListError::TooFew { found: 0 } if config.classes.is_none() => {
            Error::layout(&config.path, format!("no item in it{}", manifest_nearby(&config.path)))
        }
        error => Error::config(&config.path, "data.classes", error.to_string()),
    })
}

/// A hint at the manifests in a folder, which the person may have meant.
fn manifest_nearby(path: &Path) -> String {
    let mut found: Vec<_> = path
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| manifest::is_table(path))
        .collect();
    found.sort();
    match found.first() {
        Some(manifest) => format!(
            " (or did you mean data.path = {:?}?)",
            manifest.display().to_string()
        ),
        None => String::new(),
    }
}

/// The class of a label, or a sentence that names the nearest one.
fn class_idx(classes: &ClassList, label: &str) -> Result<usize, String> {
    classes.index(label).ok_or_else(|| {
        let distance = |name: &&String| strsim::damerau_levenshtein(name, label);
        let nearest = classes.names().iter().min_by_key(distance);
        let nearest = nearest.map_or("", |name| name);
        format!("label `{label}` is not in data.classes, the nearest there is `{nearest}`")
    })
}

/// Sorts out the items whose file is not there, with a word in `refused`, or a note where `allow_missing` says so.
fn without_missing(
    config: &DataConfig,
    items: Vec<Item>,
    notes: &mut Vec<String>,
    refused: &mut Vec<Refused>,
) -> Vec<Item> {
    let total = items.len();
    let mut missing: BTreeMap<String, BTreeMap<Option<Split>, usize>> = BTreeMap::new();
    let mut exists: BTreeMap<std::path::PathBuf, bool> = BTreeMap::new();
    let mut there = Vec::with_capacity(total);
    for item in items {
        if *exists
            .entry(item.source.clone())
            .or_insert_with(|| marey_media::source_exists(&item.source))
        {
            there.push(item);
        } else {
            let splits = missing
                .entry(item.source.display().to_string())
                .or_default();
            *splits.entry(item.split).or_default() += 1;
        }
    }
    if missing.is_empty() {
        return there;
    }
    let describe = |(path, splits): (&String, &BTreeMap<Option<Split>, usize>)| {
        let counts: Vec<String> = splits
            .iter()
            .map(|(split, count)| {
                split.map_or_else(|| count.to_string(), |s| format!("{count} {s}"))
            })
            .collect();
        format!("{path} ({} items)", counts.join(" + "))
    };
    let count = total - there.len();
    if !config.allow_missing {
        let first = missing.iter().next().map(describe).unwrap_or_default();
        let first = match missing.len() {
            1 => first,
            files => format!("{first}, and there are {} such files", files),
        };
        let kind = ErrorKind::Missing {
            count,
            total,
            first,
        };
        let error = Error::new(&config.path, kind);
        refused.push(Refused::new(Fault::Missing, error));
        return there;
    }
    notes.push(format!(
        "{count} of {total} items were left out because their file is not there"
    ));
    notes.extend(
        missing
            .iter()
            .map(|entry| format!("missing: {}", describe(entry))),
    );
    there
}
