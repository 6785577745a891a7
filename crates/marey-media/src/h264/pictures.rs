//! The coded pictures of a stream in decoding order, found by walking its NAL units without decoding any.

use std::ops::Range;

use super::{
    params::Sps,
    slice::{OrderState, ParameterSets, SliceHeader, nal_type},
};

/// One coded picture (the slices of one frame).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// Its NAL units, as byte ranges of the file.
    pub(super) bytes: Range<usize>,
    /// Whether decoding can start here.
    pub(super) idr: bool,
    /// Whether every other picture decodes the same without it: no other is predicted from it (`nal_ref_idc` = 0), and
    /// it brings no parameter set.
    pub(super) skippable: bool,
    /// Whether there is a picture at all; a container may hold samples of messages alone.
    pub(super) has_slices: bool,
    /// What is wrong with it, if that shows without decoding.
    pub(super) damage: Option<&'static str>,
}

/// A parameter set of a stream.
#[derive(Clone, Debug)]
pub(super) struct SetUnit {
    /// The picture it comes before.
    pub(super) before: usize,
    /// NAL unit type and number; a later set with the same key replaces it.
    key: (u8, u32),
    pub(super) nal: Vec<u8>,
}

/// The pictures of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Pictures {
    pub(super) list: Vec<Picture>,
    pub(super) sets: ParameterSets,
    /// Parameter sets in the order they came.
    pub(super) set_units: Vec<SetUnit>,
    /// The SPS of the first picture.
    pub(super) first_sps: Option<Sps>,
    /// A coding tool of some picture that the decoder lacks.
    pub(super) lacking: Option<&'static str>,
}

impl Pictures {
    /// Takes a parameter set; whether it changes anything.
    fn take_set(&mut self, nal: &[u8]) -> bool {
        let Some(key) = self.sets.take(nal) else {
            return false;
        };
        // Streams repeat their sets before each IDR picture; only a change matters.
        let before = self.set_units.iter().rfind(|unit| unit.key == key);
        let changes = before.is_none_or(|unit| unit.nal != nal);
        if changes {
            self.set_units.push(SetUnit {
                before: self.list.len(),
                key,
                nal: nal.to_vec(),
            });
        }
        changes
    }

    fn note_slice(&mut self, header: &SliceHeader) {
        if self.first_sps.is_none() {
            self.first_sps = self.sets.sps(header.sps_id).cloned();
        }
        let Some(pps) = self.sets.pps(header.pps_id) else {
            return;
        };
        if header.field {
            self.lacking = Some("interlaced H.264");
        } else if pps.slice_groups > 1 {
            self.lacking = Some("H.264 with slice groups");
        } else if header.bidirectional && pps.weighted_bipred == 1 {
            self.lacking = Some("H.264 with explicit bidirectional weights");
        }
    }

    /// Walks samples of an MP4, each one picture of NAL units with a length in front.
    ///
    /// The result has one picture a sample, so that positions agree with the container's.
    pub(super) fn from_samples(
        file: &[u8],
        samples: impl Iterator<Item = Range<usize>>,
        nal_length: usize,
        parameter_sets: &[Vec<u8>],
    ) -> Self {
        let mut pictures = Self::default();
        for set in parameter_sets {
            pictures.take_set(set);
        }
        for bytes in samples {
            let picture = pictures.walk_sample(file, bytes, nal_length);
            pictures.list.push(picture);
        }
        pictures
    }

    fn walk_sample(&mut self, file: &[u8], bytes: Range<usize>, nal_length: usize) -> Picture {
        let mut picture = Picture {
            bytes: bytes.clone(),
            idr: false,
            skippable: true,
            has_slices: false,
            damage: None,
        };
        for unit in LengthPrefixed::new(&file[bytes], nal_length) {
            let Ok(nal) = unit else {
                picture.damage = Some("a NAL unit is longer than what is left of the sample");
                break;
            };
            match nal[0] & 31 {
                nal_type::SLICE | nal_type::PARTITION_A | nal_type::IDR => {
                    picture.idr |= nal[0] & 31 == nal_type::IDR;
                    picture.skippable &= nal[0] >> 5 & 3 == 0;
                    if !picture.has_slices
                        && let Some(header) = SliceHeader::parse(nal, &self.sets)
                    {
                        self.note_slice(&header);
                    }
                    picture.has_slices = true;
                }
                nal_type::SPS | nal_type::PPS => picture.skippable &= !self.take_set(nal),
                _ => {}
            }
        }
        picture
    }

    /// Walks a raw stream of NAL units with start codes (annex B); also gives each picture's order count, which starts
    /// anew at each IDR picture.
    pub(super) fn from_annex_b(file: &[u8]) -> (Self, Vec<i64>) {
        let mut walk = AnnexBWalk::default();
        for unit in StartCodes::new(file) {
            let nal = &file[unit.clone()];
            match nal[0] & 31 {
                nal_type::SLICE | nal_type::PARTITION_A | nal_type::IDR => walk.slice(nal, &unit),
                nal_type::SPS | nal_type::PPS => {
                    walk.front.get_or_insert(unit.start.saturating_sub(3));
                    walk.set_changed |= walk.pictures.take_set(nal);
                }
                nal_type::SEI | nal_type::DELIMITER => {
                    walk.front.get_or_insert(unit.start.saturating_sub(3));
                }
                _ => {}
            }
        }
        (walk.pictures, walk.orders)
    }
}

