//! inotify on the real kernel: what each operation hints at, the limit, overflow, and directories that go.

use super::*;
use crate::testing::{Mounted, VOLUME, id, open, render, soon, undisturbed};
use crate::{Batch, Flags};
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Two watched directories `d` and `e`.
struct Rig {
    pending: Arc<Pending>,
    tier: InotifyTier,
    d: PathBuf,
    e: PathBuf,
    labels: BTreeMap<u64, String>,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn new(share: usize) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let (d, e) = (folder.path().join("d"), folder.path().join("e"));
        fs::create_dir(&d).unwrap();
        fs::create_dir(&e).unwrap();
        let pending = Arc::new(Pending::default());
        let tier = InotifyTier::new(Arc::clone(&pending), share).unwrap();
        let labels = BTreeMap::from([(id(&d).inode, "D".to_owned()), (id(&e).inode, "E".to_owned())]);
        let rig = Rig { pending, tier, d, e, labels, _folder: folder };
        rig.watch(&rig.d).unwrap();
        rig.watch(&rig.e).unwrap();
        rig
    }

    fn watch(&self, dir: &Path) -> Result<WatchId, AddError> {
        self.tier.add(id(dir), open(dir).as_fd(), Active::Now)
    }

    fn take(&self) -> Batch {
        self.tier.barrier(soon()).unwrap();
        self.pending.take(usize::MAX)
    }

    /// What `operation` alone hints at.
    fn hints(&self, operation: impl FnOnce()) -> Vec<String> {
        let _ = self.take();
        let undisturbed = undisturbed();
        operation();
        drop(undisturbed);
        render(&self.take(), &self.labels)
    }
}

#[test]
fn every_operation_hints() {
    let rig = Rig::new(100);
    let (d, e) = (&rig.d, &rig.e);
    let got = rig.hints(|| fs::write(d.join("f"), "content").unwrap());
    assert_eq!(got, ["D/f {WRITTEN, CLOSED, NAMED}"], "create, write, close");
    let f = fs::OpenOptions::new().write(true).open(d.join("f")).unwrap();
    assert_eq!(rig.hints(|| f.write_all_at(b"x", 0).unwrap()), ["D/f {WRITTEN}"], "write");
    assert_eq!(rig.hints(|| f.set_len(1).unwrap()), ["D/f {WRITTEN}"], "truncate");
    assert_eq!(rig.hints(|| drop(f)), ["D/f {CLOSED}"], "close");
    let chmod = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(rig.hints(|| chmod(&d.join("f"))), ["D/f {META}"], "chmod");
    assert_eq!(rig.hints(|| chmod(d)), ["inode D {META}"], "chmod of the directory");
    let got = rig.hints(|| fs::hard_link(d.join("f"), e.join("g")).unwrap());
    assert!(got.contains(&"E/g {NAMED}".to_owned()), "link: {got:?}");
    let got = rig.hints(|| fs::remove_file(e.join("g")).unwrap());
    assert!(got.contains(&"E/g {NAMED}".to_owned()), "unlink: {got:?}");
    let got = rig.hints(|| fs::rename(d.join("f"), e.join("f")).unwrap());
    assert_eq!(got, ["D/f {MOVED, NAMED}", "E/f {MOVED, NAMED}"], "rename");
    let got = rig.hints(|| fs::create_dir(d.join("sub")).unwrap());
    assert_eq!(got, ["D/sub {NAMED}"], "mkdir");
    let got = rig.hints(|| fs::rename(d.join("sub"), rig._folder.path().join("out")).unwrap());
    assert_eq!(got, ["D/sub {NAMED}"], "moved out of sight");
    let got = rig.hints(|| fs::rename(d, rig._folder.path().join("other")).unwrap());
    assert_eq!(got, ["inode D {META}"], "a watched directory is moved");
    assert_eq!(rig.tier.health(), Health::Running);
    rig.tier.stop();
}

