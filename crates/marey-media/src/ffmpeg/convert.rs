//! Decoded FFmpeg frames to RGB.

use ffmpeg_next::{
    Error as AvError, color, ffi,
    format::Pixel,
    frame,
    software::scaling::{Context, Flags},
};
use marey_clip::Size;

use crate::yuv::{Matrix, Plane, Range, ToRgb};

/// Converts frames, keeping what the last one needed.
#[derive(Default)]
pub(super) struct Converter {
    scaler: Option<Scaler>,
    rgb: Option<frame::Video>,
}

/// A scaling context with what it was made for.
struct Scaler {
    context: Context,
    made_for: (Pixel, u32, u32, color::Space, color::Range),
}

// SAFETY: a scaling context is plain memory without ties to a thread; it is used by one thread at a time, since every
// use needs `&mut`.
unsafe impl Send for Scaler {}

impl Converter {
    /// Writes a frame's RGB values into `out`, `height * width * 3` of `size`. A frame of another size, in a file whose
    /// size changes, is scaled to it.
    pub(super) fn convert(
        &mut self,
        frame: &frame::Video,
        size: Size,
        out: &mut [u8],
    ) -> Result<(), AvError> {
        let same = (frame.height() as usize, frame.width() as usize) == (size.height, size.width);
        let full = frame.color_range() == color::Range::JPEG || frame.format() == Pixel::YUVJ420P;
        // What swscale's own fast path takes: the same sums here, for the same bytes.
        let plain = matches!(frame.format(), Pixel::YUV420P | Pixel::YUVJ420P);
        if plain && same && size.height.is_multiple_of(2) {
            let matrix = Matrix::from_code(matrix_code(frame.color_space()));
            let planes = [0, 1, 2].map(|idx| Plane {
                values: frame.data(idx),
                stride: frame.stride(idx),
            });
            ToRgb::new(matrix, Range::from_flag(full)).convert(planes, size, out);
            return Ok(());
        }
        self.scale(frame, size, full)?;
        let rgb = self.rgb.as_ref().expect("scaling makes one");
        let row = size.width * 3;
        for (out, values) in out
            .chunks_exact_mut(row)
            .zip(rgb.data(0).chunks(rgb.stride(0)))
        {
            out.copy_from_slice(&values[..row]);
        }
        Ok(())
    }

    fn scale(&mut self, frame: &frame::Video, size: Size, full: bool) -> Result<(), AvError> {
        let (format, width, height) = (frame.format(), frame.width(), frame.height());
        let (to_width, to_height) = (size.width as u32, size.height as u32);
        let made_for = (
            format,
            width,
            height,
            frame.color_space(),
            frame.color_range(),
        );
        if self
            .scaler
            .as_ref()
            .is_none_or(|scaler| scaler.made_for != made_for)
        {
            let flags = Flags::BICUBIC;
            let rgb = Pixel::RGB24;
            let mut context = Context::get(format, width, height, rgb, to_width, to_height, flags)?;
            set_colour(&mut context, frame.color_space(), full);
            self.scaler = Some(Scaler { context, made_for });
            self.rgb = Some(frame::Video::new(rgb, to_width, to_height));
        }
        let (Some(scaler), Some(rgb)) = (&mut self.scaler, &mut self.rgb) else {
            unreachable!("both were made above");
        };
        scaler.context.run(frame, rgb)
    }
}

/// Tells swscale the matrix and range, which it does not take from the frame.
fn set_colour(context: &mut Context, space: color::Space, full: bool) {
    let code = i32::from(matrix_code(space));
    // SAFETY: the context is valid, the coefficient tables are static, and swscale checks the colour number itself.
    // A conversion without YUV refuses the call, which then changes nothing.
    unsafe {
        let table = ffi::sws_getCoefficients(code);
        let (source_full, rgb_full, one) = (i32::from(full), 1, 1 << 16);
        ffi::sws_setColorspaceDetails(
            context.as_mut_ptr(),
            table,
            source_full,
            table,
            rgb_full,
            0,
            one,
            one,
        );
    }
}

/// The code number of a matrix (ISO/IEC 23091-2).
fn matrix_code(space: color::Space) -> u8 {
    u8::try_from(ffi::AVColorSpace::from(space) as u32).unwrap_or(2)
}
