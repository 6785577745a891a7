//! The `[task]` section of a recipe: what a model learns to say about a clip. A bundle's card keeps it, since it decides which
//! outputs the model has.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a model learns to say about a clip (default `classify`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Task {
    /// One class of a list.
    Classify {
        /// Other columns of the manifest that are learned too, each by a head of its own, for example `["actor"]`
        /// (default: none).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        heads: Vec<String>,
    },
    /// One class of a list, and a score of how likely anything but `normal` happens: the three heads of the UCF-Crime
    /// anomaly systems.
    Anomaly {
        /// The class that stands for nothing happening, for example `NormalVideos`.
        normal: String,
        /// Weight of the cross-entropy of normal against anomalous beside the loss of the classes, above 0 (default 0.5).
        #[serde(default = "binary_weight")]
        binary_weight: f64,
        /// Also learn the distance from the centre of normal clips (default: off).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deep_svdd: Option<DeepSvdd>,
        /// Also learn a score that ranks the segments of anomalous videos above those of normal ones (default: off).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ranking: Option<Ranking>,
    },
}

/// Deep support vector data description with anomalies at hand: normal clips are drawn to a fixed centre (Ruff et al.,
/// "Deep One-Class Classification", ICML 2018, equation 4), and the mean distance of anomalous ones is pushed beyond that of
/// normal ones by a margin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DeepSvdd {
    /// Weight beside the other losses, above 0 (default 0.3).
    pub weight: f64,
    /// How much farther anomalous clips shall lie on average, in squared distance, at least 0 (default 1).
    pub margin: f64,
    /// Epochs over which the weight grows linearly from 0, a fraction allowed, at least 0 (default 0).
    pub warmup_epochs: f64,
}

impl Default for DeepSvdd {
    fn default() -> Self {
        Self {
            weight: 0.3,
            margin: 1.0,
            warmup_epochs: 0.0,
        }
    }
}

/// Multiple-instance ranking (Sultani, Chen and Shah, "Real-World Anomaly Detection in Surveillance Videos", CVPR 2018,
/// equations 6 and 7): an item is a bag of segments, and the highest score of an anomalous bag shall exceed the highest of a
/// normal one by 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ranking {
    /// Weight beside the other losses, above 0 (default 1).
    pub weight: f64,
    /// Equal parts that an item is cut into, with a clip from each, at least 2 (default 8; the paper's is 32).
    pub segments: usize,
    /// Weight of the squared difference between neighbouring segments of anomalous bags, at least 0 (default 8e-5).
    pub smoothness: f64,
    /// Weight of the sum of the scores of anomalous bags, at least 0 (default 8e-5).
    pub sparsity: f64,
}

impl Default for Ranking {
    fn default() -> Self {
        Self {
            weight: 1.0,
            segments: 8,
            smoothness: 8e-5,
            sparsity: 8e-5,
        }
    }
}

const fn binary_weight() -> f64 {
    0.5
}

impl Default for Task {
    fn default() -> Self {
        Self::Classify { heads: Vec::new() }
    }
}

impl Task {
    /// Checks what a person wrote.
    ///
    /// # Errors
    /// A sentence that names the key, the value and what is valid.
    pub fn validate(&self) -> Result<(), String> {
        let Self::Anomaly {
            normal,
            binary_weight,
            deep_svdd,
            ranking,
        } = self
        else {
            let twice = self
                .heads()
                .iter()
                .enumerate()
                .find(|(idx, head)| self.heads()[..*idx].contains(head));
            return match twice {
                Some((_, head)) => Err(format!(
                    "task.heads names `{head}` twice: remove one of them"
                )),
                None => Ok(()),
            };
        };
        if normal.is_empty() {
            return Err(
                "task.normal is empty: name the class that stands for nothing happening".into(),
            );
        }
        let svdd = deep_svdd.unwrap_or_default();
        let rank = ranking.unwrap_or_default();
        let weights = [
            ("task.binary_weight", *binary_weight),
            ("task.deep_svdd.weight", svdd.weight),
            ("task.ranking.weight", rank.weight),
        ];
        if let Some((key, value)) = weights
            .iter()
            .find(|(_, value)| !(*value > 0.0 && value.is_finite()))
        {
            return Err(format!("{key} is {value}, it must be above 0"));
        }
        let amounts = [
            ("task.deep_svdd.margin", svdd.margin),
            ("task.deep_svdd.warmup_epochs", svdd.warmup_epochs),
            ("task.ranking.smoothness", rank.smoothness),
            ("task.ranking.sparsity", rank.sparsity),
        ];
        if let Some((key, value)) = amounts
            .iter()
            .find(|(_, value)| !(*value >= 0.0 && value.is_finite()))
        {
            return Err(format!("{key} is {value}, it must be at least 0"));
        }
        if rank.segments < 2 {
            return Err(format!(
                "task.ranking.segments is {}, it must be at least 2",
                rank.segments
            ));
        }
        Ok(())
    }

    /// Columns with a head of their own, beside that of the classes.
    pub fn heads(&self) -> &[String] {
        match self {
            Self::Classify { heads } => heads,
            Self::Anomaly { .. } => &[],
        }
    }

    /// Clips of each item that a training step sees.
    pub fn segments(&self) -> usize {
        match self {
            Self::Anomaly {
                ranking: Some(ranking),
                ..
            } => ranking.segments,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Task, String> {
        let task: Task = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        task.validate().map(|()| task)
    }

    #[test]
    fn a_task_is_read_strictly() {
        assert_eq!(parse("kind = \"classify\""), Ok(Task::default()));
        let anomaly = parse("kind = \"anomaly\"\nnormal = \"NormalVideos\"\nranking = {}");
        assert_eq!(anomaly.map(|task| task.segments()), Ok(8));
        for (text, expect) in [
            ("kind = \"classify\"\nnormal = \"A\"", "unknown field"),
            (
                "kind = \"classify\"\nheads = [\"a\", \"b\", \"a\"]",
                "names `a` twice",
            ),
            ("kind = \"anomaly\"", "missing field `normal`"),
            ("kind = \"anomaly\"\nnormal = \"\"", "task.normal is empty"),
            (
                "kind = \"anomaly\"\nnormal = \"A\"\nranking = { segments = 1 }",
                "segments is 1",
            ),
            (
                "kind = \"anomaly\"\nnormal = \"A\"\nbinary_weight = -1.0",
                "binary_weight is -1",
            ),
            (
                "kind = \"anomaly\"\nnormal = \"A\"\ndeep_svdd = { nu = 0.1 }",
                "unknown field",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expect), "{error}");
        }
    }
}
