//! Still images: a folder of frames, or one picture.

use std::{
    cmp::Ordering,
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, metadata::Orientation};
use marey_clip::{Rational, Size, Timeline};

use crate::{
    Backend, Error, ErrorKind, MediaInfo, MediaKind, Reader,
    bytes::FileBytes,
    reader::{FrameDecoder, FrameError, FrameReader},
    timing::Timing,
};

/// Extensions of the image formats that are read.
const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "webp", "bmp"];

/// Memory that decoding one image may take, in bytes.
const MAX_DECODER_BYTES: u64 = 1 << 30;

/// Whether a file is an image by its name.
pub(crate) fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str());
    extension.is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

/// Opens a folder of images as a sequence in the order of their frame numbers, 25 a second.
pub(crate) fn open_folder(path: &Path) -> Result<Box<dyn Reader>, Error> {
    let io = |error| Error::new(path, ErrorKind::Io(error));
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(io)? {
        let file = entry.map_err(io)?.path();
        if !is_hidden(&file) && is_image(&file) {
            files.push(file);
        }
    }
    if files.is_empty() {
        let detail = "the folder holds no PNG, JPEG, WebP or BMP file".to_owned();
        return Err(Error::new(path, ErrorKind::NoVideo(detail)));
    }
    files.sort_by(|a, b| natural_order(&name(a), &name(b)));
    let mut timing = even_timing(files.len());
    timing
        .warnings
        .push("images have no clock: 25 frames per second are assumed".to_owned());
    let missing = missing_numbers(&files);
    if missing > 0 {
        timing.warnings.push(format!(
            "{missing} frame numbers are missing between the first and the last"
        ));
    }
    open_files(path, files, timing)
}

/// Opens one image as a source of one frame.
pub(crate) fn open_file(path: &Path) -> Result<Box<dyn Reader>, Error> {
    open_files(path, vec![path.to_owned()], even_timing(1))
}

/// 25 frames a second from zero.
fn even_timing(num_files: usize) -> Timing {
    let rate = Rational::new(25, 1).expect("positive");
    Timing {
        timeline: Timeline::constant(num_files, rate).expect("there is a file"),
        frame_rate: (num_files > 1).then_some(rate),
        warnings: Vec::new(),
    }
}

/// Opens pictures, at least one, as a source that is called `path`.
pub(crate) fn open_files(
    path: &Path,
    files: Vec<PathBuf>,
    timing: Timing,
) -> Result<Box<dyn Reader>, Error> {
    let (size, codec) = picture_size(&files[0]).map_err(|detail| {
        let kind = ErrorKind::Broken {
            format: "image",
            detail,
        };
        Error::new(&files[0], kind)
    })?;
    let info = MediaInfo {
        path: path.to_owned(),
        kind: MediaKind::Images,
        backend: Backend::Rust,
        container: "images".into(),
        codec,
        size,
        rotation_deg: 0,
        channels: 3,
        bit_depth: 8,
        frame_rate: timing.frame_rate,
        declared_frames: None,
        timeline: timing.timeline,
        warnings: timing.warnings,
    };
    FrameReader::boxed(info, Images { files, size })
}

pub(crate) fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

pub(crate) fn is_hidden(path: &Path) -> bool {
    name(path).starts_with('.')
}

/// Orders names as people number files: runs of digits count as numbers, `frame9` before `frame10`.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let (Some(&x), Some(&y)) = (a.first(), b.first()) {
        let order;
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (number_a, rest_a) = leading_number(a);
            let (number_b, rest_b) = leading_number(b);
            // Without leading zeros the longer number is the larger.
            order = (number_a.len(), number_a).cmp(&(number_b.len(), number_b));
            (a, b) = (rest_a, rest_b);
        } else {
            order = x.cmp(&y);
            (a, b) = (&a[1..], &b[1..]);
        }
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

/// The digits that a name starts with, without leading zeros, and what follows.
fn leading_number(name: &[u8]) -> (&[u8], &[u8]) {
    let end = name
        .iter()
        .position(|c| !c.is_ascii_digit())
        .unwrap_or(name.len());
    let zeros = name[..end].iter().take_while(|&&c| c == b'0').count();
    (&name[zeros..end], &name[end..])
}

