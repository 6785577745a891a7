//! The frame tree of UCF-Crime, and sources that are pictures of one folder.

use std::{collections::BTreeSet, fs, sync::Arc};

use marey_clip::{Sampling, Timestamp};
use marey_data::{
    Audit, AuditConfig, DataConfig, Dataset, Finding, Format, Frames, Loader, LoaderConfig,
    PackConfig, PackedStore, Severity, Split, SplitBy, Topic, Unreadable, WindowConfig,
    WindowLabel, audit, load, pack, write_manifest,
};
use marey_media::OpenOptions;
use marey_test::{AnomalySet, AnomalySize, write_anomaly_set};
use marey_transform::{Preprocess, Resize};
use tempfile::TempDir;

use crate::fixtures::{folder, write};

fn tree(classes: usize) -> (TempDir, DataConfig, AnomalySet) {
    let dir = folder();
    let size = AnomalySize {
        classes,
        train_videos: 3,
        test_videos: 2,
        pictures: 20,
    };
    let set = write_anomaly_set(dir.path(), &size, 5).expect("written");
    let config = DataConfig::new(dir.path());
    (dir, config, set)
}

fn windowed(
    config: &DataConfig,
    frames: usize,
    hop: Option<usize>,
    label: WindowLabel,
) -> DataConfig {
    DataConfig {
        window: Some(WindowConfig { frames, hop, label }),
        ..config.clone()
    }
}

fn check_noted(dataset: &Dataset, parts: &[&str]) {
    let fits = |note: &String| parts.iter().all(|part| note.contains(part));
    assert!(
        dataset.notes.iter().any(fits),
        "{parts:?} in {:#?}",
        dataset.notes
    );
}

fn check_refused(config: &DataConfig, expected: &str) {
    let error = load(config).expect_err(expected).to_string();
    assert!(error.contains(expected), "{error}\nlacks\n{expected}");
}

#[test]
fn every_video_is_an_item_in_the_order_of_its_numbers() {
    let (_dir, config, set) = tree(2);
    let dataset = load(&config).expect("a frame tree, found by itself");
    assert_eq!(dataset.items.len(), set.videos);
    assert_eq!(dataset.classes.names(), ["Abuse", "Arrest", "NormalVideos"]);
    assert_eq!(dataset.class_counts(Split::Train), [3, 3, 6]);
    assert_eq!(dataset.class_counts(Split::Test), [2, 2, 4]);
    let mut items = dataset.items.iter();
    let first = items.find(|item| item.id == "Train/Abuse/Abuse001_x264");
    let first = first.expect("the video");
    assert!(first.source.ends_with("Train/Abuse/Abuse001_x264_*.png"));
    assert_eq!(first.group.as_deref(), Some("Abuse001_x264"));
    assert_eq!(first.metadata["last_frame"], "190");
    let reader = marey_media::open(&first.source, &OpenOptions::default()).expect("a source");
    // Two pictures are missing; the fourth is the sixth of the video, 50 frames after the first.
    let stamps = reader.info().timeline.timestamps();
    assert_eq!(
        (stamps.len(), stamps[3]),
        (18, Timestamp::from_nanos(50 * 1_000_000_000 / 30 + 1))
    );
    check_noted(
        &dataset,
        &["2 frames are missing in 1 of 20 videos", "`Abuse001_x264`"],
    );
    check_noted(
        &dataset,
        &["1 files or folders whose names are not", "Thumbs.db"],
    );
    check_noted(&dataset, &["1 folders of classes hold no frame", "Arson"]);
    check_noted(
        &dataset,
        &[
            "1 of 9 annotated videos are not in the tree",
            "`Stealing999_x264`",
        ],
    );
    let normal: Vec<_> = dataset
        .items
        .iter()
        .filter(|item| item.id.contains("Normal"))
        .map(|item| item.id.as_str())
        .collect();
    assert_eq!(normal[0], "Test/NormalVideos/Normal_Videos_007_x264");
    assert_eq!(normal[4], "Train/NormalVideos/Normal_Videos001_x264");
}

