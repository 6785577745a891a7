//! Decoding H.264 pictures by their place in display order.
//!
//! Decoding starts at an IDR picture and goes forward; pictures that no other is predicted from (`nal_ref_idc` = 0) are
//! passed over unless wanted, which leaves every other picture the same to the bit.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
};

use marey_clip::Size;
use rusty_h264_common::YuvFrame;
use rusty_h264_decoder::Decoder;

use super::pictures::{LengthPrefixed, Pictures};
use crate::{
    bytes::FileBytes,
    reader::{FrameDecoder, FrameError},
    rotate::rotate_rgb,
    yuv::{Plane, ToRgb},
};

/// Decoded pictures kept because they are shown after what was asked for; more than any stream reorders.
const MAX_KEPT: usize = 16;

/// What stays the same for a whole stream.
pub(super) struct Stream {
    pub(super) file: FileBytes,
    pub(super) pictures: Pictures,
    /// Bytes of a NAL unit's length field; `None` for start codes.
    pub(super) nal_length: Option<usize>,
    /// The picture shown at each place in display order.
    pub(super) display: Vec<usize>,
    /// Size before rotation.
    pub(super) size: Size,
    /// Pixels left of and above what is shown.
    pub(super) crop: [usize; 2],
    pub(super) rotation_deg: u16,
    pub(super) to_rgb: ToRgb,
}

/// A stream with its decoder.
pub(super) struct H264Decoder {
    stream: Stream,
    /// First place in display order of each picture; `None` for those that edits hide.
    place: Vec<Option<usize>>,
    decoder: Decoder,
    /// The picture that the decoder expects next; `None` when it must start anew.
    next: Option<usize>,
    /// Pictures decoded ahead of what was asked for, by picture.
    kept: VecDeque<(usize, YuvFrame)>,
    /// NAL units with start codes, as the decoder wants them.
    scratch: Vec<u8>,
    unrotated: Vec<u8>,
}

impl H264Decoder {
    pub(super) fn new(stream: Stream) -> Self {
        let mut place = vec![None; stream.pictures.list.len()];
        for (at, &picture) in stream.display.iter().enumerate() {
            place[picture].get_or_insert(at);
        }
        Self {
            stream,
            place,
            decoder: Decoder::new(),
            next: None,
            kept: VecDeque::new(),
            scratch: Vec::new(),
            unrotated: Vec::new(),
        }
    }

    /// Decodes the pictures `wanted` (increasing places in display order) and hands each to `sink` with its position in
    /// `wanted`, in decoding order.
    pub(super) fn decode_yuv(
        &mut self,
        wanted: &[usize],
        sink: &mut dyn FnMut(&Stream, usize, &YuvFrame),
    ) -> Result<(), FrameError> {
        // Which place each wanted picture fills. An edit may show a picture twice, so a picture may have several.
        let mut missing: Vec<(usize, usize)> = Vec::with_capacity(wanted.len());
        for (slot, &place) in wanted.iter().enumerate() {
            let picture = self.stream.display[place];
            match self.kept.iter().find(|(kept, _)| *kept == picture) {
                Some((_, frame)) => sink(&self.stream, slot, frame),
                None => missing.push((picture, slot)),
            }
        }
        missing.sort_unstable();
        let last_place = wanted.last().copied().unwrap_or(0);
        self.kept
            .retain(|(picture, _)| self.place[*picture].is_some_and(|p| p >= last_place));
        let mut missing = &missing[..];
        while let Some(&(picture, slot)) = missing.first() {
            let failed = |detail: String| FrameError::decode(wanted[slot], detail);
            self.seek(picture).map_err(failed)?;
            let same = missing.iter().take_while(|(p, _)| *p == picture).count();
            let (now, later) = missing.split_at(same);
            let frame = self.advance(picture, last_place).map_err(failed)?;
            for &(_, slot) in now {
                sink(&self.stream, slot, &frame);
            }
            self.keep(picture, frame, last_place);
            missing = later;
        }
        Ok(())
    }

    /// Makes the decoder able to reach `picture` by going forward.
    fn seek(&mut self, picture: usize) -> Result<(), String> {
        let list = &self.stream.pictures.list;
        let Some(start) = list[..=picture].iter().rposition(|p| p.idr) else {
            return Err(
                "no picture before it can be decoded by itself (there is no IDR picture)".into(),
            );
        };
        if self
            .next
            .is_some_and(|next| start <= next && next <= picture)
        {
            return Ok(());
        }
        if self.next.is_none() {
            self.decoder = Decoder::new();
        }
        self.scratch.clear();
        for unit in &self.stream.pictures.set_units {
            if unit.before <= start {
                push_unit(&mut self.scratch, &unit.nal);
            }
        }
        self.run_decoder()?;
        self.next = Some(start);
        Ok(())
    }

