//! The geometries that kernels are timed on: one table for the benchmark beside this file and for
//! `examples/serve_kernels.rs`, which hands it to `reference/bench_kernels.py`.

use std::fmt;

use marey_kernel::raw::pool::Pool3dShape;
use marey_kernel::{Conv3dOptions, Conv3dShape, Pool3dOptions};

/// A geometry with a name.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Cases whose ratios are averaged together.
    pub(crate) group: &'static str,
    pub(crate) name: String,
    pub(crate) work: Work,
    /// How often the network that the group is named for has it; 0 where it is named for none.
    pub(crate) times: usize,
}

/// What is computed. Sizes are those of channels-last clips; a picture is one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Work {
    Conv(Conv3dShape),
    /// Batch norm with the statistics of the batch, then ReLU, of `[batch, t, h, w, channels]`.
    Norm([usize; 5]),
    MaxPool([usize; 5], Pool3dOptions),
    AveragePool([usize; 5], Pool3dOptions),
}

/// Which pass of a kernel is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    /// Of everything that has one gradient.
    Backward,
    BackwardData,
    BackwardWeights,
}

/// What a pass costs at least, whatever computes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cost {
    /// Floating-point operations; a multiply-add counts as two.
    Flops(f64),
    /// Elements read and written, each operand once a time that it must be gone through.
    Elements(usize),
}

impl Case {
    /// The passes that are timed.
    pub(crate) fn directions(&self) -> Vec<Direction> {
        match self.work {
            // The clip that a network sees needs no gradient.
            Work::Conv(shape) if shape.in_channels == 3 => {
                vec![Direction::Forward, Direction::BackwardWeights]
            }
            Work::Conv(_) => vec![
                Direction::Forward,
                Direction::BackwardData,
                Direction::BackwardWeights,
            ],
            _ => vec![Direction::Forward, Direction::Backward],
        }
    }

    pub(crate) fn cost(&self, direction: Direction) -> Cost {
        let is_forward = direction == Direction::Forward;
        match self.work {
            Work::Conv(shape) => Cost::Flops(shape.flops()),
            // Forward: x for the statistics; x and y. Backward: x and dy for the sums; x, dy and dx.
            Work::Norm(x) => {
                Cost::Elements(x.iter().product::<usize>() * if is_forward { 3 } else { 5 })
            }
            // Forward: x and y. Backward: dy and dx; a maximum is also looked up in x.
            Work::MaxPool(x, options) => {
                let shape = Pool3dShape::new(x, options);
                let num_passes = if is_forward { 1 } else { 2 };
                Cost::Elements(num_passes * shape.x_len() + shape.y_len())
            }
            Work::AveragePool(x, options) => {
                let shape = Pool3dShape::new(x, options);
                Cost::Elements(shape.x_len() + shape.y_len())
            }
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.group, self.name)
    }
}

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    [
        r3d_18(),
        efficientnet_b0(),
        other_convolutions(),
        depthwise(),
        norms(),
        pools(),
    ]
    .concat()
}

const ONE: [usize; 3] = [1; 3];
/// Strides of stages that halve pictures, and time as well.
const HALVE: [usize; 3] = [1, 2, 2];
const HALVE_ALL: [usize; 3] = [2; 3];

/// A convolution that keeps the size at stride 1: `batch` inputs of `[t, h, w]`.
#[derive(Clone, Copy)]
struct Conv {
    batch: usize,
    channels: [usize; 2],
    input: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: usize,
    groups: usize,
}

impl Conv {
    const fn new(
        batch: usize,
        channels: [usize; 2],
        input: [usize; 3],
        kernel: [usize; 3],
        stride: [usize; 3],
    ) -> Self {
        Self {
            batch,
            channels,
            input,
            kernel,
            stride,
            dilation: 1,
            groups: 1,
        }
    }

    fn shape(self) -> Conv3dShape {
        let [t, h, w] = self.input;
        let [from, to] = self.channels;
        let [kt, kh, kw] = self.kernel;
        let options = Conv3dOptions {
            stride: self.stride,
            padding: [kt / 2, kh / 2 * self.dilation, kw / 2 * self.dilation],
            dilation: [1, self.dilation, self.dilation],
            groups: self.groups,
        };
        let weights = [to, kt, kh, kw, from / self.groups];
        Conv3dShape::new([self.batch, t, h, w, from], weights, options)
    }

