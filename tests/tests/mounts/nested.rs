//! What is mounted inside a root comes and goes, covers what was there, and is kept while it is away.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use indexer_tests::{
    Daemon, Fs, LoopMount, Place, find_json, need_root, need_tool, skipped, stderr, wait_for,
};

use super::{Unmounts, fill, has, ops, run, unmount, verified, wait_gap};

/// Of a disk that is unmounted the rows stay and are said to be out of sight, and what lies below the mount point is not taken for them.
/// Back, nothing is written again.
fn goes_and_comes_back(daemon: &Daemon, root: &Path, point: &Path, image: &Path) {
    let (before, seq) = (find_json(daemon, root), daemon.seq());
    unmount(point);
    fs::write(point.join("below"), b"not of the disk").unwrap();
    wait_gap(daemon, seq, "not mounted");
    daemon.settle();
    assert_eq!(ops(daemon, seq), ["gap"], "{:#?}", daemon.log());
    assert_eq!(find_json(daemon, root), before, "rows are kept, and nothing is taken for them");
    let shown = &daemon.status()["roots"][0];
    assert_eq!(shown["blind"], 1, "{shown:#}");
    assert_eq!(shown["blind_paths"][0]["path"], point.to_str().unwrap());
    assert!(shown["blind_paths"][0]["why"].as_str().unwrap().contains("not mounted"));
    verified(daemon, root);
    fs::remove_file(point.join("below")).unwrap();
    run("mount", &[&"-o", &"loop", &image, &point]);
    wait_gap(daemon, seq, "out of sight");
    daemon.settle();
    assert_eq!(ops(daemon, seq), ["gap", "gap"], "{:#?}", daemon.log());
    assert_eq!(find_json(daemon, root), before);
    assert_eq!(daemon.status()["roots"][0]["blind"], 0);
}

