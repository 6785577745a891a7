//! Resampling of whole groups, so that clips of one camera do not pass for independent evidence.

use std::collections::BTreeMap;

use marey_clip::{SeededRng, rng_for};
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, IntervalMethod, Scored};

/// Keeps these draws apart from every other use of the run's seed.
const PURPOSE: u64 = 0x626f_6f74_7374_7270; // "bootstrp"

/// How bootstrap intervals are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// Number of draws, at least 2. Default 1000.
    pub draws: usize,
    /// Seed: the same seed, items and groups give the same interval, whatever the order of the items.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            draws: 1000,
            seed: 0,
        }
    }
}

/// The units that are drawn with replacement: groups where there are any, else single items.
#[derive(Debug)]
pub(crate) struct Units {
    /// Item indices of each unit, in an order that does not depend on the order of the items.
    members: Vec<Vec<usize>>,
    num_items: usize,
    draws: usize,
    rng: SeededRng,
    /// What is drawn, and why.
    pub(crate) kind: UnitKind,
}

/// What a bootstrap draws.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UnitKind {
    /// Whole groups.
    Groups,
    /// Single items: no item has a group.
    ItemsWithoutGroup,
    /// Single items: all of them are of this one group, so nothing can be said about another.
    ItemsOfOneGroup(String),
}

impl Units {
    pub(crate) fn new(items: &[Scored], bootstrap: &Bootstrap) -> Result<Self, Error> {
        let keys: Vec<(&str, Option<&str>)> = items
            .iter()
            .map(|item| (item.item.as_str(), item.group.as_deref()))
            .collect();
        Self::of(&keys, bootstrap)
    }

    /// The units of things with these unique names and these groups.
    pub(crate) fn of(items: &[(&str, Option<&str>)], bootstrap: &Bootstrap) -> Result<Self, Error> {
        if bootstrap.draws < 2 {
            return Err(ErrorKind::Draws(bootstrap.draws).into());
        }
        // The first of the pair keeps a group "a" and a lone item "a" apart.
        let mut by_key: BTreeMap<(bool, &str), Vec<usize>> = BTreeMap::new();
        for (idx, &(item, group)) in items.iter().enumerate() {
            let key = match group {
                Some(group) => (true, group),
                None => (false, item),
            };
            by_key.entry(key).or_default().push(idx);
        }
        let grouped = by_key.keys().filter(|(is_group, _)| *is_group).count();
        let kind = match by_key.keys().next() {
            _ if grouped == 0 => UnitKind::ItemsWithoutGroup,
            Some((_, group)) if by_key.len() == 1 => UnitKind::ItemsOfOneGroup((*group).to_owned()),
            _ => UnitKind::Groups,
        };
        let members = match kind {
            UnitKind::Groups => by_key.into_values().collect(),
            _ => {
                let mut order: Vec<usize> = (0..items.len()).collect();
                order.sort_by(|&a, &b| items[a].0.cmp(items[b].0));
                order.into_iter().map(|idx| vec![idx]).collect()
            }
        };
        let rng = rng_for(bootstrap.seed, 0, 0, PURPOSE);
        Ok(Self {
            members,
            num_items: items.len(),
            draws: bootstrap.draws,
            rng,
            kind,
        })
    }

    /// Number of units in each draw.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Number of units of equal size that say as much: Kish's `(Σ size)² / Σ size²`.
    pub(crate) fn effective(&self) -> f64 {
        self.effective_of(&|_| true)
    }

    /// As [`Units::effective`], for the items that count only; 0 where none does.
    fn effective_of(&self, counts: &dyn Fn(usize) -> bool) -> f64 {
        let size = |members: &Vec<usize>| members.iter().filter(|&&idx| counts(idx)).count() as f64;
        let sizes: Vec<f64> = self.members.iter().map(size).collect();
        let squares: f64 = sizes.iter().map(|size| size * size).sum();
        match squares > 0.0 {
            true => sizes.iter().sum::<f64>().powi(2) / squares,
            false => 0.0,
        }
    }

    /// Number of units that say as much about the difference of two sides, by Welch and Satterthwaite: hardly more than the side with
    /// fewer units has. Two cameras with events and fifty without are little evidence for an area under a ROC curve.
    pub(crate) fn effective_of_sides(&self, is_first: &dyn Fn(usize) -> bool) -> f64 {
        let sides = [
            self.effective_of(is_first),
            self.effective_of(&|idx| !is_first(idx)),
        ];
        if sides.iter().any(|&units| units <= 1.0) {
            return 1.0;
        }
        let variance: f64 = sides.iter().map(|units| 1.0 / units).sum();
        let uncertainty: f64 = sides
            .iter()
            .map(|units| 1.0 / (units * units * (units - 1.0)))
            .sum();
        1.0 + variance * variance / uncertainty
    }

    /// Calls `visit` once a unit with weights of 1, and 0 for the items of that unit.
    pub(crate) fn without_each(&self, mut visit: impl FnMut(&[u32])) {
        let mut weights = vec![1_u32; self.num_items];
        for members in &self.members {
            members.iter().for_each(|&idx| weights[idx] = 0);
            visit(&weights);
            members.iter().for_each(|&idx| weights[idx] = 1);
        }
    }

