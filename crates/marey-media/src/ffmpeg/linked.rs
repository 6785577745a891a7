//! The linked FFmpeg libraries: every codec, without a process in between.
//!
//! Non-reference pictures far from a wanted frame are not decoded (`skip_frame`), which leaves all others as they are.

use std::path::Path;

use ffmpeg_next::frame;
use marey_clip::{Size, Timestamp};

use super::{
    convert::Converter,
    session::{OpenError, Session},
};
use crate::{
    Backend, Error, ErrorKind, MediaInfo, MediaKind, OpenOptions, Reader,
    reader::{FrameDecoder, FrameError, FrameReader, check_frame_size},
    rotate::{rotate_rgb, rotated_size},
    timing::timing,
};

const LIBRARY: &str = "the linked FFmpeg library";
/// Frames before a wanted one from which all are decoded.
const LEAD_IN: usize = 18;
/// Frames ahead to which decoding on is taken to be as fast as a seek would be.
const NEAR: usize = 32;

/// Opens any file that the linked libraries read.
pub(super) fn open(path: &Path, options: &OpenOptions) -> Result<Box<dyn Reader>, Error> {
    if let Err(error) = std::fs::File::open(path) {
        return Err(Error::new(path, ErrorKind::Io(error)));
    }
    let fail = |error: ffmpeg_next::Error| {
        let detail = error.to_string();
        Error::new(
            path,
            ErrorKind::Ffmpeg {
                program: LIBRARY,
                detail,
            },
        )
    };
    ffmpeg_next::init().map_err(fail)?;
    // Complaints of the libraries would go to the terminal; what matters is in errors and warnings.
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Quiet);
    let mut session = Session::open(path, options.video_track).map_err(|error| match error {
        OpenError::NoVideo(detail) => Error::new(path, ErrorKind::NoVideo(detail)),
        OpenError::Library(error) => fail(error),
    })?;
    let mut listing = session.list_packets();
    if !listing.is_trustworthy() {
        // Timestamps that are missing and broken packets need a look at the frames themselves.
        session.restart().map_err(fail)?;
        let packets = listing;
        listing = session.list_frames();
        listing.complaints.splice(0..0, packets.complaints);
    }
    let facts = session.facts();
    let (ticks, end, tick) = listing.ticks(&facts);
    let (Some(coded), Some(timing)) = (facts.size, timing(&ticks, end, tick)) else {
        let detail = "FFmpeg decodes no frame of its video track".to_owned();
        return Err(Error::new(path, ErrorKind::NoVideo(detail)));
    };
    let size = rotated_size(coded, facts.rotation_deg);
    check_frame_size(size, 3).map_err(|kind| Error::new(path, kind))?;
    session.restart().map_err(fail)?;
    let info = MediaInfo {
        path: path.to_owned(),
        kind: MediaKind::Video,
        backend: Backend::LinkedFfmpeg,
        container: facts.container,
        codec: facts.codec,
        size,
        rotation_deg: facts.rotation_deg,
        channels: 3,
        bit_depth: facts.bit_depth,
        frame_rate: timing.frame_rate,
        declared_frames: facts.declared,
        timeline: timing.timeline,
        warnings: [timing.warnings, listing.warnings()].concat(),
    };
    let decoder = Linked {
        timestamps: info.timeline.timestamps().to_vec(),
        // Where the bytes are damaged, timestamps cannot be relied on either.
        ticks: listing.is_trustworthy().then_some(ticks),
        session,
        next: Some(0),
        size: coded,
        rotation_deg: facts.rotation_deg,
        converter: Converter::default(),
        unrotated: Vec::new(),
        frame: frame::Video::empty(),
    };
    FrameReader::boxed(info, decoder)
}

struct Linked {
    session: Session,
    timestamps: Vec<Timestamp>,
    /// Each frame's timestamp in ticks; `None` when frames have none and can only be counted.
    ticks: Option<Vec<i64>>,
    /// The frame that comes out next; `None` right after a seek.
    next: Option<usize>,
    /// Size before rotation.
    size: Size,
    rotation_deg: u16,
    converter: Converter,
    unrotated: Vec<u8>,
    frame: frame::Video,
}

