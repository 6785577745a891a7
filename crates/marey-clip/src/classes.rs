//! The ordered names of what a model can say.
//!
//! The order is part of the model: class 3 of a checkpoint is the third name of the list it was trained with. So the
//! list is stored in every bundle and compared when one is loaded.

use serde::{Deserialize, Serialize};

/// Distinct, non-empty class names; the position of a name is its class index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct ClassList(Vec<String>);

/// Why names are no class list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassListError {
    /// Fewer than two names: there is nothing to tell apart.
    #[error("a class list needs at least 2 classes, found {found}")]
    TooFew {
        /// Number of names.
        found: usize,
    },
    /// A name is empty.
    #[error("class {idx} has an empty name")]
    EmptyName {
        /// Its position.
        idx: usize,
    },
    /// A name occurs twice.
    #[error("class `{name}` is listed twice")]
    Duplicate {
        /// The name.
        name: String,
    },
}

impl ClassList {
    /// A list in the given order.
    ///
    /// # Errors
    /// When there are fewer than two names, or one is empty or repeated.
    pub fn new(names: Vec<String>) -> Result<Self, ClassListError> {
        if names.len() < 2 {
            return Err(ClassListError::TooFew { found: names.len() });
        }
        for (idx, name) in names.iter().enumerate() {
            if name.trim().is_empty() {
                return Err(ClassListError::EmptyName { idx });
            }
            if names[..idx].contains(name) {
                return Err(ClassListError::Duplicate { name: name.clone() });
            }
        }
        Ok(Self(names))
    }

    /// Number of classes, at least 2.
    #[expect(clippy::len_without_is_empty, reason = "a class list is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The names in order.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The name of class `idx`.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn name(&self, idx: usize) -> &str {
        &self.0[idx]
    }

    /// The index of `name`, exactly as written.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|known| known == name)
    }
}

impl TryFrom<Vec<String>> for ClassList {
    type Error = ClassListError;

    fn try_from(names: Vec<String>) -> Result<Self, Self::Error> {
        Self::new(names)
    }
}

impl From<ClassList> for Vec<String> {
    fn from(list: ClassList) -> Self {
        list.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Result<ClassList, ClassListError> {
        ClassList::new(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn names_keep_their_order() {
        let classes = list(&["up", "down"]).expect("two names");
        assert_eq!(
            (classes.index("down"), classes.index("Down")),
            (Some(1), None)
        );
        assert_eq!(classes.name(0), "up");
    }

    #[test]
    fn lists_that_cannot_be_learned_are_refused() {
        assert_eq!(list(&["up"]), Err(ClassListError::TooFew { found: 1 }));
        assert_eq!(
            list(&["up", " "]),
            Err(ClassListError::EmptyName { idx: 1 })
        );
        assert_eq!(
            list(&["up", "up"]),
            Err(ClassListError::Duplicate { name: "up".into() })
        );
    }
}
