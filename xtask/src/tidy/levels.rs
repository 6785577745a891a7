//! Which crate may depend on which.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use toml::Table;

use super::{Problem, Tree};

/// A dependency points to a strictly lower level. ARCHITECTURE.md says what each crate is for.
const LEVELS: [(&str, u8); 15] = [
    ("marey-clip", 0),
    ("marey-media", 1),
    ("marey-transform", 1),
    ("marey-kernel", 1),
    ("marey-eval", 1),
    ("marey-data", 2),
    ("marey-model", 2),
    ("marey-train", 3),
    ("marey-infer", 3),
    ("marey-onnx", 3),
    ("marey-live", 4),
    ("marey-serve", 5),
    ("marey", 6),
    ("marey-cli", 7),
    // Synthetic videos stand beside the stack: `marey demo` and everybody's tests use them, they use the vocabulary only.
    ("marey-test", 1),
];

/// Checks the level of every dependency, and that versions stand in the workspace's table alone.
pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) -> Result<()> {
    let mut used = BTreeSet::new();
    let mut known = BTreeSet::new();
    for (path, text) in tree
        .with_extension("toml")
        .filter(|(path, _)| path.ends_with("Cargo.toml"))
    {
        let manifest: Table = text
            .parse()
            .with_context(|| format!("cannot read {}", path.display()))?;
        if let Some(table) = manifest
            .get("workspace")
            .and_then(|w| w.get("dependencies"))
        {
            known.extend(table.as_table().into_iter().flat_map(Table::keys).cloned());
            continue;
        }
        let name = manifest
            .get("package")
            .and_then(|p| p.get("name"))
            .and_then(|n| n.as_str());
        let name = name.with_context(|| format!("{} names no package", path.display()))?;
        if path.starts_with("crates") && !path.starts_with(format!("crates/{name}")) {
            problems.push(Problem::new(
                path,
                format!("the folder is not named `{name}`"),
            ));
        }
        for (kind, dependency, value) in dependencies(&manifest) {
            used.insert(dependency.to_owned());
            if value.get("workspace").is_none() {
                problems.push(Problem::new(
                    path,
                    format!("{dependency} must take its version from the workspace"),
                ));
            }
            if let Err(message) = falls(name, dependency, kind) {
                problems.push(Problem::new(path, message));
            }
        }
    }
    for unused in known.difference(&used).filter(|name| level(name).is_none()) {
        problems.push(Problem::new(
            "Cargo.toml",
            format!("no crate uses the workspace's dependency {unused}"),
        ));
    }
    Ok(())
}

/// `(kind, name, value)` of every dependency of a manifest, those of single targets included.
fn dependencies(manifest: &Table) -> Vec<(&str, &str, &toml::Value)> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest
        .get("target")
        .and_then(|t| t.as_table())
        .into_iter()
        .flat_map(Table::values);
    let tables = std::iter::once(manifest).chain(targets.filter_map(|target| target.as_table()));
    let mut found = Vec::new();
    for table in tables {
        for kind in KINDS {
            let entries = table
                .get(kind)
                .and_then(|t| t.as_table())
                .into_iter()
                .flatten();
            found.extend(entries.map(|(name, value)| (kind, name.as_str(), value)));
        }
    }
    found
}

/// Whether `name` may depend on `dependency`.
fn falls(name: &str, dependency: &str, kind: &str) -> Result<(), String> {
    let Some(below) = level(dependency) else {
        return match dependency.starts_with("marey") {
            true => Err(format!(
                "{dependency} has no level; add it to xtask/src/tidy/levels.rs"
            )),
            false => Ok(()),
        };
    };
    if name == "xtask" {
        return Err(format!(
            "xtask depends on {dependency}, and a chore must build without the toolkit"
        ));
    }
    // Tests of any crate but those below it may render videos.
    let is_test_helper =
        dependency == "marey-test" && kind == "dev-dependencies" && level(name) > Some(0);
    match level(name) {
        None => Err(format!(
            "{name} has no level; add it to xtask/src/tidy/levels.rs"
        )),
        Some(own) if own > below || is_test_helper => Ok(()),
        Some(own) => Err(format!(
            "{name} (level {own}) depends on {dependency} (level {below}), which is not lower"
        )),
    }
}

fn level(name: &str) -> Option<u8> {
    LEVELS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|&(_, level)| level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(name: &str, dependencies: &str) -> Vec<String> {
        let manifest = format!("[package]\nname = \"{name}\"\n{dependencies}");
        let path = format!("crates/{name}/Cargo.toml");
        let tree = Tree::of(&[(&path, &manifest)]);
        let mut problems = Vec::new();
        check(&tree, &mut problems).expect("TOML");
        problems
            .into_iter()
            .map(|problem| problem.message)
            .collect()
    }

    #[test]
    fn a_dependency_falls() {
        let cases: &[(&str, &str, &[&str])] = &[
            // Down two levels, and outside the house.
            (
                "marey-data",
                "[dependencies]\nmarey-clip.workspace = true\ncsv.workspace = true",
                &[],
            ),
            // Up.
            (
                "marey-clip",
                "[dependencies]\nmarey-eval.workspace = true",
                &["marey-clip (level 0) depends on marey-eval (level 1), which is not lower"],
            ),
            // Sideways, hidden in a target's table.
            (
                "marey-media",
                "[target.'cfg(unix)'.dependencies]\nmarey-kernel.workspace = true",
                &["marey-media (level 1) depends on marey-kernel (level 1), which is not lower"],
            ),
            // Tests may render videos, the library may not.
            (
                "marey-media",
                "[dev-dependencies]\nmarey-test.workspace = true",
                &[],
            ),
            (
                "marey-media",
                "[dependencies]\nmarey-test.workspace = true",
                &["marey-media (level 1) depends on marey-test (level 1), which is not lower"],
            ),
            // A crate nobody has placed.
            (
                "marey-new",
                "[dependencies]\nmarey-clip.workspace = true",
                &["marey-new has no level; add it to xtask/src/tidy/levels.rs"],
            ),
            // A version of its own.
            (
                "marey-eval",
                "[dependencies]\ncsv = \"1\"",
                &["csv must take its version from the workspace"],
            ),
        ];
        for (name, dependencies, expect) in cases {
            assert_eq!(
                check_one(name, dependencies),
                *expect,
                "{name}: {dependencies}"
            );
        }
    }

    #[test]
    fn a_dependency_that_nobody_uses_is_named() {
        let workspace = "[workspace.dependencies]\ncsv = \"1\"\nrand = \"0.9\"";
        let member = "[package]\nname = \"marey-eval\"\n[dependencies]\ncsv.workspace = true";
        let tree = Tree::of(&[
            ("Cargo.toml", workspace),
            ("crates/marey-eval/Cargo.toml", member),
        ]);
        let mut problems = Vec::new();
        check(&tree, &mut problems).expect("TOML");
        assert_eq!(
            problems,
            [Problem::new(
                "Cargo.toml",
                "no crate uses the workspace's dependency rand"
            )]
        );
    }
}
