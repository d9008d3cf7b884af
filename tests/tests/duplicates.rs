//! Sets of equal files: those of `indexer dups` are those of jdupes and rmlint, and those that were made. It could break by one
//! byte at the end that is not read, by a hard link or an empty file that counts.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use indexer_tests::{
    Contents, Place, Sets, Skipped, compare_sets, indexer, json_lines, need_tool, sets_by_indexer,
    sets_by_jdupes, sets_by_rmlint, sets_made, skipped, stderr,
};

fn assert_same(one: (&str, &Sets), other: (&str, &Sets)) {
    let differences = compare_sets(one, other);
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

/// What is copied of a tree: enough to have all that trees have, and little enough for a test.
const FILES: usize = 4000;
const BYTES: u64 = 48 << 20;

/// Copies a tree with its links, symbolic and hard, in the order of its names up to the bounds. How many files.
fn copy(from: &Path, to: &Path) -> usize {
    let mut waiting = vec![(from.to_owned(), to.to_owned())];
    let mut known: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    let (mut files, mut bytes) = (0, 0);
    while let Some((from, to)) = waiting.pop() {
        fs::create_dir_all(&to).unwrap();
        // What cannot be listed or read is another's, or gone by now.
        let Ok(listed) = fs::read_dir(&from) else { continue };
        let mut names: Vec<_> =
            listed.filter_map(|entry| entry.ok().map(|entry| entry.file_name())).collect();
        names.sort();
        for name in names {
            let (here, there) = (from.join(&name), to.join(&name));
            let Ok(stat) = here.symlink_metadata() else { continue };
            if stat.is_dir() {
                waiting.push((here, there));
            } else if stat.is_symlink() {
                fs::read_link(&here).and_then(|target| symlink(target, &there)).unwrap();
            } else if stat.is_file() && files < FILES && bytes + stat.len() <= BYTES {
                let first = known.entry((stat.dev(), stat.ino())).or_insert_with(|| there.clone());
                if *first != there {
                    fs::hard_link(first, &there).unwrap();
                } else if fs::copy(&here, &there).is_ok() {
                    (files, bytes) = (files + 1, bytes + stat.len());
                }
            }
        }
    }
    files
}

/// Trees that machines have: documents and licences, programs of an interpreter, sources of many versions.
fn real_trees() -> Vec<PathBuf> {
    let mut trees = vec![PathBuf::from("/usr/share/doc"), PathBuf::from("/usr/share/perl5")];
    let listed = fs::read_dir("/usr/lib").into_iter().flatten().filter_map(Result::ok);
    trees.extend(listed.map(|entry| entry.path()).filter(|path| {
        path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("python3"))
    }));
    let home = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let cargo = home("CARGO_HOME").or_else(|| home("HOME").map(|home| home.join(".cargo")));
    trees.extend(cargo.map(|cargo| cargo.join("registry/src")));
    trees
}

/// Compares the sets of one tree at rest, by all three. How many there are.
fn compare(tree: &Path, state: &Path, level: &str, (jdupes, rmlint): (&Path, &Path)) -> usize {
    let by_jdupes = sets_by_jdupes(jdupes, tree).unwrap();
    assert_same(("rmlint", &sets_by_rmlint(rmlint, tree).unwrap()), ("jdupes", &by_jdupes));
    let said = indexer(state, &[&"scan", &"--hash", &level, &tree]);
    assert!(said.status.success(), "scan --hash {level}: {}: {}", said.status, stderr(&said));
    let said = indexer(state, &[&"dups", &"--json"]);
    assert!(said.status.success(), "dups: {}: {}", said.status, stderr(&said));
    let ours = sets_by_indexer(&json_lines(&said), tree).unwrap();
    assert_same((level, &ours), ("jdupes", &by_jdupes));
    ours.len()
}

/// Copies of a part of each, since other tests may install what lies there. `TREES=path:path` compares those as they are.
#[test]
fn sets_of_real_trees_are_those_of_jdupes_and_rmlint() {
    let tools =
        || -> Result<_, Skipped> { Ok((need_tool("jdupes", "jdupes")?, need_tool("rmlint", "rmlint")?)) };
    let (jdupes, rmlint) = match tools() {
        Ok(tools) => tools,
        Err(reason) => return skipped(reason),
    };
    let ground = Place::Here.open().unwrap();
    if let Some(trees) = std::env::var_os("TREES") {
        for (nth, tree) in std::env::split_paths(&trees).enumerate() {
            let state = ground.beside(&format!("state {nth}"));
            let sets = compare(&tree, &state, "candidates", (&jdupes, &rmlint));
            eprintln!("{}: {sets} sets", tree.display());
        }
        return;
    }
    let mut sum = 0;
    for (nth, tree) in real_trees().into_iter().enumerate() {
        let copied = ground.root().join(format!("{nth}"));
        let files = copy(&tree, &copied);
        if files == 0 {
            skipped(format!("there is nothing in {}", tree.display()));
        }
        sum += files;
    }
    let sets = compare(ground.root(), &ground.state(), "candidates", (&jdupes, &rmlint));
    eprintln!("{sum} files, {sets} sets");
    assert!(sum == 0 || sets > 0);
}

#[test]
fn sets_are_those_of_jdupes_and_rmlint() {
    let tools =
        || -> Result<_, Skipped> { Ok((need_tool("jdupes", "jdupes")?, need_tool("rmlint", "rmlint")?)) };
    let (jdupes, rmlint) = match tools() {
        Ok(tools) => tools,
        Err(reason) => return skipped(reason),
    };
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let pieces = Contents { files: 400, most: 1 << 20, seed: 5 }.make(root).unwrap();
    let made = sets_made(&pieces, root);
    assert!(made.len() > 10, "{}", made.len());
    let by_jdupes = sets_by_jdupes(&jdupes, root).unwrap();
    assert_same(("jdupes", &by_jdupes), ("the maker", &made));
    assert_same(("rmlint", &sets_by_rmlint(&rmlint, root).unwrap()), ("jdupes", &by_jdupes));

    for level in ["candidates", "full"] {
        let state = ground.beside(level);
        let said = indexer(&state, &[&"scan", &"--hash", &level, &root]);
        assert!(said.status.success(), "scan --hash {level}: {}: {}", said.status, stderr(&said));
        let said = indexer(&state, &[&"dups", &"--json"]);
        assert!(said.status.success(), "dups: {}: {}", said.status, stderr(&said));
        let ours = sets_by_indexer(&json_lines(&said), root).unwrap();
        assert_same((level, &ours), ("jdupes", &by_jdupes));
    }
}