/// The state of walking a raw stream.
#[derive(Default)]
struct AnnexBWalk {
    pictures: Pictures,
    orders: Vec<i64>,
    order: OrderState,
    before: Option<SliceHeader>,
    /// Where the parameter sets and messages in front of the next picture start.
    front: Option<usize>,
    set_changed: bool,
}

impl AnnexBWalk {
    fn slice(&mut self, nal: &[u8], unit: &Range<usize>) {
        let header = SliceHeader::parse(nal, &self.pictures.sets);
        let begins = match (&header, &self.before) {
            (Some(header), Some(before)) => header.starts_picture(before),
            // A slice that cannot be read stands for a picture that cannot.
            _ => true,
        };
        if begins {
            let start = self.front.unwrap_or(unit.start.saturating_sub(3));
            self.begin_picture(nal, start..unit.end, header.as_ref());
        } else if let Some(picture) = self.pictures.list.last_mut() {
            picture.bytes.end = unit.end;
            picture.skippable &= nal[0] >> 5 & 3 == 0;
        }
        self.before = header.or(self.before.take());
        (self.front, self.set_changed) = (None, false);
    }

    fn begin_picture(&mut self, nal: &[u8], bytes: Range<usize>, header: Option<&SliceHeader>) {
        let sps = header.and_then(|header| self.pictures.sets.sps(header.sps_id));
        self.orders.push(match (header, sps) {
            (Some(header), Some(sps)) => self.order.next(header, sps),
            _ => self.orders.last().map_or(0, |last| last + 1),
        });
        if let Some(header) = header {
            self.pictures.note_slice(header);
        }
        self.pictures.list.push(Picture {
            bytes,
            idr: nal[0] & 31 == nal_type::IDR,
            skippable: nal[0] >> 5 & 3 == 0 && !self.set_changed,
            has_slices: true,
            damage: header
                .is_none()
                .then_some("its slice header cannot be read"),
        });
    }
}

/// NAL units with their length in front, as in MP4.
pub(super) struct LengthPrefixed<'a> {
    rest: &'a [u8],
    nal_length: usize,
}

impl<'a> LengthPrefixed<'a> {
    pub(super) const fn new(sample: &'a [u8], nal_length: usize) -> Self {
        Self {
            rest: sample,
            nal_length,
        }
    }
}

impl<'a> Iterator for LengthPrefixed<'a> {
    /// A NAL unit of at least one byte, or that the lengths do not add up.
    type Item = Result<&'a [u8], ()>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            // Fewer bytes than a length field are padding.
            let (head, tail) = self.rest.split_at_checked(self.nal_length)?;
            let len = head
                .iter()
                .fold(0usize, |len, &byte| len << 8 | usize::from(byte));
            let Some((nal, rest)) = tail.split_at_checked(len) else {
                self.rest = &[];
                return Some(Err(()));
            };
            self.rest = rest;
            if !nal.is_empty() {
                return Some(Ok(nal));
            }
        }
    }
}

/// NAL units between start codes, as byte ranges.
pub(super) struct StartCodes<'a> {
    bytes: &'a [u8],
    /// Just after the last start code.
    pos: Option<usize>,
}

impl<'a> StartCodes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let pos = find_start_code(bytes, 0).map(|at| at + 3);
        Self { bytes, pos }
    }
}

impl Iterator for StartCodes<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        loop {
            let start = self.pos?;
            let next = find_start_code(self.bytes, start);
            self.pos = next.map(|at| at + 3);
            let mut end = next.unwrap_or(self.bytes.len());
            // Zeros before a start code belong to it.
            while end > start && self.bytes[end - 1] == 0 {
                end -= 1;
            }
            if end > start {
                return Some(start..end);
            }
        }
    }
}

/// Position of the next 00 00 01 at or after `from`.
fn find_start_code(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        // The third byte of a start code is 1 or part of one; steps of three skip most bytes.
        match *bytes.get(at + 2)? {
            1 if bytes[at] == 0 && bytes[at + 1] == 0 => return Some(at),
            0 => at += 1,
            _ => at += 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn start_codes_of_three_and_four_bytes() {
        let bytes = [
            9, 0, 0, 1, 0x67, 5, 0, 0, 0, 1, 0x68, 0, 0, 1, 0, 0, 1, 0x65,
        ];
        let units: Vec<_> = StartCodes::new(&bytes).collect();
        assert_eq!(units, [4..6, 10..11, 17..18]);
    }

    #[test]
    fn a_length_that_does_not_fit_ends_the_sample() {
        let sample = [0, 2, 0x65, 1, 0, 0, 0, 9, 1];
        let units: Vec<_> = LengthPrefixed::new(&sample, 2).collect();
        assert_eq!(units, [Ok(&[0x65, 1][..]), Err(())]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_to_the_end(bytes in prop::collection::vec(0u8..4, 0..300)) {
            for unit in StartCodes::new(&bytes) {
                prop_assert!(!bytes[unit].is_empty());
            }
            let (pictures, orders) = Pictures::from_annex_b(&bytes);
            prop_assert_eq!(pictures.list.len(), orders.len());
        }

        #[test]
        fn the_search_in_steps_finds_what_a_plain_search_finds(
            bytes in prop::collection::vec(0u8..3, 0..100),
        ) {
            let plain = bytes.windows(3).position(|w| w == [0, 0, 1]);
            prop_assert_eq!(find_start_code(&bytes, 0), plain);
        }
    }
}
