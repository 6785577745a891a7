//! [`Sampler`]: which training items an epoch draws, and in which order.
//!
//! An epoch always has as many draws as the training split has items, so that the number of steps does not depend on
//! the sampler. What it draws depends on the seed and the epoch only. Validation and test are never sampled.

use marey_clip::{SeededRng, rng_for};
use rand::{Rng, seq::SliceRandom};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Dataset;

/// The `[train.sampler]` table of a recipe.
///
/// Variants without keys have braces, since serde lets a unit variant swallow any key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SamplerConfig {
    /// Every item once, in random order.
    Shuffled {},
    /// Items with replacement, each draw by the weight of its class. As PyTorch's `WeightedRandomSampler`.
    Weighted {
        /// The weight of an item (default `"inv"`).
        #[serde(default)]
        by: WeightBy,
        /// `beta` of the effective number, at least 0 and below 1 (default 0.999). Only with `by = "effective"`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        beta: Option<f64>,
    },
    /// Each class as often as every other, to within one draw, and within a class each item as often as every other.
    Balanced {},
    /// One class at a stated share of the epoch; the rest as they are.
    Boosted {
        /// Name of the class.
        class: String,
        /// Its share of an epoch's draws, between 0 and 1, and above its share of the training split.
        share: f64,
    },
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self::Shuffled {}
    }
}

/// What the weight of an item is made of, with `n` training items of its class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WeightBy {
    /// `1 / n`: each class is drawn as often as every other on average.
    #[default]
    Inv,
    /// `1 / sqrt(n)`: half way there.
    InvSqrt,
    /// `(1 - beta) / (1 - beta^n)`: the inverse of the effective number of items (Cui et al., "Class-Balanced Loss Based
    /// on Effective Number of Samples", 2019).
    Effective,
}

/// Keeps the draws for the order apart from all others of the same seed.
const PURPOSE_ORDER: u64 = 0x4F52_4445;

/// Draws the items of training epochs.
#[derive(Clone, Debug)]
pub struct Sampler {
    seed: u64,
    /// Positions of the training items.
    indices: Vec<usize>,
    labels: Vec<usize>,
    num_classes: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Shuffled,
    /// Sum of the weights up to and with each item.
    Weighted(Vec<f64>),
    /// The items of each class that has any.
    Balanced(Vec<Vec<usize>>),
    Boosted {
        boosted: Vec<usize>,
        others: Vec<usize>,
        num_boosted: usize,
    },
}

/// What an epoch draws.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Draws of each class, in the order of [`Dataset::classes`].
    pub per_class: Vec<usize>,
    /// Items that are drawn at least once.
    pub distinct: usize,
}

impl SamplerConfig {
    /// Checks what a person wrote, without the data.
    ///
    /// # Errors
    /// A sentence that names the key, when a number cannot work or a key has no effect beside the others.
    pub fn validate(&self) -> Result<(), String> {
        match self {
            Self::Weighted { by, beta: Some(_) } if *by != WeightBy::Effective => Err(
                "train.sampler.beta has no effect without by = \"effective\": remove it, or set that".into(),
            ),
            Self::Weighted {
                beta: Some(beta), ..
            } if !(0.0..1.0).contains(beta) => Err(format!(
                "train.sampler.beta is {beta}, it must be at least 0 and below 1"
            )),
            Self::Boosted { share, .. } if !(*share > 0.0 && *share < 1.0) => Err(format!(
                "train.sampler.share is {share}, it must lie between 0 and 1"
            )),
            _ => Ok(()),
        }
    }

