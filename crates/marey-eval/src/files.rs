//! Files that are there whole or not at all.

use std::fs;
use std::path::Path;

use crate::{Error, Plot};

/// Writes `bytes` to `path`, under another name first.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    fs::write(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .map_err(|source| {
            // Best effort: the error that matters is the first one.
            let _ = fs::remove_file(&partial);
            Error::writing(path, source)
        })
}

/// Writes every plot as PNG into the folder `plots` of `dir`.
pub(crate) fn write_plots(dir: &Path, plots: &[Plot]) -> Result<(), Error> {
    let folder = dir.join("plots");
    fs::create_dir_all(&folder).map_err(|source| Error::writing(&folder, source))?;
    for plot in plots {
        write(
            &folder.join(format!("{}.png", plot.name())),
            &plot.to_png()?,
        )?;
    }
    Ok(())
}
