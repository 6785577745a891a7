//! A set laid out as the tables of calves' events are: long videos in folders of groups, days and cameras, and tables with 17
//! columns and Windows paths, with the faults that the published tables have.
//!
//! In each video two calves stand in a pen: a large one with a bright head, and a small one that at times goes to its head
//! (`ear`), its rear (`tail`) or its side (`teat`), and pushes there.

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
    mp4::write_mjpeg_mp4,
    scene::{Ground, ellipse},
    set::named,
};

const WIDTH: u32 = 64;
const HEIGHT: u32 = 48;
const FRAMES_PER_SEC: u32 = 5;
/// Length of a video, in seconds.
const VIDEO_SECS: u32 = 60;
const HEADER: &str = "event_idx,group,day,date,start_time,end_time,duration_sec,behavior,initiator_id,receiver_id,ended_by,\
                      pen_location,linked,camera_id,video_filename,video_path,event_offset_sec\n";
/// The folder that the tables' paths begin with, on the machine that wrote them.
pub const CATTLE_ROOT: &str = r"E:\Calves";

/// What [`write_cattle_set`] wrote, and how many faults of each kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CattleSet {
    /// All events, without a fault and without a split.
    pub events: PathBuf,
    /// Events of `ear` and `tail` in it.
    pub binary_events: usize,
    /// Events of other behaviours in it.
    pub other_events: usize,
    /// `train.csv` and `val.csv`, divided event by event inside of the videos.
    pub intravideo: PathBuf,
    /// Videos of `val.csv`, all of which are in `train.csv`.
    pub shared_videos: usize,
    /// Events of `val.csv` that are in `train.csv` too.
    pub repeated_events: usize,
    /// Events of `val.csv` that overlap another event of `train.csv` in time.
    pub overlapping_events: usize,
    /// The same with lines of `tail` repeated in both tables.
    pub boosted: PathBuf,
    /// Lines that are repeated in the training and the validation table.
    pub boosted_lines: [usize; 2],
    /// `train.csv` and a `test.csv` all of whose events are in it.
    pub retest: PathBuf,
    /// Events of that test.
    pub retested_events: usize,
    /// All events, and such as cannot be used.
    pub faulty: PathBuf,
    /// Events that last 0 s.
    pub zero_length: usize,
    /// Events that begin after the end of their video.
    pub out_of_file: usize,
    /// Events of another camera, another time, or no video.
    pub mislinked: usize,
    /// Videos.
    pub videos: usize,
}

/// Writes `num_videos` videos of a minute (at least 6) to `dir/videos`, and the tables beside them. The same seed writes the
/// same bytes.
///
/// # Errors
/// When there are fewer than 6 videos, or a file cannot be written.
pub fn write_cattle_set(dir: &Path, num_videos: usize, seed: u64) -> io::Result<CattleSet> {
    if num_videos < 6 {
        let problem = "a set of events needs at least 6 videos";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let mut events = Vec::new();
    for idx in 0..num_videos {
        let video = Video::of(idx);
        let rng = &mut rng_for(seed, 0, idx as u64, 0);
        let acts = acts(rng);
        let path = dir.join("videos").join(video.folder()).join(&video.name);
        let folder = path.parent().unwrap_or(dir);
        fs::create_dir_all(folder).map_err(|error| named(folder, &error))?;
        write_mjpeg_mp4(&path, &film(&acts, rng), FRAMES_PER_SEC)?;
        for act in acts {
            let number = events.len();
            events.push(Event {
                number,
                video: video.clone(),
                act,
            });
        }
    }
    let mut set = write_tables(dir, &events)?;
    set.videos = num_videos;
    Ok(set)
}

/// One video of one camera.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Video {
    group: usize,
    day: usize,
    camera: u32,
    /// Minutes after midnight at which it starts.
    minute: usize,
    name: String,
}

/// The channels of the cameras, by group.
const CAMERAS: [u32; 4] = [8, 16, 12, 3];

