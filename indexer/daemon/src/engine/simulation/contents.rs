//! What is in the files of the simulated disk, which content each had under which stat, and what programs do to it. Numbers of
//! its own say so, so that a seed lives the same life without. Knows no index.

use std::collections::{BTreeMap, BTreeSet};

use record::{Kind, Stat};
use watch::Flags;

use super::model::{Key, Model, Open};
use super::rng::Rng;

/// Sizes that files are given, so that several have the same: of one block, of several, and one of which the ends are read alone.
const SIZES: [u64; 4] = [1, 3000, 6000, 140_000];

/// Contents that several files have.
const COMMON: u64 = 6;

/// Most files that are open by a map at once.
const MOST_MAPPED: usize = 3;

/// Number, birth, size, modification and change time: what a digest belongs to.
type Moment = (u64, Option<i128>, u64, i128, i128);

/// See the module.
pub(super) struct Contents {
    pub(super) rng: Rng,
    picks: Rng,
    next: u64,
    /// What each file had in it under each stat, and how often the clock had been set back when it was first so.
    held: BTreeMap<Moment, (u64, BTreeSet<u64>)>,
    /// How often the clock was set back.
    pub(super) set_back: u64,
    /// The clock gave the same time twice, or rot was lost with the power: what is known of these files belongs to one of two
    /// moments.
    twice: BTreeSet<(u64, Option<i128>)>,
    /// Files of which a map was written and the modification time set back, and how often events had been lost by then: only
    /// the close tells of that.
    sly: BTreeMap<(u64, Option<i128>), u64>,
}

impl Contents {
    pub(super) fn new(seed: u64) -> Contents {
        Contents {
            rng: Rng::new(seed.rotate_left(32) ^ 0x51ed),
            picks: Rng::new(seed.rotate_left(16) ^ 0x1ced),
            next: 1000,
            held: BTreeMap::new(),
            set_back: 0,
            twice: BTreeSet::new(),
            sly: BTreeMap::new(),
        }
    }

    fn pick(&mut self) -> u64 {
        if self.picks.chance(60) {
            return self.picks.below(COMMON);
        }
        self.next += 1;
        self.next
    }
}

/// The bytes of a content: most are those of all others, so that some differ at the head, some at the end, some between.
pub(super) fn bytes_of(content: u64, size: u64) -> Vec<u8> {
    let mut bytes = vec![b'.'; usize::try_from(size).unwrap()];
    let mark = content.to_le_bytes();
    let at = match content % 3 {
        0 => 0,
        1 => bytes.len() / 2,
        _ => bytes.len().saturating_sub(mark.len()),
    };
    let length = mark.len().min(bytes.len() - at);
    bytes[at..at + length].copy_from_slice(&mark[..length]);
    bytes
}

impl Model {
    fn identity(&self, key: Key) -> (u64, Option<i128>) {
        let object = self.get(key);
        (object.number, self.making.births.then_some(object.birth))
    }

    /// Notes what all files have in them now.
    pub(super) fn remember(&mut self) {
        let Some(mut contents) = self.contents.take() else { return };
        for object in self.objects.iter().flatten().filter(|object| object.kind == Kind::File) {
            let birth = self.making.births.then_some(object.birth);
            let moment = (object.number, birth, object.size, object.modified, object.changed);
            let set_back = contents.set_back;
            let (then, held) = contents.held.entry(moment).or_insert((set_back, BTreeSet::new()));
            if held.insert(object.content) && *then != set_back {
                contents.twice.insert((object.number, birth));
            }
        }
        self.contents = Some(contents);
    }

    /// What a file had in it while its stat was this one.
    pub(super) fn held(&self, number: u64, stat: &Stat) -> Vec<u64> {
        let birth = stat.created.map(|time| time.0);
        let moment = (number, birth, stat.size, stat.modified.0, stat.changed.0);
        let held = self.contents.as_ref().and_then(|contents| contents.held.get(&moment));
        held.map(|(_, held)| held.iter().copied().collect()).unwrap_or_default()
    }

    /// Whether a carried digest of this file may be wrong for now: a map was written, and it is not heard that it was closed.
    pub(super) fn is_sly(&self, number: u64, stat: &Stat) -> bool {
        let identity = (number, stat.created.map(|time| time.0));
        self.contents.as_ref().is_some_and(|contents| contents.sly.contains_key(&identity))
    }

