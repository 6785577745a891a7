//! A file's bytes, and bounds-checked reading of the numbers in them.

use std::{fs::File, ops::Deref, path::Path, sync::Arc};

use memmap2::Mmap;

use crate::{Error, ErrorKind};

/// A whole file, mapped into memory and cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct FileBytes(Arc<Mmap>);

impl FileBytes {
    /// Maps the file at `path`. Bytes are read when touched, so a large file costs nothing here.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let io = |error| Error::new(path, ErrorKind::Io(error));
        let file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.len() == 0 {
            let detail = "the file is empty".to_owned();
            return Err(Error::new(path, ErrorKind::NoVideo(detail)));
        }
        // SAFETY: the map is read only. Another program that shortens the file while it is read would end this one;
        // media files are written once, and every reader of large files accepts that.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        Ok(Self(Arc::new(map)))
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for FileBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// A position in a byte string; every read is checked and moves on, and `None` means that the string ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0 }
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.pos.checked_add(len)?;
        let taken = self.bytes.get(self.pos..end)?;
        self.pos = end;
        Some(taken)
    }

    pub(crate) fn skip(&mut self, len: usize) -> Option<()> {
        self.take(len).map(|_| ())
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.pos..]
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn be_u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn be_u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn be_i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn be_u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn be_i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn le_u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn le_u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn fourcc(&mut self) -> Option<[u8; 4]> {
        self.array()
    }
}

/// A four-character code as text, with what cannot be printed escaped.
pub(crate) fn fourcc_text(code: [u8; 4]) -> String {
    code.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_past_the_end_is_none_and_does_not_move() {
        let mut cursor = Cursor::new(&[0, 1, 2]);
        assert_eq!(cursor.be_u16(), Some(1));
        assert_eq!(cursor.be_u16(), None);
        assert_eq!(cursor.take(usize::MAX), None);
        assert_eq!(cursor.u8(), Some(2));
        assert_eq!(cursor.rest(), &[] as &[u8]);
    }
}