    fn case(self, group: &'static str, name: impl Into<String>, times: usize) -> Case {
        Case {
            group,
            name: name.into(),
            work: Work::Conv(self.shape()),
            times,
        }
    }
}

/// The layers of R3D-18 for two clips of 16 frames of 112x112.
fn r3d_18() -> Vec<Case> {
    let layer = |name: &str, channels, input, kernel, stride, times| {
        Conv::new(2, channels, input, kernel, stride).case("r3d_18", name, times)
    };
    let (k1, k3) = (ONE, [3; 3]);
    vec![
        layer(
            "stem 3x7x7 s122 3-64 16x112",
            [3, 64],
            [16, 112, 112],
            [3, 7, 7],
            HALVE,
            1,
        ),
        layer("layer1 3x3x3 64 16x56", [64, 64], [16, 56, 56], k3, ONE, 4),
        layer(
            "layer2 3x3x3 s2 64-128",
            [64, 128],
            [16, 56, 56],
            k3,
            HALVE_ALL,
            1,
        ),
        layer(
            "layer2 1x1x1 s2 64-128",
            [64, 128],
            [16, 56, 56],
            k1,
            HALVE_ALL,
            1,
        ),
        layer("layer2 3x3x3 128 8x28", [128, 128], [8, 28, 28], k3, ONE, 3),
        layer(
            "layer3 3x3x3 s2 128-256",
            [128, 256],
            [8, 28, 28],
            k3,
            HALVE_ALL,
            1,
        ),
        layer(
            "layer3 1x1x1 s2 128-256",
            [128, 256],
            [8, 28, 28],
            k1,
            HALVE_ALL,
            1,
        ),
        layer("layer3 3x3x3 256 4x14", [256, 256], [4, 14, 14], k3, ONE, 3),
        layer(
            "layer4 3x3x3 s2 256-512",
            [256, 512],
            [4, 14, 14],
            k3,
            HALVE_ALL,
            1,
        ),
        layer(
            "layer4 1x1x1 s2 256-512",
            [256, 512],
            [4, 14, 14],
            k1,
            HALVE_ALL,
            1,
        ),
        layer("layer4 3x3x3 512 2x7", [512, 512], [2, 7, 7], k3, ONE, 3),
    ]
}

/// The convolutions of EfficientNet-B0 for 128 pictures of 64x64 (8 clips of 16 frames), without those of squeeze and
/// excitation, which see single pixels.
fn efficientnet_b0() -> Vec<Case> {
    // Repeats, kernel, stride, expansion, output channels (Tan and Le, 2019, table 1).
    const STAGES: [[usize; 5]; 7] = [
        [1, 3, 1, 1, 16],
        [2, 3, 2, 6, 24],
        [2, 5, 2, 6, 40],
        [3, 3, 2, 6, 80],
        [3, 5, 1, 6, 112],
        [4, 5, 2, 6, 192],
        [1, 3, 1, 6, 320],
    ];
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |from: usize, to: usize, size: usize, side: usize, stride: usize| {
        let is_depthwise = from == to && side > 1;
        let mut conv = Conv::new(
            128,
            [from, to],
            [1, size, size],
            [1, side, side],
            [1, stride, stride],
        );
        conv.groups = if is_depthwise { from } else { 1 };
        let kind = if is_depthwise { "depthwise" } else { "dense" };
        let suffix = if stride > 1 { " s2" } else { "" };
        let case = conv.case(
            "efficientnet_b0",
            format!("B0 {kind} {side}x{side}{suffix} {from}-{to} {size}"),
            1,
        );
        match cases.iter_mut().find(|known| known.work == case.work) {
            Some(known) => known.times += 1,
            None => cases.push(case),
        }
    };
    add(3, 32, 64, 3, 2);
    let (mut from, mut size) = (32, 32);
    for [repeats, side, stride, expansion, to] in STAGES {
        for repeat in 0..repeats {
            let stride = if repeat == 0 { stride } else { 1 };
            let expanded = from * expansion;
            if expansion > 1 {
                add(from, expanded, size, 1, 1);
            }
            add(expanded, expanded, size, side, stride);
            size /= stride;
            add(expanded, to, size, 1, 1);
            from = to;
        }
    }
    add(from, 1280, size, 1, 1);
    cases
}

