//! What watches a tree, and what is said of it: each file system names its type, who refused and what was taken, and one mark
//! serves every subvolume. It could break wherever a kernel grants more or less than the tiers were made for.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use indexer_tests::{
    Daemon, Fs, LoopMount, Place, Workload, indexer_binary, make_subvolume, skipped, wait_for,
};

/// Backend and reason of the first root.
fn told(daemon: &Daemon) -> (String, String) {
    let status = daemon.status();
    let text = |key: &str| status["roots"][0][key].as_str().unwrap().to_owned();
    (text("backend"), text("reason"))
}

#[test]
fn each_file_system_says_what_it_is() {
    let places: [(Place, &str, &[&str]); 7] = [
        (Place::Tmpfs, "fanotify", &["tmpfs: the whole file system by one mark"]),
        (
            Place::Subvolume,
            "fanotify",
            &["btrfs: ", "subvolume cannot be marked", "top level of the file system"],
        ),
        (Place::SubvolumeAndTop, "fanotify", &["btrfs: ", "top level of the file system by one mark"]),
        (
            Place::SubvolumeAlone,
            "fanotify-dirs",
            &["btrfs: ", "top level is not mounted", "a fanotify mark a directory"],
        ),
        (Place::Overlay, "inotify", &["overlay: ", "no file handles", "inotify, a watch a directory"]),
        (Place::OverlayWithHandles, "fanotify", &["overlay: the whole file system by one mark"]),
        (Place::Fuse, "inotify", &["fuse", "no id (fsid)", "inotify, a watch a directory"]),
    ];
    for (place, backend, words) in places {
        let ground = match place.open() {
            Ok(ground) => ground,
            Err(reason) => {
                skipped(reason);
                continue;
            }
        };
        let daemon = Daemon::start(&ground.state(), &[ground.root()], &[]);
        let (told, reason) = told(&daemon);
        assert_eq!(told, backend, "{place:?}: {reason}");
        for word in words {
            assert!(reason.contains(word), "{place:?}: {reason}");
        }
        let lines = reason.lines().count();
        assert_eq!(lines, 1, "{reason}");
    }
}

/// `--backend fanotify` takes marks on directories too, and nothing less.
#[test]
fn fanotify_or_nothing() {
    let ground = match Place::Overlay.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let root = ground.root().display().to_string();
    let state = ground.state().display().to_string();
    let refused = std::process::Command::new(indexer_binary())
        .args(["--state", &state, "watch", "--backend", "fanotify", &root])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("no file handles"), "{said}");
}

/// A root with subvolumes in it, one of them made while it is watched: one group, a volume each, hints of the right one.
#[test]
fn one_mark_serves_every_subvolume() {
    let mount = match LoopMount::new(Fs::Btrfs, 400) {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    let root = mount.path().join("root");
    std::fs::create_dir(&root).unwrap();
    if let Err(reason) =
        make_subvolume(&root.join("inner")).and_then(|()| make_subvolume(&mount.path().join("other")))
    {
        return skipped(reason);
    }
    // Under the same numbers as in the root's own tree, and nobody's.
    std::fs::write(mount.path().join("other/foreign"), "").unwrap();
    let state = Place::Here.open().unwrap();
    let daemon = Daemon::start(&state.state(), &[&root], &[]);
    assert_eq!(told(&daemon).0, "fanotify", "{}", daemon.status());
    make_subvolume(&root.join("inner/later")).unwrap();
    for (seed, dir) in [(1, "plain"), (2, "inner/work"), (3, "inner/later/work")] {
        let dir = root.join(dir);
        std::fs::create_dir_all(&dir).unwrap();
        Workload { seed, threads: 2 }.run_operations(&dir, 500);
    }
    std::fs::write(mount.path().join("other/foreign"), "more").unwrap();
    rustix::fs::syncfs(std::fs::File::open(&root).unwrap()).unwrap();
    daemon.settle();
    daemon.assert_exact(&root);
    let changes = daemon.changes(0);
    assert!(changes.iter().all(|change| change["how"] == "fanotify" || change["op"] == "seeded"));
    let status = daemon.status();
    assert_eq!(told(&daemon).0, "fanotify", "{status}");
    let folder = format!("/proc/{}/fdinfo", status["pid"]);
    let described =
        std::fs::read_dir(folder).unwrap().flatten().filter_map(|fd| std::fs::read_to_string(fd.path()).ok());
    let marks = described.map(|text| text.lines().filter(|line| line.starts_with("fanotify sdev:")).count());
    assert_eq!(marks.sum::<usize>(), 1, "marks of file systems");
}

/// More directories than marks: the volume goes over to inotify, which chooses whom to watch, and nothing is missed on the way.
#[test]
fn a_volume_that_outgrows_its_marks_goes_over_to_inotify() {
    let ground = match Place::SubvolumeAlone.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let root = ground.root();
    for dir in 0..30 {
        std::fs::create_dir(root.join(format!("dir{dir}"))).unwrap();
    }
    let config = ground.beside("indexer.toml");
    std::fs::write(&config, "watches = 60\n").unwrap();
    let config = config.display().to_string();
    let mut daemon = Daemon::start(&ground.state(), &[root], &["--config", &config]);
    assert_eq!(told(&daemon).0, "fanotify-dirs");
    for dir in 30..100 {
        std::fs::create_dir(root.join(format!("dir{dir}"))).unwrap();
        std::fs::write(root.join(format!("dir{dir}/file")), "content").unwrap();
    }
    let reason = wait_for("the next tier", || {
        let (backend, reason) = told(&daemon);
        (backend == "inotify").then_some(reason)
    });
    assert!(reason.contains("more directories than there are marks"), "{reason}");
    std::fs::write(root.join("dir3/late"), "content").unwrap();
    rustix::fs::syncfs(std::fs::File::open(root).unwrap()).unwrap();
    daemon.settle();
    daemon.assert_exact(root);
    assert!(daemon.terminate().success());
}

/// A link that came and went leaves another change time, and one that was renamed over a link count too; of neither does a mark on
/// a directory tell by itself.
#[test]
fn links_that_went_before_anybody_looked() {
    let ground = match Place::SubvolumeAlone.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let root = ground.root();
    let path = |name: &str| root.join(name);
    for name in ["one", "two", "other"] {
        std::fs::write(path(name), name).unwrap();
    }
    rustix::fs::syncfs(std::fs::File::open(root).unwrap()).unwrap();
    let daemon = Daemon::start(&ground.state(), &[root], &[]);
    assert_eq!(told(&daemon).0, "fanotify-dirs");
    daemon.settle();
    daemon.assert_exact(root);
    std::fs::hard_link(path("one"), path("transient")).unwrap();
    std::fs::remove_file(path("transient")).unwrap();
    std::fs::hard_link(path("two"), path("victim")).unwrap();
    std::fs::rename(path("other"), path("victim")).unwrap();
    daemon.settle();
    daemon.assert_exact(root);
}
