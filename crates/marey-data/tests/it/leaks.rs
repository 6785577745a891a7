//! Splits that share groups or files.

use marey_data::{DataConfig, LeakKind, Split, check_leaks, load};

use crate::fixtures::{array, folder, write};

/// Four clips of which `a` and `copy` are the same file.
fn config(text: &str) -> (tempfile::TempDir, DataConfig) {
    let dir = folder();
    for (name, base) in [("a", 1), ("b", 2), ("c", 3), ("copy", 1)] {
        array(&dir.path().join(format!("{name}.npy")), 50, base);
    }
    let config = DataConfig::new(write(&dir.path().join("list.csv"), text.as_bytes()));
    (dir, config)
}

fn check_refused(text: &str, expected: &str) {
    let error = load(&config(text).1).expect_err(expected).to_string();
    assert!(error.contains(expected), "{error}\nlacks\n{expected}");
    assert!(
        error.contains("marey data split") && error.contains("data.allow_leak"),
        "{error}"
    );
}

#[test]
fn shared_groups_files_and_contents_are_refused() {
    check_refused(
        "path,label,split,group\na.npy,up,train,x\nb.npy,down,test,x\nc.npy,up,val,y\n",
        "group `x` is in train (1 items) and in test (1 items)",
    );
    check_refused(
        "path,label,split,start,end\na.npy,up,train,0,1\na.npy,down,val,1,2\nb.npy,up,train,,\n",
        "a.npy is in train (1 items) and in validation (1 items)",
    );
    check_refused(
        "path,label,split\na.npy,up,train\nb.npy,down,train\ncopy.npy,up,val\n",
        "are the same file",
    );
}

#[test]
fn the_same_content_in_one_split_is_no_leak() {
    let text = "path,label,split\na.npy,up,train\ncopy.npy,up,train\nb.npy,down,val\n";
    let (_dir, config) = config(text);
    let dataset = load(&config).expect("no leak");
    assert_eq!(check_leaks(&dataset).expect("readable files"), []);
}

#[test]
fn a_leak_is_accepted_for_a_reason_that_is_kept() {
    let text = "path,label,split,group\na.npy,up,train,x\nb.npy,down,train,y\ncopy.npy,up,test,x\n";
    let (_dir, mut config) = config(text);
    config.allow_leak = Some(" ".into());
    let error = load(&config).expect_err("no reason").to_string();
    assert!(error.contains("needs a reason"), "{error}");
    config.allow_leak = Some("the authors' split".into());
    let dataset = load(&config).expect("a reason was given");
    assert_eq!(dataset.accepted_leak.as_deref(), Some("the authors' split"));
    let leaks = check_leaks(&dataset).expect("readable files");
    assert_eq!(
        leaks.len(),
        2,
        "a shared group and a shared content: {leaks:?}"
    );
    assert!(matches!(&leaks[0].kind, LeakKind::Group(group) if group == "x"));
    assert_eq!(leaks[0].splits, [Split::Train, Split::Test]);
}
