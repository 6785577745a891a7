//! The verdict without a technical word, and what the technical words of the page mean.

use super::Report;
use super::page::Section;
use crate::plot::escape;
use crate::table::count;

/// What the first figure means for somebody who has never seen one; empty where there is no top-1 accuracy.
pub(super) fn plain_verdict(report: &Report) -> String {
    let Some(top1) = report.classification.figure("top1") else {
        return String::new();
    };
    let of_items = |share: f64| (share * top1.support as f64).round();
    let interval = top1.widest_interval();
    format!(
        "<p>In plain words: of {} the model named {} rightly. {} would have been right {} times. On other items of this \
         kind, expect it to be right for {:.0} to {:.0} out of 100. \
         <a href=\"#words-on-this-page\">What the words mean</a>.</p>\n",
        count(top1.support, "item"),
        of_items(top1.value),
        escape(&super::page::capitalised(&gerund(&top1.baseline.name))),
        of_items(top1.baseline.value),
        100.0 * interval.low,
        100.0 * interval.high,
    )
}

/// The name of a baseline as the subject of a sentence: `always "x"` is `answering "x" every time`.
fn gerund(name: &str) -> String {
    name.strip_prefix("always ").map_or_else(
        || format!("the baseline ({name})"),
        |answer| format!("answering {answer}, every time"),
    )
}

/// `(word, meaning)`; `docs/glossary.md` has the same meanings.
const WORDS: [(&str, &str); 17] = [
    (
        "Item",
        "one labelled thing to recognise, such as a short video or a stretch of a long one.",
    ),
    (
        "Class",
        "one of the answers that the model can give. It always gives one of them.",
    ),
    (
        "Group",
        "what several items share, such as a camera, a place or a source video. Items of one group are alike, so \
         they prove less than as many items of different groups.",
    ),
    (
        "Split",
        "a part of the data. The model learns from <i>train</i>; <i>validation</i> helps to choose when to stop; nothing \
         is chosen on <i>test</i>, so that it stands for new data.",
    ),
    (
        "95 % interval",
        "the range in which the figure would fall for about 95 of 100 other sets of items like these. A wide one means: \
         too few items to be sure. Two ways to compute it are named here: Wilson's, for a share of items; and \
         <i>by group</i> or <i>by item</i>, the bootstrap, which draws groups or items again and again and looks how \
         much the figure moves.",
    ),
    (
        "Baseline",
        "what somebody gets who never looks at the videos, such as by always giving the most frequent answer. A model \
         that is not better has learned nothing that matters.",
    ),
    (
        "Recall",
        "of the items that are of a class, the share that the model found.",
    ),
    (
        "Precision",
        "of the items that the model called by a class, the share that are of it.",
    ),
    (
        "F1",
        "recall and precision in one number, their harmonic mean: low when either is low.",
    ),
    (
        "Macro",
        "the mean over the classes, each counted alike, however few its items.",
    ),
    (
        "Score",
        "how sure the model says it is, from 0 to 1. Unless it is calibrated it is not a probability of being right.",
    ),
    (
        "Calibration",
        "a change of scores, learned on <i>validation</i>, after which an answer with a score of 0.8 should be right in \
         eight of ten cases.",
    ),
    (
        "Events, alarms",
        "an event is a labelled stretch of a recording; an alarm is a stretch that the model reports. A false alarm found \
         no event.",
    ),
    (
        "Confusion matrix",
        "a table of true classes by given answers. What lies off the diagonal is wrong.",
    ),
    ("Points", "a difference of two percentages."),
    (
        "Epoch, loss, learning rate",
        "an epoch is one pass over the training items; the loss is what training makes small; the learning rate is the \
         size of its steps.",
    ),
    (
        "Seed",
        "the number from which everything random is drawn; the same seed gives the same result.",
    ),
];

/// The section that explains the words.
pub(super) fn words(report: &Report) -> Section {
    let is_needed = |word: &str| match word {
        "Epoch, loss, learning rate" => !report.curves.is_empty(),
        "Calibration" => report.calibration.is_some(),
        "Events, alarms" => report.events.is_some(),
        "Seed" => !report.origin.command.is_empty(),
        "Points" => !report.classification.comparisons.is_empty(),
        _ => true,
    };
    let entries: String = WORDS
        .iter()
        .filter(|(word, _)| is_needed(word))
        .map(|(word, meaning)| format!("<dt>{word}</dt><dd>{meaning}</dd>\n"))
        .collect();
    Section {
        heading: "Words on this page",
        body: format!("<dl>\n{entries}</dl>\n"),
    }
}
