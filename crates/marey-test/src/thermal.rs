//! A set laid out as the thermal action set is: recordings in HDF5 with their timestamps, annotated frames in JSON, and what
//! is odd in the published one.
//!
//! A warm body moves through a room as a sensor of 40x60 pixels sees it. Frames come in bursts and with gaps; packets of 576
//! pixels are lost and read -273.2; some frames show two persons with different labels; training and validation frames are
//! of the same recordings; and one recording that is annotated is not there.

use std::{
    f64::consts::TAU,
    fs, io,
    path::{Path, PathBuf},
};

use marey_clip::{SeededRng, rng_for};
use rand::{Rng, seq::SliceRandom};
use serde_json::{Map, Value, json};

use crate::{
    hdf5::{self, Attribute, Contents, Pictures},
    set::named,
};

const HEIGHT: usize = 40;
const WIDTH: usize = 60;
/// What a pixel that did not arrive reads.
const LOST: f32 = -273.2;
/// Pixels of a packet, row by row.
const PACKET: usize = 576;
/// Frames of a recording.
const FRAMES: usize = 320;
/// Frames without annotation at both ends, so that a window of 64 fits around each annotated one.
const MARGIN: usize = 32;
/// The classes of the published set; the first [`NUM_SHOWN`] have a body that looks like them.
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
const NUM_SHOWN: usize = 4;

/// What [`write_thermal_set`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThermalSet {
    /// Recordings that are there.
    pub recordings: usize,
    /// Annotated frames of these, for training and for validation.
    pub frames: [usize; 2],
    /// Annotated frames of the recording that is absent.
    pub absent_frames: usize,
    /// Frames with two persons whose labels differ, in recordings that are there.
    pub mixed_frames: usize,
    /// Frames of the recordings with lost pixels.
    pub lossy_frames: usize,
}

/// Writes `num_recordings` recordings (at least 2) to `dir/frames`, and annotations to `dir/annotations`. The same seed writes
/// the same bytes.
///
/// # Errors
/// When there are fewer than 2 recordings, or a file cannot be written.
pub fn write_thermal_set(dir: &Path, num_recordings: usize, seed: u64) -> io::Result<ThermalSet> {
    if num_recordings < 2 {
        let problem = "a thermal set needs at least 2 recordings";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    for folder in ["frames", "annotations"].map(|folder| dir.join(folder)) {
        fs::create_dir_all(&folder).map_err(|error| named(&folder, &error))?;
    }
    let mut set = ThermalSet {
        recordings: num_recordings,
        frames: [0; 2],
        absent_frames: 0,
        mixed_frames: 0,
        lossy_frames: 0,
    };
    let (mut keyframes, mut sensors) = (Vec::new(), Map::new());
    for idx in 0..=num_recordings {
        let is_there = idx < num_recordings;
        let recording = Recording::draw(idx, &mut rng_for(seed, 0, idx as u64, 0));
        if is_there {
            set.lossy_frames += recording.lossy_frames;
            let path = dir.join("frames").join(format!("{}.h5", recording.name));
            write(&path, &recording.file()?)?;
            sensors.insert(recording.name.clone(), recording.about());
        }
        for keyframe in recording.keyframes {
            let is_mixed = keyframe
                .persons
                .iter()
                .any(|p| p.class != keyframe.persons[0].class);
            set.mixed_frames += usize::from(is_there && is_mixed);
            keyframes.push((is_there, keyframe));
        }
    }
    write_annotations(dir, keyframes, seed, &mut set)?;
    write_json(
        &dir.join("frames/sensor_info.json"),
        &Value::Object(sensors),
    )?;
    Ok(set)
}

/// The annotation files and the list of classes. `keyframes` say whether their recording is there.
fn write_annotations(
    dir: &Path,
    mut keyframes: Vec<(bool, Keyframe)>,
    seed: u64,
    set: &mut ThermalSet,
) -> io::Result<()> {
    // Frame by frame, as in the published set: every recording is on both sides.
    keyframes.shuffle(&mut rng_for(seed, 1, 0, 0));
    let num_train = keyframes.len() * 4 / 5;
    let (train, validation) = keyframes.split_at(num_train);
    for (at, (file, what, part)) in [
        ("train.json", "Training", train),
        ("val.json", "Validation", validation),
    ]
    .into_iter()
    .enumerate()
    {
        set.frames[at] = part.iter().filter(|(is_there, _)| *is_there).count();
        set.absent_frames += part.len() - set.frames[at];
        let frames: Vec<&Keyframe> = part.iter().map(|(_, keyframe)| keyframe).collect();
        write_json(
            &dir.join("annotations").join(file),
            &annotations(what, &frames),
        )?;
    }
    let ids: Map<String, Value> = CLASSES
        .iter()
        .zip(0..)
        .map(|(name, id)| ((*name).to_owned(), json!(id)))
        .collect();
    let mapping = json!({ "classes": CLASSES, "class_to_id": ids });
    write_json(&dir.join("annotations/class_mapping.json"), &mapping)
}

fn write(path: &PathBuf, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes).map_err(|error| named(path, &error))
}

