//! Categories: `find --category` and `du --by category` agree with a count of our own, live and without a daemon, after names and
//! extensions changed too. It could break where a file has several names, or where only its name changed.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use indexer_tests::{Daemon, Place, Rng, indexer, json_lines, skipped, stderr};
use serde_json::Value;

/// What the test says of its own names; written apart from the product's table.
const SORTS: [(&str, &str); 12] = [
    (".jpg", "photo"),
    (".PNG", "photo"),
    (".mkv", "video"),
    (".flac", "music"),
    (".pdf", "document"),
    (".tar.gz", "archive"),
    (".tar.unheard", "archive"),
    (".rs", "code"),
    (".d.ts", "code"),
    (".unheard", "other"),
    (".so", "other"),
    ("", "other"),
];

fn sort_of(name: &str) -> &'static str {
    let longest = SORTS.iter().filter(|(end, _)| name.ends_with(end)).max_by_key(|(end, _)| end.len());
    longest.expect("every name ends somehow").1
}

/// A regular file as the file system has it.
struct Known {
    /// By (directory's inode, name): the least comes first.
    names: BTreeMap<(u64, String), PathBuf>,
    size: u64,
    allocated: u64,
}

/// Regular files below `top` by inode.
fn walk(top: &Path) -> BTreeMap<u64, Known> {
    let mut found: BTreeMap<u64, Known> = BTreeMap::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(dir) = waiting.pop() {
        let inode = dir.symlink_metadata().unwrap().ino();
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let stat = path.symlink_metadata().unwrap();
            if stat.is_dir() {
                waiting.push(path);
            } else if stat.is_file() {
                let (size, allocated) = (stat.len(), stat.blocks() * 512);
                let known = found.entry(stat.ino());
                let known = known.or_insert(Known { names: BTreeMap::new(), size, allocated });
                known.names.insert((inode, path.file_name().unwrap().to_str().unwrap().to_owned()), path);
            }
        }
    }
    found
}

/// (files, bytes, allocated) of each category below `below`, where it is found by the first of its names in all of `root`.
fn sums(root: &Path, below: &Path) -> BTreeMap<String, (u64, u64, u64)> {
    let mut sums: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for known in walk(root).values() {
        if known.names.values().any(|path| path.starts_with(below)) {
            let sum = sums.entry(sort_of(&known.names.keys().next().unwrap().1).to_owned()).or_default();
            *sum = (sum.0 + 1, sum.1 + known.size, sum.2 + known.allocated);
        }
    }
    sums
}

/// Whoever answers: a daemon, or the index alone.
struct Asked<'a>(&'a Path);

impl Asked<'_> {
    fn ask(&self, arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Vec<Value> {
        let mut all = arguments.to_vec();
        all.push(&"--json");
        let said = indexer(self.0, &all);
        assert!(matches!(said.status.code(), Some(0 | 1)), "{}: {}", said.status, stderr(&said));
        json_lines(&said)
    }

    fn by_category(&self, path: &Path, more: &[&str]) -> BTreeMap<String, (u64, u64, u64)> {
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"du", &path, &"--by", &"category"];
        arguments.extend(more.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
        let lines = self.ask(&arguments);
        let number = |line: &Value, field: &str| line[field].as_u64().unwrap();
        // What is no file, and has no category, makes the sums whole.
        let whole = |field: &str| lines.iter().map(|line| number(line, field)).sum::<u64>();
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"du", &path];
        arguments.extend(more.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
        let totals = self.ask(&arguments).swap_remove(0);
        for field in ["files", "directories", "bytes", "allocated"] {
            assert_eq!(totals[field], whole(field), "{field} of {}: {lines:?}", path.display());
        }
        let files = lines.iter().filter(|line| line["category"].is_string());
        let sum = |line: &Value| (number(line, "files"), number(line, "bytes"), number(line, "allocated"));
        files.map(|line| (line["category"].as_str().unwrap().to_owned(), sum(line))).collect()
    }

    fn assert_counts(&self, root: &Path, when: &str) {
        assert_eq!(self.by_category(root, &[]), sums(root, root), "{when}");
        for below in ["a", "a/deep", "b"].map(|below| root.join(below)).iter().filter(|path| path.is_dir()) {
            assert_eq!(
                self.by_category(below, &["--exact"]),
                sums(root, below),
                "{when}: {}",
                below.display()
            );
            // Once in the root: which of them is the index's to say, that they add up was asked.
            self.by_category(below, &[]);
        }
        let mut expected: BTreeMap<&str, BTreeSet<PathBuf>> = BTreeMap::new();
        for known in walk(root).into_values() {
            let sort = sort_of(&known.names.keys().next().unwrap().1);
            expected.entry(sort).or_default().extend(known.names.into_values());
        }
        let found = |words: &str| -> BTreeSet<PathBuf> {
            let lines = self.ask(&[&"find", &root, &"--category", &words]);
            let path = |line: &Value| {
                assert!(words.split(',').any(|word| line["category"] == word), "{words}: {line}");
                PathBuf::from(line["path"].as_str().unwrap())
            };
            lines.iter().map(path).collect()
        };
        let of = |word| expected.get(word).cloned().unwrap_or_default();
        for word in ["photo", "video", "music", "document", "archive", "code", "other"] {
            assert_eq!(found(word), of(word), "{when}: {word}");
        }
        assert_eq!(found("photo,video"), &of("photo") | &of("video"), "{when}");
    }
}

