//! Sets of equal files: those of `indexer dups` are those of jdupes and rmlint, and those that were made. It could break by one
//! byte at the end that is not read, by a hard link or an empty file that counts.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use indexer_tests::{
    Contents, Daemon, Place, Sets, Skipped, compare_sets, indexer, json_lines, need_tool, sets_by_indexer,
    sets_by_jdupes, sets_by_rmlint, sets_made, skipped, stderr, wait_for,
};
use serde_json::Value;

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

/// Other finders of duplicates.
struct Rivals {
    jdupes: PathBuf,
    rmlint: PathBuf,
}

fn rivals() -> Result<Rivals, Skipped> {
    Ok(Rivals { jdupes: need_tool("jdupes", "jdupes")?, rmlint: need_tool("rmlint", "rmlint")? })
}

/// Compares the sets of one tree at rest, by all three. They are these.
fn compare(tree: &Path, state: &Path, level: &str, rivals: &Rivals) -> Sets {
    let by_jdupes = sets_by_jdupes(&rivals.jdupes, tree).unwrap();
    assert_same(("rmlint", &sets_by_rmlint(&rivals.rmlint, tree).unwrap()), ("jdupes", &by_jdupes));
    let said = indexer(state, &[&"scan", &"--hash", &level, &tree]);
    assert!(said.status.success(), "scan --hash {level}: {}: {}", said.status, stderr(&said));
    let said = indexer(state, &[&"dups", &"--files", &"--json"]);
    assert!(said.status.success(), "dups: {}: {}", said.status, stderr(&said));
    let ours = sets_by_indexer(&json_lines(&said), tree).unwrap();
    assert_same((level, &ours), ("jdupes", &by_jdupes));
    ours
}

