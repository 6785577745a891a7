//! Colours, in one place for the page and the plots.

use std::fmt::Write;

const PLOT_CSS: &str = include_str!("plot.css");

/// `(variable, light, dark)`. The series colours follow Okabe and Ito, which colour-blind readers can tell apart.
const COLOURS: [(&str, &str, &str); 14] = [
    ("paper", "#ffffff", "#15181c"),
    ("ink", "#1c2127", "#e8eaed"),
    ("soft", "#5b6570", "#a3adb8"),
    ("grid", "#e1e5e9", "#2e343b"),
    ("track", "#f1f3f5", "#1f242a"),
    ("base", "#8a5a00", "#e0b054"),
    ("s0", "#0067a8", "#58b1ea"),
    ("s1", "#cc5200", "#f59a5b"),
    ("s2", "#00805c", "#45cba0"),
    ("s3", "#a04a80", "#dd93c0"),
    ("good", "#00704f", "#45cba0"),
    ("open", "#8a5a00", "#e0b054"),
    ("bad", "#b3261e", "#ff8a80"),
    ("link", "#0067a8", "#58b1ea"),
];

/// The variables of both schemes, for the page.
pub(crate) fn page_style() -> String {
    let (mut light, mut dark) = (String::new(), String::new());
    for (name, on_light, on_dark) in COLOURS {
        write!(light, "--{name}:{on_light};").expect("writing to a string cannot fail");
        write!(dark, "--{name}:{on_dark};").expect("writing to a string cannot fail");
    }
    // Paper is white whatever the screen is.
    format!(
        ":root{{color-scheme:light dark;{light}}}\
         @media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    )
}

/// The rules of plots, for a page that holds [`page_style`]. They apply inside `.plot` only.
pub(crate) fn plot_style() -> String {
    let mut style = String::new();
    for rule in PLOT_CSS.lines() {
        let (selectors, body) = rule.split_once('{').unwrap_or((rule, "}"));
        let selectors: Vec<String> = selectors
            .split(',')
            .map(|selector| format!(".plot {selector}"))
            .collect();
        writeln!(style, "{}{{{body}", selectors.join(","))
            .expect("writing to a string cannot fail");
    }
    style
}

/// The rules of plots with the light colours put in, for a file on its own.
pub(super) fn light_plot_style() -> String {
    COLOURS
        .iter()
        .fold(PLOT_CSS.to_owned(), |css, (name, light, _)| {
            css.replace(&format!("var(--{name})"), light)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_its_own_refers_to_no_variable() {
        assert!(!light_plot_style().contains("var("));
    }

    #[test]
    fn page_rules_stay_inside_plots() {
        for rule in plot_style().lines() {
            let selectors = rule
                .split('{')
                .next()
                .expect("split gives at least one part");
            assert!(
                selectors
                    .split(',')
                    .all(|selector| selector.starts_with(".plot ")),
                "{rule}"
            );
        }
    }
}
