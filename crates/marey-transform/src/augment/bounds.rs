//! Checks of what a person wrote in `[augment]`, with one wording for all of its tables.

use std::{fmt::Display, ops::RangeInclusive};

use crate::Error;

/// A probability that may be 0.
pub(crate) fn share(key: &'static str, value: f32) -> Result<(), Error> {
    match (0.0..=1.0).contains(&value) {
        true => Ok(()),
        false => Err(Error::config(
            key,
            format!("{value} is no probability, expected 0 to 1"),
        )),
    }
}

/// The probability of a change that has a table of its own, which must not be 0.
pub(crate) fn chance(key: &'static str, value: f32) -> Result<(), Error> {
    share(key, value)?;
    match value > 0.0 {
        true => Ok(()),
        false => Err(Error::config(
            key,
            "0 leaves the whole table without effect: remove the table",
        )),
    }
}

/// A value that must lie in `range`.
pub(crate) fn within<T: PartialOrd + Display>(
    key: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), Error> {
    match range.contains(&value) {
        true => Ok(()),
        false => {
            let problem = format!("{value} is outside {} to {}", range.start(), range.end());
            Err(Error::config(key, problem))
        }
    }
}

/// `[low, high]` above 0 and up to `top`.
pub(crate) fn positive(key: &'static str, [low, high]: [f32; 2], top: f32) -> Result<(), Error> {
    match low > 0.0 && low <= high && high <= top {
        true => Ok(()),
        false => {
            let problem = format!("[{low}, {high}] is no range, expected 0 < low <= high <= {top}");
            Err(Error::config(key, problem))
        }
    }
}

/// `[low, high]` within `range`, both ends allowed.
pub(crate) fn ordered<T: PartialOrd + Display>(
    key: &'static str,
    [low, high]: [T; 2],
    range: RangeInclusive<T>,
) -> Result<(), Error> {
    match *range.start() <= low && low <= high && high <= *range.end() {
        true => Ok(()),
        false => {
            let problem = format!(
                "[{low}, {high}] is no range, expected {} <= low <= high <= {}",
                range.start(),
                range.end()
            );
            Err(Error::config(key, problem))
        }
    }
}
