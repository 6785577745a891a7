//! Convolutions whose weights are stored channels last: `[o, kt, kh, kw, i / groups]`.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, assert_shape},
};
use marey_kernel::{Fused, KeptWeights};

use super::{
    Activation, BatchNorm, Init,
    init::constant,
    op::{self, ConvSite, Window},
    trace::note,
};

/// Builds a [`Conv2d`] (`S` = 2, sides are `[h, w]`) or a [`Conv3d`] (`S` = 3, `[t, h, w]`).
#[derive(Clone, Copy, Debug)]
pub struct ConvConfig<const S: usize> {
    in_channels: usize,
    out_channels: usize,
    kernel: [usize; S],
    stride: [usize; S],
    padding: [usize; S],
    groups: usize,
    has_bias: bool,
    activation: Activation,
}

impl<const S: usize> ConvConfig<S> {
    /// Stride 1, one group, no bias, and as much padding as keeps the size where `kernel` is odd.
    pub fn new(in_channels: usize, out_channels: usize, kernel: [usize; S]) -> Self {
        let padding = kernel.map(|side| side / 2);
        Self {
            in_channels,
            out_channels,
            kernel,
            stride: [1; S],
            padding,
            groups: 1,
            has_bias: false,
            activation: Activation::Identity,
        }
    }

    /// The same with another distance between outputs.
    #[must_use]
    pub const fn with_stride(mut self, stride: [usize; S]) -> Self {
        self.stride = stride;
        self
    }

    /// The same with other zeros around.
    #[must_use]
    pub const fn with_padding(mut self, padding: [usize; S]) -> Self {
        self.padding = padding;
        self
    }

    /// The same with the channels divided into groups that do not meet; as many as channels is depthwise.
    #[must_use]
    pub const fn with_groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// The same with a bias a channel, and a function of each value after it.
    #[must_use]
    pub const fn with_bias(mut self, activation: Activation) -> Self {
        (self.has_bias, self.activation) = (true, activation);
        self
    }

    /// He et al.'s normal values for a rectifier, `std = sqrt(2 / fan_out)`, as torchvision and timm do; bias 0.
    fn parameters<const D: usize>(
        &self,
        dims: [usize; D],
        init: &mut Init<'_>,
        device: &Device,
    ) -> (Param<Tensor<D>>, Option<Param<Tensor<1>>>) {
        let [i, o, g] = [self.in_channels, self.out_channels, self.groups];
        assert!(
            g > 0 && i.is_multiple_of(g) && o.is_multiple_of(g),
            "{g} groups of {i} -> {o} channels"
        );
        let fan_out = self.kernel.iter().product::<usize>() * o / g;
        let weight = init.normal(dims, (2.0 / fan_out as f64).sqrt(), device);
        (weight, self.has_bias.then(|| constant(o, 0.0, device)))
    }
}

impl ConvConfig<2> {
    /// The layer.
    ///
    /// # Panics
    /// If the groups do not divide the channels.
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> Conv2d {
        let [kh, kw] = self.kernel;
        let dims = [self.out_channels, kh, kw, self.in_channels / self.groups];
        let (weight, bias) = self.parameters(dims, init, device);
        let ([sh, sw], [ph, pw]) = (self.stride, self.padding);
        let window = Window {
            stride: [1, sh, sw],
            padding: [0, ph, pw],
            ..Window::default()
        };
        Conv2d {
            weight,
            bias,
            window,
            groups: self.groups,
            activation: self.activation,
            kept: KeptWeights::default(),
        }
    }
}

impl ConvConfig<3> {
    /// The layer.
    ///
    /// # Panics
    /// If the groups do not divide the channels.
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> Conv3d {
        let [kt, kh, kw] = self.kernel;
        let dims = [
            self.out_channels,
            kt,
            kh,
            kw,
            self.in_channels / self.groups,
        ];
        let (weight, bias) = self.parameters(dims, init, device);
        let window = Window {
            stride: self.stride,
            padding: self.padding,
            ..Window::default()
        };
        Conv3d {
            weight,
            bias,
            window,
            groups: self.groups,
            activation: self.activation,
            kept: KeptWeights::default(),
        }
    }
}

/// Convolution over the pictures `[b, h, w, i]`.
#[derive(Module, Debug)]
pub struct Conv2d {
    weight: Param<Tensor<4>>,
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    window: Window,
    groups: usize,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    kept: KeptWeights,
}

