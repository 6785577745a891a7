//! Lists of mmaction2: a line an item, cells divided by spaces, the number of the class at the end.
//!
//! `path label` is a file or a folder, `path frames label` a folder of that many frames, `path start end label` a span in
//! seconds. A folder with such lists for training, validation and test (`kinetics400_train_list_videos.txt`) gives the splits.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use marey_clip::Span;

use crate::{
    DataConfig, Dataset, Error, Fault, Format, Importer, Item, Refused, Split,
    import::{
        class_idx, class_list,
        folders::files_by_split,
        manifest::source_of,
        spans::{self, Lines},
        without_missing,
    },
    item::parse_time,
};

pub(crate) struct List;

impl Importer for List {
    fn name(&self) -> &'static str {
        "list"
    }

    fn format(&self) -> Format {
        Format::List
    }

    fn detects(&self, path: &Path) -> bool {
        match path.is_dir() {
            true => lists_of(path).is_ok_and(|lists| {
                lists.iter().any(|(_, split)| *split == Some(Split::Train))
                    && lists.iter().all(|(list, _)| is_list(list))
            }),
            false => path.extension().is_some_and(|extension| extension == "txt") && is_list(path),
        }
    }

    fn import(&self, config: &DataConfig, refused: &mut Vec<Refused>) -> Result<Dataset, Error> {
        config.refuse_of_frame_trees(self.name())?;
        config.refuse(
            self.name(),
            &[
                ("data.label", config.label.is_some()),
                ("data.group", config.group.is_some()),
            ],
        )?;
        let lists = match config.path.is_dir() {
            true => lists_of(&config.path)?,
            false => vec![(config.path.clone(), None)],
        };
        let mut entries = Vec::new();
        for (list, split) in &lists {
            let text = fs::read_to_string(list)
                .map_err(|source| Error::io(list, "read the list", source))?;
            for (line, number) in text
                .lines()
                .zip(1..)
                .filter(|(line, _)| !line.trim().is_empty())
            {
                match Entry::read(line) {
                    Ok(entry) => entries.push((list.as_path(), number, *split, entry)),
                    Err((fault, problem)) => {
                        refused.push(Refused::new(fault, Error::line(list, number, problem)));
                    }
                }
            }
        }
        if entries.is_empty() {
            return Err(match refused.is_empty() {
                true => Error::layout(&config.path, "no line in it: expected `path label` a line"),
                false => refused.swap_remove(0).error,
            });
        }
        let numbers = entries.iter().map(|(.., entry)| entry.label.as_str());
        let classes = match class_list(config, numbers) {
            Ok(classes) => classes,
            // What was refused may be why the rest is of one class.
            Err(error) => return Err(refused.drain(..).next().map_or(error, |why| why.error)),
        };
        let mut items = Vec::with_capacity(entries.len());
        let mut lines = Lines::new();
        for (list, line, split, entry) in entries {
            let failed = |problem| Error::line(list, line, problem);
            // With `data.classes` the number is a position in them.
            let label = match (&config.classes, entry.label.parse::<usize>()) {
                (Some(names), Ok(number))
                    if number < names.len() && classes.index(&entry.label).is_none() =>
                {
                    number
                }
                _ => class_idx(&classes, &entry.label).map_err(failed)?,
            };
            let item = Item {
                id: entry.id(),
                source: source_of(list, config, &entry.path).map_err(failed)?,
                span: entry.span,
                label,
                group: None,
                split,
                metadata: entry
                    .frames
                    .map(|frames| ("total_frames".to_owned(), frames.to_string()))
                    .into_iter()
                    .collect::<BTreeMap<_, _>>(),
            };
            lines.insert(item.id.clone(), (list, line));
            items.push(item);
        }
        let mut notes = Vec::new();
        let mut items = without_missing(config, items, &mut notes, refused);
        spans::check(config, &mut items, &lines, &mut notes, refused);
        Ok(Dataset {
            classes,
            items,
            notes,
            accepted_leak: None,
        })
    }
}

