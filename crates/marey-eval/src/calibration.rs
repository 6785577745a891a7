//! Turning logits into scores that mean what they say: temperature, vector and isotonic scaling.
//!
//! Fitted on the logits of a validation split, stored beside the weights, applied to every later prediction.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::minimise::minimise;
use crate::{Error, ErrorKind, Validation};

/// Temperatures outside this range are not considered: the data is separable, or the logits say nothing.
const TEMPERATURES: [f64; 2] = [0.01, 100.0];

/// The weight of the penalty that pulls vector scaling towards the identity. It only matters where the data does not say.
const RIDGE: f64 = 1e-6;

/// Logits with their truth.
#[derive(Debug, Clone, Copy)]
pub struct LabelledLogits<'a> {
    /// Index of the true class of each item.
    pub targets: &'a [usize],
    /// One logit a class, for each item.
    pub logits: &'a [Vec<f32>],
}

/// How logits become scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
pub enum Calibration {
    /// `softmax(logits / temperature)`: the ranking of classes stays as it is. Guo et al., ICML 2017, section 4.2.
    Temperature {
        /// Above 0; above 1 makes the model less sure.
        temperature: f64,
    },
    /// `softmax(scale * logits + bias)`, class by class. Guo et al., ICML 2017, section 4.2.
    Vector {
        /// One factor a class.
        scale: Vec<f64>,
        /// One summand a class.
        bias: Vec<f64>,
    },
    /// The softmax score of each class through a rising step curve, then divided by the sum. Zadrozny and Elkan, KDD 2002. It wants
    /// hundreds of items a class.
    Isotonic {
        /// One curve a class.
        curves: Vec<RisingCurve>,
    },
}

/// A function that never falls, given by points and straight lines between them; constant beyond the first and the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RisingCurve {
    /// Where the points are, rising.
    pub x: Vec<f64>,
    /// Their heights, never falling; as many.
    pub y: Vec<f64>,
}

