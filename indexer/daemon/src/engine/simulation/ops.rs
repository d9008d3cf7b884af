//! What programs do to the simulated disk: chosen at random among what is there; what cannot be done does nothing.

use record::{How, Kind};
use watch::Flags;

use super::model::{Key, Model, Open};
use super::queue::{Event, Numbered};
use super::rng::Rng;

/// Names that are given. Few, so that they meet again; one is not UTF-8.
const NAMES: [&[u8]; 7] = [b"a", b"b.jpg", b"c.rs", b"d", b"e", b"#7", b"\xff"];

/// Most descriptors that writers hold.
const MOST_OPEN: usize = 6;

impl Model {
    /// One thing, whatever.
    pub(super) fn disturb(&mut self, rng: &mut Rng) {
        self.now += i128::from(rng.below(3_000_000));
        if rng.chance(4) {
            self.now += i128::from(rng.below(30_000_000_000));
        }
        match rng.below(100) {
            0..14 => self.create(rng),
            14..26 => self.mkdir(rng),
            26..34 => self.write(rng),
            34..38 => self.open(rng),
            38..44 => self.write_open(rng),
            44..48 => self.close(rng),
            48..52 => self.chmod(rng),
            52..60 => self.link(rng),
            60..70 => self.remove(rng),
            70..72 => self.remove_tree(rng),
            72..88 => self.rename(rng),
            88..92 => self.exchange(rng),
            92..95 => self.save(rng),
            95..97 => self.open_unnamed(rng),
            97 => self.link_open(rng),
            98 => self.chain(rng),
            _ => self.set_times(rng),
        }
    }

    fn numbered(&self, key: Key) -> (Key, u64) {
        (key, self.get(key).number)
    }

    fn any_directory(&self, rng: &mut Rng) -> Key {
        rng.pick(&self.directories())
    }

    fn any_name(&self, rng: &mut Rng) -> Option<(Key, Vec<u8>, Key)> {
        let names = self.names();
        if names.is_empty() {
            return None;
        }
        let (dir, name) = rng.pick(&names);
        let key = self.get(dir).children[&name];
        Some((dir, name, key))
    }

    fn any_file(&self, rng: &mut Rng) -> Option<(Key, Vec<u8>, Key)> {
        self.any_name(rng).filter(|(_, _, key)| self.get(*key).kind == Kind::File)
    }

    fn free_name(&self, rng: &mut Rng) -> Option<(Key, Vec<u8>)> {
        let dir = self.any_directory(rng);
        let name = rng.pick(&NAMES).to_vec();
        self.child(dir, &name).is_none().then_some((dir, name))
    }

    fn create(&mut self, rng: &mut Rng) {
        let Some((dir, name)) = self.free_name(rng) else { return };
        let kind = match rng.below(12) {
            0 => Kind::Symlink,
            1 => Kind::Fifo,
            _ => Kind::File,
        };
        let Some(key) = self.make(kind, rng) else { return };
        self.name(dir, &name, key);
        self.note(|model| format!("create {kind:?} {} as {}", model.show(key), model.show_name(dir, &name)));
        self.named(dir, &name, key, Flags::NAMED, true, false);
        if kind != Kind::File {
            return;
        }
        if rng.chance(50) {
            self.grow(key, rng);
            self.named(dir, &name, key, Flags::WRITTEN, false, false);
        }
        if rng.chance(20) && self.opens.len() < MOST_OPEN {
            self.opens.push(Open::by_name(key, dir, name));
        } else {
            self.named(dir, &name, key, Flags::CLOSED, false, false);
        }
    }

    fn mkdir(&mut self, rng: &mut Rng) {
        let Some((dir, name)) = self.free_name(rng) else { return };
        self.mkdir_at(dir, &name, rng);
    }

    pub(super) fn mkdir_at(&mut self, dir: Key, name: &[u8], rng: &mut Rng) -> Option<Key> {
        let key = self.make(Kind::Directory, rng)?;
        self.name(dir, name, key);
        self.note(|model| format!("mkdir {} as {}", model.show(key), model.show_name(dir, name)));
        self.named(dir, name, key, Flags::NAMED, true, false);
        Some(key)
    }

    /// `mkdir -p`, and a file at the end.
    fn chain(&mut self, rng: &mut Rng) {
        let Some((mut dir, mut name)) = self.free_name(rng) else { return };
        for _ in 0..3 {
            let Some(made) = self.mkdir_at(dir, &name, rng) else { return };
            dir = made;
            name = rng.pick(&NAMES).to_vec();
        }
        if let Some(key) = self.make(Kind::File, rng) {
            self.name(dir, &name, key);
            self.note(|model| format!("create {} as {}", model.show(key), model.show_name(dir, &name)));
            self.named(dir, &name, key, Flags::NAMED, true, false);
            self.named(dir, &name, key, Flags::CLOSED, false, false);
        }
    }