impl Conv2d {
    /// # Shapes
    /// - `x`: `[b, h, w, i]`
    /// - output: `[b, h', w', o]`
    ///
    /// # Panics
    /// If `i` is not the configured number of input channels.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [o, kh, kw, i_group] = self.weight.dims();
        let channels = i_group * self.groups;
        assert_shape!(x, [_, _, _, channels]);
        let label = || {
            label(
                &[kh, kw],
                &self.window.stride[1..],
                [channels, o, self.groups],
            )
        };
        note("conv", label, self, &x, Self::forward);
        let weight = self.weight.val().reshape([o, 1, kh, kw, i_group]);
        let bias = self.bias.as_ref().map(Param::val);
        let x = x.unsqueeze_dim(1);
        op::conv(x, weight, bias, self.activation, self.site()).squeeze_dim(1)
    }

    /// The convolution and its norm, with `residual` added before the norm's activation: one operation where nothing is
    /// trained.
    ///
    /// # Shapes
    /// As [`Conv2d::forward`]; the residual is like the output.
    ///
    /// # Panics
    /// As [`Conv2d::forward`], and if the convolution has a bias: the norm takes its place.
    pub fn forward_normed(
        &self,
        x: Tensor<4>,
        norm: &BatchNorm,
        residual: Option<Tensor<4>>,
    ) -> Tensor<4> {
        let Some(fused) = norm.fused(&x.device()) else {
            return norm.run(self.forward(x), residual);
        };
        assert!(self.bias.is_none(), "a bias before a norm has no effect");
        let [o, kh, kw, i_group] = self.weight.dims();
        let weight = self.weight.val().reshape([o, 1, kh, kw, i_group]);
        let residual = residual.map(|residual| residual.unsqueeze_dim(1));
        let fused = Fused { residual, ..fused };
        op::conv_fused(x.unsqueeze_dim(1), weight, fused, self.site()).squeeze_dim(1)
    }

    fn site(&self) -> ConvSite<'_> {
        ConvSite {
            window: self.window,
            groups: self.groups,
            kept: &self.kept,
        }
    }
}

/// Convolution over the clips `[b, t, h, w, i]`.
#[derive(Module, Debug)]
pub struct Conv3d {
    weight: Param<Tensor<5>>,
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    window: Window,
    groups: usize,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    kept: KeptWeights,
}

impl Conv3d {
    /// # Shapes
    /// - `x`: `[b, t, h, w, i]`
    /// - output: `[b, t', h', w', o]`
    ///
    /// # Panics
    /// If `i` is not the configured number of input channels.
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let [o, kt, kh, kw, i_group] = self.weight.dims();
        let channels = i_group * self.groups;
        assert_shape!(x, [_, _, _, _, channels]);
        let label = || {
            label(
                &[kt, kh, kw],
                &self.window.stride,
                [channels, o, self.groups],
            )
        };
        note("conv", label, self, &x, Self::forward);
        let bias = self.bias.as_ref().map(Param::val);
        let weight = self.weight.val();
        op::conv(x, weight, bias, self.activation, self.site())
    }

    /// Channels it gives.
    pub fn num_outputs(&self) -> usize {
        self.weight.dims()[0]
    }

    /// The weights `[i]` of one output, of a kernel of one pixel.
    ///
    /// # Panics
    /// If there is no such output, or the kernel is larger.
    pub(crate) fn pixel_weights_of(&self, output: usize) -> Tensor<1> {
        let [_, kt, kh, kw, i] = self.weight.dims();
        assert_eq!([kt, kh, kw], [1; 3], "sides of a kernel of one pixel");
        self.weight.val().narrow(0, output, 1).reshape([i])
    }

    /// The gradient of the input from that of the output, of a kernel of one pixel over one pixel.
    ///
    /// # Shapes
    /// - `grad`: `[b, o]`
    /// - output: `[b, i]`
    ///
    /// # Panics
    /// If the kernel is larger.
    pub(crate) fn pixel_gradient(&self, grad: Tensor<2>) -> Tensor<2> {
        let [o, kt, kh, kw, i] = self.weight.dims();
        assert_eq!([kt, kh, kw], [1; 3], "sides of a kernel of one pixel");
        grad.matmul(self.weight.val().reshape([o, i]))
    }

    /// The convolution and its norm, with `residual` added before the norm's activation: one operation where nothing is
    /// trained.
    ///
    /// # Shapes
    /// As [`Conv3d::forward`]; the residual is like the output.
    ///
    /// # Panics
    /// As [`Conv3d::forward`], and if the convolution has a bias: the norm takes its place.
    pub fn forward_normed(
        &self,
        x: Tensor<5>,
        norm: &BatchNorm,
        residual: Option<Tensor<5>>,
    ) -> Tensor<5> {
        let Some(fused) = norm.fused(&x.device()) else {
            return norm.run(self.forward(x), residual);
        };
        assert!(self.bias.is_none(), "a bias before a norm has no effect");
        op::conv_fused(
            x,
            self.weight.val(),
            Fused { residual, ..fused },
            self.site(),
        )
    }

    fn site(&self) -> ConvSite<'_> {
        ConvSite {
            window: self.window,
            groups: self.groups,
            kept: &self.kept,
        }
    }
}

/// A convolution in words: `3x3 s2 64-128`, and `3x3 96-96 g96` where it has groups.
fn label(kernel: &[usize], stride: &[usize], [from, to, groups]: [usize; 3]) -> String {
    let sides = |sides: &[usize]| {
        sides
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("x")
    };
    let stride = match stride {
        [first, rest @ ..] if rest.iter().all(|side| side == first) => match first {
            1 => String::new(),
            side => format!(" s{side}"),
        },
        mixed => format!(" s{}", sides(mixed)),
    };
    let groups = if groups > 1 {
        format!(" g{groups}")
    } else {
        String::new()
    };
    format!("{}{stride} {from}-{to}{groups}", sides(kernel))
}
