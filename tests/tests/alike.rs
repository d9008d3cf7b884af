//! Which files are read to find equal ones, what is told of sets, and what becomes of digests when something else is to be read.
//! It could break by a pair that is read through for nothing, a twin that is missed, kinds of digests that are mixed.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use indexer_tests::{
    Daemon, Fs, Ground, LoopMount, Place, blake3_of, indexer, json_lines, skipped, stderr, wait_for,
};
use serde_json::{Value, json};

const CANDIDATES: &[&str] = &["--hash", "candidates"];
const END: u64 = 4096;
const MIB: usize = 1 << 20;

fn start(flags: &[&str]) -> (Ground, Daemon) {
    let ground = Place::Here.open().unwrap();
    let daemon = Daemon::start(&ground.state(), &[ground.root()], flags);
    (ground, daemon)
}

/// What was read: whole files, ends, bytes.
fn read(daemon: &Daemon) -> (u64, u64, u64) {
    daemon.settle_contents();
    (daemon.hashing("files_read"), daemon.hashing("ends_read"), daemon.hashing("bytes_read"))
}

fn minus(now: (u64, u64, u64), before: (u64, u64, u64)) -> (u64, u64, u64) {
    (now.0 - before.0, now.1 - before.1, now.2 - before.2)
}

/// A file of `size` bytes that differs from its kin in the byte at `at`.
fn write(path: &Path, size: usize, at: usize, byte: u8) {
    let mut content = vec![b'x'; size];
    content[at] = byte;
    fs::write(path, content).unwrap();
}

fn sets(daemon: &Daemon) -> Vec<Value> {
    daemon.ask(&[&"dups", &"--files"])
}

/// The sets that records after `since` tell of.
fn told(daemon: &Daemon, since: u64) -> Vec<Value> {
    let records = daemon.changes(since).into_iter();
    records.filter(|record| record["op"] == "duplicate").map(|record| record["set"].clone()).collect()
}

#[test]
fn only_what_may_be_equal_is_read_through() {
    let (ground, daemon) = start(CANDIDATES);
    let root = ground.root();
    let mut before = read(&daemon);
    let mut step = |what: &str, expected: (u64, u64, u64)| {
        let now = read(&daemon);
        assert_eq!(minus(now, before), expected, "{what}");
        before = now;
    };
    write(&root.join("alone"), MIB + 1, 0, b'a');
    fs::write(root.join("empty"), b"").unwrap();
    fs::write(root.join("empty too"), b"").unwrap();
    step("files alone of their size and empty ones", (0, 0, 0));
    for file in 0..20 {
        write(&root.join(format!("head {file}")), MIB, 17, file);
    }
    step("other heads", (0, 20, 20 * END));
    for file in 0..20 {
        write(&root.join(format!("tail {file}")), 2 * MIB, 2 * MIB - 1, file);
    }
    step("other tails", (0, 40, 40 * END));
    assert_eq!(sets(&daemon), Vec::<Value>::new());
    for file in 0..3 {
        write(&root.join(format!("middle {file}")), 3 * MIB, MIB, file);
    }
    let now = read(&daemon);
    assert_eq!((now.0 - before.0, now.1 - before.1), (3, 6), "nothing but reading tells these apart");
    before = now;
    assert_eq!(sets(&daemon), Vec::<Value>::new());
    // A small file is read at once, its end is not asked for.
    write(&root.join("small"), 3000, 1, 1);
    write(&root.join("small too"), 3000, 1, 2);
    let now = read(&daemon);
    assert_eq!(minus(now, before), (2, 0, 6000), "small ones");
    fs::hard_link(root.join("alone"), root.join("linked")).unwrap();
    assert_eq!(minus(read(&daemon), now), (0, 0, 0), "another name of one file");
    assert_eq!(sets(&daemon), Vec::<Value>::new());
    daemon.assert_whole();
}