fn write_json(path: &PathBuf, value: &Value) -> io::Result<()> {
    write(path, &serde_json::to_vec_pretty(value)?)
}

/// An annotation file, which looks like COCO's and is not: ids of images are text, boxes are centres and sides as shares of
/// the picture.
fn annotations(what: &str, keyframes: &[&Keyframe]) -> Value {
    let mut persons = Vec::new();
    for keyframe in keyframes {
        for (object, person) in keyframe.persons.iter().enumerate() {
            let [x, y] = person.centre;
            let [rx, ry] = person.radii();
            let (width, height) = (WIDTH as f64, HEIGHT as f64);
            persons.push(json!({
                "id": persons.len(),
                "image_id": keyframe.id(),
                "bbox": [x / width, y / height, 2.0 * rx / width, 2.0 * ry / height],
                "category_id": person.class,
                "category_name": CLASSES[person.class],
                "object_id": object,
                "attribute_obscured": "0%",
            }));
        }
    }
    let image = |keyframe: &&Keyframe| {
        json!({
            "id": keyframe.id(),
            "sensor_id": keyframe.recording,
            "mac_address": MAC_ADDRESS,
            "timestamp": keyframe.timestamp,
            "width": WIDTH,
            "height": HEIGHT,
            "frame_idx": keyframe.frame_idx,
        })
    };
    let category = |(id, name): (usize, &&str)| json!({ "id": id, "name": name });
    json!({
        "images": keyframes.iter().map(image).collect::<Vec<_>>(),
        "annotations": persons,
        "categories": CLASSES.iter().enumerate().map(category).collect::<Vec<_>>(),
        "info": {
            "description": format!("Rendered thermal recordings ({what})"),
            "version": "1.0",
            "year": 2025,
        },
    })
}

const MAC_ADDRESS: &str = "02:00:00:00:00:01";

/// An annotated frame.
struct Keyframe {
    recording: String,
    timestamp: i64,
    frame_idx: usize,
    persons: Vec<Person>,
}

impl Keyframe {
    fn id(&self) -> String {
        format!("{}_{}", self.recording, self.timestamp)
    }
}

/// A warm body.
#[derive(Clone, Copy)]
struct Person {
    class: usize,
    /// `[x, y]` in pixels.
    centre: [f64; 2],
}

impl Person {
    /// Half its sides, `[x, y]`: its posture.
    fn radii(&self) -> [f64; 2] {
        match self.class {
            0 => [4.0, 5.0],
            1 | 2 => [2.5, 8.5],
            3 => [9.0, 3.0],
            _ => [7.5, 4.5],
        }
    }
}

struct Recording {
    name: String,
    timestamps: Vec<i64>,
    pixels: Vec<f32>,
    lossy_frames: usize,
    keyframes: Vec<Keyframe>,
}

impl Recording {
    fn draw(idx: usize, rng: &mut SeededRng) -> Self {
        let name = format!("SL{:02}_R{}", 14 + idx / 4, idx % 4 + 1);
        let mut timestamps = vec![1_760_000_000_000 + idx as i64 * 3_600_000];
        for _ in 1..FRAMES {
            let last = timestamps[timestamps.len() - 1];
            timestamps.push(last + step_ms(rng));
        }
        let mut recording = Self {
            name,
            timestamps,
            pixels: Vec::with_capacity(FRAMES * HEIGHT * WIDTH),
            lossy_frames: 0,
            keyframes: Vec::new(),
        };
        let room = [(); 3].map(|()| rng.random_range(-2.0..2.0));
        let mut persons = Vec::new();
        for frame_idx in 0..FRAMES {
            // Every 40 frames the persons do something else.
            if frame_idx % 40 == 0 {
                let person = |class, rng: &mut SeededRng| Person {
                    class,
                    centre: [rng.random_range(12.0..48.0), rng.random_range(10.0..30.0)],
                };
                persons = vec![person((idx + frame_idx / 40) % NUM_SHOWN, rng)];
                if rng.random_bool(0.25) {
                    persons.push(person(rng.random_range(0..=NUM_SHOWN), rng));
                }
            }
            for person in persons.iter_mut().filter(|person| person.class == 2) {
                person.centre[0] = 8.0 + (person.centre[0] - 8.0 + 1.2).rem_euclid(44.0);
            }
            recording.push_frame(room, &persons, rng);
            let is_inside = (MARGIN..FRAMES - MARGIN).contains(&frame_idx);
            if is_inside && rng.random_bool(0.16) {
                recording.keyframes.push(Keyframe {
                    recording: recording.name.clone(),
                    timestamp: recording.timestamps[frame_idx],
                    frame_idx,
                    persons: persons.clone(),
                });
            }
        }
        recording
    }