    /// Whether nobody can know what is in this file: the clock gave one time twice, or the close of a map was lost.
    pub(super) fn is_unknowable(&self, number: u64, stat: &Stat) -> bool {
        let identity = (number, stat.created.map(|time| time.0));
        self.contents.as_ref().is_some_and(|contents| {
            contents.twice.contains(&identity)
                || contents.sly.get(&identity).is_some_and(|losses| *losses != self.queue.losses)
        })
    }

    /// How many files that was so of.
    pub(super) fn unknowable(&self) -> u64 {
        self.contents.as_ref().map_or(0, |contents| {
            let lost = contents.sly.values().filter(|losses| **losses != self.queue.losses).count();
            (contents.twice.len() + lost) as u64
        })
    }

    /// Who mapped a file closes it: until then nothing tells of what it wrote.
    pub(super) fn close_mapped(&mut self) {
        while let Some(at) = self.opens.iter().position(|open| open.mapped) {
            self.close_at(at);
        }
    }

    /// All that was open is closed.
    pub(super) fn close_all(&mut self) {
        while !self.opens.is_empty() {
            self.close_at(0);
        }
    }

    /// Something is done to a content, in some of all cases.
    pub(super) fn disturb_contents(&mut self) -> bool {
        let Some(mut contents) = self.contents.take() else { return false };
        let done = contents.rng.chance(35);
        let mut rng = contents.rng.clone();
        self.contents = Some(contents);
        if done {
            self.now += i128::from(rng.below(3_000_000));
            if rng.chance(4) {
                self.now += i128::from(rng.below(30_000_000_000));
            }
            match rng.below(100) {
                0..25 => self.overwrite(&mut rng, false),
                25..40 => self.overwrite(&mut rng, true),
                40..55 => self.copy(&mut rng),
                55..65 => self.map(&mut rng),
                65..86 => self.store(&mut rng),
                86..90 => self.set_back_mapped(&mut rng),
                _ => self.unmap(&mut rng),
            }
        }
        if let Some(contents) = &mut self.contents {
            contents.rng = rng;
        }
        done
    }

    fn a_file(&self, rng: &mut Rng) -> Option<(Key, Vec<u8>, Key)> {
        let names = self.names();
        if names.is_empty() {
            return None;
        }
        let (dir, name) = rng.pick(&names);
        let key = self.get(dir).children[&name];
        (self.get(key).kind == Kind::File).then_some((dir, name, key))
    }

    /// Gives a file that was just written another content, and mostly a size that others have.
    pub(super) fn fill(&mut self, key: Key) {
        let Some(contents) = &mut self.contents else { return };
        let content = contents.pick();
        let size = contents.picks.chance(70).then(|| contents.picks.pick(&SIZES));
        let object = self.get_mut(key);
        object.content = content;
        object.size = size.unwrap_or(object.size);
    }

    /// Puts something else in, and stamps it.
    fn put(&mut self, key: Key, content: u64) {
        let stamp = self.stamp();
        let object = self.get_mut(key);
        object.content = content;
        (object.modified, object.changed) = (stamp, stamp);
        self.note(|model| format!("content {content} in {}", model.show(key)));
    }

    fn pick_content(&mut self) -> u64 {
        self.contents.as_mut().map_or(0, Contents::pick)
    }

    /// In place, of the same size; the modification time may be set back to what it was.
    fn overwrite(&mut self, rng: &mut Rng, restores: bool) {
        let Some((dir, name, key)) = self.a_file(rng) else { return };
        let before = self.get(key).modified;
        let content = self.pick_content();
        self.put(key, content);
        self.named(dir, &name, key, Flags::WRITTEN, false, false);
        if restores {
            let stamp = self.stamp();
            let object = self.get_mut(key);
            (object.modified, object.changed) = (before, stamp);
            self.note(|model| format!("modification time of {} is set back", model.show(key)));
            self.named(dir, &name, key, Flags::META, false, false);
        }
        self.named(dir, &name, key, Flags::CLOSED, false, false);
    }

