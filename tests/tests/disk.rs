//! The disk of the state folder is full or gone, or that of the tree is: the daemon ends and says what to do, or keeps what it
//! knows and says so; nothing is lost, and nothing is taken for deleted.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use indexer_tests::{
    Daemon, Fs, Ground, LoopMount, Place, Skipped, TmpfsMount, indexer, skipped, stderr, wait_for,
};

/// Takes all the room there is in `folder`.
fn fill(folder: &Path) {
    let mut ballast = File::create(folder.join("ballast")).unwrap();
    for chunk in [1 << 16, 1 << 12, 1] {
        while ballast.write_all(&vec![b'x'; chunk]).is_ok() {}
    }
}

fn tree(root: &Path) {
    for folder in 0..20 {
        fs::create_dir(root.join(folder.to_string())).unwrap();
        for file in 0..20 {
            fs::write(root.join(format!("{folder}/{file}")), b"some").unwrap();
        }
    }
}

/// A start after the trouble: exact, whole, its journal gapless and going on where it was.
fn assert_nothing_lost(state: &Path, root: &Path, before: &[serde_json::Value]) {
    let daemon = Daemon::start(state, &[], &[]);
    daemon.settle();
    daemon.assert_exact(root);
    let doctor = daemon.run(&[&"doctor"]);
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));
    let records = daemon.changes(0);
    assert_eq!(records[..before.len()], *before, "what was told stays as it was told");
}

