//! Runs beside each other on the items that all of them scored.

mod page;

mod text;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::classify::outcomes_of;
use crate::files;
use crate::mcnemar::holm;
use crate::table::count;
use crate::{
    Bootstrap, Comparison, Difference, Error, ErrorKind, Figure, McNemar, Plot, SCHEMA_VERSION,
    Scored, Standing, classify, compare, mcnemar,
};

/// Most items kept in [`Versus::changed`].
const MAX_CHANGED: usize = 100;

/// A p value below this counts as a difference.
const SIGNIFICANT: f64 = 0.05;

/// What a run answered, as `predictions.csv` holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredRun {
    /// A name that tells it from the others.
    pub name: String,
    /// Class names, in index order.
    pub classes: Vec<String>,
    /// Its items and their scores.
    pub items: Vec<Scored>,
}

/// Two or more runs on the same items. `Display` prints it as a table for a terminal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunsCompared {
    /// [`SCHEMA_VERSION`] of the program that wrote it.
    pub schema_version: u32,
    /// Class names, in index order.
    pub classes: Vec<String>,
    /// Name of the figure that the verdict is about, such as `macro_f1`.
    pub headline: String,
    /// Number of items that all runs scored; every figure is computed on these.
    pub num_items: usize,
    /// Number of their groups, where any is known.
    pub num_groups: Option<usize>,
    /// The runs, in the order given; the first is the one that the others are compared with.
    pub runs: Vec<ComparedRun>,
    /// Each later run beside the first.
    pub versus: Vec<Versus>,
    /// What a reader must know before believing the figures, in plain sentences.
    pub notes: Vec<String>,
}

/// A run among others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComparedRun {
    /// Its name.
    pub name: String,
    /// Number of its items that not all of the runs scored; they are in no figure.
    pub num_unmatched: usize,
    /// Its figures on the common items.
    pub figures: Vec<Figure>,
}

/// A run beside the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Versus {
    /// Name of the run.
    pub run: String,
    /// The run's figures (`model`) beside those of the first run (`baseline`), with paired intervals.
    pub comparison: Comparison,
    /// McNemar's test; its `first` is the first run.
    pub mcnemar: McNemar,
    /// Its p value after Holm's correction for the number of runs that are compared with the first.
    pub corrected_p_value: f64,
    /// Number of items that one of the two recognised and the other did not.
    pub num_changed: usize,
    /// The first 100 of those items, by name.
    pub changed: Vec<Changed>,
}

/// An item that one of two runs recognised and the other did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// The item.
    pub item: String,
    /// Its group.
    pub group: Option<String>,
    /// Name of the true class.
    pub truth: String,
    /// What the first run answered.
    pub first: String,
    /// What the other run answered.
    pub other: String,
}

impl Versus {
    /// The difference in a figure.
    pub fn difference(&self, figure: &str) -> Option<&Difference> {
        let mut differences = self.comparison.differences.iter();
        differences.find(|difference| difference.figure == figure)
    }

    /// Whether the run is better than the first in a figure: where the paired interval of the difference lies against 0.
    /// For `top1` McNemar's corrected p value must also be below 0.05, since with few items a bootstrap is too sure.
    /// `None` where the figure was not compared.
    pub fn standing(&self, figure: &str) -> Option<Standing> {
        let Difference {
            interval, scale, ..
        } = self.difference(figure)?;
        let is_confirmed = figure != "top1" || self.corrected_p_value < SIGNIFICANT;
        let (higher, lower) = match scale.is_lower_better() {
            true => (Standing::Below, Standing::Above),
            false => (Standing::Above, Standing::Below),
        };
        Some(match () {
            () if interval.low > 0.0 && is_confirmed => higher,
            () if interval.high < 0.0 && is_confirmed => lower,
            () => Standing::Undecided,
        })
    }
}

