//! Data that may choose: what is fitted or chosen takes a [`Validation`], so that choosing on a test split cannot be written down.

use crate::{Error, ErrorKind};

/// The name of the split that thresholds and calibrations are chosen on.
const VALIDATION: &str = "validation";

/// Data of the validation split. There is no other way to make one than to name the split.
///
/// ```
/// use marey_eval::Validation;
///
/// assert!(Validation::of_split("validation", [0.5]).is_ok());
/// assert!(Validation::of_split("test", [0.5]).is_err());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Validation<T>(T);

impl<T> Validation<T> {
    /// Takes `data` of the split of this name.
    ///
    /// # Errors
    /// If the split is not `validation`.
    pub fn of_split(split: &str, data: T) -> Result<Self, Error> {
        match split {
            VALIDATION => Ok(Self(data)),
            _ => Err(ErrorKind::NotValidation(split.to_owned()).into()),
        }
    }

    /// The data.
    pub fn data(&self) -> &T {
        &self.0
    }
}
