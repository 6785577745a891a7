//! From bootstrap draws to figures: what every kind of evaluation shares.

use crate::bootstrap::Units;
use crate::interval::{Resampled, bootstrap_interval, difference_interval};
use crate::{Baseline, Figure, Interval, IntervalMethod, Scale, wilson};

/// Up to this many units, each is also left out once: the bootstrap's narrowness does not matter beyond.
const MAX_LEFT_OUT: usize = 100;

/// Numbers of the whole set, of every draw and without each unit, a column each. `None` where a number is not defined, such as the recall
/// of a class that a draw does not hold.
pub(crate) struct Draws {
    whole: Vec<Option<f64>>,
    /// `[column][draw]`.
    columns: Vec<Vec<Option<f64>>>,
    /// `[column][unit]`, or nothing in each column where the units are many.
    left_out: Vec<Vec<Option<f64>>>,
    /// Of each column.
    effective_units: Vec<f64>,
    method: IntervalMethod,
}

impl Draws {
    /// Calls `measure` with how often each item counts: once for the whole set, then without each unit, then for each draw.
    pub(crate) fn collect(
        units: Units,
        num_items: usize,
        measure: &mut dyn FnMut(&[u32]) -> Vec<Option<f64>>,
    ) -> Self {
        let whole = measure(&vec![1; num_items]);
        let empty = vec![Vec::new(); whole.len()];
        let (mut columns, mut left_out) = (empty.clone(), empty);
        let mut add = |to: &mut Vec<Vec<Option<f64>>>, weights: &[u32]| {
            for (column, number) in to.iter_mut().zip(measure(weights)) {
                column.push(number);
            }
        };
        if (2..=MAX_LEFT_OUT).contains(&units.len()) {
            units.without_each(|weights| add(&mut left_out, weights));
        }
        let effective_units = vec![units.effective(); whole.len()];
        let method = units.method();
        units.for_each_draw(|weights| add(&mut columns, weights));
        Self {
            whole,
            columns,
            left_out,
            effective_units,
            method,
        }
    }

    /// Says that the numbers of these columns rest on fewer units than the set has.
    pub(crate) fn resting_on(mut self, effective_units: f64, columns: &[usize]) -> Self {
        for &column in columns {
            self.effective_units[column] = effective_units.min(self.effective_units[column]);
        }
        self
    }

    /// The number of the whole set.
    pub(crate) fn value(&self, column: usize) -> Option<f64> {
        self.whole[column]
    }

    /// The interval of a column whose numbers lie in `range`.
    pub(crate) fn interval(&self, column: usize, range: [f64; 2]) -> Option<Interval> {
        let defined = |numbers: &[Option<f64>]| numbers.iter().flatten().copied().collect();
        let mut resampled = Resampled {
            draws: defined(&self.columns[column]),
            left_out: defined(&self.left_out[column]),
            effective_units: self.effective_units[column],
            method: self.method,
        };
        self.whole[column].map(|value| bootstrap_interval(value, &mut resampled, range))
    }

    /// The interval of the first column less the second, draw by draw.
    pub(crate) fn difference(&self, [first, second]: [usize; 2]) -> Option<Interval> {
        let mut resampled = Resampled {
            draws: differences(&self.columns[first], &self.columns[second]),
            left_out: differences(&self.left_out[first], &self.left_out[second]),
            effective_units: self.effective_units[first],
            method: self.method,
        };
        let difference = self.whole[first]? - self.whole[second]?;
        Some(difference_interval(difference, &mut resampled))
    }

    /// The interval of a column less the same column of other items, drawn independently.
    pub(crate) fn difference_to(&self, other: &Self, column: usize) -> Option<Interval> {
        let fewer = match self.effective_units[column] <= other.effective_units[column] {
            true => self,
            false => other,
        };
        let mut resampled = Resampled {
            draws: differences(&self.columns[column], &other.columns[column]),
            left_out: Vec::new(),
            effective_units: fewer.effective_units[column],
            method: fewer.method,
        };
        let difference = self.whole[column]? - other.whole[column]?;
        Some(difference_interval(difference, &mut resampled))
    }

    /// The figure whose numbers are in one column and its baseline's in another; `None` where it is not defined for the whole set.
    pub(crate) fn figure(&self, columns: [usize; 2], of: Described) -> Option<Figure> {
        let [value, baseline] = [self.value(columns[0])?, self.value(columns[1])?];
        let drawn = self.interval(columns[0], of.scale.range())?;
        let (interval, group_interval) = match of.successes {
            Some(successes) => {
                let is_by_group = self.method.is_by_group();
                (
                    wilson(successes, of.support as u64),
                    is_by_group.then_some(drawn),
                )
            }
            None => (drawn, None),
        };
        Some(Figure {
            name: of.name.to_owned(),
            title: of.title.to_owned(),
            definition: of.definition,
            value,
            scale: of.scale,
            interval,
            group_interval,
            support: of.support,
            baseline: Baseline {
                name: of.baseline,
                value: baseline,
            },
            over_baseline: self.difference(columns),
        })
    }
}

/// The first less the second, where both are defined.
fn differences(first: &[Option<f64>], second: &[Option<f64>]) -> Vec<f64> {
    let pairs = first.iter().zip(second);
    pairs
        .filter_map(|(first, second)| Some((*first)? - (*second)?))
        .collect()
}

/// All of a figure but its numbers.
pub(crate) struct Described {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) definition: String,
    pub(crate) scale: Scale,
    /// Number of items behind it.
    pub(crate) support: usize,
    /// The numerator, where the figure is a share of `support` items, so that Wilson's interval applies.
    pub(crate) successes: Option<u64>,
    /// The trivial predictor, in words.
    pub(crate) baseline: String,
}
