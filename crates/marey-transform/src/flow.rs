//! Dense optical flow by TV-L1: where each place of a picture is in the next one.
//!
//! Zach, Pock and Bischof ("A Duality Based Approach for Realtime TV-L1 Optical Flow", DAGM 2007), with the parameters, the
//! pyramid and the numerics of Sánchez, Meinhardt-Llopis and Facciolo ("TV-L1 Optical Flow Estimation", IPOL 2013): the
//! flow `u` makes `λ |I1(x + u) - I0(x)| + |∇u|` small, so that it follows edges and is not led astray by occlusions. It is
//! the flow that two-stream networks and TSN were trained on.
//!
//! What differs from the paper: every warp has the same number of iterations instead of a threshold on the change, so that
//! the work and the result are the same in every run, and the flow is filtered by a 3x3 median after each warp (Wedel et
//! al., 2009), which takes out single wrong places.
//!
//! A flow is a pure function of its two pictures: it does not depend on threads or instruction sets.

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// Settings of the method; the defaults are the paper's, for pictures of 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TvL1 {
    /// Weight of the brightness difference against the smoothness: less is smoother (default 0.15).
    pub lambda: f32,
    /// How far the two may be apart while they are solved in turns (default 0.3).
    pub theta: f32,
    /// Time step of the dual variables, at most 0.25 for convergence (default 0.25).
    pub tau: f32,
    /// Times that the second picture is warped by the flow so far, on each level (default 5).
    pub warps: usize,
    /// Iterations after each warp (default 30).
    pub iterations: usize,
    /// Levels end where a side would be shorter, in pixels (default 16).
    pub smallest_side: usize,
}

impl Default for TvL1 {
    fn default() -> Self {
        Self {
            lambda: 0.15,
            theta: 0.3,
            tau: 0.25,
            warps: 5,
            iterations: 30,
            smallest_side: 16,
        }
    }
}

impl TvL1 {
    /// The displacement in pixels, `dx` and `dy`, from each place of `from` to where it is in `to`.
    ///
    /// # Shapes
    /// - `from`, `to`: `[h, w]`, from 0 to 255
    /// - output: `[h, w, 2]`
    ///
    /// # Panics
    /// If a picture has another size, or a side of 0.
    pub fn flow(&self, from: &[f32], to: &[f32], [h, w]: [usize; 2]) -> Vec<f32> {
        let mut levels = vec![[from, to].map(|values| Plane::new(values.to_vec(), [h, w]))];
        while let [first, second] = &levels[levels.len() - 1]
            && first.size.into_iter().min() >= Some(2 * self.smallest_side)
        {
            let next = [first.halved(), second.halved()];
            levels.push(next);
        }
        let mut flow: Option<[Plane; 2]> = None;
        for [first, second] in levels.iter().rev() {
            let start = match flow {
                None => [(); 2].map(|()| Plane::zeros(first.size)),
                Some(coarse) => {
                    // A displacement grows with its picture.
                    let scale = |axis: usize, plane: &Plane| {
                        let factor = first.size[axis] as f32 / plane.size[axis] as f32;
                        plane.enlarged(first.size, factor)
                    };
                    let [dx, dy] = &coarse;
                    [scale(1, dx), scale(0, dy)]
                }
            };
            let level = Level {
                settings: *self,
                first,
                second,
                start,
            };
            flow = Some(Arch::new().dispatch(level));
        }
        let [dx, dy] = flow.expect("there is at least one level");
        let pairs = dx.values.iter().zip(&dy.values);
        pairs.flat_map(|(&dx, &dy)| [dx, dy]).collect()
    }

