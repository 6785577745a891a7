//! Import of other programs' weights, by name.

use std::{collections::BTreeMap, fmt, path::Path};

use super::{
    names,
    read::{self, Layout, Stored, TensorFile},
    walk::{self, Parameter},
};
use crate::{Arch, Error, ErrorKind, HeadImport, Model};

/// Where checkpoints keep their weights; the empty one is the file itself. On a tie the earlier wins, so averaged
/// weights (`model_ema`) are taken only where there are no others, or by [`ImportOptions::container`].
const CONTAINERS: [&str; 8] = [
    "",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "model_ema",
    "ema",
];

/// What wrappers put before every name.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// Prefixes by which systems built around the same networks differ: what to take off, and what to put before the rest.
const PREFIXES: [(&str, &str); 9] = [
    ("", ""),
    ("backbone.backbone.", ""),
    ("backbone.", ""),
    ("", "backbone.backbone."),
    ("backbone.", "backbone.backbone."),
    ("model.", ""),
    // A network for pictures alone, as the backbone of TSN and TSM, or one of them as the stream that sees frames.
    ("", "backbone."),
    ("", "rgb."),
    ("backbone.", "rgb."),
];

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// What to do with the classifier.
    pub head: HeadImport,
    /// Where in the checkpoint the weights are, for example `model_ema` (default: where most names match).
    pub container: Option<String>,
}

/// What an import did with every parameter of the model and every tensor of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Where in the file the weights were; empty for the file itself.
    pub container: String,
    /// Parameters and running statistics that were replaced.
    pub loaded: Vec<String>,
    /// Those that the file does not have: they keep their initial values.
    pub missing: Vec<String>,
    /// Those of the classifier, left at their initial values because [`HeadImport::Skip`] was asked for.
    pub skipped: Vec<String>,
    /// Tensors of the file, by their full names, that the model does not have.
    pub unused: Vec<String>,
    /// Tensors of the file that mean nothing here: counters of PyTorch's batch norm.
    pub ignored: Vec<String>,
}

impl fmt::Display for ImportReport {
    /// One line of counts, and the names of what is missing or unused.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [loaded, missing, skipped] = [&self.loaded, &self.missing, &self.skipped].map(Vec::len);
        write!(
            f,
            "{loaded} tensors loaded, {missing} missing in the file, {skipped} skipped"
        )?;
        write!(f, ", {} in the file not used", self.unused.len())?;
        for (what, names) in [
            ("missing", &self.missing),
            ("skipped", &self.skipped),
            ("not used", &self.unused),
        ] {
            for name in names {
                write!(f, "\n  {what}: {name}")?;
            }
        }
        Ok(())
    }
}

/// `model` with the weights of the file at `path`, and what was and was not loaded.
///
/// The file may be a state dict or a training checkpoint around one (`state_dict`, `model_state_dict`, `model_state`,
/// `model`, `model_ema`), with `module.` or `_orig_mod.` before its names, or the weights of the backbone alone.
///
/// # Errors
/// When the file cannot be read, no name matches, two tensors mean one parameter, or a tensor has another shape than
/// the model's, holds a value that is not finite, or no floats. A classifier for another number of classes is such a
/// shape, unless `options.head` says to skip it.
pub fn import(
    model: Model,
    path: &Path,
    options: &ImportOptions,
) -> Result<(Model, ImportReport), Error> {
    let file = read::open(path)?;
    let wanted = walk::parameters(&model);
    let plan = Plan::new(model.arch(), &wanted, &file, options.container.as_deref())
        .map_err(|kind| Error::at(path, kind))?;
    let (found, report) = plan
        .resolve(&model, &wanted, &file, options)
        .map_err(|kind| Error::at(path, kind))?;
    let model =
        assign(model, &wanted, &found, file.layout).map_err(|kind| Error::at(path, kind))?;
    Ok((model, report))
}

/// `model` with the values of the tensors that `found` has for its parameters, whose shapes were checked.
pub(super) fn assign(
    model: Model,
    wanted: &[Parameter],
    found: &BTreeMap<&str, &Stored>,
    layout: Layout,
) -> Result<Model, ErrorKind> {
    let shapes: BTreeMap<&str, &[usize]> = wanted
        .iter()
        .map(|p| (p.name.as_str(), p.shape.as_slice()))
        .collect();
    let arch = model.arch();
    let mut failure = None;
    let model = walk::replace(model, |name| {
        if failure.is_some() {
            return None;
        }
        let stored = found.get(name)?;
        match stored.values() {
            Ok(values) => {
                let values = read::to_ours(layout, values, shapes[name]);
                Some(names::in_our_order(
                    arch,
                    &stored.name,
                    values,
                    shapes[name],
                ))
            }
            Err(problem) => {
                failure = Some(ErrorKind::Tensor {
                    tensor: stored.name.clone(),
                    problem,
                });
                None
            }
        }
    });
    failure.map_or(Ok(model), Err)
}

/// Which tensor of a file means which parameter.
struct Plan<'a> {
    container: &'a str,
    /// Tensors of the container by the name they have in the model, if it has it.
    by_name: Vec<(String, &'a Stored)>,
}