/// The halves of a rename can fall into two reads.
#[test]
fn a_rename_split_over_reads_is_known_as_one() {
    let (mut table, mut halves, counts) = (Table::default(), Halves::default(), Counts::default());
    table.bind_new(1, EntryId::new(VOLUME, 10), 0);
    table.bind_new(2, EntryId::new(VOLUME, 20), 0);
    let event = |wd: i32, mask: u32, cookie: u32, name: &[u8; 4]| {
        let words = [wd.cast_unsigned(), mask, cookie, 4];
        [words.map(u32::to_ne_bytes).concat(), name.to_vec()].concat()
    };
    let mut read = |bytes: &[u8]| {
        let mut hints = Vec::new();
        translate::translate(bytes, 0, &mut table, &mut halves, &counts, &mut hints);
        hints.into_iter().map(|hint| hint.flags.has(Flags::MOVED)).collect::<Vec<_>>()
    };
    let from = |cookie| event(1, libc::IN_MOVED_FROM, cookie, b"a\0\0\0");
    let to = |cookie| event(2, libc::IN_MOVED_TO, cookie, b"b\0\0\0");
    assert_eq!(read(&from(1)), [false]);
    assert_eq!(read(&to(1)), [true, true], "both are told again");
    assert_eq!(read(&from(2)), [false]);
    assert_eq!(read(&from(3)), [false]);
    assert_eq!(read(&to(2)), [false], "two reads later it is forgotten");
    assert_eq!(read(&[to(3), to(9)].concat()), [false, false]);
    assert_eq!(read(&[from(4), from(5), to(5), to(4)].concat()), [false, false, true, true, true, true]);
    assert_eq!(read(&from(6)[..7]), [false], "malformed: lost");
    assert_eq!(counts.malformed.load(Ordering::Relaxed), 1);
}

#[test]
fn a_number_given_out_anew_is_not_mistaken() {
    let (old, new) = (EntryId::new(VOLUME, 10), EntryId::new(VOLUME, 20));
    let mut table = Table::default();
    table.bind_new(1, old, 0);
    // The kernel removed it, gave its number to another, and only then is the first told.
    table.bind_new(1, new, 0);
    assert_eq!((table.has(old), table.dir(1, 0)), (false, Some(new)));
    assert_eq!(table.take_ousted(), [old], "its queued events are answered by a listing");
    assert_eq!(table.ignored(1), None);
    assert!(table.has(new));
    assert_eq!(table.ignored(1), Some(new));
    assert!(!table.has(new) && table.dir(1, 0).is_none());
}

#[test]
fn watches_that_leave_are_known_until_they_are_through() {
    let dir = EntryId::new(VOLUME, 10);
    let mut table = Table::default();
    table.bind_new(1, dir, 0);
    assert_eq!(table.unbind(dir), Some(1));
    assert_eq!((table.has(dir), table.dir(1, 0), table.leaving()), (false, Some(dir), 1));
    table.bind_new(2, dir, 0);
    // An overflow ate the IN_IGNORED; the queue ran empty.
    table.left(1);
    assert_eq!((table.dir(1, 0), table.dir(2, 0), table.leaving()), (None, Some(dir), 0));
    table.overflowed();
    assert!(table.has(dir) && !table.sure(dir));
    table.bind_known(2, dir, 0);
    assert!(table.sure(dir));
}

/// A watch vouches for a directory only while it stands since before the look at what is in it.
#[test]
fn a_watch_vouches_from_the_look_to_the_next_loss() {
    let dir = EntryId::new(VOLUME, 10);
    let mut table = Table::default();
    let first = table.bind_new(1, dir, 0);
    assert!(table.sure(dir) && !table.vouches(dir), "nobody has looked yet");
    table.compared(dir, first);
    assert_eq!(table.bind_known(1, dir, 0), first);
    assert!(table.vouches(dir), "confirmed, and stood all the time");
    table.overflowed();
    table.compared(dir, first);
    assert!(!table.vouches(dir), "the watch may have gone");
    let second = table.bind_known(1, dir, 0);
    table.compared(dir, first);
    assert!(table.sure(dir) && !table.vouches(dir), "events were lost since that look");
    table.compared(dir, second);
    assert!(table.vouches(dir));
    table.unbind(dir);
    let third = table.bind_new(2, dir, 0);
    table.compared(dir, second);
    assert!(!table.vouches(dir), "it was not watched in between");
    table.compared(dir, third);
    assert!(table.vouches(dir));
    table.bind_new(2, dir, 0);
    assert!(!table.vouches(dir), "a new watch under an old number");
}