    /// The sampler of the training items at `indices` of `dataset`.
    ///
    /// # Errors
    /// A sentence that names the key, when the boosted class is not in the data or would not be boosted.
    pub fn init(&self, dataset: &Dataset, indices: &[usize], seed: u64) -> Result<Sampler, String> {
        self.validate()?;
        let labels: Vec<usize> = indices
            .iter()
            .map(|&idx| dataset.items[idx].label)
            .collect();
        let num_classes = dataset.classes.len();
        let kind = match self {
            Self::Shuffled {} => Kind::Shuffled,
            Self::Weighted { by, beta } => {
                let counts = count(&labels, num_classes);
                let beta = beta.unwrap_or(DEFAULT_BETA);
                let mut sum = 0.0;
                let cumulated = labels.iter().map(|&label| {
                    sum += by.weight(counts[label], beta);
                    sum
                });
                Kind::Weighted(cumulated.collect())
            }
            Self::Balanced {} => {
                let mut classes = vec![Vec::new(); num_classes];
                for (&idx, &label) in indices.iter().zip(&labels) {
                    classes[label].push(idx);
                }
                classes.retain(|items| !items.is_empty());
                Kind::Balanced(classes)
            }
            Self::Boosted { class, share } => boosted(dataset, indices, class, *share)?,
        };
        Ok(Sampler {
            seed,
            indices: indices.to_vec(),
            labels: dataset.items.iter().map(|item| item.label).collect(),
            num_classes,
            kind,
        })
    }
}

/// What Cui et al. use most.
const DEFAULT_BETA: f64 = 0.999;

impl WeightBy {
    /// The weight of an item of a class with `count` items, at least 1; `beta`, 0 to 1, serves `Effective`.
    pub fn weight(self, count: usize, beta: f64) -> f64 {
        let count = count as f64;
        match self {
            Self::Inv => 1.0 / count,
            Self::InvSqrt => 1.0 / count.sqrt(),
            Self::Effective => (1.0 - beta) / (1.0 - beta.powf(count)),
        }
    }
}

fn boosted(dataset: &Dataset, indices: &[usize], class: &str, share: f64) -> Result<Kind, String> {
    let Some(label) = dataset.classes.index(class) else {
        return Err(format!(
            "train.sampler.class = \"{class}\" is no class of the data, which has {}",
            dataset.classes.names().join(", ")
        ));
    };
    let (boosted, others): (Vec<usize>, Vec<usize>) = indices
        .iter()
        .partition(|&&idx| dataset.items[idx].label == label);
    if boosted.is_empty() || others.is_empty() {
        let who = if boosted.is_empty() { "no" } else { "every" };
        return Err(format!(
            "train.sampler.class = \"{class}\": {who} training item is of that class, so there is nothing to boost"
        ));
    }
    let natural = boosted.len() as f64 / indices.len() as f64;
    let num_boosted = (share * indices.len() as f64).round() as usize;
    if num_boosted <= boosted.len() || num_boosted >= indices.len() {
        return Err(format!(
            "train.sampler.share is {share}, and {} of {} training items are of \"{class}\": expected a share above \
             {natural:.3} that leaves draws for the others",
            boosted.len(),
            indices.len()
        ));
    }
    Ok(Kind::Boosted {
        boosted,
        others,
        num_boosted,
    })
}

impl Sampler {
    /// Positions in [`Dataset::items`] of what epoch `epoch` draws, in order: as many as there are training items.
    pub fn epoch(&self, epoch: u64) -> Vec<usize> {
        let rng = &mut rng(self.seed, epoch);
        let num = self.indices.len();
        match &self.kind {
            Kind::Shuffled => shuffled(&self.indices, rng),
            Kind::Weighted(cumulated) => {
                let total = cumulated.last().copied().unwrap_or(0.0);
                let mut draw = |_| {
                    let at = rng.random::<f64>() * total;
                    let idx = cumulated.partition_point(|&sum| sum <= at);
                    self.indices[idx.min(num - 1)]
                };
                (0..num).map(&mut draw).collect()
            }
            Kind::Balanced(classes) => {
                // Which classes get the draws that do not divide evenly changes from epoch to epoch.
                let mut turns: Vec<usize> = (0..classes.len()).collect();
                turns.shuffle(rng);
                let mut order = Vec::with_capacity(num);
                for (turn, &class) in turns.iter().enumerate() {
                    let extra = usize::from(turn < num % classes.len());
                    order.extend(in_turn(&classes[class], num / classes.len() + extra, rng));
                }
                order.shuffle(rng);
                order
            }
            Kind::Boosted {
                boosted,
                others,
                num_boosted,
            } => {
                let mut order = in_turn(boosted, *num_boosted, rng);
                order.extend(in_turn(others, num - num_boosted, rng));
                order.shuffle(rng);
                order
            }
        }
    }

