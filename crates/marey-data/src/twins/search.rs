//! Finds footage that shows the same as other footage, in full or through a window of it.
//!
//! Every ordered pair is looked at three times, each look sharper than the one before and given to fewer pairs: are the
//! still pictures alike through any of a few windows, upright or mirrored; do the changes correlate on a rough grid, at
//! the lags at which activity rises and falls together; and, with the window and the lag refined, do changes and
//! pictures both agree on a fine grid. Trains that pass a fixed camera at the same speed correlate at 0.87, but their
//! pictures do not agree; still clips of one camera agree in their pictures, but no change says that it is one moment.

use std::cell::OnceCell;

use rayon::prelude::*;

use super::{
    activity::Activity,
    footage::Footage,
    motion::{Changes, dot},
    refine::{Match, refine},
    view::{View, Window},
};

/// Rows and columns of the rough grid and of the fine one.
const ROUGH: [usize; 2] = [6, 8];
pub(super) const FINE: [usize; 2] = [12, 16];

/// A picture is plain where half of it lies within this many levels. Then nothing in it says which window a copy would
/// show, and one thing that moves evenly can be laid over any other: windows are not tried, and [`PLAIN_EVIDENCE`] is
/// asked for.
const PLAIN_LEVELS: f32 = 16.0;
/// Bins in which something must move over a plain ground: three seconds.
pub(super) const PLAIN_EVIDENCE: f32 = 24.0;
/// Correlation of still pictures that a window must reach on the rough grid.
const ALIKE_PICTURES: f32 = 0.5;
/// Windows whose correlation is this much below the best window's are left out.
const NEARLY: f32 = 0.15;
/// Correlation of changes that a pair must reach on the rough grid, and on the fine one before its window is refined.
pub(super) const ALIKE_CHANGES: f32 = 0.4;
/// Footage with what the search compares.
pub(super) struct Print {
    pub(super) footage: Footage,
    /// The mean picture.
    middle: Footage,
    /// Changes of the whole picture on the rough grid.
    rough: Changes,
    /// The mean picture on the rough grid, without its mean, of length 1.
    still: Vec<f32>,
    /// Whether the mean picture is plain.
    is_plain: bool,
    /// Bins that show a change, on the fine grid.
    pub(super) evidence: f32,
    activity: Activity,
}

impl Print {
    pub(super) fn new(footage: Footage) -> Self {
        let bins = footage.bins();
        let cells = View::new(&Window::WHOLE, ROUGH[0], ROUGH[1]).cells(&footage, 0, bins);
        let fine = View::new(&Window::WHOLE, FINE[0], FINE[1]).cells(&footage, 0, bins);
        let fine = Changes::of(&fine, FINE[0] * FINE[1]);
        Self {
            rough: Changes::of(&cells, ROUGH[0] * ROUGH[1]),
            still: still(&cells, ROUGH[0] * ROUGH[1]),
            is_plain: detail(&footage.middle(0, bins)) < PLAIN_LEVELS,
            middle: footage.middle(0, bins),
            evidence: fine.evidence(),
            // The logarithm of how far a bin's change stands out of the noise.
            activity: Activity::new(
                fine.weights
                    .iter()
                    .map(|weight| -(1.0 - weight).ln())
                    .collect(),
            ),
            footage,
        }
    }
}

/// The best match of each ordered pair, those that fail the first looks left out; in order. `is_same` tells pairs that
/// need no search. `done` is called after each first of a pair.
pub(super) fn matches(
    prints: &[Print],
    is_same: &(dyn Fn(usize, usize) -> bool + Sync),
    done: &(dyn Fn() + Sync),
) -> Vec<Match> {
    let starts = Window::starts();
    let found = |first: usize| {
        let whole = Seen::all(&prints[first], &starts);
        let seconds =
            (0..prints.len()).filter(|&second| second != first && !is_same(first, second));
        let found = seconds.filter_map(|second| {
            // The whole against the whole is the same both ways round.
            let windows: Vec<&Seen> = whole
                .iter()
                .filter(|seen| seen.window.is_crop() || first < second)
                .collect();
            best(&prints[first], &prints[second], &windows).map(|found| Match {
                pair: [first, second],
                ..found
            })
        });
        let found: Vec<Match> = found.collect();
        done();
        found
    };
    let found: Vec<Vec<Match>> = (0..prints.len()).into_par_iter().map(found).collect();
    found.into_iter().flatten().collect()
}

