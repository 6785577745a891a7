//! The file of a packed store while it is written: frames at any place, then timestamps, index and header.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::Path,
};

use super::{HEADER_LEN, Index, MAGIC, VERSION};
use crate::{Error, ErrorKind};

/// An index and what goes beside it.
pub(super) struct Contents {
    pub(super) index: Index,
    /// Timestamps of all sources, one after the other, at the first source's position.
    pub(super) timestamps: Vec<u8>,
    pub(super) timestamps_at: u64,
}

/// The file of a store, written at any place.
pub(super) struct Writer<'a> {
    path: &'a Path,
    file: BufWriter<&'a File>,
    /// Where the file stands.
    at: Option<u64>,
}

impl<'a> Writer<'a> {
    /// A writer of a store at `path`, which is open as `file`.
    pub(super) fn new(path: &'a Path, file: &'a File) -> Self {
        Self {
            path,
            file: BufWriter::with_capacity(1 << 20, file),
            at: None,
        }
    }

    pub(super) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let seek = if self.at == Some(offset) {
            Ok(0)
        } else {
            self.file.seek(SeekFrom::Start(offset))
        };
        let written = seek.and_then(|_| self.file.write_all(bytes));
        self.at = Some(offset + bytes.len() as u64);
        written.map_err(|error| self.error(error))
    }

    /// Timestamps, index and header; the size of the file.
    pub(super) fn finish(&mut self, contents: &Contents) -> Result<u64, Error> {
        let index =
            serde_json::to_vec(&contents.index).expect("numbers and strings are always JSON");
        let index_at = contents.timestamps_at + contents.timestamps.len() as u64;
        self.write_at(contents.timestamps_at, &contents.timestamps)?;
        self.write_at(index_at, &index)?;
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.extend(MAGIC);
        header.extend(VERSION.to_le_bytes());
        header.extend([0; 4]);
        header.extend(index_at.to_le_bytes());
        header.extend((index.len() as u64).to_le_bytes());
        header.extend(blake3::hash(&index).as_bytes());
        self.write_at(0, &header)?;
        self.file.flush().map_err(|error| self.error(error))?;
        Ok(index_at + index.len() as u64)
    }

    fn error(&self, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::StorageFull {
            let problem = "the disk is full: free some space, write the store to another disk, or pack at a smaller \
                           preprocess.size";
            return Error::new(self.path, ErrorKind::Store(problem.to_owned()));
        }
        Error::io(self.path, "write the packed store", error)
    }
}