impl Video {
    fn of(idx: usize) -> Self {
        let (group, day) = (idx % 4 + 1, idx / 4 % 3 + 1);
        let (camera, minute) = (CAMERAS[group - 1], 6 * 60 + 30 * (idx / 12) + idx % 30);
        let (hour, of_hour) = (minute / 60, minute % 60);
        let end = minute + 1;
        let name = format!(
            "N884A6_ch{camera}_main_202407{:02}{hour:02}{of_hour:02}00_202407{:02}{:02}{:02}00.mp4",
            5 + day,
            5 + day,
            end / 60,
            end % 60
        );
        Self {
            group,
            day,
            camera,
            minute,
            name,
        }
    }

    fn folder(&self) -> String {
        format!("Group {} Day {}/Cam {}", self.group, self.day, self.camera)
    }
}

/// What the small calf does, when.
#[derive(Clone, Debug, PartialEq)]
struct Act {
    behavior: &'static str,
    start_sec: f64,
    secs: f64,
    /// Whether the large calf's head is on the left.
    faces_left: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Event {
    number: usize,
    video: Video,
    act: Act,
}

/// The events of one video: about one in eight seconds, ear twice as often as tail.
fn acts(rng: &mut SeededRng) -> Vec<Act> {
    let faces_left = rng.random();
    let mut acts = Vec::new();
    let mut start_sec = rng.random_range(2.0..5.0);
    while start_sec < f64::from(VIDEO_SECS) - 7.0 {
        let secs = (10.0 * rng.random_range(1.5..5.0_f64)).round() / 10.0;
        let behavior = match rng.random_range(0..20) {
            0 => "teat",
            1 => "other",
            2..=12 => "ear",
            _ => "tail",
        };
        let start = (10.0 * start_sec).round() / 10.0;
        acts.push(Act {
            behavior,
            start_sec: start,
            secs,
            faces_left,
        });
        start_sec += secs + rng.random_range(1.5..6.0);
    }
    acts
}

/// The frames of one video.
fn film(acts: &[Act], rng: &mut SeededRng) -> Vec<RgbImage> {
    let ground = Ground::draw(WIDTH, HEIGHT, rng);
    let coat = rng.random_range(120..190);
    let middle = [rng.random_range(29.0..35.0), rng.random_range(21.0..27.0)];
    let side = if acts.first().is_some_and(|act| act.faces_left) {
        -1.0
    } else {
        1.0
    };
    let phase = rng.random_range(0.0..TAU);
    let frame = |idx: u32| {
        let time = f64::from(idx) / f64::from(FRAMES_PER_SEC);
        let mut picture = ground.frame(rng);
        let sway = 0.6 * (0.7 * time + phase).sin();
        let [x, y] = [middle[0] + sway, middle[1]];
        ellipse(&mut picture, [x, y], [11.0, 5.5], [coat, coat / 2 + 20, 40]);
        ellipse(
            &mut picture,
            [x + side * 13.0, y],
            [4.0, 3.5],
            [235, 235, 225],
        );
        let act = acts
            .iter()
            .find(|act| (act.start_sec..act.start_sec + act.secs).contains(&time));
        let place = match act.map(|act| act.behavior) {
            Some(behavior) => {
                // It pushes twice a second.
                let push = 1.5 * (TAU * 2.0 * time).sin();
                match behavior {
                    "ear" => [x + side * (19.0 + push), y + 3.0],
                    "tail" => [x - side * (16.0 + push), y + 3.0],
                    "teat" => [x, y + 9.0 + push],
                    _ => [x + 10.0 * (3.0 * time).cos(), y - 12.0],
                }
            }
            None => [
                x + 20.0 * (0.35 * time + phase).sin(),
                y + 17.0 + 2.0 * (0.9 * time).cos(),
            ],
        };
        ellipse(&mut picture, place, [5.0, 4.0], [70, 70, 160]);
        picture
    };
    (0..VIDEO_SECS * FRAMES_PER_SEC).map(frame).collect()
}

/// The time of the day, `h:mm:ss`, the hour with one digit where it has one.
fn clock(secs: f64) -> String {
    let secs = secs as u32;
    format!("{}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60)
}

/// What is wrong with a line on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    ZeroLength,
    OutOfFile,
    Camera,
    Time,
    Unlinked,
}

impl Event {
    fn row(&self, wrong: Wrong) -> String {
        let (video, act) = (&self.video, &self.act);
        let offset = match wrong {
            Wrong::OutOfFile => act.start_sec + f64::from(VIDEO_SECS),
            _ => act.start_sec,
        };
        let secs = if wrong == Wrong::ZeroLength {
            0.0
        } else {
            act.secs
        };
        let shift = if wrong == Wrong::Time { 1800.0 } else { 0.0 };
        let begins = 60.0 * video.minute as f64 + offset + shift;
        let camera = video.camera + if wrong == Wrong::Camera { 1 } else { 0 };
        let linked = if wrong == Wrong::Unlinked {
            "False"
        } else {
            "True"
        };
        let folder = video.folder().replace('/', r"\");
        // People write `Ear ` now and then.
        let behavior = match self.number % 7 {
            3 => format!(
                "{}{} ",
                act.behavior[..1].to_uppercase(),
                &act.behavior[1..]
            ),
            _ => act.behavior.to_owned(),
        };
        format!(
            "{},{},{},7/{}/2024,{},{},{secs},{behavior},{},{},initiator,pen {},{linked},{camera},{},{CATTLE_ROOT}\\{folder}\\{},{offset}\n",
            self.number,
            video.group,
            video.day,
            5 + video.day,
            clock(begins),
            clock(begins + secs),
            100 * video.group + 1 + self.number % 3,
            100 * video.group + 7 + self.number % 2,
            video.group % 2 + 1,
            video.name,
            video.name,
        )
    }

    fn is_binary(&self) -> bool {
        matches!(self.act.behavior, "ear" | "tail")
    }
}

fn table<'a>(path: &Path, rows: impl Iterator<Item = (&'a Event, Wrong)>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|error| named(folder, &error))?;
    let mut text = HEADER.to_owned();
    for (event, wrong) in rows {
        write!(text, "{}", event.row(wrong)).expect("a string takes every write");
    }
    fs::write(path, text).map_err(|error| named(path, &error))
}

