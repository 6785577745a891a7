//! Batch normalisation over the last axis, with PyTorch's meaning of momentum and running variance.

use std::{
    cell::Cell,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use burn::{
    module::{
        Content, Devices, Flag, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper,
        ModuleVisitor, Param, ParamId,
    },
    tensor::{Device, Tensor},
};
use marey_kernel::{Affine, Fused, NormOptions};

use super::{Activation, init::constant, op, trace::note};

/// Normalises each channel, scales and shifts it, and applies an activation (Ioffe and Szegedy, 2015).
///
/// In training (parameters on an autodiff device, layer not frozen) with the statistics of the batch, which also move
/// the running ones by `momentum`; else with the running ones. As in PyTorch, a batch is normalised with its biased
/// variance and moves the running one by its unbiased variance.
#[derive(Module, Debug)]
pub struct BatchNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: RunningStat,
    running_var: RunningStat,
    training: Param<Flag>,
    momentum: f64,
    epsilon: f64,
    #[module(skip)]
    activation: Activation,
}

impl BatchNorm {
    /// A norm over `channels` channels, followed by `activation`; momentum 0.1 and epsilon 1e-5, PyTorch's.
    pub fn new(channels: usize, activation: Activation, device: &Device) -> Self {
        Self {
            weight: constant(channels, 1.0, device),
            bias: constant(channels, 0.0, device),
            running_mean: RunningStat::new(Tensor::zeros([channels], device)),
            running_var: RunningStat::new(Tensor::ones([channels], device)),
            training: Param::from_bool(true),
            momentum: 0.1,
            epsilon: 1e-5,
            activation,
        }
    }

    /// The same with another summand on the variance.
    #[must_use]
    pub const fn with_epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// The same with another share of a batch's statistics in the running ones, in `(0, 1]`.
    #[must_use]
    pub const fn with_momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// # Shapes
    /// - `x` and output: `[.., c]`
    ///
    /// One value a channel has no variance, so a batch of that size goes through with the running statistics.
    ///
    /// # Panics
    /// If `c` is not the configured number of channels.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.run(x, None)
    }

    /// What the norm does to values in which nothing is trained: a factor and a summand a channel, and the activation
    /// after them. `None` on an autodiff device, where gradients or the batch's own statistics are wanted.
    pub fn fixed(&self, device: &Device) -> Option<Fused> {
        if device.is_autodiff() {
            return None;
        }
        let [mean, var] =
            [&self.running_mean, &self.running_var].map(|stat| stat.value().to_device(device));
        let gamma = self.weight.val() / (var + self.epsilon).sqrt();
        let beta = self.bias.val() - mean * gamma.clone();
        Some(Fused {
            affine: Affine { gamma, beta },
            residual: None,
            activation: self.activation,
        })
    }

    /// [`BatchNorm::fixed`] where a convolution takes it along: a GPU normalises in one launch, and would need more to
    /// find the factors.
    pub(super) fn fused(&self, device: &Device) -> Option<Fused> {
        marey_kernel::fuses_norms(device).then(|| self.fixed(device))?
    }

    /// [`BatchNorm::forward`], with `residual`, of the shape of `x`, added before the activation.
    pub(super) fn run<const D: usize>(
        &self,
        x: Tensor<D>,
        residual: Option<Tensor<D>>,
    ) -> Tensor<D> {
        let dims = x.dims();
        let channels = dims[D - 1];
        let [expected] = self.weight.dims();
        assert_eq!(
            channels, expected,
            "channels of {dims:?} and of the batch norm"
        );
        note(
            "norm",
            || format!("{channels} {:?}", self.activation),
            self,
            &x,
            Self::forward,
        );
        let num: usize = dims[..D - 1].iter().product();
        let is_training = x.device().is_autodiff() && self.training.is_enabled();
        let x = x.reshape([num, channels]);
        let residual = residual.map(|residual| residual.reshape([num, channels]));
        let options = NormOptions {
            epsilon: self.epsilon,
            activation: self.activation,
        };
        let affine = [self.weight.val(), self.bias.val()];
        if !is_training || num == 1 {
            let stats = [&self.running_mean, &self.running_var]
                .map(|stat| stat.value().to_device(&x.device()));
            return op::batch_norm(x, residual, affine, stats, options).reshape(dims);
        }
        let (y, [mean, var]) = op::batch_norm_train(x, residual, affine, options);
        let momentum = SHARE.get().unwrap_or(self.momentum);
        self.running_mean.approach(mean, momentum, 1.0);
        let unbiased = num as f64 / (num - 1) as f64;
        self.running_var.approach(var, momentum, unbiased);
        y.reshape(dims)
    }
}

