//! Weights in the order in which tiles read them.
//!
//! `[group][panel of 32 columns][run][chunk][half of 16 columns][pair][column][2]`: a chunk is
//! `depth` neighbouring elements of a window, cut from its runs so that none holds elements of two,
//! because a tile that read past the end of a run would multiply a stranger's NaN with zero.

use half::bf16;

use super::super::super::memory::Buffer;
use super::super::super::parallel::{Shared, for_each_task};
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

/// Packed weights.
pub(super) struct Panels {
    data: Buffer<bf16>,
    /// Panels of a group.
    pub(super) per_group: usize,
    /// Elements of a chunk of a panel.
    pub(super) chunk_len: usize,
    /// Elements of a panel.
    panel_len: usize,
}

impl Panels {
    /// Packs the weights of `groups` groups of `columns` columns for windows that are cut by `cut`.
    pub(super) fn pack(
        source: Source,
        groups: usize,
        columns: usize,
        window: &Window,
        cut: Cut,
    ) -> Self {
        let taps = window.merged_taps();
        let num_runs = window.len() / window.run_len();
        let per_group = columns.div_ceil(COLUMNS);
        let chunk_len = cut.depth * COLUMNS;
        let run_len = cut.chunks * chunk_len;
        let panel_len = num_runs * run_len;
        let mut data = Buffer::<bf16>::take(groups * per_group * panel_len);
        let shared = Shared::new(&mut data);
        for_each_task(groups * per_group * num_runs, |task| {
            let (panel, run) = (task / num_runs, task % num_runs);
            let (group, first) = (panel / per_group, panel % per_group * COLUMNS);
            let job = Run {
                source,
                cut,
                channels: window.channels,
                taps: run * taps..(run + 1) * taps,
                group,
                columns: first..columns.min(first + COLUMNS),
                all_columns: columns,
                num_taps: num_runs * taps,
            };
            // SAFETY: AMX implies the vectors; this run of this panel is this task's.
            unsafe { job.pack(shared.get().add(panel * panel_len + run * run_len).cast()) };
        });
        Self {
            data,
            per_group,
            chunk_len,
            panel_len,
        }
    }

    /// Elements of all panels of a group.
    pub(super) fn group_len(&self) -> usize {
        self.per_group * self.panel_len
    }

    /// A panel from its `chunk`-th chunk on.
    pub(super) fn at(&self, group: usize, panel: usize, chunk: usize) -> *const bf16 {
        let start = (group * self.per_group + panel) * self.panel_len + chunk * self.chunk_len;
        self.data[start..].as_ptr()
    }
}

/// One run of one panel, about to be packed.
struct Run<'a> {
    source: Source<'a>,
    cut: Cut,
    channels: usize,
    /// Positions of the window.
    taps: std::ops::Range<usize>,
    group: usize,
    columns: std::ops::Range<usize>,
    all_columns: usize,
    num_taps: usize,
}

impl Run<'_> {
    /// # Safety
    /// AVX-512 with BF16; `to` has room for the run.
    unsafe fn pack(&self, to: *mut [bf16; 2]) {
        // SAFETY: the contract.
        unsafe {
            match self.source {
                Source::Outputs(weights) => self.pack_outputs(weights, to),
                Source::Inputs {
                    weights,
                    outputs,
                    taps,
                    num_taps,
                } => {
                    self.pack_inputs(weights, outputs, taps, num_taps, to);
                }
            }
        }
    }

    /// Where pair `pair` of half `half` of chunk `chunk` lies.
    ///
    /// # Safety
    /// It is inside the run at `to`.
    unsafe fn row(
        &self,
        to: *mut [bf16; 2],
        chunk: usize,
        half: usize,
        pair: usize,
    ) -> *mut [bf16; 2] {
        let pairs = self.cut.depth / 2;
        // SAFETY: the contract.
        unsafe { to.add(((chunk * 2 + half) * pairs + pair) * ROWS) }
    }

    /// Columns are outputs: their weights lie together along the run, if pixels were not widened.
    ///
    /// # Safety
    /// As [`Run::pack`].
    unsafe fn pack_outputs(&self, weights: &[f32], to: *mut [bf16; 2]) {
        let Cut {
            width,
            depth,
            chunks,
        } = self.cut;
        let run_len = self.taps.len() * self.channels;
        let column = |column: usize| {
            let output = self.group * self.all_columns + column;
            let start = (output * self.num_taps + self.taps.start) * self.channels;
            &weights[start..start + run_len]
        };
        let mut widened = vec![
            0.0f32;
            if width == self.channels {
                0
            } else {
                COLUMNS * chunks * depth
            }
        ];
        for half in 0..2 {
            let first = self.columns.start + half * ROWS;
            let columns = first..self.columns.end.min(first + ROWS);
            let mut rows: Vec<*const f32> = columns.clone().map(|c| column(c).as_ptr()).collect();
            let mut len = run_len;
            if width != self.channels {
                len = chunks * depth;
                for (idx, row) in rows.iter_mut().enumerate() {
                    let wide = &mut widened[(half * ROWS + idx) * len..][..len];
                    let pixels = column(first + idx).chunks_exact(self.channels);
                    for (to, from) in wide.chunks_exact_mut(width).zip(pixels) {
                        to[..self.channels].copy_from_slice(from);
                    }
                    *row = wide.as_ptr();
                }
            }
            for chunk in 0..chunks {
                // SAFETY: `len` floats of each column, from the chunk's first on.
                unsafe {
                    lanes::pack_outputs(
                        &rows,
                        depth.min(len - chunk * depth),
                        depth,
                        self.row(to, chunk, half, 0),
                    );
                }
                rows.iter_mut()
                    .for_each(|row| *row = row.wrapping_add(depth));
            }
        }
    }

    /// Columns are inputs: rows are outputs, a tap at a time.
    ///
    /// # Safety
    /// As [`Run::pack`].
    unsafe fn pack_inputs(
        &self,
        weights: &[f32],
        outputs: usize,
        taps: &[usize],
        num_taps: usize,
        to: *mut [bf16; 2],
    ) {
        let Cut {
            width,
            depth,
            chunks,
        } = self.cut;
        for half in 0..2 {
            let first = self.columns.start + half * ROWS;
            let len = self.columns.end.saturating_sub(first).min(ROWS);
            let row = |element: usize| {
                let (tap, output) = (self.taps.start + element / width, element % width);
                (output < outputs && len > 0).then(|| {
                    let output = self.group * outputs + output;
                    let start = (output * num_taps + taps[tap]) * self.all_columns + first;
                    weights[start..start + len].as_ptr()
                })
            };
            for pair in 0..chunks * depth / 2 {
                let (chunk, place) = (pair / (depth / 2), pair % (depth / 2));
                // SAFETY: `len` floats of both rows.
                unsafe {
                    lanes::pack_pair(
                        [row(2 * pair), row(2 * pair + 1)],
                        len,
                        self.row(to, chunk, half, place),
                    );
                }
            }
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
