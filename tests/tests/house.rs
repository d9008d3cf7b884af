//! Rules of the repository, checked over `cargo metadata` and the files themselves. Knows no product code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use indexer_tests::licence_allows;
use serde_json::Value;

/// The floors of the house. A crate depends only on workspace crates of a lower floor; a new crate is given its floor here.
const FLOORS: [(&str, u8); 19] = [
    ("record", 0),
    ("columns", 1),
    ("reconcile", 1),
    ("scan", 2),
    ("watch", 2),
    ("index", 3),
    ("brokers", 4),
    ("consumer", 4),
    ("prove", 4),
    ("alert", 5),
    ("duplicates", 5),
    ("inbox", 5),
    ("publish", 5),
    ("rehash", 5),
    ("replica", 5),
    ("snapshot", 5),
    ("indexer", 6),
    ("indexer-tests", 7),
    ("indexer-benches", 8),
];

/// External crates that a few crates of ours may name, and nobody else.
const OWNED: [(&str, &[&str]); 17] = [
    // What a host without an index keeps lies in files of their own.
    ("redb", &["index", "replica", "inbox"]),
    // The tests read what was written.
    ("arrow-array", &["columns", "snapshot", "indexer-tests"]),
    ("arrow-buffer", &["columns"]),
    ("arrow-ipc", &["columns", "snapshot"]),
    ("arrow-schema", &["columns", "snapshot"]),
    ("axum", &["indexer"]),
    ("hyper", &["indexer"]),
    ("hyper-util", &["indexer"]),
    ("lapin", &["publish", "brokers", "indexer-benches"]),
    ("object_store", &["snapshot"]),
    ("tokio", &["indexer", "publish", "brokers", "snapshot"]),
    ("tokio-stream", &["indexer", "publish", "brokers"]),
    ("prometheus-client", &["indexer"]),
    ("sd-notify", &["indexer"]),
    ("ureq", &["consumer", "snapshot"]),
    ("rustls", &["consumer", "alert", "publish"]),
    ("parquet", &["snapshot", "indexer-tests"]),
];

/// What no crate that shall do no I/O may reach.
const DOES_IO: [&str; 9] =
    ["tokio", "rustix", "libc", "rayon", "redb", "mio", "hyper", "tempfile", "tracing-subscriber"];

/// SPDX identifiers that a package may be used under.
const LICENCES: [&str; 12] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "CC0-1.0",
    "BSL-1.0",
    "0BSD",
];

const CRATES_IO: [&str; 2] =
    ["registry+https://github.com/rust-lang/crates.io-index", "sparse+https://index.crates.io/"];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

/// `cargo metadata` with the whole graph of the lock file, for all platforms.
fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let ask = |more: &[&str]| {
            Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
                .current_dir(top())
                .args(["metadata", "--format-version", "1", "--locked"])
                .args(more)
                .output()
                .expect("cargo starts")
        };
        // Packages of other platforms may not have been downloaded yet; only then is the network asked.
        let mut said = ask(&["--offline"]);
        if !said.status.success() {
            said = ask(&[]);
        }
        assert!(said.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&said.stderr));
        serde_json::from_slice(&said.stdout).expect("cargo prints JSON")
    })
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// Packages of this workspace by name.
fn ours() -> BTreeMap<&'static str, &'static Value> {
    let members: BTreeSet<&str> =
        list(metadata(), "workspace_members").iter().map(|id| id.as_str().expect("an id is text")).collect();
    let packages = list(metadata(), "packages").iter();
    packages.filter(|package| members.contains(text(package, "id"))).map(|p| (text(p, "name"), p)).collect()
}

/// Names of all packages that `name` reaches, by normal and build dependencies; `dev` adds its own dev-dependencies.
fn reach(name: &str, dev: bool) -> BTreeSet<&'static str> {
    let names: BTreeMap<&str, &str> = list(metadata(), "packages")
        .iter()
        .map(|package| (text(package, "id"), text(package, "name")))
        .collect();
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata()["resolve"], "nodes").iter().map(|node| (text(node, "id"), node)).collect();
    let first = text(ours()[name], "id");
    let mut reached = BTreeSet::new();
    let mut waiting = vec![first];
    while let Some(id) = waiting.pop() {
        for dependency in list(nodes[id], "deps") {
            let wanted = |kind: &Value| kind["kind"] != "dev" || (dev && id == first);
            let target = text(dependency, "pkg");
            if list(dependency, "dep_kinds").iter().any(wanted) && reached.insert(target) {
                waiting.push(target);
            }
        }
    }
    reached.iter().map(|id| names[id]).collect()
}

