//! A part of a picture, upright or mirrored, brought to a grid of its own.

use super::footage::{CELLS, COLUMNS, Footage, ROWS};

/// The part of a picture that another one shows; lengths are shares of the whole, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) left: f32,
    pub(super) top: f32,
    pub(super) width: f32,
    pub(super) height: f32,
    pub(super) mirrored: bool,
}

impl Window {
    /// All of the picture.
    pub(super) const WHOLE: Self = Self {
        left: 0.0,
        top: 0.0,
        width: 1.0,
        height: 1.0,
        mirrored: false,
    };

    /// The windows that a search starts from: the whole, and 25 of four fifths of each side; each also mirrored.
    pub(super) fn starts() -> Vec<Self> {
        const SIDE: f32 = 0.8;
        const PLACES: usize = 5;
        let mut windows = vec![Self::WHOLE];
        for place in 0..PLACES * PLACES {
            let at = |place: usize| (1.0 - SIDE) * place as f32 / (PLACES - 1) as f32;
            windows.push(Self {
                left: at(place % PLACES),
                top: at(place / PLACES),
                width: SIDE,
                height: SIDE,
                mirrored: false,
            });
        }
        let mirror = |window: &Self| Self {
            mirrored: true,
            ..*window
        };
        let mirrored: Vec<Self> = windows.iter().map(mirror).collect();
        windows.extend(mirrored);
        windows
    }

    /// Whether it leaves out a visible part of the picture.
    pub(super) fn is_crop(&self) -> bool {
        self.width * self.height < 0.92
    }
}

/// One axis: for each cell of the grid the first cell of the picture under it, and the weights of it and those after.
type Taps = Vec<(usize, Vec<f32>)>;

/// Cuts a window out of pictures and averages it into `rows` x `columns` cells.
pub(super) struct View {
    vertical: Taps,
    horizontal: Taps,
}

impl View {
    pub(super) fn new(window: &Window, rows: usize, columns: usize) -> Self {
        let mut horizontal = taps(window.left, window.width, COLUMNS, columns);
        if window.mirrored {
            horizontal.reverse();
        }
        Self {
            vertical: taps(window.top, window.height, ROWS, rows),
            horizontal,
        }
    }

    /// The cells `[bins, rows, columns]` of the pictures `first..first + bins`, in levels.
    pub(super) fn cells(&self, footage: &Footage, first: usize, bins: usize) -> Vec<f32> {
        let columns = self.horizontal.len();
        let mut out = Vec::with_capacity(bins * self.vertical.len() * columns);
        for picture in footage.pictures[first * CELLS..(first + bins) * CELLS].chunks_exact(CELLS) {
            for (start, weights) in &self.vertical {
                let mut flat = [0.0_f32; COLUMNS];
                for (row, weight) in picture[start * COLUMNS..]
                    .chunks_exact(COLUMNS)
                    .zip(weights)
                {
                    for (sum, &light) in flat.iter_mut().zip(row) {
                        *sum += f32::from(light) * weight;
                    }
                }
                let under = |(start, weights): &(usize, Vec<f32>)| {
                    flat[*start..]
                        .iter()
                        .zip(weights)
                        .map(|(light, weight)| light * weight)
                        .sum::<f32>()
                };
                out.extend(self.horizontal.iter().map(under));
            }
        }
        out
    }
}

/// How much of each of `from` cells lies under each of `to` cells that divide `length` from `start`.
///
/// The light up to an edge between two cells is known exactly; up to an edge inside of a cell it is interpolated by
/// Catmull and Rom's cubic, which is far closer than to take a cell for evenly lit, and sums to the same light.
fn taps(start: f32, length: f32, from: usize, to: usize) -> Taps {
    let up_to = |idx: usize| {
        let share = start + length * idx as f32 / to as f32;
        light_before((share * from as f32).clamp(0.0, from as f32), from)
    };
    let scale = to as f32 / (length * from as f32);
    (0..to)
        .map(|idx| {
            let (low, high) = (up_to(idx), up_to(idx + 1));
            let weights: Vec<f32> = high
                .iter()
                .zip(&low)
                .map(|(high, low)| (high - low) * scale)
                .collect();
            let is_used = |weight: &f32| weight.abs() > 1e-6;
            let first = weights.iter().position(is_used).unwrap_or(0);
            let last = weights.iter().rposition(is_used).unwrap_or(0);
            (first, weights[first..=last].to_vec())
        })
        .collect()
}

/// Share of each of `num` cells that counts to the light before `at`, in cells.
fn light_before(at: f32, num: usize) -> Vec<f32> {
    let cell = (at as usize).min(num - 1);
    let part = at - cell as f32;
    let (square, cube) = (part * part, part * part * part);
    // Weights of the sums before the edges `cell - 1` to `cell + 2`, as shares of the cells between them.
    let of_before = -0.5 * part + square - 0.5 * cube;
    let of_after = -0.5 * square + 0.5 * cube;
    let of_next = 0.5 * part + 2.0 * square - 1.5 * cube;
    let mut shares = vec![0.0; num];
    shares[..cell].fill(1.0);
    shares[cell] += of_next + of_after;
    // Beyond the picture the outermost cell goes on.
    shares[cell.saturating_sub(1)] -= of_before;
    shares[(cell + 1).min(num - 1)] += of_after;
    shares
}

#[cfg(test)]
mod tests {
    use marey_clip::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn footage(light: impl Fn(usize, usize) -> u8) -> Footage {
        let cells = (0..CELLS).map(|cell| light(cell / COLUMNS, cell % COLUMNS));
        Footage {
            start: Timestamp::from_nanos(0),
            pictures: cells.collect(),
        }
    }

    #[test]
    fn the_whole_is_the_mean_of_blocks_and_a_mirror_turns_it() {
        let source = footage(|row, column| (row + 3 * column) as u8);
        let upright = View::new(&Window::WHOLE, 12, 16).cells(&source, 0, 1);
        for (cell, light) in upright.iter().enumerate() {
            let (row, column) = (4.0 * (cell / 16) as f32, 4.0 * (cell % 16) as f32);
            let expected = row + 1.5 + 3.0 * (column + 1.5);
            assert!(
                (light - expected).abs() < 1e-3,
                "{light} at {cell}, not {expected}"
            );
        }
        let window = Window {
            mirrored: true,
            ..Window::WHOLE
        };
        let mirrored = View::new(&window, 12, 16).cells(&source, 0, 1);
        for (row, back) in upright.chunks_exact(16).zip(mirrored.chunks_exact(16)) {
            assert!(row.iter().eq(back.iter().rev()));
        }
    }

    proptest! {
        #[test]
        fn a_window_of_a_slope_is_the_slope_there(
            left in 0.05_f32..0.4, top in 0.05_f32..0.4, width in 0.4_f32..0.5, height in 0.4_f32..0.5,
        ) {
            let source = footage(|row, column| (row + 2 * column) as u8);
            let window = Window { left, top, width, height, mirrored: false };
            let seen = View::new(&window, 6, 8).cells(&source, 0, 1);
            for (cell, light) in seen.iter().enumerate() {
                let x = (left + width * (cell % 8) as f32 / 8.0 + width / 16.0) * COLUMNS as f32 - 0.5;
                let y = (top + height * (cell / 8) as f32 / 6.0 + height / 12.0) * ROWS as f32 - 0.5;
                prop_assert!((light - (y + 2.0 * x)).abs() < 0.02, "{light} at {cell}");
            }
        }
    }
}
