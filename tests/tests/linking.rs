//! `dups --link` and `dups --undo` as users run them: over an index, with real leases, killed at any time, and on file systems
//! that share blocks. It could break by a name that loses its content, or by records that are not what the tree shows.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use indexer_tests::{
    Contents, Daemon, Ground, Place, Rng, indexer, indexer_binary, json_lines, sets_made, skipped, stderr,
};
use serde_json::Value;

/// Every name with its content, of a tree of regular files.
fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                all.insert(path, content);
            }
        }
    }
    all
}

fn inode(path: &Path) -> u64 {
    path.symlink_metadata().unwrap().ino()
}

/// How many of each `action`.
fn actions(said: &Output) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in json_lines(said) {
        *counts.entry(line["action"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

fn scanned(ground: &Ground) -> PathBuf {
    let state = ground.state();
    let said = indexer(&state, &[&"scan", &"--hash", &"candidates", &ground.root()]);
    assert!(said.status.success(), "scan: {}", stderr(&said));
    state
}

fn log_of(state: &Path) -> PathBuf {
    let mut logs: Vec<PathBuf> = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path()).collect();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    logs.sort();
    logs.pop().unwrap()
}

#[test]
fn linked_swept_and_undone() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let pieces = Contents { files: 300, most: 1 << 20, seed: 6 }.make(root).unwrap();
    let wasted: usize = sets_made(&pieces, root).iter().map(|set| set.len() - 1).sum();
    let before = contents(root);
    let files = |root: &Path| contents(root).keys().map(|path| inode(path)).collect::<BTreeSet<u64>>().len();
    let count = files(root);
    let state = scanned(&ground);

    let said = indexer(&state, &[&"dups", &"--link", &"hard", &"--json"]);
    assert_eq!(said.status.code(), Some(0), "{}", stderr(&said));
    assert_eq!(actions(&said), BTreeMap::from([("would_link".to_owned(), wasted)]));
    assert_eq!(files(root), count);
    assert!(!fs::read_dir(&state).unwrap().any(|entry| entry.unwrap().path().ends_with(".jsonl")));

    // With a daemon at work, the records that follow are those of links, and it stays exact.
    let mut daemon = Daemon::start(&state, &[root], &["--hash", "candidates"]);
    daemon.settle();
    let seq = daemon.seq();
    let said = daemon.run(&[&"dups", &"--link", &"hard", &"--apply", &"--json"]);
    assert_eq!(said.status.code(), Some(0), "{}", stderr(&said));
    assert_eq!(actions(&said), BTreeMap::from([("linked".to_owned(), wasted)]));
    assert_eq!(contents(root), before);
    assert_eq!(files(root), count - wasted);
    daemon.settle();
    let ops: BTreeSet<String> =
        daemon.changes(seq).iter().map(|record| record["op"].as_str().unwrap().to_owned()).collect();
    assert!(ops.contains("linked"), "{ops:?}");
    daemon.assert_exact(root);
    let said = daemon.run(&[&"dups", &"--json"]);
    assert_eq!((said.status.code(), json_lines(&said)), (Some(1), Vec::<Value>::new()));
    daemon.terminate();

    // Without one the next sweep finds it.
    let log = log_of(&state);
    let said = indexer(&state, &[&"dups", &"--undo", &log]);
    assert!(
        stderr(&said).contains("would be made again") && files(root) == count - wasted,
        "{}",
        stderr(&said)
    );
    let said = indexer(&state, &[&"dups", &"--undo", &log, &"--apply", &"--json"]);
    assert_eq!(said.status.code(), Some(0), "{}", stderr(&said));
    assert_eq!(actions(&said), BTreeMap::from([("undone".to_owned(), wasted)]));
    assert_eq!((contents(root) == before, files(root)), (true, count));
    let said = indexer(&state, &[&"scan", &"--hash", &"candidates"]);
    assert!(said.status.success(), "{}", stderr(&said));
    let said = indexer(&state, &[&"dups", &"--files", &"--json"]);
    assert_eq!(json_lines(&said).len(), sets_made(&pieces, root).len());
    for check in [&["verify"][..], &["doctor", "--json"]] {
        let said = indexer(&state, &[&check[0], check.get(1).unwrap_or(&"--json")]);
        assert!(check[0] == "doctor" || said.status.success(), "{check:?}: {}", stderr(&said));
        assert!(check[0] == "verify" || json_lines(&said)[0]["index"]["faults"] == 0, "{check:?}");
    }
}

#[test]
fn what_is_written_to_is_left_and_what_lies_elsewhere_is_kept() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    for (name, age) in [("in/new", 1), ("in/newest", 0), ("out/old", 2), ("out/older", 3)] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"same").unwrap();
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000 - age);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
    let state = scanned(&ground);
    let writer = fs::File::options().append(true).open(root.join("in/new")).unwrap();
    let said = indexer(&state, &[&"dups", &"--link", &"hard", &"--root", &root.join("in"), &"--apply"]);
    assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(text.contains("it is open for writing"), "{text}");
    drop(writer);
    // What lies outside `in` is kept, and not joined with its like.
    let [older, old, newest, new] =
        ["out/older", "out/old", "in/newest", "in/new"].map(|name| inode(&root.join(name)));
    assert!(newest == older && new != older && old != older, "{text}");
    // A usage error each.
    for wrong in
        [&["--apply"][..], &["--dry-run"], &["--link", "hard", "--apply", "--dry-run"], &["--log", "x"]]
    {
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"dups"];
        for word in wrong {
            all.push(word);
        }
        assert_eq!(indexer(&state, &all).status.code(), Some(2), "{wrong:?}");
    }
}

