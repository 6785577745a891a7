//! NumPy arrays: `[t, h, w, c]` or `[t, h, w]`, `uint8` or `float32` (NumPy enhancement proposal 1).

use std::path::Path;

use marey_clip::{Rational, Size, Timeline};

use crate::{
    Backend, Error, ErrorKind, MediaInfo, MediaKind, Reader,
    bytes::{Cursor, FileBytes},
    reader::{FrameDecoder, FrameError, FrameReader},
};

/// How an `.npy` file starts.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// Opens an array, 25 frames a second.
pub(crate) fn open(path: &Path, file: FileBytes) -> Result<Box<dyn Reader>, Error> {
    let fail = |detail| {
        Error::new(
            path,
            ErrorKind::Broken {
                format: "NumPy array",
                detail,
            },
        )
    };
    let header = Header::parse(&file).map_err(fail)?;
    let [t, height, width, channels] = header.dims;
    let frame_len = [height, width, channels]
        .iter()
        .try_fold(1usize, |product, &n| product.checked_mul(n))
        .ok_or_else(|| {
            fail(format!(
                "its shape {:?} does not fit in memory",
                header.dims
            ))
        })?;
    let frame_bytes = frame_len.saturating_mul(header.item.len());
    let available = (file.len() - header.data_start) / frame_bytes.max(1);
    let mut warnings = vec!["an array has no clock: 25 frames per second are assumed".to_owned()];
    if available < t {
        warnings.push(format!(
            "truncated: {available} of {t} frames are in the file"
        ));
    }
    let rate = Rational::new(25, 1).expect("positive");
    let timeline = Timeline::constant(t.min(available), rate).map_err(|_| {
        fail(format!(
            "no frame of its shape {:?} is in the file",
            header.dims
        ))
    })?;
    let info = MediaInfo {
        path: path.to_owned(),
        kind: MediaKind::Array,
        backend: Backend::Rust,
        container: "npy".into(),
        codec: header.item.name().into(),
        size: Size { height, width },
        rotation_deg: 0,
        channels,
        bit_depth: 8 * header.item.len() as u8,
        frame_rate: (timeline.len() > 1).then_some(rate),
        declared_frames: Some(t as u64),
        timeline,
        warnings,
    };
    let array = Array {
        file,
        start: header.data_start,
        frame_len,
    };
    match header.item {
        Item::U8 => FrameReader::<u8>::boxed(info, array),
        Item::F32 => FrameReader::<f32>::boxed(info, array),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    U8,
    F32,
}

impl Item {
    const fn len(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F32 => 4,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::U8 => "uint8",
            Self::F32 => "float32",
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Header {
    item: Item,
    /// `[t, h, w, c]`.
    dims: [usize; 4],
    data_start: usize,
}

impl Header {
    fn parse(file: &[u8]) -> Result<Self, String> {
        let early = || "the header ends early".to_owned();
        let mut cursor = Cursor::new(file);
        cursor.skip(MAGIC.len()).ok_or_else(early)?;
        let version = cursor.le_u16().ok_or_else(early)? & 0xff;
        let len = match version {
            1 => usize::from(cursor.le_u16().ok_or_else(early)?),
            _ => cursor.le_u32().ok_or_else(early)? as usize,
        };
        let text = cursor.take(len).ok_or_else(early)?;
        let data_start = file.len() - cursor.rest().len();
        let text = String::from_utf8_lossy(text);
        if !text.contains("'fortran_order': False") {
            return Err(
                "it is stored in Fortran order: save it with numpy.ascontiguousarray".into(),
            );
        }
        let item = match field(&text, "'descr': '", '\'') {
            Some("|u1" | "<u1" | "u1") => Item::U8,
            Some("<f4") => Item::F32,
            other => {
                let other = other.unwrap_or("nothing");
                return Err(format!(
                    "its items are {other}: save it as uint8 or float32"
                ));
            }
        };
        let shape = field(&text, "'shape': (", ')').ok_or_else(early)?;
        let dims: Option<Vec<usize>> = shape
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| part.parse().ok())
            .collect();
        let dims = match dims.as_deref() {
            Some(&[t, h, w]) => [t, h, w, 1],
            Some(&[t, h, w, c @ (1 | 3)]) => [t, h, w, c],
            _ => {
                return Err(format!(
                    "its shape is ({shape}), expected [t, h, w] or [t, h, w, 1 or 3]"
                ));
            }
        };
        Ok(Self {
            item,
            dims,
            data_start,
        })
    }
}

fn field<'a>(text: &'a str, start: &str, end: char) -> Option<&'a str> {
    let (_, after) = text.split_once(start)?;
    after.split_once(end).map(|(value, _)| value)
}

struct Array {
    file: FileBytes,
    start: usize,
    frame_len: usize,
}

impl Array {
    fn frame(&self, frame: usize, item_len: usize) -> &[u8] {
        let len = self.frame_len * item_len;
        // The timeline has only frames that are in the file.
        &self.file[self.start + frame * len..][..len]
    }
}

impl FrameDecoder<u8> for Array {
    fn decode(&mut self, wanted: &[usize], out: &mut [u8]) -> Result<(), FrameError> {
        for (&frame, out) in wanted.iter().zip(out.chunks_exact_mut(self.frame_len)) {
            out.copy_from_slice(self.frame(frame, 1));
        }
        Ok(())
    }
}

impl FrameDecoder<f32> for Array {
    fn decode(&mut self, wanted: &[usize], out: &mut [f32]) -> Result<(), FrameError> {
        for (&frame, out) in wanted.iter().zip(out.chunks_exact_mut(self.frame_len)) {
            let (items, _) = self.frame(frame, 4).as_chunks::<4>();
            for (value, bytes) in out.iter_mut().zip(items) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dict: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((dict.len() as u16).to_le_bytes());
        bytes.extend(dict.as_bytes());
        bytes
    }

    fn check(descr: &str, fortran: &str, shape: &str, expect: Result<(Item, [usize; 4]), &str>) {
        let dict =
            format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        match (Header::parse(&file(&dict)), expect) {
            (Ok(header), Ok((item, dims))) => assert_eq!((header.item, header.dims), (item, dims)),
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (found, expect) => panic!("{dict}: {found:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn headers() {
        check("|u1", "False", "(5, 4, 6, 3)", Ok((Item::U8, [5, 4, 6, 3])));
        check("<f4", "False", "(5, 4, 6)", Ok((Item::F32, [5, 4, 6, 1])));
        check("<f8", "False", "(5, 4, 6)", Err("float32"));
        check("|u1", "True", "(5, 4, 6)", Err("Fortran"));
        check("|u1", "False", "(5, 3, 4, 6)", Err("shape"));
        check("|u1", "False", "(5,)", Err("shape"));
        check("|u1", "False", "(-5, 4, 6)", Err("shape"));
    }

    #[test]
    fn a_header_longer_than_the_file_is_an_error() {
        let mut bytes = file("{}");
        bytes.truncate(bytes.len() - 1);
        assert_eq!(Header::parse(&bytes), Err("the header ends early".into()));
    }
}
