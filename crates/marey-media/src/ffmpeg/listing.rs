//! What FFmpeg says of a video stream, whichever way it is asked.

use marey_clip::{Rational, Size};

/// A stream's description.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) container: String,
    pub(super) codec: String,
    /// As coded, before rotation; zero where FFmpeg does not know it.
    pub(super) size: Option<Size>,
    pub(super) rotation_deg: u16,
    pub(super) bit_depth: u8,
    /// Frames per second that FFmpeg guesses.
    pub(super) rate: Option<Rational>,
    /// Seconds of a tick.
    pub(super) tick: Option<Rational>,
    pub(super) declared: Option<u64>,
}

/// A stream's frames in display order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Listing {
    /// Timestamp (where there is one) and duration of each frame, in ticks.
    pub(super) frames: Vec<(Option<i64>, i64)>,
    /// What FFmpeg complained of.
    pub(super) complaints: Vec<String>,
}

impl Listing {
    /// Whether every frame has its time.
    pub(super) fn stamped(&self) -> bool {
        self.frames.iter().all(|(at, _)| at.is_some())
    }

    /// Whether a list of packets can stand for the frames that will be decoded.
    pub(super) fn is_trustworthy(&self) -> bool {
        self.stamped() && self.complaints.is_empty()
    }

    /// Timestamps in ticks, the end, and a tick's length; a constant rate where frames carry no time.
    pub(super) fn ticks(&self, facts: &Facts) -> (Vec<i64>, i64, Rational) {
        let known: Option<Vec<i64>> = self.frames.iter().map(|&(at, _)| at).collect();
        if let (Some(ticks), Some(tick)) = (known, facts.tick) {
            let end = self
                .frames
                .last()
                .and_then(|&(at, duration)| at?.checked_add(duration));
            return (ticks, end.unwrap_or(0), tick);
        }
        let rate = facts
            .rate
            .unwrap_or(Rational::new(25, 1).expect("positive"));
        let tick = Rational::new(rate.den(), rate.num()).expect("a rate has two positive terms");
        let count = self.frames.len() as i64;
        ((0..count).collect(), count, tick)
    }

    /// What a careful person should know.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.stamped() {
            warnings.push("frames carry no time: a constant rate is assumed".to_owned());
        }
        if let Some(first) = self.complaints.first() {
            warnings.push(format!(
                "FFmpeg complains {} times, first: {first}",
                self.complaints.len()
            ));
        }
        warnings
    }
}

/// Bits a value of a pixel format's name: `yuv420p10le` has 10.
pub(super) fn bit_depth(pixel_format: &str) -> u8 {
    let name = pixel_format.trim_end_matches("le").trim_end_matches("be");
    let digits = name
        .rsplit(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap_or("");
    match digits.parse() {
        // `nv12` and `nv16` count something else.
        Ok(bits @ (9 | 10 | 12 | 14 | 16)) if !name.starts_with("nv") => bits,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_is_in_the_name_of_the_pixel_format() {
        for (name, bits) in [
            ("yuv420p", 8),
            ("yuv420p10le", 10),
            ("gray16be", 16),
            ("rgb24", 8),
            ("p010le", 10),
            ("nv12", 8),
            ("", 8),
        ] {
            assert_eq!(bit_depth(name), bits, "{name}");
        }
    }

    #[test]
    fn frames_without_a_time_get_a_constant_rate() {
        let facts = Facts {
            rate: Rational::new(30, 1),
            tick: Rational::new(1, 1_200_000),
            ..Facts::default()
        };
        let mut listing = Listing {
            frames: vec![(Some(5), 40_000), (Some(40_005), 40_000)],
            complaints: vec![],
        };
        assert_eq!(listing.ticks(&facts).0, [5, 40_005]);
        assert!(listing.is_trustworthy() && listing.warnings().is_empty());
        listing.frames[0].0 = None;
        assert_eq!(
            listing.ticks(&facts),
            (vec![0, 1], 2, Rational::new(1, 30).expect("positive"))
        );
        assert!(!listing.is_trustworthy() && listing.warnings().len() == 1);
    }
}