    /// The flow from each of `frames[pair[0]]` to `frames[pair[1]]`, on all threads of the current rayon pool.
    ///
    /// Pictures are made grey (Rec. 601) and stretched together, from the darkest place of the clip at 0 to the brightest
    /// at 255, as the paper does: normalising a clip with one mean and deviation for all channels does not change its flow.
    /// A clip without any contrast has no flow.
    ///
    /// # Shapes
    /// - `frames`: `[t, h, w, 3]`
    /// - output: `[h, w, 2]` for each pair
    ///
    /// # Panics
    /// If the frames have another number of values, or there is no such frame.
    pub fn flows(
        &self,
        frames: &[f32],
        [t, h, w]: [usize; 3],
        pairs: &[[usize; 2]],
    ) -> Vec<Vec<f32>> {
        assert_eq!(
            frames.len(),
            t * h * w * 3,
            "values of {t} frames of {h}x{w}"
        );
        let Some(grey) = stretched(frames) else {
            return vec![vec![0.0; h * w * 2]; pairs.len()];
        };
        let frame = |at: usize| &grey[at * h * w..][..h * w];
        let flow = |&[from, to]: &[usize; 2]| self.flow(frame(from), frame(to), [h, w]);
        pairs.par_iter().map(flow).collect()
    }
}

/// Grey from 0 to 255 of colours in any range; `None` where all are the same.
fn stretched(colors: &[f32]) -> Option<Vec<f32>> {
    let mut grey: Vec<f32> = colors
        .as_chunks::<3>()
        .0
        .iter()
        .map(|[r, g, b]| 0.299 * r + 0.587 * g + 0.114 * b)
        .collect();
    let darkest = grey.iter().copied().fold(f32::INFINITY, f32::min);
    let brightest = grey.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = brightest - darkest;
    // Where rounding makes up the whole range there is nothing to see.
    if !range.is_finite() || range <= 1e-5 * darkest.abs().max(brightest.abs()) {
        return None;
    }
    for value in &mut grey {
        *value = (*value - darkest) * (255.0 / range);
    }
    Some(grey)
}

/// One value a place, row by row.
#[derive(Clone, Debug)]
struct Plane {
    values: Vec<f32>,
    /// Height and width.
    size: [usize; 2],
}

impl Plane {
    fn new(values: Vec<f32>, size: [usize; 2]) -> Self {
        let [h, w] = size;
        assert!(
            values.len() == h * w && h > 0 && w > 0,
            "{} values of a picture of {h}x{w}",
            values.len()
        );
        Self { values, size }
    }

    fn zeros(size: [usize; 2]) -> Self {
        Self::new(vec![0.0; size[0] * size[1]], size)
    }

    fn row(&self, y: usize) -> &[f32] {
        let [_, w] = self.size;
        &self.values[y * w..][..w]
    }

    fn row_mut(&mut self, y: usize) -> &mut [f32] {
        let [_, w] = self.size;
        &mut self.values[y * w..][..w]
    }

    /// The value at a place; places outside have that of the nearest one inside.
    fn at(&self, y: isize, x: isize) -> f32 {
        let [h, w] = self.size;
        let inside = |at: isize, len: usize| at.clamp(0, len as isize - 1) as usize;
        self.values[inside(y, h) * w + inside(x, w)]
    }

    /// The value between places, by Keys' cubic (1981); outside as [`Plane::at`].
    fn between(&self, y: f32, x: f32) -> f32 {
        let (top, left) = (y.floor(), x.floor());
        let weights = |at: f32| {
            // Catmull and Rom's coefficients, a = -1/2.
            [
                ((-0.5 * at + 1.0) * at - 0.5) * at,
                (1.5 * at - 2.5) * at * at + 1.0,
                ((-1.5 * at + 2.0) * at + 0.5) * at,
                (0.5 * at - 0.5) * at * at,
            ]
        };
        let (across, down) = (weights(x - left), weights(y - top));
        let (top, left) = (top as isize, left as isize);
        let mut sum = 0.0;
        for (dy, down) in (-1..3).zip(down) {
            let mut of_row = 0.0;
            for (dx, across) in (-1..3).zip(across) {
                of_row += across * self.at(top + dy, left + dx);
            }
            sum += down * of_row;
        }
        sum
    }

