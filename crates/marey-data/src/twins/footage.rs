//! What is left of a clip for the search: small grey pictures at a fixed rate, 24 kB for each second.

use marey_clip::{Clip, ClipPlan, Pixels, Span, Timestamp};
use marey_media::Reader;

/// Rows and columns of a small picture. A source of any size and shape is squeezed into them, so that a copy of another
/// size looks the same and a crop is a scale and a shift for each of the two axes.
pub(super) const ROWS: usize = 48;
pub(super) const COLUMNS: usize = 64;
pub(super) const CELLS: usize = ROWS * COLUMNS;

/// Small pictures a second. Frames between are averaged, so that another frame rate looks the same.
pub(super) const RATE_HZ: i64 = 8;
pub(super) const BIN_NANOS: i64 = 1_000_000_000 / RATE_HZ;

/// Temperatures that stand for black and white, in degrees Celsius.
const TEMPERATURES: [f32; 2] = [5.0, 45.0];

/// Longest part of a recording that is compared as one, and longest time for which one frame may stand.
const PART_NANOS: i64 = 60 * 1_000_000_000;
const GAP_NANOS: i64 = 2 * 1_000_000_000;

/// Frames that are decoded together hold at most this many bytes.
const CHUNK_BYTES: usize = 8 << 20;

/// Small grey pictures `[bins, ROWS, COLUMNS]`, one for each eighth of a second.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Footage {
    /// When the first picture begins.
    pub(super) start: Timestamp,
    /// Light, 0 to 255. What rounding takes away averages out in the coarser grids that are compared.
    pub(super) pictures: Vec<u8>,
}

impl Footage {
    pub(super) fn bins(&self) -> usize {
        self.pictures.len() / CELLS
    }

    /// One picture, the mean of `count` from `first` on.
    pub(super) fn middle(&self, first: usize, count: usize) -> Self {
        let mut sums = vec![0_u32; CELLS];
        for picture in self.pictures[first * CELLS..(first + count) * CELLS].chunks_exact(CELLS) {
            sums.iter_mut()
                .zip(picture)
                .for_each(|(sum, &value)| *sum += u32::from(value));
        }
        Self {
            start: self.start,
            pictures: sums
                .into_iter()
                .map(|sum| ((sum + count as u32 / 2) / count as u32) as u8)
                .collect(),
        }
    }

    /// From the first picture to the end of the last.
    pub(super) fn span(&self) -> Span {
        let length = BIN_NANOS * self.bins() as i64;
        let end = Timestamp::from_nanos(self.start.as_nanos().saturating_add(length));
        Span::new(self.start, end).expect("there is at least one picture")
    }

    /// Reads the frames of `span`, cut where nothing is shown for long, and every minute.
    pub(super) fn read(
        reader: &mut dyn Reader,
        span: Span,
    ) -> Result<Vec<Self>, marey_media::Error> {
        let timeline = &reader.info().timeline;
        let timestamps = timeline.timestamps()[timeline.indices_in(span)].to_vec();
        let parts = parts(&timestamps);
        parts
            .into_iter()
            .map(|part| Self::read_part(reader, part))
            .collect()
    }

    fn read_part(
        reader: &mut dyn Reader,
        timestamps: &[Timestamp],
    ) -> Result<Self, marey_media::Error> {
        let info = reader.info();
        let start = timestamps[0];
        let mut bins = Bins::new(info.size.height, info.size.width, info.channels);
        let frame_bytes = info.size.height * info.size.width * info.channels;
        let at_once = (CHUNK_BYTES / frame_bytes.max(1)).clamp(1, 64);
        for chunk in timestamps.chunks(at_once) {
            let plan = ClipPlan {
                timestamps: chunk.to_vec(),
            };
            bins.add(&reader.read(&plan)?, start);
        }
        Ok(Self {
            start,
            pictures: bins.finish(),
        })
    }
}

