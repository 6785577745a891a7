//! The `[eval]` section: what is judged and reported, and how the bundle answers.

use marey_clip::Sampling;
use marey_eval::{Smoothing, ViewAggregate};
use marey_model::Answering;
use marey_transform::{Preprocess, SpatialViews};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AnomalyConfig, EventsConfig};

/// The `[eval]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// Draws of the group bootstrap (default 1000).
    pub bootstrap_draws: usize,
    /// Also trains the same model with the same budget on single frames, as a baseline of the report (default false).
    pub single_frame_baseline: bool,
    /// Also scores the training split, and reports how much better the model is there (default false).
    pub gap: bool,
    /// Clips of one item in evaluation and prediction, at least 2 (default: as `sampling.views` says).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub views: Option<usize>,
    /// Crops of each clip: 1 (the middle), 3 (along the longer side) or 5 (the middle and the corners); default 1.
    pub crops: usize,
    /// Look at each crop in the mirror as well (default false). Not where left and right are different classes.
    pub flip: bool,
    /// How clips, crops and mirror images of one item are taken together (default `"mean"`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<ViewAggregate>,
    /// Validate after each epoch with all these clips, crops and mirror images too (default false: with one middle crop of
    /// the clips of `sampling.views`).
    pub validate_views: bool,
    /// What is fitted on the validation split so that scores mean what they say (default: nothing).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationMethod>,
    /// Below which score the answer is "uncertain", 0 to 1 (default: it never is).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject_below: Option<f64>,
    /// The same, as the share of validation items that are to be answered, above 0 and below 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
    /// The same, as the share of the answered validation items that are to be right, above 0, at most 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// How the scores of windows are smoothed by `marey predict --window` and in event figures (default: not).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing: Option<Smoothing>,
    /// Also judge the events of whole recordings, in sliding windows (default: not; `marey eval --events` does too).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<EventsConfig>,
    /// Also judge how anomalous frames and whole recordings look (default: not).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anomaly: Option<AnomalyConfig>,
}

/// What is fitted on the validation split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationMethod {
    /// One temperature: the order of the classes stays as it is.
    Temperature,
    /// A factor and a summand a class.
    Vector,
    /// A rising curve a class. It wants hundreds of items a class.
    Isotonic,
}

/// How the threshold is chosen below which an answer is "uncertain".
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RejectionRule {
    /// It is given.
    Below(f64),
    /// This share of the validation items is answered.
    Coverage(f64),
    /// This share of the answered validation items is right.
    Accuracy(f64),
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            bootstrap_draws: 1000,
            single_frame_baseline: false,
            gap: false,
            views: None,
            crops: 1,
            flip: false,
            aggregate: None,
            validate_views: false,
            calibration: None,
            reject_below: None,
            coverage: None,
            accuracy: None,
            smoothing: None,
            events: None,
            anomaly: None,
        }
    }
}

impl EvalConfig {
    /// How the threshold is chosen, where there is one.
    pub fn rejection(&self) -> Option<RejectionRule> {
        let given = self.reject_below.map(RejectionRule::Below);
        let coverage = self.coverage.map(RejectionRule::Coverage);
        let accuracy = self.accuracy.map(RejectionRule::Accuracy);
        given.or(coverage).or(accuracy)
    }

