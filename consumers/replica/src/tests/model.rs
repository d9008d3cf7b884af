//! A tree of few inodes and few names that changes at random, its journal, and what is true of it. Knows nothing of the replica.

use std::collections::BTreeMap;

use consumer::Replica as Truth;
use record::wire::message::{Detail, Message, Origin, Source};
use record::wire::v1::{Entry, EntryState, Place as WirePlace, Stat as WireStat, text_and_raw};
use record::{
    Body, Change, Digest, DigestKind, EntryId, How, Kind, Op, Place, Record, RootId, Seeded, Seq, Stat,
    State, Time, VolumeId,
};

pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % end.max(1) as u64) as usize
    }
}

pub(super) fn id(inode: u64) -> EntryId {
    EntryId::new(VolumeId(1), inode)
}

pub(super) const TOP: u64 = 1;
const ROOT: &str = "/r";

/// An indexer.
pub(super) struct World {
    pub(super) origin: Origin,
    pub(super) journal: Vec<Record>,
    pub(super) truth: Truth,
    rng: Rng,
}

fn stat(kind: Kind, size: u64, links: u32, now: u64) -> Stat {
    let now = Time(i128::from(now));
    Stat {
        kind,
        mode: 0o644,
        uid: 1,
        gid: 2,
        links,
        size,
        allocated: size,
        modified: now,
        changed: now,
        accessed: now,
        created: Some(now),
    }
}

impl World {
    /// A root that was seeded with a directory and two files in it, one of two names.
    pub(super) fn new(seed: u64, host: &str) -> World {
        let origin = Origin {
            source: format!("/indexer/{host}"),
            host: host.to_owned(),
            epoch: format!("{seed:032x}"),
            version: "0".into(),
        };
        let mut world = World { origin, journal: Vec::new(), truth: Truth::default(), rng: Rng(seed) };
        for (inode, kind, links, places) in [
            (TOP, Kind::Directory, 2, vec![]),
            (2, Kind::Directory, 2, vec![(TOP, "a")]),
            (3, Kind::File, 2, vec![(2, "a"), (TOP, "b")]),
            (4, Kind::File, 1, vec![(2, "c")]),
        ] {
            let stat = stat(kind, 5, links, 0);
            let known = consumer::Known { birth: stat.created, stat, digest: None, category: None };
            world.truth.entries.insert(id(inode), known);
            for (dir, name) in places {
                world.truth.names.insert(Place::new(id(dir), name.as_bytes()), id(inode));
            }
        }
        world.push(Body::Seeded(Seeded { path: ROOT.as_bytes().into(), entries: 4 }));
        world
    }

    pub(super) fn seq(&self) -> u64 {
        self.journal.len() as u64
    }

    fn push(&mut self, body: Body) {
        let seq = self.seq() + 1;
        let record =
            Record { seq: Seq(seq), seen: Time(i128::from(seq)), how: How::Sweep, root: RootId(1), body };
        self.truth.apply(&record);
        self.journal.push(record);
    }

    /// The message of a record.
    pub(super) fn message(&self, seq: u64) -> Message {
        Message::new(&self.journal[seq as usize - 1], ROOT.as_bytes(), &self.origin)
    }

    fn path(&self, place: &Place) -> Vec<u8> {
        let mut path = self.dir_path(place.dir);
        path.push(b'/');
        path.extend(&*place.name);
        path
    }

    fn dir_path(&self, dir: EntryId) -> Vec<u8> {
        let at = self.truth.names.iter().find(|(_, of)| **of == dir);
        at.map_or_else(|| ROOT.as_bytes().to_vec(), |(place, _)| self.path(place))
    }

    fn places(&self, of: EntryId) -> Vec<Place> {
        self.truth.names.iter().filter(|(_, other)| **other == of).map(|(place, _)| place.clone()).collect()
    }