#[test]
fn the_windows_of_the_test_hold_every_frame_once() {
    let (_dir, config, set) = tree(2);
    let dataset = load(&windowed(&config, 8, Some(4), WindowLabel::Video)).expect("windows");
    let mut frames = 0;
    let mut seen: BTreeSet<(String, Timestamp)> = BTreeSet::new();
    let mut inside = [0; 2];
    for idx in dataset.indices(Split::Test) {
        let item = &dataset.items[idx];
        let reader = marey_media::open(&item.source, &OpenOptions::default()).expect("a source");
        let timeline = &reader.info().timeline;
        let events = item
            .events()
            .expect("spans")
            .expect("the test is annotated");
        for frame in timeline.indices_in(item.span.expect("a window")) {
            let at = timeline.timestamps()[frame];
            frames += 1;
            seen.insert((item.group_key(), at));
            if dataset.classes.name(item.label) != "NormalVideos" {
                inside[0] += 1;
                inside[1] += usize::from(events.iter().any(|event| event.contains(at)));
            }
        }
    }
    assert_eq!((frames, seen.len()), (8 * 20, 8 * 20));
    assert_eq!(
        inside, set.anomalous_test_pictures,
        "frames and those in an official interval"
    );
    // 20 pictures: windows at 0, 4, 8, 12 and 16 train; at 0, 8 and 16 they test. One video has 18, and no window at 16.
    assert_eq!(dataset.indices(Split::Train).len(), 11 * 5 + 4);
    assert_eq!(dataset.indices(Split::Test).len(), 8 * 3);
    let train = &dataset.items[dataset.indices(Split::Train)[0]];
    assert_eq!(
        train.events(),
        Ok(None),
        "nobody annotated the training videos"
    );
}

#[test]
fn windows_can_be_labelled_by_the_official_intervals() {
    let (_dir, config, _) = tree(2);
    let dataset = load(&windowed(&config, 4, None, WindowLabel::Interval)).expect("windows");
    let mut relabelled = 0;
    for item in dataset
        .items
        .iter()
        .filter(|item| item.split == Some(Split::Test))
    {
        let class = dataset.classes.name(item.label);
        let is_inside = item.metadata["inside_official_interval"] == "true";
        assert_eq!(class != "NormalVideos", is_inside, "{}", item.id);
        relabelled += usize::from(!is_inside && !item.id.contains("NormalVideos"));
    }
    assert!(relabelled > 3, "{relabelled}");
    fs::remove_file(config.path.join("Temporal_Anomaly_Annotation.txt")).expect("a file");
    check_refused(
        &windowed(&config, 4, None, WindowLabel::Interval),
        "there are no temporal annotations",
    );
    let dataset = load(&config).expect("without annotations");
    check_noted(&dataset, &["no Temporal_Anomaly_Annotation.txt was found"]);
}

// systems.md 5a: NormalVideos stands at 7 in the alphabetical list and at 13 in another one.
#[test]
fn both_published_class_lists_load() {
    let (_dir, mut config, _) = tree(13);
    let alphabetical = load(&config).expect("all classes").classes;
    assert_eq!(
        (alphabetical.len(), alphabetical.index("NormalVideos")),
        (14, Some(7))
    );
    let mut names: Vec<String> = alphabetical.names().to_vec();
    let normal = names.remove(7);
    names.push(normal);
    config.classes = Some(names);
    let dataset = load(&config).expect("the other list");
    assert_eq!(dataset.classes.index("NormalVideos"), Some(13));
    let normal = dataset.items.iter().filter(|item| item.label == 13).count();
    assert_eq!(normal, 6 + 4);
    config.classes = Some(["Abuse", "NormalVideos"].map(str::to_owned).to_vec());
    check_refused(&config, "label `Arrest` is not in data.classes");
}

