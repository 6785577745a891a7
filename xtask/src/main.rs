//! Chores of the workspace: `cargo xtask <chore>`.

mod ci;

mod dependencies;

mod sanitize;

mod tidy;

use std::{path::PathBuf, process::ExitCode};

const USAGE: &str = "\
usage: cargo xtask <chore>

chores:
  ci            everything that must hold before a change is merged
  tidy          the rules of the house that a program can check
  sanitize      the tests of the raw CPU kernels under AddressSanitizer
  miri          those tests under Miri, portable kernels only; needs a nightly compiler with Miri
  dependencies  write the table of docs/dependencies.md anew
";

fn main() -> ExitCode {
    let chore = std::env::args().nth(1);
    let result = match chore.as_deref() {
        Some("ci") => ci::run(&root()),
        Some("tidy") => tidy::run(&root()),
        Some("sanitize") => sanitize::address(&root()),
        Some("miri") => sanitize::miri(&root()),
        Some("dependencies") => dependencies::run(&root()),
        _ => {
            say(USAGE);
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    xtask
        .parent()
        .expect("xtask lies in the workspace")
        .to_owned()
}

#[expect(clippy::print_stderr, reason = "the one place where a chore talks")]
fn say(text: &str) {
    eprintln!("{}", text.trim_end());
}
