//! `report.html`: the page around the sections.

use super::words::{plain_verdict, words};
use super::{Report, doubts, gallery, labels, recordings, sections, trust};
use crate::plot::{Plot, escape, page_style, plot_style};
use crate::{SCHEMA_VERSION, Severity, Standing};

const STYLE: &str = include_str!("style.css");

/// A part of the page under a heading of its own.
pub(crate) struct Section {
    pub(crate) heading: &'static str,
    /// HTML.
    pub(crate) body: String,
}

/// The whole page. Everything that a person wrote, file names and class names included, passes through [`escape`].
pub(super) fn page(report: &Report) -> String {
    let plots = report.plots();
    let sections = [
        sections::figures(report, &plots),
        sections::comparisons(report),
        sections::classes(report, &plots),
        trust::trust(report, &plots),
        doubts::gaps(report),
        recordings::events(report),
        recordings::anomalies(report),
        labels::labels(report),
        gallery::confusions(report),
        gallery::groups(report),
        gallery::mistakes(report),
        doubts::labels(report),
        sections::findings(report),
        sections::training(&plots),
        sections::data(report, &plots),
        sections::recipe(report),
        sections::reproduce(report),
        Some(words(report)),
    ];
    let sections: Vec<Section> = sections.into_iter().flatten().collect();
    let head = Head {
        title: &format!("{}: {}", report.name, report.split),
        heading: &format!("{}, evaluated on {}", report.name, report.split),
        version: &report.origin.version,
        files: "report.json",
    };
    let top = format!(
        "{}{}{}",
        verdict(report),
        plain_verdict(report),
        warnings(report)
    );
    document(&head, &top, &sections)
}

/// What a page says about itself; plain text.
pub(crate) struct Head<'a> {
    pub(crate) title: &'a str,
    pub(crate) heading: &'a str,
    /// Version of the program, or nothing.
    pub(crate) version: &'a str,
    /// The file that holds the same in numbers.
    pub(crate) files: &'a str,
}

/// A page of its own: no request, no script. `top` is HTML.
pub(crate) fn document(head: &Head<'_>, top: &str, sections: &[Section]) -> String {
    let links: String = sections
        .iter()
        .map(|section| {
            let (id, heading) = (id(section), section.heading);
            format!("<a href=\"#{id}\">{heading}</a>\n")
        })
        .collect();
    let sections: String = sections
        .iter()
        .map(|section| {
            let Section { heading, body } = section;
            let id = id(section);
            format!("<section id=\"{id}\">\n<h2>{heading}</h2>\n{body}</section>\n")
        })
        .collect();
    let version = match head.version {
        "" => String::new(),
        version => format!(" {}", escape(version)),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{}\n{}{STYLE}</style>\n</head>\n<body>\n\
         <h1>{}</h1>\n{top}<nav>\n{links}</nav>\n{sections}\
         <footer>Written by marey{version}. The same in numbers: {}, schema version \
         {SCHEMA_VERSION}.</footer>\n</body>\n</html>\n",
        escape(head.title),
        page_style(),
        plot_style(),
        escape(head.heading),
        head.files,
    )
}

/// The name that links within the page use.
fn id(section: &Section) -> String {
    let dashed = |character: char| match character {
        'a'..='z' => character,
        _ => '-',
    };
    section.heading.to_lowercase().chars().map(dashed).collect()
}

fn verdict(report: &Report) -> String {
    let mood = match report.headline_figure().map(crate::Figure::standing) {
        Some(Standing::Above) => "above",
        Some(Standing::Below) => "below",
        Some(Standing::Undecided) | None => "undecided",
    };
    let (leak, sentence) = report.verdict_parts();
    // What flatters the figures stands before them.
    let grave = report
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Stop)
        .map(|finding| finding.sentence.clone());
    let leak: String = leak
        .into_iter()
        .chain(grave)
        .map(|leak| format!("<p class=\"leak\">{}</p>\n", escape(&capitalised(&leak))))
        .collect();
    format!(
        "<div class=\"verdict {mood}\">\n{leak}<p>{}</p>\n</div>\n",
        unbroken(&escape(&sentence))
    )
}

/// Keeps a number and its percent sign, and the two ends of an interval, on one line.
pub(crate) fn unbroken(html: &str) -> String {
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

/// The plot of this name as a figure; empty where there is none.
pub(crate) fn figure(plots: &[Plot], name: &str) -> String {
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
pub(crate) fn table(class: &str, heads: &[&str], rows: &[Vec<String>]) -> String {
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
pub(crate) fn breakable(name: &str) -> String {
    escape(name).replace('/', "/<wbr>").replace('_', "_<wbr>")
}

/// With its first letter as a capital.
pub(crate) fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}
