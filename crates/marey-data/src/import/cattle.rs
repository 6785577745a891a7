//! Events in long videos of a barn: a table with a line an event, as `behavior,camera_id,video_path,event_offset_sec,…`.
//!
//! An item is one event. Its span is `[offset, offset + duration)` on the clock of its video, so that
//! [`marey_clip::Sampling::centered`] takes the clip around offset + duration / 2. The group is the video, or what
//! `data.group` says. A line whose columns contradict its file is not believed: cameras and times are in the names of the
//! files, `N884A6_ch7_main_20240706060000_20240706063000.mp4`, and are compared.
//!
//! The table of extracted clips (`dst_clip,behavior,…`), a file an event, is read too.

mod link;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use csv::StringRecord;
use marey_clip::{Span, Timestamp};

use crate::{
    BOUT_COLUMN, DataConfig, Dataset, Error, Fault, FaultKind, Format, Importer, Item, Refused,
    Split,
    import::{
        class_idx, class_list,
        folders::files_by_split,
        manifest::{decode, group_of, is_table, records, source_of},
        spans::{self, Lines},
        without_missing,
    },
    item::parse_time,
};

/// The behaviours of the published tables, in the order of their numbers.
const BEHAVIORS: [&str; 4] = ["ear", "tail", "teat", "other"];
/// Events of one video that are at most this far apart are one bout.
const BOUT_GAP_NANOS: i64 = 30_000_000_000;

pub(crate) struct Cattle;

impl Importer for Cattle {
    fn name(&self) -> &'static str {
        "cattle"
    }

    fn format(&self) -> Format {
        Format::Cattle
    }

    fn detects(&self, path: &Path) -> bool {
        match path.is_dir() {
            true => tables_of(path).is_ok_and(|tables| {
                !tables.is_empty() && tables.iter().all(|(table, _)| is_event_table(table))
            }),
            false => is_table(path) && is_event_table(path),
        }
    }

    fn import(&self, config: &DataConfig, refused: &mut Vec<Refused>) -> Result<Dataset, Error> {
        config.refuse_of_frame_trees(self.name())?;
        config.refuse(self.name(), &[("data.label", config.label.is_some())])?;
        let tables = match config.path.is_dir() {
            true => tables_of(&config.path)?,
            false => vec![(config.path.clone(), None)],
        };
        if tables.is_empty() {
            let problem = "no table of events in it: expected train.csv, val.csv, test.csv";
            return Err(Error::layout(&config.path, problem));
        }
        let mut found = Found::default();
        for (table, split) in &tables {
            found.table(config, table, *split, refused)?;
        }
        found.into_dataset(config, refused)
    }
}

/// The tables of a folder whose names say a split: `train.csv`, `val_intravideo.csv`.
fn tables_of(folder: &Path) -> Result<Vec<(PathBuf, Option<Split>)>, Error> {
    files_by_split(folder, &is_table)
}

/// Whether the first line of a table names the columns of events or of extracted clips. A table with a column `label` is a
/// plain manifest.
fn is_event_table(path: &Path) -> bool {
    let head = fs::read(path).unwrap_or_default();
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&head);
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).to_lowercase();
    let cells: Vec<&str> = line
        .split([',', ';', '\t'])
        .map(|cell| cell.trim().trim_matches('"'))
        .collect();
    let has = |name: &str| cells.contains(&name);
    let is_event = has("event_offset_sec") && (has("video_path") || has("video_filename"));
    has("behavior") && !has("label") && (is_event || has("dst_clip"))
}

/// Events as the tables list them.
#[derive(Default)]
struct Found {
    events: Vec<Event>,
    lines: usize,
    /// Behaviours that are not among the classes, with their numbers of lines.
    others: BTreeMap<String, usize>,
    notes: Vec<String>,
}

struct Event {
    table: PathBuf,
    line: u64,
    behavior: String,
    item: Item,
    /// Name of the video, in lower case.
    video: String,
    cells: BTreeMap<String, String>,
}

impl Found {
    fn table(
        &mut self,
        config: &DataConfig,
        table: &Path,
        split: Option<Split>,
        refused: &mut Vec<Refused>,
    ) -> Result<(), Error> {
        let bytes = fs::read(table).map_err(|source| Error::io(table, "read the table", source))?;
        let mut records = records(table, decode(table, &bytes)?)?;
        if records.is_empty() {
            return Err(Error::layout(
                table,
                "is empty: expected a header and a line an event",
            ));
        }
        let (_, header) = records.remove(0);
        let header: Vec<String> = header
            .iter()
            .map(|name| name.trim().to_lowercase())
            .collect();
        let form = Form::of(table, &header)?;
        self.lines += records.len();
        for (line, record) in records {
            let row = Row {
                table,
                line,
                header: &header,
                record: &record,
            };
            let behavior = row.cell("behavior").to_lowercase();
            let is_class = match &config.classes {
                Some(classes) => classes
                    .iter()
                    .any(|name| name.eq_ignore_ascii_case(&behavior)),
                None => BEHAVIORS.contains(&behavior.as_str()),
            };
            if !is_class {
                *self.others.entry(behavior).or_default() += 1;
                continue;
            }
            match row.event(config, form, split, behavior) {
                Ok(event) => self.events.push(event),
                Err(why) => refused.push(why),
            }
        }
        Ok(())
    }

