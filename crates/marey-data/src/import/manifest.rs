//! A table with a line an item: path, start, end, label, split, group, and whatever else, which becomes metadata.
//!
//! Written by spreadsheets on any system: with or without a byte order mark, LF or CRLF, `,`, `;` or tab, quoted or
//! not, `/` or `\` in paths. Times are seconds, or `[h:]mm:ss`.

mod line;

use std::{fs, path::Path};

use csv::StringRecord;

use line::{Line, Row};
pub(super) use line::{group_of, source_of};

use crate::{
    DataConfig, Dataset, Error, Format, Importer, Refused,
    import::{
        class_idx, class_list,
        spans::{self, Lines},
        without_missing,
    },
};

/// Names under which a column of paths is known.
const PATH_COLUMNS: [&str; 5] = ["path", "file", "filename", "video", "video_path"];

pub(crate) struct Manifest;

/// Whether a path looks like a table.
pub(super) fn is_table(path: &Path) -> bool {
    let extension = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    matches!(extension.as_str(), "csv" | "tsv") && path.is_file()
}

impl Importer for Manifest {
    fn name(&self) -> &'static str {
        "manifest"
    }

    fn format(&self) -> Format {
        Format::Manifest
    }

    fn detects(&self, path: &Path) -> bool {
        is_table(path)
    }

    fn import(&self, config: &DataConfig, refused: &mut Vec<Refused>) -> Result<Dataset, Error> {
        config.refuse_of_frame_trees(self.name())?;
        let mut notes = Vec::new();
        let table = Table::read(config, &mut notes)?;
        let mut rows: Vec<Row> = Vec::with_capacity(table.records.len());
        for line in table.rows() {
            match line.read(config) {
                Ok(row) => rows.push(row),
                Err(why) => refused.push(why),
            }
        }
        if rows.is_empty() && !refused.is_empty() {
            return Err(refused.swap_remove(0).error);
        }
        let classes = match class_list(config, rows.iter().map(|row| row.label.as_str())) {
            Ok(classes) => classes,
            // What was refused may be why the rest is of one class.
            Err(error) => return Err(refused.drain(..).next().map_or(error, |why| why.error)),
        };
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            let line = row.line;
            let label = class_idx(&classes, &row.label)
                .map_err(|problem| Error::line(&config.path, line, problem))?;
            items.push((line, row.into_item(label)));
        }
        let lines: Lines<'_> = items
            .iter()
            .map(|(line, item)| (item.id.clone(), (config.path.as_path(), *line)))
            .collect();
        let items = items.into_iter().map(|(_, item)| item).collect();
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

/// The lines of a manifest and what its columns mean.
struct Table<'a> {
    file: &'a Path,
    header: Vec<String>,
    records: Vec<(u64, StringRecord)>,
    path: usize,
    label: usize,
    start: Option<usize>,
    end: Option<usize>,
    split: Option<usize>,
    /// Columns joined by `+`, where there is a group.
    group: Option<String>,
}

impl<'a> Table<'a> {
    fn read(config: &'a DataConfig, notes: &mut Vec<String>) -> Result<Self, Error> {
        let file = &config.path;
        let bytes =
            fs::read(file).map_err(|source| Error::io(file, "read the manifest", source))?;
        let text = decode(file, &bytes)?;
        let mut records = records(file, text)?;
        let Some((_, first)) = records.first() else {
            return Err(Error::layout(
                file,
                "is empty: expected a header and a line an item",
            ));
        };
        let label_name = config.label.as_deref().unwrap_or("label");
        let header = if is_header(first, label_name) {
            let (_, header) = records.remove(0);
            header.iter().map(|name| name.trim().to_owned()).collect()
        } else {
            positional_header(config, first, notes)?
        };
        Self::with_header(config, header, records)
    }

