//! What more clips would buy: a power law through figures measured on parts of the training set.

use marey_clip::rng_for;
use rand::Rng;

use crate::interval::quantile;
use crate::{Error, ErrorKind, Figure, Plot};

/// Keeps these draws apart from every other use of the run's seed.
const PURPOSE: u64 = 0x6c65_6172_6e63_7276; // "learncrv"

/// Draws of the band.
const DRAWS: usize = 1000;

/// Exponents that are considered: slower than 0.02 cannot be told from flat, faster than 3 is a jump.
const EXPONENTS: [f64; 2] = [0.02, 3.0];

/// A figure measured after training on part of the training set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningPoint {
    /// Number of training items.
    pub num_items: usize,
    /// One less the figure: the error, in 0..=1.
    pub error: f64,
    /// How far the error may be off by chance: its standard error, 0 or more.
    pub standard_error: f64,
}

impl LearningPoint {
    /// The point of a share that was measured after training on `num_items` items. The standard error is that of its interval.
    pub fn of_figure(num_items: usize, figure: &Figure) -> Self {
        Self {
            num_items,
            error: 1.0 - figure.value,
            standard_error: figure.widest_interval().width() / (2.0 * 1.96),
        }
    }
}

/// A figure as it was measured, for the plot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredFigure {
    /// Number of training items.
    pub num_items: usize,
    /// The figure, in 0..=1.
    pub value: f64,
    /// Both ends of its 95 % interval.
    pub interval: [f64; 2],
}

impl MeasuredFigure {
    /// The share that was measured after training on `num_items` items, with the widest of its intervals.
    pub fn of_figure(num_items: usize, figure: &Figure) -> Self {
        let interval = figure.widest_interval();
        Self {
            num_items,
            value: figure.value,
            interval: [interval.low, interval.high],
        }
    }
}

/// The power law `error = floor + scale * items ^ -exponent` through the measured points, with a band from redrawing the points within
/// their standard errors. Hestness et al., 2017, "Deep learning scaling is predictable, empirically".
#[derive(Debug, Clone, PartialEq)]
pub struct LearningCurve {
    best: PowerLaw,
    draws: Vec<PowerLaw>,
    /// The largest measured number of items.
    most_items: usize,
}

/// A projected number with its 95 % band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Projected {
    /// The number.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct PowerLaw {
    floor: f64,
    scale: f64,
    exponent: f64,
}

impl PowerLaw {
    fn at(&self, num_items: f64) -> f64 {
        self.floor + self.scale * num_items.powf(-self.exponent)
    }
}

impl LearningCurve {
    /// Fits the curve by least squares with `floor >= 0` and `scale >= 0`, so that more items never hurt.
    ///
    /// # Errors
    /// Fewer than 3 different numbers of items, no items, an error outside 0..=1, a standard error that is negative or not finite.
    pub fn fit(points: &[LearningPoint], seed: u64) -> Result<Self, Error> {
        let mut sizes: Vec<usize> = points.iter().map(|point| point.num_items).collect();
        sizes.sort_unstable();
        sizes.dedup();
        if sizes.len() < 3 {
            return Err(ErrorKind::FewPoints(sizes.len()).into());
        }
        let is_sound = |point: &LearningPoint| {
            point.num_items > 0
                && (0.0..=1.0).contains(&point.error)
                && point.standard_error >= 0.0
                && point.standard_error.is_finite()
        };
        if let Some(position) = points.iter().position(|point| !is_sound(point)) {
            return Err(ErrorKind::LearningPoint(position).into());
        }
        let measured: Vec<(f64, f64)> = points
            .iter()
            .map(|p| (p.num_items as f64, p.error))
            .collect();
        let mut rng = rng_for(seed, 0, 0, PURPOSE);
        let mut redrawn = || {
            let moved = points.iter().map(|point| {
                // Box and Muller: a normal number out of two uniform ones, the first above 0.
                let [u, v] = [1.0 - rng.random::<f64>(), rng.random::<f64>()];
                let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
                let error = point.error + point.standard_error * normal;
                (point.num_items as f64, error.clamp(0.0, 1.0))
            });
            fit(&moved.collect::<Vec<_>>())
        };
        Ok(Self {
            best: fit(&measured),
            draws: (0..DRAWS).map(|_| redrawn()).collect(),
            most_items: sizes[sizes.len() - 1],
        })
    }

    /// The three numbers of the law: the error that no number of items removes, the scale, the exponent.
    pub fn parameters(&self) -> [f64; 3] {
        [self.best.floor, self.best.scale, self.best.exponent]
    }

    /// The largest measured number of items.
    pub fn most_items(&self) -> usize {
        self.most_items
    }

    /// The measured figures, the law through them with its band, and what it says of `more` items beyond the largest measured
    /// number. `title` names the figure, such as `macro F1`.
    pub fn plot(&self, measured: &[MeasuredFigure], more: usize, title: &str) -> Plot {
        crate::plot::learning_plot(self, measured, more, title)
    }

    /// The figure, 1 less the error, after training on `num_items` items.
    pub fn figure_at(&self, num_items: usize) -> Projected {
        self.project(|law| 1.0 - law.at(num_items.max(1) as f64))
    }

    /// How much the figure rises with `more` items beyond the largest measured number.
    pub fn gain(&self, more: usize) -> Projected {
        let now = self.most_items as f64;
        self.project(|law| law.at(now) - law.at(now + more as f64))
    }

    /// The gain as a sentence, such as "100 more clips would buy about 2.1 points of macro F1 (95 % band 0.4 to 5.0)".
    pub fn sentence(&self, more: usize, title: &str) -> String {
        let gain = self.gain(more);
        let [value, low, high] = [gain.value, gain.low, gain.high].map(|share| 100.0 * share);
        format!(
            "{more} more clips would buy about {value:.1} points of {title} (95 % band {low:.1} to {high:.1}), if \
             they are like the {} there are",
            self.most_items
        )
    }

