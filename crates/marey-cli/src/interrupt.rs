//! Ctrl-C: the first one asks the work to stop where it can go on later, the second one ends the program.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result};

use crate::output;

/// The flag that the first Ctrl-C (or SIGTERM, or the terminal's closing) sets.
pub(crate) fn stop_flag() -> Result<&'static AtomicBool> {
    static STOP: AtomicBool = AtomicBool::new(false);
    static INSTALLED: OnceLock<()> = OnceLock::new();
    if INSTALLED.set(()).is_ok() {
        ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            output::note("\nstopping after this step, to save a checkpoint; press Ctrl-C again to stop at once");
        })
        .context("cannot listen for Ctrl-C")?;
    }
    Ok(&STOP)
}
