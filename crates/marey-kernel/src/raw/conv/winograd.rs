//! 3x3 windows at stride 1 by Winograd's F(2x2, 3x3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural
//! Networks", 2016), in each frame of the window.
//!
//! Two by two outputs see four by four inputs. Both the inputs and each 3x3 window of weights are transformed into 16
//! points; there, the convolution is 16 matrix products over channels and frames, with 16 multiplications for 36; the 16
//! sums are transformed into four outputs. Sums differ from direct ones in the last bits only: all factors are 1, -1
//! and a half. What is not finite reaches all four outputs of a tile that sees it.

mod transforms;

use super::super::memory::Buffer;
use super::super::parallel::{Shared, for_each_task, with_scratch};
use super::super::simd::{Isa, MAX_LANES};
use super::super::tile::{MAX_ROWS, MAX_WIDTH, Operand, RowArgs, row_tile};
use super::product::Product;
use super::window::Window;
use transforms::{Inputs, Outputs, WeightsOf};

/// Points of a tile.
const POINTS: usize = 16;
/// Floats of transformed inputs that a task works on: they stay in a core's L2 cache.
const INPUT_LEN: usize = 192 << 10;
/// Floats of a cache line.
const LINE: usize = 16;
/// Most frames of a task. More would repeat fewer inputs between tasks, but leave fewer rows of tiles.
const MAX_FRAMES: usize = 8;
/// Tiles from which it pays, where the weights must be transformed.
const MIN_TILES: usize = 256;
/// The same where the transformed weights are kept.
const MIN_TILES_KEPT: usize = 128;
/// Channels, of the input and of the output, from which the transformations of the pixels pay.
const MIN_CHANNELS: usize = 32;
/// The same for the channels of all frames of a window together.
const MIN_SUM: usize = 128;

/// How outputs are cut into tiles, and tiles into tasks.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Tiles along height and width.
    tiles: [usize; 2],
    /// Output frames of a task.
    frames: usize,
    /// Rows of tiles of a task.
    rows: usize,
    /// Tasks along time and height.
    tasks: [usize; 2],
}

/// The length of a plane of so many floats: an odd number of cache lines, so that the 16 points of a tile, which are
/// read and written together, lie in different sets of the cache.
fn apart(len: usize) -> usize {
    (len.div_ceil(LINE) | 1) * LINE
}

/// Is there anything to gain for this product?
pub(super) fn suits(product: &Product) -> bool {
    let Product {
        window,
        batch,
        grid,
        ref panels,
        ..
    } = *product;
    let [_, height, width] = grid;
    let is_three = |offsets: &Vec<isize>| {
        offsets.len() == 3 && offsets.windows(2).all(|pair| pair[1] == pair[0] + 1)
    };
    let tiles = batch * grid[0] * height.div_ceil(2) * width.div_ceil(2);
    let min_tiles = if panels.is_kept() {
        MIN_TILES_KEPT
    } else {
        MIN_TILES
    };
    product.operand == Operand::Floats
        && product.groups == 1
        && window.stride[1..] == [1, 1]
        && window.offsets[1..].iter().all(is_three)
        && window.channels == window.pitch
        && window.channels == window.width
        && window.channels.is_multiple_of(MAX_LANES)
        && window.channels.min(panels.columns) >= MIN_CHANNELS
        && window.channels * window.offsets[0].len() >= MIN_SUM
        && height.min(width) >= 4
        && tiles >= min_tiles
}

