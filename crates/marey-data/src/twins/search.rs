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

/// Standard deviation in levels below which a still picture is too plain to tell windows apart.
pub(super) const PLAIN_LEVELS: f32 = 6.0;
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
    /// The mean picture on the rough grid, without its mean, of length 1; and its standard deviation in levels.
    pub(super) still: (Vec<f32>, f32),
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
    still: (Vec<f32>, f32),
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
    let mut alike: Vec<(f32, &Seen)> = Vec::new();
    for seen in windows {
        let is_plain = seen.still.1 < PLAIN_LEVELS || second.still.1 < PLAIN_LEVELS;
        let correlation = if is_plain {
            1.0
        } else {
            dot(&seen.still.0, &second.still.0)
        };
        if correlation >= ALIKE_PICTURES {
            alike.push((correlation, seen));
        }
    }
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

/// The mean picture of `[bins, cells]` without its own mean, of length 1, and its standard deviation.
fn still(pictures: &[f32], cells: usize) -> (Vec<f32>, f32) {
    let mut mean = vec![0.0; cells];
    for picture in pictures.chunks_exact(cells) {
        mean.iter_mut()
            .zip(picture)
            .for_each(|(sum, value)| *sum += value);
    }
    let light = mean.iter().sum::<f32>() / cells as f32;
    mean.iter_mut().for_each(|value| *value -= light);
    let length = dot(&mean, &mean).sqrt();
    let bins = (pictures.len() / cells) as f32;
    mean.iter_mut().for_each(|value| *value /= length.max(1e-6));
    (mean, length / bins / (cells as f32).sqrt())
}