/// Parts of at most [`PART_NANOS`] without a gap of more than [`GAP_NANOS`]; each finds its own twins.
fn parts(timestamps: &[Timestamp]) -> Vec<&[Timestamp]> {
    let mut parts = Vec::new();
    let mut first = 0;
    for idx in 1..=timestamps.len() {
        let is_end = timestamps.get(idx).is_none_or(|at| {
            let since = |before: Timestamp| at.as_nanos().saturating_sub(before.as_nanos());
            since(timestamps[idx - 1]) > GAP_NANOS || since(timestamps[first]) >= PART_NANOS
        });
        if is_end {
            parts.push(&timestamps[first..idx]);
            first = idx;
        }
    }
    parts
}

/// Averages frames into small pictures.
struct Bins {
    shrink: Shrink,
    pictures: Vec<u8>,
    sum: Vec<f32>,
    count: usize,
}

impl Bins {
    fn new(height: usize, width: usize, channels: usize) -> Self {
        Self {
            shrink: Shrink::new(height, width, channels),
            pictures: Vec::new(),
            sum: vec![0.0; CELLS],
            count: 0,
        }
    }

    fn add(&mut self, clip: &Clip, start: Timestamp) {
        let [_, height, width, channels] = clip.dims();
        let len = height * width * channels;
        for (idx, at) in clip.timestamps().iter().enumerate() {
            let bin = ((at.as_nanos() - start.as_nanos()) / BIN_NANOS) as usize;
            while self.pictures.len() / CELLS < bin {
                self.close();
            }
            match clip.pixels() {
                Pixels::U8(values) => self
                    .shrink
                    .add_bytes(&values[idx * len..][..len], &mut self.sum),
                Pixels::F32(values) => self
                    .shrink
                    .add_temperatures(&values[idx * len..][..len], &mut self.sum),
            }
            self.count += 1;
        }
    }

    /// Ends a picture; one without a frame repeats the one before.
    fn close(&mut self) {
        if self.count == 0 {
            let last = self.pictures.len() - CELLS;
            self.pictures.extend_from_within(last..);
            return;
        }
        let scale = 1.0 / self.count as f32;
        self.pictures
            .extend(self.sum.iter().map(|sum| (sum * scale).round() as u8));
        self.sum.fill(0.0);
        self.count = 0;
    }

    fn finish(mut self) -> Vec<u8> {
        self.close();
        self.pictures
    }
}

/// Averages the area under each cell, fractions of pixels included.
struct Shrink {
    height: usize,
    width: usize,
    channels: usize,
    /// For each edge between columns: whole pixels before it, and the fraction of the next one.
    edges: Vec<(usize, f32)>,
    grey: Vec<u32>,
}

impl Shrink {
    fn new(height: usize, width: usize, channels: usize) -> Self {
        let edge = |column: usize| {
            let at = column * width;
            (at / COLUMNS, (at % COLUMNS) as f32 / COLUMNS as f32)
        };
        Self {
            height,
            width,
            channels,
            edges: (0..=COLUMNS).map(edge).collect(),
            grey: vec![0; width],
        }
    }

    /// Adds one frame's small picture to `sum`.
    fn add_bytes(&mut self, frame: &[u8], sum: &mut [f32]) {
        for (y, row) in frame.chunks_exact(self.width * self.channels).enumerate() {
            if self.channels == 3 {
                for (grey, rgb) in self.grey.iter_mut().zip(row.chunks_exact(3)) {
                    // ITU-R BT.601 luma in 256ths; 16 levels within each of 0 to 255.
                    let luma =
                        77 * u32::from(rgb[0]) + 150 * u32::from(rgb[1]) + 29 * u32::from(rgb[2]);
                    *grey = luma >> 4;
                }
            } else {
                for (grey, values) in self.grey.iter_mut().zip(row.chunks_exact(self.channels)) {
                    *grey = u32::from(values[0]) << 4;
                }
            }
            self.add_row(y, sum);
        }
    }

    fn add_temperatures(&mut self, frame: &[f32], sum: &mut [f32]) {
        let [low, high] = TEMPERATURES;
        for (y, row) in frame.chunks_exact(self.width * self.channels).enumerate() {
            for (grey, values) in self.grey.iter_mut().zip(row.chunks_exact(self.channels)) {
                // A value that is no number counts as cold: `as` makes 0 of it.
                let level = (values[0].clamp(low, high) - low) / (high - low);
                *grey = (level * 4080.0) as u32;
            }
            self.add_row(y, sum);
        }
    }

