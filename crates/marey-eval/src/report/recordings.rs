//! Whole recordings: events, and anomalies by frame and by video.

use super::Report;
use super::page::{Section, capitalised, table};
use super::sections::method_name;
use super::verdicts;
use crate::plot::escape;
use crate::table::count;
use crate::{Figure, RecordingAnomalies, RecordingEvents};

pub(super) const HEADS: [&str; 4] = ["Figure", "Value", "95 % interval", "Baseline"];

/// Figures of the binary judge that the page shows; report.json has all.
const OF_ANOMALIES: [&str; 3] = ["roc_auc", "average_precision", "tpr_at_5_fpr"];

pub(super) fn events(report: &Report) -> Option<Section> {
    let events = report.events.as_ref()?;
    let [found, missed, false_alarms] = events.counts;
    let background = match &events.background[..] {
        [] => "Every class is an event.".to_owned(),
        names => format!("No events: {}.", names.join(", ")),
    };
    let delays = events
        .delay_quantiles_sec
        .map(|[low, middle, high]| {
            format!(
                " One in ten of the found events was reported within {low:.1} s, half within {middle:.1} s, nine in ten \
                 within {high:.1} s."
            )
        })
        .unwrap_or_default();
    let rows: Vec<_> = events.figures.iter().map(row).collect();
    let body = format!(
        "<p>{} watched in windows of {} s, {} s apart: {} hours with {}. {found} found, {missed} missed, {}.{} {}</p>\n{}{}{}",
        count(events.recordings, "recording"),
        short(events.window_sec),
        short(events.hop_sec),
        short(events.hours),
        count(events.events, "event"),
        count(false_alarms, "false alarm"),
        escape(&delays),
        escape(&background),
        table("tight", &HEADS, &rows),
        definitions(&events.figures),
        left_out(&events.left_out),
    );
    Some(Section {
        heading: "Events in recordings",
        body,
    })
}

pub(super) fn anomalies(report: &Report) -> Option<Section> {
    let anomalies = report.anomalies.as_ref()?;
    let RecordingAnomalies {
        normal,
        has_own_score,
        window_sec,
        hop_sec,
        recordings,
        anomalous,
        ..
    } = anomalies;
    let mut body = format!(
        "<p>{}, {anomalous} with something anomalous, in windows of {} s, {} s apart. The anomaly score of a window is {}.</p>\n",
        count(*recordings, "recording"),
        short(*window_sec),
        short(*hop_sec),
        match has_own_score {
            true => "the model's own probability that something anomalous happens".to_owned(),
            false => format!("1 less its score of {}", escape(&format!("{normal:?}"))),
        },
    );
    let shown = |figures: &[Figure]| -> Vec<Figure> {
        let known = figures.iter();
        known
            .filter(|figure| OF_ANOMALIES.contains(&&*figure.name))
            .cloned()
            .collect()
    };
    if anomalies.frames.is_empty() {
        body += "<p>All frames are normal, or all anomalous: there is nothing to tell apart.</p>\n";
    } else {
        let rows: Vec<_> = shown(&anomalies.frames).iter().map(row).collect();
        body += &format!(
            "<h3>By frame</h3>\n<p class=\"note\">Each frame against the labelled spans. Frames of one recording are no \
             independent evidence, so whole recordings or groups are drawn.</p>\n{}",
            table("tight", &HEADS, &rows)
        );
    }
    for videos in &anomalies.videos {
        let rows: Vec<_> = shown(&videos.figures).iter().map(row).collect();
        body += &format!(
            "<h3>By recording: {}</h3>\n{}",
            escape(&videos.aggregate),
            table("tight", &HEADS, &rows)
        );
    }
    body += &verdicts::verdicts(report, anomalies);
    body += &left_out(&anomalies.left_out);
    Some(Section {
        heading: "Anomalies in recordings",
        body,
    })
}

pub(super) fn row(figure: &Figure) -> Vec<String> {
    let interval = figure.widest_interval();
    vec![
        escape(&capitalised(&figure.title)),
        format!("<b>{}</b>", figure.scale.text(figure.value)),
        format!(
            "<b>{}</b><small>{}</small>",
            figure.scale.range_text(&interval),
            method_name(&interval)
        ),
        format!(
            "<span class=\"num\">{}</span><small>{}</small>",
            figure.scale.text(figure.baseline.value),
            escape(&figure.baseline.name)
        ),
    ]
}

fn definitions(figures: &[Figure]) -> String {
    let entries: String = figures
        .iter()
        .map(|figure| {
            format!(
                "<dt>{}</dt><dd>{}.</dd>\n",
                escape(&capitalised(&figure.title)),
                escape(&capitalised(&figure.definition))
            )
        })
        .collect();
    format!("<dl>\n{entries}</dl>\n")
}

fn left_out(reasons: &[String]) -> String {
    if reasons.is_empty() {
        return String::new();
    }
    let entries: String = reasons
        .iter()
        .map(|reason| format!("<li>{}</li>\n", escape(reason)))
        .collect();
    format!("<h3>Left out</h3>\n<ul>\n{entries}</ul>\n")
}

/// A number with as many digits as help.
pub(super) fn short(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl std::fmt::Display for RecordingEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hours = short(self.hours);
        writeln!(
            f,
            "events in {} ({hours} hours)",
            count(self.recordings, "recording")
        )?;
        lines(f, &self.figures)
    }
}

impl std::fmt::Display for RecordingAnomalies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "anomalies in {}, by frame",
            count(self.recordings, "recording")
        )?;
        lines(f, &self.frames)?;
        for videos in &self.videos {
            writeln!(f, "by recording, {}", videos.aggregate)?;
            lines(f, &videos.figures)?;
        }
        verdicts::write_text(f, self)
    }
}

/// A line a figure.
pub(super) fn lines(f: &mut std::fmt::Formatter<'_>, figures: &[Figure]) -> std::fmt::Result {
    for figure in figures {
        writeln!(
            f,
            "  {}: {} ({}), against {} for {}",
            figure.title,
            figure.scale.text(figure.value),
            figure.scale.range_text(&figure.widest_interval()),
            figure.scale.text(figure.baseline.value),
            figure.baseline.name
        )?;
    }
    Ok(())
}
