//! From the views of a loader to the logits of each item: what validation and evaluation share.

use marey_eval::{Scored, ViewAggregate, ViewScores};

use crate::{Batch, Dataset, Error, Loader};

/// An item and the logits of its views taken together: numbers whose softmax are its scores.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemLogits {
    /// Position in [`Dataset::items`].
    pub item: usize,
    /// One a class.
    pub logits: Vec<f32>,
}

/// The logits of every item of `loader`: `forward` gives one logit a class for each clip of a batch, and the views of an item
/// are taken together as `aggregate` says. `on_progress` is told the number of clips done.
///
/// Items that were left out are not among the result; [`Loader::skipped`] names them.
///
/// # Errors
/// When an item cannot be read and the loader's policy is to stop, or none can.
///
/// # Panics
/// If `forward` does not give one logit a class.
pub fn item_logits(
    loader: &Loader,
    aggregate: ViewAggregate,
    forward: &mut dyn FnMut(Batch) -> Vec<Vec<f32>>,
    on_progress: &mut dyn FnMut(usize),
) -> Result<Vec<ItemLogits>, Error> {
    let mut views = ViewScores::new(loader.dataset().classes.len(), aggregate);
    let mut clips_done = 0;
    for batch in loader.views() {
        let batch = batch?;
        let items = batch.items.clone();
        for (&idx, logits) in items.iter().zip(forward(batch)) {
            views.add(idx, &logits);
        }
        clips_done += items.len();
        on_progress(clips_done);
    }
    let finished = views.finish().into_iter();
    Ok(finished
        .map(|(item, logits)| ItemLogits { item, logits })
        .collect())
}

/// The item at position `item` with its scores, as figures are computed on it.
///
/// # Panics
/// If there is no such item.
pub fn scored(dataset: &Dataset, item: usize, scores: Vec<f32>) -> Scored {
    let item = &dataset.items[item];
    Scored {
        item: item.id.clone(),
        group: item.group.clone(),
        target: item.label,
        scores,
    }
}