    fn add_row(&mut self, y: usize, sum: &mut [f32]) {
        let mut columns = [0.0; COLUMNS];
        // Sums of 16,384 values of 12 bits fit in 32 bits; wider rows are summed in 64.
        let mut before = 0_u64;
        let mut at = 0;
        let mut last = 0.0;
        for (column, &(pixel, fraction)) in self.edges.iter().enumerate() {
            before += u64::from(self.grey[at..pixel].iter().sum::<u32>());
            at = pixel;
            let part = self
                .grey
                .get(pixel)
                .map_or(0.0, |&grey| fraction * grey as f32);
            let here = before as f32 + part;
            if column > 0 {
                columns[column - 1] = here - last;
            }
            last = here;
        }
        let scale = (ROWS * COLUMNS) as f32 / (16 * self.height * self.width) as f32;
        // The row covers y..y + 1 of height; cells end at multiples of height / ROWS.
        let (top, bottom) = (y * ROWS, (y + 1) * ROWS);
        for row in top / self.height..bottom.div_ceil(self.height) {
            let covered = bottom.min((row + 1) * self.height) - top.max(row * self.height);
            let weight = scale * covered as f32 / ROWS as f32;
            for (sum, value) in sum[row * COLUMNS..][..COLUMNS].iter_mut().zip(&columns) {
                *sum += weight * value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_part_ends_at_a_gap_and_after_a_minute() {
        let timestamps: Vec<Timestamp> = [0, 40, 80, 5_000, 5_040].map(at).to_vec();
        let lengths = |timestamps: &[Timestamp]| -> Vec<usize> {
            parts(timestamps).iter().map(|part| part.len()).collect()
        };
        assert_eq!(lengths(&timestamps), [3, 2]);
        let steady: Vec<Timestamp> = (0..130).map(|second| at(1000 * second)).collect();
        assert_eq!(lengths(&steady), [60, 60, 10]);
        // Timestamps that nobody meant must not make pictures of the time between.
        assert_eq!(lengths(&[at(0), at(i64::MAX / 1_000_000)]), [1, 1]);
    }

    #[test]
    fn a_picture_is_the_mean_of_the_frames_of_its_time() {
        let mut bins = Bins::new(3, 5, 1);
        let values: Vec<u8> = [10, 20, 90].iter().flat_map(|&light| [light; 15]).collect();
        let clip = Clip::new(
            [3, 3, 5, 1],
            Pixels::U8(values),
            vec![at(0), at(60), at(300)],
        );
        bins.add(&clip, at(0));
        let pictures = bins.finish();
        let lights: Vec<u8> = pictures
            .chunks_exact(CELLS)
            .map(|picture| picture[7])
            .collect();
        // The second eighth of a second has no frame of its own.
        assert_eq!(lights, [15, 15, 90]);
        assert!(
            pictures[..CELLS].iter().all(|&light| light == 15),
            "an even frame stays even"
        );
    }

    proptest! {
        /// A frame of `scale` times as many pixels each way, with the same content, makes the same small picture.
        #[test]
        fn size_does_not_matter(
            height in 3_usize..70, width in 3_usize..70, scale in 2_usize..4, values in prop::collection::vec(any::<u8>(), 70 * 70),
        ) {
            let picture = |scale: usize| {
                let (height, width) = (scale * height, scale * width);
                let value = |pixel: usize| values[pixel / width / scale * 70 + pixel % width / scale];
                let pixels: Vec<u8> = (0..height * width).map(value).collect();
                let mut bins = Bins::new(height, width, 1);
                bins.add(&Clip::new([1, height, width, 1], Pixels::U8(pixels), vec![at(0)]), at(0));
                bins.finish()
            };
            for (one, other) in picture(1).into_iter().zip(picture(scale)) {
                prop_assert!(one.abs_diff(other) <= 1, "{one} and {other}");
            }
        }
    }
}
