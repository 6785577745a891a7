//! Our own weight files: safetensors with upstream names, convolution weights channels last.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::Path,
};

use safetensors::{Dtype, View};

use super::{
    import::assign,
    read::{self, LAYOUT, LAYOUT_KEY},
    walk,
};
use crate::{Error, ErrorKind, Model, files};

/// Writes every parameter and running statistic of `model` as `f32`. The file appears whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn save(model: &Model, path: &Path) -> Result<(), Error> {
    let mut tensors = Vec::new();
    walk::visit(model, |name, tensor| {
        tensors.push((name, Values::new(tensor)))
    });
    let about = HashMap::from([
        (LAYOUT_KEY.to_owned(), LAYOUT.to_owned()),
        ("arch".to_owned(), model.arch().name().to_owned()),
    ]);
    let bytes = safetensors::serialize(tensors, Some(about)).map_err(|error| {
        Error::at(
            path,
            ErrorKind::Unreadable {
                problem: format!("the weights cannot be encoded: {error}"),
            },
        )
    })?;
    files::write_whole(path, &bytes)
}

/// `model` with the weights that [`save`] wrote to `path`: each of its tensors, and no other.
///
/// # Errors
/// When the file cannot be read, or holds the weights of another model.
pub fn load(model: Model, path: &Path) -> Result<Model, Error> {
    let file = read::open(path)?;
    let wanted = walk::parameters(&model);
    let found: BTreeMap<&str, &read::Stored> = file
        .tensors
        .iter()
        .map(|stored| (stored.name.as_str(), stored))
        .collect();
    let missing: Vec<_> = wanted
        .iter()
        .filter(|p| !found.contains_key(p.name.as_str()))
        .map(|p| p.name.clone())
        .collect();
    let is_wanted = |name: &str| wanted.iter().any(|parameter| parameter.name == name);
    let unused: Vec<_> = found
        .keys()
        .filter(|name| !is_wanted(name))
        .map(|&name| name.to_owned())
        .collect();
    if !missing.is_empty() || !unused.is_empty() {
        return Err(Error::at(path, ErrorKind::NotThisModel { missing, unused }));
    }
    for parameter in &wanted {
        let stored = found[parameter.name.as_str()];
        let expected = read::shape_in(file.layout, &parameter.shape);
        if stored.shape != expected {
            return Err(Error::at(
                path,
                ErrorKind::Shape {
                    tensor: stored.name.clone(),
                    parameter: parameter.name.clone(),
                    expected,
                    found: stored.shape.clone(),
                    hint: String::new(),
                },
            ));
        }
    }
    assign(model, &wanted, &found, file.layout).map_err(|kind| Error::at(path, kind))
}

struct Values {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Values {
    fn new(tensor: &dyn walk::AnyTensor) -> Self {
        let bytes = tensor
            .values()
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Self {
            shape: tensor.shape(),
            bytes,
        }
    }
}

impl View for Values {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
