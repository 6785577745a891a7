//! Weights plus card: enough to predict.

use std::{fs, path::Path};

use burn::tensor::Device;

use crate::{Answering, Card, Error, ErrorKind, Model, files, layer::Init, weights};

const CARD: &str = "card.toml";
const WEIGHTS: &str = "model.safetensors";

/// A trained model with all that is needed to use it: a folder with `card.toml` and `model.safetensors`.
#[derive(Clone, Debug)]
pub struct Bundle {
    model: Model,
    card: Card,
}

impl Bundle {
    /// A model and its card.
    ///
    /// # Panics
    /// If the card is of another architecture or has another number of classes than the model.
    pub fn new(model: Model, card: Card) -> Self {
        assert_eq!(
            model.arch(),
            card.model.arch,
            "architecture of the model and of its card"
        );
        assert_eq!(
            model.num_classes(),
            card.classes.len(),
            "classes of the model and of its card"
        );
        Self { model, card }
    }

    /// The model, for inference.
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// What it says about itself.
    pub const fn card(&self) -> &Card {
        &self.card
    }

    /// The same model with another way to answer. What it says is checked when the bundle is loaded.
    #[must_use]
    pub fn with_answer(mut self, answer: Answering) -> Self {
        self.card.answer = answer;
        self
    }

    /// Model and card apart.
    pub fn into_parts(self) -> (Model, Card) {
        (self.model, self.card)
    }

    /// Writes the bundle to the folder `dir`, replacing a bundle there; until it is complete `dir` is not touched.
    ///
    /// # Errors
    /// When it cannot be written, or `dir` holds something that is not a bundle.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        let text = self.card.to_toml().map_err(|kind| Error::at(dir, kind))?;
        files::write_folder(dir, may_replace, |fresh| {
            weights::save(&self.model, &fresh.join(WEIGHTS))?;
            files::write_whole(&fresh.join(CARD), text.as_bytes())
        })
    }

    /// The bundle in the folder `dir`, its model on `device` without autodiff.
    ///
    /// # Errors
    /// When `dir` is no bundle, is of another format version, its preprocessing is not the one it was trained with, or
    /// the weights do not belong to the card.
    pub fn load(dir: &Path, device: &Device) -> Result<Self, Error> {
        let dir = &files::find_folder(dir);
        if let Some(missing) = [CARD, WEIGHTS]
            .into_iter()
            .find(|name| !dir.join(name).is_file())
        {
            return Err(Error::at(dir, ErrorKind::NoBundle { missing }));
        }
        let path = dir.join(CARD);
        let text = fs::read_to_string(&path).map_err(Error::io(&path, "read the card"))?;
        let card = Card::from_toml(&text).map_err(|kind| Error::at(&path, kind))?;
        let device = device.clone().without_autodiff();
        let model = card
            .model
            .init_from(&card.outputs(), &mut Init::Zeros, &device)?;
        let model = weights::load(model, &dir.join(WEIGHTS))?;
        Ok(Self { model, card })
    }
}

/// A bundle, or an empty folder.
fn may_replace(dir: &Path) -> bool {
    dir.join(CARD).is_file() || fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}