    fn project(&self, of: impl Fn(&PowerLaw) -> f64) -> Projected {
        let mut draws: Vec<f64> = self.draws.iter().map(&of).collect();
        draws.sort_unstable_by(f64::total_cmp);
        let value = of(&self.best);
        Projected {
            value,
            low: quantile(&draws, 0.025).min(value),
            high: quantile(&draws, 0.975).max(value),
        }
    }
}

/// Least squares: for each exponent the other two are linear, so only the exponent is searched, on a grid and then between its best
/// neighbours by golden sections.
fn fit(points: &[(f64, f64)]) -> PowerLaw {
    const GRID: usize = 60;
    let [low, high] = EXPONENTS.map(f64::ln);
    let exponent = |step: f64| (low + (high - low) * step / GRID as f64).exp();
    let miss = |step: f64| linear_fit(points, exponent(step)).1;
    let best = (0..=GRID)
        .min_by(|&a, &b| miss(a as f64).total_cmp(&miss(b as f64)))
        .expect("the grid has points") as f64;
    let [mut left, mut right] = [(best - 1.0).max(0.0), (best + 1.0).min(GRID as f64)];
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    for _ in 0..60 {
        let [a, b] = [
            right - golden * (right - left),
            left + golden * (right - left),
        ];
        if miss(a) <= miss(b) {
            right = b;
        } else {
            left = a;
        }
    }
    linear_fit(points, exponent(0.5 * (left + right))).0
}

/// The best floor and scale, neither below 0, for this exponent, and the sum of squares that is left.
fn linear_fit(points: &[(f64, f64)], exponent: f64) -> (PowerLaw, f64) {
    let n = points.len() as f64;
    let power = |items: f64| items.powf(-exponent);
    let mean_x = points.iter().map(|&(items, _)| power(items)).sum::<f64>() / n;
    let mean_y = points.iter().map(|&(_, error)| error).sum::<f64>() / n;
    let (mut xx, mut xy, mut squares, mut product) = (0.0, 0.0, 0.0, 0.0);
    for &(items, error) in points {
        let x = power(items);
        xx += (x - mean_x).powi(2);
        xy += (x - mean_x) * (error - mean_y);
        squares += x * x;
        product += x * error;
    }
    // On an edge of the allowed corner, if the free optimum lies outside.
    let scale = (xy / xx).max(0.0);
    let free = [mean_y - scale * mean_x, scale];
    let [floor, scale] = match free[0] < 0.0 {
        true => [0.0, product / squares],
        false => free,
    };
    let law = PowerLaw {
        floor,
        scale,
        exponent,
    };
    let miss = points
        .iter()
        .map(|&(items, error)| (law.at(items) - error).powi(2))
        .sum();
    (law, miss)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(standard_error: f64) -> Vec<LearningPoint> {
        let point = |num_items: usize| LearningPoint {
            num_items,
            error: 0.1 + 2.0 * (num_items as f64).powf(-0.5),
            standard_error,
        };
        [50, 100, 200, 400].map(point).to_vec()
    }

    #[test]
    fn a_power_law_is_found_again() {
        let curve = LearningCurve::fit(&points(0.0), 1).expect("four points");
        let [floor, scale, exponent] = curve.parameters();
        assert!(
            (floor - 0.1).abs() < 1e-5
                && (scale - 2.0).abs() < 1e-4
                && (exponent - 0.5).abs() < 1e-4
        );
        let gain = curve.gain(500);
        let expected = 2.0 * (400_f64.powf(-0.5) - 900_f64.powf(-0.5));
        assert!((gain.value - expected).abs() < 1e-5, "{gain:?}");
        // Points without error leave no band.
        assert!(gain.high - gain.low < 1e-9, "{gain:?}");
        let sentence = curve.sentence(500, "macro F1");
        assert!(
            sentence.starts_with(
                "500 more clips would buy about 3.3 points of macro F1 (95 % band 3.3 to 3.3)"
            ),
            "{sentence}"
        );
    }

    #[test]
    fn noise_widens_the_band_and_more_never_hurts() {
        let [sure, unsure] = [0.005, 0.03].map(|error| {
            LearningCurve::fit(&points(error), 1)
                .expect("four points")
                .gain(200)
        });
        assert!(
            unsure.high - unsure.low > 1.5 * (sure.high - sure.low),
            "{sure:?} {unsure:?}"
        );
        assert!(sure.low >= 0.0 && unsure.low >= 0.0);
        // Points that rise: the best curve that never hurts is flat.
        let rising: Vec<LearningPoint> = points(0.0)
            .iter()
            .map(|p| LearningPoint {
                error: 0.6 - p.error,
                ..*p
            })
            .collect();
        let flat = LearningCurve::fit(&rising, 1)
            .expect("four points")
            .gain(200);
        assert!(flat.value.abs() < 1e-12, "{flat:?}");
    }

    #[test]
    fn two_points_are_no_curve() {
        let error = LearningCurve::fit(&points(0.0)[..2], 1).expect_err("two points");
        assert!(
            error.kind().to_string().starts_with("2 different numbers"),
            "{}",
            error.kind()
        );
        for change in [
            |p: &mut LearningPoint| p.error = f64::NAN,
            |p: &mut LearningPoint| p.num_items = 0,
            |p: &mut LearningPoint| p.standard_error = -1.0,
        ] {
            let mut broken = points(0.0);
            change(&mut broken[1]);
            assert!(LearningCurve::fit(&broken, 1).is_err());
        }
    }
}
