//! Manifests as people write them.

use std::path::PathBuf;

use marey_clip::Span;
use marey_data::{DataConfig, Dataset, Error, Split, SplitBy, load, write_manifest};
use tempfile::TempDir;

use crate::fixtures::{array, folder, write};

/// A folder with `a.npy`, `b.npy`, `c.npy`, `d.npy` (50 frames, 2 s each) and a manifest.
fn manifest(text: &[u8]) -> (TempDir, DataConfig) {
    let dir = folder();
    for (idx, name) in ["a", "b", "c", "d"].iter().enumerate() {
        array(&dir.path().join(format!("{name}.npy")), 50, idx as u8);
    }
    let config = DataConfig::new(write(&dir.path().join("list.csv"), text));
    (dir, config)
}

fn read(text: &str) -> Result<Dataset, Error> {
    load(&manifest(text.as_bytes()).1)
}

/// The labels, in the order of the items.
fn labels(dataset: &Dataset) -> Vec<&str> {
    dataset
        .items
        .iter()
        .map(|item| dataset.classes.name(item.label))
        .collect()
}

fn check_refused(text: &str, expected: &str) {
    let error = read(text).expect_err(expected).to_string();
    assert!(error.contains(expected), "{error}\nlacks\n{expected}");
}

#[test]
fn tables_of_every_hand() {
    for (what, text) in [
        (
            "plain",
            "path,label,split\na.npy,up,train\nb.npy,down,val\n",
        ),
        (
            "byte order mark and CRLF",
            "\u{feff}path,label,split\r\na.npy,up,train\r\nb.npy,down,val\r\n",
        ),
        (
            "quoted",
            "\"path\",\"label\",\"split\"\n\"a.npy\",\"up\",\"train\"\n\"b.npy\",\"down\",\"validation\"",
        ),
        (
            "semicolons",
            "path;label;split\na.npy;up;Training\nb.npy;down;VALID\n",
        ),
        (
            "tabs",
            "path\tlabel\tsplit\na.npy\tup\ttrain\nb.npy\tdown\tdev\n",
        ),
        (
            "other case and order",
            "Split,Label,PATH\ntrain,up,a.npy\nval,down,b.npy\n",
        ),
        (
            "empty lines",
            "path,label,split\n\na.npy,up,train\n,,\nb.npy,down,val\n\n",
        ),
        (
            "backslashes",
            "path,label,split\n.\\a.npy,up,train\n.\\b.npy,down,val\n",
        ),
        (
            "spaces",
            "path, label, split\na.npy, up, train\nb.npy, down, val\n",
        ),
    ] {
        let dataset = read(text).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(labels(&dataset), ["up", "down"], "{what}");
        let splits: Vec<_> = dataset.items.iter().map(|item| item.split).collect();
        assert_eq!(
            splits,
            [Some(Split::Train), Some(Split::Validation)],
            "{what}"
        );
    }
}

#[test]
fn a_list_without_a_header_is_path_and_label_and_says_so() {
    let dataset = read("a.npy,up\nb.npy,down\nc.npy,up\nd.npy,down\n").expect("two columns");
    assert_eq!(labels(&dataset), ["up", "down", "up", "down"]);
    assert!(
        dataset.notes[0].contains("no header"),
        "{:?}",
        dataset.notes
    );
    check_refused(
        "a.npy,up,train\nb.npy,down,val\n",
        "the first line is no header",
    );
}

#[test]
fn numbers_as_labels_are_in_numeric_order() {
    let dataset = read("path,label,split\na.npy,10,train\nb.npy,9,val\n").expect("numbers");
    assert_eq!(dataset.classes.names(), ["9", "10"]);
}

