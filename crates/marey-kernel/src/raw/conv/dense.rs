//! Dense and grouped convolution as an implicit matrix product, in three directions.
//!
//! * forward: `y[pixel][output] = window(x) . W`, one [`Product`];
//! * backward data: `dx[pixel][input] = window(dy) . W'`, one [`Product`] for each residue class of
//!   the input pixels modulo the stride, because such a class sees a fixed subset of the taps at
//!   stride 1;
//! * backward weights: see [`super::weights`].

use super::super::activation::Activation;
use super::super::parallel::Shared;
use super::super::shape::Conv3dShape;
use super::super::simd::Isa;
use super::super::tile::{Finish, Operand};
use super::pack::{Panels, Source};
use super::product::{Placement, Product};
use super::window::Window;
use super::{Epilogue, Weights};

/// The windows of `x` that the outputs see.
pub(super) fn window_of_x(shape: &Conv3dShape) -> Window {
    let options = &shape.options;
    Window {
        input: shape.input,
        channels: shape.group_inputs(),
        pitch: shape.in_channels,
        width: shape.group_inputs(),
        stride: options.stride,
        offsets: std::array::from_fn(|axis| {
            (0..shape.kernel[axis])
                .map(|tap| (tap * options.dilation[axis]) as isize - options.padding[axis] as isize)
                .collect()
        }),
    }
}

/// Forward; lengths are checked by the caller.
pub(super) fn forward(
    isa: Isa,
    operand: Operand,
    shape: &Conv3dShape,
    x: &[f32],
    weights: Weights,
    epilogue: Epilogue,
    y: &mut [f32],
) {
    let window = window_of_x(shape);
    let (groups, columns) = (shape.options.groups, shape.group_outputs());
    let source = Source::Outputs(weights.values);
    let mut panels = Panels::new(source, groups, columns, window.len(), isa.tile_width());
    if let Some(packed) = weights.packed {
        panels = panels.kept(isa, packed);
    }
    let finish = Padded::new(&epilogue, groups, columns, isa.tile_width());
    let product = Product {
        isa,
        operand,
        window: &window,
        source: x,
        batch: shape.batch,
        grid: shape.output(),
        groups,
        panels,
        finish: finish.as_ref(),
        residual: epilogue.residual,
        placement: Placement::strided(shape.output(), shape.out_channels, [1; 3]),
    };
    // SAFETY: the set is available; the placement is that of the dense `y`.
    unsafe { product.run(Shared::new(y)) };
}

/// An [`Epilogue`] in the order of the panels' columns.
pub(super) struct Padded {
    /// Scale and bias, for each column of each panel.
    affine: [Vec<f32>; 2],
    activation: Activation,
}

impl Padded {
    /// Zeros where a panel has no column; nothing if the epilogue does nothing.
    pub(super) fn new(
        epilogue: &Epilogue,
        groups: usize,
        columns: usize,
        width: usize,
    ) -> Option<Self> {
        let per_group = columns.next_multiple_of(width);
        let affine = [(epilogue.scale, 1.0), (epilogue.bias, 0.0)].map(|(values, default)| {
            let mut padded = vec![0.0; groups * per_group];
            for (group, to) in padded.chunks_exact_mut(per_group).enumerate() {
                match values {
                    Some(values) => {
                        to[..columns].copy_from_slice(&values[group * columns..][..columns]);
                    }
                    None => to[..columns].fill(default),
                }
            }
            padded
        });
        (!epilogue.is_empty()).then_some(Self {
            affine,
            activation: epilogue.activation,
        })
    }

    /// What a tile does to the columns from `first` on, of all panels.
    pub(super) fn at(&self, first: usize) -> Finish {
        let [scale, bias] = self
            .affine
            .each_ref()
            .map(|values| values[first..].as_ptr());
        Finish {
            scale,
            bias,
            activation: self.activation,
        }
    }
}

/// The input pixels of one residue class modulo the stride.
pub(super) struct Phase {
    /// On each axis the (offset into dy, tap) pairs that reach the class, by growing offset.
    pub(super) taps: [Vec<(isize, usize)>; 3],
    /// Pixels of the class in an image.
    pub(super) grid: [usize; 3],
    /// Where they lie in dx.
    pub(super) placement: Placement,
}

