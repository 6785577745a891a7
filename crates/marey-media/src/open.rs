//! Which reader takes a source: by what the file holds, not by its name.

use std::path::Path;

use marey_clip::{Clip, ClipPlan};

use crate::{
    DecoderChoice, Error, ErrorKind, MediaInfo, OpenOptions, Reader, avi,
    bytes::FileBytes,
    error::unsupported,
    ffmpeg, gif, h264, images, mjpeg,
    mp4::{self, Codec, Mp4Error},
    npy, sequence, thermal,
};

/// Opens a file, a folder of images, or numbered images of a folder by their pattern (`Abuse001_x264_*.png`).
///
/// With [`DecoderChoice::Auto`] the built-in decoders are tried first; what they cannot read goes to the linked FFmpeg
/// libraries where they are built in, else to the `ffmpeg` program where it is on the `PATH`.
///
/// # Errors
/// When there is nothing readable at `path`; the error says what was found and what would make it readable.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Box<dyn Reader>, Error> {
    match options.decoder {
        DecoderChoice::Rust => open_built_in(path, options).map_err(with_remedy),
        DecoderChoice::Linked => ffmpeg::open_linked(path, options),
        DecoderChoice::Program => ffmpeg::open_program(path, options),
        DecoderChoice::Auto => open_auto(path, options),
    }
}

fn open_auto(path: &Path, options: &OpenOptions) -> Result<Box<dyn Reader>, Error> {
    let error = match open_built_in(path, options) {
        Ok(inner) => {
            let options = options.clone();
            return Ok(Box::new(AutoReader { inner, options }));
        }
        Err(error) => error,
    };
    let unsupported = matches!(error.kind(), ErrorKind::Unsupported { .. });
    if !unsupported && !error.is_of_decoder() {
        return Err(error);
    }
    match ffmpeg::open_any(path, options) {
        Some(Ok(reader)) => {
            tracing::debug!(path = %path.display(), %error, "read by FFmpeg instead");
            Ok(reader)
        }
        // A file that FFmpeg gives up on too: the more exact of the two errors.
        Some(Err(other)) => Err(if unsupported { other } else { error }),
        None => Err(with_remedy(error)),
    }
}

/// Says what would make an unsupported format readable.
fn with_remedy(mut error: Error) -> Error {
    if let ErrorKind::Unsupported { remedy, .. } = error.kind_mut() {
        *remedy = "put the programs `ffmpeg` and `ffprobe` on the PATH and let the decoder be chosen, or build with \
                   the cargo feature `ffmpeg`"
            .into();
    }
    error
}

/// A built-in reader that hands over to FFmpeg, where there is one, at the first frame it cannot decode.
struct AutoReader {
    inner: Box<dyn Reader>,
    options: OpenOptions,
}

impl Reader for AutoReader {
    fn info(&self) -> &MediaInfo {
        self.inner.info()
    }

    fn read(&mut self, plan: &ClipPlan) -> Result<Clip, Error> {
        let error = match self.inner.read(plan) {
            Err(error) if error.is_of_decoder() => error,
            outcome => return outcome,
        };
        let info = self.inner.info();
        let Some(Ok(mut other)) = ffmpeg::open_any(&info.path, &self.options) else {
            return Err(error);
        };
        // Only where both see the same frames does a plan mean the same.
        let same =
            other.info().size == info.size && other.info().timeline.len() == info.timeline.len();
        if !same {
            return Err(error);
        }
        tracing::warn!(path = %info.path.display(), %error, "from here on read by FFmpeg");
        let (ours, theirs) = (&info.timeline, other.info().timeline.timestamps());
        let timestamps = plan.timestamps.iter().map(|&at| theirs[ours.index_at(at)]);
        let plan = ClipPlan {
            timestamps: timestamps.collect(),
        };
        let clip = other.read(&plan)?;
        self.inner = other;
        Ok(clip)
    }
}

fn open_built_in(path: &Path, options: &OpenOptions) -> Result<Box<dyn Reader>, Error> {
    if path.is_dir() {
        return images::open_folder(path);
    }
    if sequence::is_pattern(path) {
        return sequence::open(path);
    }
    let file = FileBytes::open(path)?;
    let fail = |kind| Err(Error::new(path, kind));
    match Format::of(&file, path) {
        Format::Mp4 => open_mp4(path, &file, options),
        Format::Avi => open_avi(path, &file, options),
        Format::Gif => gif::open(path, file),
        Format::Npy => npy::open(path, file),
        Format::Hdf5 => thermal::open(path),
        Format::Image => images::open_file(path),
        Format::AnnexB => h264::open_annex_b(path, &file),
        Format::Other(name) => fail(unsupported(name)),
        Format::Unknown => fail(unsupported(format!(
            "a file that begins with {}",
            file.iter()
                .take(8)
                .map(|byte| format!("{byte:02x}"))
                .collect::<Vec<_>>()
                .join(" ")
        ))),
    }
}

/// What a file is by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Mp4,
    Avi,
    Gif,
    Npy,
    Hdf5,
    Image,
    /// A raw H.264 stream.
    AnnexB,
    /// A known format that only FFmpeg reads.
    Other(&'static str),
    Unknown,
}