thread_local! {
    /// How far this thread moves running statistics, where that is not each norm's own momentum.
    static SHARE: Cell<Option<f64>> = const { Cell::new(None) };
}

/// Runs `pass`, in which each batch norm of this thread moves its running statistics by `share` of the way, 0 to 1,
/// instead of its momentum. With 1 / n at the n-th batch, they become the plain mean over all batches (PyTorch's
/// `momentum=None`), which is what averaged weights need.
pub fn with_statistics_share<R>(share: f64, pass: impl FnOnce() -> R) -> R {
    /// Also after a panic, the thread goes on as before.
    struct Restore(Option<f64>);
    impl Drop for Restore {
        fn drop(&mut self) {
            SHARE.set(self.0);
        }
    }
    let _restore = Restore(SHARE.replace(Some(share)));
    pass()
}

/// A tensor that training moves without a gradient.
///
/// Burn's own `RunningState` keeps the last update aside until the next one, so a checkpoint would miss it, and shares
/// its value with clones of the module. This one is up to date at once, and a clone is a copy.
pub struct RunningStat {
    id: ParamId,
    value: Mutex<Tensor<1>>,
}

impl RunningStat {
    /// A statistic that starts as `value`.
    pub fn new(value: Tensor<1>) -> Self {
        Self::with_id(ParamId::new(), value)
    }

    /// Its value now.
    pub fn value(&self) -> Tensor<1> {
        self.lock().clone()
    }

    /// Moves the value by the share `momentum` of the way to `value * factor`.
    pub fn approach(&self, value: Tensor<1>, momentum: f64, factor: f64) {
        let device = value.device();
        let mut current = self.lock();
        let before = current.clone().to_device(&device).without_autodiff();
        let shares = [1.0 - momentum, momentum * factor];
        let after = marey_kernel::blend(before, value.without_autodiff(), shares);
        *current = after.to_device(&device);
    }

    fn with_id(id: ParamId, value: Tensor<1>) -> Self {
        Self {
            id,
            value: Mutex::new(value.set_require_grad(false)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tensor<1>> {
        // A tensor is replaced whole, so one that a panicking thread left behind is still a value.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for RunningStat {
    fn clone(&self) -> Self {
        Self::with_id(self.id, self.value())
    }
}

impl fmt::Debug for RunningStat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunningStat({})", self.id)
    }
}

impl fmt::Display for RunningStat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl ModuleDisplayDefault for RunningStat {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&"RunningStat".to_owned()).optional()
    }
}

impl ModuleDisplay for RunningStat {}