/// The life of a set: a file alone, its twin, a third one with two names, and one after the other goes.
#[test]
fn a_set_is_told_from_its_first_twin_to_its_last() {
    for flags in [CANDIDATES, &["--hash", "candidates", "--backend", "inotify"], &["--hash", "full"]] {
        let (ground, daemon) = start(flags);
        let root = ground.root();
        let size = 200_000;
        let name = |name: &str| root.join(name);
        write(&name("one"), size, 0, b'a');
        daemon.settle_contents();
        let seq = daemon.seq();
        write(&name("two"), size, 0, b'a');
        daemon.settle_contents();
        let digest = blake3_of(&name("one")).unwrap();
        let set = |copies: u64, were: u64, names: &[&str]| {
            let paths: Vec<_> = names.iter().map(|path| name(path).to_str().unwrap().to_owned()).collect();
            json!({"digest": digest, "size": size, "copies": copies, "were": were,
                "wasted": copies.saturating_sub(1) * size as u64, "paths": paths})
        };
        let sorted = |since: u64| {
            let mut sets = told(&daemon, since);
            for set in &mut sets {
                set["paths"].as_array_mut().unwrap().sort_by_key(Value::to_string);
            }
            sets
        };
        // Digests may come in one transaction or in two; one alone is no set.
        let first = sorted(seq);
        assert_eq!(first.len(), 1, "{flags:?}: {first:#?}");
        assert_eq!(first[0]["copies"], 2, "{flags:?}");
        assert!(first[0]["were"].as_u64().unwrap() < 2);
        assert_eq!(first[0]["wasted"], size);
        assert_eq!(first[0]["paths"], set(2, 0, &["one", "two"])["paths"]);

        let seq = daemon.seq();
        // Its content is not looked at before it has both names.
        daemon.while_stopped(|| {
            write(&name("three"), size, 0, b'a');
            fs::hard_link(name("three"), name("three too")).unwrap();
        });
        daemon.settle_contents();
        let grown = sorted(seq);
        assert_eq!(grown.len(), 1, "{flags:?}: {grown:#?}");
        assert_eq!((&grown[0]["copies"], &grown[0]["were"]), (&3.into(), &2.into()));
        assert_eq!(grown[0]["wasted"], 2 * size);
        let shown = sets(&daemon);
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0]["paths"].as_array().unwrap().len(), 3, "{shown:#?}");
        assert_eq!((&shown[0]["wasted"], &shown[0]["digest"]), (&(2 * size).into(), &digest.clone().into()));
        assert_eq!(shown[0]["links"].as_array().unwrap().len(), 1);

        // A name that is not the last takes nothing away; a rename neither.
        let seq = daemon.seq();
        fs::remove_file(name("three")).unwrap();
        fs::rename(name("three too"), name("three")).unwrap();
        daemon.settle_contents();
        let same: Vec<Value> = told(&daemon, seq).into_iter().filter(|set| set["copies"] != 3).collect();
        if !flags.contains(&"inotify") {
            assert_eq!(same, Vec::<Value>::new(), "{flags:?}");
        }
        let seq = daemon.seq();
        fs::remove_file(name("three")).unwrap();
        daemon.settle_contents();
        assert_eq!(sorted(seq), [set(2, 3, &["one", "two"])], "{flags:?}");
        // Another content leaves the set too.
        let seq = daemon.seq();
        OpenOptions::new().write(true).open(name("two")).unwrap().write_all_at(b"b", 5).unwrap();
        daemon.settle_contents();
        assert_eq!(sorted(seq), [set(1, 2, &["one"])], "{flags:?}");
        assert_eq!(sets(&daemon), Vec::<Value>::new());
        let seq = daemon.seq();
        fs::remove_file(name("two")).unwrap();
        fs::remove_file(name("one")).unwrap();
        daemon.settle_contents();
        assert_eq!(told(&daemon, seq), Vec::<Value>::new(), "what is no set is not told");
        daemon.assert_whole();
    }
}

/// Both of a pair go at once: the set is told as dissolved, with no copies or one at last.
#[test]
fn a_set_that_goes_at_once_is_told() {
    let (ground, daemon) = start(CANDIDATES);
    let folder = ground.root().join("folder");
    fs::create_dir(&folder).unwrap();
    write(&folder.join("one"), 9000, 0, b'a');
    write(&folder.join("two"), 9000, 0, b'a');
    daemon.settle_contents();
    assert_eq!(sets(&daemon).len(), 1);
    let seq = daemon.seq();
    fs::remove_dir_all(&folder).unwrap();
    daemon.settle_contents();
    let told = told(&daemon, seq);
    assert!(!told.is_empty() && told.last().unwrap()["copies"].as_u64().unwrap() < 2, "{told:#?}");
    assert!(told[0]["were"] == 2, "{told:#?}");
    assert_eq!(sets(&daemon), Vec::<Value>::new());
}

