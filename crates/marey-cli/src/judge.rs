//! A report out of scored items: what `train`, `eval` and `demo` share.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use marey::{
    data::{self, Split},
    eval::{
        Bootstrap, Curve, CurvePanel, DataSection, Finding, Origin, Report, Severity, Skipped,
        SplitCounts, classify,
    },
    infer::{Judged, Predictor, film},
    train::{Precision, Recipe, Run},
};

use crate::{device::Chosen, evidence, machine, recognise::Prepared};

/// An evaluation to be reported.
pub(crate) struct Evaluated<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) data: &'a Prepared,
    pub(crate) judged: &'a Judged,
    pub(crate) split: Split,
    /// Whether the weights were chosen by a figure of this very split.
    pub(crate) chosen_on_this_split: bool,
    pub(crate) command: String,
    pub(crate) chosen: &'a Chosen,
    /// The run with the training curves, where there is one.
    pub(crate) run: Option<&'a Run>,
}

/// The draws of the recipe's intervals.
pub(crate) fn bootstrap(recipe: &Recipe) -> Bootstrap {
    Bootstrap {
        draws: recipe.eval.bootstrap_draws,
        seed: recipe.train.seed,
    }
}

/// The report of an evaluation that took `wall_time`.
pub(crate) fn report_of(evaluated: &Evaluated<'_>, wall_time: Duration) -> Result<Report> {
    let Evaluated {
        recipe,
        data: prepared,
        judged,
        split,
        ..
    } = evaluated;
    let dataset = &prepared.dataset;
    let train_counts = dataset.class_counts(Split::Train);
    let figures = classify(
        dataset.classes.names(),
        &train_counts,
        &judged.scored,
        &bootstrap(recipe),
    )?;
    let mut report = Report::new(&recipe.name, split.name(), figures);
    let copied = evidence::nearest_in_time(dataset, *split, &judged.scored, &bootstrap(recipe))?;
    report.classification.comparisons.extend(copied);
    report.headline = "macro_f1".to_owned();
    report.break_down(&judged.scored);
    report.chosen_on_this_split = evaluated.chosen_on_this_split;
    report.accepted_leak = dataset.accepted_leak.clone();
    report.recipe = recipe.to_toml();
    report.data = data_section(evaluated);
    report.findings = prepared.findings.iter().map(finding).collect();
    if let Some(run) = evaluated.run {
        report.curves = curves(run)?;
        report
            .findings
            .extend(recipe.warnings().into_iter().map(warning));
    }
    let mut facts = vec![("model".to_owned(), recipe.model.arch.name().to_owned())];
    let mut kernels = evaluated.chosen.kernels(Precision::F32);
    if let Some(run) = evaluated.run {
        let precision = recipe.train.precision;
        facts.push(("run".to_owned(), run.id()));
        facts.push(("trained in".to_owned(), precision.name().to_owned()));
        if precision != Precision::F32 {
            kernels = format!(
                "training: {}; judging: {kernels}",
                evaluated.chosen.kernels(precision)
            );
        }
    }
    facts.push((
        "processor".to_owned(),
        format!(
            "{}, {} threads",
            machine::cpu_name(),
            machine::num_threads()
        ),
    ));
    report.origin = Origin {
        command: evaluated.command.clone(),
        seed: recipe.train.seed,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        device: evaluated.chosen.name.clone(),
        kernels,
        wall_time_sec: Some(wall_time.as_secs_f64()),
        peak_memory_bytes: machine::peak_memory_bytes(),
        facts,
    };
    Ok(report)
}

/// A finding of the audit, as the report shows it.
fn finding(found: &data::Finding) -> Finding {
    Finding {
        severity: match found.severity {
            data::Severity::Leak | data::Severity::Error => Severity::Stop,
            data::Severity::Warning => Severity::Warning,
            data::Severity::Note => Severity::Note,
        },
        sentence: found.sentence.clone(),
        items: found.items.clone(),
        command: (!found.mend.is_empty()).then(|| found.mend.clone()),
    }
}

/// A warning about the recipe, as the report shows it.
fn warning(sentence: String) -> Finding {
    Finding {
        severity: Severity::Warning,
        sentence,
        items: Vec::new(),
        command: None,
    }
}

/// Reads the clips that the page of `report` shows once more, and draws them into it.
pub(crate) fn add_clips(
    report: &mut Report,
    predictor: &Predictor,
    evaluated: &Evaluated<'_>,
) -> Result<()> {
    let task = evaluated.data.task(evaluated.recipe, evaluated.split);
    report.strips = film(predictor, task, report)?;
    Ok(())
}

fn data_section(evaluated: &Evaluated<'_>) -> DataSection {
    let dataset = &evaluated.data.dataset;
    let splits = Split::ALL
        .into_iter()
        .map(|split| (split, dataset.indices(split)))
        .filter(|(_, indices)| !indices.is_empty())
        .map(|(split, indices)| {
            let num_groups = dataset.num_groups(split);
            SplitCounts {
                split: split.name().to_owned(),
                items: indices.len(),
                groups: (num_groups > 0).then_some(num_groups),
                per_class: dataset.class_counts(split),
            }
        })
        .collect();
    let skipped = evaluated.judged.skipped.iter();
    DataSection {
        source: evaluated.recipe.data.path.display().to_string(),
        splits,
        notes: dataset.notes.clone(),
        skipped: skipped
            .map(|skipped| Skipped {
                item: skipped.id.clone(),
                reason: skipped.reason.clone(),
            })
            .collect(),
    }
}

/// The curves of `metrics.csv`.
fn curves(run: &Run) -> Result<Vec<Curve>> {
    let path = run.dir().join("metrics.csv");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = rows.next().unwrap_or_default();
    let rows: Vec<_> = rows.collect();
    let curve = |(column, name): (usize, &&str)| {
        let panel = match *name {
            "lr" => CurvePanel::LearningRate,
            "train_loss" | "val_loss" => CurvePanel::Loss,
            "val_top1" | "val_macro_f1" => CurvePanel::Metric,
            _ => return None,
        };
        let value = |row: &Vec<&str>, column: usize| row.get(column)?.parse::<f64>().ok();
        let points: Vec<_> = rows
            .iter()
            .filter_map(|row| Some((value(row, 0)?, value(row, column)?)))
            .collect();
        let name = name.replace("val_", "validation ").replace('_', " ");
        (!points.is_empty()).then_some(Curve {
            name,
            panel,
            points,
        })
    };
    Ok(header.iter().enumerate().filter_map(curve).collect())
}
