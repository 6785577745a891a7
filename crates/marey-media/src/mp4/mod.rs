//! Our own reading of MP4 and MOV: tracks, samples, edits, fragments, rotation.
//!
//! Written here because the crates for it refuse a file whose end is missing and size their tables by what the file
//! claims; a training set has both kinds of file.

mod boxes;

mod edits;

mod fragments;

mod tables;

use boxes::{boxes, find, find_path, full_box};
use edits::Edits;
pub(crate) use tables::Sample;
use tables::read_tables;

use crate::{
    bytes::{Cursor, fourcc_text},
    rotate::rotation_of,
};

/// What a track's sample description says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// H.264 with parameter sets in the description; bytes of a NAL unit's length field.
    H264 {
        nal_length: usize,
        /// SPS and PPS NAL units.
        parameter_sets: Vec<Vec<u8>>,
    },
    /// One JPEG a sample.
    Mjpeg,
    /// Encrypted, whatever it is.
    Encrypted,
    /// Anything else, by the name people use.
    Other(String),
}

/// A video track.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    pub(crate) codec: Codec,
    /// Ticks per second.
    pub(crate) timescale: u32,
    /// Clockwise rotation that shows the picture upright, in degrees.
    pub(crate) rotation_deg: u16,
    /// Samples in decoding order that the file has in full.
    pub(crate) samples: Vec<Sample>,
    /// Number of samples that the tables claim.
    pub(crate) declared: u64,
    /// Pictures in the order they are shown: (sample, when, in ticks); what edits hide is not here.
    pub(crate) shown: Vec<(usize, i64)>,
    /// When the last picture ends, in ticks.
    pub(crate) end: i64,
    /// Range flag of a `colr` box: whether samples use the full range 0–255, and its matrix number (ISO/IEC 23091-2).
    pub(crate) colour: Option<(u8, bool)>,
}

/// Why a file gives no track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mp4Error {
    /// There is no such video track; what there is instead.
    NoVideo(String),
    /// The file contradicts itself or ends early.
    Broken(String),
}

/// Reads video track `wanted`, counted from 0.
pub(crate) fn read_track(file: &[u8], wanted: usize) -> Result<Track, Mp4Error> {
    let moov = find_moov(file)?;
    let movie_scale = find(moov, b"mvhd").and_then(timescale).unwrap_or(1);
    let mut handlers = Vec::new();
    let mut videos = 0;
    for trak in boxes(moov).filter(|b| &b.kind == b"trak") {
        let handler = find_path(trak.content, &[b"mdia", b"hdlr"]).and_then(handler_type);
        if handler == Some(*b"vide") {
            if videos == wanted {
                return read_video(file, moov, trak.content, movie_scale).map_err(Mp4Error::Broken);
            }
            videos += 1;
        }
        handlers.push(match handler.as_ref() {
            Some(b"soun") => "sound".to_owned(),
            Some(b"vide") => "video".to_owned(),
            Some(other) => fourcc_text(*other),
            None => "unknown".to_owned(),
        });
    }
    Err(Mp4Error::NoVideo(match handlers.len() {
        0 => "the movie has no track".to_owned(),
        _ if videos > 0 => format!("there is no video track {wanted}, only {videos} of them"),
        _ => format!("its tracks are: {}", handlers.join(", ")),
    }))
}

fn find_moov(file: &[u8]) -> Result<&[u8], Mp4Error> {
    let mut last = None;
    for found in boxes(file) {
        if &found.kind == b"moov" {
            if found.missing > 0 {
                return Err(Mp4Error::Broken(format!(
                    "the movie header (moov) at byte {} lacks its last {} bytes",
                    found.offset, found.missing
                )));
            }
            return Ok(found.content);
        }
        last = Some(found);
    }
    let reason = match last {
        Some(b) if b.missing > 0 => format!(
            "the file ends {} bytes before the end of its `{}` box, and the movie header (moov) would come after it",
            b.missing,
            fourcc_text(b.kind)
        ),
        _ => "there is no movie header (moov)".to_owned(),
    };
    Err(Mp4Error::Broken(reason))
}

