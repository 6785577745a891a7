//! Scores every item of a split through a bundle: the way from deployed weights to figures.

use std::sync::Arc;

use marey_clip::ClassList;
use marey_data::{Dataset, Frames, Loader, LoaderConfig, Skipped, Unreadable, score_views};
use marey_eval::Scored;

use crate::{Error, Predictor};

/// The items of a split with their scores, and those that could not be read.
#[derive(Debug)]
pub struct Judged {
    /// Truth and scores, averaged over all views, in the order of the items.
    pub scored: Vec<Scored>,
    /// Items left out, with the reason.
    pub skipped: Vec<Skipped>,
}

/// Which items are scored, and how they are read.
#[derive(Clone, Debug)]
pub struct Task {
    /// The data set.
    pub dataset: Arc<Dataset>,
    /// Positions of the items.
    pub indices: Vec<usize>,
    /// Batches and threads.
    pub config: LoaderConfig,
    /// Where frames come from.
    pub frames: Frames,
    /// What happens when an item cannot be read.
    pub unreadable: Unreadable,
}

/// Scores the items of `task`, sampled and prepared as the bundle's card says.
///
/// `on_progress` is told the number of clips done and to do.
///
/// # Errors
/// When the classes differ, an item cannot be read (and the policy is to stop), or none can.
pub fn judge(
    predictor: &Predictor,
    task: Task,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<Judged, Error> {
    same_classes(predictor.classes(), &task.dataset.classes)?;
    let card = predictor.card();
    let num_clips = task.indices.len() * card.sampling.views;
    let Task {
        dataset,
        indices,
        config,
        frames,
        unreadable,
    } = task;
    let loader = Loader::new(
        dataset,
        indices,
        card.sampling.clone(),
        card.preprocess.clone(),
        config,
        frames,
    )?
    .with_unreadable(unreadable);
    let scored = score_views(
        &loader,
        &mut |batch| predictor.scores(batch.pixels, batch.dims),
        &mut |clips_done| on_progress(clips_done, num_clips),
    )?;
    Ok(Judged {
        scored,
        skipped: loader.skipped(),
    })
}

fn same_classes(bundle: &ClassList, data: &ClassList) -> Result<(), Error> {
    if bundle == data {
        return Ok(());
    }
    Err(Error::Classes {
        bundle: bundle.names().to_vec(),
        data: data.names().to_vec(),
    })
}
