//! Lists of mmaction2 and tables of Kinetics.

use marey_data::{DataConfig, Split, load};

use crate::fixtures::{array, folder, write};

fn check_refused(config: &DataConfig, expected: &str) {
    let error = load(config).expect_err(expected).to_string();
    assert!(error.contains(expected), "{error}\nlacks\n{expected}");
}

#[test]
fn a_folder_of_lists_gives_splits_and_classes() {
    let dir = folder();
    for (idx, name) in ["a", "b b", "c", "d"].iter().enumerate() {
        array(
            &dir.path().join(format!("videos/{name}.npy")),
            50,
            idx as u8,
        );
    }
    write(
        &dir.path().join("k_train_list_videos.txt"),
        b"a.npy 1\nb b.npy 0\n\n",
    );
    write(
        &dir.path().join("k_val_list_videos.txt"),
        b"c.npy 0.4 1.2 1\nd.npy 0\n",
    );
    let mut config = DataConfig::new(dir.path());
    config.path_map.insert(".".into(), "videos".into());
    let dataset = load(&config).expect("two lists");
    assert_eq!(dataset.classes.names(), ["0", "1"]);
    let facts: Vec<_> = dataset
        .items
        .iter()
        .map(|item| (item.id.as_str(), item.label, item.split))
        .collect();
    let (train, val) = (Some(Split::Train), Some(Split::Validation));
    assert_eq!(
        facts,
        [
            ("a.npy", 1, train),
            ("b b.npy", 0, train),
            ("c.npy#0.4-1.2", 1, val),
            ("d.npy", 0, val)
        ]
    );
    config.classes = Some(["sit", "stand"].map(str::to_owned).to_vec());
    let named = load(&config).expect("numbers of data.classes");
    assert_eq!(named.classes.name(named.items[0].label), "stand");
    write(
        &dir.path().join("k_train_list_videos.txt"),
        b"a.npy 1\nb b.npy 7\n",
    );
    check_refused(&config, "line 2: label `7` is not in data.classes");
    write(&dir.path().join("other_train.txt"), b"a.npy 1\n");
    check_refused(
        &DataConfig {
            format: Some(marey_data::Format::List),
            ..config
        },
        "are both train",
    );
}

#[test]
fn one_list_is_divided() {
    let dir = folder();
    let mut text = String::new();
    for idx in 0..10u8 {
        array(&dir.path().join(format!("{idx}.npy")), 50, idx);
        text += &format!("{idx}.npy 50 {}\n", idx % 2);
    }
    let list = write(&dir.path().join("list.txt"), text.as_bytes());
    let dataset = load(&DataConfig::new(&list)).expect("a list with numbers of frames");
    assert_eq!(dataset.indices(Split::Validation).len(), 2);
    assert_eq!(dataset.items[0].metadata["total_frames"], "50");
    write(&list, b"0.npy 0\n1.npy one\n");
    let config = DataConfig::new(&list);
    check_refused(&config, "line 2: ends in `one`");
}

#[test]
fn a_kinetics_table_finds_its_files_by_their_rule() {
    let dir = folder();
    let rows = [
        ("tap dancing", "a1", 3, "train"),
        ("tap dancing", "-b2", 40, "train"),
        ("surfing water", "c3", 7, "validate"),
        ("surfing water", "a1", 90, "train"),
    ];
    let mut text = "label,youtube_id,time_start,time_end,split,is_cc\n".to_owned();
    for (label, id, start, split) in rows {
        text += &format!("{label},{id},{start},{},{split},0\n", start + 10);
    }
    let table = write(&dir.path().join("kinetics_train.csv"), text.as_bytes());
    // In the folders of split and class, of the class with an underscore, and beside the table.
    let frames = vec![marey_test::RgbImage::new(16, 16); 5];
    for (idx, name) in [
        "train/tap dancing/a1_000003_000013.mp4",
        "tap_dancing/-b2_000040_000050.mp4",
        "c3_000007_000017.mp4",
    ]
    .iter()
    .enumerate()
    {
        let path = write(&dir.path().join(name), b"");
        marey_test::write_mjpeg_mp4(&path, &frames[idx..], 5).expect("written");
    }
    let mut config = DataConfig::new(&table);
    check_refused(&config, "1 of 4 items name a file that is not there");
    config.allow_missing = true;
    let dataset = load(&config).expect("three of four");
    assert_eq!(dataset.items.len(), 3);
    assert_eq!(dataset.items[0].group.as_deref(), Some("a1"));
    assert_eq!(dataset.items[2].split, Some(Split::Validation));
    assert!(
        dataset.items[1]
            .source
            .ends_with("tap_dancing/-b2_000040_000050.mp4")
    );
    write(
        &table,
        b"youtube_id,time_start,time_end,split\na,1,2,test\n",
    );
    check_refused(
        &DataConfig::new(&table),
        "the test table of Kinetics has no labels",
    );
}
