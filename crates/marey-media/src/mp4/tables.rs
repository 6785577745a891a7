//! Sample tables: where each sample of a track lies and when it is decoded and shown (ISO/IEC 14496-12 §8.6, §8.7).
//!
//! Tables are runs of counts, so a few bytes can claim billions of samples. The number of samples is therefore bounded
//! by what the tables themselves take up in the file, or by the file's length where all samples have one size.

use super::boxes::{find, full_box};
use crate::bytes::Cursor;

/// One coded picture of a track, in decoding order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// First byte in the file.
    pub(crate) offset: u64,
    /// Length in bytes.
    pub(crate) len: u32,
    /// When it is shown, in ticks of the track's clock; before edits.
    pub(crate) shown: i64,
    /// Ticks until the next sample is decoded.
    pub(crate) duration: u32,
}

/// The samples of a track.
#[derive(Clone, Debug, Default)]
pub(crate) struct SampleTable {
    pub(crate) samples: Vec<Sample>,
    /// Samples that the tables claim, whether or not the file has them.
    pub(crate) declared: u64,
}

/// Reads the tables of an `stbl` box.
///
/// # Errors
/// What is missing or contradicts itself.
pub(super) fn read_tables(stbl: &[u8], file_len: u64) -> Result<SampleTable, String> {
    let sizes = read_sizes(find(stbl, b"stsz"), find(stbl, b"stz2"), file_len)?;
    if sizes.len == 0 {
        return Ok(SampleTable::default());
    }
    let chunks = read_chunk_offsets(stbl)?;
    let runs = read_chunk_runs(stbl)?;
    let mut times = Times::read(stbl)?;
    let mut samples = Vec::new();
    let mut shown_from = 0i64;
    'chunks: for (chunk, &start) in chunks.iter().enumerate() {
        let mut offset = start;
        for _ in 0..samples_in_chunk(&runs, chunk) {
            let Some(len) = sizes.get(samples.len()) else {
                break 'chunks;
            };
            let (duration, shown_offset) = times.next();
            samples.push(Sample {
                offset,
                len,
                shown: shown_from.saturating_add(shown_offset),
                duration,
            });
            offset = offset.saturating_add(u64::from(len));
            shown_from = shown_from.saturating_add(i64::from(duration));
        }
    }
    Ok(SampleTable {
        samples,
        declared: sizes.declared,
    })
}

struct Sizes<'a> {
    /// 0 when each sample has its own size.
    common: u32,
    field_bits: u8,
    table: &'a [u8],
    /// Number of samples, bounded by what the file can hold.
    len: usize,
    declared: u64,
}

impl Sizes<'_> {
    fn get(&self, idx: usize) -> Option<u32> {
        if idx >= self.len {
            return None;
        }
        if self.common != 0 {
            return Some(self.common);
        }
        let byte = |at: usize| self.table.get(at).copied().map(u32::from);
        match self.field_bits {
            32 => Cursor::new(self.table.get(idx * 4..)?).be_u32(),
            16 => Some(byte(idx * 2)? << 8 | byte(idx * 2 + 1)?),
            8 => byte(idx),
            _ => byte(idx / 2).map(|pair| {
                if idx.is_multiple_of(2) {
                    pair >> 4
                } else {
                    pair & 15
                }
            }),
        }
    }
}

fn read_sizes<'a>(
    stsz: Option<&'a [u8]>,
    stz2: Option<&'a [u8]>,
    file_len: u64,
) -> Result<Sizes<'a>, String> {
    let parse = |content: &'a [u8], compact: bool| {
        let (_, _, mut cursor) = full_box(content)?;
        let head = cursor.be_u32()?;
        let declared = u64::from(cursor.be_u32()?);
        let (common, field_bits) = if compact { (0, head as u8) } else { (head, 32) };
        let table = cursor.rest();
        let possible = if common != 0 {
            file_len / u64::from(common)
        } else {
            (table.len() as u64).saturating_mul(8) / u64::from(field_bits.max(1))
        };
        Some(Sizes {
            common,
            field_bits,
            table,
            len: declared.min(possible) as usize,
            declared,
        })
    };
    match (stsz, stz2) {
        (Some(content), _) => parse(content, false),
        (None, Some(content)) => parse(content, true),
        (None, None) => return Err("the track has no sample size table (stsz)".into()),
    }
    .ok_or_else(|| "the sample size table (stsz) ends early".into())
}

fn read_chunk_offsets(stbl: &[u8]) -> Result<Vec<u64>, String> {
    let read = |content, wide: bool| {
        let (_, _, mut cursor) = full_box(content)?;
        let declared = cursor.be_u32()? as usize;
        let entries = declared.min(cursor.rest().len() / if wide { 8 } else { 4 });
        let mut next = || {
            if wide {
                cursor.be_u64()
            } else {
                cursor.be_u32().map(u64::from)
            }
        };
        (0..entries).map(|_| next()).collect::<Option<Vec<_>>>()
    };
    match (find(stbl, b"stco"), find(stbl, b"co64")) {
        (Some(content), _) => read(content, false),
        (None, Some(content)) => read(content, true),
        (None, None) => None,
    }
    .ok_or_else(|| "the track has no chunk offset table (stco, co64)".into())
}