impl Linked {
    /// Goes on decoding until frame `wanted[0]` has come out; `Ok(false)` when it did not.
    fn advance(&mut self, wanted: &[usize]) -> bool {
        let target = wanted[0];
        let Self {
            session,
            ticks,
            frame,
            next,
            ..
        } = self;
        let Some(ticks) = ticks else {
            while session.next_frame(frame, &mut |_| false) {
                let at = next.map_or(0, |next| next);
                *next = Some(at + 1);
                if at == target {
                    return true;
                }
            }
            return false;
        };
        // A picture is needed when one of the wanted frames is at most the lead-in after it.
        let mut skip = |packet: &ffmpeg_next::Packet| {
            let Some(at) = packet.pts() else { return false };
            let place = ticks.partition_point(|&tick| tick < at);
            let after = wanted.partition_point(|&frame| frame < place);
            wanted
                .get(after)
                .is_some_and(|&frame| frame > place + LEAD_IN)
        };
        while session.next_frame(frame, &mut skip) {
            let Some(place) = frame.timestamp().and_then(|at| nearest(ticks, at)) else {
                continue;
            };
            *next = Some(place + 1);
            if place >= target {
                return place == target;
            }
        }
        false
    }

    fn seek(&mut self, target: usize) -> Result<(), String> {
        let near = self
            .next
            .is_some_and(|next| next <= target && target - next <= NEAR);
        if near {
            return Ok(());
        }
        let goes_back = self.next.is_none_or(|next| next > target);
        if self.ticks.is_none() {
            return if goes_back { self.restart() } else { Ok(()) };
        }
        // A seek within the same group of pictures would decode the same again, but only FFmpeg knows the groups.
        match self.session.seek(self.timestamps[target].as_secs()) {
            Ok(()) => self.next = None,
            Err(_) => return self.restart(),
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), String> {
        self.next = Some(0);
        self.session.restart().map_err(|error| error.to_string())
    }

    fn emit(&mut self, out: &mut [u8]) -> Result<(), String> {
        if self.rotation_deg == 0 {
            let converted = self.converter.convert(&self.frame, self.size, out);
            return converted.map_err(|error| error.to_string());
        }
        self.unrotated.resize(out.len(), 0);
        self.converter
            .convert(&self.frame, self.size, &mut self.unrotated)
            .map_err(|error| error.to_string())?;
        rotate_rgb(&self.unrotated, self.size, self.rotation_deg, out);
        Ok(())
    }

    fn decode_one(&mut self, wanted: &[usize], out: &mut [u8]) -> Result<(), String> {
        self.seek(wanted[0])?;
        // A seek may land too late, as containers index decoding times: then from the start.
        if !self.advance(wanted) {
            self.restart()?;
            if !self.advance(wanted) {
                self.next = None;
                return Err("its data is damaged, encrypted or missing".into());
            }
        }
        self.emit(out)
    }
}

/// The frame whose timestamp is nearest, if it is nearer than half-way to its neighbour.
fn nearest(ticks: &[i64], at: i64) -> Option<usize> {
    let after = ticks.partition_point(|&tick| tick < at);
    if ticks.get(after) == Some(&at) {
        return Some(after);
    }
    let (before, next) = (ticks.get(after.checked_sub(1)?)?, ticks.get(after));
    match next {
        Some(next) if next.saturating_sub(at) <= at.saturating_sub(*before) => Some(after),
        _ => Some(after - 1),
    }
}

impl FrameDecoder<u8> for Linked {
    fn decode(&mut self, wanted: &[usize], out: &mut [u8]) -> Result<(), FrameError> {
        let frame_len = self.size.height * self.size.width * 3;
        for (slot, out) in out.chunks_exact_mut(frame_len).enumerate() {
            self.decode_one(&wanted[slot..], out)
                .map_err(|detail| FrameError {
                    frame: wanted[slot],
                    kind: ErrorKind::Ffmpeg {
                        program: LIBRARY,
                        detail,
                    },
                })?;
        }
        Ok(())
    }
}