    fn grow(&mut self, key: Key, rng: &mut Rng) {
        let stamp = self.stamp();
        let object = self.get_mut(key);
        object.size += 1 + rng.below(5000);
        (object.modified, object.changed) = (stamp, stamp);
        self.fill(key);
    }

    fn write(&mut self, rng: &mut Rng) {
        let Some((dir, name, key)) = self.any_file(rng) else { return };
        self.grow(key, rng);
        self.note(|model| format!("write {} by {}", model.show(key), model.show_name(dir, &name)));
        self.named(dir, &name, key, Flags::WRITTEN, false, false);
        self.named(dir, &name, key, Flags::CLOSED, false, false);
    }

    fn open(&mut self, rng: &mut Rng) {
        let Some((dir, name, key)) = self.any_file(rng) else { return };
        if self.opens.len() < MOST_OPEN {
            self.opens.push(Open::by_name(key, dir, name));
        }
    }

    fn open_unnamed(&mut self, rng: &mut Rng) {
        let dir = self.any_directory(rng);
        if self.opens.len() >= MOST_OPEN {
            return;
        }
        if let Some(key) = self.make(Kind::File, rng) {
            self.opens.push(Open { unnamed: true, ..Open::by_name(key, dir, Vec::new()) });
        }
    }

    /// inotify tells of a writer by the name it opened the file by. Where that name went while events were lost,
    /// nobody can know whose it was: that limit is stated, and such writers end.
    ///
    /// Likewise a file made without a name in a directory that is gone: nothing tells of what is written to it, and
    /// it can be given a name elsewhere.
    pub(super) fn forget_unknowable(&mut self) {
        if self.queue.manners.how == How::Inotify {
            let gone: Vec<Key> =
                self.opens.iter().map(|open| open.dir).filter(|dir| !self.is_named(*dir)).collect();
            let doubt = self.queue.doubt;
            let ends = |open: &Open| doubt && open.gone || open.unnamed && gone.contains(&open.dir);
            // What was stored by a map is found by a sweep.
            self.queue.lied |= self.opens.iter().any(|open| open.dirty && ends(open));
            self.opens.retain(|open| !ends(open));
        }
    }

    /// A watch stands only on what has a name at the start.
    pub(super) fn forget_untold(&mut self) {
        let named: Vec<bool> = (0..self.objects.len()).map(|key| self.is_named(key)).collect();
        self.opens.retain(|open| !open.gone && (!open.unnamed || named[open.dir]));
    }

    fn write_open(&mut self, rng: &mut Rng) {
        self.forget_unknowable();
        if self.opens.is_empty() {
            return;
        }
        let open = rng.pick(&self.opens);
        self.grow(open.object, rng);
        self.note(|model| format!("write {} by {open:?}", model.show(open.object)));
        self.told(&open, Flags::WRITTEN);
    }

    fn close(&mut self, rng: &mut Rng) {
        self.forget_unknowable();
        if self.opens.is_empty() {
            return;
        }
        let at = rng.index(self.opens.len());
        self.close_at(at);
    }

    pub(super) fn close_at(&mut self, at: usize) {
        let open = self.opens.swap_remove(at);
        self.note(|model| format!("close {}", model.show(open.object)));
        self.told(&open, Flags::CLOSED);
    }

    /// An event of a file by the name that it was opened by.
    pub(super) fn told(&mut self, open: &Open, flags: Flags) {
        // A directory that ended with the name still has its number in the event.
        if self.objects[open.dir].is_none() {
            return;
        }
        let event = Event::Name {
            dir: self.numbered(open.dir),
            name: open.name.clone(),
            object: self.numbered(open.object),
            flags,
            made: false,
            gone: false,
            unnamed: open.unnamed,
        };
        self.queue.push(event);
    }

    fn link_open(&mut self, rng: &mut Rng) {
        let unnamed: Vec<Open> = self
            .opens
            .iter()
            .filter(|open| open.unnamed && self.get(open.object).names == 0)
            .cloned()
            .collect();
        let Some((dir, name)) = self.free_name(rng) else { return };
        if !unnamed.is_empty() {
            let key = rng.pick(&unnamed).object;
            self.link_at(key, dir, &name);
        }
    }