/// What a window of some footage shows, on the rough grid.
struct Seen {
    window: Window,
    still: Vec<f32>,
    /// Made when a picture is alike.
    changes: OnceCell<Changes>,
}

impl Seen {
    fn all(print: &Print, windows: &[Window]) -> Vec<Self> {
        let seen = |window: &Window| {
            let view = View::new(window, ROUGH[0], ROUGH[1]);
            Self {
                window: *window,
                still: still(&view.cells(&print.middle, 0, 1), ROUGH[0] * ROUGH[1]),
                changes: OnceCell::new(),
            }
        };
        windows.iter().map(seen).collect()
    }

    fn changes(&self, print: &Print) -> &Changes {
        self.changes.get_or_init(|| {
            let view = View::new(&self.window, ROUGH[0], ROUGH[1]);
            let cells = view.cells(&print.footage, 0, print.footage.bins());
            Changes::of(&cells, ROUGH[0] * ROUGH[1])
        })
    }
}

fn best(first: &Print, second: &Print, windows: &[&Seen]) -> Option<Match> {
    let is_plain = is_plain(first, second);
    if is_plain && first.evidence.min(second.evidence) < PLAIN_EVIDENCE {
        return None;
    }
    let alike = windows.iter().filter_map(|&seen| {
        let correlation = dot(&seen.still, &second.still);
        match is_plain {
            true => (!seen.window.is_crop()).then_some((1.0, seen)),
            false => (correlation >= ALIKE_PICTURES).then_some((correlation, seen)),
        }
    });
    let mut alike: Vec<(f32, &Seen)> = alike.collect();
    let most = alike
        .iter()
        .map(|(correlation, _)| *correlation)
        .fold(0.0, f32::max);
    alike.retain(|(correlation, _)| *correlation >= most - NEARLY);
    if alike.is_empty() {
        return None;
    }
    let lags = first.activity.lags(&second.activity);
    let mut rough: Option<(f32, Window, isize)> = None;
    for (_, seen) in alike {
        let changes = seen.changes(first);
        for &lag in &lags {
            let (correlation, _) = changes.correlation(&second.rough, lag);
            if correlation >= rough.map_or(ALIKE_CHANGES, |(best, ..)| best) {
                rough = Some((correlation, seen.window, lag));
            }
        }
    }
    let (_, window, lag) = rough?;
    refine(first, second, window, lag)
}

/// Whether the ground of either says too little to tell one window from another.
pub(super) fn is_plain(first: &Print, second: &Print) -> bool {
    first.is_plain || second.is_plain
}

/// Levels between the quarter of the cells that is darker and the quarter that is brighter than the rest: hardly any
/// where one thing moves over a plain ground, however bright it is.
fn detail(picture: &Footage) -> f32 {
    let mut cells = View::new(&Window::WHOLE, FINE[0], FINE[1]).cells(picture, 0, 1);
    cells.sort_by(f32::total_cmp);
    cells[cells.len() * 3 / 4] - cells[cells.len() / 4]
}

/// The mean picture of `[bins, cells]` without its own mean, of length 1.
fn still(pictures: &[f32], cells: usize) -> Vec<f32> {
    let mut mean = vec![0.0; cells];
    for picture in pictures.chunks_exact(cells) {
        mean.iter_mut()
            .zip(picture)
            .for_each(|(sum, value)| *sum += value);
    }
    let light = mean.iter().sum::<f32>() / cells as f32;
    mean.iter_mut().for_each(|value| *value -= light);
    let length = dot(&mean, &mean).sqrt();
    mean.iter_mut().for_each(|value| *value /= length.max(1e-6));
    mean
}

#[cfg(test)]
mod tests {
    use marey_clip::{Timestamp, rng_for};
    use proptest::prelude::*;
    use rand::Rng;

    use super::*;
    use crate::twins::footage::{COLUMNS, ROWS};

