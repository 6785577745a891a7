//! Sources and manifests that the tests write.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// Frames per second at which an array is shown.
pub(crate) const ARRAY_FPS: usize = 25;

/// A folder that is removed when the test ends.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// An array of `t` RGB frames of 8x10 pixels; every pixel of frame `i` is `base + i`.
pub(crate) fn array(path: &Path, t: usize, base: u8) -> PathBuf {
    let (height, width) = (8, 10);
    let mut header = format!(
        "{{'descr': '|u1', 'fortran_order': False, 'shape': ({t}, {height}, {width}, 3), }}"
    );
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    for frame in 0..t {
        bytes.extend(vec![base.wrapping_add(frame as u8); height * width * 3]);
    }
    write(path, &bytes)
}

/// A file with its folders.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> PathBuf {
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a writable folder");
    fs::write(path, bytes).expect("a writable file");
    path.to_owned()
}

/// The shared test data, or `None` with a word about it.
#[expect(clippy::print_stdout, reason = "a test that does nothing says so")]
pub(crate) fn shared_data() -> Option<PathBuf> {
    let data = marey_test::shared_data();
    if data.is_none() {
        println!("skipped: no ../shared/data");
    }
    data
}
