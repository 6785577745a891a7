//! Crop, resize and mirror in one separable pass over a frame, straight from the source into the output.
//!
//! Bilinear, with the filter widened when shrinking so that nothing aliases: Pillow's `BILINEAR`, torchvision's
//! `antialias=True`. Weights are computed once a clip as 16-bit fractions; between its two passes a value has 8 bits
//! after the point, so a result is within one level of the exact one down to a hundredth of the size. Both passes are a widening multiply that keeps
//! the high half, which every SIMD unit has for 16-bit lanes.

use std::ops::Range;

use marey_clip::Size;

use crate::simd::{self, BlendRows};

/// How the positions along one side of the output lie on the source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    /// Where the output begins, in source pixels.
    start: f64,
    /// Source pixels to one of the output.
    scale: f64,
    /// The source pixels that may be looked at; the last on either side stands for what lies beyond.
    bounds: Range<usize>,
    len: usize,
    mirrored: bool,
}

impl Axis {
    /// All of `from` pixels scaled to `to`.
    pub(crate) fn whole(from: usize, to: usize) -> Self {
        Self::part(0, from, to)
    }

    /// `count` pixels from `first` on scaled to `to`; nothing outside them is looked at.
    pub(crate) fn part(first: usize, count: usize, to: usize) -> Self {
        Self {
            start: first as f64,
            scale: count as f64 / to as f64,
            bounds: first..first + count,
            len: to,
            mirrored: false,
        }
    }

    /// `len` output pixels from `offset` on; what lies outside may be looked at.
    pub(crate) fn window(self, offset: usize, len: usize) -> Self {
        Self {
            start: self.start + offset as f64 * self.scale,
            len,
            ..self
        }
    }

    /// The same from the other end.
    pub(crate) fn mirrored(self) -> Self {
        Self {
            mirrored: !self.mirrored,
            ..self
        }
    }

    /// Pixels of the output.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

/// The weights of an [`Axis`]: for each output pixel, `taps` neighbouring source pixels.
#[derive(Debug)]
pub(crate) struct Table {
    /// First source pixel of each output pixel.
    pub(crate) first: Vec<usize>,
    /// Weights in 65536ths, `taps` an output pixel.
    pub(crate) weights: Vec<u16>,
    pub(crate) taps: usize,
    /// What a sum of products lacks on average because each is cut off: half a unit a tap. It depends on the scale
    /// only, as the order of the passes does.
    pub(crate) lost: u16,
}

impl Table {
    fn new(axis: &Axis) -> Self {
        let rows: Vec<(usize, Vec<u16>)> = (0..axis.len).map(|i| weights(axis, i)).collect();
        let taps = rows.iter().map(|(_, row)| row.len()).max().unwrap_or(0);
        let mut table = Self {
            first: Vec::with_capacity(axis.len),
            weights: vec![0; axis.len * taps],
            taps,
            // Black loses nothing: beyond 60 two passes would lift it to the next level.
            lost: if axis.scale == 1.0 {
                0
            } else {
                axis.scale.clamp(1.0, 60.0) as u16
            },
        };
        for ((first, row), weights) in rows.iter().zip(table.weights.chunks_exact_mut(taps)) {
            // Every pixel gets the same number of taps; near the far end the spare ones come first.
            let start = (*first).min(axis.bounds.end - taps);
            weights[first - start..][..row.len()].copy_from_slice(row);
            table.first.push(start);
        }
        table
    }

    /// The source pixels that are looked at.
    fn reach(&self) -> Range<usize> {
        let low = self.first.iter().min().map_or(0, |&first| first);
        let high = self
            .first
            .iter()
            .max()
            .map_or(0, |&first| first + self.taps);
        low..high
    }

    /// First source pixel and weights of each output pixel, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[u16])> {
        self.first
            .iter()
            .copied()
            .zip(self.weights.chunks_exact(self.taps))
    }
}

/// First source pixel and weights of output pixel `i`, as Pillow's `precompute_coeffs`, without zeros at either end.
fn weights(axis: &Axis, i: usize) -> (usize, Vec<u16>) {
    let i = if axis.mirrored { axis.len - 1 - i } else { i };
    let support = axis.scale.max(1.0);
    let centre = axis.start + (i as f64 + 0.5) * axis.scale;
    let (low, high) = (axis.bounds.start as f64, axis.bounds.end as f64);
    let first = (centre - support + 0.5).floor().clamp(low, high - 1.0) as usize;
    let end = (centre + support + 0.5)
        .floor()
        .clamp(first as f64 + 1.0, high) as usize;
    let triangle = |x: usize| (1.0 - ((x as f64 - centre + 0.5) / support).abs()).max(0.0);
    let exact: Vec<f64> = (first..end).map(triangle).collect();
    let total: f64 = exact.iter().sum();
    let mut fixed: Vec<u32> = exact
        .iter()
        .map(|weight| (weight / total * 65536.0).round() as u32)
        .collect();
    // Rounding must not darken or brighten: the largest weight takes what is missing.
    let largest = (0..fixed.len()).max_by_key(|&k| fixed[k]).unwrap_or(0);
    let others: u32 = fixed.iter().sum::<u32>() - fixed[largest];
    fixed[largest] = 65536u32.saturating_sub(others);
    let head = fixed.iter().take_while(|&&weight| weight == 0).count();
    let tail = fixed
        .iter()
        .rev()
        .take_while(|&&weight| weight == 0)
        .count();
    let kept = &fixed[head..fixed.len() - tail];
    // A weight of one does not fit in 16 bits; a 65536th less is lost in the rounding.
    (
        first + head,
        kept.iter()
            .map(|&weight| weight.min(65535) as u16)
            .collect(),
    )
}

