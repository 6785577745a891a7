//! Writers of the video formats that the default build reads: GIF, numbered pictures, and motion JPEG in AVI.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::Path,
};

use gif::{Encoder, Frame, Repeat};
use image::{RgbImage, codecs::jpeg::JpegEncoder};

use crate::set::named;

/// Levels of red, green and blue in the palette of [`write_gif`]; 252 colours in all.
const LEVELS: [usize; 3] = [6, 7, 6];

/// Writes frames of one size as an animated GIF, each shown for `frame_ms` milliseconds (GIF counts in tens).
///
/// Colours are rounded to a fixed palette of 6 x 7 x 6 levels: a palette fitted to each frame would take longer than
/// rendering the set.
///
/// # Errors
/// When there is no frame, sizes differ or exceed 65535 pixels, or the file cannot be written.
pub fn write_gif(path: &Path, frames: &[RgbImage], frame_ms: u32) -> io::Result<()> {
    let [width, height] = one_size(frames)?;
    let palette: Vec<u8> = (0..LEVELS.iter().product::<usize>())
        .flat_map(|i| {
            let [_, g, b] = LEVELS;
            let levels = [i / (g * b), i / b % g, i % b];
            [0, 1, 2].map(|c| (levels[c] * 255 / (LEVELS[c] - 1)) as u8)
        })
        .collect();
    let write = || -> Result<(), gif::EncodingError> {
        let file = BufWriter::new(File::create(path)?);
        let mut encoder = Encoder::new(file, width, height, &palette)?;
        encoder.set_repeat(Repeat::Infinite)?;
        for frame in frames {
            let indices: Vec<u8> = frame.pixels().map(|pixel| nearest(pixel.0)).collect();
            let mut frame = Frame::from_indexed_pixels(width, height, indices, None);
            frame.delay = u16::try_from(frame_ms / 10).unwrap_or(u16::MAX);
            encoder.write_frame(&frame)?;
        }
        Ok(())
    };
    write().map_err(|error| named(path, &io::Error::other(error)))
}

/// Position in the palette of the colour nearest to `rgb`.
fn nearest(rgb: [u8; 3]) -> u8 {
    let level = |c: usize| (usize::from(rgb[c]) * (LEVELS[c] - 1) + 127) / 255;
    ((level(0) * LEVELS[1] + level(1)) * LEVELS[2] + level(2)) as u8
}

/// Writes frames as `1.png`, `2.png`, … without leading zeros, so that alphabetic order is not the order of time.
///
/// # Errors
/// When the folder or a picture cannot be written.
pub fn write_image_folder(dir: &Path, frames: &[RgbImage]) -> io::Result<()> {
    fs::create_dir_all(dir).map_err(|error| named(dir, &error))?;
    for (idx, frame) in frames.iter().enumerate() {
        let path = dir.join(format!("{}.png", idx + 1));
        frame
            .save(&path)
            .map_err(|error| named(&path, &io::Error::other(error)))?;
    }
    Ok(())
}

/// Writes frames as motion JPEG (quality 90) in an AVI file at `frames_per_sec`.
///
/// Follows Microsoft's "AVI RIFF File Reference": one `00dc` chunk a frame and an `idx1` index.
///
/// # Errors
/// When there is no frame, sizes differ or exceed 65535 pixels, or the file cannot be written.
pub fn write_mjpeg_avi(path: &Path, frames: &[RgbImage], frames_per_sec: u32) -> io::Result<()> {
    let size = one_size(frames)?;
    let mut movi = b"movi".to_vec();
    let mut index = Vec::new();
    for frame in frames {
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 90)
            .encode_image(frame)
            .map_err(|error| named(path, &io::Error::other(error)))?;
        // A key frame; offsets count from the word `movi`.
        let (offset, length) = (movi.len() as u32, jpeg.len() as u32);
        index.extend_from_slice(b"00dc");
        index.extend(words(&[0x10, offset, length]));
        movi.extend(chunk(b"00dc", &jpeg));
    }
    let mut body = b"AVI ".to_vec();
    body.extend(chunk(
        b"LIST",
        &avi_header(size, frames.len() as u32, frames_per_sec),
    ));
    body.extend(chunk(b"LIST", &movi));
    body.extend(chunk(b"idx1", &index));
    fs::write(path, chunk(b"RIFF", &body)).map_err(|error| named(path, &error))
}

