//! How far to trust a score: calibration, and the items of which the model is unsure.

use super::Report;
use super::page::{Section, capitalised, figure, table, unbroken};
use super::sections::figure_row;
use crate::plot::{Plot, escape};
use crate::table::{count, percent};
use crate::{CalibrationFigures, Figure, Selective};

pub(super) fn trust(report: &Report, plots: &[Plot]) -> Option<Section> {
    let (reliability, coverage) = (figure(plots, "reliability"), figure(plots, "coverage"));
    if reliability.is_empty() && coverage.is_empty() {
        return None;
    }
    let mut body = format!("<div class=\"plots\">\n{reliability}{coverage}</div>\n");
    if let Some(calibration) = &report.calibration {
        body += &calibrated(calibration, report);
    }
    if let Some(selective) = &report.selective {
        body += &answered(selective, report);
    }
    Some(Section {
        heading: "How far to trust a score",
        body,
    })
}

/// Where the scores were changed on the very items that are judged, nothing is learned from them.
fn same_split_note(report: &Report) -> &'static str {
    if report.split == "validation" {
        " They were fitted on this very split, so these figures say nothing about new data."
    } else {
        ""
    }
}

fn calibrated(calibration: &CalibrationFigures, report: &Report) -> String {
    let rows: Vec<Vec<String>> = calibration
        .after
        .iter()
        .map(|after| {
            let cell = |figure: &Figure| {
                format!(
                    "<b>{}</b><small>{}</small>",
                    figure.scale.text(figure.value),
                    figure.scale.range_text(&figure.widest_interval())
                )
            };
            let before = calibration
                .before
                .iter()
                .find(|before| before.name == after.name);
            let change = calibration
                .changes
                .iter()
                .find(|change| change.figure == after.name)
                .map_or("-".to_owned(), |change| {
                    format!(
                        "<b>{}{}</b><small>{}</small>",
                        change.scale.difference_text(change.difference),
                        change.scale.difference_unit(),
                        change.scale.difference_range_text(&change.interval)
                    )
                });
            vec![
                escape(&capitalised(&after.title)),
                before.map_or("-".to_owned(), cell),
                cell(after),
                change,
            ]
        })
        .collect();
    let accuracy = calibration
        .changes
        .iter()
        .find(|change| change.figure == "top1" && change.difference != 0.0)
        .map(|change| {
            format!(
                " It changes answers: top-1 accuracy {} points ({}).",
                change.scale.difference_text(change.difference),
                change.scale.difference_range_text(&change.interval)
            )
        })
        .unwrap_or_default();
    format!(
        "<h3>Calibration: {}</h3>\n<p>Fitted on {} of the validation split; every score of the bundle goes through it.{}{}</p>\n{}",
        escape(&calibration.description),
        count(calibration.fitted_on, "item"),
        escape(&accuracy),
        same_split_note(report),
        table("tight", &["Figure", "Before", "After", "Change"], &rows)
    )
}

fn answered(selective: &Selective, report: &Report) -> String {
    let full = report
        .classification
        .figure("top1")
        .map(|top1| {
            let interval = top1.widest_interval();
            format!(
                " (95 % interval {})",
                top1.scale.range_text(&crate::Interval {
                    low: 1.0 - interval.high,
                    high: 1.0 - interval.low,
                    method: interval.method,
                })
            )
        })
        .unwrap_or_default();
    let use_of = match &selective.rejection {
        Some(rejected) => format!(
            "Below a score of {:.3} the bundle says “uncertain” ({}).{}",
            rejected.below,
            rejected.rule,
            same_split_note(report)
        ),
        None => "The bundle answers always: no threshold is set.".to_owned(),
    };
    let of_rejection = selective.rejection.iter().flat_map(|r| &r.figures);
    let rows: Vec<Vec<String>> = of_rejection
        .chain(&selective.figures)
        .map(figure_row)
        .collect();
    format!(
        "<h3>Answers and silence</h3>\n<p>{}</p>\n{}",
        unbroken(&escape(&format!(
            "Where every item is answered {} of the answers are wrong{full}. {use_of}",
            percent(selective.full_risk()),
        ))),
        table(
            "tight",
            &["Figure", "Value", "95 % interval", "Baseline"],
            &rows
        )
    )
}
