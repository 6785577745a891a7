//! Training steps on noise: whether a device trains at all, and how fast. No data, no run folder.

use std::time::Instant;

use burn::{
    optim::GradientsParams,
    tensor::{Device, Distribution, Int, Tensor, TensorData},
};
use marey_clip::rng_for;
use marey_model::ModelConfig;

use crate::{
    Error, OptimizerConfig, Precision, cross_entropy,
    update::{StepGradients, StepRule, loss_factor, update},
};

/// What [`train_on_noise`] trains.
#[derive(Clone, Copy, Debug)]
pub struct NoiseConfig<'a> {
    /// The model, from random weights.
    pub model: &'a ModelConfig,
    /// Its classes.
    pub num_classes: usize,
    /// Dimensions of the batch of noise, `[b, t, h, w, 3]`.
    pub dims: [usize; 5],
    /// What makes the steps.
    pub optimizer: &'a OptimizerConfig,
    /// What activations are stored as.
    pub precision: Precision,
    /// Steps to make.
    pub num_steps: usize,
}

/// One training step on noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseStep {
    /// Loss before the step.
    pub loss: f32,
    /// Seconds of forward, backward and update, until the device was done.
    pub seconds: f64,
    /// Seconds of these after the gradients were there: their norm and the update.
    pub update_seconds: f64,
}

/// Makes training steps, as a run makes them, of a fresh model on one batch of noise whose classes take turns. The first
/// step also makes the optimiser's state and finds memory, so it is slower than the rest.
///
/// # Errors
/// When the model cannot be built.
///
/// # Panics
/// If the device fails.
pub fn train_on_noise(config: &NoiseConfig<'_>, device: &Device) -> Result<Vec<NoiseStep>, Error> {
    let NoiseConfig {
        num_classes, dims, ..
    } = *config;
    let device = device.clone().autodiff();
    device.seed(0);
    let mut rng = rng_for(0, 0, 0, 0);
    let mut model = config.model.init(num_classes, &mut rng, &device)?;
    let mut optimizer = config.optimizer.init();
    let mut loss_scale = config.precision.loss_scale();
    let clips = Tensor::<5>::random(dims, Distribution::Default, &device);
    let clips = clips.cast(config.precision.dtype());
    let targets: Vec<i32> = (0..dims[0]).map(|idx| (idx % num_classes) as i32).collect();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [dims[0]]), &device);
    let rule = StepRule {
        lr: config.optimizer.lr(),
        clip_norm: None,
    };
    let mut steps = Vec::with_capacity(config.num_steps);
    for _ in 0..config.num_steps {
        let started = Instant::now();
        let loss = cross_entropy(model.forward(clips.clone()), targets.clone(), None, 0.0);
        let losses = vec![loss.clone().inner()];
        let loss = loss * loss_factor(loss_scale);
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        device.sync().expect("the device makes its steps");
        let gradients_done = Instant::now();
        let gradients = StepGradients { losses, grads };
        let (after, made) = update(model, gradients, rule, &mut optimizer, &mut loss_scale);
        model = after;
        device.sync().expect("the device makes its steps");
        steps.push(NoiseStep {
            loss: made.loss,
            seconds: started.elapsed().as_secs_f64(),
            update_seconds: gradients_done.elapsed().as_secs_f64(),
        });
    }
    Ok(steps)
}
