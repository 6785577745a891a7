//! Near-duplicates: copies of generated scenes, and of the real clips that lie beside the project.

use std::path::{Path, PathBuf};

use marey_clip::{ClassList, Span, Timestamp, rng_for};
use marey_data::{
    DataConfig, Dataset, Item, Twin, TwinConfig, TwinKind, find_twins, load, twin_groups,
};
use marey_test::{RgbImage, write_gif, write_image_folder, write_mjpeg_avi};
use rand::Rng;

use crate::fixtures::{folder, shared_data, write};

const SIZE: [u32; 2] = [96, 72];
const FRAMES_PER_SEC: u32 = 25;

/// Five seconds of two blobs that wander over the ground of camera `camera`, each at places of its own.
fn scene(camera: u64, seed: u64) -> Vec<RgbImage> {
    let mut rng = rng_for(camera, 1, 0, 0);
    let waves: Vec<[f32; 4]> = (0..6)
        .map(|_| std::array::from_fn(|_| rng.random_range(0.05..0.5)))
        .collect();
    let ground = |x: f32, y: f32| -> f32 {
        let wave = |w: &[f32; 4]| (x * w[0] + y * w[1] + 20.0 * w[2]).sin() * 80.0 * w[3];
        110.0 + waves.iter().map(wave).sum::<f32>()
    };
    let mut rng = rng_for(seed, 2, 0, 0);
    let blobs: Vec<[f32; 7]> = (0..2)
        .map(|_| std::array::from_fn(|_| rng.random_range(0.0..1.0)))
        .collect();
    let paint = |time: f32, x: u32, y: u32| {
        let (x, y) = (x as f32, y as f32);
        let mut light = ground(x, y);
        for b in &blobs {
            let turn = |speed: f32, phase: f32| (time * (0.5 + 2.0 * speed) + 7.0 * phase).sin();
            let to_x = x - 48.0 - 28.0 * turn(b[0], b[1]);
            let to_y = y - 36.0 - 18.0 * turn(b[2], b[3]);
            let near = (1.0 - to_x.hypot(to_y) / (7.0 + 6.0 * b[4])).clamp(0.0, 1.0);
            light += (240.0 * b[5].round() + 10.0 - light) * (3.0 * near).min(1.0);
        }
        let value = light.clamp(0.0, 255.0) as u8;
        [value, value / 2 + 40, value]
    };
    (0..5 * FRAMES_PER_SEC)
        .map(|frame| {
            let time = frame as f32 / FRAMES_PER_SEC as f32;
            RgbImage::from_fn(SIZE[0], SIZE[1], |x, y| paint(time, x, y).into())
        })
        .collect()
}

/// The part of each frame from `left`, `top` on, brought to `size` by the nearest pixels, mirrored where asked.
fn part(
    frames: &[RgbImage],
    [left, top]: [u32; 2],
    [width, height]: [u32; 2],
    size: [u32; 2],
    mirrored: bool,
) -> Vec<RgbImage> {
    let of = |frame: &RgbImage| {
        RgbImage::from_fn(size[0], size[1], |x, y| {
            let x = if mirrored { size[0] - 1 - x } else { x };
            let at = |v: u32, part: u32, size: u32| (2 * v + 1) * part / (2 * size);
            *frame.get_pixel(left + at(x, width, size[0]), top + at(y, height, size[1]))
        })
    };
    frames.iter().map(of).collect()
}

fn dataset(sources: &[(PathBuf, Option<Span>)]) -> Dataset {
    let item = |(idx, (source, span)): (usize, &(PathBuf, Option<Span>))| Item {
        id: format!("{idx}"),
        source: source.clone(),
        span: *span,
        label: 0,
        group: None,
        split: None,
        metadata: Default::default(),
    };
    Dataset {
        classes: ClassList::new(vec!["a".into(), "b".into()]).expect("two classes"),
        items: sources.iter().enumerate().map(item).collect(),
        notes: vec![],
        accepted_leak: None,
    }
}

fn whole(paths: &[PathBuf]) -> Dataset {
    dataset(
        &paths
            .iter()
            .map(|path| (path.clone(), None))
            .collect::<Vec<_>>(),
    )
}

fn kinds(twins: &[Twin]) -> Vec<([usize; 2], TwinKind)> {
    twins.iter().map(|twin| (twin.items, twin.kind)).collect()
}

fn avi(dir: &Path, name: &str, frames: &[RgbImage]) -> PathBuf {
    let path = dir.join(name);
    write_mjpeg_avi(&path, frames, FRAMES_PER_SEC).expect("written");
    path
}

