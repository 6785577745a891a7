//! The learning curve: a figure by the number of training items, the fitted law, its band and the projection.

use super::Plot;
use super::axis::{Axis, tick_label};
use super::canvas::{Anchor, Canvas, text_width_px};
use crate::{LearningCurve, MeasuredFigure};

const WIDTH: f64 = 520.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 272.0;

/// Steps of the drawn law: finer ones could not be told apart at this width.
const STEPS: usize = 80;

/// The measured figures with their intervals, the law through them as far as `more` items beyond the last, and its 95 % band.
///
/// - `title`: the figure's name, such as `macro F1`
pub(crate) fn plot(
    curve: &LearningCurve,
    measured: &[MeasuredFigure],
    more: usize,
    title: &str,
) -> Plot {
    let most = curve.most_items();
    let last = most + more;
    let mut canvas = Canvas::new(WIDTH, BOTTOM + 38.0);
    legend(&mut canvas);
    let (x, y) = axes(&mut canvas, last);
    let least = measured.iter().map(|point| point.num_items).min();
    law(&mut canvas, curve, [least.unwrap_or(1), last], (&x, &y));
    if more > 0 {
        let at = x.px(most as f64);
        canvas.line([at, TOP], [at, BOTTOM], "mark");
        let (anchor, dx) = match at > WIDTH / 2.0 {
            true => (Anchor::End, -4.0),
            false => (Anchor::Start, 4.0),
        };
        let name = format!("{most} items there are");
        canvas.text([at + dx, BOTTOM - 6.0], anchor, "soft small", &name);
    }
    for point in measured {
        let at = x.px(point.num_items as f64);
        let [low, high] = point.interval.map(|end| y.px(end));
        canvas.line([at, low], [at, high], "whisker");
        for end in [low, high] {
            canvas.line([at - 4.0, end], [at + 4.0, end], "whisker");
        }
        canvas.dot([at, y.px(point.value)], 4.0, "f0");
    }
    if more > 0 {
        let projected = curve.figure_at(last);
        canvas.dot([x.px(last as f64), y.px(projected.value)], 4.0, "f1");
    }
    Plot::new(
        "learning_curve",
        format!("{title} by the number of training items"),
        canvas,
    )
}

fn legend(canvas: &mut Canvas) {
    let mut at = LEFT;
    canvas.dot([at + 9.0, 10.0], 4.0, "f0");
    let measured = "measured, with its 95 % interval";
    canvas.text([at + 24.0, 14.0], Anchor::Start, "ink", measured);
    at += 24.0 + text_width_px(measured) + 14.0;
    canvas.line([at, 10.0], [at + 18.0, 10.0], "l1");
    canvas.text([at + 24.0, 14.0], Anchor::Start, "ink", "power law");
    canvas.rect([LEFT, 24.0], [18.0, 12.0], "band");
    let band = "95 % band of the law, from redrawing the points within their errors";
    canvas.text([LEFT + 24.0, 34.0], Anchor::Start, "ink", band);
}

/// Items from 0 to `last` against shares from 0 to 1.
fn axes(canvas: &mut Canvas, last: usize) -> (Axis, Axis) {
    let x = Axis::whole([0.0, last as f64], [LEFT + 4.0, WIDTH - RIGHT - 4.0], 6);
    let y = Axis::new([0.0, 1.0], [BOTTOM, TOP], 5);
    for &tick in &y.ticks {
        let at = y.px(tick);
        canvas.line([LEFT, at], [WIDTH - RIGHT, at], "grid");
        let label = format!("{:.0} %", 100.0 * tick);
        canvas.text([LEFT - 6.0, at + 4.0], Anchor::End, "soft", &label);
    }
    canvas.line([LEFT, BOTTOM], [WIDTH - RIGHT, BOTTOM], "axis");
    for &tick in &x.ticks {
        let at = x.px(tick);
        canvas.line([at, BOTTOM], [at, BOTTOM + 4.0], "axis");
        let label = tick_label(tick);
        canvas.text([at, BOTTOM + 17.0], Anchor::Middle, "soft", &label);
    }
    let middle = [(LEFT + WIDTH - RIGHT) / 2.0, BOTTOM + 33.0];
    canvas.text(middle, Anchor::Middle, "soft", "training items");
    (x, y)
}

/// The band, and over it the law from the smallest measured number of items to `last`.
fn law(
    canvas: &mut Canvas,
    curve: &LearningCurve,
    [least, last]: [usize; 2],
    (x, y): (&Axis, &Axis),
) {
    let mut sizes: Vec<usize> = (0..=STEPS)
        .map(|step| least + (last - least) * step / STEPS)
        .collect();
    sizes.dedup();
    let projected: Vec<_> = sizes
        .into_iter()
        .map(|size| (x.px(size as f64), curve.figure_at(size)))
        .collect();
    let share = |value: f64| y.px(value.clamp(0.0, 1.0));
    let upper = projected.iter().map(|(at, found)| [*at, share(found.high)]);
    let lower = projected.iter().map(|(at, found)| [*at, share(found.low)]);
    let outline: Vec<[f64; 2]> = upper.chain(lower.rev()).collect();
    canvas.polygon(&outline, "band");
    let line: Vec<[f64; 2]> = projected
        .iter()
        .map(|(at, found)| [*at, share(found.value)])
        .collect();
    canvas.polyline(&line, "l1");
}
