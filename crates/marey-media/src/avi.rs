//! Our own reading of AVI (RIFF), as far as pictures that stand alone (Motion JPEG) need it.

use crate::bytes::{Cursor, fourcc_text};

/// What an AVI says of its first video stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Avi {
    /// Four-character code of the codec, in capitals.
    pub(crate) codec: [u8; 4],
    /// Seconds a frame lasts, as a ratio (`dwScale`, `dwRate`).
    pub(crate) frame_ticks: (u32, u32),
    /// Frames that the header claims.
    pub(crate) declared: u64,
    /// Each frame's (start, length) in the file; a frame of length 0 repeats the one before.
    pub(crate) frames: Vec<(usize, usize)>,
}

/// Nesting of `LIST` chunks that is followed; real files have 3.
const MAX_DEPTH: usize = 8;

/// Reads video stream `wanted`, counted from 0; `Err` says what is missing.
pub(crate) fn read(file: &[u8], wanted: usize) -> Result<Avi, String> {
    let mut walk = Walk {
        file,
        streams: Vec::new(),
        chunks: Vec::new(),
    };
    // Files over 1 GB have several RIFF chunks one after another (OpenDML).
    walk.chunks(0, file.len(), 0);
    let videos: Vec<usize> = (0..walk.streams.len())
        .filter(|&idx| walk.streams[idx].is_video)
        .collect();
    let number = *videos.get(wanted).ok_or_else(|| match videos.len() {
        0 => "the AVI header lists no video stream".to_owned(),
        n => format!("there is no video stream {wanted}, only {n} of them"),
    })?;
    let stream = &walk.streams[number];
    let of_stream = |id: &[u8; 4]| {
        let digit = |c: u8| char::from(c).to_digit(10);
        let found = digit(id[0])
            .zip(digit(id[1]))
            .map(|(tens, ones)| tens * 10 + ones);
        found == Some(number as u32) && matches!(&id[2..], b"dc" | b"db")
    };
    let frames = walk.chunks.iter().filter(|(id, ..)| of_stream(id));
    Ok(Avi {
        codec: stream.codec,
        frame_ticks: (stream.scale, stream.rate),
        declared: u64::from(stream.declared),
        frames: frames.map(|&(_, start, len)| (start, len)).collect(),
    })
}

/// A codec's name as people say it.
pub(crate) fn codec_name(codec: [u8; 4]) -> String {
    match &codec {
        b"XVID" | b"DIVX" | b"DX50" | b"FMP4" | b"MP4V" => "MPEG-4 part 2 (XviD, DivX)".into(),
        b"H264" | b"X264" | b"AVC1" => "H.264 in AVI".into(),
        other => format!("`{}` in AVI", fourcc_text(*other)),
    }
}

#[derive(Default)]
struct Stream {
    is_video: bool,
    codec: [u8; 4],
    scale: u32,
    rate: u32,
    declared: u32,
}

struct Walk<'a> {
    file: &'a [u8],
    streams: Vec<Stream>,
    /// Data chunks: identifier, start and length.
    chunks: Vec<([u8; 4], usize, usize)>,
}

impl Walk<'_> {
    fn chunks(&mut self, start: usize, end: usize, depth: usize) {
        let file = self.file;
        let mut pos = start;
        while let Some(head) = file.get(pos..end.min(file.len())) {
            let mut cursor = Cursor::new(head);
            let (Some(id), Some(len)) = (cursor.fourcc(), cursor.le_u32()) else {
                return;
            };
            let content = pos + 8;
            // A file that was cut, or still being written, claims more than there is.
            let stop = content.saturating_add(len as usize).min(end);
            match &id {
                b"RIFF" | b"LIST" if depth < MAX_DEPTH && stop >= content + 4 => {
                    self.chunks(content + 4, stop, depth + 1);
                }
                b"strh" => self.stream_header(&file[content..stop]),
                b"strf" => self.stream_format(&file[content..stop]),
                _ if stop - content == len as usize => {
                    self.chunks.push((id, content, len as usize))
                }
                _ => {}
            }
            // Chunks start at even places.
            pos = stop + (len as usize & 1);
        }
    }

    fn stream_header(&mut self, header: &[u8]) {
        let mut cursor = Cursor::new(header);
        let mut read = || {
            let is_video = cursor.fourcc()? == *b"vids";
            let codec = cursor.fourcc()?;
            cursor.skip(12)?;
            let (scale, rate) = (cursor.le_u32()?, cursor.le_u32()?);
            cursor.skip(4)?;
            let declared = cursor.le_u32()?;
            Some(Stream {
                is_video,
                codec,
                scale,
                rate,
                declared,
            })
        };
        let stream = read().unwrap_or_default();
        self.streams.push(stream);
    }

    /// The bitmap header names the codec that counts; the stream header's is often wrong.
    fn stream_format(&mut self, format: &[u8]) {
        if let Some(stream) = self.streams.last_mut().filter(|stream| stream.is_video)
            && let Some(&codec) = format.get(16..20).and_then(|code| code.first_chunk())
        {
            stream.codec = codec;
        }
        if let Some(stream) = self.streams.last_mut() {
            stream.codec.make_ascii_uppercase();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(id: &[u8], content: &[u8]) -> Vec<u8> {
        let mut bytes = id.to_vec();
        bytes.extend((content.len() as u32).to_le_bytes());
        bytes.extend(content);
        if content.len() % 2 == 1 {
            bytes.push(0);
        }
        bytes
    }

    fn list(id: &[u8], kind: &[u8], parts: &[Vec<u8>]) -> Vec<u8> {
        chunk(id, &[kind, &parts.concat()].concat())
    }

    fn small_avi() -> Vec<u8> {
        let words = |words: &[u32]| {
            words
                .iter()
                .flat_map(|w| w.to_le_bytes())
                .collect::<Vec<_>>()
        };
        let header = [b"vidsxxxx".to_vec(), words(&[0, 0, 0, 1, 10, 0, 3, 0])].concat();
        let format = [words(&[40, 320, 240, 0]), b"mjpg".to_vec(), vec![0; 20]].concat();
        let stream = list(
            b"LIST",
            b"strl",
            &[chunk(b"strh", &header), chunk(b"strf", &format)],
        );
        let movie = [
            chunk(b"00dc", b"abc"),
            chunk(b"01wb", b"noise"),
            chunk(b"00dc", b""),
        ];
        list(
            b"RIFF",
            b"AVI ",
            &[
                list(b"LIST", b"hdrl", &[stream]),
                list(b"LIST", b"movi", &movie),
            ],
        )
    }

    #[test]
    fn frames_of_the_video_stream_are_found() {
        let file = small_avi();
        let avi = read(&file, 0).expect("well formed");
        assert_eq!(
            (&avi.codec, avi.frame_ticks, avi.declared),
            (b"MJPG", (1, 10), 3)
        );
        let frames: Vec<&[u8]> = avi
            .frames
            .iter()
            .map(|&(start, len)| &file[start..start + len])
            .collect();
        assert_eq!(frames, [b"abc".as_slice(), b""]);
        assert!(read(&file, 1).expect_err("one stream").contains("only 1"));
    }

    #[test]
    fn a_cut_file_gives_the_frames_it_has() {
        let mut file = small_avi();
        file.truncate(file.len() - 20);
        assert_eq!(read(&file, 0).map(|avi| avi.frames.len()), Ok(1));
    }

    proptest! {
        #[test]
        fn any_damage_ends(at in 0usize..300, byte: u8) {
            let mut file = small_avi();
            let at = at % file.len();
            file[at] = byte;
            let _ = read(&file, 0);
        }
    }
}
