//! A frame tree laid out as UCF-Crime on 64x64 pixels, with what is odd in it, rendered.
//!
//! `{Train,Test}/<class>/<video>_x264_<frame>.png` with every tenth frame and numbers without leading zeros, normal videos in
//! both styles of names, and the annotations of the test videos. In every video people (white) walk about; in an anomalous one
//! something that no normal video shows happens for a part of it, by class in another colour and another motion.

use std::{
    f64::consts::TAU,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use image::RgbImage;
use marey_clip::{SeededRng, rng_for};
use rand::Rng;

use crate::{
    scene::{Ground, ellipse},
    set::named,
};

/// The anomalous classes of UCF-Crime, in alphabetical order; `NormalVideos` is the eighth of all.
pub const ANOMALY_CLASSES: [&str; 13] = [
    "Abuse",
    "Arrest",
    "Arson",
    "Assault",
    "Burglary",
    "Explosion",
    "Fighting",
    "RoadAccidents",
    "Robbery",
    "Shooting",
    "Shoplifting",
    "Stealing",
    "Vandalism",
];
/// The class in which nothing happens.
pub const NORMAL_CLASS: &str = "NormalVideos";

/// Frames of the video between two pictures.
const EVERY: usize = 10;
/// Height and width of a picture, in pixels.
const SIDE: u32 = 64;

/// How large a tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnomalySize {
    /// Anomalous classes, the first of [`ANOMALY_CLASSES`], 1 to 13.
    pub classes: usize,
    /// Training videos of each anomalous class; there are twice as many normal ones.
    pub train_videos: usize,
    /// Test videos of each anomalous class; there are twice as many normal ones.
    pub test_videos: usize,
    /// Pictures of a video, at least 8.
    pub pictures: usize,
}

/// What [`write_anomaly_set`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnomalySet {
    /// The annotation file.
    pub annotations: PathBuf,
    /// Videos in both splits.
    pub videos: usize,
    /// Pictures in both splits.
    pub pictures: usize,
    /// Pictures of anomalous test videos, and how many of them lie inside of an annotated interval.
    pub anomalous_test_pictures: [usize; 2],
    /// Pictures that are left out in the middle of a video.
    pub missing_pictures: usize,
}