impl Cut {
    fn new(window: &Window, [t, h, w]: [usize; 3]) -> Self {
        let tiles = [h.div_ceil(2), w.div_ceil(2)];
        let len = |frames: usize, rows: usize| {
            POINTS * window.extent(0, frames) * rows * tiles[1] * window.channels
        };
        let fits = |frames: &usize| *frames == 1 || len(*frames, 1) <= INPUT_LEN;
        let frames = (1..=t.min(MAX_FRAMES)).rev().find(fits).unwrap_or(1);
        // Equal shares.
        let frames = t.div_ceil(t.div_ceil(frames));
        let fits = |rows: &usize| *rows == 1 || len(frames, *rows) <= INPUT_LEN;
        let rows = (1..=tiles[0]).rev().find(fits).unwrap_or(1);
        let rows = tiles[0].div_ceil(tiles[0].div_ceil(rows));
        Self {
            tiles,
            frames,
            rows,
            tasks: [t.div_ceil(frames), tiles[0].div_ceil(rows)],
        }
    }
}

/// The weights of `panels` (packed, a row for each tap and channel) as `[panel][point][frame and channel][width]`.
///
/// # Safety
/// The instruction set is available, and a panel's rows are two of its vectors wide.
pub(super) unsafe fn weights(isa: Isa, packed: &[f32], channels: usize, frames: usize) -> Buffer {
    let (width, rows) = (isa.tile_width(), frames * channels);
    let panels = packed.len() / (9 * rows * width);
    let mut transformed = Buffer::<f32>::take(panels * POINTS * rows * width);
    let to = Shared::new(&mut transformed);
    for_each_task(panels * frames, |task| {
        let (panel, frame) = (task / frames, task % frames);
        let job = WeightsOf {
            from: &packed[(panel * frames + frame) * 9 * channels * width..],
            // SAFETY: the panel's and frame's first point, inside the buffer.
            to: unsafe {
                to.get()
                    .add((panel * POINTS * rows + frame * channels) * width)
            },
            len: channels * width,
            tap_step: channels * width,
            point_step: rows * width,
        };
        // SAFETY: the set is available; nine taps of the panel's frame are there, and the points of this frame are
        // this task's.
        unsafe { isa.run(job) };
    });
    transformed
}

/// Runs a product that [`suits`], with the weights that [`weights`] gave.
///
/// # Safety
/// As [`Product::run`].
pub(super) unsafe fn run(product: &Product, weights: &[f32], output: Shared<f32>) {
    let cut = Cut::new(product.window, product.grid);
    for_each_task(product.batch * cut.tasks[0] * cut.tasks[1], |task| {
        let (image, part) = (
            task / (cut.tasks[0] * cut.tasks[1]),
            task % (cut.tasks[0] * cut.tasks[1]),
        );
        let [t, h, _] = product.grid;
        let (first_frame, first_row) = (
            part / cut.tasks[1] * cut.frames,
            part % cut.tasks[1] * cut.rows,
        );
        let block = Tiles {
            product,
            image,
            first_frame,
            frames: cut.frames.min(t - first_frame),
            first_row,
            rows: cut.rows.min(h.div_ceil(2) - first_row),
            columns: cut.tiles[1],
        };
        // SAFETY: the caller's promise; tasks differ in image, frames or rows.
        unsafe { block.run(weights, output) };
    });
}

/// Rows of tiles of some output frames of an image.
struct Tiles<'a, 'b> {
    product: &'a Product<'b>,
    image: usize,
    first_frame: usize,
    frames: usize,
    first_row: usize,
    rows: usize,
    /// Tiles of a row.
    columns: usize,
}

impl Tiles<'_, '_> {
    /// Tiles of a frame.
    fn per_frame(&self) -> usize {
        self.rows * self.columns
    }