    /// What an epoch's `order` draws.
    pub fn drawn(&self, order: &[usize]) -> Drawn {
        let mut is_drawn = vec![false; self.labels.len()];
        let mut per_class = vec![0; self.num_classes];
        for &idx in order {
            is_drawn[idx] = true;
            per_class[self.labels[idx]] += 1;
        }
        Drawn {
            per_class,
            distinct: is_drawn.iter().filter(|&&is_drawn| is_drawn).count(),
        }
    }
}

fn count(labels: &[usize], num_classes: usize) -> Vec<usize> {
    let mut counts = vec![0; num_classes];
    for &label in labels {
        counts[label] += 1;
    }
    counts
}

/// What draws the order of an epoch.
pub(crate) fn rng(seed: u64, epoch: u64) -> SeededRng {
    rng_for(seed, epoch, 0, PURPOSE_ORDER)
}

/// A permutation of `items`.
pub(crate) fn shuffled(items: &[usize], rng: &mut SeededRng) -> Vec<usize> {
    let mut order = items.to_vec();
    order.shuffle(rng);
    order
}

/// `num` draws in which no item comes again before all have come.
fn in_turn(items: &[usize], num: usize, rng: &mut SeededRng) -> Vec<usize> {
    let mut order = Vec::with_capacity(num + items.len());
    while order.len() < num {
        order.extend(shuffled(items, rng));
    }
    order.truncate(num);
    order
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use marey_clip::ClassList;
    use proptest::prelude::*;

    use super::*;
    use crate::{Item, Split};

    /// `counts` training items of classes `a`, `b`, `c`.
    fn dataset(counts: [usize; 3]) -> Dataset {
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        let labels = (0..3).flat_map(|label| vec![label; counts[label]]);
        let item = |(idx, label): (usize, usize)| Item {
            id: format!("{idx}"),
            source: format!("{idx}.mp4").into(),
            span: None,
            label,
            group: None,
            split: Some(Split::Train),
            metadata: BTreeMap::new(),
        };
        Dataset {
            classes: ClassList::new(names).expect("three names"),
            items: labels.enumerate().map(item).collect(),
            notes: Vec::new(),
            accepted_leak: None,
        }
    }

    fn sampler(config: &SamplerConfig, counts: [usize; 3]) -> Sampler {
        let dataset = dataset(counts);
        let indices: Vec<usize> = (0..dataset.items.len()).collect();
        config.init(&dataset, &indices, 4).expect("valid")
    }

    /// Mean draws of each class over 200 epochs of 100 items.
    fn mean(config: &SamplerConfig, counts: [usize; 3]) -> [f64; 3] {
        let sampler = sampler(config, counts);
        let mut total = [0.0; 3];
        for epoch in 0..200 {
            let drawn = sampler.drawn(&sampler.epoch(epoch));
            for (total, num) in total.iter_mut().zip(drawn.per_class) {
                *total += num as f64 / 200.0;
            }
        }
        total
    }

    fn check_mean(config: &SamplerConfig, counts: [usize; 3], expect: [f64; 3]) {
        // A mean of 200 binomials of 100 deviates by less than 0.36.
        for (found, expect) in mean(config, counts).iter().zip(expect) {
            assert!(
                (found - expect).abs() < 1.5,
                "{config:?}: {found} is not {expect}"
            );
        }
    }

    const fn weighted(by: WeightBy) -> SamplerConfig {
        SamplerConfig::Weighted { by, beta: None }
    }

    #[test]
    fn weights_give_each_class_its_share() {
        let third = 100.0 / 3.0;
        check_mean(&weighted(WeightBy::Inv), [64, 32, 4], [third; 3]);
        // Square roots of 64, 32 and 4 are 8, 5.66 and 2.
        let roots = [8.0, 32f64.sqrt(), 2.0];
        let sum: f64 = roots.iter().sum();
        check_mean(
            &weighted(WeightBy::InvSqrt),
            [64, 32, 4],
            roots.map(|root| 100.0 * root / sum),
        );
        // With beta 0 every item counts alike.
        let alike = SamplerConfig::Weighted {
            by: WeightBy::Effective,
            beta: Some(0.0),
        };
        check_mean(&alike, [64, 32, 4], [64.0, 32.0, 4.0]);
        // n (1 - 0.9) / (1 - 0.9^n) for 90, 8 and 2 items: 9.0007, 1.4046 and 1.0526.
        let effective = SamplerConfig::Weighted {
            by: WeightBy::Effective,
            beta: Some(0.9),
        };
        let weights = [9.0007, 1.4046, 1.0526];
        let sum: f64 = weights.iter().sum();
        check_mean(
            &effective,
            [90, 8, 2],
            weights.map(|weight| 100.0 * weight / sum),
        );
    }

    #[test]
    fn weighted_draws_are_with_replacement() {
        let sampler = sampler(&weighted(WeightBy::Inv), [90, 5, 5]);
        let order = sampler.epoch(0);
        let drawn = sampler.drawn(&order);
        assert_eq!(order.len(), 100);
        // The ten rare items are drawn some 67 times, the 90 others some 33 times.
        assert!(drawn.distinct < 50, "{drawn:?}");
    }

    #[test]
    fn balanced_classes_are_alike_and_their_items_too() {
        let sampler = sampler(&SamplerConfig::Balanced {}, [80, 15, 5]);
        let mut extra = [0; 3];
        for epoch in 0..30 {
            let order = sampler.epoch(epoch);
            let per_class = sampler.drawn(&order).per_class;
            assert_eq!(order.len(), 100);
            assert!(
                per_class.iter().all(|num| [33, 34].contains(num)),
                "{per_class:?}"
            );
            for (extra, num) in extra.iter_mut().zip(&per_class) {
                *extra += num - 33;
            }
            // 33 or 34 draws of 5 items: 6 or 7 each.
            for item in 95..100 {
                let times = order.iter().filter(|&&idx| idx == item).count();
                assert!([6, 7].contains(&times), "{times} times");
            }
        }
        assert!(extra.iter().all(|&extra| extra > 0), "{extra:?}");
        // A class without training items has no share.
        let two = super::tests::sampler(&SamplerConfig::Balanced {}, [7, 0, 3]);
        assert_eq!(two.drawn(&two.epoch(0)).per_class, [5, 0, 5]);
    }

    #[test]
    fn a_boosted_class_has_the_share_that_is_stated() {
        let boost = |share| SamplerConfig::Boosted {
            class: "c".into(),
            share,
        };
        let sampler = sampler(&boost(0.4), [60, 30, 10]);
        for epoch in 0..10 {
            let drawn = sampler.drawn(&sampler.epoch(epoch));
            assert_eq!(drawn.per_class[2], 40);
            // All ten boosted items, and sixty different others.
            assert_eq!(drawn.distinct, 70);
        }
        let dataset = dataset([60, 30, 10]);
        let indices: Vec<usize> = (0..100).collect();
        let refused =
            |config: &SamplerConfig| config.init(&dataset, &indices, 0).expect_err("refused");
        assert_eq!(
            refused(&boost(0.1)),
            "train.sampler.share is 0.1, and 10 of 100 training items are of \"c\": expected a share above 0.100 that \
             leaves draws for the others"
        );
        let unknown = SamplerConfig::Boosted {
            class: "d".into(),
            share: 0.5,
        };
        assert_eq!(
            refused(&unknown),
            "train.sampler.class = \"d\" is no class of the data, which has a, b, c"
        );
        assert!(refused(&boost(1.5)).contains("must lie between 0 and 1"));
        let idle = SamplerConfig::Weighted {
            by: WeightBy::Inv,
            beta: Some(0.9),
        };
        assert!(refused(&idle).contains("beta has no effect"));
    }

    proptest! {
        #[test]
        fn an_epoch_depends_on_seed_and_epoch_and_has_every_length(
            counts in (1usize..20, 1usize..20, 2usize..20),
            epoch in 0u64..50,
        ) {
            let counts = [counts.0, counts.1, counts.2];
            let configs = [
                SamplerConfig::Shuffled {},
                weighted(WeightBy::InvSqrt),
                SamplerConfig::Balanced {},
            ];
            for config in configs {
                let sampler = sampler(&config, counts);
                let order = sampler.epoch(epoch);
                prop_assert_eq!(order.len(), counts.iter().sum::<usize>());
                prop_assert_eq!(&order, &sampler.epoch(epoch));
            }
        }
    }
}
