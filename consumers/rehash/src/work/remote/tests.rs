//! What is asked for and what is taken, on a shelf whose files are numbers.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard};

use record::{Category, Digest, DigestKind, Kind, Stat, VolumeId};

use super::*;
use crate::look::Eye;
use crate::shelf::Opened;
use crate::token::Token;

const LATER: Duration = Duration::from_secs(3_600);

/// A file on the disk, and what the index has of it.
#[derive(Clone, Copy)]
struct Sheet {
    disk: Stamp,
    row: Stamp,
    digest: Option<Digest>,
    waits: bool,
    written: bool,
}

/// Files by inode, the one that is open, and what was found that is no content.
#[derive(Default)]
struct Desk {
    sheets: BTreeMap<u64, Sheet>,
    open: u64,
    found: Vec<Found>,
}

struct Fake(Mutex<Desk>, Time);

impl Fake {
    fn new(files: u64) -> Fake {
        let fake = Fake(Mutex::default(), Time(1_000_000_000_000));
        for inode in 1..=files {
            fake.write(inode, 1);
        }
        fake
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap()
    }

    /// Has it changed at this time on the disk and in the index.
    fn write(&self, inode: u64, changed: i128) {
        let stamp = Stamp { size: 100 + inode, modified: Time(1), changed: Time(changed) };
        let sheet =
            Sheet { disk: stamp, row: stamp, digest: None, waits: inode.is_multiple_of(2), written: false };
        self.desk().sheets.insert(inode, sheet);
    }

    fn change(&self, inode: u64, change: impl FnOnce(&mut Sheet)) {
        change(self.desk().sheets.get_mut(&inode).unwrap());
    }

    fn digests(&self) -> usize {
        self.desk().sheets.values().filter(|sheet| sheet.digest.is_some()).count()
    }
}

impl Eye for Fake {
    fn look(&self, _: &File) -> io::Result<Stat> {
        let desk = self.desk();
        let Stamp { size, modified, changed } = desk.sheets[&desk.open].disk;
        let (mode, uid, gid, links, allocated) = (0o644, 0, 0, 1, 0);
        let (kind, accessed, created) = (Kind::File, Time(0), None);
        Ok(Stat { kind, mode, uid, gid, links, size, allocated, modified, changed, accessed, created })
    }
    fn now(&self) -> Time {
        self.1
    }
    fn has_writer(&self, _: &File) -> Option<bool> {
        let desk = self.desk();
        Some(desk.sheets[&desk.open].written)
    }
}

struct Open<'a>(&'a Fake);

impl Opener for Open<'_> {
    fn open(&mut self, id: EntryId) -> Result<Opened, Closed> {
        let mut desk = self.0.desk();
        desk.open = id.inode;
        if !desk.sheets.contains_key(&id.inode) {
            return Err(Closed::Gone);
        }
        let file = File::open("/dev/null").map_err(Closed::Refused)?;
        Ok(Opened { file, solid: true, extents: Some(7) })
    }
}

impl Shelf for Fake {
    fn hashing(&self) -> Result<Hashing, ShelfError> {
        Ok(Hashing { reading: Reading::Remote, kind: DigestKind::Blake3 })
    }
    fn waiting(&self, from: EntryId, most: usize) -> Result<Vec<(EntryId, Time)>, ShelfError> {
        let desk = self.desk();
        let waits = desk.sheets.iter().filter(|(inode, sheet)| **inode >= from.inode && sheet.waits);
        Ok(waits.take(most).map(|(inode, _)| (id(*inode), Time(0))).collect())
    }
    fn by_size(&self, (_, last): (u64, EntryId), most: usize) -> Result<Vec<(u64, EntryId)>, ShelfError> {
        let desk = self.desk();
        let sheets = desk.sheets.iter().filter(|(inode, _)| **inode > last.inode);
        Ok(sheets.take(most).map(|(inode, sheet)| (sheet.row.size, id(*inode))).collect())
    }
    fn of_size(&self, _: u64) -> Result<Vec<EntryId>, ShelfError> {
        Ok(Vec::new())
    }
    fn known(&self, ids: &[EntryId]) -> Result<Vec<Option<Known>>, ShelfError> {
        let desk = self.desk();
        let known = |id: &EntryId| {
            let sheet = desk.sheets.get(&id.inode)?;
            let Sheet { row: stamp, digest, waits: waiting, .. } = *sheet;
            let (birth, head, tail) = (None, None, None);
            Some(Known { birth, stamp, writing: false, digest, head, tail, waiting, doubted: false })
        };
        Ok(ids.iter().map(known).collect())
    }
    fn unproved(&self, _: Time, _: EntryId, _: usize) -> Result<Vec<EntryId>, ShelfError> {
        Ok(Vec::new())
    }
    fn opener(&self) -> Box<dyn Opener + '_> {
        Box::new(Open(self))
    }
    fn deliver(&self, found: &[Found]) -> Result<Vec<bool>, ShelfError> {
        let mut desk = self.desk();
        let mut taken = Vec::new();
        for found in found {
            match found {
                Found::Content { id, content, .. } => {
                    let sheet = desk.sheets.get_mut(&id.inode).filter(|sheet| sheet.row == content.stamp);
                    taken.push(sheet.is_some());
                    if let Some(sheet) = sheet {
                        (sheet.digest, sheet.waits) = (Some(content.digest), false);
                    }
                }
                other => desk.found.push(*other),
            }
        }
        Ok(taken)
    }
}

fn id(inode: u64) -> EntryId {
    EntryId::new(VolumeId(1), inode)
}

