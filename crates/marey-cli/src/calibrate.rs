//! `marey calibrate`: how a bundle that is there answers: views, calibration, threshold, smoothing.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use marey::{
    infer::Predictor,
    model::{Answering, EnsembleCard, files::find_folder},
    train::Recipe,
};

use crate::{Outcome, answer, device::DeviceArg, eval::recipe_of, output, recognise::load};

/// Arguments of `marey calibrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the bundle or the ensemble; its card is written anew.
    bundle: PathBuf,
    /// The recipe whose `[data]` has the validation split and whose `[eval]` says how the bundle answers; by default that of
    /// the run that the bundle lies in. The views of an ensemble are its members' own.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Change a key of the recipe, for example `--set eval.calibration=temperature`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    device: DeviceArg,
}

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let recipe = Recipe::read(&recipe_of(args.recipe.as_deref(), &args.bundle)?, &args.set)?;
    let config = &recipe.eval;
    let is_plain = config.calibration.is_none()
        && config.rejection().is_none()
        && config.answering() == Answering::default();
    if is_plain {
        bail!(
            "the recipe asks for nothing: set eval.calibration, eval.reject_below, eval.coverage, eval.accuracy, \
             eval.smoothing, eval.views, eval.crops or eval.flip, in the recipe or by --set"
        );
    }
    let chosen = args.device.choose()?;
    let mut predictor = Predictor::open(&args.bundle, recipe.train.batch, &chosen.device)?;
    if let [only] = predictor.members() {
        let card = only.card();
        let answer = config.answering();
        answer
            .validate(&card.sampling, &card.preprocess, card.classes.len())
            .map_err(|problem| anyhow!("the bundle cannot answer so: {problem}"))?;
        let bundle = only.bundle().clone().with_answer(answer);
        predictor = Predictor::of_bundle(bundle, recipe.train.batch, &chosen.device);
    }
    let data = load(&recipe, &predictor.card().sampling)?;
    let (predictor, answer) = answer::fit(&recipe, &data, predictor, "")?;
    match EnsembleCard::find(&args.bundle)? {
        None => {
            let bundle = predictor.members()[0].bundle().clone();
            bundle
                .with_answer(answer)
                .save(&find_folder(&args.bundle))?;
        }
        Some((card, _)) => {
            let members: Vec<_> = card
                .members
                .iter()
                .cloned()
                .zip(predictor.members().iter().map(|member| member.bundle()))
                .collect();
            EnsembleCard::save(&args.bundle, &members, &answer)?;
        }
    }
    output::line(format!("bundle  {}", args.bundle.display()))?;
    Ok(Outcome::Done)
}
