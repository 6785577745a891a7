//! Files as named tensors, whichever container they are in. Nothing of a file is executed.

use std::{
    fs::{self, File},
    io::Read,
    ops::Range,
    path::Path,
    sync::Arc,
};

use half::{bf16, f16};
use pytorch_reader::{DType, PytorchReader};
use safetensors::{Dtype, SafeTensors};

use crate::{Error, ErrorKind};

/// Key of the metadata under which our own files name their layout.
pub(super) const LAYOUT_KEY: &str = "layout";
/// Our own layout, channels last.
pub(super) const LAYOUT: &str = "channels_last";

/// How a file lays out convolution weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// `[o, i, (kt,) kh, kw]`.
    PyTorch,
    /// `[o, (kt,) kh, kw, i]`.
    ChannelsLast,
}

/// A file's tensors; their values are read when asked for.
pub(super) struct TensorFile {
    pub(super) layout: Layout,
    pub(super) tensors: Vec<Stored>,
}

/// One tensor of a file.
#[derive(Clone)]
pub(super) struct Stored {
    /// Its full name in the file.
    pub(super) name: String,
    /// Its shape in the file's layout.
    pub(super) shape: Vec<usize>,
    source: Source,
}

#[derive(Clone)]
enum Source {
    PyTorch(pytorch_reader::Tensor),
    Safetensors {
        bytes: Arc<Vec<u8>>,
        range: Range<usize>,
        dtype: Dtype,
    },
}

/// The tensors of the file at `path`, sorted by name.
pub(super) fn open(path: &Path) -> Result<TensorFile, Error> {
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(9).read_to_end(&mut start))
        .map_err(Error::io(path, "open the weights file"))?;
    // A safetensors file starts with the length of its header, in 8 bytes, and the header's brace. No container of
    // PyTorch's has a brace there.
    let is_safetensors = start.get(8) == Some(&b'{');
    let mut file = if is_safetensors {
        open_safetensors(path)?
    } else {
        open_pytorch(path)?
    };
    file.tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(file)
}

fn open_pytorch(path: &Path) -> Result<TensorFile, Error> {
    let unreadable = |error: pytorch_reader::PytorchError| {
        Error::at(
            path,
            ErrorKind::Unreadable {
                problem: error.to_string(),
            },
        )
    };
    let reader = PytorchReader::new(path).map_err(unreadable)?;
    let stored = |(name, tensor): (String, pytorch_reader::Tensor)| {
        let shape = tensor.shape().to_vec();
        Stored {
            name,
            shape,
            source: Source::PyTorch(tensor),
        }
    };
    let tensors = reader.into_tensors().into_iter().map(stored).collect();
    Ok(TensorFile {
        layout: Layout::PyTorch,
        tensors,
    })
}

fn open_safetensors(path: &Path) -> Result<TensorFile, Error> {
    let bytes = Arc::new(fs::read(path).map_err(Error::io(path, "read the weights file"))?);
    let unreadable = |error: safetensors::SafeTensorError| {
        Error::at(
            path,
            ErrorKind::Unreadable {
                problem: format!("no safetensors: {error}"),
            },
        )
    };
    let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(unreadable)?;
    // Checks that offsets lie inside the file and fit the shapes.
    SafeTensors::deserialize(&bytes).map_err(unreadable)?;
    let start = size_of::<u64>() + header;
    let stored = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let (from, to) = info.data_offsets;
        let (bytes, range) = (Arc::clone(&bytes), start + from..start + to);
        Stored {
            name,
            shape: info.shape.clone(),
            source: Source::Safetensors {
                bytes,
                range,
                dtype: info.dtype,
            },
        }
    };
    let tensors = metadata.tensors().into_iter().map(stored).collect();
    let layout = match metadata
        .metadata()
        .as_ref()
        .and_then(|about| about.get(LAYOUT_KEY))
    {
        None => Layout::PyTorch,
        Some(layout) if layout == LAYOUT => Layout::ChannelsLast,
        Some(layout) => {
            let problem = format!("its layout is `{layout}`, which this program does not know");
            return Err(Error::at(path, ErrorKind::Unreadable { problem }));
        }
    };
    Ok(TensorFile { layout, tensors })
}