const fn right(event: &Event) -> (&Event, Wrong) {
    (event, Wrong::Nothing)
}

fn write_tables(dir: &Path, events: &[Event]) -> io::Result<CattleSet> {
    let all = dir.join("events.csv");
    table(&all, events.iter().map(right))?;
    let binary: Vec<&Event> = events.iter().filter(|event| event.is_binary()).collect();

    // Every fourth event of a video validates; two of them train too, and two others begin within an event of training.
    let (mut train, mut val) = (Vec::new(), Vec::new());
    for (idx, event) in binary.iter().enumerate() {
        if idx % 4 == 3 { &mut val } else { &mut train }.push((*event).clone());
    }
    train.extend(val[..2].to_vec());
    let late: Vec<Event> = train[..2].to_vec();
    val.extend(late.into_iter().map(|mut event| {
        event.act.start_sec = (10.0 * (event.act.start_sec + 0.7)).round() / 10.0;
        event
    }));
    let intravideo = dir.join("intravideo");
    table(&intravideo.join("train.csv"), train.iter().map(right))?;
    table(&intravideo.join("val.csv"), val.iter().map(right))?;
    let mut shared: Vec<&str> = val.iter().map(|event| event.video.name.as_str()).collect();
    shared.sort_unstable();
    shared.dedup();

    // Whole videos on each side, then every tail twice.
    let of_side = |is_val: bool| -> Vec<&Event> {
        binary
            .iter()
            .filter(|event| (event.video.group == 1) == is_val)
            .copied()
            .collect()
    };
    let boosted = dir.join("boosted");
    let mut boosted_lines = [0; 2];
    for (side, name) in [(0, "train.csv"), (1, "val.csv")] {
        let events = of_side(side == 1);
        let tails: Vec<&Event> = events
            .iter()
            .filter(|event| event.act.behavior == "tail")
            .copied()
            .collect();
        boosted_lines[side] = tails.len();
        table(
            &boosted.join(name),
            events.into_iter().chain(tails).map(right),
        )?;
    }

    let retest = dir.join("retest");
    table(
        &retest.join("train.csv"),
        binary.iter().map(|event| right(event)),
    )?;
    let tested: Vec<&Event> = binary.iter().step_by(5).copied().collect();
    table(
        &retest.join("test.csv"),
        tested.iter().map(|event| right(event)),
    )?;

    let wrongs = [
        Wrong::ZeroLength,
        Wrong::OutOfFile,
        Wrong::Camera,
        Wrong::ZeroLength,
        Wrong::Time,
        Wrong::Unlinked,
        Wrong::ZeroLength,
        Wrong::OutOfFile,
    ];
    let faulty = dir.join("faulty.csv");
    let odd = binary.iter().zip(wrongs).map(|(event, wrong)| {
        // Other animals at the same time, so that a faulty line repeats no other.
        let number = event.number + events.len();
        (
            Event {
                number,
                ..(*event).clone()
            },
            wrong,
        )
    });
    let odd: Vec<(Event, Wrong)> = odd.collect();
    let rows = events
        .iter()
        .map(right)
        .chain(odd.iter().map(|(event, wrong)| (event, *wrong)));
    table(&faulty, rows)?;
    let count = |kinds: &[Wrong]| {
        odd.iter()
            .filter(|(_, wrong)| kinds.contains(wrong))
            .count()
    };
    Ok(CattleSet {
        events: all,
        binary_events: binary.len(),
        other_events: events.len() - binary.len(),
        intravideo,
        shared_videos: shared.len(),
        repeated_events: 2,
        overlapping_events: 2,
        boosted,
        boosted_lines,
        retest,
        retested_events: tested.len(),
        faulty,
        zero_length: count(&[Wrong::ZeroLength]),
        out_of_file: count(&[Wrong::OutOfFile]),
        mislinked: count(&[Wrong::Camera, Wrong::Time, Wrong::Unlinked]),
        videos: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_published_columns_and_the_counted_faults() {
        let dir = tempfile::tempdir().expect("a folder");
        let set = write_cattle_set(dir.path(), 6, 1).expect("written");
        let text = fs::read_to_string(&set.faulty).expect("a table");
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert!(rows.iter().all(|row| row.len() == 17), "17 columns");
        let lines = set.binary_events + set.other_events;
        assert_eq!(
            rows.len() - 1,
            lines + set.zero_length + set.out_of_file + set.mislinked
        );
        assert_eq!(
            rows[1..].iter().filter(|row| row[6] == "0").count(),
            set.zero_length
        );
        assert!(
            rows[1][15]
                .starts_with(r"E:\Calves\Group 1 Day 1\Cam 8\N884A6_ch8_main_20240706060000_"),
            "{}",
            rows[1][15]
        );
        let behaviors: std::collections::BTreeSet<&str> =
            rows[1..].iter().map(|row| row[7]).collect();
        assert!(
            behaviors.contains("ear") && behaviors.contains("Tail "),
            "{behaviors:?}"
        );
        assert!(dir.path().join("videos/Group 1 Day 1/Cam 8").is_dir());
        assert_eq!(set.videos, 6);
    }

    #[test]
    fn the_small_calf_is_where_the_event_says() {
        let act = |behavior, start_sec| Act {
            behavior,
            start_sec,
            secs: 4.0,
            faces_left: true,
        };
        let frames = film(
            &[act("ear", 2.0), act("tail", 10.0)],
            &mut rng_for(4, 0, 0, 0),
        );
        // The middle of what is blue.
        let place = |secs: u32| {
            let picture = &frames[(secs * FRAMES_PER_SEC) as usize];
            let blue: Vec<f64> = picture
                .enumerate_pixels()
                .filter(|(_, _, pixel)| pixel.0[2] > 130 && pixel.0[0] < 100)
                .map(|(x, ..)| f64::from(x))
                .collect();
            blue.iter().sum::<f64>() / blue.len() as f64
        };
        assert!(place(4) < 20.0, "at the head, on the left: {}", place(4));
        assert!(place(12) > 40.0, "at the tail, on the right: {}", place(12));
    }
}
