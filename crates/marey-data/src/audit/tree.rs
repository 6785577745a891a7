//! A small decision tree over a few columns: enough to see whether they tell the label.
//!
//! Classes count alike whatever their number of items, so that the tree aims at the mean recall over classes. Splits are
//! chosen by the Gini impurity (Breiman, Friedman, Olshen and Stone, *Classification and Regression Trees*, 1984, 2.5).

/// One column of a table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// A value for each row; words are numbered.
    pub(crate) values: Vec<Option<f64>>,
    /// Whether values are names, which are equal or not, rather than numbers.
    pub(crate) is_names: bool,
}

impl Column {
    /// A column of words.
    pub(crate) fn of_names(name: impl Into<String>, words: Vec<Option<String>>) -> Self {
        let mut known: Vec<&String> = words.iter().flatten().collect();
        known.sort();
        known.dedup();
        let number = |word: &String| {
            known
                .binary_search(&word)
                .map_or(f64::NAN, |idx| idx as f64)
        };
        Self {
            values: words.iter().map(|word| word.as_ref().map(number)).collect(),
            name: name.into(),
            is_names: true,
        }
    }

    /// A column of numbers.
    pub(crate) fn of_numbers(name: impl Into<String>, values: Vec<Option<f64>>) -> Self {
        Self {
            name: name.into(),
            values,
            is_names: false,
        }
    }

    fn goes_left(&self, row: usize, at: f64) -> bool {
        match self.values[row] {
            Some(value) if self.is_names => value == at,
            Some(value) => value <= at,
            None => false,
        }
    }

    /// Where the rows could be divided: at each name, or between numbers.
    fn candidates(&self, rows: &[usize]) -> Vec<f64> {
        let mut values: Vec<f64> = rows.iter().filter_map(|&row| self.values[row]).collect();
        values.sort_by(f64::total_cmp);
        if !self.is_names {
            let step = (values.len() / MAX_THRESHOLDS).max(1);
            values = values.into_iter().step_by(step).collect();
        }
        values.dedup();
        values
    }
}

/// Questions in a row from the root to a leaf, at most.
const MAX_DEPTH: usize = 3;
/// Fewest rows of a leaf.
const MIN_LEAF: usize = 3;
/// Thresholds tried for a column of numbers.
const MAX_THRESHOLDS: usize = 32;

/// A grown tree.
#[derive(Debug)]
pub(crate) enum Tree {
    /// The share of each class.
    Leaf(Vec<f32>),
    Question {
        column: usize,
        at: f64,
        left: Box<Self>,
        right: Box<Self>,
    },
}

impl Tree {
    /// Grows a tree that tells the labels of `rows`, each 0 to `num_classes` - 1.
    ///
    /// # Panics
    /// If there is no row.
    pub(crate) fn grow(
        columns: &[&Column],
        labels: &[usize],
        rows: &[usize],
        num_classes: usize,
    ) -> Self {
        let mut counts = vec![0.0; num_classes];
        rows.iter().for_each(|&row| counts[labels[row]] += 1.0);
        let weights: Vec<f64> = counts
            .iter()
            .map(|&count: &f64| if count > 0.0 { 1.0 / count } else { 0.0 })
            .collect();
        let growth = Growth {
            columns,
            labels,
            weights,
        };
        growth.node(rows, MAX_DEPTH)
    }

    /// The share of each class where `row` ends.
    pub(crate) fn scores(&self, columns: &[&Column], row: usize) -> &[f32] {
        match self {
            Self::Leaf(shares) => shares,
            Self::Question {
                column,
                at,
                left,
                right,
            } => match columns[*column].goes_left(row, *at) {
                true => left.scores(columns, row),
                false => right.scores(columns, row),
            },
        }
    }
}

struct Growth<'a> {
    columns: &'a [&'a Column],
    labels: &'a [usize],
    /// What a row of each class counts.
    weights: Vec<f64>,
}

