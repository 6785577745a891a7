//! Weights in the order in which the register tiles read them.
//!
//! A panel is `[window float][tile width]`: for each float of a window the weights of `width`
//! neighbouring columns (the outputs of a tile), zeros where there are fewer. Panels of a group
//! follow each other, then those of the next group.
//!
//! Mostly all panels are packed first, and shared by the blocks. Where the weights are much larger
//! than the activations they would go to memory and come back for one use; there a task packs the
//! piece that it is about to use, into its cache.

use std::ops::{Deref, Range};
use std::sync::OnceLock;

use super::super::memory::Buffer;
use super::super::parallel::{Scratch, Shared, for_each_task};
use super::super::simd::Isa;
#[cfg(target_arch = "x86_64")]
use super::super::transpose::transpose;
use super::winograd;

/// Window floats that a packing task handles.
const TASK_ROWS: usize = 512;
/// Window floats that are transposed at a time.
const PIECE_ROWS: usize = 128;

/// Where the weights of a product come from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// Columns are output channels; weights are `[groups * columns, rows]`.
    Outputs(&'a [f32]),
    /// Columns are input channels, rows are (tap, output channel) for the listed taps; weights are
    /// `[groups * outputs, num_taps, columns]`.
    Inputs {
        weights: &'a [f32],
        outputs: usize,
        taps: &'a [usize],
        num_taps: usize,
    },
}

/// The weights of a forward convolution in the order of its tiles, to be kept from one call to the next.
pub struct PackedWeights {
    data: Buffer,
    /// As [`winograd`] wants them, from the first time on that it does.
    transformed: OnceLock<Buffer>,
    isa: Isa,
    shape: [usize; 3],
}

impl PackedWeights {
    /// Packs the weights `[groups * columns, rows]` of a dense convolution in `f32`: `columns` output channels a group,
    /// `rows` weights each.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn new(isa: Isa, weights: &[f32], [groups, columns, rows]: [usize; 3]) -> Self {
        assert_eq!(
            weights.len(),
            groups * columns * rows,
            "a weight for each row and column"
        );
        let source = Source::Outputs(weights);
        let panels = Panels::new(source, groups, columns, rows, isa.tile_width());
        Self {
            data: panels.pack(),
            transformed: OnceLock::new(),
            isa,
            shape: [groups, columns, rows],
        }
    }
}

impl std::fmt::Debug for PackedWeights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "weights {:?} packed for {}", self.shape, self.isa.name())
    }
}

/// Who owns the panels that are packed.
enum Packing<'a> {
    Own(Buffer),
    Kept(&'a PackedWeights),
}

/// Weights for [`winograd`].
pub(super) enum Transformed<'a> {
    Own(Buffer),
    Kept(&'a Buffer),
}

impl Deref for Transformed<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Own(data) => data,
            Self::Kept(data) => data,
        }
    }
}

/// Weights as panels, packed already or on demand.
pub(super) struct Panels<'a> {
    source: Source<'a>,
    packing: Option<Packing<'a>>,
    /// Columns of a panel.
    pub(super) width: usize,
    /// Rows of a panel: floats of a window.
    pub(super) rows: usize,
    /// Columns of a group.
    pub(super) columns: usize,
    /// Panels of a group.
    pub(super) per_group: usize,
    groups: usize,
}

impl<'a> Panels<'a> {
    /// Panels for `groups` groups of `columns` columns and `rows` window floats, none packed yet.
    pub(super) fn new(
        source: Source<'a>,
        groups: usize,
        columns: usize,
        rows: usize,
        width: usize,
    ) -> Self {
        let per_group = columns.div_ceil(width);
        Self {
            source,
            packing: None,
            width,
            rows,
            columns,
            per_group,
            groups,
        }
    }

    /// Floats of all panels.
    pub(super) fn len(&self) -> usize {
        self.groups * self.per_group * self.rows * self.width
    }