    fn with_header(
        config: &'a DataConfig,
        header: Vec<String>,
        records: Vec<(u64, StringRecord)>,
    ) -> Result<Self, Error> {
        let file = &config.path;
        let find = |name: &str| {
            header
                .iter()
                .position(|known| known.eq_ignore_ascii_case(name))
        };
        let columns = || header.join(", ");
        let label_name = config.label.as_deref().unwrap_or("label");
        for (idx, name) in header.iter().enumerate() {
            if header[..idx].contains(name) {
                return Err(Error::layout(
                    file,
                    format!("has two columns `{name}`: rename one"),
                ));
            }
        }
        let paths: Vec<usize> = PATH_COLUMNS.iter().filter_map(|name| find(name)).collect();
        let Some(&path) = paths.first() else {
            let problem = format!("no column `path`; its columns are: {}", columns());
            return Err(Error::layout(file, problem));
        };
        let label = find(label_name).ok_or_else(|| {
            let problem = format!(
                "no column `{label_name}` for the class; its columns are: {}. Name the right one by data.label",
                columns()
            );
            Error::layout(file, problem)
        })?;
        let group = match &config.group {
            Some(names) => Some(names.clone()),
            None if config.group_pattern.is_none() => find("group").map(|_| "group".to_owned()),
            None => None,
        };
        for name in group.iter().flat_map(|names| names.split('+')) {
            if find(name.trim()).is_none() {
                let problem = format!(
                    "no column `{}`; the columns are: {}",
                    name.trim(),
                    columns()
                );
                return Err(Error::config(file, "data.group", problem));
            }
        }
        let (start, end, split) = (find("start"), find("end"), find("split"));
        if start.is_some() != end.is_some() {
            return Err(Error::layout(
                file,
                "has only one of the columns `start` and `end`: a span needs both",
            ));
        }
        Ok(Self {
            file,
            path,
            label,
            start,
            end,
            split,
            group,
            header,
            records,
        })
    }

    fn rows(&self) -> impl Iterator<Item = Line<'_>> {
        self.records.iter().map(|(line, record)| Line {
            table: self,
            line: *line,
            record,
        })
    }
}

pub(super) fn decode<'b>(file: &Path, bytes: &'b [u8]) -> Result<&'b str, Error> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count();
        Error::line(
            file,
            line as u64,
            "is not UTF-8 text: save the file as `CSV UTF-8`",
        )
    })
}

/// The lines with their numbers, empty ones left out.
pub(super) fn records(file: &Path, text: &str) -> Result<Vec<(u64, StringRecord)>, Error> {
    let first = text.lines().next().unwrap_or_default();
    let count = |delimiter: char| first.matches(delimiter).count();
    // Spreadsheets write `;` where the decimal sign is a comma.
    let delimiter = [',', ';', '\t']
        .into_iter()
        .rev()
        .max_by_key(|&delimiter| count(delimiter));
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .delimiter(delimiter.unwrap_or(',') as u8)
        .from_reader(text.as_bytes());
    let mut records = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| match error.kind() {
            csv::ErrorKind::UnequalLengths {
                pos,
                expected_len,
                len,
            } => Error::line(
                file,
                pos.as_ref().map_or(0, |pos| pos.line()),
                format!("has {len} columns, the first line has {expected_len}"),
            ),
            _ => Error::layout(file, format!("no table: {error}")),
        })?;
        let line = record.position().map_or(0, |position| position.line());
        if record.iter().any(|cell| !cell.trim().is_empty()) {
            records.push((line, record));
        }
    }
    Ok(records)
}

/// A header names at least one known column.
fn is_header(record: &StringRecord, label_name: &str) -> bool {
    let known = |cell: &str| {
        let is = |name: &&str| cell.trim().eq_ignore_ascii_case(name);
        PATH_COLUMNS.iter().any(is) || is(&label_name)
    };
    record.iter().any(known)
}

/// The columns of a manifest without a header: a path and a label.
fn positional_header(
    config: &DataConfig,
    first: &StringRecord,
    notes: &mut Vec<String>,
) -> Result<Vec<String>, Error> {
    let cells: Vec<&str> = first.iter().map(str::trim).collect();
    let looks_like_path = cells[0].contains(['.', '/', '\\']);
    if cells.len() != 2 || !looks_like_path || config.label.is_some() {
        let problem = format!(
            "the first line is no header (it names no column `path`), and only lines of the form `path,label` can be \
             read without one: add a header such as `path,label`; the line is `{}`",
            cells.join(",")
        );
        return Err(Error::layout(&config.path, problem));
    }
    notes
        .push("the manifest has no header: its two columns were read as path and label".to_owned());
    Ok(vec!["path".to_owned(), "label".to_owned()])
}
