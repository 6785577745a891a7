//! The rules of the house that a program can check.
//!
//! Each rule is a function from the tree to problems; none stops at its first. What needs judgement is in
//! CONTRIBUTING.md, not here.

mod documents;

mod levels;

mod source;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::say;

/// A broken rule, with the file (and line) where it is broken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    path: PathBuf,
    line: Option<usize>,
    message: String,
}

impl Problem {
    fn new(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line: None,
            message: message.into(),
        }
    }

    fn at(path: &Path, line_idx: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: Some(line_idx + 1),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// The project's own text files, read once. Paths are relative to the root.
pub(crate) struct Tree {
    files: Vec<(PathBuf, String)>,
}

impl Tree {
    /// Reads every text file that is not a build product, a run or somebody's data.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self { files: Vec::new() };
        tree.read_dir(root, Path::new(""))?;
        tree.files.sort();
        Ok(tree)
    }

    fn read_dir(&mut self, root: &Path, dir: &Path) -> Result<()> {
        const SKIPPED: [&str; 6] = [".git", "target", ".venv", "__pycache__", "book", "golden"];
        const SKIPPED_IN_ROOT: [&str; 3] = ["runs", "data", "demo"];
        const TEXT: [&str; 9] = ["rs", "toml", "md", "py", "sh", "yml", "html", "css", "js"];
        let full = root.join(dir);
        for entry in
            fs::read_dir(&full).with_context(|| format!("cannot read {}", full.display()))?
        {
            let entry = entry?;
            let name = entry.file_name();
            let (path, name) = (dir.join(&name), name.to_string_lossy().into_owned());
            let in_root = dir.as_os_str().is_empty();
            if entry.file_type()?.is_dir() {
                let skipped = SKIPPED.contains(&&*name);
                if !skipped && (!in_root || !SKIPPED_IN_ROOT.contains(&&*name)) {
                    self.read_dir(root, &path)?;
                }
                continue;
            }
            let is_text = path
                .extension()
                .is_some_and(|e| TEXT.iter().any(|text| e == *text));
            if is_text || dir == Path::new(".ci") {
                let text = fs::read_to_string(root.join(&path))
                    .with_context(|| format!("cannot read {}", path.display()))?;
                self.files.push((path, text));
            }
        }
        Ok(())
    }

    /// Files with this extension.
    fn with_extension<'a>(
        &'a self,
        extension: &'a str,
    ) -> impl Iterator<Item = (&'a Path, &'a str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.extension().is_some_and(|e| e == extension))
            .map(|(path, text)| (path.as_path(), text.as_str()))
    }

    /// Files below a folder.
    fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a Path, &'a str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.starts_with(folder))
            .map(|(path, text)| (path.as_path(), text.as_str()))
    }

    fn get(&self, path: impl AsRef<Path>) -> Option<&str> {
        let path = path.as_ref();
        self.files
            .iter()
            .find(|(known, _)| known == path)
            .map(|(_, text)| text.as_str())
    }

    #[cfg(test)]
    fn of(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|&(path, text)| (path.into(), text.to_owned()))
            .collect();
        Self { files }
    }
}

/// Every broken rule, in the order of paths.
pub(crate) fn problems(root: &Path) -> Result<Vec<Problem>> {
    let tree = Tree::read(root)?;
    let mut problems = Vec::new();
    levels::check(&tree, &mut problems)?;
    source::check(&tree, &mut problems);
    documents::check(&tree, &mut problems)?;
    problems.sort();
    Ok(problems)
}

/// Prints what is broken.
pub(crate) fn run(root: &Path) -> Result<()> {
    let problems = problems(root)?;
    for problem in &problems {
        say(&problem.to_string());
    }
    match problems.len() {
        0 => Ok(()),
        1 => bail!("1 rule is broken"),
        n => bail!("{n} rules are broken"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let found = problems(&crate::root()).expect("the tree can be read");
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(
            found.is_empty(),
            "{} rules are broken:\n{}",
            lines.len(),
            lines.join("\n")
        );
    }

    #[test]
    fn build_products_and_data_are_not_read() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for path in [
            "a.rs",
            "target/b.rs",
            "runs/c.md",
            "crates/data/d.rs",
            "picture.png",
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a file has a folder")).expect("made");
            fs::write(path, "").expect("written");
        }
        let tree = Tree::read(dir.path()).expect("read");
        let paths: Vec<_> = tree
            .files
            .iter()
            .map(|(path, _)| path.to_str().expect("UTF-8"))
            .collect();
        assert_eq!(paths, ["a.rs", "crates/data/d.rs"]);
    }
}
