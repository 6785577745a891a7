//! Whole recordings of a split through a bundle, window by window.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use marey_clip::Span;
use marey_data::{Dataset, Item, Split, Unreadable};
use marey_eval::{Recording, ScoredWindow, TrueEvent};
use marey_media::OpenOptions;

use crate::{Error, Predictor, Windowing};

/// The recordings of a split with the scores of their windows.
#[derive(Debug)]
pub struct Watched {
    /// In the order of their paths.
    pub recordings: Vec<Recording>,
    /// Recordings that were left out, and why, a sentence each.
    pub left_out: Vec<String>,
}

/// Scores every recording that items of `split` come from, in windows, smoothed as the bundle's card says.
///
/// A recording is watched from its first frame to its last, with what lies between the labelled spans: there nothing
/// happens. Where items of another split come from it too, only the stretch from the first to the last item of `split` is
/// watched, and if an item of another split lies in that stretch, the recording is left out: a model may have learned it.
/// Spans of one class that touch are one event.
///
/// `on_progress` is told the number of recordings done and to do.
///
/// # Errors
/// When a recording cannot be read (and the policy is to stop).
pub fn watch(
    predictor: &Predictor,
    dataset: &Dataset,
    split: Split,
    windowing: &Windowing,
    unreadable: Unreadable,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<Watched, Error> {
    let sources = sources_of(dataset, split);
    let mut watched = Watched {
        recordings: Vec::new(),
        left_out: Vec::new(),
    };
    let num_sources = sources.len();
    for (idx, (path, items)) in sources.into_iter().enumerate() {
        on_progress(idx, num_sources);
        let stretch = match stretch_of(dataset, split, &path) {
            Ok(stretch) => stretch,
            Err(reason) => {
                watched.left_out.push(reason);
                continue;
            }
        };
        let scanned = predictor.scan(&path, Some(windowing), stretch, &OpenOptions::default());
        let scanned = match scanned {
            Err(Error::Media(error)) if unreadable == Unreadable::Skip => {
                let reason = format!("{} cannot be read: {error}", path.display());
                watched.left_out.push(reason);
                continue;
            }
            scanned => scanned?,
        };
        let (first, last) = (&scanned.spans[0], &scanned.spans[scanned.spans.len() - 1]);
        let whole = stretch
            .or_else(|| Span::new(first.start(), last.end()))
            .unwrap_or(*first);
        let scores = predictor.smoothed(&scanned.scores);
        let windows = scanned.spans.iter().zip(scores).zip(&scanned.beside);
        let inside = scanned.timeline.timestamps().iter().copied();
        watched.recordings.push(Recording {
            name: path.display().to_string(),
            group: items[0].group.clone(),
            watched: whole,
            frames: inside.filter(|&frame| whole.contains(frame)).collect(),
            truths: truths_of(&items, whole)?,
            windows: windows
                .map(|((&span, scores), beside)| ScoredWindow {
                    span,
                    scores,
                    anomaly: predictor.anomaly(beside).map(|guess| guess.score),
                })
                .collect(),
        });
    }
    on_progress(num_sources, num_sources);
    Ok(watched)
}

/// The items of `split` by their source.
fn sources_of(dataset: &Dataset, split: Split) -> BTreeMap<PathBuf, Vec<&Item>> {
    let mut sources: BTreeMap<PathBuf, Vec<&Item>> = BTreeMap::new();
    for item in dataset
        .items
        .iter()
        .filter(|item| item.split == Some(split))
    {
        sources.entry(item.source.clone()).or_default().push(item);
    }
    sources
}

/// The stretch of a source that may be watched; `None` is all of it.
///
/// # Errors
/// A sentence that says why none may be.
fn stretch_of(dataset: &Dataset, split: Split, path: &Path) -> Result<Option<Span>, String> {
    let of_source = || dataset.items.iter().filter(|item| item.source == path);
    let others: Vec<&Item> = of_source()
        .filter(|item| item.split.is_some_and(|other| other != split))
        .collect();
    if others.is_empty() {
        return Ok(None);
    }
    let refused = || {
        format!(
            "{} holds items of other splits among those of {split}",
            path.display()
        )
    };
    let spans: Option<Vec<Span>> = of_source()
        .filter(|item| item.split == Some(split))
        .map(|item| item.span)
        .collect();
    let spans = spans.ok_or_else(refused)?;
    let start = spans.iter().map(|span| span.start()).min();
    let end = spans.iter().map(|span| span.end()).max();
    let stretch = start
        .zip(end)
        .and_then(|(start, end)| Span::new(start, end))
        .ok_or_else(refused)?;
    let is_apart = |item: &&Item| {
        item.span
            .is_some_and(|span| span.intersection(stretch).is_none())
    };
    match others.iter().all(is_apart) {
        true => Ok(Some(stretch)),
        false => Err(refused()),
    }
}

/// What happened inside `whole`: the events that the data tells of the source, each of the class of the items that it touches,
/// where it tells any; else the labelled spans.
fn truths_of(items: &[&Item], whole: Span) -> Result<Vec<TrueEvent>, Error> {
    let told = items.first().map(|item| item.events());
    let told = told
        .transpose()
        .map_err(|problem| Error::Events { problem })?;
    let Some(events) = told.flatten() else {
        return Ok(events_of(items, whole));
    };
    let inside = events
        .into_iter()
        .filter_map(|event| event.intersection(whole));
    let class_of = |event: Span| {
        let touches = |item: &&&Item| {
            let span = item.span.unwrap_or(whole);
            span.intersection(event).is_some()
        };
        items.iter().find(touches).map(|item| item.label)
    };
    Ok(inside
        .filter_map(|span| {
            Some(TrueEvent {
                class: class_of(span)?,
                span,
            })
        })
        .collect())
}

/// The labelled spans inside `whole`, those of one class that touch as one; an item without a span is all of it.
fn events_of(items: &[&Item], whole: Span) -> Vec<TrueEvent> {
    let mut spans: Vec<(usize, Span)> = items
        .iter()
        .filter_map(|item| Some((item.label, item.span.unwrap_or(whole).intersection(whole)?)))
        .collect();
    spans.sort_by_key(|(class, span)| (*class, span.start(), span.end()));
    let mut events: Vec<TrueEvent> = Vec::new();
    for (class, span) in spans {
        match events.last_mut() {
            Some(last) if last.class == class && span.start() <= last.span.end() => {
                let end = last.span.end().max(span.end());
                last.span = Span::new(last.span.start(), end).unwrap_or(last.span);
            }
            _ => events.push(TrueEvent { class, span }),
        }
    }
    events.sort_by_key(|event| (event.span.start(), event.class));
    events
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use marey_clip::{ClassList, Timestamp};

    use super::*;

    fn span(start: i64, end: i64) -> Span {
        let at = |secs: i64| Timestamp::from_nanos(secs * 1_000_000_000);
        Span::new(at(start), at(end)).expect("a span")
    }

    fn item(source: &str, when: Option<(i64, i64)>, label: usize, split: Split) -> Item {
        Item {
            id: format!("{source} {when:?}"),
            source: source.into(),
            span: when.map(|(start, end)| span(start, end)),
            label,
            group: None,
            split: Some(split),
            metadata: BTreeMap::new(),
        }
    }

    fn dataset(items: Vec<Item>) -> Dataset {
        let names = ["quiet", "fight"].map(str::to_owned).to_vec();
        Dataset {
            classes: ClassList::new(names).expect("two classes"),
            items,
            notes: Vec::new(),
            accepted_leak: None,
        }
    }

    #[test]
    fn spans_that_touch_are_one_event() {
        let items = [
            item("a", Some((4, 6)), 1, Split::Test),
            item("a", Some((2, 4)), 1, Split::Test),
            item("a", Some((8, 30)), 1, Split::Test),
            item("a", Some((0, 2)), 0, Split::Test),
        ];
        let found = events_of(&items.iter().collect::<Vec<_>>(), span(0, 10));
        let expected = [(0, span(0, 2)), (1, span(2, 6)), (1, span(8, 10))];
        assert_eq!(
            found.iter().map(|e| (e.class, e.span)).collect::<Vec<_>>(),
            expected
        );
        let whole = item("b", None, 1, Split::Test);
        assert_eq!(events_of(&[&whole], span(0, 9))[0].span, span(0, 9));
    }

    #[test]
    fn events_that_the_data_tells_count_not_the_windows_that_touch_them() {
        let told = |when, label, events: &str| {
            let mut item = item("a", Some(when), label, Split::Test);
            item.metadata.insert("events".into(), events.into());
            item
        };
        let items = [told((0, 4), 0, "5-7"), told((4, 8), 1, "5-7")];
        let truths = |items: &[Item]| {
            let truths = truths_of(&items.iter().collect::<Vec<_>>(), span(0, 8));
            truths.map(|truths| truths.iter().map(|e| (e.class, e.span)).collect::<Vec<_>>())
        };
        assert_eq!(truths(&items).expect("events"), [(1, span(5, 7))]);
        assert_eq!(truths(&[told((0, 8), 0, "none")]).expect("none"), []);
        assert!(truths(&[told((0, 8), 0, "7-5")]).is_err());
        // Nobody said: the labelled spans.
        let plain = [item("a", Some((0, 4)), 1, Split::Test)];
        assert_eq!(truths(&plain).expect("spans"), [(1, span(0, 4))]);
    }

    #[test]
    fn what_another_split_learned_is_not_watched() {
        let test = |when| item("a", when, 1, Split::Test);
        let train = |when| item("a", when, 0, Split::Train);
        let check = |items: Vec<Item>| stretch_of(&dataset(items), Split::Test, Path::new("a"));
        // All of it is of one split.
        assert_eq!(check(vec![test(Some((2, 4)))]), Ok(None));
        // The test items come after the training items: only their stretch is watched.
        let items = vec![
            train(Some((0, 9))),
            test(Some((10, 12))),
            test(Some((14, 20))),
        ];
        assert_eq!(check(items), Ok(Some(span(10, 20))));
        // A training item lies among them.
        let items = vec![test(Some((0, 2))), train(Some((3, 4))), test(Some((5, 6)))];
        assert!(check(items).expect_err("among").contains("other splits"));
        assert!(check(vec![test(None), train(Some((0, 1)))]).is_err());
    }
}
