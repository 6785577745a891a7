//! Files and folders that appear whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use crate::{Error, ErrorKind};

/// Writes `bytes` to `path`, through a file beside it that is renamed when it is complete and on the disk.
///
/// # Errors
/// When it cannot be written; what was at `path` before is then untouched.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let fresh = beside(path, "new");
    let written = (|| {
        let mut file = File::create(&fresh).map_err(Error::io(path, "create the file"))?;
        file.write_all(bytes)
            .map_err(Error::io(path, "write the file; is the disk full?"))?;
        file.sync_all()
            .map_err(Error::io(path, "write the file; is the disk full?"))?;
        fs::rename(&fresh, path).map_err(Error::io(path, "rename the complete file into place"))
    })();
    if written.is_err() {
        // The error to report is the first one.
        let _ = fs::remove_file(&fresh);
    }
    written
}

/// Fills a folder beside `dir` and renames it into place; a folder there before is replaced only when `may_replace`.
///
/// # Errors
/// When a folder is there that may not be replaced, the folder cannot be made or renamed, or `fill` fails.
pub fn write_folder<E: From<Error>>(
    dir: &Path,
    may_replace: impl Fn(&Path) -> bool,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    if dir.exists() && !may_replace(dir) {
        return Err(Error::at(dir, ErrorKind::Occupied).into());
    }
    let (fresh, old) = (beside(dir, "new"), beside(dir, "old"));
    remove_if_there(&fresh)?;
    let written = (|| {
        fs::create_dir_all(&fresh).map_err(Error::io(dir, "create the folder"))?;
        fill(&fresh)?;
        if dir.exists() {
            remove_if_there(&old)?;
            fs::rename(dir, &old).map_err(Error::io(dir, "rename the folder that was there"))?;
        }
        fs::rename(&fresh, dir).map_err(Error::io(dir, "rename the complete folder into place"))?;
        Ok(())
    })();
    if written.is_err() {
        let _ = fs::remove_dir_all(&fresh);
        return written;
    }
    Ok(remove_if_there(&old)?)
}

/// Where the folder `dir` of [`write_folder`] is: a crash between its two renames leaves the one before under its spare
/// name.
pub fn find_folder(dir: &Path) -> PathBuf {
    let old = beside(dir, "old");
    if !dir.exists() && old.is_dir() {
        old
    } else {
        dir.to_owned()
    }
}

/// `.<name>.<suffix>` in the same folder, hence on the same disk.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

fn remove_if_there(dir: &Path) -> Result<(), Error> {
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(Error::io(dir, "remove what an interrupted save left"))?;
    }
    Ok(())
}