/// Four scenes of one camera and two of another, then copies of them.
#[test]
fn copies_are_found_and_nothing_else() {
    let dir = folder();
    let dir = dir.path();
    let scenes: Vec<_> = (0..6).map(|seed| scene(seed / 4, 100 + seed)).collect();
    let mut paths: Vec<PathBuf> = scenes
        .iter()
        .enumerate()
        .map(|(idx, frames)| avi(dir, &format!("{idx}.avi"), frames))
        .collect();
    let full = |frames: &[RgbImage], size, mirrored| part(frames, [0, 0], SIZE, size, mirrored);

    // Another coding, another size: 6.
    paths.push(dir.join("6.gif"));
    write_gif(&paths[6], &full(&scenes[0], SIZE, false), 40).expect("written");
    paths.push(dir.join("7"));
    write_image_folder(&paths[7], &full(&scenes[1], [64, 48], false)).expect("written");
    // Mirrored: 8; four fifths from a corner: 9; both, from the middle: 10.
    paths.push(avi(dir, "8.avi", &full(&scenes[2], SIZE, true)));
    paths.push(avi(
        dir,
        "9.avi",
        &part(&scenes[3], [19, 0], [77, 58], [80, 60], false),
    ));
    paths.push(avi(
        dir,
        "10.avi",
        &part(&scenes[4], [9, 7], [77, 58], SIZE, true),
    ));
    // From the second second to the fourth: 11.
    paths.push(avi(dir, "11.avi", &scenes[5][25..100]));

    let report =
        find_twins(&whole(&paths), &TwinConfig::default(), &|_| ()).expect("valid settings");
    assert_eq!(
        kinds(&report.twins),
        [
            ([0, 6], TwinKind::SameFootage),
            ([1, 7], TwinKind::SameFootage),
            ([2, 8], TwinKind::Mirrored),
            ([3, 9], TwinKind::Cropped),
            ([4, 10], TwinKind::CroppedAndMirrored),
            ([5, 11], TwinKind::SameFootage),
        ],
        "{:#?}",
        report.twins
    );
    let cut = report.twins[5];
    assert!((cut.offset_sec + 1.0).abs() < 0.13, "{cut:?}");
    assert!((cut.overlap_sec - 3.0).abs() < 0.26, "{cut:?}");
    assert!(
        report.skipped.is_empty() && report.still.is_empty(),
        "{report:?}"
    );
    assert_eq!(
        twin_groups(12, &report.twins),
        [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]
    );
}

#[test]
fn still_items_are_twins_by_their_bytes_only() {
    let dir = folder();
    let dir = dir.path();
    let still = vec![scene(0, 1)[0].clone(); 100];
    let paths = [
        avi(dir, "a.avi", &still),
        avi(dir, "b.avi", &still),
        avi(dir, "c.avi", &still[..90]),
    ];
    let report =
        find_twins(&whole(&paths), &TwinConfig::default(), &|_| ()).expect("valid settings");
    assert_eq!(kinds(&report.twins), [([0, 1], TwinKind::IdenticalBytes)]);
    assert_eq!(report.still, [0, 1, 2]);
}

#[test]
fn spans_of_one_file_are_twins_where_they_overlap() {
    let dir = folder();
    let path = avi(dir.path(), "a.avi", &scene(0, 1));
    let span = |start: f64, end: f64| {
        let at = |secs| Timestamp::from_secs(secs).expect("a time");
        Some(Span::new(at(start), at(end)).expect("not empty"))
    };
    let spans = [span(0.0, 2.0), span(1.5, 3.0), span(3.0, 5.0)];
    let data = dataset(&spans.map(|span| (path.clone(), span)));
    let mut config = TwinConfig::default();
    let report = find_twins(&data, &config, &|_| ()).expect("valid settings");
    assert_eq!(kinds(&report.twins), [([0, 1], TwinKind::SameSource)]);
    assert!((report.twins[0].overlap_sec - 0.5).abs() < 1e-9);
    config.margin = std::time::Duration::from_millis(100);
    let report = find_twins(&data, &config, &|_| ()).expect("valid settings");
    assert_eq!(
        kinds(&report.twins),
        [
            ([0, 1], TwinKind::SameSource),
            ([1, 2], TwinKind::SameSource)
        ]
    );
}

#[test]
fn what_cannot_be_read_is_listed() {
    let dir = folder();
    let good = avi(dir.path(), "a.avi", &scene(0, 1)[..50]);
    let broken = write(&dir.path().join("b.avi"), b"RIFF\0\0\0\0AVI nothing");
    let paths = [good, broken, dir.path().join("absent.avi")];
    let report =
        find_twins(&whole(&paths), &TwinConfig::default(), &|_| ()).expect("valid settings");
    let skipped: Vec<usize> = report.skipped.iter().map(|one| one.item).collect();
    assert_eq!(skipped, [1, 2]);
    assert!(
        report.skipped[0].reason.contains("b.avi"),
        "{:?}",
        report.skipped
    );
    assert!(report.twins.is_empty());
}

