//! Mixup and CutMix: each clip of a training batch becomes a mixture of itself and another, and so does its target.
//!
//! Pixels are mixed in the `u8` batch on the host, before it goes to the device: one pass over bytes, the same on every
//! device, and off by less than half a level. Targets are mixed as distributions, whichever head they are for.

use burn::tensor::{Device, Int, Tensor, TensorData};
use marey_clip::SeededRng;
use marey_data::Batch;
use rand::{Rng, seq::SliceRandom};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `[train.mix]` table of a recipe. At least one of the two alphas must be above 0.
///
/// One draw decides for a whole batch: whether it is mixed, how, with which share, and who is whose partner (a random
/// permutation, as in both papers' programs). It depends on the seed and the step only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MixConfig {
    /// Mixup: a weighted mean of both clips (Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018). The weight
    /// is drawn from `Beta(alpha, alpha)`; 0 is off, up to 100 (default 0).
    pub mixup_alpha: f64,
    /// CutMix: a rectangle of the other clip, the same in all frames (Yun et al., "CutMix", 2019; for clips "VideoMix",
    /// 2020). The share of the area that is kept is drawn from `Beta(alpha, alpha)`; 0 is off, up to 100 (default 0).
    pub cutmix_alpha: f64,
    /// Probability that a batch is mixed, above 0 and up to 1 (default 1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Probability of CutMix where both are on, above 0 and below 1 (default 0.5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switch_probability: Option<f64>,
}

/// Largest alpha: beyond it the two halves are hardly ever apart.
const LARGEST_ALPHA: f64 = 100.0;

impl MixConfig {
    /// Checks what a person wrote, for batches of `batch` clips.
    ///
    /// # Errors
    /// A sentence that names the key, when a number cannot work or a key has no effect beside the others.
    pub(crate) fn validate(&self, batch: usize) -> Result<(), String> {
        for (key, alpha) in [
            ("mixup_alpha", self.mixup_alpha),
            ("cutmix_alpha", self.cutmix_alpha),
        ] {
            if !(0.0..=LARGEST_ALPHA).contains(&alpha) {
                return Err(format!(
                    "train.mix.{key} is {alpha}, it must lie in 0..={LARGEST_ALPHA}"
                ));
            }
        }
        if self.mixup_alpha == 0.0 && self.cutmix_alpha == 0.0 {
            return Err(
                "train.mix has no effect with both alphas at 0: set mixup_alpha or cutmix_alpha, or remove it".into(),
            );
        }
        if batch < 2 {
            return Err(
                "train.mix has no effect with train.batch = 1: a clip needs another one".into(),
            );
        }
        if let Some(probability) = self.probability
            && !(probability > 0.0 && probability <= 1.0)
        {
            return Err(format!(
                "train.mix.probability is {probability}, it must be above 0 and at most 1; without mixing remove train.mix"
            ));
        }
        match self.switch_probability {
            Some(_) if self.mixup_alpha == 0.0 || self.cutmix_alpha == 0.0 => Err(
                "train.mix.switch_probability has no effect unless mixup_alpha and cutmix_alpha are both above 0: remove it"
                    .into(),
            ),
            Some(switch) if !(switch > 0.0 && switch < 1.0) => Err(format!(
                "train.mix.switch_probability is {switch}, it must lie between 0 and 1"
            )),
            _ => Ok(()),
        }
    }

    /// Mixes the pixels of a batch, and says how; `None` where it stays as it is. A batch of one clip stays.
    pub(crate) fn mix(&self, batch: &mut Batch, rng: &mut SeededRng) -> Option<Mixture> {
        let num = batch.targets.len();
        let probability = self.probability.unwrap_or(1.0);
        if num < 2 || rng.random::<f64>() >= probability {
            return None;
        }
        let switch = match (self.mixup_alpha > 0.0, self.cutmix_alpha > 0.0) {
            (true, true) => self.switch_probability.unwrap_or(0.5),
            (true, false) => 0.0,
            (false, _) => 1.0,
        };
        let is_cutmix = rng.random::<f64>() < switch;
        let mut partners: Vec<usize> = (0..num).collect();
        partners.shuffle(rng);
        let kept = if is_cutmix {
            let share = beta(self.cutmix_alpha, rng);
            let patch = Patch::draw(share, [batch.dims[2], batch.dims[3]], rng);
            cut(batch, &partners, patch)
        } else {
            blend(batch, &partners, beta(self.mixup_alpha, rng))
        };
        Some(Mixture { partners, kept })
    }
}

