//! What is added comes out, finely or coarsely: by cases first, then at random against a model.

use super::*;
use crate::{Flags, Handle, What};
use record::{EntryId, How, VolumeId};
use std::collections::BTreeSet;
use std::sync::Arc;

const ONE: VolumeId = VolumeId(1);
const TWO: VolumeId = VolumeId(2);

fn hint(volume: VolumeId, what: What, flags: Flags) -> Hint {
    Hint { volume, what, flags, handle: None, how: How::Fanotify }
}

fn entry(dir: u64, name: &str) -> Hint {
    hint(ONE, What::Entry { dir, name: name.as_bytes().into() }, Flags::NAMED)
}

fn inode(inode: u64) -> Hint {
    hint(ONE, What::Inode(inode), Flags::META)
}

fn lost(volume: VolumeId) -> Hint {
    hint(volume, What::Lost { why: "test".to_owned() }, Flags::NONE)
}

/// A batch in one line: `1(a b) i5 L2 S3 lost1`.
fn line(batch: &Batch) -> String {
    let mut words = Vec::new();
    for dir in &batch.directories {
        let names = dir.names.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned());
        words.push(format!("{}({})", dir.inode, names.collect::<Vec<_>>().join(" ")));
    }
    words.extend(batch.inodes.iter().map(|(id, ..)| format!("i{}", id.inode)));
    words.extend(batch.listings.iter().map(|listing| format!("L{}", listing.inode)));
    words.extend(batch.subtrees.iter().map(|(id, _)| format!("S{}", id.inode)));
    words.extend(batch.lost.iter().map(|(volume, _)| format!("lost{}", volume.0)));
    words.join(" ")
}

fn all(capacity: usize, hints: Vec<Hint>) -> String {
    let pending = Pending::new(capacity);
    pending.add_all(hints);
    let batch = pending.take(usize::MAX);
    assert!(pending.is_empty() && pending.oldest().is_none());
    assert_eq!(pending.len(), 0);
    line(&batch)
}

#[test]
fn hints_coalesce_and_cover() {
    let listing = |dir| hint(ONE, What::Listing(dir), Flags::NONE);
    let subtree = |dir| hint(ONE, What::Subtree(dir), Flags::NONE);
    let cases = [
        ("sorted, once each", vec![entry(1, "b"), entry(1, "a"), entry(1, "b")], "1(a b)"),
        ("directories as they came", vec![entry(2, "x"), entry(1, "a"), entry(2, "y")], "2(x y) 1(a)"),
        ("a listing covers names before", vec![entry(1, "a"), listing(1), entry(2, "a")], "2(a) L1"),
        ("and after", vec![listing(1), entry(1, "a"), inode(1)], "i1 L1"),
        ("a subtree covers its directory", vec![entry(1, "a"), listing(1), subtree(1)], "S1"),
        ("and later names and listings", vec![subtree(1), listing(1), entry(1, "a")], "S1"),
        (
            "lost covers its volume",
            vec![entry(1, "a"), inode(5), lost(ONE), entry(1, "a"), subtree(1)],
            "lost1",
        ),
        ("and no other", vec![entry(1, "a"), lost(TWO)], "1(a) lost2"),
        ("an inode once", vec![inode(5), inode(5)], "i5"),
    ];
    for (what, hints, expected) in cases {
        assert_eq!(all(100, hints), expected, "{what}");
    }
}

#[test]
fn what_is_full_grows_coarse() {
    let names = |dir, names: &[&str]| names.iter().map(|name| entry(dir, name)).collect::<Vec<_>>();
    let cases = [
        (
            "the directory of the next name",
            [names(1, &["a", "b", "c"]), names(2, &["x", "y"])].concat(),
            "1(a b c) L2",
        ),
        (
            "all that have several names",
            [names(1, &["a", "b"]), names(2, &["x", "y"]), vec![inode(9)]].concat(),
            "i9 L1 L2",
        ),
        (
            "a known name costs nothing",
            [names(1, &["a", "b", "c", "d"]), vec![entry(1, "a")]].concat(),
            "1(a b c d)",
        ),
        ("then the volume", (1..=5).map(|dir| entry(dir, "a")).collect(), "lost1"),
        ("also by inodes", (1..=5).map(inode).collect(), "lost1"),
    ];
    for (what, hints, expected) in cases {
        assert_eq!(all(4, hints), expected, "{what}");
    }
    assert_eq!(all(1, vec![entry(1, "a"), entry(1, "b")]), "L1", "the least capacity");
}

#[test]
fn the_volume_with_the_most_is_lost_first() {
    let of = |volume, number| hint(volume, What::Inode(number), Flags::META);
    let hints = vec![of(ONE, 1), of(ONE, 2), of(ONE, 3), of(TWO, 1), of(TWO, 2)];
    let pending = Pending::new(4);
    pending.add_all(hints);
    assert_eq!(pending.stats(), Stats { received: 5, coalesced: 0, overflows: 1 });
    let batch = pending.take(usize::MAX);
    assert_eq!(batch.lost.iter().map(|(volume, _)| *volume).collect::<Vec<_>>(), [ONE]);
    let kept: Vec<EntryId> = batch.inodes.iter().map(|(id, ..)| *id).collect();
    assert_eq!(kept, [EntryId::new(TWO, 1), EntryId::new(TWO, 2)]);
}

#[test]
fn flags_gather() {
    let pending = Pending::default();
    let second = Hint { flags: Flags::WRITTEN, ..entry(1, "a") };
    pending.add_all([entry(1, "a"), second, entry(1, "b")]);
    assert_eq!(pending.stats(), Stats { received: 3, coalesced: 1, overflows: 0 });
    let batch = pending.take(usize::MAX);
    let dir = &batch.directories[0];
    assert_eq!(dir.names[0].1, Flags::NAMED | Flags::WRITTEN);
    assert_eq!(dir.names[1].1, Flags::NAMED);
}

