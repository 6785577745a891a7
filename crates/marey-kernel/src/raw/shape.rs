//! Geometry of a convolution: sizes, and nothing that touches memory.

/// How a kernel window moves over its input. Triples are `[t, h, w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv3dOptions {
    /// Distance between neighbouring windows, in frames and pixels; at least 1.
    pub stride: [usize; 3],
    /// Zeros added on both sides of each axis.
    pub padding: [usize; 3],
    /// Distance between neighbouring taps of one window; at least 1.
    pub dilation: [usize; 3],
    /// Channel groups; output channels of a group see its input channels only. At least 1.
    pub groups: usize,
}

impl Default for Conv3dOptions {
    /// Stride 1, no padding, no dilation, one group.
    fn default() -> Self {
        Self {
            stride: [1; 3],
            padding: [0; 3],
            dilation: [1; 3],
            groups: 1,
        }
    }
}

/// Full geometry of one convolution of channels-last tensors; a 2-D one has one frame and a
/// kernel one frame long.
///
/// | tensor | shape |
/// |---|---|
/// | `x` | `[batch, t, h, w, in_channels]` |
/// | `weights` | `[out_channels, kt, kh, kw, in_channels / groups]` |
/// | `y` | `[batch, t', h', w', out_channels]` |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv3dShape {
    /// Clips or images.
    pub batch: usize,
    /// Channels of `x`.
    pub in_channels: usize,
    /// Channels of `y`.
    pub out_channels: usize,
    /// `[t, h, w]` of `x`.
    pub input: [usize; 3],
    /// `[t, h, w]` of the kernel.
    pub kernel: [usize; 3],
    /// Stride, padding, dilation, groups.
    pub options: Conv3dOptions,
}

impl Conv3dShape {
    /// Geometry from the dimensions of `x` and of the weights.
    ///
    /// # Panics
    /// If the channels do not fit the groups, an option is 0 where it must not be, or the padded
    /// input is smaller than the kernel.
    pub fn new(x: [usize; 5], weights: [usize; 5], options: Conv3dOptions) -> Self {
        let groups = options.groups;
        assert!(groups > 0, "a convolution has at least one group");
        assert!(
            weights[4] * groups == x[4],
            "{} input channels in {groups} groups do not fit weights {weights:?}",
            x[4]
        );
        assert!(
            weights[0].is_multiple_of(groups),
            "{} output channels cannot be divided into {groups} groups",
            weights[0]
        );
        let shape = Self {
            batch: x[0],
            in_channels: x[4],
            out_channels: weights[0],
            input: [x[1], x[2], x[3]],
            kernel: [weights[1], weights[2], weights[3]],
            options,
        };
        for axis in 0..3 {
            assert!(
                options.stride[axis] > 0 && options.dilation[axis] > 0 && shape.kernel[axis] > 0,
                "stride, dilation and kernel are at least 1: {options:?}, kernel {:?}",
                shape.kernel
            );
            assert!(
                shape.input[axis] + 2 * options.padding[axis] >= shape.reach(axis),
                "input {:?} with padding {:?} is smaller than kernel {:?} with dilation {:?}",
                shape.input,
                options.padding,
                shape.kernel,
                options.dilation
            );
        }
        shape
    }

    /// Input positions from the first to the last tap of a window, inclusive.
    fn reach(&self, axis: usize) -> usize {
        self.options.dilation[axis] * (self.kernel[axis] - 1) + 1
    }

    /// `[t, h, w]` of `y`.
    pub fn output(&self) -> [usize; 3] {
        std::array::from_fn(|axis| {
            let padded = self.input[axis] + 2 * self.options.padding[axis];
            (padded - self.reach(axis)) / self.options.stride[axis] + 1
        })
    }

    /// Positions of the kernel.
    pub fn num_taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Input channels that one output channel sees.
    pub fn group_inputs(&self) -> usize {
        self.in_channels / self.options.groups
    }

    /// Output channels of one group.
    pub fn group_outputs(&self) -> usize {
        self.out_channels / self.options.groups
    }

    /// Is every channel its own group, with one output each?
    pub fn is_depthwise(&self) -> bool {
        let groups = self.options.groups;
        groups > 1 && self.in_channels == groups && self.out_channels == groups
    }

    /// Elements of `x`.
    pub fn x_len(&self) -> usize {
        self.batch * self.input.iter().product::<usize>() * self.in_channels
    }

    /// Elements of `y`.
    pub fn y_len(&self) -> usize {
        self.batch * self.output().iter().product::<usize>() * self.out_channels
    }

    /// Elements of the weights.
    pub fn weights_len(&self) -> usize {
        self.out_channels * self.num_taps() * self.group_inputs()
    }

    /// Floating-point operations of one direction (a multiply-add counts as two), padding included.
    pub fn flops(&self) -> f64 {
        2.0 * self.y_len() as f64 * (self.num_taps() * self.group_inputs()) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_size_follows_the_usual_rule() {
        let stem = Conv3dShape::new(
            [2, 16, 112, 112, 3],
            [64, 3, 7, 7, 3],
            Conv3dOptions {
                stride: [1, 2, 2],
                padding: [1, 3, 3],
                ..Default::default()
            },
        );
        assert_eq!(stem.output(), [16, 56, 56]);
        let dilated = Conv3dShape::new(
            [1, 1, 9, 10, 4],
            [4, 1, 3, 3, 1],
            Conv3dOptions {
                dilation: [1, 3, 2],
                groups: 4,
                ..Default::default()
            },
        );
        assert_eq!(dilated.output(), [1, 3, 6]);
        assert!(dilated.is_depthwise());
    }
}
