//! Writes the table of docs/dependencies.md: sizes and licences from cargo, reasons from the table as it stands.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use toml::Table;

use crate::say;

const DOCUMENT: &str = "docs/dependencies.md";
const HEADER: &str =
    "| crate | reason | licence | crates it brings | source, kB |\n|---|---|---|---|---|\n";

/// Rewrites the rows in place; the text around the table stays.
pub(crate) fn run(root: &Path) -> Result<()> {
    let path = root.join(DOCUMENT);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let reasons: BTreeMap<&str, &str> = text.lines().filter_map(row).collect();
    let manifest: Table = fs::read_to_string(root.join("Cargo.toml"))?.parse()?;
    let table = manifest["workspace"]["dependencies"]
        .as_table()
        .context("[workspace.dependencies]")?;
    let graph = Graph::of_workspace(root)?;
    let mut rows = String::from(HEADER);
    for name in table
        .iter()
        .filter(|(_, v)| v.get("path").is_none())
        .map(|(name, _)| name)
    {
        let reason = reasons.get(name.as_str()).unwrap_or(&"**reason missing**");
        let Some(package) = graph.direct.get(name) else {
            // Tidy asks for its removal; until then its reason is kept.
            rows += &format!("| `{name}` | {reason} | not used | 0 | 0 |\n");
            continue;
        };
        let licence = graph.licences.get(package).map_or("?", String::as_str);
        let kb = size_of(&graph.folders[package])? / 1000;
        rows += &format!(
            "| `{name}` | {reason} | {licence} | {} | {kb} |\n",
            graph.reachable(package)
        );
    }
    let (before, rest) = text
        .split_once(HEADER)
        .with_context(|| format!("{DOCUMENT} has lost its table"))?;
    let after = rest
        .lines()
        .skip_while(|line| line.starts_with('|'))
        .map(|line| format!("{line}\n"));
    fs::write(
        &path,
        format!("{before}{rows}{}", after.collect::<String>()),
    )?;
    say(&format!("{DOCUMENT} is written"));
    Ok(())
}

/// Name and reason of a row of the table.
fn row(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.strip_prefix("| `")?.split(" | ");
    Some((cells.next()?.trim_end_matches('`'), cells.next()?))
}

/// What cargo resolved for this platform with all features. Packages are named by cargo's ids.
struct Graph {
    licences: BTreeMap<String, String>,
    folders: BTreeMap<String, String>,
    /// Packages that each package needs to build, its tests' left out.
    needs: BTreeMap<String, Vec<String>>,
    /// The package behind each dependency of our own crates, by its name.
    direct: BTreeMap<String, String>,
}

impl Graph {
    fn of_workspace(root: &Path) -> Result<Self> {
        let host = host(root)?;
        let arguments = [
            "metadata",
            "--format-version",
            "1",
            "--all-features",
            "--filter-platform",
            &host,
        ];
        let metadata: Value = serde_json::from_str(&output("cargo", &arguments, root)?)?;
        let (mut licences, mut folders, mut names) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for package in list(&metadata["packages"]) {
            let id = string(&package["id"]);
            let folder = Path::new(package["manifest_path"].as_str().unwrap_or_default()).parent();
            folders.insert(
                id.clone(),
                folder.unwrap_or(root).to_string_lossy().into_owned(),
            );
            licences.insert(
                id.clone(),
                package["license"]
                    .as_str()
                    .unwrap_or("see its licence file")
                    .to_owned(),
            );
            names.insert(id, string(&package["name"]));
        }
        let members: BTreeSet<String> = list(&metadata["workspace_members"]).map(string).collect();
        let (mut needs, mut direct) = (BTreeMap::new(), BTreeMap::new());
        for node in list(&metadata["resolve"]["nodes"]) {
            let id = string(&node["id"]);
            let is_ours = members.contains(&id);
            let mut needed = Vec::new();
            for dependency in list(&node["deps"]) {
                let package = string(&dependency["pkg"]);
                if is_ours {
                    direct.insert(names[&package].clone(), package.clone());
                }
                if list(&dependency["dep_kinds"]).any(|kind| kind["kind"] != "dev") {
                    needed.push(package);
                }
            }
            needs.insert(id, needed);
        }
        Ok(Self {
            licences,
            folders,
            needs,
            direct,
        })
    }

    /// Number of packages that `package` needs, at any depth, itself left out.
    fn reachable(&self, package: &str) -> usize {
        let mut seen = BTreeSet::from([package]);
        let mut open = vec![package];
        while let Some(next) = open.pop() {
            for needed in self.needs.get(next).into_iter().flatten() {
                if seen.insert(needed) {
                    open.push(needed);
                }
            }
        }
        seen.len() - 1
    }
}

/// The platform that the compiler runs on.
pub(crate) fn host(root: &Path) -> Result<String> {
    let version = output("rustc", &["-vV"], root)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn output(program: &str, arguments: &[&str], root: &Path) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .output();
    let output = output.with_context(|| format!("cannot start {program}"))?;
    ensure!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn size_of(path: impl AsRef<Path>) -> Result<u64> {
    let metadata = fs::symlink_metadata(&path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let mut sum = 0;
    for entry in fs::read_dir(&path)? {
        sum += size_of(entry?.path())?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_gives_its_name_and_reason() {
        assert_eq!(
            row("| `csv` | reads manifests | MIT | 3 | 9 |"),
            Some(("csv", "reads manifests"))
        );
        assert_eq!(row("| crate | reason |"), None);
    }

    #[test]
    fn what_is_needed_twice_counts_once() {
        let needs = [
            ("a", vec!["b", "c"]),
            ("b", vec!["d"]),
            ("c", vec!["d", "a"]),
            ("d", vec![]),
        ];
        let owned = |(name, needed): &(&str, Vec<&str>)| {
            (
                (*name).to_owned(),
                needed.iter().map(|&n| n.to_owned()).collect(),
            )
        };
        let graph = Graph {
            licences: BTreeMap::new(),
            folders: BTreeMap::new(),
            needs: needs.iter().map(owned).collect(),
            direct: BTreeMap::new(),
        };
        assert_eq!(
            ["a", "b", "d"].map(|package| graph.reachable(package)),
            [3, 1, 0]
        );
    }
}
