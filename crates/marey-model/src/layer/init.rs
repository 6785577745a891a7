//! Initial values of parameters, drawn on the host: the same on every device for the same generator.

use burn::{
    module::Param,
    tensor::{Device, Tensor, TensorData},
};
use marey_clip::SeededRng;
use rand::Rng;

/// Where the initial values of parameters come from.
#[derive(Debug)]
pub enum Init<'a> {
    /// Drawn, as each layer says.
    Random(&'a mut SeededRng),
    /// All zero: for a model whose parameters are about to be read from a file.
    Zeros,
}

impl Init<'_> {
    /// Normally distributed values with mean 0 and standard deviation `std`.
    pub fn normal<const D: usize>(
        &mut self,
        dims: [usize; D],
        std: f64,
        device: &Device,
    ) -> Param<Tensor<D>> {
        self.fill(dims, device, |rng, values| {
            // Box and Muller's pairs, in f64 so that the tails are not cut short.
            for pair in values.chunks_mut(2) {
                let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt() * std;
                let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
                for (value, part) in pair.iter_mut().zip([cos, sin]) {
                    *value = (radius * part) as f32;
                }
            }
        })
    }

    /// Values spread evenly over `[-bound, bound)`.
    pub fn uniform<const D: usize>(
        &mut self,
        dims: [usize; D],
        bound: f64,
        device: &Device,
    ) -> Param<Tensor<D>> {
        self.fill(dims, device, |rng, values| {
            values.fill_with(|| ((rng.random::<f64>() * 2.0 - 1.0) * bound) as f32);
        })
    }

    fn fill<const D: usize>(
        &mut self,
        dims: [usize; D],
        device: &Device,
        draw: impl FnOnce(&mut SeededRng, &mut [f32]),
    ) -> Param<Tensor<D>> {
        let mut values = vec![0.0; dims.iter().product()];
        if let Self::Random(rng) = self {
            draw(rng, &mut values);
        }
        Param::from_data(TensorData::new(values, dims), device)
    }
}

/// `num` times `value`: where every layer starts alike.
pub(super) fn constant(num: usize, value: f32, device: &Device) -> Param<Tensor<1>> {
    Param::from_data(TensorData::new(vec![value; num], [num]), device)
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;

    fn check(param: Param<Tensor<1>>, expected_std: f64, expected_max: f64) {
        let values = param.val().into_data().try_into_vec::<f32>().expect("f32");
        let num = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / num;
        let var = values
            .iter()
            .map(|&v| (f64::from(v) - mean).powi(2))
            .sum::<f64>()
            / num;
        let max = values.iter().fold(0f32, |max, v| max.max(v.abs()));
        // Five standard errors, the draw being fixed by the seed.
        assert!(mean.abs() < 5.0 * expected_std / num.sqrt(), "mean {mean}");
        assert!(
            (var.sqrt() / expected_std - 1.0).abs() < 0.02,
            "deviation {} for {expected_std}",
            var.sqrt()
        );
        assert!(f64::from(max) < expected_max, "largest {max}");
    }

    #[test]
    fn draws_have_the_stated_spread() {
        let device = Device::flex();
        let mut rng = rng_for(3, 0, 0, 0);
        let mut init = Init::Random(&mut rng);
        check(init.normal([40_001], 0.2, &device), 0.2, 0.2 * 6.0);
        check(
            init.uniform([40_001], 0.3, &device),
            0.3 / 3f64.sqrt(),
            0.300_001,
        );
    }

    #[test]
    fn a_generator_gives_the_same_values_on_a_training_device() {
        let values = |device: &Device| {
            let mut rng = rng_for(3, 0, 0, 0);
            Init::Random(&mut rng)
                .normal([33], 1.0, device)
                .val()
                .into_data()
                .try_into_vec::<f32>()
                .expect("f32")
        };
        assert_eq!(values(&Device::flex()), values(&Device::flex().autodiff()));
    }
}
