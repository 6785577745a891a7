//! Edit lists: which part of a track is shown, and when (ISO/IEC 14496-12 §8.6.5, §8.6.6).

use super::boxes::{find_path, full_box};

/// A stretch of a track that is shown. All times in ticks of the track's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edit {
    /// First media time that is shown.
    media_start: i64,
    /// Where the stretch ends; `None` when it runs to the end of the track.
    media_end: Option<i64>,
    /// When its start is shown.
    shown_at: i64,
}

/// Where each instant of a track's own clock falls in what is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Edits(Vec<Edit>);

impl Edits {
    /// Reads the `edts` box of a `trak`; a track without one is shown whole.
    pub(super) fn read(trak: &[u8], movie_scale: u32, track_scale: u32) -> Self {
        find_path(trak, &[b"edts", b"elst"])
            .and_then(|elst| parse(elst, movie_scale, track_scale))
            .unwrap_or_default()
    }

    /// The instants at which a picture of the track is shown; usually one, none when it is edited away.
    pub(super) fn shown(&self, media: i64) -> impl Iterator<Item = i64> + '_ {
        let whole = self.0.is_empty().then_some(media);
        let edited = self.0.iter().filter_map(move |edit| {
            let inside = edit.media_start <= media && edit.media_end.is_none_or(|end| media < end);
            inside.then(|| {
                media
                    .saturating_sub(edit.media_start)
                    .saturating_add(edit.shown_at)
            })
        });
        whole.into_iter().chain(edited)
    }
}

fn parse(elst: &[u8], movie_scale: u32, track_scale: u32) -> Option<Edits> {
    let (version, _, mut cursor) = full_box(elst)?;
    let entries = cursor.be_u32()?;
    let mut edits = Vec::new();
    let mut shown_at = 0i64;
    for idx in 0..entries {
        let (duration, media_start) = if version == 1 {
            (cursor.be_u64()?, cursor.be_i64()?)
        } else {
            (u64::from(cursor.be_u32()?), i64::from(cursor.be_i32()?))
        };
        cursor.be_u32()?;
        let duration = rescale(duration, movie_scale, track_scale)?;
        if media_start >= 0 {
            let to_the_end = duration == 0 && idx + 1 == entries;
            edits.push(Edit {
                media_start,
                media_end: (!to_the_end).then(|| media_start.saturating_add(duration)),
                shown_at,
            });
        }
        // An entry with media time -1 shows nothing for its duration.
        shown_at = shown_at.saturating_add(duration);
    }
    Some(Edits(edits))
}

/// Movie ticks as track ticks, rounded to the nearest.
fn rescale(ticks: u64, from: u32, to: u32) -> Option<i64> {
    let from = u128::from(from);
    let scaled = (u128::from(ticks) * u128::from(to) + from / 2).checked_div(from)?;
    i64::try_from(scaled).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(entries: &[(u32, i32)]) -> Edits {
        let mut elst = vec![0; 4];
        elst.extend((entries.len() as u32).to_be_bytes());
        for (duration, media_time) in entries {
            elst.extend(duration.to_be_bytes());
            elst.extend(media_time.to_be_bytes());
            elst.extend(0x0001_0000u32.to_be_bytes());
        }
        parse(&elst, 1000, 90_000).expect("well formed")
    }

    fn check(entries: &[(u32, i32)], media: i64, shown: &[i64]) {
        let found: Vec<_> = edits(entries).shown(media).collect();
        assert_eq!(found, shown, "{entries:?} at {media}");
    }

    #[test]
    fn edits_shift_cut_and_repeat() {
        check(&[], 7, &[7]);
        // The usual one: B-pictures delay the first picture by two frames, the edit takes that back.
        check(&[(1000, 7200)], 7200, &[0]);
        check(&[(1000, 7200)], 3600, &[]);
        check(&[(1000, 7200)], 97_200, &[]);
        // A pause of 0.5 s before the first picture.
        check(&[(500, -1), (1000, 0)], 0, &[45_000]);
        // The same stretch twice.
        check(&[(10, 0), (10, 0)], 450, &[450, 1350]);
        // No duration: to the end.
        check(&[(0, 900)], 1_000_000, &[999_100]);
    }
}
