//! A digest is that of the content, whatever was done to the file, and is read once. It could break by a write that comes while
//! its file is read, by a modification time that is set back, by a digest that goes along with another content.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use indexer_tests::{Daemon, Ground, Place, Rng, Rows, Workload, blake3_of, find_json, skipped, wait_for};
use rustix::fs::{Timespec, Timestamps, futimens};

const FULL: &[&str] = &["--hash", "full"];
const FULL_BY_INOTIFY: &[&str] = &["--hash", "full", "--backend", "inotify"];

fn start(flags: &[&str]) -> (Ground, Daemon) {
    let ground = Place::Here.open().unwrap();
    let daemon = Daemon::start(&ground.state(), &[ground.root()], flags);
    (ground, daemon)
}

/// Other bytes in a file of the same size, and its modification time set back to what it was.
fn overwrite_unseen(path: &Path, byte: u8) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let before = file.metadata().unwrap();
    file.write_all_at(&vec![byte; usize::try_from(before.len()).unwrap()], 0).unwrap();
    set_modified(&file, before.modified().unwrap());
}

fn set_modified(file: &File, time: std::time::SystemTime) {
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap();
    let time = Timespec {
        tv_sec: i64::try_from(since.as_secs()).unwrap(),
        tv_nsec: i64::from(since.subsec_nanos()),
    };
    futimens(file, &Timestamps { last_access: time, last_modification: time }).unwrap();
}