    /// The key that needs a validation split, where there is one.
    pub fn needs_validation(&self) -> Option<&'static str> {
        [
            ("eval.calibration", self.calibration.is_some()),
            ("eval.coverage", self.coverage.is_some()),
            ("eval.accuracy", self.accuracy.is_some()),
        ]
        .into_iter()
        .find_map(|(key, is_set)| is_set.then_some(key))
    }

    /// How the bundle answers before anything is fitted.
    pub fn answering(&self) -> Answering {
        Answering {
            views: self.views,
            crops: self.crops,
            flip: self.flip,
            aggregate: self.aggregate.unwrap_or_default(),
            smoothing: self.smoothing,
            ..Answering::default()
        }
    }

    /// How validation after an epoch looks at an item.
    pub fn validating(&self) -> Answering {
        if self.validate_views {
            self.answering()
        } else {
            Answering::default()
        }
    }

    pub(crate) fn validate(
        &self,
        sampling: &Sampling,
        preprocess: &Preprocess,
    ) -> Result<(), String> {
        if self.bootstrap_draws == 0 {
            return Err("eval.bootstrap_draws is 0, it must be at least 1".to_owned());
        }
        self.validate_looks(sampling, preprocess)?;
        let rules = [
            ("eval.reject_below", self.reject_below),
            ("eval.coverage", self.coverage),
            ("eval.accuracy", self.accuracy),
        ];
        let set: Vec<&str> = rules
            .iter()
            .filter(|(_, value)| value.is_some())
            .map(|(key, _)| *key)
            .collect();
        if let [first, second, ..] = set[..] {
            return Err(format!(
                "{first} and {second} both choose the threshold of \"uncertain\": keep one of them"
            ));
        }
        for (key, value) in rules {
            if let Some(value) = value
                && !(value > 0.0 && value <= 1.0)
            {
                return Err(format!(
                    "{key} is {value}, it must be above 0 and at most 1"
                ));
            }
        }
        if self.coverage == Some(1.0) {
            return Err("eval.coverage = 1 answers every item: remove it".to_owned());
        }
        if let Some(events) = &self.events {
            events.validate()?;
        }
        if let Some(anomaly) = &self.anomaly {
            anomaly.validate()?;
        }
        if let Some(smoothing) = &self.smoothing {
            smoothing
                .validate()
                .map_err(|error| format!("eval.smoothing: {}", error.kind()))?;
        }
        Ok(())
    }

    /// Checks the keys that say how an item is looked at.
    fn validate_looks(&self, sampling: &Sampling, preprocess: &Preprocess) -> Result<(), String> {
        if let Some(views) = self.views {
            if views < 2 {
                return Err(format!(
                    "eval.views is {views}, it must be at least 2: leave it out for one clip"
                ));
            }
            if sampling.views > 1 {
                return Err(
                    "eval.views and sampling.views both say how many clips of an item are judged: keep eval.views, with \
                     eval.validate_views = true for validation after each epoch"
                        .to_owned(),
                );
            }
            let with_views = sampling.clone().with_views(views);
            with_views
                .validate()
                .map_err(|error| error.to_string().replace("sampling.views", "eval.views"))?;
        }
        let spatial = SpatialViews {
            crops: self.crops,
            flip: self.flip,
        };
        spatial
            .validate(preprocess)
            .map_err(|error| error.to_string())?;
        let num_views = self.views.unwrap_or(sampling.views) * spatial.count();
        if num_views == 1 && self.aggregate.is_some() {
            return Err(
                "eval.aggregate has no effect on one view: set eval.views, eval.crops or eval.flip, or remove it"
                    .to_owned(),
            );
        }
        if self.validate_views && self.views.is_none() && spatial.count() == 1 {
            return Err(
                "eval.validate_views has no effect without eval.views, eval.crops or eval.flip: set one, or remove it"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use marey_transform::Resize;

    use super::*;

    fn check(config: &EvalConfig, part: &str) {
        let sampling = Sampling::dense(8, 1);
        let preprocess = Preprocess::new([32, 32], Resize::Stretch);
        let error = config
            .validate(&sampling, &preprocess)
            .expect_err("a section that cannot work");
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn keys_without_effect_are_refused() {
        let plain = EvalConfig::default;
        check(
            &EvalConfig {
                reject_below: Some(0.5),
                coverage: Some(0.5),
                ..plain()
            },
            "keep one of them",
        );
        check(
            &EvalConfig {
                aggregate: Some(ViewAggregate::Max),
                ..plain()
            },
            "eval.aggregate has no effect",
        );
        check(
            &EvalConfig {
                validate_views: true,
                ..plain()
            },
            "eval.validate_views has no effect",
        );
        check(
            &EvalConfig {
                crops: 3,
                ..plain()
            },
            "eval.crops",
        );
        check(
            &EvalConfig {
                views: Some(1),
                ..plain()
            },
            "at least 2",
        );
        for (coverage, part) in [
            (1.0, "answers every item"),
            (0.0, "above 0"),
            (1.5, "at most 1"),
        ] {
            check(
                &EvalConfig {
                    coverage: Some(coverage),
                    ..plain()
                },
                part,
            );
        }
        check(
            &EvalConfig {
                smoothing: Some(Smoothing::Mean { windows: 1 }),
                ..plain()
            },
            "eval.smoothing",
        );
        let views = EvalConfig {
            views: Some(3),
            ..plain()
        };
        let preprocess = Preprocess::new([32, 32], Resize::Stretch);
        let twice = views.validate(&Sampling::dense(8, 1).with_views(2), &preprocess);
        assert!(twice.expect_err("twice").contains("sampling.views"));
        // Those of a centred clip lie around it.
        let centered = views.validate(&Sampling::centered(8, 1), &preprocess);
        assert_eq!(centered, Ok(()));
    }

    #[test]
    fn what_is_fitted_needs_a_validation_split() {
        let config = EvalConfig {
            reject_below: Some(0.4),
            ..EvalConfig::default()
        };
        assert_eq!(config.needs_validation(), None);
        assert_eq!(config.rejection(), Some(RejectionRule::Below(0.4)));
        let config = EvalConfig {
            calibration: Some(CalibrationMethod::Vector),
            coverage: Some(0.8),
            flip: true,
            ..EvalConfig::default()
        };
        assert_eq!(config.needs_validation(), Some("eval.calibration"));
        assert_eq!(config.rejection(), Some(RejectionRule::Coverage(0.8)));
        // Validation after an epoch looks once, unless it is told to look more.
        assert_eq!(config.validating().spatial().count(), 1);
        assert_eq!(config.answering().spatial().count(), 2);
    }
}
