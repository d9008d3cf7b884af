//! Mounts that come and go while the daemon watches: what is only out of sight is not deleted, comes back without being
//! written again, and nobody's unmount is in the way of the daemon or held up by it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod nested;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use indexer_tests::{
    Daemon, Fs, LoopMount, Place, TmpfsMount, find_json, need_root, skipped, stderr, wait_for,
};
use serde_json::Value;

fn run(program: &str, arguments: &[&dyn AsRef<OsStr>]) {
    let done = Command::new(program).args(arguments.iter().map(AsRef::as_ref)).output().unwrap();
    assert!(done.status.success(), "{program}: {}", stderr(&done));
}

/// The daemon may be in it, for as long as a look takes.
fn unmount(point: &Path) {
    wait_for("an unmount", || {
        let done = Command::new("umount").arg(point).output().unwrap();
        done.status.success().then_some(())
    });
}

/// Whatever is mounted at or below a folder, gone on drop, so that a failed test leaves nothing behind.
struct Unmounts<'a>(&'a Path);

impl Unmounts<'_> {
    /// In the order of mounting. The folder itself need not be a mount point, which `umount --recursive` asks for.
    fn points(&self) -> Vec<PathBuf> {
        let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = table.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
        points.filter(|point| point.starts_with(self.0)).collect()
    }
}

impl Drop for Unmounts<'_> {
    fn drop(&mut self) {
        for point in self.points().iter().rev() {
            let _ = Command::new("umount").args(["--lazy", "--quiet"]).arg(point).output();
        }
        let left = self.points();
        assert!(left.is_empty() || std::thread::panicking(), "still mounted: {left:?}");
    }
}

fn ops(daemon: &Daemon, since: u64) -> Vec<String> {
    daemon.changes(since).iter().map(|record| record["op"].as_str().unwrap().to_owned()).collect()
}

fn root_state(daemon: &Daemon) -> String {
    daemon.status()["roots"][0]["state"].as_str().unwrap().to_owned()
}

fn wait_state(daemon: &Daemon, state: &str) {
    wait_for(&format!("the root to be {state}"), || (root_state(daemon) == state).then_some(()));
}

fn wait_gap(daemon: &Daemon, since: u64, why: &str) {
    wait_for(&format!("a gap, {why}"), || {
        let gap = |record: &Value| {
            record["op"] == "gap" && record["why"].as_str().is_some_and(|told| told.contains(why))
        };
        daemon.changes(since).iter().any(gap).then_some(())
    });
}

fn has(daemon: &Daemon, root: &Path, path: &Path) -> bool {
    find_json(daemon, root).contains_key(path.as_os_str().as_encoded_bytes())
}

fn fill(folder: &Path) {
    fs::create_dir_all(folder.join("deep/er")).unwrap();
    fs::write(folder.join("deep/er/file"), b"kept").unwrap();
    fs::write(folder.join("top"), b"kept").unwrap();
}

fn verified(daemon: &Daemon, root: &Path) {
    let said = daemon.run(&[&"verify", &root]);
    assert!(said.status.success(), "{}{}", String::from_utf8_lossy(&said.stdout), stderr(&said));
}

