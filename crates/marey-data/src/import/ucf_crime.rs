//! The frame tree of UCF-Crime (Sultani, Chen and Shah, "Real-world Anomaly Detection in Surveillance Videos", CVPR 2018) as
//! the 64x64 set has it: `{Train,Test}/<class>/<video>_<frame>.png`, every tenth frame of a video.
//!
//! The source of an item is a video, all of its pictures in the order of their numbers; an item is a window of it, or all of
//! it. The group is the video. The class is that of the folder, which is the class of the whole video: what the official
//! temporal annotations say of single frames is kept as [`Item::events`].

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use marey_clip::{Rational, Span, Timestamp};
use marey_media::{SEQUENCE_RATE_HZ, Sequence, sequences};

use crate::{
    DataConfig, Dataset, Error, Format, Importer, Item, Refused, Split, WindowConfig, WindowLabel,
    import::{
        annotations::{self, Intervals, canonical},
        class_idx, class_list,
        folders::{class_folders, id_of, name_of},
    },
};

/// Names under which the official annotations are known.
const ANNOTATION_FILES: [&str; 2] = [
    "Temporal_Anomaly_Annotation.txt",
    "Temporal_Anomaly_Annotation_for_Testing_Videos.txt",
];
const NORMAL_CLASS: &str = "NormalVideos";

pub(crate) struct UcfCrime;

impl Importer for UcfCrime {
    fn name(&self) -> &'static str {
        "ucf_crime"
    }

    fn format(&self) -> Format {
        Format::UcfCrime
    }

    /// A folder of a class that holds numbered pictures itself: in other layouts a picture lies in a folder of its video.
    fn detects(&self, path: &Path) -> bool {
        let folders = class_folders(path).unwrap_or_default();
        let holds_frames = |folder: &PathBuf| {
            let entries = folder.read_dir().into_iter().flatten().flatten();
            entries
                .take(20)
                .any(|entry| video_of_file(&entry.path()).is_some())
        };
        folders.iter().any(|(folder, _)| holds_frames(folder))
    }

    fn import(&self, config: &DataConfig, _refused: &mut Vec<Refused>) -> Result<Dataset, Error> {
        config.refuse(
            self.name(),
            &[
                ("data.label", config.label.is_some()),
                ("data.group", config.group.is_some()),
                ("data.path_map", !config.path_map.is_empty()),
                ("data.allow_missing", config.allow_missing),
                ("data.allow_faults", !config.allow_faults.is_empty()),
            ],
        )?;
        check_window(config)?;
        let mut tree = Tree::default();
        for (folder, split) in class_folders(&config.path)? {
            tree.class(&folder, split)?;
        }
        let (annotations, has_file) = annotations_of(config)?;
        if config.annotations.is_none() && !has_file {
            tree.notes.push(format!(
                "no {} was found: when a class is on in its videos is not known",
                ANNOTATION_FILES[0]
            ));
        }
        tree.into_dataset(config, has_file.then_some(&annotations))
    }
}

fn check_window(config: &DataConfig) -> Result<(), Error> {
    let Some(window) = &config.window else {
        return Ok(());
    };
    for (key, value) in [
        ("data.window.frames", window.frames),
        ("data.window.hop", window.hop.unwrap_or(1)),
    ] {
        if value == 0 {
            return Err(Error::config(
                &config.path,
                key,
                "is 0, it must be at least 1",
            ));
        }
    }
    Ok(())
}

/// The annotations, and whether there is a file of them.
fn annotations_of(config: &DataConfig) -> Result<(BTreeMap<String, Intervals>, bool), Error> {
    let named = config
        .annotations
        .as_ref()
        .map(|file| config.path.join(file));
    let beside = || {
        let files = ANNOTATION_FILES.iter().map(|name| config.path.join(name));
        files.into_iter().find(|file| file.is_file())
    };
    match named.or_else(beside) {
        Some(file) => Ok((annotations::read(&file)?, true)),
        None => Ok((BTreeMap::new(), false)),
    }
}

