//! Whether `indexer dups` finds the sets of equal files that jdupes and rmlint find, on a tree that is indexed with hashes.
//! Programs that are not installed are said to be missing; with none to compare by it fails.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use indexer_tests::{Sets, compare_sets, json_lines, sets_by_indexer, sets_by_jdupes, sets_by_rmlint};

/// Asks a program for the sets in a tree.
type Finder = fn(&Path, &Path) -> Result<Sets, String>;

/// Differences shown of each comparison.
const SHOWN: usize = 10;

/// Compare the duplicates that are found with those that others find
#[derive(Parser)]
struct Arguments {
    /// Program whose `dups` is asked; without it the others are compared with each other
    #[arg(long, requires = "state")]
    indexer: Option<PathBuf>,
    /// State folder with the hashed tree
    #[arg(long)]
    state: Option<PathBuf>,
    /// The tree
    root: PathBuf,
}

fn main() -> io::Result<ExitCode> {
    let arguments = Arguments::parse();
    let root = arguments.root.canonicalize()?;
    let mut found: Vec<(&str, Sets)> = Vec::new();
    if let (Some(indexer), Some(state)) = (&arguments.indexer, &arguments.state) {
        let said = Command::new(indexer)
            .arg("--state")
            .arg(state)
            .args(["dups", "--files", "--json", "--root"])
            .arg(&root)
            .output()?;
        if !matches!(said.status.code(), Some(0 | 1)) {
            let why = String::from_utf8_lossy(&said.stderr);
            return Err(io::Error::other(format!("dups: {}: {why}", said.status)));
        }
        found.push(("indexer", sets_by_indexer(&json_lines(&said), &root).map_err(io::Error::other)?));
    }
    let others: [(&str, Finder); 2] = [("jdupes", sets_by_jdupes), ("rmlint", sets_by_rmlint)];
    for (name, sets) in others {
        let there = Command::new(name).arg("--version").output();
        match there {
            Err(error) if error.kind() == io::ErrorKind::NotFound => eprintln!("not installed: {name}"),
            _ => found.push((name, sets(name.as_ref(), &root).map_err(io::Error::other)?)),
        }
    }
    let Some(((first, expected), rest)) = found.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        return Err(io::Error::other("nobody to compare with"));
    };
    let mut out = io::stdout();
    let mut code = ExitCode::SUCCESS;
    for (name, sets) in rest {
        let differences = compare_sets((first, expected), (name, sets));
        writeln!(
            out,
            "{first} {} sets, {name} {}: {} differ",
            expected.len(),
            sets.len(),
            differences.len()
        )?;
        for difference in differences.iter().take(SHOWN) {
            writeln!(out, "  {difference}")?;
        }
        if !differences.is_empty() {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}