    /// The content of another file, with its size.
    fn copy(&mut self, rng: &mut Rng) {
        let (Some(from), Some((dir, name, key))) = (self.a_file(rng), self.a_file(rng)) else { return };
        let (content, size) = (self.get(from.2).content, self.get(from.2).size);
        self.get_mut(key).size = size;
        self.put(key, content);
        self.named(dir, &name, key, Flags::WRITTEN, false, false);
        self.named(dir, &name, key, Flags::CLOSED, false, false);
    }

    fn map(&mut self, rng: &mut Rng) {
        let Some((dir, name, key)) = self.a_file(rng) else { return };
        if self.get(key).size > 0 && self.opens.iter().filter(|open| open.mapped).count() < MOST_MAPPED {
            self.note(|model| format!("map {}", model.show(key)));
            self.opens.push(Open { mapped: true, ..Open::by_name(key, dir, name) });
        }
    }

    fn a_mapped(&mut self, rng: &mut Rng) -> Option<usize> {
        self.forget_unknowable();
        let mapped: Vec<usize> = (0..self.opens.len()).filter(|at| self.opens[*at].mapped).collect();
        if mapped.is_empty() { None } else { Some(rng.pick(&mapped)) }
    }

    /// By a map: no event tells of it, and the times move with the first store to a clean page alone.
    fn store(&mut self, rng: &mut Rng) {
        let Some(at) = self.a_mapped(rng) else { return };
        let key = self.opens[at].object;
        let content = self.pick_content();
        let clean = !self.opens[at].dirty || rng.chance(30);
        self.opens[at].dirty = true;
        if clean {
            self.put(key, content);
        } else {
            self.get_mut(key).content = content;
            self.note(|model| format!("content {content} in {} unseen", model.show(key)));
        }
    }

    /// By both times given: an event of its metadata, and none of a write.
    fn set_back_mapped(&mut self, rng: &mut Rng) {
        let Some(at) = self.a_mapped(rng) else { return };
        let open = self.opens[at].clone();
        let held = self.get(open.object).clone();
        let identity = self.identity(open.object);
        let stamp = self.stamp();
        let Some(contents) = &mut self.contents else { return };
        let moments = contents.held.keys().filter(|moment| (moment.0, moment.1) == identity);
        let before: Vec<i128> =
            moments.filter(|moment| moment.2 == held.size).map(|moment| moment.3).collect();
        if before.is_empty() {
            return;
        }
        contents.sly.entry(identity).or_insert(self.queue.losses);
        let modified = rng.pick(&before);
        let object = self.get_mut(open.object);
        (object.modified, object.changed) = (modified, stamp);
        self.note(|model| format!("modification time of {} is set back", model.show(open.object)));
        self.told(&open, Flags::META);
    }

    fn unmap(&mut self, rng: &mut Rng) {
        if let Some(at) = self.a_mapped(rng) {
            self.close_at(at);
        }
    }

    /// A write begins while the file is being read: the time is stamped first, then the bytes come.
    pub(super) fn begin_write(&mut self, key: Key) -> bool {
        if !self.objects[key].as_ref().is_some_and(|object| object.kind == Kind::File && object.size > 1) {
            return false;
        }
        let names = self.names();
        let Some((dir, name)) = names.into_iter().find(|(dir, name)| self.get(*dir).children[name] == key)
        else {
            return false;
        };
        let content = self.pick_content();
        self.put(key, content);
        self.named(dir, &name, key, Flags::WRITTEN, false, false);
        self.named(dir, &name, key, Flags::CLOSED, false, false);
        true
    }

    /// From now on nobody knows what is in this file.
    pub(super) fn give_up(&mut self, key: Key) {
        let identity = self.identity(key);
        if let Some(contents) = &mut self.contents {
            contents.twice.insert(identity);
        }
    }

    /// A disk that rots: nothing else of the file changes.
    pub(super) fn rot(&mut self, key: Key) {
        let content = self.pick_content();
        self.get_mut(key).content = content;
        self.note(|model| format!("{} rots to {content}", model.show(key)));
        let ((number, birth), stat) = (self.identity(key), self.stat(key));
        let moment = (number, birth, stat.size, stat.modified.0, stat.changed.0);
        if let Some((_, held)) = self.contents.as_mut().and_then(|contents| contents.held.get_mut(&moment)) {
            held.insert(content);
        }
    }
}
