//! Files that appear whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use crate::Error;

/// A file under a temporary name beside its final one; removed again unless [`AtomicFile::commit`] is reached.
pub(crate) struct AtomicFile {
    pub(crate) file: File,
    temporary: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// Opens the temporary file.
    pub(crate) fn create(target: &Path) -> Result<Self, Error> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        let temporary = target.with_file_name(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)
            .map_err(|source| Error::io(target, "write the file", source))?;
        Ok(Self {
            file,
            temporary,
            target: target.to_owned(),
            committed: false,
        })
    }

    /// Brings the content to the disk and gives the file its name.
    pub(crate) fn commit(mut self) -> Result<(), Error> {
        let failed = |source: io::Error| Error::io(&self.target, "write the file", source);
        self.file.sync_all().map_err(failed)?;
        fs::rename(&self.temporary, &self.target).map_err(failed)?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing more can be done about a file that cannot be removed; its name says what it is.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
