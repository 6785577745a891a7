//! Training curves: a quantity over the epochs.

use super::axis::{Axis, tick_label};
use super::canvas::{Anchor, Canvas, text_width_px};
use crate::table::percent;
use crate::{Curve, CurvePanel, Report};

const WIDTH: f64 = 460.0;
const PLOT_HEIGHT: f64 = 190.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const LEGEND_LINE: f64 = 20.0;
const SERIES: usize = 4;

/// More points than this cannot be told apart at this width.
const MAX_POINTS: usize = 400;

/// Draws the curves of one panel; `None` where there is no point to draw.
pub(super) fn canvas(report: &Report, panel: CurvePanel) -> Option<Canvas> {
    let curves: Vec<(&str, Vec<(f64, f64)>)> = report
        .curves
        .iter()
        .filter(|curve| curve.panel == panel)
        .map(|curve| (curve.name.as_str(), drawable(curve)))
        .filter(|(_, points)| !points.is_empty())
        .collect();
    let values = || curves.iter().flat_map(|(_, points)| points.iter());
    let epochs = extent(values().map(|point| point.0))?;
    let [low, high] = extent(values().map(|point| point.1))?;

    let baseline = match panel {
        CurvePanel::Metric => report.headline_figure().map(|figure| figure.baseline.value),
        _ => None,
    };
    let mut entries: Vec<(String, String)> = curves
        .iter()
        .enumerate()
        .map(|(idx, (name, _))| (format!("l{}", idx % SERIES), (*name).to_owned()))
        .collect();
    if let (Some(value), Some(figure)) = (baseline, report.headline_figure()) {
        let name = format!(
            "baseline of {} on {}, {}",
            figure.title,
            report.split,
            percent(value)
        );
        entries.push(("base".into(), name));
    }
    let (legend, legend_height) = laid_out(&entries);
    let (top, bottom) = (legend_height + 10.0, legend_height + 10.0 + PLOT_HEIGHT);
    let mut canvas = Canvas::new(WIDTH, bottom + 38.0);
    for ((class, name), [x, y]) in entries.iter().zip(legend) {
        canvas.line([x, y - 4.0], [x + 18.0, y - 4.0], class);
        canvas.text([x + 24.0, y], Anchor::Start, "ink", name);
    }

    let (x_axis, y_axis) = draw_axes(&mut canvas, panel, epochs, [low, high], [top, bottom]);
    if let Some(epoch) = report.chosen_epoch
        && (epochs[0]..=epochs[1]).contains(&epoch)
    {
        mark_chosen(&mut canvas, x_axis.px(epoch), [top, bottom]);
    }
    if let Some(value) = baseline {
        let y = y_axis.px(value);
        canvas.line([LEFT, y], [WIDTH - RIGHT, y], "base");
    }
    for (idx, (_, points)) in curves.iter().enumerate() {
        draw(&mut canvas, points, (&x_axis, &y_axis), idx % SERIES);
    }
    Some(canvas)
}

/// Draws grid and labels for these epochs and values; gives the axes.
fn draw_axes(
    canvas: &mut Canvas,
    panel: CurvePanel,
    epochs: [f64; 2],
    [low, high]: [f64; 2],
    [top, bottom]: [f64; 2],
) -> (Axis, Axis) {
    let x_axis = Axis::whole(epochs, [LEFT + 4.0, WIDTH - RIGHT - 4.0], 8);
    let y_pixels = [bottom, top];
    let y_axis = match panel {
        CurvePanel::Metric => Axis::new([0.0, 1.0], y_pixels, 5),
        // A scale from zero, unless that would press the curve against the top.
        _ if low >= 0.0 && low < 0.6 * high => Axis::rounded([0.0, high], y_pixels, 5),
        _ => Axis::rounded([low, high], y_pixels, 5),
    };
    for &tick in &y_axis.ticks {
        let y = y_axis.px(tick);
        let label = match panel {
            CurvePanel::Metric => format!("{:.0} %", 100.0 * tick),
            _ => tick_label(tick),
        };
        canvas.line([LEFT, y], [WIDTH - RIGHT, y], "grid");
        canvas.text([LEFT - 6.0, y + 4.0], Anchor::End, "soft", &label);
    }
    canvas.line([LEFT, bottom], [WIDTH - RIGHT, bottom], "axis");
    for &tick in &x_axis.ticks {
        let x = x_axis.px(tick);
        canvas.line([x, bottom], [x, bottom + 4.0], "axis");
        canvas.text(
            [x, bottom + 17.0],
            Anchor::Middle,
            "soft",
            &tick_label(tick),
        );
    }
    canvas.text(
        [(LEFT + WIDTH - RIGHT) / 2.0, bottom + 33.0],
        Anchor::Middle,
        "soft",
        "epoch",
    );
    (x_axis, y_axis)
}