impl Growth<'_> {
    fn node(&self, rows: &[usize], depth: usize) -> Tree {
        let best = if depth > 0 {
            self.best_question(rows)
        } else {
            None
        };
        let Some((column, at)) = best else {
            let held = self.held(rows.iter());
            let total: f64 = held.iter().sum();
            return Tree::Leaf(held.iter().map(|weight| (weight / total) as f32).collect());
        };
        let (left, right): (Vec<usize>, Vec<usize>) = rows
            .iter()
            .partition(|&&row| self.columns[column].goes_left(row, at));
        Tree::Question {
            column,
            at,
            left: Box::new(self.node(&left, depth - 1)),
            right: Box::new(self.node(&right, depth - 1)),
        }
    }

    fn held<'b>(&self, rows: impl Iterator<Item = &'b usize>) -> Vec<f64> {
        let mut held = vec![0.0; self.weights.len()];
        rows.for_each(|&row| held[self.labels[row]] += self.weights[self.labels[row]]);
        held
    }

    /// The question after which the two sides are purest, if any makes them purer.
    fn best_question(&self, rows: &[usize]) -> Option<(usize, f64)> {
        let before = impurity(&self.held(rows.iter()));
        let mut best = None;
        let mut least = before - 1e-9;
        for (idx, column) in self.columns.iter().enumerate() {
            for at in column.candidates(rows) {
                let (mut left, mut right) =
                    (vec![0.0; self.weights.len()], vec![0.0; self.weights.len()]);
                let mut num_left = 0;
                for &row in rows {
                    let class = self.labels[row];
                    if column.goes_left(row, at) {
                        num_left += 1;
                        left[class] += self.weights[class];
                    } else {
                        right[class] += self.weights[class];
                    }
                }
                if num_left < MIN_LEAF || rows.len() - num_left < MIN_LEAF {
                    continue;
                }
                let after = impurity(&left) + impurity(&right);
                if after < least {
                    (least, best) = (after, Some((idx, at)));
                }
            }
        }
        best
    }
}

/// The Gini impurity of weights by class, times their sum.
fn impurity(held: &[f64]) -> f64 {
    let total: f64 = held.iter().sum();
    if total <= 0.0 {
        return 0.0;
    }
    total - held.iter().map(|weight| weight * weight).sum::<f64>() / total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_questions_tell_three_classes() {
        // 0 up to 10, 1 from 11 to 20, 2 above or unknown.
        let numbers: Vec<Option<f64>> = (0..30).map(|i| (i < 25).then_some(f64::from(i))).collect();
        let labels: Vec<usize> = (0..30)
            .map(|i| (i > 10) as usize + (i > 20) as usize)
            .collect();
        let column = Column::of_numbers("n", numbers);
        let rows: Vec<usize> = (0..30).collect();
        let tree = Tree::grow(&[&column], &labels, &rows, 3);
        for row in 0..30 {
            let scores = tree.scores(&[&column], row);
            assert_eq!(scores[labels[row]], 1.0, "row {row}: {scores:?}");
        }
    }

    #[test]
    fn a_name_is_equal_or_not() {
        let words: Vec<Option<String>> = (0..12)
            .map(|i| Some(["a", "b", "c"][i % 3].to_owned()))
            .collect();
        let labels: Vec<usize> = (0..12).map(|i| usize::from(i % 3 == 1)).collect();
        let column = Column::of_names("w", words);
        let rows: Vec<usize> = (0..12).collect();
        let tree = Tree::grow(&[&column], &labels, &rows, 2);
        assert!(
            (0..12).all(|row| tree.scores(&[&column], row)[labels[row]] == 1.0),
            "{tree:?}"
        );
    }

    #[test]
    fn a_constant_column_leaves_all_classes_alike() {
        let column = Column::of_numbers("n", vec![Some(1.0); 9]);
        let labels = [0, 0, 0, 0, 0, 0, 0, 1, 1];
        let rows: Vec<usize> = (0..9).collect();
        let tree = Tree::grow(&[&column], &labels, &rows, 2);
        assert_eq!(tree.scores(&[&column], 0), [0.5, 0.5]);
    }
}