/// Killed again and again while it links and while it undoes.
#[test]
fn killed_at_any_time_every_name_keeps_its_content() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    Contents { files: 400, most: 64 << 10, seed: 7 }.make(root).unwrap();
    let before = contents(root);
    let state = scanned(&ground);
    let mut rng = Rng::new(8);
    let whole = |when: &str| {
        for (path, content) in &before {
            assert!(fs::read(path).is_ok_and(|read| read == *content), "{when}: {}", path.display());
        }
    };
    let run = |arguments: &[&dyn AsRef<std::ffi::OsStr>], lines: u64| {
        let mut command = Command::new(indexer_binary());
        command.arg("--state").arg(&state).env("INDEXER_HASH", "none").env_remove("INDEXER_CONFIG");
        command.env("XDG_CONFIG_HOME", &state).stdin(Stdio::null()).stderr(Stdio::null());
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        // Each line is printed as its action ends, so the kill falls into one of the next ones.
        let told = said.by_ref().take(usize::try_from(lines).unwrap()).count();
        for _ in 0..lines % 7 * 10_000 {
            std::hint::spin_loop();
        }
        let _ = child.kill();
        child.wait().unwrap();
        told as u64 == lines
    };
    let mut kills = 0;
    for round in 0..12 {
        kills += u32::from(run(&[&"dups", &"--link", &"hard", &"--apply", &"--json"], 1 + rng.below(12)));
        whole(&format!("link {round}"));
        let log = log_of(&state);
        if round % 3 == 2 {
            run(&[&"dups", &"--undo", &log, &"--apply", &"--json"], 1 + rng.below(6));
            whole(&format!("undo {round}"));
            let said = indexer(&state, &[&"dups", &"--undo", &log, &"--apply"]);
            assert!(matches!(said.status.code(), Some(0 | 1)), "{}", stderr(&said));
            whole(&format!("undone {round}"));
        }
    }
    assert!(kills >= 4, "{kills}");
    // The last one is let be: nothing is left of the others.
    let said = indexer(&state, &[&"dups", &"--link", &"hard", &"--apply"]);
    assert!(matches!(said.status.code(), Some(0 | 1)), "{}", stderr(&said));
    assert_eq!(contents(root), before);
}

#[test]
fn reflinks_share_blocks_and_change_nothing_else() {
    for place in [Place::Btrfs, Place::Xfs] {
        let ground = match place.open() {
            Ok(ground) => ground,
            Err(reason) => {
                skipped(reason);
                continue;
            }
        };
        let root = ground.root();
        let content: Vec<u8> =
            (0..(17 << 20) + 77).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let [one, other, link, third] = ["one", "other", "link", "third"].map(|name| root.join(name));
        fs::write(&one, &content).unwrap();
        fs::write(&other, &content).unwrap();
        fs::hard_link(&other, &link).unwrap();
        fs::write(&third, &content).unwrap();
        let state = scanned(&ground);
        // The same size and digest in the index, and one byte that is another by now.
        fs::write(&third, [&content[..content.len() - 1], b"?"].concat()).unwrap();
        let before = [&one, &other, &third].map(|path| path.symlink_metadata().unwrap());
        let said = indexer(&state, &[&"dups", &"--link", &"reflink", &"--json"]);
        assert_eq!(actions(&said), BTreeMap::from([("would_reflink".to_owned(), 2)]), "{}", stderr(&said));
        let said = indexer(&state, &[&"dups", &"--link", &"reflink", &"--apply", &"--json"]);
        assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
        let expected = BTreeMap::from([("reflinked".to_owned(), 1), ("skipped".to_owned(), 1)]);
        assert_eq!(actions(&said), expected, "{place:?}");
        for (path, before) in [&one, &other, &third].into_iter().zip(before) {
            let now = path.symlink_metadata().unwrap();
            let all = |meta: &fs::Metadata| {
                (meta.ino(), meta.mode(), meta.nlink(), meta.len(), meta.modified().unwrap())
            };
            assert_eq!(all(&now), all(&before), "{place:?}: {}", path.display());
        }
        assert!(fs::read(&one).unwrap() == content && fs::read(&other).unwrap() == content);
        assert!(fs::read(&third).unwrap().ends_with(b"?"));
        // It is known by the blocks themselves that nothing is left to do.
        let said = indexer(&state, &[&"dups", &"--link", &"reflink", &"--json"]);
        assert_eq!(actions(&said).get("already"), Some(&1), "{place:?}");
        let said = indexer(&state, &[&"dups", &"--undo", &log_of(&state), &"--json"]);
        assert_eq!(actions(&said), BTreeMap::from([("already".to_owned(), 2)]), "{place:?}");
        // Each is a file of its own.
        fs::write(&one, b"other").unwrap();
        assert!(fs::read(&other).unwrap() == content && inode(&link) == inode(&other));
    }
}

#[test]
fn where_no_blocks_can_be_shared_it_is_said_once() {
    let ground = match Place::Ext4.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    for name in ["a", "b", "c"] {
        fs::write(ground.root().join(name), b"same").unwrap();
    }
    let state = scanned(&ground);
    let said = indexer(&state, &[&"dups", &"--link", &"reflink"]);
    assert_eq!((said.status.code(), said.stdout), (Some(1), Vec::new()));
    assert_eq!(String::from_utf8_lossy(&said.stderr).matches("cannot share blocks").count(), 1);
}
