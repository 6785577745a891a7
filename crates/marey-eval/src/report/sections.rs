//! The sections of `report.html`. Each gives `None` where there is nothing to say.

use super::page::{Section, breakable, capitalised, figure, table};
use super::{DataSection, Report};
use crate::plot::{Plot, escape};
use crate::table::{count, percent, range};
use crate::{
    ClassFigures, Comparison, Estimate, Figure, Finding, Interval, IntervalMethod, Severity,
};

/// Most skipped items listed on the page; `report.json` has all.
const MAX_SKIPPED: usize = 50;

/// Most items named with a finding; `report.json` has all.
const MAX_FINDING_ITEMS: usize = 8;

pub(super) fn figures(report: &Report, plots: &[Plot]) -> Option<Section> {
    let classification = &report.classification;
    // Macro recall is the same number as mean class accuracy; both are in report.json.
    let shown: Vec<&Figure> = classification
        .figures
        .iter()
        .filter(|figure| figure.name != "macro_recall")
        .collect();
    let rows: Vec<Vec<String>> = shown.iter().map(|figure| figure_row(figure)).collect();
    let heads = ["Figure", "Value", "95 % interval", "Baseline"];
    let definitions: String = shown
        .iter()
        .map(|figure| {
            let (title, definition) = (capitalised(&figure.title), capitalised(&figure.definition));
            format!(
                "<dt>{}</dt><dd>{}.</dd>\n",
                escape(&title),
                escape(&definition)
            )
        })
        .collect();
    let body = format!(
        "<div class=\"plots\">\n<div>{}</div>\n{}</div>\n<p class=\"note\">{} Baseline: {}.</p>\n\
         <h3>What the figures mean</h3>\n<dl>\n{definitions}</dl>\n",
        table("", &heads, &rows),
        figure(plots, "figures"),
        interval_note(&shown),
        baseline_note(&shown),
    );
    Some(section("Figures", body))
}

pub(super) fn figure_row(figure: &Figure) -> Vec<String> {
    let believed = figure.widest_interval();
    let mut interval = format!(
        "<b>{}</b><small>{}</small>",
        figure.scale.range_text(&believed),
        method_name(&believed)
    );
    if let Some(group) = figure.group_interval {
        let other = if believed == group {
            figure.interval
        } else {
            group
        };
        let range = figure.scale.range_text(&other);
        interval += &format!("<small>{range} {}</small>", method_name(&other));
    }
    vec![
        escape(&capitalised(&figure.title)),
        format!(
            "<b>{}</b><small>{}</small>",
            figure.scale.text(figure.value),
            count(figure.support, "item")
        ),
        interval,
        format!(
            "<span class=\"num\">{}</span>",
            figure.scale.text(figure.baseline.value)
        ),
    ]
}

pub(super) fn method_name(interval: &Interval) -> &'static str {
    match interval.method {
        IntervalMethod::Wilson => "Wilson",
        IntervalMethod::Poisson => "Poisson",
        IntervalMethod::GroupBootstrap { .. } => "by group",
        IntervalMethod::ItemBootstrap { .. } => "by item",
    }
}

/// What the baselines are: the first, and where others are used, for which figures.
fn baseline_note(figures: &[&Figure]) -> String {
    let mut names: Vec<(&str, Vec<&str>)> = Vec::new();
    for figure in figures {
        let name = figure.baseline.name.as_str();
        match names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, titles)) => titles.push(&figure.title),
            None => names.push((name, vec![&figure.title])),
        }
    }
    let notes = names
        .iter()
        .enumerate()
        .map(|(idx, (name, titles))| match idx {
            0 => escape(name),
            _ => escape(&format!("for {}: {name}", titles.join(", "))),
        });
    notes.collect::<Vec<_>>().join("; ")
}

/// What the short names of the methods in the table stand for.
fn interval_note(figures: &[&Figure]) -> String {
    let bootstrap = figures
        .iter()
        .map(|figure| figure.interval.method)
        .find_map(|method| match method {
            IntervalMethod::Wilson | IntervalMethod::Poisson => None,
            IntervalMethod::GroupBootstrap { draws, groups } => Some(format!(
                "“By group”: from {draws} draws of whole groups out of {groups}, for another choice \
                 of groups. "
            )),
            IntervalMethod::ItemBootstrap { draws, items } => Some(format!(
                "“By item”: from {draws} draws of single items out of {items}. "
            )),
        });
    format!(
        "{}“Wilson”: of a share, with every item independent of the others; also where every draw \
         gave 0 or 100 %. Where there are two, the wider one comes first and decides the verdict.",
        bootstrap.unwrap_or_default()
    )
}