fn other_convolutions() -> Vec<Case> {
    let flat = |name: &str, batch, channels, size: usize, side: usize, stride| {
        Conv::new(batch, channels, [1, size, size], [1, side, side], stride).case("dense", name, 0)
    };
    let base = Conv::new(16, [64, 64], [1, 56, 56], [1, 3, 3], ONE);
    let dilated = Conv {
        dilation: 2,
        ..base
    };
    let grouped = Conv {
        channels: [128, 128],
        input: [1, 28, 28],
        groups: 4,
        ..base
    };
    let spatial = Conv::new(2, [64, 64], [8, 56, 56], [1, 3, 3], ONE);
    let temporal = Conv::new(2, [256, 64], [8, 28, 28], [3, 1, 1], ONE);
    vec![
        flat("2-D 3x3 64 56", 16, [64, 64], 56, 3, ONE),
        flat("2-D 1x1 256-64 56", 16, [256, 64], 56, 1, ONE),
        flat("2-D 1x1 24-144 56", 16, [24, 144], 56, 1, ONE),
        flat("2-D 1x1 1152-192 7", 64, [1152, 192], 7, 1, ONE),
        flat("2-D 3x3 s2 128-256 28", 16, [128, 256], 28, 3, HALVE),
        flat("2-D stem 3x3 s2 3-32 224", 8, [3, 32], 224, 3, HALVE),
        dilated.case("dense", "2-D 3x3 dilation 2 64 56", 0),
        grouped.case("dense", "2-D 3x3 groups 4 128 28", 0),
        spatial.case("dense", "1x3x3 64 8x56", 0),
        temporal.case("dense", "3x1x1 256-64 8x28", 0),
    ]
}

fn depthwise() -> Vec<Case> {
    let case = |name: &str, batch, channels, input, kernel, stride| {
        let conv = Conv {
            groups: channels,
            ..Conv::new(batch, [channels; 2], input, kernel, stride)
        };
        conv.case("depthwise", name, 0)
    };
    vec![
        case("depthwise 3x3 96 56", 16, 96, [1, 56, 56], [1, 3, 3], ONE),
        case("depthwise 5x5 240 28", 16, 240, [1, 28, 28], [1, 5, 5], ONE),
        case(
            "depthwise 3x3 s2 96 56",
            16,
            96,
            [1, 56, 56],
            [1, 3, 3],
            HALVE,
        ),
        case("depthwise 3x3x3 96 8x28", 2, 96, [8, 28, 28], [3; 3], ONE),
        case(
            "depthwise 3x3x3 s2 96 8x28",
            2,
            96,
            [8, 28, 28],
            [3; 3],
            HALVE_ALL,
        ),
    ]
}

fn norms() -> Vec<Case> {
    let case = |name: &str, x| Case {
        group: "norm",
        name: name.to_owned(),
        work: Work::Norm(x),
        times: 0,
    };
    vec![
        case("norm + ReLU 64 16x56", [2, 16, 56, 56, 64]),
        case("norm + ReLU 512 2x7", [2, 2, 7, 7, 512]),
        case("norm + ReLU 96 56", [16, 1, 56, 56, 96]),
    ]
}

fn pools() -> Vec<Case> {
    let flat = ([8, 1, 112, 112, 64], [1, 3, 3], HALVE);
    let deep = ([2, 16, 56, 56, 64], [3; 3], HALVE_ALL);
    let case = |group, name: &str, work: fn([usize; 5], Pool3dOptions) -> Work, at| {
        let (x, kernel, stride): ([usize; 5], [usize; 3], [usize; 3]) = at;
        let options = Pool3dOptions {
            kernel,
            stride,
            padding: kernel.map(|side| side / 2),
        };
        Case {
            group,
            name: name.to_owned(),
            work: work(x, options),
            times: 0,
        }
    };
    vec![
        case("maxpool", "maxpool 3x3 s2 64 112", Work::MaxPool, flat),
        case("maxpool", "maxpool 3x3x3 s2 64 16x56", Work::MaxPool, deep),
        case("avgpool", "avgpool 3x3 s2 64 112", Work::AveragePool, flat),
        case(
            "avgpool",
            "avgpool 3x3x3 s2 64 16x56",
            Work::AveragePool,
            deep,
        ),
    ]
}