/// Follows a tree with its state in `state`, does `trouble`, changes the tree until the daemon ends, and answers what it had
/// told before, and what it said.
fn ends_by(
    ground: &Ground,
    state: &Path,
    asks: bool,
    trouble: impl FnOnce(),
) -> (Vec<serde_json::Value>, String) {
    let root = ground.root();
    tree(root);
    let mut daemon = Daemon::start(state, &[root], &[]);
    fs::write(root.join("before"), b"x").unwrap();
    daemon.settle();
    let before = daemon.changes(0);
    assert!(before.len() > 1);
    trouble();
    // Enough for the file to grow, and no more than it takes: a commit of one name is enough where the disk is gone.
    for nth in 0..4000 {
        fs::write(root.join(format!("{}/new {nth}", nth % 20)), b"x").unwrap();
    }
    if asks {
        let said = daemon.run(&[&"settle", &"--timeout", &"60s"]);
        assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
    }
    let end = daemon.wait_gone();
    assert_eq!(end.code(), Some(3), "{}", daemon.log());
    let said = daemon.log();
    assert!(said.contains(state.to_str().unwrap()) && said.contains("nothing is lost"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    (before, said)
}

fn full(asks: bool) {
    let mount = match TmpfsMount::new("size=6m") {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    let ground = Place::Here.open().unwrap();
    let state = mount.path().join("state");
    let (before, said) = ends_by(&ground, &state, asks, || fill(mount.path()));
    assert!(said.contains("make room"), "{said}");
    // Still full: it says the same again, or goes on as far as it can, and answers without a daemon.
    let found = indexer(&state, &[&"find", &"--name", &"before"]);
    assert_eq!(found.status.code(), Some(0), "{}", stderr(&found));
    fs::remove_file(mount.path().join("ballast")).unwrap();
    assert_nothing_lost(&state, ground.root(), &before);
}

#[test]
fn a_full_disk_while_following_ends_the_daemon_and_loses_nothing() {
    full(false);
}

#[test]
fn a_full_disk_at_a_settle_ends_the_daemon_and_loses_nothing() {
    full(true);
}

/// No inode is left for the lock, the socket, the index or a run of the first scan: each is an error that says where.
#[test]
fn without_inodes_a_start_fails_aloud_and_succeeds_with_them() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    tree(root);
    for inodes in 2..12 {
        let mount = match TmpfsMount::new(&format!("size=64m,nr_inodes={inodes}")) {
            Ok(mount) => mount,
            Err(reason) => return skipped(reason),
        };
        let state = mount.path().join("state");
        let said = indexer(&state, &[&"scan", &root]);
        let error = stderr(&said);
        match said.status.code() {
            Some(0) => {}
            Some(3) => assert!(
                error.contains(state.to_str().unwrap())
                    && error.contains("No space")
                    && !error.contains("panicked"),
                "{inodes}: {error}"
            ),
            code => panic!("{inodes}: {code:?}: {error}"),
        }
        assert!(inodes > 2 || said.status.code() == Some(3), "the first of them cannot do: {error}");
        let more = ["-o", "remount,nr_inodes=1000"];
        assert!(Command::new("mount").args(more).arg(mount.path()).status().unwrap().success());
        let daemon = Daemon::start(&state, &[root], &[]);
        daemon.settle();
        daemon.assert_exact(root);
        assert_eq!(daemon.changes(0).iter().filter(|record| record["op"] == "seeded").count(), 1);
    }
}

fn xfs() -> Result<LoopMount, Skipped> {
    LoopMount::new(Fs::Xfs, 300)
}

/// The disk of the state folder fails with EIO.
#[test]
fn a_dead_disk_of_the_state_ends_the_daemon_and_loses_nothing() {
    let mut mount = match xfs() {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    let ground = Place::Here.open().unwrap();
    let state = mount.path().join("state");
    let (before, said) = ends_by(&ground, &state, false, || mount.shut_down().unwrap());
    assert!(said.contains("look after the disk"), "{said}");
    mount.remount();
    assert_nothing_lost(&state, ground.root(), &before);
}

/// The disk of the tree fails with EIO: no name goes, the root is lost with its reason, and found again.
fn dead_root(flags: &[&str]) {
    let mut mount = match xfs() {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    let ground = Place::Here.open().unwrap();
    let (root, state) = (mount.path().join("root"), ground.state());
    fs::create_dir(&root).unwrap();
    tree(&root);
    let daemon = Daemon::start(&state, &[&root], flags);
    fs::write(root.join("before"), b"x").unwrap();
    daemon.settle();
    // What is not written back goes with the disk, and that is no affair of ours.
    rustix::fs::syncfs(File::open(&root).unwrap()).unwrap();
    let seq = daemon.seq();
    let entries = daemon.status()["entries"].clone();
    mount.shut_down().unwrap();
    assert!(fs::read_dir(root.join("7")).is_err() || fs::write(root.join("after"), b"x").is_err());
    let said = daemon.run(&[&"settle"]);
    assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
    assert!(stderr(&said).contains(root.to_str().unwrap()), "{}", stderr(&said));
    let status = daemon.status();
    assert_eq!(status["roots"][0]["state"], "lost", "{status}");
    assert_eq!(status["entries"], entries, "rows of a lost root are kept");
    let told = daemon.changes(seq);
    let lost = told.iter().find(|record| record["op"] == "root_lost");
    let why = lost.and_then(|record| record["why"].as_str()).unwrap_or_default();
    assert!(why.contains("nput/output error"), "{told:#?}");
    assert!(told.iter().all(|record| record["op"] != "deleted"), "{told:#?}");
    mount.remount();
    wait_for("the root to be found", || (daemon.status()["roots"][0]["state"] == "live").then_some(()));
    fs::write(root.join("again"), b"x").unwrap();
    daemon.settle();
    daemon.assert_exact(&root);
    let told = daemon.changes(seq);
    assert!(told.iter().any(|record| record["op"] == "root_found"), "{told:#?}");
    assert!(told.iter().all(|record| record["op"] != "deleted"), "{told:#?}");
}

#[test]
fn r4_a_dead_disk_of_the_tree_deletes_nothing() {
    dead_root(&[]);
}

#[test]
fn r4_a_dead_disk_of_the_tree_deletes_nothing_by_inotify() {
    dead_root(&["--backend", "inotify"]);
}
