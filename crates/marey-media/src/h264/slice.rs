//! Slice headers, as far as they tell pictures apart and put them in order (ITU-T H.264 §7.3.3, §7.4.1.2.4, §8.2.1).

use std::collections::BTreeMap;

use super::{
    bits::{Bits, unescape},
    params::{OrderCount, Pps, Sps},
};

/// NAL unit types that are looked at (table 7-1).
pub(super) mod nal_type {
    pub(crate) const SLICE: u8 = 1;
    pub(crate) const PARTITION_A: u8 = 2;
    pub(crate) const IDR: u8 = 5;
    pub(crate) const SEI: u8 = 6;
    pub(crate) const SPS: u8 = 7;
    pub(crate) const PPS: u8 = 8;
    pub(crate) const DELIMITER: u8 = 9;
}

/// The parameter sets seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct ParameterSets {
    sps: BTreeMap<u32, Sps>,
    pps: BTreeMap<u32, Pps>,
}

impl ParameterSets {
    /// Takes a NAL unit if it is a parameter set, and gives what it replaces: its type and number.
    pub(super) fn take(&mut self, nal: &[u8]) -> Option<(u8, u32)> {
        let kind = nal.first()? & 31;
        let id = match kind {
            nal_type::SPS => {
                let sps = Sps::parse(nal)?;
                let id = sps.id;
                self.sps.insert(id, sps);
                id
            }
            nal_type::PPS => {
                let pps = Pps::parse(nal)?;
                let id = pps.id;
                self.pps.insert(id, pps);
                id
            }
            _ => return None,
        };
        Some((kind, id))
    }

    pub(super) fn pps(&self, id: u32) -> Option<&Pps> {
        self.pps.get(&id)
    }

    pub(super) fn sps(&self, id: u32) -> Option<&Sps> {
        self.sps.get(&id)
    }
}

/// The start of a slice header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SliceHeader {
    pub(super) first_mb: u32,
    pub(super) pps_id: u32,
    pub(super) sps_id: u32,
    pub(super) idr: bool,
    pub(super) is_reference: bool,
    pub(super) frame_num: u32,
    pub(super) field: bool,
    /// Whether its blocks may be predicted from two pictures.
    pub(super) bidirectional: bool,
    idr_id: u32,
    order_lsb: u32,
    order_deltas: [i32; 2],
}

impl SliceHeader {
    /// Parses the header of a slice NAL unit; `None` when its parameter sets are unknown or it ends early.
    pub(super) fn parse(nal: &[u8], sets: &ParameterSets) -> Option<Self> {
        let head = *nal.first()?;
        let payload = unescape(&nal[1..], 64);
        let mut bits = Bits::new(&payload);
        let first_mb = bits.ue()?;
        let bidirectional = bits.ue()? % 5 == 1;
        let pps_id = bits.ue()?;
        let pps = sets.pps(pps_id)?;
        let sps = sets.sps(pps.sps_id)?;
        if sps.separate_planes {
            bits.bits(2)?;
        }
        let frame_num = bits.bits(sps.frame_num_bits)?;
        let field = !sps.frame_mbs_only && bits.bit()?;
        if field {
            bits.bit()?;
        }
        let idr = head & 31 == nal_type::IDR;
        let idr_id = if idr { bits.ue()? } else { 0 };
        let (mut order_lsb, mut order_deltas) = (0, [0; 2]);
        match sps.order {
            OrderCount::Lsb { bits: count } => {
                order_lsb = bits.bits(count)?;
                if pps.bottom_order && !field {
                    order_deltas[0] = bits.se()?;
                }
            }
            OrderCount::Cycle {
                always_zero: false, ..
            } => {
                order_deltas[0] = bits.se()?;
                if pps.bottom_order && !field {
                    order_deltas[1] = bits.se()?;
                }
            }
            _ => {}
        }
        Some(Self {
            first_mb,
            pps_id,
            sps_id: pps.sps_id,
            idr,
            is_reference: head >> 5 & 3 != 0,
            frame_num,
            field,
            bidirectional,
            idr_id,
            order_lsb,
            order_deltas,
        })
    }

    /// Whether this slice begins another picture than the one `before` belongs to (§7.4.1.2.4).
    pub(super) fn starts_picture(&self, before: &Self) -> bool {
        let same = self.frame_num == before.frame_num
            && self.pps_id == before.pps_id
            && self.field == before.field
            && self.is_reference == before.is_reference
            && self.idr == before.idr
            && self.idr_id == before.idr_id
            && self.order_lsb == before.order_lsb
            && self.order_deltas == before.order_deltas;
        !same || self.first_mb == 0
    }
}