/// Copies of a part of each, since other tests may install what lies there. `TREES=path:path` compares those as they are.
#[test]
fn sets_of_real_trees_are_those_of_jdupes_and_rmlint() {
    let rivals = match rivals() {
        Ok(rivals) => rivals,
        Err(reason) => return skipped(reason),
    };
    let ground = Place::Here.open().unwrap();
    if let Some(trees) = std::env::var_os("TREES") {
        for (nth, tree) in std::env::split_paths(&trees).enumerate() {
            let state = ground.beside(&format!("state {nth}"));
            let sets = compare(&tree, &state, "candidates", &rivals);
            eprintln!("{}: {} sets", tree.display(), sets.len());
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
    let sets = compare(ground.root(), &ground.state(), "candidates", &rivals);
    eprintln!("{sum} files, {} sets", sets.len());
    assert!(sum == 0 || !sets.is_empty());
}

#[test]
fn sets_are_those_of_jdupes_and_rmlint() {
    let rivals = match rivals() {
        Ok(rivals) => rivals,
        Err(reason) => return skipped(reason),
    };
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let pieces = Contents { files: 400, most: 1 << 20, seed: 5 }.make(root).unwrap();
    let made = sets_made(&pieces, root);
    assert!(made.len() > 10, "{}", made.len());
    for level in ["candidates", "full"] {
        let ours = compare(root, &ground.beside(level), level, &rivals);
        assert_same((level, &ours), ("the maker", &made));
    }
}

/// Copies a directory with all below it.
fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A set as `dups` tells it: what it is of, bytes wasted, paths below the root with other names after them.
type Told = (String, u64, Vec<String>);

fn told(lines: &[Value], root: &Path) -> Vec<Told> {
    let below = |path: &Value| {
        let path = Path::new(path.as_str().unwrap());
        path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()
    };
    let mut all: Vec<Told> = Vec::new();
    for line in lines {
        let mut paths: Vec<String> = line["paths"].as_array().unwrap().iter().map(below).collect();
        for links in line["links"].as_array().into_iter().flatten() {
            let others: Vec<String> = links["paths"].as_array().unwrap().iter().map(below).collect();
            let of = usize::try_from(links["of"].as_u64().unwrap()).unwrap();
            paths[of] = format!("{}={}", paths[of], others.join("="));
        }
        all.push((line["kind"].as_str().unwrap().to_owned(), line["wasted"].as_u64().unwrap(), paths));
    }
    all
}

fn set(kind: &str, wasted: u64, paths: &[&str]) -> Told {
    (kind.to_owned(), wasted, paths.iter().map(|path| (*path).to_owned()).collect())
}

/// It could break by a digest of the past, which shows what is different as equal; by bytes that are counted by a directory and
/// by a file; by a part of an equal directory that is told again.
#[test]
fn whole_directories_are_one_finding() {
    let ground = Place::Here.open().unwrap();
    let (root, state) = (ground.root(), ground.state());
    let at = |path: &str| root.join(path);
    fs::create_dir_all(at("one/deep/q")).unwrap();
    fs::create_dir(at("one/hollow")).unwrap();
    let files = [("x", 5000), ("y", 4000), ("none", 0), ("deep/p", 3000), ("deep/q/r", 2000)];
    for (name, size) in files {
        fs::write(at("one").join(name), vec![name.as_bytes()[0]; size]).unwrap();
    }
    fs::create_dir_all(at("hollow")).unwrap();
    fs::write(at("alone"), vec![b'a'; 999]).unwrap();
    copy_all(&at("one"), &at("two"));

    let daemon = Daemon::start(&state, &[root], &["--hash", "candidates"]);
    let now = || told(&daemon.ask(&[&"dups"]), root);
    let until = |what: &str, expected: &[Told]| {
        wait_for(what, || (now() == expected).then_some(()));
        let wasted = |sets: &[Told]| sets.iter().map(|set| set.1).sum::<u64>();
        assert_eq!(wasted(expected), wasted(&told(&daemon.ask(&[&"dups", &"--files"]), root)), "{what}");
        let best = told(&daemon.ask(&[&"dups", &"--top", &"1"]), root);
        assert_eq!(best, expected[..1], "{what}");
    };
    let whole = [set("directory", 14_000, &["one", "two"])];
    until("the copy", &whole);

    let (p, q) = (["one/deep/p", "two/deep/p"], ["one/deep/q", "two/deep/q"]);
    let (x, y) = (["one/x", "two/x"], ["one/y", "two/y"]);
    let parts = [set("file", 5000, &x), set("file", 4000, &y), set("directory", 2000, &q)];
    fs::write(at(p[1]), vec![b'!'; 3000]).unwrap();
    daemon.settle();
    assert_eq!(now(), parts, "nothing of the past at once");
    until("another content in it", &parts);
    fs::copy(at(p[0]), at(p[1])).unwrap();
    until("the content as before", &whole);

    fs::rename(at("two/x"), at("two/z")).unwrap();
    daemon.settle();
    assert!(!now().contains(&whole[0]), "nothing of the past at once");
    let deep = set("directory", 5000, &["one/deep", "two/deep"]);
    until("another name in it", &[deep, set("file", 5000, &["one/x", "two/z"]), set("file", 4000, &y)]);
    fs::rename(at("two/z"), at("two/x")).unwrap();
    until("the name as before", &whole);

    fs::create_dir(at("two/more")).unwrap();
    let deep = set("directory", 5000, &["one/deep", "two/deep"]);
    until("an empty directory in it", &[deep, set("file", 5000, &x), set("file", 4000, &y)]);
    fs::remove_dir(at("two/more")).unwrap();
    until("none", &whole);

    copy_all(&at("one/deep"), &at("three/inner"));
    let inner = set("directory", 5000, &["one/deep", "three/inner"]);
    until("a copy of a part", &[whole[0].clone(), inner.clone()]);
    let said = told(&daemon.ask(&[&"dups", &"--root", &at("two/deep/q")]), root);
    assert_eq!(said, [set("directory", 4000, &["one/deep/q", "three/inner/q", "two/deep/q"])]);

    // The copy stays by that name, whatever is done to the directory.
    fs::hard_link(at("two/y"), at("three/y")).unwrap();
    let linked = set("file", 4000, &["one/y", "three/y=two/y"]);
    until("a link", &[set("directory", 10_000, &["one", "two"]), inner.clone(), linked]);
    fs::remove_file(at("three/y")).unwrap();
    until("no link", &[whole[0].clone(), inner]);
    std::os::unix::fs::symlink("x", at("two/link")).unwrap();
    wait_for("a symbolic link", || now().iter().all(|set| set.2[0] != "one").then_some(()));
    fs::remove_file(at("two/link")).unwrap();

    fs::rename(at("two"), at("moved")).unwrap();
    let moved =
        [set("directory", 14_000, &["moved", "one"]), set("directory", 5000, &["moved/deep", "three/inner"])];
    until("a move", &moved);
    daemon.assert_exact(root);
    let report = daemon.ask(&[&"doctor"]).pop().unwrap();
    assert_eq!(report["index"]["faults"], 0, "{report}");

    let other = ground.beside("other");
    let said = indexer(&other, &[&"scan", &"--hash", &"candidates", &root]);
    assert!(said.status.success(), "{}", stderr(&said));
    assert_eq!(told(&json_lines(&indexer(&other, &[&"dups", &"--json"])), root), moved);
}