/// Numbers that are left out between the first and the last file, where names end in numbers.
fn missing_numbers(files: &[PathBuf]) -> u64 {
    let number = |file: &PathBuf| {
        let stem = file.file_stem()?.to_str()?;
        let digits = stem.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits.parse::<u64>().ok()
    };
    let numbers: Option<Vec<u64>> = files.iter().map(number).collect();
    let Some(numbers) = numbers else { return 0 };
    match (numbers.first(), numbers.last()) {
        (Some(first), Some(last)) if numbers.is_sorted() => {
            (last - first + 1).saturating_sub(numbers.len() as u64)
        }
        _ => 0,
    }
}

fn decoder(file: &Path) -> Result<(impl ImageDecoder, String), String> {
    let bytes = FileBytes::open(file).map_err(|error| error.to_string())?;
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| error.to_string())?;
    let format = reader
        .format()
        .ok_or("it is no PNG, JPEG, WebP or BMP image")?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    Ok((decoder, format!("{format:?}").to_lowercase()))
}

/// Size as shown (a camera's orientation applied) and the format's name.
fn picture_size(file: &Path) -> Result<(Size, String), String> {
    let (mut decoder, format) = decoder(file)?;
    let (width, height) = decoder.dimensions();
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let (width, height) = match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (height, width),
        _ => (width, height),
    };
    let size = Size {
        height: height as usize,
        width: width as usize,
    };
    Ok((size, format))
}

struct Images {
    files: Vec<PathBuf>,
    size: Size,
}

impl Images {
    fn decode_one(&self, frame: usize, out: &mut [u8]) -> Result<(), String> {
        let file = &self.files[frame];
        let in_file = |detail: String| format!("{}: {detail}", name(file));
        let (mut decoder, _) = decoder(file).map_err(in_file)?;
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut picture =
            DynamicImage::from_decoder(decoder).map_err(|e| in_file(e.to_string()))?;
        picture.apply_orientation(orientation);
        let picture = picture.into_rgb8();
        let size = Size {
            height: picture.height() as usize,
            width: picture.width() as usize,
        };
        if size != self.size {
            let expected = self.size;
            return Err(in_file(format!(
                "the image is {size}, the first one is {expected}"
            )));
        }
        out.copy_from_slice(picture.as_raw());
        Ok(())
    }
}

impl FrameDecoder<u8> for Images {
    fn decode(&mut self, wanted: &[usize], out: &mut [u8]) -> Result<(), FrameError> {
        let frame_len = self.size.height * self.size.width * 3;
        for (&frame, out) in wanted.iter().zip(out.chunks_exact_mut(frame_len)) {
            self.decode_one(frame, out)
                .map_err(|detail| FrameError::decode(frame, detail))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_are_in_the_order_of_their_numbers() {
        let mut names = [
            "f10.png",
            "f9.png",
            "f009b.png",
            "f1.png",
            "a.png",
            "f10_2.png",
            "f10_10.png",
        ];
        names.sort_by(|a, b| natural_order(a, b));
        let expect = [
            "a.png",
            "f1.png",
            "f9.png",
            "f009b.png",
            "f10.png",
            "f10_2.png",
            "f10_10.png",
        ];
        assert_eq!(names, expect);
    }

    #[test]
    fn gaps_in_the_numbers_are_counted() {
        let files = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(missing_numbers(&files(&["f1.png", "f2.png", "f5.png"])), 2);
        assert_eq!(missing_numbers(&files(&["f07.png", "f08.png"])), 0);
        assert_eq!(missing_numbers(&files(&["left.png", "right.png"])), 0);
    }

    proptest! {
        #[test]
        fn the_order_agrees_with_numbers_of_any_length(a in 0u64.., b in 0u64.., zeros in 0usize..5) {
            let padded = format!("x{}{a}.png", "0".repeat(zeros));
            let order = natural_order(&padded, &format!("x{b}.png"));
            if a != b {
                prop_assert_eq!(order, a.cmp(&b));
            }
        }
    }
}
