//! Ticks at round numbers, and the mapping from values to pixels.

/// A linear axis from values to pixels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    from_px: f64,
    to_px: f64,
    /// Values of the ticks, rising.
    pub(super) ticks: Vec<f64>,
}

impl Axis {
    /// An axis over exactly `low..=high`, with about `count` ticks at round numbers.
    pub(super) fn new([low, high]: [f64; 2], [from_px, to_px]: [f64; 2], count: usize) -> Self {
        // An axis needs a length, also when all values are equal.
        let high = if high > low {
            high
        } else {
            low + low.abs().max(1.0)
        };
        let step = round_step((high - low) / count as f64);
        let slack = step * 1e-6;
        let first = ((low - slack) / step).ceil() as i64;
        let last = ((high + slack) / step).floor() as i64;
        let ticks = (first..=last).map(|tick| tick as f64 * step).collect();
        Self {
            low,
            high,
            from_px,
            to_px,
            ticks,
        }
    }

    /// As [`Axis::new`], with the ends moved outwards to round numbers.
    pub(super) fn rounded([low, high]: [f64; 2], pixels: [f64; 2], count: usize) -> Self {
        let high = if high > low {
            high
        } else {
            low + low.abs().max(1.0)
        };
        let step = round_step((high - low) / count as f64);
        Self::new(
            [(low / step).floor() * step, (high / step).ceil() * step],
            pixels,
            count,
        )
    }

    /// As [`Axis::new`], with ticks at whole numbers only.
    pub(super) fn whole(range: [f64; 2], pixels: [f64; 2], count: usize) -> Self {
        let mut axis = Self::new(range, pixels, count);
        axis.ticks.retain(|tick| (tick - tick.round()).abs() < 1e-6);
        axis
    }

    pub(super) fn px(&self, value: f64) -> f64 {
        self.from_px + (value - self.low) / (self.high - self.low) * (self.to_px - self.from_px)
    }
}

/// The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0]
        .into_iter()
        .find(|factor| factor * power >= step * 0.999_999);
    factor.unwrap_or(10.0) * power
}

/// A number for a tick: short, with as many digits as it needs.
pub(super) fn tick_label(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        "0".into()
    } else if !(1e-3..1e5).contains(&magnitude) {
        // 2.5e-5, not 2.5000000e-5.
        let text = format!("{value:.2e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        format!(
            "{}e{exponent}",
            digits.trim_end_matches('0').trim_end_matches('.')
        )
    } else {
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tick_labels_are_short() {
        let cases = [
            (0.0, "0"),
            (0.25, "0.25"),
            (12.0, "12"),
            (0.0025, "0.0025"),
            (0.000_05, "5e-5"),
            (0.000_025, "2.5e-5"),
            (200_000.0, "2e5"),
            (-0.5, "-0.5"),
        ];
        for (value, expected) in cases {
            assert_eq!(tick_label(value), expected);
        }
    }

    proptest! {
        #[test]
        fn ticks_rise_within_the_axis(low in -1e6_f64..1e6, length in 1e-6_f64..1e6, count in 2_usize..12) {
            for axis in [
                Axis::new([low, low + length], [0.0, 100.0], count),
                Axis::rounded([low, low + length], [0.0, 100.0], count),
            ] {
                prop_assert!(!axis.ticks.is_empty() && axis.ticks.len() <= 2 * count + 3, "{axis:?}");
                prop_assert!(axis.ticks.is_sorted());
                prop_assert!(axis.ticks.iter().all(|&tick| (-0.1..=100.1).contains(&axis.px(tick))));
            }
        }

        #[test]
        fn a_rounded_axis_holds_its_values(low in -1e3_f64..1e3, length in 0.0_f64..1e3) {
            let axis = Axis::rounded([low, low + length], [0.0, 100.0], 5);
            prop_assert!(axis.px(low) >= -1e-6 && axis.px(low + length) <= 100.0 + 1e-6);
        }
    }
}