/// A few hundred files of all sorts and sizes, some of them with several names; links and directories that are named as files.
fn grow(root: &Path, rng: &mut Rng) {
    let dirs = ["", "a", "a/deep", "b"].map(|dir| root.join(dir));
    dirs[1..].iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
    let mut files: Vec<PathBuf> = Vec::new();
    for nth in 0..300 {
        let end = rng.pick(&SORTS).0;
        let path = dirs[rng.index(dirs.len())].join(format!("n{nth}{end}"));
        if nth % 7 == 6 {
            fs::hard_link(&files[rng.index(files.len())], &path).unwrap();
        } else {
            fs::write(&path, vec![b'x'; usize::try_from(rng.below(20_000)).unwrap()]).unwrap();
        }
        files.push(path);
    }
    fs::create_dir(root.join("album.jpg")).unwrap();
    symlink("a", root.join("link.mkv")).unwrap();
}

fn live_and_without(place: Place, flags: &[&str]) {
    let ground = match place.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let (root, state) = (ground.root(), ground.state());
    let mut rng = Rng::new(27);
    grow(root, &mut rng);
    let mut daemon = Daemon::start(&state, &[root], flags);
    let asked = Asked(&state);
    asked.assert_counts(root, "after the scan");

    // Files of one name, whatever random links there are.
    for name in ["film.mkv", "cover.jpg"] {
        fs::write(root.join(name), name.repeat(1000)).unwrap();
    }
    daemon.settle();
    let since = daemon.seq();
    fs::rename(root.join("film.mkv"), root.join("film.mkv.unheard")).unwrap();
    fs::rename(root.join("cover.jpg"), root.join("a/cover.pdf")).unwrap();
    fs::rename(root.join("album.jpg"), root.join("album.pdf")).unwrap();
    daemon.settle();
    let told: Vec<String> = daemon.changes(since).iter().map(categories).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    for expected in ["video other", "photo document", "null null"] {
        assert!(told.contains(&expected.to_owned()), "{expected} is not among {told:?}");
    }
    asked.assert_counts(root, "after other extensions");

    // The first name goes, and with it the category.
    let known = walk(root).into_values().find(|known| {
        let sorts: Vec<&str> = known.names.keys().take(2).map(|(_, name)| sort_of(name)).collect();
        sorts.len() > 1 && sorts[0] != sorts[1]
    });
    let names = known.expect("files of several sorts are linked").names;
    let since = daemon.seq();
    fs::remove_file(names.values().next().unwrap()).unwrap();
    daemon.settle();
    let sorts: Vec<&str> = names.keys().take(2).map(|(_, name)| sort_of(name)).collect();
    let told: Vec<String> = daemon.changes(since).iter().map(categories).collect();
    assert_eq!(told, [sorts.join(" ")], "{names:?}");
    asked.assert_counts(root, "after a first name went");

    for round in 0..3 {
        shuffle(root, &mut rng);
        daemon.settle();
        asked.assert_counts(root, &format!("after round {round} of renames"));
    }
    daemon.assert_exact(root);
    assert!(daemon.terminate().success());
    asked.assert_counts(root, "without a daemon");
    shuffle(root, &mut rng);
    let said = indexer(&state, &[&"scan"]);
    assert!(said.status.success(), "{}", stderr(&said));
    asked.assert_counts(root, "after a sweep found the renames");
}

/// Gives forty files another name, extension and directory.
fn shuffle(root: &Path, rng: &mut Rng) {
    for _ in 0..40 {
        let files: Vec<PathBuf> =
            walk(root).into_values().flat_map(|known| known.names.into_values()).collect();
        let from = &files[rng.index(files.len())];
        let to = rng.pick(&["", "a", "a/deep", "b"]);
        fs::rename(from, root.join(to).join(format!("m{}{}", rng.below(1000), rng.pick(&SORTS).0))).unwrap();
    }
}

fn categories(record: &Value) -> String {
    let word = |state: &Value| state["category"].as_str().unwrap_or("null").to_owned();
    format!("{} {}", word(&record["before"]), word(&record["after"]))
}

#[test]
fn categories_are_counted_right_on_ext4() {
    live_and_without(Place::Ext4, &[]);
}

#[test]
fn categories_are_counted_right_here_by_inotify() {
    live_and_without(Place::Here, &["--backend", "inotify"]);
}

#[test]
fn what_makes_no_sense_is_refused_and_text_is_for_people() {
    let ground = Place::Here.open().unwrap();
    fs::write(ground.root().join("film.mkv"), "film").unwrap();
    let said = indexer(&ground.state(), &[&"scan", &ground.root()]);
    assert!(said.status.success(), "{}", stderr(&said));
    let ask = |arguments: &[&dyn AsRef<std::ffi::OsStr>]| indexer(&ground.state(), arguments);
    let said = ask(&[&"find", &"--category", &"photo,vidoe"]);
    assert_eq!(said.status.code(), Some(2));
    assert!(stderr(&said).contains("vidoe") && stderr(&said).contains("photo video"), "{}", stderr(&said));
    assert_eq!(ask(&[&"find", &"--category", &"photo"]).status.code(), Some(1), "nothing found");
    for more in [["--depth", "1"], ["--top", "1"]] {
        let said = ask(&[&"du", &"--by", &"category", &more[0], &more[1]]);
        assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
    }
    assert_eq!(ask(&[&"du", &"--by", &"owner"]).status.code(), Some(2));
    let said = ask(&[&"du", &ground.root(), &"--by", &"category"]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["allocated", "size", "entries", "category", "path"]);
    assert!(lines[1].contains(&"video") && lines[2].contains(&"file"), "{text}");
}