    /// Ten seconds of two things that wander over the ground of a camera.
    fn footage(camera: u64, seed: u64) -> Footage {
        let mut rng = rng_for(camera, 1, 0, 0);
        let waves: [[f32; 3]; 5] =
            std::array::from_fn(|_| std::array::from_fn(|_| rng.random_range(0.1..0.5)));
        let mut rng = rng_for(seed, 2, 0, 0);
        let things: [[f32; 6]; 2] =
            std::array::from_fn(|_| std::array::from_fn(|_| rng.random_range(0.0..1.0)));
        let light = |bin: usize, row: usize, column: usize| {
            let (x, y) = (column as f32, row as f32);
            let wave = |w: &[f32; 3]| 18.0 * (x * w[0] + y * w[1] + 30.0 * w[2]).sin();
            let mut light = 120.0 + waves.iter().map(wave).sum::<f32>();
            for t in &things {
                let turn = |speed: f32, phase: f32| {
                    (bin as f32 * (0.06 + 0.25 * speed) + 7.0 * phase).sin()
                };
                let away =
                    (x - 32.0 - 20.0 * turn(t[0], t[1])).hypot(y - 24.0 - 13.0 * turn(t[2], t[3]));
                light += (250.0 * t[4].round() - light)
                    * (2.0 - away / (2.5 + 3.0 * t[5])).clamp(0.0, 1.0);
            }
            light.clamp(0.0, 255.0) as u8
        };
        let cells =
            |bin: usize| (0..ROWS * COLUMNS).map(move |cell| (bin, cell / COLUMNS, cell % COLUMNS));
        Footage {
            start: Timestamp::from_nanos(0),
            pictures: (0..80)
                .flat_map(cells)
                .map(|(bin, row, column)| light(bin, row, column))
                .collect(),
        }
    }

    fn mirrored(footage: &Footage) -> Footage {
        let rows = footage.pictures.chunks_exact(COLUMNS);
        Footage {
            start: footage.start,
            pictures: rows.flat_map(|row| row.iter().rev().copied()).collect(),
        }
    }

    fn cut(footage: &Footage, bins: std::ops::Range<usize>) -> Footage {
        let area = ROWS * COLUMNS;
        Footage {
            start: footage.start,
            pictures: footage.pictures[bins.start * area..bins.end * area].to_vec(),
        }
    }

    fn search(parts: Vec<Footage>) -> Vec<Match> {
        let prints: Vec<Print> = parts.into_iter().map(Print::new).collect();
        matches(&prints, &|_, _| false, &|| ())
    }

    /// The likeliest match of any two.
    fn likeliest(found: &[Match]) -> Option<Match> {
        found
            .iter()
            .copied()
            .max_by(|a, b| a.correlation.total_cmp(&b.correlation))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// A mirrored copy is as alike as a straight one, and what is compared of it weighs the same.
        #[test]
        fn a_mirror_changes_nothing_but_the_side(seed in 0_u64..10_000) {
            let one = footage(seed, seed);
            let back = mirrored(&one);
            let (straight, turned) = (Print::new(one.clone()), Print::new(back.clone()));
            prop_assert!((straight.evidence - turned.evidence).abs() < 1e-3 * straight.evidence.max(1.0));
            let found = likeliest(&search(vec![one, back]));
            let found = found.expect("a copy is found");
            prop_assert!(found.correlation > 0.99 && found.lag == 0, "{found:?}");
            prop_assert!(found.window.mirrored && !found.window.is_crop(), "{found:?}");
        }

        /// A cut is found at its own place, whatever it leaves out.
        #[test]
        fn a_cut_lies_where_it_was_cut_out(seed in 0_u64..10_000, start in 0_usize..40, length in 30_usize..40) {
            let one = footage(seed, seed);
            let part = cut(&one, start..start + length);
            let found = likeliest(&search(vec![one, part])).expect("a cut is found");
            let expected = if found.pair == [0, 1] { -(start as isize) } else { start as isize };
            prop_assert!(found.correlation > 0.99 && found.lag == expected, "{found:?}, cut at {start}");
            prop_assert!(!found.window.is_crop() && !found.window.mirrored, "{found:?}");
        }

        /// Other things over the same ground are not the same footage, however they are laid over each other.
        #[test]
        fn another_moment_of_one_camera_is_no_copy(camera in 0_u64..10_000) {
            let found = likeliest(&search(vec![footage(camera, 2 * camera), footage(camera, 2 * camera + 1)]));
            prop_assert!(found.is_none_or(|found| found.correlation < 0.75 || found.difference > 4.0), "{found:?}");
        }
    }
}