/// A disk followed inside a root goes and comes back, and is followed again.
fn nested(fs: Fs, flags: &[&str]) {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let point = root.join("disks/one");
    fs::create_dir_all(&point).unwrap();
    fs::write(root.join("beside"), b"x").unwrap();
    let mut image = match LoopMount::new(fs, 64) {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    fill(image.path());
    image.unmount();
    let _unmounts = Unmounts(root);
    run("mount", &[&"-o", &"loop", &image.image(), &point]);
    let daemon = Daemon::start(&ground.state(), &[root], flags);
    daemon.settle();
    daemon.assert_exact(root);
    goes_and_comes_back(&daemon, root, &point, &image.image());
    let seq = daemon.seq();
    daemon.while_stopped(|| fs::write(point.join("deep/live"), b"x").unwrap());
    daemon.settle();
    assert_eq!(daemon.told(seq), ["created live"]);
    assert!(daemon.changes(seq).iter().all(|record| record["how"] != "sweep"), "it is watched again");
    daemon.assert_exact(root);
    daemon.assert_whole();
}

/// Mounted and unmounted faster than anyone looks: between two looks at one name another directory may be there, which
/// is no fault of the disk, and nothing becomes doubtful by it.
#[test]
fn a_nested_disk_that_comes_and_goes_in_the_middle_of_looks() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let point = root.join("disks/one");
    fs::create_dir_all(&point).unwrap();
    let mut image = match LoopMount::new(Fs::Ext4, 64) {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    fill(image.path());
    image.unmount();
    let _unmounts = Unmounts(root);
    run("mount", &[&"-o", &"loop", &image.image(), &point]);
    let daemon = Daemon::start(&ground.state(), &[root], &[]);
    daemon.settle();
    let (before, seq) = (find_json(&daemon, root), daemon.seq());
    for _ in 0..60 {
        unmount(&point);
        run("mount", &[&"-o", &"loop", &image.image(), &point]);
    }
    wait_for("the disk to be seen again", || {
        daemon.settle();
        (daemon.status()["roots"][0]["blind"] == 0).then_some(())
    });
    let gaps: Vec<_> = daemon.changes(seq).into_iter().map(|record| record["why"].to_string()).collect();
    let known = |why: &String| why.contains("not mounted") || why.contains("out of sight");
    assert!(gaps.iter().all(known), "{gaps:#?}\n{}", daemon.log());
    assert_eq!(find_json(&daemon, root), before);
    daemon.assert_exact(root);
    daemon.assert_whole();
}

#[test]
fn a_nested_disk_goes_and_comes_back_ext4() {
    nested(Fs::Ext4, &[]);
}

#[test]
fn a_nested_disk_goes_and_comes_back_btrfs_by_inotify() {
    nested(Fs::Btrfs, &["--backend", "inotify"]);
}

/// A mount over an indexed directory is followed; what it covers is there again, unchanged, when it is gone; and so on in
/// turns. Nothing is ever called deleted.
#[test]
fn a_mount_over_an_indexed_directory() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let point = root.join("covered");
    fill(&point);
    let mut image = match LoopMount::new(Fs::Ext4, 64) {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    fs::create_dir(image.path().join("on disk")).unwrap();
    fs::write(image.path().join("on disk/file"), b"mounted").unwrap();
    image.unmount();
    let _unmounts = Unmounts(root);
    let mut daemon = Daemon::start(&ground.state(), &[root], &[]);
    daemon.settle();
    let before = find_json(&daemon, root);
    let start = daemon.seq();
    run("mount", &[&"-o", &"loop", &image.image(), &point]);
    wait_gap(&daemon, start, "covered");
    daemon.settle();
    daemon.assert_exact(root);
    daemon.assert_whole();
    verified(&daemon, root);
    assert!(!ops(&daemon, start).contains(&"deleted".to_owned()), "{:?}", ops(&daemon, start));
    let mounted = find_json(&daemon, root);
    assert!(has(&daemon, root, &point.join("on disk/file")) && !has(&daemon, root, &point.join("top")));
    // What changes below it now is followed as any other.
    let seq = daemon.seq();
    fs::write(point.join("on disk/live"), b"x").unwrap();
    fs::remove_file(point.join("on disk/live")).unwrap();
    daemon.settle();
    let seq = daemon.seq().max(seq);
    unmount(&point);
    wait_gap(&daemon, seq, "out of sight");
    daemon.settle();
    daemon.assert_exact(root);
    daemon.assert_whole();
    assert_eq!(find_json(&daemon, root), before, "as if nothing had been");
    let told = ops(&daemon, seq);
    assert!(told.iter().all(|op| op == "linked" || op == "gap"), "{told:?}");
    // Across restarts, both ways.
    assert!(daemon.terminate().success());
    run("mount", &[&"-o", &"loop", &image.image(), &point]);
    let mut daemon = Daemon::start(&ground.state(), &[root], &[]);
    daemon.settle();
    daemon.assert_exact(root);
    assert_eq!(find_json(&daemon, root).len(), mounted.len());
    assert!(daemon.terminate().success());
    unmount(&point);
    let daemon = Daemon::start(&ground.state(), &[root], &[]);
    daemon.settle();
    daemon.assert_exact(root);
    daemon.assert_whole();
    assert_eq!(find_json(&daemon, root), before);
    assert!(!ops(&daemon, start).contains(&"deleted".to_owned()), "{:?}", ops(&daemon, start));
}

/// A bind mount, and a kernel's own file system, over an indexed directory: left out, and what they cover is kept.
#[test]
fn what_is_covered_by_a_mount_that_is_not_followed_is_kept() {
    if let Err(reason) = need_root("a bind mount") {
        return skipped(reason);
    }
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    fill(&root.join("one"));
    fill(&root.join("two"));
    let _unmounts = Unmounts(root);
    let daemon = Daemon::start(&ground.state(), &[root], &[]);
    daemon.settle();
    let before = find_json(&daemon, root);
    for what in [&["--bind", root.join("two").to_str().unwrap()][..], &["-t", "proc", "proc"]] {
        let seq = daemon.seq();
        let mut arguments: Vec<&dyn AsRef<OsStr>> =
            what.iter().map(|word| word as &dyn AsRef<OsStr>).collect();
        let point = root.join("one");
        arguments.push(&point);
        run("mount", &arguments);
        wait_gap(&daemon, seq, "not followed");
        daemon.settle();
        assert_eq!(find_json(&daemon, root), before);
        verified(&daemon, root);
        unmount(&point);
        wait_gap(&daemon, seq, "out of sight");
        daemon.settle();
        assert_eq!(ops(&daemon, seq), ["gap", "gap"]);
        assert_eq!(find_json(&daemon, root), before);
        daemon.assert_exact(root);
        assert_eq!(daemon.status()["roots"][0]["blind"], 0);
    }
}

/// What was mounted inside a root and will not be back is given up by a person, and then it is gone.
#[test]
fn a_nested_disk_that_will_not_be_back_is_given_up() {
    if let Err(reason) = need_root("a tmpfs mount") {
        return skipped(reason);
    }
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let point = root.join("disk");
    fs::create_dir(&point).unwrap();
    let _unmounts = Unmounts(root);
    run("mount", &[&"-t", &"tmpfs", &"-o", &"mode=755", &"tmpfs", &point]);
    fill(&point);
    let daemon = Daemon::start(&ground.state(), &[root], &[]);
    daemon.settle();
    let seq = daemon.seq();
    unmount(&point);
    wait_gap(&daemon, seq, "not mounted");
    let said = daemon.run(&[&"root", &"accept", &point]);
    assert!(said.status.success(), "{}", stderr(&said));
    daemon.settle();
    daemon.assert_exact(root);
    daemon.assert_whole();
    assert!(!has(&daemon, root, &point.join("top")));
    assert_eq!(ops(&daemon, seq).iter().filter(|op| *op == "deleted").count(), 5);
}

/// A clone of a disk, live beside the original, is a volume of its own; and mounted again alone, each is what it was.
#[test]
fn two_live_clones_are_two_volumes() {
    let mut original = match LoopMount::new(Fs::Ext4, 64) {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    fill(original.path());
    original.unmount();
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let copy = ground.beside("copy");
    fs::copy(original.image(), &copy).unwrap();
    let _unmounts = Unmounts(root);
    for name in ["a", "b"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    run("mount", &[&"-o", &"loop", &original.image(), &root.join("a")]);
    run("mount", &[&"-o", &"loop", &copy, &root.join("b")]);
    let daemon = Daemon::start(&ground.state(), &[root], &[]);
    daemon.settle();
    daemon.assert_exact(root);
    let found = find_json(&daemon, root);
    let volume = |path: &Path| found[path.as_os_str().as_encoded_bytes()]["volume"].as_u64().unwrap();
    assert_ne!(volume(&root.join("a/top")), volume(&root.join("b/top")));
    assert!(daemon.log().contains("two live file systems have one identity"), "it is said aloud");
    fs::write(root.join("b/deep/only in the copy"), b"x").unwrap();
    daemon.settle();
    daemon.assert_exact(root);
    // Alone for a while, each stays what it was.
    for (name, image) in [("a", original.image()), ("b", copy)] {
        goes_and_comes_back(&daemon, root, &root.join(name), &image);
        daemon.assert_exact(root);
    }
    daemon.assert_whole();
}

/// A disk that could not be read any more and is unmounted then is out of sight, and no longer unreadable.
#[test]
fn a_nested_disk_that_failed_before_it_went() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let point = root.join("disk");
    fs::create_dir(&point).unwrap();
    let mut image = match LoopMount::new(Fs::Xfs, 512) {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    let xfs_io = match need_tool("xfs_io", "xfsprogs") {
        Ok(tool) => tool,
        Err(reason) => return skipped(reason),
    };
    fill(image.path());
    image.unmount();
    let _unmounts = Unmounts(root);
    let mount = || run("mount", &[&"-o", &"loop", &image.image(), &point]);
    mount();
    let daemon = Daemon::start(&ground.state(), &[root], &[]);
    daemon.settle();
    let (before, seq) = (find_json(&daemon, root), daemon.seq());
    let wait_blind = |why: &str| {
        wait_for(&format!("something to be blind, {why}"), || {
            let _ = daemon.run(&[&"sweep", &point]);
            daemon.status()["roots"][0]["blind_paths"].to_string().contains(why).then_some(())
        });
    };
    run(xfs_io.to_str().unwrap(), &[&"-x", &"-c", &"shutdown", &point]);
    wait_blind("Input/output error");
    unmount(&point);
    wait_blind("not mounted");
    assert_eq!(find_json(&daemon, root), before);
    mount();
    wait_for("it to be seen again", || {
        (!daemon.status()["roots"][0]["blind_paths"].to_string().contains("not mounted")).then_some(())
    });
    daemon.settle();
    assert_eq!(find_json(&daemon, root), before);
    assert!(ops(&daemon, seq).iter().all(|op| op == "gap"), "{:?}", ops(&daemon, seq));
    daemon.assert_exact(root);
}