    fn into_dataset(
        mut self,
        config: &DataConfig,
        refused: &mut Vec<Refused>,
    ) -> Result<Dataset, Error> {
        self.name_others();
        if self.events.is_empty() && !refused.is_empty() {
            return Err(refused.swap_remove(0).error);
        }
        let known: Vec<String> = BEHAVIORS
            .iter()
            .filter(|name| self.events.iter().any(|event| event.behavior == **name))
            .map(|name| (*name).to_owned())
            .collect();
        let by_number = DataConfig {
            classes: config.classes.clone().or(Some(known)),
            ..config.clone()
        };
        let classes = class_list(&by_number, std::iter::empty())?;
        let bouts = bouts(&self.events);
        let mut lines = Lines::new();
        let mut items = Vec::with_capacity(self.events.len());
        for (event, bout) in self.events.iter().zip(&bouts) {
            let mut item = event.item.clone();
            let name = classes
                .names()
                .iter()
                .find(|name| name.eq_ignore_ascii_case(&event.behavior));
            item.label = class_idx(&classes, name.map_or(&event.behavior, |name| name))
                .map_err(|problem| Error::line(&event.table, event.line, problem))?;
            item.metadata.insert(BOUT_COLUMN.to_owned(), bout.clone());
            let group = match config.group.as_deref() {
                None | Some("video") => Ok(event.video.clone()),
                Some(BOUT_COLUMN) => Ok(bout.clone()),
                Some(columns) => group_of(columns, |name| {
                    event.cells.get(&name.to_lowercase()).cloned()
                }),
            };
            let group = group.map_err(|problem| {
                let problem = format!("{problem}; or take `video` or `bout`");
                Error::config(&event.table, "data.group", problem)
            })?;
            item.group = Some(group);
            lines.insert(item.id.clone(), (event.table.as_path(), event.line));
            items.push(item);
        }
        let zero = items
            .iter()
            .filter(|item| item.metadata.contains_key(ZERO_COLUMN))
            .count();
        if zero > 0 {
            self.notes.push(format!(
                "{zero} events last 0 s and are kept by data.allow_faults: a clip around their instant shows what was seen"
            ));
        }
        let mut items = without_missing(config, items, &mut self.notes, refused);
        spans::check(config, &mut items, &lines, &mut self.notes, refused);
        Ok(Dataset {
            classes,
            items,
            notes: self.notes,
            accepted_leak: None,
        })
    }

    fn name_others(&mut self) {
        if self.others.is_empty() {
            return;
        }
        let count: usize = self.others.values().sum();
        let named: Vec<String> = self
            .others
            .iter()
            .map(|(name, count)| match name.as_str() {
                "" => format!("{count} without behavior"),
                name => format!("{count} `{name}`"),
            })
            .collect();
        self.notes.push(format!(
            "{count} of {} lines have a behavior that is no class and were left out: {}",
            self.lines,
            named.join(", ")
        ));
    }
}

/// The bout of each event: events of one video whose gap is at most [`BOUT_GAP_NANOS`] are one.
fn bouts(events: &[Event]) -> Vec<String> {
    let mut by_video: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (idx, event) in events.iter().enumerate() {
        by_video.entry(&event.video).or_default().push(idx);
    }
    let mut bouts = vec![String::new(); events.len()];
    let span = |idx: usize| events[idx].item.span;
    for (video, mut indices) in by_video {
        indices.sort_by_key(|&idx| (span(idx).map(Span::start), idx));
        let mut bout = 0;
        let mut latest: Option<Timestamp> = None;
        for idx in indices {
            let Some(span) = span(idx) else { continue };
            let starts = |end: Timestamp| {
                span.start().as_nanos().saturating_sub(end.as_nanos()) > BOUT_GAP_NANOS
            };
            bout += usize::from(latest.is_none_or(starts));
            latest = latest.max(Some(span.end()));
            bouts[idx] = format!("{video}__bout_{bout}");
        }
    }
    bouts
}

/// Marks an event without length that was kept.
const ZERO_COLUMN: &str = "zero_length";

/// What a table lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Events in long videos.
    Events,
    /// Clips that were cut out, a file an event.
    Clips,
}

impl Form {
    fn of(table: &Path, header: &[String]) -> Result<Self, Error> {
        let has = |name: &str| header.iter().any(|known| known == name);
        let form = if has("dst_clip") {
            Self::Clips
        } else {
            Self::Events
        };
        let needed: &[&str] = match form {
            Self::Events => &["behavior", "event_offset_sec", "duration_sec"],
            Self::Clips => &[
                "behavior",
                "dst_clip",
                "resolved_offset_sec",
                "extract_start_sec",
            ],
        };
        if let Some(missing) = needed.iter().find(|name| !has(name)) {
            let problem = format!(
                "no column `{missing}`; a table of events has {}, and its columns are: {}",
                needed.join(", "),
                header.join(", ")
            );
            return Err(Error::layout(table, problem));
        }
        if form == Self::Events && !has("video_path") && !has("video_filename") {
            let problem =
                "no column `video_path` or `video_filename`, which names the file of an event";
            return Err(Error::layout(table, problem));
        }
        Ok(form)
    }
}

