//! After `settle` the index equals the disk on every field, and the journal folded over what was there at `live` equals what
//! is there now: random work from several threads, begun before the seed and gone on with after, on each file system and by
//! each means of watching. It could break wherever an event is lost, merged, reordered, or tells less than it seems.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::process::Command;

use indexer_tests::{
    Daemon, Ground, Place, Rows, Workload, find_json, indexer_binary, is_root, skipped, wait_for,
};
use serde_json::Value;

/// Operations of each thread after `live`.
const OPERATIONS: u64 = 3_000;

/// A tree that makes the seed last while the work goes on: folders of files, one of them much larger.
fn still_life(root: &Path) {
    for folder in 0..100 {
        let folder = root.join(format!("still/{}/{folder}", folder % 7));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..20 {
            std::fs::write(folder.join(format!("file {file}")), vec![0; file * 100]).unwrap();
        }
    }
    for file in 0..3_000 {
        std::fs::write(root.join(format!("still/{file}.txt")), b"").unwrap();
    }
}

/// Blocks of disk settle when data are written back, with no event to tell of it: every file is given one, by a mode that
/// is set to what it is.
fn write_back(root: &Path) {
    rustix::fs::syncfs(std::fs::File::open(root).unwrap()).unwrap();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let seen = entry.metadata().unwrap();
            if seen.is_dir() {
                folders.push(entry.path());
            } else if seen.is_file() {
                std::fs::set_permissions(entry.path(), seen.permissions()).unwrap();
            }
        }
    }
}

/// All the judgements there are, on a tree at rest, of a daemon that was live at `seq` when `find` said `then` and watches
/// by `backend`. False where a queue ran over: then all is exact as well, but told of by other means.
fn judge(daemon: &Daemon, root: &Path, seq: u64, then: &Rows, backend: &str) -> bool {
    let on_fuse = daemon.status()["roots"][0]["reason"].as_str().unwrap().starts_with("fuse");
    let how = backend.trim_end_matches("-dirs");
    daemon.assert_exact(root);
    let all = daemon.changes(0);
    assert!(all.len() > 1_000, "only {} records", all.len());
    let mut rows = then.clone();
    for change in &all[usize::try_from(seq).unwrap()..] {
        rows.apply(change);
    }
    let differences = rows.differences(&Rows::of_find(&find_json(daemon, root)));
    assert!(differences.is_empty(), "the journal leads elsewhere:\n{}", differences.join("\n"));
    let status = daemon.status();
    if status["overflows"] != 0 {
        assert!(all.iter().any(|change| change["op"] == "gap"), "no gap is told: {status}");
        return false;
    }
    // A directory that moves while it is being armed is ENOENT on FUSE, where nodes are found by path: settle sweeps then.
    let swept = |change: &Value| on_fuse && change["how"] == "sweep";
    let others: Vec<&Value> = all
        .iter()
        .filter(|change| change["how"] != how && change["op"] != "seeded" && !swept(change))
        .collect();
    assert!(others.is_empty(), "{} records did not come from {how}: {:#?}", others.len(), others.first());
    assert_eq!(status["roots"][0]["backend"], backend, "{status}");
    let one_by_one = backend != "fanotify";
    assert_eq!(status["roots"][0]["watches"].as_u64().unwrap() > 0, one_by_one, "{status}");
    true
}

/// Does `once` on a ground of its own, and again where that was false: a reader that stood still while the work went on is
/// the machine's doing.
fn on(place: Place, once: impl Fn(&Ground) -> bool) {
    for _ in 0..5 {
        let ground = match place.open() {
            Ok(ground) => ground,
            Err(reason) => return skipped(reason),
        };
        if once(&ground) {
            return;
        }
    }
    panic!("five times a queue ran over");
}

fn exact(ground: &Ground, place: Place, flags: &[&str], how: &str, seed: u64) -> bool {
    let root = ground.root();
    still_life(root);
    let work = Workload { seed, threads: 3 };
    let ((daemon, seq, then), done) = work.around(root, || {
        let mut daemon = Daemon::spawn(indexer_binary(), &ground.state(), &[root], flags);
        daemon.wait_live();
        let seq = daemon.seq();
        let then = Rows::of_find(&find_json(&daemon, root));
        // Not at rest, but whole at every instant all the same.
        daemon.assert_whole();
        // The work of the seed goes on for a while, unknowing.
        wait_for("records of the work", || (daemon.seq() > seq + 500).then_some(()));
        (daemon, seq, then)
    });
    assert!(done.values().sum::<u64>() > 500);
    Workload { seed: seed + 1, threads: 3 }.run_operations(root, OPERATIONS);
    if matches!(
        place,
        Place::Xfs | Place::Btrfs | Place::Subvolume | Place::SubvolumeAndTop | Place::SubvolumeAlone
    ) {
        write_back(root);
    }
    daemon.settle();
    judge(&daemon, root, seq, &then, how)
}

