//! The heads of a model beside its classifier, on the same features: other labels, and what a model that looks for anomalies
//! says. Names of the latter are those of the UCF-Crime anomaly systems' checkpoints.
//!
//! Letters: b batch, d width of the features, k classes of a head.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, Relu},
    tensor::{Device, Tensor, activation::sigmoid},
};

use crate::{
    Task,
    layer::{Activation, BatchNorm, Init, Linear, LinearInit, RunningStat},
};

/// What a model is to say about a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// Classes it tells apart.
    pub num_classes: usize,
    /// Classes of each of [`Task::heads`].
    pub heads: Vec<usize>,
    /// What it learns.
    pub task: Task,
}

impl Outputs {
    /// Classes alone.
    pub fn classes(num_classes: usize) -> Self {
        Self {
            num_classes,
            heads: Vec::new(),
            task: Task::default(),
        }
    }
}

/// The heads beside the classifier.
#[derive(Module, Debug)]
pub(crate) struct Heads {
    dropout: Dropout,
    heads: Vec<Linear>,
    anomaly: Option<AnomalyHeads>,
}

impl Heads {
    /// The heads of `outputs` on features of width `d`.
    pub(crate) fn new(
        outputs: &Outputs,
        d: usize,
        dropout: f64,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Self {
        let head = |&k| Linear::new([d, k], LinearInit::Default, init, device);
        Self {
            dropout: DropoutConfig::new(dropout).init(),
            heads: outputs.heads.iter().map(head).collect(),
            anomaly: AnomalyHeads::new(&outputs.task, d, dropout, init, device),
        }
    }

    /// The logits `[b, k]` of each other label, and what is said of anomalies.
    ///
    /// # Shapes
    /// - `features`: `[b, d]`, as the classifier sees them before dropout
    pub(crate) fn forward(&self, features: Tensor<2>) -> (Vec<Tensor<2>>, Option<AnomalyOutput>) {
        if self.heads.is_empty() && self.anomaly.is_none() {
            return (Vec::new(), None);
        }
        let features = self.dropout.forward(features);
        let heads = self.heads.iter();
        (
            heads.map(|head| head.forward(features.clone())).collect(),
            self.anomaly
                .as_ref()
                .map(|heads| heads.forward(features.clone())),
        )
    }

    /// Puts the centre of the Deep SVDD head at `center`, `[128]`; without that head it does nothing.
    ///
    /// A coordinate nearer to 0 than 0.1 is moved to 0.1 on its side: one at 0 is reached by weights that are 0 (Ruff et al.,
    /// section 3.3).
    pub(crate) fn set_center(&self, center: Tensor<1>) {
        if let Some(head) = self
            .anomaly
            .as_ref()
            .and_then(|heads| heads.anomaly_head.as_ref())
        {
            let sign = center.clone().greater_equal_elem(0.0).float() * 2.0 - 1.0;
            head.center
                .approach(sign * center.abs().clamp_min(0.1), 1.0, 1.0);
        }
    }
}

/// What a model says about clips beside its classes.
#[derive(Clone, Debug)]
pub struct AnomalyOutput {
    /// Logits of normal and anomalous: `[b, 2]`.
    pub binary_logits: Tensor<2>,
    /// Where the clips lie around the centre: `[b, 128]`; with Deep SVDD.
    pub embedding: Option<Tensor<2>>,
    /// Squared distance from the centre, at least 0: `[b]`; with Deep SVDD.
    pub distance: Option<Tensor<1>>,
    /// Ranking score, 0 to 1: `[b]`; with ranking.
    pub ranking: Option<Tensor<1>>,
}

/// The heads that a [`Task::Anomaly`] asks for.
#[derive(Module, Debug)]
struct AnomalyHeads {
    binary_classifier: Linear,
    anomaly_head: Option<SvddHead>,
    ranking: Option<Linear>,
}

/// Width of the embedding that the distance is taken in.
const EMBEDDING: usize = 128;

/// Deep SVDD: an embedding and the centre of the normal clips in it, which no gradient moves.
#[derive(Module, Debug)]
struct SvddHead {
    embedding: (Linear, Relu, BatchNorm, Dropout, Linear),
    center: RunningStat,
}

impl AnomalyHeads {
    /// The heads of `task` on features of width `d`; `None` where the task has none.
    fn new(
        task: &Task,
        d: usize,
        dropout: f64,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Option<Self> {
        let Task::Anomaly {
            deep_svdd, ranking, ..
        } = task
        else {
            return None;
        };
        let mut linear = |dims| Linear::new(dims, LinearInit::Default, init, device);
        Some(Self {
            binary_classifier: linear([d, 2]),
            anomaly_head: deep_svdd.map(|_| SvddHead {
                embedding: (
                    linear([d, 2 * EMBEDDING]),
                    Relu::new(),
                    BatchNorm::new(2 * EMBEDDING, Activation::Identity, device),
                    DropoutConfig::new(dropout).init(),
                    linear([2 * EMBEDDING, EMBEDDING]),
                ),
                center: RunningStat::new(Tensor::zeros([EMBEDDING], device)),
            }),
            ranking: ranking.map(|_| linear([d, 1])),
        })
    }

    /// # Shapes
    /// - `features`: `[b, d]`, after dropout
    fn forward(&self, features: Tensor<2>) -> AnomalyOutput {
        let embedding = self
            .anomaly_head
            .as_ref()
            .map(|head| head.embed(features.clone()));
        let distance = embedding.clone().zip(self.anomaly_head.as_ref());
        AnomalyOutput {
            binary_logits: self.binary_classifier.forward(features.clone()),
            distance: distance.map(|(embedding, head)| head.distance(embedding)),
            embedding,
            ranking: self
                .ranking
                .as_ref()
                .map(|linear| sigmoid(linear.forward(features)).squeeze_dim(1)),
        }
    }
}

impl SvddHead {
    fn embed(&self, features: Tensor<2>) -> Tensor<2> {
        let (first, relu, norm, dropout, second) = &self.embedding;
        let hidden = norm.forward(relu.forward(first.forward(features)));
        second.forward(dropout.forward(hidden))
    }

    fn distance(&self, embedding: Tensor<2>) -> Tensor<1> {
        let center = self.center.value().to_device(&embedding.device());
        let off = embedding - center.unsqueeze_dim(0);
        (off.clone() * off).sum_dim(1).squeeze_dim(1)
    }
}
