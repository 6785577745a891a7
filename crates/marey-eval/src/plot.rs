//! Plots: one drawing code for the page and for PNG files.
//!
//! A plot is an SVG body whose colours and fonts come from classes. In the page, the page's style sheet colours it (light or dark);
//! as a file it carries the light colours with it, and `resvg` turns that same SVG into pixels with the font in `assets/`.

mod axis;

mod bars;

mod canvas;

mod confusion;

mod curves;

mod figures;

mod learning;

mod raster;

mod theme;

mod trust;

mod versus;

pub(crate) use canvas::escape;
pub(crate) use learning::plot as learning_plot;
pub(crate) use theme::{page_style, plot_style};

use canvas::{Anchor, Canvas, text_width_px};

use crate::{CurvePanel, Error, Report, RunsCompared};

/// Around a plot in a file of its own.
const MARGIN_PX: f64 = 18.0;

/// A plot, ready to be shown in a page or written to a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    name: &'static str,
    title: String,
    canvas: Canvas,
}

impl Plot {
    fn new(name: &'static str, title: impl Into<String>, canvas: Canvas) -> Self {
        Self {
            name,
            title: title.into(),
            canvas,
        }
    }

    /// Name of its file, without extension, such as `confusion_matrix`.
    pub fn name(&self) -> &str {
        self.name
    }

    /// What it shows, in words.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Width and height in the page, in CSS pixels; a file of its own is larger by its title and margin.
    pub fn size_px(&self) -> [f64; 2] {
        [self.canvas.width(), self.canvas.height()]
    }

    /// The SVG element for a page whose style sheet holds [`plot_style`].
    pub(crate) fn to_inline_svg(&self) -> String {
        svg(&self.title, self.size_px(), self.canvas.body())
    }

    /// The plot as an SVG file: with its title, a margin and the light colours.
    pub fn to_svg(&self) -> String {
        let [width, height] = self.size_px();
        let mut page = Canvas::new(
            width.max(text_width_px(&self.title)) + 2.0 * MARGIN_PX,
            height + 3.0 * MARGIN_PX,
        );
        let [page_width, page_height] = [page.width(), page.height()];
        page.rect([0.0, 0.0], [page_width, page_height], "background");
        page.text(
            [MARGIN_PX, 1.5 * MARGIN_PX],
            Anchor::Start,
            "strong",
            &self.title,
        );
        let body = format!(
            "<style>{}</style>{}<g transform=\"translate({MARGIN_PX} {})\">{}</g>",
            theme::light_plot_style(),
            page.body(),
            2.0 * MARGIN_PX,
            self.canvas.body()
        );
        svg(&self.title, [page_width, page_height], &body)
    }

    /// The plot as PNG, two pixels to a CSS pixel. Characters outside Latin, Greek and Cyrillic show as boxes: the font in this
    /// crate does not hold them. The SVG has no such limit.
    ///
    /// # Errors
    /// If the drawing cannot be turned into pixels, which would be a fault of this crate.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        raster::png_from_svg(&self.to_svg())
    }
}

fn svg(title: &str, [width, height]: [f64; 2], body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" role=\"img\" \
         aria-label=\"{}\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\
         {body}</svg>",
        escape(title)
    )
}

/// The plots of a comparison of runs, in the order of the page.
pub(crate) fn of_runs(runs: &RunsCompared) -> Vec<Plot> {
    vec![versus::runs_plot(runs), versus::differences_plot(runs)]
}

/// Every plot that the report has data for, in the order of the page.
pub(crate) fn all(report: &Report) -> Vec<Plot> {
    let classification = &report.classification;
    let mut plots = vec![
        figures::plot(classification),
        confusion::plot(classification),
        bars::recall_plot(classification),
    ];
    plots.extend(trust::reliability_plot(
        &classification.reliability,
        report
            .calibration
            .as_ref()
            .map(|calibration| &calibration.reliability_before[..]),
    ));
    plots.extend(report.selective.as_ref().and_then(trust::coverage_plot));
    let panels = [
        ("loss", "Loss by epoch", CurvePanel::Loss),
        (
            "validation_metrics",
            "Validation figures by epoch",
            CurvePanel::Metric,
        ),
        (
            "learning_rate",
            "Learning rate by epoch",
            CurvePanel::LearningRate,
        ),
    ];
    for (name, title, panel) in panels {
        plots.extend(curves::canvas(report, panel).map(|canvas| Plot::new(name, title, canvas)));
    }
    plots.extend(bars::label_plot(
        &classification.classes,
        &report.data.splits,
    ));
    plots
}
