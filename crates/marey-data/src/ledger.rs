//! The ledger of a data set: one line for each time that its test split was judged.
//!
//! A test split says how good a model is on new data only as long as nothing is chosen by it. Nobody can see from a figure how
//! many others were looked at before it, so each use is written down beside the data, in `<data>.ledger.jsonl`, whoever made it
//! and wherever the run lies. A line is appended with one write under a lock, so lines of programs that run at once do not mix.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{Dataset, Error, Split, leak};

/// One use of a test split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestUse {
    /// When, as `YYYY-MM-DDThh:mm:ssZ`.
    pub date: String,
    /// The run that made the model.
    pub run: String,
    /// [`bundle_fingerprint`] of the judged bundle.
    pub bundle: String,
    /// [`test_fingerprint`] of the judged items.
    pub test: String,
    /// Number of judged items.
    pub items: usize,
    /// Name of the figure that was told first, such as `macro_f1`.
    pub figure: String,
    /// Its value.
    pub value: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
    /// The command.
    pub command: String,
    /// Version of the program.
    pub version: String,
}

/// How often a test split was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestUses {
    /// Evaluations on exactly these items.
    pub evaluations: usize,
    /// Different bundles among them.
    pub bundles: usize,
    /// Evaluations on other test splits of the same data, which may hold some of these items.
    pub on_other_splits: usize,
}

impl std::fmt::Display for TestUses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let times = |count: usize| match count {
            0 => "never".to_owned(),
            1 => "once".to_owned(),
            count => format!("{count} times"),
        };
        write!(f, "used {}", times(self.evaluations))?;
        if self.bundles > 1 {
            write!(f, " by {} different bundles", self.bundles)?;
        }
        if self.on_other_splits > 0 {
            write!(
                f,
                ", and other test splits of this data {}",
                times(self.on_other_splits)
            )?;
        }
        Ok(())
    }
}

/// Where the ledger of the data at `data` is.
pub fn ledger_path(data: &Path) -> PathBuf {
    let mut name = data.file_name().unwrap_or_default().to_owned();
    name.push(".ledger.jsonl");
    data.with_file_name(name)
}

/// A name for the test items of a data set: the same for the same items, in any order.
pub fn test_fingerprint(dataset: &Dataset) -> String {
    let ids: BTreeSet<&str> = dataset
        .indices(Split::Test)
        .into_iter()
        .map(|idx| dataset.items[idx].id.as_str())
        .collect();
    let mut hasher = blake3::Hasher::new();
    for id in ids {
        hasher.update(id.as_bytes()).update(b"\n");
    }
    short(hasher.finalize())
}

/// A name for the content of the bundle in the folder `dir`.
///
/// # Errors
/// When it cannot be read.
pub fn bundle_fingerprint(dir: &Path) -> Result<String, Error> {
    let hash = leak::hash(dir).map_err(|error| Error::io(dir, "read the bundle", error))?;
    Ok(short(hash.into()))
}

fn short(hash: blake3::Hash) -> String {
    hash.to_hex().chars().take(16).collect()
}

/// The uses of test splits of the data at `data`, the oldest first; none where there is no ledger.
///
/// # Errors
/// When the ledger cannot be read, or a line of it is no entry.
pub fn read_ledger(data: &Path) -> Result<Vec<TestUse>, Error> {
    let path = ledger_path(data);
    let text = match read_whole(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(&path, "read the ledger", error)),
    };
    let lines = text
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim().is_empty());
    let entry = |(line, number): (&str, u64)| {
        serde_json::from_str(line).map_err(|error| {
            Error::line(&path, number, format!("is no entry of a ledger: {error}"))
        })
    };
    lines.map(entry).collect()
}

/// Counts the uses of the test split called `test`.
pub fn count_uses(ledger: &[TestUse], test: &str) -> TestUses {
    let of_this = || ledger.iter().filter(|entry| entry.test == test);
    TestUses {
        evaluations: of_this().count(),
        bundles: of_this()
            .map(|entry| entry.bundle.as_str())
            .collect::<BTreeSet<_>>()
            .len(),
        on_other_splits: ledger.len() - of_this().count(),
    }
}

/// Writes one use down and counts all of this test split, this one among them.
///
/// # Errors
/// When the ledger cannot be written or read.
pub fn record_test_use(data: &Path, entry: &TestUse) -> Result<TestUses, Error> {
    let path = ledger_path(data);
    append(&path, entry).map_err(|error| Error::io(&path, "write the ledger", error))?;
    Ok(count_uses(&read_ledger(data)?, &entry.test))
}

/// The text of the ledger, read while nobody writes: a line that is being written is half a line.
fn read_whole(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.lock_shared()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn append(path: &Path, entry: &TestUse) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)?;
    file.lock()?;
    let mut line = serde_json::to_string(entry)?;
    line.push('\n');
    if ends_in_a_line(&mut file)? {
        // A program that was killed while it wrote left half a line: it is not continued.
        line.insert(0, '\n');
    }
    file.write_all(line.as_bytes())?;
    file.sync_all()
}

/// Whether the last line is not ended.
fn ends_in_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bundle: &str, test: &str) -> TestUse {
        TestUse {
            date: "2026-01-02T03:04:05Z".into(),
            run: "small-1".into(),
            bundle: bundle.into(),
            test: test.into(),
            items: 8,
            figure: "macro_f1".into(),
            value: 0.5,
            interval: [0.25, 0.75],
            command: "marey eval".into(),
            version: "0.1.0".into(),
        }
    }

    #[test]
    fn uses_are_counted_by_split_and_bundle() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("clips.csv");
        assert_eq!(read_ledger(&data).expect("none"), []);
        // A2D: twelve evaluations of two models on one test split, and the best of them was told.
        for idx in 0..12 {
            record_test_use(&data, &entry(["b3", "b4"][idx / 6], "usage 1")).expect("written");
        }
        let uses = record_test_use(&data, &entry("b3", "another")).expect("written");
        assert_eq!(
            uses.to_string(),
            "used once, and other test splits of this data 12 times"
        );
        let uses = count_uses(&read_ledger(&data).expect("lines"), "usage 1");
        assert_eq!(
            uses.to_string(),
            "used 12 times by 2 different bundles, and other test splits of this data once"
        );
        assert!(dir.path().join("clips.csv.ledger.jsonl").is_file());
    }

    #[test]
    fn half_a_line_is_not_continued() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("clips");
        std::fs::write(ledger_path(&data), "{\"date\": \"20").expect("written");
        let error = record_test_use(&data, &entry("a", "t"))
            .expect_err("half a line")
            .to_string();
        assert!(
            error.contains("line 1") && error.contains("clips.ledger.jsonl"),
            "{error}"
        );
        let text = std::fs::read_to_string(ledger_path(&data)).expect("a file");
        assert_eq!(
            serde_json::from_str::<TestUse>(text.lines().nth(1).expect("a line")).expect("whole"),
            entry("a", "t")
        );
    }

    #[test]
    fn lines_of_programs_that_run_at_once_do_not_mix() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("clips");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let data = &data;
                scope.spawn(move || {
                    for _ in 0..25 {
                        record_test_use(data, &entry(&thread.to_string(), "t")).expect("written");
                    }
                });
            }
        });
        let uses = count_uses(&read_ledger(&data).expect("whole lines"), "t");
        assert_eq!((uses.evaluations, uses.bundles), (100, 4));
    }
}
