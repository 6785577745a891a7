//! A [`Classification`] as plain text for a terminal.

use std::fmt::{self, Display, Formatter};

use crate::{Classification, Comparison, Interval};

/// Groups listed in a terminal; `report.json` has all.
const MAX_GROUPS: usize = 10;

impl Display for Classification {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, {} classes; 95 % intervals",
            self.evidence(),
            self.classes.len()
        )?;
        writeln!(f)?;
        write_table(f, &self.figure_rows())?;
        let baselines: Vec<&str> = self.baseline_names();
        for (idx, name) in baselines.iter().enumerate() {
            writeln!(
                f,
                "{} {name}",
                if idx == 0 { "baseline:" } else { "         " }
            )?;
        }
        writeln!(f)?;
        write_table(f, &self.class_rows())?;
        if self.groups.len() > 1 {
            writeln!(f, "\ngroups, the worst first\n")?;
            write_table(f, &self.group_rows())?;
        }
        for comparison in &self.comparisons {
            writeln!(
                f,
                "\nbeside {} ({} items)\n",
                comparison.name, comparison.support
            )?;
            write_table(f, &comparison_rows(comparison))?;
            if let Some(mcnemar) = &comparison.mcnemar {
                writeln!(f, "  {mcnemar}")?;
            }
        }
        if !self.warnings.is_empty() {
            writeln!(f)?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}

impl Classification {
    /// "120 items of 24 groups".
    pub(crate) fn evidence(&self) -> String {
        match self.num_groups {
            Some(groups) => format!(
                "{} of {}",
                count(self.num_items, "item"),
                count(groups, "group")
            ),
            None => count(self.num_items, "item"),
        }
    }

    /// Names of the baselines, each once, in order of appearance.
    pub(crate) fn baseline_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for figure in &self.figures {
            if !names.contains(&figure.baseline.name.as_str()) {
                names.push(&figure.baseline.name);
            }
        }
        names
    }

    fn figure_rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![row([
            "figure", "value", "interval", "by group", "items", "baseline",
        ])];
        for figure in &self.figures {
            rows.push(vec![
                figure.title.clone(),
                figure.scale.text(figure.value),
                figure.scale.range_text(&figure.interval),
                match figure.group_interval {
                    Some(interval) => figure.scale.range_text(&interval),
                    None if figure.interval.method.is_by_group() => "same".into(),
                    None => "-".into(),
                },
                figure.support.to_string(),
                figure.scale.text(figure.baseline.value),
            ]);
        }
        drop_empty_column(rows, 3)
    }

    /// Recall and F1 only: a terminal has no room for the interval and the baseline of precision too, and without them no figure is
    /// printed. The report has all three.
    fn class_rows(&self) -> Vec<Vec<String>> {
        let heads = [
            "class", "items", "recall", "interval", "baseline", "F1", "interval", "baseline",
        ];
        let mut rows = vec![row(heads)];
        for class in &self.per_class {
            let mut cells = vec![class.name.clone(), class.support.to_string()];
            for estimate in [&class.recall, &class.f1] {
                cells.extend(match estimate.support {
                    0 => ["-".to_owned(), "-".to_owned()],
                    _ => [percent(estimate.value), range(&estimate.interval)],
                });
                cells.push(percent(estimate.baseline));
            }
            rows.push(cells);
        }
        rows
    }
}

impl Classification {
    /// The worst groups and, if some were left out, how many.
    fn group_rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![row(["group", "items", "accuracy", "interval", "baseline"])];
        for group in self.groups.iter().take(MAX_GROUPS) {
            rows.push(vec![
                group.group.clone(),
                group.support.to_string(),
                percent(group.accuracy),
                range(&group.interval),
                percent(group.baseline),
            ]);
        }
        if let Some(more) = self.groups.len().checked_sub(MAX_GROUPS).filter(|&n| n > 0) {
            rows.push(row([&format!("{more} more"), "", "", "", ""]));
        }
        rows
    }
}

/// One row a figure: both values and the difference with its interval.
pub(crate) fn comparison_rows(comparison: &Comparison) -> Vec<Vec<String>> {
    let mut rows = vec![row([
        "figure",
        "model",
        "other",
        "interval",
        "difference",
        "interval",
    ])];
    for difference in &comparison.differences {
        rows.push(vec![
            difference.title.clone(),
            difference.scale.text(difference.model),
            difference.scale.text(difference.baseline),
            difference.scale.range_text(&difference.baseline_interval),
            difference.scale.difference_text(difference.difference),
            difference.scale.difference_range_text(&difference.interval),
        ]);
    }
    rows
}

/// "1 item", "2 items".
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A share as a percentage with one decimal.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A difference of shares in percentage points, with its sign.
pub(crate) fn points(difference: f64) -> String {
    // Avoids "-0.0".
    let rounded = (1000.0 * difference).round() / 10.0 + 0.0;
    format!("{rounded:+.1}")
}

/// The two ends as percentages.
pub(crate) fn range(interval: &Interval) -> String {
    format!("{:.1}–{:.1} %", 100.0 * interval.low, 100.0 * interval.high)
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Leaves a column out in which every row below the head is "-".
fn drop_empty_column(mut rows: Vec<Vec<String>>, column: usize) -> Vec<Vec<String>> {
    if rows[1..].iter().all(|row| row[column] == "-") {
        for row in &mut rows {
            row.remove(column);
        }
    }
    rows
}

/// Aligns columns with spaces: the first to the left, the others to the right.
pub(crate) fn write_table(f: &mut Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        writeln!(f, "  {}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