/// Work of all sorts until `reads` files were read beside it; then every digest is judged, and the journal tells the same.
fn worked_on(place: Place, flags: &[&str], reads: u64, seed: u64) {
    let ground = match place.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let root = ground.root();
    Workload { seed, threads: 2 }.run_operations(root, 100);
    // Beside the others' names: these keep their sizes and, as far as can be seen, their times.
    let kept: Vec<PathBuf> = (0..4).map(|file| root.join(format!("kept {file}"))).collect();
    for (file, path) in kept.iter().enumerate() {
        fs::write(path, vec![0; 1000 << (file * 3)]).unwrap();
    }
    let daemon = Daemon::start(&ground.state(), &[root], flags);
    daemon.settle();
    let mut rows = Rows::of_find(&find_json(&daemon, root));
    let seq = daemon.seq();
    // What was read before that may have come after it.
    let mut rng = Rng::new(seed);
    let (_, work) = Workload { seed: seed + 1, threads: 3 }.around(root, || {
        wait_for("files to be read", || {
            for _ in 0..20 {
                let path = &kept[rng.index(kept.len())];
                overwrite_unseen(path, rng.bits().to_le_bytes()[0]);
            }
            (daemon.hashing("files_read") >= reads).then_some(())
        });
    });
    let files = daemon.assert_hashed(root);
    eprintln!("{files} files, {} read, {work:?}", daemon.hashing("files_read"));
    daemon.assert_exact(root);
    let now = Rows::of_find(&find_json(&daemon, root));
    for change in daemon.changes(seq) {
        rows.apply(&change);
    }
    let differences = rows.differences(&now);
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn r1_digests_are_those_of_the_contents_on_ext4_by_fanotify() {
    worked_on(Place::Ext4, FULL, 400, 1);
}

#[test]
fn r1_digests_are_those_of_the_contents_on_ext4_by_inotify() {
    worked_on(Place::Ext4, FULL_BY_INOTIFY, 400, 2);
}

#[test]
fn r1_digests_are_those_of_the_contents_on_tmpfs_by_fanotify() {
    worked_on(Place::Tmpfs, FULL, 400, 3);
}

#[test]
fn r1_digests_are_those_of_the_contents_without_rights() {
    worked_on(Place::Here, FULL_BY_INOTIFY, 300, 4);
}

/// Names, rights and links of 40 files.
fn rearrange(root: &Path) {
    for file in 0..40 {
        let path = root.join(format!("{file}"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::hard_link(&path, root.join(format!("{file} link"))).unwrap();
        fs::rename(&path, root.join(format!("below/{file} renamed"))).unwrap();
    }
    fs::rename(root.join("below"), root.join("moved")).unwrap();
}

fn fill(root: &Path, files: usize) {
    for file in 0..files {
        fs::write(root.join(format!("{file}")), vec![b'x'; 1000 + file]).unwrap();
    }
}

#[test]
fn names_rights_and_links_read_nothing_again() {
    let (ground, daemon) = start(FULL);
    if daemon.status()["roots"][0]["backend"] != "fanotify" {
        return skipped("what was not written is known by fanotify alone");
    }
    let root = ground.root();
    fs::create_dir(root.join("below")).unwrap();
    fill(root, 40);
    assert_eq!(daemon.assert_hashed(root), 40);
    let (read, seq) = (daemon.hashing("files_read"), daemon.seq());
    rearrange(root);
    assert_eq!(daemon.assert_hashed(root), 40);
    assert_eq!(daemon.hashing("files_read"), read);
    let told = daemon.changes(seq);
    assert!(told.iter().all(|record| record["op"] != "hashed"), "{told:#?}");
    daemon.assert_whole();
}

#[test]
fn names_rights_and_links_by_inotify_end_right() {
    let (ground, daemon) = start(FULL_BY_INOTIFY);
    let root = ground.root();
    fs::create_dir(root.join("below")).unwrap();
    fill(root, 40);
    assert_eq!(daemon.assert_hashed(root), 40);
    let read = daemon.hashing("files_read");
    rearrange(root);
    assert_eq!(daemon.assert_hashed(root), 40);
    assert!(daemon.hashing("files_read") >= read + 40, "a write could hide behind each of these");
    daemon.assert_whole();
}

/// What follows from its digest upon the kernel's word is proved when somebody opened the file for writing since, even
/// though nothing of its stat changed: a mapping may have been written through.
#[test]
fn a_digest_that_went_along_is_proved_after_a_writer() {
    let (ground, daemon) = start(FULL);
    if daemon.status()["roots"][0]["backend"] != "fanotify" {
        return skipped("digests go along by fanotify alone");
    }
    let path = ground.root().join("file");
    fs::write(&path, b"content").unwrap();
    assert_eq!(daemon.assert_hashed(ground.root()), 1);
    let read = daemon.hashing("files_read");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    daemon.settle_contents();
    assert_eq!(daemon.hashing("files_read"), read);
    drop(OpenOptions::new().read(true).write(true).open(&path).unwrap());
    daemon.settle_contents();
    assert_eq!(daemon.hashing("files_read"), read + 1, "nobody looked what the writer left");
    assert_eq!(daemon.assert_hashed(ground.root()), 1);
}

#[test]
fn a_write_whose_time_is_set_back_is_read_again() {
    for flags in [FULL, FULL_BY_INOTIFY] {
        let (ground, daemon) = start(flags);
        let path = ground.root().join("file");
        fs::write(&path, vec![1; 5000]).unwrap();
        daemon.assert_hashed(ground.root());
        for byte in 2..30 {
            let before = path.symlink_metadata().unwrap().modified().unwrap();
            overwrite_unseen(&path, byte);
            assert_eq!(path.symlink_metadata().unwrap().modified().unwrap(), before);
            daemon.settle_contents();
            assert_eq!(daemon.digest_of(&path), blake3_of(&path).ok(), "{flags:?}, write {byte}");
        }
    }
}

/// Nothing is read beside what changed, and that once.
#[test]
fn after_one_in_a_hundred_was_rewritten_its_bytes_are_read() {
    for flags in [FULL, FULL_BY_INOTIFY] {
        let (ground, daemon) = start(flags);
        let root = ground.root();
        fill(root, 1000);
        assert_eq!(daemon.assert_hashed(root), 1000);
        let (files, bytes) = (daemon.hashing("files_read"), daemon.hashing("bytes_read"));
        let mut rewritten = 0;
        for file in (7..1000).step_by(100) {
            let content = vec![b'y'; 3000 + file];
            fs::write(root.join(format!("{file}")), &content).unwrap();
            rewritten += content.len() as u64;
        }
        assert_eq!(daemon.assert_hashed(root), 1000);
        let read = (daemon.hashing("files_read") - files, daemon.hashing("bytes_read") - bytes);
        assert_eq!(read, (10, rewritten), "{flags:?}");
    }
}
