//! Predictors that never look at the input: what every figure is held against.

use crate::counts::{Counts, mean};
use crate::metric::Metric;
use crate::ranking::random_average_precision;

/// What is known without looking: how often each class occurs, in training where that is known, else in the set itself.
pub(crate) struct Trivial<'a> {
    /// Classes by falling count, then by index.
    pub(crate) ranking: Vec<usize>,
    /// The training counts, when known.
    pub(crate) train_counts: Option<&'a [usize]>,
    /// Share of each class.
    shares: Vec<f64>,
    best: &'a str,
    /// The strongest predictor for macro precision and for macro F1, chosen on the whole set.
    precision_by: Guess,
    f1_by: Guess,
}

/// Ways to answer without looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guess {
    /// Always the most frequent class.
    Majority,
    /// A class drawn by its share.
    ByShare,
    /// Any class, all alike.
    Uniform,
}

impl Guess {
    const ALL: [Self; 3] = [Self::Majority, Self::ByShare, Self::Uniform];
}

impl<'a> Trivial<'a> {
    /// `counts`: those of the whole evaluated set.
    pub(crate) fn new(classes: &'a [String], train_counts: &'a [usize], counts: &Counts) -> Self {
        let train_counts = train_counts
            .iter()
            .any(|&count| count > 0)
            .then_some(train_counts);
        let known: Vec<f64> = match train_counts {
            Some(train_counts) => train_counts.iter().map(|&count| count as f64).collect(),
            None => counts.support.iter().map(|&count| count as f64).collect(),
        };
        let mut ranking: Vec<usize> = (0..classes.len()).collect();
        ranking.sort_by(|&a, &b| known[b].total_cmp(&known[a]).then(a.cmp(&b)));
        let total: f64 = known.iter().sum();
        let mut trivial = Self {
            best: &classes[ranking[0]],
            ranking,
            train_counts,
            shares: known.iter().map(|count| count / total).collect(),
            precision_by: Guess::Majority,
            f1_by: Guess::Majority,
        };
        trivial.precision_by = trivial.strongest(Metric::MacroPrecision, counts);
        trivial.f1_by = trivial.strongest(Metric::MacroF1, counts);
        trivial
    }

    /// The first of equals.
    fn strongest(&self, metric: Metric, counts: &Counts) -> Guess {
        let value = |guess| self.of_guess(metric, guess, counts);
        Guess::ALL.into_iter().fold(Guess::Majority, |best, guess| {
            if value(guess) > value(best) {
                guess
            } else {
                best
            }
        })
    }

    /// The trivial predictor that a figure is held against, in words.
    pub(crate) fn name(&self, metric: Metric) -> String {
        let of = match self.train_counts {
            Some(_) => "in training",
            None => "of this set",
        };
        match metric {
            Metric::Top5 => format!("always the 5 most frequent classes {of}"),
            Metric::MacroPrecision => self.guess_name(self.precision_by, of),
            Metric::MacroF1 => self.guess_name(self.f1_by, of),
            Metric::MacroAveragePrecision | Metric::RocAuc => "a random order of the items".into(),
            Metric::Ece | Metric::Brier | Metric::Nll => {
                format!("the class shares {of} as the scores of every item")
            }
            _ => self.guess_name(Guess::Majority, of),
        }
    }

    fn guess_name(&self, guess: Guess, of: &str) -> String {
        match guess {
            Guess::Majority => format!("always {:?}, the most frequent class {of}", self.best),
            Guess::ByShare => format!("guessing each class by its share {of}"),
            Guess::Uniform => "guessing all classes alike".into(),
        }
    }

