//! How much a clip of each class counts.

use std::collections::BTreeMap;

use marey_data::WeightBy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a clip of each class counts, from the number of training clips of each class.
///
/// A loss divides by the weights of its clips, so a factor on all weights changes nothing: `"balanced"` and `"inv"` train
/// alike. Beside a sampler that already shows rare classes more often, weights correct the same thing twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
#[schemars(with = "Written")]
pub enum ClassWeights {
    /// Every clip counts alike.
    #[default]
    None,
    /// N / (K · count of the class): every class counts alike.
    Balanced,
    /// 1 / count, with mean 1 over the classes: the same proportions as `Balanced`.
    Inv,
    /// 1 / √count, with mean 1: half way between clips and classes.
    InvSqrt,
    /// (1 - β) / (1 - β^count), with mean 1: class-balanced by the effective number of clips (Cui et al.,
    /// "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, equation 3).
    Effective,
    /// A weight for each class by its name, all above 0.
    Table(BTreeMap<String, f64>),
}

/// As in a recipe: a name, or a table of weights by class.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Written {
    Name(String),
    Table(BTreeMap<String, f64>),
}

const NAMES: [(&str, ClassWeights); 5] = [
    ("none", ClassWeights::None),
    ("balanced", ClassWeights::Balanced),
    ("inv", ClassWeights::Inv),
    ("inv_sqrt", ClassWeights::InvSqrt),
    ("effective", ClassWeights::Effective),
];

impl TryFrom<Written> for ClassWeights {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let name = match written {
            Written::Table(table) => return Ok(Self::Table(table)),
            Written::Name(name) => name,
        };
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, weights)| weights.clone()).ok_or_else(|| {
            let known = NAMES.map(|(name, _)| format!("\"{name}\"")).join(", ");
            format!("loss.class_weights is \"{name}\", expected one of {known}, or a table with a weight for each class")
        })
    }
}

impl From<ClassWeights> for Written {
    fn from(weights: ClassWeights) -> Self {
        if let ClassWeights::Table(table) = weights {
            return Self::Table(table);
        }
        let found = NAMES.iter().find(|(_, known)| *known == weights);
        let (name, _) = found.expect("every kind but a table has a name");
        Self::Name((*name).to_owned())
    }
}

impl ClassWeights {
    pub(super) fn check(&self) -> Result<(), String> {
        let Self::Table(table) = self else {
            return Ok(());
        };
        let wrong = table
            .iter()
            .find(|(_, weight)| !(1e-6..=1e6).contains(*weight));
        match wrong {
            None => Ok(()),
            Some((class, weight)) => Err(format!(
                "loss.class_weights of \"{class}\" is {weight}, it must lie in 0.000001..=1000000"
            )),
        }
    }

    /// One weight a class; `None` when all are 1. A class without a training clip gets 0 (in a table its own weight):
    /// nothing can be learned about it, and it is named in the report. `beta` serves `Effective`.
    ///
    /// # Errors
    /// When a table lacks a class or names one that is not in `classes`.
    pub fn weights(
        &self,
        classes: &[String],
        train_counts: &[usize],
        beta: f64,
    ) -> Result<Option<Vec<f32>>, String> {
        let total: usize = train_counts.iter().sum();
        let raw: &dyn Fn(usize) -> f64 = match self {
            Self::None => return Ok(None),
            Self::Table(table) => return of_table(table, classes).map(Some),
            Self::Balanced => &|count| total as f64 / (classes.len() as f64 * count as f64),
            Self::Inv => &|count| WeightBy::Inv.weight(count, beta),
            Self::InvSqrt => &|count| WeightBy::InvSqrt.weight(count, beta),
            Self::Effective => &|count| WeightBy::Effective.weight(count, beta),
        };
        let of_count = |&count: &usize| if count == 0 { 0.0 } else { raw(count) };
        let weights: Vec<f64> = train_counts.iter().map(of_count).collect();
        let mean = match self {
            Self::Balanced => 1.0,
            _ => {
                let present = train_counts.iter().filter(|count| **count > 0).count();
                weights.iter().sum::<f64>() / present.max(1) as f64
            }
        };
        let weights = weights.into_iter().map(|weight| (weight / mean) as f32);
        Ok(Some(weights.collect()))
    }
}

