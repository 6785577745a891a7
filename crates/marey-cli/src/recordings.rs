//! Figures of whole recordings: events and anomalies, in sliding windows.

use anyhow::{Context, Result, bail};
use marey::{
    data::{Dataset, Split},
    eval::{
        BinaryScored, Report, Validation, VerdictThreshold, Windowed, judge_anomalies,
        judge_recordings, judge_verdicts, video_scores,
    },
    infer::{Watched, Windowing, watch},
    train::{AnomalyConfig, EventsConfig, Recipe},
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
        normal_class(recipe, dataset)?;
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
        let watched = watched(evaluated, evaluated.split, &windowing)?;
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
        let normal = normal_class(evaluated.recipe, dataset)?;
        let windowing = windowing("eval.anomaly", [anomaly.window, anomaly.hop], dataset)?;
        let watched = match known {
            Some((known, watched)) if known == windowing => watched,
            _ => watched(evaluated, evaluated.split, &windowing)?,
        };
        let mut found = judge_anomalies(
            classes,
            normal,
            &watched.recordings,
            &windowed(&windowing, &watched),
            (anomaly.top, anomaly.over),
            bootstrap,
        )?;
        let aggregate = anomaly.verdict_aggregate();
        let judged = video_scores(&watched.recordings, normal, aggregate)?;
        match verdict_threshold(evaluated, anomaly, &judged, &windowing)? {
            Ok(threshold) => {
                let by = aggregate.to_string();
                found.verdicts = Some(judge_verdicts(&judged, &by, threshold, bootstrap)?);
            }
            Err(reason) => found.no_verdicts = Some(reason),
        }
        report.anomalies = Some(found);
    }
    Ok(())
}

/// The threshold of the verdicts on the recordings `judged`, chosen on the validation split; or a sentence that says why there
/// is none.
fn verdict_threshold(
    evaluated: &Evaluated<'_>,
    anomaly: &AnomalyConfig,
    judged: &[BinaryScored],
    windowing: &Windowing,
) -> Result<Result<VerdictThreshold, String>> {
    let dataset = &evaluated.data.dataset;
    if let Some(kind) = only_kind(judged) {
        return Ok(Err(format!(
            "all judged recordings are {kind}, so a verdict cannot be judged"
        )));
    }
    if dataset.indices(Split::Validation).is_empty() {
        return Ok(Err(
            "a threshold is chosen on the validation split, and the data has none".to_owned(),
        ));
    }
    let validation = match evaluated.split {
        Split::Validation => judged.to_vec(),
        _ => {
            let normal = normal_class(evaluated.recipe, dataset)?;
            let watched = watched(evaluated, Split::Validation, windowing)?;
            video_scores(&watched.recordings, normal, anomaly.verdict_aggregate())?
        }
    };
    if let Some(kind) = only_kind(&validation) {
        return Ok(Err(format!(
            "a threshold is chosen on recordings of both kinds, and all of the validation split are {kind}"
        )));
    }
    let validation = Validation::of_split(Split::Validation.name(), validation.as_slice())?;
    Ok(Ok(VerdictThreshold::choose(&validation, anomaly.costs)?))
}

/// What all recordings are, where they are all alike; "left out" where there are none.
fn only_kind(recordings: &[BinaryScored]) -> Option<&'static str> {
    let anomalous = recordings.iter().filter(|it| it.is_positive).count();
    match anomalous {
        _ if recordings.is_empty() => Some("left out"),
        0 => Some("normal"),
        all if all == recordings.len() => Some("anomalous"),
        _ => None,
    }
}

fn watched(evaluated: &Evaluated<'_>, split: Split, windowing: &Windowing) -> Result<Watched> {
    let mut bar = Bar::new("recordings");
    let prefix = match split == evaluated.split {
        true => "watching".to_owned(),
        false => format!("watching {}", split.name()),
    };
    Ok(watch(
        evaluated.predictor,
        &evaluated.data.dataset,
        split,
        windowing,
        evaluated.recipe.data.unreadable,
        &mut |done, total| bar.show(&prefix, done, total, ""),
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

fn normal_class(recipe: &Recipe, dataset: &Dataset) -> Result<usize> {
    let name = recipe.normal().context(
        "a recipe with [eval.anomaly] has a normal class: it was checked when it was read",
    )?;
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
