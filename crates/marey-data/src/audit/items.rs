//! Classes without items, entries that cannot be items, repeats, clip lengths, files that cannot be opened.

use std::collections::{BTreeMap, BTreeSet};

use marey_clip::{Sampling, SamplingMode};

use crate::{
    Dataset, Fault, Refused, Split,
    audit::{
        Context, Survey,
        finding::{Finding, Severity, Topic, first_of},
    },
};

/// Classes that a split lacks.
pub(crate) fn class_support(context: &Context<'_>) -> Vec<Finding> {
    let dataset = context.dataset;
    let counts = Split::ALL.map(|split| dataset.class_counts(split));
    let is_used = |split: Split| counts[split as usize].iter().sum::<usize>() > 0;
    let mut findings = Vec::new();
    for split in Split::ALL.into_iter().filter(|&split| is_used(split)) {
        let without: Vec<usize> = (0..dataset.classes.len())
            .filter(|&class| counts[split as usize][class] == 0)
            .collect();
        if without.is_empty() {
            continue;
        }
        let names: Vec<&str> = without
            .iter()
            .map(|&class| dataset.classes.name(class))
            .collect();
        let consequence = match split {
            Split::Train => "a model cannot learn them",
            _ => "a figure on it says nothing about them",
        };
        let sentence = format!(
            "{} of {} classes have no {split} item ({}): {consequence}",
            without.len(),
            dataset.classes.len(),
            first_of(&names, 10)
        );
        let items = dataset
            .items
            .iter()
            .enumerate()
            .filter(|(_, item)| without.contains(&item.label));
        findings.push(
            Finding::new(Severity::Warning, Topic::ClassSupport, sentence)
                .about(dataset, items.map(|(idx, _)| idx))
                .mended_by("collect such items, or leave the classes out of data.classes"),
        );
    }
    findings
}

/// Entries that an importer refused, gathered by what is wrong with them.
pub(crate) fn refused(refused: &[Refused]) -> Vec<Finding> {
    let mut by_fault: BTreeMap<(Severity, Topic, &str, &str), Vec<&Refused>> = BTreeMap::new();
    for entry in refused {
        by_fault
            .entry(describe(&entry.fault))
            .or_default()
            .push(entry);
    }
    let finding = |((severity, topic, what, mend), entries): (
        (Severity, Topic, &str, &str),
        Vec<&Refused>,
    )| {
        let first = &entries[0].error;
        let mut finding = Finding::new(
            severity,
            topic,
            format!("{} {what}, the first: {first}", entries.len()),
        );
        finding.items = entries
            .iter()
            .map(|entry| match &entry.fault {
                Fault::Repeated { item, .. } => item.clone(),
                _ => entry.error.to_string(),
            })
            .collect();
        finding.mended_by(mend)
    };
    by_fault.into_iter().map(finding).collect()
}

fn describe(fault: &Fault) -> (Severity, Topic, &'static str, &'static str) {
    let remove = "correct or remove these lines of the manifest";
    match fault {
        Fault::ZeroLength => (
            Severity::Error,
            Topic::Span,
            "entries have a span without length",
            remove,
        ),
        Fault::OutOfFile => (
            Severity::Error,
            Topic::Span,
            "entries have a span outside of their file",
            remove,
        ),
        Fault::Missing => (
            Severity::Error,
            Topic::Unreadable,
            "list of files that are not there",
            "put the files in place, or set data.path_map or data.allow_missing",
        ),
        Fault::Repeated { splits: [a, b], .. } if a != b => (
            Severity::Leak,
            Topic::Repeated,
            "items are listed in two splits",
            "keep one of the lines of each item",
        ),
        Fault::Repeated {
            same_label: false, ..
        } => (
            Severity::Error,
            Topic::Repeated,
            "items are listed more than once under different labels",
            "keep the line with the right label",
        ),
        Fault::Repeated {
            splits: [Some(Split::Train), _],
            ..
        } => (
            Severity::Error,
            Topic::Repeated,
            "training items are listed more than once",
            "keep one line of each item, and weight classes by loss.class_weights",
        ),
        Fault::Repeated { .. } => (
            Severity::Error,
            Topic::Repeated,
            "items outside of training are listed more than once, so they count more than once in every figure",
            "keep one line of each item",
        ),
        Fault::Unusable => (
            Severity::Error,
            Topic::Link,
            "entries cannot be used",
            remove,
        ),
    }
}

