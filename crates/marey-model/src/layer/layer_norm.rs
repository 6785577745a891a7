//! Layer normalisation (Ba, Kiros and Hinton, 2016), with PyTorch's names and epsilon.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};

use super::{init::constant, trace::note};

/// Brings each row of the last axis to mean 0 and variance 1, then scales and shifts it.
#[derive(Module, Debug)]
pub struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNorm {
    /// For rows of `d` values; epsilon 1e-5.
    pub fn new(d: usize, device: &Device) -> Self {
        Self {
            weight: constant(d, 1.0, device),
            bias: constant(d, 0.0, device),
            epsilon: 1e-5,
        }
    }

    /// # Shapes
    /// - `x` and output: `[.., d]`
    ///
    /// # Panics
    /// If `d` is not the configured width.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let label = || format!("{} layer", self.weight.dims()[0]);
        note("norm", label, self, &x, Self::forward);
        let (normal, _) = self.normal(x);
        normal * self.weight.val().unsqueeze() + self.bias.val().unsqueeze()
    }

    /// The gradient of the input from that of the output.
    ///
    /// # Shapes
    /// - `x`, `grad` and output: `[.., d]`
    pub(crate) fn input_gradient<const D: usize>(
        &self,
        x: Tensor<D>,
        grad: Tensor<D>,
    ) -> Tensor<D> {
        let (normal, deviation) = self.normal(x);
        let grad = grad * self.weight.val().unsqueeze();
        let along = (grad.clone() * normal.clone()).mean_dim(D - 1);
        let mean = grad.clone().mean_dim(D - 1);
        (grad - mean - normal * along) / deviation
    }

    /// Rows of mean 0 and variance 1, and by what they were divided.
    fn normal<const D: usize>(&self, x: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
        let centred = x.clone() - x.mean_dim(D - 1);
        let variance = centred.clone().powi_scalar(2).mean_dim(D - 1);
        let deviation = (variance + self.epsilon).sqrt();
        (centred / deviation.clone(), deviation)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tolerance;

    use super::*;

    #[test]
    fn a_row_gets_mean_0_and_variance_1() {
        let device = Device::flex();
        let norm = LayerNorm::new(4, &device);
        let x = Tensor::<2>::from_floats([[1.0, 3.0, 1.0, 3.0]], &device);
        let expected = Tensor::<2>::from_floats([[-1.0, 1.0, -1.0, 1.0]], &device) / 1.000_005;
        let y = norm.forward(x).into_data();
        y.assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-6));
    }
}
