//! From a plan to a clip: what all kinds of sources have in common.

use marey_clip::{Clip, ClipPlan, Pixels, Size, Timestamp};

use crate::{Error, ErrorKind, MediaInfo, Reader};

/// Values of one frame that a reader accepts at most, `h * w * c`: a picture of 16,384 x 5,461 in colour.
///
/// Sizes come from headers that anyone can write; this bounds what a header can make the program allocate.
const MAX_FRAME_VALUES: usize = 1 << 28;

/// A frame that could not be decoded.
#[derive(Debug)]
pub(crate) struct FrameError {
    /// Its position in display order.
    pub(crate) frame: usize,
    pub(crate) kind: ErrorKind,
}

impl FrameError {
    pub(crate) fn decode(frame: usize, detail: impl Into<String>) -> Self {
        Self {
            frame,
            kind: ErrorKind::Decode {
                frame,
                detail: detail.into(),
            },
        }
    }
}

/// Gives the frames of one source by their position in display order.
pub(crate) trait FrameDecoder<T>: Send {
    /// Decodes the frames at the strictly increasing positions `wanted`, one after another into `out`, `h * w * c`
    /// values each, as the source's [`MediaInfo`] describes them.
    fn decode(&mut self, wanted: &[usize], out: &mut [T]) -> Result<(), FrameError>;
}

/// What a pixel can be.
pub(crate) trait Pixel: Copy + Default + Send + 'static {
    fn into_pixels(values: Vec<Self>) -> Pixels;
}

impl Pixel for u8 {
    fn into_pixels(values: Vec<Self>) -> Pixels {
        Pixels::U8(values)
    }
}

impl Pixel for f32 {
    fn into_pixels(values: Vec<Self>) -> Pixels {
        Pixels::F32(values)
    }
}

/// The one [`Reader`]: a description and something that decodes frames.
pub(crate) struct FrameReader<T> {
    info: MediaInfo,
    decoder: Box<dyn FrameDecoder<T>>,
}

impl<T: Pixel> FrameReader<T> {
    pub(crate) fn boxed(
        info: MediaInfo,
        decoder: impl FrameDecoder<T> + 'static,
    ) -> Result<Box<dyn Reader>, Error> {
        check_frame_size(info.size, info.channels).map_err(|kind| Error::new(&info.path, kind))?;
        let decoder = Box::new(decoder);
        Ok(Box::new(Self { info, decoder }))
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(&self.info.path, kind)
    }

    /// Positions of the frames shown at the instants of `plan`.
    fn positions(&self, plan: &ClipPlan) -> Result<Vec<usize>, Error> {
        if plan.timestamps.is_empty() || !plan.timestamps.is_sorted() {
            return Err(self.error(ErrorKind::Plan));
        }
        let timeline = &self.info.timeline;
        let position = |&at: &Timestamp| {
            if timeline.span().contains(at) {
                return Ok(timeline.index_at(at));
            }
            let (first, last) = (timeline.span().start(), timeline.span().end());
            Err(self.error(ErrorKind::NoFrame { first, last }).at(at))
        };
        plan.timestamps.iter().map(position).collect()
    }
}

impl<T: Pixel> Reader for FrameReader<T> {
    fn info(&self) -> &MediaInfo {
        &self.info
    }

    fn read(&mut self, plan: &ClipPlan) -> Result<Clip, Error> {
        let positions = self.positions(plan)?;
        let Size { height, width } = self.info.size;
        let dims = [positions.len(), height, width, self.info.channels];
        let frame_len = height * width * self.info.channels;
        let mut values = Vec::<T>::new();
        let total = frame_len.checked_mul(positions.len());
        if total.is_none_or(|total| values.try_reserve_exact(total).is_err()) {
            let detail = format!("a clip of {} frames of {}", positions.len(), self.info.size);
            return Err(self.error(ErrorKind::TooLarge(detail)));
        }
        values.resize(frame_len * positions.len(), T::default());
        let mut wanted = positions.clone();
        wanted.dedup();
        let timestamps = self.info.timeline.timestamps();
        self.decoder
            .decode(&wanted, &mut values[..frame_len * wanted.len()])
            .map_err(|error| {
                let at = timestamps[error.frame.min(timestamps.len() - 1)];
                Error::new(&self.info.path, error.kind).at(at)
            })?;
        spread(&mut values, &positions, &wanted, frame_len);
        let shown = positions.iter().map(|&position| timestamps[position]);
        Ok(Clip::new(dims, T::into_pixels(values), shown.collect()))
    }
}

