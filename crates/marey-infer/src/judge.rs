//! Scores every item of a split through a bundle: the way from deployed weights to figures.

use std::{collections::BTreeMap, sync::Arc};

use marey_clip::ClassList;
use marey_data::{
    Dataset, Frames, ItemLogits, Loader, LoaderConfig, Skipped, Unreadable, item_logits, scored,
};
use marey_eval::{Scored, scores_from_logits};
use marey_model::{Beside, Said};
use marey_transform::SpatialViews;

use crate::{Error, Member, Predictor};

/// The items of a split with their scores, and those that could not be read.
#[derive(Debug)]
pub struct Judged {
    /// Truth and scores, all views taken together and calibrated, in the order of the items.
    pub scored: Vec<Scored>,
    /// The same before the calibration; equal where there is none.
    pub plain: Vec<Scored>,
    /// What the scores were made of.
    pub logits: Vec<ItemLogits>,
    /// What was said of the same items beside their classes, the mean over views; of several bundles, what the first says.
    pub beside: Vec<Beside>,
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

/// How much of each item is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// All views of the card.
    AllViews,
    /// One clip, its middle crop: what a bundle with several views would say without them.
    OneClip,
}

/// Scores the items of `task`, sampled and prepared as the bundles' cards say.
///
/// `on_progress` is told the number of clips done and to do.
///
/// # Errors
/// When the classes differ, an item cannot be read (and the policy is to stop), or none can.
pub fn judge(
    predictor: &Predictor,
    task: &Task,
    look: Look,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<Judged, Error> {
    same_classes(predictor.classes(), &task.dataset.classes)?;
    let clips_of = |member: &Member| match look {
        Look::AllViews => member.card().answer.num_views(&member.card().sampling),
        Look::OneClip => 1,
    };
    let num_clips = task.indices.len() * predictor.members().iter().map(clips_of).sum::<usize>();
    let mut clips_before = 0;
    let mut by_item: BTreeMap<usize, Vec<Vec<f32>>> = BTreeMap::new();
    let mut skipped: Vec<Skipped> = Vec::new();
    let mut beside: BTreeMap<usize, Vec<Beside>> = BTreeMap::new();
    for (idx, member) in predictor.members().iter().enumerate() {
        let loader = loader_of(member, task, look)?;
        let found = item_logits(
            &loader,
            member.card().answer.aggregate,
            &mut |batch| {
                let items = batch.items;
                let said = member.said(batch.pixels, batch.dims).into_iter();
                let keep = |(item, said): (usize, Said)| {
                    if idx == 0 {
                        beside.entry(item).or_default().push(said.beside);
                    }
                    said.logits
                };
                items.into_iter().zip(said).map(keep).collect()
            },
            &mut |clips_done| on_progress(clips_before + clips_done, num_clips),
        )?;
        clips_before += task.indices.len() * clips_of(member);
        for ItemLogits { item, logits } in found {
            by_item.entry(item).or_default().push(logits);
        }
        for item in loader.skipped() {
            if !skipped.iter().any(|known| known.item == item.item) {
                skipped.push(item);
            }
        }
    }
    let num_members = predictor.members().len();
    let mut judged = Judged {
        scored: Vec::new(),
        plain: Vec::new(),
        logits: Vec::new(),
        beside: Vec::new(),
        skipped,
    };
    // An item that one member could not read has no mean.
    for (item, by_member) in by_item
        .into_iter()
        .filter(|(_, by_member)| by_member.len() == num_members)
    {
        let by_member: Vec<&[f32]> = by_member.iter().map(Vec::as_slice).collect();
        let not_finite = |_| Error::NonFinite {
            path: task.dataset.items[item].source.clone(),
        };
        let logits = predictor.together_logits(&by_member).map_err(not_finite)?;
        let scores = predictor
            .answer()
            .scores(&logits)
            .map_err(|error| not_finite(error.into()))?;
        judged.scored.push(scored(&task.dataset, item, scores));
        let plain = scores_from_logits(&logits);
        judged.plain.push(scored(&task.dataset, item, plain));
        judged.beside.push(Beside::mean(&beside[&item]));
        judged.logits.push(ItemLogits { item, logits });
    }
    Ok(judged)
}

/// The items of `task` as `member` looks at them.
pub(crate) fn loader_of(member: &Member, task: &Task, look: Look) -> Result<Loader, Error> {
    let card = member.card();
    let (sampling, spatial) = match look {
        Look::AllViews => (card.answer.sampling(&card.sampling), card.answer.spatial()),
        Look::OneClip => (card.sampling.clone().with_views(1), SpatialViews::default()),
    };
    let loader = Loader::new(
        Arc::clone(&task.dataset),
        task.indices.clone(),
        sampling,
        card.preprocess.clone(),
        task.config.clone(),
        task.frames.clone(),
    )?;
    Ok(loader
        .with_spatial(spatial)?
        .with_unreadable(task.unreadable))
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
