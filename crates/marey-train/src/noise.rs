//! Training steps on noise: whether a device trains at all, and how fast. No data, no run folder.

use std::time::Instant;

use burn::{
    optim::GradientsParams,
    tensor::{Device, Distribution, Int, Tensor, TensorData},
};
use marey_clip::rng_for;
use marey_model::ModelConfig;

use crate::{Error, OptimizerConfig, cross_entropy};

/// One training step on noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseStep {
    /// Loss before the step.
    pub loss: f32,
    /// Seconds of forward, backward and update, until the device was done.
    pub seconds: f64,
}

/// Makes `num_steps` training steps of a fresh model on one batch of noise `dims` = `[b, t, h, w, 3]`, whose classes take
/// turns. The first step also makes the optimiser's state and finds memory, so it is slower than the rest.
///
/// # Errors
/// When the model cannot be built.
///
/// # Panics
/// If the device fails.
pub fn train_on_noise(
    model: &ModelConfig,
    num_classes: usize,
    dims: [usize; 5],
    optimizer: &OptimizerConfig,
    num_steps: usize,
    device: &Device,
) -> Result<Vec<NoiseStep>, Error> {
    let device = device.clone().autodiff();
    device.seed(0);
    let mut model = model.init(num_classes, &mut rng_for(0, 0, 0, 0), &device)?;
    let mut state = optimizer.init();
    let clips = Tensor::<5>::random(dims, Distribution::Default, &device);
    let targets: Vec<i32> = (0..dims[0]).map(|idx| (idx % num_classes) as i32).collect();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [dims[0]]), &device);
    let mut steps = Vec::with_capacity(num_steps);
    for _ in 0..num_steps {
        let started = Instant::now();
        let loss = cross_entropy(model.forward(clips.clone()), targets.clone(), None, 0.0);
        let value = loss.clone().inner();
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = state.step(optimizer.lr(), model, grads);
        device.sync().expect("the device makes its steps");
        let seconds = started.elapsed().as_secs_f64();
        steps.push(NoiseStep {
            loss: value.into_scalar::<f32>(),
            seconds,
        });
    }
    Ok(steps)
}