impl Stored {
    /// Its values as `f32`, in the file's layout.
    ///
    /// # Errors
    /// A sentence, when the tensor holds no floats, cannot be read, or holds a value that is not finite.
    pub(super) fn values(&self) -> Result<Vec<f32>, String> {
        let values = match &self.source {
            Source::PyTorch(tensor) => {
                let bytes = tensor.read().map_err(|error| error.to_string())?;
                match tensor.dtype() {
                    DType::F32 => floats(&bytes, f32::from_ne_bytes),
                    DType::F64 => floats(&bytes, |b| f64::from_ne_bytes(b) as f32),
                    DType::F16 => floats(&bytes, |b| f16::from_ne_bytes(b).to_f32()),
                    DType::BF16 => floats(&bytes, |b| bf16::from_ne_bytes(b).to_f32()),
                    other => return Err(format!("it holds {other:?}, expected floats")),
                }
            }
            Source::Safetensors {
                bytes,
                range,
                dtype,
            } => {
                let bytes = &bytes[range.clone()];
                match dtype {
                    Dtype::F32 => floats(bytes, f32::from_le_bytes),
                    Dtype::F64 => floats(bytes, |b| f64::from_le_bytes(b) as f32),
                    Dtype::F16 => floats(bytes, |b| f16::from_le_bytes(b).to_f32()),
                    Dtype::BF16 => floats(bytes, |b| bf16::from_le_bytes(b).to_f32()),
                    other => return Err(format!("it holds {other:?}, expected floats")),
                }
            }
        };
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(format!(
                "it holds {value}; the training that wrote it diverged"
            )),
            None => Ok(values),
        }
    }
}

fn floats<const N: usize>(bytes: &[u8], float: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|&chunk| float(chunk))
        .collect()
}

/// `shape` of a parameter of ours, as the file lays it out.
pub(super) fn shape_in(layout: Layout, shape: &[usize]) -> Vec<usize> {
    match (layout, shape) {
        (Layout::PyTorch, [o, kernel @ .., i]) if is_convolution(shape) => {
            [&[*o, *i], kernel].concat()
        }
        _ => shape.to_vec(),
    }
}

/// Values of a tensor of the file, in the order of our parameter of shape `shape`.
pub(super) fn to_ours(layout: Layout, values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
    match (layout, shape) {
        (Layout::PyTorch, [_, kernel @ .., i]) if is_convolution(shape) => {
            let num_taps: usize = kernel.iter().product();
            let mut ours = Vec::with_capacity(values.len());
            // An empty tensor has no filter, so a chunk of at least 1 changes nothing.
            for filter in values.chunks_exact((i * num_taps).max(1)) {
                for tap in 0..num_taps {
                    ours.extend((0..*i).map(|channel| filter[channel * num_taps + tap]));
                }
            }
            ours
        }
        _ => values,
    }
}

/// Every parameter of four or five dimensions in these models is a convolution's weight.
const fn is_convolution(shape: &[usize]) -> bool {
    shape.len() >= 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn convolution_weights_turn_channels_last() {
        // Two filters over two channels and a 1x1x3 kernel; the value says filter, channel, tap.
        let theirs = vec![
            0., 1., 2., 10., 11., 12., 100., 101., 102., 110., 111., 112.,
        ];
        let shape = [2, 1, 1, 3, 2];
        assert_eq!(shape_in(Layout::PyTorch, &shape), [2, 2, 1, 1, 3]);
        assert_eq!(
            to_ours(Layout::PyTorch, theirs.clone(), &shape),
            [
                0., 10., 1., 11., 2., 12., 100., 110., 101., 111., 102., 112.
            ]
        );
        assert_eq!(
            to_ours(Layout::ChannelsLast, theirs.clone(), &shape),
            theirs
        );
        assert_eq!(to_ours(Layout::PyTorch, theirs.clone(), &[4, 3]), theirs);
    }
}
