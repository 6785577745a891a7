//! How a bundle's logits become an answer: views, calibration, the threshold below which it is silent, smoothing.

use marey_clip::Sampling;
use marey_eval::{Calibration, Smoothing, ViewAggregate, scores_from_logits};
use marey_transform::{Preprocess, SpatialViews};
use serde::{Deserialize, Serialize};

/// The `[answer]` part of a card. Evaluation, prediction and live streams all answer by it.
///
/// The order is: the views of a clip are taken together, the calibration makes scores of their logits, smoothing mixes the
/// scores of windows, and an answer whose best score is below the threshold is "uncertain".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answering {
    /// Clips of one item, spread over time; `None` is what the card's sampling says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub views: Option<usize>,
    /// Crops of each clip: 1, 3 or 5, see [`SpatialViews`].
    #[serde(skip_serializing_if = "is_one")]
    pub crops: usize,
    /// Whether each crop is looked at in the mirror as well.
    #[serde(skip_serializing_if = "is_no")]
    pub flip: bool,
    /// How views are taken together.
    #[serde(skip_serializing_if = "is_default")]
    pub aggregate: ViewAggregate,
    /// What [`Answering::fingerprint`] gave when calibration and threshold were fitted; `None` where there is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fitted_for: Option<String>,
    /// Below which best score the answer is "uncertain"; `None` where it never is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
    /// What the log-odds of anomalous against normal are divided by, above 0; `None` where that was not fitted and is 1. Only
    /// with [`Task::Anomaly`](crate::Task::Anomaly).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anomaly_temperature: Option<f64>,
    /// How the scores of windows are smoothed; `None` where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing: Option<Smoothing>,
    /// What makes scores of logits; `None` is softmax alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Fitted>,
}

/// A calibration and what it was fitted on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fitted {
    /// Items of the validation split.
    pub items: usize,
    /// The calibration.
    pub by: Calibration,
}

/// A threshold and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejection {
    /// An answer whose best score is below this is "uncertain", 0 to 1.
    pub below: f64,
    /// How it was chosen, in words, such as `80 % of 51 validation items are answered`.
    pub rule: String,
}

impl Default for Answering {
    fn default() -> Self {
        Self {
            views: None,
            crops: 1,
            flip: false,
            aggregate: ViewAggregate::Mean,
            fitted_for: None,
            rejection: None,
            anomaly_temperature: None,
            smoothing: None,
            calibration: None,
        }
    }
}

impl Answering {
    /// The sampling with as many views as are judged.
    pub fn sampling(&self, sampling: &Sampling) -> Sampling {
        let views = self.views.unwrap_or(sampling.views);
        sampling.clone().with_views(views)
    }

    /// The crops of each clip.
    pub const fn spatial(&self) -> SpatialViews {
        SpatialViews {
            crops: self.crops,
            flip: self.flip,
        }
    }

    /// Clips of one item that go through the model.
    pub fn num_views(&self, sampling: &Sampling) -> usize {
        self.sampling(sampling).views * self.spatial().count()
    }

    /// The views in words, such as `4 clips, 3 crops, each with its mirror image, mean of scores`.
    pub fn views_in_words(&self, sampling: &Sampling) -> String {
        let count = |number: usize, noun: &str| match number {
            1 => format!("1 {noun}"),
            _ => format!("{number} {noun}s"),
        };
        let mut words = vec![
            count(self.sampling(sampling).views, "clip"),
            count(self.crops, "crop"),
        ];
        if self.flip {
            words.push("each with its mirror image".to_owned());
        }
        words.push(
            match self.aggregate {
                ViewAggregate::Mean => "mean of scores",
                ViewAggregate::Logits => "mean of logits",
                ViewAggregate::Max => "highest score of each class",
            }
            .to_owned(),
        );
        words.join(", ")
    }

    /// The scores of an item's logits.
    ///
    /// # Errors
    /// When a logit is not finite, or the calibration does not fit them.
    pub fn scores(&self, logits: &[f32]) -> Result<Vec<f32>, marey_eval::Error> {
        match &self.calibration {
            Some(fitted) => fitted.by.scores(logits),
            None => Ok(scores_from_logits(logits)),
        }
    }

    /// The probability that something anomalous happens, from the log-odds that a model says.
    pub fn anomaly_probability(&self, log_odds: f32) -> f32 {
        let temperature = self.anomaly_temperature.unwrap_or(1.0);
        (1.0 / (1.0 + (-f64::from(log_odds) / temperature).exp())) as f32
    }

    /// Whether the best of `scores` is too low for an answer.
    pub fn is_uncertain(&self, scores: &[f32]) -> bool {
        let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let below = |rejection: &Rejection| f64::from(best) < rejection.below;
        self.rejection.as_ref().is_some_and(below)
    }

    /// A short name for all that decides which logits an item gets: sampling, preprocessing and views. A calibration or a
    /// threshold that was fitted on other logits means nothing.
    pub fn fingerprint(&self, sampling: &Sampling, preprocess: &Preprocess) -> String {
        format!(
            "{:?} {:?} {} {}, {} views, {} crops{}, {:?}",
            sampling.mode,
            sampling.frames,
            sampling.step(),
            preprocess.fingerprint(),
            self.sampling(sampling).views,
            self.crops,
            if self.flip { " and mirrors" } else { "" },
            self.aggregate
        )
    }