/// The video of a picture by its name: what is before the last `_`, where digits follow.
fn video_of_file(path: &Path) -> Option<String> {
    let extension = path.extension()?.to_str()?.to_lowercase();
    let is_picture = matches!(extension.as_str(), "png" | "jpg" | "jpeg");
    let (video, number) = path.file_stem()?.to_str()?.rsplit_once('_')?;
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    (is_picture && is_number && !video.is_empty()).then(|| video.to_owned())
}

/// A video of the tree.
struct Video {
    class: String,
    split: Option<Split>,
    /// As it is written, `Normal_Videos_003_x264`.
    name: String,
    sequence: Sequence,
}

/// What a walk through the tree has found.
#[derive(Default)]
struct Tree {
    videos: Vec<Video>,
    empty: Vec<PathBuf>,
    /// Files and folders whose names are not those of frames.
    others: Vec<PathBuf>,
    notes: Vec<String>,
}

impl Tree {
    fn class(&mut self, folder: &Path, split: Option<Split>) -> Result<(), Error> {
        let found = sequences(folder)
            .map_err(|error| Error::new(folder, crate::ErrorKind::Media(error)))?;
        let before = self.videos.len();
        self.others.extend(found.others);
        for sequence in found.found {
            let pattern = sequence.source.to_string_lossy().replace('*', "0");
            match video_of_file(Path::new(&pattern)) {
                Some(name) => self.videos.push(Video {
                    class: name_of(folder),
                    split,
                    name,
                    sequence,
                }),
                None => self.others.push(sequence.source),
            }
        }
        if self.videos.len() == before {
            self.empty.push(folder.to_owned());
        }
        Ok(())
    }

    fn into_dataset(
        mut self,
        config: &DataConfig,
        annotations: Option<&BTreeMap<String, Intervals>>,
    ) -> Result<Dataset, Error> {
        if self.videos.is_empty() {
            let problem = "no frame in it: expected {Train,Test}/<class>/<video>_<frame>.png";
            return Err(Error::layout(&config.path, problem));
        }
        self.count_what_is_odd();
        let classes = class_list(config, self.videos.iter().map(|video| video.class.as_str()))?;
        let normal = config.normal.as_deref().unwrap_or(NORMAL_CLASS);
        let normal_label = classes.index(normal);
        let by_interval = config
            .window
            .as_ref()
            .is_some_and(|window| window.label == WindowLabel::Interval);
        if normal_label.is_none() && (config.normal.is_some() || by_interval) {
            let problem = format!(
                "there is no class `{normal}`: name the class in which nothing happens, one of {}",
                classes.names().join(", ")
            );
            return Err(Error::config(&config.path, "data.normal", problem));
        }
        if by_interval && annotations.is_none() {
            let problem = "is \"interval\", and there are no temporal annotations: name their file by data.annotations";
            return Err(Error::config(&config.path, "data.window.label", problem));
        }
        self.compare_with(annotations);
        let mut items = Vec::new();
        for video in &self.videos {
            let label = class_idx(&classes, &video.class)
                .map_err(|problem| Error::layout(&video.sequence.source, problem))?;
            let events = annotations.and_then(|known| known.get(&canonical(&video.name)));
            let relabel = normal_label.filter(|_| by_interval);
            items.extend(video.items(config, label, events, relabel));
        }
        Ok(Dataset {
            classes,
            items,
            notes: self.notes,
            accepted_leak: None,
        })
    }