fn of_table(table: &BTreeMap<String, f64>, classes: &[String]) -> Result<Vec<f32>, String> {
    let unknown = table.keys().find(|name| !classes.contains(name));
    let missing = classes.iter().find(|name| !table.contains_key(*name));
    let problem = match (unknown, missing) {
        (None, None) => return Ok(classes.iter().map(|name| table[name] as f32).collect()),
        (Some(name), _) => format!("names \"{name}\", which is no class"),
        (None, Some(name)) => format!("lacks the class \"{name}\""),
    };
    Err(format!(
        "loss.class_weights {problem}; give a weight for each of {}",
        classes.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes() -> [String; 3] {
        ["ear", "tail", "none"].map(str::to_owned)
    }

    #[test]
    fn balanced_weights_make_classes_count_alike() {
        let weights = |kind: ClassWeights| kind.weights(&classes(), &[1, 3, 0], 0.9);
        assert_eq!(
            weights(ClassWeights::Balanced),
            Ok(Some(vec![4.0 / 3.0, 4.0 / 9.0, 0.0]))
        );
        assert_eq!(weights(ClassWeights::None), Ok(None));
        // The classes that are there have mean 1.
        assert_eq!(weights(ClassWeights::Inv), Ok(Some(vec![1.5, 0.5, 0.0])));
    }

    /// By reference/loss_golden.py.
    #[test]
    fn weights_by_count_equal_their_formulas() {
        let golden = [
            (ClassWeights::Inv, 0.5, [0.123288, 0.410959, 2.465753]),
            (ClassWeights::InvSqrt, 0.5, [0.411078, 0.750523, 1.838399]),
            (
                ClassWeights::Effective,
                0.999,
                [0.128758, 0.414581, 2.456661],
            ),
            (ClassWeights::Effective, 0.9, [0.668730, 0.698314, 1.632956]),
        ];
        for (kind, beta, expect) in golden {
            let found = kind.weights(&classes(), &[100, 30, 5], beta);
            let found = found.expect("valid").expect("weights");
            let close = found.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(close, "{kind:?} {beta}: {found:?} is not {expect:?}");
        }
    }

    #[test]
    fn a_table_names_every_class_once() {
        let table = |pairs: &[(&str, f64)]| {
            ClassWeights::Table(
                pairs
                    .iter()
                    .map(|(name, weight)| ((*name).to_owned(), *weight))
                    .collect(),
            )
        };
        let weights = |kind: ClassWeights| kind.weights(&classes(), &[1, 1, 1], 0.9);
        let all = [("ear", 1.0), ("none", 0.5), ("tail", 3.0)];
        assert_eq!(weights(table(&all)), Ok(Some(vec![1.0, 3.0, 0.5])));
        let error = weights(table(&all[..2])).expect_err("no tail");
        assert!(
            error.contains("lacks the class \"tail\"; give a weight for each of ear, tail, none"),
            "{error}"
        );
        let error = weights(table(&[("leg", 1.0)])).expect_err("no such class");
        assert!(error.contains("names \"leg\""), "{error}");
        assert!(table(&[("ear", 0.0)]).check().is_err());
    }

    #[test]
    fn names_and_tables_are_read_and_written() {
        #[derive(Debug, Deserialize, Serialize)]
        struct Section {
            class_weights: ClassWeights,
        }
        for text in [
            "class_weights = \"inv_sqrt\"\n",
            "[class_weights]\near = 1.0\ntail = 3.0\n",
        ] {
            let section: Section = toml::from_str(text).expect("valid");
            assert_eq!(toml::to_string(&section).expect("TOML"), text);
        }
        let error = toml::from_str::<Section>("class_weights = \"inverse\"").expect_err("unknown");
        assert!(
            error.message().contains("\"inv_sqrt\", \"effective\""),
            "{error}"
        );
    }
}
