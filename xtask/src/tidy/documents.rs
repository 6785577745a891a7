//! Rules for documents: the dependency table, the decisions, the book, the links, the words.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result};
use toml::Table;

use super::{Problem, Tree};

/// Words that claim where they should show.
const EMPTY_WORDS: [&str; 8] = [
    "simply",
    "obviously",
    "trivially",
    "blazing",
    "seamless",
    "cutting-edge",
    "state-of-the-art",
    "world-class",
];
/// What a decision record says, in this order.
const DECISION_PARTS: [&str; 4] = [
    "## Context",
    "## Decision",
    "## Consequences",
    "## What would change our mind",
];

/// Checks every document.
pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) -> Result<()> {
    check_dependencies(tree, problems)?;
    check_decisions(tree, problems);
    check_book(tree, problems);
    check_recipes(tree, problems);
    for (path, text) in tree.with_extension("md") {
        check_links(tree, path, text, problems);
        check_words(path, text, problems);
    }
    Ok(())
}

/// Every external dependency of the workspace has a row in docs/dependencies.md, and every row has a dependency.
fn check_dependencies(tree: &Tree, problems: &mut Vec<Problem>) -> Result<()> {
    let Some(manifest) = tree.get("Cargo.toml") else {
        return Ok(());
    };
    let manifest: Table = manifest.parse().context("cannot read Cargo.toml")?;
    let table = manifest
        .get("workspace")
        .and_then(|w| w.get("dependencies"))
        .and_then(|d| d.as_table());
    let is_external = |value: &toml::Value| value.get("path").is_none();
    let wanted: BTreeSet<&str> = table
        .into_iter()
        .flatten()
        .filter(|(_, v)| is_external(v))
        .map(|(name, _)| name.as_str())
        .collect();
    let path = Path::new("docs/dependencies.md");
    let text = tree.get(path).unwrap_or_default();
    let listed: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    for missing in wanted.difference(&listed) {
        problems.push(Problem::new(
            path,
            format!("{missing} is not listed: give its reason"),
        ));
    }
    for stale in listed.difference(&wanted) {
        problems.push(Problem::new(
            path,
            format!("{stale} is listed and is no dependency of the workspace"),
        ));
    }
    Ok(())
}

/// Decisions are numbered from 1 without a gap and say what a decision must.
fn check_decisions(tree: &Tree, problems: &mut Vec<Problem>) {
    let decisions = tree
        .below("docs/adr")
        .filter(|(path, _)| !path.ends_with("README.md"));
    for (idx, (path, text)) in decisions.enumerate() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = format!("{:04}", idx + 1);
        if !name.starts_with(&format!("{number}-")) {
            problems.push(Problem::new(path, format!("should be number {number}")));
        }
        if !text.starts_with(&format!("# {number}: ")) {
            problems.push(Problem::new(
                path,
                format!("should begin with `# {number}: ` and its title"),
            ));
        }
        let mut rest = text;
        for part in DECISION_PARTS {
            match rest.split_once(&format!("\n{part}\n")) {
                Some((_, after)) => rest = after,
                None => problems.push(Problem::new(
                    path,
                    format!("lacks `{part}`, or has it out of order"),
                )),
            }
        }
    }
}

/// The book's summary links every document; what it links is there, by [`check_links`].
fn check_book(tree: &Tree, problems: &mut Vec<Problem>) {
    let path = Path::new("docs/SUMMARY.md");
    let summary = tree.get(path).unwrap_or_default();
    let linked: BTreeSet<PathBuf> = links(summary)
        .map(|(_, link)| resolve(path, link))
        .collect();
    for (document, _) in tree.below("docs") {
        if document.extension().is_some_and(|e| e == "md")
            && document != path
            && !linked.contains(document)
        {
            problems.push(Problem::new(
                path,
                format!("does not link {}", document.display()),
            ));
        }
    }
}

/// Every recipe is explained to users.
fn check_recipes(tree: &Tree, problems: &mut Vec<Problem>) {
    for (path, _) in tree
        .below("recipes")
        .filter(|(path, _)| path.extension().is_some_and(|e| e == "toml"))
    {
        let name = path.to_string_lossy();
        if !tree
            .below("docs/guide")
            .any(|(_, text)| text.contains(&*name))
        {
            problems.push(Problem::new(path, "no chapter of docs/guide mentions it"));
        }
    }
}