macro_rules! exact {
    ($($name:ident: $place:expr, $flags:expr, $how:expr, $seed:expr;)*) => {
        $(#[test]
        fn $name() {
            on($place, |ground| exact(ground, $place, $flags, $how, $seed));
        })*
    };
}

exact! {
    r1_r5_ext4_by_fanotify: Place::Ext4, &[], "fanotify", 10;
    r1_r5_ext4_by_inotify: Place::Ext4, &["--backend", "inotify"], "inotify", 20;
    r1_r5_xfs_by_fanotify: Place::Xfs, &[], "fanotify", 30;
    r1_r5_xfs_by_inotify: Place::Xfs, &["--backend", "inotify"], "inotify", 40;
    r1_r5_btrfs_by_fanotify: Place::Btrfs, &[], "fanotify", 50;
    r1_r5_btrfs_by_inotify: Place::Btrfs, &["--backend", "inotify"], "inotify", 60;
    r1_r5_tmpfs_by_fanotify: Place::Tmpfs, &[], "fanotify", 70;
    r1_r5_tmpfs_by_inotify: Place::Tmpfs, &["--backend", "inotify"], "inotify", 80;
    r1_r5_subvolume_by_its_top_level: Place::Subvolume, &["--backend", "fanotify"], "fanotify", 110;
    r1_r5_mounted_subvolume_by_its_top_level: Place::SubvolumeAndTop, &[], "fanotify", 120;
    r1_r5_subvolume_alone_by_directories: Place::SubvolumeAlone, &["--backend", "fanotify"], "fanotify-dirs", 130;
    r1_r5_fuse_by_inotify: Place::Fuse, &[], "inotify", 160;
    r1_r5_overlay_by_inotify: Place::Overlay, &[], "inotify", 140;
    r1_r5_overlay_with_handles_by_fanotify: Place::OverlayWithHandles, &[], "fanotify", 150;
}

/// Without rights there is no mark of a file system: marks on directories are chosen, and say why, and are as exact.
fn unprivileged(ground: &Ground, place: Place) -> bool {
    let binary = ground.lend(indexer_binary());
    let churn = ground.lend(Path::new(env!("CARGO_BIN_EXE_churn")));
    let root = ground.root();
    let worker = |seed: &str, operations: &str| {
        let mut command = Command::new(&churn);
        command.arg(root).args([seed, "3", operations]).stderr(std::process::Stdio::null());
        indexer_tests::unprivileged(&mut command);
        command
    };
    let mut during = worker("5", "6000").spawn().unwrap();
    let mut daemon = Daemon::spawn_unprivileged(&binary, &ground.state(), &[root], &[]);
    daemon.wait_live();
    let seq = daemon.seq();
    let then = Rows::of_find(&find_json(&daemon, root));
    assert!(during.wait().unwrap().success());
    assert!(worker("6", "2000").status().unwrap().success());
    if place == Place::Xfs {
        write_back(root);
    }
    daemon.settle();
    let status = daemon.status();
    let reason = status["roots"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("CAP_SYS_ADMIN"), "it does not say why not one mark: {reason}");
    judge(&daemon, root, seq, &then, "fanotify-dirs")
}

fn unprivileged_on(place: Place) {
    on(place, |ground| unprivileged(ground, place));
}

#[test]
fn r1_r5_unprivileged_on_ext4() {
    unprivileged_on(Place::Ext4);
}

#[test]
fn r1_r5_unprivileged_on_xfs() {
    unprivileged_on(Place::Xfs);
}

#[test]
fn r1_r5_unprivileged_on_tmpfs() {
    unprivileged_on(Place::Tmpfs);
}

/// What anybody can run, on whatever file system the temporary folder is.
#[test]
fn r1_r5_no_rights_are_needed() {
    if is_root() {
        unprivileged_on(Place::Here);
    } else {
        on(Place::Here, |ground| exact(ground, Place::Here, &["--backend", "inotify"], "inotify", 90));
    }
}

/// Nothing happens, so nothing may be written: not a record, not a row, and the processor is left alone.
#[test]
fn r2_idle_is_silent() {
    let ground: Ground = Place::Here.open().unwrap();
    still_life(ground.root());
    let mut daemon = Daemon::start(&ground.state(), &[ground.root()], &[]);
    daemon.settle();
    let (seq, rows) = (daemon.seq(), Rows::of_find(&find_json(&daemon, ground.root())));
    let report = daemon.ask(&[&"sweep"]);
    assert_eq!(report[0]["records"], 0, "{report:?}");
    daemon.settle();
    assert_eq!(daemon.seq(), seq);
    assert!(daemon.terminate().success());
    let daemon = Daemon::start(&ground.state(), &[], &[]);
    daemon.settle();
    assert_eq!(
        daemon.seq(),
        seq,
        "a boot sweep of an unchanged tree wrote records: {:#?}",
        daemon.changes(seq)
    );
    assert_eq!(rows.differences(&Rows::of_find(&find_json(&daemon, ground.root()))), Vec::<String>::new());
    daemon.assert_exact(ground.root());
}
