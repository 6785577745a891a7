//! C3D: eight 3x3x3 convolutions, five poolings, and three linear layers (Tran et al., "Learning Spatiotemporal Features
//! with 3D Convolutional Networks", ICCV 2015, figure 3), with mmaction2's names.
//!
//! Letters: b batch, t frames, h height, w width, c channels, d values of a linear layer, k classes.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig},
    tensor::{Device, FloatDType, Tensor, activation::relu, assert_shape},
};

use super::{Network, cls_head::ClsHead, scaled_channels};
use crate::{
    Evidence,
    evidence::behind_mean,
    layer::{Activation, Conv3d, ConvConfig, Init, Linear, LinearInit, MaxPool3d, grid_average},
};

/// What the first linear layer sees: `[h, w]` of the last map, of clips of 16 frames and 112 pixels.
const GRID: [usize; 2] = [4; 2];

/// Builds a [`C3d`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct C3dConfig {
    /// Classes.
    pub num_classes: usize,
    /// Factor on the channels and on the values of the linear layers; 1 is the paper's 64 to 512, and 4096.
    pub width: f64,
    /// Share that is dropped in training behind each of the first two linear layers, in `[0, 1)`.
    pub dropout: f64,
}

impl C3dConfig {
    /// The paper's network, dropout 0.5; it is meant for 16 frames of 112 pixels.
    pub const fn published(num_classes: usize) -> Self {
        Self {
            num_classes,
            width: 1.0,
            dropout: 0.5,
        }
    }

    /// The network.
    ///
    /// # Panics
    /// If `dropout` is outside `[0, 1)`.
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> C3d {
        let scaled = |channels| scaled_channels(channels, self.width);
        let conv = |from, to, init: &mut Init<'_>| Unit::new([from, to], init, device);
        let [c1, c2, c3, c4] = [64, 128, 256, 512].map(scaled);
        let d = scaled(4096);
        let linear = |sides, std, init: &mut Init<'_>| {
            Linear::new(sides, LinearInit::Normal(std), init, device)
        };
        let halved = MaxPool3d::with_padding([2; 3], [2; 3], [0; 3]);
        let backbone = Backbone {
            conv1a: conv(3, c1, init),
            pool1: MaxPool3d::with_padding([1, 2, 2], [1, 2, 2], [0; 3]),
            conv2a: conv(c1, c2, init),
            pool2: halved.clone(),
            conv3a: conv(c2, c3, init),
            conv3b: conv(c3, c3, init),
            pool3: halved.clone(),
            conv4a: conv(c3, c4, init),
            conv4b: conv(c4, c4, init),
            pool4: halved,
            conv5a: conv(c4, c4, init),
            conv5b: conv(c4, c4, init),
            pool5: MaxPool3d::with_padding([2; 3], [2; 3], [0, 1, 1]),
            fc6: linear([c4 * GRID[0] * GRID[1], d], 0.005, init),
            fc7: linear([d, d], 0.005, init),
        };
        C3d {
            backbone,
            dropout: DropoutConfig::new(self.dropout).init(),
            cls_head: ClsHead::new([d, self.num_classes], 0.01, self.dropout, init, device),
        }
    }
}

/// Convolutions over clips, and linear layers.
///
/// The linear layers want a map of one frame of 4x4: that of clips of 16 to 31 frames and of 96 to 127 pixels a side. Other
/// maps are brought to it: several frames by their mean, other sides by means as PyTorch's adaptive pooling takes them. Of a
/// side that is shorter than its window a pooling takes what there is.
#[derive(Module, Debug)]
pub struct C3d {
    backbone: Backbone,
    dropout: Dropout,
    cls_head: ClsHead,
}

#[derive(Module, Debug)]
struct Backbone {
    conv1a: Unit,
    pool1: MaxPool3d,
    conv2a: Unit,
    pool2: MaxPool3d,
    conv3a: Unit,
    conv3b: Unit,
    pool3: MaxPool3d,
    conv4a: Unit,
    conv4b: Unit,
    pool4: MaxPool3d,
    conv5a: Unit,
    conv5b: Unit,
    pool5: MaxPool3d,
    fc6: Linear,
    fc7: Linear,
}

impl Network for C3d {
    /// What the classifier sees, in `f32` whatever the type of the clips.
    fn features(&self, clips: Tensor<5>) -> Tensor<2> {
        self.hidden(self.feature_map(clips))
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.cls_head.forward(features)
    }