fn content(wanted: &Wanted, byte: u8) -> Answered {
    let content = Content {
        digest: Digest { kind: DigestKind::Blake3, bytes: [byte; 32] },
        magic: Category::Other,
        stamp: wanted.stamp,
        read: wanted.stamp.size,
        head: Token([0; 16]),
        tail: None,
    };
    Answered { wanted: *wanted, told: Ok(content) }
}

#[test]
fn all_are_asked_for_once_a_window_at_a_time() {
    let (fake, meter) = (Fake::new(2 * MOST as u64 + 100), Meter::default());
    let mut remote = Remote::new(&fake, &meter, LATER);
    let mut seen = std::collections::BTreeSet::new();
    let rounds = Cell::new(0);
    while !remote.is_through() {
        rounds.set(rounds.get() + 1);
        assert!(rounds.get() < 10, "it does not end");
        let (wanted, _) = remote.want().unwrap();
        assert!(wanted.len() <= MOST);
        if rounds.get() == 1 {
            assert!(
                wanted.iter().all(|wanted| wanted.id.inode.is_multiple_of(2)),
                "what changed comes first"
            );
            assert!(remote.want().unwrap().0.is_empty(), "no room");
        }
        for wanted in &wanted {
            assert!(seen.insert(wanted.id), "{} was asked for twice", wanted.id);
        }
        remote.take(&wanted.iter().map(|wanted| content(wanted, 1)).collect::<Vec<_>>()).unwrap();
    }
    assert_eq!((seen.len(), fake.digests()), (2 * MOST + 100, 2 * MOST + 100));
    assert_eq!(meter.counted().files, 2 * MOST as u64 + 100);
}

#[test]
fn only_what_the_file_is_now_counts() {
    let (fake, meter) = (Fake::new(4), Meter::default());
    let mut remote = Remote::new(&fake, &meter, LATER);
    let (wanted, _) = remote.want().unwrap();
    let mut wanted = wanted;
    wanted.sort_by_key(|wanted| wanted.id);
    assert_eq!(wanted.len(), 4);
    // The index heard of the change; it did not; somebody is writing.
    fake.write(1, 2);
    fake.change(2, |sheet| sheet.disk.changed = Time(2));
    fake.change(3, |sheet| sheet.written = true);
    remote.take(&wanted.iter().map(|wanted| content(wanted, 1)).collect::<Vec<_>>()).unwrap();
    assert_eq!(fake.digests(), 1, "the fourth");
    assert!(fake.desk().found.contains(&Found::Astray(id(2))), "the index is behind");
    // An answer of another kind, and one to what was not asked for in this form.
    fake.change(1, |sheet| sheet.digest = None);
    let mut forged = content(&wanted[0], 9);
    if let Ok(content) = &mut forged.told {
        content.digest.kind = DigestKind::Blake3Sampled;
    }
    let mut other = content(&wanted[0], 9);
    if let Ok(content) = &mut other.told {
        content.stamp.size += 1;
    }
    remote.take(&[forged, other]).unwrap();
    assert_eq!((fake.digests(), meter.counted().refused), (1, 2));
}

#[test]
fn what_nobody_could_read_waits_until_it_changes_or_all_are_gone_through_again() {
    let (fake, meter) = (Fake::new(2), Meter::default());
    let mut remote = Remote::new(&fake, &meter, LATER);
    let (wanted, _) = remote.want().unwrap();
    let refuse = |remote: &mut Remote<'_>| {
        let refused = wanted.iter().map(|wanted| Answered { wanted: *wanted, told: Err("no rights".into()) });
        remote.take(&refused.collect::<Vec<_>>()).unwrap();
    };
    let done = |found: &Found| matches!(found, Found::Done { stamp: Some(_), .. });
    let mut tries = 0;
    while !fake.desk().found.iter().any(done) {
        refuse(&mut remote);
        tries += 1;
        assert!(tries < 100, "it is tried for ever");
        // The path may be another, and somebody else may have the rights.
        assert!(tries > 1 || fake.desk().found.contains(&Found::Wait(id(1))));
    }
    // As the index does.
    fake.change(2, |sheet| sheet.waits = false);
    assert!(tries > 2 && remote.want().unwrap().0.is_empty() && remote.is_through());
    assert_eq!(meter.last_refused().len(), 2);
    remote.again = Duration::ZERO;
    assert_eq!(remote.want().unwrap().0.len(), 2, "a day later");
    // A new connection: whether that arrived is not known.
    remote.again = LATER;
    assert!(remote.want().unwrap().0.is_empty());
    remote.forget();
    assert_eq!(remote.want().unwrap().0.len(), 2);
    // No answer for long.
    remote.asked.values_mut().for_each(|(_, until)| *until = Instant::now());
    assert_eq!(remote.want().unwrap().0.len(), 2);
}

#[test]
fn a_file_is_left_alone_until_its_change_time_is_old_on_any_clock() {
    let (fake, meter) = (Fake::new(1), Meter::default());
    fake.write(1, fake.now().0 - STILL_NS / 2);
    let mut remote = Remote::new(&fake, &meter, LATER);
    let (wanted, until) = remote.want().unwrap();
    assert!(wanted.is_empty());
    assert_eq!(fake.desk().found, [Found::Wait(id(1))], "it is not forgotten though all were gone through");
    let left = until.unwrap().saturating_duration_since(Instant::now());
    assert!(left <= Duration::from_nanos(STILL_NS as u64) && left > Duration::ZERO, "{left:?}");
}
