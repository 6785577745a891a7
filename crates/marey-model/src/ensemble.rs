//! Several bundles that answer together: a folder with `ensemble.toml` and the bundles.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{Answering, Bundle, Card, Error, ErrorKind, files};

const CARD: &str = "ensemble.toml";

/// Version of the format of ensembles.
const FORMAT_VERSION: i64 = 1;

/// An ensemble's `ensemble.toml`. The scores of its members are averaged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnsembleCard {
    /// Version of the format, 1.
    pub format_version: i64,
    /// The members' folders beside this file, in order.
    pub members: Vec<String>,
    /// How the mean of the members' scores becomes an answer. Views are the members' own.
    #[serde(default)]
    pub answer: Answering,
}

impl EnsembleCard {
    /// The card of the ensemble in the folder `dir` with the folders of its members; `None` where it is no ensemble.
    ///
    /// # Errors
    /// When the card cannot be read, is of another version, or names a folder outside of the ensemble.
    pub fn find(dir: &Path) -> Result<Option<(Self, Vec<PathBuf>)>, Error> {
        let path = dir.join(CARD);
        if !path.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).map_err(Error::io(&path, "read the ensemble"))?;
        let invalid = |problem: String| Error::at(&path, ErrorKind::Card { problem });
        let card: Self = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        if card.format_version != FORMAT_VERSION {
            return Err(invalid(format!(
                "it is of version {}, this program reads version {FORMAT_VERSION}: make the ensemble again",
                card.format_version
            )));
        }
        let is_name =
            |name: &String| !name.is_empty() && !name.contains(['/', '\\']) && name != "..";
        if card.members.len() < 2 || !card.members.iter().all(is_name) {
            return Err(invalid(
                "members must be the names of two folders or more beside ensemble.toml".to_owned(),
            ));
        }
        let members = card.members.iter().map(|name| dir.join(name)).collect();
        Ok(Some((card, members)))
    }

    /// Checks the answer against the members' cards.
    ///
    /// # Errors
    /// When it sets views, which are the members' own, or was fitted for other members.
    pub fn check(&self, dir: &Path, members: &[&Card]) -> Result<(), Error> {
        let invalid = |problem: String| Error::at(&dir.join(CARD), ErrorKind::Card { problem });
        let answer = &self.answer;
        let plain = Answering::default();
        if (answer.views, answer.crops, answer.flip, answer.aggregate)
            != (plain.views, plain.crops, plain.flip, plain.aggregate)
        {
            return Err(invalid(
                "answer.views, crops, flip and aggregate have no effect in an ensemble: each member has its own".to_owned(),
            ));
        }
        let found = Self::fingerprint(members);
        match &answer.fitted_for {
            Some(expected) if *expected != found => Err(invalid(format!(
                "its calibration or threshold was fitted for [{expected}], but its members are [{found}]: fit them again \
                 by `marey calibrate`"
            ))),
            None if answer.calibration.is_some() => Err(invalid(
                "answer.calibration without answer.fitted_for: fit it by `marey calibrate`"
                    .to_owned(),
            )),
            _ => {
                let num_classes = members.first().map_or(0, |card| card.classes.len());
                answer.validate_values(num_classes).map_err(invalid)
            }
        }
    }

    /// A short name for the members, in order: their runs, and how each answers.
    pub fn fingerprint(members: &[&Card]) -> String {
        let member = |card: &&Card| {
            let answer = card.answer.fingerprint(&card.sampling, &card.preprocess);
            let calibration = card.answer.calibration.as_ref();
            let calibration =
                calibration.map_or(String::new(), |fitted| format!(", {}", fitted.by));
            format!("{} ({answer}{calibration})", card.provenance.run)
        };
        members.iter().map(member).collect::<Vec<_>>().join("; ")
    }

    /// Writes an ensemble of `members`, each with the name of its folder, to the folder `dir`, replacing an ensemble there.
    ///
    /// # Errors
    /// When it cannot be written, or `dir` holds something that is not an ensemble.
    pub fn save(
        dir: &Path,
        members: &[(String, &Bundle)],
        answer: &Answering,
    ) -> Result<(), Error> {
        let card = Self {
            format_version: FORMAT_VERSION,
            members: members.iter().map(|(name, _)| name.clone()).collect(),
            answer: answer.clone(),
        };
        let text = toml::to_string_pretty(&card).map_err(|error| {
            let problem = error.to_string();
            Error::at(dir, ErrorKind::Card { problem })
        })?;
        files::write_folder(dir, may_replace, |fresh| {
            for (name, bundle) in members {
                bundle.save(&fresh.join(name))?;
            }
            files::write_whole(&fresh.join(CARD), text.as_bytes())
        })
    }
}

/// An ensemble, or an empty folder.
fn may_replace(dir: &Path) -> bool {
    dir.join(CARD).is_file() || fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}