impl Phase {
    /// Does no tap reach the class, so that its gradient is zero?
    pub(super) fn is_empty(&self) -> bool {
        self.taps.iter().any(Vec::is_empty)
    }

    /// All classes that have pixels.
    pub(super) fn all(shape: &Conv3dShape) -> Vec<Self> {
        let options = &shape.options;
        let dense = Placement::strided(shape.input, shape.in_channels, [1; 3]);
        let [_, stride_h, stride_w] = options.stride;
        let mut phases = vec![];
        for class in 0..options.stride.iter().product() {
            let residue = [
                class / (stride_h * stride_w),
                class / stride_w % stride_h,
                class % stride_w,
            ];
            let grid: [usize; 3] = std::array::from_fn(|axis| {
                (shape.input[axis] + options.stride[axis] - 1 - residue[axis])
                    / options.stride[axis]
            });
            if grid.contains(&0) {
                continue;
            }
            let placement = Placement {
                base: (0..3)
                    .map(|axis| residue[axis] * dense.step[axis + 1])
                    .sum(),
                ..Placement::strided(shape.input, shape.in_channels, options.stride)
            };
            let taps = std::array::from_fn(|axis| Self::axis_taps(shape, axis, residue[axis]));
            phases.push(Self {
                taps,
                grid,
                placement,
            });
        }
        phases
    }

    /// Input `residue + i * stride` gets output `i + offset` by way of `tap` for these pairs.
    fn axis_taps(shape: &Conv3dShape, axis: usize, residue: usize) -> Vec<(isize, usize)> {
        let options = &shape.options;
        let stride = options.stride[axis] as isize;
        (0..shape.kernel[axis])
            .rev()
            .map(|tap| {
                let shifted = (residue + options.padding[axis]) as isize;
                (shifted - (tap * options.dilation[axis]) as isize, tap)
            })
            .filter(|(distance, _)| distance.rem_euclid(stride) == 0)
            .map(|(distance, tap)| (distance.div_euclid(stride), tap))
            .collect()
    }

    /// The class's windows of dy, and the flat tap of each of their positions.
    pub(super) fn window_of_dy(&self, shape: &Conv3dShape) -> (Window, Vec<usize>) {
        let window = Window {
            input: shape.output(),
            channels: shape.group_outputs(),
            pitch: shape.out_channels,
            width: shape.group_outputs(),
            stride: [1; 3],
            offsets: self
                .taps
                .each_ref()
                .map(|taps| taps.iter().map(|tap| tap.0).collect()),
        };
        let mut flat = vec![];
        for (_, t) in &self.taps[0] {
            for (_, h) in &self.taps[1] {
                let line = (t * shape.kernel[1] + h) * shape.kernel[2];
                flat.extend(self.taps[2].iter().map(|(_, w)| line + w));
            }
        }
        (window, flat)
    }
}

/// Backward data; lengths are checked by the caller.
pub(super) fn backward_data(
    isa: Isa,
    operand: Operand,
    shape: &Conv3dShape,
    dy: &[f32],
    weights: &[f32],
    dx: &mut [f32],
) {
    let (groups, columns) = (shape.options.groups, shape.group_inputs());
    let phases = Phase::all(shape);
    if phases.iter().any(Phase::is_empty) {
        dx.fill(0.0);
    }
    for phase in phases.iter().filter(|phase| !phase.is_empty()) {
        let (window, taps) = phase.window_of_dy(shape);
        let outputs = shape.group_outputs();
        let source = Source::Inputs {
            weights,
            outputs,
            taps: &taps,
            num_taps: shape.num_taps(),
        };
        let panels = Panels::new(source, groups, columns, window.len(), isa.tile_width());
        let product = Product {
            isa,
            operand,
            window: &window,
            source: dy,
            batch: shape.batch,
            grid: phase.grid,
            groups,
            panels,
            finish: None,
            residual: None,
            placement: phase.placement,
        };
        // SAFETY: the set is available; the class's placement stays inside dx.
        unsafe { product.run(Shared::new(dx)) };
    }
}