    /// Half the size, rounded up, behind a Gaussian that takes out what would alias.
    fn halved(&self) -> Self {
        // The paper's deviation at a factor of one half: 0.6 sqrt(2^2 - 1).
        let sigma = 0.6 * 3f32.sqrt();
        let mut kernel = [0.0f32; 7];
        for (tap, weight) in (-3i32..).zip(&mut kernel) {
            *weight = (-((tap * tap) as f32) / (2.0 * sigma * sigma)).exp();
        }
        let total: f32 = kernel.iter().sum();
        let kernel = kernel.map(|weight| weight / total);
        let [h, w] = self.size;
        let [half_h, half_w] = [h.div_ceil(2), w.div_ceil(2)];
        let blur = |at: &dyn Fn(isize) -> f32| -> f32 {
            (-3..)
                .zip(kernel)
                .map(|(tap, weight)| weight * at(tap))
                .sum()
        };
        let mut across = Self::zeros([h, half_w]);
        for y in 0..h {
            for x in 0..half_w {
                let at = |tap: isize| self.at(y as isize, 2 * x as isize + tap);
                across.values[y * half_w + x] = blur(&at);
            }
        }
        let mut both = Self::zeros([half_h, half_w]);
        for y in 0..half_h {
            for x in 0..half_w {
                let at = |tap: isize| across.at(2 * y as isize + tap, x as isize);
                both.values[y * half_w + x] = blur(&at);
            }
        }
        both
    }

    /// At another size, from linear interpolation between the places that [`Plane::halved`] keeps, times `factor`.
    fn enlarged(&self, size: [usize; 2], factor: f32) -> Self {
        let mut large = Self::zeros(size);
        for y in 0..size[0] {
            for (x, value) in large.row_mut(y).iter_mut().enumerate() {
                let (top, left) = ((y / 2) as isize, (x / 2) as isize);
                let (down, across) = ((y % 2) as f32 * 0.5, (x % 2) as f32 * 0.5);
                let row = |y| (1.0 - across) * self.at(y, left) + across * self.at(y, left + 1);
                *value = factor * ((1.0 - down) * row(top) + down * row(top + 1));
            }
        }
        large
    }

    /// The median of each place and its eight neighbours.
    fn median(&self) -> Self {
        let mut filtered = self.clone();
        for y in 0..self.size[0] as isize {
            for x in 0..self.size[1] as isize {
                let mut around = [0.0; 9];
                for (idx, value) in around.iter_mut().enumerate() {
                    *value = self.at(y + idx as isize / 3 - 1, x + idx as isize % 3 - 1);
                }
                around.sort_unstable_by(f32::total_cmp);
                filtered.values[y as usize * self.size[1] + x as usize] = around[4];
            }
        }
        filtered
    }

    /// Half the difference of the neighbours across and down.
    fn gradient(&self) -> [Self; 2] {
        let mut parts = [self.clone(), self.clone()];
        for y in 0..self.size[0] as isize {
            for x in 0..self.size[1] as isize {
                let at = y as usize * self.size[1] + x as usize;
                parts[0].values[at] = 0.5 * (self.at(y, x + 1) - self.at(y, x - 1));
                parts[1].values[at] = 0.5 * (self.at(y + 1, x) - self.at(y - 1, x));
            }
        }
        parts
    }
}

/// The pictures at one size, and the flow that a smaller one gave.
struct Level<'a> {
    settings: TvL1,
    first: &'a Plane,
    second: &'a Plane,
    start: [Plane; 2],
}

/// The brightness difference around the flow of the last warp: `rest + gradient . flow` (equation 10 of the IPOL article).
struct Linearised {
    rest: Plane,
    gradient: [Plane; 2],
    /// One over the squared length of the gradient, 0 where there is none.
    inverse: Plane,
}

