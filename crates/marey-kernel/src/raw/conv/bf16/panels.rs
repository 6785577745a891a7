//! Weights in the order in which tiles read them.
//!
//! `[group][panel of 32 columns][run][chunk][half of 16 columns][pair][column][2]`: a chunk is
//! `depth` neighbouring elements of a window, cut from its runs so that none holds elements of two,
//! because a tile that read past the end of a run would multiply a stranger's NaN with zero.
//!
//! As in [`super::super::pack`], weights that are much larger than the activations are packed piece by
//! piece where they are used.

use std::ops::Range;

use half::bf16;

use super::super::super::memory::Buffer;
use super::super::super::parallel::{Scratch, Shared, for_each_task};
use super::super::blocking::SumPart;
use super::super::pack::Source;
use super::super::window::Window;
use super::amx::{COLUMNS, ROWS};
use super::lanes;

/// How the runs of a window are cut into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Channels of a pixel, with zeros after those there are.
    pub(super) width: usize,
    /// Elements of a chunk: even, at most 32.
    pub(super) depth: usize,
    /// Chunks of a run.
    pub(super) chunks: usize,
}

impl Cut {
    /// The cut of runs of `taps` pixels of `channels` with the fewest chunks. Where pixels are read
    /// in place they cannot be widened, so that there may be none.
    pub(super) fn in_place(taps: usize, channels: usize) -> Option<Self> {
        let fewest = (taps * channels).div_ceil(COLUMNS);
        // More than a third above the fewest, a copy with wider pixels is cheaper.
        (fewest..=fewest * 4 / 3).find_map(|chunks| Self::into(chunks, taps, channels))
    }

    /// The same where pixels are copied, and widened as need be.
    pub(super) fn copied(taps: usize, channels: usize) -> Self {
        (channels..=channels.next_multiple_of(COLUMNS))
            .filter_map(|width| {
                let fewest = (taps * width).div_ceil(COLUMNS);
                Self::into(fewest, taps, width)
            })
            .min_by_key(|cut| (cut.chunks, cut.width))
            .expect("a multiple of 32 channels is cut into chunks of 32")
    }

    fn into(chunks: usize, taps: usize, width: usize) -> Option<Self> {
        let (depth, rest) = (taps * width / chunks, taps * width % chunks);
        (rest == 0 && depth % 2 == 0).then_some(Self {
            width,
            depth,
            chunks,
        })
    }
}

/// Weights as panels, packed already or on demand.
pub(super) struct Panels<'a> {
    source: Source<'a>,
    cut: Cut,
    packed: Option<Buffer<bf16>>,
    /// Channels of a pixel of the window, and pixels of a run.
    channels: usize,
    taps: usize,
    num_runs: usize,
    groups: usize,
    /// Columns of a group.
    pub(super) columns: usize,
    /// Panels of a group.
    pub(super) per_group: usize,
}

impl<'a> Panels<'a> {
    /// Panels of `groups` groups of `columns` columns for windows that are cut by `cut`, none packed yet.
    pub(super) fn new(
        source: Source<'a>,
        groups: usize,
        columns: usize,
        window: &Window,
        cut: Cut,
    ) -> Self {
        Self {
            source,
            cut,
            packed: None,
            channels: window.channels,
            taps: window.merged_taps(),
            num_runs: window.len() / window.run_len(),
            groups,
            columns,
            per_group: columns.div_ceil(COLUMNS),
        }
    }

    /// Elements of a chunk of a panel.
    fn chunk_len(&self) -> usize {
        self.cut.depth * COLUMNS
    }

    fn panel_len(&self) -> usize {
        self.num_runs * self.cut.chunks * self.chunk_len()
    }

    /// Elements of all panels of a group.
    pub(super) fn group_len(&self) -> usize {
        self.per_group * self.panel_len()
    }

    /// Must they be packed beforehand? The weights of a panel of inputs are scattered: 128 bytes of each output and tap, on
    /// as many pages.
    pub(super) fn are_scattered(&self) -> bool {
        matches!(self.source, Source::Inputs { .. })
    }

    /// Packs all panels.
    pub(super) fn pack(mut self) -> Self {
        let mut data = Buffer::<bf16>::take(self.groups * self.group_len());
        let shared = Shared::new(&mut data);
        let chunks = self.cut.chunks;
        let run_len = chunks * self.chunk_len();
        match self.source {
            Source::Outputs(weights) => {
                for_each_task(self.groups * self.per_group * self.num_runs, |task| {
                    let (panel, run) = (task / self.num_runs, task % self.num_runs);
                    // SAFETY: this run of this panel: inside the buffer, and no other task's.
                    let to = unsafe {
                        let start = shared.get().add(panel * self.panel_len() + run * run_len);
                        std::slice::from_raw_parts_mut(start, run_len)
                    };
                    let place = [panel / self.per_group, panel % self.per_group];
                    self.fill_outputs(weights, place, run, 0..chunks, to);
                });
            }
            Source::Inputs { .. } => {
                for_each_task(self.groups * self.num_runs * chunks, |task| {
                    let (group, chunk) = (
                        task / (self.num_runs * chunks),
                        task % (self.num_runs * chunks),
                    );
                    let first = group * self.group_len() + chunk * self.chunk_len();
                    // SAFETY: inside the buffer.
                    let first = unsafe { shared.get().add(first) };
                    // SAFETY: this chunk of all panels of the group is this task's.
                    unsafe { self.fill_inputs(group, chunk / chunks, chunk % chunks, first) };
                });
            }
        }
        self.packed = Some(data);
        self
    }