    /// What in clips speaks for a class: Grad-CAM of the last pooled map. Behind it are linear layers and rectifiers, so
    /// that the gradient is that of each clip.
    fn evidence(&self, clips: Tensor<5>, class: usize) -> Evidence {
        let Backbone { fc6, fc7, .. } = &self.backbone;
        let map = self.feature_map(clips);
        let [b, .., c] = map.dims();
        let sixth = fc6.forward(gridded(map.clone()));
        let seventh = fc7.forward(relu(sixth.clone()));
        let weights = self.cls_head.weights_of(class).unsqueeze_dim::<2>(0);
        let gradient = fc7.input_gradient(seventh.greater_elem(0.0).float() * weights);
        let gradient = fc6.input_gradient(sixth.greater_elem(0.0).float() * gradient);
        // Each place's share in the cells adds up to the same, so the mean over places is the sum over cells, over the
        // number of places.
        let of_cells = gradient.reshape([b, c, GRID[0] * GRID[1]]).sum_dim(2);
        behind_mean(map, of_cells.reshape([b, c]))
    }

    fn num_features(&self) -> usize {
        self.cls_head.num_features()
    }

    fn num_classes(&self) -> usize {
        self.cls_head.num_classes()
    }

    fn head(&self) -> &'static str {
        ClsHead::NAME
    }
}

impl C3d {
    /// The first two linear layers, over the last map.
    fn hidden(&self, map: Tensor<5>) -> Tensor<2> {
        let Backbone { fc6, fc7, .. } = &self.backbone;
        let hidden = relu(fc6.forward(gridded(map)));
        relu(fc7.forward(self.dropout.forward(hidden)))
    }

    /// `[b, t, h, w, 3]` to `[b, t / 16, h / 32, w / 32, 512]` at width 1, a side of 7 to 4; in the type of the clips.
    fn feature_map(&self, clips: Tensor<5>) -> Tensor<5> {
        assert_shape!(clips, [_, _, _, _, 3]);
        let Backbone {
            conv1a,
            pool1,
            conv2a,
            pool2,
            conv3a,
            conv3b,
            pool3,
            conv4a,
            conv4b,
            pool4,
            conv5a,
            conv5b,
            pool5,
            ..
        } = &self.backbone;
        let x = pool1.forward(conv1a.forward(clips)); // [b, t, h / 2, w / 2, 64]
        let x = pool2.forward(conv2a.forward(x)); // [b, t / 2, h / 4, w / 4, 128]
        let x = pool3.forward(conv3b.forward(conv3a.forward(x))); // [b, t / 4, h / 8, w / 8, 256]
        let x = pool4.forward(conv4b.forward(conv4a.forward(x))); // [b, t / 8, h / 16, w / 16, 512]
        pool5.forward(conv5b.forward(conv5a.forward(x)))
    }
}

/// `[b, t, h, w, c]` as the first linear layer wants it: `[b, c * 4 * 4]` in `f32`, in PyTorch's order.
fn gridded(map: Tensor<5>) -> Tensor<2> {
    let [b, t, _, _, c] = map.dims();
    let [gh, gw] = GRID;
    let cells = grid_average(map.cast(FloatDType::F32), GRID);
    let cells = cells
        .reshape([b, t, gh * gw * c])
        .mean_dim(1)
        .reshape([b, gh * gw, c]);
    cells.swap_dims(1, 2).reshape([b, c * gh * gw])
}

/// A convolution with a bias and a rectifier.
#[derive(Module, Debug)]
struct Unit {
    conv: Conv3d,
}

impl Unit {
    fn new([from, to]: [usize; 2], init: &mut Init<'_>, device: &Device) -> Self {
        let config = ConvConfig::new(from, to, [3; 3]).with_bias(Activation::Relu);
        Self {
            conv: config.init(init, device),
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        self.conv.forward(x)
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;
    use crate::evidence::grad_cam;

    #[test]
    fn evidence_is_grad_cam() {
        let mut config = C3dConfig::published(3);
        (config.width, config.dropout) = (0.125, 0.0);
        let build =
            |device: &Device| config.init(&mut Init::Random(&mut rng_for(3, 0, 0, 0)), device);
        let clips = || grad_cam::clips([2, 40, 64, 80, 3]);
        let model = build(&Device::flex());
        let tape = build(&Device::flex().autodiff());
        let speaks = grad_cam::check(
            &model.evidence(clips(), 1),
            model.feature_map(clips()),
            |map| tape.classify(tape.hidden(map)).narrow(1, 1, 1),
        );
        assert!(speaks > 0.0, "something speaks for the class");
    }
}
