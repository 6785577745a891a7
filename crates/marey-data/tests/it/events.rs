//! Tables of events in long videos, with the faults of the published ones.

use std::{collections::BTreeSet, fs, path::Path};

use marey_clip::Sampling;
use marey_data::{
    Audit, AuditConfig, BOUT_COLUMN, DataConfig, Dataset, FaultKind, Finding, Severity, Split,
    SplitBy, Topic, audit, load, write_manifest,
};
use marey_test::{CATTLE_ROOT, CattleSet, RgbImage, write_cattle_set, write_mjpeg_mp4};
use tempfile::TempDir;

use crate::fixtures::{folder, write};

fn cattle() -> (TempDir, CattleSet) {
    let dir = folder();
    let set = write_cattle_set(dir.path(), 8, 2).expect("written");
    (dir, set)
}

/// `ear` and `tail` of a table, whose videos lie in `videos` beside the set's tables.
fn binary(path: &Path, videos: &str) -> DataConfig {
    let mut config = DataConfig::new(path);
    config.path_map.insert(CATTLE_ROOT.into(), videos.into());
    config.classes = Some(["ear", "tail"].map(str::to_owned).to_vec());
    config
}

fn audited(config: &DataConfig) -> Audit {
    let settings = AuditConfig {
        sampling: Some(Sampling::centered(16, 1)),
        ..AuditConfig::default()
    };
    audit(config, &settings).expect("events").audit
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

#[test]
fn events_are_items_and_other_behaviours_are_counted() {
    let (_dir, set) = cattle();
    let dataset = load(&binary(&set.events, "videos")).expect("events, found by the columns");
    assert_eq!(dataset.items.len(), set.binary_events);
    assert_eq!(dataset.classes.names(), ["ear", "tail"]);
    let note = format!(
        "{} of {} lines have a behavior that is no class",
        set.other_events,
        set.binary_events + set.other_events
    );
    assert!(
        dataset
            .notes
            .iter()
            .any(|found| found.starts_with(&note) && found.contains("`teat`")),
        "{:?}",
        dataset.notes
    );
    for item in &dataset.items {
        let number = |column: &str| item.metadata[column].parse::<f64>().expect("a number");
        let (offset, secs) = (number("event_offset_sec"), number("duration_sec"));
        let middle = item.span.expect("a span").midpoint().as_secs();
        assert!((middle - offset - secs / 2.0).abs() < 1e-6, "{}", item.id);
        assert_eq!(
            item.group.as_deref(),
            Some(item.metadata["video_filename"].to_lowercase().as_str())
        );
    }
    let sides = |split| -> BTreeSet<String> {
        dataset
            .indices(split)
            .into_iter()
            .map(|idx| dataset.items[idx].group_key())
            .collect()
    };
    assert!(
        sides(Split::Train).is_disjoint(&sides(Split::Validation)),
        "whole videos"
    );
    let all = DataConfig {
        classes: None,
        ..binary(&set.events, "videos")
    };
    let all = load(&all).expect("every behaviour");
    assert_eq!(all.classes.names()[..2], ["ear", "tail"]);
    assert_eq!(all.items.len(), set.binary_events + set.other_events);
}

#[test]
fn without_the_map_the_windows_path_is_named() {
    let (_dir, set) = cattle();
    let error = load(&DataConfig::new(&set.events))
        .expect_err("another machine's paths")
        .to_string();
    assert!(
        error.contains("is a path of a Windows machine") && error.contains("data.path_map"),
        "{error}"
    );
}

#[test]
fn groups_are_videos_columns_or_bouts() {
    let (dir, set) = cattle();
    let mut config = binary(&set.events, "videos");
    config.group = Some("group+day".into());
    let dataset = load(&config).expect("groups of animals");
    assert_eq!(dataset.items[0].group.as_deref(), Some("1+1"));
    assert_eq!(dataset.items[0].metadata["animal_group"], "1");
    config.group = Some("bout".into());
    config.split.validation = Some(0.25);
    let dataset = load(&config);
    // A bout is what lies together: here videos are so short that nearly every one is a bout.
    let dataset = dataset.expect("bouts");
    assert!(
        dataset.items[0]
            .group
            .as_ref()
            .is_some_and(|group| group.ends_with("__bout_1"))
    );
    config.group = Some("farm".into());
    let error = load(&config).expect_err("no such column").to_string();
    assert!(
        error.contains("no column `farm`; or take `video` or `bout`"),
        "{error}"
    );

    // One long video with two bouts, 40 s apart, divided by bout.
    let frames = vec![RgbImage::new(16, 16); 120];
    write_mjpeg_mp4(&dir.path().join("long.mp4"), &frames, 1).expect("written");
    let mut text = "behavior,video_path,event_offset_sec,duration_sec\n".to_owned();
    for (behavior, offset) in [
        ("ear", 5),
        ("tail", 15),
        ("ear", 40),
        ("tail", 85),
        ("ear", 100),
    ] {
        text += &format!("{behavior},long.mp4,{offset},3\n");
    }
    let table = write(&dir.path().join("bouts.csv"), text.as_bytes());
    let mut config = DataConfig::new(table);
    config.group = Some("bout".into());
    config.split.by = SplitBy::Group;
    config.split.validation = Some(0.4);
    // One source in two splits is a leak, which bouts accept with a reason.
    let error = load(&config)
        .expect_err("one video on two sides")
        .to_string();
    assert!(error.contains("long.mp4 is in train"), "{error}");
    config.allow_leak = Some("divided by bout".into());
    let dataset = load(&config).expect("accepted");
    let bouts: Vec<&str> = dataset
        .items
        .iter()
        .map(|item| item.metadata[BOUT_COLUMN].as_str())
        .collect();
    let expected = [1, 1, 1, 2, 2].map(|bout| format!("long.mp4__bout_{bout}"));
    assert_eq!(bouts, expected);
    let splits: Vec<_> = dataset.items.iter().map(|item| item.split).collect();
    assert_eq!(splits[..3], [splits[0]; 3]);
    assert_ne!(splits[2], splits[3], "bouts are whole and apart");
}

// systems.md 2g.6: 44 events beyond their file, 83 without length, cameras and times that are not the file's.
#[test]
fn faulty_lines_are_named_and_can_be_left_out() {
    let (_dir, set) = cattle();
    let mut config = binary(&set.faulty, "videos");
    let found = audited(&config);
    let zero = check(
        &found,
        Severity::Error,
        Topic::Span,
        &[&format!(
            "{} entries have a span without length",
            set.zero_length
        )],
    );
    assert_eq!(zero.items.len(), set.zero_length);
    check(
        &found,
        Severity::Error,
        Topic::Span,
        &[&format!(
            "{} entries have a span outside of their file",
            set.out_of_file
        )],
    );
    let linked = check(
        &found,
        Severity::Error,
        Topic::Link,
        &[&format!("{} events are linked to a file", set.mislinked)],
    );
    for part in ["camera_id is", "`linked` is False", "1800 s away"] {
        assert!(
            linked.items.iter().any(|item| item.contains(part)),
            "{part} in {:?}",
            linked.items
        );
    }
    assert!(load(&config).is_err());
    config.allow_faults = vec![FaultKind::OutOfFile, FaultKind::Mislinked];
    let error = load(&config)
        .expect_err("events without length")
        .to_string();
    assert!(error.contains("lasts 0 s"), "{error}");
    config.allow_faults.push(FaultKind::ZeroLength);
    let dataset = load(&config).expect("the rest");
    assert_eq!(dataset.items.len(), set.binary_events + set.zero_length);
    for part in [
        "out_of_file entries were left out",
        "mislinked entries were left out",
        "events last 0 s and are kept",
    ] {
        assert!(
            dataset.notes.iter().any(|note| note.contains(part)),
            "{part} in {:?}",
            dataset.notes
        );
    }
    let kept = dataset
        .items
        .iter()
        .find(|item| item.metadata.contains_key("zero_length"))
        .expect("one");
    let offset: f64 = kept.metadata["event_offset_sec"].parse().expect("a number");
    let reader =
        marey_media::open(&kept.source, &marey_media::OpenOptions::default()).expect("a video");
    let plan = &Sampling::centered(16, 1)
        .plan_views(&reader.info().timeline, kept.span.expect("a moment"))[0];
    assert!(
        (plan.timestamps[8].as_secs() - offset).abs() <= 0.2,
        "the clip is around the moment"
    );
}

// systems.md 2g.1: events of one video on two sides, some twice, some at the same time.
#[test]
fn a_split_inside_of_videos_is_a_leak() {
    let (_dir, set) = cattle();
    let found = audited(&binary(&set.intravideo, "../videos"));
    let shared = check(&found, Severity::Leak, Topic::SharedGroup, &["is in train"]);
    let more = format!("and {} more groups are shared", set.shared_videos - 1);
    assert!(shared.sentence.contains(&more), "{shared:?}");
    let twice = check(
        &found,
        Severity::Leak,
        Topic::Repeated,
        &["2 items are listed in two splits"],
    );
    assert_eq!(twice.items.len(), set.repeated_events);
    let overlap = check(
        &found,
        Severity::Leak,
        Topic::WindowOverlap,
        &["validation clips show frames"],
    );
    assert!(overlap.items.len() >= set.overlapping_events, "{overlap:?}");
}

// systems.md 2g.2 and 2g.5.
#[test]
fn repeated_lines_and_a_test_out_of_training_are_found() {
    let (_dir, set) = cattle();
    let found = audited(&binary(&set.boosted, "../videos"));
    let train = format!(
        "{} training items are listed more than once",
        set.boosted_lines[0]
    );
    check(&found, Severity::Error, Topic::Repeated, &[&train]);
    let val = format!(
        "{} items outside of training are listed more than once",
        set.boosted_lines[1]
    );
    check(&found, Severity::Error, Topic::Repeated, &[&val]);
    let mut config = binary(&set.boosted, "../videos");
    config.allow_faults = vec![FaultKind::Repeated];
    let dataset = load(&config).expect("each line once");
    assert_eq!(dataset.items.len(), set.binary_events);

    let found = audited(&binary(&set.retest, "../videos"));
    let test = format!("{} items are listed in two splits", set.retested_events);
    check(&found, Severity::Leak, Topic::Repeated, &[&test]);
    config = binary(&set.retest, "../videos");
    config.allow_faults = vec![FaultKind::Repeated];
    assert!(
        load(&config).is_err(),
        "a repeat in another split is a leak whatever is allowed"
    );
}

// systems.md 2g.6, 2g.8 and 2g.10: short events, few of a class, behaviours that are left out.
#[test]
fn short_events_and_few_of_a_class_are_told() {
    let (_dir, set) = cattle();
    let found = audited(&binary(&set.events, "videos"));
    check(
        &found,
        Severity::Note,
        Topic::ClipLength,
        &["are shorter than the 16 frames that a clip reaches over"],
    );
    check(
        &found,
        Severity::Note,
        Topic::ClassSupport,
        &["fewer than 20 validation items", "tail"],
    );
    assert!(
        found
            .notes
            .iter()
            .any(|note| note.contains("behavior that is no class")),
        "{:?}",
        found.notes
    );
}

#[test]
fn a_divided_table_is_written_and_read_back_as_a_manifest() {
    let (dir, set) = cattle();
    let dataset = load(&binary(&set.events, "videos")).expect("events");
    let path = dir.path().join("split.csv");
    write_manifest(&dataset, &path).expect("written");
    let again = load(&DataConfig::new(&path)).expect("a manifest");
    let facts = |dataset: &Dataset| -> Vec<_> {
        dataset
            .items
            .iter()
            .map(|item| {
                (
                    item.source.clone(),
                    item.span,
                    item.label,
                    item.split,
                    item.group.clone(),
                )
            })
            .collect()
    };
    assert_eq!(facts(&again), facts(&dataset));
}

#[test]
fn clips_that_were_cut_out_are_read_by_their_own_table() {
    let dir = folder();
    fs::create_dir_all(dir.path().join("clips")).expect("a folder");
    for idx in 0..4u8 {
        let frame =
            RgbImage::from_raw(16, 16, vec![60 * idx; 16 * 16 * 3]).expect("as many values");
        let path = dir.path().join(format!("clips/evt_{idx:04}_ear.mp4"));
        write_mjpeg_mp4(&path, &vec![frame; 40], 10).expect("written");
    }
    let mut text = "event_idx,behavior,dst_clip,dst_mb,src_path,src_name,resolved_offset_sec,resolved_event_dur_sec,\
                    extract_start_sec,extract_end_sec,extract_len_sec\n".to_owned();
    for (idx, behavior) in ["ear", "tail", "ear", "tail"].iter().enumerate() {
        let video = idx / 2;
        text += &format!(
            "{idx},{behavior},clips/evt_{idx:04}_ear.mp4,0.1,E:\\v{video}.mp4,v{video}.mp4,102.5,1.5,100.5,104.5,4\n"
        );
    }
    let table = write(&dir.path().join("clips.csv"), text.as_bytes());
    let mut config = DataConfig::new(table);
    config.split.validation = Some(0.5);
    let dataset = load(&config).expect("clips");
    let span = dataset.items[0].span.expect("a span");
    assert_eq!((span.start().as_secs(), span.end().as_secs()), (2.0, 3.5));
    assert_eq!(dataset.items[3].group.as_deref(), Some("v1.mp4"));
}
