//! Thermal recordings: HDF5 files with `frames` `[n, h, w]` in degrees Celsius and `timestamps` in milliseconds.

use std::path::Path;

use hdf5_reader::{Dataset, Hdf5File, SliceInfo, SliceInfoElem};
use marey_clip::{Rational, Size};

use crate::{
    Backend, Error, ErrorKind, MediaInfo, MediaKind, Reader,
    reader::{FrameDecoder, FrameError, FrameReader},
    timing::timing,
};

/// How an HDF5 file starts.
pub(crate) const MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";

/// Decoded chunks that a reader keeps: one of a usual recording takes 0.6 MB.
const CHUNK_CACHE_BYTES: usize = 16 << 20;
/// Largest chunk, and largest read, that a file may make the reader allocate.
const MAX_READ_BYTES: usize = 1 << 30;

/// Opens a recording. Its clock is the file's own: milliseconds since 1970 where it has `timestamps`, else a rate of
/// 10 frames a second from zero.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Reader>, Error> {
    let broken = |detail| {
        Error::new(
            path,
            ErrorKind::Broken {
                format: "HDF5",
                detail,
            },
        )
    };
    let options = hdf5_reader::OpenOptions::default()
        .with_chunk_cache_bytes(CHUNK_CACHE_BYTES)
        .with_max_chunk_bytes(MAX_READ_BYTES)
        .with_max_read_bytes(MAX_READ_BYTES);
    let file = Hdf5File::open_with_options(path, options).map_err(|e| broken(e.to_string()))?;
    let frames = file.dataset("frames").map_err(|error| {
        let names = dataset_names(&file);
        broken(format!(
            "there is no dataset `frames` ({error}); the file holds: {names}"
        ))
    })?;
    let &[t, height, width] = frames.shape() else {
        let shape = frames.shape();
        return Err(broken(format!(
            "`frames` has shape {shape:?}, expected [n, h, w]"
        )));
    };
    let mut warnings = Vec::new();
    let (ticks, tick) = match file.dataset("timestamps") {
        Ok(dataset) => (read_timestamps(&dataset, t).map_err(broken)?, 1000),
        Err(_) => {
            warnings.push("no dataset `timestamps`: 10 frames per second are assumed".to_owned());
            let t = usize::try_from(t).ok().filter(|&t| t <= MAX_READ_BYTES / 8);
            let t = t.ok_or_else(|| broken("`frames` claims too many frames".into()))?;
            ((0..t as i64).collect(), 10)
        }
    };
    let end = ticks.last().copied().unwrap_or(0);
    let tick = Rational::new(1, tick).expect("positive");
    let timing = timing(&ticks, end, tick).ok_or_else(|| broken("`frames` is empty".into()))?;
    warnings.extend(timing.warnings);
    let size = Size {
        height: height as usize,
        width: width as usize,
    };
    let info = MediaInfo {
        path: path.to_owned(),
        kind: MediaKind::Thermal,
        backend: Backend::Rust,
        container: "hdf5".into(),
        codec: "float32".into(),
        size,
        rotation_deg: 0,
        channels: 1,
        bit_depth: 32,
        frame_rate: timing.frame_rate,
        declared_frames: Some(t),
        timeline: timing.timeline,
        warnings,
    };
    let mut recording = Recording { frames, size };
    recording
        .read_rows(0, 1)
        .map_err(|detail| broken(format!("`frames` cannot be read: {detail}")))?;
    FrameReader::boxed(info, recording)
}

fn dataset_names(file: &Hdf5File) -> String {
    let datasets = file
        .root_group()
        .and_then(|group| group.datasets())
        .unwrap_or_default();
    let names: Vec<_> = datasets
        .iter()
        .map(|dataset| format!("`{}`", dataset.name()))
        .collect();
    if names.is_empty() {
        "no dataset".into()
    } else {
        names.join(", ")
    }
}

fn read_timestamps(dataset: &Dataset, frames: u64) -> Result<Vec<i64>, String> {
    if dataset.shape() != [frames] {
        let shape = dataset.shape();
        return Err(format!(
            "`timestamps` has shape {shape:?}, `frames` has {frames} frames"
        ));
    }
    let values = dataset
        .read_array::<i64>()
        .map_err(|error| format!("`timestamps` cannot be read as milliseconds: {error}"))?;
    Ok(values.into_iter().collect())
}

struct Recording {
    frames: Dataset,
    size: Size,
}

impl Recording {
    /// Frames `[start, end)`.
    fn read_rows(&mut self, start: usize, end: usize) -> Result<Vec<f32>, String> {
        let range = |start: usize, end: usize| SliceInfoElem::Slice {
            start: start as u64,
            end: end as u64,
            step: 1,
        };
        let selections = vec![
            range(start, end),
            range(0, self.size.height),
            range(0, self.size.width),
        ];
        let values = self
            .frames
            .read_slice::<f32>(&SliceInfo { selections })
            .map_err(|error| error.to_string())?;
        Ok(values.into_iter().collect())
    }
}

impl FrameDecoder<f32> for Recording {
    fn decode(&mut self, wanted: &[usize], out: &mut [f32]) -> Result<(), FrameError> {
        let frame_len = self.size.height * self.size.width;
        let mut out = out.chunks_exact_mut(frame_len);
        // Frames next to each other are read at once.
        for run in wanted.chunk_by(|a, b| a + 1 == *b) {
            let (start, end) = (run[0], run[0] + run.len());
            let values = self
                .read_rows(start, end)
                .map_err(|detail| FrameError::decode(start, detail))?;
            if values.len() != run.len() * frame_len {
                return Err(FrameError::decode(
                    start,
                    "the dataset is shorter than its shape",
                ));
            }
            for (frame, out) in values.chunks_exact(frame_len).zip(&mut out) {
                out.copy_from_slice(frame);
            }
        }
        Ok(())
    }
}