impl Calibration {
    /// Temperature scaling with the lowest log loss on `validation`, between 0.01 and 100.
    ///
    /// # Errors
    /// No items, fewer than 2 classes, logits that do not match the targets or are not finite.
    pub fn fit_temperature(validation: &Validation<LabelledLogits<'_>>) -> Result<Self, Error> {
        let (logits, targets) = checked(validation.data())?;
        // The loss is convex in 1 / T, so its slope changes sign once.
        let slope = |inverse: f64| -> f64 {
            let terms = logits.iter().zip(targets).map(|(logits, &target)| {
                let scores = softmax(logits.iter().map(|logit| inverse * logit));
                let expected: f64 = scores.iter().zip(logits).map(|(p, logit)| p * logit).sum();
                expected - logits[target]
            });
            terms.sum()
        };
        let [mut low, mut high] = [1.0 / TEMPERATURES[1], 1.0 / TEMPERATURES[0]];
        for _ in 0..60 {
            // By ratio: temperatures are compared by their quotient.
            let middle = (low * high).sqrt();
            if slope(middle) < 0.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        let temperature = 1.0 / (low * high).sqrt();
        Ok(Self::Temperature { temperature })
    }

    /// Vector scaling with the lowest log loss on `validation`, where a tiny penalty decides what the data leaves open.
    ///
    /// # Errors
    /// As [`Calibration::fit_temperature`].
    pub fn fit_vector(validation: &Validation<LabelledLogits<'_>>) -> Result<Self, Error> {
        let (logits, targets) = checked(validation.data())?;
        let k = logits[0].len();
        let start = [vec![1.0; k], vec![0.0; k]].concat();
        let loss = |parameters: &[f64]| {
            let (scale, bias) = parameters.split_at(k);
            let mut gradient: Vec<f64> = (0..2 * k)
                .map(|i| RIDGE * (parameters[i] - if i < k { 1.0 } else { 0.0 }))
                .collect();
            let mut value: f64 = gradient.iter().map(|g| g * g / (2.0 * RIDGE)).sum();
            let weight = 1.0 / logits.len() as f64;
            for (logits, &target) in logits.iter().zip(targets) {
                let scores =
                    softmax((0..k).map(|class| scale[class] * logits[class] + bias[class]));
                value -= weight * scores[target].max(f64::MIN_POSITIVE).ln();
                for class in 0..k {
                    let error = scores[class] - if class == target { 1.0 } else { 0.0 };
                    gradient[class] += weight * error * logits[class];
                    gradient[k + class] += weight * error;
                }
            }
            (value, gradient)
        };
        let mut scale = minimise(start, 1e-10, loss);
        let bias = scale.split_off(k);
        Ok(Self::Vector { scale, bias })
    }

    /// A rising curve a class, fitted by least squares to whether an item is of the class.
    ///
    /// # Errors
    /// As [`Calibration::fit_temperature`].
    pub fn fit_isotonic(validation: &Validation<LabelledLogits<'_>>) -> Result<Self, Error> {
        let (logits, targets) = checked(validation.data())?;
        let scores: Vec<Vec<f64>> = logits
            .iter()
            .map(|logits| softmax(logits.iter().copied()))
            .collect();
        let curve = |class: usize| {
            let points = scores
                .iter()
                .zip(targets)
                .map(|(scores, &target)| (scores[class], if target == class { 1.0 } else { 0.0 }));
            RisingCurve::fit(points.collect())
        };
        Ok(Self::Isotonic {
            curves: (0..logits[0].len()).map(curve).collect(),
        })
    }

    /// The scores of `logits`: a distribution over the classes.
    ///
    /// # Errors
    /// Logits that are not finite, or not one for each class that the calibration was fitted for; a temperature that is not above 0.
    pub fn scores(&self, logits: &[f32]) -> Result<Vec<f32>, Error> {
        if logits.is_empty() || logits.iter().any(|logit| !logit.is_finite()) {
            return Err(ErrorKind::Logits.into());
        }
        let of_classes = |classes: usize| match classes == logits.len() {
            true => Ok(()),
            false => Err(Error::from(ErrorKind::Lengths {
                labels: classes,
                scores: logits.len(),
            })),
        };
        let logits = logits.iter().map(|&logit| f64::from(logit));
        let scores = match self {
            Self::Temperature { temperature } => {
                if !(*temperature > 0.0 && temperature.is_finite()) {
                    return Err(ErrorKind::Temperature(*temperature).into());
                }
                softmax(logits.map(|logit| logit / temperature))
            }
            Self::Vector { scale, bias } => {
                of_classes(scale.len())?;
                of_classes(bias.len())?;
                softmax(
                    logits
                        .zip(scale.iter().zip(bias))
                        .map(|(z, (w, b))| w * z + b),
                )
            }
            Self::Isotonic { curves } => {
                of_classes(curves.len())?;
                let plain = softmax(logits);
                let raw: Vec<f64> = curves
                    .iter()
                    .zip(&plain)
                    .map(|(curve, &p)| curve.at(p))
                    .collect();
                let sum: f64 = raw.iter().sum();
                match sum > 0.0 {
                    true => raw.iter().map(|score| score / sum).collect(),
                    // Every class says no: nothing was learned about such scores, so they stay.
                    false => plain,
                }
            }
        };
        Ok(scores.into_iter().map(|score| score as f32).collect())
    }
}

impl Calibration {
    /// The name of its method, as recipes and cards have it.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Temperature { .. } => "temperature",
            Self::Vector { .. } => "vector",
            Self::Isotonic { .. } => "isotonic",
        }
    }

    /// Refuses what a file may hold and no fit gives.
    ///
    /// # Errors
    /// As [`Calibration::scores`], for `num_classes` logits; curves that are no functions, or numbers that are not finite.
    pub fn check(&self, num_classes: usize) -> Result<(), Error> {
        self.scores(&vec![0.0; num_classes])?;
        let are_finite = |numbers: &[f64]| numbers.iter().all(|number| number.is_finite());
        let is_rising = |numbers: &[f64]| numbers.windows(2).all(|pair| pair[0] <= pair[1]);
        let is_sound = match self {
            Self::Temperature { .. } => true,
            Self::Vector { scale, bias } => are_finite(scale) && are_finite(bias),
            Self::Isotonic { curves } => curves.iter().all(|curve| {
                curve.x.len() == curve.y.len()
                    && [&curve.x, &curve.y]
                        .iter()
                        .all(|side| are_finite(side) && is_rising(side))
            }),
        };
        match is_sound {
            true => Ok(()),
            false => Err(ErrorKind::Calibration.into()),
        }
    }
}

