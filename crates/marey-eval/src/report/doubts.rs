//! Reasons to doubt: what the model only knows of its training set, and labels that look wrong.

use super::Report;
use super::gallery::{cards_and_rows, clip_card};
use super::page::{Section, breakable, capitalised, table};
use crate::plot::escape;
use crate::strip::Strip;
use crate::table::count;
use crate::{Gap, LabelCandidate};

/// Most label candidates on the page; `report.json` has all.
const MAX_CANDIDATES: usize = 50;

/// Figures of the gap that the page shows; report.json has all.
const OF_GAP: [&str; 4] = ["top1", "macro_f1", "ece", "brier"];

pub(super) fn gaps(report: &Report) -> Option<Section> {
    let first = report.gaps.first()?;
    let [on_train, on_judged] = &first.splits;
    let row = |gap: &Gap| {
        let on = |side: usize| {
            format!(
                "<b>{}</b><small>{}</small>",
                gap.scale.text(gap.values[side]),
                gap.scale.range_text(&gap.intervals[side])
            )
        };
        vec![
            escape(&capitalised(&gap.title)),
            on(0),
            on(1),
            format!(
                "<b>{}{}</b><small>{}</small>",
                gap.scale.difference_text(gap.gap),
                gap.scale.difference_unit(),
                gap.scale.difference_range_text(&gap.interval)
            ),
        ]
    };
    let shown = report
        .gaps
        .iter()
        .filter(|gap| OF_GAP.contains(&&*gap.figure));
    let rows: Vec<_> = shown.map(row).collect();
    let heads = [
        "Figure",
        &escape(&format!("On {on_train}")),
        &escape(&format!("On {on_judged}")),
        "Gap",
    ];
    let body = format!(
        "<p>How much better the model is on the {} that it was trained on than on the {} of {}. A wide gap asks for more \
         data, more augmentation or a smaller model; a small one with low figures for a larger model or longer training.</p>\n{}\
         <p class=\"note\">The interval of the gap is from draws of both splits, apart from each other.</p>\n",
        count(first.support[0], "item"),
        count(first.support[1], "item"),
        escape(on_judged),
        table("tight", &heads, &rows),
    );
    Some(Section {
        heading: "What it only knows by heart",
        body,
    })
}

pub(super) fn labels(report: &Report) -> Option<Section> {
    if report.label_candidates.is_empty() {
        return None;
    }
    let classes = &report.classification.classes;
    let suspects = report.worst_label_candidates();
    let strip = |candidate: &LabelCandidate| report.strip(&candidate.item);
    let cards: String = (1..)
        .zip(suspects)
        .filter_map(|(rank, candidate)| Some(card(rank, candidate, strip(candidate)?, classes)))
        .collect();
    let all = report.label_candidates.len();
    let shown = (1..).zip(report.label_candidates.iter().take(MAX_CANDIDATES));
    let rows: Vec<_> = shown
        .filter(|(rank, candidate)| *rank > suspects.len() || strip(candidate).is_none())
        .map(|(rank, candidate)| table_row(rank, candidate, classes))
        .collect();
    let more = if all > MAX_CANDIDATES {
        format!("; the first {MAX_CANDIDATES} are here")
    } else {
        String::new()
    };
    let doubt = report
        .doubt_about_candidates()
        .map(|doubt| format!("<p><b>{}</b></p>\n", escape(&doubt)));
    let mut body = doubt.unwrap_or_default();
    body += &format!(
        "<p>{}, the most suspect first{more}: models that never saw them take them confidently for another class. Look at each \
         before its label is changed; a hard item looks like a wrong label.</p>\n",
        count(all, "item"),
    );
    let heads = ["Item", "Label", "Looks like", "Margin"];
    body += &cards_and_rows(report, &cards, &heads, &rows);
    body += "<p class=\"note\">Margin: score of the label less the best other score. By confident learning (Northcutt et al., \
             2021).</p>\n";
    Some(Section {
        heading: "Labels to look at",
        body,
    })
}

fn card(rank: usize, candidate: &LabelCandidate, strip: &Strip, classes: &[String]) -> String {
    let likely = &classes[candidate.likely];
    let words = format!(
        "{rank}. labelled <b>{}</b>, looks like {}<small>margin {:+.3}</small>",
        breakable(&classes[candidate.label]),
        breakable(likely),
        candidate.margin,
    );
    clip_card(strip, likely, candidate.group.as_deref(), &words)
}

fn table_row(rank: usize, candidate: &LabelCandidate, classes: &[String]) -> Vec<String> {
    let group = match &candidate.group {
        Some(group) => format!("<small>{}</small>", breakable(group)),
        None => String::new(),
    };
    vec![
        format!("{rank}. {}{group}", breakable(&candidate.item)),
        breakable(&classes[candidate.label]),
        breakable(&classes[candidate.likely]),
        format!("<span class=\"num\">{:+.3}</span>", candidate.margin),
    ]
}