/// One line of a table.
struct Row<'a> {
    table: &'a Path,
    line: u64,
    header: &'a [String],
    record: &'a StringRecord,
}

impl Row<'_> {
    fn cell(&self, name: &str) -> &str {
        let idx = self.header.iter().position(|known| known == name);
        let cell = idx.and_then(|idx| self.record.get(idx));
        cell.unwrap_or_default().trim()
    }

    fn error(&self, problem: impl Into<String>) -> Error {
        Error::line(self.table, self.line, problem)
    }

    fn time(&self, column: &str) -> Result<Timestamp, Error> {
        let text = self.cell(column);
        parse_time(text).ok_or_else(|| {
            self.error(format!(
                "{column} `{text}` is no time, expected seconds such as 12.5"
            ))
        })
    }

    fn event(
        &self,
        config: &DataConfig,
        form: Form,
        split: Option<Split>,
        behavior: String,
    ) -> Result<Event, Refused> {
        let written = match form {
            Form::Clips => self.cell("dst_clip"),
            Form::Events if self.cell("video_path").is_empty() => self.cell("video_filename"),
            Form::Events => self.cell("video_path"),
        };
        if written.is_empty() {
            return Err(self.error("names no file").into());
        }
        let source =
            source_of(self.table, config, written).map_err(|problem| self.error(problem))?;
        if form == Form::Events
            && let Some(problem) = link::problem(written, &|name| self.cell(name))
        {
            return Err(Refused::new(Fault::Mislinked, self.error(problem)));
        }
        let (start, length) = self.place(form)?;
        let span = match Span::new(start, start + length) {
            Some(span) => span,
            None if config.allows(FaultKind::ZeroLength) => {
                let moment = std::time::Duration::from_nanos(1);
                Span::new(start, start + moment)
                    .ok_or_else(|| self.error("lies beyond all time"))?
            }
            None => {
                let problem = format!("the event lasts 0 s, at {start} of {written}");
                return Err(Refused::new(Fault::ZeroLength, self.error(problem)));
            }
        };
        let video = match form {
            Form::Clips if !self.cell("src_name").is_empty() => link::base(self.cell("src_name")),
            _ => link::base(written),
        };
        let cells: BTreeMap<String, String> = self
            .header
            .iter()
            .map(|name| (name.clone(), self.cell(name).to_owned()))
            .collect();
        let mut metadata: BTreeMap<String, String> = cells
            .iter()
            .filter(|(name, _)| {
                !["behavior", "video_path", "dst_clip", "split"].contains(&name.as_str())
            })
            .map(|(name, cell)| match name.as_str() {
                // `group` of a manifest is what splits must not share.
                "group" => ("animal_group".to_owned(), cell.clone()),
                _ => (name.clone(), cell.clone()),
            })
            .collect();
        if length.is_zero() {
            metadata.insert(ZERO_COLUMN.to_owned(), "true".to_owned());
        }
        let pair = [self.cell("initiator_id"), self.cell("receiver_id")].join(">");
        let split = match (split, self.cell("split")) {
            (Some(split), _) => Some(split),
            (None, "") => None,
            (None, word) => Some(Split::from_word(word).ok_or_else(|| {
                self.error(format!("`{word}` is no split, expected train, val or test"))
            })?),
        };
        let item = Item {
            id: format!(
                "{}#{}+{}{}",
                link::base(written),
                crate::item::exact_secs(start),
                length.as_secs_f64(),
                if pair == ">" {
                    String::new()
                } else {
                    format!(":{pair}")
                }
            ),
            source,
            span: Some(span),
            label: 0,
            group: None,
            split,
            metadata,
        };
        Ok(Event {
            table: self.table.to_owned(),
            line: self.line,
            behavior,
            item,
            video,
            cells,
        })
    }

    /// When the event begins on the clock of its file, and how long it is.
    fn place(&self, form: Form) -> Result<(Timestamp, std::time::Duration), Refused> {
        let (offset, duration) = match form {
            Form::Events => (self.time("event_offset_sec")?, self.time("duration_sec")?),
            Form::Clips => {
                let (event, cut) = (
                    self.time("resolved_offset_sec")?,
                    self.time("extract_start_sec")?,
                );
                let offset = event.as_nanos().saturating_sub(cut.as_nanos());
                let duration = match self.cell("resolved_event_dur_sec") {
                    "" => self.time("duration_sec")?,
                    _ => self.time("resolved_event_dur_sec")?,
                };
                (Timestamp::from_nanos(offset), duration)
            }
        };
        if offset < Timestamp::ZERO {
            let error = self.error(format!("the event starts at {offset}, before its file"));
            return Err(Refused::new(Fault::OutOfFile, error));
        }
        if duration < Timestamp::ZERO {
            return Err(self.error(format!("the event lasts {duration}")).into());
        }
        Ok((offset, duration - Timestamp::ZERO))
    }
}
