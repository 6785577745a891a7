//! Labels of whole videos: how much of what is labelled with a class shows it, where somebody said when it is on.

use marey_clip::Span;

use crate::{
    EVENTS_COLUMN, Split,
    audit::{
        Context, Survey,
        finding::{Finding, Severity, Topic},
    },
};

/// Frames of items of one split, and those of them that lie in an event.
#[derive(Default)]
struct Counted {
    items: Vec<usize>,
    frames: usize,
    inside: usize,
}

/// How many frames of items whose source has events lie outside of them; and cells that hold no events.
pub(crate) fn labels(context: &Context<'_>, survey: &Survey) -> Vec<Finding> {
    let dataset = context.dataset;
    let mut counted: [Counted; 3] = Default::default();
    let mut wrong = Vec::new();
    let mut first_problem = String::new();
    for (idx, item) in dataset.items.iter().enumerate() {
        let events = match item.events() {
            Ok(events) => events.unwrap_or_default(),
            Err(problem) => {
                if wrong.is_empty() {
                    first_problem = problem;
                }
                wrong.push(idx);
                continue;
            }
        };
        let is_by_interval = item
            .metadata
            .get("label_scope")
            .is_some_and(|scope| scope == "interval");
        let (Some(split), Some(facts)) = (item.split, survey.facts(&item.source)) else {
            continue;
        };
        if events.is_empty() || is_by_interval {
            continue;
        }
        let stamps = facts.timeline.timestamps();
        let range = facts
            .timeline
            .indices_in(item.span.unwrap_or(facts.timeline.span()));
        let is_inside = |event: &Span, frame: usize| event.contains(stamps[frame]);
        let counted = &mut counted[split as usize];
        counted.items.push(idx);
        counted.frames += range.len();
        counted.inside += range
            .filter(|&frame| events.iter().any(|event| is_inside(event, frame)))
            .count();
    }
    let mut findings = Vec::new();
    if !wrong.is_empty() {
        let sentence = format!(
            "{} items have events that cannot be read: {first_problem}",
            wrong.len()
        );
        findings.push(
            Finding::new(Severity::Error, Topic::LabelScope, sentence)
                .about(dataset, wrong)
                .mended_by(format!(
                    "correct the column `{EVENTS_COLUMN}` of these lines"
                )),
        );
    }
    for (split, counted) in Split::ALL.into_iter().zip(counted) {
        let outside = counted.frames - counted.inside;
        if outside == 0 {
            continue;
        }
        let sentence = format!(
            "{outside} of {} {split} frames ({:.1} %) of the {} items whose source has events lie outside of them: the label \
             is that of the whole source, and does not say what these frames show",
            counted.frames,
            100.0 * outside as f64 / counted.frames as f64,
            counted.items.len()
        );
        findings.push(
            Finding::new(Severity::Warning, Topic::LabelScope, sentence)
                .about(dataset, counted.items)
                .mended_by("judge single frames by the events, or label windows by data.window.label = \"interval\""),
        );
    }
    findings
}
