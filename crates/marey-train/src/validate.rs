//! The figures of the validation split after an epoch.

use burn::tensor::Device;
use marey_data::{Loader, Split, score_views};
use marey_eval::{Bootstrap, Scored, classify};
use marey_model::Model;

use crate::{Error, Event, Monitor, Observer, Recipe};

/// Scores every item of `loader` as evaluation does, all views averaged, and computes [`Monitor::ALL`].
pub(crate) fn validate(
    model: &Model,
    loader: &Loader,
    recipe: &Recipe,
    observer: &mut dyn Observer,
    device: &Device,
) -> Result<[f64; Monitor::ALL.len()], Error> {
    let num_clips = loader.indices().len() * recipe.sampling.views;
    let scored = score_views(
        loader,
        &mut |batch| model.scores(recipe.preprocess.to_input(batch.pixels, batch.dims, device)),
        &mut |clips_done| {
            observer.on_event(&Event::Validating {
                clips_done,
                num_clips,
            })
        },
    )?;
    // An epoch's figures choose and stop; their intervals come with the report, so two draws are enough here.
    let bootstrap = Bootstrap {
        draws: 2,
        ..Bootstrap::default()
    };
    let dataset = loader.dataset();
    let figures = classify(
        dataset.classes.names(),
        &dataset.class_counts(Split::Train),
        &scored,
        &bootstrap,
    )?;
    let value = |monitor: Monitor| match monitor {
        Monitor::Loss => mean_loss(&scored),
        _ => {
            figures
                .figure(monitor.name())
                .expect("classify gives every figure by these names")
                .value
        }
    };
    Ok(Monitor::ALL.map(value))
}

/// Mean cross-entropy of averaged scores, without smoothing or weights.
fn mean_loss(scored: &[Scored]) -> f64 {
    // A score can round to 0 in f32; its logarithm is taken at the smallest positive one instead of minus infinity.
    let loss = |item: &Scored| -f64::from(item.scores[item.target].max(f32::MIN_POSITIVE)).ln();
    scored.iter().map(loss).sum::<f64>() / scored.len() as f64
}