#[test]
fn an_alert_tells_of_a_duplicate() {
    let ground = Place::Here.open().unwrap();
    let (root, out) = (ground.root(), ground.beside("out"));
    let folder = ground.state().join("indexer");
    fs::create_dir_all(&folder).unwrap();
    let rule = format!(
        "[[alert]]\nname = \"twins\"\nop = \"duplicate\"\nrate = {{ most = 1000, per = \"1s\" }}\n\
         command = [\"/bin/sh\", \"-c\", \"cat >> {}\"]\n",
        out.display()
    );
    fs::write(folder.join("indexer.toml"), rule).unwrap();
    let daemon = Daemon::start(&ground.state(), &[root], CANDIDATES);
    fs::write(root.join("first"), b"the same few words").unwrap();
    daemon.settle_contents();
    for file in 0..5 {
        fs::write(root.join(format!("again {file}")), b"the same few words").unwrap();
        let closed = Instant::now();
        let message = wait_for("an alert", || {
            let text = fs::read_to_string(&out).unwrap_or_default();
            let lines: Vec<&str> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
            (lines.len() > file).then(|| serde_json::from_str::<Value>(lines[file]).unwrap())
        });
        println!("close to alert: {:?}", closed.elapsed());
        assert_eq!((&message["op"], &message["rule"]), (&"duplicate".into(), &"twins".into()));
        assert_eq!(message["set"]["copies"], file + 2, "{message}");
    }
    // One that shrinks is no news of a duplicate.
    fs::remove_file(root.join("again 0")).unwrap();
    daemon.settle_contents();
    wait_for("the rule to be at the end", || {
        let status = daemon.status();
        let consumers = status["consumers"].as_array().unwrap().clone();
        consumers.iter().any(|one| one["name"] == "alert/twins" && one["lag"] == 0).then_some(())
    });
    assert_eq!(fs::read_to_string(&out).unwrap().lines().count(), 5);
}

#[test]
fn names_that_are_no_text_are_shown_raw() {
    let (ground, daemon) = start(CANDIDATES);
    let names = [&b"one\xff"[..], b"two\xfe", "drei é".as_bytes()];
    for name in names {
        let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name);
        write(&ground.root().join(name), 5000, 0, b'a');
    }
    daemon.settle_contents();
    let shown = sets(&daemon);
    assert_eq!(shown.len(), 1);
    let raw = shown[0]["paths_raw"].as_array().unwrap();
    let paths = shown[0]["paths"].as_array().unwrap();
    let mut told: Vec<Vec<u8>> = (0..3)
        .map(|nth| record::wire::v1::bytes_of(paths[nth].as_str().unwrap(), raw[nth].as_str()).unwrap())
        .map(|path| path.rsplit(|&byte| byte == b'/').next().unwrap().to_vec())
        .collect();
    told.sort_unstable();
    let mut expected = names.map(<[u8]>::to_vec);
    expected.sort_unstable();
    assert_eq!(told, expected);
    let said = daemon.run(&[&"dups"]);
    assert!(said.status.success(), "{}", stderr(&said));
}

fn scan(state: &Path, root: &Path, flags: &[&str]) {
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"scan", &root];
    for flag in flags {
        arguments.push(flag);
    }
    let said = indexer(state, &arguments);
    assert!(said.status.success(), "scan {flags:?}: {}", stderr(&said));
}

fn kinds(daemon: &Daemon, root: &Path) -> Vec<String> {
    let mut kinds: Vec<String> = daemon
        .ask(&[&"find", &root])
        .iter()
        .filter(|entry| entry["kind"] == "file")
        .map(|entry| entry["digest"].as_str().unwrap_or("none").split(':').next().unwrap().to_owned())
        .collect();
    kinds.sort();
    kinds
}

/// Candidates by a scan, then all by a daemon, then nothing: what is known stays as long as it is so.
#[test]
fn more_is_read_when_more_is_asked_for_and_nothing_when_nothing_is() {
    let ground = Place::Here.open().unwrap();
    let (root, state) = (ground.root(), ground.state());
    for file in 0..6 {
        write(&root.join(format!("pair {file}")), 10_000 + file / 2, 0, b'a');
        write(&root.join(format!("alone {file}")), 20_000 + file, 0, b'a');
    }
    scan(&state, root, CANDIDATES);
    let dups = json_lines(&indexer(&state, &[&"dups", &"--json"]));
    assert_eq!(dups.len(), 3);

    let mut daemon = Daemon::start(&state, &[root], &["--hash", "full"]);
    daemon.wait_hashed(12);
    assert_eq!(daemon.hashing("files_read"), 6, "those that were not read");
    daemon.assert_hashed(root);
    assert_eq!(sets(&daemon), dups);
    assert!(daemon.terminate().success());

    let mut daemon = Daemon::start(&state, &[root], &["--hash", "none"]);
    write(&root.join("pair 0"), 10_000, 0, b'b');
    write(&root.join("new"), 10_001, 0, b'a');
    daemon.settle();
    assert_eq!(daemon.hashing("files_read"), 0);
    assert_eq!(daemon.hashing("hashed"), 11);
    assert_eq!(kinds(&daemon, root).iter().filter(|kind| *kind == "none").count(), 2);
    assert_eq!(
        sets(&daemon),
        dups[..2]
            .iter()
            .cloned()
            .chain(dups[2..].iter().cloned())
            .filter(|set| set["size"] != 10_000)
            .collect::<Vec<_>>()
    );
    assert!(daemon.terminate().success());

    // What changed while nothing was read is found again.
    let daemon = Daemon::start(&state, &[root], CANDIDATES);
    wait_for("the twins of the new one", || {
        sets(&daemon).iter().any(|set| set["paths"].as_array().unwrap().len() == 3).then_some(())
    });
    daemon.assert_whole();
}

