//! Logits read back from the device.

use burn::tensor::Tensor;
use marey_kernel::in_pool;

use crate::Model;

impl Model {
    /// Logits read back from the device: for each clip one a class.
    ///
    /// # Shapes
    /// - `clips`: `[b, t, h, w, 3]`
    ///
    /// # Panics
    /// As [`Model::forward`], and if the device cannot give back its results.
    pub fn logits(&self, clips: Tensor<5>) -> Vec<Vec<f32>> {
        let logits = in_pool(|| self.forward(clips));
        let num_classes = logits.dims()[1];
        let values = logits
            .into_data()
            .convert::<f32>()
            .try_into_vec::<f32>()
            .expect("converted to f32");
        values
            .chunks_exact(num_classes)
            .map(<[f32]>::to_vec)
            .collect()
    }
}
