//! What the kernels share: the activations, the lanes of a vector and the sums over rows.

use cubecl::prelude::*;
use cubecl::server::Handle;

use crate::raw::Activation;
use cubecl::std::FastDivmod;

#[cube]
fn logistic<N: Size>(z: Vector<f32, N>) -> Vector<f32, N> {
    let one = Vector::<f32, N>::new(1.0);
    let e = Vector::exp(Vector::<f32, N>::new(0.0) - z);
    one / (one + e)
}

/// The activation of `z`; NaN stays NaN.
#[cube]
pub(crate) fn activate<N: Size>(
    z: Vector<f32, N>,
    #[comptime] activation: Activation,
) -> Vector<f32, N> {
    let zero = Vector::<f32, N>::new(0.0);
    let six = Vector::<f32, N>::new(6.0);
    match comptime!(activation) {
        Activation::Identity => z,
        Activation::Relu => select_many(z.less_than(&zero), zero, z),
        Activation::Relu6 => {
            let floor = select_many(z.less_than(&zero), zero, z);
            select_many(floor.greater_than(&six), six, floor)
        }
        Activation::Silu => z * logistic::<N>(z),
        Activation::Sigmoid => logistic::<N>(z),
    }
}

/// `dy` times the derivative of the activation at `z`.
#[cube]
pub(crate) fn activate_backward<N: Size>(
    dy: Vector<f32, N>,
    z: Vector<f32, N>,
    #[comptime] activation: Activation,
) -> Vector<f32, N> {
    let zero = Vector::<f32, N>::new(0.0);
    let one = Vector::<f32, N>::new(1.0);
    let six = Vector::<f32, N>::new(6.0);
    match comptime!(activation) {
        Activation::Identity => dy,
        Activation::Relu => select_many(z.greater_than(&zero), dy, zero),
        Activation::Relu6 => {
            let below = select_many(z.less_than(&six), dy, zero);
            select_many(z.greater_than(&zero), below, zero)
        }
        Activation::Silu => {
            let s = logistic::<N>(z);
            dy * s * (one + z * (one - s))
        }
        Activation::Sigmoid => {
            let s = logistic::<N>(z);
            dy * s * (one - s)
        }
    }
}

/// The most lanes, up to `most`, that a load of this element type may have when `c` channels
/// are contiguous.
pub(crate) fn lanes_of(client: &Client, dtype: ElemType, c: usize, most: usize) -> usize {
    client
        .io_optimized_vector_sizes(dtype.size())
        .filter(|lanes| c.is_multiple_of(*lanes) && *lanes <= most)
        .max()
        .unwrap_or(1)
}

/// A handle as a kernel's argument; `len` counts scalars.
pub(crate) fn buffer(handle: &Handle, len: usize) -> BufferArg {
    // SAFETY: every kernel here checks its own bounds against the sizes it is given, and the
    // callers pass handles that hold at least `len` scalars.
    unsafe { BufferArg::from_raw_parts(handle.clone(), len) }
}

/// Extents as a kernel's argument that divides by them fast.
pub(crate) fn divisors(extents: &[usize]) -> SequenceArg<FastDivmod<usize>> {
    let mut all = SequenceArg::new();
    extents.iter().for_each(|extent| all.push(*extent));
    all
}

/// The index `((b * t + at) * h + ah) * w + aw` taken apart, for `grid` `[t, h, w, ..]`:
/// `(b, at, ah, aw)`.
#[cube]
pub(crate) fn pixel_of(
    index: usize,
    grid: &Sequence<FastDivmod<usize>>,
) -> (usize, usize, usize, usize) {
    let (rest, w) = grid[2].div_mod(index);
    let (rest, h) = grid[1].div_mod(rest);
    let (b, t) = grid[0].div_mod(rest);
    (b, t, h, w)
}

/// How a reduction over the rows of `[rows, vectors]` is spread over cubes: each cube takes
/// `width` neighbouring vectors and one chunk of rows, and its threads stand `height` rows deep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// Vectors a cube takes (a power of two).
    pub(crate) width: usize,
    /// Rows that a cube reads at a time (a power of two).
    pub(crate) height: usize,
    /// Cubes along the vectors.
    pub(crate) blocks: usize,
    /// Cubes along the rows.
    pub(crate) chunks: usize,
    /// Rows a cube takes.
    pub(crate) rows_per_chunk: usize,
}

impl Spread {
    /// The spread over about `cubes` cubes; it depends on the sizes only, so sums repeat exactly.
    pub(crate) fn new(rows: usize, vectors: usize, units: usize, cubes: usize) -> Self {
        let width = vectors.next_power_of_two().min(16);
        let height = units / width;
        let blocks = vectors.div_ceil(width);
        let most = cubes.div_ceil(blocks);
        let rows_per_chunk = rows.div_ceil(rows.div_ceil(height).clamp(1, most)).max(1);
        Self {
            width,
            height,
            blocks,
            chunks: rows.div_ceil(rows_per_chunk).max(1),
            rows_per_chunk,
        }
    }

    /// The cubes to launch.
    pub(crate) fn count(&self) -> CubeCount {
        CubeCount::new_2d(self.blocks as u32, self.chunks as u32)
    }

    /// The threads of a cube.
    pub(crate) fn dim(&self) -> CubeDim {
        CubeDim::new_2d(self.width as u32, self.height as u32)
    }
}

/// How stage two of a reduction, which adds `[chunks, len]` over the chunks, is spread over cubes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gather {
    /// Columns a cube takes.
    pub(crate) width: usize,
    /// Chunks that a cube reads at a time (a power of two).
    pub(crate) height: usize,
    /// Cubes along the columns.
    pub(crate) cubes: usize,
}

impl Gather {
    /// The spread for these sizes.
    pub(crate) fn new(chunks: usize, len: usize) -> Self {
        Self {
            width: 8,
            height: chunks.next_power_of_two().min(32),
            cubes: len.div_ceil(8),
        }
    }

    /// The cubes to launch.
    pub(crate) fn count(&self) -> CubeCount {
        CubeCount::new_1d(self.cubes as u32)
    }

    /// The threads of a cube.
    pub(crate) fn dim(&self) -> CubeDim {
        CubeDim::new_2d(self.width as u32, self.height as u32)
    }
}

/// Adds the values of the threads that share `UNIT_POS_X`; only the threads with
/// `UNIT_POS_Y == 0` hold the sum. Every thread of the cube must call it.
#[cube]
pub(crate) fn sum_over_y<N: Size>(
    value: Vector<f32, N>,
    #[comptime] width: usize,
    #[comptime] height: usize,
) -> Vector<f32, N> {
    let mut shared = Shared::<[Vector<f32, N>]>::new_slice(comptime!(width * height));
    let unit = UNIT_POS as usize;
    shared[unit] = value;
    #[unroll]
    for level in 0..comptime!(height.ilog2()) {
        let step = comptime!(height >> (level + 1));
        sync_cube();
        if (UNIT_POS_Y as usize) < step {
            shared[unit] = shared[unit] + shared[unit + step * width];
        }
    }
    shared[unit]
}