#[test]
fn a_share_of_the_training_videos_validates_and_the_test_stays() {
    let (_dir, config, _) = tree(3);
    let mut config = windowed(&config, 5, None, WindowLabel::Video);
    let test: BTreeSet<String> = groups(&load(&config).expect("two splits"), Split::Test);
    config.split.by = SplitBy::Given;
    config.split.validation = Some(0.3);
    let dataset = load(&config).expect("three splits");
    let [train, validation] =
        [Split::Train, Split::Validation].map(|split| groups(&dataset, split));
    assert!(
        train.is_disjoint(&validation) && validation.len() >= 3,
        "{validation:?}"
    );
    assert_eq!(groups(&dataset, Split::Test), test);
    config.split.test = Some(0.2);
    check_refused(&config, "have no effect on the split that the data brings");
}

fn groups(dataset: &Dataset, split: Split) -> BTreeSet<String> {
    let indices = dataset.indices(split);
    indices
        .into_iter()
        .map(|idx| dataset.items[idx].group_key())
        .collect()
}

#[test]
fn settings_that_have_no_effect_are_refused() {
    let (_dir, config, _) = tree(1);
    for (key, changed) in [
        (
            "data.group",
            DataConfig {
                group: Some("video".into()),
                ..config.clone()
            },
        ),
        (
            "data.allow_missing",
            DataConfig {
                allow_missing: true,
                ..config.clone()
            },
        ),
        (
            "data.normal",
            DataConfig {
                normal: Some("Quiet".into()),
                ..config.clone()
            },
        ),
        (
            "data.window.frames",
            windowed(&config, 0, None, WindowLabel::Video),
        ),
        (
            "data.window.hop",
            windowed(&config, 4, Some(0), WindowLabel::Video),
        ),
    ] {
        check_refused(&changed, key);
    }
    let manifest = write(
        &config.path.join("a.csv"),
        b"path,label\na.mp4,x\nb.mp4,y\n",
    );
    let manifest = windowed(&DataConfig::new(manifest), 4, None, WindowLabel::Video);
    check_refused(
        &manifest,
        "data.window: has no effect on data of the format `manifest`",
    );
}

fn check(audit: &Audit, severity: Severity, topic: Topic, parts: &[&str]) -> Finding {
    let fits = |finding: &&Finding| {
        let is_of = finding.severity == severity && finding.topic == topic;
        is_of && parts.iter().all(|part| finding.sentence.contains(part))
    };
    let found = audit.findings.iter().find(fits);
    found
        .unwrap_or_else(|| panic!("no {topic:?} with {parts:?} in\n{audit}"))
        .clone()
}

// systems.md 5g.5: frames inherit the label of their video.
#[test]
fn labels_of_whole_videos_are_told() {
    let (_dir, config, set) = tree(2);
    let config = windowed(&config, 8, None, WindowLabel::Video);
    let found = audit(&config, &AuditConfig::default())
        .expect("a frame tree")
        .audit;
    let [total, inside] = set.anomalous_test_pictures;
    let sentence = format!("{} of {total} test frames", total - inside);
    check(
        &found,
        Severity::Warning,
        Topic::LabelScope,
        &[&sentence, "the label is that of the whole source"],
    );
    check(
        &found,
        Severity::Note,
        Topic::Timing,
        &["frame numbers, mostly 10 apart, are missing"],
    );
    assert!(
        found
            .notes
            .iter()
            .any(|note| note.contains("2 frames are missing")),
        "{:?}",
        found.notes
    );
    assert!(
        found.to_string().contains("read: 2 frames are missing"),
        "{found}"
    );
    let by_interval = DataConfig {
        window: Some(WindowConfig {
            frames: 8,
            hop: None,
            label: WindowLabel::Interval,
        }),
        ..config
    };
    let found = audit(&by_interval, &AuditConfig::default())
        .expect("a frame tree")
        .audit;
    assert!(
        found
            .findings
            .iter()
            .all(|finding| finding.topic != Topic::LabelScope),
        "{found}"
    );
}