fn mark_chosen(canvas: &mut Canvas, x: f64, [top, bottom]: [f64; 2]) {
    canvas.line([x, top], [x, bottom], "mark");
    let (anchor, dx) = if x > WIDTH / 2.0 {
        (Anchor::End, -4.0)
    } else {
        (Anchor::Start, 4.0)
    };
    canvas.text([x + dx, bottom - 6.0], anchor, "soft small", "chosen epoch");
}

fn draw(canvas: &mut Canvas, points: &[(f64, f64)], (x, y): (&Axis, &Axis), series: usize) {
    let pixels: Vec<[f64; 2]> = points
        .iter()
        .map(|&(epoch, value)| [x.px(epoch), y.px(value)])
        .collect();
    canvas.polyline(&pixels, &format!("l{series}"));
    // A single epoch has no line; a few are easier to read with their points.
    if pixels.len() <= 40 {
        for point in pixels {
            canvas.dot(point, 2.2, &format!("f{series}"));
        }
    }
}

/// The finite points of a curve; runs of neighbours become their mean where there are too many.
fn drawable(curve: &Curve) -> Vec<(f64, f64)> {
    let finite: Vec<(f64, f64)> = curve
        .points
        .iter()
        .copied()
        .filter(|(epoch, value)| epoch.is_finite() && value.is_finite())
        .collect();
    let run = finite.len().div_ceil(MAX_POINTS).max(1);
    finite
        .chunks(run)
        .map(|run| {
            let count = run.len() as f64;
            let sum = run
                .iter()
                .fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
            (sum.0 / count, sum.1 / count)
        })
        .collect()
}

fn extent(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    values.fold(None, |extent, value| {
        let [low, high] = extent.unwrap_or([value, value]);
        Some([low.min(value), high.max(value)])
    })
}

/// Positions of legend entries, wrapped into lines, and the height of all lines.
fn laid_out(entries: &[(String, String)]) -> (Vec<[f64; 2]>, f64) {
    let (mut x, mut y) = (LEFT, 14.0);
    let mut positions = Vec::new();
    for (_, name) in entries {
        let width = 24.0 + text_width_px(name) + 14.0;
        if x > LEFT && x + width > WIDTH {
            (x, y) = (LEFT, y + LEGEND_LINE);
        }
        positions.push([x, y]);
        x += width;
    }
    (positions, y + 6.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_are_thinned_and_keep_their_mean() {
        let points = (0..10_000)
            .map(|i| (f64::from(i), f64::from(i % 2)))
            .collect();
        let curve = Curve {
            name: "loss".into(),
            panel: CurvePanel::Loss,
            points,
        };
        let thinned = drawable(&curve);
        assert_eq!(thinned.len(), 400);
        let mean = thinned.iter().map(|point| point.1).sum::<f64>() / 400.0;
        assert!((mean - 0.5).abs() < 0.05, "{mean}");
    }

    #[test]
    fn points_that_are_not_finite_are_not_drawn() {
        let points = vec![
            (0.0, 1.0),
            (1.0, f64::NAN),
            (2.0, f64::INFINITY),
            (3.0, 2.0),
        ];
        let curve = Curve {
            name: "loss".into(),
            panel: CurvePanel::Loss,
            points,
        };
        assert_eq!(drawable(&curve), [(0.0, 1.0), (3.0, 2.0)]);
    }
}