impl NullaryFnOnce for Level<'_> {
    type Output = [Plane; 2];

    #[inline(always)]
    fn call(self) -> [Plane; 2] {
        let gradient = self.second.gradient();
        let mut flow = self.start;
        let size = self.first.size;
        let mut duals = [(); 2].map(|()| [(); 2].map(|()| Plane::zeros(size)));
        for _ in 0..self.settings.warps {
            let difference = linearise(self.first, self.second, &gradient, &flow);
            for _ in 0..self.settings.iterations {
                descend(&self.settings, &difference, &duals, &mut flow);
                for (flow, duals) in flow.iter().zip(&mut duals) {
                    ascend(self.settings.tau / self.settings.theta, flow, duals);
                }
            }
            flow = flow.map(|plane| plane.median());
        }
        flow
    }
}

#[inline(always)]
fn linearise(
    first: &Plane,
    second: &Plane,
    gradient: &[Plane; 2],
    flow: &[Plane; 2],
) -> Linearised {
    let size = first.size;
    let mut found = Linearised {
        rest: Plane::zeros(size),
        gradient: [(); 2].map(|()| Plane::zeros(size)),
        inverse: Plane::zeros(size),
    };
    for y in 0..size[0] {
        for x in 0..size[1] {
            let at = y * size[1] + x;
            let [dx, dy] = [flow[0].values[at], flow[1].values[at]];
            let (to_y, to_x) = (y as f32 + dy, x as f32 + dx);
            let [gx, gy] = [0, 1].map(|part: usize| gradient[part].between(to_y, to_x));
            let length = gx * gx + gy * gy;
            let difference = second.between(to_y, to_x) - first.values[at];
            found.rest.values[at] = difference - gx * dx - gy * dy;
            found.gradient[0].values[at] = gx;
            found.gradient[1].values[at] = gy;
            found.inverse.values[at] = if length > 1e-10 { 1.0 / length } else { 0.0 };
        }
    }
    found
}

/// The flow that the brightness wants, near the one before (the thresholding of the paper's proposition 3), then its
/// smoothing by the dual variables (proposition 1).
#[inline(always)]
fn descend(
    settings: &TvL1,
    difference: &Linearised,
    duals: &[[Plane; 2]; 2],
    flow: &mut [Plane; 2],
) {
    let most = settings.lambda * settings.theta;
    let [h, w] = difference.rest.size;
    let [mut smooth_x, mut smooth_y] = [vec![0.0; w], vec![0.0; w]];
    let [flow_x, flow_y] = flow;
    for y in 0..h {
        divergence(&duals[0], y, &mut smooth_x);
        divergence(&duals[1], y, &mut smooth_y);
        let (flow_x, flow_y) = (&mut flow_x.row_mut(y)[..w], &mut flow_y.row_mut(y)[..w]);
        let (rest, inverse) = (
            &difference.rest.row(y)[..w],
            &difference.inverse.row(y)[..w],
        );
        let [gx, gy] = [0, 1].map(|part: usize| &difference.gradient[part].row(y)[..w]);
        let (smooth_x, smooth_y) = (&smooth_x[..w], &smooth_y[..w]);
        for x in 0..w {
            let [dx, dy] = [flow_x[x], flow_y[x]];
            let along = (rest[x] + gx[x] * dx + gy[x] * dy) * inverse[x];
            // The three cases of the threshold are one clamp.
            let step = along.max(-most).min(most);
            flow_x[x] = dx - step * gx[x] + settings.theta * smooth_x[x];
            flow_y[x] = dy - step * gy[x] + settings.theta * smooth_y[x];
        }
    }
}

/// Row `y` of the divergence of a field that is 0 outside, by backward differences.
#[inline(always)]
fn divergence(field: &[Plane; 2], y: usize, row: &mut [f32]) {
    let (across, down) = (field[0].row(y), field[1].row(y));
    row[0] = across[0];
    for (value, pair) in row[1..].iter_mut().zip(across.windows(2)) {
        *value = pair[1] - pair[0];
    }
    for (value, down) in row.iter_mut().zip(down) {
        *value += down;
    }
    if y > 0 {
        for (value, above) in row.iter_mut().zip(field[1].row(y - 1)) {
            *value -= above;
        }
    }
}