fn handler_type(hdlr: &[u8]) -> Option<[u8; 4]> {
    let (_, _, mut cursor) = full_box(hdlr)?;
    cursor.be_u32()?;
    cursor.fourcc()
}

/// Ticks per second of an `mvhd` or `mdhd` box.
fn timescale(header: &[u8]) -> Option<u32> {
    let (version, _, mut cursor) = full_box(header)?;
    cursor.skip(if version == 1 { 16 } else { 8 })?;
    cursor.be_u32().filter(|&scale| scale > 0)
}

fn read_video(file: &[u8], moov: &[u8], trak: &[u8], movie_scale: u32) -> Result<Track, String> {
    let timescale = find_path(trak, &[b"mdia", b"mdhd"])
        .and_then(timescale)
        .filter(|&scale| scale <= i32::MAX as u32)
        .ok_or("the video track's clock (mdhd time scale) is missing, zero or out of range")?;
    let stbl = find_path(trak, &[b"mdia", b"minf", b"stbl"])
        .ok_or("the video track has no sample table (stbl)")?;
    let (codec, colour) = find(stbl, b"stsd")
        .and_then(read_description)
        .ok_or("the video track's sample description (stsd) is missing or ends early")?;
    let tkhd = find(trak, b"tkhd").and_then(read_track_header);
    let (track_id, rotation_deg) = tkhd.ok_or("the video track's header (tkhd) ends early")?;
    let mut table = read_tables(stbl, file.len() as u64)?;
    let in_tables = table.samples.len();
    fragments::read_fragments(file, moov, track_id, &mut table.samples)?;
    let declared = table.declared + (table.samples.len() - in_tables) as u64;
    let inside = |s: &Sample| s.offset.saturating_add(u64::from(s.len)) <= file.len() as u64;
    table.samples.retain(inside);
    let edits = Edits::read(trak, movie_scale, timescale);
    let (shown, end) = show(&table.samples, &edits);
    Ok(Track {
        codec,
        timescale,
        rotation_deg,
        samples: table.samples,
        declared,
        shown,
        end,
        colour,
    })
}

/// Pictures in the order they are shown, and when the last one ends.
fn show(samples: &[Sample], edits: &Edits) -> (Vec<(usize, i64)>, i64) {
    let mut shown: Vec<(usize, i64)> = samples
        .iter()
        .enumerate()
        .filter(|(_, sample)| sample.len > 0)
        .flat_map(|(idx, sample)| edits.shown(sample.shown).map(move |at| (idx, at)))
        .collect();
    shown.sort_by_key(|&(_, at)| at);
    let end = shown.last().map_or(0, |&(idx, at)| {
        at.saturating_add(i64::from(samples[idx].duration.max(1)))
    });
    (shown, end)
}

/// Track number and clockwise rotation.
fn read_track_header(tkhd: &[u8]) -> Option<(u32, u16)> {
    let (version, _, mut cursor) = full_box(tkhd)?;
    cursor.skip(if version == 1 { 16 } else { 8 })?;
    let track_id = cursor.be_u32()?;
    cursor.skip(if version == 1 { 12 } else { 8 } + 16)?;
    let mut matrix = [0i32; 9];
    for value in &mut matrix {
        *value = cursor.be_i32()?;
    }
    let [a, b, _, c, d, ..] = matrix;
    let rotation_deg = rotation_of([a, b, c, d]);
    Some((track_id, rotation_deg))
}