    pub(crate) fn method(&self) -> IntervalMethod {
        match self.kind {
            UnitKind::Groups => IntervalMethod::GroupBootstrap {
                draws: self.draws,
                groups: self.len(),
            },
            _ => IntervalMethod::ItemBootstrap {
                draws: self.draws,
                items: self.len(),
            },
        }
    }

    /// Calls `visit` once a draw with how often each item was drawn.
    pub(crate) fn for_each_draw(mut self, mut visit: impl FnMut(&[u32])) {
        let mut weights = vec![0_u32; self.num_items];
        for _ in 0..self.draws {
            weights.fill(0);
            for _ in 0..self.members.len() {
                let unit = self.rng.random_range(0..self.members.len());
                for &idx in &self.members[unit] {
                    weights[idx] += 1;
                }
            }
            visit(&weights);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(name: &str, group: Option<&str>) -> Scored {
        let group = group.map(str::to_owned);
        Scored {
            item: name.to_owned(),
            group,
            target: 0,
            scores: vec![1.0, 0.0],
        }
    }

    fn units(items: &[Scored], seed: u64) -> Units {
        Units::new(items, &Bootstrap { draws: 20, seed }).expect("20 draws are enough")
    }

    #[test]
    fn says_what_it_draws() {
        let cases = [
            (
                vec![item("a", None), item("b", None)],
                UnitKind::ItemsWithoutGroup,
                2,
            ),
            (
                vec![item("a", Some("x")), item("b", Some("x"))],
                UnitKind::ItemsOfOneGroup("x".into()),
                2,
            ),
            (
                vec![
                    item("a", Some("x")),
                    item("b", Some("y")),
                    item("c", Some("x")),
                ],
                UnitKind::Groups,
                2,
            ),
            // A lone item named as a group stays apart from that group.
            (
                vec![item("a", Some("x")), item("x", None)],
                UnitKind::Groups,
                2,
            ),
        ];
        for (items, kind, len) in cases {
            let found = units(&items, 0);
            assert_eq!((&found.kind, found.len()), (&kind, len), "{items:?}");
        }
    }

    #[test]
    fn the_smaller_side_decides() {
        let items: Vec<Scored> = (0..40)
            .map(|i| item(&format!("{i:02}"), Some(&format!("group {}", i / 2))))
            .collect();
        let found = units(&items, 0);
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}");
        close(found.effective(), 20.0);
        // Ten groups on each side: Welch's 18 degrees of freedom.
        close(found.effective_of_sides(&|idx| idx < 20), 19.0);
        // One group on a side says nothing; two say little.
        close(found.effective_of_sides(&|idx| idx < 2), 1.0);
        assert!(found.effective_of_sides(&|idx| idx < 4) < 2.5);
        // One group of 21 items and 19 of one: (21 + 19)² / (21² + 19).
        let uneven: Vec<Scored> = (0..40)
            .map(|i| {
                item(
                    &format!("{i:02}"),
                    Some(&format!("group {:02}", i.max(20) - 20)),
                )
            })
            .collect();
        close(units(&uneven, 0).effective(), 1600.0 / 460.0);
    }

    #[test]
    fn one_draw_is_no_interval() {
        let error = Units::new(&[item("a", None)], &Bootstrap { draws: 1, seed: 0 });
        assert!(matches!(
            error.expect_err("one draw").kind(),
            ErrorKind::Draws(1)
        ));
    }

    proptest! {
        #[test]
        fn items_of_a_group_are_drawn_together(groups in prop::collection::vec(0_u8..6, 2..40), seed: u64) {
            let items: Vec<_> = groups.iter().enumerate()
                .map(|(i, g)| item(&format!("item-{i:02}"), Some(&g.to_string())))
                .collect();
            let found = units(&items, seed);
            prop_assume!(found.kind == UnitKind::Groups);
            let num_units = found.len();
            let mut num_draws = 0;
            found.for_each_draw(|weights| {
                num_draws += 1;
                let mut drawn = BTreeMap::new();
                for (g, w) in groups.iter().zip(weights) {
                    assert_eq!(*drawn.entry(g).or_insert(*w), *w);
                }
                assert_eq!(drawn.values().sum::<u32>() as usize, num_units);
            });
            prop_assert_eq!(num_draws, 20);
        }

        #[test]
        fn the_order_of_items_does_not_matter(groups in prop::collection::vec(0_u8..6, 2..40), seed: u64) {
            let mut items: Vec<_> = groups.iter().enumerate()
                .map(|(i, g)| item(&format!("item-{i:02}"), (*g > 0).then(|| g.to_string()).as_deref()))
                .collect();
            let mut forward = Vec::new();
            units(&items, seed).for_each_draw(|w| forward.push(w.to_vec()));
            items.reverse();
            let mut backward = Vec::new();
            units(&items, seed).for_each_draw(|w| backward.push(w.iter().rev().copied().collect::<Vec<_>>()));
            prop_assert_eq!(forward, backward);
        }
    }
}
