//! Which epoch an index goes on with: an old one only where nothing of it can be given twice.

use std::fs;
use std::path::Path;

use record::Seq;

use super::make::{look, with_root};
use crate::{Edits, Index, Published, Settings};

fn open(folder: &Path) -> Index {
    Index::create(&folder.join("index.redb"), Settings::default()).unwrap()
}

/// Opens it as a daemon does: its epoch then, and the last seq.
fn start(folder: &Path) -> (u128, u64) {
    let index = open(folder);
    let published = Published::open(&index).unwrap();
    let last = index.read().unwrap().seq().unwrap();
    assert_eq!(published.seq(), last, "at a start all that is there is noted");
    (index.epoch().unwrap(), last.0)
}

/// Commits some records and shows them, as a relay does.
fn show(folder: &Path, inodes: std::ops::Range<u64>) -> u64 {
    let index = open(folder);
    let published = Published::open(&index).unwrap();
    if index.read().unwrap().roots().unwrap().is_empty() {
        with_root(&index);
    }
    for inode in inodes {
        look(&index, inode.into(), &[(format!("{inode}").as_bytes(), Some((inode, 5)))]);
    }
    let last = index.read().unwrap().seq().unwrap();
    published.raise(last).unwrap();
    last.0
}

#[test]
fn an_epoch_goes_on_over_restarts_and_crashes() {
    let folder = tempfile::tempdir().unwrap();
    let (first, last) = start(folder.path());
    assert_eq!(last, 0);
    assert_eq!(show(folder.path(), 10..15), 5);
    assert_eq!(start(folder.path()), (first, 5));
    // Committed and not shown: the file is behind the journal, as after a crash.
    let note = folder.path().join("published");
    let before = fs::read(&note).unwrap();
    assert_eq!(show(folder.path(), 20..25), 10);
    fs::write(&note, before).unwrap();
    assert_eq!(start(folder.path()), (first, 10));
    // A write that was cut off leaves the file as it was.
    fs::write(folder.path().join("published.new"), "indexer publ").unwrap();
    assert_eq!(start(folder.path()), (first, 10));
}

#[test]
fn an_index_put_back_from_a_backup_has_a_new_epoch_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let (path, backup) = (folder.path().join("index.redb"), folder.path().join("backup"));
    show(folder.path(), 10..15);
    let first = start(folder.path()).0;
    fs::copy(&path, &backup).unwrap();
    show(folder.path(), 20..25);
    let mut epochs = vec![first];
    for _ in 0..3 {
        // The second time the file names the epoch of the first.
        fs::copy(&backup, &path).unwrap();
        let (epoch, last) = start(folder.path());
        assert!(!epochs.contains(&epoch), "{epochs:x?}");
        assert_eq!(last, 5, "records and their numbers stay");
        assert_eq!(start(folder.path()), (epoch, 5), "and it is minted once");
        epochs.push(epoch);
        show(folder.path(), 30..31);
    }
}

#[test]
fn a_note_that_says_nothing_means_a_new_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("published");
    show(folder.path(), 10..15);
    let good = fs::read_to_string(&note).unwrap();
    let mut last = start(folder.path()).0;
    let other = good.replace("published 1", "published 2");
    // Both places: one alone is as if its write had been cut off.
    let less = good.replace("seq 5", "seq 4").replace("seq 0", "seq 1");
    for bad in [
        b"".as_slice(),
        b"\xff\xfe",
        &[b'x'; 10_000],
        &good.as_bytes()[..30],
        other.as_bytes(),
        less.as_bytes(),
    ] {
        fs::write(&note, bad).unwrap();
        let (epoch, _) = start(folder.path());
        assert_ne!(epoch, last);
        assert_eq!(start(folder.path()).0, epoch);
        last = epoch;
    }
    fs::remove_file(&note).unwrap();
    let (epoch, _) = start(folder.path());
    assert_ne!(epoch, last, "an index without the note is one that was copied alone");
    // A note that cannot be replaced: nothing is shown that it could not vouch for.
    fs::remove_file(&note).unwrap();
    fs::create_dir_all(note.join("full")).unwrap();
    let error = Published::open(&open(folder.path())).err().unwrap().to_string();
    assert!(error.contains("published"), "it names the file: {error}");
}

#[test]
fn what_cannot_be_noted_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    start(folder.path());
    let index = open(folder.path());
    fs::create_dir(folder.path().join("published.new")).unwrap();
    let published = Published::open(&index).unwrap();
    published.raise(Seq(0)).unwrap();
    published.raise(Seq(1)).unwrap_err();
    assert_eq!(published.seq(), Seq(0));
    fs::remove_dir(folder.path().join("published.new")).unwrap();
    published.raise(Seq(1)).unwrap();
    assert_eq!(published.seq(), Seq(1));
}

#[test]
fn no_cursor_stays_behind_the_last_record() {
    let folder = tempfile::tempdir().unwrap();
    show(folder.path(), 10..15);
    let to = |name: &str, seq| (name.to_owned(), Seq(seq));
    let cursors = vec![to("ahead", 9), to("amid", 3), to("at the end", 5)];
    open(folder.path()).commit(Edits { cursors, ..Edits::default() }).unwrap();
    start(folder.path());
    let kept = open(folder.path()).read().unwrap().cursors().unwrap();
    assert_eq!(kept, [to("ahead", 5), to("amid", 3), to("at the end", 5)]);
}
