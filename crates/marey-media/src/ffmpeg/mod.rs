//! Everything that the built-in decoders do not read: FFmpeg, linked or as a program.

#[cfg(feature = "ffmpeg")]
mod convert;

#[cfg(feature = "ffmpeg")]
mod linked;

#[cfg(feature = "ffmpeg")]
mod session;

mod listing;

mod pipe;

mod process;

mod program;

use std::path::Path;

use crate::{Error, OpenOptions, Reader};

/// Opens with the linked libraries.
pub(crate) fn open_linked(path: &Path, options: &OpenOptions) -> Result<Box<dyn Reader>, Error> {
    #[cfg(feature = "ffmpeg")]
    return linked::open(path, options);
    #[cfg(not(feature = "ffmpeg"))]
    {
        let _ = options;
        Err(Error::new(
            path,
            crate::ErrorKind::Ffmpeg {
                program: "the linked FFmpeg library",
                detail: "this program was built without it: build with the cargo feature `ffmpeg`"
                    .into(),
            },
        ))
    }
}

/// Opens with the `ffmpeg` program.
pub(crate) fn open_program(path: &Path, options: &OpenOptions) -> Result<Box<dyn Reader>, Error> {
    program::open(path, options)
}

/// Opens with whichever FFmpeg there is; `None` when there is none.
pub(crate) fn open_any(
    path: &Path,
    options: &OpenOptions,
) -> Option<Result<Box<dyn Reader>, Error>> {
    if cfg!(feature = "ffmpeg") {
        return Some(open_linked(path, options));
    }
    program::is_available().then(|| open_program(path, options))
}