    /// Were the panels packed beforehand?
    pub(super) fn is_packed(&self) -> bool {
        self.packing.is_some()
    }

    /// Are they those of a [`PackedWeights`]?
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.packing, Some(Packing::Kept(_)))
    }

    /// The same panels, packed already.
    ///
    /// # Panics
    /// If they were packed for another instruction set or shape.
    pub(super) fn kept(mut self, isa: Isa, packed: &'a PackedWeights) -> Self {
        let shape = [self.groups, self.columns, self.rows];
        assert!(
            packed.isa == isa && packed.shape == shape,
            "{packed:?}, not {shape:?} for {}",
            isa.name()
        );
        self.packing = Some(Packing::Kept(packed));
        self
    }

    /// The same panels, packed if they were not.
    pub(super) fn packed(mut self) -> Self {
        if self.packing.is_none() {
            self.packing = Some(Packing::Own(self.pack()));
        }
        self
    }

    /// Packs all panels.
    fn pack(&self) -> Buffer {
        let mut data = Buffer::<f32>::take(self.len());
        let chunks = self.rows.div_ceil(TASK_ROWS);
        let shared = Shared::new(&mut data);
        for_each_task(self.groups * self.per_group * chunks, |task| {
            let (panel, chunk) = (task / chunks, task % chunks);
            let first = chunk * TASK_ROWS;
            let len = TASK_ROWS.min(self.rows - first) * self.width;
            // SAFETY: the rows of one chunk of one panel: inside the buffer, and no other task's.
            let part = unsafe {
                let start = shared.get().add((panel * self.rows + first) * self.width);
                std::slice::from_raw_parts_mut(start, len)
            };
            self.fill(panel / self.per_group, panel % self.per_group, first, part);
        });
        data
    }

    /// All panels as [`winograd`] wants them: the windows are of `frames` times 3x3 pixels of so many channels.
    pub(super) fn transformed(&self, isa: Isa, channels: usize, frames: usize) -> Transformed<'a> {
        // SAFETY: panels are made for a set that is available.
        let transform =
            |packed: &[f32]| unsafe { winograd::weights(isa, packed, channels, frames) };
        match &self.packing {
            Some(Packing::Kept(packed)) => {
                let transformed = &packed.transformed;
                Transformed::Kept(transformed.get_or_init(|| transform(&packed.data)))
            }
            Some(Packing::Own(data)) => Transformed::Own(transform(data)),
            None => Transformed::Own(transform(&self.pack())),
        }
    }

    /// Some rows of panel `idx` of `group`, packed into `scratch` if they are not yet.
    pub(super) fn rows<'b>(
        &'b self,
        group: usize,
        idx: usize,
        rows: Range<usize>,
        scratch: &'b mut Scratch,
    ) -> &'b [f32] {
        let packed = self.packing.as_ref().map(|packing| match packing {
            Packing::Own(data) => &data[..],
            Packing::Kept(packed) => &packed.data[..],
        });
        if let Some(packed) = packed {
            let start = ((group * self.per_group + idx) * self.rows + rows.start) * self.width;
            return &packed[start..start + rows.len() * self.width];
        }
        let part = scratch.take(rows.len() * self.width);
        self.fill(group, idx, rows.start, part);
        part
    }

    /// Fills rows from `first_row` of a panel.
    fn fill(&self, group: usize, idx: usize, first_row: usize, part: &mut [f32]) {
        let first = idx * self.width;
        let channels = first..self.columns.min(first + self.width);
        if channels.len() < self.width {
            part.fill(0.0);
        }
        match self.source {
            Source::Outputs(weights) => {
                self.fill_outputs(weights, group, channels, first_row, part)
            }
            Source::Inputs {
                weights,
                outputs,
                taps,
                num_taps,
            } => {
                for (row_idx, row) in part.chunks_exact_mut(self.width).enumerate() {
                    let row_idx = first_row + row_idx;
                    let (tap, output) = (taps[row_idx / outputs], row_idx % outputs);
                    let start = ((group * outputs + output) * num_taps + tap) * self.columns;
                    let source = &weights[start + channels.start..start + channels.end];
                    row[..source.len()].copy_from_slice(source);
                }
            }
        }
    }

    /// Fills rows of a panel of outputs: a transposition, in pieces that stay in L1 when written,
    /// yet read long enough runs of each output's weights for the hardware to fetch ahead.
    fn fill_outputs(
        &self,
        weights: &[f32],
        group: usize,
        channels: Range<usize>,
        first_row: usize,
        part: &mut [f32],
    ) {
        for (piece_idx, piece) in part.chunks_mut(PIECE_ROWS * self.width).enumerate() {
            let from = first_row + piece_idx * PIECE_ROWS;
            let num_rows = piece.len() / self.width;
            let column = |channel: usize| {
                let start = (group * self.columns + channel) * self.rows + from;
                &weights[start..start + num_rows]
            };
            #[cfg(target_arch = "x86_64")]
            if self.width == Isa::Avx512.tile_width() {
                for lane in (0..self.width).step_by(16) {
                    let first = (channels.start + lane).min(channels.end);
                    let columns = first..channels.end.min(first + 16);
                    let starts: Vec<*const f32> = columns.map(|c| column(c).as_ptr()).collect();
                    for row in (0..num_rows).step_by(16) {
                        let rows = starts.iter().map(|start| start.wrapping_add(row));
                        let rows: Vec<*const f32> = rows.collect();
                        let to = piece[row * self.width + lane..].as_mut_ptr();
                        // SAFETY: panels of this width are made for AVX-512 only; the rows that are left
                        // of each column and of the piece.
                        unsafe { transpose(&rows, 16.min(num_rows - row), to, self.width) };
                    }
                }
                continue;
            }
            for (lane, channel) in channels.clone().enumerate() {
                let source = column(channel);
                for (value, row) in source.iter().zip(piece.chunks_exact_mut(self.width)) {
                    row[lane] = *value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panels hold `want(group, row, column)`, packed beforehand and on demand.
    fn check(panels: Panels, want: impl Fn(usize, usize, usize) -> f32) {
        let mut scratch = Scratch::default();
        let source = panels.source;
        let Panels {
            groups,
            columns,
            rows,
            width,
            ..
        } = panels;
        let packed = Panels::new(source, groups, columns, rows, width).packed();
        for panels in [&panels, &packed] {
            for group in 0..panels.groups {
                for row in 0..panels.rows {
                    for lane in 0..panels.per_group * panels.width {
                        let (idx, column) = (lane / panels.width, lane % panels.width);
                        let got = panels.rows(group, idx, row..row + 1, &mut scratch)[column];
                        let inside = lane < panels.columns;
                        assert_eq!(got, if inside { want(group, row, lane) } else { 0.0 });
                    }
                }
            }
        }
    }

    #[test]
    fn panels_hold_the_weights_where_tiles_look() {
        let (groups, inputs, outputs, num_taps, width) = (2, 5, 3, 4, 4);
        // weights[output][tap][input], one after the other
        let len = groups * outputs * num_taps * inputs;
        let weights: Vec<f32> = (0..len).map(|i| i as f32).collect();
        let taps = [3, 1];
        let source = Source::Inputs {
            weights: &weights,
            outputs,
            taps: &taps,
            num_taps,
        };
        check(
            Panels::new(source, groups, inputs, 2 * outputs, width),
            |group, row, column| {
                let output = group * outputs + row % outputs;
                ((output * num_taps + taps[row / outputs]) * inputs + column) as f32
            },
        );
        let rows = num_taps * inputs;
        let source = Source::Outputs(&weights);
        check(
            Panels::new(source, groups, outputs, rows, width),
            |group, row, column| ((group * outputs + column) * rows + row) as f32,
        );
    }
}