    fn state(&self, of: EntryId) -> Option<State> {
        self.truth.entries.get(&of).map(|known| State {
            stat: known.stat,
            digest: known.digest,
            category: None,
        })
    }

    /// Every path and the entry there.
    pub(super) fn listing(&self) -> BTreeMap<String, Entry> {
        let mut listing = BTreeMap::new();
        for (of, known) in &self.truth.entries {
            let places = self.places(*of);
            let paths = if places.is_empty() {
                vec![ROOT.as_bytes().to_vec()]
            } else {
                places.iter().map(|place| self.path(place)).collect()
            };
            for path in paths {
                listing.insert(String::from_utf8_lossy(&path).into_owned(), entry(&path, *of, known));
            }
        }
        listing
    }

    /// A replay as of now.
    pub(super) fn replay(&self) -> Vec<Message> {
        let mut messages = vec![self.said("m", "replay_begun", None, Detail::default())];
        for (of, known) in &self.truth.entries {
            let places = self.places(*of);
            let at = places.first();
            let path = at.map_or_else(|| ROOT.as_bytes().to_vec(), |place| self.path(place));
            let names =
                if places.len() > 1 { places.iter().map(WirePlace::from).collect() } else { Vec::new() };
            let detail = Detail { at: at.map(WirePlace::from), names, ..Detail::default() };
            messages.push(self.said("r", "read", Some(entry(&path, *of, known)), detail));
        }
        let entries = Some(self.truth.entries.len() as u64);
        messages.push(self.said("m", "replay_ended", None, Detail { entries, ..Detail::default() }));
        messages
    }

    pub(super) fn said(&self, op: &str, verb: &str, after: Option<Entry>, change: Detail) -> Message {
        let source = Source {
            version: "0".into(),
            connector: "indexer".into(),
            name: self.origin.source.clone(),
            host: self.origin.host.clone(),
            ts_ms: 0,
            ts_ns: 0,
            epoch: self.origin.epoch.clone(),
            seq: self.seq(),
            root: ROOT.into(),
            root_id: 1,
            how: "import".into(),
        };
        let change = Detail { verb: verb.to_owned(), complete: true, ..change };
        Message { op: op.to_owned(), ts_ms: 0, before: None, after, source, change }
    }

    fn record(&mut self, op: Op, of: EntryId, at: Option<Place>, old: Option<Place>, after: Option<State>) {
        let now = self.seq() + 1;
        let moved = matches!(op, Op::Created | Op::Linked | Op::Unlinked | Op::Renamed | Op::Deleted);
        let mut parents = Vec::new();
        for place in [&at, &old].into_iter().flatten().filter(|_| moved) {
            if let Some(dir) = self.truth.entries.get(&place.dir)
                && parents.iter().all(|(dir, _)| *dir != place.dir)
            {
                parents.push((place.dir, stat(dir.stat.kind, dir.stat.size, 2, now)));
            }
        }
        let path = at.as_ref().map_or_else(|| ROOT.as_bytes().to_vec(), |place| self.path(place));
        let old_path = old.as_ref().map(|place| self.path(place).into());
        let change = Change {
            entry: of,
            birth: None,
            op,
            at,
            old,
            before: self.state(of),
            after,
            parents,
            complete: true,
            pair: None,
            path: path.into(),
            old_path,
        };
        self.push(Body::Change(Box::new(change)));
    }

    fn remove(&mut self, place: &Place) {
        let Some(of) = self.truth.names.get(place).copied() else { return };
        let below: Vec<Place> = self.truth.names.keys().filter(|below| below.dir == of).cloned().collect();
        for below in below {
            self.remove(&below);
        }
        let others = self.places(of).len() > 1;
        let after = self.state(of).filter(|_| others);
        self.record(if others { Op::Unlinked } else { Op::Deleted }, of, Some(place.clone()), None, after);
    }

    fn is_below(&self, dir: EntryId, top: EntryId) -> bool {
        dir == top || self.places(dir).first().is_some_and(|place| self.is_below(place.dir, top))
    }

