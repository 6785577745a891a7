//! An open file with its decoder, and walking through it.

use std::path::{Path, PathBuf};

use ffmpeg_next::{
    Discard, Error as AvError, Packet, codec, decoder, ffi,
    format::{self, stream::Disposition},
    frame, media, packet,
    packet::side_data::Type as SideData,
};
use marey_clip::{Rational, Size};

use super::listing::{Facts, Listing, bit_depth};
use crate::rotate::rotation_of;

/// Why a session could not be opened.
pub(super) enum OpenError {
    NoVideo(String),
    Library(AvError),
}

impl From<AvError> for OpenError {
    fn from(error: AvError) -> Self {
        Self::Library(error)
    }
}

/// An open file and the decoder of one of its video streams.
pub(super) struct Session {
    path: PathBuf,
    video_track: usize,
    input: format::context::Input,
    stream: usize,
    decoder: decoder::Video,
    /// The file has been read to its end, and the decoder was told.
    drained: bool,
}

impl Session {
    pub(super) fn open(path: &Path, video_track: usize) -> Result<Self, OpenError> {
        let Some(name) = path.to_str() else {
            return Err(OpenError::NoVideo(
                "FFmpeg takes only names in UTF-8".into(),
            ));
        };
        // The protocol in front keeps names like `concat:a` from meaning anything.
        let input = format::input(&format!("file:{name}"))?;
        let is_video = |stream: &format::stream::Stream<'_>| {
            stream.parameters().medium() == media::Type::Video
                && !stream.disposition().contains(Disposition::ATTACHED_PIC)
        };
        let Some(stream) = input.streams().filter(is_video).nth(video_track) else {
            let videos = input.streams().filter(is_video).count();
            let detail = format!("there is no video track {video_track}, FFmpeg finds {videos}");
            return Err(OpenError::NoVideo(detail));
        };
        let mut context = codec::context::Context::from_parameters(stream.parameters())?;
        // One thread: training loaders run a reader a core, and frames come out without delay.
        context.set_threading(codec::threading::Config::count(1));
        let mut decoder = context.decoder();
        decoder.set_packet_time_base(stream.time_base());
        let decoder = decoder.video()?;
        let stream = stream.index();
        Ok(Self {
            path: path.to_owned(),
            video_track,
            input,
            stream,
            decoder,
            drained: false,
        })
    }

    /// Starts again from the first packet.
    pub(super) fn restart(&mut self) -> Result<(), AvError> {
        match Self::open(&self.path, self.video_track) {
            Ok(session) => {
                *self = session;
                Ok(())
            }
            Err(OpenError::Library(error)) => Err(error),
            Err(OpenError::NoVideo(_)) => Err(AvError::StreamNotFound),
        }
    }

    pub(super) fn facts(&self) -> Facts {
        let stream = self
            .input
            .stream(self.stream)
            .expect("the stream was found at opening");
        let positive = |n: u32| (n > 0).then_some(n as usize);
        let height = positive(self.decoder.height());
        let size = height.zip(positive(self.decoder.width()));
        let ratio = |r: ffmpeg_next::Rational| {
            Rational::new(
                r.numerator().try_into().ok()?,
                r.denominator().try_into().ok()?,
            )
        };
        let matrix = stream
            .side_data()
            .find(|data| data.kind() == SideData::DisplayMatrix);
        let rotation_deg = matrix.map_or(0, |data| {
            let (words, _) = data.data().as_chunks::<4>();
            match words
                .iter()
                .map(|&word| i32::from_ne_bytes(word))
                .collect::<Vec<_>>()[..]
            {
                [a, b, _, c, d, ..] => rotation_of([a, b, c, d]),
                _ => 0,
            }
        });
        let pixel_format = self
            .decoder
            .format()
            .descriptor()
            .map_or("", |format| format.name());
        let container = self
            .input
            .format()
            .name()
            .split(',')
            .next()
            .unwrap_or("")
            .to_owned();
        Facts {
            container,
            codec: self.decoder.id().name().to_owned(),
            size: size.map(|(height, width)| Size { height, width }),
            rotation_deg,
            bit_depth: bit_depth(pixel_format),
            rate: ratio(stream.rate()),
            tick: ratio(stream.time_base()),
            declared: u64::try_from(stream.frames()).ok().filter(|&n| n > 0),
        }
    }

    /// Lists the packets: fast, nothing is decoded.
    pub(super) fn list_packets(&mut self) -> Listing {
        let mut listing = Listing::default();
        let unit_length = self.unit_length();
        while let Some(packet) = self.next_packet() {
            if packet.flags().contains(packet::Flags::CORRUPT) {
                listing.complaints.push("a packet is corrupt".into());
            }
            if let (Some(length), Some(data)) = (unit_length, packet.data())
                && !units_fit(data, length)
            {
                listing
                    .complaints
                    .push("a packet's NAL units do not fit into it".into());
            }
            // Edit lists hide packets.
            // SAFETY: the packet is valid while it is borrowed.
            let hidden =
                unsafe { (*packet::Ref::as_ptr(&packet)).flags } & ffi::AV_PKT_FLAG_DISCARD != 0;
            if !hidden {
                listing.frames.push((packet.pts(), packet.duration()));
            }
        }
        listing.frames.sort_by_key(|&(at, _)| at);
        listing
    }

    /// Lists the frames, in the order they come out, by decoding all of them.
    pub(super) fn list_frames(&mut self) -> Listing {
        let mut listing = Listing::default();
        let mut frame = frame::Video::empty();
        let mut damaged = 0;
        while self.next_frame(&mut frame, &mut |_| false) {
            damaged += usize::from(frame.is_corrupt() || frame.has_decode_errors());
            listing
                .frames
                .push((frame.timestamp(), frame.packet().duration));
        }
        if damaged > 0 {
            listing
                .complaints
                .push(format!("{damaged} frames are damaged"));
        }
        listing
    }

    /// Bytes of the length in front of NAL units, for streams that have it.
    fn unit_length(&self) -> Option<usize> {
        let stream = self.input.stream(self.stream)?;
        let parameters = stream.parameters();
        // SAFETY: the parameters are valid, and the extra data is as long as they say.
        let extra = unsafe {
            let parameters = &*parameters.as_ptr();
            if parameters.extradata.is_null() {
                return None;
            }
            std::slice::from_raw_parts(
                parameters.extradata,
                usize::try_from(parameters.extradata_size).ok()?,
            )
        };
        let at = match parameters.id() {
            codec::Id::H264 => 4,
            codec::Id::HEVC => 21,
            _ => return None,
        };
        // Streams with start codes begin with one.
        let length = usize::from(extra.get(at)? & 3) + 1;
        (extra[0] == 1).then_some(length)
    }

    fn next_packet(&mut self) -> Option<Packet> {
        // The iterator ends at every error that would come again and again.
        let stream = self.stream;
        self.input
            .packets()
            .find(|(from, _)| from.index() == stream)
            .map(|(_, packet)| packet)
    }

    /// Decodes the next frame; `false` at the end. Packets for which `skip` is true need not be decoded if no other
    /// depends on them.
    pub(super) fn next_frame(
        &mut self,
        frame: &mut frame::Video,
        skip: &mut dyn FnMut(&Packet) -> bool,
    ) -> bool {
        loop {
            match self.decoder.receive_frame(frame) {
                Ok(()) => return true,
                Err(AvError::Eof) => return false,
                // Needs more input, or this picture could not be decoded: the next may.
                Err(_) if self.drained => return false,
                Err(_) => {}
            }
            match self.next_packet() {
                Some(packet) => {
                    let discard = if skip(&packet) {
                        Discard::NonReference
                    } else {
                        Discard::Default
                    };
                    self.decoder.skip_frame(discard);
                    // A packet that is refused gives no frame, and the missing frame is noticed.
                    let _ = self.decoder.send_packet(&packet);
                }
                None => {
                    let _ = self.decoder.send_eof();
                    self.drained = true;
                }
            }
        }
    }

    /// Goes to the last key frame at or before `secs`.
    pub(super) fn seek(&mut self, secs: f64) -> Result<(), AvError> {
        let at = (secs * 1e6).ceil() as i64;
        self.input.seek(at, ..at)?;
        self.decoder.flush();
        self.drained = false;
        Ok(())
    }
}

/// Whether the lengths of a packet's NAL units add up.
fn units_fit(mut data: &[u8], unit_length: usize) -> bool {
    while let Some((head, rest)) = data.split_at_checked(unit_length) {
        let len = head
            .iter()
            .fold(0usize, |len, &byte| len << 8 | usize::from(byte));
        match rest.get(len..) {
            Some(rest) => data = rest,
            None => return false,
        }
    }
    true
}
