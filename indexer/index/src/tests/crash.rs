//! Power loss at any write: what comes back is a commit that was made, whole, and never an older one than
//! the last that was answered.

use std::io;
use std::sync::{Arc, Mutex};

use reconcile::Stored;
use record::{Body, Op, Seq};
use redb::{Builder, StorageBackend};

use super::make::{id, look, with_root};
use crate::{Index, IndexError, Repair, Settings};

/// What the store did to its file.
#[derive(Clone, Debug)]
enum Did {
    Length(u64),
    Write(u64, Vec<u8>),
    Sync,
}

/// A file in memory that remembers its history.
#[derive(Clone, Debug, Default)]
struct Tape {
    file: Arc<Mutex<Vec<u8>>>,
    history: Arc<Mutex<Vec<Did>>>,
}

impl Tape {
    fn of(file: Vec<u8>) -> Tape {
        Tape { file: Arc::new(Mutex::new(file)), history: Arc::default() }
    }

    fn note(&self, did: Did) {
        self.history.lock().unwrap().push(did);
    }
}

impl StorageBackend for Tape {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let file = self.file.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let from = file.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(from);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.note(Did::Length(length));
        self.file.lock().unwrap().resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(Did::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(Did::Write(offset, data.to_vec()));
        apply(&mut self.file.lock().unwrap(), &Did::Write(offset, data.to_vec()));
        Ok(())
    }
}

fn apply(file: &mut Vec<u8>, did: &Did) {
    match did {
        Did::Length(length) => file.resize(usize::try_from(*length).unwrap(), 0),
        Did::Write(offset, data) => {
            let start = usize::try_from(*offset).unwrap();
            file[start..start + data.len()].copy_from_slice(data);
        }
        Did::Sync => {}
    }
}

fn open(tape: Tape, repair: Repair) -> Index {
    let settings = Settings { cache: 1 << 20, repair };
    let store = Builder::new().set_cache_size(settings.cache).create_with_backend(tape).unwrap();
    Index::over(store, settings)
}

/// The names that the journal tells of are those the index has, and nothing in it disagrees.
fn check(index: &Index) -> Seq {
    let reader = index.read().unwrap();
    assert_eq!(reader.check().unwrap().faults, []);
    let mut names = std::collections::BTreeMap::new();
    let mut expected = 1;
    reader
        .each_record::<IndexError>(Seq(0), |record| {
            assert_eq!(record.seq.0, expected, "seqs are gapless");
            expected += 1;
            let Body::Change(change) = record.body else { return Ok(true) };
            let place = change.at.unwrap();
            match change.op {
                Op::Created => drop(names.insert(place.name, change.entry)),
                Op::Deleted => drop(names.remove(&place.name)),
                _ => {}
            }
            Ok(true)
        })
        .unwrap();
    assert_eq!(reader.seq().unwrap().0, expected - 1);
    let stored: std::collections::BTreeMap<_, _> =
        reader.children(id(1), None, usize::MAX).unwrap().into_iter().collect();
    assert_eq!(stored, names, "rows are what the journal says");
    reader.seq().unwrap()
}

fn survives(repair: Repair) {
    let tape = Tape::default();
    let index = open(tape.clone(), repair);
    index.init().unwrap();
    with_root(&index);
    let start = tape.file.lock().unwrap().clone();
    tape.history.lock().unwrap().clear();
    // After which part of the history which seq was answered.
    let mut answered = vec![(0, Seq(0))];
    let mut seed = 7u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for turn in 0..12u64 {
        let names: Vec<Vec<u8>> = (0..8).map(|_| format!("name {}", next(40)).into_bytes()).collect();
        let looks: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(nth, name)| {
                (&name[..], (nth % 3 > 0).then_some((100 + turn * 10 + nth as u64, nth as u64)))
            })
            .collect();
        look(&index, i128::from(turn + 1), &looks);
        answered.push((tape.history.lock().unwrap().len(), index.read().unwrap().seq().unwrap()));
    }
    let history = tape.history.lock().unwrap().clone();
    drop(index);
    for cut in 0..=history.len() {
        // What was synced is there; of what was written since, any part may be.
        let synced = history[..cut].iter().rposition(|did| matches!(did, Did::Sync)).map_or(0, |at| at + 1);
        for luck in 0..3 {
            let mut file = start.clone();
            for (nth, did) in history[..cut].iter().enumerate() {
                let there = nth < synced || matches!(did, Did::Length(_)) || luck == 0 || next(2) == 0;
                if there {
                    apply(&mut file, did);
                }
            }
            let index = open(Tape::of(file), repair);
            let seq = check(&index);
            let promised = answered.iter().rev().find(|(at, _)| *at <= cut).unwrap().1;
            assert!(seq >= promised, "what was answered is there: {seq} {promised}, cut at {cut}");
            look(&index, 1000, &[(b"after the crash", Some((99, 1)))]);
            assert!(check(&index) > seq, "and it goes on");
        }
    }
}

#[test]
fn power_loss_at_any_write_with_walked_repair() {
    survives(Repair::Walk);
}

#[test]
fn power_loss_at_any_write_with_quick_repair() {
    survives(Repair::Quick);
}
