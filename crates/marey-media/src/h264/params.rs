//! Sequence and picture parameter sets: what a stream's pictures are like (ITU-T H.264 §7.3.2.1, §7.3.2.2, annex E).

use marey_clip::{Rational, Size};

use super::bits::{Bits, unescape};
use crate::yuv::{Matrix, Range};

/// Bytes of a parameter set that are looked at; real ones are shorter.
const LIMIT: usize = 4096;

/// Order in which pictures are shown, as coded in slice headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OrderCount {
    /// Sent in each slice, modulo 2 to the power of this.
    Lsb { bits: u32 },
    /// From the frame number and a cycle of expected differences.
    Cycle {
        always_zero: bool,
        non_ref_offset: i32,
        offsets: Vec<i32>,
    },
    /// Decoding order.
    Decoding,
}

/// A sequence parameter set, as far as it is needed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sps {
    pub(super) id: u32,
    pub(super) profile_idc: u8,
    /// 0 grey, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub(super) chroma_format: u32,
    pub(super) separate_planes: bool,
    pub(super) bit_depth: u8,
    pub(super) frame_num_bits: u32,
    pub(super) order: OrderCount,
    pub(super) frame_mbs_only: bool,
    pub(super) mbaff: bool,
    /// Size of what is coded, a multiple of 16.
    pub(super) coded: Size,
    /// Pixels cut off: left, right, top, bottom.
    pub(super) crop: [usize; 4],
    /// `None` where the stream does not say.
    pub(super) matrix: Option<Matrix>,
    /// `None` where the stream does not say.
    pub(super) range: Option<Range>,
    /// Frames per second, where the stream has a clock.
    pub(super) frame_rate: Option<Rational>,
}

impl Sps {
    /// Size of what is shown.
    pub(super) fn size(&self) -> Size {
        let [left, right, top, bottom] = self.crop;
        Size {
            height: self.coded.height - top - bottom,
            width: self.coded.width - left - right,
        }
    }

    /// Parses an SPS NAL unit; `None` when it ends early or cannot be.
    pub(super) fn parse(nal: &[u8]) -> Option<Self> {
        let payload = unescape(nal.get(1..)?, LIMIT);
        let mut bits = Bits::new(&payload);
        let profile_idc = bits.bits(8)? as u8;
        bits.bits(16)?;
        let id = bits.ue()?;
        let (mut chroma_format, mut separate_planes, mut bit_depth) = (1, false, 8);
        if matches!(
            profile_idc,
            44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244
        ) {
            chroma_format = bits.ue()?;
            separate_planes = chroma_format == 3 && bits.bit()?;
            bit_depth = u8::try_from(bits.ue()?.max(bits.ue()?))
                .ok()?
                .checked_add(8)?;
            bits.bit()?;
            if bits.bit()? {
                skip_scaling_lists(&mut bits, if chroma_format == 3 { 12 } else { 8 })?;
            }
        }
        let frame_num_bits = bits.ue()?.checked_add(4).filter(|&n| n <= 16)?;
        let order = parse_order(&mut bits)?;
        bits.ue()?;
        bits.bit()?;
        let width_mbs = bits.ue()?.checked_add(1)?;
        let height_units = bits.ue()?.checked_add(1)?;
        let frame_mbs_only = bits.bit()?;
        let mbaff = !frame_mbs_only && bits.bit()?;
        bits.bit()?;
        let field_factor = if frame_mbs_only { 1 } else { 2 };
        let coded = Size {
            height: (height_units as usize).checked_mul(16 * field_factor)?,
            width: (width_mbs as usize).checked_mul(16)?,
        };
        // Level 6.2 allows 139,264 macroblocks; a hostile set allows four billion squared.
        if coded.height.checked_mul(coded.width)? > 139_264 * 256 {
            return None;
        }
        let crop_unit = [
            if matches!(chroma_format, 1 | 2) { 2 } else { 1 },
            if chroma_format == 1 { 2 } else { 1 } * field_factor,
        ];
        let crop = parse_crop(&mut bits, crop_unit, coded)?;
        // Usage information comes last and is often wrong or cut; without it the defaults hold.
        let usage = parse_usage(&mut bits).unwrap_or_default();
        Some(Self {
            id,
            profile_idc,
            chroma_format,
            separate_planes,
            bit_depth,
            frame_num_bits,
            order,
            frame_mbs_only,
            mbaff,
            coded,
            crop,
            matrix: usage.matrix,
            range: usage.range,
            frame_rate: usage.frame_rate,
        })
    }
}

fn skip_scaling_lists(bits: &mut Bits<'_>, lists: usize) -> Option<()> {
    for list in 0..lists {
        if !bits.bit()? {
            continue;
        }
        let (mut last, mut next) = (8i32, 8i32);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.se()?).rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
    }
    Some(())
}

fn parse_order(bits: &mut Bits<'_>) -> Option<OrderCount> {
    match bits.ue()? {
        0 => {
            let bits = bits.ue()?.checked_add(4).filter(|&n| n <= 16)?;
            Some(OrderCount::Lsb { bits })
        }
        1 => {
            let always_zero = bits.bit()?;
            let non_ref_offset = bits.se()?;
            bits.se()?;
            let count = bits.ue()?.min(256);
            let offsets = (0..count).map(|_| bits.se()).collect::<Option<_>>()?;
            Some(OrderCount::Cycle {
                always_zero,
                non_ref_offset,
                offsets,
            })
        }
        2 => Some(OrderCount::Decoding),
        _ => None,
    }
}

