//! A report out of scored items: what `train`, `eval` and `demo` share.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use marey::{
    data::{self, Split},
    eval::{
        Bootstrap, Curve, CurvePanel, DataSection, Evaluation, Finding, LabelFigures, Origin,
        Report, Scored, Severity, Skipped, SplitCounts, SplitItems, TwoHeads, classify, compare,
        generalisation_gap, judge_answers, judge_calibration, judge_two_heads,
    },
    infer::{Judged, Look, Predictor, Task, film, judge},
    train::{Precision, Recipe, Run},
};

use crate::{
    answer::unreachable_accuracy, copied, device::Chosen, ensemble::other_data, machine,
    progress::Bar, recognise::Prepared,
};

/// An evaluation to be reported.
pub(crate) struct Evaluated<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) data: &'a Prepared,
    pub(crate) predictor: &'a Predictor,
    pub(crate) judged: &'a Judged,
    /// The same items by one clip each, where the bundle looks at several views.
    pub(crate) one_clip: Option<&'a Judged>,
    /// The training split, where the recipe asks for the gap.
    pub(crate) on_train: Option<&'a Judged>,
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
    let copied = copied::nearest_in_time(dataset, *split, &judged.scored, &bootstrap(recipe))?;
    report.classification.comparisons.extend(copied);
    add_trust(&mut report, evaluated, &train_counts)?;
    report.labels = label_figures(evaluated)?;
    report.headline = "macro_f1".to_owned();
    report.break_down(&judged.scored);
    report.chosen_on_this_split = evaluated.chosen_on_this_split;
    report.accepted_leak = dataset.accepted_leak.clone();
    report.recipe = recipe.to_toml();
    report.data = data_section(evaluated);
    report.findings = findings(evaluated);
    if let Some(run) = evaluated.run {
        report.curves = curves(run)?;
        report
            .findings
            .extend(recipe.warnings().into_iter().map(warning));
    }
    let mut facts = facts_of(evaluated.predictor);
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

/// What the answers come from: the architectures, the views of an item, calibration, threshold.
fn facts_of(predictor: &Predictor) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    for member in predictor.members() {
        let card = member.card();
        let model = match predictor.members().len() {
            1 => card.model.name(),
            _ => format!("{} of {}", card.model.name(), card.provenance.run),
        };
        facts.push(("model".to_owned(), model));
        if card.answer.num_views(&card.sampling) > 1 {
            let views = card.answer.views_in_words(&card.sampling);
            facts.push(("views of an item".to_owned(), views));
        }
    }
    let answer = predictor.answer();
    if let Some(fitted) = &answer.calibration {
        let told = format!("{}, fitted on {} validation items", fitted.by, fitted.items);
        facts.push(("calibration".to_owned(), told));
    }
    if let Some(rejection) = &answer.rejection {
        let told = format!("{:.4}, {}", rejection.below, rejection.rule);
        facts.push(("uncertain below".to_owned(), told));
    }
    facts
}

/// The figures of the labels that the bundle tells beside the classes.
fn label_figures(evaluated: &Evaluated<'_>) -> Result<Vec<LabelFigures>> {
    let dataset = &evaluated.data.dataset;
    let bootstrap = &bootstrap(evaluated.recipe);
    let judged = evaluated.judged;
    let train = dataset.indices(Split::Train);
    let heads = evaluated.predictor.card().heads.iter().enumerate();
    let figures = heads.map(|(head, known)| {
        let column = dataset.label_column(&known.column)?;
        // The bundle's order of the values counts, not that of this data.
        let position = |&label: &usize| {
            let name = column.classes.name(label);
            known.classes.index(name).with_context(|| {
                format!(
                    "column `{}` has the value `{name}`, which the bundle does not know",
                    known.column
                )
            })
        };
        let labels = column
            .labels
            .iter()
            .map(position)
            .collect::<Result<Vec<_>>>()?;
        let mut train_counts = vec![0; known.classes.len()];
        let mut occurs = vec![vec![false; known.classes.len()]; dataset.classes.len()];
        for &item in &train {
            train_counts[labels[item]] += 1;
            occurs[dataset.items[item].label][labels[item]] = true;
        }
        let told = judged.logits.iter().zip(&judged.scored).zip(&judged.beside);
        let (scored, pairs): (Vec<Scored>, Vec<TwoHeads>) = told
            .map(|((found, item), beside)| {
                let (target, scores) = (labels[found.item], beside.heads[head].clone());
                let pair = TwoHeads {
                    item: item.item.clone(),
                    group: item.group.clone(),
                    targets: [item.target, target],
                    scores: [item.scores.clone(), scores.clone()],
                };
                let alone = Scored {
                    target,
                    scores,
                    ..item.clone()
                };
                (alone, pair)
            })
            .unzip();
        let of_label = classify(known.classes.names(), &train_counts, &scored, bootstrap)?;
        let mut figures = of_label.figures;
        if occurs.iter().flatten().any(|&occurs| occurs) {
            figures.extend(judge_two_heads(&pairs, &occurs, bootstrap)?);
        }
        Ok(LabelFigures {
            column: known.column.clone(),
            classes: known.classes.names().to_vec(),
            figures,
        })
    });
    figures.collect()
}

