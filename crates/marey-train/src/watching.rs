//! `[eval.events]` and `[eval.anomaly]`: what is judged on whole recordings, in sliding windows.

use marey_eval::{Aggregate, AlarmRules, Costs, EventRules};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `[eval.events]` section: events found in recordings, late or not, and alarms about nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// Seconds of a window (default: the median length of the labelled spans of the training split).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<f64>,
    /// Seconds between the starts of two windows (default: half a window).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop: Option<f64>,
    /// Classes that are no events, such as `"no_action"` (default: every class is one).
    pub background: Vec<String>,
    /// The lowest best score of a window that counts, 0 to 1 (default 0.5).
    pub on: f64,
    /// Windows of the same class in a row that make an alarm (default 1).
    pub min_windows: usize,
    /// Intersection over union in time from which on an alarm has found an event, above 0, at most 1 (default 0.5).
    pub overlap: f64,
}

impl Default for EventsConfig {
    fn default() -> Self {
        let rules = AlarmRules::default();
        Self {
            window: None,
            hop: None,
            background: Vec::new(),
            on: rules.on,
            min_windows: rules.min_windows,
            overlap: EventRules::default().min_overlap,
        }
    }
}

impl EventsConfig {
    /// When windows become an alarm.
    pub const fn alarm_rules(&self) -> AlarmRules {
        AlarmRules {
            on: self.on,
            min_windows: self.min_windows,
        }
    }

    /// When an alarm has found an event.
    pub fn event_rules(&self) -> EventRules {
        EventRules {
            min_overlap: self.overlap,
            ..EventRules::default()
        }
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        self.alarm_rules()
            .validate()
            .map_err(|error| format!("eval.events: {}", error.kind()))?;
        if !(self.overlap > 0.0 && self.overlap <= 1.0) {
            return Err(format!(
                "eval.events.overlap is {}, it must be above 0 and at most 1",
                self.overlap
            ));
        }
        validate_windows("eval.events", self.window, self.hop)
    }
}

/// The `[eval.anomaly]` section: how anomalous each frame and each recording looks, where the score of a window is 1 less that
/// of the normal class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnomalyConfig {
    /// The class of what is normal (default: that of the task, where `task.kind = "anomaly"`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normal: Option<String>,
    /// Seconds of a window (default: the median length of the labelled spans of the training split).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<f64>,
    /// Seconds between the starts of two windows (default: half a window).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<f64>,
    /// Windows of the mean of the highest scores, one way to sum up a recording (default 3).
    #[serde(default = "three")]
    pub top: usize,
    /// Threshold of the share of windows above it, another way (default 0.5).
    #[serde(default = "half")]
    pub over: f64,
    /// Which of the ways to sum up a recording decides whether it is called anomalous (default `"top"`).
    #[serde(default)]
    pub verdict: VerdictBy,
    /// What a false alarm and a miss cost, for the threshold of the verdict (default: normal and anomalous recordings weigh the
    /// same, however many there are of each).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<Costs>,
}

/// The score that decides about a whole recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictBy {
    /// The mean over its windows.
    Mean,
    /// Its highest window.
    Highest,
    /// The mean of its [`AnomalyConfig::top`] highest windows.
    #[default]
    Top,
    /// The share of its windows above [`AnomalyConfig::over`].
    Over,
}

const fn three() -> usize {
    3
}

const fn half() -> f64 {
    0.5
}

impl AnomalyConfig {
    /// How the windows of a recording become the score that decides about it.
    pub const fn verdict_aggregate(&self) -> Aggregate {
        match self.verdict {
            VerdictBy::Mean => Aggregate::Mean,
            VerdictBy::Highest => Aggregate::Max,
            VerdictBy::Top => Aggregate::TopMean(self.top),
            VerdictBy::Over => Aggregate::ShareOver(self.over),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        if self.top == 0 {
            return Err("eval.anomaly.top is 0, it must be at least 1".to_owned());
        }
        if !(0.0..=1.0).contains(&self.over) {
            return Err(format!(
                "eval.anomaly.over is {}, it must lie in 0..=1",
                self.over
            ));
        }
        if let Some(Costs { false_alarm, miss }) = self.costs
            && ![false_alarm, miss]
                .iter()
                .all(|cost| *cost > 0.0 && cost.is_finite())
        {
            return Err(format!(
                "eval.anomaly.costs is {{ false_alarm = {false_alarm}, miss = {miss} }}, both must be above 0"
            ));
        }
        validate_windows("eval.anomaly", self.window, self.hop)
    }
}

fn validate_windows(section: &str, window: Option<f64>, hop: Option<f64>) -> Result<(), String> {
    for (key, seconds) in [("window", window), ("hop", hop)] {
        if let Some(seconds) = seconds
            && !(0.001..=1e6).contains(&seconds)
        {
            return Err(format!(
                "{section}.{key} is {seconds}, it must be a number of seconds of at least 0.001"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused() {
        let events = EventsConfig::default;
        let cases = [
            (
                EventsConfig {
                    on: 1.5,
                    ..events()
                },
                "eval.events",
            ),
            (
                EventsConfig {
                    min_windows: 0,
                    ..events()
                },
                "eval.events",
            ),
            (
                EventsConfig {
                    overlap: 0.0,
                    ..events()
                },
                "overlap",
            ),
            (
                EventsConfig {
                    hop: Some(f64::NAN),
                    ..events()
                },
                "eval.events.hop",
            ),
        ];
        assert_eq!(events().validate(), Ok(()));
        for (config, part) in cases {
            let error = config.validate().expect_err(part);
            assert!(error.contains(part), "{error}");
        }
        let anomaly: AnomalyConfig = toml::from_str("normal = \"quiet\"").expect("valid");
        assert_eq!((anomaly.top, anomaly.over), (3, 0.5));
        assert_eq!(anomaly.verdict_aggregate(), Aggregate::TopMean(3));
        assert_eq!(anomaly.validate(), Ok(()));
        let free = AnomalyConfig {
            costs: Some(Costs {
                false_alarm: 0.0,
                miss: 1.0,
            }),
            ..anomaly.clone()
        };
        let error = free.validate().expect_err("costs nothing");
        assert!(error.contains("both must be above 0"), "{error}");
        let none = AnomalyConfig { top: 0, ..anomaly };
        assert!(none.validate().is_err());
    }
}