/// The lists of a folder whose names say a split.
fn lists_of(folder: &Path) -> Result<Vec<(PathBuf, Option<Split>)>, Error> {
    let is_text =
        |path: &Path| path.extension().is_some_and(|name| name == "txt") && path.is_file();
    files_by_split(folder, &is_text)
}

/// Whether the first line reads as an entry.
fn is_list(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let first = text.lines().find(|line| !line.trim().is_empty());
    first.is_some_and(|line| Entry::read(line).is_ok())
}

/// What a line says.
#[derive(Debug, PartialEq)]
struct Entry {
    path: String,
    frames: Option<u64>,
    times: Option<[String; 2]>,
    span: Option<Span>,
    label: String,
}

impl Entry {
    fn read(line: &str) -> Result<Self, (Fault, String)> {
        let unusable = |problem: String| (Fault::Unusable, problem);
        let expected = "expected `path label`, `path frames label` or `path start end label`";
        // The path comes first and may hold spaces; numbers are taken from the end.
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let label = words.pop().unwrap_or_default();
        if label.is_empty() || !label.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(unusable(format!(
                "ends in `{label}`, which is no number of a class: {expected}"
            )));
        }
        let mut numbers = Vec::new();
        while words.len() > 1 && numbers.len() < 2 && parse_time(words[words.len() - 1]).is_some() {
            numbers.insert(0, words.pop().unwrap_or_default());
        }
        if words.is_empty() {
            return Err(unusable(format!("names no path: {expected}")));
        }
        let mut entry = Self {
            path: words.join(" "),
            frames: None,
            times: None,
            span: None,
            label: label.trim_start_matches('0').to_owned(),
        };
        if entry.label.is_empty() {
            entry.label = "0".to_owned();
        }
        match numbers[..] {
            [] => {}
            [frames] => {
                let frames = frames.parse::<u64>();
                let problem = |_| {
                    unusable(format!(
                        "`{}` is no number of frames: {expected}",
                        numbers[0]
                    ))
                };
                entry.frames = Some(frames.map_err(problem)?);
            }
            [start, end] => {
                let times = [start, end].map(parse_time);
                let [Some(from), Some(to)] = times else {
                    return Err(unusable(format!(
                        "`{start}` or `{end}` is no time: {expected}"
                    )));
                };
                let problem = format!("ends at {to} and starts at {from}");
                let fault = if from == to {
                    Fault::ZeroLength
                } else {
                    Fault::Unusable
                };
                entry.span = Some(Span::new(from, to).ok_or((fault, problem))?);
                entry.times = Some([start, end].map(str::to_owned));
            }
            _ => unreachable!("at most two are taken"),
        }
        Ok(entry)
    }

    fn id(&self) -> String {
        let path = self.path.replace('\\', "/");
        match &self.times {
            Some([start, end]) => format!("{path}#{start}-{end}"),
            None => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_of_a_line() {
        let read = |line: &str| {
            Entry::read(line).map(|entry| (entry.path, entry.frames, entry.times, entry.label))
        };
        let times = |start: &str, end: &str| Some([start.to_owned(), end.to_owned()]);
        for (line, expected) in [
            (
                "abseiling/a_000001_000011.mp4 0",
                ("abseiling/a_000001_000011.mp4", None, None, "0"),
            ),
            ("frames/v1 163 012", ("frames/v1", Some(163), None, "12")),
            ("a.mp4 1.5 4 3", ("a.mp4", None, times("1.5", "4"), "3")),
            ("my clips/a b.mp4 7", ("my clips/a b.mp4", None, None, "7")),
        ] {
            let (path, frames, times, label) = expected;
            let expected = (path.to_owned(), frames, times, label.to_owned());
            assert_eq!(read(line), Ok(expected), "{line}");
        }
        for (line, part) in [
            ("a.mp4 walk", "no number of a class"),
            ("7", "names no path"),
            ("a.mp4 4 1 0", "ends at 1.000 s"),
            ("a.mp4 1.5 0", "no number of frames"),
        ] {
            let (_, problem) = Entry::read(line).expect_err(part);
            assert!(problem.contains(part), "{problem}");
        }
    }
}