#[test]
fn a_directory_keeps_its_watch_under_its_latest_id() {
    let rig = Rig::new(100);
    assert_eq!(rig.tier.len(), 2);
    rig.watch(&rig.d).unwrap();
    assert_eq!(rig.tier.len(), 2, "added twice");
    let other = EntryId::new(record::VolumeId(8), 4711);
    rig.tier.add(other, open(&rig.d).as_fd(), Active::Now).unwrap();
    assert!(rig.tier.watched(other) && !rig.tier.watched(id(&rig.d)));
    fs::write(rig.d.join("a"), "").unwrap();
    assert_eq!(rig.take().directories[0].id(), other);
}

#[test]
fn a_watch_ends_with_its_directory_or_by_hand() {
    let rig = Rig::new(100);
    let (d, e) = (id(&rig.d), id(&rig.e));
    fs::remove_dir(&rig.d).unwrap();
    rig.tier.remove(e);
    assert!(!rig.tier.watched(e));
    fs::write(rig.e.join("a"), "").unwrap();
    let got = render(&rig.take(), &rig.labels);
    assert_eq!(got, ["inode D {META}"]);
    assert!(!rig.tier.watched(d) && rig.tier.is_empty());
    assert_eq!(rig.tier.counters().foreign, 0);
    rig.watch(&rig.e).unwrap();
    let got = rig.hints(|| fs::write(rig.e.join("b"), "").unwrap());
    assert_eq!(got, ["E/b {CLOSED, NAMED}"]);
}

#[test]
fn the_share_is_a_limit() {
    let rig = Rig::new(3);
    let (c, f) = (rig.d.join("c"), rig.d.join("f"));
    fs::create_dir(&c).unwrap();
    fs::create_dir(&f).unwrap();
    rig.watch(&c).unwrap();
    assert_eq!(rig.watch(&f), Err(AddError::Limit(Shortage::Share)));
    rig.watch(&c).unwrap();
    rig.tier.remove(id(&c));
    rig.watch(&f).unwrap();
    assert_eq!(rig.tier.len(), 3);
}

/// A rig of three watches, the last with a directory that was last active in 1970.
fn with_a_cold_one() -> (Rig, PathBuf, PathBuf) {
    let mut rig = Rig::new(3);
    let (cold, hot) = (rig.d.join("cold"), rig.d.join("hot"));
    fs::create_dir(&cold).unwrap();
    fs::create_dir(&hot).unwrap();
    rig.labels.insert(id(&cold).inode, "COLD".to_owned());
    rig.labels.insert(id(&hot).inode, "HOT".to_owned());
    rig.tier.add(id(&cold), open(&cold).as_fd(), Active::Since(Time(1_000_000_000))).unwrap();
    let _ = rig.take();
    (rig, cold, hot)
}

#[test]
fn a_hot_directory_takes_the_watch_of_the_coldest() {
    let (rig, cold, hot) = with_a_cold_one();
    for dir in [&rig.d, &rig.e, &cold] {
        let watch = rig.tier.add(id(dir), open(dir).as_fd(), Active::Since(Time(0))).unwrap();
        rig.tier.compared(id(dir), watch);
        assert!(rig.tier.vouches(id(dir)));
    }
    rig.tier.reader.pause();
    let undisturbed = undisturbed();
    fs::write(cold.join("before"), "").unwrap();
    drop(undisturbed);
    rig.watch(&hot).unwrap();
    fs::write(cold.join("after"), "").unwrap();
    fs::write(hot.join("a"), "").unwrap();
    rig.tier.reader.resume();
    let got = render(&rig.take(), &rig.labels);
    assert_eq!(got, ["COLD/before {CLOSED, NAMED}", "HOT/a {CLOSED, NAMED}"], "what was queued is not lost");
    assert!(!rig.tier.watched(id(&cold)) && !rig.tier.vouches(id(&cold)));
    assert!(rig.tier.watched(id(&hot)) && !rig.tier.vouches(id(&hot)), "nobody has looked into it since");
    assert_eq!((rig.tier.len(), rig.tier.exchanges(), rig.tier.lacking(VOLUME)), (3, 1, 1));
    assert_eq!(rig.tier.shortage(), Some(Shortage::Share));
    // All that are watched now are as hot: it does not go back and forth.
    assert_eq!(rig.watch(&cold), Err(AddError::Limit(Shortage::Share)));
    assert_eq!(rig.tier.lacking(VOLUME), 2);
}

