//! Checks that the sections of a recipe share: a key that does nothing beside the others, a number out of its range.

use std::ops::RangeInclusive;

/// A key, whether it is set, whether it has an effect here, and what it belongs to.
pub(crate) struct Key(
    pub(crate) &'static str,
    pub(crate) bool,
    pub(crate) bool,
    pub(crate) &'static str,
);

/// An error for the first of `keys` that is set and has no effect beside `kind` in `section`.
pub(crate) fn has_effect(section: &str, kind: &str, keys: &[Key]) -> Result<(), String> {
    let idle = keys
        .iter()
        .find(|Key(_, is_set, counts, _)| *is_set && !counts);
    match idle {
        None => Ok(()),
        Some(Key(key, _, _, owner)) => Err(format!(
            "{section}.{key} has no effect with {kind}: it belongs to {owner}; remove it"
        )),
    }
}

/// An error where the number at `key` lies outside `range`.
pub(crate) fn in_range(key: &str, value: f64, range: RangeInclusive<f64>) -> Result<(), String> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(format!(
        "{key} is {value}, it must lie in {}..={}",
        range.start(),
        range.end()
    ))
}
