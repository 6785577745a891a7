//! Figures of whole recordings: events and anomalies, in sliding windows.

use anyhow::{Context, Result, bail};
use marey::{
    data::{Dataset, Split},
    eval::{Report, Windowed, judge_anomalies, judge_recordings},
    infer::{Watched, Windowing, watch},
    train::{EventsConfig, Recipe},
};

use crate::{
    judge::{Evaluated, bootstrap},
    progress::Bar,
};

/// Checks `[eval.events]` and `[eval.anomaly]` against the data, before anything is trained or judged.
pub(crate) fn check(recipe: &Recipe, dataset: &Dataset) -> Result<()> {
    if let Some(events) = &recipe.eval.events {
        is_event(events, dataset)?;
        windowing("eval.events", [events.window, events.hop], dataset)?;
    }
    if let Some(anomaly) = &recipe.eval.anomaly {
        normal_class(&anomaly.normal, dataset)?;
        windowing("eval.anomaly", [anomaly.window, anomaly.hop], dataset)?;
    }
    Ok(())
}

/// Puts the figures of whole recordings into `report` that the recipe asks for, and those of events where `with_events` is set.
pub(crate) fn add(report: &mut Report, evaluated: &Evaluated<'_>, with_events: bool) -> Result<()> {
    let dataset = &evaluated.data.dataset;
    let classes = dataset.classes.names();
    let config = &evaluated.recipe.eval;
    let bootstrap = &bootstrap(evaluated.recipe);
    let default = EventsConfig::default();
    let events = config.events.as_ref().or(with_events.then_some(&default));
    // Both are often asked for with the same windows.
    let mut known: Option<(Windowing, Watched)> = None;
    if let Some(events) = events {
        let is_event = is_event(events, dataset)?;
        let windowing = windowing("eval.events", [events.window, events.hop], dataset)?;
        let watched = watched(evaluated, &windowing)?;
        if watched.recordings.is_empty() {
            bail!(
                "no recording can be judged for events: {}",
                watched.left_out.join("; ")
            );
        }
        report.events = Some(judge_recordings(
            classes,
            &is_event,
            &watched.recordings,
            &windowed(&windowing, &watched),
            (&events.alarm_rules(), &events.event_rules()),
            bootstrap,
        )?);
        known = Some((windowing, watched));
    }
    if let Some(anomaly) = &config.anomaly {
        let normal = normal_class(&anomaly.normal, dataset)?;
        let windowing = windowing("eval.anomaly", [anomaly.window, anomaly.hop], dataset)?;
        let watched = match known {
            Some((known, watched)) if known == windowing => watched,
            _ => watched(evaluated, &windowing)?,
        };
        report.anomalies = Some(judge_anomalies(
            classes,
            normal,
            &watched.recordings,
            &windowed(&windowing, &watched),
            (anomaly.top, anomaly.over),
            bootstrap,
        )?);
    }
    Ok(())
}

fn watched(evaluated: &Evaluated<'_>, windowing: &Windowing) -> Result<Watched> {
    let mut bar = Bar::new("recordings");
    Ok(watch(
        evaluated.predictor,
        &evaluated.data.dataset,
        evaluated.split,
        windowing,
        evaluated.recipe.data.unreadable,
        &mut |done, total| bar.show("watching", done, total, ""),
    )?)
}

fn windowed(windowing: &Windowing, watched: &Watched) -> Windowed {
    Windowed {
        window_sec: windowing.length().as_secs_f64(),
        hop_sec: windowing.hop().as_secs_f64(),
        left_out: watched.left_out.clone(),
    }
}

/// For each class whether it is an event.
fn is_event(events: &EventsConfig, dataset: &Dataset) -> Result<Vec<bool>> {
    let classes = dataset.classes.names();
    if let Some(unknown) = events
        .background
        .iter()
        .find(|name| !classes.contains(name))
    {
        bail!(
            "eval.events.background names {unknown:?}, which is no class: there are {}",
            classes.join(", ")
        );
    }
    let is_event: Vec<bool> = classes
        .iter()
        .map(|class| !events.background.contains(class))
        .collect();
    if !is_event.contains(&true) {
        bail!("eval.events.background names every class: there is no event left to find");
    }
    Ok(is_event)
}

fn normal_class(name: &str, dataset: &Dataset) -> Result<usize> {
    dataset.classes.index(name).with_context(|| {
        format!(
            "eval.anomaly.normal names {name:?}, which is no class: there are {}",
            dataset.classes.names().join(", ")
        )
    })
}

/// The windows that are asked for; by default as long as half of the labelled training spans are at most, half a window apart.
fn windowing(
    section: &str,
    [window, hop]: [Option<f64>; 2],
    dataset: &Dataset,
) -> Result<Windowing> {
    let length = match window {
        Some(length) => length,
        None => median_span_sec(dataset).with_context(|| {
            format!(
                "no training item is a span of a recording, so nothing says how long a window is: set {section}.window, \
                 in seconds"
            )
        })?,
    };
    Ok(Windowing::new(length, Some(hop.unwrap_or(length / 2.0)))?)
}

fn median_span_sec(dataset: &Dataset) -> Option<f64> {
    let items = dataset.items.iter();
    let mut lengths: Vec<f64> = items
        .filter(|item| item.split == Some(Split::Train))
        .filter_map(|item| Some(item.span?.duration().as_secs_f64()))
        .collect();
    lengths.sort_unstable_by(f64::total_cmp);
    lengths.get(lengths.len() / 2).copied()
}