/// Codec and colour of the first sample description.
fn read_description(stsd: &[u8]) -> Option<(Codec, Option<(u8, bool)>)> {
    let (_, _, cursor) = full_box(stsd)?;
    let entries = cursor.rest().get(4..)?;
    let entry = boxes(entries).next()?;
    // A visual sample entry has 78 bytes before its own boxes.
    let inner = entry.content.get(78..).unwrap_or_default();
    let colour = boxes(inner)
        .filter(|b| &b.kind == b"colr")
        .find_map(|b| read_colour(b.content));
    let codec = match &entry.kind {
        b"avc1" | b"avc3" => {
            find(inner, b"avcC")
                .and_then(read_avc_config)
                .unwrap_or(Codec::H264 {
                    nal_length: 4,
                    parameter_sets: Vec::new(),
                })
        }
        b"jpeg" | b"mjpa" | b"mjpg" | b"MJPG" => Codec::Mjpeg,
        b"encv" => Codec::Encrypted,
        // MPEG-4 systems: the object type in the descriptor 4 says what it is; 0x6c is JPEG.
        b"mp4v" if find(inner, b"esds").is_some_and(|e| object_type(e) == Some(0x6c)) => {
            Codec::Mjpeg
        }
        other => Codec::Other(codec_name(*other)),
    };
    Some((codec, colour))
}

fn read_colour(colr: &[u8]) -> Option<(u8, bool)> {
    let mut cursor = Cursor::new(colr);
    let kind = cursor.fourcc()?;
    cursor.skip(4)?;
    let matrix = cursor.be_u16()?;
    match &kind {
        b"nclx" => Some((matrix as u8, cursor.u8()? & 0x80 != 0)),
        b"nclc" => Some((matrix as u8, false)),
        _ => None,
    }
}

fn object_type(esds: &[u8]) -> Option<u8> {
    let at = esds
        .windows(2)
        .position(|pair| pair[0] == 4 && pair[1] < 0x80)?;
    esds.get(at + 2).copied()
}

fn read_avc_config(avcc: &[u8]) -> Option<Codec> {
    let mut cursor = Cursor::new(avcc);
    cursor.skip(4)?;
    let nal_length = usize::from(cursor.u8()? & 3) + 1;
    let mut parameter_sets = Vec::new();
    for mask in [0x1f, 0xff] {
        for _ in 0..cursor.u8()? & mask {
            let len = cursor.be_u16()?;
            parameter_sets.push(cursor.take(usize::from(len))?.to_vec());
        }
    }
    Some(Codec::H264 {
        nal_length,
        parameter_sets,
    })
}

fn codec_name(entry: [u8; 4]) -> String {
    match &entry {
        b"hev1" | b"hvc1" => "HEVC".to_owned(),
        b"av01" => "AV1".to_owned(),
        b"vp08" => "VP8".to_owned(),
        b"vp09" => "VP9".to_owned(),
        b"mp4v" => "MPEG-4 part 2".to_owned(),
        b"s263" => "H.263".to_owned(),
        b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" => "ProRes".to_owned(),
        other => format!("`{}`", fourcc_text(*other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track_header(matrix: [i32; 4]) -> Vec<u8> {
        let mut tkhd = vec![0; 12];
        tkhd.extend(5u32.to_be_bytes());
        tkhd.extend([0; 24]);
        let [a, b, c, d] = matrix;
        for value in [a, b, 0, c, d, 0, 0, 0, 1 << 30] {
            tkhd.extend(value.to_be_bytes());
        }
        tkhd
    }

    #[test]
    fn the_matrix_of_a_phone_is_a_quarter_turn() {
        let one = 1 << 16;
        for (matrix, expect) in [
            ([one, 0, 0, one], 0),
            ([0, one, -one, 0], 90),
            ([-one, 0, 0, -one], 180),
            ([0, -one, one, 0], 270),
            // A shear is no quarter turn.
            ([one, one, -one, one], 0),
        ] {
            assert_eq!(read_track_header(&track_header(matrix)), Some((5, expect)));
        }
    }

    #[test]
    fn a_file_without_a_movie_says_why() {
        let broken = |bytes: &[u8]| read_track(bytes, 0).expect_err("no movie");
        assert_eq!(
            broken(b"\0\0\0\x08free"),
            Mp4Error::Broken("there is no movie header (moov)".into())
        );
        let Mp4Error::Broken(reason) = broken(b"\0\0\x10\0mdat1234") else {
            panic!("expected a broken file");
        };
        assert!(reason.contains("ends 4084 bytes before"), "{reason}");
        assert_eq!(
            broken(b"\0\0\0\x08moov"),
            Mp4Error::NoVideo("the movie has no track".into())
        );
    }
}