/// Writes a frame tree to `dir`. The same size and seed write the same bytes.
///
/// What is odd in the published tree is odd here: one training video lacks pictures in its middle, one folder holds a file
/// that is no frame, a class of the list has an empty folder (where fewer than all are written), and one annotated video is
/// not there.
///
/// # Errors
/// When the size cannot be written, or a file cannot.
pub fn write_anomaly_set(dir: &Path, size: &AnomalySize, seed: u64) -> io::Result<AnomalySet> {
    if !(1..=ANOMALY_CLASSES.len()).contains(&size.classes) || size.pictures < 8 {
        let problem = "expected 1 to 13 anomalous classes and at least 8 pictures a video";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let mut set = AnomalySet {
        annotations: dir.join("Temporal_Anomaly_Annotation.txt"),
        videos: 0,
        pictures: 0,
        anomalous_test_pictures: [0; 2],
        missing_pictures: 0,
    };
    let mut annotations = String::new();
    for (split, split_idx, videos) in [
        ("Train", 0, size.train_videos),
        ("Test", 1, size.test_videos),
    ] {
        let anomalous =
            (0..size.classes).map(|class| (Some(class), ANOMALY_CLASSES[class], videos));
        for (class, name, videos) in anomalous.chain([(None, NORMAL_CLASS, 2 * videos)]) {
            let folder = dir.join(split).join(name);
            fs::create_dir_all(&folder).map_err(|error| named(&folder, &error))?;
            for idx in 0..videos {
                // Numbers of a class go on from training to the test.
                let number = idx
                    + 1
                    + split_idx
                        * if class.is_some() {
                            videos_before(size)
                        } else {
                            2 * size.train_videos
                        };
                let video = match (class, split_idx) {
                    (Some(_), _) => format!("{name}{number:03}_x264"),
                    (None, 0) => format!("Normal_Videos{number:03}_x264"),
                    (None, _) => format!("Normal_Videos_{number:03}_x264"),
                };
                let rng = &mut rng_for(
                    seed,
                    split_idx as u64,
                    class.map_or(99, |c| c as u64),
                    idx as u64,
                );
                let scene = Scene::draw(class, split_idx == 1, size.pictures, rng);
                let is_gappy = split_idx == 0 && class == Some(0) && idx == 0;
                for picture in 0..size.pictures {
                    if is_gappy && (3..5).contains(&picture) {
                        set.missing_pictures += 1;
                        continue;
                    }
                    let path = folder.join(format!("{video}_{}.png", picture * EVERY));
                    scene
                        .picture(picture, rng)
                        .save(&path)
                        .map_err(|error| named(&path, &io::Error::other(error)))?;
                    set.pictures += 1;
                }
                set.videos += 1;
                if split_idx == 1 {
                    if class.is_some() {
                        set.anomalous_test_pictures[0] += size.pictures;
                        set.anomalous_test_pictures[1] += scene
                            .event
                            .as_ref()
                            .map_or(0, |event| event.last - event.first + 1);
                    }
                    annotate(&mut annotations, &video, name, &scene);
                }
            }
        }
    }
    write_oddities(dir, size, &mut annotations)?;
    fs::write(&set.annotations, annotations).map_err(|error| named(&set.annotations, &error))?;
    Ok(set)
}

const fn videos_before(size: &AnomalySize) -> usize {
    size.train_videos
}

/// A line of the annotations: the interval in frames of the video, both ends inside.
fn annotate(text: &mut String, video: &str, class: &str, scene: &Scene) {
    let name = if class == NORMAL_CLASS {
        "Normal"
    } else {
        class
    };
    let [first, last] = match &scene.event {
        // The pictures stand for the frames up to the next one.
        Some(event) => [
            (event.first * EVERY) as i64,
            (event.last * EVERY + EVERY - 1) as i64,
        ],
        None => [-1, -1],
    };
    writeln!(text, "{video}.mp4  {name}  {first}  {last}  -1  -1  ")
        .expect("a string takes every write");
}

fn write_oddities(dir: &Path, size: &AnomalySize, annotations: &mut String) -> io::Result<()> {
    annotations.push_str("Stealing999_x264.mp4  Stealing  10  90  -1  -1  \n");
    let stray = dir.join("Train").join(NORMAL_CLASS).join("Thumbs.db");
    fs::write(&stray, b"no picture").map_err(|error| named(&stray, &error))?;
    if let Some(name) = ANOMALY_CLASSES.get(size.classes) {
        let empty = dir.join("Train").join(name);
        fs::create_dir_all(&empty).map_err(|error| named(&empty, &error))?;
    }
    Ok(())
}

/// What happens in an anomalous video, from its first to its last picture.
struct Event {
    class: usize,
    first: usize,
    last: usize,
    at: [f64; 2],
    phase: f64,
}

/// One video.
struct Scene {
    ground: Ground,
    /// Row, start, speed and height of each person.
    people: Vec<[f64; 4]>,
    event: Option<Event>,
}

/// Colours of what happens, by class.
const COLOURS: [[u8; 3]; 5] = [
    [225, 60, 50],
    [235, 200, 50],
    [60, 205, 90],
    [75, 120, 235],
    [215, 75, 205],
];

impl Scene {
    fn draw(class: Option<usize>, is_test: bool, pictures: usize, rng: &mut SeededRng) -> Self {
        let ground = Ground::draw(SIDE, SIDE, rng);
        let people = (0..rng.random_range(1..=3))
            .map(|_| {
                [
                    rng.random_range(14.0..54.0),
                    rng.random_range(0.0..128.0),
                    rng.random_range(1.0..2.5) * if rng.random() { 1.0 } else { -1.0 },
                    rng.random_range(3.5..5.5),
                ]
            })
            .collect();
        // Training videos are cut around what happens; test videos show much that is normal.
        let share = if is_test { 0.3..0.5 } else { 0.6..0.9 };
        let event = class.map(|class| {
            let length = ((pictures as f64 * rng.random_range(share)) as usize).max(2);
            let first = rng.random_range(0..=pictures - length);
            Event {
                class,
                first,
                last: first + length - 1,
                at: [rng.random_range(18.0..46.0), rng.random_range(18.0..46.0)],
                phase: rng.random_range(0.0..TAU),
            }
        });
        Self {
            ground,
            people,
            event,
        }
    }

    fn picture(&self, idx: usize, rng: &mut SeededRng) -> RgbImage {
        let mut picture = self.ground.frame(rng);
        let time = idx as f64;
        for [row, start, speed, height] in &self.people {
            // They walk out on one side and come in on the other.
            let x = (start + speed * time).rem_euclid(f64::from(SIDE) + 16.0) - 8.0;
            ellipse(
                &mut picture,
                [x, *row],
                [0.5 * height, *height],
                [205, 205, 200],
            );
        }
        if let Some(event) = &self.event
            && (event.first..=event.last).contains(&idx)
        {
            event.paint(&mut picture, time - event.first as f64);
        }
        picture
    }
}

impl Event {
    /// By class a colour and one of three motions: swelling, circling, shaking.
    fn paint(&self, picture: &mut RgbImage, time: f64) {
        let colour = COLOURS[self.class % COLOURS.len()];
        let [x, y] = self.at;
        let turn = self.phase + 1.1 * time;
        match self.class % 3 {
            0 => {
                let radius = 5.0 + 4.0 * turn.sin().abs();
                ellipse(picture, [x, y], [radius; 2], colour);
            }
            1 => {
                let place = [x + 8.0 * turn.cos(), y + 8.0 * turn.sin()];
                ellipse(picture, place, [5.0, 5.0], colour);
            }
            _ => {
                let shake = 4.0 * (2.3 * turn).sin();
                ellipse(picture, [x - 4.0 + shake, y], [3.5, 7.0], colour);
                ellipse(picture, [x + 4.0 - shake, y], [3.5, 7.0], colour);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: AnomalySize = AnomalySize {
        classes: 2,
        train_videos: 2,
        test_videos: 1,
        pictures: 10,
    };

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .expect("a folder")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_tree_has_the_published_names_and_oddities() {
        let dir = tempfile::tempdir().expect("a folder");
        let set = write_anomaly_set(dir.path(), &SMALL, 3).expect("written");
        assert_eq!(
            (set.videos, set.pictures, set.missing_pictures),
            (12, 118, 2)
        );
        assert_eq!(
            names(&dir.path().join("Train")),
            ["Abuse", "Arrest", "Arson", "NormalVideos"]
        );
        assert!(names(&dir.path().join("Train/Arson")).is_empty());
        let normal = names(&dir.path().join("Train/NormalVideos"));
        assert!(normal.contains(&"Normal_Videos001_x264_0.png".to_owned()));
        assert!(normal.contains(&"Thumbs.db".to_owned()));
        let normal = names(&dir.path().join("Test/NormalVideos"));
        assert!(
            normal.contains(&"Normal_Videos_005_x264_90.png".to_owned()),
            "{normal:?}"
        );
        let text = fs::read_to_string(&set.annotations).expect("a file");
        assert_eq!(text.lines().count(), 5);
        assert!(text.contains("Normal_Videos_005_x264.mp4  Normal  -1  -1"));
        let [total, inside] = set.anomalous_test_pictures;
        assert!(
            total == 20 && (4..12).contains(&inside),
            "{inside} of {total}"
        );
    }

    #[test]
    fn the_same_seed_writes_the_same_bytes() {
        let bytes = |seed| {
            let dir = tempfile::tempdir().expect("a folder");
            write_anomaly_set(dir.path(), &SMALL, seed).expect("written");
            fs::read(dir.path().join("Test/Arrest/Arrest003_x264_40.png")).expect("a picture")
        };
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
    }

    #[test]
    fn what_happens_is_seen_inside_of_its_interval_only() {
        for class in 0..ANOMALY_CLASSES.len() {
            let rng = &mut rng_for(7, 0, class as u64, 0);
            let scene = Scene::draw(Some(class), true, 20, rng);
            let event = scene.event.as_ref().expect("it is anomalous");
            let colourful = |idx: usize, rng: &mut SeededRng| {
                let picture = scene.picture(idx, rng);
                let spread = |pixel: &&image::Rgb<u8>| {
                    pixel
                        .0
                        .iter()
                        .max()
                        .zip(pixel.0.iter().min())
                        .is_some_and(|(a, b)| a - b > 90)
                };
                picture.pixels().filter(spread).count()
            };
            for idx in 0..20 {
                let is_inside = (event.first..=event.last).contains(&idx);
                let seen = colourful(idx, rng);
                assert_eq!(
                    seen > 40,
                    is_inside,
                    "class {class}, picture {idx}: {seen} pixels"
                );
            }
        }
    }
}
