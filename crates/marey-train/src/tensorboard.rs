//! TensorBoard event files with scalars.
//!
//! A file is a TFRecord stream of `Event` protocol buffers (tensorflow/core/util/event.proto; record framing and masked
//! CRC-32C as in tensorflow/core/lib/io/record_writer.h). Scalars need five fields of it, written here by hand: the
//! libraries for the format bring a protobuf compiler or an unmaintained runtime with them.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

/// Writes scalars for TensorBoard.
#[derive(Debug)]
pub(crate) struct EventWriter {
    file: BufWriter<File>,
}

impl EventWriter {
    /// Creates an event file in `dir`, named after the time and `first_step`. Whatever other files of the folder hold
    /// from `first_step` on is hidden by TensorBoard, so a resumed run shows each step once.
    pub(crate) fn create(dir: &Path, wall_time: f64, first_step: usize) -> io::Result<Self> {
        let name = format!(
            "events.out.tfevents.{:010}.marey.{first_step}",
            wall_time as u64
        );
        let mut writer = Self {
            file: BufWriter::new(File::create(dir.join(name))?),
        };
        let mut version = event(wall_time, 0);
        bytes_field(&mut version, 3, b"brain.Event:2");
        writer.record(&version)?;
        if first_step > 0 {
            let mut start = event(wall_time, first_step);
            // SessionLog { status: START }
            bytes_field(&mut start, 7, &[1 << 3, 1]);
            writer.record(&start)?;
        }
        Ok(writer)
    }

    /// Adds one value of the curve `tag`.
    pub(crate) fn scalar(
        &mut self,
        wall_time: f64,
        step: usize,
        tag: &str,
        value: f32,
    ) -> io::Result<()> {
        // Summary { value: [Value { tag: 1, simple_value: 2 }] }
        let mut point = Vec::new();
        bytes_field(&mut point, 1, tag.as_bytes());
        point.push(2 << 3 | 5);
        point.extend(value.to_le_bytes());
        let mut summary = Vec::new();
        bytes_field(&mut summary, 1, &point);
        let mut record = event(wall_time, step);
        bytes_field(&mut record, 5, &summary);
        self.record(&record)
    }

    /// Hands everything to the system.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn record(&mut self, data: &[u8]) -> io::Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        self.file.write_all(&length)?;
        self.file.write_all(&masked_crc(&length).to_le_bytes())?;
        self.file.write_all(data)?;
        self.file.write_all(&masked_crc(data).to_le_bytes())
    }
}

/// `Event { wall_time: 1 (double), step: 2 (int64) }`.
fn event(wall_time: f64, step: usize) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend(wall_time.to_le_bytes());
    event.push(2 << 3);
    varint(&mut event, step as u64);
    event
}

fn bytes_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn masked_crc(data: &[u8]) -> u32 {
    let crc = crc32c(data);
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: a few dozen bytes a record.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, appendix B.4, and the check value of the polynomial.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn a_scalar_is_framed_as_tensorflow_reads_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = EventWriter::create(dir.path(), 1.0, 0).expect("a file");
        writer.scalar(2.0, 300, "loss", 0.5).expect("written");
        writer.flush().expect("flushed");
        let path = dir.path().join("events.out.tfevents.0000000001.marey.0");
        let bytes = std::fs::read(path).expect("the file");
        let first = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
        let second = &bytes[8 + 4 + first + 4..];
        let length = u64::from_le_bytes(second[..8].try_into().expect("8 bytes")) as usize;
        let data = &second[12..12 + length];
        let mut expect = vec![0x09];
        expect.extend(2.0f64.to_le_bytes());
        expect.extend([0x10, 0xac, 0x02, 0x2a, 13, 0x0a, 11, 0x0a, 4]);
        expect.extend(b"loss");
        expect.push(0x15);
        expect.extend(0.5f32.to_le_bytes());
        assert_eq!(data, expect);
        assert_eq!(second.len(), 12 + length + 4);
    }
}