/// Moves frames decoded once each at the front of `values` to their places, repeated where a position repeats.
fn spread<T: Copy>(values: &mut [T], positions: &[usize], wanted: &[usize], frame_len: usize) {
    let mut source = wanted.len();
    for (slot, &position) in positions.iter().enumerate().rev() {
        // A frame's place is never before where it was decoded to, so going backward overwrites nothing still needed.
        while wanted[source - 1] != position {
            source -= 1;
            if source == 0 {
                return;
            }
        }
        if source - 1 != slot {
            let from = (source - 1) * frame_len;
            values.copy_within(from..from + frame_len, slot * frame_len);
        }
    }
}

/// Refuses frames that no real source has.
pub(crate) fn check_frame_size(size: Size, channels: usize) -> Result<(), ErrorKind> {
    let values = size
        .height
        .checked_mul(size.width)
        .and_then(|n| n.checked_mul(channels));
    if size.height == 0 || size.width == 0 {
        return Err(ErrorKind::NoVideo(format!("its frames are {size}")));
    }
    match values {
        Some(values) if values <= MAX_FRAME_VALUES => Ok(()),
        _ => Err(ErrorKind::TooLarge(format!(
            "frames of {size} with {channels} channels; at most {MAX_FRAME_VALUES} values a frame are read"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::{Rational, Timeline};

    use super::*;
    use crate::{Backend, MediaKind};

    /// Frames of one pixel that hold their position.
    struct Positions;

    impl FrameDecoder<u8> for Positions {
        fn decode(&mut self, wanted: &[usize], out: &mut [u8]) -> Result<(), FrameError> {
            for (&frame, out) in wanted.iter().zip(out) {
                if frame == 13 {
                    return Err(FrameError::decode(frame, "unlucky"));
                }
                *out = frame as u8;
            }
            Ok(())
        }
    }

    fn reader() -> Box<dyn Reader> {
        let rate = Rational::new(10, 1).expect("positive");
        let info = MediaInfo {
            path: "a.test".into(),
            kind: MediaKind::Video,
            backend: Backend::Rust,
            container: "test".into(),
            codec: "test".into(),
            size: Size {
                height: 1,
                width: 1,
            },
            rotation_deg: 0,
            channels: 1,
            bit_depth: 8,
            frame_rate: Some(rate),
            declared_frames: None,
            timeline: Timeline::constant(20, rate).expect("frames"),
            warnings: vec![],
        };
        FrameReader::boxed(info, Positions).expect("a small frame")
    }

    fn read(tenths: &[i64]) -> Result<Vec<u8>, String> {
        let at = |&tenth: &i64| Timestamp::from_nanos(tenth * 100_000_000 + 1000);
        let plan = ClipPlan {
            timestamps: tenths.iter().map(at).collect(),
        };
        match reader()
            .read(&plan)
            .map_err(|e| e.to_string())?
            .into_parts()
        {
            (Pixels::U8(values), _) => Ok(values),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn repeated_frames_are_decoded_once_and_stand_in_their_places() {
        for frames in [
            &[3][..],
            &[0, 0, 0],
            &[1, 1, 4, 9, 9],
            &[2, 3, 4, 4, 4, 4, 5],
            &[0, 19],
        ] {
            let expect: Vec<u8> = frames.iter().map(|&f| f as u8).collect();
            assert_eq!(read(frames), Ok(expect));
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (frames, part) in [
            (&[][..], "plan"),
            (&[4, 3], "plan"),
            (&[-1], "no frame"),
            (&[3, 20], "2.000 s"),
            (&[12, 13], "at 1.300 s: cannot decode frame 13: unlucky"),
        ] {
            let error = read(frames).expect_err("an impossible plan");
            assert!(error.contains(part), "{error}");
            assert!(error.contains("a.test"), "{error}");
        }
    }

    #[test]
    fn a_frame_of_gigabytes_is_refused() {
        let size = Size {
            height: 65_535,
            width: 65_535,
        };
        assert!(matches!(
            check_frame_size(size, 3),
            Err(ErrorKind::TooLarge(_))
        ));
        let size = Size {
            height: 0,
            width: 5,
        };
        assert!(matches!(
            check_frame_size(size, 3),
            Err(ErrorKind::NoVideo(_))
        ));
    }
}
