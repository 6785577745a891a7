//! What a model says, read back from the device.

use burn::tensor::{Tensor, activation::softmax};
use marey_kernel::in_pool;

use crate::Model;

/// What a model says of one clip.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// One logit a class.
    pub logits: Vec<f32>,
    /// What it says beside.
    pub beside: Beside,
}

/// What a model says of a clip, or on average of several, beside its classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beside {
    /// For each of [`Task::heads`](crate::Task::heads) one score a value, after softmax.
    pub heads: Vec<Vec<f32>>,
    /// How anomalous it looks, with [`Task::Anomaly`](crate::Task::Anomaly).
    pub anomaly: Option<AnomalySaid>,
}

/// How anomalous a clip looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnomalySaid {
    /// Logit of anomalous less that of normal.
    pub log_odds: f32,
    /// Squared distance from the centre of normal clips, at least 0; with Deep SVDD.
    pub distance: Option<f32>,
    /// Ranking score, 0 to 1; with ranking.
    pub ranking: Option<f32>,
}

impl Beside {
    /// The mean of what was said of several clips; that of none says nothing.
    pub fn mean(of: &[Self]) -> Self {
        let Some(first) = of.first() else {
            return Self::default();
        };
        let mean = |value: &dyn Fn(&Self) -> f32| {
            let sum: f64 = of.iter().map(|said| f64::from(value(said))).sum();
            (sum / of.len() as f64) as f32
        };
        let anomaly = |value: &dyn Fn(&AnomalySaid) -> Option<f32>| {
            let values: Option<Vec<f32>> = of
                .iter()
                .map(|said| said.anomaly.as_ref().and_then(value))
                .collect();
            values.map(|values| values.iter().sum::<f32>() / values.len() as f32)
        };
        let heads = first.heads.iter().enumerate();
        Self {
            heads: heads
                .map(|(head, scores)| {
                    let classes = 0..scores.len();
                    classes
                        .map(|class| mean(&|said| said.heads[head][class]))
                        .collect()
                })
                .collect(),
            anomaly: anomaly(&|said| Some(said.log_odds)).map(|log_odds| AnomalySaid {
                log_odds,
                distance: anomaly(&|said| said.distance),
                ranking: anomaly(&|said| said.ranking),
            }),
        }
    }
}

impl Model {
    /// Logits read back from the device: for each clip one a class.
    ///
    /// # Shapes
    /// - `clips`: `[b, t, h, w, 3]`
    ///
    /// # Panics
    /// As [`Model::forward`], and if the device cannot give back its results.
    pub fn logits(&self, clips: Tensor<5>) -> Vec<Vec<f32>> {
        rows(in_pool(&clips.device(), || self.forward(clips)))
    }

    /// Scores after softmax, read back from the device: for each clip one a class.
    ///
    /// # Shapes
    /// - `clips`: `[b, t, h, w, 3]`
    ///
    /// # Panics
    /// As [`Model::forward`], and if the device cannot give back its results.
    pub fn scores(&self, clips: Tensor<5>) -> Vec<Vec<f32>> {
        rows(in_pool(&clips.device(), || softmax(self.forward(clips), 1)))
    }

    /// Everything that the model says of each clip, read back from the device.
    ///
    /// # Shapes
    /// - `clips`: `[b, t, h, w, 3]`
    ///
    /// # Panics
    /// As [`Model::logits`].
    pub fn said(&self, clips: Tensor<5>) -> Vec<Said> {
        let output = in_pool(&clips.device(), || self.outputs(clips));
        let heads = output.heads.into_iter();
        let heads: Vec<Vec<Vec<f32>>> = heads.map(|logits| rows(softmax(logits, 1))).collect();
        let anomaly = output.anomaly.map(|anomaly| {
            (
                rows(anomaly.binary_logits),
                anomaly.distance.map(values),
                anomaly.ranking.map(values),
            )
        });
        let said = |(clip, logits): (usize, Vec<f32>)| Said {
            logits,
            beside: Beside {
                heads: heads.iter().map(|head| head[clip].clone()).collect(),
                anomaly: anomaly
                    .as_ref()
                    .map(|(binary, distance, ranking)| AnomalySaid {
                        log_odds: binary[clip][1] - binary[clip][0],
                        distance: distance.as_ref().map(|values| values[clip]),
                        ranking: ranking.as_ref().map(|values| values[clip]),
                    }),
            },
        };
        rows(output.logits)
            .into_iter()
            .enumerate()
            .map(said)
            .collect()
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data().convert::<f32>();
    data.try_into_vec().expect("converted to f32")
}

fn rows(tensor: Tensor<2>) -> Vec<Vec<f32>> {
    let width = tensor.dims()[1];
    values(tensor)
        .chunks_exact(width)
        .map(<[f32]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_that_of_each_output() {
        let said = |log_odds: f32, distance: Option<f32>, score: f32| Beside {
            heads: vec![vec![score, 1.0 - score]],
            anomaly: Some(AnomalySaid {
                log_odds,
                distance,
                ranking: None,
            }),
        };
        let mean = Beside::mean(&[said(1.0, Some(2.0), 0.25), said(-3.0, Some(4.0), 0.75)]);
        assert_eq!(mean, said(-1.0, Some(3.0), 0.5));
        assert_eq!(Beside::mean(&[]), Beside::default());
    }
}
