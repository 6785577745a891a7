//! Everything that must hold before a change is merged, cheapest first.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{sanitize, say, tidy};

/// A command's name and its arguments after `cargo`.
const BEFORE_TIDY: [(&str, &[&str]); 1] = [("format", &["fmt", "--all", "--check"])];
const AFTER_TIDY: [(&str, &[&str]); 3] = [
    (
        "clippy",
        &[
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    ),
    (
        "documentation",
        &["doc", "--release", "--workspace", "--no-deps", "--lib"],
    ),
    ("tests", &["test", "--release", "--workspace"]),
];

/// Runs every check; stops at the first that fails.
pub(crate) fn run(root: &Path) -> Result<()> {
    for (name, arguments) in BEFORE_TIDY {
        cargo(root, name, arguments)?;
    }
    say("== tidy");
    tidy::run(root)?;
    deny(root)?;
    for (name, arguments) in AFTER_TIDY {
        cargo(root, name, arguments)?;
    }
    sanitize::address(root)?;
    say("everything holds");
    Ok(())
}

/// Licences, bans and sources of all dependencies. The advisory check needs a database from the network, so it is left
/// to whoever has one: `cargo deny check advisories`.
fn deny(root: &Path) -> Result<()> {
    let installed = Command::new("cargo").args(["deny", "--version"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        say("== deny: skipped, cargo-deny is not installed (cargo install --locked cargo-deny)");
        return Ok(());
    }
    cargo(
        root,
        "deny",
        &[
            "deny",
            "--all-features",
            "check",
            "bans",
            "licenses",
            "sources",
        ],
    )
}

fn cargo(root: &Path, name: &str, arguments: &[&str]) -> Result<()> {
    say(&format!("== {name}: cargo {}", arguments.join(" ")));
    let status = Command::new("cargo")
        .args(arguments)
        .current_dir(root)
        .env("RUSTDOCFLAGS", "-D warnings")
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("{name} failed");
    }
    Ok(())
}