/// The same stretch of the same source under two names.
pub(crate) fn same_input(context: &Context<'_>) -> Vec<Finding> {
    let dataset = context.dataset;
    let mut by_input: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (idx, item) in dataset.items.iter().enumerate() {
        let bounds = item.span.map(|span| (span.start(), span.end()));
        by_input
            .entry((&item.source, bounds))
            .or_default()
            .push(idx);
    }
    let sets: Vec<Vec<usize>> = by_input.into_values().filter(|set| set.len() > 1).collect();
    let split_of = |idx: usize| dataset.items[idx].split;
    let is_between = |set: &&Vec<usize>| set.iter().any(|&idx| split_of(idx) != split_of(set[0]));
    let is_held_out =
        |set: &&Vec<usize>| split_of(set[0]).is_some_and(|split| split != Split::Train);
    let mut findings = Vec::new();
    let mut tell = |severity, sets: Vec<&Vec<usize>>, what: &str| {
        if !sets.is_empty() {
            let sentence = format!(
                "{} sets of items are the same stretch of the same file{what}",
                sets.len()
            );
            findings.push(
                Finding::new(severity, Topic::Repeated, sentence)
                    .about(dataset, sets.into_iter().flatten().copied())
                    .mended_by("keep one line of each set"),
            );
        }
    };
    let (between, within): (Vec<_>, Vec<_>) = sets.iter().partition(|set| is_between(set));
    tell(Severity::Leak, between, " in two splits");
    let (held_out, training): (Vec<_>, Vec<_>) =
        within.into_iter().partition(|set| is_held_out(set));
    tell(
        Severity::Error,
        held_out,
        " in one split, so they count more than once in every figure",
    );
    tell(Severity::Warning, training, " in training");
    findings
}

/// Clips of one frame, and items shorter than a clip.
pub(crate) fn clip_length(
    context: &Context<'_>,
    survey: &Survey,
    sampling: &Sampling,
) -> Vec<Finding> {
    let dataset = context.dataset;
    let mut findings = Vec::new();
    if sampling.frames == 1 {
        let sentence = "sampling.frames is 1: a model of single frames cannot see motion, whatever its name says";
        findings.push(
            Finding::new(Severity::Warning, Topic::ClipLength, sentence)
                .mended_by("--set sampling.frames=16"),
        );
    }
    if sampling.mode == SamplingMode::Centered {
        return findings;
    }
    let is_short = |idx: &usize| {
        let item = &dataset.items[*idx];
        let facts = survey.facts(&item.source);
        facts.is_some_and(|facts| {
            let span = item.span.unwrap_or(facts.timeline.span());
            facts.timeline.indices_in(span).len() < sampling.extent()
        })
    };
    let short: Vec<usize> = (0..dataset.items.len()).filter(is_short).collect();
    if !short.is_empty() {
        let sentence = format!(
            "{} of {} items have fewer frames than the {} that a clip reaches over: frames are repeated",
            short.len(),
            dataset.items.len(),
            sampling.extent()
        );
        findings.push(
            Finding::new(Severity::Warning, Topic::ClipLength, sentence)
                .about(dataset, short)
                .mended_by("take fewer frames (sampling.frames) or a smaller sampling.step"),
        );
    }
    findings
}

/// Sources that could not be opened.
pub(crate) fn unreadable(dataset: &Dataset, survey: &Survey, severity: Severity) -> Vec<Finding> {
    let errors = survey.unreadable();
    let Some(first) = errors.first() else {
        return Vec::new();
    };
    let broken: BTreeSet<_> = errors.iter().map(crate::Error::path).collect();
    let items = dataset
        .items
        .iter()
        .enumerate()
        .filter(|(_, item)| broken.contains(item.source.as_path()));
    let sentence = format!(
        "{} sources cannot be opened, the first: {first}",
        errors.len()
    );
    vec![
        Finding::new(severity, Topic::Unreadable, sentence)
            .about(dataset, items.map(|(idx, _)| idx))
            .mended_by("repair the files, or leave their items out by data.unreadable = \"skip\""),
    ]
}
