//! The three transformations, vectors of channels at a time.
//!
//! Vectors go through loops, not `array::from_fn` or `map`: what those call is compiled without the instruction set, and
//! passes every vector through memory.

use super::super::super::element::Element;
use super::super::super::parallel::Shared;
use super::super::super::simd::{Job, Vector};
use super::super::super::tile::Finish;
use super::{POINTS, Tiles, apart};

/// `G g G^T` for each channel and column of a frame of a panel.
pub(super) struct WeightsOf<'a> {
    pub(super) from: &'a [f32],
    pub(super) to: *mut f32,
    pub(super) len: usize,
    pub(super) tap_step: usize,
    pub(super) point_step: usize,
}

impl Job for WeightsOf<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let from = self.from[..8 * self.tap_step + self.len].as_ptr();
        for at in (0..self.len).step_by(V::LANES) {
            // SAFETY: the promise of `weights`; a length is whole vectors.
            unsafe {
                let half = V::splat(0.5);
                // (g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2)
                let spread = |[a, b, c]: [V; 3]| {
                    let sum = a.add(c);
                    [a, sum.add(b).mul(half), sum.sub(b).mul(half), c]
                };
                let tap = |i: usize, j: usize| V::load(from.add((3 * i + j) * self.tap_step + at));
                let mut columns = [[half; 4]; 3];
                for (j, column) in columns.iter_mut().enumerate() {
                    *column = spread([tap(0, j), tap(1, j), tap(2, j)]);
                }
                for i in 0..4 {
                    let [a, b, c] = &columns;
                    let points = spread([a[i], b[i], c[i]]);
                    for (j, value) in points.into_iter().enumerate() {
                        value.store(self.to.add((4 * i + j) * self.point_step + at));
                    }
                }
            }
        }
    }
}

/// `B^T d B` for each tile and channel of a picture.
pub(super) struct Inputs<'a, 'b, 'c> {
    pub(super) tiles: &'a Tiles<'b, 'c>,
    pub(super) picture: &'a [f32],
    /// From the frame's first tile at the first point.
    pub(super) to: &'a mut [f32],
    pub(super) plane: usize,
}

impl Job for Inputs<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let window = self.tiles.product.window;
        let [_, h, w] = window.input;
        let channels = window.channels;
        assert!(self.to.len() >= (POINTS - 1) * self.plane + self.tiles.per_frame() * channels);
        for tile in 0..self.tiles.per_frame() {
            let row = 2 * (self.tiles.first_row + tile / self.tiles.columns) as isize;
            let column = 2 * (tile % self.tiles.columns) as isize;
            let pixel = |i: usize, j: usize| {
                let (y, x) = (
                    row + window.offsets[1][0] + i as isize,
                    column + window.offsets[2][0] + j as isize,
                );
                let inside = (0..h as isize).contains(&y) && (0..w as isize).contains(&x);
                inside.then(|| {
                    self.picture[(y as usize * w + x as usize) * channels..][..channels].as_ptr()
                })
            };
            let pixels: [[Option<*const f32>; 4]; 4] =
                std::array::from_fn(|i| std::array::from_fn(|j| pixel(i, j)));
            let to = self.to[tile * channels..].as_mut_ptr();
            for at in (0..channels).step_by(V::LANES) {
                // SAFETY: channels are whole vectors; the assertion.
                unsafe {
                    // (d0 - d2, d1 + d2, d2 - d1, d1 - d3)
                    let spread = |[a, b, c, d]: [V; 4]| [a.sub(c), b.add(c), c.sub(b), b.sub(d)];
                    let load = |i: usize, j: usize| match pixels[i][j] {
                        Some(pixel) => V::load(pixel.add(at)),
                        None => V::splat(0.0),
                    };
                    let mut columns = [[V::splat(0.0); 4]; 4];
                    for (j, column) in columns.iter_mut().enumerate() {
                        *column = spread([load(0, j), load(1, j), load(2, j), load(3, j)]);
                    }
                    for i in 0..4 {
                        let [a, b, c, d] = &columns;
                        let points = spread([a[i], b[i], c[i], d[i]]);
                        for (j, value) in points.into_iter().enumerate() {
                            value.store(to.add((4 * i + j) * self.plane + at));
                        }
                    }
                }
            }
        }
    }
}

