//! Which inputs the pixels of an output see, as runs of neighbouring taps.

use super::MAX_PIXELS;

/// Lengths of the runs that a tile can take, the longest first.
const RUN_LENS: [usize; 4] = [5, 3, 2, 1];

/// Floats of inputs and weights that a tile reads; more would not stay in the first cache.
const TILE_FLOATS: usize = 8 << 10;

/// Neighbouring taps of one row of the kernel. Pixel `p` reads its tap `k` at position
/// `p * stride + k` of the row of inputs.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// Offset of position 0 from the inputs; may lie outside where its bit is 0.
    pub(super) x: isize,
    /// Offset of the first tap's channels from the weights.
    pub(super) weight: usize,
    /// Floats from one tap's weights to the next one's.
    pub(super) weight_step: isize,
    /// Taps: 1, 2, 3 or 5.
    pub(super) len: usize,
    /// Bit `j`: does position `j` lie inside the input?
    pub(super) inside: u32,
}

/// Output pixels of a row that a tile takes together, and the runs of one row of taps they need.
pub(super) struct Column {
    pub(super) first: usize,
    pub(super) num_pixels: usize,
    /// Offsets from the row of inputs and from the weights of the row of taps; without the taps that
    /// read inside the input for none of the pixels.
    runs: Vec<Run>,
}

/// The windows of a grid of outputs.
pub(super) struct Windows {
    /// `[t, h, w]` of an image of inputs.
    pub(super) input: [usize; 3],
    pub(super) channels: usize,
    /// Inputs from one output's window to the next one's.
    pub(super) stride: [usize; 3],
    /// (offset of the input from the window, tap) on each axis, by growing offset.
    pub(super) taps: [Vec<(isize, usize)>; 3],
    pub(super) kernel: [usize; 3],
    /// Outputs `[t, h, w]` of an image.
    pub(super) grid: [usize; 3],
}

impl Windows {
    /// Positions from one pixel's inputs to the next one's in a tile (1 or 2), and elements of a
    /// position. Where the stride is too long for pixels to share inputs, a position is a pixel.
    pub(super) fn steps(&self) -> [usize; 2] {
        match self.stride[2] {
            stride @ (1 | 2) => [stride, self.channels],
            stride => [1, stride * self.channels],
        }
    }

    /// Channels of a block, in whole cache lines, whose tiles stay in the first cache.
    pub(super) fn block(&self) -> usize {
        let taps = self.taps.each_ref().map(Vec::len);
        let reach = [taps[0], taps[1], MAX_PIXELS * self.stride[2] + taps[2]];
        let inputs: usize = (0..3)
            .map(|axis| reach[axis].min(self.input[axis]))
            .product();
        let each = inputs + taps.iter().product::<usize>();
        (TILE_FLOATS / each.max(1) / 32 * 32).max(32)
    }

    /// Cuts a row of outputs into tiles, where `size` gives the pixels of the next one by those left.
    pub(super) fn columns(&self, size: impl Fn(usize) -> usize) -> Vec<Column> {
        let mut columns = vec![];
        let mut first = 0;
        while first < self.grid[2] {
            let num_pixels = size(self.grid[2] - first);
            columns.push(self.column(first, num_pixels));
            first += num_pixels;
        }
        columns
    }

    fn column(&self, first: usize, num_pixels: usize) -> Column {
        let [stride, x_step] = self.steps();
        let (width, position) = (self.input[2] as isize, (x_step / self.channels) as isize);
        // Bits of the positions, from that of `offset` on, that lie inside.
        let inside = |offset: isize, positions: &mut dyn Iterator<Item = usize>| {
            let start = (first * self.stride[2]) as isize + offset;
            let is_inside = |j: &usize| (0..width).contains(&(start + *j as isize * position));
            positions
                .filter(is_inside)
                .fold(0u32, |bits, j| bits | 1 << j)
        };
        let is_read = |(offset, _): &&(isize, usize)| {
            inside(*offset, &mut (0..num_pixels).map(|pixel| pixel * stride)) != 0
        };
        let taps: Vec<_> = self.taps[2].iter().filter(is_read).copied().collect();
        let placed = |(offset, run): (isize, Run)| Run {
            x: ((first * self.stride[2]) as isize + offset) * self.channels as isize,
            inside: inside(offset, &mut (0..(num_pixels - 1) * stride + run.len)),
            ..run
        };
        Column {
            first,
            num_pixels,
            runs: self.runs_of(&taps).into_iter().map(placed).collect(),
        }
    }

    /// Taps of one row of the kernel as runs of neighbours, each with the offset of its first.
    fn runs_of(&self, mut rest: &[(isize, usize)]) -> Vec<(isize, Run)> {
        let mut runs = vec![];
        while let [(offset, tap), ..] = *rest {
            let tap_step = rest.get(1).map_or(0, |next| next.1 as isize - tap as isize);
            let is_next = |(k, next): &(usize, &(isize, usize))| {
                next.0 == offset + *k as isize
                    && next.1 as isize == tap as isize + *k as isize * tap_step
            };
            let neighbours = rest.iter().enumerate().take_while(is_next).count();
            let most = if self.stride[2] <= 2 { neighbours } else { 1 };
            let len = RUN_LENS.into_iter().find(|len| *len <= most).unwrap_or(1);
            let run = Run {
                x: 0,
                weight: tap * self.channels,
                weight_step: tap_step * self.channels as isize,
                len,
                inside: 0,
            };
            runs.push((offset, run));
            rest = &rest[len..];
        }
        runs
    }

    /// Lists the runs that a column at `[t, h]` of the grid reads inside an image.
    pub(super) fn list_runs(
        &self,
        image: usize,
        position: [usize; 2],
        column: &Column,
        runs: &mut Vec<Run>,
    ) {
        let [t_len, h_len, w_len] = self.input.map(|len| len as isize);
        let [t, h]: [isize; 2] =
            std::array::from_fn(|axis| (position[axis] * self.stride[axis]) as isize);
        runs.clear();
        for (t_offset, t_tap) in &self.taps[0] {
            for (h_offset, h_tap) in &self.taps[1] {
                let (t, h) = (t + t_offset, h + h_offset);
                if !(0..t_len).contains(&t) || !(0..h_len).contains(&h) {
                    continue;
                }
                let line = ((image as isize * t_len + t) * h_len + h) * w_len;
                let row = (t_tap * self.kernel[1] + h_tap) * self.kernel[2];
                runs.extend(column.runs.iter().map(|run| Run {
                    x: line * self.channels as isize + run.x,
                    weight: row * self.channels + run.weight,
                    ..*run
                }));
            }
        }
    }
}