pub(super) fn comparisons(report: &Report) -> Option<Section> {
    let comparisons = &report.classification.comparisons;
    if comparisons.is_empty() {
        return None;
    }
    let body: String = comparisons.iter().map(comparison).collect();
    Some(section("Beside other predictors", body))
}

fn comparison(comparison: &Comparison) -> String {
    let rows: Vec<Vec<String>> = comparison
        .differences
        .iter()
        .filter(|difference| difference.figure != "macro_recall")
        .map(|difference| {
            let scale = difference.scale;
            let unit = scale.difference_unit();
            vec![
                capitalised(&escape(&difference.title)),
                format!("<b>{}</b>", scale.text(difference.model)),
                format!(
                    "{}<small>{}</small>",
                    scale.text(difference.baseline),
                    scale.range_text(&difference.baseline_interval)
                ),
                format!(
                    "<b>{}{unit}</b><small>{}</small>",
                    scale.difference_text(difference.difference),
                    scale.difference_range_text(&difference.interval)
                ),
            ]
        })
        .collect();
    let heads = ["Figure", "Model", "Other", "Difference"];
    format!(
        "<h3>{}</h3>\n<p class=\"note\">On the same {}; the interval of a difference is drawn in \
         pairs.</p>\n{}",
        escape(&comparison.name),
        count(comparison.support, "item"),
        table("", &heads, &rows)
    )
}

pub(super) fn classes(report: &Report, plots: &[Plot]) -> Option<Section> {
    let classification = &report.classification;
    let rows: Vec<Vec<String>> = classification.per_class.iter().map(class_row).collect();
    let heads = ["Class", "Recall", "Precision", "F1", "Predicted"];
    let body = format!(
        "<div class=\"plots\">\n{}{}</div>\n{}<p class=\"note\">Under each figure its 95 % interval \
         (Wilson's for recall and precision, bootstrap for F1) and what the baseline gets. Wilson's \
         takes items as independent; it is too narrow where items share a group.</p>\n",
        figure(plots, "confusion_matrix"),
        figure(plots, "class_recall"),
        table("named", &heads, &rows)
    );
    Some(section("Classes", body))
}

fn class_row(class: &ClassFigures) -> Vec<String> {
    let estimate = |estimate: &Estimate| {
        let baseline = percent(estimate.baseline);
        match estimate.support {
            0 => format!("-<small>nothing known</small><small>baseline {baseline}</small>"),
            _ => format!(
                "<b>{}</b><small>{}</small><small>baseline {baseline}</small>",
                percent(estimate.value),
                range(&estimate.interval)
            ),
        }
    };
    let training = match class.train_support {
        Some(count) => format!("{count} in training"),
        None => "training unknown".to_owned(),
    };
    vec![
        format!(
            "{}<small>{}</small><small>{training}</small>",
            breakable(&class.name),
            count(class.support, "item")
        ),
        estimate(&class.recall),
        estimate(&class.precision),
        estimate(&class.f1),
        class.predicted.to_string(),
    ]
}

pub(super) fn training(plots: &[Plot]) -> Option<Section> {
    let figures: String = ["loss", "validation_metrics", "learning_rate"]
        .iter()
        .map(|name| figure(plots, name))
        .collect();
    if figures.is_empty() {
        return None;
    }
    Some(section(
        "Training",
        format!("<div class=\"plots\">\n{figures}</div>\n"),
    ))
}

pub(super) fn findings(report: &Report) -> Option<Section> {
    if report.findings.is_empty() {
        return None;
    }
    let entries: String = report.findings.iter().map(finding).collect();
    let body = format!(
        "<p>What the check of the data found, the gravest first. It was made before the model was judged.</p>\n\
         <ul class=\"findings\">\n{entries}</ul>\n"
    );
    Some(section("Findings in the data", body))
}

