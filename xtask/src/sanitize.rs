//! The tests of the raw kernels under AddressSanitizer and under Miri.
//!
//! `crates/marey-kernel/src/raw` needs nothing of Burn, so it is built as a crate of its own: in a minute, where all of
//! Burn under a sanitizer takes twenty. The crate is a manifest in the target folder that points at the sources.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use toml::{Table, Value};

use crate::{dependencies, say};

/// Runs all of them under AddressSanitizer, on every instruction set of this machine.
///
/// The sanitizer comes with the stable compiler, but its flag is for nightly ones only: `RUSTC_BOOTSTRAP` lets the
/// pinned compiler take it, so that what is checked is what is shipped.
pub(crate) fn address(root: &Path) -> Result<()> {
    let dir = write_crate(root)?;
    let host = dependencies::host(root)?;
    let mut command = Command::new("cargo");
    command
        .args(["test", "--release", "--lib", "--target", &host])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address -Adead_code");
    test(command, &dir, "address sanitizer")
}

/// Runs those of [`UNDER_MIRI`] under Miri, which interprets the portable kernels alone.
///
/// Miri comes with nightly compilers only: `rustup toolchain install nightly --component miri --component rust-src`.
pub(crate) fn miri(root: &Path) -> Result<()> {
    let dir = write_crate(root)?;
    let mut command = Command::new("rustup");
    command
        .args([
            "run", "nightly", "cargo", "miri", "test", "--lib", "--", "--exact",
        ])
        .args(UNDER_MIRI)
        // rayon's threads outlive the tests, and its queues keep pointers in integers.
        .env(
            "MIRIFLAGS",
            "-Zmiri-ignore-leaks -Zmiri-tree-borrows -Zmiri-permissive-provenance",
        )
        .env("RAYON_NUM_THREADS", "2")
        .env("RUSTFLAGS", "-Adead_code");
    test(command, &dir, "Miri")
}

/// Tests that an interpreter finishes in minutes: memory, work sharing, packing, convolution (dense and depthwise, all three
/// directions), statistics of norms, pooling. The others need hours there.
const UNDER_MIRI: [&str; 9] = [
    "memory::tests::a_buffer_comes_back_from_the_pool",
    "memory::tests::an_empty_buffer_is_possible",
    "parallel::tests::every_task_runs_once",
    "parallel::tests::pieces_cover_the_whole",
    "parallel::tests::scratch_is_aligned",
    "conv::pack::tests::panels_hold_the_weights_where_tiles_look",
    "conv::tests::tiny_geometries_agree_with_the_reference",
    "norm::tests::nan_stays_in_its_channel",
    "pool::tests::nan_wins_its_windows_only",
];

fn test(mut command: Command, dir: &Path, name: &str) -> Result<()> {
    say(&format!("== raw kernels, {name}: {command:?}"));
    let status = command
        .current_dir(dir)
        .env("CARGO_TARGET_DIR", dir.join("target"))
        .status()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    ensure!(status.success(), "the raw kernels fail under {name}");
    Ok(())
}

/// Writes the crate, and gives its folder.
fn write_crate(root: &Path) -> Result<PathBuf> {
    let read = |path: &str| -> Result<Table> {
        let text = fs::read_to_string(root.join(path));
        let text = text.with_context(|| format!("cannot read {path}"))?;
        text.parse().with_context(|| format!("cannot read {path}"))
    };
    let sources = root.join("crates/marey-kernel/src/raw/mod.rs");
    let manifest = manifest(
        &read("Cargo.toml")?,
        &read("crates/marey-kernel/Cargo.toml")?,
        &sources,
    )?;
    let dir = root.join("target/raw-kernels");
    let context = || format!("cannot write {}", dir.display());
    fs::create_dir_all(&dir).with_context(context)?;
    fs::write(dir.join("Cargo.toml"), manifest).with_context(context)?;
    // The versions that the workspace has.
    fs::copy(root.join("Cargo.lock"), dir.join("Cargo.lock")).with_context(context)?;
    Ok(dir)
}

/// The manifest: the kernel crate's dependencies as the workspace pins them, but Burn's, the benchmark's and those of a GPU,
/// which are the optional ones.
fn manifest(workspace: &Table, kernel: &Table, sources: &Path) -> Result<String> {
    let pinned = workspace
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .context("Cargo.toml has no workspace.dependencies")?;
    let mut crate_ = Table::new();
    for section in ["dependencies", "dev-dependencies"] {
        let mut kept = Table::new();
        let listed = kernel.get(section).and_then(Value::as_table);
        for (name, listed) in listed.into_iter().flatten() {
            let optional = listed.get("optional").and_then(Value::as_bool);
            if name.starts_with("burn") || name == "divan" || optional == Some(true) {
                continue;
            }
            let Some(version) = pinned.get(name) else {
                bail!("{name} of marey-kernel is not in the workspace's table");
            };
            kept.insert(name.clone(), version.clone());
        }
        crate_.insert(section.to_owned(), Value::Table(kept));
    }
    let head = format!(
        "# Written by `cargo xtask`.\n\
         [package]\nname = \"raw-kernels\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [lib]\npath = {:?}\n\
         [workspace]\n\
         [profile.release]\ndebug-assertions = true\noverflow-checks = true\n",
        sources.display().to_string()
    );
    Ok(head + &crate_.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a source file at any depth of `dir` holds `text`.
    fn holds(dir: &Path, text: &str) -> Result<bool> {
        for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let path = entry?.path();
            let found = if path.is_dir() {
                holds(&path, text)?
            } else {
                fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?
                    .contains(text)
            };
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A test that was renamed would be filtered out without a word.
    #[test]
    fn what_miri_runs_is_there() {
        let raw = crate::root().join("crates/marey-kernel/src/raw");
        for test in UNDER_MIRI {
            let (_, name) = test.rsplit_once("::").expect("a path");
            assert!(
                holds(&raw, &format!("fn {name}(")).expect("readable"),
                "{test}"
            );
        }
        let nobody = concat!("fn nobody_", "wrote_this(");
        assert!(!holds(&raw, nobody).expect("readable"));
    }

    #[test]
    fn the_crate_has_the_pinned_dependencies_without_burn() {
        let table = |text: &str| text.parse::<Table>().expect("TOML");
        let workspace = table(
            "[workspace.dependencies]\nburn = \"=1\"\nrayon = \"1.12\"\ndivan = \"0\"\ncubecl = \"0\"\n\
             proptest = { version = \"1\", default-features = false }\n",
        );
        let kernel = table(
            "[dependencies]\nburn = {}\nrayon = {}\ncubecl = { optional = true }\n[dev-dependencies]\ndivan = {}\nproptest = {}\n",
        );
        let text = manifest(&workspace, &kernel, Path::new("raw/mod.rs")).expect("a manifest");
        let written = table(&text);
        assert_eq!(written["lib"]["path"].as_str(), Some("raw/mod.rs"));
        assert_eq!(
            written["dependencies"],
            Value::Table(table("rayon = \"1.12\""))
        );
        let dev = "proptest = { version = \"1\", default-features = false }";
        assert_eq!(written["dev-dependencies"], Value::Table(table(dev)));

        let unknown = table("[dependencies]\nlibc = {}\n");
        let error = manifest(&workspace, &unknown, Path::new("raw/mod.rs")).expect_err("unknown");
        assert!(error.to_string().contains("libc"), "{error}");
    }
}
