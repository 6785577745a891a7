//! Fog.

use marey_clip::SeededRng;
use pulp::{Arch, NullaryFnOnce};
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    augment::{bounds, uniform},
};

/// Fog by Koschmieder's law (1924), as Sakaridis et al. ("Semantic Foggy Scene Understanding with Synthetic Data",
/// 2018, eq. 1) put it on pictures: of the light of a point at depth `d`, the share `exp(-density d)` is left, and the
/// rest is the light of the fog.
///
/// Depth is not known here. It is taken to fall evenly from 1 in the top row to `near` in the bottom row, as it does
/// for a camera that looks down on flat ground.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fog {
    /// Probability that a clip has fog, above 0 and up to 1 (default 0.2).
    pub probability: f32,
    /// Thinnest and thickest fog: optical depth of the top row, above 0 and up to 10 (default 0.3 to 1.5, which leaves
    /// 74 % to 22 % of its light).
    pub density: [f32; 2],
    /// Depth of the bottom row where that of the top row is 1, from 0 to 1; with 1 fog is even (default 0.3).
    pub near: f32,
    /// Red, green and blue of the fog, 0 to 255 (default 220 each).
    pub light: [u8; 3],
}

impl Default for Fog {
    fn default() -> Self {
        Self {
            probability: 0.2,
            density: [0.3, 1.5],
            near: 0.3,
            light: [220; 3],
        }
    }
}

impl Fog {
    /// Checks what a person wrote.
    pub(crate) fn validate(self) -> Result<(), Error> {
        bounds::chance("augment.fog.probability", self.probability)?;
        bounds::positive("augment.fog.density", self.density, 10.0)?;
        bounds::within("augment.fog.near", self.near, 0.0..=1.0)
    }

    /// The fog of one clip.
    pub(crate) fn draw(self, [height, _]: [usize; 2], rng: &mut SeededRng) -> Option<FogLayer> {
        if rng.random::<f32>() >= self.probability {
            return None;
        }
        let density = uniform(self.density, rng);
        let last = (height.max(2) - 1) as f64;
        let left = |row: usize| {
            let depth = 1.0 - (1.0 - f64::from(self.near)) * row as f64 / last;
            ((-density * depth).exp() * 256.0).round() as u16
        };
        Some(FogLayer {
            left: (0..height).map(left).collect(),
            light: self.light,
        })
    }
}

/// The fog of one clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FogLayer {
    /// Share of the light that is left in each row, in 256ths.
    left: Vec<u16>,
    light: [u8; 3],
}

impl FogLayer {
    /// Covers one RGB frame.
    pub(crate) fn apply(&self, frame: &mut [u8]) {
        let stride = frame.len() / self.left.len();
        for (row, &left) in frame.chunks_exact_mut(stride).zip(&self.left) {
            let added = self
                .light
                .map(|light| u16::from(light) * (256 - left) + 128);
            Arch::new().dispatch(Blend { row, left, added });
        }
    }
}

struct Blend<'a> {
    row: &'a mut [u8],
    left: u16,
    added: [u16; 3],
}

/// Values that are worked on together: a whole number of pixels and of vectors.
const BLOCK: usize = 48;

impl NullaryFnOnce for Blend<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let added: [u16; BLOCK] = std::array::from_fn(|idx| self.added[idx % 3]);
        for block in self.row.chunks_mut(BLOCK) {
            for (value, &added) in block.iter_mut().zip(&added) {
                *value = ((u16::from(*value) * self.left + added) >> 8) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;

    #[test]
    fn light_is_lost_by_depth_and_replaced_by_the_fog() {
        let fog = Fog {
            probability: 1.0,
            density: [1.0, 1.0],
            near: 0.5,
            light: [200, 0, 255],
        };
        let layer = fog.draw([3, 1], &mut rng_for(0, 0, 0, 0)).expect("always");
        let mut frame = [100; 9];
        layer.apply(&mut frame);
        // exp(-1), exp(-0.75) and exp(-0.5) of 100, the rest of 200, 0 and 255.
        let expect = [0.367_879, 0.472_367, 0.606_531]
            .map(|left| [200.0, 0.0, 255.0].map(|light| 100.0 * left + light * (1.0 - left)));
        for (found, expect) in frame.iter().zip(expect.as_flattened()) {
            assert!(
                (f64::from(*found) - expect).abs() <= 1.0,
                "{found} is not {expect}"
            );
        }
    }

    #[test]
    fn thick_even_fog_is_all_there_is_to_see() {
        let fog = Fog {
            probability: 1.0,
            density: [10.0, 10.0],
            near: 1.0,
            ..Fog::default()
        };
        let layer = fog.draw([5, 30], &mut rng_for(0, 0, 0, 0)).expect("always");
        let mut frame: Vec<u8> = (0..5 * 30 * 3).map(|idx| (idx * 7) as u8).collect();
        layer.apply(&mut frame);
        assert!(frame.iter().all(|&value| value == 220), "{frame:?}");
    }
}
