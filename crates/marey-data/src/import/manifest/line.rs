//! One line of a manifest: its cells as paths, times, splits and groups.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use csv::StringRecord;
use marey_clip::{Span, Timestamp};

use super::Table;
use crate::{DataConfig, Error, Fault, Item, Refused, Split, item::parse_time};

/// One line of a table.
pub(super) struct Line<'a> {
    pub(super) table: &'a Table<'a>,
    pub(super) line: u64,
    pub(super) record: &'a StringRecord,
}

/// What a line says.
pub(super) struct Row {
    pub(super) line: u64,
    id: String,
    source: PathBuf,
    span: Option<Span>,
    pub(super) label: String,
    group: Option<String>,
    split: Option<Split>,
    metadata: BTreeMap<String, String>,
}

impl Line<'_> {
    pub(super) fn read(&self, config: &DataConfig) -> Result<Row, Refused> {
        let table = self.table;
        let written = self.cell(table.path);
        if written.is_empty() {
            return Err(self.error("has no path").into());
        }
        let label = self.cell(table.label).to_owned();
        if label.is_empty() {
            return Err(self
                .error(format!(
                    "has no label in column `{}`",
                    table.header[table.label]
                ))
                .into());
        }
        let span = self.span()?;
        let group = table
            .group
            .as_deref()
            .map(|columns| group_of(columns, |name| self.named(name)));
        let used = [
            Some(table.path),
            Some(table.label),
            table.start,
            table.end,
            table.split,
        ];
        let metadata = (0..table.header.len())
            .filter(|idx| !used.contains(&Some(*idx)))
            .filter(|idx| table.group.as_deref() != Some("group") || table.header[*idx] != "group")
            .map(|idx| (table.header[idx].clone(), self.cell(idx).to_owned()))
            .collect();
        let id = match span {
            None => written.replace('\\', "/"),
            Some(_) => format!(
                "{}#{}-{}",
                written.replace('\\', "/"),
                self.optional(table.start),
                self.optional(table.end)
            ),
        };
        Ok(Row {
            line: self.line,
            id,
            source: self.source(config, written)?,
            span,
            label,
            group: group.transpose().map_err(|problem| self.error(problem))?,
            split: self.split()?,
            metadata,
        })
    }

    fn cell(&self, idx: usize) -> &str {
        self.record.get(idx).unwrap_or_default().trim()
    }

    fn optional(&self, idx: Option<usize>) -> &str {
        idx.map_or("", |idx| self.cell(idx))
    }

    fn named(&self, name: &str) -> Option<String> {
        let idx = self
            .table
            .header
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name))?;
        Some(self.cell(idx).to_owned())
    }

    fn error(&self, problem: impl Into<String>) -> Error {
        Error::line(self.table.file, self.line, problem)
    }

    fn split(&self) -> Result<Option<Split>, Error> {
        match self.optional(self.table.split) {
            "" => Ok(None),
            word => Split::from_word(word).map(Some).ok_or_else(|| {
                self.error(format!(
                    "`{word}` is no split, expected train, val (validation, valid) or test"
                ))
            }),
        }
    }

    fn span(&self) -> Result<Option<Span>, Refused> {
        let (start, end) = (
            self.optional(self.table.start),
            self.optional(self.table.end),
        );
        if start.is_empty() && end.is_empty() {
            return Ok(None);
        }
        let time = |name: &str, text: &str| {
            let problem = format!(
                "{name} `{text}` is no time, expected seconds (12.5) or h:mm:ss (0:00:12.5)"
            );
            parse_time(text).ok_or_else(|| self.error(problem))
        };
        let (start, end) = (time("start", start)?, time("end", end)?);
        if start < Timestamp::ZERO {
            let error = self.error(format!("starts at {start}, before its source"));
            return Err(Refused::new(Fault::OutOfFile, error));
        }
        match Span::new(start, end) {
            Some(span) => Ok(Some(span)),
            None if start == end => {
                let problem = format!("starts and ends at {start}: an item needs some length");
                Err(Refused::new(Fault::ZeroLength, self.error(problem)))
            }
            None => Err(self
                .error(format!("ends at {end}, before it starts at {start}"))
                .into()),
        }
    }

    fn source(&self, config: &DataConfig, written: &str) -> Result<PathBuf, Error> {
        source_of(self.table.file, config, written).map_err(|problem| self.error(problem))
    }
}

/// Where the file is that a table at `file` names: mapped, or below the table's folder; a sentence where that cannot be known.
pub(crate) fn source_of(
    file: &Path,
    config: &DataConfig,
    written: &str,
) -> Result<PathBuf, String> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let is_absolute = written.starts_with("\\\\")
        || written.as_bytes().get(1) == Some(&b':')
        || Path::new(written).is_absolute();
    for (from, to) in &config.path_map {
        let rest = match from.as_str() {
            "." => (!is_absolute).then(|| written.replace('\\', "/")),
            from => strip_folder(written, from),
        };
        if let Some(rest) = rest {
            return Ok(rest
                .split('/')
                .fold(folder.join(to), |path, part| path.join(part)));
        }
    }
    let as_written = folder.join(written);
    if !written.contains('\\') || as_written.exists() {
        return Ok(as_written);
    }
    if is_absolute && !cfg!(windows) {
        let root = written.rsplit_once('\\').map_or(written, |(root, _)| root);
        return Err(format!(
            "`{written}` is a path of a Windows machine: say where its folder is here, for example \
             data.path_map = {{ '{root}' = \"clips\" }}"
        ));
    }
    Ok(written
        .split('\\')
        .fold(folder.to_owned(), |path, part| path.join(part)))
}

impl Row {
    pub(super) fn into_item(self, label: usize) -> Item {
        Item {
            id: self.id,
            source: self.source,
            span: self.span,
            label,
            group: self.group,
            split: self.split,
            metadata: self.metadata,
        }
    }
}

/// The values of columns joined by `+`, joined by `+`; a sentence where one is missing or empty.
pub(crate) fn group_of(
    columns: &str,
    value: impl Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let parts: Result<Vec<String>, String> = columns
        .split('+')
        .map(|name| match value(name.trim()) {
            Some(value) if !value.is_empty() => Ok(value),
            Some(_) => Err(format!(
                "has nothing in column `{}`, which makes the group",
                name.trim()
            )),
            None => Err(format!("no column `{}`", name.trim())),
        })
        .collect();
    Ok(parts?.join("+"))
}

/// What follows the folder `from` in `path`, with `/` between its parts; `None` when the path is not below it.
fn strip_folder(path: &str, from: &str) -> Option<String> {
    let path = path.replace('\\', "/");
    let from = from.replace('\\', "/");
    let from = from.trim_end_matches('/');
    let head = path.get(..from.len())?;
    let rest = path[from.len()..].strip_prefix('/')?;
    head.eq_ignore_ascii_case(from).then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_folders_ignore_case_and_slashes_but_not_names() {
        for (path, from, expected) in [
            (r"D:\Clips\a\b.mp4", r"d:\clips", Some("a/b.mp4")),
            (r"D:\Clips\a.mp4", r"D:/Clips/", Some("a.mp4")),
            ("/mnt/x/a.mp4", "/mnt/x", Some("a.mp4")),
            (r"D:\Clips2\a.mp4", r"D:\Clips", None),
            (r"D:\Clips", r"D:\Clips", None),
            ("é", "/mnt", None),
        ] {
            assert_eq!(strip_folder(path, from).as_deref(), expected, "{path}");
        }
    }
}