    /// Notes about empty folders, names that are none, and numbers that are missing.
    fn count_what_is_odd(&mut self) {
        if let Some(first) = self.empty.first() {
            self.notes.push(format!(
                "{} folders of classes hold no frame, the first is {}",
                self.empty.len(),
                first.display()
            ));
        }
        if let Some(first) = self.others.first() {
            self.notes.push(format!(
                "{} files or folders whose names are not <video>_<frame>.png were left out, the first is {}",
                self.others.len(),
                first.display()
            ));
        }
        let gaps: Vec<(&Video, u64)> = self
            .videos
            .iter()
            .map(|video| (video, video.sequence.num_missing()))
            .filter(|(_, missing)| *missing > 0)
            .collect();
        if let Some((first, _)) = gaps.first() {
            let missing: u64 = gaps.iter().map(|(_, missing)| missing).sum();
            self.notes.push(format!(
                "{missing} frames are missing in {} of {} videos, the first is `{}`",
                gaps.len(),
                self.videos.len(),
                first.name
            ));
        }
    }

    /// Notes about videos that only one of the tree and the annotations knows.
    fn compare_with(&mut self, annotations: Option<&BTreeMap<String, Intervals>>) {
        let Some(annotations) = annotations else {
            return;
        };
        let there: BTreeMap<String, &Video> = self
            .videos
            .iter()
            .map(|video| (canonical(&video.name), video))
            .collect();
        let absent: Vec<&String> = annotations
            .keys()
            .filter(|name| !there.contains_key(*name))
            .collect();
        let unknown: Vec<&&Video> = there
            .iter()
            .filter(|(name, video)| {
                video.split != Some(Split::Train) && !annotations.contains_key(*name)
            })
            .map(|(_, video)| video)
            .collect();
        let mut notes = Vec::new();
        if let Some(first) = absent.first() {
            notes.push(format!(
                "{} of {} annotated videos are not in the tree, the first is `{first}`",
                absent.len(),
                annotations.len()
            ));
        }
        if let Some(first) = unknown.first() {
            notes.push(format!(
                "{} held-out videos have no temporal annotation, the first is `{}`",
                unknown.len(),
                first.name
            ));
        }
        self.notes.extend(notes);
    }
}

impl Video {
    /// The items of the video: its windows, or one. `normal` is the class of windows that touch no interval, where they have one
    /// of their own.
    fn items(
        &self,
        config: &DataConfig,
        label: usize,
        intervals: Option<&Intervals>,
        normal: Option<usize>,
    ) -> Vec<Item> {
        let numbers = &self.sequence.numbers;
        let step = self.sequence.usual_step();
        let windows = match &config.window {
            Some(window) => windows(numbers.len(), window, self.split),
            None => Vec::from_iter([whole(numbers)]),
        };
        let events: Option<Vec<Span>> = intervals.map(|intervals| {
            let span = |&[first, last]: &[u64; 2]| Span::new(at(first), at(last + 1));
            intervals.iter().filter_map(span).collect()
        });
        let folder = self.sequence.source.parent().unwrap_or(Path::new(""));
        let id = id_of(&config.path, &folder.join(&self.name));
        let item = |range: Range<usize>| {
            let (first, last) = (numbers[range.start], numbers[range.end - 1]);
            let end = numbers.get(range.end).copied().unwrap_or(last + step);
            let mut item = Item {
                id: match config.window {
                    Some(_) => format!("{id}#{first}-{last}"),
                    None => id.clone(),
                },
                source: self.sequence.source.clone(),
                span: config
                    .window
                    .as_ref()
                    .and_then(|_| Span::new(at(first), at(end))),
                label,
                group: Some(canonical(&self.name)),
                split: self.split,
                metadata: BTreeMap::from([
                    ("video".to_owned(), canonical(&self.name)),
                    ("first_frame".to_owned(), first.to_string()),
                    ("last_frame".to_owned(), last.to_string()),
                    ("label_scope".to_owned(), "video".to_owned()),
                ]),
            };
            if let (Some(events), Some(intervals)) = (&events, intervals) {
                item.set_events(events);
                let shown = &numbers[range];
                let is_inside = |number: &u64| {
                    intervals
                        .iter()
                        .any(|[from, to]| (from..=to).contains(&number))
                };
                let touches = shown.iter().any(is_inside);
                item.metadata
                    .insert("inside_official_interval".to_owned(), touches.to_string());
                if let Some(normal) = normal {
                    if !touches {
                        item.label = normal;
                    }
                    item.metadata
                        .insert("label_scope".to_owned(), "interval".to_owned());
                }
            }
            item
        };
        windows.into_iter().map(item).collect()
    }
}

