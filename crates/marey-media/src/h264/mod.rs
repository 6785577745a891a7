//! H.264 in pure Rust: which streams can be read, and readers for MP4 tracks and raw streams.
//!
//! Decoding itself is done by the crate `rusty_h264-decoder`; here pictures are found, put in order and asked for.

mod bits;

mod decoder;

mod params;

mod pictures;

mod slice;

use std::path::Path;

use decoder::{H264Decoder, Stream};
use marey_clip::Rational;
use params::Sps;
use pictures::Pictures;

use crate::{
    Backend, Error, ErrorKind, MediaInfo, MediaKind, Reader,
    bytes::FileBytes,
    error::unsupported,
    mp4::Track,
    reader::FrameReader,
    rotate::rotated_size,
    timing::{Timing, timing},
    yuv::{Matrix, Range, ToRgb},
};

/// What is known of a stream besides its pictures.
struct Source<'a> {
    path: &'a Path,
    file: FileBytes,
    container: &'static str,
    nal_length: Option<usize>,
    rotation_deg: u16,
    /// Matrix code and full-range flag of the container, for streams that do not say.
    colour: Option<(u8, bool)>,
    declared: Option<u64>,
    timing: Timing,
    /// The picture shown at each place in display order.
    display: Vec<usize>,
}

/// Opens an H.264 track of an MP4.
pub(crate) fn open_track(
    path: &Path,
    file: &FileBytes,
    track: &Track,
    nal_length: usize,
    parameter_sets: &[Vec<u8>],
) -> Result<Box<dyn Reader>, Error> {
    let range = |s: &crate::mp4::Sample| s.offset as usize..s.offset as usize + s.len as usize;
    let ranges = track.samples.iter().map(range);
    let pictures = Pictures::from_samples(file, ranges, nal_length, parameter_sets);
    let mut shown = track.shown.clone();
    // Samples without a picture take no place in the timeline; damaged ones do, and say so when read.
    shown.retain(|&(sample, _)| {
        let picture = &pictures.list[sample];
        picture.has_slices || picture.damage.is_some()
    });
    let ticks: Vec<i64> = shown.iter().map(|&(_, at)| at).collect();
    let tick = Rational::new(1, track.timescale).expect("the track reader refuses a clock of zero");
    let Some(timing) = timing(&ticks, track.end, tick) else {
        let detail = match track.declared {
            0 => "the video track has no frame".to_owned(),
            n => format!("the file ends before the first of the {n} frames it announces"),
        };
        return Err(Error::new(path, ErrorKind::NoVideo(detail)));
    };
    let mut source = Source {
        path,
        file: file.clone(),
        container: "mp4",
        nal_length: Some(nal_length),
        rotation_deg: track.rotation_deg,
        colour: track.colour,
        declared: Some(track.declared),
        timing,
        display: shown.into_iter().map(|(sample, _)| sample).collect(),
    };
    if (track.samples.len() as u64) < track.declared {
        source.timing.warnings.push(format!(
            "truncated: the file ends after {} of the {} frames it announces",
            track.samples.len(),
            track.declared
        ));
    }
    let (info, decoder) = open_stream(source, pictures)?;
    FrameReader::boxed(info, decoder)
}

/// Opens a raw stream of NAL units with start codes.
pub(crate) fn open_annex_b(path: &Path, file: &FileBytes) -> Result<Box<dyn Reader>, Error> {
    let (info, decoder) = annex_b(path, file)?;
    FrameReader::boxed(info, decoder)
}

fn annex_b(path: &Path, file: &FileBytes) -> Result<(MediaInfo, H264Decoder), Error> {
    let (pictures, orders) = Pictures::from_annex_b(file);
    let display = display_order(&pictures, &orders);
    let declared_rate = pictures.first_sps.as_ref().and_then(|sps| sps.frame_rate);
    let rate = declared_rate.unwrap_or(Rational::new(25, 1).expect("positive"));
    let ticks: Vec<i64> = (0..display.len() as i64).collect();
    let tick = Rational::new(rate.den(), rate.num()).expect("a rate has two positive terms");
    let Some(mut timing) = timing(&ticks, display.len() as i64, tick) else {
        let detail = "the stream holds no picture with known parameter sets".to_owned();
        return Err(Error::new(path, ErrorKind::NoVideo(detail)));
    };
    if declared_rate.is_none() {
        let warning = "the stream has no clock: 25 frames per second are assumed".to_owned();
        timing.warnings.push(warning);
    }
    let source = Source {
        path,
        file: file.clone(),
        container: "h264",
        nal_length: None,
        rotation_deg: 0,
        colour: None,
        declared: None,
        timing,
        display,
    };
    open_stream(source, pictures)
}

