//! The sums that the figures of a classifier's decisions are made of.

use crate::metric::Metric;

/// What a predictor did with one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) target: usize,
    pub(crate) predicted: usize,
    /// Whether the target is among the five best.
    pub(crate) in_top5: bool,
}

impl Outcome {
    /// Ranks classes by falling score; of equal scores the class that is earlier in the list comes first.
    pub(crate) fn from_scores(target: usize, scores: &[f32]) -> Self {
        let beats = |other: usize, class: usize| {
            scores[other] > scores[class] || (scores[other] == scores[class] && other < class)
        };
        let predicted = (0..scores.len()).fold(
            0,
            |best, class| if beats(class, best) { class } else { best },
        );
        let rank = (0..scores.len())
            .filter(|&other| beats(other, target))
            .count();
        Self {
            target,
            predicted,
            in_top5: rank < 5,
        }
    }
}

/// Weighted sums over items. All vectors have one entry a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) support: Vec<u64>,
    pub(crate) predicted: Vec<u64>,
    pub(crate) correct: Vec<u64>,
    pub(crate) top5: u64,
}

impl Counts {
    pub(crate) fn new(num_classes: usize) -> Self {
        let zeros = vec![0; num_classes];
        Self {
            support: zeros.clone(),
            predicted: zeros.clone(),
            correct: zeros,
            top5: 0,
        }
    }

    /// Counts `outcomes`, each as often as its weight says.
    pub(crate) fn weighted(num_classes: usize, outcomes: &[Outcome], weights: &[u32]) -> Self {
        let mut counts = Self::new(num_classes);
        for (outcome, &weight) in outcomes.iter().zip(weights) {
            counts.add(outcome, u64::from(weight));
        }
        counts
    }

    /// Counts each of `outcomes` once.
    #[cfg(test)]
    pub(crate) fn of(num_classes: usize, outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let mut counts = Self::new(num_classes);
        for outcome in outcomes {
            counts.add(&outcome, 1);
        }
        counts
    }

    fn add(&mut self, outcome: &Outcome, weight: u64) {
        self.support[outcome.target] += weight;
        self.predicted[outcome.predicted] += weight;
        if outcome.target == outcome.predicted {
            self.correct[outcome.target] += weight;
        }
        if outcome.in_top5 {
            self.top5 += weight;
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.support.iter().sum()
    }

    /// The numerator of a figure that is a share of items.
    pub(crate) fn successes(&self, metric: Metric) -> Option<u64> {
        match metric {
            Metric::Top1 => Some(self.correct.iter().sum()),
            Metric::Top5 => Some(self.top5),
            _ => None,
        }
    }

    /// What the predictor that always gives `ranking`, best class first, gets on the same items.
    pub(crate) fn of_constant(&self, ranking: &[usize]) -> Self {
        let mut constant = Self::new(self.support.len());
        constant.support.clone_from(&self.support);
        constant.predicted[ranking[0]] = self.total();
        constant.correct[ranking[0]] = self.support[ranking[0]];
        constant.top5 = ranking
            .iter()
            .take(5)
            .map(|&class| self.support[class])
            .sum();
        constant
    }

    pub(crate) fn precision(&self, class: usize) -> f64 {
        ratio(self.correct[class], self.predicted[class])
    }

    pub(crate) fn recall(&self, class: usize) -> f64 {
        ratio(self.correct[class], self.support[class])
    }

    pub(crate) fn f1(&self, class: usize) -> f64 {
        ratio(
            2 * self.correct[class],
            self.support[class] + self.predicted[class],
        )
    }

    /// A figure that is made of decisions; `None` for those that are made of scores.
    pub(crate) fn measure(&self, metric: Metric) -> Option<f64> {
        let present = |class: &usize| self.support[*class] > 0;
        let in_union = |class: &usize| self.support[*class] + self.predicted[*class] > 0;
        let classes = 0..self.support.len();
        Some(match metric {
            Metric::Top1 => ratio(self.correct.iter().sum(), self.total()),
            Metric::Top5 => ratio(self.top5, self.total()),
            Metric::MeanClassAccuracy | Metric::MacroRecall => {
                mean(classes.filter(present).map(|class| self.recall(class)))
            }
            Metric::MacroPrecision => {
                mean(classes.filter(present).map(|class| self.precision(class)))
            }
            Metric::MacroF1 => mean(classes.filter(present).map(|class| self.f1(class))),
            Metric::UnionMeanRecall => {
                mean(classes.filter(in_union).map(|class| self.recall(class)))
            }
            Metric::Mcc => self.mcc(),
            Metric::MacroAveragePrecision
            | Metric::RocAuc
            | Metric::Ece
            | Metric::Brier
            | Metric::Nll => return None,
        })
    }

    /// Gorodkin's R_K, which is Matthews' for two classes. Gorodkin, Computational Biology and Chemistry 28 (2004), pp. 367-374.
    fn mcc(&self) -> f64 {
        let total = self.total() as f64;
        let dot = |a: &[u64], b: &[u64]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum()
        };
        let correct = self.correct.iter().sum::<u64>() as f64;
        let both = correct * total - dot(&self.support, &self.predicted);
        let truth = total * total - dot(&self.support, &self.support);
        let predicted = total * total - dot(&self.predicted, &self.predicted);
        if truth == 0.0 || predicted == 0.0 {
            return 0.0;
        }
        // Rounding may pass the ends by an ulp.
        (both / (truth * predicted).sqrt()).clamp(-1.0, 1.0)
    }
}