// systems.md 5g.2 and 5g.3: single frames, or windows, of one video on two sides.
#[test]
fn frames_of_one_video_on_two_sides_are_a_leak() {
    let (dir, config, _) = tree(2);
    let config = windowed(&config, 8, Some(2), WindowLabel::Video);
    let mut dataset = load(&config).expect("windows");
    dataset
        .items
        .retain(|item| item.split == Some(Split::Train));
    for (idx, item) in dataset.items.iter_mut().enumerate() {
        item.split = Some(if idx % 5 == 0 {
            Split::Validation
        } else {
            Split::Train
        });
    }
    let manifest = dir.path().join("random.csv");
    write_manifest(&dataset, &manifest).expect("written");
    let settings = AuditConfig {
        sampling: Some(Sampling::uniform(8)),
        ..AuditConfig::default()
    };
    let found = audit(&DataConfig::new(&manifest), &settings)
        .expect("a manifest")
        .audit;
    check(
        &found,
        Severity::Leak,
        Topic::SharedGroup,
        &["Abuse001_x264"],
    );
    check(
        &found,
        Severity::Leak,
        Topic::WindowOverlap,
        &["validation clips show frames that train clips"],
    );
    // The manifest gives the same items back: patterns are sources, events stay.
    let again = load(&DataConfig {
        allow_leak: Some("to look".into()),
        format: Some(Format::Manifest),
        ..DataConfig::new(&manifest)
    })
    .expect("read back");
    assert_eq!(again.items.len(), dataset.items.len());
    assert_eq!(again.items[3].span, dataset.items[3].span);
    assert!(marey_media::source_exists(&again.items[3].source));
}

#[test]
fn a_normal_video_in_both_styles_of_names_is_one_video() {
    let (dir, config, _) = tree(1);
    for number in [0, 10] {
        let from = dir.path().join(format!(
            "Train/NormalVideos/Normal_Videos001_x264_{number}.png"
        ));
        let to = dir.path().join(format!(
            "Test/NormalVideos/Normal_Videos_001_x264_{number}.png"
        ));
        fs::copy(from, to).expect("a copy");
    }
    check_refused(
        &config,
        "group `Normal_Videos001_x264` is in train (1 items) and in test (1 items)",
    );
}

#[test]
fn windows_become_batches_from_files_and_from_a_store() {
    let (dir, config, _) = tree(1);
    let config = windowed(&config, 8, None, WindowLabel::Video);
    let dataset = Arc::new(load(&config).expect("windows"));
    let preprocess = Preprocess::new([32, 32], Resize::Stretch);
    let sampling = Sampling::uniform(4);
    let path = dir.path().join("frames.store");
    let packing = PackConfig {
        path: path.clone(),
        workers: 2,
        unreadable: Unreadable::Stop,
        open: OpenOptions::default(),
    };
    let report = pack(&dataset, &sampling, &preprocess, &packing, &mut |_| {}).expect("packed");
    assert_eq!(report.sources, 15);
    let store = Frames::Packed(Arc::new(PackedStore::open(&path).expect("a store")));
    let batches = |frames: Frames| -> Vec<Vec<u8>> {
        let config = LoaderConfig {
            batch: 4,
            workers: 2,
            ..LoaderConfig::default()
        };
        let indices = dataset.indices(Split::Test);
        let loader = Loader::new(
            dataset.clone(),
            indices,
            sampling.clone(),
            preprocess.clone(),
            config,
            frames,
        );
        let loader = loader.expect("valid settings");
        loader
            .views()
            .map(|batch| batch.expect("readable").pixels)
            .collect()
    };
    let from_files = batches(Frames::Files(OpenOptions::default()));
    assert_eq!(from_files, batches(store));
    assert!(from_files.len() > 2 && from_files[0] != from_files[1]);
}