    /// Checks what a card holds, or is to hold, beside this sampling and preprocessing.
    ///
    /// # Errors
    /// A sentence: when views cannot work or have no effect, a number is out of its range, or calibration and threshold were
    /// fitted for other views.
    pub fn validate(
        &self,
        sampling: &Sampling,
        preprocess: &Preprocess,
        num_classes: usize,
    ) -> Result<(), String> {
        self.sampling(sampling)
            .validate()
            .map_err(|error| error.to_string())?;
        self.spatial()
            .validate(preprocess)
            .map_err(|error| error.to_string())?;
        self.validate_values(num_classes)?;
        let found = self.fingerprint(sampling, preprocess);
        match &self.fitted_for {
            Some(expected) if *expected != found => Err(format!(
                "its calibration or threshold was fitted for [{expected}], but the card says [{found}]: restore the \
                 views of the card, or fit them again by `marey calibrate`"
            )),
            None if self.calibration.is_some() => Err(
                "answer.calibration without answer.fitted_for: fit it by `marey calibrate`"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }

    /// Checks the numbers.
    pub(crate) fn validate_values(&self, num_classes: usize) -> Result<(), String> {
        if let Some(smoothing) = &self.smoothing {
            smoothing
                .validate()
                .map_err(|error| error.kind().to_string())?;
        }
        if let Some(Rejection { below, .. }) = &self.rejection
            && !(0.0..=1.0).contains(below)
        {
            return Err(format!(
                "answer.rejection.below is {below}, it must lie in 0..=1"
            ));
        }
        if let Some(temperature) = self.anomaly_temperature
            && !(temperature > 0.0 && temperature.is_finite())
        {
            return Err(format!(
                "answer.anomaly_temperature is {temperature}, it must be above 0"
            ));
        }
        if let Some(fitted) = &self.calibration {
            fitted
                .by
                .check(num_classes)
                .map_err(|error| error.kind().to_string())?;
        }
        Ok(())
    }
}

fn is_one(number: &usize) -> bool {
    *number == 1
}

fn is_no(flag: &bool) -> bool {
    !flag
}

fn is_default(aggregate: &ViewAggregate) -> bool {
    *aggregate == ViewAggregate::default()
}

#[cfg(test)]
mod tests {
    use marey_transform::Resize;

    use super::*;

    fn fitted() -> (Answering, Sampling, Preprocess) {
        let sampling = Sampling::dense(8, 2);
        let preprocess = Preprocess::new([32, 32], Resize::ShortSide);
        let mut answer = Answering {
            views: Some(4),
            crops: 3,
            flip: true,
            aggregate: ViewAggregate::Logits,
            rejection: Some(Rejection {
                below: 0.6,
                rule: "given".into(),
            }),
            smoothing: Some(Smoothing::Mean { windows: 3 }),
            calibration: Some(Fitted {
                items: 40,
                by: Calibration::Temperature { temperature: 2.0 },
            }),
            ..Answering::default()
        };
        answer.fitted_for = Some(answer.fingerprint(&sampling, &preprocess));
        (answer, sampling, preprocess)
    }

    #[test]
    fn an_answer_is_stored_as_text() {
        let (answer, sampling, preprocess) = fitted();
        let text = toml::to_string_pretty(&answer).expect("plain data");
        let read: Answering = toml::from_str(&text).expect("its own text");
        assert_eq!(read, answer, "{text}");
        assert_eq!(read.validate(&sampling, &preprocess, 2), Ok(()));
        assert_eq!(read.num_views(&sampling), 24);
        assert_eq!(
            read.views_in_words(&sampling),
            "4 clips, 3 crops, each with its mirror image, mean of logits"
        );
        // A plain answer takes no line.
        let plain = toml::to_string_pretty(&Answering::default()).expect("plain data");
        assert_eq!(plain, "");
    }

    #[test]
    fn logits_become_scores_and_unsure_ones_no_answer() {
        let (answer, ..) = fitted();
        // ln 9 / 2 = ln 3: 3 to 1.
        let scores = answer.scores(&[9_f32.ln(), 0.0]).expect("finite");
        assert!((scores[0] - 0.75).abs() < 1e-6, "{scores:?}");
        assert!(!answer.is_uncertain(&scores));
        assert!(answer.is_uncertain(&[0.59, 0.41]));
        assert!(!Answering::default().is_uncertain(&[0.5, 0.5]));
        let plain = Answering::default().scores(&[9_f32.ln(), 0.0]);
        assert!((plain.expect("finite")[0] - 0.9).abs() < 1e-6);
    }

    #[test]
    fn what_was_fitted_for_other_views_is_refused() {
        let (mut answer, sampling, preprocess) = fitted();
        answer.flip = false;
        let error = answer
            .validate(&sampling, &preprocess, 2)
            .expect_err("other views");
        assert!(error.contains("marey calibrate"), "{error}");
        let (mut answer, ..) = fitted();
        answer.rejection = Some(Rejection {
            below: 1.5,
            rule: String::new(),
        });
        assert!(answer.validate(&sampling, &preprocess, 2).is_err());
        let (mut answer, ..) = fitted();
        answer.calibration = Some(Fitted {
            items: 1,
            by: Calibration::Vector {
                scale: vec![1.0; 3],
                bias: vec![0.0; 3],
            },
        });
        assert!(answer.validate(&sampling, &preprocess, 2).is_err());
    }
}