impl std::fmt::Display for Calibration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Temperature { temperature } => write!(f, "temperature {temperature:.3}"),
            Self::Vector { .. } => f.write_str("a factor and a summand a class"),
            Self::Isotonic { .. } => f.write_str("a rising curve a class"),
        }
    }
}

impl RisingCurve {
    /// The rising curve with the least squared distance to `(x, y)`, by pooling adjacent violators. Ayer et al., Annals of
    /// Mathematical Statistics 26 (1955), pp. 641-647.
    fn fit(mut points: Vec<(f64, f64)>) -> Self {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Blocks of (first x, last x, sum of y, number): first of equal x, then of what would fall.
        let mut blocks: Vec<(f64, f64, f64, f64)> = Vec::new();
        for (x, y) in points {
            match blocks.last_mut() {
                Some(last) if last.1 == x => {
                    last.2 += y;
                    last.3 += 1.0;
                }
                _ => blocks.push((x, x, y, 1.0)),
            }
        }
        let mut pooled: Vec<(f64, f64, f64, f64)> = Vec::new();
        for mut block in blocks {
            while let Some(last) = pooled.last()
                && last.2 / last.3 >= block.2 / block.3
            {
                block = (last.0, block.1, last.2 + block.2, last.3 + block.3);
                pooled.pop();
            }
            pooled.push(block);
        }
        let mut curve = Self {
            x: Vec::new(),
            y: Vec::new(),
        };
        for (first, last, sum, number) in pooled {
            for x in if first == last {
                vec![first]
            } else {
                vec![first, last]
            } {
                curve.x.push(x);
                curve.y.push(sum / number);
            }
        }
        curve
    }

    /// The height at `x`.
    fn at(&self, x: f64) -> f64 {
        let after = self.x.partition_point(|&point| point <= x);
        match after {
            0 => self.y.first().copied().unwrap_or(0.0),
            _ if after == self.x.len() => self.y.last().copied().unwrap_or(0.0),
            _ => {
                let [x0, x1] = [self.x[after - 1], self.x[after]];
                let [y0, y1] = [self.y[after - 1], self.y[after]];
                y0 + (y1 - y0) * (x - x0) / (x1 - x0)
            }
        }
    }
}

/// Logits in f64 with their targets, fit to be fitted.
fn checked<'a>(data: &LabelledLogits<'a>) -> Result<(Vec<Vec<f64>>, &'a [usize]), Error> {
    let LabelledLogits { targets, logits } = *data;
    if targets.len() != logits.len() {
        let (labels, scores) = (targets.len(), logits.len());
        return Err(ErrorKind::Lengths { labels, scores }.into());
    }
    let classes = logits.first().ok_or(ErrorKind::NoItems)?.len();
    if classes < 2 {
        return Err(ErrorKind::TooFewClasses(classes).into());
    }
    for (position, (logits, &target)) in logits.iter().zip(targets).enumerate() {
        let item = || format!("at position {position}");
        let kind = if target >= classes {
            ErrorKind::Target {
                item: item(),
                target,
                classes,
            }
        } else if logits.len() != classes {
            ErrorKind::NumScores {
                item: item(),
                scores: logits.len(),
                classes,
            }
        } else if logits.iter().any(|logit| !logit.is_finite()) {
            ErrorKind::ScoreAt(position)
        } else {
            continue;
        };
        return Err(kind.into());
    }
    let wide = |logits: &Vec<f32>| logits.iter().map(|&logit| f64::from(logit)).collect();
    Ok((logits.iter().map(wide).collect(), targets))
}

