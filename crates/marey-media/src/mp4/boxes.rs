//! Boxes of an ISO base media file (ISO/IEC 14496-12 §4.2), QuickTime's atoms included.

use crate::bytes::Cursor;

/// One box: its type, where its content starts in the file, and the content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mp4Box<'a> {
    pub(super) kind: [u8; 4],
    /// Offset of the box's first header byte from the start of the byte string that was walked.
    pub(super) offset: usize,
    pub(super) content: &'a [u8],
    /// Bytes that the header claims and the file does not have.
    pub(super) missing: u64,
}

/// The boxes one after another in `bytes`. A box that claims more than there is gives what there is and ends the walk.
pub(super) fn boxes(bytes: &[u8]) -> impl Iterator<Item = Mp4Box<'_>> {
    let mut pos = 0;
    std::iter::from_fn(move || {
        let mut cursor = Cursor::new(bytes.get(pos..)?);
        let size = cursor.be_u32()?;
        let kind = cursor.fourcc()?;
        let (size, header) = match size {
            // To the end of the file.
            0 => ((bytes.len() - pos) as u64, 8),
            1 => (cursor.be_u64()?, 16),
            size => (u64::from(size), 8),
        };
        if size < header {
            return None;
        }
        let available = (bytes.len() - pos) as u64;
        let end = pos + size.min(available) as usize;
        let found = Mp4Box {
            kind,
            offset: pos,
            content: bytes.get(pos + header as usize..end)?,
            missing: size.saturating_sub(available),
        };
        pos = end;
        Some(found)
    })
}

/// The content of the first box of a type in `bytes`.
pub(super) fn find<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(bytes).find(|b| &b.kind == kind).map(|b| b.content)
}

/// The content reached by going down one type after another.
pub(super) fn find_path<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter()
        .try_fold(bytes, |content, kind| find(content, kind))
}

/// Version and flags of a "full box", and what follows.
pub(super) fn full_box(content: &[u8]) -> Option<(u8, u32, Cursor<'_>)> {
    let mut cursor = Cursor::new(content);
    let head = cursor.be_u32()?;
    Some(((head >> 24) as u8, head & 0x00ff_ffff, cursor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn boxes_follow_each_other_and_a_long_one_is_cut_at_the_end() {
        let bytes = b"\0\0\0\x0cabcd1234\0\0\0\x01wide\0\0\0\0\0\0\0\x11x\0\0\0\xffcut.99";
        let found: Vec<_> = boxes(bytes)
            .map(|b| (b.kind, b.content.len(), b.missing))
            .collect();
        assert_eq!(
            found,
            [(*b"abcd", 4, 0), (*b"wide", 1, 0), (*b"cut.", 2, 245)]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_end_the_walk(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(boxes(&bytes).count() <= bytes.len() / 8);
        }
    }
}
