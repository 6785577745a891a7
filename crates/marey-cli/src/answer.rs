//! Fitting how a bundle answers: calibration and threshold, on the validation split and nowhere else.

use anyhow::{Context, Result, bail};
use marey::{
    data::Split,
    eval::{
        Calibration, LabelledLogits, Scored, Validation, choose_confidence, choose_coverage,
        confidences,
    },
    infer::{Judged, Look, Predictor},
    model::{Answering, EnsembleCard, Fitted, Rejection, Task},
    train::{CalibrationMethod, EvalConfig, Recipe, RejectionRule},
};

use crate::{judge::judge_with_bar, output, recognise::Prepared};

/// How the bundle of `predictor` is to answer by `[eval]` of `recipe`; what must be fitted is fitted on the validation split
/// of `data`. Views are those that the bundle has.
pub(crate) fn fit(
    recipe: &Recipe,
    data: &Prepared,
    predictor: Predictor,
    label: &str,
) -> Result<(Predictor, Answering)> {
    let config = &recipe.eval;
    // Before anything is fitted; the views are in the cards of the members.
    let mut answer = Answering {
        calibration: None,
        anomaly_temperature: None,
        rejection: None,
        fitted_for: None,
        smoothing: config.smoothing,
        ..predictor.answer().clone()
    };
    let predictor = predictor.with_answer(answer.clone());
    let validated = match config.needs_validation() {
        Some(key) => Some(judged_on_validation(key, recipe, data, &predictor, label)?),
        None => None,
    };
    if let (Some(method), Some(judged)) = (config.calibration, &validated) {
        let by = calibration(method, data, judged)?;
        let items = judged.logits.len();
        answer.calibration = Some(Fitted { items, by });
        answer.anomaly_temperature = anomaly_temperature(recipe, data, judged)?;
    }
    answer.rejection = rejection(config, &answer, validated.as_ref())?;
    if answer.calibration.is_some() || answer.rejection.is_some() {
        answer.fitted_for = Some(fingerprint(&predictor, &answer));
    }
    Ok((predictor, answer))
}

/// What the calibration and threshold of `predictor` belong to.
fn fingerprint(predictor: &Predictor, answer: &Answering) -> String {
    match predictor.members() {
        [only] => answer.fingerprint(&only.card().sampling, &only.card().preprocess),
        several => {
            let cards: Vec<_> = several.iter().map(|member| member.card()).collect();
            EnsembleCard::fingerprint(&cards)
        }
    }
}

fn judged_on_validation(
    key: &str,
    recipe: &Recipe,
    data: &Prepared,
    predictor: &Predictor,
    label: &str,
) -> Result<Judged> {
    ensure_validation(key, data)?;
    let task = data.task(recipe, Split::Validation);
    let prefix = format!("{label}fitting on validation");
    judge_with_bar(predictor, &task, Look::AllViews, &prefix)
}

/// Refuses data without a validation split, where `[eval]` says that something is fitted on it.
pub(crate) fn ensure_validation(key: &str, data: &Prepared) -> Result<()> {
    anyhow::ensure!(
        !data.dataset.indices(Split::Validation).is_empty(),
        "{key} is fitted on the validation split, and the data has none: give it one by data.split, or remove {key}"
    );
    Ok(())
}

fn calibration(method: CalibrationMethod, data: &Prepared, judged: &Judged) -> Result<Calibration> {
    let targets: Vec<usize> = judged.scored.iter().map(|item| item.target).collect();
    let logits: Vec<Vec<f32>> = judged
        .logits
        .iter()
        .map(|found| found.logits.clone())
        .collect();
    let labelled = LabelledLogits {
        targets: &targets,
        logits: &logits,
    };
    let validation = Validation::of_split(Split::Validation.name(), labelled)?;
    let present = |class: usize| targets.contains(&class);
    let absent: Vec<&str> = (0..data.dataset.classes.len())
        .filter(|&class| !present(class))
        .map(|class| data.dataset.classes.name(class))
        .collect();
    let fitted = match method {
        CalibrationMethod::Temperature => Calibration::fit_temperature(&validation)?,
        _ if !absent.is_empty() => anyhow::bail!(
            "eval.calibration = \"{}\" learns about each class, and the validation split holds none of {}: use \
             \"temperature\", or divide the data otherwise",
            match method {
                CalibrationMethod::Vector => "vector",
                _ => "isotonic",
            },
            absent.join(", ")
        ),
        CalibrationMethod::Vector => Calibration::fit_vector(&validation)?,
        CalibrationMethod::Isotonic => Calibration::fit_isotonic(&validation)?,
    };
    output::note(format!(
        "calibration: {fitted}, fitted on {} items of the validation split",
        targets.len()
    ));
    Ok(fitted)
}

