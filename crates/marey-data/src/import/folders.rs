//! A folder a class, below an optional level of `train`, `val` and `test`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    DataConfig, Dataset, Error, Format, Importer, Item, Refused, Split,
    import::{class_idx, class_list, manifest_nearby},
};

pub(crate) struct Folders;

impl Importer for Folders {
    fn name(&self) -> &'static str {
        "folders"
    }

    fn format(&self) -> Format {
        Format::Folders
    }

    fn detects(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn import(&self, config: &DataConfig, _refused: &mut Vec<Refused>) -> Result<Dataset, Error> {
        config.refuse_of_frame_trees(self.name())?;
        config.refuse(
            self.name(),
            &[
                ("data.label", config.label.is_some()),
                ("data.group", config.group.is_some()),
                ("data.path_map", !config.path_map.is_empty()),
                ("data.allow_missing", config.allow_missing),
                ("data.allow_faults", !config.allow_faults.is_empty()),
            ],
        )?;
        import(config)
    }
}

fn import(config: &DataConfig) -> Result<Dataset, Error> {
    let mut scan = Scan::default();
    for (folder, split) in class_folders(&config.path)? {
        scan.class(&folder, split)?;
    }
    scan.into_dataset(config)
}

/// The folders of classes below `root`, with the split where there is a level of splits above them.
pub(super) fn class_folders(root: &Path) -> Result<Vec<(PathBuf, Option<Split>)>, Error> {
    let top = folders_in(root)?;
    if top.is_empty() {
        let problem = format!(
            "holds no folder: expected one folder a class, with the class's clips in it{}",
            manifest_nearby(root)
        );
        return Err(Error::layout(root, problem));
    }
    let splits: Vec<Option<Split>> = top
        .iter()
        .map(|folder| Split::from_word(&name_of(folder)))
        .collect();
    let mut found = Vec::new();
    if splits.iter().all(Option::is_some) {
        for (folder, split) in top.iter().zip(splits) {
            found.extend(folders_in(folder)?.into_iter().map(|class| (class, split)));
        }
    } else if let Some(idx) = splits.iter().position(Option::is_some) {
        let other = splits
            .iter()
            .position(Option::is_none)
            .map_or_else(String::new, |i| name_of(&top[i]));
        let problem = format!(
            "`{}` is the name of a split and `{other}` is not: expected either one folder a class, or folders \
             train, val and test with one folder a class in each",
            name_of(&top[idx]),
        );
        return Err(Error::layout(root, problem));
    } else {
        found.extend(top.into_iter().map(|class| (class, None)));
    }
    Ok(found)
}

/// What a walk through the folders has found.
#[derive(Default)]
struct Scan {
    /// Class name, source and split.
    found: Vec<(String, PathBuf, Option<Split>)>,
    /// Files that are no media.
    others: Vec<PathBuf>,
}

impl Scan {
    fn class(&mut self, folder: &Path, split: Option<Split>) -> Result<(), Error> {
        let before = self.found.len();
        self.walk(folder, &name_of(folder), split)?;
        if self.found.len() > before {
            return Ok(());
        }
        let problem = "no clip in this folder of a class: put clips there, or remove the folder";
        Err(Error::layout(folder, problem))
    }

    fn walk(&mut self, folder: &Path, class: &str, split: Option<Split>) -> Result<(), Error> {
        for path in entries_of(folder)? {
            if marey_media::is_media(&path) {
                self.found.push((class.to_owned(), path, split));
            } else if path.is_dir() {
                self.walk(&path, class, split)?;
            } else {
                self.others.push(path);
            }
        }
        Ok(())
    }

    fn into_dataset(self, config: &DataConfig) -> Result<Dataset, Error> {
        let classes = class_list(config, self.found.iter().map(|(class, ..)| class.as_str()))?;
        let mut items = Vec::with_capacity(self.found.len());
        for (class, source, split) in self.found {
            let label =
                class_idx(&classes, &class).map_err(|problem| Error::layout(&source, problem))?;
            items.push(Item {
                id: id_of(&config.path, &source),
                source,
                span: None,
                label,
                group: None,
                split,
                metadata: Default::default(),
            });
        }
        let mut notes = Vec::new();
        if let Some(first) = self.others.first() {
            notes.push(format!(
                "{} files that are no media were left out, the first is {}",
                self.others.len(),
                first.display()
            ));
        }
        Ok(Dataset {
            classes,
            items,
            notes,
            accepted_leak: None,
        })
    }
}

/// The path below the root, with `/` between folders on every system.
pub(super) fn id_of(root: &Path, source: &Path) -> String {
    let below = source.strip_prefix(root).unwrap_or(source);
    let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

pub(super) fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// What a folder holds, sorted by name, without hidden entries.
pub(super) fn entries_of(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::io(folder, "list the folder", source);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !name_of(&path).starts_with('.') {
            entries.push(path);
        }
    }
    entries.sort();
    Ok(entries)
}

pub(super) fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(entries_of(folder)?
        .into_iter()
        .filter(|path| path.is_dir())
        .collect())
}

/// The files of a folder that `is_meant` picks and a word of whose name says a split, in the order of the splits.
pub(super) fn files_by_split(
    folder: &Path,
    is_meant: &dyn Fn(&Path) -> bool,
) -> Result<Vec<(PathBuf, Option<Split>)>, Error> {
    let mut found: Vec<(PathBuf, Option<Split>)> = Vec::new();
    for path in entries_of(folder)?
        .into_iter()
        .filter(|path| is_meant(path))
    {
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut words = stem.split(|letter: char| !letter.is_ascii_alphabetic());
        let Some(split) = words.find_map(Split::from_word) else {
            continue;
        };
        if let Some((other, _)) = found.iter().find(|(_, known)| *known == Some(split)) {
            let problem = format!(
                "{} and {} are both {split}: keep one of them here, or name one by data.path",
                other.display(),
                path.display()
            );
            return Err(Error::layout(folder, problem));
        }
        found.push((path, Some(split)));
    }
    found.sort_by_key(|(_, split)| *split);
    Ok(found)
}