/// The five pairs of identical files and fifty other clips, as the list of the data has them.
#[test]
fn among_real_clips_the_identical_pairs_are_found() {
    let Some(data) = shared_data() else { return };
    let mut config = DataConfig::new(data.join("cctv_clips/clips.csv"));
    config.allow_leak = Some("only searched for twins".into());
    let mut dataset = load(&config).expect("a manifest");
    let identical = marey_data::identical_items(&dataset.items).expect("readable files");
    assert_eq!(identical.len(), 5);
    let mut kept: Vec<usize> = identical.concat();
    kept.extend(
        (0..dataset.items.len())
            .step_by(10)
            .filter(|idx| !identical.concat().contains(idx)),
    );
    dataset.items = kept.iter().map(|&idx| dataset.items[idx].clone()).collect();
    let report = find_twins(&dataset, &TwinConfig::default(), &|_| ()).expect("valid settings");
    let expected: Vec<_> = (0..5)
        .map(|pair| ([2 * pair, 2 * pair + 1], TwinKind::IdenticalBytes))
        .collect();
    assert_eq!(kinds(&report.twins), expected, "{:#?}", report.twins);
}

/// The same disc on the same plain ground, up and down at other times and places: nothing says which is which.
#[test]
fn one_thing_over_a_plain_ground_is_no_evidence() {
    let dir = folder();
    let clip = |name: &str, left: f32, phase: f32| {
        let frame = |frame: u32| {
            let middle = 36.0 + 24.0 * (frame as f32 * 0.09 + phase).sin();
            RgbImage::from_fn(SIZE[0], SIZE[1], |x, y| {
                let is_disc = (x as f32 - left).hypot(y as f32 - middle) < 8.0;
                [if is_disc { 230 } else { 30 }; 3].into()
            })
        };
        let frames: Vec<RgbImage> = (0..2 * FRAMES_PER_SEC).map(frame).collect();
        avi(dir.path(), name, &frames)
    };
    let paths = [
        clip("a.avi", 30.0, 0.0),
        clip("b.avi", 36.0, 0.4),
        clip("c.avi", 62.0, 0.9),
    ];
    let report =
        find_twins(&whole(&paths), &TwinConfig::default(), &|_| ()).expect("valid settings");
    assert_eq!(report.twins, []);
    assert_eq!(report.still, [0, 1, 2], "two seconds are too short");
}

/// Clips of one shape that moves evenly over a plain ground, and no copy among them.
#[test]
fn among_synthetic_motions_nothing_is_found() {
    let Some(data) = shared_data() else { return };
    let config = DataConfig {
        group_pattern: Some(r"([^/]+)_\d+\.mp4$".into()),
        ..DataConfig::new(data.join("shape_motion/clips"))
    };
    let mut dataset = load(&config).expect("three classes");
    // A third of them, of every class and shape: each file is read by a process of its own.
    dataset.items = dataset.items.into_iter().step_by(3).collect();
    let report = find_twins(&dataset, &TwinConfig::default(), &|_| ()).expect("valid settings");
    assert_eq!(report.twins, []);
    assert_eq!(
        report.still.len(),
        dataset.items.len(),
        "two seconds are too short"
    );
}

/// Windows of one recording overlap, and recordings that follow each other share 25 seconds: all on one clock, so the
/// same moment has the same time in both.
#[test]
fn thermal_twins_are_of_the_same_instant() {
    let Some(data) = shared_data() else { return };
    let config = DataConfig {
        allow_leak: Some("only searched for twins".into()),
        ..DataConfig::new(data.join("thermal/v1"))
    };
    let dataset = load(&config).expect("recordings");
    // Half of the 64 frames around each item that a model sees there.
    let twin_config = TwinConfig {
        margin: std::time::Duration::from_secs(4),
        ..TwinConfig::default()
    };
    let report = find_twins(&dataset, &twin_config, &|_| ()).expect("valid settings");
    let (same_source, between): (Vec<&Twin>, Vec<&Twin>) = report
        .twins
        .iter()
        .partition(|twin| twin.kind == TwinKind::SameSource);
    assert!(
        same_source.len() > 1000,
        "{} windows overlap",
        same_source.len()
    );
    assert!(between.len() > 50, "{} between recordings", between.len());
    for twin in between {
        assert_eq!(twin.kind, TwinKind::SameFootage, "{twin:?}");
        assert!(twin.offset_sec.abs() < 0.13, "{twin:?}");
        let [a, b] = twin.items.map(|idx| &dataset.items[idx].source);
        assert_ne!(a, b);
    }
}
