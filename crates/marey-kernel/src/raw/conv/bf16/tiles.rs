//! Forward and backward data on AMX, each as one or several [`Product`]s.

use half::bf16;

use super::super::super::parallel::Shared;
use super::super::super::shape::Conv3dShape;
use super::super::Epilogue;
use super::super::dense::{Padded, Phase, window_of_x};
use super::super::pack::Source;
use super::super::product::Placement;
use super::super::window::Window;
use super::amx::{COLUMNS, ROWS};
use super::panels::{Cut, Panels};
use super::product::Product;

/// The same convolution with rows that suit tiles, where a row may be any length: if each output sees
/// one pixel, pixels are a list.
pub(super) fn flat(shape: &Conv3dShape) -> Conv3dShape {
    let options = &shape.options;
    let is_list = shape.kernel == [1; 3] && options.stride == [1; 3] && options.padding == [0; 3];
    let num_pixels = shape.batch * shape.input.iter().product::<usize>();
    let [_, _, w] = shape.input;
    let longest = (1..=ROWS).rev().find(|row| num_pixels.is_multiple_of(*row));
    // A longer row than the width's share of a tile.
    match longest.filter(|row| is_list && *row > w.div_ceil(w.div_ceil(ROWS))) {
        Some(row) => Conv3dShape {
            batch: 1,
            input: [1, num_pixels / row, row],
            ..*shape
        },
        None => *shape,
    }
}

/// Chooses how the window's runs are cut, which may widen its pixels.
fn cut(window: &mut Window, grid: [usize; 3]) -> Cut {
    let (taps, channels) = (window.merged_taps(), window.channels);
    let in_place = if window.needs_copy(grid) {
        None
    } else {
        Cut::in_place(taps, channels)
    };
    let cut = in_place.unwrap_or_else(|| Cut::copied(taps, channels));
    window.width = cut.width;
    cut
}

/// Forward; lengths are checked by the caller.
///
/// # Safety
/// AMX is available.
pub(super) unsafe fn forward(
    shape: &Conv3dShape,
    x: &[bf16],
    weights: &[f32],
    epilogue: Epilogue,
    y: &mut [bf16],
) {
    let shape = &flat(shape);
    let (groups, columns) = (shape.options.groups, shape.group_outputs());
    let mut window = window_of_x(shape);
    let cut = cut(&mut window, shape.output());
    let finish = Padded::new(&epilogue, groups, columns, COLUMNS);
    let product = Product {
        panels: Panels::new(Source::Outputs(weights), groups, columns, &window, cut),
        window: &window,
        cut,
        source: x,
        batch: shape.batch,
        grid: shape.output(),
        groups,
        finish: finish.as_ref(),
        placement: Placement::strided(shape.output(), shape.out_channels, [1; 3]),
    };
    // SAFETY: AMX is available; the placement is that of the dense `y`.
    unsafe { product.run(Shared::new(y)) };
}

/// Backward data; lengths are checked by the caller.
///
/// # Safety
/// AMX is available.
pub(super) unsafe fn backward_data(
    shape: &Conv3dShape,
    dy: &[bf16],
    weights: &[f32],
    dx: &mut [bf16],
) {
    let shape = &flat(shape);
    let (groups, columns) = (shape.options.groups, shape.group_inputs());
    let phases = Phase::all(shape);
    if phases.iter().any(Phase::is_empty) {
        dx.fill(bf16::ZERO);
    }
    for phase in phases.iter().filter(|phase| !phase.is_empty()) {
        let (mut window, taps) = phase.window_of_dy(shape);
        let cut = cut(&mut window, phase.grid);
        let source = Source::Inputs {
            weights,
            outputs: shape.group_outputs(),
            taps: &taps,
            num_taps: shape.num_taps(),
        };
        let product = Product {
            panels: Panels::new(source, groups, columns, &window, cut),
            window: &window,
            cut,
            source: dy,
            batch: shape.batch,
            grid: phase.grid,
            groups,
            finish: None,
            placement: phase.placement,
        };
        // SAFETY: AMX is available; the class's placement stays inside dx.
        unsafe { product.run(Shared::new(dx)) };
    }
}