    pub(super) fn create(&mut self, place: Place, kind: Kind, inode: u64) {
        let now = self.seq() + 1;
        let state = State { stat: stat(kind, 5, 1, now), digest: None, category: None };
        self.record(Op::Created, id(inode), Some(place), None, Some(state));
    }

    pub(super) fn hash(&mut self, inode: u64, byte: u8) {
        let at = self.places(id(inode)).into_iter().next();
        let digest = Some(Digest { kind: DigestKind::Blake3, bytes: [byte; 32] });
        let after = self.state(id(inode)).map(|state| State { digest, ..state });
        self.record(Op::Hashed, id(inode), at, None, after);
    }

    pub(super) fn delete(&mut self, dir: u64, name: &str) {
        self.remove(&Place::new(id(dir), name.as_bytes()));
    }

    /// One change, or none where it cannot be.
    pub(super) fn step(&mut self) {
        let dirs: Vec<EntryId> = self
            .truth
            .entries
            .iter()
            .filter(|(_, known)| known.stat.is_directory())
            .map(|(of, _)| *of)
            .collect();
        let dir = dirs[self.rng.below(dirs.len())];
        let place = Place::new(dir, &[b'a' + self.rng.below(4) as u8]);
        let there = self.truth.names.get(&place).copied();
        let places: Vec<Place> = self.truth.names.keys().cloned().collect();
        let other = (!places.is_empty()).then(|| places[self.rng.below(places.len())].clone());
        match (self.rng.below(9), there, other) {
            (0..3, None, _) => {
                let free: Vec<u64> =
                    (2..12).filter(|inode| !self.truth.entries.contains_key(&id(*inode))).collect();
                if let Some(inode) = free.get(self.rng.below(free.len())).copied() {
                    let kind = if self.rng.below(3) == 0 { Kind::Directory } else { Kind::File };
                    self.create(place, kind, inode);
                }
            }
            (3, Some(_), _) => self.remove(&place),
            (4, None, Some(other)) => {
                let of = self.truth.names[&other];
                if !self.truth.entries[&of].stat.is_directory() {
                    let after = self.state(of);
                    self.record(Op::Linked, of, Some(place), None, after);
                }
            }
            (5 | 6, there, Some(other)) => {
                let of = self.truth.names[&other];
                let onto = there.is_some_and(|there| there == of || self.is_below(other.dir, there));
                if self.is_below(place.dir, of) || onto {
                    return;
                }
                let swap = there.filter(|there| self.rng.below(2) == 0 && !self.is_below(other.dir, *there));
                if there.is_some() && swap.is_none() {
                    self.remove(&place);
                }
                let after = self.state(of);
                self.record(Op::Renamed, of, Some(place.clone()), Some(other.clone()), after);
                if let Some(swapped) = swap {
                    let after = self.state(swapped);
                    self.record(Op::Renamed, swapped, Some(other), Some(place), after);
                }
            }
            (7, Some(of), _) => {
                let now = self.seq() + 1;
                let after = self.state(of).map(|state| State {
                    stat: Stat { size: now, modified: Time(i128::from(now)), ..state.stat },
                    digest: None,
                    ..state
                });
                self.record(Op::Modified, of, Some(place), None, after);
            }
            (8, Some(of), _) if !self.truth.entries[&of].stat.is_directory() => {
                let byte = self.rng.below(3) as u8;
                self.hash(of.inode, byte);
            }
            _ => {}
        }
    }
}

fn entry(path: &[u8], of: EntryId, known: &consumer::Known) -> Entry {
    let state = State { stat: known.stat, digest: known.digest, category: known.category };
    let EntryState { stat, digest, category } = EntryState::from(&state);
    let _: &WireStat = &stat;
    let (path, path_raw) = text_and_raw(path);
    Entry { path, path_raw, stat, inode: of.inode, volume: of.volume.0, category, digest }
}
