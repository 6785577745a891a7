//! One bundle with its device.

use burn::tensor::{Device, Tensor};
use marey_eval::Heat;
use marey_model::{Bundle, Card, Said};

/// A bundle that scores prepared clips.
#[derive(Debug)]
pub struct Member {
    bundle: Bundle,
    device: Device,
}

impl Member {
    pub(crate) fn new(bundle: Bundle, device: &Device) -> Self {
        Self {
            bundle,
            device: device.clone(),
        }
    }

    /// What the bundle says about itself.
    pub const fn card(&self) -> &Card {
        self.bundle.card()
    }

    /// The bundle.
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Everything that the model says of each of `dims[0]` prepared clips.
    ///
    /// # Shapes
    /// - `pixels`: `u8` `[b, t, h, w, 3]` = `dims`, as `Preprocess::spatial` gives them
    pub fn said(&self, pixels: Vec<u8>, dims: [usize; 5]) -> Vec<Said> {
        let input = self.card().preprocess.to_input(pixels, dims, &self.device);
        self.bundle.model().said(input)
    }

    /// As [`Predictor::heat`](crate::Predictor::heat).
    pub(crate) fn heat(&self, pixels: Vec<u8>, dims: [usize; 5], class: usize) -> Heat {
        let input = self.card().preprocess.to_input(pixels, dims, &self.device);
        let evidence = self.bundle.model().evidence(input, class);
        let [_, t, h, w] = evidence.places.dims();
        Heat {
            class: self.card().classes.name(class).to_owned(),
            dims: [t, h, w],
            values: values(evidence.places),
            over_time: values(evidence.over_time),
        }
    }
}

/// The values of a tensor, read back from the device.
fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data().convert::<f32>();
    data.try_into_vec().expect("converted to f32")
}
