//! The architectures, one file each, to be read from top to bottom as their papers are.

mod r3d;

mod efficientnet;

mod efficientnet_bilstm;

pub use efficientnet::{EfficientNet, EfficientNetConfig};
pub use efficientnet_bilstm::{EfficientNetBiLstm, EfficientNetBiLstmConfig};
pub use r3d::{R3d, R3dConfig};

/// `channels * width`, to a multiple of 8 that is at least 8 and at most a tenth less, as EfficientNet scales.
fn scaled_channels(channels: usize, width: f64) -> usize {
    let wanted = channels as f64 * width;
    let near = ((wanted + 4.0) as usize / 8 * 8).max(8);
    if (near as f64) < 0.9 * wanted {
        near + 8
    } else {
        near
    }
}