/// A directory went and another got its number, while hints about the first waited, were put off, or came late: opened by
/// either handle, the hints about the other would go as done.
#[test]
fn hints_by_two_handles_have_none() {
    let handle = |byte| Some(Handle::new(1, &[byte; 8]));
    let of = |name, byte| Hint { handle: handle(byte), ..entry(1, name) };
    let pending = Pending::default();
    let took = || pending.take(usize::MAX);
    pending.add_all([of("a", 1), entry(1, "c"), of("b", 1)]);
    let old = took();
    assert_eq!(old.directories[0].handle, handle(1));
    pending.put_back(old.clone());
    assert_eq!(took().directories[0].handle, handle(1));
    pending.add(of("new", 2));
    pending.put_back(old.clone());
    pending.add(of("newer", 2));
    let batch = took();
    assert_eq!((line(&batch), &batch.directories[0].handle), ("1(a b c new newer)".to_owned(), &None));
    pending.put_back(old);
    pending.add_all([of("new", 2), of("late", 1)]);
    assert_eq!(took().directories[0].handle, None);
}

#[test]
fn taking_stops_at_whole_directories() {
    let pending = Pending::default();
    pending.add_all([entry(1, "a"), entry(2, "a"), entry(1, "b"), inode(5), entry(3, "a"), lost(TWO)]);
    assert_eq!(pending.len(), 6);
    assert_eq!(line(&pending.take(0)), "lost2");
    assert_eq!(line(&pending.take(1)), "1(a b)");
    assert_eq!(line(&pending.take(2)), "2(a) i5");
    let batch = pending.take(2);
    assert_eq!(line(&batch), "3(a)");
    assert!(pending.is_empty());
    pending.add(entry(4, "x"));
    pending.put_back(batch);
    assert_eq!(line(&pending.take(9)), "4(x) 3(a)", "what was put back queues behind");
    assert_eq!(pending.stats().received, 7);
}

#[test]
fn waiting_ends_by_hints_by_a_call_or_by_time() {
    let pending = Arc::new(Pending::default());
    assert_eq!(pending.wait(Some(Duration::ZERO)), Woken::TimedOut);
    assert_eq!(pending.wait(Some(Duration::from_millis(1))), Woken::TimedOut);
    pending.wake();
    pending.wake();
    assert_eq!(pending.wait(None), Woken::Called);
    assert_eq!(pending.wait(Some(Duration::ZERO)), Woken::TimedOut, "calls do not add up");
    let other = Arc::clone(&pending);
    let adding = std::thread::spawn(move || other.add(inode(1)));
    assert_eq!(pending.wait(None), Woken::Hints);
    adding.join().unwrap();
    assert!(pending.oldest().is_some());
}

/// Whatever is added, at any capacity, in any order with takes and put-backs between: each hint is covered by
/// something taken after it, and the bound holds.
#[test]
fn nothing_is_ever_forgotten() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |bound: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % bound
    };
    for _ in 0..2_000 {
        let capacity = usize::try_from(1 + random(12)).unwrap();
        let pending = Pending::new(capacity);
        // What must still come out.
        let mut owed: Vec<Hint> = Vec::new();
        for _ in 0..60 {
            match random(12) {
                0 => {
                    let batch = pending.take(usize::try_from(random(5)).unwrap());
                    if random(2) == 0 {
                        pending.put_back(batch);
                    } else {
                        owed.retain(|hint| !covers(&batch, hint));
                    }
                }
                kind => {
                    let volume = VolumeId(u32::try_from(1 + random(2)).unwrap());
                    let at = 1 + random(4);
                    let what = match kind {
                        1 => What::Listing(at),
                        2 if random(3) == 0 => What::Subtree(at),
                        3 if random(9) == 0 => What::Lost { why: String::new() },
                        4..6 => What::Inode(at),
                        _ => What::Entry { dir: at, name: vec![u8::try_from(random(6)).unwrap()].into() },
                    };
                    owed.push(hint(volume, what.clone(), Flags::NAMED));
                    pending.add(hint(volume, what, Flags::NAMED));
                }
            }
            assert!(pending.len() <= capacity + 2, "the bound and two lost volumes");
        }
        let rest = pending.take(usize::MAX);
        let names: BTreeSet<_> = rest.directories.iter().map(crate::DirHints::id).collect();
        assert_eq!(names.len(), rest.directories.len(), "each directory once");
        owed.retain(|hint| !covers(&rest, hint));
        assert_eq!(owed, [], "forgotten");
        assert!(pending.is_empty());
    }
}

fn covers(batch: &Batch, hint: &Hint) -> bool {
    let lost = batch.lost.iter().any(|(volume, _)| *volume == hint.volume);
    let subtree = |dir: u64| batch.subtrees.iter().any(|(id, _)| *id == EntryId::new(hint.volume, dir));
    let listing = |dir: u64| batch.listings.iter().any(|known| known.id() == EntryId::new(hint.volume, dir));
    lost || match &hint.what {
        What::Entry { dir, name } => {
            let named = |known: &crate::DirHints| {
                known.id() == EntryId::new(hint.volume, *dir)
                    && known.names.iter().any(|(known, flags)| known == name && flags.has(hint.flags))
            };
            batch.directories.iter().any(named) || listing(*dir) || subtree(*dir)
        }
        What::Inode(inode) => batch.inodes.iter().any(|(id, ..)| *id == EntryId::new(hint.volume, *inode)),
        What::Listing(dir) => listing(*dir) || subtree(*dir),
        What::Subtree(dir) => subtree(*dir),
        What::Lost { .. } => false,
    }
}
