//! What changes in a clip: differences over half a second, without what light does to the whole picture.
//!
//! A fixed camera's clips have their background in common, so pictures alone would take any two of them for copies.
//! The background cancels in a difference; what is left is what moved, where and when.

/// Pictures between the two whose difference is taken: half a second.
pub(super) const STEP: usize = 4;

/// Mean squared change, in levels, that counts half: below it are the grain of a camera and the errors of coders.
const NOISE: f32 = 0.5;

/// A cell that changes by more levels than this takes part in a cut.
const CUT_LEVELS: f32 = 8.0;

/// Changes `[bins - STEP, cells]`.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    pub(super) cells: usize,
    /// Each bin's change, scaled so that its squares add up to nearly 1 where it stands out of the noise, and to less
    /// where it does not: no bin counts for more than another, however much of the picture moves.
    pub(super) values: Vec<f32>,
    /// Sum of the squares of each bin.
    pub(super) weights: Vec<f32>,
}

impl Changes {
    /// The changes of pictures `[bins, cells]`.
    pub(super) fn of(pictures: &[f32], cells: usize) -> Self {
        let bins = pictures.len() / cells;
        let count = bins.saturating_sub(STEP);
        let mut values = vec![0.0; count * cells];
        let mut weights = vec![0.0; count];
        for (idx, (out, weight)) in values.chunks_exact_mut(cells).zip(&mut weights).enumerate() {
            let before = &pictures[idx * cells..][..cells];
            let after = &pictures[(idx + STEP) * cells..][..cells];
            *weight = change(before, after, out);
        }
        Self {
            cells,
            values,
            weights,
        }
    }

    /// Number of bins that show a change, counting those near the noise in part.
    pub(super) fn evidence(&self) -> f32 {
        self.weights.iter().sum()
    }

    /// Correlation, -1 to 1, of this clip's changes with those of another that lag `lag` bins: bin `i` here against
    /// `i + lag` there. The second number is the evidence: how many bins show a change, in the geometric mean of the two.
    pub(super) fn correlation(&self, other: &Self, lag: isize) -> (f32, f32) {
        let Some((first, other_first, count)) =
            overlap(self.weights.len(), other.weights.len(), lag)
        else {
            return (0.0, 0.0);
        };
        let a = &self.values[first * self.cells..][..count * self.cells];
        let b = &other.values[other_first * self.cells..][..count * self.cells];
        let weight_a: f32 = self.weights[first..][..count].iter().sum();
        let weight_b: f32 = other.weights[other_first..][..count].iter().sum();
        let evidence = (weight_a * weight_b).sqrt();
        (dot(a, b) / evidence.max(1e-6), evidence)
    }
}

/// Where two rows of `len_a` and `len_b` bins lie over each other when the second lags by `lag`: first bin of each, and
/// their number; `None` where they do not.
pub(super) fn overlap(len_a: usize, len_b: usize, lag: isize) -> Option<(usize, usize, usize)> {
    let first = lag.min(0).unsigned_abs();
    let other_first = lag.max(0).unsigned_abs();
    if first >= len_a || other_first >= len_b {
        return None;
    }
    let count = (len_a - first).min(len_b - other_first);
    Some((first, other_first, count))
}

/// Sum of products, in eight lanes so that it can be done by vectors in a fixed order.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (chunks_a, rest_a) = a.as_chunks::<8>();
    let (chunks_b, rest_b) = b.as_chunks::<8>();
    for (a, b) in chunks_a.iter().zip(chunks_b) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

/// One bin's change into `out`; the sum of its squares.
fn change(before: &[f32], after: &[f32], out: &mut [f32]) -> f32 {
    let cells = out.len() as f32;
    for ((out, before), after) in out.iter_mut().zip(before).zip(after) {
        *out = after - before;
    }
    let moved = out.iter().filter(|value| value.abs() > CUT_LEVELS).count();
    if 2 * moved > out.len() {
        // A cut, a flash or a hand before the lens: it says nothing of what moves in the scene.
        out.fill(0.0);
        return 0.0;
    }
    remove_light(out, |idx| (before[idx] + after[idx]) / 2.0);
    let energy = dot(out, out) / cells;
    let scale = 1.0 / ((energy + NOISE) * cells).sqrt();
    out.iter_mut().for_each(|value| *value *= scale);
    energy / (energy + NOISE)
}

/// Takes out of `values` what fits an equal change of all cells and a change in proportion to the `picture`'s light,
/// as a camera's exposure makes it.
pub(super) fn remove_light(values: &mut [f32], picture: impl Fn(usize) -> f32) {
    let count = values.len() as f32;
    let mean = values.iter().sum::<f32>() / count;
    let light = (0..values.len()).map(&picture).sum::<f32>() / count;
    let (mut product, mut square) = (0.0, 0.0);
    for (idx, value) in values.iter_mut().enumerate() {
        *value -= mean;
        let contrast = picture(idx) - light;
        product += *value * contrast;
        square += contrast * contrast;
    }
    let gain = product / (square + 1e-3);
    for (idx, value) in values.iter_mut().enumerate() {
        *value -= gain * (picture(idx) - light);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures of 6 cells whose third one is `light` and whose exposure is `gain`.
    fn pictures(bins: &[(f32, f32)]) -> Vec<f32> {
        let picture = |&(light, gain): &(f32, f32)| {
            [10.0, 80.0, light, 30.0, 50.0, 20.0].map(|v| gain * v + 3.0 * gain)
        };
        bins.iter().flat_map(picture).collect()
    }

    #[test]
    fn light_is_no_change_and_a_thing_that_moves_is() {
        let steady: Vec<(f32, f32)> = (0..8).map(|bin| (40.0, 1.0 + 0.02 * bin as f32)).collect();
        assert!(Changes::of(&pictures(&steady), 6).evidence() < 0.01);
        let moving: Vec<(f32, f32)> = (0..8).map(|bin| (40.0 + 7.0 * bin as f32, 1.0)).collect();
        assert!(Changes::of(&pictures(&moving), 6).evidence() > 3.5);
    }

    #[test]
    fn a_lag_is_found_where_it_is() {
        let lights = [
            0.0, 5.0, 30.0, 10.0, 60.0, 0.0, 20.0, 45.0, 5.0, 30.0, 70.0, 0.0,
        ];
        let at = |first: usize| {
            let bins: Vec<(f32, f32)> = lights[first..].iter().map(|&light| (light, 1.0)).collect();
            Changes::of(&pictures(&bins), 6)
        };
        let (whole, cut) = (at(0), at(3));
        assert!(whole.correlation(&cut, -3).0 > 0.999);
        assert!(whole.correlation(&cut, 0).0 < 0.8);
        assert_eq!(whole.correlation(&cut, -20), (0.0, 0.0));
    }

    #[test]
    fn overlaps_are_where_both_are() {
        assert_eq!(overlap(10, 6, 0), Some((0, 0, 6)));
        assert_eq!(overlap(10, 6, -7), Some((7, 0, 3)));
        assert_eq!(overlap(10, 6, 4), Some((0, 4, 2)));
        assert_eq!(overlap(10, 6, 6), None);
    }
}