/// A relative link leads to a file of the tree, or to a folder that holds one.
fn check_links(tree: &Tree, path: &Path, text: &str, problems: &mut Vec<Problem>) {
    for (idx, link) in links(text) {
        let is_relative =
            !link.contains("://") && !link.starts_with('#') && !link.starts_with("mailto:");
        let target = link.split('#').next().unwrap_or_default();
        // Other kinds of files, pictures for instance, are not read.
        let is_read = Path::new(target)
            .extension()
            .is_none_or(|e| e == "md" || e == "rs" || e == "toml" || e == "py");
        if !is_relative || target.is_empty() || !is_read {
            continue;
        }
        let wanted = resolve(path, target);
        let is_file_without_extension = wanted.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with("LICENSE") || name == "run"
        });
        let found = tree
            .files
            .iter()
            .any(|(known, _)| known.starts_with(&wanted));
        if !found && !is_file_without_extension {
            problems.push(Problem::at(
                path,
                idx,
                format!("links to {link}, which is not there"),
            ));
        }
    }
}

fn check_words(path: &Path, text: &str, problems: &mut Vec<Problem>) {
    for (idx, line) in text.lines().enumerate() {
        let lower = line.to_lowercase();
        let words: Vec<&str> = lower
            .split(|c: char| !c.is_alphanumeric() && c != '-')
            .collect();
        if let Some(found) = EMPTY_WORDS.iter().find(|word| words.contains(word)) {
            problems.push(Problem::at(
                path,
                idx,
                format!("`{found}` says nothing; say what is so"),
            ));
        }
    }
}

/// Line and target of every Markdown link outside code.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    let prose = text.lines().enumerate().filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    });
    prose.flat_map(|(idx, line)| {
        let targets = line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        targets.map(move |target| (idx, target))
    })
}

/// The path that `link` means in the document at `path`, without `..`.
fn resolve(path: &Path, link: &str) -> PathBuf {
    let mut resolved = path.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => drop(resolved.pop()),
            Component::Normal(name) => resolved.push(name),
            _ => {}
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_tree(files: &[(&str, &str)]) -> Vec<String> {
        let mut problems = Vec::new();
        check(&Tree::of(files), &mut problems).expect("readable");
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_dependency_table_and_the_manifest_agree() {
        let manifest = "[workspace.dependencies]\nmarey-clip = { path = \"crates/marey-clip\" }\ncsv = \"1\"\nrand = \"1\"";
        let table = "| crate | reason |\n|---|---|\n| `csv` | manifests |\n| `gone` | nothing |\n";
        let summary = "[d](dependencies.md)";
        let found = check_tree(&[
            ("Cargo.toml", manifest),
            ("docs/SUMMARY.md", summary),
            ("docs/dependencies.md", table),
        ]);
        let expect = [
            "docs/dependencies.md: rand is not listed: give its reason",
            "docs/dependencies.md: gone is listed and is no dependency of the workspace",
        ];
        assert_eq!(found, expect);
    }

    #[test]
    fn decisions_are_numbered_and_whole() {
        let whole = "# 0001: A\n\n## Context\n\n## Decision\n\n## Consequences\n\n## What would change our mind\n";
        let summary = "[a](adr/0001-a.md) [b](adr/0003-b.md)";
        let second = whole
            .replace("0001", "0002")
            .replace("## Consequences\n", "");
        let found = check_tree(&[
            ("docs/SUMMARY.md", summary),
            ("docs/adr/0001-a.md", whole),
            ("docs/adr/0003-b.md", &second),
        ]);
        let expect = [
            "docs/adr/0003-b.md: should be number 0002",
            "docs/adr/0003-b.md: lacks `## Consequences`, or has it out of order",
        ];
        assert_eq!(found, expect);
    }

    #[test]
    fn links_lead_somewhere() {
        let text = "[a](b.md) [c](../README.md#top) [d](https://x.org/y) [e](#here)\n```\n[f](gone.md)\n```\n[g](gone.md)\n";
        let found = check_tree(&[
            ("README.md", ""),
            ("docs/SUMMARY.md", "[a](a.md) [b](b.md)"),
            ("docs/a.md", text),
            ("docs/b.md", ""),
        ]);
        assert_eq!(found, ["docs/a.md:5: links to gone.md, which is not there"]);
    }

    #[test]
    fn every_document_is_in_the_book_and_every_recipe_in_the_guide() {
        let found = check_tree(&[
            ("docs/SUMMARY.md", "[g](guide/g.md)"),
            ("docs/guide/g.md", "Run recipes/a.toml."),
            ("docs/lost.md", ""),
            ("recipes/a.toml", ""),
            ("recipes/b.toml", ""),
        ]);
        let expect = [
            "docs/SUMMARY.md: does not link docs/lost.md",
            "recipes/b.toml: no chapter of docs/guide mentions it",
        ];
        assert_eq!(found, expect);
    }

    #[test]
    fn empty_words_are_found_whole() {
        assert_eq!(
            check_tree(&[("a.md", "It is simplify, not more.")]),
            [""; 0]
        );
        let line = concat!("It sim", "ply works.");
        assert_eq!(
            check_tree(&[("a.md", line)]),
            ["a.md:1: `simply` says nothing; say what is so"]
        );
    }
}
