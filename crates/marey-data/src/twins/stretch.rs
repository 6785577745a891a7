//! Which parts of which files must be looked at for the items of a data set, and looking at them.

use std::{collections::BTreeMap, path::Path};

use marey_clip::{Span, Timestamp};
use rayon::prelude::*;

use super::{TwinConfig, footage::Footage, search::Print};
use crate::{Dataset, Skipped};

/// Files with the same content, and what their items show of it.
pub(super) struct Content {
    /// Items with the span that they and the margin around them take.
    pub(super) items: Vec<(usize, Span)>,
    /// Footage of what the items show, together.
    pub(super) prints: Vec<Print>,
}

/// Reads all items. `identical` are sets of sources with the same bytes. Items of sources that cannot be read are in
/// the second list.
pub(super) fn read(
    dataset: &Dataset,
    identical: &[Vec<&Path>],
    config: &TwinConfig,
    done: &(dyn Fn() + Sync),
) -> (Vec<Content>, Vec<Skipped>) {
    let mut stands_for: BTreeMap<&Path, &Path> = BTreeMap::new();
    for set in identical {
        stands_for.extend(set.iter().map(|&source| (source, set[0])));
    }
    let mut by_content: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
    for (idx, item) in dataset.items.iter().enumerate() {
        let source = item.source.as_path();
        let first = stands_for.get(source).copied().unwrap_or(source);
        by_content.entry(first).or_default().push(idx);
    }
    let contents: Vec<(&Path, Vec<usize>)> = by_content.into_iter().collect();
    let read: Vec<_> = contents
        .into_par_iter()
        .map(|(source, items)| {
            let content = read_one(dataset, source, &items, config);
            done();
            content.map_err(|error| (items, error.to_string()))
        })
        .collect();
    let (mut contents, mut skipped) = (Vec::new(), Vec::new());
    for outcome in read {
        match outcome {
            Ok(content) => contents.push(content),
            Err((items, reason)) => skipped.extend(items.into_iter().map(|idx| Skipped {
                item: idx,
                id: dataset.items[idx].id.clone(),
                source: dataset.items[idx].source.clone(),
                reason: reason.clone(),
            })),
        }
    }
    skipped.sort_by_key(|one| one.item);
    (contents, skipped)
}

fn read_one(
    dataset: &Dataset,
    source: &Path,
    items: &[usize],
    config: &TwinConfig,
) -> Result<Content, marey_media::Error> {
    let mut reader = marey_media::open(source, &config.open)?;
    let whole = reader.info().timeline.span();
    let with_span = |&idx: &usize| {
        let span = dataset.items[idx].span.unwrap_or(whole);
        (idx, widened(span, config, whole))
    };
    let items: Vec<(usize, Span)> = items.iter().map(with_span).collect();
    let mut prints = Vec::new();
    for span in merged(items.iter().map(|(_, span)| *span).collect()) {
        let footage = Footage::read(reader.as_mut(), span)?;
        prints.extend(footage.into_iter().map(Print::new));
    }
    Ok(Content { items, prints })
}

/// The span with the margin on both sides, inside of the source where it has a part in it.
fn widened(span: Span, config: &TwinConfig, whole: Span) -> Span {
    let margin = i64::try_from(config.margin.as_nanos()).unwrap_or(i64::MAX / 4);
    let start = Timestamp::from_nanos(span.start().as_nanos().saturating_sub(margin));
    let end = Timestamp::from_nanos(span.end().as_nanos().saturating_add(margin));
    let wide = Span::new(start, end).unwrap_or(span);
    wide.intersection(whole).unwrap_or(wide)
}

/// Spans that overlap or touch become one.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| (span.start(), span.end()));
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start() <= last.end() => {
                let end = last.end().max(span.end());
                *last = Span::new(last.start(), end).unwrap_or(*last);
            }
            _ => merged.push(span),
        }
    }
    merged
}
