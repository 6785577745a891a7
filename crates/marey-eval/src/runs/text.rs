//! A comparison of runs as plain text.

use std::fmt::{self, Display, Formatter};

use super::{RunsCompared, Versus};
use crate::Standing;
use crate::table::{comparison_rows, count, write_table};

impl Display for RunsCompared {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; 95 % intervals\n", evidence(self))?;
        let heads = [
            "run",
            "figure",
            "value",
            "interval",
            "baseline",
            "not matched",
        ];
        let mut rows = vec![heads.map(str::to_owned).to_vec()];
        for run in &self.runs {
            let figures = run.figures.iter();
            for figure in figures.filter(|figure| ["top1", &self.headline].contains(&&*figure.name))
            {
                rows.push(vec![
                    run.name.clone(),
                    figure.title.clone(),
                    figure.scale.text(figure.value),
                    figure.scale.range_text(&figure.widest_interval()),
                    figure.scale.text(figure.baseline.value),
                    run.num_unmatched.to_string(),
                ]);
            }
        }
        write_table(f, &rows)?;
        for versus in &self.versus {
            writeln!(
                f,
                "\n{} (model) beside {} (other)\n",
                versus.run, versus.comparison.name
            )?;
            write_table(f, &comparison_rows(&versus.comparison))?;
            writeln!(f, "\n{}", mcnemar_sentence(versus))?;
        }
        if !self.notes.is_empty() {
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        writeln!(f)?;
        for verdict in self.verdicts() {
            writeln!(f, "{verdict}")?;
        }
        Ok(())
    }
}

/// "48 items of 12 groups that every run scored".
pub(super) fn evidence(runs: &RunsCompared) -> String {
    let items = count(runs.num_items, "item");
    match runs.num_groups {
        Some(groups) => format!(
            "{items} of {} that every run scored",
            count(groups, "group")
        ),
        None => format!("{items} that every run scored"),
    }
}

/// One sentence on how a run stands against the first.
pub(super) fn verdict(runs: &RunsCompared, versus: &Versus) -> String {
    let (run, first) = (&versus.run, &versus.comparison.name);
    let Some(difference) = versus.difference(&runs.headline) else {
        return format!("{run} and {first} were not compared in {}.", runs.headline);
    };
    let answer = match versus.standing(&runs.headline) {
        Some(Standing::Above) => format!("{run} is better than {first}."),
        Some(Standing::Below) => format!("{run} is worse than {first}."),
        Some(Standing::Undecided) | None => {
            format!("These items do not show which of {run} and {first} is better.")
        }
    };
    format!(
        "{answer} {} is {} against {}: {}{} (95 % interval {}).",
        crate::report::page::capitalised(&difference.title),
        difference.scale.text(difference.model),
        difference.scale.text(difference.baseline),
        difference.scale.difference_text(difference.difference),
        difference.scale.difference_unit(),
        difference.scale.difference_range_text(&difference.interval),
    )
}

/// McNemar's test in words.
pub(super) fn mcnemar_sentence(versus: &Versus) -> String {
    let test = versus.mcnemar;
    let corrected = if versus.corrected_p_value == test.p_value {
        String::new()
    } else {
        format!(
            ", {} after Holm's correction for several comparisons",
            p_value(versus.corrected_p_value)
        )
    };
    format!(
        "{} only {} recognised, {} only {} did; McNemar's exact test: p = {}{corrected}",
        count(test.only_first as usize, "item"),
        versus.comparison.name,
        test.only_second,
        versus.run,
        p_value(test.p_value),
    )
}

/// Two digits that count; no more are believed.
fn p_value(p_value: f64) -> String {
    match p_value {
        p if p >= 0.1 => format!("{p:.2}"),
        p if p >= 0.001 => format!("{p:.3}"),
        p => format!("{p:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_are_short() {
        let cases = [
            (1.0, "1.00"),
            (0.754, "0.75"),
            (0.0215, "0.021"),
            (0.000_123, "1.2e-4"),
            (0.0, "0.0e0"),
        ];
        for (value, expected) in cases {
            assert_eq!(p_value(value), expected);
        }
    }
}