/// `A^T m A` for each tile and column of a panel, and what follows the sums.
pub(super) struct Outputs<'a, 'b, 'c> {
    pub(super) tiles: &'a Tiles<'b, 'c>,
    pub(super) panel: usize,
    /// `[point][tile][width]`.
    pub(super) sums: &'a [f32],
    pub(super) output: Shared<f32>,
}

impl Job for Outputs<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let product = self.tiles.product;
        let (width, per_frame) = (product.panels.width, self.tiles.per_frame());
        let num_tiles = self.tiles.frames * per_frame;
        let plane = apart(num_tiles * width);
        let sums = self.sums[..POINTS * plane].as_ptr();
        let columns = width.min(product.panels.columns - self.panel * width);
        let finish = product.finish.map(|finish| finish.at(self.panel * width));
        let [_, h, w] = product.grid;
        for tile in 0..num_tiles {
            let (frame, rest) = (self.tiles.first_frame + tile / per_frame, tile % per_frame);
            let row = 2 * (self.tiles.first_row + rest / self.tiles.columns);
            let column = 2 * (rest % self.tiles.columns);
            let place = |i: usize, j: usize| {
                let inside = row + i < h && column + j < w;
                let at = product
                    .placement
                    .of(self.tiles.image, [frame, row + i, column + j]);
                inside.then_some(at + self.panel * width)
            };
            let places: [[Option<usize>; 2]; 2] =
                std::array::from_fn(|i| std::array::from_fn(|j| place(i, j)));
            for lane in (0..columns).step_by(V::LANES) {
                let len = V::LANES.min(columns - lane);
                // SAFETY: the sums are as long as the slice; places lie inside the output, and are these tiles'.
                unsafe {
                    // (m0 + m1 + m2, m1 - m2 - m3)
                    let gather = |[a, b, c, d]: [V; 4]| [a.add(b).add(c), b.sub(c).sub(d)];
                    let point = |i: usize, j: usize| {
                        V::load(sums.add((4 * i + j) * plane + tile * width + lane))
                    };
                    let mut rows = [[V::splat(0.0); 2]; 4];
                    for (j, row) in rows.iter_mut().enumerate() {
                        *row = gather([point(0, j), point(1, j), point(2, j), point(3, j)]);
                    }
                    for i in 0..2 {
                        let values = gather([rows[0][i], rows[1][i], rows[2][i], rows[3][i]]);
                        for (value, place) in values.into_iter().zip(places[i]) {
                            let Some(place) = place else { continue };
                            let value = self.finished(value, finish, place + lane, lane, len);
                            f32::store_part(value, self.output.get().add(place + lane), len);
                        }
                    }
                }
            }
        }
    }
}

impl Outputs<'_, '_, '_> {
    /// What is stored of a sum at `place`.
    ///
    /// # Safety
    /// The machine has the instructions of `V`; scale and bias reach a vector from `lane` on, a residual `len` floats
    /// from `place` on.
    #[inline(always)]
    unsafe fn finished<V: Vector>(
        &self,
        sum: V,
        finish: Option<Finish>,
        place: usize,
        lane: usize,
        len: usize,
    ) -> V {
        let Some(finish) = finish else { return sum };
        // SAFETY: the contract of this function.
        unsafe {
            let mut value = sum.mul_add(
                V::load(finish.scale.add(lane)),
                V::load(finish.bias.add(lane)),
            );
            if let Some(residual) = self.tiles.product.residual {
                value = value.add(f32::load_part(residual[place..][..len].as_ptr(), len));
            }
            finish.activation.apply(value)
        }
    }
}
