//! What a step minimises beside the loss of the classes: other labels, and the outputs of a task that looks for anomalies.

use burn::tensor::Tensor;
use marey_clip::rng_for;
use marey_data::{Dataset, LabelColumn, Order};
use marey_model::{Output, Task, layer::with_statistics_share};
use marey_transform::Augment;
use rand::RngCore;

use super::{CENTER, Trainer};
use crate::{
    Error, Loss, Recipe,
    anomaly::{AnomalyBatch, anomaly_loss},
    mix::Mixture,
    one_hot,
};

/// What is known of the items for the heads beside the classifier.
pub(super) struct Heads {
    columns: Vec<LabelColumn>,
    /// Position of the normal class, where the task has one.
    normal: Option<usize>,
}

impl Heads {
    pub(super) fn new(recipe: &Recipe, dataset: &Dataset) -> Result<Self, Error> {
        let normal = match &recipe.task {
            Task::Classify { .. } => None,
            Task::Anomaly { normal, .. } => dataset.classes.index(normal),
        };
        Ok(Self {
            columns: recipe.label_columns(dataset)?,
            normal,
        })
    }
}

/// Batches whose normal clips the centre is the mean of.
const CENTER_BATCHES: usize = 10;

impl Trainer<'_> {
    /// The losses of the heads beside the classifier; `None` where there are none.
    ///
    /// # Shapes
    /// - `targets`: `[b, k]`, the shares of the classes, a row for each of `items`, mixed already
    pub(super) fn of_heads(
        &self,
        output: Output,
        items: &[usize],
        targets: Tensor<2>,
        mixture: Option<&Mixture>,
    ) -> Option<Tensor<1>> {
        let labels = self.heads.columns.iter().zip(output.heads);
        let labels = labels.map(|(column, logits)| {
            let labels: Vec<usize> = items.iter().map(|&item| column.labels[item]).collect();
            let targets = one_hot(&labels, column.classes.len(), &self.device);
            let targets = self.mixed(targets, mixture);
            Loss::cross_entropy().forward(logits, targets)
        });
        let anomaly = output.anomaly.zip(self.heads.normal);
        let anomaly = anomaly.and_then(|(output, normal)| {
            let done = self.progress.batches_done as f64 / self.num_batches as f64;
            let batch = AnomalyBatch {
                output,
                targets,
                normal,
                epochs: self.progress.epochs_done as f64 + done,
            };
            anomaly_loss(&self.setup.recipe.task, batch)
        });
        labels.chain(anomaly).reduce(|sum, loss| sum + loss)
    }

    /// Puts the centre of a Deep SVDD head where the normal clips of the first batches lie on average, before anything is
    /// learned (Ruff et al., 2018, section 3.3), with the statistics of the batches themselves.
    pub(super) fn place_center(&self) -> Result<(), Error> {
        let recipe = self.setup.recipe;
        let (
            Some(normal),
            Task::Anomaly {
                deep_svdd: Some(_), ..
            },
        ) = (self.heads.normal, &recipe.task)
        else {
            return Ok(());
        };
        let loader = self.setup.train;
        let batches = loader.train_epoch(0, &Augment::default(), Order::Shuffled, 0);
        let mut found: Option<(Tensor<2>, usize)> = None;
        for (idx, batch) in batches.enumerate() {
            if idx >= CENTER_BATCHES && found.is_some() {
                break;
            }
            let batch = batch?;
            let num_normal = batch.targets.iter().filter(|&&target| target == normal);
            let num_normal = num_normal.count();
            if num_normal == 0 {
                continue;
            }
            let mut rng = rng_for(recipe.train.seed, 0, idx as u64, CENTER);
            self.device.seed(rng.next_u64());
            let (input, targets) = self.prepared(batch);
            let output = with_statistics_share(0.0, || self.model().outputs(input));
            let embedding = output.anomaly.and_then(|anomaly| anomaly.embedding);
            let embedding = embedding.expect("the task asks for it").inner();
            let is_normal = targets.narrow(1, normal, 1).inner();
            let sum = (embedding * is_normal).sum_dim(0);
            found = Some(match found {
                None => (sum, num_normal),
                Some((sums, num)) => (sums + sum, num + num_normal),
            });
        }
        let (sum, num) = found.expect("the training split has normal items, as is checked");
        let center = (sum / num as f64).squeeze_dim::<1>(0);
        self.model().set_center(Tensor::from_inner(center));
        Ok(())
    }
}