/// Which pass comes first. It depends on the scale only, not on the crop, so that a crop of a resized frame is the
/// resized crop to the bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Nothing is scaled: source pixels are output pixels.
    Copy,
    /// Least work when the height shrinks.
    RowsFirst,
    /// Least work when the height grows.
    ColumnsFirst,
}

/// Resamples frame after frame of one size by the same two axes.
pub(crate) struct Resampler {
    rows: Table,
    columns: Table,
    order: Order,
    width: usize,
    channels: usize,
    /// One source row, or one row between the passes, as 8.8 fixed point.
    line: Vec<u16>,
    /// Where columns go first: all rows that are needed, as 8.8 fixed point.
    block: Vec<u16>,
    /// Where a grey frame becomes three channels.
    grey: Vec<u8>,
}

impl Resampler {
    /// For frames of `from` with `channels` (1 or 3) channels, `axes` being rows and columns.
    pub(crate) fn new(axes: [Axis; 2], from: Size, channels: usize) -> Self {
        let order = match axes.each_ref().map(|axis| axis.scale) {
            [1.0, 1.0] => Order::Copy,
            [rows, _] if rows >= 1.0 => Order::RowsFirst,
            _ => Order::ColumnsFirst,
        };
        let [rows, columns] = axes.map(|axis| Table::new(&axis));
        // A row has one value more than it needs, so that a pixel can be read as four values.
        let line = vec![0; from.width * channels + 1];
        Self {
            rows,
            columns,
            order,
            width: from.width,
            channels,
            line,
            block: Vec::new(),
            grey: Vec::new(),
        }
    }

    /// One frame with the source's channels.
    pub(crate) fn frame(&mut self, frame: &[u8], out: &mut [u8]) {
        match self.order {
            Order::Copy => self.copy_frame(frame, out),
            Order::RowsFirst => self.rows_first(frame, out),
            Order::ColumnsFirst => self.columns_first(frame, out),
        }
    }

    /// One frame with three channels, grey three times over.
    pub(crate) fn frame_rgb(&mut self, frame: &[u8], out: &mut [u8]) {
        if self.channels == 3 {
            return self.frame(frame, out);
        }
        let mut grey = std::mem::take(&mut self.grey);
        grey.resize(out.len() / 3, 0);
        self.frame(frame, &mut grey);
        for (pixel, value) in out.chunks_exact_mut(3).zip(&grey) {
            pixel.fill(*value);
        }
        self.grey = grey;
    }

    fn copy_frame(&self, frame: &[u8], out: &mut [u8]) {
        let channels = self.channels;
        let columns = &self.columns.first;
        let out_rows = out.chunks_exact_mut(columns.len() * channels);
        let mirrored = columns.len() > 1 && columns[0] > columns[1];
        for (&row, out) in self.rows.first.iter().zip(out_rows) {
            let row = &frame[row * self.width * channels..][..self.width * channels];
            if !mirrored {
                out.copy_from_slice(&row[columns[0] * channels..][..out.len()]);
                continue;
            }
            for (&column, pixel) in columns.iter().zip(out.chunks_exact_mut(channels)) {
                pixel.copy_from_slice(&row[column * channels..][..channels]);
            }
        }
    }

    fn rows_first(&mut self, frame: &[u8], out: &mut [u8]) {
        let (channels, stride) = (self.channels, self.width * self.channels);
        let reach = self.columns.reach();
        let needed = reach.start * channels..reach.end * channels;
        let out_rows = out.chunks_exact_mut(self.columns.first.len() * channels);
        let line = &mut self.line[..];
        for ((first, weights), out) in self.rows.iter().zip(out_rows) {
            let rows = &frame[first * stride..][..weights.len() * stride];
            let lost = self.rows.lost;
            let blend = BlendRows {
                rows,
                stride,
                weights,
                lost,
                range: needed.clone(),
                out: &mut *line,
            };
            blend.run();
            simd::blend_columns(line, &self.columns, channels, out);
        }
    }

    fn columns_first(&mut self, frame: &[u8], out: &mut [u8]) {
        let (channels, stride) = (self.channels, self.width * self.channels);
        let out_stride = self.columns.first.len() * channels;
        let reach = self.rows.reach();
        self.block.resize(reach.len() * out_stride, 0);
        let rows = frame[reach.start * stride..reach.end * stride].chunks_exact(stride);
        for (row, mid) in rows.zip(self.block.chunks_exact_mut(out_stride)) {
            simd::widen(row, &mut self.line);
            simd::blend_columns(&self.line, &self.columns, channels, mid);
        }
        for ((first, weights), out) in self.rows.iter().zip(out.chunks_exact_mut(out_stride)) {
            let rows =
                &self.block[(first - reach.start) * out_stride..][..weights.len() * out_stride];
            let (lost, stride) = (self.rows.lost, out_stride);
            BlendRows {
                rows,
                stride,
                weights,
                lost,
                range: 0..stride,
                out,
            }
            .run();
        }
    }
}
