//! Clips for the page of a report: a few items read again, and where the model found what it answered.

use std::collections::HashMap;

use marey_data::{Batch, Loader};
use marey_eval::{Report, Strip};

use crate::{Error, Predictor, Task};

/// The strips that `report` has a place for ([`Report::items_to_show`]), of items of `task`; with the heat of the model's
/// answer for the worst mistakes. An item of several views is shown by the middle one.
///
/// # Errors
/// When an item cannot be read any more, or a strip cannot be drawn.
pub fn film(predictor: &Predictor, task: Task, report: &Report) -> Result<Vec<Strip>, Error> {
    let items = report.items_to_show();
    let mut indices = task.indices;
    indices.retain(|&idx| items.contains(&task.dataset.items[idx].id.as_str()));
    if indices.is_empty() {
        return Ok(Vec::new());
    }
    let answers: HashMap<&str, usize> = report
        .worst_mistakes()
        .iter()
        .filter_map(|mistake| {
            let class = predictor.classes().index(&mistake.predicted)?;
            Some((mistake.item.as_str(), class))
        })
        .collect();
    let card = predictor.card();
    let loader = Loader::new(
        task.dataset,
        indices,
        card.sampling.clone(),
        card.preprocess.clone(),
        task.config,
        task.frames,
    )?
    .with_unreadable(task.unreadable);
    let mut strips = Vec::new();
    for batch in loader.views() {
        let batch = batch?;
        for (idx, row) in middle_views(&batch.items) {
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

/// Each item of a batch with the row of its middle view. The views of an item follow each other.
fn middle_views(items: &[usize]) -> Vec<(usize, usize)> {
    let mut middle = Vec::new();
    let mut start = 0;
    for views in items.chunk_by(|a, b| a == b) {
        middle.push((views[0], start + views.len() / 2));
        start += views.len();
    }
    middle
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
    fn the_middle_view_of_each_item_is_shown() {
        assert_eq!(middle_views(&[7, 7, 7, 3, 3, 5]), [(7, 1), (3, 4), (5, 5)]);
        assert_eq!(middle_views(&[]), []);
    }

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
