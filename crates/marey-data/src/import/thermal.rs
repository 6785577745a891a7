//! The thermal action set: `annotations/{train,val}.json`, `annotations/class_mapping.json`, `frames/<recording>.h5`.
//!
//! The annotation files look like COCO's and are not: ids are strings, boxes are normalised centres, category ids
//! start at 0. The raw annotations (`*_annotation.json`, a line a frame) are read where the others are not there. An item is one annotated frame of a recording. Its label is the one that most persons in the frame have,
//! the smallest class where several have the most. Its span is the time that the frame is shown, so that
//! [`marey_clip::Sampling::centered`] with 64 frames takes the frames `[k - 32, k + 32)` around frame `k`.

mod raw;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use marey_clip::{ClassList, Span, Timeline};
use marey_media::OpenOptions;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    DataConfig, Dataset, Error, ErrorKind, Format, Importer, Item, Refused, Split,
    import::{manifest::group_of, without_missing},
};

/// Where the generated annotations are.
const TRAIN_FILE: &str = "annotations/train.json";

pub(crate) struct Thermal;

impl Importer for Thermal {
    fn name(&self) -> &'static str {
        "thermal"
    }

    fn format(&self) -> Format {
        Format::Thermal
    }

    fn detects(&self, path: &Path) -> bool {
        let has_annotations = path.join(TRAIN_FILE).is_file() || !raw::files(path).is_empty();
        has_annotations && path.join("frames").is_dir()
    }

    fn import(&self, config: &DataConfig, refused: &mut Vec<Refused>) -> Result<Dataset, Error> {
        config.refuse_of_frame_trees(self.name())?;
        config.refuse(
            self.name(),
            &[
                ("data.label", config.label.is_some()),
                ("data.allow_faults", !config.allow_faults.is_empty()),
                ("data.classes", config.classes.is_some()),
                ("data.path_map", !config.path_map.is_empty()),
            ],
        )?;
        let raw_files = raw::files(&config.path);
        if !config.path.join(TRAIN_FILE).is_file() && !raw_files.is_empty() {
            return raw::import(config, &raw_files, refused);
        }
        let annotations = config.path.join("annotations");
        let file = annotations.join("class_mapping.json");
        let mapping: ClassMapping = read_json(&file)?;
        let classes = ClassList::new(mapping.classes)
            .map_err(|error| Error::layout(&file, error.to_string()))?;
        let mut notes = Vec::new();
        let mut items = Vec::new();
        let mut frames = HashMap::new();
        for (name, split) in [
            ("train.json", Split::Train),
            ("val.json", Split::Validation),
        ] {
            for keyframe in keyframes_of(&annotations.join(name), split, classes.len(), &mut notes)?
            {
                frames.insert(keyframe.image.id.clone(), keyframe.image.frame_idx);
                items.push(keyframe.into_item(config)?);
            }
        }
        let mut items = without_missing(config, items, &mut notes, refused);
        add_spans(&mut items, &frames)?;
        Ok(Dataset {
            classes,
            items,
            notes,
            accepted_leak: None,
        })
    }
}

#[derive(Deserialize)]
struct ClassMapping {
    classes: Vec<String>,
}

#[derive(Deserialize)]
struct AnnotationFile {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Image {
    id: String,
    sensor_id: String,
    mac_address: String,
    timestamp: i64,
    frame_idx: usize,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: String,
    category_id: usize,
}

/// An annotated frame with its label.
struct Keyframe {
    image: Image,
    label: usize,
    split: Split,
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = fs::read(path).map_err(|source| Error::io(path, "read the annotations", source))?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::layout(path, format!("not as expected: {error}")))
}

