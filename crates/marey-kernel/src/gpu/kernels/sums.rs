//! Sums over rows in two stages: how they are spread over a device, and the sum within a cube.

use cubecl::prelude::*;

/// One lane.
pub(crate) type One = Const<1>;

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
