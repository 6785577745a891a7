//! A writer of motion JPEG in MP4: the smallest file that every reader takes (ISO/IEC 14496-12).

use std::{fs, io, path::Path};

use image::{RgbImage, codecs::jpeg::JpegEncoder};

use crate::{set::named, write::one_size};

/// Writes frames as motion JPEG (quality 85) in an MP4 file at `frames_per_sec`.
///
/// # Errors
/// When there is no frame, sizes differ or exceed 65535 pixels, the file would pass 4 GiB, or it cannot be written.
pub fn write_mjpeg_mp4(path: &Path, frames: &[RgbImage], frames_per_sec: u32) -> io::Result<()> {
    let size = one_size(frames)?;
    let mut jpegs = Vec::with_capacity(frames.len());
    for frame in frames {
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 85)
            .encode_image(frame)
            .map_err(|error| named(path, &io::Error::other(error)))?;
        jpegs.push(jpeg);
    }
    let start = boxed(b"ftyp", &[b"isom\0\0\x02\0isommp41"]);
    let total: usize = jpegs.iter().map(Vec::len).sum();
    if total > (u32::MAX as usize) - (1 << 20) {
        return Err(named(
            path,
            &io::Error::other("the video is too large for 32-bit offsets"),
        ));
    }
    let pictures: Vec<&[u8]> = jpegs.iter().map(Vec::as_slice).collect();
    let mdat = boxed(b"mdat", &pictures);
    let first = (start.len() + 8) as u32;
    let lengths: Vec<u32> = jpegs.iter().map(|jpeg| jpeg.len() as u32).collect();
    let moov = movie(size, &lengths, first, frames_per_sec);
    fs::write(path, [start, mdat, moov].concat()).map_err(|error| named(path, &error))
}

fn movie([width, height]: [u16; 2], lengths: &[u32], first: u32, rate: u32) -> Vec<u8> {
    let frames = lengths.len() as u32;
    // Times count in frames: the clock ticks `rate` times a second.
    let matrix = words(&[0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000]);
    let mvhd = boxed(
        b"mvhd",
        &[
            &words(&[0, 0, 0, rate, frames, 0x1_0000, 0x100_0000, 0, 0]),
            &matrix,
            &[0; 24],
            &words(&[2]),
        ],
    );
    let tkhd = boxed(
        b"tkhd",
        &[
            &words(&[3, 0, 0, 1, 0, frames, 0, 0, 0, 0]),
            &matrix,
            &words(&[u32::from(width) << 16, u32::from(height) << 16]),
        ],
    );
    // Language `und`.
    let mdhd = boxed(b"mdhd", &[&words(&[0, 0, 0, rate, frames, 0x55C4_0000])]);
    let hdlr = boxed(b"hdlr", &[&words(&[0, 0]), b"vide", &[0; 12], b"video\0"]);
    let vmhd = boxed(b"vmhd", &[&words(&[1, 0, 0])]);
    let dref = boxed(
        b"dref",
        &[&words(&[0, 1]), &boxed(b"url ", &[&words(&[1])])],
    );
    let mut entry = vec![0; 6];
    entry.extend(1u16.to_be_bytes());
    entry.extend([0; 16]);
    entry.extend([width, height].iter().flat_map(|side| side.to_be_bytes()));
    // 72 dots an inch both ways, one frame a sample, no name, 24 bits.
    entry.extend(words(&[0x48_0000, 0x48_0000, 0]));
    entry.extend(1u16.to_be_bytes());
    entry.extend([0; 32]);
    entry.extend([0, 24, 0xFF, 0xFF]);
    let stsd = boxed(b"stsd", &[&words(&[0, 1]), &boxed(b"jpeg", &[&entry])]);
    let stts = boxed(b"stts", &[&words(&[0, 1, frames, 1])]);
    // All samples are one chunk.
    let stsc = boxed(b"stsc", &[&words(&[0, 1, 1, frames, 1])]);
    let stsz = boxed(b"stsz", &[&words(&[0, 0, frames]), &words(lengths)]);
    let stco = boxed(b"stco", &[&words(&[0, 1, first])]);
    let stbl = boxed(b"stbl", &[&stsd, &stts, &stsc, &stsz, &stco]);
    let minf = boxed(b"minf", &[&vmhd, &boxed(b"dinf", &[&dref]), &stbl]);
    let mdia = boxed(b"mdia", &[&mdhd, &hdlr, &minf]);
    boxed(b"moov", &[&mvhd, &boxed(b"trak", &[&tkhd, &mdia])])
}

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = ((body.len() + 8) as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(kind);
    bytes.extend(body);
    bytes
}

fn words(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_leads_to_a_jpeg() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.mp4");
        let frames: Vec<RgbImage> = (0..5u8)
            .map(|value| RgbImage::from_pixel(24, 16, image::Rgb([40 * value; 3])))
            .collect();
        write_mjpeg_mp4(&path, &frames, 5).expect("written");
        let bytes = fs::read(&path).expect("there");
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four"));
        let place = |kind: &[u8]| {
            bytes
                .windows(4)
                .position(|four| four == kind)
                .expect("a box")
        };
        let mut offset = word(place(b"stco") + 12) as usize;
        let sizes = place(b"stsz");
        assert_eq!(word(sizes + 12), 5);
        for frame in 0..5 {
            let length = word(sizes + 16 + 4 * frame) as usize;
            let jpeg = image::load_from_memory(&bytes[offset..offset + length]).expect("a JPEG");
            assert_eq!((jpeg.width(), jpeg.height()), (24, 16));
            offset += length;
        }
        let boxes: u32 = [b"ftyp", b"mdat", b"moov"]
            .map(|kind| word(place(kind) - 4))
            .iter()
            .sum();
        assert_eq!(boxes as usize, bytes.len(), "three boxes and nothing else");
    }
}