/// `numerator / denominator`, and 0 where the denominator is.
fn ratio(numerator: u64, denominator: u64) -> f64 {
    if denominator == 0 {
        0.0
    } else {
        numerator as f64 / denominator as f64
    }
}

/// The mean, and 0 of nothing.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

/// The sum of `counts`, each as often as its weight says.
pub(crate) fn weighted_total(counts: &[u64], weights: &[u32]) -> u64 {
    let weighted = counts.iter().zip(weights);
    weighted.map(|(&n, &weight)| n * u64::from(weight)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ties_go_to_the_earlier_class() {
        let cases = [
            (vec![0.5, 0.5], 0, true),
            (vec![0.1, 0.4, 0.4, 0.1], 1, true),
            // Six equal scores: the sixth class is not among the five best.
            (vec![0.2; 6], 0, false),
        ];
        for (scores, predicted, last_in_top5) in cases {
            let outcome = Outcome::from_scores(scores.len() - 1, &scores);
            assert_eq!(
                (outcome.predicted, outcome.in_top5),
                (predicted, last_in_top5),
                "{scores:?}"
            );
        }
    }

    #[test]
    fn a_class_that_is_only_predicted_divides_the_union() {
        let outcome = |target, predicted| Outcome {
            target,
            predicted,
            in_top5: true,
        };
        let counts = Counts::of(
            4,
            [outcome(0, 0), outcome(0, 2), outcome(1, 1), outcome(1, 1)],
        );
        let cases = [
            (Metric::Top1, 0.75),
            (Metric::MeanClassAccuracy, 0.75),
            (Metric::UnionMeanRecall, 0.5),
            (Metric::MacroPrecision, 1.0),
            (Metric::MacroF1, (2.0 / 3.0 + 1.0) / 2.0),
            // (3 * 4 - 2 * 1 - 2 * 2) / sqrt((16 - 8) * (16 - 6))
            (Metric::Mcc, 6.0 / 80_f64.sqrt()),
        ];
        for (metric, expected) in cases {
            assert!(
                (counts.measure(metric).expect("of decisions") - expected).abs() < 1e-12,
                "{metric:?}"
            );
        }
    }

    fn outcomes() -> impl Strategy<Value = Vec<Outcome>> {
        let outcome =
            (0_usize..7, 0_usize..7, any::<bool>()).prop_map(|(target, predicted, lucky)| {
                Outcome {
                    target,
                    predicted,
                    in_top5: lucky || target == predicted,
                }
            });
        prop::collection::vec(outcome, 1..60)
    }

    proptest! {
        #[test]
        fn every_figure_is_in_its_range(outcomes in outcomes()) {
            let counts = Counts::of(7, outcomes);
            for metric in Metric::REPORTED {
                if let Some(value) = counts.measure(metric) {
                    let [low, high] = metric.scale().range();
                    prop_assert!((low..=high).contains(&value), "{metric:?} {value}");
                }
            }
            prop_assert!(counts.measure(Metric::Top1) <= counts.measure(Metric::Top5));
            prop_assert!(counts.measure(Metric::UnionMeanRecall) <= counts.measure(Metric::MacroRecall));
        }

        #[test]
        fn weights_are_repetitions(
            (outcomes, weights) in outcomes().prop_flat_map(|o| {
                let n = o.len();
                (Just(o), prop::collection::vec(0_u32..4, n))
            })
        ) {
            let repeated = outcomes.iter().zip(&weights)
                .flat_map(|(outcome, &weight)| std::iter::repeat_n(*outcome, weight as usize));
            prop_assert_eq!(Counts::weighted(7, &outcomes, &weights), Counts::of(7, repeated));
        }

        #[test]
        fn the_ranking_is_the_sorted_one(scores in prop::collection::vec(0_u8..4, 2..12), target: prop::sample::Index) {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let target = target.index(scores.len());
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a])); // stable
            let counts = Counts::of(scores.len(), [Outcome::from_scores(target, &scores)]);
            prop_assert_eq!(counts.of_constant(&order), counts);
        }
    }
}