/// Puts into `report` how far its scores can be trusted, and what a single clip of each item would have given.
fn add_trust(report: &mut Report, evaluated: &Evaluated<'_>, train_counts: &[usize]) -> Result<()> {
    let bootstrap = &bootstrap(evaluated.recipe);
    let judged = evaluated.judged;
    let answer = evaluated.predictor.answer();
    if let Some(fitted) = &answer.calibration {
        let evaluation = Evaluation {
            classes: evaluated.data.dataset.classes.names(),
            train_counts,
            bootstrap,
        };
        report.calibration = Some(judge_calibration(
            &evaluation,
            &fitted.by,
            fitted.items,
            &judged.plain,
            &judged.scored,
        )?);
    }
    let threshold = answer
        .rejection
        .as_ref()
        .map(|rejection| (rejection.below, rejection.rule.clone()));
    let accuracy = evaluated.recipe.eval.accuracy;
    report.selective = Some(judge_answers(
        &judged.scored,
        accuracy,
        threshold,
        bootstrap,
    )?);
    if let Some(on_train) = evaluated.on_train {
        let [first, second] =
            [(Split::Train, on_train), (evaluated.split, judged)].map(|(split, judged)| {
                SplitItems {
                    split: split.name(),
                    items: &judged.scored,
                }
            });
        report.gaps = generalisation_gap(first, second, bootstrap)?;
    }
    if let Some(one_clip) = evaluated.one_clip {
        // An item of which one view cannot be read may still have the others.
        let has = |items: &[Scored], id: &str| items.iter().any(|item| item.item == id);
        let both = |items: &[Scored], others: &[Scored]| -> Vec<Scored> {
            let kept = items.iter().filter(|item| has(others, &item.item));
            kept.cloned().collect()
        };
        let all_views = both(&judged.scored, &one_clip.scored);
        let one = both(&one_clip.scored, &judged.scored);
        let name = "the same model on one clip of each item";
        let comparison = compare(name, &all_views, &one, bootstrap)?;
        report.classification.comparisons.push(comparison);
    }
    Ok(())
}

/// [`judge`] with a bar of its progress, which begins with `prefix`.
pub(crate) fn judge_with_bar(
    predictor: &Predictor,
    task: &Task,
    look: Look,
    prefix: &str,
) -> Result<Judged> {
    let mut bar = Bar::new("clips");
    Ok(judge(predictor, task, look, &mut |done, total| {
        bar.show(prefix, done, total, "");
    })?)
}

/// The training split through the bundle, where the recipe asks for the gap and `split` is another.
pub(crate) fn judge_train(
    recipe: &Recipe,
    data: &Prepared,
    predictor: &Predictor,
    split: Split,
    label: &str,
) -> Result<Option<Judged>> {
    if !recipe.eval.gap || split == Split::Train {
        return Ok(None);
    }
    let task = data.task(recipe, Split::Train);
    let prefix = format!("{label}judging on train");
    judge_with_bar(predictor, &task, Look::AllViews, &prefix).map(Some)
}

/// What must be known about the data and the bundles, the gravest first.
fn findings(evaluated: &Evaluated<'_>) -> Vec<Finding> {
    let of_bundles = other_data(evaluated.predictor).map(|sentence| Finding {
        severity: Severity::Stop,
        sentence,
        items: Vec::new(),
        command: None,
    });
    let config = &evaluated.recipe.eval;
    // Of a run that has just ended: a bundle that is there was not fitted by this recipe.
    let is_silent = evaluated.run.is_some()
        && config.accuracy.is_some()
        && evaluated.predictor.answer().rejection.is_none();
    let of_threshold = is_silent.then(|| {
        warning(format!(
            "{}, so the bundle has no threshold and answers always",
            unreachable_accuracy(config)
        ))
    });
    let of_data = evaluated.data.findings.iter().map(finding);
    of_bundles
        .into_iter()
        .chain(of_data)
        .chain(of_threshold)
        .collect()
}

/// The items of `split` by one clip each, where the bundle looks at several views.
pub(crate) fn judge_one_clip(
    recipe: &Recipe,
    data: &Prepared,
    predictor: &Predictor,
    split: Split,
    label: &str,
) -> Result<Option<Judged>> {
    let looks_once = predictor.members().iter().all(|member| {
        let card = member.card();
        card.answer.num_views(&card.sampling) == 1
    });
    if looks_once {
        return Ok(None);
    }
    let task = data.task(recipe, split);
    let prefix = format!("{label}judging one clip of each item");
    judge_with_bar(predictor, &task, Look::OneClip, &prefix).map(Some)
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
