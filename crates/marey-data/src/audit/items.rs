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

/// Fewer held-out items of a class than this make a figure on it that hardly says anything.
const FEW_ITEMS: usize = 20;

/// Classes of which a held-out split has so few items that a figure on them is wide.
pub(crate) fn few_items(context: &Context<'_>) -> Vec<Finding> {
    let dataset = context.dataset;
    let mut findings = Vec::new();
    for split in [Split::Validation, Split::Test] {
        let counts = dataset.class_counts(split);
        let few: Vec<usize> = (0..counts.len())
            .filter(|&class| (1..FEW_ITEMS).contains(&counts[class]))
            .collect();
        let Some(&fewest) = few.iter().min_by_key(|&&class| counts[class]) else {
            continue;
        };
        let named: Vec<String> = few
            .iter()
            .map(|&class| format!("{} {}", dataset.classes.name(class), counts[class]))
            .collect();
        let interval = marey_eval::wilson(counts[fewest] as u64 / 2, counts[fewest] as u64);
        let sentence = format!(
            "{} of {} classes have fewer than {FEW_ITEMS} {split} items ({}): a recall of {} of {} has the interval {:.0}-{:.0} %",
            few.len(),
            counts.len(),
            first_of(&named, 10),
            counts[fewest] / 2,
            counts[fewest],
            100.0 * interval.low,
            100.0 * interval.high
        );
        let items = (0..dataset.items.len()).filter(|&idx| {
            let item = &dataset.items[idx];
            item.split == Some(split) && few.contains(&item.label)
        });
        findings.push(
            Finding::new(Severity::Note, Topic::ClassSupport, sentence)
                .about(dataset, items)
                .mended_by("collect more of them, or give the split a larger share"),
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
    let or_allow = "correct these lines, or go on without them by data.allow_faults = [\"zero_length\", \"out_of_file\"]";
    match fault {
        Fault::ZeroLength => (
            Severity::Error,
            Topic::Span,
            "entries have a span without length",
            or_allow,
        ),
        Fault::OutOfFile => (
            Severity::Error,
            Topic::Span,
            "entries have a span outside of their file",
            or_allow,
        ),
        Fault::Mislinked => (
            Severity::Error,
            Topic::Link,
            "events are linked to a file that does not show them",
            "correct these lines, or leave them out by data.allow_faults = [\"mislinked\"]",
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
        findings.extend(reaches_beyond(context, survey, sampling));
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

/// Centred clips that show what is around their item too, where items are more than single frames.
fn reaches_beyond(context: &Context<'_>, survey: &Survey, sampling: &Sampling) -> Option<Finding> {
    let dataset = context.dataset;
    let length = |idx: usize| {
        let item = &dataset.items[idx];
        let timeline = &survey.facts(&item.source)?.timeline;
        Some(timeline.indices_in(item.span?).len())
    };
    let lengths: Vec<(usize, usize)> = (0..dataset.items.len())
        .filter_map(|idx| Some((idx, length(idx)?)))
        .collect();
    if lengths.iter().all(|(_, length)| *length == 1) {
        return None;
    }
    let short: Vec<(usize, usize)> = lengths
        .iter()
        .copied()
        .filter(|(_, length)| *length < sampling.extent())
        .collect();
    let mut shares: Vec<usize> = short.iter().map(|(_, length)| *length).collect();
    shares.sort_unstable();
    let median = *shares.get(shares.len() / 2)?;
    let sentence = format!(
        "{} of {} items are shorter than the {} frames that a clip reaches over (in the median {median} frames): the clip \
         shows what is before and after them too",
        short.len(),
        lengths.len(),
        sampling.extent()
    );
    let finding = Finding::new(Severity::Note, Topic::ClipLength, sentence);
    let finding = finding.about(dataset, short.into_iter().map(|(idx, _)| idx));
    Some(finding.mended_by("take fewer frames (sampling.frames) or a smaller sampling.step"))
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
