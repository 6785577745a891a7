//! Horizontal bars: recall by class, and label counts by split.

use super::Plot;
use super::axis::{Axis, tick_label};
use super::canvas::{Anchor, Canvas, LINE_PX, shortened, text_width_px};
use crate::table::percent;
use crate::{Classification, SplitCounts};

const WIDTH: f64 = 460.0;
const MAX_NAME: usize = 20;
const ROW: f64 = 24.0;

/// Recall of every class with its Wilson interval and support.
pub(super) fn recall_plot(classification: &Classification) -> Plot {
    let left = name_width(classification.classes.iter()) + 10.0;
    let right = 62.0;
    let top = 26.0;
    let bottom = top + ROW * classification.per_class.len() as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 22.0);
    let axis = share_axis(&mut canvas, [left, WIDTH - right], [top, bottom]);
    canvas.text([WIDTH, 14.0], Anchor::End, "soft", "right / n");
    for (idx, class) in classification.per_class.iter().enumerate() {
        let middle = top + ROW * (idx as f64 + 0.5);
        let name = shortened(&class.name, MAX_NAME);
        canvas.text([left - 8.0, middle + 4.0], Anchor::End, "ink", &name);
        let correct = (class.recall.value * class.support as f64).round();
        let label = match class.support {
            0 => "no item".to_owned(),
            support => format!("{correct} / {support}"),
        };
        canvas.text([WIDTH, middle + 4.0], Anchor::End, "soft", &label);
        if class.support > 0 {
            let zero = axis.px(0.0);
            let length = axis.px(class.recall.value) - zero;
            canvas.rect([zero, middle - 7.0], [length, 14.0], "bar");
            let interval = class.recall.interval;
            whisker(
                &mut canvas,
                [axis.px(interval.low), axis.px(interval.high)],
                middle,
            );
        }
    }
    if let Some(figure) = classification.figure("mean_class_accuracy") {
        let x = axis.px(figure.baseline.value);
        canvas.line([x, top - 2.0], [x, bottom], "base");
        let label = format!("baseline mean {}", percent(figure.baseline.value));
        canvas.text(
            [(x - 4.0).max(left), 14.0],
            Anchor::Start,
            "soft small",
            &label,
        );
    }
    Plot::new(
        "class_recall",
        "Recall of every class with its 95 % interval",
        canvas,
    )
}

/// Number of items of every class in every split; `None` without splits.
pub(super) fn label_plot(classes: &[String], splits: &[SplitCounts]) -> Option<Plot> {
    if splits.is_empty() {
        return None;
    }
    let bar = if splits.len() == 1 { 14.0 } else { 11.0 };
    let row = bar * splits.len() as f64 + 10.0;
    let left = name_width(classes.iter()) + 10.0;
    let top = 30.0;
    let bottom = top + row * classes.len() as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 6.0);
    let most = splits
        .iter()
        .flat_map(|split| &split.per_class)
        .max()
        .copied()
        .unwrap_or(0);
    let axis = Axis::new([0.0, most as f64], [left, WIDTH - 46.0], 4);

    let mut x = left;
    for (idx, split) in splits.iter().enumerate() {
        canvas.rect([x, 5.0], [11.0, 11.0], fill(idx));
        let name = format!("{} ({})", split.split, split.items);
        canvas.text([x + 16.0, 15.0], Anchor::Start, "ink", &name);
        x += 16.0 + text_width_px(&name) + 12.0;
    }
    canvas.line([left, top - 4.0], [left, bottom], "axis");
    for (class, name) in classes.iter().enumerate() {
        let y = top + row * class as f64;
        let middle = y + (row - 10.0) / 2.0 + 4.0;
        canvas.text(
            [left - 8.0, middle],
            Anchor::End,
            "ink",
            &shortened(name, MAX_NAME),
        );
        for (idx, split) in splits.iter().enumerate() {
            let count = split.per_class.get(class).copied().unwrap_or(0);
            let y = y + bar * idx as f64;
            let end = axis.px(count as f64);
            canvas.rect([left, y + 0.5], [end - left, bar - 1.0], fill(idx));
            let label = tick_label(count as f64);
            canvas.text(
                [end + 4.0, y + bar - 2.0],
                Anchor::Start,
                "soft small",
                &label,
            );
        }
    }
    Some(Plot::new(
        "label_counts",
        "Number of items of every class in every split",
        canvas,
    ))
}

fn fill(series: usize) -> &'static str {
    ["f0", "f1", "f2", "f3"][series % 4]
}

/// A vertical grid from 0 to 100 %, with its labels below.
pub(super) fn share_axis(canvas: &mut Canvas, x: [f64; 2], [top, bottom]: [f64; 2]) -> Axis {
    let axis = Axis::new([0.0, 1.0], x, 4);
    for &tick in &axis.ticks {
        let x = axis.px(tick);
        canvas.line(
            [x, top],
            [x, bottom],
            if tick == 0.0 { "axis" } else { "grid" },
        );
        let label = format!("{:.0} %", 100.0 * tick);
        canvas.text([x, bottom + LINE_PX], Anchor::Middle, "soft", &label);
    }
    axis
}

/// An interval as a line with two ends.
pub(super) fn whisker(canvas: &mut Canvas, [low, high]: [f64; 2], y: f64) {
    canvas.line([low, y], [high, y], "whisker");
    for x in [low, high] {
        canvas.line([x, y - 4.0], [x, y + 4.0], "whisker");
    }
}

/// Room for the longest name, in pixels.
fn name_width<'a>(names: impl Iterator<Item = &'a String>) -> f64 {
    names
        .map(|name| text_width_px(&shortened(name, MAX_NAME)))
        .fold(40.0, f64::max)
}