    /// Decodes from where the decoder stands up to and including `picture`.
    fn advance(&mut self, picture: usize, last_place: usize) -> Result<YuvFrame, String> {
        let mut at = self.next.take().expect("seek has set it");
        loop {
            let coded = &self.stream.pictures.list[at];
            if at != picture && coded.skippable && coded.damage.is_none() {
                at += 1;
                continue;
            }
            let outcome = match coded.damage {
                Some(damage) => Err(damage.to_owned()),
                None => self.decode_picture(at),
            };
            let frame = outcome.map_err(|detail| {
                if at == picture {
                    detail
                } else {
                    let bytes = &self.stream.pictures.list[at].bytes;
                    let (start, behind) = (bytes.start, picture - at);
                    format!("it depends on the picture {behind} before it in the file, at byte {start}: {detail}")
                }
            })?;
            at += 1;
            self.next = Some(at);
            if at == picture + 1 {
                return Ok(frame);
            }
            self.keep(at - 1, frame, last_place);
        }
    }

    /// Keeps a picture that is shown later than what was asked for: going forward, it will be asked for next.
    fn keep(&mut self, picture: usize, frame: YuvFrame, last_place: usize) {
        if self.place[picture].is_some_and(|place| place >= last_place) {
            if self.kept.len() == MAX_KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back((picture, frame));
        }
    }

    fn decode_picture(&mut self, picture: usize) -> Result<YuvFrame, String> {
        let sample = &self.stream.file[self.stream.pictures.list[picture].bytes.clone()];
        self.scratch.clear();
        match self.stream.nal_length {
            // The pictures were walked once, so the lengths are known to fit.
            Some(nal_length) => {
                for nal in LengthPrefixed::new(sample, nal_length).flatten() {
                    push_unit(&mut self.scratch, nal);
                }
            }
            None => self.scratch.extend_from_slice(sample),
        }
        let frame = self
            .run_decoder()?
            .ok_or("the picture is incomplete: slices are missing")?;
        let Size { height, width } = self.stream.size;
        let [left, top] = self.stream.crop;
        let fits = frame.width >= width + left && frame.height >= height + top;
        let planes = frame.y.len() >= frame.width * frame.height
            && frame.u.len() >= (frame.width / 2) * (frame.height / 2)
            && frame.v.len() == frame.u.len();
        if !fits || !planes || frame.width - left - width > 15 + left {
            return Err(format!(
                "the size changes from {} to {}x{} within the file",
                self.stream.size, frame.width, frame.height
            ));
        }
        Ok(frame)
    }

    /// Feeds `scratch` to the decoder. The decoder is third-party code fed with foreign bytes: a panic in it becomes an
    /// error, and a decoder that failed is not used again.
    fn run_decoder(&mut self) -> Result<Option<YuvFrame>, String> {
        let (decoder, scratch) = (&mut self.decoder, &self.scratch);
        let outcome = catch_unwind(AssertUnwindSafe(|| decoder.decode(scratch)));
        let error = match outcome {
            Ok(Ok(frame)) => return Ok(frame),
            Ok(Err(error)) => format!("the built-in H.264 decoder stops: {error}"),
            Err(_) => "the built-in H.264 decoder panicked".to_owned(),
        };
        self.decoder = Decoder::new();
        self.next = None;
        Err(error)
    }
}

fn push_unit(stream: &mut Vec<u8>, nal: &[u8]) {
    stream.extend_from_slice(&[0, 0, 1]);
    stream.extend_from_slice(nal);
}

impl Stream {
    /// The planes of what is shown of a decoded picture.
    pub(super) fn planes<'a>(&self, frame: &'a YuvFrame) -> [Plane<'a>; 3] {
        let [left, top] = self.crop;
        let plane = |values: &'a [u8], stride: usize, left: usize, top: usize| Plane {
            values: &values[top * stride + left..],
            stride,
        };
        let half = frame.width / 2;
        [
            plane(&frame.y, frame.width, left, top),
            plane(&frame.u, half, left / 2, top / 2),
            plane(&frame.v, half, left / 2, top / 2),
        ]
    }
}

impl FrameDecoder<u8> for H264Decoder {
    fn decode(&mut self, wanted: &[usize], out: &mut [u8]) -> Result<(), FrameError> {
        let mut unrotated = std::mem::take(&mut self.unrotated);
        let frame_len = self.stream.size.height * self.stream.size.width * 3;
        let outcome = self.decode_yuv(wanted, &mut |stream, slot, frame| {
            let out = &mut out[slot * frame_len..][..frame_len];
            let (planes, size) = (stream.planes(frame), stream.size);
            if stream.rotation_deg == 0 {
                stream.to_rgb.convert(planes, size, out);
            } else {
                unrotated.resize(frame_len, 0);
                stream.to_rgb.convert(planes, size, &mut unrotated);
                rotate_rgb(&unrotated, size, stream.rotation_deg, out);
            }
        });
        self.unrotated = unrotated;
        outcome
    }
}
