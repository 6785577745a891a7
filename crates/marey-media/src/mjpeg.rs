//! Motion JPEG: each frame is a JPEG of its own, in AVI or MP4/MOV.

use std::path::Path;

use marey_clip::{Rational, Size};
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use crate::{
    Backend, Error, ErrorKind, MediaInfo, MediaKind, Reader,
    avi::Avi,
    bytes::FileBytes,
    error::unsupported,
    mp4::Track,
    reader::{FrameDecoder, FrameError, FrameReader},
    rotate::{rotate_rgb, rotated_size},
    timing::{Timing, timing},
};

/// Opens an MJPEG track of an MP4 or MOV.
pub(crate) fn open_track(
    path: &Path,
    file: &FileBytes,
    track: &Track,
) -> Result<Box<dyn Reader>, Error> {
    let range = |&(sample, _): &(usize, i64)| {
        let sample = &track.samples[sample];
        (sample.offset as usize, sample.len as usize)
    };
    let ticks: Vec<i64> = track.shown.iter().map(|&(_, at)| at).collect();
    let tick = Rational::new(1, track.timescale).expect("the track reader refuses a clock of zero");
    let frames = Frames {
        file: file.clone(),
        ranges: track.shown.iter().map(range).collect(),
        size: Size {
            height: 0,
            width: 0,
        },
        rotation_deg: track.rotation_deg,
        unrotated: Vec::new(),
    };
    open_frames(
        path,
        "mp4",
        frames,
        timing(&ticks, track.end, tick),
        track.declared,
    )
}

/// Opens an AVI of MJPEG.
pub(crate) fn open_avi(path: &Path, file: &FileBytes, avi: Avi) -> Result<Box<dyn Reader>, Error> {
    let mut ranges = avi.frames;
    // A frame without bytes says "as before".
    for idx in 1..ranges.len() {
        if ranges[idx].1 == 0 {
            ranges[idx] = ranges[idx - 1];
        }
    }
    ranges.retain(|&(_, len)| len > 0);
    let (scale, rate) = avi.frame_ticks;
    let tick = Rational::new(scale, rate).unwrap_or(Rational::new(1, 25).expect("positive"));
    let ticks: Vec<i64> = (0..ranges.len() as i64).collect();
    let timing = timing(&ticks, ranges.len() as i64, tick);
    let frames = Frames {
        file: file.clone(),
        ranges,
        size: Size {
            height: 0,
            width: 0,
        },
        rotation_deg: 0,
        unrotated: Vec::new(),
    };
    open_frames(path, "avi", frames, timing, avi.declared)
}

fn open_frames(
    path: &Path,
    container: &str,
    mut frames: Frames,
    timing: Option<Timing>,
    declared: u64,
) -> Result<Box<dyn Reader>, Error> {
    let Some(mut timing) = timing else {
        let detail = "the video track has no frame".to_owned();
        return Err(Error::new(path, ErrorKind::NoVideo(detail)));
    };
    if (frames.ranges.len() as u64) < declared {
        timing.warnings.push(format!(
            "truncated: {} of the {declared} frames announced are in the file",
            frames.ranges.len()
        ));
    }
    let first = timing.timeline.span().start();
    frames.size = frames.jpeg_size(0).map_err(|detail| {
        let kind = ErrorKind::Decode { frame: 0, detail };
        Error::new(path, kind).at(first)
    })?;
    if frames.fields_per_frame() > 1 {
        return Err(Error::new(path, unsupported("interlaced MJPEG")));
    }
    let info = MediaInfo {
        path: path.to_owned(),
        kind: MediaKind::Video,
        backend: Backend::Rust,
        container: container.into(),
        codec: "mjpeg".into(),
        size: rotated_size(frames.size, frames.rotation_deg),
        rotation_deg: frames.rotation_deg,
        channels: 3,
        bit_depth: 8,
        frame_rate: timing.frame_rate,
        declared_frames: Some(declared),
        timeline: timing.timeline,
        warnings: timing.warnings,
    };
    FrameReader::boxed(info, frames)
}

struct Frames {
    file: FileBytes,
    ranges: Vec<(usize, usize)>,
    size: Size,
    rotation_deg: u16,
    unrotated: Vec<u8>,
}

impl Frames {
    fn jpeg(&self, frame: usize) -> &[u8] {
        let (start, len) = self.ranges[frame];
        &self.file[start..start + len]
    }

    /// Two JPEGs in one frame are the fields of an interlaced picture.
    fn fields_per_frame(&self) -> usize {
        let jpeg = self.jpeg(0);
        let starts = jpeg
            .windows(4)
            .filter(|w| w[..3] == [0xff, 0xd8, 0xff] && w[3] >= 0xc0);
        // Thumbnails in a comment do not follow an end marker.
        let after_end = jpeg
            .windows(5)
            .filter(|w| w[..4] == [0xff, 0xd9, 0xff, 0xd8]);
        starts.count().min(1) + after_end.count()
    }

    fn jpeg_size(&self, frame: usize) -> Result<Size, String> {
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(self.jpeg(frame)), options());
        decoder
            .decode_headers()
            .map_err(|error| error.to_string())?;
        let info = decoder.info().ok_or("the JPEG has no header")?;
        Ok(Size {
            height: usize::from(info.height),
            width: usize::from(info.width),
        })
    }

    fn decode_one(&self, frame: usize, out: &mut [u8]) -> Result<(), String> {
        let size = self.jpeg_size(frame)?;
        if size != self.size {
            return Err(format!(
                "the size changes from {} to {size} within the file",
                self.size
            ));
        }
        JpegDecoder::new_with_options(ZCursor::new(self.jpeg(frame)), options())
            .decode_into(out)
            .map_err(|error| error.to_string())
    }
}

fn options() -> DecoderOptions {
    DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_strict_mode(true)
        .set_max_width(1 << 14)
        .set_max_height(1 << 14)
}

impl FrameDecoder<u8> for Frames {
    fn decode(&mut self, wanted: &[usize], out: &mut [u8]) -> Result<(), FrameError> {
        let frame_len = self.size.height * self.size.width * 3;
        let mut unrotated = std::mem::take(&mut self.unrotated);
        unrotated.resize(if self.rotation_deg == 0 { 0 } else { frame_len }, 0);
        for (&frame, out) in wanted.iter().zip(out.chunks_exact_mut(frame_len)) {
            let failed = |detail| FrameError::decode(frame, detail);
            if self.rotation_deg == 0 {
                self.decode_one(frame, out).map_err(failed)?;
            } else {
                self.decode_one(frame, &mut unrotated).map_err(failed)?;
                rotate_rgb(&unrotated, self.size, self.rotation_deg, out);
            }
        }
        self.unrotated = unrotated;
        Ok(())
    }
}
