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
        if bootstrap.draws < 2 {
            return Err(ErrorKind::Draws(bootstrap.draws).into());
        }
        // The first of the pair keeps a group "a" and a lone item "a" apart.
        let mut by_key: BTreeMap<(bool, &str), Vec<usize>> = BTreeMap::new();
        for (idx, item) in items.iter().enumerate() {
            let key = match &item.group {
                Some(group) => (true, group.as_str()),
                None => (false, item.item.as_str()),
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
                order.sort_by(|&a, &b| items[a].item.cmp(&items[b].item));
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
