//! Raw annotations of thermal recordings: `<recording>_annotation.json`, in truth a JSON object a line, the last one without an
//! end of line.
//!
//! A line is a frame in which somebody marked things. The label is that of most persons, the smallest class where several
//! are as many. The frame is the one of the recording that is nearest in time, at most 50 ms away, and it must have 32 frames on
//! either side. There is no split: one has to be made.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use marey_clip::ClassList;
use serde::Deserialize;

use super::{ClassMapping, add_spans, group_by_columns, most_frequent, read_json};
use crate::{
    DataConfig, Dataset, Error, ErrorKind, Item, Refused,
    import::{class_idx, folders::entries_of, without_missing},
};

/// The subcategories of `person`, in the order of their numbers.
const CLASSES: [&str; 14] = [
    "sitting",
    "standing",
    "walking",
    "lying down-lying with risk",
    "lying down-lying on the bed/couch",
    "leaning",
    "transition-normal transition",
    "transition-lying with risk transition",
    "transition-lying on the bed transition",
    "lower position-other",
    "lower position-kneeling",
    "lower position-bending",
    "lower position-crouching",
    "other",
];

/// A frame may be this far from the time of its annotation.
const TOLERANCE_NANOS: u64 = 50_000_000;
/// Frames that must be there on either side.
const MARGIN: usize = 32;

#[derive(Deserialize)]
struct Line {
    data_id: String,
    mac_address: String,
    /// Milliseconds since 1970.
    data_time: i64,
    annotations: Vec<Thing>,
}

#[derive(Deserialize)]
struct Thing {
    category: String,
    subcategory: Option<String>,
}

/// The files of raw annotations of a set: in its folder `annotations`, or beside it.
pub(super) fn files(root: &Path) -> Vec<PathBuf> {
    let folders = [root.join("annotations"), root.to_owned()];
    let entries = folders
        .iter()
        .flat_map(|folder| entries_of(folder).unwrap_or_default());
    entries
        .filter(|path| path.to_string_lossy().ends_with("_annotation.json") && path.is_file())
        .collect()
}

pub(super) fn import(
    config: &DataConfig,
    files: &[PathBuf],
    refused: &mut Vec<Refused>,
) -> Result<Dataset, Error> {
    let mapping = config.path.join("annotations/class_mapping.json");
    let names = match mapping.is_file() {
        true => read_json::<ClassMapping>(&mapping)?.classes,
        false => CLASSES.map(str::to_owned).to_vec(),
    };
    let classes =
        ClassList::new(names).map_err(|error| Error::layout(&mapping, error.to_string()))?;
    let mut counted = Counted::default();
    let mut items = Vec::new();
    for file in files {
        let text = fs::read_to_string(file)
            .map_err(|source| Error::io(file, "read the annotations", source))?;
        for (line, number) in text
            .lines()
            .zip(1..)
            .filter(|(line, _)| !line.trim().is_empty())
        {
            let read: Line = serde_json::from_str(line)
                .map_err(|error| Error::line(file, number, format!("not as expected: {error}")))?;
            counted.frames += 1;
            let labels =
                labels(&classes, &read).map_err(|problem| Error::line(file, number, problem))?;
            if labels.is_empty() {
                counted.without_person += 1;
                continue;
            }
            counted.mixed += usize::from(labels.iter().any(|label| *label != labels[0]));
            items.push(item(config, read, most_frequent(&labels))?);
        }
    }
    let mut notes = Vec::new();
    let items = without_missing(config, items, &mut notes, refused);
    let (mut items, frames) = on_frames(items, &mut counted)?;
    counted.tell(&mut notes);
    add_spans(&mut items, &frames)?;
    Ok(Dataset {
        classes,
        items,
        notes,
        accepted_leak: None,
    })
}

/// What was left out, and why.
#[derive(Default)]
struct Counted {
    frames: usize,
    without_person: usize,
    mixed: usize,
    far: usize,
    at_the_edge: usize,
}

impl Counted {
    fn tell(&self, notes: &mut Vec<String>) {
        for (count, what) in [
            (
                self.mixed,
                "show persons with different labels; each counts as its most frequent one",
            ),
            (
                self.without_person,
                "show no labelled person and were left out",
            ),
            (self.far, "have no frame within 50 ms and were left out"),
            (
                self.at_the_edge,
                "have fewer than 32 frames on a side and were left out",
            ),
        ] {
            if count > 0 {
                notes.push(format!(
                    "{count} of {} annotated frames {what}",
                    self.frames
                ));
            }
        }
    }
}

fn labels(classes: &ClassList, line: &Line) -> Result<Vec<usize>, String> {
    let persons = line
        .annotations
        .iter()
        .filter(|thing| thing.category == "person");
    persons
        .map(|thing| match &thing.subcategory {
            Some(name) => class_idx(classes, name)
                .map_err(|problem| problem.replace("data.classes", "the class mapping")),
            None => Err("has a person without a subcategory".to_owned()),
        })
        .collect()
}

fn item(config: &DataConfig, line: Line, label: usize) -> Result<Item, Error> {
    let source = config
        .path
        .join("frames")
        .join(format!("{}.h5", line.data_id));
    let id = format!("{}_{}", line.data_id, line.data_time);
    let metadata = BTreeMap::from([
        ("sensor_id".to_owned(), line.data_id),
        ("mac_address".to_owned(), line.mac_address),
        ("timestamp".to_owned(), line.data_time.to_string()),
    ]);
    Ok(Item {
        id,
        source,
        span: None,
        label,
        group: Some(group_by_columns(config, &metadata)?),
        split: None,
        metadata,
    })
}

/// The items that have a frame, and the frame of each in its recording.
fn on_frames(
    items: Vec<Item>,
    counted: &mut Counted,
) -> Result<(Vec<Item>, HashMap<String, usize>), Error> {
    let mut timelines = HashMap::new();
    let mut frames = HashMap::new();
    let mut kept = Vec::with_capacity(items.len());
    for mut item in items {
        if !timelines.contains_key(&item.source) {
            let reader = marey_media::open(&item.source, &marey_media::OpenOptions::default())
                .map_err(|error| Error::new(&item.source, ErrorKind::Media(error)))?;
            timelines.insert(item.source.clone(), reader.info().timeline.clone());
        }
        let timeline = &timelines[&item.source];
        let millis: i64 = item.metadata["timestamp"].parse().unwrap_or(i64::MIN);
        let nanos = millis.saturating_mul(1_000_000);
        let stamps = timeline.timestamps();
        let next = stamps.partition_point(|at| at.as_nanos() < nanos);
        let candidates = [next.checked_sub(1), Some(next)].into_iter().flatten();
        let nearest = candidates
            .filter_map(|idx| Some((stamps.get(idx)?.as_nanos().abs_diff(nanos), idx)))
            .min();
        match nearest {
            Some((off, idx)) if off <= TOLERANCE_NANOS => {
                if idx < MARGIN || idx + MARGIN > stamps.len() {
                    counted.at_the_edge += 1;
                    continue;
                }
                item.metadata
                    .insert("frame_idx".to_owned(), idx.to_string());
                frames.insert(item.id.clone(), idx);
                kept.push(item);
            }
            _ => counted.far += 1,
        }
    }
    Ok((kept, frames))
}
