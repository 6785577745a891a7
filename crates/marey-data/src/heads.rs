//! Labels beside the class: other columns of the data, each with its own list of values.

use std::{collections::BTreeSet, path::Path};

use marey_clip::ClassList;

use crate::{Dataset, Error};

/// A column that is learned beside the class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelColumn {
    /// Its name.
    pub name: String,
    /// Its values in alphabetical order.
    pub classes: ClassList,
    /// For each item of the data set the position of its value in `classes`.
    pub labels: Vec<usize>,
}

impl Dataset {
    /// The labels in the column called `name`.
    ///
    /// # Errors
    /// When an item has no value there, naming it and the columns that there are, or all have the same value.
    pub fn label_column(&self, name: &str) -> Result<LabelColumn, Error> {
        let failed =
            |source: &Path, problem: String| Err(Error::config(source, "task.heads", problem));
        let mut values = Vec::with_capacity(self.items.len());
        for item in &self.items {
            match item.metadata.get(name).map(|value| value.trim()) {
                Some(value) if !value.is_empty() => values.push(value),
                Some(_) => {
                    let problem = format!(
                        "the item `{}` has no value in column `{name}`: give it one, or remove the column from the heads",
                        item.id
                    );
                    return failed(&item.source, problem);
                }
                None => {
                    let known: Vec<&str> = item.metadata.keys().map(String::as_str).collect();
                    let problem = format!(
                        "the data has no column `{name}`; it has {}",
                        match known.as_slice() {
                            [] => "none beside the label".to_owned(),
                            known => format!("`{}`", known.join("`, `")),
                        }
                    );
                    return failed(&item.source, problem);
                }
            }
        }
        let names: BTreeSet<&str> = values.iter().copied().collect();
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let source = self
            .items
            .first()
            .map_or(Path::new(""), |item| &item.source);
        let classes = ClassList::new(names).map_err(|error| {
            Error::config(source, "task.heads", format!("column `{name}`: {error}"))
        })?;
        let position = |value: &&str| {
            let found = classes.index(value);
            found.expect("the names are those of the values")
        };
        Ok(LabelColumn {
            name: name.to_owned(),
            labels: values.iter().map(position).collect(),
            classes,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Item;

    fn dataset(actors: &[Option<&str>]) -> Dataset {
        let item = |(idx, actor): (usize, &Option<&str>)| Item {
            id: format!("clip-{idx}"),
            source: format!("clip-{idx}.mp4").into(),
            span: None,
            label: 0,
            group: None,
            split: None,
            metadata: actor
                .map(|actor| ("actor".to_owned(), actor.to_owned()))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        };
        Dataset {
            classes: ClassList::new(vec!["eats".into(), "runs".into()]).expect("two"),
            items: actors.iter().enumerate().map(item).collect(),
            notes: Vec::new(),
            accepted_leak: None,
        }
    }

    #[test]
    fn a_column_is_a_list_of_values_and_positions() {
        let column = dataset(&[Some("dog"), Some("cat"), Some("dog")])
            .label_column("actor")
            .expect("a label");
        assert_eq!(column.classes.names(), ["cat", "dog"]);
        assert_eq!(column.labels, [1, 0, 1]);
    }

    #[test]
    fn a_column_that_is_no_label_is_refused() {
        for (actors, expect) in [
            (&[Some("dog"), None][..], "no column `actor`"),
            (&[Some("dog"), Some(" ")], "`clip-1` has no value"),
            (&[Some("dog"), Some("dog")], "at least 2 classes"),
        ] {
            let error = dataset(actors).label_column("actor").expect_err(expect);
            let message = error.to_string();
            assert!(message.contains(expect), "{message}");
        }
    }
}
