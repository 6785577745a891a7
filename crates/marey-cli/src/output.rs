//! Writing to the terminal: data to stdout, everything else to stderr.

use std::{
    fmt::Display,
    io::{self, Write},
};

use anyhow::{Context, Result};
use serde::Serialize;

/// Writes a line of data to stdout.
pub(crate) fn line(text: impl Display) -> Result<()> {
    writeln!(io::stdout().lock(), "{text}").context("cannot write to standard output")
}

/// Writes `value` to stdout as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// Writes a line to stderr. What cannot be told there cannot be told at all, so a failure is not reported.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes an error and its causes to stderr.
pub(crate) fn error(error: &anyhow::Error) {
    let mut text = format!("error: {error}");
    let mut told = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // A transparent error repeats its only cause.
        if cause != told {
            text.push_str(&format!("\n  because {cause}"));
        }
        told = cause;
    }
    note(text);
}

/// Whether the reader of stdout went away, which is its right.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_pipe = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_pipe))
}

/// The command as it was typed, for reports.
pub(crate) fn command_line() -> String {
    let arguments = std::env::args().skip(1);
    std::iter::once("marey".to_owned())
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}
