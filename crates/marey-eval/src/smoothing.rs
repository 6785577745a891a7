//! Smoothing of window scores along time, with the past only, so that a stream can be smoothed the same way.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind};

/// How the scores of a window are mixed with those of the windows before it. Scores stay a distribution over the classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Smoothing {
    /// The mean of the last windows, the present one included; of fewer at the start.
    Mean {
        /// How many, at least 2.
        windows: usize,
    },
    /// `weight * scores + (1 - weight) * smoothed before`, from the first window's own scores on (Brown's exponential
    /// smoothing).
    Exponential {
        /// Share of the present window, above 0 and below 1: the lower, the smoother and the later.
        weight: f64,
    },
}

impl Smoothing {
    /// Checks what a person wrote.
    ///
    /// # Errors
    /// Fewer than 2 windows, a weight outside (0, 1).
    pub fn validate(&self) -> Result<(), Error> {
        match *self {
            Self::Mean { windows } if windows < 2 => Err(ErrorKind::SmoothingWindows(windows)),
            Self::Exponential { weight } if !(weight > 0.0 && weight < 1.0) => {
                Err(ErrorKind::SmoothingWeight(weight))
            }
            _ => Ok(()),
        }
        .map_err(Error::from)
    }

    /// The scores of windows in order of time, smoothed.
    ///
    /// # Panics
    /// If the windows do not have equally many scores.
    pub fn apply(&self, windows: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let mut state: Vec<f64> = Vec::new();
        let mut smoothed = Vec::with_capacity(windows.len());
        for (idx, scores) in windows.iter().enumerate() {
            match *self {
                Self::Mean { windows: count } => {
                    let recent = &windows[(idx + 1).saturating_sub(count)..=idx];
                    let mean = |class: usize| {
                        let sum: f64 = recent.iter().map(|scores| f64::from(scores[class])).sum();
                        sum / recent.len() as f64
                    };
                    state = (0..scores.len()).map(mean).collect();
                }
                Self::Exponential { weight } if idx > 0 => {
                    assert_eq!(state.len(), scores.len(), "equally many scores");
                    for (state, &score) in state.iter_mut().zip(scores) {
                        *state = weight * f64::from(score) + (1.0 - weight) * *state;
                    }
                }
                Self::Exponential { .. } => {
                    state = scores.iter().map(|&score| f64::from(score)).collect();
                }
            }
            smoothed.push(state.iter().map(|&score| score as f32).collect());
        }
        smoothed
    }
}

impl std::fmt::Display for Smoothing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mean { windows } => write!(f, "mean:{windows}"),
            Self::Exponential { weight } => write!(f, "exponential:{weight}"),
        }
    }
}

impl std::str::FromStr for Smoothing {
    type Err = String;

    /// Reads what `Display` writes: `mean:5`, `exponential:0.3`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no smoothing: write `mean:5` (windows) or `exponential:0.3` (share of the present window)"
            )
        };
        let (kind, number) = text.split_once(':').ok_or_else(wrong)?;
        let smoothing = match kind {
            "mean" => Self::Mean {
                windows: number.parse().map_err(|_| wrong())?,
            },
            "exponential" => Self::Exponential {
                weight: number.parse().map_err(|_| wrong())?,
            },
            _ => return Err(wrong()),
        };
        smoothing
            .validate()
            .map_err(|error| error.kind().to_string())?;
        Ok(smoothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smoothed(smoothing: Smoothing, first: &[f32]) -> Vec<f32> {
        let windows: Vec<Vec<f32>> = first.iter().map(|&p| vec![p, 1.0 - p]).collect();
        let found = smoothing.apply(&windows);
        for scores in &found {
            assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        found.iter().map(|scores| scores[0]).collect()
    }

    #[test]
    fn the_past_is_mixed_in_and_the_future_is_not() {
        let spike = [0.0, 0.0, 1.0, 0.0, 0.0];
        let mean = smoothed(Smoothing::Mean { windows: 2 }, &spike);
        assert_eq!(mean, [0.0, 0.0, 0.5, 0.5, 0.0]);
        let exponential = smoothed(Smoothing::Exponential { weight: 0.5 }, &spike);
        assert_eq!(exponential, [0.0, 0.0, 0.5, 0.25, 0.125]);
        // The first window stands for itself.
        let start = smoothed(Smoothing::Mean { windows: 3 }, &[0.5, 1.0, 0.0]);
        assert_eq!(start, [0.5, 0.75, 0.5]);
        assert!(Smoothing::Mean { windows: 2 }.apply(&[]).is_empty());
    }

    #[test]
    fn text_and_back() {
        for text in ["mean:5", "exponential:0.3"] {
            let smoothing: Smoothing = text.parse().expect("valid");
            assert_eq!(smoothing.to_string(), text);
        }
        for text in [
            "mean",
            "mean:1",
            "mean:x",
            "exponential:1",
            "exponential:nan",
            "median:3",
        ] {
            let error = text.parse::<Smoothing>().expect_err(text);
            assert!(!error.is_empty());
        }
    }
}