fn finding(finding: &Finding) -> String {
    let (class, name) = match finding.severity {
        Severity::Stop => ("stop", "Figures flatter the model"),
        Severity::Warning => ("warning", "Figures may mislead"),
        Severity::Note => ("note", "Worth knowing"),
    };
    let mut entry = format!(
        "<li class=\"{class}\"><b>{name}</b>{}",
        escape(&capitalised(&finding.sentence))
    );
    if !finding.items.is_empty() {
        let shown = finding.items.iter().take(MAX_FINDING_ITEMS);
        let mut items = shown
            .map(|item| breakable(item))
            .collect::<Vec<_>>()
            .join(", ");
        if finding.items.len() > MAX_FINDING_ITEMS {
            items += &format!(" and {} more", finding.items.len() - MAX_FINDING_ITEMS);
        }
        entry += &format!("<small>{items}</small>");
    }
    if let Some(command) = &finding.command {
        entry += &format!("<pre>{}</pre>", escape(command));
    }
    entry + "</li>\n"
}

pub(super) fn data(report: &Report, plots: &[Plot]) -> Option<Section> {
    let data = &report.data;
    if *data == DataSection::default() {
        return None;
    }
    let mut body = String::new();
    if !data.source.is_empty() {
        body += &format!("<p>{}</p>\n", escape(&data.source));
    }
    if !data.splits.is_empty() {
        let rows: Vec<Vec<String>> = data
            .splits
            .iter()
            .map(|split| {
                let groups = split
                    .groups
                    .map_or("unknown".to_owned(), |groups| groups.to_string());
                let empty = split.per_class.iter().filter(|&&count| count == 0).count();
                vec![
                    escape(&split.split),
                    split.items.to_string(),
                    groups,
                    empty.to_string(),
                ]
            })
            .collect();
        body += &table(
            "",
            &["Split", "Items", "Groups", "Classes without item"],
            &rows,
        );
    }
    body += &figure(plots, "label_counts");
    if !data.notes.is_empty() {
        let notes: String = data
            .notes
            .iter()
            .map(|note| format!("<li>{}</li>\n", escape(note)))
            .collect();
        body += &format!("<h3>What the importer noted</h3>\n<ul>\n{notes}</ul>\n");
    }
    if !data.skipped.is_empty() {
        let rows: Vec<Vec<String>> = data
            .skipped
            .iter()
            .take(MAX_SKIPPED)
            .map(|skipped| vec![breakable(&skipped.item), escape(&skipped.reason)])
            .collect();
        body += &format!(
            "<h3>Skipped: {}</h3>\n<p>They could not be read and are in no figure.</p>\n{}",
            count(data.skipped.len(), "item"),
            table("words named", &["Item", "Why"], &rows)
        );
    }
    Some(section("Data", body))
}

pub(super) fn recipe(report: &Report) -> Option<Section> {
    if report.recipe.is_empty() {
        return None;
    }
    Some(section(
        "Recipe",
        format!("<pre>{}</pre>\n", escape(report.recipe.trim_end())),
    ))
}

pub(super) fn reproduce(report: &Report) -> Option<Section> {
    let origin = &report.origin;
    if origin.command.is_empty() {
        return None;
    }
    let mut facts = vec![
        ("Seed".to_owned(), origin.seed.to_string()),
        ("Version".to_owned(), origin.version.clone()),
        ("Device".to_owned(), origin.device.clone()),
        ("Kernels".to_owned(), origin.kernels.clone()),
        (
            "Wall time".to_owned(),
            origin.wall_time_sec.map(duration).unwrap_or_default(),
        ),
        (
            "Peak memory".to_owned(),
            origin.peak_memory_bytes.map(mebibytes).unwrap_or_default(),
        ),
    ];
    facts.extend(origin.facts.iter().cloned());
    let facts: String = facts
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value)))
        .collect();
    let body = format!(
        "<pre>{}</pre>\n<dl>\n{facts}</dl>\n",
        escape(&origin.command)
    );
    Some(section("How to get this again", body))
}

fn section(heading: &'static str, body: String) -> Section {
    Section { heading, body }
}

/// Seconds for people: `42.1 s`, `12 min 5 s`, `3 h 4 min`.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=99 => format!("{seconds:.1} s"),
        100..=7199 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let cases = [
            (4.26, "4.3 s"),
            (725.0, "12 min 5 s"),
            (11_059.0, "3 h 4 min"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected);
        }
    }
}
