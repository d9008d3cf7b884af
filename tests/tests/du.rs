//! Sizes: `du` of a root is what du(1) says, and follows every change; `--exact` makes it so for any folder. It could break
//! wherever an entry counts twice, or not at all, above all with hard links and moved folders.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use indexer_tests::{Daemon, Place, Rng, Skipped, Workload, need_tool, skipped, stderr};
use serde_json::Value;

/// (bytes of disk, bytes apparent, entries) by du(1).
fn by_du(program: &Path, path: &Path) -> (u64, u64, u64) {
    let run = |arguments: &[&str]| -> u64 {
        let said = Command::new(program).args(arguments).arg(path).output().unwrap();
        assert!(said.status.success(), "{}", stderr(&said));
        let text = String::from_utf8_lossy(&said.stdout);
        text.split_whitespace().next().unwrap().parse().unwrap()
    };
    (run(&["-s", "-B1"]), run(&["-s", "-B1", "--apparent-size"]), run(&["-s", "--inodes"]))
}

/// What du(1) counts as apparent: since coreutils 9.2 directories and devices are of no size.
fn ours(du: &Value) -> (u64, u64) {
    (du["allocated"].as_u64().unwrap(), du["files"].as_u64().unwrap() + du["directories"].as_u64().unwrap())
}

/// Sum of sizes below `path`, each inode once, directories included.
fn sum_of_sizes(path: &Path) -> u64 {
    let mut seen = std::collections::BTreeSet::new();
    indexer_tests::independent_walk(path)
        .values()
        .filter(|stat| seen.insert(stat.inode))
        .map(|stat| stat.size)
        .sum()
}

fn ask(daemon: &Daemon, path: &Path, more: &[&str]) -> Value {
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"du", &path];
    for word in more {
        arguments.push(word);
    }
    daemon.ask(&arguments).swap_remove(0)
}

fn du_program() -> Result<PathBuf, Skipped> {
    need_tool("du", "coreutils")
}

fn assert_root_equals_du(daemon: &Daemon, program: &Path, root: &Path) {
    let (allocated, _, inodes) = by_du(program, root);
    let said = ask(daemon, root, &[]);
    assert_eq!(ours(&said), (allocated, inodes), "du {}: {said}", root.display());
    assert_eq!(said["bytes"], sum_of_sizes(root), "{said}");
    assert_eq!(said, ask(daemon, root, &["--exact"]));
}

fn live_sizes(place: Place, flags: &[&str]) {
    let program = match du_program() {
        Ok(program) => program,
        Err(reason) => return skipped(reason),
    };
    let ground = match place.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let root = ground.root();
    for dir in ["a/b/c", "d/e", "f"] {
        fs::create_dir_all(root.join(dir)).unwrap();
        for file in 0..30 {
            fs::write(root.join(dir).join(format!("{file}")), vec![1; file * 999]).unwrap();
        }
    }
    // Names of one file in several folders, present at the seed.
    for (nth, to) in ["a/link", "d/link", "d/e/link", "f/link"].iter().enumerate() {
        fs::hard_link(root.join(format!("a/b/c/{}", 20 + nth % 2)), root.join(to)).unwrap();
    }
    let daemon = Daemon::start(&ground.state(), &[root], flags);
    assert_root_equals_du(&daemon, &program, root);
    let step = |what: &str, work: &dyn Fn()| {
        work();
        daemon.settle();
        assert_root_equals_du(&daemon, &program, root);
        for below in ["a", "a/b", "d", "d/e", "f"] {
            let path = root.join(below);
            if path.try_exists().unwrap() {
                let (allocated, _, inodes) = by_du(&program, &path);
                let said = ask(&daemon, &path, &["--exact"]);
                assert_eq!(ours(&said), (allocated, inodes), "after {what}: du --exact {below}: {said}");
            }
        }
    };
    step("nothing", &|| {});
    step("a link more", &|| fs::hard_link(root.join("f/7"), root.join("a/seven")).unwrap());
    step("the counted name gone", &|| fs::remove_file(root.join("a/link")).unwrap());
    step("a linked file grown", &|| fs::write(root.join("d/link"), vec![2; 100_000]).unwrap());
    step("a folder moved", &|| fs::rename(root.join("d/e"), root.join("a/b/e")).unwrap());
    step("a folder moved with links", &|| fs::rename(root.join("a/b"), root.join("d/e")).unwrap());
    step("a sparse file", &|| fs::File::create(root.join("sparse")).unwrap().set_len(1 << 32).unwrap());
    step("a folder gone", &|| fs::remove_dir_all(root.join("d/e")).unwrap());
    step("names exchanged", &|| {
        fs::rename(root.join("f/link"), root.join("f/gone")).unwrap();
        fs::rename(root.join("d/link"), root.join("f/link")).unwrap();
        fs::rename(root.join("f/gone"), root.join("d/link")).unwrap();
    });
    let mut rng = Rng::new(3);
    for round in 0..6 {
        let work = Workload { seed: rng.bits(), threads: 2 };
        step(&format!("round {round} of random work"), &|| drop(work.run_operations(root, 300)));
    }
    daemon.assert_exact(root);

    // The largest first, to the depth asked for, and what --top leaves out is smaller.
    let all = daemon.ask(&[&"du", &root, &"--depth", &"2"]);
    let sizes: Vec<u64> = all[1..].iter().map(|du| du["allocated"].as_u64().unwrap()).collect();
    assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
    let top = daemon.ask(&[&"du", &root, &"--depth", &"2", &"--top", &"2"]);
    assert_eq!(top[..], all[..top.len()]);
    assert_eq!(top.len(), 3);
}

#[test]
fn du_equals_du_on_ext4() {
    live_sizes(Place::Ext4, &[]);
}

#[test]
fn du_equals_du_on_xfs() {
    live_sizes(Place::Xfs, &["--backend", "inotify"]);
}

#[test]
fn du_equals_du_here() {
    live_sizes(Place::Here, &["--backend", "inotify"]);
}

#[test]
fn du_of_what_is_not_indexed_says_so() {
    let ground = Place::Here.open().unwrap();
    let daemon = Daemon::start(&ground.state(), &[ground.root()], &[]);
    for path in [ground.root().join("missing"), PathBuf::from("/")] {
        let said = daemon.run(&[&"du", &path]);
        assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
        assert!(!stderr(&said).is_empty() && said.stdout.is_empty());
    }
}