    /// Its number on items with these counts.
    pub(crate) fn value(&self, metric: Metric, counts: &Counts) -> Option<f64> {
        let total = counts.total();
        let present = || (0..self.shares.len()).filter(|&class| counts.support[class] > 0);
        let share = |class: usize| counts.support[class] as f64 / total as f64;
        let top = self.ranking[0];
        match metric {
            Metric::MacroPrecision => Some(self.of_guess(metric, self.precision_by, counts)),
            Metric::MacroF1 => Some(self.of_guess(metric, self.f1_by, counts)),
            Metric::MacroAveragePrecision => {
                Some(mean(present().map(|class| {
                    random_average_precision(counts.support[class], total)
                })))
            }
            Metric::RocAuc => Some(0.5),
            Metric::Ece => Some((share(top) - self.shares[top]).abs()),
            Metric::Brier => {
                let length: f64 = self.shares.iter().map(|share| share * share).sum();
                Some(
                    present()
                        .map(|class| share(class) * (length + 1.0 - 2.0 * self.shares[class]))
                        .sum(),
                )
            }
            Metric::Nll => {
                // A class without a training item would cost an infinite loss: one item is added to each (Laplace's rule).
                let known = self
                    .train_counts
                    .map_or(total, |counts| counts.iter().sum::<usize>() as u64)
                    as f64;
                let smoothed = |class: usize| {
                    (self.shares[class] * known + 1.0) / (known + self.shares.len() as f64)
                };
                Some(
                    present()
                        .map(|class| -share(class) * smoothed(class).ln())
                        .sum(),
                )
            }
            _ => counts.of_constant(&self.ranking).measure(metric),
        }
    }

    /// Macro precision or macro F1 of a guess, with the expected number of each kind of hit and miss.
    fn of_guess(&self, metric: Metric, guess: Guess, counts: &Counts) -> f64 {
        let guessed = |class: usize| match guess {
            Guess::Majority => f64::from(u8::from(class == self.ranking[0])),
            Guess::ByShare => self.shares[class],
            Guess::Uniform => 1.0 / self.shares.len() as f64,
        };
        let total = counts.total() as f64;
        let of_class = |class: usize| {
            let (truth, guessed) = (counts.support[class] as f64 / total, guessed(class));
            match metric {
                _ if guessed == 0.0 => 0.0,
                Metric::MacroPrecision => truth,
                _ => 2.0 * truth * guessed / (truth + guessed),
            }
        };
        mean(
            (0..self.shares.len())
                .filter(|&class| counts.support[class] > 0)
                .map(of_class),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(support: &[u64]) -> Counts {
        let mut counts = Counts::new(support.len());
        counts.support = support.to_vec();
        counts
    }

    #[test]
    fn the_baseline_is_the_strongest_that_never_looks() {
        let classes: Vec<String> = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let even = counts(&[25; 4]);
        let trivial = Trivial::new(&classes, &[25; 4], &even);
        let cases = [
            (
                Metric::Top1,
                0.25,
                "always \"a\", the most frequent class in training",
            ),
            (
                Metric::MeanClassAccuracy,
                0.25,
                "always \"a\", the most frequent class in training",
            ),
            // Always the same class finds one class of four; a guess finds a quarter of each.
            (
                Metric::MacroPrecision,
                0.25,
                "guessing each class by its share in training",
            ),
            (
                Metric::MacroF1,
                0.25,
                "guessing each class by its share in training",
            ),
            (
                Metric::Mcc,
                0.0,
                "always \"a\", the most frequent class in training",
            ),
            (Metric::RocAuc, 0.5, "a random order of the items"),
            (
                Metric::Ece,
                0.0,
                "the class shares in training as the scores of every item",
            ),
            (
                Metric::Brier,
                0.75,
                "the class shares in training as the scores of every item",
            ),
            (
                Metric::Nll,
                4_f64.ln(),
                "the class shares in training as the scores of every item",
            ),
        ];
        for (metric, expected, name) in cases {
            let found = trivial.value(metric, &even).expect("always defined");
            assert!((found - expected).abs() < 1e-12, "{metric:?}: {found}");
            assert_eq!(trivial.name(metric), name);
        }
        // Nine of ten items are of one class, and training knows it.
        let skewed = counts(&[90, 10, 0, 0]);
        let trivial = Trivial::new(&classes, &[], &skewed);
        let found = trivial
            .value(Metric::MacroF1, &skewed)
            .expect("always defined");
        let by_share = (0.9 + 0.1) / 2.0;
        assert!((found - by_share).abs() < 1e-12, "{found}");
        assert!(
            trivial
                .name(Metric::MacroF1)
                .ends_with("its share of this set")
        );
    }
}