    fn link(&mut self, rng: &mut Rng) {
        let Some((_, _, key)) = self.any_name(rng) else { return };
        let Some((dir, name)) = self.free_name(rng) else { return };
        if !self.is_directory(key) {
            self.link_at(key, dir, &name);
        }
    }

    fn link_at(&mut self, key: Key, dir: Key, name: &[u8]) {
        self.name(dir, name, key);
        self.change(key);
        self.note(|model| format!("link {} as {}", model.show(key), model.show_name(dir, name)));
        let object = self.numbered(key);
        self.queue.push(Event::Links(object));
        self.named(dir, name, key, Flags::NAMED, true, false);
    }

    fn chmod(&mut self, rng: &mut Rng) {
        let Some((dir, name, key)) = self.any_name(rng) else { return };
        if self.fixed.contains(&key) {
            return;
        }
        let bits = if self.is_directory(key) { 0o022 } else { 0o111 };
        let mode = self.get(key).mode ^ bits;
        self.chmod_at(dir, &name, key, mode);
    }

    pub(super) fn chmod_at(&mut self, dir: Key, name: &[u8], key: Key, mode: u16) {
        self.get_mut(key).mode = mode;
        self.change(key);
        self.note(|model| format!("chmod {mode:o} {} by {}", model.show(key), model.show_name(dir, name)));
        self.named(dir, name, key, Flags::META, false, false);
        if self.is_directory(key) {
            let object = self.numbered(key);
            self.queue.push(Event::Itself(object));
        }
    }

    fn set_times(&mut self, rng: &mut Rng) {
        let Some((dir, name, key)) = self.any_name(rng) else { return };
        self.get_mut(key).modified = 1_000_000_000 * i128::from(rng.below(3));
        self.change(key);
        self.note(|model| format!("utimes {} by {}", model.show(key), model.show_name(dir, &name)));
        self.named(dir, &name, key, Flags::META | Flags::WRITTEN, false, false);
        if self.is_directory(key) {
            let object = self.numbered(key);
            self.queue.push(Event::Itself(object));
        }
    }

    fn remove(&mut self, rng: &mut Rng) {
        let Some((dir, name, key)) = self.any_name(rng) else { return };
        if self.get(key).children.is_empty() && !self.fixed.contains(&key) {
            self.remove_at(dir, &name);
        }
    }

    /// A directory ended. A file that is open by where it was pins it, and the watch there.
    fn end(&mut self, dir: Numbered) {
        if !self.opens.iter().any(|open| open.dir == dir.0) {
            self.queue.push(Event::Ended(dir));
        }
    }

    fn remove_at(&mut self, dir: Key, name: &[u8]) {
        let key = self.get(dir).children[name];
        self.note(|model| format!("remove {} at {}", model.show(key), model.show_name(dir, name)));
        let object = self.numbered(key);
        if self.is_directory(key) {
            self.end(object);
        }
        self.unname(dir, name);
        self.change(key);
        if !self.is_directory(key) {
            self.queue.push(Event::Links(object));
        }
        for open in &mut self.opens {
            open.gone |= (open.dir, &open.name[..]) == (dir, name) && open.object == key;
        }
        self.named(dir, name, key, Flags::NAMED, false, true);
    }

    fn remove_tree(&mut self, rng: &mut Rng) {
        let Some((dir, name, key)) = self.any_name(rng) else { return };
        if self.fixed.iter().any(|fixed| self.is_directory(key) && self.is_below(*fixed, key)) {
            return;
        }
        self.remove_tree_at(dir, &name);
    }

    fn remove_tree_at(&mut self, dir: Key, name: &[u8]) {
        let key = self.get(dir).children[name];
        for child in self.get(key).children.keys().cloned().collect::<Vec<_>>() {
            self.remove_tree_at(key, &child);
        }
        self.remove_at(dir, name);
    }

    fn rename(&mut self, rng: &mut Rng) {
        let Some((from_dir, from, key)) = self.any_name(rng) else { return };
        let to_dir = self.any_directory(rng);
        let to = rng.pick(&NAMES).to_vec();
        if !self.fixed.contains(&key) {
            self.rename_to(from_dir, &from, to_dir, &to);
        }
    }

