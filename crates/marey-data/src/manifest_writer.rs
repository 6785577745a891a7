//! Writing a data set as a manifest, so that a split is a file that can be read, kept and changed.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::Path,
};

use crate::{Dataset, Error, Item, atomic::AtomicFile, item::exact_secs};

/// Writes `dataset` as a CSV manifest that [`load`](crate::load) reads back: path, start, end, label, split, group, then
/// a column for each kind of metadata (but none of those names again). Paths below the manifest's folder are relative
/// to it.
///
/// # Errors
/// When the file cannot be written; a file that was there before is then unchanged.
pub fn write_manifest(dataset: &Dataset, path: &Path) -> Result<(), Error> {
    let file = AtomicFile::create(path)?;
    let failed = |source: io::Error| Error::io(path, "write the manifest", source);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let has_spans = dataset.items.iter().any(|item| item.span.is_some());
    let has_groups = dataset.items.iter().any(|item| item.group.is_some());
    let metadata: BTreeSet<&String> = dataset
        .items
        .iter()
        .flat_map(|item| item.metadata.keys())
        .filter(|name| !is_own(name))
        .collect();
    let mut header = vec!["path"];
    header.extend(has_spans.then_some(["start", "end"]).into_iter().flatten());
    header.extend(["label", "split"]);
    header.extend(has_groups.then_some("group"));
    header.extend(metadata.iter().map(|name| name.as_str()));
    let in_memory = "writing a table of equal lines to memory cannot fail";
    writer.write_record(&header).expect(in_memory);
    for item in &dataset.items {
        let mut row = vec![source_from(path, item)];
        if has_spans {
            let span = item
                .span
                .map(|span| [exact_secs(span.start()), exact_secs(span.end())]);
            row.extend(span.unwrap_or_default());
        }
        row.push(dataset.classes.name(item.label).to_owned());
        row.push(item.split.map_or("", |split| split.name()).to_owned());
        row.extend(has_groups.then(|| item.group_key()));
        row.extend(
            metadata
                .iter()
                .map(|&name| item.metadata.get(name).cloned().unwrap_or_default()),
        );
        writer.write_record(&row).expect(in_memory);
    }
    let bytes = writer.into_inner().expect(in_memory);
    (&file.file).write_all(&bytes).map_err(failed)?;
    file.commit()
}

/// Whether a column of this name is written for every item, whatever its metadata.
fn is_own(name: &str) -> bool {
    let own = ["path", "start", "end", "label", "split", "group"];
    own.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// The item's path as it is written: relative to the manifest's folder where it lies below it, else absolute.
fn source_from(manifest: &Path, item: &Item) -> String {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute(manifest)
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    let source = absolute(&item.source);
    match source.strip_prefix(&folder) {
        Ok(below) => below
            .iter()
            .map(|part| part.to_string_lossy())
            .collect::<Vec<_>>()
            .join("/"),
        Err(_) => source.display().to_string(),
    }
}
