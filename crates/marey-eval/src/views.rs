//! Averaging the scores of an item's views.

use std::collections::BTreeMap;

/// Mean scores of each item over its views (Feichtenhofer et al., "SlowFast", section 4.1).
///
/// ```
/// let mut means = marey_eval::ViewMean::new(2);
/// means.add(7, &[0.5, 0.5]);
/// means.add(7, &[1.0, 0.0]);
/// assert_eq!(means.finish(), [(7, vec![0.75, 0.25])]);
/// ```
#[derive(Debug, Clone)]
pub struct ViewMean {
    num_classes: usize,
    sums: BTreeMap<usize, (Vec<f64>, usize)>,
}

impl ViewMean {
    /// No view yet, of `num_classes` scores each.
    pub fn new(num_classes: usize) -> Self {
        Self {
            num_classes,
            sums: BTreeMap::new(),
        }
    }

    /// Adds the scores of a view of item `item`.
    ///
    /// # Panics
    /// If there is not one score a class.
    pub fn add(&mut self, item: usize, scores: &[f32]) {
        assert_eq!(scores.len(), self.num_classes, "one score a class");
        let (sums, num_views) = self
            .sums
            .entry(item)
            .or_insert_with(|| (vec![0.0; scores.len()], 0));
        for (sum, &score) in sums.iter_mut().zip(scores) {
            *sum += f64::from(score);
        }
        *num_views += 1;
    }

    /// Every item that has a view, in rising order, with its mean scores.
    pub fn finish(self) -> Vec<(usize, Vec<f32>)> {
        let mean = |(item, (sums, num_views)): (usize, (Vec<f64>, usize))| {
            (
                item,
                sums.iter()
                    .map(|sum| (sum / num_views as f64) as f32)
                    .collect(),
            )
        };
        self.sums.into_iter().map(mean).collect()
    }
}