/// Runs of chunks with the same number of samples: (first chunk, counted from 0; samples in each).
fn read_chunk_runs(stbl: &[u8]) -> Result<Vec<(usize, u32)>, String> {
    let missing = || "the track has no sample-to-chunk table (stsc)".to_owned();
    let (_, _, mut cursor) = find(stbl, b"stsc").and_then(full_box).ok_or_else(missing)?;
    let entries = cursor.be_u32().ok_or_else(missing)?;
    let mut runs = Vec::new();
    for _ in 0..entries {
        let (Some(first), Some(samples), Some(_)) =
            (cursor.be_u32(), cursor.be_u32(), cursor.be_u32())
        else {
            break;
        };
        let first = (first as usize)
            .checked_sub(1)
            .ok_or("the sample-to-chunk table (stsc) counts chunks from 0")?;
        if runs.last().is_some_and(|&(before, _)| before >= first) {
            return Err(format!(
                "the sample-to-chunk table (stsc) goes back to chunk {first}"
            ));
        }
        runs.push((first, samples));
    }
    Ok(runs)
}

fn samples_in_chunk(runs: &[(usize, u32)], chunk: usize) -> u32 {
    let after = runs.partition_point(|&(first, _)| first <= chunk);
    after.checked_sub(1).map_or(0, |run| runs[run].1)
}

/// Decode durations (`stts`) and composition offsets (`ctts`), sample by sample.
struct Times<'a> {
    durations: Runs<'a>,
    offsets: Option<Runs<'a>>,
}

impl<'a> Times<'a> {
    fn read(stbl: &'a [u8]) -> Result<Self, String> {
        let durations = find(stbl, b"stts")
            .and_then(Runs::read)
            .ok_or("the track has no decoding time table (stts)")?;
        Ok(Self {
            durations,
            offsets: find(stbl, b"ctts").and_then(Runs::read),
        })
    }

    /// Duration and composition offset of the next sample. A table that ends early repeats its last duration, as FFmpeg
    /// does.
    fn next(&mut self) -> (u32, i64) {
        let duration = self.durations.next() as u32;
        let offset = self
            .offsets
            .as_mut()
            .map_or(0, |runs| i64::from(runs.next()));
        (duration, offset)
    }
}

struct Runs<'a> {
    cursor: Cursor<'a>,
    left: u32,
    value: i32,
}

impl<'a> Runs<'a> {
    fn read(content: &'a [u8]) -> Option<Self> {
        let (_, _, mut cursor) = full_box(content)?;
        cursor.be_u32()?;
        Some(Self {
            cursor,
            left: 0,
            value: 0,
        })
    }

    fn next(&mut self) -> i32 {
        while self.left == 0 {
            let (Some(count), Some(value)) = (self.cursor.be_u32(), self.cursor.be_i32()) else {
                return self.value;
            };
            (self.left, self.value) = (count, value);
        }
        self.left -= 1;
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], words: &[u32]) -> Vec<u8> {
        let mut bytes = ((8 + 4 * words.len()) as u32).to_be_bytes().to_vec();
        bytes.extend(kind);
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        bytes
    }

    fn stbl(parts: &[(&[u8; 4], &[u32])]) -> Vec<u8> {
        parts
            .iter()
            .flat_map(|(kind, words)| boxed(kind, words))
            .collect()
    }

    #[test]
    fn samples_are_laid_out_chunk_by_chunk_and_shown_out_of_order() {
        let table = stbl(&[
            (b"stsz", &[0, 0, 3, 10, 20, 30]),
            (b"stco", &[0, 2, 100, 500]),
            (b"stsc", &[0, 2, 1, 2, 1, 2, 1, 1]),
            (b"stts", &[0, 1, 3, 40]),
            (b"ctts", &[0, 3, 1, 40, 1, 80, 1, 0]),
        ]);
        let found = read_tables(&table, 1000).expect("well formed");
        let seen: Vec<_> = found.samples.iter().map(|s| (s.offset, s.shown)).collect();
        assert_eq!(seen, [(100, 40), (110, 120), (500, 80)]);
    }

    #[test]
    fn a_claim_of_billions_of_samples_allocates_no_more_than_the_file_holds() {
        let all = u32::MAX;
        let table = stbl(&[
            (b"stsz", &[0, 7, all]),
            (b"stco", &[0, 1, 0]),
            (b"stsc", &[0, 1, 1, all, 1]),
            (b"stts", &[0, 1, all, 1]),
        ]);
        let found = read_tables(&table, 700).expect("well formed");
        assert_eq!((found.samples.len(), found.declared), (100, u64::from(all)));
    }

    #[test]
    fn what_is_missing_is_named() {
        let table = stbl(&[(b"stsz", &[0, 7, 1])]);
        let error = read_tables(&table, 700).expect_err("no chunk offsets");
        assert!(error.contains("stco"), "{error}");
    }
}