/// A step of the dual variables of one part of the flow (equation 13 of the IPOL article), by forward differences.
#[inline(always)]
fn ascend(rate: f32, flow: &Plane, duals: &mut [Plane; 2]) {
    let [h, w] = flow.size;
    let [dual_x, dual_y] = duals;
    let last = w - 1;
    for y in 0..h {
        // Beyond the last row and column the flow goes on unchanged.
        let (row, below) = (&flow.row(y)[..w], &flow.row((y + 1).min(h - 1))[..w]);
        let (dual_x, dual_y) = (&mut dual_x.row_mut(y)[..w], &mut dual_y.row_mut(y)[..w]);
        let mut step = |x: usize, gx: f32| {
            let gy = below[x] - row[x];
            let scale = 1.0 / (1.0 + rate * (gx * gx + gy * gy).sqrt());
            dual_x[x] = (dual_x[x] + rate * gx) * scale;
            dual_y[x] = (dual_y[x] + rate * gy) * scale;
        };
        for x in 0..last {
            step(x, row[x + 1] - row[x]);
        }
        step(last, 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 96;

    /// A texture of waves in several directions and lengths, at any place.
    fn texture(y: f32, x: f32) -> f32 {
        let wave = |fy: f32, fx: f32, phase: f32| (fy * y + fx * x + phase).sin();
        128.0
            + 40.0 * wave(0.11, 0.23, 0.3)
            + 35.0 * wave(-0.29, 0.17, 1.1)
            + 25.0 * wave(0.47, 0.05, 2.0)
            + 20.0 * wave(0.21, -0.61, 0.7)
    }

    fn picture(place: impl Fn(f32, f32) -> [f32; 2]) -> Vec<f32> {
        let places = (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (y as f32, x as f32)));
        places
            .map(|(y, x)| {
                let [y, x] = place(y, x);
                texture(y, x)
            })
            .collect()
    }

    /// Mean and largest distance in pixels from a known flow `[dx, dy]`, where both ends are at least 12 pixels inside: what
    /// leaves the picture has no place in the next one.
    fn errors(flow: &[f32], known: impl Fn(f32, f32) -> [f32; 2]) -> [f32; 2] {
        let (mut sum, mut largest, mut num) = (0.0, 0f32, 0);
        let inside = |at: f32| (12.0..(SIDE - 12) as f32).contains(&at);
        for (at, found) in flow.as_chunks::<2>().0.iter().enumerate() {
            let (y, x) = ((at / SIDE) as f32, (at % SIDE) as f32);
            let [dx, dy] = known(y, x);
            if inside(y) && inside(x) && inside(y + dy) && inside(x + dx) {
                let off = (found[0] - dx).hypot(found[1] - dy);
                (sum, largest, num) = (sum + off, largest.max(off), num + 1);
            }
        }
        assert!(num > SIDE * SIDE / 3);
        [sum / num as f32, largest]
    }

    #[test]
    fn translations_are_found_to_a_tenth_of_a_pixel() {
        let first = picture(|y, x| [y, x]);
        for [dx, dy] in [
            [0.0, 0.0],
            [0.5, 0.0],
            [-1.0, 2.0],
            [3.3, -2.6],
            [-7.0, 5.0],
        ] {
            // What is at (y, x) in the first is at (y + dy, x + dx) in the second.
            let second = picture(|y, x| [y - dy, x - dx]);
            let flow = TvL1::default().flow(&first, &second, [SIDE; 2]);
            let [mean, largest] = errors(&flow, |_, _| [dx, dy]);
            assert!(
                mean < 0.05 && largest < 0.1,
                "[{dx}, {dy}]: mean {mean}, largest {largest}"
            );
        }
    }

    #[test]
    fn a_rotation_is_found_to_a_fifth_of_a_pixel() {
        let centre = (SIDE - 1) as f32 / 2.0;
        for degrees in [2.0f32, -5.0] {
            let (sin, cos) = degrees.to_radians().sin_cos();
            let turned = |y: f32, x: f32, sin: f32| {
                let (y, x) = (y - centre, x - centre);
                [centre + cos * y + sin * x, centre + cos * x - sin * y]
            };
            let first = picture(|y, x| [y, x]);
            let second = picture(|y, x| turned(y, x, -sin));
            let flow = TvL1::default().flow(&first, &second, [SIDE; 2]);
            let [mean, largest] = errors(&flow, |y, x| {
                let [to_y, to_x] = turned(y, x, sin);
                [to_x - x, to_y - y]
            });
            assert!(
                mean < 0.06 && largest < 0.2,
                "{degrees}: mean {mean}, largest {largest}"
            );
        }
    }

    #[test]
    fn a_moving_square_moves_and_its_ground_stays() {
        let square = |at: f32, y: f32, x: f32| {
            let inside = (at..at + 24.0).contains(&x) && (36.0..60.0).contains(&y);
            if inside {
                texture(y + 40.0, x - at)
            } else {
                texture(0.4 * y, 0.4 * x)
            }
        };
        let draw = |at: f32| -> Vec<f32> {
            let places = (0..SIDE * SIDE).map(|i| ((i / SIDE) as f32, (i % SIDE) as f32));
            places.map(|(y, x)| square(at, y, x)).collect()
        };
        let flow = TvL1::default().flow(&draw(36.0), &draw(39.0), [SIDE; 2]);
        let at = |y: usize, x: usize| &flow[(y * SIDE + x) * 2..][..2];
        let inner = at(48, 48);
        assert!(
            (inner[0] - 3.0).abs() < 0.2 && inner[1].abs() < 0.2,
            "{inner:?}"
        );
        for corner in [at(10, 10), at(85, 10), at(10, 85), at(85, 85)] {
            assert!(corner[0].hypot(corner[1]) < 0.1, "{corner:?}");
        }
    }

    #[test]
    fn flows_do_not_depend_on_threads_or_on_how_pixels_are_scaled() {
        let [first, second] = [0.0, 2.0].map(|dx| picture(|y, x| [y, x - dx]));
        let colors = |scale: f32, offset: f32| -> Vec<f32> {
            let grey = first.iter().chain(&second);
            grey.flat_map(|&v| [v * scale + offset; 3]).collect()
        };
        let run = |frames: &[f32], threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pairs = [[0, 1], [1, 0], [0, 0]];
            pool.expect("a pool")
                .install(|| TvL1::default().flows(frames, [2, SIDE, SIDE], &pairs))
        };
        let plain = colors(1.0, 0.0);
        let flows = run(&plain, 1);
        assert_eq!(flows, run(&plain, 3));
        let normal = run(&colors(1.0 / 57.0, -1.9), 2);
        for (a, b) in flows.iter().flatten().zip(normal.iter().flatten()) {
            assert!((a - b).abs() < 0.01, "{a} {b}");
        }
        assert!(flows[2].iter().all(|&value| value == 0.0));
    }

    #[test]
    fn small_odd_and_empty_pictures_have_a_flow() {
        let method = TvL1::default();
        for size in [[1, 1], [1, 7], [33, 50], [2, 40]] {
            let num = size[0] * size[1];
            let picture: Vec<f32> = (0..num).map(|i| (i * 37 % 256) as f32).collect();
            let flow = method.flow(&picture, &picture, size);
            assert!(flow.len() == 2 * num && flow.iter().all(|&value| value == 0.0));
        }
        let black = vec![-2.1; 2 * 16 * 16 * 3];
        let flows = method.flows(&black, [2, 16, 16], &[[0, 1]]);
        assert!(flows[0].iter().all(|&value| value == 0.0));
    }
}