/// What the log-odds of a model that looks for anomalies are divided by, so that the scores are probabilities; `None` for other
/// tasks, and where the validation split has normal items or anomalous ones alone.
fn anomaly_temperature(recipe: &Recipe, data: &Prepared, judged: &Judged) -> Result<Option<f64>> {
    let Task::Anomaly { normal, .. } = &recipe.task else {
        return Ok(None);
    };
    let normal = data.dataset.classes.index(normal);
    let said = judged.beside.iter().zip(&judged.scored);
    let (targets, logits): (Vec<usize>, Vec<Vec<f32>>) = said
        .filter_map(|(beside, item)| {
            let log_odds = beside.anomaly?.log_odds;
            Some((
                usize::from(Some(item.target) != normal),
                vec![0.0, log_odds],
            ))
        })
        .unzip();
    if !(targets.contains(&0) && targets.contains(&1)) {
        output::note(
            "warning: the validation split does not have both normal and anomalous items: the anomaly score stays as the \
             model says it, and is no calibrated probability",
        );
        return Ok(None);
    }
    let labelled = LabelledLogits {
        targets: &targets,
        logits: &logits,
    };
    let validation = Validation::of_split(Split::Validation.name(), labelled)?;
    let fitted = Calibration::fit_temperature(&validation)?;
    output::note(format!("anomaly score: {fitted}"));
    match fitted {
        Calibration::Temperature { temperature } => Ok(Some(temperature)),
        other => bail!("expected a temperature, found {other}"),
    }
}

/// The threshold that `config` asks for, on the calibrated scores of the validation split. `None` where it asks for none, and,
/// with a warning, where no threshold gives the accuracy that it asks for.
fn rejection(
    config: &EvalConfig,
    answer: &Answering,
    validated: Option<&Judged>,
) -> Result<Option<Rejection>> {
    let Some(rule) = config.rejection() else {
        return Ok(None);
    };
    if let RejectionRule::Below(below) = rule {
        let rule = "given by the recipe".to_owned();
        return Ok(Some(Rejection { below, rule }));
    }
    let judged = validated.context("a threshold is chosen on the validation split")?;
    let items = judged
        .logits
        .iter()
        .zip(&judged.scored)
        .map(|(found, item)| {
            Ok(Scored {
                scores: answer.scores(&found.logits)?,
                ..item.clone()
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let (confidences, is_right) = confidences(&items);
    let data: (&[f64], &[bool]) = (&confidences, &is_right);
    let validation = Validation::of_split(Split::Validation.name(), data)?;
    let answered = |below: f64| confidences.iter().filter(|&&best| best >= below).count();
    let found = match rule {
        RejectionRule::Coverage(share) => {
            let below = choose_coverage(&validation, share)?;
            let rule = format!(
                "so that {:.1} % of the validation items are answered: {} of {}",
                100.0 * share,
                answered(below),
                items.len()
            );
            Some(Rejection { below, rule })
        }
        RejectionRule::Accuracy(share) => choose_confidence(&validation, share)?.map(|below| {
            let rule = format!(
                "so that {:.1} % of the answered validation items are right: {} of {} are answered",
                100.0 * share,
                answered(below),
                items.len()
            );
            Rejection { below, rule }
        }),
        RejectionRule::Below(_) => unreachable!("handled above"),
    };
    match &found {
        Some(rejection) => output::note(format!(
            "uncertain below {:.4}: {}",
            rejection.below, rejection.rule
        )),
        None => output::note(format!(
            "warning: {}; the bundle has no threshold and answers always",
            unreachable_accuracy(config)
        )),
    }
    Ok(found)
}

/// What the report says where no threshold gives the accuracy that was asked for.
pub(crate) fn unreachable_accuracy(config: &EvalConfig) -> String {
    format!(
        "no score of the validation split gives the asked eval.accuracy of {}",
        config.accuracy.unwrap_or_default()
    )
}
