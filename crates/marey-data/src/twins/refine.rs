//! The last look at a pair: moves a window and a lag to where changes and pictures agree best.

use super::{
    activity::needed,
    footage::Footage,
    motion::{Changes, STEP, dot, overlap, remove_light},
    search::{ALIKE_CHANGES, FINE, Print, is_plain},
    view::{View, Window},
};

/// Passes over all moves of a window for each length of a step.
const SWEEPS: usize = 3;
/// Starts from which pictures are aligned.
const ALIGNED: usize = 3;
/// A match of this worth needs no refining.
const CERTAIN: f32 = 0.92;
/// Smallest share of a side that a window may have.
const SMALLEST: f32 = 0.55;

/// One clip shows what a window of another shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Match {
    /// Position of the footage whose window is shown, and of the one that shows it.
    pub(super) pair: [usize; 2],
    pub(super) window: Window,
    /// Bin `i` of the first is bin `i + lag` of the second.
    pub(super) lag: isize,
    /// Correlation of the changes, -1 to 1.
    pub(super) correlation: f32,
    /// Bins with a change that were compared.
    pub(super) evidence: f32,
    /// Root mean square of what is left of one picture after the other is taken away, in levels.
    pub(super) difference: f32,
    /// Whether the ground of either is plain.
    pub(super) is_plain: bool,
}

/// Moves the window and the lag to where changes and pictures agree best.
pub(super) fn refine(first: &Print, second: &Print, window: Window, lag: isize) -> Option<Match> {
    let bins = second.footage.bins();
    let shown = View::new(&Window::WHOLE, FINE[0], FINE[1]).cells(&second.footage, 0, bins);
    let shown = (Changes::of(&shown, FINE[0] * FINE[1]), shown);
    let look = |window: Window, lag: isize| compare(first, &shown, window, lag);
    let mut best = look(window, lag)?;
    if best.worth() < CERTAIN && !is_plain(first, second) {
        let (start, other, count) = overlap(first.footage.bins(), bins, lag)?;
        let middles = [
            first.footage.middle(start, count),
            second.footage.middle(other, count),
        ];
        better(&mut best, look(align(&middles, window.mirrored), lag));
    }
    if best.correlation < ALIKE_CHANGES / 2.0 {
        return None;
    }
    for step in [0.05, 0.025, 0.0125] {
        if best.worth() >= CERTAIN {
            break;
        }
        for _ in 0..SWEEPS {
            let before = best.worth();
            for direction in 0..MOVES.len() {
                for step in [step, -step] {
                    let next = look(moved(&best.window, direction, step), best.lag);
                    better(&mut best, next);
                }
            }
            for by in [-1, 1] {
                let next = look(best.window, best.lag + by);
                better(&mut best, next);
            }
            if best.worth() <= before {
                break;
            }
        }
        if best.correlation < ALIKE_CHANGES {
            return None;
        }
    }
    best.is_plain = is_plain(first, second);
    Some(best)
}

/// The window of the first picture that looks most like the second one.
fn align([first, second]: &[Footage; 2], mirrored: bool) -> Window {
    let cells = FINE[0] * FINE[1];
    let shown = View::new(&Window::WHOLE, FINE[0], FINE[1]).cells(second, 0, 1);
    let off = |window: &Window| {
        let seen = View::new(window, FINE[0], FINE[1]).cells(first, 0, 1);
        difference(&seen, &shown, cells)
    };
    let starts = Window::starts()
        .into_iter()
        .filter(|window| window.mirrored == mirrored);
    let mut tries: Vec<(f32, Window)> = starts.map(|window| (off(&window), window)).collect();
    tries.sort_by(|a, b| a.0.total_cmp(&b.0));
    tries.truncate(ALIGNED);
    for (least, window) in &mut tries {
        for step in [0.05, 0.025, 0.0125, 0.006] {
            for _ in 0..SWEEPS {
                let before = *least;
                for direction in 0..MOVES.len() {
                    for step in [step, -step] {
                        let next = moved(window, direction, step);
                        let left = off(&next);
                        if left < *least {
                            (*least, *window) = (left, next);
                        }
                    }
                }
                if *least >= before {
                    break;
                }
            }
        }
    }
    let best = tries.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or(Window::WHOLE, |(_, window)| window)
}

fn better(best: &mut Match, next: Option<Match>) {
    if let Some(next) = next.filter(|next| next.worth() > best.worth()) {
        *best = next;
    }
}

impl Match {
    /// What refining makes as large as it can: the changes decide, and a rich background makes the window exact.
    fn worth(&self) -> f32 {
        self.correlation - 0.02 * self.difference.min(25.0)
    }
}

/// What a move adds to a window's left, top, width and height: along, down, wider, higher, larger about the middle, and
/// larger towards the upper left.
const MOVES: [[f32; 4]; 6] = [
    [1.0, 0.0, 0.0, 0.0],
    [0.0, 1.0, 0.0, 0.0],
    [0.0, 0.0, 1.0, 0.0],
    [0.0, 0.0, 0.0, 1.0],
    [-0.5, -0.5, 1.0, 1.0],
    [-1.0, -1.0, 1.0, 1.0],
];

/// The window after a move, inside of the picture.
fn moved(window: &Window, direction: usize, step: f32) -> Window {
    let [left, top, width, height] = MOVES[direction].map(|share| share * step);
    let width = (window.width + width).clamp(SMALLEST, 1.0);
    let height = (window.height + height).clamp(SMALLEST, 1.0);
    Window {
        left: (window.left + left).clamp(0.0, 1.0 - width),
        top: (window.top + top).clamp(0.0, 1.0 - height),
        width,
        height,
        mirrored: window.mirrored,
    }
}

/// Compares a window of the first with all of the second, whose fine changes and pictures are `shown`.
fn compare(
    first: &Print,
    shown: &(Changes, Vec<f32>),
    window: Window,
    lag: isize,
) -> Option<Match> {
    let cells = FINE[0] * FINE[1];
    let bins = shown.1.len() / cells;
    let (start, other, count) = overlap(first.footage.bins(), bins, lag)?;
    if count < STEP + needed(first.footage.bins().min(bins)) {
        return None;
    }
    let seen = View::new(&window, FINE[0], FINE[1]).cells(&first.footage, start, count);
    let changes = Changes::of(&seen, cells);
    let (correlation, evidence) = changes.correlation(&shown.0, other as isize);
    Some(Match {
        pair: [0, 0],
        window,
        lag,
        correlation,
        evidence,
        difference: difference(&seen, &shown.1[other * cells..], cells),
        is_plain: false,
    })
}

/// Root mean square difference of pictures `[bins, cells]`, apart from light, in the middle of up to eleven bins.
fn difference(a: &[f32], b: &[f32], cells: usize) -> f32 {
    let bins = a.len() / cells;
    let looks = bins.min(11);
    let mut found: Vec<f32> = (0..looks)
        .map(|idx| {
            let bin = (2 * idx + 1) * bins / (2 * looks);
            let (a, b) = (&a[bin * cells..][..cells], &b[bin * cells..][..cells]);
            let mut rest = a.to_vec();
            remove_light(&mut rest, |idx| b[idx]);
            (dot(&rest, &rest) / cells as f32).sqrt()
        })
        .collect();
    found.sort_by(f32::total_cmp);
    found[found.len() / 2]
}