fn parse_crop(bits: &mut Bits<'_>, unit: [usize; 2], coded: Size) -> Option<[usize; 4]> {
    let mut crop = [0; 4];
    if bits.bit()? {
        for (side, pixels) in crop.iter_mut().enumerate() {
            *pixels = (bits.ue()? as usize).checked_mul(unit[side / 2])?;
        }
    }
    let [left, right, top, bottom] = crop;
    let fits = left.checked_add(right)? < coded.width && top.checked_add(bottom)? < coded.height;
    fits.then_some(crop)
}

/// The parts of the video usability information that matter here.
#[derive(Default)]
struct Usage {
    matrix: Option<Matrix>,
    range: Option<Range>,
    frame_rate: Option<Rational>,
}

fn parse_usage(bits: &mut Bits<'_>) -> Option<Usage> {
    let mut usage = Usage::default();
    if !bits.bit()? {
        return Some(usage);
    }
    // Aspect ratio, overscan, signal type, chroma location, timing: each is preceded by a flag.
    if bits.bit()? && bits.bits(8)? == 255 {
        bits.bits(32)?;
    }
    if bits.bit()? {
        bits.bit()?;
    }
    if bits.bit()? {
        bits.bits(3)?;
        usage.range = Some(Range::from_flag(bits.bit()?));
        if bits.bit()? {
            bits.bits(16)?;
            usage.matrix = Some(Matrix::from_code(bits.bits(8)? as u8));
        }
    }
    if bits.bit()? {
        bits.ue()?;
        bits.ue()?;
    }
    if bits.bit()? {
        let (tick, scale) = (bits.bits(32)?, bits.bits(32)?);
        // A tick is a field's duration.
        usage.frame_rate = tick.checked_mul(2).and_then(|den| reduced(scale, den));
    }
    Some(usage)
}

fn reduced(num: u32, den: u32) -> Option<Rational> {
    let (mut a, mut b) = (num, den);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    Rational::new(num.checked_div(a)?, den / a)
}

/// A picture parameter set, as far as it is needed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pps {
    pub(super) id: u32,
    pub(super) sps_id: u32,
    /// Whether slice headers carry the order count of the bottom field too.
    pub(super) bottom_order: bool,
    pub(super) slice_groups: u32,
    /// 0 none, 1 explicit, 2 implicit weights of bidirectional prediction.
    pub(super) weighted_bipred: u32,
}

impl Pps {
    /// Parses a PPS NAL unit; `None` when it ends early.
    pub(super) fn parse(nal: &[u8]) -> Option<Self> {
        let payload = unescape(nal.get(1..)?, LIMIT);
        let mut bits = Bits::new(&payload);
        let id = bits.ue()?;
        let sps_id = bits.ue()?;
        bits.bit()?;
        let bottom_order = bits.bit()?;
        let slice_groups = bits.ue()?.checked_add(1)?;
        let mut weighted_bipred = 0;
        if slice_groups == 1 {
            bits.ue()?;
            bits.ue()?;
            bits.bit()?;
            weighted_bipred = bits.bits(2)?;
        }
        Some(Self {
            id,
            sps_id,
            bottom_order,
            slice_groups,
            weighted_bipred,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_of_a_phone_recording() {
        // x264, 322x242, High, bt709, 30 fps.
        let sps = [
            0x67, 0x64, 0x00, 0x0d, 0xac, 0xd9, 0x41, 0x51, 0xfa, 0x10, 0x00, 0x00, 0x03, 0x00,
            0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x42, 0x99, 0x60,
        ];
        let sps = Sps::parse(&sps).expect("well formed");
        assert_eq!(sps.profile_idc, 100);
        assert_eq!(sps.coded.width % 16, 0);
        assert_eq!(Rational::new(30, 1), sps.frame_rate);
    }

    #[test]
    fn a_size_that_no_level_allows_is_refused() {
        // Baseline with pic_width_in_mbs_minus1 = pic_height_in_map_units_minus1 = 65535.
        let mut set = vec![0x67, 66, 0, 30];
        let mut text = String::from("1");
        text += "1"; // frame_num bits
        text += "011"; // order count type 2
        text += "1"; // reference frames
        text += "0";
        let huge = "0000000000000000".to_owned() + "1" + "0000000000000000";
        text = text + &huge + &huge + "1100000000";
        let bytes = text.as_bytes().chunks(8).map(|chunk| {
            chunk
                .iter()
                .enumerate()
                .fold(0, |byte, (i, &c)| byte | (c - b'0') << (7 - i))
        });
        set.extend(bytes);
        assert_eq!(Sps::parse(&set), None);
    }

    #[test]
    fn a_cut_set_is_none() {
        for len in 0..6 {
            assert_eq!(Sps::parse(&[0x67, 0x64, 0, 0x0d, 0xac, 0xd9][..len]), None);
        }
        assert_eq!(Pps::parse(&[0x68]), None);
    }
}