impl<'a> Plan<'a> {
    /// The reading of the file by which most names match.
    fn new(
        arch: Arch,
        wanted: &[Parameter],
        file: &'a TensorFile,
        container: Option<&'a str>,
    ) -> Result<Self, ErrorKind> {
        let containers = container.map_or_else(|| CONTAINERS.to_vec(), |container| vec![container]);
        let mut best: Option<(usize, Self)> = None;
        for container in containers {
            let inside: Vec<(&str, &Stored)> = file
                .tensors
                .iter()
                .filter_map(|stored| Some((inner_name(&stored.name, container)?, stored)))
                .collect();
            for prefix in PREFIXES {
                let by_name: Vec<_> = inside
                    .iter()
                    .map(|&(name, stored)| (upstream(arch, name, prefix), stored))
                    .collect();
                let is_wanted =
                    |name: &String| wanted.iter().any(|parameter| &parameter.name == name);
                let num = by_name.iter().filter(|(name, _)| is_wanted(name)).count();
                if num > best.as_ref().map_or(0, |(most, _)| *most) {
                    best = Some((num, Self { container, by_name }));
                }
            }
        }
        let few = |names: &mut dyn Iterator<Item = &str>| {
            names
                .take(3)
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        best.map(|(_, plan)| plan)
            .ok_or_else(|| ErrorKind::NothingMatched {
                arch: arch.name(),
                num: file.tensors.len(),
                found: few(&mut file.tensors.iter().map(|stored| stored.name.as_str())),
                wanted: few(&mut wanted.iter().map(|parameter| parameter.name.as_str())),
            })
    }

    /// The tensor of each parameter that has one, and the report of them all.
    fn resolve(
        &self,
        model: &Model,
        wanted: &'a [Parameter],
        file: &TensorFile,
        options: &ImportOptions,
    ) -> Result<(BTreeMap<&'a str, &'a Stored>, ImportReport), ErrorKind> {
        let mut candidates: BTreeMap<&str, &Stored> = BTreeMap::new();
        for (name, stored) in &self.by_name {
            if let Some(first) = candidates.insert(name, stored)
                && wanted.iter().any(|parameter| &parameter.name == name)
            {
                let (first, second) = (first.name.clone(), stored.name.clone());
                return Err(ErrorKind::Ambiguous {
                    first,
                    second,
                    parameter: name.clone(),
                });
            }
        }
        let mut report = ImportReport {
            container: self.container.to_owned(),
            ..ImportReport::default()
        };
        let mut found = BTreeMap::new();
        for parameter in wanted {
            let name = parameter.name.as_str();
            let is_head = name.starts_with(model.head());
            let stored = candidates.get(name);
            if is_head && options.head == HeadImport::Skip {
                report.skipped.push(name.to_owned());
            } else if let Some(&stored) = stored {
                check_shape(stored, parameter, file.layout, is_head)?;
                report.loaded.push(name.to_owned());
                found.insert(name, stored);
            } else {
                report.missing.push(name.to_owned());
            }
        }
        let is_used = |stored: &Stored| found.values().any(|used| used.name == stored.name);
        for stored in file.tensors.iter().filter(|stored| !is_used(stored)) {
            let is_counter = stored.name.ends_with(".num_batches_tracked");
            let list = if is_counter {
                &mut report.ignored
            } else {
                &mut report.unused
            };
            list.push(stored.name.clone());
        }
        Ok((found, report))
    }
}

fn check_shape(
    stored: &Stored,
    parameter: &Parameter,
    layout: Layout,
    is_head: bool,
) -> Result<(), ErrorKind> {
    let expected = read::shape_in(layout, &parameter.shape);
    if stored.shape == expected {
        return Ok(());
    }
    let differs_in_classes_only = stored.shape.get(1..) == expected.get(1..);
    let hint = match (
        is_head && differs_in_classes_only,
        stored.shape.first(),
        expected.first(),
    ) {
        (true, Some(theirs), Some(ours)) => format!(
            "; the file tells {theirs} classes apart and the model {ours}: set model.head = \"skip\" to start with a \
             fresh classifier"
        ),
        _ => String::new(),
    };
    Err(ErrorKind::Shape {
        tensor: stored.name.clone(),
        parameter: parameter.name.clone(),
        expected,
        found: stored.shape.clone(),
        hint,
    })
}

/// The name inside `container` and its wrappers; `None` for a tensor that lies outside.
fn inner_name<'a>(name: &'a str, container: &str) -> Option<&'a str> {
    let mut name = match container {
        "" => name,
        container => name.strip_prefix(container)?.strip_prefix('.')?,
    };
    while let Some(inner) = WRAPPERS
        .iter()
        .find_map(|wrapper| name.strip_prefix(wrapper))
    {
        name = inner;
    }
    Some(name)
}

/// The name that a tensor of another system has in ours.
fn upstream(arch: Arch, name: &str, (strip, add): (&str, &str)) -> String {
    let name = name.strip_prefix(strip).unwrap_or(name);
    names::ours(arch, name).unwrap_or_else(|| match arch.has_resnet() {
        true => format!("{add}{}", names::torchvision(name)),
        false => format!("{add}{name}"),
    })
}
