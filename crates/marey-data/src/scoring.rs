//! From the views of a loader to a score for each item: what validation and evaluation share.

use marey_eval::{Scored, ViewMean};

use crate::{Batch, Error, Loader};

/// Scores every view of every item of `loader` by `score`, which gives one score a class for each clip of a batch, and
/// averages the views of an item. `on_progress` is told the number of clips done.
///
/// Items that were left out are not among the result; [`Loader::skipped`] names them.
///
/// # Errors
/// When an item cannot be read and the loader's policy is to stop, or none can.
///
/// # Panics
/// If `score` does not give one score a class.
pub fn score_views(
    loader: &Loader,
    score: &mut dyn FnMut(Batch) -> Vec<Vec<f32>>,
    on_progress: &mut dyn FnMut(usize),
) -> Result<Vec<Scored>, Error> {
    let dataset = loader.dataset();
    let mut means = ViewMean::new(dataset.classes.len());
    let mut clips_done = 0;
    for batch in loader.views() {
        let batch = batch?;
        let items = batch.items.clone();
        for (&idx, scores) in items.iter().zip(score(batch)) {
            means.add(idx, &scores);
        }
        clips_done += items.len();
        on_progress(clips_done);
    }
    let scored = |(idx, scores): (usize, Vec<f32>)| {
        let item = &dataset.items[idx];
        Scored {
            item: item.id.clone(),
            group: item.group.clone(),
            target: item.label,
            scores,
        }
    };
    Ok(means.finish().into_iter().map(scored).collect())
}