    /// A frame in tenths of a degree, in which packets may be lost.
    fn push_frame(&mut self, room: [f64; 3], persons: &[Person], rng: &mut SeededRng) {
        let start = self.pixels.len();
        for at in 0..HEIGHT * WIDTH {
            let (x, y) = ((at % WIDTH) as f64, (at / WIDTH) as f64);
            let mut degrees = 19.0
                + room[0]
                + room[1] * x / WIDTH as f64
                + room[2] * (TAU * y / HEIGHT as f64).sin();
            for person in persons {
                let [rx, ry] = person.radii();
                let distance = ((x - person.centre[0]) / rx).hypot((y - person.centre[1]) / ry);
                degrees += 10.0 * (1.4 - distance).clamp(0.0, 0.7);
            }
            degrees += rng.random_range(-0.3..0.3);
            self.pixels.push((degrees * 10.0).round() as f32 / 10.0);
        }
        if rng.random_bool(0.08) {
            self.lossy_frames += 1;
            let packet = rng.random_range(0..HEIGHT * WIDTH / PACKET);
            self.pixels[start + packet * PACKET..][..PACKET].fill(LOST);
        }
    }

    /// The published file's names, attributes, chunks and compression.
    fn file(&self) -> io::Result<Vec<u8>> {
        let (first, last) = self.ends();
        hdf5::file(&Contents {
            attributes: &[
                ("compression", Attribute::Text("gzip")),
                ("compression_level", Attribute::Number(4)),
                ("corrupted_count", Attribute::Number(0)),
                (
                    "created_at",
                    Attribute::Text("2025-11-12T09:31:09.641700+00:00"),
                ),
                ("frame_height", Attribute::Number(HEIGHT as i64)),
                ("frame_width", Attribute::Number(WIDTH as i64)),
                ("mac_address", Attribute::Text(MAC_ADDRESS)),
                ("max_timestamp", Attribute::Number(last)),
                ("min_timestamp", Attribute::Number(first)),
                ("sensor_id", Attribute::Text(&self.name)),
                ("total_frames", Attribute::Number(FRAMES as i64)),
            ],
            columns: &[
                ("frame_seqs", &self.timestamps),
                ("timestamps", &self.timestamps),
            ],
            pictures: Pictures {
                name: "frames",
                values: &self.pixels,
                size: [HEIGHT, WIDTH],
                chunk: 64,
                level: 4,
            },
        })
    }

    fn ends(&self) -> (i64, i64) {
        (self.timestamps[0], self.timestamps[FRAMES - 1])
    }

    /// Its entry in `sensor_info.json`.
    fn about(&self) -> Value {
        let (first, last) = self.ends();
        json!({
            "hdf5_path": format!("thermal_action_dataset/frames/{}.h5", self.name),
            "mac_address": MAC_ADDRESS,
            "total_frames": FRAMES,
            "corrupted_frames": 0,
            "annotation_count": self.keyframes.len(),
            "min_timestamp": first,
            "max_timestamp": last,
        })
    }
}

/// Milliseconds to the next frame: about 160, or a burst at 35, or a gap.
fn step_ms(rng: &mut SeededRng) -> i64 {
    match rng.random_range(0..100) {
        0..45 => rng.random_range(28..48),
        45..92 => rng.random_range(130..190),
        _ => rng.random_range(240..1400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_writes_the_same_bytes_and_the_faults_are_there() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let sets =
            [&dirs[0], &dirs[1]].map(|dir| write_thermal_set(dir.path(), 2, 5).expect("written"));
        assert_eq!(sets[0], sets[1]);
        let [train, validation] = sets[0].frames;
        assert!(train > 40 && validation > 10, "{:?}", sets[0]);
        assert!(
            sets[0].absent_frames > 10 && sets[0].lossy_frames > 20,
            "{:?}",
            sets[0]
        );
        for file in [
            "frames/SL14_R1.h5",
            "annotations/train.json",
            "frames/sensor_info.json",
        ] {
            let [a, b] =
                [&dirs[0], &dirs[1]].map(|dir| fs::read(dir.path().join(file)).expect("a file"));
            assert!(a == b, "{file}");
        }
        assert!(!dirs[0].path().join("frames/SL14_R3.h5").exists());
        let error = write_thermal_set(dirs[0].path(), 1, 5).expect_err("one recording");
        assert_eq!(
            error.to_string(),
            "a thermal set needs at least 2 recordings"
        );
    }
}