/// Pictures by order count within each stretch from one IDR picture to the next.
fn display_order(pictures: &Pictures, orders: &[i64]) -> Vec<usize> {
    let mut display: Vec<usize> = (0..orders.len()).collect();
    let mut stretch = 0;
    let mut stretches = Vec::with_capacity(orders.len());
    for picture in &pictures.list {
        stretch += usize::from(picture.idr);
        stretches.push(stretch);
    }
    display.sort_by_key(|&picture| (stretches[picture], orders[picture]));
    display
}

fn open_stream(source: Source<'_>, pictures: Pictures) -> Result<(MediaInfo, H264Decoder), Error> {
    let Source {
        path, mut timing, ..
    } = source;
    let fail = |kind| Error::new(path, kind);
    let Some(sps) = pictures.first_sps.clone() else {
        return Err(fail(ErrorKind::Broken {
            format: "H.264 stream",
            detail: "no picture has its parameter sets (SPS, PPS)".into(),
        }));
    };
    check_supported(&sps, &pictures).map_err(fail)?;
    let damaged = pictures.list.iter().filter(|p| p.damage.is_some()).count();
    if damaged > 0 {
        timing
            .warnings
            .push(format!("{damaged} pictures are damaged"));
    }
    let (matrix, full_range) = source.colour.unwrap_or((2, false));
    let matrix = sps.matrix.unwrap_or(Matrix::from_code(matrix));
    let range = sps.range.unwrap_or(Range::from_flag(full_range));
    let stream = Stream {
        file: source.file,
        pictures,
        nal_length: source.nal_length,
        display: source.display,
        size: sps.size(),
        crop: [sps.crop[0], sps.crop[2]],
        rotation_deg: source.rotation_deg,
        to_rgb: ToRgb::new(matrix, range),
    };
    let info = MediaInfo {
        path: path.to_owned(),
        kind: MediaKind::Video,
        backend: Backend::Rust,
        container: source.container.into(),
        codec: "h264".into(),
        size: rotated_size(sps.size(), source.rotation_deg),
        rotation_deg: source.rotation_deg,
        channels: 3,
        bit_depth: 8,
        frame_rate: timing.frame_rate,
        declared_frames: source.declared,
        timeline: timing.timeline,
        warnings: timing.warnings,
    };
    let mut decoder = H264Decoder::new(stream);
    first_frame(&info, &mut decoder)?;
    Ok((info, decoder))
}

/// Decodes the first frame, so that a stream with a coding tool that the decoder lacks is refused when it is opened.
fn first_frame(info: &MediaInfo, decoder: &mut H264Decoder) -> Result<(), Error> {
    let first = info.timeline.span().start();
    decoder
        .decode_yuv(&[0], &mut |_, _, _| {})
        .map_err(|error| Error::new(&info.path, error.kind).at(first))
}

/// What the decoder lacks is said before anything is decoded.
fn check_supported(sps: &Sps, pictures: &Pictures) -> Result<(), ErrorKind> {
    let chroma = ["4:0:0", "4:2:0", "4:2:2", "4:4:4"][sps.chroma_format.min(3) as usize];
    if sps.bit_depth != 8 {
        return Err(unsupported(format!("H.264 with {} bits", sps.bit_depth)));
    }
    if sps.chroma_format != 1 {
        return Err(unsupported(format!("H.264 with {chroma} colour")));
    }
    if sps.mbaff {
        return Err(unsupported("interlaced H.264"));
    }
    match pictures.lacking {
        Some(tool) => Err(unsupported(tool)),
        None => Ok(()),
    }
}

impl Stream {
    /// The picture's I420 bytes as shown before rotation, row by row, as a reference decoder writes them.
    pub(crate) fn i420(&self, frame: &rusty_h264_common::YuvFrame) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size.height * self.size.width * 3 / 2);
        for (plane, halved) in self.planes(frame).iter().zip([1, 2, 2]) {
            for row in 0..self.size.height / halved {
                let start = row * plane.stride;
                bytes.extend_from_slice(&plane.values[start..start + self.size.width / halved]);
            }
        }
        bytes
    }
}

/// Decodes a raw H.264 stream (annex B) in pure Rust and hands over each frame's I420 bytes in display order: the luma
/// rows, then the rows of both chroma planes, without padding. For comparison with reference decoders.
///
/// # Errors
/// When the stream cannot be opened or a frame cannot be decoded.
pub fn each_i420(path: &Path, sink: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
    let file = FileBytes::open(path)?;
    let (info, mut decoder) = annex_b(path, &file)?;
    for place in 0..info.timeline.len() {
        decoder
            .decode_yuv(&[place], &mut |stream, _, frame| sink(&stream.i420(frame)))
            .map_err(|error| Error::new(path, error.kind).at(info.timeline.timestamps()[place]))?;
    }
    Ok(())
}