/// The positions of all frames of a video.
const fn whole(numbers: &[u64]) -> Range<usize> {
    0..numbers.len()
}

/// When a frame of the video is shown.
fn at(number: u64) -> Timestamp {
    let tick = Rational::new(1, SEQUENCE_RATE_HZ).expect("positive");
    Timestamp::from_ticks(i64::try_from(number).unwrap_or(i64::MAX), tick)
}

/// The windows of a video of `num` stored frames. Those of a held-out split lie end to end, so that every frame is in exactly
/// one; those of training are `hop` apart, and a last one of less than half a window is left out.
fn windows(num: usize, config: &WindowConfig, split: Option<Split>) -> Vec<Range<usize>> {
    let is_held_out = matches!(split, Some(Split::Validation | Split::Test));
    let hop = match config.hop {
        Some(hop) if !is_held_out => hop,
        _ => config.frames,
    };
    (0..num)
        .step_by(hop)
        .map(|start| start..num.min(start.saturating_add(config.frames)))
        .filter(|window| is_held_out || window.start == 0 || 2 * window.len() >= config.frames)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_frames_in_both_styles() {
        for (name, video) in [
            ("Abuse001_x264_10.png", Some("Abuse001_x264")),
            ("Normal_Videos003_x264_0.png", Some("Normal_Videos003_x264")),
            (
                "Normal_Videos_003_x264_970.png",
                Some("Normal_Videos_003_x264"),
            ),
            ("Abuse001_x264.png", None),
            ("cover.png", None),
            ("Abuse001_x264_10.txt", None),
            ("_10.png", None),
        ] {
            assert_eq!(video_of_file(Path::new(name)).as_deref(), video, "{name}");
        }
        assert_eq!(
            canonical("Normal_Videos_003_x264"),
            canonical("Normal_Videos003_x264")
        );
        assert_eq!(canonical("Abuse_001_x264"), "Abuse_001_x264");
    }

    fn config(frames: usize, hop: Option<usize>) -> WindowConfig {
        WindowConfig {
            frames,
            hop,
            label: WindowLabel::Video,
        }
    }

    #[test]
    fn windows_of_training_hop_and_those_of_the_test_do_not() {
        let train = |num, frames, hop| windows(num, &config(frames, hop), Some(Split::Train));
        assert_eq!(train(10, 4, None), [0..4, 4..8, 8..10]);
        assert_eq!(train(9, 4, None), [0..4, 4..8], "one frame is no window");
        assert_eq!(train(10, 4, Some(2)), [0..4, 2..6, 4..8, 6..10, 8..10]);
        assert_eq!(train(30, 4, Some(10)), [0..4, 10..14, 20..24]);
        let short = train(3, 16, None);
        assert_eq!((short.len(), short[0].clone()), (1, 0..3));
        let test = windows(9, &config(4, Some(10)), Some(Split::Test));
        assert_eq!(test, [0..4, 4..8, 8..9]);
    }

    proptest! {
        #[test]
        fn every_frame_of_a_held_out_video_is_in_exactly_one_window(
            num in 1usize..500, frames in 1usize..80, hop in 1usize..100,
        ) {
            let found = windows(num, &config(frames, Some(hop)), Some(Split::Test));
            let covered: Vec<usize> = found.into_iter().flatten().collect();
            prop_assert_eq!(covered, (0..num).collect::<Vec<_>>());
        }
    }
}