    /// # Safety
    /// As [`Product::run`], for these outputs.
    unsafe fn run(&self, weights: &[f32], output: Shared<f32>) {
        let Product { isa, window, .. } = *self.product;
        let channels = window.channels;
        let num_inputs = window.extent(0, self.frames);
        let plane = apart(num_inputs * self.per_frame() * channels);
        let num_tiles = self.frames * self.per_frame();
        with_scratch(|[inputs, sums, _]| {
            let inputs: &mut [f32] = inputs.take(POINTS * plane);
            for frame in 0..num_inputs {
                self.transform_frame(frame, plane, inputs);
            }
            let sums: &mut [f32] = sums.take(POINTS * apart(num_tiles * MAX_WIDTH));
            let panels = self.product.panels.per_group;
            for panel in 0..panels {
                let weights = &weights[panel * weights.len() / panels..][..weights.len() / panels];
                // SAFETY: the caller's promise.
                unsafe {
                    self.multiply(inputs, plane, weights, sums);
                    isa.run(Outputs {
                        tiles: self,
                        panel,
                        sums,
                        output,
                    });
                }
            }
        });
    }

    /// Writes the 16 points of every tile of an input frame, `[point][frame][tile][channel]`.
    fn transform_frame(&self, frame: usize, plane: usize, to: &mut [f32]) {
        let Product {
            isa,
            window,
            source,
            ..
        } = *self.product;
        let [t, h, w] = window.input;
        let channels = window.channels;
        let from = frame * self.per_frame() * channels;
        let at = (self.first_frame * window.stride[0] + frame) as isize + window.offsets[0][0];
        if !(0..t as isize).contains(&at) {
            for point in 0..POINTS {
                to[point * plane + from..][..self.per_frame() * channels].fill(0.0);
            }
            return;
        }
        let picture =
            &source[(self.image * t + at as usize) * h * w * channels..][..h * w * channels];
        // SAFETY: the set is available; the job's slices hold what it says.
        unsafe {
            isa.run(Inputs {
                tiles: self,
                picture,
                to: &mut to[from..],
                plane,
            });
        }
    }

    /// The 16 products of all tiles with a panel of weights.
    ///
    /// # Safety
    /// The instruction set is available.
    unsafe fn multiply(&self, inputs: &[f32], plane: usize, weights: &[f32], sums: &mut [f32]) {
        let Product { isa, window, .. } = *self.product;
        let (channels, width) = (window.channels, isa.tile_width());
        let frame_step = self.per_frame() * channels;
        let num_tiles = self.frames * self.per_frame();
        let tile_rows = isa.tile_rows(Operand::Floats, num_tiles);
        let mut pixels: Vec<isize> = (0..num_tiles)
            .map(|idx| {
                let (frame, tile) = (idx / self.per_frame(), idx % self.per_frame());
                (frame * window.stride[0] * frame_step + tile * channels) as isize
            })
            .collect();
        let last = pixels[num_tiles - 1];
        pixels.resize(num_tiles.next_multiple_of(tile_rows), last);
        let first = window.offsets[0][0];
        let frames = window.offsets[0].iter();
        let runs: Vec<isize> = frames
            .map(|at| (at - first) * frame_step as isize)
            .collect();
        let point_len = weights.len() / POINTS;
        for point in 0..POINTS {
            let sums = sums[point * apart(num_tiles * width)..][..num_tiles * width].as_mut_ptr();
            for (idx, pixels) in pixels.chunks_exact(tile_rows).enumerate() {
                let first = idx * tile_rows;
                let num_outputs = tile_rows.min(num_tiles - first);
                let mut outputs = [std::ptr::null_mut(); MAX_ROWS];
                for (row, to) in outputs[..num_outputs].iter_mut().enumerate() {
                    *to = sums.wrapping_add((first + row) * width);
                }
                let args = RowArgs {
                    base: inputs[point * plane..].as_ptr(),
                    pixels,
                    runs: &runs,
                    run_len: channels,
                    panel: weights[point * point_len..].as_ptr(),
                    outputs: &outputs[..num_outputs],
                    width,
                    accumulate: false,
                    finish: None,
                    residuals: &[],
                    next: &[],
                };
                // SAFETY: the plane holds every frame's channels of every tile, the panel a row for each; the sums of
                // this point are `num_tiles` rows.
                unsafe { row_tile(isa, Operand::Floats, &args) };
            }
        }
    }
}
