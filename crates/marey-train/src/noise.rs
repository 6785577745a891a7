//! Training on noise: whether a device trains at all, how fast, and where the time goes. No data, no run folder.

use std::{hint::black_box, time::Instant};

use burn::{
    optim::GradientsParams,
    tensor::{Device, Distribution, Tensor, TensorData},
};
use marey_clip::rng_for;
use marey_model::{
    Model, ModelConfig,
    layer::{LayerCall, trace},
};
use rand::Rng;

use crate::{
    Error, Loss, LossScale, Optimizer, OptimizerConfig, Precision, one_hot,
    update::{StepGradients, StepRule, loss_factor, update},
};

/// What a [`NoiseTrainer`] trains.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseConfig {
    /// The model.
    pub model: ModelConfig,
    /// Classes, at least 1.
    pub num_classes: usize,
    /// The batch, `[b, t, h, w, 3]`.
    pub dims: [usize; 5],
    /// What activations are stored as.
    pub precision: Precision,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
}

/// Trains a fresh model on one batch of noise, whose classes take turns.
pub struct NoiseTrainer {
    /// `None` only while the optimiser holds it.
    model: Option<Model>,
    optimizer: Optimizer,
    rule: StepRule,
    loss_scale: Option<LossScale>,
    clips: Tensor<5>,
    targets: Tensor<2>,
    device: Device,
}

/// A whole training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseStep {
    /// Loss before the step.
    pub loss: f32,
    /// Seconds of forward, backward and update, until the device was done.
    pub seconds: f64,
}

/// The parts of a training step, each in seconds until the device was done with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepParts {
    /// From the clips to the loss.
    pub forward: f64,
    /// From the loss to the gradients.
    pub backward: f64,
    /// From the gradients to the new weights, the gradients' norm included.
    pub update: f64,
}

/// What a layer costs by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerTime {
    /// [`LayerCall::kind`].
    pub kind: &'static str,
    /// [`LayerCall::label`].
    pub label: String,
    /// Shape of the input.
    pub dims: Vec<usize>,
    /// How often the model has it, at least 1.
    pub times: usize,
    /// Seconds of one forward pass, the median of several.
    pub forward: f64,
    /// Seconds of its backward pass: gradients of the input (unless it is the clips) and the parameters.
    pub backward: f64,
}

impl NoiseTrainer {
    /// The first step also makes the optimiser's state and finds memory, so it is slower than the rest.
    ///
    /// # Errors
    /// When the model cannot be built.
    pub fn new(config: &NoiseConfig, device: &Device) -> Result<Self, Error> {
        let device = device.clone().autodiff();
        device.seed(0);
        let rng = &mut rng_for(0, 0, 0, 0);
        let model = config.model.init(config.num_classes, rng, &device)?;
        // From the host: the device's generator is shared with whatever else runs in the process.
        let clips = (0..config.dims.iter().product()).map(|_| rng.random::<f32>());
        let clips = TensorData::new(clips.collect::<Vec<f32>>(), config.dims);
        let num_clips = config.dims[0];
        let targets: Vec<usize> = (0..num_clips).map(|idx| idx % config.num_classes).collect();
        Ok(Self {
            model: Some(model),
            optimizer: config.optimizer.init(),
            rule: StepRule {
                lr: config.optimizer.lr(),
                clip_norm: None,
            },
            loss_scale: config.precision.loss_scale(),
            clips: Tensor::<5>::from_data(clips, &device).cast(config.precision.dtype()),
            targets: one_hot(&targets, config.num_classes, &device),
            device,
        })
    }

    /// The model as it is now, without autodiff.
    pub fn valid(&self) -> Model {
        burn::module::Module::valid(self.model())
    }

    /// Makes a step.
    ///
    /// # Panics
    /// If the device fails.
    pub fn step(&mut self) -> NoiseStep {
        let started = Instant::now();
        let loss = self.forward();
        let gradients = self.backward(loss);
        let loss = self.update(gradients);
        self.wait();
        NoiseStep {
            loss,
            seconds: started.elapsed().as_secs_f64(),
        }
    }

    /// Makes the same step, but waits for the device after each part. Together they take at least as long as
    /// [`NoiseTrainer::step`], and longer on a device that works while the host prepares the next part.
    ///
    /// # Panics
    /// If the device fails.
    pub fn step_in_parts(&mut self) -> StepParts {
        let started = Instant::now();
        let loss = self.forward();
        self.wait();
        let forward = started.elapsed().as_secs_f64();
        let gradients = self.backward(loss);
        self.wait();
        let backward = started.elapsed().as_secs_f64() - forward;
        self.update(gradients);
        self.wait();
        StepParts {
            forward,
            backward,
            update: started.elapsed().as_secs_f64() - forward - backward,
        }
    }

