//! The figures of the validation split after an epoch.

use burn::tensor::Device;
use marey_data::{Loader, Split, item_logits, scored};
use marey_eval::{
    Bootstrap, Classification, Scored, average_precision, classify, roc_auc, scores_from_logits,
};
use marey_model::Model;

use crate::{Error, Event, Monitor, Observer, Recipe, monitor::ClassFigure};

/// What a validation found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validation {
    /// In the order of [`Monitor::ALL`].
    pub figures: [f64; Monitor::ALL.len()],
    /// The figure that the recipe watches.
    pub monitored: f64,
}

/// Scores every item of `loader` by the views of `eval.validate_views`, and computes [`Monitor::ALL`] and what the recipe
/// watches.
pub(crate) fn validate(
    model: &Model,
    loader: &Loader,
    recipe: &Recipe,
    observer: &mut dyn Observer,
    device: &Device,
) -> Result<Validation, Error> {
    let answer = recipe.eval.validating();
    let num_clips = loader.indices().len() * answer.num_views(&recipe.sampling);
    let logits = item_logits(
        loader,
        answer.aggregate,
        &mut |batch| model.logits(recipe.preprocess.to_input(batch.pixels, batch.dims, device)),
        &mut |clips_done| {
            observer.on_event(&Event::Validating {
                clips_done,
                num_clips,
            })
        },
    )?;
    let dataset = loader.dataset();
    let scored: Vec<Scored> = logits
        .iter()
        .map(|found| scored(dataset, found.item, scores_from_logits(&found.logits)))
        .collect();
    // An epoch's figures choose and stop; their intervals come with the report, so two draws are enough here.
    let bootstrap = Bootstrap {
        draws: 2,
        ..Bootstrap::default()
    };
    let found = classify(
        dataset.classes.names(),
        &dataset.class_counts(Split::Train),
        &scored,
        &bootstrap,
    )?;
    let mut figures = [0.0; Monitor::ALL.len()];
    for (figure, monitor) in figures.iter_mut().zip(&Monitor::ALL) {
        *figure = value_of(monitor, &found, &scored)?;
    }
    Ok(Validation {
        figures,
        monitored: value_of(&recipe.train.monitor, &found, &scored)?,
    })
}

fn value_of(monitor: &Monitor, found: &Classification, scored: &[Scored]) -> Result<f64, Error> {
    let present = || (0..found.classes.len()).filter(|&class| found.per_class[class].support > 0);
    let mean = |of: fn(&[bool], &[f64]) -> Result<f64, marey_eval::Error>| {
        let values: Result<Vec<f64>, _> = present()
            .map(|class| {
                let (is_positive, scores) = against_the_rest(scored, class);
                of(&is_positive, &scores)
            })
            .collect();
        values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
    };
    Ok(match monitor {
        Monitor::Loss => mean_loss(scored),
        Monitor::PrAuc => mean(average_precision)?,
        Monitor::RocAuc => mean(roc_auc)?,
        Monitor::OfClass { figure, class } => {
            let idx = found.classes.iter().position(|name| name == class);
            let idx = idx.expect("the recipe was checked against the classes");
            let of_class = &found.per_class[idx];
            match figure {
                ClassFigure::F1 => of_class.f1.value,
                ClassFigure::Precision => of_class.precision.value,
                ClassFigure::Recall => of_class.recall.value,
                ClassFigure::PrAuc => {
                    let (is_positive, scores) = against_the_rest(scored, idx);
                    average_precision(&is_positive, &scores)?
                }
            }
        }
        _ => {
            found
                .figure(&monitor.name())
                .expect("classify gives every other figure by these names")
                .value
        }
    })
}

/// Whether each item is of `class`, and its score for that.
fn against_the_rest(scored: &[Scored], class: usize) -> (Vec<bool>, Vec<f64>) {
    let items = scored.iter();
    items
        .map(|item| (item.target == class, f64::from(item.scores[class])))
        .unzip()
}

/// Mean cross-entropy of averaged scores, without smoothing or weights.
fn mean_loss(scored: &[Scored]) -> f64 {
    // A score can round to 0 in f32; its logarithm is taken at the smallest positive one instead of minus infinity.
    let loss = |item: &Scored| -f64::from(item.scores[item.target].max(f32::MIN_POSITIVE)).ln();
    scored.iter().map(loss).sum::<f64>() / scored.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_the_name_that_a_recipe_watches() {
        let item = |name: &str, target, tail: f32| Scored {
            item: name.into(),
            group: None,
            target,
            scores: vec![1.0 - tail, tail],
        };
        // Two of three tails are found, one ear is taken for a tail.
        let scored = [
            item("a", 0, 0.1),
            item("b", 0, 0.6),
            item("c", 1, 0.9),
            item("d", 1, 0.8),
            item("e", 1, 0.2),
        ];
        let classes = ["ear", "tail"].map(str::to_owned);
        let bootstrap = Bootstrap {
            draws: 2,
            ..Bootstrap::default()
        };
        let found = classify(&classes, &[2, 3], &scored, &bootstrap).expect("figures");
        let cases = [
            ("accuracy", 0.6),
            ("recall:tail", 2.0 / 3.0),
            ("precision:tail", 2.0 / 3.0),
            ("f1:tail", 2.0 / 3.0),
            ("f1:ear", 0.5),
            // Tails at ranks 1, 2 and 4.
            ("pr_auc:tail", (1.0 + 1.0 + 0.75) / 3.0),
            // Of six pairs of an ear and a tail, five are in order.
            ("roc_auc", 5.0 / 6.0),
            // Ears at ranks 1 and 3 of their own score.
            ("pr_auc", (2.75 / 3.0 + (1.0 + 2.0 / 3.0) / 2.0) / 2.0),
            // (1 * 2 - 1 * 1) / sqrt(3 * 3 * 2 * 2)
            ("mcc", 1.0 / 6.0),
        ];
        for (name, expect) in cases {
            let monitor = Monitor::try_from(name.to_owned()).expect(name);
            let value = value_of(&monitor, &found, &scored).expect("a value");
            assert!(
                (value - expect).abs() < 1e-6,
                "{name}: {value} is not {expect}"
            );
        }
    }
}