/// Scores of one item's logits by softmax, before any calibration. A logit that is not finite gives scores that are not.
pub fn scores_from_logits(logits: &[f32]) -> Vec<f32> {
    softmax(logits.iter().map(|&logit| f64::from(logit)))
        .into_iter()
        .map(|score| score as f32)
        .collect()
}

/// Softmax of finite logits.
pub(crate) fn softmax(logits: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let top = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = logits.map(|logit| (logit - top).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|exp| exp / sum).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::assert_refused;

    #[test]
    fn a_calibration_is_stored_as_text() {
        let fitted = [
            Calibration::Temperature { temperature: 1.7 },
            Calibration::Vector {
                scale: vec![1.0, 0.5],
                bias: vec![0.0, -0.1],
            },
            Calibration::Isotonic {
                curves: vec![
                    RisingCurve {
                        x: vec![0.1, 0.9],
                        y: vec![0.0, 1.0]
                    };
                    2
                ],
            },
        ];
        for calibration in fitted {
            let text = serde_json::to_string(&calibration).expect("plain data");
            let read: Calibration = serde_json::from_str(&text).expect("its own text");
            assert_eq!(read, calibration, "{text}");
        }
    }

    #[test]
    fn unusable_logits_are_refused() {
        let fit = |targets: &[usize], logits: &[Vec<f32>]| {
            let data = LabelledLogits { targets, logits };
            Calibration::fit_temperature(
                &Validation::of_split("validation", data).expect("validation"),
            )
        };
        let cases = [
            (fit(&[], &[]), "no items"),
            (fit(&[0], &[vec![1.0]]), "1 class(es)"),
            (fit(&[0, 1], &[vec![1.0, 0.0]]), "2 labels and 1 scores"),
            (fit(&[2], &[vec![1.0, 0.0]]), "has class 2"),
            (fit(&[0], &[vec![f32::NAN, 0.0]]), "not finite"),
        ];
        assert_refused(cases);
        let fitted = Calibration::Vector {
            scale: vec![1.0; 3],
            bias: vec![0.0; 3],
        };
        for logits in [&[0.0_f32, 1.0][..], &[f32::NAN; 3], &[]] {
            assert!(fitted.scores(logits).is_err(), "{logits:?}");
        }
        assert!(
            Calibration::Temperature { temperature: 0.0 }
                .scores(&[0.0, 1.0])
                .is_err()
        );
    }

    fn data() -> impl Strategy<Value = (Vec<usize>, Vec<Vec<f32>>)> {
        let item = (0_usize..3, prop::collection::vec(-8.0_f32..8.0, 3));
        prop::collection::vec(item, 1..30).prop_map(|items| items.into_iter().unzip())
    }

    proptest! {
        #[test]
        fn scores_are_distributions_and_temperature_keeps_the_order((targets, logits) in data()) {
            let data = LabelledLogits { targets: &targets, logits: &logits };
            let validation = Validation::of_split("validation", data).expect("validation");
            let temperature = Calibration::fit_temperature(&validation).expect("sound logits");
            let vector = Calibration::fit_vector(&validation).expect("sound logits");
            let isotonic = Calibration::fit_isotonic(&validation).expect("sound logits");
            for logits in &logits {
                for calibration in [&temperature, &vector, &isotonic] {
                    let scores = calibration.scores(logits).expect("sound logits");
                    prop_assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{scores:?}");
                    prop_assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)), "{scores:?}");
                }
                let scores = temperature.scores(logits).expect("sound logits");
                for (a, b) in [(0, 1), (1, 2), (0, 2)] {
                    prop_assert!((logits[a] - logits[b]) * (scores[a] - scores[b]) >= 0.0);
                }
            }
        }
    }
}
