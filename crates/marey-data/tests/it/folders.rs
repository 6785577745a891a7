//! A folder a class.

use marey_data::{DataConfig, Format, Split, load};

use crate::fixtures::{array, folder, write};

fn check_refused(config: &DataConfig, expected: &str) {
    let error = load(config).expect_err(expected).to_string();
    assert!(error.contains(expected), "{error}\nlacks\n{expected}");
}

#[test]
fn folders_are_classes_and_other_files_are_counted() {
    let dir = folder();
    for (idx, name) in ["up/1", "up/more/2", "down/3", "down/4"].iter().enumerate() {
        array(&dir.path().join(format!("{name}.npy")), 3, idx as u8);
    }
    write(&dir.path().join("up/notes.txt"), b"shaky");
    write(&dir.path().join(".hidden/5.npy"), b"");
    let mut config = DataConfig::new(dir.path());
    config.split.validation = Some(0.5);
    let dataset = load(&config).expect("two classes");
    let ids: Vec<_> = dataset.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(
        ids,
        ["down/3.npy", "down/4.npy", "up/1.npy", "up/more/2.npy"]
    );
    assert_eq!(dataset.class_counts(Split::Train), [1, 1]);
    assert!(
        dataset.notes[0].starts_with("1 files that are no media"),
        "{:?}",
        dataset.notes
    );
}

#[test]
fn a_level_of_splits_is_understood() {
    let dir = folder();
    for (idx, name) in ["train/up/1", "train/down/2", "valid/up/3", "test/down/4"]
        .iter()
        .enumerate()
    {
        array(&dir.path().join(format!("{name}.npy")), 3, idx as u8);
    }
    let dataset = load(&DataConfig::new(dir.path())).expect("three splits");
    let counts = Split::ALL.map(|split| dataset.indices(split).len());
    assert_eq!(counts, [2, 1, 1]);
}

#[test]
fn folders_that_cannot_be_learned_from_are_refused() {
    let dir = folder();
    let config = DataConfig::new(dir.path());
    check_refused(&config, "holds no folder: expected one folder a class");
    array(&dir.path().join("up/1.npy"), 3, 0);
    check_refused(&config, "every item is labelled `up`");
    write(&dir.path().join("list.csv"), b"path,label\n");
    check_refused(&config, "did you mean data.path =");
    std::fs::create_dir(dir.path().join("down")).expect("a writable folder");
    check_refused(&config, "no clip in this folder of a class");
    array(&dir.path().join("down/2.npy"), 3, 1);
    array(&dir.path().join("train/3.npy"), 3, 2);
    check_refused(&config, "`train` is the name of a split and `down` is not");
    let group = DataConfig {
        group: Some("camera".into()),
        ..DataConfig::new(dir.path())
    };
    check_refused(
        &group,
        "data.group: has no effect on data of the format `folders`",
    );
}

#[test]
fn what_is_no_data_is_refused() {
    let dir = folder();
    check_refused(
        &DataConfig::new(dir.path().join("nowhere")),
        "cannot read data",
    );
    let file = array(&dir.path().join("1.npy"), 3, 0);
    check_refused(&DataConfig::new(&file), "no known layout of data");
    let thermal = DataConfig {
        format: Some(Format::Thermal),
        ..DataConfig::new(dir.path())
    };
    check_refused(&thermal, "cannot read the annotations");
}
