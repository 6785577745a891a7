//! Rules for source files.

use std::path::Path;

use super::{Problem, Tree};

/// Lines of a file, its unit tests not counted, beyond which a reader is lost.
const MAX_LINES: usize = 800;
/// Module names that collect whatever is left.
const VAGUE_NAMES: [&str; 4] = ["utils", "common", "core", "helpers"];

/// Checks every crate and every Rust file.
pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) {
    for (path, _) in tree
        .with_extension("toml")
        .filter(|(path, _)| path.ends_with("Cargo.toml"))
    {
        let folder = path.parent().unwrap_or(Path::new(""));
        if !folder.as_os_str().is_empty() && tree.get(folder.join("README.md")).is_none() {
            problems.push(Problem::new(folder, "the crate has no README.md"));
        }
    }
    for (path, text) in tree.with_extension("rs") {
        check_file(path, text, problems);
    }
    // Written in two parts, so that this file does not break the rule it states.
    let private = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
    ];
    for (path, text) in &tree.files {
        for (idx, line) in text.lines().enumerate() {
            if let Some(found) = private.iter().find(|start| has_path(line, start)) {
                problems.push(Problem::at(
                    path,
                    idx,
                    format!("names a place on one machine: {found}"),
                ));
            }
        }
    }
}

fn check_file(path: &Path, text: &str, problems: &mut Vec<Problem>) {
    // `tests/it/main.rs` lists its modules and says what each is about.
    let is_tests = path
        .components()
        .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs");
    if !text.starts_with("//!") && (!is_tests || path.ends_with("main.rs")) {
        problems.push(Problem::new(
            path,
            "does not open with `//!`: what it is, why, how it fits",
        ));
    }
    let stem = path.file_stem().unwrap_or_default();
    if VAGUE_NAMES.iter().any(|name| stem == *name) {
        problems.push(Problem::new(path, "is named for nothing in particular"));
    }
    let lines: Vec<&str> = text.lines().collect();
    let code = num_lines_of_code(&lines);
    if code > MAX_LINES && !is_tests {
        problems.push(Problem::new(
            path,
            format!("has {code} lines without its tests, at most {MAX_LINES}"),
        ));
    }
    for (idx, line) in lines.iter().enumerate() {
        let line = line.trim_start();
        if line.starts_with(concat!("fn ", "test_")) {
            problems.push(Problem::at(
                path,
                idx,
                "a test's name begins with `test_`; say what holds instead",
            ));
        }
        for attribute in [concat!("#[ign", "ore"), concat!("#[should", "_panic")] {
            if line.starts_with(attribute) {
                problems.push(Problem::at(
                    path,
                    idx,
                    format!("{attribute}] hides a test that cannot run or fail"),
                ));
            }
        }
        let is_unsafe =
            line.contains(concat!("unsa", "fe {")) || line.starts_with(concat!("unsa", "fe impl"));
        if is_unsafe && !line.starts_with("//") && !has_reason(&lines, idx) {
            problems.push(Problem::at(
                path,
                idx,
                "unsafe code without `// SAFETY:` right above it",
            ));
        }
    }
}

/// Lines that are not inside a module of tests, which is closed by the first `}` at the start of a line.
fn num_lines_of_code(lines: &[&str]) -> usize {
    let mut code = 0;
    let mut in_tests = false;
    for (idx, line) in lines.iter().enumerate() {
        let next = lines.get(idx + 1).copied().unwrap_or_default();
        in_tests |= *line == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{');
        code += usize::from(!in_tests);
        in_tests &= *line != "}";
    }
    code
}

/// Whether the comment that ends right above line `idx`, or on the lines of the same statement, says why it is safe.
fn has_reason(lines: &[&str], idx: usize) -> bool {
    let above = lines[..idx].iter().rev().map(|line| line.trim()).take(8);
    let mut above = above.take_while(|line| {
        line.starts_with("//") || !(line.is_empty() || line.ends_with('}') || line.ends_with(';'))
    });
    lines[idx].contains("SAFETY:") || above.any(|line| line.contains("SAFETY:"))
}

/// Whether `line` holds an absolute path below `start`, and not such a name inside a longer path or address.
fn has_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before
            .is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '*' | '/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(path: &str, text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        check(&Tree::of(&[(path, text)]), &mut problems);
        problems
            .into_iter()
            .map(|problem| problem.message)
            .collect()
    }

    #[test]
    fn a_file_says_what_it_is() {
        assert_eq!(check_text("a.rs", "//! Frames.\n"), [""; 0]);
        assert_eq!(check_text("a.rs", "use std::fs;\n").len(), 1);
        assert_eq!(
            check_text("crates/x/tests/it/main.rs", "mod road;\n").len(),
            1
        );
        assert_eq!(check_text("crates/x/tests/it/road.rs", "use x;\n"), [""; 0]);
        assert_eq!(
            check_text("crates/x/src/utils.rs", "//! Things.\n"),
            ["is named for nothing in particular"]
        );
    }

    #[test]
    fn length_counts_all_but_tests() {
        let code = |n: usize| format!("//! Long.\n{}", "x\n".repeat(n - 1));
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    x\n".repeat(900));
        let too_long = "has 801 lines without its tests, at most 800";
        // Text, and what is said of a file that holds it.
        let cases: [(String, &[&str]); 5] = [
            (code(800), &[]),
            (code(801), &[too_long]),
            (code(800) + &tests, &[]),
            // What follows the tests is code again.
            (code(800) + &tests + "x\n", &[too_long]),
            // A test module in a file of its own leaves its declaration here.
            (code(799) + "#[cfg(test)]\nmod tests;\n", &[too_long]),
        ];
        for (text, expect) in cases {
            assert_eq!(check_text("a.rs", &text), expect);
        }
        for path in ["crates/x/tests/it/main.rs", "crates/x/src/conv/tests.rs"] {
            assert_eq!(check_text(path, &code(801)), [""; 0]);
        }
    }

    #[test]
    fn unsafe_code_says_why() {
        let block = concat!("let x = unsa", "fe { read(p) };\n");
        let with =
            format!("//! A.\nlet a = 1;\n// SAFETY: p is aligned;\n// and long enough.\n{block}");
        assert_eq!(check_text("a.rs", &with), [""; 0]);
        // The reason of the statement before is not this one's.
        assert_eq!(check_text("a.rs", &(with.clone() + "\n" + block)).len(), 1);
        assert_eq!(check_text("a.rs", &(with + block)).len(), 1);
    }

    #[test]
    fn tests_are_named_for_what_holds_and_always_run() {
        let text = concat!("//! A.\n#[ign", "ore = \"slow\"]\nfn ", "test_it() {}\n");
        assert_eq!(check_text("a.rs", text).len(), 2);
    }

    #[test]
    fn private_paths_are_found_and_other_paths_are_not() {
        let cases = [
            (concat!("see /wo", "rk/main/x"), 1),
            (concat!("`/ro", "ot/.cargo`"), 1),
            (concat!("../frame/wo", "rk/x"), 0),
            (concat!("https://a.org/ho", "me/x"), 0),
        ];
        for (text, expect) in cases {
            assert_eq!(check_text("a.md", text).len(), expect, "{text}");
        }
    }
}