/// Computes the order in which pictures are shown, picture by picture in decoding order (§8.2.1).
#[derive(Clone, Debug, Default)]
pub(super) struct OrderState {
    previous_msb: i64,
    previous_lsb: i64,
    previous_frame_num: u32,
    frame_num_offset: i64,
}

impl OrderState {
    /// The order count of a picture, counted anew from each IDR picture.
    pub(super) fn next(&mut self, slice: &SliceHeader, sps: &Sps) -> i64 {
        if slice.idr {
            *self = Self::default();
        } else if self.previous_frame_num > slice.frame_num {
            self.frame_num_offset += 1 << sps.frame_num_bits;
        }
        self.previous_frame_num = slice.frame_num;
        let absolute = self.frame_num_offset + i64::from(slice.frame_num);
        match &sps.order {
            OrderCount::Lsb { bits } => self.next_by_lsb(slice, *bits),
            OrderCount::Decoding => 2 * absolute - i64::from(!slice.is_reference),
            OrderCount::Cycle {
                non_ref_offset,
                offsets,
                ..
            } => from_cycle(slice, absolute, *non_ref_offset, offsets),
        }
    }

    fn next_by_lsb(&mut self, slice: &SliceHeader, bits: u32) -> i64 {
        let (lsb, max) = (i64::from(slice.order_lsb), 1i64 << bits);
        let mut msb = self.previous_msb;
        if lsb < self.previous_lsb && self.previous_lsb - lsb >= max / 2 {
            msb += max;
        } else if lsb > self.previous_lsb && lsb - self.previous_lsb > max / 2 {
            msb -= max;
        }
        if slice.is_reference {
            (self.previous_msb, self.previous_lsb) = (msb, lsb);
        }
        let top = msb + lsb;
        top.min(top + i64::from(slice.order_deltas[0]))
    }
}

fn from_cycle(slice: &SliceHeader, absolute: i64, non_ref_offset: i32, offsets: &[i32]) -> i64 {
    let mut number = if offsets.is_empty() { 0 } else { absolute };
    if !slice.is_reference && number > 0 {
        number -= 1;
    }
    let mut expected = 0;
    if number > 0 {
        let (cycles, within) = (
            (number - 1) / offsets.len() as i64,
            (number - 1) % offsets.len() as i64,
        );
        let sum = |offsets: &[i32]| offsets.iter().map(|&o| i64::from(o)).sum::<i64>();
        expected = cycles.saturating_mul(sum(offsets)) + sum(&offsets[..=within as usize]);
    }
    if !slice.is_reference {
        expected += i64::from(non_ref_offset);
    }
    let [top, bottom] = slice.order_deltas.map(i64::from);
    (expected + top).min(expected + top + bottom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(is_reference: bool, frame_num: u32, order_lsb: u32) -> SliceHeader {
        SliceHeader {
            first_mb: 0,
            pps_id: 0,
            sps_id: 0,
            idr: frame_num == 0 && order_lsb == 0,
            is_reference,
            frame_num,
            field: false,
            bidirectional: false,
            idr_id: 0,
            order_lsb,
            order_deltas: [0; 2],
        }
    }

    fn sps(order: OrderCount) -> Sps {
        let nal = [0x67, 66, 0, 30, 0b1101_1101, 0b1110_0100];
        let mut sps = Sps::parse(&nal).expect("a 16x16 baseline set");
        sps.order = order;
        sps
    }

    fn check(order: OrderCount, pictures: &[(bool, u32, u32)], expect: &[i64]) {
        let sps = sps(order);
        let mut state = OrderState::default();
        let found: Vec<_> = pictures
            .iter()
            .map(|&(is_ref, frame_num, lsb)| state.next(&slice(is_ref, frame_num, lsb), &sps))
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn order_counts_wrap_and_run_backward() {
        // I P b b P b with 4 bits: 14 wraps to 2 (18), and the b-picture 0 in between is 16.
        let pictures = [
            (true, 0, 0),
            (true, 1, 6),
            (false, 2, 2),
            (true, 2, 12),
            (true, 3, 2),
            (false, 4, 0),
        ];
        check(
            OrderCount::Lsb { bits: 4 },
            &pictures,
            &[0, 6, 2, 12, 18, 16],
        );
        check(
            OrderCount::Decoding,
            &[
                (true, 0, 0),
                (true, 1, 0),
                (false, 2, 0),
                (true, 15, 0),
                (true, 1, 0),
            ],
            &[0, 2, 3, 30, 34],
        );
        let cycle = OrderCount::Cycle {
            always_zero: true,
            non_ref_offset: -2,
            offsets: vec![4],
        };
        check(
            cycle,
            &[(true, 0, 0), (true, 1, 1), (false, 2, 1), (true, 2, 1)],
            &[0, 4, 2, 8],
        );
    }
}