fn daemon_on(fs: Fs, flags: &[&str], test: impl FnOnce(&mut LoopMount, &Daemon)) {
    let mut mount = match LoopMount::new(fs, 64) {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    let state = tempfile::tempdir().unwrap();
    fill(mount.path());
    let daemon = Daemon::start(&state.path().join("state"), &[mount.path()], flags);
    daemon.settle();
    test(&mut mount, &daemon);
}

/// A disk that is unmounted is lost at once and keeps its rows; back, it is found, compared and watched anew, and what
/// did not change is not written again.
fn unmounted_and_back(fs: Fs, flags: &[&str]) {
    daemon_on(fs, flags, |mount, daemon| {
        let root = mount.path().to_owned();
        let before = find_json(daemon, &root);
        let seq = daemon.seq();
        mount.unmount();
        wait_state(daemon, "lost");
        assert_eq!(find_json(daemon, &root), before, "rows of a lost root are kept");
        let said = daemon.run(&[&"settle"]);
        assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
        let why = daemon.status()["roots"][0]["lost"].as_str().unwrap().to_owned();
        assert!(why.contains("not mounted"), "{why}");
        mount.mount().unwrap();
        wait_state(daemon, "live");
        daemon.settle();
        assert_eq!(find_json(daemon, &root), before, "nothing was written again");
        assert_eq!(ops(daemon, seq), ["root_lost", "root_found", "gap"], "{:#?}", daemon.log());
        let seq = daemon.seq();
        daemon.while_stopped(|| fs::write(root.join("deep/after"), b"x").unwrap());
        daemon.settle();
        assert_eq!(daemon.told(seq), ["created after"]);
        assert!(daemon.changes(seq).iter().all(|record| record["how"] != "sweep"), "it is watched again");
        // Changed while it was away: found by the comparison.
        let seq = daemon.seq();
        mount.unmount();
        wait_state(daemon, "lost");
        mount.mount().unwrap();
        wait_state(daemon, "live");
        daemon.settle();
        assert!(
            ops(daemon, seq).iter().all(|op| op != "deleted" && op != "created"),
            "{:?}",
            ops(daemon, seq)
        );
        daemon.assert_exact(&root);
        verified(daemon, &root);
    });
}

#[test]
fn a_disk_unmounted_and_mounted_again_ext4() {
    unmounted_and_back(Fs::Ext4, &[]);
}

#[test]
fn a_disk_unmounted_and_mounted_again_xfs_by_inotify() {
    unmounted_and_back(Fs::Xfs, &["--backend", "inotify"]);
}

#[test]
fn a_disk_unmounted_and_mounted_again_btrfs() {
    unmounted_and_back(Fs::Btrfs, &[]);
}

#[test]
fn a_disk_unmounted_and_mounted_again_by_sweeps() {
    if let Err(reason) = need_root("a loop mount") {
        return skipped(reason);
    }
    daemon_on(Fs::Ext4, &["--backend", "sweep"], |mount, daemon| {
        let seq = daemon.seq();
        mount.unmount();
        wait_state(daemon, "lost");
        mount.mount().unwrap();
        wait_state(daemon, "live");
        daemon.settle();
        assert_eq!(ops(daemon, seq), ["root_lost", "root_found", "gap"]);
        fs::write(mount.path().join("later"), b"x").unwrap();
        daemon.settle();
        daemon.assert_exact(mount.path());
    });
}

/// The mark dies with the mount, also where nobody had the time to see it away.
#[test]
fn unmounted_and_mounted_again_while_nobody_looks() {
    daemon_on(Fs::Ext4, &[], |mount, daemon| {
        let root = mount.path().to_owned();
        let seq = daemon.seq();
        wait_for("to stop while no look is under way in it", || {
            daemon.while_stopped(|| {
                mount.try_unmount().ok()?;
                mount.mount().unwrap();
                fs::write(root.join("deep/er/meanwhile"), b"x").unwrap();
                Some(())
            })
        });
        wait_gap(daemon, seq, "out of sight");
        daemon.settle();
        assert!(!ops(daemon, seq).contains(&"deleted".to_owned()));
        daemon.assert_exact(&root);
        let seq = daemon.seq();
        daemon.while_stopped(|| fs::write(root.join("deep/live"), b"x").unwrap());
        daemon.settle();
        assert_eq!(daemon.told(seq), ["created live"]);
        assert!(daemon.changes(seq).iter().all(|record| record["how"] == "fanotify"));
    });
}

/// Lazily unmounted under load, with files open in it: lost, and found when it is back.
#[test]
fn a_lazy_unmount_under_load() {
    daemon_on(Fs::Ext4, &[], |mount, daemon| {
        let root = mount.path().to_owned();
        let seq = daemon.seq();
        let mut open = fs::File::create(root.join("open")).unwrap();
        for n in 0..200 {
            fs::write(root.join(format!("deep/{n}")), b"load").unwrap();
        }
        run("umount", &[&"--lazy", &root]);
        for n in 0..200 {
            use std::io::Write as _;
            open.write_all(format!("{n}").as_bytes()).unwrap();
        }
        wait_state(daemon, "lost");
        let told = ops(daemon, seq);
        assert!(!told.contains(&"deleted".to_owned()), "{told:?}");
        drop(open);
        mount.mount().unwrap();
        wait_state(daemon, "live");
        daemon.settle();
        assert!(!ops(daemon, seq).contains(&"deleted".to_owned()));
        daemon.assert_exact(&root);
        verified(daemon, &root);
    });
}

/// Another disk on the same path is not the root; a person may say that it is.
#[test]
fn another_disk_on_the_same_path() {
    daemon_on(Fs::Ext4, &[], |mount, daemon| {
        let root = mount.path().to_owned();
        let before = find_json(daemon, &root);
        let seq = daemon.seq();
        mount.unmount();
        wait_state(daemon, "lost");
        let _unmounts = Unmounts(&root);
        run("mount", &[&"-t", &"tmpfs", &"-o", &"mode=755", &"tmpfs", &root]);
        fs::write(root.join("other"), b"disk").unwrap();
        wait_for("the reason", || {
            let said = daemon.run(&[&"settle"]);
            assert_eq!(said.status.code(), Some(1));
            (stderr(&said).contains("another file system")).then_some(())
        });
        assert_eq!(find_json(daemon, &root), before);
        assert_eq!(ops(daemon, seq), ["root_lost"]);
        let said = daemon.run(&[&"root", &"accept", &root]);
        assert!(said.status.success(), "{}", stderr(&said));
        daemon.settle();
        daemon.assert_exact(&root);
        assert!(has(daemon, &root, &root.join("other")) && !has(daemon, &root, &root.join("top")));
    });
}

/// A root that is renamed, replaced, or whose parent is renamed is lost with the reason, and found when it is back.
#[test]
fn a_root_that_moves_is_lost_with_the_reason() {
    let ground = Place::Here.open().unwrap();
    let (above, root) = (ground.root().join("above"), ground.root().join("above/tree"));
    fill(&root);
    let daemon = Daemon::start(&ground.state(), &[&root], &[]);
    daemon.settle();
    let before: Vec<_> = find_json(&daemon, &root).into_keys().collect();
    let start = daemon.seq();
    let away = ground.root().join("away");
    // Its own change time moves with each rename.
    let paths = |daemon: &Daemon| find_json(daemon, &root).into_keys().collect::<Vec<_>>();
    let lost = |reason: &str| {
        wait_state(&daemon, "lost");
        let said = daemon.run(&[&"settle"]);
        assert_eq!(said.status.code(), Some(1));
        assert!(stderr(&said).contains(reason), "no `{reason}` in: {}", stderr(&said));
        assert_eq!(paths(&daemon), before);
    };
    fs::rename(&root, &away).unwrap();
    lost("renamed or removed");
    std::os::unix::fs::symlink(&away, &root).unwrap();
    lost("symbolic link");
    fs::remove_file(&root).unwrap();
    fs::create_dir(&root).unwrap();
    lost("another directory");
    fs::remove_dir(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    wait_state(&daemon, "live");
    fs::rename(&above, &away).unwrap();
    lost("renamed or removed");
    fs::rename(&away, &above).unwrap();
    wait_state(&daemon, "live");
    daemon.settle();
    daemon.assert_exact(&root);
    let told = ops(&daemon, start);
    assert!(!told.contains(&"deleted".to_owned()) && !told.contains(&"created".to_owned()), "{told:?}");
    assert_eq!(told.iter().filter(|op| *op == "root_found").count(), 2, "{told:?}");
}

/// The device of a disk goes to another disk while it is away, and it comes back on a new one: it is known again by what
/// it is, and nothing of it is written again.
#[test]
fn a_disk_comes_back_on_another_device_number() {
    daemon_on(Fs::Ext4, &[], |mount, daemon| {
        let root = mount.path().to_owned();
        let before = find_json(daemon, &root);
        let seq = daemon.seq();
        mount.unmount();
        wait_state(daemon, "lost");
        // Takes the loop device that was given back, unless another test is quicker; then the number is new all the same.
        let _other = LoopMount::new(Fs::Ext4, 64).unwrap();
        mount.mount().unwrap();
        wait_state(daemon, "live");
        daemon.settle();
        assert_eq!(ops(daemon, seq), ["root_lost", "root_found", "gap"]);
        assert_eq!(find_json(daemon, &root), before);
        fs::write(root.join("deep/after"), b"x").unwrap();
        daemon.settle();
        daemon.assert_exact(&root);
    });
}

/// No tier keeps a descriptor between rounds: whoever unmounts is not told that it is busy, right after changes, looks and
/// a sweep.
#[test]
fn an_unmount_is_never_busy_for_long() {
    for flags in [&[][..], &["--backend", "inotify"], &["--backend", "sweep"]] {
        daemon_on(Fs::Ext4, flags, |mount, daemon| {
            for round in 0..5 {
                fs::write(mount.path().join(format!("deep/{round}")), b"x").unwrap();
                assert!(daemon.run(&[&"sweep"]).status.success());
                daemon.settle();
                mount.unmount_soon();
                wait_state(daemon, "lost");
                mount.mount().unwrap();
                wait_state(daemon, "live");
                // The sweep at its return may be in it yet: when `settle` is back, nobody is.
                daemon.settle();
            }
            daemon.assert_exact(mount.path());
        });
    }
}

/// File systems in memory have no identity that outlives them: a new one at the same place is another.
#[test]
fn a_new_tmpfs_is_another_file_system() {
    let ground = Place::Here.open().unwrap();
    let mount = match TmpfsMount::new("mode=755") {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    fill(mount.path());
    let daemon = Daemon::start(&ground.state(), &[mount.path()], &[]);
    daemon.settle();
    let before = find_json(&daemon, mount.path());
    let seq = daemon.seq();
    unmount(mount.path());
    run("mount", &[&"-t", &"tmpfs", &"-o", &"mode=755", &"tmpfs", &mount.path()]);
    wait_state(&daemon, "lost");
    assert_eq!(find_json(&daemon, mount.path()), before);
    assert_eq!(ops(&daemon, seq), ["root_lost"]);
}
