//! Cast and normalise: bytes to the numbers that a model is given.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use pulp::{Arch, NullaryFnOnce};

/// `(x / 255 - mean) / std` for `u8` pixels `[b, t, h, w, 3]`, as `x * scale + offset` with one pair a channel.
pub(crate) fn normalize(
    pixels: Vec<u8>,
    dims: [usize; 5],
    mean: [f32; 3],
    std: [f32; 3],
    device: &Device,
) -> Tensor<5> {
    assert_eq!(dims[4], 3, "channels of a batch {dims:?}");
    assert_eq!(
        pixels.len(),
        dims.iter().product::<usize>(),
        "pixels of a batch {dims:?}"
    );
    let channels: [Channel; 3] = std::array::from_fn(|c| Channel {
        scale: 1.0 / (255.0 * std[c]),
        offset: -mean[c] / std[c],
    });
    if *device == Device::flex() {
        on_host(&pixels, dims, channels, device)
    } else {
        on_device(pixels, dims, channels, device)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Channel {
    scale: f32,
    offset: f32,
}

/// One pass over memory; the same by tensor operations takes three, with whole tensors between them.
fn on_host(pixels: &[u8], dims: [usize; 5], channels: [Channel; 3], device: &Device) -> Tensor<5> {
    let mut values = vec![0.0; pixels.len()];
    Arch::new().dispatch(Normalize {
        pixels,
        channels,
        values: &mut values,
    });
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// A quarter of the bytes to move to the device, and the arithmetic there.
fn on_device(
    pixels: Vec<u8>,
    dims: [usize; 5],
    channels: [Channel; 3],
    device: &Device,
) -> Tensor<5> {
    let pixels = Tensor::<5, Int>::from_data(TensorData::new(pixels, dims), (device, DType::U8));
    let row = |values: [f32; 3]| {
        Tensor::<5>::from_data(TensorData::new(values.to_vec(), [1, 1, 1, 1, 3]), device)
    };
    pixels.float() * row(channels.map(|c| c.scale)) + row(channels.map(|c| c.offset))
}

/// Values that are worked on together: a whole number of pixels and of vectors.
const BLOCK: usize = 48;

struct Normalize<'a> {
    pixels: &'a [u8],
    channels: [Channel; 3],
    values: &'a mut [f32],
}

impl NullaryFnOnce for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let scales: [f32; BLOCK] = std::array::from_fn(|i| self.channels[i % 3].scale);
        let offsets: [f32; BLOCK] = std::array::from_fn(|i| self.channels[i % 3].offset);
        for (values, pixels) in self.values.chunks_mut(BLOCK).zip(self.pixels.chunks(BLOCK)) {
            for (i, (value, &pixel)) in values.iter_mut().zip(pixels).enumerate() {
                *value = f32::from(pixel) * scales[i] + offsets[i];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tolerance;

    use super::*;

    #[test]
    fn host_and_device_give_the_same_numbers() {
        // 7 * 11 pixels are no whole number of blocks.
        let dims = [1, 1, 7, 11, 3];
        let pixels: Vec<u8> = (0..dims.iter().product::<usize>())
            .map(|i| (i * 37) as u8)
            .collect();
        let channels = [0.5, 1.0, 2.0].map(|x| Channel {
            scale: x / 255.0,
            offset: -x,
        });
        let device = Device::flex();
        let host = on_host(&pixels, dims, channels, &device).into_data();
        let other = on_device(pixels, dims, channels, &device).into_data();
        host.assert_approx_eq(&other, Tolerance::<f32>::absolute(1e-6));
    }
}
