//! Whether the spans of items lie inside their sources.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    time::Duration,
};

use marey_clip::Span;
use marey_media::OpenOptions;

use crate::{DataConfig, Error, Fault, Item, Refused};

/// A span may end this much after its source, since people and programs round to seconds; it is then cut.
const TOLERANCE: Duration = Duration::from_secs(1);

/// The table and the line of each item, by its name.
pub(super) type Lines<'a> = BTreeMap<String, (&'a Path, u64)>;

/// Moves items whose spans lie outside of their source to `refused` and cuts those that barely reach beyond; `lines` says
/// where an item of the manifest stands. A source that cannot be opened is left for the survey to report.
pub(super) fn check(
    config: &DataConfig,
    items: &mut Vec<Item>,
    lines: &Lines<'_>,
    notes: &mut Vec<String>,
    refused: &mut Vec<Refused>,
) {
    let mut known: HashMap<PathBuf, Option<Span>> = HashMap::new();
    let mut cut = 0;
    items.retain_mut(|item| {
        let Some(span) = item.span else {
            return true;
        };
        let source = known.entry(item.source.clone()).or_insert_with(|| {
            let reader = marey_media::open(&item.source, &OpenOptions::default()).ok()?;
            Some(reader.info().timeline.span())
        });
        let Some(source) = *source else {
            return true;
        };
        let (table, line) = lines
            .get(&item.id)
            .copied()
            .unwrap_or((config.path.as_path(), 0));
        let inside = span.intersection(source);
        let what = match inside {
            None => "lies outside of",
            Some(_) if span.end() > source.end() + TOLERANCE => "ends after",
            Some(inside) => {
                if inside.end() < span.end() {
                    cut += 1;
                    item.span = Span::new(span.start(), inside.end());
                }
                return true;
            }
        };
        let path = item.source.display();
        let problem = format!("{span} {what} {path}, whose frames are shown in {source}");
        let error = Error::line(table, line, problem);
        refused.push(Refused::new(Fault::OutOfFile, error));
        false
    });
    if cut > 0 {
        notes.push(format!(
            "{cut} spans ended up to a second after their source and were cut there"
        ));
    }
}
