//! The classifier of mmaction2's networks, with its names.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig},
    tensor::{Device, Tensor},
};

use crate::layer::{Init, Linear, LinearInit};

/// Dropout and a linear layer.
#[derive(Module, Debug)]
pub(super) struct ClsHead {
    dropout: Dropout,
    fc_cls: Linear,
}

impl ClsHead {
    /// First part of its parameters' names in a network that calls it `cls_head`.
    pub(super) const NAME: &'static str = "cls_head.fc_cls.";

    /// From width `d` to `k` classes; first weights with the standard deviation `std`, and the share `dropout` of the
    /// features dropped in training.
    pub(super) fn new(
        [d, k]: [usize; 2],
        std: f64,
        dropout: f64,
        init: &mut Init<'_>,
        device: &Device,
    ) -> Self {
        Self {
            dropout: DropoutConfig::new(dropout).init(),
            fc_cls: Linear::new([d, k], LinearInit::Normal(std), init, device),
        }
    }

    /// `[b, d]` to logits `[b, k]`.
    pub(super) fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        self.fc_cls.forward(self.dropout.forward(features))
    }

    /// The weights `[d]` of one class.
    pub(super) fn weights_of(&self, class: usize) -> Tensor<1> {
        self.fc_cls.weights_of(class)
    }

    pub(super) fn num_features(&self) -> usize {
        self.fc_cls.num_inputs()
    }

    pub(super) fn num_classes(&self) -> usize {
        self.fc_cls.num_outputs()
    }
}
