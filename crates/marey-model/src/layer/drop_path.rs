//! Stochastic depth (Huang et al., 2016).

use burn::{
    module::{Flag, Module, Param},
    tensor::{Distribution, Tensor},
};

/// In training, drops the residual branch of some samples and scales up that of the others.
#[derive(Module, Debug)]
pub struct DropPath {
    probability: f64,
    training: Param<Flag>,
}

impl DropPath {
    /// Drops with `probability`, in `[0, 1)`.
    ///
    /// # Panics
    /// If `probability` is outside.
    pub fn new(probability: f64) -> Self {
        assert!(
            (0.0..1.0).contains(&probability),
            "probability {probability} of a dropped path"
        );
        Self {
            probability,
            training: Param::from_bool(true),
        }
    }

    /// Does [`DropPath::forward`] change `x`: is there something to drop, in training?
    pub fn drops(&self, x: &Tensor<4>) -> bool {
        self.probability > 0.0 && self.training.is_enabled() && x.device().is_autodiff()
    }

    /// # Shapes
    /// - `x` and output: `[b, h, w, c]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if !self.drops(&x) {
            return x;
        }
        let kept = 1.0 - self.probability;
        let mask = Tensor::<4>::random(
            [x.dims()[0], 1, 1, 1],
            Distribution::Bernoulli(kept),
            &x.device(),
        );
        let mask = mask.cast(x.dtype());
        x * mask / kept
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn samples_are_dropped_whole_in_training_only() {
        let device = Device::flex().autodiff();
        device.seed(3);
        let path = DropPath::new(0.5);
        let y = path
            .forward(Tensor::ones([64, 2, 1, 3], &device))
            .into_data()
            .try_into_vec::<f32>()
            .expect("f32");
        let samples: Vec<_> = y.chunks(6).collect();
        assert!(
            samples
                .iter()
                .all(|sample| sample == &[0.0; 6] || sample == &[2.0; 6])
        );
        assert!(samples.iter().any(|s| s[0] == 0.0) && samples.iter().any(|s| s[0] == 2.0));
        let plain = path.forward(Tensor::ones([2, 1, 1, 1], &device.without_autodiff()));
        assert_eq!(
            plain.into_data().try_into_vec::<f32>().expect("f32"),
            [1.0, 1.0]
        );
    }
}