    /// Runs each different layer of the model by itself on noise of its shape, `repeats` times after one that warms up,
    /// and gives medians in the order of the model.
    ///
    /// Alone, a layer finds more of its weights and less of its input in the caches than inside a step. What is no
    /// layer (additions, activations on their own, the loss, the bookkeeping of gradients) is not here.
    ///
    /// # Panics
    /// If `repeats` is 0, or the device fails.
    pub fn layers(&self, repeats: usize) -> Vec<LayerTime> {
        assert!(repeats > 0, "a median needs a time");
        let (_, calls) = trace(|| self.model().forward(self.clips.clone()));
        let mut layers: Vec<LayerTime> = Vec::new();
        for (idx, call) in calls.iter().enumerate() {
            let known = layers.iter_mut().find(|layer| {
                (layer.kind, &layer.label, &layer.dims) == (call.kind, &call.label, &call.dims)
            });
            if let Some(known) = known {
                known.times += 1;
                continue;
            }
            // Only the first layer sees the clips, which need no gradient.
            let [forward, backward] = self.time_layer(call, idx > 0, repeats);
            layers.push(LayerTime {
                kind: call.kind,
                label: call.label.clone(),
                dims: call.dims.clone(),
                times: 1,
                forward,
                backward,
            });
        }
        layers
    }

    /// Median seconds of a layer's two passes.
    fn time_layer(&self, call: &LayerCall, has_gradient: bool, repeats: usize) -> [f64; 2] {
        let len: usize = call.dims.iter().product();
        let x = Tensor::<1>::random([len], Distribution::Default, &self.device).cast(call.dtype);
        let mut times = [Vec::new(), Vec::new()];
        for repeat in 0..=repeats {
            let x = x.clone().detach().set_require_grad(has_gradient);
            self.wait();
            let started = Instant::now();
            let y = call.run(x);
            self.wait();
            let forward = started.elapsed().as_secs_f64();
            black_box(y.backward());
            self.wait();
            let backward = started.elapsed().as_secs_f64() - forward;
            if repeat > 0 {
                times[0].push(forward);
                times[1].push(backward);
            }
        }
        times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        })
    }

    fn model(&self) -> &Model {
        self.model
            .as_ref()
            .expect("the model is put back at the end of every step")
    }

    fn forward(&self) -> Tensor<1> {
        let logits = self.model().forward(self.clips.clone());
        Loss::cross_entropy().forward(logits, self.targets.clone())
    }

    fn backward(&self, loss: Tensor<1>) -> StepGradients {
        let losses = vec![loss.clone().inner()];
        let loss = loss * loss_factor(self.loss_scale);
        let grads = GradientsParams::from_grads(loss.backward(), self.model());
        StepGradients { losses, grads }
    }

    /// The loss before the step.
    fn update(&mut self, gradients: StepGradients) -> f32 {
        let model = self
            .model
            .take()
            .expect("the model is put back at the end of every step");
        let (model, made) = update(
            model,
            gradients,
            self.rule,
            &mut self.optimizer,
            &mut self.loss_scale,
        );
        self.model = Some(model);
        made.loss
    }

    fn wait(&self) {
        self.device.sync().expect("the device makes its steps");
    }
}

#[cfg(test)]
mod tests {
    use marey_model::Arch;

    use super::*;

    fn trainer() -> NoiseTrainer {
        let mut model = ModelConfig::new(Arch::R3d18);
        model.width = Some(0.125);
        let config = NoiseConfig {
            model,
            num_classes: 2,
            dims: [2, 2, 16, 16, 3],
            precision: Precision::F32,
            optimizer: OptimizerConfig::Sgd {
                lr: 0.01,
                weight_decay: 0.0,
                momentum: 0.9,
            },
        };
        NoiseTrainer::new(&config, &Device::flex()).expect("a valid model")
    }

    #[test]
    fn a_step_in_parts_is_a_step() {
        let (mut whole, mut parts) = (trainer(), trainer());
        let first = whole.step().loss;
        parts.step_in_parts();
        let second = whole.step().loss;
        assert_eq!(parts.step().loss, second);
        assert_ne!(first, second, "a step changes the loss");
    }

    #[test]
    fn layers_are_timed_once_for_each_kind_and_shape() {
        let layers = trainer().layers(1);
        let times = |kind| {
            let of_kind = layers.iter().filter(|layer| layer.kind == kind);
            of_kind.map(|layer| layer.times).sum::<usize>()
        };
        assert_eq!(["conv", "norm", "linear"].map(times), [20, 20, 1]);
        let stage =
            |layer: &&LayerTime| layer.label == "3x3x3 8-8" && layer.dims[1..] == [2, 8, 8, 8];
        let stage: Vec<&LayerTime> = layers.iter().filter(stage).collect();
        assert!(stage.len() == 1 && stage[0].times == 4, "{layers:?}");
        assert!(
            layers
                .iter()
                .all(|layer| layer.forward > 0.0 && layer.backward > 0.0),
            "{layers:?}"
        );
    }
}