/// The `hdrl` list: main header, and one video stream's header and format.
fn avi_header([width, height]: [u16; 2], num_frames: u32, frames_per_sec: u32) -> Vec<u8> {
    let (w, h) = (u32::from(width), u32::from(height));
    let bytes = w * h * 3;
    // Microseconds a frame, flag "has index", frames, streams, suggested buffer, size.
    let main = [
        1_000_000 / frames_per_sec.max(1),
        0,
        0,
        0x10,
        num_frames,
        0,
        1,
        bytes,
        w,
        h,
        0,
        0,
        0,
        0,
    ];
    let mut stream = b"vidsMJPG".to_vec();
    stream.extend(words(&[
        0,
        0,
        0,
        1,
        frames_per_sec,
        0,
        num_frames,
        bytes,
        u32::MAX,
        0,
    ]));
    stream.extend([0, 0, width, height].iter().flat_map(|v| v.to_le_bytes()));
    // BITMAPINFOHEADER: its length, size, one plane of 24 bits, the codec.
    let mut format = words(&[40, w, h, 24 << 16 | 1]);
    format.extend_from_slice(b"MJPG");
    format.extend(words(&[bytes, 0, 0, 0, 0]));

    let mut strl = b"strl".to_vec();
    strl.extend(chunk(b"strh", &stream));
    strl.extend(chunk(b"strf", &format));
    let mut hdrl = b"hdrl".to_vec();
    hdrl.extend(chunk(b"avih", &words(&main)));
    hdrl.extend(chunk(b"LIST", &strl));
    hdrl
}

/// A RIFF chunk, padded to an even length.
fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = name.to_vec();
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// `[width, height]` that all frames share.
pub(crate) fn one_size(frames: &[RgbImage]) -> io::Result<[u16; 2]> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    let (width, height) = frames
        .first()
        .ok_or_else(|| invalid("there is no frame".to_owned()))?
        .dimensions();
    if let Some(idx) = frames
        .iter()
        .position(|f| f.dimensions() != (width, height))
    {
        return Err(invalid(format!(
            "frame {idx} is not {width}x{height} like the first"
        )));
    }
    match (u16::try_from(width), u16::try_from(height)) {
        (Ok(width), Ok(height)) => Ok([width, height]),
        _ => Err(invalid(format!("frames of {width}x{height} are too large"))),
    }
}

#[cfg(test)]
mod tests {
    use image::{AnimationDecoder, Rgb, codecs::gif::GifDecoder};

    use super::*;

    fn frames(num: u32) -> Vec<RgbImage> {
        (0..num)
            .map(|i| {
                RgbImage::from_fn(20, 12, |x, y| {
                    Rgb([x as u8 * 12, y as u8 * 20, i as u8 * 40])
                })
            })
            .collect()
    }

    #[test]
    fn a_gif_reads_back_within_half_a_palette_step() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.gif");
        write_gif(&path, &frames(4), 40).expect("written");
        let file = io::BufReader::new(File::open(&path).expect("there"));
        let read = GifDecoder::new(file)
            .expect("a GIF")
            .into_frames()
            .collect_frames()
            .expect("frames");
        assert_eq!(read.len(), 4);
        for (written, read) in frames(4).iter().zip(&read) {
            assert_eq!(read.delay().numer_denom_ms(), (40, 1));
            for (a, b) in written.pixels().zip(read.buffer().pixels()) {
                let off = (0..3).map(|c| a.0[c].abs_diff(b.0[c])).max();
                assert!(off <= Some(26), "{a:?} came back as {b:?}");
            }
        }
    }

    #[test]
    fn an_avi_holds_one_jpeg_a_frame_where_its_index_says() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.avi");
        write_mjpeg_avi(&path, &frames(3), 25).expect("written");
        let bytes = fs::read(&path).expect("there");
        let word = |at: usize| {
            u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
        };
        let find = |name: &[u8]| {
            bytes
                .windows(4)
                .position(|w| w == name)
                .expect("the chunk is there")
        };
        assert_eq!(
            word(4) + 8,
            bytes.len(),
            "the RIFF chunk ends with the file"
        );
        let (movi, index) = (find(b"movi"), find(b"idx1"));
        assert_eq!(word(index + 4), 3 * 16);
        for frame in 0..3 {
            let entry = index + 8 + 16 * frame;
            let (start, length) = (movi + word(entry + 8) + 8, word(entry + 12));
            let jpeg = image::load_from_memory(&bytes[start..start + length]).expect("a JPEG");
            assert_eq!((jpeg.width(), jpeg.height()), (20, 12));
        }
    }

    #[test]
    fn frames_that_make_no_video_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.gif");
        let mixed = [RgbImage::new(4, 4), RgbImage::new(4, 5)];
        let text = write_gif(&path, &mixed, 40).expect_err("mixed").to_string();
        assert_eq!(text, "frame 1 is not 4x4 like the first");
        let text = write_mjpeg_avi(&path, &[], 25)
            .expect_err("empty")
            .to_string();
        assert_eq!(text, "there is no frame");
        assert!(!path.exists(), "nothing half-written");
    }

    #[test]
    fn an_image_folder_has_a_picture_a_frame() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write_image_folder(&dir.path().join("clip"), &frames(11)).expect("written");
        let last = image::open(dir.path().join("clip/11.png"))
            .expect("a picture")
            .to_rgb8();
        assert_eq!(&last, frames(11).last().expect("eleven frames"));
    }
}