#[test]
fn events_keep_a_directory_hot() {
    let (rig, cold, hot) = with_a_cold_one();
    fs::write(cold.join("a"), "").unwrap();
    assert!(!rig.take().is_empty());
    assert_eq!(rig.watch(&hot), Err(AddError::Limit(Shortage::Share)));
    assert!(rig.tier.watched(id(&cold)));
}

#[test]
fn a_share_that_shrinks_drops_the_coldest_and_one_that_grows_takes_more() {
    let (rig, cold, hot) = with_a_cold_one();
    assert_eq!(rig.tier.refit(2, false), 1);
    assert!(!rig.tier.watched(id(&cold)) && rig.tier.watched(id(&rig.d)) && rig.tier.watched(id(&rig.e)));
    assert_eq!((rig.tier.lacking(VOLUME), rig.tier.share()), (1, 2));
    assert_eq!(rig.tier.refit(9, true), 0);
    rig.watch(&hot).unwrap();
    rig.watch(&cold).unwrap();
    assert_eq!((rig.tier.len(), rig.tier.shortage()), (4, None));
}

#[test]
fn what_is_no_directory_is_refused() {
    let rig = Rig::new(9);
    fs::write(rig.d.join("a"), "").unwrap();
    assert_eq!(rig.watch(&rig.d.join("a")), Err(AddError::Gone));
    let place = rustix::fs::open(&rig.d, OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty()).unwrap();
    rig.tier.add(id(&rig.d), place.as_fd(), Active::Now).unwrap();
}

#[test]
fn an_overflow_loses_the_volume_aloud() {
    let rig = Rig::new(9);
    let limit = crate::InotifyLimits::read().queued_events;
    if limit > 100_000 {
        eprintln!("SKIPPED: {limit} events must overflow, that takes too long");
        return;
    }
    let _ = rig.take();
    rig.tier.reader.pause();
    for turn in 0..=limit {
        fs::File::create(rig.d.join(turn.to_string())).unwrap();
    }
    rig.tier.reader.resume();
    let batch = rig.take();
    assert_eq!(batch.lost.iter().map(|(volume, _)| *volume).collect::<Vec<_>>(), [VOLUME]);
    assert_eq!(rig.tier.counters().overflows, 1);
    assert!(!rig.tier.watched(id(&rig.d)), "unsure until it is added again");
    rig.watch(&rig.d).unwrap();
    assert!(rig.tier.watched(id(&rig.d)));
    let got = rig.hints(|| fs::write(rig.d.join("after"), "").unwrap());
    assert_eq!(got, ["D/after {CLOSED, NAMED}"]);
}

#[test]
fn an_unmount_loses_the_volume_aloud() {
    let Some(mounted) = Mounted::tmpfs() else { return };
    let pending = Arc::new(Pending::default());
    let tier = InotifyTier::new(Arc::clone(&pending), 9).unwrap();
    let dir = id(&mounted.path);
    let undisturbed = undisturbed();
    tier.add(dir, open(&mounted.path).as_fd(), Active::Now).unwrap();
    rustix::mount::unmount(&mounted.path, rustix::mount::UnmountFlags::empty()).unwrap();
    drop(undisturbed);
    tier.barrier(soon()).unwrap();
    assert_eq!(pending.take(9).lost, [(VOLUME, "it was unmounted".to_owned())]);
    assert!(!tier.watched(dir));
}

#[test]
fn a_barrier_holds_under_load() {
    let rig = Rig::new(9);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut turn = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let path = rig.e.join(format!("noise{}", turn % 100));
                fs::write(&path, "noise").unwrap();
                fs::remove_file(&path).unwrap();
                turn += 1;
            }
        });
        let mut missing = None;
        for turn in 0..200 {
            let name = format!("mine{turn}");
            fs::write(rig.d.join(&name), "").unwrap();
            let batch = rig.take();
            let mut names = batch.directories.iter().flat_map(|dir| &dir.names);
            if !names.any(|(known, _)| **known == *name.as_bytes()) {
                missing = Some(name);
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(missing, None, "not known after the barrier");
    });
}