/// How a batch was mixed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mixture {
    /// The other clip of each, as its position in the batch.
    partners: Vec<usize>,
    /// Share of a clip that is its own.
    kept: f32,
}

impl Mixture {
    /// The target distributions of the mixed clips, for any head: `kept` of a clip's own, the rest of its partner's.
    ///
    /// # Shapes
    /// - `targets`: `[b, k]`, one distribution (or one yes or no a class) a clip
    /// - output: `[b, k]`
    pub(crate) fn targets(&self, targets: Tensor<2>, device: &Device) -> Tensor<2> {
        let partners: Vec<i32> = self.partners.iter().map(|&idx| idx as i32).collect();
        let num = partners.len();
        let partners = Tensor::<1, Int>::from_data(TensorData::new(partners, [num]), device);
        let theirs = targets.clone().select(0, partners);
        targets * self.kept + theirs * (1.0 - self.kept)
    }
}

/// A rectangle of pixels, half-open on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Patch {
    top: usize,
    bottom: usize,
    left: usize,
    right: usize,
}

impl Patch {
    /// CutMix's `rand_bbox`: both sides are `sqrt(1 - kept)` of the frame's, the middle is anywhere, and what lies outside
    /// is cut off.
    fn draw(kept: f64, [height, width]: [usize; 2], rng: &mut SeededRng) -> Self {
        let side = (1.0 - kept).max(0.0).sqrt();
        let mut along = |len: usize| {
            let half = (len as f64 * side) as usize / 2;
            let middle = rng.random_range(0..len);
            [middle.saturating_sub(half), (middle + half).min(len)]
        };
        let ([top, bottom], [left, right]) = (along(height), along(width));
        Self {
            top,
            bottom,
            left,
            right,
        }
    }

    const fn area(self) -> usize {
        (self.bottom - self.top) * (self.right - self.left)
    }
}

/// Puts the patch of each clip's partner into all of its frames; gives the share of the frame that is kept.
fn cut(batch: &mut Batch, partners: &[usize], patch: Patch) -> f32 {
    let [_, t, height, width, channels] = batch.dims;
    let area = height * width;
    let frame_len = area * channels;
    let before = batch.pixels.clone();
    for (clip, &partner) in batch.pixels.chunks_exact_mut(t * frame_len).zip(partners) {
        let other = &before[partner * t * frame_len..][..t * frame_len];
        let frames = clip
            .chunks_exact_mut(frame_len)
            .zip(other.chunks_exact(frame_len));
        for (frame, other) in frames {
            for row in patch.top..patch.bottom {
                let columns =
                    (row * width + patch.left) * channels..(row * width + patch.right) * channels;
                frame[columns.clone()].copy_from_slice(&other[columns]);
            }
        }
    }
    (area - patch.area()) as f32 / area as f32
}

/// Makes each clip a weighted mean of itself and its partner; gives its own weight, which is a whole number of 65536ths.
fn blend(batch: &mut Batch, partners: &[usize], kept: f64) -> f32 {
    let own = (kept * 65536.0).round() as u32;
    let rest = 65536 - own;
    let clip_len = batch.pixels.len() / partners.len();
    let before = batch.pixels.clone();
    for (clip, &partner) in batch.pixels.chunks_exact_mut(clip_len).zip(partners) {
        let other = &before[partner * clip_len..][..clip_len];
        for (value, &other) in clip.iter_mut().zip(other) {
            *value = ((u32::from(*value) * own + u32::from(other) * rest + 32768) >> 16) as u8;
        }
    }
    own as f32 / 65536.0
}

/// A draw from `Beta(alpha, alpha)`: `X / (X + Y)` of two gamma variables, by their logarithms, which small alphas need.
fn beta(alpha: f64, rng: &mut SeededRng) -> f64 {
    let [x, y] = [log_gamma_draw(alpha, rng), log_gamma_draw(alpha, rng)];
    1.0 / (1.0 + (y - x).exp())
}