/// Compares each run with the first, on the items that all of them scored.
///
/// `headline` names the figure of the verdict, such as `macro_f1`.
///
/// # Errors
/// Fewer than two runs, class lists that differ, no common item, an item with two truths, a headline that is no figure; and
/// as [`classify`].
pub fn compare_runs(
    runs: &[ScoredRun],
    headline: &str,
    bootstrap: &Bootstrap,
) -> Result<RunsCompared, Error> {
    let [first, others @ ..] = runs else {
        return Err(ErrorKind::TooFewRuns(0).into());
    };
    if others.is_empty() {
        return Err(ErrorKind::TooFewRuns(1).into());
    }
    let common = common_items(runs)?;
    let matched = |run: &ScoredRun| -> Vec<Scored> {
        let mut items: Vec<Scored> = run
            .items
            .iter()
            .filter(|scored| common.contains(scored.item.as_str()))
            .cloned()
            .collect();
        items.sort_by(|a, b| a.item.cmp(&b.item));
        items
    };
    let base = matched(first);
    let judged = classify(&first.classes, &[], &base, bootstrap)?;
    if judged.figure(headline).is_none() {
        let figures = judged.figures.iter().map(|figure| figure.name.clone());
        return Err(ErrorKind::NoFigure {
            name: headline.to_owned(),
            figures: figures.collect(),
        }
        .into());
    }
    let (num_items, num_groups) = (judged.num_items, judged.num_groups);
    let compared = |run: &ScoredRun, figures| ComparedRun {
        name: run.name.clone(),
        num_unmatched: run.items.len() - num_items,
        figures,
    };
    let mut listed = vec![compared(first, judged.figures)];
    let mut versus = Vec::new();
    for run in others {
        let items = matched(run);
        listed.push(compared(
            run,
            classify(&run.classes, &[], &items, bootstrap)?.figures,
        ));
        versus.push(beside(first, &base, run, &items, bootstrap)?);
    }
    let p_values: Vec<f64> = versus.iter().map(|versus| versus.mcnemar.p_value).collect();
    for (versus, p_value) in versus.iter_mut().zip(holm(&p_values)) {
        versus.corrected_p_value = p_value;
    }
    let notes = notes(&listed, num_items, num_groups);
    Ok(RunsCompared {
        schema_version: SCHEMA_VERSION,
        classes: first.classes.clone(),
        headline: headline.to_owned(),
        num_items,
        num_groups,
        runs: listed,
        versus,
        notes,
    })
}

/// Names of the items that every run scored, after checking that the runs can be compared at all.
fn common_items(runs: &[ScoredRun]) -> Result<HashSet<&str>, Error> {
    let first = &runs[0];
    let mut truths: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    let mut common: Option<HashSet<&str>> = None;
    for run in runs {
        if run.classes != first.classes {
            return Err(ErrorKind::OtherClasses {
                first: first.name.clone(),
                first_classes: first.classes.clone(),
                other: run.name.clone(),
                other_classes: run.classes.clone(),
            }
            .into());
        }
        for scored in &run.items {
            let (target, of) = *truths
                .entry(&scored.item)
                .or_insert((scored.target, &run.name));
            if target != scored.target {
                let name = |target: usize| first.classes.get(target).cloned().unwrap_or_default();
                return Err(ErrorKind::TwoTruths {
                    item: scored.item.clone(),
                    truths: [name(target), name(scored.target)],
                    runs: [of.to_owned(), run.name.clone()],
                }
                .into());
            }
        }
        let items: HashSet<&str> = run.items.iter().map(|item| item.item.as_str()).collect();
        common = Some(match common {
            Some(common) => &common & &items,
            None => items,
        });
    }
    let common = common.unwrap_or_default();
    if common.is_empty() {
        let runs = runs.iter().map(|run| run.name.clone()).collect();
        return Err(ErrorKind::NoCommonItem(runs).into());
    }
    Ok(common)
}