fn keyframes_of(
    path: &Path,
    split: Split,
    num_classes: usize,
    notes: &mut Vec<String>,
) -> Result<Vec<Keyframe>, Error> {
    let file: AnnotationFile = read_json(path)?;
    let mut labels: HashMap<String, Vec<usize>> = HashMap::new();
    for annotation in file.annotations {
        if annotation.category_id >= num_classes {
            let problem = format!(
                "a person in `{}` has category {}, and class_mapping.json lists {num_classes} classes from 0",
                annotation.image_id, annotation.category_id
            );
            return Err(Error::layout(path, problem));
        }
        labels
            .entry(annotation.image_id)
            .or_default()
            .push(annotation.category_id);
    }
    let total = file.images.len();
    let mut keyframes = Vec::with_capacity(total);
    let mut mixed = 0;
    for image in file.images {
        let Some(labels) = labels.get(&image.id) else {
            continue;
        };
        mixed += usize::from(labels.iter().any(|&label| label != labels[0]));
        keyframes.push(Keyframe {
            label: most_frequent(labels),
            image,
            split,
        });
    }
    if mixed > 0 {
        notes.push(format!(
            "{mixed} of {total} {split} frames show persons with different labels; each counts as its most frequent one"
        ));
    }
    if keyframes.len() < total {
        let without = total - keyframes.len();
        notes.push(format!(
            "{without} of {total} {split} frames show no labelled person and were left out"
        ));
    }
    Ok(keyframes)
}

/// The value that occurs most often, the smallest where several do.
fn most_frequent(labels: &[usize]) -> usize {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for &label in labels {
        *counts.entry(label).or_default() += 1;
    }
    let best = counts
        .into_iter()
        .max_by_key(|&(label, count)| (count, std::cmp::Reverse(label)));
    best.map_or(0, |(label, _)| label)
}

impl Keyframe {
    fn into_item(self, config: &DataConfig) -> Result<Item, Error> {
        let image = self.image;
        let source = config
            .path
            .join("frames")
            .join(format!("{}.h5", image.sensor_id));
        let metadata: BTreeMap<String, String> = BTreeMap::from([
            ("sensor_id".to_owned(), image.sensor_id),
            ("mac_address".to_owned(), image.mac_address),
            ("timestamp".to_owned(), image.timestamp.to_string()),
            ("frame_idx".to_owned(), image.frame_idx.to_string()),
        ]);
        let group = group_by_columns(config, &metadata)?;
        Ok(Item {
            id: image.id,
            source,
            span: None,
            label: self.label,
            group: Some(group),
            split: Some(self.split),
            metadata,
        })
    }
}

/// The group of a frame: its recording, or what `data.group` says.
fn group_by_columns(
    config: &DataConfig,
    metadata: &BTreeMap<String, String>,
) -> Result<String, Error> {
    let columns = config.group.as_deref().unwrap_or("sensor_id");
    group_of(columns, |column| metadata.get(column).cloned())
        .map_err(|problem| Error::config(&config.path, "data.group", problem))
}

/// Gives each item the time that its frame is shown; `frames` is the frame of each item in its recording.
fn add_spans(items: &mut [Item], frames: &HashMap<String, usize>) -> Result<(), Error> {
    let mut timelines: HashMap<PathBuf, Timeline> = HashMap::new();
    for item in items {
        if !timelines.contains_key(&item.source) {
            let reader = marey_media::open(&item.source, &OpenOptions::default())
                .map_err(|error| Error::new(&item.source, ErrorKind::Media(error)))?;
            timelines.insert(item.source.clone(), reader.info().timeline.clone());
        }
        let (timeline, idx) = (&timelines[&item.source], frames[&item.id]);
        let Some(&start) = timeline.timestamps().get(idx) else {
            let problem = format!(
                "`{}` is frame {idx}, and there are {}",
                item.id,
                timeline.len()
            );
            return Err(Error::layout(&item.source, problem));
        };
        let end = timeline
            .timestamps()
            .get(idx + 1)
            .copied()
            .unwrap_or(timeline.span().end());
        item.span = Span::new(start, end);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_counts_as_its_most_frequent_label_and_ties_as_the_smallest() {
        for (labels, expected) in [
            (&[3][..], 3),
            (&[5, 3, 5], 5),
            (&[7, 2], 2),
            (&[4, 9, 9, 4, 1], 4),
        ] {
            assert_eq!(most_frequent(labels), expected, "{labels:?}");
        }
    }
}
