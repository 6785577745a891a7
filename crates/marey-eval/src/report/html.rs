//! `report.html`: the page around the sections.

use super::{Report, sections};
use crate::plot::{Plot, escape, page_style, plot_style};
use crate::{SCHEMA_VERSION, Standing};

const STYLE: &str = include_str!("style.css");

/// The whole page. Everything that a person wrote, file names and class names included, passes through [`escape`].
pub(super) fn page(report: &Report) -> String {
    let plots = report.plots();
    let sections: Vec<String> = [
        sections::figures(report, &plots),
        sections::comparisons(report),
        sections::classes(report, &plots),
        sections::training(&plots),
        sections::mistakes(report),
        sections::data(report, &plots),
        sections::recipe(report),
        sections::reproduce(report),
    ]
    .into_iter()
    .flatten()
    .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{}\n{}{STYLE}</style>\n</head>\n<body>\n\
         <h1>{name}, evaluated on {split}</h1>\n{}{}{}\
         <footer>Written by marey{}. The same in numbers: report.json, schema version \
         {SCHEMA_VERSION}.</footer>\n</body>\n</html>\n",
        page_style(),
        plot_style(),
        verdict(report),
        warnings(report),
        sections.concat(),
        version(report),
        title = escape(&format!("{}: {}", report.name, report.split)),
        name = escape(&report.name),
        split = escape(&report.split),
    )
}

fn version(report: &Report) -> String {
    match report.origin.version.as_str() {
        "" => String::new(),
        version => format!(" {}", escape(version)),
    }
}

fn verdict(report: &Report) -> String {
    let mood = match report.headline_figure().map(crate::Figure::standing) {
        Some(Standing::Above) => "above",
        Some(Standing::Below) => "below",
        Some(Standing::Undecided) | None => "undecided",
    };
    let (leak, sentence) = report.verdict_parts();
    let leak = match leak {
        Some(leak) => format!("<p class=\"leak\">{}</p>\n", escape(&leak)),
        None => String::new(),
    };
    format!(
        "<div class=\"verdict {mood}\">\n{leak}<p>{}</p>\n</div>\n",
        unbroken(&escape(&sentence))
    )
}

/// Keeps a number and its percent sign, and the two ends of an interval, on one line.
fn unbroken(html: &str) -> String {
    html.replace(" %", "&nbsp;%")
        .replace('–', "&#8288;–&#8288;")
}

fn warnings(report: &Report) -> String {
    let warnings = &report.classification.warnings;
    if warnings.is_empty() {
        return String::new();
    }
    let entries: String = warnings
        .iter()
        .map(|warning| format!("<li>{}</li>\n", escape(&capitalised(warning))))
        .collect();
    format!("<p>Before believing the figures:</p>\n<ul class=\"warnings\">\n{entries}</ul>\n")
}

/// A section with a heading.
pub(super) fn section(heading: &str, body: &str) -> String {
    format!("<section>\n<h2>{heading}</h2>\n{body}</section>\n")
}

/// The plot of this name as a figure; empty where there is none.
pub(super) fn figure(plots: &[Plot], name: &str) -> String {
    let Some(plot) = plots.iter().find(|plot| plot.name() == name) else {
        return String::new();
    };
    // A plot wider than a column scrolls by itself; a smaller one shrinks with the page.
    let class = if plot.size_px()[0] > 600.0 {
        " class=\"wide\""
    } else {
        ""
    };
    format!(
        "<figure{class}>\n<figcaption>{}</figcaption>\n{}\n</figure>\n",
        escape(plot.title()),
        plot.to_inline_svg()
    )
}

/// A table that scrolls sideways where it is too wide. Cells are HTML: callers escape.
pub(super) fn table(class: &str, heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: String = heads
        .iter()
        .map(|head| format!("<th>{head}</th>"))
        .collect();
    let rows: String = rows
        .iter()
        .map(|row| {
            let cells: String = row.iter().map(|cell| format!("<td>{cell}</td>")).collect();
            format!("<tr>{cells}</tr>\n")
        })
        .collect();
    format!(
        "<div class=\"scroll\"><table class=\"{class}\">\n<thead><tr>{heads}</tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// A path or a class name, made safe, that a narrow table may break where a reader would.
pub(super) fn breakable(name: &str) -> String {
    escape(name).replace('/', "/<wbr>").replace('_', "_<wbr>")
}

/// With its first letter as a capital.
pub(super) fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}
