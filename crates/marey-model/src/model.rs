//! Every model the toolkit can build, chosen at run time.

use burn::{module::Module, tensor::Tensor};

use crate::{
    AnomalyOutput, Arch, Evidence,
    arch::{
        C3d, FrameNet, I3d, MobileNet3d, Network, R3d, SegmentNet, SlowFast, SlowOnly, TwoStream,
        X3d,
    },
    boxed::Boxed,
    heads::Heads,
    weights,
};

/// A recogniser: a network of any architecture with its classifier.
#[derive(Module, Debug)]
pub struct Model {
    net: Net,
    heads: Heads,
    #[module(skip)]
    arch: Arch,
}

/// What a model says about clips.
#[derive(Clone, Debug)]
pub struct Output {
    /// One value a class, before softmax: `[b, k]`.
    pub logits: Tensor<2>,
    /// The same for each of [`Task::heads`](crate::Task::heads).
    pub heads: Vec<Tensor<2>>,
    /// What the heads of [`Task::Anomaly`](crate::Task::Anomaly) say.
    pub anomaly: Option<AnomalyOutput>,
}

/// The architectures. Adding one breaks the build wherever it must be handled.
#[derive(Module, Debug)]
pub(crate) enum Net {
    R3d(Boxed<R3d>),
    Frames(Boxed<FrameNet>),
    Segments(Boxed<SegmentNet>),
    TwoStream(Boxed<TwoStream>),
    SlowFast(Boxed<SlowFast>),
    SlowOnly(Boxed<SlowOnly>),
    X3d(Boxed<X3d>),
    I3d(Boxed<I3d>),
    C3d(Boxed<C3d>),
    MobileNet3d(Boxed<MobileNet3d>),
}

impl Net {
    pub(crate) fn num_features(&self) -> usize {
        self.network().num_features()
    }

    fn network(&self) -> &dyn Network {
        match self {
            Self::R3d(net) => &**net,
            Self::Frames(net) => &**net,
            Self::Segments(net) => &**net,
            Self::TwoStream(net) => &**net,
            Self::SlowFast(net) => &**net,
            Self::SlowOnly(net) => &**net,
            Self::X3d(net) => &**net,
            Self::I3d(net) => &**net,
            Self::C3d(net) => &**net,
            Self::MobileNet3d(net) => &**net,
        }
    }
}

impl Model {
    pub(crate) const fn new(arch: Arch, net: Net, heads: Heads) -> Self {
        Self { net, heads, arch }
    }

    /// Logits: one value a class, before softmax.
    ///
    /// The convolutions compute in the type of the clips, `f32`, `bf16` or `f16`, with weights and statistics in `f32`;
    /// what follows the pooled feature computes in `f32`, and so are the logits.
    ///
    /// # Shapes
    /// - `clips`: `[b, t, h, w, 3]`, any `t` from 1
    /// - output: `[b, k]`
    ///
    /// # Panics
    /// If the clips do not have 3 channels.
    pub fn forward(&self, clips: Tensor<5>) -> Tensor<2> {
        let net = self.net.network();
        net.classify(net.features(clips))
    }

    /// Logits as [`Model::forward`] gives them, and what the task's other heads say.
    ///
    /// # Shapes
    /// - `clips`: `[b, t, h, w, 3]`
    ///
    /// # Panics
    /// As [`Model::forward`].
    pub fn outputs(&self, clips: Tensor<5>) -> Output {
        let net = self.net.network();
        let features = net.features(clips);
        let (heads, anomaly) = self.heads.forward(features.clone());
        Output {
            logits: net.classify(features),
            heads,
            anomaly,
        }
    }

    /// Puts the centre of the Deep SVDD head at `center`, `[128]`, no coordinate nearer to 0 than 0.1 (Ruff et al., section
    /// 3.3). Without that head it does nothing.
    pub fn set_center(&self, center: Tensor<1>) {
        self.heads.set_center(center);
    }

    /// What the classifier sees.
    ///
    /// # Shapes
    /// - `clips`: `[b, t, h, w, 3]`
    /// - output: `[b, d]`
    ///
    /// # Panics
    /// As [`Model::forward`].
    pub fn features(&self, clips: Tensor<5>) -> Tensor<2> {
        self.net.network().features(clips)
    }

    /// What in clips speaks for the class at position `class`, whatever the model answers.
    ///
    /// # Shapes
    /// - `clips`: `[b, t, h, w, 3]`
    ///
    /// # Panics
    /// As [`Model::forward`]; if there is no such class, or the clips are on an autodiff device.
    pub fn evidence(&self, clips: Tensor<5>, class: usize) -> Evidence {
        self.net.network().evidence(clips, class)
    }

    /// Its architecture.
    pub const fn arch(&self) -> Arch {
        self.arch
    }

    /// Classes it tells apart.
    pub fn num_classes(&self) -> usize {
        self.net.network().num_classes()
    }

    /// Width of [`Model::features`].
    pub fn num_features(&self) -> usize {
        self.net.num_features()
    }

    /// Values that training learns; unlike Burn's `num_params`, without the running statistics.
    pub fn num_parameters(&self) -> usize {
        weights::parameters(self)
            .iter()
            .filter(|parameter| !weights::is_running_stat(&parameter.name))
            .map(|parameter| parameter.shape.iter().product::<usize>())
            .sum()
    }

    /// The heads beside the classifier.
    pub(crate) const fn heads(&self) -> &Heads {
        &self.heads
    }

    /// First part of the names of the classifier's parameters.
    pub(crate) fn head(&self) -> &'static str {
        self.net.network().head()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_small_to_move() {
        // Burn moves modules by value, several times deep; a test's thread has 2 MiB of stack.
        let size = size_of::<Model>();
        assert!(size < 4096, "{size} bytes");
    }
}
