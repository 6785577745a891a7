//! All figures with their intervals on one scale, beside their baselines.

use super::Plot;
use super::bars::{share_axis, whisker};
use super::canvas::{Anchor, Canvas, shortened, text_width_px};
use crate::table::percent;
use crate::{Classification, Comparison, Scale};

const WIDTH: f64 = 500.0;
const ROW: f64 = 30.0;

/// Comparisons drawn: more rows of marks would not be told apart.
const MAX_COMPARISONS: usize = 2;

pub(super) fn plot(classification: &Classification) -> Plot {
    // Macro recall is the same number as mean class accuracy. Only shares fit the axis, where further right is better.
    let figures: Vec<_> = classification
        .figures
        .iter()
        .filter(|figure| figure.name != "macro_recall" && figure.scale == Scale::Share)
        .collect();
    let comparisons: Vec<&Comparison> = classification
        .comparisons
        .iter()
        .take(MAX_COMPARISONS)
        .collect();
    let row = ROW + 8.0 * comparisons.len() as f64;
    let longest = figures
        .iter()
        .map(|figure| text_width_px(&figure.title))
        .fold(0.0, f64::max);
    let left = longest + 16.0;
    let right = 58.0;
    let (top, bottom) = (32.0, 32.0 + row * figures.len() as f64);
    let mut canvas = Canvas::new(WIDTH, bottom + 22.0);
    draw_legend(&mut canvas, &comparisons);
    let axis = share_axis(&mut canvas, [left, WIDTH - right], [top, bottom]);
    for (idx, figure) in figures.iter().enumerate() {
        let row_top = top + row * idx as f64;
        let y = row_top + ROW / 2.0;
        canvas.text([left - 14.0, y + 4.0], Anchor::End, "ink", &figure.title);
        canvas.text(
            [WIDTH, y + 4.0],
            Anchor::End,
            "ink strong",
            &percent(figure.value),
        );
        // A correlation may be below 0.
        let x = axis.px(figure.baseline.value.clamp(0.0, 1.0));
        canvas.line([x, y - 10.0], [x, y + 10.0], "base-tick");
        let interval = figure.widest_interval();
        whisker(
            &mut canvas,
            [interval.low, interval.high].map(|end| axis.px(end.clamp(0.0, 1.0))),
            y,
        );
        canvas.dot([axis.px(figure.value.clamp(0.0, 1.0)), y], 5.0, "f0");
        for (series, comparison) in comparisons.iter().enumerate() {
            let found = comparison
                .differences
                .iter()
                .find(|entry| entry.figure == figure.name);
            let Some(entry) = found else { continue };
            let y = y + 12.0 + 8.0 * series as f64;
            let line = format!("l{}", series + 1);
            let interval = entry.baseline_interval;
            canvas.line(
                [axis.px(interval.low), y],
                [axis.px(interval.high), y],
                &line,
            );
            canvas.dot([axis.px(entry.baseline), y], 3.5, &format!("{line} open"));
        }
    }
    Plot::new(
        "figures",
        "Figures with their 95 % intervals, beside their baselines",
        canvas,
    )
}

fn draw_legend(canvas: &mut Canvas, comparisons: &[&Comparison]) {
    let y = 14.0;
    canvas.dot([8.0, y - 4.0], 5.0, "f0");
    canvas.text([18.0, y], Anchor::Start, "ink", "model");
    canvas.line([80.0, y - 12.0], [80.0, y + 3.0], "base-tick");
    canvas.text([88.0, y], Anchor::Start, "ink", "trivial baseline");
    let mut x = 88.0 + text_width_px("trivial baseline") + 20.0;
    for (series, comparison) in comparisons.iter().enumerate() {
        let name = shortened(&comparison.name, 26);
        canvas.dot([x, y - 4.0], 3.5, &format!("l{} open", series + 1));
        canvas.text([x + 10.0, y], Anchor::Start, "ink", &name);
        x += 10.0 + text_width_px(&name) + 20.0;
    }
}