#[test]
fn other_columns_are_metadata_and_make_groups() {
    let text = "path,label,split,camera,room\na.npy,up,train,1,x\nb.npy,down,val,2,x\n";
    let (_dir, mut config) = manifest(text.as_bytes());
    config.group = Some("room+camera".into());
    let dataset = load(&config).expect("two groups");
    assert_eq!(dataset.items[1].group.as_deref(), Some("x+2"));
    assert_eq!(dataset.items[1].metadata["camera"], "2");
    config.group = Some("floor".into());
    let error = load(&config).expect_err("no such column").to_string();
    assert!(
        error.contains("data.group: no column `floor`; the columns are: path, label"),
        "{error}"
    );
}

#[test]
fn groups_from_names() {
    let (_dir, mut config) = manifest(b"path,label\na.npy,up\nb.npy,down\nc.npy,up\nd.npy,down\n");
    config.group_pattern = Some("^([ab]|[cd])".into());
    let dataset = load(&config).expect("a pattern with one group");
    assert_eq!(dataset.items[2].group.as_deref(), Some("c"));
    config.group_pattern = Some("^(x)".into());
    let error = load(&config).expect_err("no match").to_string();
    assert!(error.contains("does not match the item `a.npy`"), "{error}");
}

#[test]
fn spans_are_seconds_and_name_their_line_when_they_are_wrong() {
    let text = "path,label,split,start,end\na.npy,up,train,0.4,1.2\na.npy,down,train,0:01.2,2.5\nb.npy,up,val,,\n";
    let dataset = read(text).expect("a span may end up to a second late");
    let seconds = |span: Span| (span.start().as_secs(), span.end().as_secs());
    assert_eq!(dataset.items[0].span.map(seconds), Some((0.4, 1.2)));
    assert_eq!(dataset.items[1].span.map(seconds), Some((1.2, 2.0)));
    assert_eq!(dataset.items[2].span, None);
    assert!(
        dataset
            .notes
            .iter()
            .any(|note| note.starts_with("1 spans ended")),
        "{:?}",
        dataset.notes
    );
    for (start, end, expected) in [
        ("1", "1", "line 3: starts and ends at 1.000 s"),
        (
            "1.5",
            "1",
            "line 3: ends at 1.000 s, before it starts at 1.500 s",
        ),
        ("-1", "1", "line 3: starts at -1.000 s, before its source"),
        ("7", "8", "line 3: [7.000, 8.000) s lies outside of"),
        ("1", "8", "line 3: [1.000, 8.000) s ends after"),
        ("1", "", "line 3: end `` is no time"),
        ("soon", "2", "line 3: start `soon` is no time"),
    ] {
        let text = format!("path,label,start,end\na.npy,up,,\nb.npy,down,{start},{end}\n");
        check_refused(&text, expected);
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (text, expected) in [
        ("", "is empty"),
        ("path,label\n", "no item in it"),
        (
            "path,label\na.npy,up\nb.npy,up\n",
            "every item is labelled `up`",
        ),
        (
            "path,class\na.npy,up\n",
            "no column `label` for the class; its columns are: path, class",
        ),
        (
            "label,place\nup,x\n",
            "no column `path`; its columns are: label, place",
        ),
        (
            "path,label\na.npy,up\nb.npy\n",
            "line 3: has 1 columns, the first line has 2",
        ),
        (
            "path,label\na.npy,up\nb.npy,\n",
            "line 3: has no label in column `label`",
        ),
        (
            "path,label,split\na.npy,up,train\nb.npy,down,maybe\n",
            "line 3: `maybe` is no split",
        ),
        (
            "path,label,split\na.npy,up,train\nb.npy,down,\n",
            "1 of 2 items have no split, the first is `b.npy`",
        ),
        (
            "path,label\na.npy,up\na.npy,down\n",
            "the item `a.npy` is listed twice",
        ),
        (
            "path,label\na.npy,up\nz.npy,down\n",
            "1 of 2 items name a file that is not there",
        ),
        ("path,label,label\na.npy,up,up\n", "has two columns `label`"),
        (
            r"path,label
C:\clips\a.npy,up
",
            r"data.path_map = { 'C:\clips' =",
        ),
    ] {
        check_refused(text, expected);
    }
    let (_dir, config) = manifest(b"path,label\na.npy,\xff\n");
    let error = load(&config).expect_err("not UTF-8").to_string();
    assert!(error.contains("line 2: is not UTF-8 text"), "{error}");
}

#[test]
fn a_label_outside_the_class_list_names_the_nearest() {
    let (_dir, mut config) = manifest(b"path,label\na.npy,up\nb.npy,dwon\n");
    config.classes = Some(vec!["up".into(), "down".into()]);
    let error = load(&config).expect_err("a misspelt label").to_string();
    assert!(
        error.contains("line 3: label `dwon` is not in data.classes, the nearest there is `down`"),
        "{error}"
    );
}

#[test]
fn windows_paths_are_mapped() {
    let text = "path,label,split\nD:\\Clips\\a.npy,up,train\nD:\\Clips\\b.npy,down,val\n";
    let (dir, mut config) = manifest(text.as_bytes());
    config
        .path_map
        .insert("d:\\clips".into(), PathBuf::from("."));
    let dataset = load(&config).expect("the folder is mapped");
    assert_eq!(
        dataset.items[0].source.canonicalize().ok(),
        dir.path().join("a.npy").canonicalize().ok()
    );
    assert_eq!(dataset.items[0].id, "D:/Clips/a.npy");
}

#[test]
fn missing_files_are_left_out_only_when_that_is_asked_for() {
    let text = "path,label,split\na.npy,up,train\nb.npy,down,val\ny.npy,up,train\nz.npy,up,val\n";
    let (_dir, mut config) = manifest(text.as_bytes());
    let error = load(&config)
        .expect_err("two files are not there")
        .to_string();
    assert!(
        error.contains("2 of 4 items") && error.contains("y.npy"),
        "{error}"
    );
    config.allow_missing = true;
    let dataset = load(&config).expect("the rest is there");
    assert_eq!(dataset.items.len(), 2);
    assert!(
        dataset.notes[0].contains("2 of 4 items were left out"),
        "{:?}",
        dataset.notes
    );
}

#[test]
fn a_split_that_is_made_can_be_written_and_read_back() {
    let text = "path,label,start,end,camera\na.npy,up,0.04,1.2,1\na.npy,down,1.2,2,1\nb.npy,up,,,2\nc.npy,down,,,3\n";
    let (dir, mut config) = manifest(text.as_bytes());
    config.group = Some("camera".into());
    config.split.validation = Some(0.3);
    let dataset = load(&config).expect("three groups");
    assert_eq!(dataset.items[0].split, dataset.items[1].split);
    let path = dir.path().join("split.csv");
    write_manifest(&dataset, &path).expect("a writable folder");
    let again = load(&DataConfig::new(&path)).expect("what was written can be read");
    let facts = |dataset: &Dataset| -> Vec<_> {
        let items = dataset.items.iter();
        items
            .map(|item| {
                (
                    item.source.clone(),
                    item.span,
                    item.label,
                    item.group.clone(),
                    item.split,
                )
            })
            .collect()
    };
    assert_eq!(facts(&again).len(), 4);
    for (before, after) in facts(&dataset).into_iter().zip(facts(&again)) {
        assert_eq!(
            (before.1, before.2, before.3, before.4),
            (after.1, after.2, after.3, after.4)
        );
        assert_eq!(before.0.canonicalize().ok(), after.0.canonicalize().ok());
    }
    let left: Vec<_> = dir
        .path()
        .read_dir()
        .expect("the folder")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().contains("partial")),
        "{left:?}"
    );
}

#[test]
fn settings_without_effect_are_refused() {
    let text = b"path,label,split\na.npy,up,train\nb.npy,down,val\n";
    let (_dir, mut config) = manifest(text);
    config.split.validation = Some(0.5);
    let error = load(&config).expect_err("the data has a split").to_string();
    assert!(
        error.contains("have no effect on the split that the data brings"),
        "{error}"
    );
    config.split.by = SplitBy::Group;
    load(&config).expect("now the shares count");
}