    fn rename_to(&mut self, from_dir: Key, from: &[u8], to_dir: Key, to: &[u8]) {
        let key = self.get(from_dir).children[from];
        let directory = self.is_directory(key);
        if directory && self.is_below(to_dir, key) {
            return;
        }
        let victim = self.child(to_dir, to);
        if let Some(victim) = victim {
            let fits = self.is_directory(victim) == directory && self.get(victim).children.is_empty();
            if victim == key || !fits || self.fixed.contains(&victim) {
                return;
            }
        }
        self.note(|model| {
            format!(
                "rename {} from {} to {} over {:?}",
                model.show(key),
                model.show_name(from_dir, from),
                model.show_name(to_dir, to),
                victim.map(|victim| model.show(victim))
            )
        });
        let ended = victim.map(|victim| (self.numbered(victim), self.is_directory(victim)));
        if let Some(victim) = victim {
            self.unname(to_dir, to);
            self.change(victim);
            for open in &mut self.opens {
                open.gone |= (open.dir, &open.name[..]) == (to_dir, to) && open.object == victim;
            }
        }
        self.unname(from_dir, from);
        self.name(to_dir, to, key);
        self.change(key);
        self.carry(key, from_dir, from, to_dir, to);
        let (from_number, to_number) = (self.numbered(from_dir), self.numbered(to_dir));
        let event = Event::Rename {
            from: (from_number, from.to_vec()),
            to: (to_number, to.to_vec()),
            object: self.numbered(key),
        };
        self.queue.push(event);
        match ended {
            Some((victim, true)) => self.end(victim),
            Some((victim, false)) => self.queue.push(Event::Links(victim)),
            None => {}
        }
    }

    /// Files that are open by a name move with it.
    fn carry(&mut self, key: Key, from_dir: Key, from: &[u8], to_dir: Key, to: &[u8]) {
        for open in &mut self.opens {
            if open.object == key && (open.dir, &open.name[..]) == (from_dir, from) && !open.gone {
                (open.dir, open.name) = (to_dir, to.to_vec());
            }
        }
    }

    fn exchange(&mut self, rng: &mut Rng) {
        let (Some(one), Some(other)) = (self.any_name(rng), self.any_name(rng)) else { return };
        let loops = |dir: Key, key: Key| self.is_directory(key) && self.is_below(dir, key);
        let fixed = self.fixed.contains(&one.2) || self.fixed.contains(&other.2);
        if one.2 == other.2 || loops(one.0, other.2) || loops(other.0, one.2) || fixed {
            return;
        }
        self.note(|model| {
            format!(
                "exchange {} at {} with {} at {}",
                model.show(one.2),
                model.show_name(one.0, &one.1),
                model.show(other.2),
                model.show_name(other.0, &other.1)
            )
        });
        self.unname(one.0, &one.1);
        self.unname(other.0, &other.1);
        self.name(one.0, &one.1, other.2);
        self.name(other.0, &other.1, one.2);
        self.change(one.2);
        self.change(other.2);
        // Through a name in between, so that neither is taken for the other.
        self.carry(one.2, one.0, &one.1, other.0, b"\0");
        self.carry(other.2, other.0, &other.1, one.0, &one.1);
        self.carry(one.2, other.0, b"\0", other.0, &other.1);
        for (from, to) in [(&one, &other), (&other, &one)] {
            let event = Event::Rename {
                from: (self.numbered(from.0), from.1.clone()),
                to: (self.numbered(to.0), to.1.clone()),
                object: self.numbered(from.2),
            };
            self.queue.push(event);
        }
    }

    /// An atomic save: a new file, renamed over the old one.
    fn save(&mut self, rng: &mut Rng) {
        let Some((dir, name, _)) = self.any_file(rng) else { return };
        if self.child(dir, b"tmp").is_some() {
            return;
        }
        let Some(key) = self.make(Kind::File, rng) else { return };
        self.name(dir, b"tmp", key);
        self.note(|model| format!("create {} as {}", model.show(key), model.show_name(dir, b"tmp")));
        self.named(dir, b"tmp", key, Flags::NAMED, true, false);
        self.grow(key, rng);
        self.named(dir, b"tmp", key, Flags::WRITTEN, false, false);
        self.named(dir, b"tmp", key, Flags::CLOSED, false, false);
        if rng.chance(90) {
            self.rename_to(dir, b"tmp", dir, &name);
        }
    }

    pub(super) fn show(&self, key: Key) -> String {
        self.objects[key].as_ref().map_or_else(
            || format!("ended@{key}"),
            |object| {
                format!("{:?} {}@{key} born {}", object.kind, object.number, object.birth % 1_000_000_000_000)
            },
        )
    }

    pub(super) fn show_name(&self, dir: Key, name: &[u8]) -> String {
        let number = self.objects[dir].as_ref().map_or(0, |object| object.number);
        format!("{number}@{dir}/{}", String::from_utf8_lossy(name))
    }
}