/// `run` beside `first`, on items in the same order.
fn beside(
    first: &ScoredRun,
    base: &[Scored],
    run: &ScoredRun,
    items: &[Scored],
    bootstrap: &Bootstrap,
) -> Result<Versus, Error> {
    // Groups are those of the first run, so that all comparisons draw the same items.
    let items: Vec<Scored> = items
        .iter()
        .zip(base)
        .map(|(item, base)| Scored {
            group: base.group.clone(),
            ..item.clone()
        })
        .collect();
    let comparison = compare(&first.name, &items, base, bootstrap)?;
    let mut changed = Vec::new();
    let mut only = [0, 0];
    let answers = outcomes_of(base).into_iter().zip(outcomes_of(&items));
    for (scored, (base, other)) in base.iter().zip(answers) {
        let right = [base, other].map(|outcome| outcome.predicted == outcome.target);
        if right[0] == right[1] {
            continue;
        }
        only[usize::from(right[1])] += 1;
        let name = |class: usize| first.classes[class].clone();
        changed.push(Changed {
            item: scored.item.clone(),
            group: scored.group.clone(),
            truth: name(scored.target),
            first: name(base.predicted),
            other: name(other.predicted),
        });
    }
    let num_changed = changed.len();
    changed.truncate(MAX_CHANGED);
    let mcnemar = mcnemar(only[0], only[1]);
    Ok(Versus {
        run: run.name.clone(),
        comparison,
        mcnemar,
        corrected_p_value: mcnemar.p_value,
        num_changed,
        changed,
    })
}

fn notes(runs: &[ComparedRun], num_items: usize, num_groups: Option<usize>) -> Vec<String> {
    let mut notes = Vec::new();
    for run in runs.iter().filter(|run| run.num_unmatched > 0) {
        notes.push(format!(
            "{} of {} did not match: not all runs scored them, so they are in no figure",
            count(run.num_unmatched, "item"),
            run.name,
        ));
    }
    match num_groups {
        None => notes.push(
            "no groups are known: intervals and p values take items as independent, and are too sure if items share a \
             camera or a source video"
                .into(),
        ),
        Some(groups) if groups < 10 => notes.push(format!(
            "only {}: the intervals by group are rough and tend to be too narrow",
            count(groups, "group")
        )),
        Some(_) => notes.push(
            "McNemar's test takes items as independent; items here share groups, so where it and the interval by group \
             disagree, believe the interval"
                .into(),
        ),
    }
    if num_items < 30 {
        notes.push(format!(
            "only {}: every figure here is rough",
            count(num_items, "item")
        ));
    }
    notes
}

impl RunsCompared {
    /// For each later run in one sentence: better, worse or not to be told from the first in the headline figure.
    pub fn verdicts(&self) -> Vec<String> {
        self.versus
            .iter()
            .map(|versus| text::verdict(self, versus))
            .collect()
    }

    /// Whether every later run is better than the first in the headline figure.
    pub fn all_better(&self) -> bool {
        self.versus
            .iter()
            .all(|versus| versus.standing(&self.headline) == Some(Standing::Above))
    }

    /// All of it as JSON, indented.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self)
            .expect("a comparison has only string keys, which JSON can always write");
        json.push('\n');
        json
    }

    /// All of it as one HTML file: no request, no script.
    pub fn to_html(&self) -> String {
        page::page(self)
    }

    /// Its plots, in the order of the page.
    pub fn plots(&self) -> Vec<Plot> {
        crate::plot::of_runs(self)
    }

    /// Writes `compare.json`, `compare.html` and `plots/*.png` into `dir`, which must exist.
    ///
    /// # Errors
    /// If a file cannot be written, with its path.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        files::write_plots(dir, &self.plots())?;
        files::write(&dir.join("compare.json"), self.to_json().as_bytes())?;
        files::write(&dir.join("compare.html"), self.to_html().as_bytes())
    }
}