impl Format {
    fn of(file: &[u8], path: &Path) -> Self {
        let at = |offset: usize, magic: &[u8]| {
            file.get(offset..)
                .is_some_and(|rest| rest.starts_with(magic))
        };
        let top_boxes: [&[u8]; 8] = [
            b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"moof", b"styp",
        ];
        match () {
            () if at(0, b"RIFF") && at(8, b"AVI ") => Self::Avi,
            () if at(0, b"RIFF") && at(8, b"WEBP") => Self::Image,
            () if at(0, b"GIF8") => Self::Gif,
            () if at(0, npy::MAGIC) => Self::Npy,
            () if at(0, thermal::MAGIC) => Self::Hdf5,
            () if at(0, b"\x89PNG") || at(0, b"\xff\xd8\xff") || at(0, b"BM") => Self::Image,
            () if top_boxes.iter().any(|kind| at(4, kind)) => Self::Mp4,
            () if at(0, b"\x1a\x45\xdf\xa3") => Self::Other("Matroska or WebM"),
            () if at(0, b"FLV") => Self::Other("Flash video"),
            () if at(0, b"\0\0\x01\xba") || at(0, b"\0\0\x01\xb3") => Self::Other("an MPEG stream"),
            () if at(0, b"\x47") && at(188, b"\x47") => Self::Other("an MPEG transport stream"),
            () if at(0, b"\x30\x26\xb2\x75") => Self::Other("Windows Media"),
            () if at(0, b"DKIF") => Self::Other("IVF"),
            () if is_annex_b(file, path) => Self::AnnexB,
            () => Self::Unknown,
        }
    }
}

/// Whether a file starts as a raw H.264 stream does: a start code and a NAL unit that can stand first. Streams cut out
/// of others may start with anything; their name says what they are.
fn is_annex_b(file: &[u8], path: &Path) -> bool {
    let zeros = file.iter().take_while(|&&byte| byte == 0).count();
    if zeros < 2 || file.get(zeros) != Some(&1) {
        return false;
    }
    let named = path
        .extension()
        .and_then(|e| e.to_str())
        .is_some_and(|extension| {
            ["264", "h264", "avc", "jsv", "jvt", "26l"]
                .iter()
                .any(|e| extension.eq_ignore_ascii_case(e))
        });
    let head = file.get(zeros + 1).copied().unwrap_or(0x80);
    head & 0x80 == 0 && (named || matches!(head & 31, 1 | 5 | 6 | 7 | 8 | 9))
}

fn open_mp4(
    path: &Path,
    file: &FileBytes,
    options: &OpenOptions,
) -> Result<Box<dyn Reader>, Error> {
    let track = mp4::read_track(file, options.video_track).map_err(|error| {
        let kind = match error {
            Mp4Error::NoVideo(detail) => ErrorKind::NoVideo(detail),
            Mp4Error::Broken(detail) => ErrorKind::Broken {
                format: "MP4",
                detail,
            },
        };
        Error::new(path, kind)
    })?;
    match &track.codec {
        Codec::H264 {
            nal_length,
            parameter_sets,
        } => h264::open_track(path, file, &track, *nal_length, parameter_sets),
        Codec::Mjpeg => mjpeg::open_track(path, file, &track),
        Codec::Encrypted => {
            let detail = "its video is encrypted, and there is no key".to_owned();
            Err(Error::new(path, ErrorKind::NoVideo(detail)))
        }
        Codec::Other(name) => Err(Error::new(path, unsupported(format!("{name} in MP4")))),
    }
}

fn open_avi(
    path: &Path,
    file: &FileBytes,
    options: &OpenOptions,
) -> Result<Box<dyn Reader>, Error> {
    let avi = avi::read(file, options.video_track)
        .map_err(|detail| Error::new(path, ErrorKind::NoVideo(detail)))?;
    match &avi.codec {
        b"MJPG" | b"AVRN" | b"LJPG" | b"JPGL" => mjpeg::open_avi(path, file, avi),
        other => Err(Error::new(path, unsupported(avi::codec_name(*other)))),
    }
}

/// Extensions of files that a scan of a folder takes.
const EXTENSIONS: [&str; 33] = [
    "mp4", "m4v", "mov", "avi", "gif", "npy", "h5", "hdf5", "mkv", "webm", "mpg", "mpeg", "ts",
    "mts", "m2ts", "flv", "wmv", "asf", "3gp", "3g2", "ogv", "vob", "ivf", "mxf", "264", "h264",
    "avc", "jsv", "265", "h265", "hevc", "mjpeg", "mjpg",
];

/// Whether a scan of a folder would take `path` for a source: a file with the extension of a known format, or a folder
/// that directly holds at least one image. Nothing is opened, so a file that is taken may still be unreadable.
pub fn is_media(path: &Path) -> bool {
    if path.is_dir() {
        let entries = path.read_dir().into_iter().flatten().flatten();
        return entries
            .map(|entry| entry.path())
            .any(|file| images::is_image(&file));
    }
    let extension = path.extension().and_then(|e| e.to_str());
    extension.is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_bytes() {
        for (bytes, name, expect) in [
            (&b"\0\0\0\x18ftypmp42"[..], "a.avi", Format::Mp4),
            (b"RIFF\0\0\0\0AVI LIST", "a.mp4", Format::Avi),
            (b"RIFF\0\0\0\0WEBPVP8 ", "a", Format::Image),
            (b"\0\0\0\x01\x67\x42", "a", Format::AnnexB),
            // A slice of an unusual kind, in a file that says what it is.
            (b"\0\0\x01\x02\x42", "a.jsv", Format::AnnexB),
            // The first unit of an HEVC stream.
            (b"\0\0\0\x01\x40\x01", "a.265", Format::Unknown),
            (
                b"\0\0\x01\xba\x44",
                "a.264",
                Format::Other("an MPEG stream"),
            ),
            (b"", "a.mp4", Format::Unknown),
        ] {
            assert_eq!(Format::of(bytes, Path::new(name)), expect, "{bytes:?}");
        }
    }

    #[test]
    fn names_decide_in_a_scan() {
        for (name, expect) in [
            ("a.MP4", true),
            ("a.h5", true),
            ("a.csv", false),
            ("mp4", false),
        ] {
            assert_eq!(is_media(Path::new(name)), expect, "{name}");
        }
    }
}
