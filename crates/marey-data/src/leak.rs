//! What two splits share: a group, a source, or files with the same content.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, fs, io,
    path::{Path, PathBuf},
};

use crate::{Dataset, Error, Item, Split};

/// What a [`Leak`] shares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeakKind {
    /// A group.
    Group(String),
    /// A file or folder, of which either split has a part.
    Source(PathBuf),
    /// Two files with the same content, one in each split.
    Content(PathBuf, PathBuf),
}

/// Something that is in two splits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leak {
    /// What is shared.
    pub kind: LeakKind,
    /// The two splits.
    pub splits: [Split; 2],
    /// Number of items in each of them that share it.
    pub items: [usize; 2],
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.splits;
        let [num_a, num_b] = self.items;
        match &self.kind {
            LeakKind::Group(group) => {
                write!(
                    f,
                    "group `{group}` is in {a} ({num_a} items) and in {b} ({num_b} items)"
                )
            }
            LeakKind::Source(path) => {
                write!(
                    f,
                    "{} is in {a} ({num_a} items) and in {b} ({num_b} items)",
                    path.display()
                )
            }
            LeakKind::Content(in_a, in_b) => {
                write!(
                    f,
                    "{} in {a} and {} in {b} are the same file",
                    in_a.display(),
                    in_b.display()
                )
            }
        }
    }
}

/// Everything that two different splits share: groups, else sources, and files with the same bytes.
///
/// Only files of equal length in different splits are read.
///
/// # Errors
/// When a file cannot be read.
pub fn check_leaks(dataset: &Dataset) -> Result<Vec<Leak>, Error> {
    let mut groups: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut sources: BTreeMap<&Path, [usize; 3]> = BTreeMap::new();
    let mut group_of: HashMap<&Path, String> = HashMap::new();
    for item in &dataset.items {
        let Some(split) = item.split else {
            continue;
        };
        if let Some(group) = &item.group {
            groups.entry(group.clone()).or_default()[split as usize] += 1;
            group_of.insert(&item.source, group.clone());
        }
        sources.entry(&item.source).or_default()[split as usize] += 1;
    }
    let mut leaks = Vec::new();
    for (group, counts) in &groups {
        leaks.extend(shared(counts, || LeakKind::Group(group.clone())));
    }
    let in_two = |counts: &[usize; 3]| counts.iter().filter(|&&count| count > 0).count() > 1;
    for (source, counts) in &sources {
        // A group that is shared names its sources already.
        let is_named = group_of
            .get(source)
            .is_some_and(|group| in_two(&groups[group]));
        if !is_named {
            leaks.extend(shared(counts, || LeakKind::Source(source.to_path_buf())));
        }
    }
    leaks.extend(identical_files(&sources)?);
    Ok(leaks)
}

/// A leak for each two splits that both hold something.
fn shared(counts: &[usize; 3], kind: impl Fn() -> LeakKind) -> Vec<Leak> {
    let pairs = [[0, 1], [0, 2], [1, 2]]
        .into_iter()
        .filter(|pair| pair.iter().all(|&i| counts[i] > 0));
    let leak = |pair: [usize; 2]| Leak {
        kind: kind(),
        splits: pair.map(|i| Split::ALL[i]),
        items: pair.map(|i| counts[i]),
    };
    pairs.map(leak).collect()
}

/// Items whose sources are different files with the same bytes, in sets of two or more.
///
/// # Errors
/// When a file cannot be read.
pub fn identical_items(items: &[Item]) -> Result<Vec<Vec<usize>>, Error> {
    let mut by_source: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
    for (idx, item) in items.iter().enumerate() {
        by_source.entry(&item.source).or_default().push(idx);
    }
    let sets = same_content(by_source.keys().copied(), |_| true)?;
    let items_of = |set: Vec<&Path>| {
        set.iter()
            .flat_map(|source| by_source[source].clone())
            .collect()
    };
    Ok(sets.into_iter().map(items_of).collect())
}

/// Sources with the same bytes, in sets of two or more; of equal length are only those read that `matters` picks.
pub(crate) fn same_content<'a>(
    sources: impl Iterator<Item = &'a Path>,
    matters: impl Fn(&[&Path]) -> bool,
) -> Result<Vec<Vec<&'a Path>>, Error> {
    let mut by_length: BTreeMap<u64, Vec<&Path>> = BTreeMap::new();
    for source in sources {
        let length = length(source).map_err(|error| Error::io(source, "read the file", error))?;
        by_length.entry(length).or_default().push(source);
    }
    let mut sets = Vec::new();
    for same_length in by_length
        .into_values()
        .filter(|set| set.len() > 1 && matters(set))
    {
        let mut by_content: BTreeMap<[u8; 32], Vec<&Path>> = BTreeMap::new();
        for source in same_length {
            let hash = hash(source).map_err(|error| Error::io(source, "read the file", error))?;
            by_content.entry(hash).or_default().push(source);
        }
        sets.extend(by_content.into_values().filter(|set| set.len() > 1));
    }
    Ok(sets)
}

fn identical_files(sources: &BTreeMap<&Path, [usize; 3]>) -> Result<Vec<Leak>, Error> {
    let split_of = |source: &Path| sources[source].iter().position(|&count| count > 0);
    let in_two_splits = |set: &[&Path]| {
        set.iter()
            .any(|source| split_of(source) != split_of(set[0]))
    };
    let mut leaks = Vec::new();
    for set in same_content(sources.keys().copied(), in_two_splits)? {
        for (idx, &a) in set.iter().enumerate() {
            for &b in &set[idx + 1..] {
                leaks.extend(pair_of_files((a, &sources[a]), (b, &sources[b])));
            }
        }
    }
    Ok(leaks)
}

/// A leak where two files with the same content are in different splits.
fn pair_of_files(a: (&Path, &[usize; 3]), b: (&Path, &[usize; 3])) -> Option<Leak> {
    let first = |counts: &[usize; 3]| counts.iter().position(|&count| count > 0);
    let (split_a, split_b) = (first(a.1)?, first(b.1)?);
    if split_a == split_b {
        return None;
    }
    let (a, b) = if split_a < split_b { (a, b) } else { (b, a) };
    let (low, high) = (split_a.min(split_b), split_a.max(split_b));
    Some(Leak {
        kind: LeakKind::Content(a.0.to_owned(), b.0.to_owned()),
        splits: [Split::ALL[low], Split::ALL[high]],
        items: [a.1[low], b.1[high]],
    })
}

/// Bytes of a source: of all of its files.
pub(crate) fn length(source: &Path) -> io::Result<u64> {
    marey_media::source_files(source)?
        .iter()
        .map(|file| Ok(file.metadata()?.len()))
        .sum()
}

/// Hash of a source's content: of all of its files, in order.
pub(crate) fn hash(source: &Path) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    for file in marey_media::source_files(source)? {
        hasher.update_reader(fs::File::open(file)?)?;
    }
    Ok(*hasher.finalize().as_bytes())
}
