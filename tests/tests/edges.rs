//! Each of the fifty-nine ways to fail has a test that is there, or a section that says what is promised instead. It lists
//! those that have neither.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const CASES: usize = 59;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("it is readable") {
        let path = entry.expect("it is readable").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

/// Names of test functions, of files under `cases`, and of seeds kept.
fn tests() -> BTreeSet<String> {
    let mut all = Vec::new();
    files(top(), &mut all);
    let mut names = BTreeSet::new();
    for path in all {
        let stem = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        if path.extension().is_some_and(|end| end == "toml")
            && path.parent().is_some_and(|dir| dir.ends_with("cases"))
        {
            names.insert(stem);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).expect("sources are UTF-8");
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                let marked = line.starts_with("#[test]") || line.starts_with("#![proptest_config");
                if let Some(rest) = line.strip_prefix("fn ") {
                    let name = rest.split(['(', '<']).next().unwrap_or_default();
                    if is_test {
                        names.insert(name.to_owned());
                    }
                    is_test = false;
                } else if let Some((name, _)) = line.split_once(": Place::") {
                    // A line of a macro that makes a test of each.
                    names.insert(name.to_owned());
                } else if marked {
                    is_test = true;
                } else if !line.starts_with("#[") && !line.starts_with("//") && !line.is_empty() {
                    is_test = false;
                }
            }
        }
    }
    names
}

/// A heading as a link names it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-');
    kept.collect::<String>().trim().to_lowercase().replace(' ', "-")
}

/// What stands between pairs of `mark`.
fn between(text: &str, mark: char) -> Vec<&str> {
    text.split(mark).skip(1).step_by(2).collect()
}

#[test]
fn every_edge_case_has_a_test_or_a_word() {
    let page = fs::read_to_string(top().join("docs/semantics.md")).expect("the page is there");
    let anchors: BTreeSet<String> = page
        .lines()
        .filter(|line| line.starts_with("##"))
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect();
    let tests = tests();
    assert!(tests.len() > 200, "the tests are not found as they are written: {}", tests.len());
    let (_, table) = page.split_once("\n## Edge cases\n").expect("the section is there");
    let edges: Vec<(usize, &str)> = table
        .lines()
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.splitn(3, '|');
            let number = cells.next()?.trim().parse().ok()?;
            Some((number, cells.nth(1)?))
        })
        .collect();
    let numbers: Vec<usize> = edges.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=CASES).collect::<Vec<_>>(), "a number is missing or stands twice");

    let mut without = Vec::new();
    let mut dangling = Vec::new();
    for (number, told) in edges {
        let mut has = false;
        for name in between(told, '`') {
            let is_name = |name: &str| {
                name.contains('_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            };
            if let Some(prefix) = name.strip_suffix('…') {
                let any = tests.iter().any(|test| test.starts_with(prefix));
                has |= any;
                if !any {
                    dangling.push(format!("{number}: {name}"));
                }
            } else if tests.contains(name) {
                has = true;
            } else if is_name(name)
                && !name.starts_with("O_")
                && !name.starts_with("FAN_")
                && !name.starts_with("IN_")
            {
                let is_code =
                    ["take_stale", "by_old_name", "list_open", "list_while", "st_dev"].contains(&name);
                if !is_code {
                    dangling.push(format!("{number}: {name}"));
                }
            }
        }
        for link in told.split("](#").skip(1) {
            let name = link.split(')').next().unwrap_or_default();
            if anchors.contains(name) {
                has = true;
            } else {
                dangling.push(format!("{number}: #{name}"));
            }
        }
        // "as 3": what another row says.
        let other = told
            .split("as ")
            .skip(1)
            .find_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
        has |= other.is_some_and(|other: usize| other != number && (1..=CASES).contains(&other));
        if !has {
            without.push(format!("{number}:{told}"));
        }
    }
    assert_eq!(dangling, Vec::<String>::new(), "tests or sections that are not there");
    assert_eq!(without, Vec::<String>::new(), "edge cases with neither a test nor a promise");
}