#[test]
fn crates_depend_only_downward() {
    let floors = BTreeMap::from(FLOORS);
    let ours = ours();
    let mut wrong = Vec::new();
    for (name, package) in &ours {
        let Some(floor) = floors.get(name) else {
            wrong.push(format!("{name} has no floor; give it one here and in ARCHITECTURE.md"));
            continue;
        };
        for dependency in list(package, "dependencies") {
            let below = text(dependency, "name");
            if ours.contains_key(below) && floors.get(below).is_none_or(|under| under >= floor) {
                wrong.push(format!("{name} (floor {floor}) depends on {below}, which is not below it"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_a_crate_cannot_reach() {
    let ours = ours();
    let reaches_none = |name: &str, dev: bool, forbidden: &[&str]| {
        if ours.contains_key(name) {
            let reached = reach(name, dev);
            for absent in forbidden {
                assert!(!reached.contains(absent), "{name} reaches {absent}");
            }
        }
    };
    reaches_none("watch", true, &["index", "scan", "reconcile", "redb"]);
    reaches_none("scan", true, &["index", "watch"]);
    // A judge that shares code with the judged shares its mistakes. The tests judge by it and by the command line.
    let judged = ["index", "scan", "watch", "reconcile", "consumer", "indexer", "redb"];
    reaches_none("prove", true, &judged);
    reaches_none("indexer-tests", true, &judged);
    reaches_none("record", false, &DOES_IO);
    reaches_none("reconcile", false, &DOES_IO);

    // The pure crate: the nouns, what they bring, and a hash function.
    let mut allowed = reach("record", false);
    allowed.extend(["record", "rustc-hash"]);
    let beyond: Vec<_> = reach("reconcile", false).difference(&allowed).copied().collect();
    assert!(beyond.is_empty(), "reconcile reaches {beyond:?}");

    for (name, package) in &ours {
        let in_consumers = Path::new(text(package, "manifest_path")).starts_with(top().join("consumers"));
        if in_consumers {
            // These have files of their own.
            let own = ["replica", "inbox"].contains(name);
            let forbidden: &[&str] = if own { &["index"] } else { &["index", "redb"] };
            reaches_none(name, true, forbidden);
        }
    }
}

#[test]
fn some_dependencies_have_one_owner() {
    for (name, package) in ours() {
        for dependency in list(package, "dependencies") {
            let external = text(dependency, "name");
            if let Some((_, owners)) = OWNED.iter().find(|(owned, _)| *owned == external) {
                assert!(owners.contains(&name), "{name} names {external}, which belongs to {owners:?}");
            }
        }
    }
}

#[test]
fn licences_and_sources_are_the_allowed_ones() {
    let mut wrong = Vec::new();
    for package in list(metadata(), "packages") {
        let name = format!("{} {}", text(package, "name"), text(package, "version"));
        match package["license"].as_str() {
            None => wrong.push(format!("{name}: no licence expression")),
            Some(licence) => match licence_allows(licence, &LICENCES) {
                Ok(true) => {}
                Ok(false) => wrong.push(format!("{name}: {licence} is not allowed")),
                Err(error) => wrong.push(format!("{name}: {licence}: {error}")),
            },
        }
        let fine = match package["source"].as_str() {
            None => Path::new(text(package, "manifest_path")).starts_with(top()),
            Some(source) => CRATES_IO.contains(&source),
        };
        if !fine {
            wrong.push(format!("{name}: comes from {}", package["source"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Files below `folder`, without build output and hidden folders.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a listing").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_symlink() || name == "target" || name == ".git" {
                continue;
            }
            if path.is_dir() { waiting.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Every Rust source of the workspace's crates, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut sources = BTreeMap::new();
    for package in ours().values() {
        let folder = Path::new(text(package, "manifest_path")).parent().expect("a manifest lies in a folder");
        for path in files(folder) {
            if path.extension().is_some_and(|extension| extension == "rs") {
                let source =
                    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                sources.insert(path, source);
            }
        }
    }
    sources.into_iter().collect()
}

#[test]
fn every_module_opens_by_saying_what_it_knows() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(path, source)| !path.ends_with("build.rs") && !source.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "no `//!` on the first line of {silent:#?}");
}

/// A file that no crate root leads to is never compiled: its tests pass by not being there.
#[test]
fn no_source_is_forgotten() {
    let sources: BTreeMap<PathBuf, String> = sources().into_iter().collect();
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<PathBuf> = Vec::new();
    for package in ours().values() {
        waiting.extend(list(package, "targets").iter().map(|target| PathBuf::from(text(target, "src_path"))));
    }
    let roots: BTreeSet<PathBuf> = waiting.iter().cloned().collect();
    while let Some(path) = waiting.pop() {
        if !reached.insert(path.clone()) {
            continue;
        }
        let Some(source) = sources.get(&path) else { continue };
        let folder = path.parent().expect("a file lies in a folder");
        // `x/mod.rs` and crate roots have their modules beside them, `x.rs` in the folder `x`.
        let inside = if roots.contains(&path) || path.ends_with("mod.rs") {
            folder.to_owned()
        } else {
            path.with_extension("")
        };
        for line in source.lines().map(str::trim) {
            if let Some(named) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
                waiting.push(folder.join(named));
            }
            let declared = line.strip_suffix(';').and_then(|line| line.rsplit_once("mod "));
            if let Some((before, name)) = declared
                && (before.is_empty() || before.starts_with("pub") || before.ends_with("] "))
            {
                waiting.push(inside.join(name).with_extension("rs"));
                waiting.push(inside.join(name).join("mod.rs"));
            }
        }
    }
    let fuzz_or_build = |path: &Path| path.components().any(|part| part.as_os_str() == "fuzz");
    let forgotten: Vec<_> =
        sources.keys().filter(|path| !reached.contains(*path) && !fuzz_or_build(path)).collect();
    assert!(forgotten.is_empty(), "no `mod` leads to {forgotten:#?}");
}

#[test]
fn no_ignored_tests_no_holes_no_unreasoned_exceptions() {
    // Written in halves, so that this file does not accuse itself.
    let everywhere =
        [concat!("#[", "ignore"), concat!("todo", "!("), concat!("#[", "allow("), concat!("#![", "allow(")];
    let in_tests = [concat!("thread::", "sleep"), concat!("time::", "sleep")];
    let mut wrong = Vec::new();
    for (path, source) in sources() {
        let is_test = path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests");
        let tests_from = if is_test { Some(0) } else { source.find("#[cfg(test)]\nmod tests {") };
        for (number, line) in source.lines().enumerate() {
            for word in everywhere.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
        let tests = tests_from.map_or("", |from| &source[from..]);
        for word in in_tests.iter().filter(|word| tests.contains(**word)) {
            wrong.push(format!("{}: {word} in a test; wait for the condition instead", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn architecture_is_short_and_names_every_crate() {
    let architecture = fs::read_to_string(top().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let lines = architecture.lines().count();
    assert!(lines < 250, "{lines} lines");
    for package in ours().values() {
        let folder = Path::new(text(package, "manifest_path")).parent().expect("a manifest lies in a folder");
        let folder =
            folder.strip_prefix(top()).expect("crates lie in the workspace").to_string_lossy().into_owned();
        // Whole paths only: `tests` is also a word.
        let named =
            architecture.contains(&format!("`{folder}`")) || architecture.contains(&format!("{folder}/"));
        assert!(named || architecture.contains(&format!("({folder})")), "{folder} is not in ARCHITECTURE.md");
    }
}

#[test]
fn files_say_nothing_of_the_machine_they_were_written_on() {
    let here = top().to_str().expect("the checkout has a readable path");
    let conflict = ["<".repeat(7), ">".repeat(7)];
    let mut wrong = Vec::new();
    for path in files(top()) {
        // Only what is text; images and recorded corpora are not.
        let Ok(contents) = fs::read_to_string(&path) else { continue };
        // A checkout at `/src` proves nothing: that is a word of paths everywhere.
        if here.matches('/').count() > 1 && contents.contains(here) {
            wrong.push(format!("{}: names {here}", path.display()));
        }
        if contents.lines().any(|line| conflict.iter().any(|mark| line.starts_with(&**mark))) {
            wrong.push(format!("{}: an unresolved conflict", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
