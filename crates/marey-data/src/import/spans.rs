//! Whether the spans of items lie inside their sources.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    time::Duration,
};

use marey_clip::Span;
use marey_media::OpenOptions;

use crate::{DataConfig, Error, Item};

/// A span may end this much after its source, since people and programs round to seconds; it is then cut.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Refuses spans that lie outside of their source and cuts those that barely reach beyond; `lines` says where an item
/// of the manifest stands. A source that cannot be opened is left for the loader to report.
pub(super) fn check(
    config: &DataConfig,
    items: &mut [Item],
    lines: &BTreeMap<String, u64>,
    notes: &mut Vec<String>,
) -> Result<(), Error> {
    let mut known: HashMap<PathBuf, Option<Span>> = HashMap::new();
    let mut cut = 0;
    for item in items {
        let Some(span) = item.span else {
            continue;
        };
        let source = known.entry(item.source.clone()).or_insert_with(|| {
            let reader = marey_media::open(&item.source, &OpenOptions::default()).ok()?;
            Some(reader.info().timeline.span())
        });
        let Some(source) = *source else {
            continue;
        };
        let line = lines.get(&item.id).copied().unwrap_or(0);
        let outside = |what: &str| {
            let problem = format!(
                "{span} {what} {}, whose frames are shown in {source}",
                item.source.display()
            );
            Error::line(&config.path, line, problem)
        };
        let inside = span
            .intersection(source)
            .ok_or_else(|| outside("lies outside of"))?;
        if span.end() > source.end() + TOLERANCE {
            return Err(outside("ends after"));
        }
        if inside.end() < span.end() {
            cut += 1;
            item.span = Span::new(span.start(), inside.end());
        }
    }
    if cut > 0 {
        notes.push(format!(
            "{cut} spans ended up to a second after their source and were cut there"
        ));
    }
    Ok(())
}
