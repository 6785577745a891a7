//! Reliability diagrams, and the risk of answers by their coverage.

use super::Plot;
use super::axis::Axis;
use super::canvas::{Anchor, Canvas, text_width_px};
use crate::{ReliabilityBin, Selective};

const WIDTH: f64 = 460.0;
const SIDE: f64 = 250.0;
const LEFT: f64 = 58.0;
const TOP: f64 = 30.0;

/// How often the best-scored class is right by its score; beside it the same before a calibration, where there is one.
/// `None` where scores are no probabilities.
pub(super) fn reliability_plot(
    now: &[ReliabilityBin],
    before: Option<&[ReliabilityBin]>,
) -> Option<Plot> {
    if now.is_empty() {
        return None;
    }
    let bottom = TOP + SIDE;
    let mut canvas = Canvas::new(WIDTH, bottom + 44.0);
    let right = WIDTH - 26.0;
    let x = shares(&mut canvas, [LEFT, right], [TOP, bottom], true);
    let y = shares(&mut canvas, [bottom, TOP], [LEFT, right], false);
    canvas.text(
        [(LEFT + right) / 2.0, bottom + 38.0],
        Anchor::Middle,
        "soft",
        "score of the answer",
    );
    canvas.text([4.0, 14.0], Anchor::Start, "soft", "right answers");
    // Where a score is the share of right answers.
    canvas.line([x.px(0.0), y.px(0.0)], [x.px(1.0), y.px(1.0)], "base");
    let mut legend = 110.0;
    let mut name = |canvas: &mut Canvas, class: &str, text: &str| {
        canvas.dot([legend, 10.0], 4.0, class);
        canvas.text([legend + 9.0, 14.0], Anchor::Start, "ink", text);
        legend += 26.0 + text_width_px(text);
    };
    if let Some(before) = before {
        name(&mut canvas, "f1", "before");
        draw(&mut canvas, before, [&x, &y], ["l1", "f1"], -2.0);
        name(&mut canvas, "f0", "calibrated");
    } else {
        name(&mut canvas, "f0", "model");
    }
    draw(&mut canvas, now, [&x, &y], ["whisker", "f0"], 2.0);
    canvas.line([legend - 6.0, 10.0], [legend + 10.0, 10.0], "base");
    canvas.text(
        [legend + 15.0, 14.0],
        Anchor::Start,
        "ink",
        "as it should be",
    );
    Some(Plot::new(
        "reliability",
        "How often an answer is right, by its score",
        canvas,
    ))
}

/// The bins that hold items: a dot at mean score and share of right answers, its area by the items, its interval as a line.
fn draw(
    canvas: &mut Canvas,
    bins: &[ReliabilityBin],
    [x, y]: [&Axis; 2],
    [line, fill]: [&str; 2],
    shift: f64,
) {
    let most = bins.iter().map(|bin| bin.support).max().unwrap_or(1) as f64;
    for bin in bins.iter().filter(|bin| bin.support > 0) {
        let at = x.px(bin.confidence) + shift;
        canvas.line(
            [at, y.px(bin.interval.low)],
            [at, y.px(bin.interval.high)],
            line,
        );
        let radius = 2.5 + 4.0 * (bin.support as f64 / most).sqrt();
        canvas.dot([at, y.px(bin.accuracy)], radius, fill);
    }
}

/// The share of wrong answers by the share of items that are answered, the surest first.
pub(super) fn coverage_plot(selective: &Selective) -> Option<Plot> {
    let last = selective.curve.last()?;
    let highest = selective
        .curve
        .iter()
        .map(|point| point.risk)
        .fold(0.05, f64::max);
    let bottom = TOP + 0.75 * SIDE;
    let right = WIDTH - 26.0;
    let mut canvas = Canvas::new(WIDTH, bottom + 44.0);
    let x = shares(&mut canvas, [LEFT, right], [TOP, bottom], true);
    let y = Axis::rounded([0.0, highest], [bottom, TOP], 4);
    for &tick in &y.ticks {
        canvas.line([LEFT, y.px(tick)], [right, y.px(tick)], "grid");
        let label = format!("{:.0} %", 100.0 * tick);
        canvas.text([LEFT - 6.0, y.px(tick) + 4.0], Anchor::End, "soft", &label);
    }
    canvas.line([LEFT, bottom], [right, bottom], "axis");
    canvas.text(
        [(LEFT + right) / 2.0, bottom + 38.0],
        Anchor::Middle,
        "soft",
        "items answered, the surest first",
    );
    canvas.text([4.0, 14.0], Anchor::Start, "soft", "wrong answers");
    // A score that says nothing: as many wrong answers at every coverage.
    canvas.line([LEFT, y.px(last.risk)], [right, y.px(last.risk)], "base");
    let points: Vec<[f64; 2]> = selective
        .curve
        .iter()
        .map(|point| [x.px(point.coverage), y.px(point.risk)])
        .collect();
    canvas.polyline(&points, "l0");
    canvas.dot([x.px(last.coverage), y.px(last.risk)], 4.0, "f0");
    canvas.line([110.0, 10.0], [126.0, 10.0], "l0");
    canvas.text([132.0, 14.0], Anchor::Start, "ink", "model");
    canvas.line([186.0, 10.0], [202.0, 10.0], "base");
    canvas.text(
        [208.0, 14.0],
        Anchor::Start,
        "ink",
        "a score that says nothing",
    );
    if let Some(rejection) = &selective.rejection {
        let kept = selective
            .curve
            .iter()
            .rev()
            .find(|point| point.threshold >= rejection.below);
        if let Some(point) = kept {
            let at = x.px(point.coverage);
            canvas.line([at, TOP], [at, bottom], "mark");
            let (anchor, dx) = if at > WIDTH / 2.0 {
                (Anchor::End, -4.0)
            } else {
                (Anchor::Start, 4.0)
            };
            canvas.text(
                [at + dx, TOP + 12.0],
                anchor,
                "soft small",
                "threshold in use",
            );
        }
    }
    Some(Plot::new(
        "coverage",
        "Wrong answers, by how many items are answered",
        canvas,
    ))
}

/// An axis of shares from 0 to 100 % with its grid, which spans `across`: of columns where `is_horizontal`, else of rows.
fn shares(canvas: &mut Canvas, px: [f64; 2], across: [f64; 2], is_horizontal: bool) -> Axis {
    let axis = Axis::new([0.0, 1.0], px, 4);
    for &tick in &axis.ticks {
        let at = axis.px(tick);
        let label = format!("{:.0} %", 100.0 * tick);
        let class = if tick == 0.0 { "axis" } else { "grid" };
        if is_horizontal {
            canvas.line([at, across[0]], [at, across[1]], class);
            canvas.text([at, across[1] + 17.0], Anchor::Middle, "soft", &label);
        } else {
            canvas.line([across[0], at], [across[1], at], class);
            canvas.text([across[0] - 6.0, at + 4.0], Anchor::End, "soft", &label);
        }
    }
    axis
}
