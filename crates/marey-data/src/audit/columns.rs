//! Columns of events and boxes: whether they speak of the file and the time that the item is, and whether a box says anything.

use std::collections::BTreeSet;

use crate::{
    Item,
    audit::{
        Context, Survey,
        finding::{Finding, Severity, Topic},
    },
};

/// Columns that name the file that an event lies in.
const FILE_COLUMNS: [&str; 3] = ["video_filename", "file_name", "filename"];
/// Columns that say where in its file an event begins, in seconds.
const OFFSET_COLUMNS: [&str; 2] = ["event_offset_sec", "offset_sec"];
/// Columns that say how long an event lasts, in seconds.
const DURATION_COLUMNS: [&str; 2] = ["event_duration_sec", "duration_sec"];

const RELINK: &str = "correct the path or the column of these lines";

/// What columns can say against an item: how grave it is, what it is, what mends it.
const LINK_FAULTS: [(Severity, &str, &str); 5] = [
    (
        Severity::Error,
        "have a column that names another file than their path",
        RELINK,
    ),
    (
        Severity::Error,
        "say that no file was found for them (`linked` is False)",
        RELINK,
    ),
    (Severity::Error, "last 0 s by their own column", RELINK),
    (Severity::Error, "begin after the end of their file", RELINK),
    (
        Severity::Warning,
        "have an offset in a column, but no span: the whole file is taken, and a clip may miss the event",
        "write the columns `start` and `end` (seconds in the file) into the manifest",
    ),
];

/// Items whose columns speak of another file, or of an event that is not what the model will see.
pub(crate) fn links(context: &Context<'_>, survey: &Survey) -> Vec<Finding> {
    let dataset = context.dataset;
    let faults: Vec<[bool; 5]> = dataset
        .items
        .iter()
        .map(|item| link_faults(item, survey))
        .collect();
    let finding = |(fault, (severity, what, mend)): (usize, (Severity, &str, &str))| {
        let items: Vec<usize> = (0..faults.len())
            .filter(|&idx| faults[idx][fault])
            .collect();
        let sentence = format!("{} of {} items {what}", items.len(), faults.len());
        let finding = Finding::new(severity, Topic::Link, sentence).mended_by(mend);
        (!items.is_empty()).then(|| finding.about(dataset, items))
    };
    LINK_FAULTS
        .into_iter()
        .enumerate()
        .filter_map(finding)
        .collect()
}

/// Which of [`LINK_FAULTS`] the columns of `item` show.
fn link_faults(item: &Item, survey: &Survey) -> [bool; 5] {
    let cell = |names: &[&str]| {
        let is_named = |name: &String| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        let found = item.metadata.iter().find(|(name, _)| is_named(name));
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    };
    let number = |names: &[&str]| cell(names)?.parse::<f64>().ok();
    let base = |path: &str| {
        path.rsplit(['/', '\\'])
            .next()
            .unwrap_or_default()
            .to_lowercase()
    };
    let source = base(&item.source.to_string_lossy());
    let is_other_file = cell(&FILE_COLUMNS).is_some_and(|name| base(name) != source);
    let is_unlinked = cell(&["linked"]).is_some_and(|value| value.eq_ignore_ascii_case("false"));
    if item.span.is_some() {
        // What is taken is what the span says, whatever the other columns are.
        return [is_other_file, is_unlinked, false, false, false];
    }
    let is_empty = number(&DURATION_COLUMNS) == Some(0.0);
    let offset = number(&OFFSET_COLUMNS);
    let facts = survey.facts(&item.source);
    let length = facts.map_or(f64::INFINITY, |facts| {
        facts.timeline.span().duration().as_secs_f64()
    });
    let is_beyond = offset.is_some_and(|offset| offset >= length);
    [
        is_other_file,
        is_unlinked,
        is_empty,
        is_beyond,
        offset.is_some() && !is_beyond,
    ]
}

/// Columns that hold the box of an item, and which of their numbers are width and height, or both corners.
const BOX_COLUMNS: [([&str; 4], BoxForm); 5] = [
    (["cx", "cy", "w", "h"], BoxForm::Size),
    (["x_center", "y_center", "width", "height"], BoxForm::Size),
    (["xmin", "ymin", "xmax", "ymax"], BoxForm::Corners),
    (["x1", "y1", "x2", "y2"], BoxForm::Corners),
    (["x", "y", "w", "h"], BoxForm::Size),
];

#[derive(Clone, Copy)]
enum BoxForm {
    Size,
    Corners,
}

/// A box of this share of the frame or more is the frame.
const WHOLE_FRAME: f64 = 0.98;

/// Boxes that hold the whole frame, and sets without an item that has no box.
pub(crate) fn boxes(context: &Context<'_>, survey: &Survey) -> Vec<Finding> {
    let dataset = context.dataset;
    let names: BTreeSet<&str> = dataset
        .items
        .iter()
        .flat_map(|item| item.metadata.keys().map(String::as_str))
        .collect();
    let Some((columns, form)) = BOX_COLUMNS
        .iter()
        .find(|(columns, _)| columns.iter().all(|name| names.contains(name)))
    else {
        return Vec::new();
    };
    let mut with_box = Vec::new();
    let mut whole = Vec::new();
    for (idx, item) in dataset.items.iter().enumerate() {
        let cells: Vec<f64> = columns
            .iter()
            .filter_map(|name| item.metadata.get(*name)?.parse().ok())
            .collect();
        let &[a, b, c, d] = cells.as_slice() else {
            continue;
        };
        with_box.push(idx);
        let (width, height) = match form {
            BoxForm::Size => (c, d),
            BoxForm::Corners => (c - a, d - b),
        };
        // Pixels where a number is larger than any share.
        let share = if width <= 1.5 && height <= 1.5 {
            width * height
        } else {
            let size = survey.facts(&item.source).map(|facts| facts.size);
            size.map_or(0.0, |size| {
                width * height / (size.width * size.height) as f64
            })
        };
        if share >= WHOLE_FRAME {
            whole.push(idx);
        }
    }
    let mut findings = Vec::new();
    if !whole.is_empty() && whole.len() == with_box.len() {
        let sentence = format!(
            "all {} boxes hold the whole frame: a constant box gets precision and recall 1, so no figure on boxes means anything",
            whole.len()
        );
        findings.push(
            Finding::new(Severity::Warning, Topic::Boxes, sentence)
                .about(dataset, whole)
                .mended_by("draw the boxes, or treat the data as one label a clip"),
        );
    }
    if !with_box.is_empty() && with_box.len() == dataset.items.len() {
        let sentence = format!(
            "all {} items have a box: without an item that has none, false alarms cannot be measured",
            with_box.len()
        );
        findings.push(
            Finding::new(Severity::Warning, Topic::Boxes, sentence)
                .about(dataset, with_box)
                .mended_by("add items in which nothing happens, with empty cells for the box"),
        );
    }
    findings
}
