//! Which group goes to which side: a small optimisation.
//!
//! The squared distance of each class's count on each side from its share, relative to that share, summed up. Groups are
//! placed one by one, the largest first, then single groups move and pairs change places while that brings the counts
//! closer. The seed decides between equals, so another seed gives another division of the same quality.

use marey_clip::rng_for;
use rand::seq::SliceRandom;

/// Keeps the draws of splits apart from all others of the same seed.
const PURPOSE: u64 = 0x5350_4C49;

/// Above this many groups, pairs are not tried: single moves leave next to nothing to gain there.
const MAX_GROUPS_FOR_SWAPS: usize = 400;

/// The side of each group, where side `s` gets about `shares[s]` of every class. No side stays empty where there are as many
/// groups as sides. `label_of` gives the class of an item, 0 to `num_classes` - 1.
pub(super) fn assign(
    groups: &[Vec<usize>],
    label_of: &dyn Fn(usize) -> usize,
    num_classes: usize,
    shares: &[f64],
    seed: u64,
) -> Vec<usize> {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.shuffle(&mut rng_for(seed, 0, 0, PURPOSE));
    // Stable, so the shuffle decides between groups of one size.
    order.sort_by_key(|&group| std::cmp::Reverse(groups[group].len()));
    let counts: Vec<Vec<f64>> = order
        .iter()
        .map(|&group| {
            let mut counts = vec![0.0; num_classes];
            groups[group]
                .iter()
                .for_each(|&idx| counts[label_of(idx)] += 1.0);
            counts
        })
        .collect();
    let placed = Assignment::new(&counts, shares).solve();
    let mut sides = vec![0; groups.len()];
    for (group, side) in order.into_iter().zip(placed) {
        sides[group] = side;
    }
    sides
}

/// Groups on sides, and how far that is from the shares.
struct Assignment<'a> {
    counts: &'a [Vec<f64>],
    /// What each side should hold of each class.
    wanted: Vec<Vec<f64>>,
    /// What it holds.
    held: Vec<Vec<f64>>,
    groups_of: Vec<usize>,
    side: Vec<usize>,
}

impl<'a> Assignment<'a> {
    fn new(counts: &'a [Vec<f64>], shares: &[f64]) -> Self {
        let num_classes = counts[0].len();
        let total = |class: usize| counts.iter().map(|group| group[class]).sum::<f64>();
        let totals: Vec<f64> = (0..num_classes).map(total).collect();
        let wanted = shares
            .iter()
            .map(|share| totals.iter().map(|n| n * share).collect());
        Self {
            counts,
            wanted: wanted.collect(),
            held: vec![vec![0.0; num_classes]; shares.len()],
            groups_of: vec![0; shares.len()],
            side: Vec::with_capacity(counts.len()),
        }
    }

    fn solve(mut self) -> Vec<usize> {
        for group in 0..self.counts.len() {
            let left = self.counts.len() - group;
            let empty = self.groups_of.iter().filter(|&&count| count == 0).count();
            // The last groups go to sides that would otherwise stay empty.
            let open = |side: &usize| empty < left || self.groups_of[*side] == 0;
            let cost = |&side: &usize| self.gain(side, group, 1.0);
            let sides = (0..self.wanted.len()).filter(open);
            let best = sides
                .min_by(|a, b| cost(a).total_cmp(&cost(b)))
                .unwrap_or(0);
            self.side.push(best);
            self.shift(best, group, 1.0);
        }
        while self.move_one() || self.swap_two() {}
        self.side
    }

    /// By how much the distance grows when `group` joins (`sign` 1) or leaves (-1) `side`.
    fn gain(&self, side: usize, group: usize, sign: f64) -> f64 {
        let classes = self.counts[group]
            .iter()
            .zip(&self.held[side])
            .zip(&self.wanted[side]);
        classes
            .filter(|((count, _), _)| **count > 0.0)
            .map(|((count, held), wanted)| {
                let before = held - wanted;
                let after = before + sign * count;
                (after * after - before * before) / wanted
            })
            .sum()
    }

    fn shift(&mut self, side: usize, group: usize, sign: f64) {
        for (held, count) in self.held[side].iter_mut().zip(&self.counts[group]) {
            *held += sign * count;
        }
        if sign > 0.0 {
            self.groups_of[side] += 1;
        } else {
            self.groups_of[side] -= 1;
        }
    }

    fn place(&mut self, group: usize, side: usize) {
        self.shift(self.side[group], group, -1.0);
        self.shift(side, group, 1.0);
        self.side[group] = side;
    }

    /// Moves the first group that is better off elsewhere.
    fn move_one(&mut self) -> bool {
        for group in 0..self.counts.len() {
            let from = self.side[group];
            if self.groups_of[from] == 1 {
                continue;
            }
            let leave = self.gain(from, group, -1.0);
            let to = (0..self.wanted.len())
                .find(|&to| to != from && leave + self.gain(to, group, 1.0) < -IMPROVEMENT);
            if let Some(to) = to {
                self.place(group, to);
                return true;
            }
        }
        false
    }

    /// Lets the first two groups that are better off change places.
    fn swap_two(&mut self) -> bool {
        let num = self.counts.len();
        if num > MAX_GROUPS_FOR_SWAPS {
            return false;
        }
        for a in 0..num {
            for b in a + 1..num {
                let (from, to) = (self.side[a], self.side[b]);
                if from == to {
                    continue;
                }
                let before = self.distance(from) + self.distance(to);
                self.place(a, to);
                self.place(b, from);
                if self.distance(from) + self.distance(to) < before - IMPROVEMENT {
                    return true;
                }
                self.place(a, from);
                self.place(b, to);
            }
        }
        false
    }

    fn distance(&self, side: usize) -> f64 {
        let pairs = self.held[side].iter().zip(&self.wanted[side]);
        pairs
            .filter(|(_, wanted)| **wanted > 0.0)
            .map(|(held, wanted)| (held - wanted).powi(2) / wanted)
            .sum()
    }
}

/// Less than this is rounding, and chasing it would never end.
const IMPROVEMENT: f64 = 1e-9;
