//! Animated GIF: frames are patches painted one over another.

use std::{io, num::NonZeroU64, path::Path};

use gif::{ColorOutput, DecodeOptions, DisposalMethod, MemoryLimit};
use marey_clip::{Rational, Size};

use crate::{
    Backend, Error, ErrorKind, MediaInfo, MediaKind, Reader,
    bytes::FileBytes,
    reader::{FrameDecoder, FrameError, FrameReader, check_frame_size},
    timing::timing,
};

/// Where nothing was ever painted; what FFmpeg shows there.
const UNPAINTED: u8 = 255;
/// Memory that one patch may take.
const MAX_PATCH_BYTES: NonZeroU64 = NonZeroU64::new(1 << 29).expect("not zero");
/// Hundredths of a second that a frame lasts whose delay is 0 or 1, as browsers and FFmpeg have it.
const DEFAULT_DELAY: u16 = 10;

/// Opens an animation.
pub(crate) fn open(path: &Path, file: FileBytes) -> Result<Box<dyn Reader>, Error> {
    let broken = |detail| {
        Error::new(
            path,
            ErrorKind::Broken {
                format: "GIF",
                detail,
            },
        )
    };
    let mut options = DecodeOptions::new();
    options.skip_frame_decoding(true);
    let mut scan = options
        .read_info(io::Cursor::new(file.clone()))
        .map_err(|error| broken(error.to_string()))?;
    let size = Size {
        height: usize::from(scan.height()),
        width: usize::from(scan.width()),
    };
    check_frame_size(size, 3).map_err(|kind| Error::new(path, kind))?;
    let (mut ticks, mut end, mut warnings) = (Vec::new(), 0, Vec::new());
    loop {
        match scan.next_frame_info() {
            Ok(Some(frame)) => {
                ticks.push(end);
                let delay = if frame.delay < 2 {
                    DEFAULT_DELAY
                } else {
                    frame.delay
                };
                end += i64::from(delay);
            }
            Ok(None) => break,
            Err(error) => {
                warnings.push(format!("truncated after {} frames: {error}", ticks.len()));
                break;
            }
        }
    }
    let tick = Rational::new(1, 100).expect("positive");
    let Some(timing) = timing(&ticks, end, tick) else {
        let detail = warnings.pop().unwrap_or_else(|| "it has no frame".into());
        return Err(Error::new(path, ErrorKind::NoVideo(detail)));
    };
    warnings.extend(timing.warnings);
    let info = MediaInfo {
        path: path.to_owned(),
        kind: MediaKind::Animation,
        backend: Backend::Rust,
        container: "gif".into(),
        codec: "gif".into(),
        size,
        rotation_deg: 0,
        channels: 3,
        bit_depth: 8,
        frame_rate: timing.frame_rate,
        declared_frames: None,
        timeline: timing.timeline,
        warnings,
    };
    let painter = Painter {
        file,
        size,
        decoder: None,
        painted: 0,
        canvas: Vec::new(),
        undo: None,
    };
    FrameReader::boxed(info, painter)
}

type Decoder = gif::Decoder<io::Cursor<FileBytes>>;

/// How the last patch is taken away before the next is painted.
enum Undo {
    /// Its rectangle is cleared: left, top, width, height.
    Clear([usize; 4]),
    /// The picture before it comes back.
    Restore(Vec<u8>),
}

struct Painter {
    file: FileBytes,
    size: Size,
    decoder: Option<Decoder>,
    /// Frames painted since the decoder was made.
    painted: usize,
    canvas: Vec<u8>,
    undo: Option<Undo>,
}

impl Painter {
    fn restart(&mut self) -> Result<(), String> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::RGBA);
        options.set_memory_limit(MemoryLimit::Bytes(MAX_PATCH_BYTES));
        let decoder = options
            .read_info(io::Cursor::new(self.file.clone()))
            .map_err(|error| error.to_string())?;
        self.painted = 0;
        self.undo = None;
        self.canvas = vec![UNPAINTED; self.size.height * self.size.width * 3];
        self.decoder = Some(decoder);
        Ok(())
    }

    /// Paints the next frame.
    fn advance(&mut self) -> Result<(), String> {
        let width = self.size.width;
        match self.undo.take() {
            Some(Undo::Restore(canvas)) => self.canvas = canvas,
            Some(Undo::Clear([left, top, patch_width, patch_height])) => {
                for row in self
                    .canvas
                    .chunks_exact_mut(width * 3)
                    .skip(top)
                    .take(patch_height)
                {
                    let end = (left + patch_width).min(width);
                    row[left.min(end) * 3..end * 3].fill(UNPAINTED);
                }
            }
            None => {}
        }
        if self.decoder.is_none() {
            self.restart()?;
        }
        let decoder = self.decoder.as_mut().expect("a restart makes one");
        let patch = decoder
            .read_next_frame()
            .map_err(|error| error.to_string())?
            .ok_or("the animation ends before this frame")?;
        let [left, top, patch_width, patch_height] =
            [patch.left, patch.top, patch.width, patch.height].map(usize::from);
        self.undo = match patch.dispose {
            DisposalMethod::Background => Some(Undo::Clear([left, top, patch_width, patch_height])),
            DisposalMethod::Previous => Some(Undo::Restore(self.canvas.clone())),
            DisposalMethod::Any | DisposalMethod::Keep => None,
        };
        let rows = self.canvas.chunks_exact_mut(width * 3).skip(top);
        for (row, source) in rows.zip(patch.buffer.chunks_exact((patch_width * 4).max(1))) {
            let visible = row.chunks_exact_mut(3).skip(left);
            for (pixel, rgba) in visible.zip(source.chunks_exact(4)) {
                if rgba[3] != 0 {
                    pixel.copy_from_slice(&rgba[..3]);
                }
            }
        }
        self.painted += 1;
        Ok(())
    }
}

impl FrameDecoder<u8> for Painter {
    fn decode(&mut self, wanted: &[usize], out: &mut [u8]) -> Result<(), FrameError> {
        let frame_len = self.size.height * self.size.width * 3;
        for (&frame, out) in wanted.iter().zip(out.chunks_exact_mut(frame_len)) {
            if self.painted > frame + 1 {
                self.decoder = None;
                self.painted = 0;
            }
            while self.painted < frame + 1 {
                if let Err(detail) = self.advance() {
                    self.decoder = None;
                    self.painted = 0;
                    return Err(FrameError::decode(frame, detail));
                }
            }
            out.copy_from_slice(&self.canvas);
        }
        Ok(())
    }
}
