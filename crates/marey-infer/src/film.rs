//! Clips for the page of a report: a few items read again, and where the model found what it answered.

use std::collections::HashMap;

use marey_data::Batch;
use marey_eval::{Report, Strip};

use crate::{
    Error, Predictor, Task,
    judge::{Look, loader_of},
};

/// The strips that `report` has a place for ([`Report::items_to_show`]), of items of `task`; with the heat of the model's
/// answer for the worst mistakes, and of the class that a suspect label looks like. An item of several views is shown as one
/// clip, its middle crop; of several bundles the first one is looked through.
///
/// # Errors
/// When an item cannot be read any more, or a strip cannot be drawn.
pub fn film(predictor: &Predictor, task: Task, report: &Report) -> Result<Vec<Strip>, Error> {
    let items = report.items_to_show();
    let mut indices = task.indices.clone();
    indices.retain(|&idx| items.contains(&task.dataset.items[idx].id.as_str()));
    if indices.is_empty() {
        return Ok(Vec::new());
    }
    let suspects = report.worst_label_candidates().iter();
    let suspects = suspects.map(|candidate| {
        let likely = &report.classification.classes[candidate.likely];
        (candidate.item.as_str(), likely.as_str())
    });
    let mistakes = report.worst_mistakes().iter();
    let mistakes = mistakes.map(|mistake| (mistake.item.as_str(), mistake.predicted.as_str()));
    // Of an item that is both, the answer counts.
    let answers: HashMap<&str, usize> = suspects
        .chain(mistakes)
        .filter_map(|(item, class)| Some((item, predictor.classes().index(class)?)))
        .collect();
    let task = Task { indices, ..task };
    let loader = loader_of(&predictor.members()[0], &task, Look::OneClip)?;
    let mut strips = Vec::new();
    for batch in loader.views() {
        let batch = batch?;
        for (row, &idx) in batch.items.iter().enumerate() {
            let item = loader.dataset().items[idx].id.as_str();
            let (pixels, [t, h, w, c]) = clip_of(&batch, row);
            let heat = answers
                .get(item)
                .map(|&class| predictor.heat(pixels.to_vec(), [1, t, h, w, c], class));
            strips.push(Strip::new(item, [t, h, w], pixels, heat.as_ref())?);
        }
    }
    Ok(strips)
}

/// The pixels of one clip of a batch, and their dimensions.
fn clip_of(batch: &Batch, row: usize) -> (&[u8], [usize; 4]) {
    let [_, t, h, w, c] = batch.dims;
    let len = t * h * w * c;
    (&batch.pixels[row * len..(row + 1) * len], [t, h, w, c])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_is_its_own_row() {
        let batch = Batch {
            idx: 0,
            pixels: (0..24).collect(),
            dims: [2, 2, 1, 2, 3],
            targets: vec![0, 1],
            items: vec![4, 5],
        };
        let (pixels, dims) = clip_of(&batch, 1);
        assert_eq!((pixels[0], pixels.len(), dims), (12, 12, [2, 1, 2, 3]));
    }
}