    /// Some chunks of a panel of a group, packed into `scratch` if they are not yet.
    pub(super) fn part(
        &self,
        [group, panel]: [usize; 2],
        part: &SumPart,
        scratch: &mut Scratch,
    ) -> *const bf16 {
        let chunk_len = self.chunk_len();
        if let Some(packed) = &self.packed {
            let panel = (group * self.per_group + panel) * self.panel_len();
            return packed[panel + part.row * chunk_len..].as_ptr();
        }
        let Source::Outputs(weights) = self.source else {
            unreachable!("scattered weights are packed beforehand")
        };
        let data: &mut [bf16] = scratch.take(part.num_runs * part.len * chunk_len);
        for (idx, to) in data.chunks_exact_mut(part.len * chunk_len).enumerate() {
            let chunks = part.start..part.start + part.len;
            self.fill_outputs(weights, [group, panel], part.run + idx, chunks, to);
        }
        data.as_ptr()
    }

    /// Packs some chunks of a run where columns are outputs: their weights lie together along the run, if pixels were not
    /// widened.
    fn fill_outputs(
        &self,
        weights: &[f32],
        [group, panel]: [usize; 2],
        run: usize,
        chunks: Range<usize>,
        to: &mut [bf16],
    ) {
        let first = panel * COLUMNS;
        let columns = first..self.columns.min(first + COLUMNS);
        let Cut {
            width,
            depth,
            chunks: all_chunks,
        } = self.cut;
        let (run_len, wide_len) = (self.taps * self.channels, all_chunks * depth);
        let column = |column: usize| {
            let start = ((group * self.columns + column) * self.num_runs + run) * run_len;
            &weights[start..start + run_len]
        };
        let is_wide = width != self.channels;
        let mut wide = vec![0.0f32; if is_wide { columns.len() * wide_len } else { 0 }];
        if is_wide {
            for (to, column) in wide
                .chunks_exact_mut(wide_len)
                .zip(columns.clone().map(column))
            {
                let pixels = column.chunks_exact(self.channels);
                for (to, from) in to.chunks_exact_mut(width).zip(pixels) {
                    to[..self.channels].copy_from_slice(from);
                }
            }
        }
        for (chunk, to) in chunks.zip(to.chunks_exact_mut(self.chunk_len())) {
            let row = |idx: usize| {
                let row = if is_wide {
                    &wide[idx * wide_len..][..wide_len]
                } else {
                    column(columns.start + idx)
                };
                row[chunk * depth..][..depth].as_ptr()
            };
            for (half, to) in to.chunks_exact_mut(depth * ROWS).enumerate() {
                let columns = (half * ROWS..columns.len().min((half + 1) * ROWS)).map(row);
                let rows: Vec<*const f32> = columns.collect();
                // SAFETY: AMX implies the vectors; `depth` floats of each column.
                unsafe { lanes::pack_outputs(&rows, depth, to.as_mut_ptr().cast()) };
            }
        }
    }

    /// Packs a chunk of a run, of all panels of a group, where columns are inputs: rows are outputs, a tap at a time. `to` is
    /// the chunk of the first panel.
    ///
    /// # Safety
    /// The chunk of every panel of the group is writable, and nobody else's.
    unsafe fn fill_inputs(&self, group: usize, run: usize, chunk: usize, to: *mut bf16) {
        let Source::Inputs {
            weights,
            outputs,
            taps,
            num_taps,
        } = self.source
        else {
            unreachable!("asked for columns that are inputs")
        };
        let Cut { width, depth, .. } = self.cut;
        let row = |element: usize| {
            let (tap, output) = (run * self.taps + element / width, element % width);
            (output < outputs).then(|| {
                let start = ((group * outputs + output) * num_taps + taps[tap]) * self.columns;
                weights[start..start + self.columns].as_ptr()
            })
        };
        for pair in 0..depth / 2 {
            let element = chunk * depth + 2 * pair;
            let rows = [row(element), row(element + 1)];
            let place = |half: usize| {
                let at = (half % 2 * depth / 2 + pair) * COLUMNS;
                to.wrapping_add(half / 2 * self.panel_len() + at)
            };
            // SAFETY: AMX implies the vectors; every column of both rows, 16 pairs of each half of each panel's chunk.
            unsafe { lanes::pack_pairs(rows, self.columns, 2 * self.per_group, place) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_even_and_exact() {
        for taps in 1..8 {
            for channels in 1..300 {
                let copied = Cut::copied(taps, channels);
                for cut in Cut::in_place(taps, channels).into_iter().chain([copied]) {
                    assert_eq!(
                        cut.chunks * cut.depth,
                        taps * cut.width,
                        "{taps} {channels}"
                    );
                    assert!(cut.depth % 2 == 0 && cut.depth <= COLUMNS && cut.width >= channels);
                }
            }
        }
        assert_eq!(
            Cut::copied(7, 3),
            Cut {
                width: 4,
                depth: 28,
                chunks: 1
            }
        );
        assert_eq!(
            Cut::in_place(1, 144),
            Some(Cut {
                width: 144,
                depth: 24,
                chunks: 6
            })
        );
        assert_eq!(Cut::in_place(1, 7), None);
    }
}