impl Module for RunningStat {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.visit_float(&Param::initialized(self.id, self.value()));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let (_, value, _) = mapper
            .map_float(Param::initialized(self.id, self.value()))
            .consume();
        Self::with_id(self.id, value)
    }

    fn to_device(self, device: &Device) -> Self {
        Self::with_id(self.id, self.value().to_device(device))
    }

    fn fork(self, device: &Device) -> Self {
        self.to_device(device)
    }

    fn collect_devices(&self, mut devices: Devices) -> Devices {
        let device = self.lock().device();
        if !devices.contains(&device) {
            devices.push(device);
        }
        devices
    }

    fn materialize(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        Self::with_id(self.id, self.value().without_autodiff())
    }

    fn train(self) -> Self {
        Self::with_id(self.id, Tensor::from_inner(self.value()))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tolerance;

    use super::*;

    fn values(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().try_into_vec().expect("f32")
    }

    #[test]
    fn training_moves_the_running_statistics_as_pytorch_does() {
        let device = Device::flex().autodiff();
        let norm = BatchNorm::new(2, Activation::Identity, &device);
        let x = Tensor::<2>::from_floats([[1.0, 0.0], [3.0, 0.0], [5.0, 6.0]], &device);
        norm.forward(x);
        // Means 3 and 2, unbiased variances 4 and 12; a tenth of the way from 0 and 1.
        let close = |stat: &RunningStat, expected: [f32; 2]| {
            let expected = Tensor::<1>::from_floats(expected, &device).into_data();
            stat.value()
                .into_data()
                .assert_approx_eq::<f32>(&expected, Tolerance::default());
        };
        close(&norm.running_mean, [0.3, 0.2]);
        close(&norm.running_var, [1.3, 2.1]);
    }

    #[test]
    fn statistics_become_the_mean_over_batches_where_asked_for() {
        let device = Device::flex().autodiff();
        let norm = BatchNorm::new(1, Activation::Identity, &device);
        let batches = [[[1.0], [3.0]], [[5.0], [5.0]], [[0.0], [6.0]]];
        for (idx, batch) in batches.into_iter().enumerate() {
            with_statistics_share(1.0 / (idx + 1) as f64, || {
                norm.forward(Tensor::<2>::from_floats(batch, &device))
            });
        }
        // Means 2, 5, 3 and unbiased variances 2, 0, 18.
        let [mean, var] =
            [&norm.running_mean, &norm.running_var].map(|stat| values(stat.value())[0]);
        assert!(
            (mean - 10.0 / 3.0).abs() < 1e-5 && (var - 20.0 / 3.0).abs() < 1e-5,
            "{mean} {var}"
        );
        // Afterwards by its own momentum again.
        norm.forward(Tensor::<2>::from_floats([[0.0], [0.0]], &device));
        assert!((values(norm.running_mean.value())[0] - 3.0).abs() < 1e-5);
    }

    #[test]
    fn a_residual_joins_before_the_activation() {
        for device in [Device::flex().autodiff(), Device::flex()] {
            let norm = BatchNorm::new(2, Activation::Relu, &device);
            let linear = BatchNorm::new(2, Activation::Identity, &device);
            let x = Tensor::<2>::from_floats([[1.0, -2.0], [3.0, 0.0], [5.0, 6.0]], &device);
            let residual =
                || Tensor::<2>::from_floats([[-9.0, 1.0], [2.0, -0.5], [0.0, 3.0]], &device);
            let fused = norm.run(x.clone(), Some(residual()));
            let apart = burn::tensor::activation::relu(linear.forward(x.clone()) + residual());
            fused
                .into_data()
                .assert_approx_eq::<f32>(&apart.into_data(), Tolerance::default());
        }
    }

    #[test]
    fn a_copy_and_a_validation_snapshot_keep_their_own_statistics() {
        let device = Device::flex().autodiff();
        let norm = BatchNorm::new(1, Activation::Identity, &device);
        let x = || Tensor::<2>::from_floats([[1.0], [3.0]], &device);
        norm.forward(x());
        let (copy, valid) = (norm.clone(), norm.valid());
        norm.forward(x());
        assert_eq!(values(copy.running_mean.value()), [0.2]);
        assert_eq!(values(valid.running_mean.value()), [0.2]);
        assert!((values(norm.running_mean.value())[0] - 0.38).abs() < 1e-6);
        assert!(!valid.running_mean.value().device().is_autodiff());
    }

    #[test]
    fn validation_and_a_single_value_leave_the_statistics_alone() {
        let device = Device::flex().autodiff();
        let norm = BatchNorm::new(1, Activation::Identity, &device);
        norm.forward(Tensor::<2>::from_floats([[7.0]], &device));
        norm.valid().forward(Tensor::<2>::from_floats(
            [[7.0], [8.0]],
            &device.clone().without_autodiff(),
        ));
        assert_eq!(values(norm.running_mean.value()), [0.0]);
        assert_eq!(values(norm.running_var.value()), [1.0]);
    }
}
