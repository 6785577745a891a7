//! Movie fragments (ISO/IEC 14496-12 §8.8): samples announced piece by piece, as streaming servers and recorders write.

use super::{
    boxes::{boxes, find, full_box},
    tables::Sample,
};

/// Samples that a track gets unless a fragment says otherwise (`trex`).
#[derive(Clone, Copy, Debug, Default)]
struct Defaults {
    duration: u32,
    len: u32,
}

const BASE_DATA_OFFSET: u32 = 0x1;
const DESCRIPTION_INDEX: u32 = 0x2;
const DEFAULT_DURATION: u32 = 0x8;
const DEFAULT_SIZE: u32 = 0x10;
const DATA_OFFSET: u32 = 0x1;
const FIRST_FLAGS: u32 = 0x4;
const SAMPLE_DURATION: u32 = 0x100;
const SAMPLE_SIZE: u32 = 0x200;
const SAMPLE_FLAGS: u32 = 0x400;
const SAMPLE_OFFSET: u32 = 0x800;

/// Appends the samples that the fragments of `file` hold for `track_id`.
pub(super) fn read_fragments(
    file: &[u8],
    moov: &[u8],
    track_id: u32,
    samples: &mut Vec<Sample>,
) -> Result<(), String> {
    let defaults = find(moov, b"mvex").map_or_else(Defaults::default, |mvex| {
        boxes(mvex)
            .filter(|b| &b.kind == b"trex")
            .find_map(|b| track_defaults(b.content, track_id))
            .unwrap_or_default()
    });
    let mut next_shown = samples
        .last()
        .map_or(0, |s| s.shown + i64::from(s.duration));
    for moof in boxes(file).filter(|b| &b.kind == b"moof") {
        for traf in boxes(moof.content).filter(|b| &b.kind == b"traf") {
            let at = moof.offset;
            read_track_fragment(
                traf.content,
                at,
                track_id,
                defaults,
                samples,
                &mut next_shown,
            )
            .ok_or_else(|| format!("the fragment at byte {at} ends early"))?;
        }
    }
    Ok(())
}

fn track_defaults(trex: &[u8], track_id: u32) -> Option<Defaults> {
    let (_, _, mut cursor) = full_box(trex)?;
    if cursor.be_u32()? != track_id {
        return None;
    }
    cursor.be_u32()?;
    Some(Defaults {
        duration: cursor.be_u32()?,
        len: cursor.be_u32()?,
    })
}

/// `None` when a box ends early. A fragment of another track is left alone.
fn read_track_fragment(
    traf: &[u8],
    moof_offset: usize,
    track_id: u32,
    mut defaults: Defaults,
    samples: &mut Vec<Sample>,
    next_shown: &mut i64,
) -> Option<()> {
    let (_, flags, mut header) = full_box(find(traf, b"tfhd")?)?;
    if header.be_u32()? != track_id {
        return Some(());
    }
    let mut data = moof_offset as u64;
    if flags & BASE_DATA_OFFSET != 0 {
        data = header.be_u64()?;
    }
    if flags & DESCRIPTION_INDEX != 0 {
        header.be_u32()?;
    }
    if flags & DEFAULT_DURATION != 0 {
        defaults.duration = header.be_u32()?;
    }
    if flags & DEFAULT_SIZE != 0 {
        defaults.len = header.be_u32()?;
    }
    if let Some((version, _, mut cursor)) = find(traf, b"tfdt").and_then(full_box) {
        *next_shown = if version == 1 {
            cursor.be_i64()?
        } else {
            i64::from(cursor.be_u32()?)
        };
    }
    let base = data;
    for run in boxes(traf).filter(|b| &b.kind == b"trun") {
        data = read_run(run.content, base, data, defaults, samples, next_shown)?;
    }
    Some(())
}

/// Reads one `trun` and returns where its data ends.
fn read_run(
    trun: &[u8],
    base: u64,
    follow_on: u64,
    defaults: Defaults,
    samples: &mut Vec<Sample>,
    next_shown: &mut i64,
) -> Option<u64> {
    let (_, flags, mut cursor) = full_box(trun)?;
    let declared = cursor.be_u32()?;
    let mut data = follow_on;
    if flags & DATA_OFFSET != 0 {
        data = base.saturating_add_signed(i64::from(cursor.be_i32()?));
    }
    if flags & FIRST_FLAGS != 0 {
        cursor.be_u32()?;
    }
    let fields = flags & (SAMPLE_DURATION | SAMPLE_SIZE | SAMPLE_FLAGS | SAMPLE_OFFSET);
    if fields == 0 && (defaults.len == 0 || declared > 1 << 20) {
        // Without a field the run could claim any number of samples from nothing.
        return Some(data);
    }
    for _ in 0..declared {
        let mut sample = Sample {
            offset: data,
            len: defaults.len,
            shown: *next_shown,
            duration: defaults.duration,
        };
        if flags & SAMPLE_DURATION != 0 {
            sample.duration = cursor.be_u32()?;
        }
        if flags & SAMPLE_SIZE != 0 {
            sample.len = cursor.be_u32()?;
        }
        if flags & SAMPLE_FLAGS != 0 {
            cursor.be_u32()?;
        }
        if flags & SAMPLE_OFFSET != 0 {
            sample.shown = sample.shown.saturating_add(i64::from(cursor.be_i32()?));
        }
        data = data.saturating_add(u64::from(sample.len));
        *next_shown = next_shown.saturating_add(i64::from(sample.duration));
        samples.push(sample);
    }
    Some(data)
}