#[test]
fn another_algorithm_makes_all_digests_anew_and_sets_are_of_one_kind() {
    let ground = Place::Here.open().unwrap();
    let (root, state) = (ground.root(), ground.state());
    for file in 0..4 {
        write(&root.join(format!("{file}")), 10_000, 0, b'a');
    }
    let mut daemon = Daemon::start(&state, &[root], &["--hash", "full"]);
    daemon.wait_hashed(4);
    assert!(daemon.terminate().success());
    let blake2 = ["--hash", "full", "--algorithm", "blake2b-256"];
    let mut daemon = Daemon::start(&state, &[root], &blake2);
    wait_for("digests of the other kind", || (kinds(&daemon, root) == ["blake2b-256"; 4]).then_some(()));
    assert_eq!(sets(&daemon).len(), 1);
    assert!(daemon.terminate().success());
    // Half of them by each.
    let mut daemon = Daemon::start(&state, &[root], &["--hash", "none"]);
    for file in 0..2 {
        write(&root.join(format!("{file}")), 10_000, 0, b'b');
        write(&root.join(format!("{file}")), 10_000, 0, b'a');
    }
    daemon.settle();
    assert!(daemon.terminate().success());
    let paths = [0, 1].map(|file| root.join(format!("{file}")));
    let said = indexer(&state, &[&"hash", &paths[0], &paths[1]]);
    assert!(said.status.success(), "{}", stderr(&said));
    let shown = json_lines(&indexer(&state, &[&"dups", &"--json"]));
    for set in &shown {
        let kind = set["digest"].as_str().unwrap().split(':').next().unwrap();
        for path in set["paths"].as_array().unwrap() {
            let found = json_lines(&indexer(&state, &[&"find", &path.as_str().unwrap(), &"--json"]));
            assert!(found[0]["digest"].as_str().unwrap().starts_with(kind), "{set}");
        }
    }
}

/// Samples of large files prove nothing, and are shown in no set; small ones are read in full at that level.
#[test]
fn samples_make_no_set() {
    let ground = Place::Here.open().unwrap();
    let (root, state) = (ground.root(), ground.state());
    for file in 0..2 {
        write(&root.join(format!("large {file}")), 11 * MIB, 3 * MIB, file);
        write(&root.join(format!("small {file}")), 10 * MIB, 0, b'a');
    }
    let mut daemon = Daemon::start(&state, &[root], &["--hash", "sampled"]);
    daemon.wait_hashed(4);
    assert_eq!(kinds(&daemon, root), ["blake3", "blake3", "blake3-sampled", "blake3-sampled"]);
    let [one, other] = [0, 1].map(|file| daemon.digest_of(&root.join(format!("large {file}"))));
    assert_eq!(one, other, "they differ where no sample is taken");
    let shown = sets(&daemon);
    assert_eq!(shown.len(), 1, "{shown:#?}");
    assert_eq!(shown[0]["size"], 10 * MIB);
    assert!(told(&daemon, 0).iter().all(|set| set["size"] == 10 * MIB));
    assert!(daemon.terminate().success());
    // Asked for in full, they are.
    let daemon = Daemon::start(&state, &[root], &["--hash", "full"]);
    wait_for("full digests", || (kinds(&daemon, root) == ["blake3"; 4]).then_some(()));
    assert_eq!(sets(&daemon).len(), 1);
}

/// Copies that share their blocks take them once, where the file system tells of that.
#[test]
fn shared_blocks_waste_nothing() {
    for fs in [Fs::Xfs, Fs::Btrfs] {
        let mount = match LoopMount::new(fs, 300) {
            Ok(mount) => mount,
            Err(reason) => {
                skipped(reason);
                continue;
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let (root, state) = (mount.path(), folder.path().join("state"));
        let content: Vec<u8> =
            (0..1u32 << 16).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        fs::write(root.join("one"), &content).unwrap();
        let copied =
            Command::new("cp").arg("--reflink=always").arg(root.join("one")).arg(root.join("same")).status();
        assert!(copied.unwrap().success());
        scan(&state, root, &["--hash", "candidates"]);
        let wasted = || {
            let dups = json_lines(&indexer(&state, &[&"dups", &"--json"]));
            assert_eq!(dups.len(), 1, "{dups:?}");
            dups[0]["wasted"].as_u64().unwrap()
        };
        assert_eq!(wasted(), 0, "{}", fs.word());
        fs::write(root.join("other"), &content).unwrap();
        scan(&state, root, &["--hash", "candidates"]);
        assert_eq!(wasted(), content.len() as u64, "{}", fs.word());
    }
}
