//! What can be drawn: rectangles, lines, dots and text, at CSS pixels, coloured by class.

use std::fmt::Write;

/// Height of a line of plot text, in pixels.
pub(super) const LINE_PX: f64 = 16.0;

/// Mean width of a character of 12 px plot text; generous, because pages are shown with fonts we do not know.
const CHAR_PX: f64 = 6.9;

/// An SVG body that is being drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text lies relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Canvas {
    /// An empty canvas; sizes are rounded up to whole pixels.
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self {
            width: width.ceil(),
            height: height.ceil(),
            body: String::new(),
        }
    }

    pub(super) fn width(&self) -> f64 {
        self.width
    }

    pub(super) fn height(&self) -> f64 {
        self.height
    }

    pub(super) fn body(&self) -> &str {
        &self.body
    }

    /// A filled rectangle from its upper left corner.
    pub(super) fn rect(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], class: &str) {
        self.push(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        ));
    }

    /// A square whose colour is as strong as `share` (0..=1) says, with a tooltip.
    pub(super) fn heat(&mut self, [x, y]: [f64; 2], side: f64, share: f64, tooltip: &str) {
        let tooltip = escape(tooltip);
        self.push(format_args!(
            "<rect class=\"heat\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{side:.1}\" height=\"{side:.1}\" \
             fill-opacity=\"{share:.3}\"><title>{tooltip}</title></rect>"
        ));
    }

    pub(super) fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], class: &str) {
        self.push(format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    pub(super) fn polyline(&mut self, points: &[[f64; 2]], class: &str) {
        let path = path(points);
        self.push(format_args!(
            "<polyline class=\"{class}\" points=\"{path}\"/>"
        ));
    }

    /// The filled shape within these corners.
    pub(super) fn polygon(&mut self, corners: &[[f64; 2]], class: &str) {
        let path = path(corners);
        self.push(format_args!(
            "<polygon class=\"{class}\" points=\"{path}\"/>"
        ));
    }

    pub(super) fn dot(&mut self, [x, y]: [f64; 2], radius: f64, class: &str) {
        self.push(format_args!(
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"/>"
        ));
    }

    /// A line of text whose baseline passes through the point.
    pub(super) fn text(&mut self, [x, y]: [f64; 2], anchor: Anchor, class: &str, text: &str) {
        let (anchor, text) = (anchor.name(), escape(text));
        self.push(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    /// Text that rises to the right at 45 degrees from the point.
    pub(super) fn slanted_text(&mut self, [x, y]: [f64; 2], class: &str, text: &str) {
        let text = escape(text);
        self.push(format_args!(
            "<text class=\"{class}\" transform=\"translate({x:.1} {y:.1}) rotate(-45)\">{text}</text>"
        ));
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        self.body
            .write_fmt(element)
            .expect("writing to a string cannot fail");
    }
}

/// Points as SVG writes them.
fn path(points: &[[f64; 2]]) -> String {
    let mut path = String::new();
    for [x, y] in points {
        write!(path, "{x:.1},{y:.1} ").expect("writing to a string cannot fail");
    }
    path.trim_end().to_owned()
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// Room that `text` takes at 12 px, in pixels.
pub(super) fn text_width_px(text: &str) -> f64 {
    text.chars().count() as f64 * CHAR_PX
}

/// `text`, cut to `max_chars` with an ellipsis.
pub(super) fn shortened(text: &str, max_chars: usize) -> String {
    if text.chars().count() <= max_chars {
        return text.to_owned();
    }
    let kept: String = text.chars().take(max_chars.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Makes foreign text safe inside an element or a quoted attribute of HTML and XML. Characters that XML cannot hold become U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML 1.0, production 2.
            '\t' | '\n' | '\r' => escaped.push(character),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn foreign_text_is_made_safe() {
        let cases = [
            ("<script>", "&lt;script&gt;"),
            ("a\" onload='x' & b", "a&quot; onload=&#39;x&#39; &amp; b"),
            ("bell \u{7}", "bell \u{fffd}"),
            ("草 ok", "草 ok"),
        ];
        for (text, expected) in cases {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn long_names_are_cut() {
        let cases = [
            ("bridge", 6, "bridge"),
            ("bridge_down", 7, "bridge…"),
            ("wild boar x", 6, "wild…"),
        ];
        for (text, max, expected) in cases {
            assert_eq!(shortened(text, max), expected);
        }
    }

    proptest! {
        #[test]
        fn no_markup_survives(text: String) {
            prop_assert!(!escape(&text).contains(['<', '>', '"', '\'']));
        }
    }
}