/// The logarithm of a gamma variable: Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables", 2000, for
/// `alpha + 1`, times `U^(1 / alpha)`.
fn log_gamma_draw(alpha: f64, rng: &mut SeededRng) -> f64 {
    let d = alpha + 1.0 - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    // Above 0, so that it has a logarithm.
    let positive = |rng: &mut SeededRng| 1.0 - rng.random::<f64>();
    loop {
        // Box and Muller.
        let radius = (-2.0 * positive(rng).ln()).sqrt();
        let x = radius * (2.0 * std::f64::consts::PI * rng.random::<f64>()).cos();
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && positive(rng).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return (d * v).ln() + positive(rng).ln() / alpha;
        }
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;
    use proptest::prelude::*;

    use super::*;
    use crate::one_hot;

    /// Largest distance of the empirical distribution of `Beta(alpha, alpha)` from `cdf`.
    fn distance(alpha: f64, cdf: impl Fn(f64) -> f64) -> f64 {
        let rng = &mut rng_for(7, 0, 0, 0);
        let mut draws: Vec<f64> = (0..10_000).map(|_| beta(alpha, rng)).collect();
        draws.sort_by(f64::total_cmp);
        let num = draws.len() as f64;
        let apart = |(idx, &x): (usize, &f64)| (cdf(x) - (idx as f64 + 0.5) / num).abs();
        draws.iter().enumerate().map(apart).fold(0.0, f64::max)
    }

    #[test]
    fn shares_are_beta_distributed() {
        // Distribution functions in closed form; Kolmogorov's bound for 10000 draws at 0.1 % is 0.0195.
        let arcsine = |x: f64| 2.0 / std::f64::consts::PI * x.sqrt().asin();
        assert!(distance(0.5, arcsine) < 0.0195);
        assert!(distance(1.0, |x| x) < 0.0195);
        assert!(distance(2.0, |x| 3.0 * x * x - 2.0 * x.powi(3)) < 0.0195);
        // A small alpha is nearly a coin, and never no number.
        let rng = &mut rng_for(8, 0, 0, 0);
        let coin: Vec<f64> = (0..1000).map(|_| beta(0.001, rng)).collect();
        assert!(coin.iter().all(|share| (0.0..=1.0).contains(share)));
        let high = coin.iter().filter(|&&share| share > 0.999).count();
        assert!((400..600).contains(&high), "{high}");
    }

    /// A batch whose clip `i` is of the value `40 * i` and of class `i`.
    fn batch(num: usize, [height, width]: [usize; 2]) -> Batch {
        let dims = [num, 2, height, width, 3];
        Batch {
            idx: 0,
            pixels: (0..num)
                .flat_map(|clip| vec![40 * clip as u8; 2 * height * width * 3])
                .collect(),
            dims,
            targets: (0..num).collect(),
            items: (0..num).collect(),
        }
    }

    fn mixed(config: MixConfig, size: [usize; 2], seed: u64) -> (Batch, Mixture) {
        let mut batch = batch(4, size);
        let mixture = config
            .mix(&mut batch, &mut rng_for(seed, 0, 0, 0))
            .expect("always mixed");
        (batch, mixture)
    }

    const CUTMIX: MixConfig = MixConfig {
        mixup_alpha: 0.0,
        cutmix_alpha: 1.0,
        probability: None,
        switch_probability: None,
    };
    const MIXUP: MixConfig = MixConfig {
        mixup_alpha: 0.8,
        cutmix_alpha: 0.0,
        probability: None,
        switch_probability: None,
    };

    #[test]
    fn mixup_is_the_weighted_mean_of_both_clips() {
        let mut kept = Vec::new();
        for seed in 0..40 {
            let (batch, mixture) = mixed(MIXUP, [5, 7], seed);
            for (clip, &partner) in mixture.partners.iter().enumerate() {
                let exact =
                    40.0 * (mixture.kept * clip as f32 + (1.0 - mixture.kept) * partner as f32);
                let values = &batch.pixels[clip * 2 * 5 * 7 * 3..][..2 * 5 * 7 * 3];
                assert!(
                    values
                        .iter()
                        .all(|&value| (f32::from(value) - exact).abs() <= 0.51)
                );
            }
            kept.push(mixture.kept);
        }
        kept.dedup();
        assert_eq!(kept.len(), 40, "each batch has a share of its own");
    }

    #[test]
    fn batches_are_mixed_as_often_as_asked_for() {
        let config = MixConfig {
            mixup_alpha: 1.0,
            cutmix_alpha: 1.0,
            probability: Some(0.5),
            switch_probability: Some(0.25),
        };
        let (mut plain, mut means) = (0, 0);
        for seed in 0..1000 {
            let mut batch = batch(4, [16, 16]);
            match config.mix(&mut batch, &mut rng_for(seed, 0, 0, 0)) {
                None => plain += 1,
                // A mean is of a value that no clip has; a rectangle is not.
                Some(_) => means += usize::from(batch.pixels.iter().any(|value| value % 40 != 0)),
            }
        }
        // 500 and 375, with deviations of 16; a few means are of a clip with itself, or of a share near 0 or 1.
        assert!((440..560).contains(&plain), "{plain}");
        assert!((300..430).contains(&means), "{means}");
        assert_eq!(
            config.mix(&mut batch(1, [8, 8]), &mut rng_for(0, 0, 0, 0)),
            None
        );
    }

    proptest! {
        #[test]
        fn cutmix_keeps_exactly_the_share_that_it_says(seed: u64, height in 1usize..20, width in 1usize..20) {
            let (batch, mixture) = mixed(CUTMIX, [height, width], seed);
            let frame_len = height * width * 3;
            for (clip, &partner) in mixture.partners.iter().enumerate() {
                let frames = batch.pixels[clip * 2 * frame_len..][..2 * frame_len].chunks_exact(frame_len);
                let (own, other) = (40 * clip as u8, 40 * partner as u8);
                let mut shapes = Vec::new();
                for frame in frames {
                    prop_assert!(frame.iter().all(|&value| value == own || value == other));
                    let kept = frame.iter().filter(|&&value| value == own).count();
                    if clip != partner {
                        prop_assert_eq!(kept as f32 / frame_len as f32, mixture.kept);
                    }
                    shapes.push(frame);
                }
                prop_assert_eq!(shapes[0], shapes[1], "all frames alike");
            }
        }

        #[test]
        fn mixed_targets_sum_to_one(seed: u64, is_cutmix: bool) {
            let (_, mixture) = mixed(if is_cutmix { CUTMIX } else { MIXUP }, [12, 10], seed);
            let device = Device::flex();
            let targets = mixture.targets(one_hot(&[0, 1, 2, 3], 5, &device), &device);
            let values = targets.into_data().try_to_vec::<f32>().expect("floats");
            for (clip, row) in values.chunks_exact(5).enumerate() {
                prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                let partner = mixture.partners[clip];
                let own = if partner == clip { 1.0 } else { mixture.kept };
                prop_assert!((row[clip] - own).abs() < 1e-6);
                prop_assert!(row[4] == 0.0 && row[partner] >= 1.0 - mixture.kept - 1e-6);
            }
        }
    }

    #[test]
    fn every_head_of_an_item_is_mixed() {
        let device = Device::flex();
        let mixture = Mixture {
            partners: vec![1, 0],
            kept: 0.75,
        };
        // A yes-or-no head beside the classes: what is normal is mixed too.
        let binary = Tensor::<2>::from_floats([[1.0], [0.0]], &device);
        let found = mixture.targets(binary, &device).into_data();
        assert_eq!(found.try_to_vec::<f32>().expect("floats"), [0.75, 0.25]);
    }

    #[test]
    fn keys_without_effect_are_refused() {
        let refused = |config: MixConfig, batch| config.validate(batch).expect_err("refused");
        assert!(refused(MixConfig::default(), 4).contains("both alphas at 0"));
        assert!(refused(MIXUP, 1).contains("train.batch = 1"));
        let switched = MixConfig {
            switch_probability: Some(0.5),
            ..MIXUP
        };
        assert!(refused(switched, 4).contains("switch_probability has no effect"));
        let never = MixConfig {
            probability: Some(0.0),
            ..MIXUP
        };
        assert!(refused(never, 4).contains("train.mix.probability is 0"));
        let large = MixConfig {
            mixup_alpha: 1000.0,
            ..MIXUP
        };
        assert!(refused(large, 4).contains("must lie in 0..=100"));
        assert_eq!(CUTMIX.validate(2), Ok(()));
    }
}
