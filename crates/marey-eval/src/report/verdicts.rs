//! Verdicts on whole recordings: anomalous or normal, at the threshold of the validation split.

use std::fmt::{self, Formatter};

use super::Report;
use super::page::table;
use super::recordings::{HEADS, row, short};
use crate::plot::escape;
use crate::table::{count, percent, range};
use crate::{Interval, RecordingAnomalies, VerdictThreshold, Verdicts};

/// The part of the section about anomalies that holds the verdicts, or why there are none.
pub(super) fn verdicts(report: &Report, anomalies: &RecordingAnomalies) -> String {
    let heading = "<h3>Verdict by recording</h3>\n";
    let Some(verdicts) = &anomalies.verdicts else {
        let reason = anomalies.no_verdicts.as_deref();
        return reason
            .map(|reason| format!("{heading}<p>None: {}.</p>\n", escape(reason)))
            .unwrap_or_default();
    };
    let own = match report.split.as_str() {
        "validation" => " It was chosen on this very split, so these figures flatter it.",
        _ => "",
    };
    let rows: Vec<_> = verdicts.figures.iter().map(row).collect();
    format!(
        "{heading}<p>A recording is called anomalous where the {} is at least {}. {}{own}</p>\n{}{}",
        escape(&verdicts.aggregate),
        short(verdicts.threshold.chosen.threshold),
        escape(&threshold_in_words(&verdicts.threshold)),
        confusion(verdicts),
        table("tight", &HEADS, &rows),
    )
}

/// Where the threshold comes from.
fn threshold_in_words(threshold: &VerdictThreshold) -> String {
    let chosen = &threshold.chosen;
    let by = match threshold.costs {
        None => "normal and anomalous recordings weigh the same".to_owned(),
        Some(costs) => format!(
            "a false alarm costs {} and a miss {}",
            short(costs.false_alarm),
            short(costs.miss)
        ),
    };
    format!(
        "The threshold was chosen on the validation split ({}, {} anomalous), where {by}: {} and {} there.",
        count(chosen.support, "recording"),
        threshold.anomalous,
        count(chosen.false_alarms as usize, "false alarm"),
        match chosen.misses {
            1 => "1 miss".to_owned(),
            misses => format!("{misses} misses"),
        },
    )
}

/// Truth by row, verdict by column, each with its share of the row and that share's interval.
fn confusion(verdicts: &Verdicts) -> String {
    let interval_of = |name: &str| {
        let figure = verdicts.figures.iter().find(|figure| figure.name == name);
        figure.map(crate::Figure::widest_interval)
    };
    let called = [interval_of("false_alarm_rate"), interval_of("recall")];
    let rows: Vec<Vec<String>> = ["normal", "anomalous"]
        .iter()
        .zip(verdicts.confusion)
        .zip(called)
        .map(|((truth, counts), called)| {
            let total = counts[0] + counts[1];
            let not_called = called.map(|interval| Interval {
                low: 1.0 - interval.high,
                high: 1.0 - interval.low,
                ..interval
            });
            let cell = |idx: usize, interval: Option<Interval>| {
                let share = percent(counts[idx] as f64 / total as f64);
                let range = interval
                    .map(|interval| range(&interval))
                    .unwrap_or_default();
                format!("<b>{}</b><small>{share} ({range})</small>", counts[idx])
            };
            vec![
                format!("<b>{truth}</b><small>{}</small>", count(total, "recording")),
                cell(0, not_called),
                cell(1, called),
            ]
        })
        .collect();
    let heads = ["Truth", "Called normal", "Called anomalous"];
    table("tight", &heads, &rows)
}

/// The verdicts as text, a line a figure, or why there are none.
pub(super) fn write_text(f: &mut Formatter<'_>, anomalies: &RecordingAnomalies) -> fmt::Result {
    if let Some(reason) = &anomalies.no_verdicts {
        writeln!(f, "no verdict by recording: {reason}")?;
    }
    let Some(verdicts) = &anomalies.verdicts else {
        return Ok(());
    };
    let [[quiet, false_alarms], [missed, found]] = verdicts.confusion;
    writeln!(
        f,
        "verdict by recording, {} of at least {}: {found} anomalies found and {missed} missed, {quiet} normal recordings \
         told and {} raised",
        verdicts.aggregate,
        short(verdicts.threshold.chosen.threshold),
        count(false_alarms, "false alarm"),
    )?;
    writeln!(f, "  {}", threshold_in_words(&verdicts.threshold))?;
    super::recordings::lines(f, &verdicts.figures)
}
