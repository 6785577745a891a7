//! Runs side by side: their figures, and the differences from the first.

use super::Plot;
use super::axis::{Axis, tick_label};
use super::bars::share_axis;
use super::canvas::{Anchor, Canvas, LINE_PX, shortened, text_width_px};
use crate::{Difference, Figure, RunsCompared};

const WIDTH: f64 = 560.0;

/// Runs drawn: more rows of marks would not be told apart.
const MAX_RUNS: usize = 4;

/// Height of one run's mark, and the space between two figures.
const MARK: f64 = 14.0;
const GAP: f64 = 14.0;

/// Every figure of every run with its interval.
pub(super) fn runs_plot(runs: &RunsCompared) -> Plot {
    let shown = &runs.runs[..runs.runs.len().min(MAX_RUNS)];
    let figures: Vec<&Figure> = shown[0]
        .figures
        .iter()
        .filter(|figure| figure.name != "macro_recall")
        .collect();
    let titles: Vec<&str> = figures.iter().map(|figure| figure.title.as_str()).collect();
    let mut rows = Rows::new(&titles, shown.len());
    let names: Vec<&str> = shown.iter().map(|run| run.name.as_str()).collect();
    rows.legend(&names, 0);
    let axis = share_axis(&mut rows.canvas, rows.x, [rows.top, rows.bottom]);
    for (row, figure) in figures.iter().enumerate() {
        for (series, run) in shown.iter().enumerate() {
            let found = run.figures.iter().find(|other| other.name == figure.name);
            let Some(figure) = found else { continue };
            let interval = figure.widest_interval();
            let ends = [interval.low, figure.value, interval.high];
            // A correlation may be below 0.
            let ends = ends.map(|value| axis.px(value.clamp(0.0, 1.0)));
            rows.mark(row, series, series, ends);
        }
    }
    Plot::new(
        "runs",
        "Figures of every run with their 95 % intervals",
        rows.canvas,
    )
}

/// Every difference from the first run with its paired interval, in points.
pub(super) fn differences_plot(runs: &RunsCompared) -> Plot {
    let shown = &runs.versus[..runs.versus.len().min(MAX_RUNS - 1)];
    let differences: Vec<&Difference> = shown[0]
        .comparison
        .differences
        .iter()
        .filter(|difference| difference.figure != "macro_recall")
        .collect();
    let titles: Vec<&str> = differences
        .iter()
        .map(|difference| difference.title.as_str())
        .collect();
    let mut rows = Rows::new(&titles, shown.len());
    let names: Vec<&str> = shown.iter().map(|versus| versus.run.as_str()).collect();
    rows.legend(&names, 1);
    let ends = shown
        .iter()
        .flat_map(|versus| &versus.comparison.differences)
        .flat_map(|difference| [difference.interval.low, difference.interval.high]);
    let most = ends.map(f64::abs).fold(0.01, f64::max);
    let axis = Axis::rounded([-100.0 * most, 100.0 * most], rows.x, 6);
    for &tick in &axis.ticks {
        let x = axis.px(tick);
        let class = if tick == 0.0 { "axis" } else { "grid" };
        rows.canvas.line([x, rows.top], [x, rows.bottom], class);
        let sign = if tick > 0.0 { "+" } else { "" };
        let label = format!("{sign}{}", tick_label(tick));
        let place = [x, rows.bottom + LINE_PX];
        rows.canvas.text(place, Anchor::Middle, "soft", &label);
    }
    for (row, difference) in differences.iter().enumerate() {
        for (series, versus) in shown.iter().enumerate() {
            let Some(found) = versus.difference(&difference.figure) else {
                continue;
            };
            let ends = [found.interval.low, found.difference, found.interval.high];
            let ends = ends.map(|value| axis.px(100.0 * value));
            rows.mark(row, series, series + 1, ends);
        }
    }
    let title = format!(
        "Difference from {} in points, with its 95 % interval: right of 0 is better",
        shortened(&runs.runs[0].name, 24)
    );
    Plot::new("differences", title, rows.canvas)
}

/// A row a figure, in it a line a run.
struct Rows {
    canvas: Canvas,
    top: f64,
    bottom: f64,
    x: [f64; 2],
    row: f64,
}

impl Rows {
    fn new(titles: &[&str], num_series: usize) -> Self {
        let longest = titles
            .iter()
            .map(|title| text_width_px(title))
            .fold(0.0, f64::max);
        let row = MARK * num_series as f64 + GAP;
        let top = 30.0;
        let bottom = top + row * titles.len() as f64;
        let mut canvas = Canvas::new(WIDTH, bottom + 22.0);
        for (idx, title) in titles.iter().enumerate() {
            let middle = top + row * (idx as f64 + 0.5) + 4.0;
            canvas.text([longest + 2.0, middle], Anchor::End, "ink", title);
        }
        Self {
            canvas,
            top,
            bottom,
            x: [longest + 16.0, WIDTH - 20.0],
            row,
        }
    }

    /// Names of the runs; the first has colour `colour`.
    fn legend(&mut self, names: &[&str], colour: usize) {
        let mut x = 8.0;
        for (idx, name) in names.iter().enumerate() {
            let name = shortened(name, 18);
            self.canvas
                .dot([x, 10.0], 4.5, &format!("f{}", colour + idx));
            self.canvas
                .text([x + 10.0, 14.0], Anchor::Start, "ink", &name);
            x += 10.0 + text_width_px(&name) + 18.0;
        }
    }

    /// The interval and the value of a run, in pixels.
    fn mark(&mut self, row: usize, series: usize, colour: usize, [low, value, high]: [f64; 3]) {
        let y = self.top + self.row * row as f64 + GAP / 2.0 + MARK * (series as f64 + 0.5);
        self.canvas.line([low, y], [high, y], &format!("l{colour}"));
        self.canvas.dot([value, y], 4.5, &format!("f{colour}"));
    }
}
